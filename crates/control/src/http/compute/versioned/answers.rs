//! What versions changed in answers, per resource. Servers have a table of their own, in
//! [`view`](super::super::servers::view).

use axum::http::StatusCode;
use reprieve_core::quota::{Limits, Resource};
use reprieve_core::stats::GuestStats;
use reprieve_store::{FlavorRecord, HostRecord, ServerGroupRecord};
use serde_json::{Value, json};

use super::super::hosts::hypervisor_view::Hypervisor;
use super::super::quotas::Figures;
use super::super::servers::diagnostics::free;
use super::change::{came, differed, left, replaced};
use super::{Changes, Stepped};

/// A flavor in full.
pub static FLAVOR: Changes<FlavorRecord> = Changes::new(&[
    left(102, "OS-FLV-DISABLED:disabled", |_, _| json!(false)),
    left(102, "rxtx_factor", |flavor, _| json!(flavor.rxtx_factor)),
    differed(75, "swap", |_, now| Some(if now == 0 { json!("") } else { now })),
    came(61, "extra_specs"),
    came(55, "description"),
]);

/// A flavor in `GET /flavors`.
pub static FLAVOR_SUMMARY: Changes<FlavorRecord> = Changes::new(&[came(55, "description")]);

/// A key pair.
pub static KEYPAIR: Changes<()> = Changes::new(&[came(2, "type")]);

/// What a token of a console leads to.
pub static CONSOLE_TOKEN: Changes<()> = Changes::new(&[came(99, "tls_port")]);

/// `GET /os-keypairs`.
pub static KEYPAIRS: Changes<()> = Changes::new(&[came(35, "keypairs_links")]);

/// Status of `POST /os-keypairs`.
pub static KEYPAIR_CREATED: Stepped<StatusCode> =
    Stepped::new(StatusCode::CREATED, &[(2, StatusCode::OK)]);

/// Status of `DELETE /os-keypairs/{name}`.
pub static KEYPAIR_DELETED: Stepped<StatusCode> =
    Stepped::new(StatusCode::NO_CONTENT, &[(2, StatusCode::ACCEPTED)]);

/// A server group.
pub static SERVER_GROUP: Changes<ServerGroupRecord> = Changes::new(&[
    came(64, "policy"),
    came(64, "rules"),
    left(64, "policies", |group, _| json!([group.policy.as_str()])),
    left(64, "metadata", |_, _| json!({})),
    came(13, "project_id"),
    came(13, "user_id"),
]);

/// `absolute` of `GET /limits`.
pub static LIMITS: Changes<Limits> = Changes::new(&[
    left(57, "maxPersonality", |limits, _| json!(limits.get(Resource::InjectedFiles))),
    left(57, "maxPersonalitySize", |limits, _| {
        json!(limits.get(Resource::InjectedFileContentBytes))
    }),
    left(39, "maxImageMeta", |limits, _| json!(limits.get(Resource::MetadataItems))),
    left(36, "maxSecurityGroups", |limits, _| json!(limits.get(Resource::SecurityGroups))),
    left(36, "maxSecurityGroupRules", |limits, _| json!(limits.get(Resource::SecurityGroupRules))),
    left(36, "maxTotalFloatingIps", |limits, _| json!(limits.get(Resource::FloatingIps))),
    left(36, "totalSecurityGroupsUsed", |_, _| json!(0)),
    left(36, "totalFloatingIpsUsed", |_, _| json!(0)),
]);

/// A quota set of a project or a user.
pub static QUOTA_SET: Changes<Figures> = Changes::new(&[
    left(57, "injected_file_content_bytes", Figures::of),
    left(57, "injected_file_path_bytes", Figures::of),
    left(57, "injected_files", Figures::of),
    left(36, "fixed_ips", Figures::of),
    left(36, "floating_ips", Figures::of),
    left(36, "security_group_rules", Figures::of),
    left(36, "security_groups", Figures::of),
]);

/// A quota set of a class.
pub static QUOTA_CLASS_SET: Changes<Figures> = Changes::new(&[
    left(57, "injected_file_content_bytes", Figures::of),
    left(57, "injected_file_path_bytes", Figures::of),
    left(57, "injected_files", Figures::of),
    came(50, "server_groups"),
    came(50, "server_group_members"),
    left(50, "fixed_ips", Figures::of),
    left(50, "floating_ips", Figures::of),
    left(50, "security_group_rules", Figures::of),
    left(50, "security_groups", Figures::of),
]);

/// `/os-simple-tenant-usage`, of one project and of all.
pub static USAGE: Changes<()> =
    Changes::new(&[came(40, "tenant_usage_links"), came(40, "tenant_usages_links")]);

/// A service.
pub static SERVICE: Changes<HostRecord> = Changes::new(&[
    differed(53, "id", |host, _| Some(json!(host.number))),
    came(11, "forced_down"),
]);

