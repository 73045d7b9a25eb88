//! Usage of projects in a period: `/os-simple-tenant-usage`.

use std::time::Duration;

use axum::extract::Path;
use axum::http::StatusCode;
use reprieve_core::{ProjectId, Timestamp};
use serde_json::{Value, json};

use super::call::ApiCall;
use super::fault::{Answer, ApiFault, json_answer};
use super::paging;
use super::policy;
use super::schema::usage as schema;
use super::versioned::{answers, queries};
use crate::app::usage::{self, ProjectUsage, ServerUsage, UsagePage};

/// Its path.
pub const PATH: &str = "os-simple-tenant-usage";

/// From when to when.
type Period = (Timestamp, Timestamp);

/// `GET /os-simple-tenant-usage`: all projects.
pub async fn index(call: ApiCall) -> Answer {
    call.check_query(&schema::LIST)?;
    call.authorize(policy::USAGE_LIST)?;
    let period = period(&call)?;
    let page = page(&call);
    let projects = usage::report(&call.app(), None, period, &page).await?;
    let detailed = call.query.all("detailed").next() == Some("1");
    let shown: Vec<Value> =
        projects.iter().map(|project| view(project, period, detailed)).collect();
    let mut body = json!({"tenant_usages": shown});
    link(&call, &mut body, ("tenant_usages_links", PATH), (&projects, &page));
    Ok(json_answer(StatusCode::OK, &call.as_asked(&answers::USAGE, &(), body)))
}

/// `GET /os-simple-tenant-usage/{project}`.
pub async fn show(call: ApiCall, Path(id): Path<String>) -> Answer {
    call.check_query(&schema::SHOW)?;
    let project = ProjectId::from(id.as_str());
    call.authorize_about(policy::USAGE_SHOW, &project)?;
    let period = period(&call)?;
    let page = page(&call);
    let projects = usage::report(&call.app(), Some(project), period, &page).await?;
    let shown = projects.first().map_or_else(|| json!({}), |first| view(first, period, true));
    let mut body = json!({"tenant_usage": shown});
    let path = format!("{PATH}/{id}");
    link(&call, &mut body, ("tenant_usage_links", &path), (&projects, &page));
    Ok(json_answer(StatusCode::OK, &call.as_asked(&answers::USAGE, &(), body)))
}

/// Without a limit, also where pages cannot be asked for, a report has at most as many servers as a
/// page can have.
fn page(call: &ApiCall) -> UsagePage {
    let query = call.counting(&queries::USAGE);
    let marker = query.get("marker").filter(|marker| !marker.is_empty());
    UsagePage { marker: marker.map(str::to_owned), limit: paging::limit(&query, call.max_limit()) }
}

/// The link to the next page, if this one is full. Pages are of servers, not of projects.
fn link(
    call: &ApiCall,
    body: &mut Value,
    (name, path): (&str, &str),
    (projects, page): (&[ProjectUsage], &UsagePage),
) {
    let mut servers = projects.iter().flat_map(|project| &project.servers);
    let limit = usize::try_from(page.limit).unwrap_or(usize::MAX);
    let full = servers.clone().count() == limit;
    if let (true, Some(last), Some(fields)) = (full, servers.next_back(), body.as_object_mut()) {
        let links = call.links.next(path, &call.query, &last.server.id.to_string());
        fields.insert(name.to_owned(), links);
    }
}

/// `start` and `end`; both are now if they are not given. The report never looks ahead.
fn period(call: &ApiCall) -> Result<Period, ApiFault> {
    let now = call.control.clock.now();
    let read = |name: &str| match call.query.all(name).next().filter(|text| !text.is_empty()) {
        None => Ok(None),
        Some(text) => instant(text).map(Some),
    };
    let begin = read("start")?.unwrap_or(now);
    // A period of nothing is refused, but that is what asking for none would be.
    let end = read("end")?.unwrap_or_else(|| now.plus(Duration::from_micros(1)));
    if begin >= end {
        return Err(ApiFault::bad_request(
            "Invalid start time. The start time cannot occur after the end time.",
        ));
    }
    Ok((begin, end.min(now)))
}

/// A time in one of the three spellings that Nova takes here: none of them names a zone.
fn instant(text: &str) -> Result<Timestamp, ApiFault> {
    let invalid =
        || ApiFault::bad_request("Invalid datetime string: Datetime is in invalid format");
    let (date, time) = text.split_once(['T', ' ']).ok_or_else(invalid)?;
    let digits = |text: &str, others: &str| {
        text.bytes().all(|byte| byte.is_ascii_digit() || others.as_bytes().contains(&byte))
    };
    if !digits(date, "-") || !digits(time, ":.") {
        return Err(invalid());
    }
    Timestamp::parse_iso(&format!("{date}T{time}")).ok_or_else(invalid)
}

fn view(project: &ProjectUsage, (begin, end): Period, detailed: bool) -> Value {
    let mut shown = json!({
        "tenant_id": project.project_id.as_str(),
        "total_local_gb_usage": project.total(|usage| usage.local_gib),
        "total_vcpus_usage": project.total(|usage| usage.server.flavor.vcpus.into()),
        "total_memory_mb_usage": project.total(|usage| usage.server.flavor.memory_mib),
        "total_hours": project.total(|_| 1),
        "start": begin.micros_naive(),
        "stop": end.micros_naive(),
    });
    if let (true, Some(fields)) = (detailed, shown.as_object_mut()) {
        let servers: Vec<Value> = project.servers.iter().map(server).collect();
        fields.insert("server_usages".to_owned(), servers.into());
    }
    shown
}

fn server(usage: &ServerUsage) -> Value {
    let server = &usage.server;
    let ended = server.terminated_at;
    let state = if ended.is_some() { "terminated" } else { server.vm_state.as_str() };
    json!({
        "hours": usage.hours,
        "flavor": server.flavor.name,
        "instance_id": server.id,
        "name": server.name,
        "tenant_id": server.project_id.as_str(),
        "memory_mb": server.flavor.memory_mib,
        "local_gb": usage.local_gib,
        "vcpus": server.flavor.vcpus,
        "started_at": usage.started_at.micros_naive(),
        "ended_at": ended.map(Timestamp::micros_naive),
        "state": state,
        "uptime": usage.uptime,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_spellings_and_no_zone() {
        let second = Timestamp::parse_iso("2026-08-21T10:15:40Z").unwrap();
        for good in ["2026-08-21T10:15:40", "2026-08-21T10:15:40.000000", "2026-08-21 10:15:40.0"] {
            assert_eq!(instant(good).unwrap(), second, "{good}");
        }
        for bad in ["", "x", "2026-08-21", "2026-08-21T10:15:40Z", "2026-08-21T10:15:40+02:00"] {
            assert_eq!(
                instant(bad).unwrap_err().message(),
                "Invalid datetime string: Datetime is in invalid format",
                "{bad}"
            );
        }
    }
}
