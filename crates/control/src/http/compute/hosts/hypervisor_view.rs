//! A hypervisor as JSON, in its newest form.

use std::collections::BTreeMap;
use std::sync::Arc;

use reprieve_core::HostName;
use reprieve_store::{HostRecord, HostUsage, InstanceRecord};
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

/// What servers claim of their hosts, from where the scheduler has it, too.
#[derive(Debug, Default)]
pub struct Claims {
    /// By host; hosts without servers are not in it.
    pub usage: BTreeMap<HostName, HostUsage>,
    /// Memory of each host, in MiB, that is the host's own. It counts as used, as in Nova.
    pub reserved_memory_mib: u64,
}

/// Whether [`full`] looks at what servers claim.
pub fn counts_claims(call: &ApiCall) -> bool {
    call.shows(&answers::HYPERVISOR, "vcpus_used")
}

/// Everything, with the servers on it, if they were asked for.
pub fn full(
    call: &ApiCall,
    host: &HostRecord,
    (claims, shown): (&Claims, Option<Vec<Value>>),
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
    let usage = if counts_claims(call) { usage(host, claims) } else { Vec::new() };
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
    let on_it = servers.iter().rev().filter(|server| server.host.as_ref() == Some(&host.name));
    on_it.map(|server| json!({"name": server.domain_name(), "uuid": server.id})).collect()
}

/// What a host has and what its servers were promised.
pub fn usage(host: &HostRecord, claims: &Claims) -> Vec<(&'static str, i64)> {
    let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let info = host.info.as_ref();
    let vcpus = info.map_or(0, |info| i64::from(info.vcpus));
    let memory = signed(info.map_or(0, |info| info.memory_mib));
    let disk = signed(info.map_or(0, |info| info.disk_gib));
    let disk_free = signed(info.map_or(0, |info| info.disk_free_gib));
    let used = claims.usage.get(&host.name).copied().unwrap_or_default();
    let reserved = if info.is_some() { signed(claims.reserved_memory_mib) } else { 0 };
    let memory_used = used.memory_mib.saturating_add(reserved);
    vec![
        ("vcpus", vcpus),
        ("memory_mb", memory),
        ("local_gb", disk),
        ("vcpus_used", used.vcpus),
        ("memory_mb_used", memory_used),
        ("local_gb_used", used.root_gib),
        ("free_ram_mb", memory.saturating_sub(memory_used)),
        ("free_disk_gb", disk.saturating_sub(used.root_gib)),
        ("current_workload", used.busy),
        ("running_vms", used.running),
        ("disk_available_least", disk_free),
    ]
}
