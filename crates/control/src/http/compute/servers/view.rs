//! A server as JSON, per microversion (spec/api.md section 7.3).

use std::collections::BTreeMap;

use reprieve_core::{HostName, Lock, ProjectId, TaskState, Timestamp};
use reprieve_store::{HostRecord, InstanceRecord, SchedulerHints};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha224};

use super::super::call::ApiCall;
use super::super::fault::ApiFault;
use super::super::policy;
use crate::app::AppError;
use crate::app::servers::current_zone;

/// Statuses that have a `progress`.
const WITH_PROGRESS: [&str; 6] =
    ["ACTIVE", "BUILD", "REBUILD", "RESIZE", "VERIFY_RESIZE", "MIGRATING"];
/// Statuses that show their `fault`.
const WITH_FAULT: [&str; 2] = ["ERROR", "DELETED"];

/// Status of a host that says nothing.
const UNKNOWN: &str = "UNKNOWN";

/// Which answer the server is part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// `GET /servers/{id}`.
    Show,
    /// `GET /servers/detail`.
    Detail,
    /// `PUT /servers/{id}`: without what other services know, before 2.75.
    Update,
}

/// What of the hosts is shown: read once for all servers of an answer.
#[derive(Debug, Default)]
pub struct Hosts {
    records: BTreeMap<HostName, HostRecord>,
    now: Option<Timestamp>,
}

impl Hosts {
    /// The hosts, if the caller may see anything of them.
    ///
    /// # Errors
    /// 500 when the database fails.
    pub async fn for_call(call: &ApiCall) -> Result<Self, ApiFault> {
        let shown = [
            policy::SERVERS_HOST_STATUS,
            policy::SERVERS_HOST_STATUS_UNKNOWN,
            policy::EXTENDED_ATTRIBUTES,
        ];
        if !shown.iter().any(|rule| call.may_own(*rule)) {
            return Ok(Self::default());
        }
        let hosts = call.control.store.hosts().await.map_err(AppError::from)?;
        let records = hosts.into_iter().map(|host| (host.name.clone(), host)).collect();
        Ok(Self { records, now: Some(call.control.clock.now()) })
    }

    fn status(&self, host: Option<&HostName>) -> &'static str {
        let Some(host) = host else { return "" };
        match (self.records.get(host), self.now) {
            (Some(host), Some(_)) if host.forced_down => "DOWN",
            (Some(host), Some(_)) if !host.enabled => "MAINTENANCE",
            (Some(host), Some(now)) if host.is_up(now) => "UP",
            // It answers and says that its hypervisor does not.
            (Some(host), Some(now)) if host.is_alive(now) => "DOWN",
            _ => UNKNOWN,
        }
    }

    fn hypervisor(&self, host: Option<&HostName>) -> Option<String> {
        let host = host?;
        let known = self.records.get(host).map(|record| record.node().to_owned());
        Some(known.unwrap_or_else(|| host.to_string()))
    }
}

/// `hostId`: tells whether two servers of a project share a host without naming it.
#[must_use]
pub fn host_id(project: &ProjectId, host: Option<&HostName>) -> String {
    host.map_or_else(String::new, |host| {
        let digest = Sha224::digest(format!("{project}{host}"));
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    })
}

/// `GET /servers`: id, name, links.
#[must_use]
pub fn summary(call: &ApiCall, server: &InstanceRecord) -> Value {
    json!({
        "id": server.id,
        "name": server.name,
        "links": call.links.both(&format!("servers/{}", server.id)),
    })
}

/// All that the caller may see of a server.
#[must_use]
pub fn full(call: &ApiCall, server: &InstanceRecord, hosts: &Hosts, answer: Answer) -> Value {
    let mut fields = base(call, server);
    state(call, server, &mut fields);
    if answer != Answer::Update || call.version.since(75) {
        extended(call, server, hosts, &mut fields);
    }
    recent(call, server, &mut fields);
    if answer != Answer::Detail && call.version.since(71) {
        let groups: Vec<String> = server.server_group.iter().map(ToString::to_string).collect();
        fields.insert("server_groups".to_owned(), json!(groups));
    }
    Value::Object(fields)
}

/// The host, once it has the server. One that was only chosen is not shown, as in Nova.
fn host(server: &InstanceRecord) -> Option<&HostName> {
    server.host.as_ref().filter(|_| server.task_state != Some(TaskState::Scheduling))
}

