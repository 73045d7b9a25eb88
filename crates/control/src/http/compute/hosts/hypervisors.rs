//! What runs servers: services, hypervisors, availability zones (spec/api.md sections 10.3 to 10.5).

use std::collections::BTreeMap;

use axum::extract::Path;
use axum::http::StatusCode;
use reprieve_core::HostName;
use reprieve_store::{HostRecord, InstanceFilter, InstanceQuery, InstanceRecord};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::call::ApiCall;
use super::fault::{Answer, ApiFault, json_answer};
use super::policy::{self, Rule};
use super::schema::types::is_true;
use crate::app::AppError;

/// Hosts in the order of their first registration, which their numbers before 2.53 follow.
async fn hosts(call: &ApiCall) -> Result<Vec<HostRecord>, ApiFault> {
    let mut hosts = call.control.store.hosts().await.map_err(AppError::from)?;
    hosts.sort_by(|one, two| (one.created_at, &one.name).cmp(&(two.created_at, &two.name)));
    Ok(hosts)
}

/// An id that stays the same as long as the host is called the same.
fn stable_uuid(what: &str, host: &HostName) -> Uuid {
    let digest = Sha256::digest(format!("{what}/{host}"));
    let mut bytes = [0; 16];
    for (target, source) in bytes.iter_mut().zip(digest) {
        *target = source;
    }
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

/// A UUID from 2.53, before that the number of the host.
fn id(call: &ApiCall, what: &str, (index, host): (usize, &HostRecord)) -> Value {
    if call.version.since(53) {
        json!(stable_uuid(what, &host.name).to_string())
    } else {
        json!(index.saturating_add(1))
    }
}

fn is_up(call: &ApiCall, host: &HostRecord) -> bool {
    host.is_up(call.control.clock.now())
}

fn state(call: &ApiCall, host: &HostRecord) -> &'static str {
    if is_up(call, host) { "up" } else { "down" }
}

const fn status(host: &HostRecord) -> &'static str {
    if host.enabled { "enabled" } else { "disabled" }
}

const SERVICE: &str = "service";
const HYPERVISOR: &str = "hypervisor";
const BINARY: &str = "nova-compute";

/// `GET /os-services`.
pub async fn services(call: ApiCall) -> Answer {
    call.authorize(policy::SERVICES)?;
    let zone = &call.control.settings.availability_zone;
    let wanted = |name: &str, value: &str| call.query.get(name).is_none_or(|given| given == value);
    let hosts = hosts(&call).await?;
    let services: Vec<Value> = hosts
        .iter()
        .enumerate()
        .filter(|(_, host)| wanted("host", host.name.as_str()) && wanted("binary", BINARY))
        .map(|(index, host)| {
            let mut service = json!({
                "binary": BINARY,
                "host": host.name.as_str(),
                "id": id(&call, SERVICE, (index, host)),
                "zone": zone,
                "status": status(host),
                "state": state(&call, host),
                "updated_at": host.last_seen.micros_naive(),
                "disabled_reason": null,
            });
            if let (true, Some(fields)) = (call.version.since(11), service.as_object_mut()) {
                fields.insert("forced_down".to_owned(), false.into());
            }
            service
        })
        .collect();
    Ok(json_answer(StatusCode::OK, &json!({"services": services})))
}

/// `GET /os-availability-zone`.
pub async fn zones(call: ApiCall) -> Answer {
    call.authorize(policy::ZONES)?;
    let available = hosts(&call).await?.iter().any(|host| is_up(&call, host));
    zone_answer(&call, available, Value::Null)
}

/// `GET /os-availability-zone/detail`.
pub async fn zones_detail(call: ApiCall) -> Answer {
    call.authorize(policy::ZONES_DETAIL)?;
    let hosts = hosts(&call).await?;
    let available = hosts.iter().any(|host| is_up(&call, host));
    let shown: Map<String, Value> = hosts
        .iter()
        .map(|host| {
            let service = json!({BINARY: {
                "available": is_up(&call, host),
                "active": host.enabled,
                "updated_at": host.last_seen.micros_naive(),
            }});
            (host.name.to_string(), service)
        })
        .collect();
    zone_answer(&call, available, shown.into())
}

fn zone_answer(call: &ApiCall, available: bool, hosts: Value) -> Answer {
    let zone = json!({
        "zoneName": call.control.settings.availability_zone,
        "zoneState": {"available": available},
        "hosts": hosts,
    });
    Ok(json_answer(StatusCode::OK, &json!({"availabilityZoneInfo": [zone]})))
}

