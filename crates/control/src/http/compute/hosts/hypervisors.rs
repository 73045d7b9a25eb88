//! `/os-hypervisors` (spec/api.md section 10.4).

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::Path;
use axum::http::StatusCode;
use reprieve_store::{HostRecord, InstanceFilter, InstanceQuery, InstanceRecord};
use serde_json::{Value, json};

use super::super::call::ApiCall;
use super::super::fault::{Answer, ApiFault, json_answer};
use super::super::paging;
use super::super::policy::{self, Rule};
use super::super::schema::hosts as schema;
use super::super::schema::types::is_true;
use super::super::versioned::{answers, queries, rules};
use super::hypervisor_view::{Claims, counts_claims, full, servers_on, summary, uptime, usage};
use super::{Kind, id, is_up, require_uuid, with_id};
use crate::app::{AppError, hosts};

/// `GET /os-hypervisors`.
pub async fn index(call: ApiCall) -> Answer {
    list(&call, policy::HYPERVISORS, false).await
}

/// `GET /os-hypervisors/detail`.
pub async fn detail(call: ApiCall) -> Answer {
    list(&call, policy::HYPERVISORS_DETAIL, true).await
}

/// `GET /os-hypervisors/{id}`.
pub async fn show(call: ApiCall, Path(wanted): Path<String>) -> Answer {
    call.check_query(&schema::HYPERVISOR)?;
    call.authorize(policy::HYPERVISORS_SHOW)?;
    let hosts = hosts::list(&call.control).await?;
    let found = find(&call, &hosts, &wanted)?;
    let with_servers = asks_for_servers(&call);
    let servers = servers_if(&call, with_servers).await?;
    let claims = claims_if(&call, counts_claims(&call)).await?;
    let on = with_servers.then(|| servers_on(found, &servers));
    let shown = full(&call, found, (&claims, on));
    Ok(json_answer(StatusCode::OK, &json!({"hypervisor": shown})))
}

/// `GET /os-hypervisors/{pattern}/search`.
pub async fn search(call: ApiCall, Path(pattern): Path<String>) -> Answer {
    call.authorize(policy::HYPERVISORS_SEARCH)?;
    let hosts = matching(hosts::list(&call.control).await?, &pattern)?;
    let shown: Vec<Value> = hosts.iter().map(|host| summary(&call, host, None)).collect();
    Ok(json_answer(StatusCode::OK, &json!({"hypervisors": shown})))
}

/// `GET /os-hypervisors/{pattern}/servers`.
pub async fn with_servers(call: ApiCall, Path(pattern): Path<String>) -> Answer {
    call.authorize(policy::HYPERVISORS_SERVERS)?;
    let hosts = matching(hosts::list(&call.control).await?, &pattern)?;
    let servers = servers(&call).await?;
    let shown = hosts.iter().map(|host| summary(&call, host, Some(servers_on(host, &servers))));
    let shown: Vec<Value> = shown.collect();
    Ok(json_answer(StatusCode::OK, &json!({"hypervisors": shown})))
}

/// `GET /os-hypervisors/{id}/uptime`.
pub async fn show_uptime(call: ApiCall, Path(wanted): Path<String>) -> Answer {
    call.authorize(policy::HYPERVISORS_UPTIME)?;
    let hosts = hosts::list(&call.control).await?;
    let host = find(&call, &hosts, &wanted)?;
    if !is_up(&call, host) {
        let text = format!("Compute service of {} is unavailable at this time.", host.name);
        return Err(ApiFault::bad_request(text));
    }
    let not_told = || {
        let text = "Virt driver does not implement uptime function.";
        ApiFault::new(StatusCode::NOT_IMPLEMENTED, text)
    };
    let text = uptime(&call, host).ok_or_else(not_told)?;
    let mut shown = summary(&call, host, None);
    if let Some(fields) = shown.as_object_mut() {
        fields.insert("uptime".to_owned(), text.into());
    }
    Ok(json_answer(StatusCode::OK, &json!({"hypervisor": shown})))
}

/// `GET /os-hypervisors/statistics`: sums over all.
pub async fn statistics(call: ApiCall) -> Answer {
    call.authorize(policy::HYPERVISORS_STATISTICS)?;
    let hosts = hosts::list(&call.control).await?;
    let claims = claims_if(&call, true).await?;
    let mut sums: BTreeMap<&str, i64> = BTreeMap::new();
    for host in &hosts {
        for (name, value) in usage(host, &claims) {
            let sum = sums.entry(name).or_default();
            *sum = sum.saturating_add(value);
        }
    }
    sums.insert("count", i64::try_from(hosts.len()).unwrap_or(i64::MAX));
    Ok(json_answer(StatusCode::OK, &json!({"hypervisor_statistics": sums})))
}

