//! What projects used in a period, as Nova reports it.

use reprieve_core::{InstanceId, ProjectId, Timestamp};
use reprieve_store::{InstanceRecord, StoreError, UsageQuery};

use super::{AppError, Call};

const MICROS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_HOUR: f64 = 3600.0;

/// What one server used.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerUsage {
    /// The server.
    pub server: InstanceRecord,
    /// When it began to run.
    pub started_at: Timestamp,
    /// Hours of the period in which it was there.
    pub hours: f64,
    /// Seconds for which it was there in all.
    pub uptime: i64,
    /// Disks in GiB.
    pub local_gib: u64,
}

/// What one project used.
#[derive(Debug, Clone, PartialEq)]
pub struct ProjectUsage {
    /// The project.
    pub project_id: ProjectId,
    /// Its servers, by id; at least one.
    pub servers: Vec<ServerUsage>,
}

impl ProjectUsage {
    /// Hours of all servers, each multiplied by what `of` says about it.
    #[must_use]
    pub fn total(&self, of: impl Fn(&ServerUsage) -> u64) -> f64 {
        self.servers.iter().map(|usage| as_float(of(usage)) * usage.hours).sum()
    }
}

/// Which page of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsagePage {
    /// Server after which to begin.
    pub marker: Option<String>,
    /// At most so many servers.
    pub limit: u32,
}

/// What one project used from `begin` to `end`, or each of them; by project.
///
/// # Errors
/// [`AppError::BadRequest`] for an unknown marker.
pub async fn report(
    call: &Call<'_>,
    project_id: Option<ProjectId>,
    (begin, end): (Timestamp, Timestamp),
    page: &UsagePage,
) -> Result<Vec<ProjectUsage>, AppError> {
    let unknown = |marker: &str| AppError::BadRequest(format!("marker [{marker}] not found"));
    let marker = match page.marker.as_deref() {
        None => None,
        Some(text) => Some(text.parse::<InstanceId>().map_err(|_| unknown(text))?),
    };
    let query = UsageQuery { begin, end, project_id, marker, limit: page.limit.into() };
    let servers = call.control.store.servers_in_period(&query).await;
    let servers = servers.map_err(|error| match error {
        StoreError::NotFound { id, .. } => unknown(&id),
        other => other.into(),
    })?;
    let now = call.control.clock.now();
    let mut projects: Vec<ProjectUsage> = Vec::new();
    for server in servers {
        let project_id = server.project_id.clone();
        let Some(usage) = usage(server, (begin, end), now) else { continue };
        match projects.last_mut().filter(|last| last.project_id == project_id) {
            Some(project) => project.servers.push(usage),
            None => projects.push(ProjectUsage { project_id, servers: vec![usage] }),
        }
    }
    Ok(projects)
}

/// What a server used; `None` for one that never ran.
fn usage(
    server: InstanceRecord,
    (begin, end): (Timestamp, Timestamp),
    now: Timestamp,
) -> Option<ServerUsage> {
    let started_at = server.launched_at?;
    let until = server.terminated_at.unwrap_or(now);
    let from = started_at.max(begin);
    let to = server.terminated_at.unwrap_or(end).min(end);
    let micros = to.micros().saturating_sub(from.micros()).max(0);
    let uptime = until.micros().saturating_sub(started_at.micros()).max(0) / MICROS_PER_SECOND;
    Some(ServerUsage {
        started_at,
        hours: as_float(micros.unsigned_abs())
            / as_float(MICROS_PER_SECOND.unsigned_abs())
            / SECONDS_PER_HOUR,
        uptime,
        local_gib: server.flavor.root_gib.saturating_add(server.flavor.ephemeral_gib),
        server,
    })
}

/// Amounts and times far below the 53 bits that a float keeps exactly.
#[expect(clippy::cast_precision_loss, reason = "reports are about hours, not about microseconds")]
fn as_float(number: u64) -> f64 {
    number as f64
}