/// `GET /os-hypervisors`.
pub async fn hypervisors(call: ApiCall) -> Answer {
    list(&call, policy::HYPERVISORS, false).await
}

/// `GET /os-hypervisors/detail`.
pub async fn hypervisors_detail(call: ApiCall) -> Answer {
    list(&call, policy::HYPERVISORS_DETAIL, true).await
}

/// `GET /os-hypervisors/{id}`.
pub async fn hypervisor(call: ApiCall, Path(wanted): Path<String>) -> Answer {
    call.authorize(policy::HYPERVISORS_SHOW)?;
    let hosts = hosts(&call).await?;
    let found = find(&call, &hosts, &wanted)?;
    let servers = servers(&call).await?;
    let shown = hypervisor_view(&call, found, Some(&servers));
    Ok(json_answer(StatusCode::OK, &json!({"hypervisor": shown})))
}

/// `GET /os-hypervisors/{id}/uptime`, until 2.87.
pub async fn uptime(call: ApiCall, Path(wanted): Path<String>) -> Answer {
    call.require_until(87)?;
    call.authorize(policy::HYPERVISORS_UPTIME)?;
    let hosts = hosts(&call).await?;
    find(&call, &hosts, &wanted)?;
    let text = "Virt driver does not implement uptime function.";
    Err(ApiFault::new(StatusCode::NOT_IMPLEMENTED, text))
}

/// `GET /os-hypervisors/statistics`, until 2.87: sums over all.
pub async fn statistics(call: ApiCall) -> Answer {
    call.require_until(87)?;
    call.authorize(policy::HYPERVISORS_STATISTICS)?;
    let hosts = hosts(&call).await?;
    let servers = servers(&call).await?;
    let mut sums: BTreeMap<&str, i64> = BTreeMap::new();
    for host in &hosts {
        for (name, value) in usage(host, &servers) {
            let sum = sums.entry(name).or_default();
            *sum = sum.saturating_add(value);
        }
    }
    sums.insert("count", i64::try_from(hosts.len()).unwrap_or(i64::MAX));
    Ok(json_answer(StatusCode::OK, &json!({"hypervisor_statistics": sums})))
}

async fn list(call: &ApiCall, rule: Rule, detail: bool) -> Answer {
    call.authorize(rule)?;
    let with_servers = asks_for_servers(call);
    let servers = if detail || with_servers { Some(servers(call).await?) } else { None };
    let pattern = call.query.get("hypervisor_hostname_pattern");
    let shown: Vec<Value> = hosts(call)
        .await?
        .iter()
        .enumerate()
        .filter(|(_, host)| pattern.is_none_or(|pattern| hostname(host).contains(pattern)))
        .map(|found| {
            if detail {
                hypervisor_view(call, found, servers.as_deref())
            } else {
                let mut view = brief(call, found);
                add_servers(call, &mut view, (found.1, servers.as_deref()));
                Value::Object(view)
            }
        })
        .collect();
    Ok(json_answer(StatusCode::OK, &json!({"hypervisors": shown})))
}

fn asks_for_servers(call: &ApiCall) -> bool {
    let asked = call.query.get("with_servers").is_some_and(|text| is_true(&json!(text)));
    asked && call.version.since(53)
}

fn find<'a>(
    call: &ApiCall,
    hosts: &'a [HostRecord],
    wanted: &str,
) -> Result<(usize, &'a HostRecord), ApiFault> {
    if call.version.since(53) && Uuid::try_parse(wanted).is_err() {
        return Err(ApiFault::bad_request(format!("Invalid uuid {wanted}")));
    }
    let same = |found: &(usize, &HostRecord)| match id(call, HYPERVISOR, *found) {
        Value::String(id) => id.eq_ignore_ascii_case(wanted),
        number => wanted.parse().is_ok_and(|wanted: u64| number == json!(wanted)),
    };
    hosts.iter().enumerate().find(same).ok_or_else(|| {
        ApiFault::not_found(format!("Hypervisor with ID '{wanted}' could not be found."))
    })
}

/// Every server that exists, for sums per host.
async fn servers(call: &ApiCall) -> Result<Vec<InstanceRecord>, ApiFault> {
    let query = InstanceQuery {
        filter: InstanceFilter::default(),
        limit: u32::MAX,
        ..InstanceQuery::default()
    };
    Ok(call.control.store.instances(&query).await.map_err(AppError::from)?.instances)
}

