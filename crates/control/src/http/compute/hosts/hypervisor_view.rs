//! A hypervisor as JSON, per microversion.

use std::sync::Arc;

use reprieve_store::{HostRecord, InstanceRecord};
use serde_json::{Map, Value, json};

use super::super::call::ApiCall;
use super::{Kind, id, is_up, state, status};

/// Id, name, state, status.
pub fn brief(call: &ApiCall, host: &HostRecord) -> Map<String, Value> {
    Map::from_iter([
        ("id".to_owned(), id(call, Kind::Hypervisor, host)),
        ("hypervisor_hostname".to_owned(), host.node().into()),
        ("state".to_owned(), state(call, host).into()),
        ("status".to_owned(), status(host).into()),
    ])
}

/// Everything. `servers` are all servers, of which those on the host count until 2.87.
pub fn full(
    call: &ApiCall,
    host: &HostRecord,
    servers: &[Arc<InstanceRecord>],
) -> Map<String, Value> {
    let info = host.info.as_ref();
    let mut view = brief(call, host);
    let service = json!({
        "id": id(call, Kind::Service, host),
        "host": host.name.as_str(),
        "disabled_reason": host.disabled_reason,
    });
    let mut insert = |name: &str, value: Value| view.insert(name.to_owned(), value);
    insert("hypervisor_type", json!(info.map_or("QEMU", |info| info.hypervisor_type.as_str())));
    insert("hypervisor_version", json!(info.map_or(0, |info| info.hypervisor_version)));
    insert("host_ip", json!(info.map_or("127.0.0.1", |info| info.host_ip.as_str())));
    insert("service", service);
    if call.version.until(87) {
        for (name, value) in usage(host, servers) {
            insert(name, json!(value));
        }
        insert("cpu_info", cpu_info(call, host));
    } else {
        insert("uptime", json!(uptime(call, host)));
    }
    view
}

/// What uptime(1) said on the host lately; `None` while it is down or does not say.
pub fn uptime<'a>(call: &ApiCall, host: &'a HostRecord) -> Option<&'a str> {
    let text = host.info.as_ref().map(|info| info.uptime.as_str());
    text.filter(|text| !text.is_empty() && is_up(call, host))
}

/// JSON in a string, from 2.28 as it is.
fn cpu_info(call: &ApiCall, host: &HostRecord) -> Value {
    let text = host.info.as_ref().map_or("", |info| info.cpu_info.as_str());
    if !call.version.since(28) {
        return json!(text);
    }
    serde_json::from_str(text).ok().filter(Value::is_object).unwrap_or_else(|| json!({}))
}

/// Name and UUID of the servers on a host.
pub fn servers_on(host: &HostRecord, servers: &[Arc<InstanceRecord>]) -> Vec<Value> {
    on(host, servers)
        .map(|server| json!({"name": server.domain_name(), "uuid": server.id}))
        .collect()
}

fn on<'a>(
    host: &HostRecord,
    servers: &'a [Arc<InstanceRecord>],
) -> impl Iterator<Item = &'a InstanceRecord> {
    let name = host.name.clone();
    let on_it = move |server: &&InstanceRecord| server.host.as_ref() == Some(&name);
    servers.iter().map(Arc::as_ref).filter(on_it)
}

/// What a host has and what its servers were promised.
pub fn usage(host: &HostRecord, servers: &[Arc<InstanceRecord>]) -> Vec<(&'static str, i64)> {
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
