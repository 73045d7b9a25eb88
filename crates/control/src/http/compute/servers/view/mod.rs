//! Servers as JSON.
//!
//! ```text
//! InstanceRecord + what the caller may see ─▶ body::Server, as the newest version has it
//!                                                 │ changes: undone back to the asked version
//!                                                 ▼
//!                                          serde, straight to text ─▶ kept, to be used again
//! ```

mod body;
mod changes;
mod hosts;
mod kept;

use std::collections::BTreeMap;
use std::sync::Arc;

use reprieve_core::{HostName, Lock, ProjectId, TaskState, Timestamp, UserId};
use reprieve_store::{InstanceRecord, SchedulerHints};
use serde_json::{Map, Value};

use super::super::call::ApiCall;
use super::super::fault::ApiFault;
use super::super::links::Links;
use super::super::policy;
use crate::app::servers::current_zone;
use body::Server;
pub use body::Summary;
use body::{
    AsRequested, Attributes, Extended, Fault, Flavor, FlavorSnapshot, Image, ImageOrNone, Nothing,
};
pub use hosts::{Hosts, host_id};
pub use kept::Renderings;
use kept::{HostShown, Occasion};

/// Statuses that have a `progress`.
const WITH_PROGRESS: [&str; 6] =
    ["ACTIVE", "BUILD", "REBUILD", "RESIZE", "VERIFY_RESIZE", "MIGRATING"];
/// Statuses that show their `fault`.
const WITH_FAULT: [&str; 2] = ["ERROR", "DELETED"];
/// What is left of the metadata of a server that is gone.
static NO_METADATA: BTreeMap<String, String> = BTreeMap::new();

/// Which answer the server is part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Answer {
    /// `GET /servers/{id}`.
    Show,
    /// `GET /servers/detail`.
    Detail,
    /// `PUT /servers/{id}`.
    Update,
}

/// What the caller may see of a server beside what its owner may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sees {
    attributes: bool,
    flavor_specs: bool,
    host_status: bool,
    host_status_unknown: bool,
    fault_details: bool,
}

impl Sees {
    fn of(call: &ApiCall, server: &InstanceRecord) -> Self {
        Self {
            attributes: call.may(policy::EXTENDED_ATTRIBUTES, server),
            flavor_specs: call.may(policy::SERVERS_FLAVOR_SPECS, server),
            host_status: call.may(policy::SERVERS_HOST_STATUS, server),
            host_status_unknown: call.may(policy::SERVERS_HOST_STATUS_UNKNOWN, server),
            fault_details: call.is_admin(),
        }
    }
}

/// Shows servers to one caller.
pub struct Viewer<'a> {
    call: &'a ApiCall,
    hosts: &'a Hosts,
    answer: Answer,
    /// Policy asks whose a server is and nothing else of it, and neighbours in a list mostly are of
    /// the same user.
    last: Option<(&'a ProjectId, &'a UserId, Arc<Occasion>)>,
}

/// One server and everything that its representation depends on.
struct Subject<'a> {
    server: &'a InstanceRecord,
    links: &'a Links,
    answer: Answer,
    sees: Sees,
}

impl<'a> Viewer<'a> {
    /// For the caller of one request.
    pub fn new(call: &'a ApiCall, hosts: &'a Hosts, answer: Answer) -> Self {
        Self { call, hosts, answer, last: None }
    }

    /// Appends all that the caller may see of a server, as its version has it, as JSON.
    ///
    /// # Errors
    /// 500 when it cannot be written, which only maps with keys that are no texts cannot be.
    pub fn write(&mut self, server: &'a InstanceRecord, out: &mut Vec<u8>) -> Result<(), ApiFault> {
        let (occasion, renderings) = (self.occasion(server), &self.call.renderings);
        let host = host(server);
        let host =
            HostShown { status: self.hosts.status(host), hypervisor: self.hosts.hypervisor(host) };
        let this = (server, self.answer);
        if renderings.copy(this, &occasion, host, out) {
            return Ok(());
        }
        let subject =
            Subject { server, links: &occasion.links, answer: self.answer, sees: occasion.sees };
        let mut shown = newest(&subject, host);
        changes::undo_until(occasion.version, &mut shown, &subject);
        let begin = out.len();
        serde_json::to_writer(&mut *out, &shown).map_err(|_| ApiFault::internal())?;
        renderings.keep(this, &occasion, host, out.get(begin..).unwrap_or_default());
        Ok(())
    }

    fn occasion(&mut self, server: &'a InstanceRecord) -> Arc<Occasion> {
        match &self.last {
            Some((project, user, occasion))
                if **project == server.project_id && **user == server.user_id =>
            {
                Arc::clone(occasion)
            }
            _ => {
                let (version, links) = (self.call.version, self.call.links.clone());
                let sees = Sees::of(self.call, server);
                let occasion = Arc::new(Occasion { version, sees, links });
                self.last = Some((&server.project_id, &server.user_id, Arc::clone(&occasion)));
                occasion
            }
        }
    }
}

/// `GET /servers`: id, name, links.
#[must_use]
pub fn summary<'a>(call: &ApiCall, server: &'a InstanceRecord) -> Summary<'a> {
    let links = call.links.pair(&format!("servers/{}", server.id));
    Summary { id: server.id, name: &server.name, links }
}

