//! What is done to all servers of a host because it goes down, or is back.
//!
//! Suspending keeps the memory of running guests on the disk, where a restart of the machine does not
//! reach it. What was suspended so is marked (`suspended_for_host`), so that it alone is resumed
//! afterwards, by a request or by the host's policy (`core::reboot`); what users have suspended stays
//! as it is. Both requests may be repeated: they concern what is still to be done.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use reprieve_core::message::OperationArgs;
use reprieve_core::policy::rules;
use reprieve_core::{HostName, InstanceId, OperationId, OperationKind, VmState};
use reprieve_store::{Condition, InstanceFilter, InstanceQuery, InstanceRecord, Refusal};

use super::super::{AppError, Call};
use super::act::accept;

/// Servers that are read at once.
const PAGE: u32 = 1000;
/// Requests that are decided at once; the store takes those together that come together.
const AT_ONCE: usize = 32;

/// What was asked of the servers of a host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AskedForHost {
    /// Operations that were accepted, with their servers.
    pub operations: Vec<(InstanceId, OperationId)>,
    /// Servers that it was refused for, and why.
    pub refused: Vec<(InstanceId, String)>,
}

/// Suspends the servers of a host that are ACTIVE, so that they can go on when it is back.
///
/// # Errors
/// [`AppError::Internal`]; some of them may be suspended then.
pub async fn suspend_for_host(call: &Call<'_>, host: &HostName) -> Result<AskedForHost, AppError> {
    ask(call, host, OperationKind::Suspend).await
}

/// Resumes the servers of a host that were suspended for it.
///
/// # Errors
/// [`AppError::Internal`]; some of them may be resumed then.
pub async fn resume_for_host(call: &Call<'_>, host: &HostName) -> Result<AskedForHost, AppError> {
    ask(call, host, OperationKind::Resume).await
}

async fn ask(
    call: &Call<'_>,
    host: &HostName,
    kind: OperationKind,
) -> Result<AskedForHost, AppError> {
    let Concerned { servers, refused } = concerned(call, host, kind).await?;
    let asked = stream::iter(servers)
        .map(|id| async move { one(call, (id, host), kind).await.map(|answer| (id, answer)) })
        .buffered(AT_ONCE);
    let begun = AskedForHost { operations: Vec::new(), refused };
    asked
        .try_fold(begun, |mut all, (id, answer)| async move {
            match answer {
                Answer::Accepted(operation) => all.operations.push((id, operation)),
                Answer::UnderWay => {}
                Answer::Refused(why) => all.refused.push((id, why)),
            }
            Ok(all)
        })
        .await
}

enum Answer {
    Accepted(OperationId),
    /// It is being done, or its server is gone.
    UnderWay,
    Refused(String),
}

/// The servers that something is for, and those that it cannot be asked of.
#[derive(Default)]
struct Concerned {
    servers: Vec<InstanceId>,
    refused: Vec<(InstanceId, String)>,
}

async fn concerned(
    call: &Call<'_>,
    host: &HostName,
    kind: OperationKind,
) -> Result<Concerned, AppError> {
    let filter = InstanceFilter {
        host: Some(host.clone()),
        vm_states: vec![VmState::Active, VmState::Suspended],
        ..InstanceFilter::default()
    };
    let mut query = InstanceQuery { filter, limit: PAGE, ..InstanceQuery::default() };
    let mut found = Concerned::default();
    loop {
        let page = call.control.store.instances(&query).await?;
        query.marker = page.instances.last().map(|server| server.id);
        for server in &page.instances {
            sort(call, server, (kind, &mut found)).await?;
        }
        if !page.full || query.marker.is_none() {
            return Ok(found);
        }
    }
}

/// Whether it is for this server.
async fn sort(
    call: &Call<'_>,
    server: &InstanceRecord,
    (kind, found): (OperationKind, &mut Concerned),
) -> Result<(), AppError> {
    let resume = kind == OperationKind::Resume;
    let rule = if resume { rules::RESUME } else { rules::SUSPEND };
    let wanted = match server.vm_state {
        VmState::Active if resume => {
            if being_suspended(call, server).await? {
                let text = "it is being suspended; ask again when that is over";
                found.refused.push((server.id, text.to_owned()));
            }
            false
        }
        VmState::Active => true,
        VmState::Suspended => resume && server.suspended_for_host,
        VmState::Building
        | VmState::Paused
        | VmState::Stopped
        | VmState::Rescued
        | VmState::Error
        | VmState::Deleted => false,
    };
    // Where it is under way already there is nothing to ask for.
    if !wanted || server.active.is_some_and(|(_, what)| what == kind) {
        return Ok(());
    }
    match call.require(rule, server) {
        Ok(()) => found.servers.push(server.id),
        Err(error) => found.refused.push((server.id, error.to_string())),
    }
    Ok(())
}

/// Whether a suspend for its host is under way on a server.
async fn being_suspended(call: &Call<'_>, server: &InstanceRecord) -> Result<bool, AppError> {
    let Some((id, OperationKind::Suspend)) = server.active else { return Ok(false) };
    let operation = call.control.store.operation(id).await?;
    Ok(operation.is_some_and(|operation| operation.args.for_host))
}

/// Asks for it, if the server is still one that it is for.
async fn one(
    call: &Call<'_>,
    (id, host): (InstanceId, &HostName),
    kind: OperationKind,
) -> Result<Answer, AppError> {
    let (host, resume) = (host.clone(), kind == OperationKind::Resume);
    let condition = Condition::new(move |server: &InstanceRecord| {
        if server.host.as_ref() == Some(&host) && (!resume || server.suspended_for_host) {
            return Ok(());
        }
        let text = format!("Server {id} is no longer what it was when it was looked up.");
        Err(Refusal::from(AppError::Conflict(text)))
    });
    let args = OperationArgs { for_host: !resume, ..OperationArgs::default() };
    match accept(call, id, kind, (args, condition)).await {
        Ok(admitted) => Ok(match admitted.operation {
            Some(operation) => Answer::Accepted(operation.id),
            None => Answer::UnderWay,
        }),
        Err(AppError::NotFound(_)) => Ok(Answer::UnderWay),
        Err(error @ (AppError::Denied(_) | AppError::Conflict(_))) => {
            Ok(Answer::Refused(error.to_string()))
        }
        Err(
            error @ (AppError::BadRequest(_)
            | AppError::Forbidden(_)
            | AppError::QuotaExceeded(_)
            | AppError::Unavailable { .. }
            | AppError::Internal { .. }),
        ) => Err(error),
    }
}
