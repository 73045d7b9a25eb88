//! What versions changed in answers, per resource. Servers have a table of their own, in
//! [`view`](super::super::servers::view).

use axum::http::StatusCode;
use reprieve_core::quota::{Limits, Resource, UNLIMITED};
use reprieve_store::{FlavorRecord, ServerGroupRecord};
use serde_json::{Value, json};

use super::super::quotas::Figures;
use super::change::{came, differed, left};
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
    left(36, "maxSecurityGroups", |_, _| json!(UNLIMITED)),
    left(36, "maxSecurityGroupRules", |_, _| json!(UNLIMITED)),
    left(36, "maxTotalFloatingIps", |_, _| json!(UNLIMITED)),
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
            assert_eq!(FLAVOR.shows(version, "extra_specs"), minor >= 61, "2.{minor}");
        }
    }
}