fn on<'a>(
    host: &HostRecord,
    servers: &'a [InstanceRecord],
) -> impl Iterator<Item = &'a InstanceRecord> {
    let name = host.name.clone();
    servers.iter().filter(move |server| server.host.as_ref() == Some(&name))
}

fn hostname(host: &HostRecord) -> &str {
    host.info.as_ref().map_or(host.name.as_str(), |info| info.hypervisor_hostname.as_str())
}

fn brief(call: &ApiCall, found: (usize, &HostRecord)) -> Map<String, Value> {
    let (_, host) = found;
    let mut view = Map::new();
    view.insert("id".to_owned(), id(call, HYPERVISOR, found));
    view.insert("hypervisor_hostname".to_owned(), hostname(host).into());
    view.insert("state".to_owned(), state(call, host).into());
    view.insert("status".to_owned(), status(host).into());
    view
}

fn add_servers(
    call: &ApiCall,
    view: &mut Map<String, Value>,
    (host, servers): (&HostRecord, Option<&[InstanceRecord]>),
) {
    let Some(servers) = servers.filter(|_| asks_for_servers(call)) else { return };
    let list: Vec<Value> = on(host, servers)
        .map(|server| json!({"name": server.domain_name(), "uuid": server.id}))
        .collect();
    if !list.is_empty() || call.version.since(75) {
        view.insert("servers".to_owned(), list.into());
    }
}

fn hypervisor_view(
    call: &ApiCall,
    found: (usize, &HostRecord),
    servers: Option<&[InstanceRecord]>,
) -> Value {
    let (_, host) = found;
    let info = host.info.as_ref();
    let mut view = brief(call, found);
    let service = json!({
        "id": id(call, SERVICE, found), "host": host.name.as_str(), "disabled_reason": null,
    });
    let mut insert = |name: &str, value: Value| view.insert(name.to_owned(), value);
    insert("hypervisor_type", json!(info.map_or("QEMU", |info| info.hypervisor_type.as_str())));
    insert("hypervisor_version", json!(info.map_or(0, |info| info.hypervisor_version)));
    insert("host_ip", json!("127.0.0.1"));
    insert("service", service);
    if call.version.until(87) {
        for (name, value) in usage(host, servers.unwrap_or_default()) {
            insert(name, json!(value));
        }
        let cpu = info.map(|info| info.cpu_info.clone()).unwrap_or_default();
        let shown = if call.version.since(28) { json!({"model": cpu}) } else { json!(cpu) };
        insert("cpu_info", shown);
    } else {
        insert("uptime", Value::Null);
    }
    add_servers(call, &mut view, (host, servers));
    Value::Object(view)
}

/// What a host has and what its servers were promised, until 2.87.
fn usage(host: &HostRecord, servers: &[InstanceRecord]) -> Vec<(&'static str, i64)> {
    let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let info = host.info.as_ref();
    let vcpus = info.map_or(0, |info| i64::from(info.vcpus));
    let memory = signed(info.map_or(0, |info| info.memory_mib));
    let disk = signed(info.map_or(0, |info| info.disk_gib));
    let disk_free = signed(info.map_or(0, |info| info.disk_free_gib));
    let sum = |of: fn(&InstanceRecord) -> u64| {
        signed(on(host, servers).fold(0_u64, |sum, server| sum.saturating_add(of(server))))
    };
    let memory_used = sum(|server| server.flavor.memory_mib);
    let disk_used = sum(|server| server.flavor.root_gib);
    vec![
        ("vcpus", vcpus),
        ("memory_mb", memory),
        ("local_gb", disk),
        ("vcpus_used", sum(|server| u64::from(server.flavor.vcpus))),
        ("memory_mb_used", memory_used),
        ("local_gb_used", disk_used),
        ("free_ram_mb", memory.saturating_sub(memory_used)),
        ("free_disk_gb", disk.saturating_sub(disk_used)),
        ("current_workload", sum(|server| u64::from(server.task_state.is_some()))),
        ("running_vms", sum(|server| u64::from(server.power_state.has_process()))),
        ("disk_available_least", disk_free),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_hosts_are_stable_and_differ() {
        let host = HostName::from("cmp1");
        assert_eq!(stable_uuid(SERVICE, &host), stable_uuid(SERVICE, &host));
        assert_ne!(stable_uuid(SERVICE, &host), stable_uuid(HYPERVISOR, &host));
        assert_ne!(stable_uuid(SERVICE, &host), stable_uuid(SERVICE, &"cmp2".into()));
    }
}