async fn list(call: &ApiCall, rule: Rule, detail: bool) -> Answer {
    call.check_query(&schema::HYPERVISORS)?;
    call.authorize(rule)?;
    let (page, full_page) = page(call, hosts::list(&call.control).await?)?;
    let with_servers = asks_for_servers(call);
    let servers = servers_if(call, with_servers).await?;
    let claims = claims_if(call, detail && counts_claims(call)).await?;
    let shown = page.iter().map(|host| {
        let on = with_servers.then(|| servers_on(host, &servers));
        if detail { full(call, host, (&claims, on)) } else { summary(call, host, on) }
    });
    let shown: Vec<Value> = shown.collect();
    let mut body = json!({"hypervisors": shown});
    if let (true, Some(last), Some(fields)) = (full_page, page.last(), body.as_object_mut()) {
        let path = if detail { "os-hypervisors/detail" } else { "os-hypervisors" };
        let next = call.links.next(path, &call.query, &marker(call, last));
        fields.insert("hypervisors_links".to_owned(), next);
    }
    Ok(json_answer(StatusCode::OK, &body))
}

/// Those that are asked for: all, a page, or the ones whose name matches.
fn page(call: &ApiCall, hosts: Vec<HostRecord>) -> Result<(Vec<HostRecord>, bool), ApiFault> {
    let query = call.counting(&queries::HYPERVISORS);
    match query.get("hypervisor_hostname_pattern") {
        Some(_) if query.has("limit") || query.has("marker") => {
            let text = "Paging over hypervisors with the hypervisor_hostname_pattern query \
                        parameter is not supported.";
            Err(ApiFault::bad_request(text))
        }
        Some(pattern) => Ok((matching(hosts, pattern)?, false)),
        None if call.shows(&answers::HYPERVISORS, "hypervisors_links") => {
            paging::cut(hosts, call.paged(&query), |host| marker(call, host))
        }
        None => Ok((hosts, false)),
    }
}

fn matching(mut hosts: Vec<HostRecord>, pattern: &str) -> Result<Vec<HostRecord>, ApiFault> {
    let wanted = pattern.to_lowercase();
    hosts.retain(|host| host.node().to_lowercase().contains(&wanted));
    if hosts.is_empty() {
        let text = format!("No hypervisor matching '{pattern}' could be found.");
        return Err(ApiFault::not_found(text));
    }
    Ok(hosts)
}

/// What a page that ends with the host is followed by.
fn marker(call: &ApiCall, host: &HostRecord) -> String {
    match call.applies(rules::HOSTS_HAVE_UUIDS) {
        true => id(Kind::Hypervisor, host),
        false => host.number.to_string(),
    }
}

fn find<'a>(
    call: &ApiCall,
    hosts: &'a [HostRecord],
    wanted: &str,
) -> Result<&'a HostRecord, ApiFault> {
    require_uuid(call, wanted)?;
    with_id(call, Kind::Hypervisor, hosts, wanted).ok_or_else(|| {
        ApiFault::not_found(format!("Hypervisor with ID '{wanted}' could not be found."))
    })
}

/// What servers claim of their hosts, if it is needed.
async fn claims_if(call: &ApiCall, needed: bool) -> Result<Claims, ApiFault> {
    if !needed {
        return Ok(Claims::default());
    }
    let store = &call.control.store;
    let usage = store.usage_of_hosts().await.map_err(AppError::from)?;
    Ok(Claims { usage, reserved_memory_mib: store.claim_policy().reserved_memory_mib })
}

/// Every server that exists.
async fn servers(call: &ApiCall) -> Result<Vec<Arc<InstanceRecord>>, ApiFault> {
    let query = InstanceQuery {
        filter: InstanceFilter::default(),
        limit: u32::MAX,
        ..InstanceQuery::default()
    };
    Ok(call.control.store.instances(&query).await.map_err(AppError::from)?.instances)
}

/// The same, if they are needed.
async fn servers_if(call: &ApiCall, needed: bool) -> Result<Vec<Arc<InstanceRecord>>, ApiFault> {
    if needed { servers(call).await } else { Ok(Vec::new()) }
}

fn asks_for_servers(call: &ApiCall) -> bool {
    let query = call.counting(&queries::HYPERVISORS);
    query.get("with_servers").is_some_and(|text| is_true(&json!(text)))
}