/// Everything, as the newest version has it.
fn newest<'a>(subject: &Subject<'a>, host_shown: HostShown<'a>) -> Server<'a> {
    let Subject { server, links, answer, sees } = *subject;
    let status = server.status();
    // Nova deletes metadata, tags and faults together with their server.
    let is_gone = server.deleted_at.is_some();
    let host_status = host_shown.status;
    let host_status_shown =
        sees.host_status || (host_status == hosts::UNKNOWN && sees.host_status_unknown);
    Server {
        id: server.id,
        name: &server.name,
        status,
        tenant_id: server.project_id.as_str(),
        user_id: server.user_id.as_str(),
        metadata: if is_gone { &NO_METADATA } else { &server.metadata },
        host_id: host_id(&server.project_id, host(server)),
        image: image(server, links),
        flavor: flavor(server, sees),
        created: server.created_at.seconds_z(),
        updated: server.updated_at.seconds_z(),
        addresses: Nothing {},
        access_ip_v4: server.access_ip_v4.as_deref().unwrap_or_default(),
        access_ip_v6: server.access_ip_v6.as_deref().unwrap_or_default(),
        links: links.pair(&format!("servers/{}", server.id)),
        disk_config: server.disk_config.as_str(),
        progress: WITH_PROGRESS.contains(&status).then_some(server.progress),
        fault: fault(server, sees).filter(|_| WITH_FAULT.contains(&status) && !is_gone),
        extended: Some(extended(server, host_shown.hypervisor, sees)),
        host_status: host_status_shown.then_some(host_status),
        hostname: Some(&server.hostname),
        locked: Some(server.lock != Lock::Unlocked),
        locked_reason: Some(server.locked_reason.as_deref()),
        description: Some(server.description.as_deref()),
        tags: Some(if is_gone { &[] } else { &server.tags }),
        trusted_image_certificates: Some(None),
        pinned_availability_zone: Some(server.requested_zone.as_deref()),
        scheduler_hints: Some(hints(&server.scheduler_hints)),
        server_groups: match answer {
            Answer::Show | Answer::Update => {
                Some(server.server_group.iter().map(ToString::to_string).collect())
            }
            Answer::Detail => None,
        },
    }
}

/// The host, once it has the server. One that was only chosen is not shown, as in Nova.
fn host(server: &InstanceRecord) -> Option<&HostName> {
    server.host.as_ref().filter(|_| server.task_state != Some(TaskState::Scheduling))
}

fn image<'a>(server: &'a InstanceRecord, links: &Links) -> ImageOrNone<'a> {
    match &server.image {
        None => ImageOrNone::None(""),
        Some(image) => ImageOrNone::Image(Image {
            id: image.id,
            links: [links.image_bookmark(image.id)],
            properties: Some(&image.properties),
        }),
    }
}

fn flavor(server: &InstanceRecord, sees: Sees) -> Flavor<'_> {
    let flavor = &server.flavor;
    Flavor::Snapshot(FlavorSnapshot {
        vcpus: flavor.vcpus,
        ram: flavor.memory_mib,
        disk: flavor.root_gib,
        ephemeral: flavor.ephemeral_gib,
        swap: flavor.swap_mib,
        original_name: &flavor.name,
        extra_specs: sees.flavor_specs.then_some(&flavor.extra_specs),
    })
}

fn fault(server: &InstanceRecord, sees: Sees) -> Option<Fault<'_>> {
    let record = server.fault.as_ref()?;
    let details = Some(record.fault.details.as_str()).filter(|details| !details.is_empty());
    Some(Fault {
        code: record.fault.code,
        created: record.created.seconds_z(),
        message: &record.fault.message,
        details: details.filter(|_| sees.fault_details || record.fault.code != 500),
    })
}

fn extended<'a>(
    server: &'a InstanceRecord,
    hypervisor_hostname: Option<&'a str>,
    sees: Sees,
) -> Extended<'a> {
    let host = host(server);
    let attributes = || Attributes {
        host: host.map(HostName::as_str),
        instance_name: server.domain_name(),
        hypervisor_hostname,
        request: Some(AsRequested {
            reservation_id: &server.reservation_id,
            launch_index: server.launch_index,
            kernel_id: "",
            ramdisk_id: "",
            root_device_name: host.map(|_| "/dev/vda"),
            user_data: server.user_data.as_deref(),
        }),
    };
    Extended {
        availability_zone: current_zone(server, host),
        config_drive: if server.config_drive { "True" } else { "" },
        key_name: server.key_name.as_deref(),
        launched_at: server.launched_at.map(Timestamp::micros_naive),
        terminated_at: server.terminated_at.map(Timestamp::micros_naive),
        attributes: sees.attributes.then(attributes),
        task_state: server.task_state.map(TaskState::as_str),
        vm_state: server.vm_state.as_str(),
        power_state: server.power_state.number(),
        volumes_attached: [],
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
    use serde_json::json;

    use super::*;

    #[test]
    fn hints_are_shown_as_given_and_lists_of_one_as_that_one() {
        let given = [("group", json!("g")), ("one", json!(["a"])), ("two", json!(["a", "b"]))];
        let given = given.map(|(name, value)| (name.to_owned(), value)).into();
        let shown = json!({"group": "g", "one": "a", "two": ["a", "b"]});
        assert_eq!(Value::Object(hints(&given)), shown);
    }
}