/// A hypervisor in `GET /os-hypervisors`.
pub static HYPERVISOR_SUMMARY: Changes<HostRecord> = Changes::new(&[
    differed(75, "servers", |_, now| if_any(now)),
    differed(53, "id", |host, _| Some(json!(host.number))),
]);

/// A hypervisor in full.
pub static HYPERVISOR: Changes<Hypervisor> = Changes::new(&[
    came(88, "uptime"),
    left(88, "vcpus", Hypervisor::used),
    left(88, "memory_mb", Hypervisor::used),
    left(88, "local_gb", Hypervisor::used),
    left(88, "vcpus_used", Hypervisor::used),
    left(88, "memory_mb_used", Hypervisor::used),
    left(88, "local_gb_used", Hypervisor::used),
    left(88, "free_ram_mb", Hypervisor::used),
    left(88, "free_disk_gb", Hypervisor::used),
    left(88, "current_workload", Hypervisor::used),
    left(88, "running_vms", Hypervisor::used),
    left(88, "disk_available_least", Hypervisor::used),
    left(88, "cpu_info", |hypervisor, _| hypervisor.cpu_info()),
    differed(75, "servers", |_, now| if_any(now)),
    differed(53, "id", |hypervisor, _| Some(json!(hypervisor.host.number))),
    differed(53, "service", |hypervisor, now| Some(with_number(now, &hypervisor.host))),
    differed(28, "cpu_info", |hypervisor, _| Some(json!(hypervisor.cpu_info_text()))),
]);

/// `GET /os-hypervisors` and `/os-hypervisors/detail`.
pub static HYPERVISORS: Changes<()> = Changes::new(&[came(33, "hypervisors_links")]);

/// A host aggregate.
pub static AGGREGATE: Changes<()> = Changes::new(&[came(41, "uuid")]);

/// `GET /servers/{id}/os-instance-actions`.
pub static ACTIONS: Changes<()> = Changes::new(&[came(58, "links")]);

/// An instance action.
pub static ACTION: Changes<()> = Changes::new(&[came(58, "updated_at")]);

/// An event of an instance action.
pub static ACTION_EVENT: Changes<()> =
    Changes::new(&[came(84, "details"), came(62, "host"), came(62, "hostId")]);

/// `GET /servers/{id}/diagnostics`.
pub static DIAGNOSTICS: Changes<GuestStats> = Changes::new(&[replaced(48, free)]);

/// A list that was left out while it was empty.
fn if_any(list: Value) -> Option<Value> {
    list.as_array().is_some_and(|items| !items.is_empty()).then_some(list)
}

/// A service that is called by the number of its host.
fn with_number(mut service: Value, host: &HostRecord) -> Value {
    if let Some(id) = service.get_mut("id") {
        *id = json!(host.number);
    }
    service
}

#[cfg(test)]
mod tests {
    use super::super::super::microversion::Microversion;
    use super::*;

    #[test]
    fn the_newest_change_comes_first() {
        for (name, minors) in [
            ("FLAVOR", FLAVOR.minors()),
            ("FLAVOR_SUMMARY", FLAVOR_SUMMARY.minors()),
            ("KEYPAIR", KEYPAIR.minors()),
            ("KEYPAIRS", KEYPAIRS.minors()),
            ("SERVER_GROUP", SERVER_GROUP.minors()),
            ("LIMITS", LIMITS.minors()),
            ("QUOTA_SET", QUOTA_SET.minors()),
            ("QUOTA_CLASS_SET", QUOTA_CLASS_SET.minors()),
            ("USAGE", USAGE.minors()),
            ("SERVICE", SERVICE.minors()),
            ("HYPERVISOR_SUMMARY", HYPERVISOR_SUMMARY.minors()),
            ("HYPERVISOR", HYPERVISOR.minors()),
            ("HYPERVISORS", HYPERVISORS.minors()),
            ("AGGREGATE", AGGREGATE.minors()),
            ("ACTIONS", ACTIONS.minors()),
            ("ACTION", ACTION.minors()),
            ("ACTION_EVENT", ACTION_EVENT.minors()),
            ("DIAGNOSTICS", DIAGNOSTICS.minors()),
        ] {
            assert!(minors.is_sorted_by(|newer, older| newer >= older), "{name}: {minors:?}");
            let known = |minor: &u16| *minor > 1 && Microversion::MAX.since(*minor);
            assert!(!minors.is_empty() && minors.iter().all(known), "{name}: {minors:?}");
        }
    }

    #[test]
    fn what_is_costly_is_asked_for_only_where_it_is_shown() {
        for minor in 1..=104 {
            let version = Microversion::of(minor);
            assert_eq!(HYPERVISOR.shows(version, "vcpus"), minor < 88, "2.{minor}");
            assert_eq!(FLAVOR.shows(version, "extra_specs"), minor >= 61, "2.{minor}");
        }
    }
}