fn insert(fields: &mut Map<String, Value>, name: &str, value: impl Into<Value>) {
    fields.insert(name.to_owned(), value.into());
}

/// Fields that every answer has.
fn base(call: &ApiCall, server: &InstanceRecord) -> Map<String, Value> {
    let mut fields = Map::new();
    let id = server.id.to_string();
    let links = call.links.both(&format!("servers/{id}"));
    insert(&mut fields, "id", id);
    insert(&mut fields, "name", server.name.clone());
    insert(&mut fields, "status", server.status());
    insert(&mut fields, "tenant_id", server.project_id.as_str());
    insert(&mut fields, "user_id", server.user_id.as_str());
    insert(&mut fields, "metadata", metadata(server));
    insert(&mut fields, "hostId", host_id(&server.project_id, host(server)));
    insert(&mut fields, "image", image(call, server));
    insert(&mut fields, "flavor", flavor(call, server));
    insert(&mut fields, "created", server.created_at.seconds_z());
    insert(&mut fields, "updated", server.updated_at.seconds_z());
    insert(&mut fields, "addresses", json!({}));
    insert(&mut fields, "accessIPv4", server.access_ip_v4.clone().unwrap_or_default());
    insert(&mut fields, "accessIPv6", server.access_ip_v6.clone().unwrap_or_default());
    insert(&mut fields, "links", links);
    insert(&mut fields, "OS-DCF:diskConfig", server.disk_config.as_str());
    fields
}

/// Nova deletes metadata, tags and faults together with their server.
fn is_gone(server: &InstanceRecord) -> bool {
    server.deleted_at.is_some()
}

fn metadata(server: &InstanceRecord) -> Value {
    if is_gone(server) { json!({}) } else { json!(server.metadata) }
}

fn image(call: &ApiCall, server: &InstanceRecord) -> Value {
    server.image.as_ref().map_or_else(
        || json!(""),
        |image| {
            let links = call.links.bookmark_only(&format!("images/{}", image.id));
            if call.version.since(98) {
                json!({"id": image.id, "links": links, "properties": image.properties})
            } else {
                json!({"id": image.id, "links": links})
            }
        },
    )
}

fn flavor(call: &ApiCall, server: &InstanceRecord) -> Value {
    let flavor = &server.flavor;
    if !call.version.since(47) {
        let links = call.links.bookmark_only(&format!("flavors/{}", flavor.flavor_id));
        return json!({"id": flavor.flavor_id, "links": links});
    }
    let mut view = json!({
        "vcpus": flavor.vcpus,
        "ram": flavor.memory_mib,
        "disk": flavor.root_gib,
        "ephemeral": flavor.ephemeral_gib,
        "swap": flavor.swap_mib,
        "original_name": flavor.name,
    });
    if let (true, Some(fields)) =
        (call.may(policy::SERVERS_FLAVOR_SPECS, server), view.as_object_mut())
    {
        insert(fields, "extra_specs", json!(flavor.extra_specs));
    }
    view
}

/// `progress` and `fault`, which only some statuses have.
fn state(call: &ApiCall, server: &InstanceRecord, fields: &mut Map<String, Value>) {
    let status = server.status();
    if WITH_PROGRESS.contains(&status) {
        insert(fields, "progress", server.progress);
    }
    let shown = WITH_FAULT.contains(&status) && !is_gone(server);
    let Some(record) = server.fault.as_ref().filter(|_| shown) else { return };
    let mut fault = json!({
        "code": record.fault.code,
        "created": record.created.seconds_z(),
        "message": record.fault.message,
    });
    let visible = call.is_admin() || record.fault.code != 500;
    if let (true, Some(object)) =
        (visible && !record.fault.details.is_empty(), fault.as_object_mut())
    {
        insert(object, "details", record.fault.details.clone());
    }
    insert(fields, "fault", fault);
}

