//! A hypervisor as JSON, in its newest form.

use std::sync::Arc;

use reprieve_store::{HostRecord, InstanceRecord};
use serde_json::{Map, Value, json};

use super::super::call::ApiCall;
use super::super::versioned::answers;
use super::{Kind, id, is_up, state, status};

/// A hypervisor, and what older versions show of it.
pub struct Hypervisor {
    /// The host.
    pub host: HostRecord,
    /// What it has and what its servers were promised; nothing, for versions that do not show it.
    usage: Vec<(&'static str, i64)>,
}

impl Hypervisor {
    /// One of the numbers of [`usage`].
    #[must_use]
    pub fn used(&self, name: &str) -> Value {
        let found = self.usage.iter().find(|(known, _)| *known == name);
        json!(found.map_or(0, |(_, value)| *value))
    }

    /// Its CPU, as an object.
    #[must_use]
    pub fn cpu_info(&self) -> Value {
        let parsed = serde_json::from_str(self.cpu_info_text()).ok();
        parsed.filter(Value::is_object).unwrap_or_else(|| json!({}))
    }

    /// Its CPU, as JSON in a text.
    #[must_use]
    pub fn cpu_info_text(&self) -> &str {
        self.host.info.as_ref().map_or("", |info| info.cpu_info.as_str())
    }
}

/// Id, name, state, status, and the servers on it, if they were asked for.
pub fn summary(call: &ApiCall, host: &HostRecord, servers: Option<Vec<Value>>) -> Value {
    let newest = with_servers(brief(call, host), servers);
    call.as_asked(&answers::HYPERVISOR_SUMMARY, host, newest)
}

fn brief(call: &ApiCall, host: &HostRecord) -> Map<String, Value> {
    Map::from_iter([
        ("id".to_owned(), id(Kind::Hypervisor, host).into()),
        ("hypervisor_hostname".to_owned(), host.node().into()),
        ("state".to_owned(), state(call, host).into()),
        ("status".to_owned(), status(host).into()),
    ])
}

fn with_servers(mut view: Map<String, Value>, servers: Option<Vec<Value>>) -> Value {
    if let Some(servers) = servers {
        view.insert("servers".to_owned(), servers.into());
    }
    view.into()
}

/// Whether [`full`] looks at servers.
pub fn counts_servers(call: &ApiCall) -> bool {
    call.shows(&answers::HYPERVISOR, "vcpus_used")
}

/// Everything. `all` are the servers of all hosts, of which those on this one count.
pub fn full(
    call: &ApiCall,
    host: &HostRecord,
    (all, shown): (&[Arc<InstanceRecord>], Option<Vec<Value>>),
) -> Value {
    let info = host.info.as_ref();
    let mut view = brief(call, host);
    let service = json!({
        "id": id(Kind::Service, host),
        "host": host.name.as_str(),
        "disabled_reason": host.disabled_reason,
    });
    let mut insert = |name: &str, value: Value| view.insert(name.to_owned(), value);
    insert("hypervisor_type", json!(info.map_or("QEMU", |info| info.hypervisor_type.as_str())));
    insert("hypervisor_version", json!(info.map_or(0, |info| info.hypervisor_version)));
    insert("host_ip", json!(info.map_or("127.0.0.1", |info| info.host_ip.as_str())));
    insert("service", service);
    insert("uptime", json!(uptime(call, host)));
    let usage = if counts_servers(call) { usage(host, all) } else { Vec::new() };
    let hypervisor = Hypervisor { host: host.clone(), usage };
    call.as_asked(&answers::HYPERVISOR, &hypervisor, with_servers(view, shown))
}

/// What uptime(1) said on the host lately; `None` while it is down or does not say.
pub fn uptime<'a>(call: &ApiCall, host: &'a HostRecord) -> Option<&'a str> {
    let text = host.info.as_ref().map(|info| info.uptime.as_str());
    text.filter(|text| !text.is_empty() && is_up(call, host))
}

/// Name and UUID of the servers on a host, the oldest first as in Nova: all other lists of servers
/// begin with the newest.
pub fn servers_on(host: &HostRecord, servers: &[Arc<InstanceRecord>]) -> Vec<Value> {
    on(host, servers)
        .rev()
        .map(|server| json!({"name": server.domain_name(), "uuid": server.id}))
        .collect()
}

fn on<'a>(
    host: &HostRecord,
    servers: &'a [Arc<InstanceRecord>],
) -> impl DoubleEndedIterator<Item = &'a InstanceRecord> {
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