/// Fields of what used to be extensions.
fn extended(
    call: &ApiCall,
    server: &InstanceRecord,
    hosts: &Hosts,
    fields: &mut Map<String, Value>,
) {
    let launched = server.launched_at.map(Timestamp::micros_naive);
    let terminated = server.terminated_at.map(Timestamp::micros_naive);
    insert(fields, "OS-EXT-AZ:availability_zone", current_zone(server, host(server)));
    insert(fields, "config_drive", if server.config_drive { "True" } else { "" });
    insert(fields, "key_name", server.key_name.clone());
    insert(fields, "OS-SRV-USG:launched_at", launched);
    insert(fields, "OS-SRV-USG:terminated_at", terminated);
    if call.may(policy::EXTENDED_ATTRIBUTES, server) {
        attributes(call, server, hosts, fields);
    }
    insert(fields, "OS-EXT-STS:task_state", server.task_state.map(|task| task.as_str()));
    insert(fields, "OS-EXT-STS:vm_state", server.vm_state.as_str());
    insert(fields, "OS-EXT-STS:power_state", server.power_state.number());
    insert(fields, "os-extended-volumes:volumes_attached", json!([]));
    if call.version.since(16) {
        let status = hosts.status(host(server));
        let visible = call.may(policy::SERVERS_HOST_STATUS, server)
            || (status == UNKNOWN && call.may(policy::SERVERS_HOST_STATUS_UNKNOWN, server));
        if visible {
            insert(fields, "host_status", status);
        }
    }
}

/// Where and as what it runs: for administrators.
fn attributes(
    call: &ApiCall,
    server: &InstanceRecord,
    hosts: &Hosts,
    fields: &mut Map<String, Value>,
) {
    let host = host(server);
    let hypervisor = hosts.hypervisor(host);
    insert(fields, "OS-EXT-SRV-ATTR:host", host.map(HostName::as_str));
    insert(fields, "OS-EXT-SRV-ATTR:instance_name", server.domain_name());
    insert(fields, "OS-EXT-SRV-ATTR:hypervisor_hostname", hypervisor);
    if !call.version.since(3) {
        return;
    }
    insert(fields, "OS-EXT-SRV-ATTR:reservation_id", server.reservation_id.clone());
    insert(fields, "OS-EXT-SRV-ATTR:launch_index", server.launch_index);
    insert(fields, "OS-EXT-SRV-ATTR:hostname", server.hostname.clone());
    insert(fields, "OS-EXT-SRV-ATTR:kernel_id", "");
    insert(fields, "OS-EXT-SRV-ATTR:ramdisk_id", "");
    insert(fields, "OS-EXT-SRV-ATTR:root_device_name", host.map(|_| "/dev/vda"));
    insert(fields, "OS-EXT-SRV-ATTR:user_data", server.user_data.clone());
}

/// Fields that came with microversions.
fn recent(call: &ApiCall, server: &InstanceRecord, fields: &mut Map<String, Value>) {
    let version = call.version;
    if version.since(9) {
        insert(fields, "locked", server.lock != Lock::Unlocked);
    }
    if version.since(73) {
        insert(fields, "locked_reason", server.locked_reason.clone());
    }
    if version.since(19) {
        insert(fields, "description", server.description.clone());
    }
    if version.since(26) {
        insert(fields, "tags", if is_gone(server) { json!([]) } else { json!(server.tags) });
    }
    if version.since(63) {
        insert(fields, "trusted_image_certificates", Value::Null);
    }
    if version.since(90) {
        insert(fields, "OS-EXT-SRV-ATTR:hostname", server.hostname.clone());
    }
    if version.since(96) {
        insert(fields, "pinned_availability_zone", server.requested_zone.clone());
    }
    if version.since(100) {
        insert(fields, "scheduler_hints", hints(&server.scheduler_hints));
    }
}

/// Scheduler hints; a list of one is shown as that one, as Nova does.
fn hints(hints: &SchedulerHints) -> Map<String, Value> {
    let shown = |value: &Value| match value.as_array().map(Vec::as_slice) {
        Some([one]) => one.clone(),
        Some(_) | None => value.clone(),
    };
    hints.iter().map(|(name, value)| (name.clone(), shown(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_are_shown_as_given_and_lists_of_one_as_that_one() {
        let given = [("group", json!("g")), ("one", json!(["a"])), ("two", json!(["a", "b"]))];
        let given = given.map(|(name, value)| (name.to_owned(), value)).into();
        let shown = json!({"group": "g", "one": "a", "two": ["a", "b"]});
        assert_eq!(Value::Object(hints(&given)), shown);
    }

    #[test]
    fn host_ids_are_novas() {
        // From a recorded answer of Nova: project 7d52…, host "vm".
        let id = host_id(&"7d5299e8d2bb46d39588f33bd792a1fd".into(), Some(&"vm".into()));
        assert_eq!(id, "2f1489754118cc2338502b8bfd84fa815eb960e335f23dc62c5e1f28");
        assert_eq!(host_id(&"p".into(), None), "");
    }
}
