//! Both sides of every version boundary of answers. The tables here are written from spec/api.md,
//! not from the service's own.

use serde_json::{Value, json};

use crate::support::{Cloud, PROJECT};

const MAX: u16 = 104;
const KEY: &str = "ssh-ed25519 \
    AAAAC3NzaC1lZDI1NTE5AAAAIOwxDz0zXFz/yeUFVDFdGYpIom1FoBgqMm38jxgmvHdW me";
const FOREVER: &str = "start=2020-01-01T00:00:00&end=2100-01-01T00:00:00";

/// Path, pointer to an object in the answer, a field of it, and the first and last minor version
/// that shows it to an administrator.
const FIELDS: &[(&str, &str, &str, u16, u16)] = &[
    ("os-keypairs", "/keypairs/0/keypair", "type", 2, MAX),
    ("os-keypairs/k", "/keypair", "type", 2, MAX),
    ("servers/{s}", "/server", "OS-EXT-SRV-ATTR:reservation_id", 3, MAX),
    ("servers/{s}", "/server", "locked", 9, MAX),
    ("os-services", "/services/0", "forced_down", 11, MAX),
    ("os-server-groups/{g}", "/server_group", "project_id", 13, MAX),
    ("os-server-groups/{g}", "/server_group", "user_id", 13, MAX),
    ("servers/{s}", "/server", "host_status", 16, MAX),
    ("servers/{s}", "/server", "description", 19, MAX),
    ("servers/{s}", "/server", "tags", 26, MAX),
    ("os-hypervisors?limit=1", "", "hypervisors_links", 33, MAX),
    ("os-hypervisors/detail?limit=1", "", "hypervisors_links", 33, MAX),
    ("os-keypairs?limit=1", "", "keypairs_links", 35, MAX),
    ("limits", "/limits/absolute", "maxSecurityGroups", 1, 35),
    ("limits", "/limits/absolute", "maxSecurityGroupRules", 1, 35),
    ("limits", "/limits/absolute", "maxTotalFloatingIps", 1, 35),
    ("limits", "/limits/absolute", "totalSecurityGroupsUsed", 1, 35),
    ("limits", "/limits/absolute", "totalFloatingIpsUsed", 1, 35),
    ("os-quota-sets/{p}", "/quota_set", "fixed_ips", 1, 35),
    ("os-quota-sets/{p}/detail", "/quota_set", "floating_ips", 1, 35),
    ("os-quota-sets/{p}/defaults", "/quota_set", "security_group_rules", 1, 35),
    ("os-quota-sets/{p}", "/quota_set", "security_groups", 1, 35),
    ("limits", "/limits/absolute", "maxImageMeta", 1, 38),
    ("os-simple-tenant-usage?limit=1&{t}", "", "tenant_usages_links", 40, MAX),
    ("os-simple-tenant-usage/{p}?limit=1&{t}", "", "tenant_usage_links", 40, MAX),
    ("os-aggregates", "/aggregates/0", "uuid", 41, MAX),
    ("os-aggregates/1", "/aggregate", "uuid", 41, MAX),
    ("servers/{s}", "/server/flavor", "id", 1, 46),
    ("servers/{s}", "/server/flavor", "vcpus", 47, MAX),
    ("os-quota-class-sets/default", "/quota_class_set", "fixed_ips", 1, 49),
    ("os-quota-class-sets/default", "/quota_class_set", "floating_ips", 1, 49),
    ("os-quota-class-sets/default", "/quota_class_set", "security_group_rules", 1, 49),
    ("os-quota-class-sets/default", "/quota_class_set", "security_groups", 1, 49),
    ("os-quota-class-sets/default", "/quota_class_set", "server_groups", 50, MAX),
    ("os-quota-class-sets/default", "/quota_class_set", "server_group_members", 50, MAX),
    ("flavors", "/flavors/0", "description", 55, MAX),
    ("flavors/detail", "/flavors/0", "description", 55, MAX),
    ("flavors/1", "/flavor", "description", 55, MAX),
    ("limits", "/limits/absolute", "maxPersonality", 1, 56),
    ("limits", "/limits/absolute", "maxPersonalitySize", 1, 56),
    ("os-quota-sets/{p}", "/quota_set", "injected_files", 1, 56),
    ("os-quota-sets/{p}/detail", "/quota_set", "injected_file_content_bytes", 1, 56),
    ("os-quota-sets/{p}/defaults", "/quota_set", "injected_file_path_bytes", 1, 56),
    ("os-quota-class-sets/default", "/quota_class_set", "injected_files", 1, 56),
    ("os-quota-class-sets/default", "/quota_class_set", "injected_file_content_bytes", 1, 56),
    ("os-quota-class-sets/default", "/quota_class_set", "injected_file_path_bytes", 1, 56),
    ("servers/{s}/os-instance-actions?limit=1", "", "links", 58, MAX),
    ("servers/{s}/os-instance-actions", "/instanceActions/0", "updated_at", 58, MAX),
    ("flavors/1", "/flavor", "extra_specs", 61, MAX),
    ("flavors/detail", "/flavors/0", "extra_specs", 61, MAX),
    ("{a}", "/instanceAction/events/0", "host", 62, MAX),
    ("{a}", "/instanceAction/events/0", "hostId", 62, MAX),
    ("servers/{s}", "/server", "trusted_image_certificates", 63, MAX),
    ("os-server-groups/{g}", "/server_group", "policies", 1, 63),
    ("os-server-groups/{g}", "/server_group", "metadata", 1, 63),
    ("os-server-groups/{g}", "/server_group", "policy", 64, MAX),
    ("os-server-groups/{g}", "/server_group", "rules", 64, MAX),
    ("servers/{s}", "/server", "server_groups", 71, MAX),
    ("servers/{s}", "/server", "locked_reason", 73, MAX),
    ("{a}", "/instanceAction/events/0", "details", 84, MAX),
    ("os-hypervisors/detail", "/hypervisors/0", "vcpus", 1, 87),
    ("os-hypervisors/detail", "/hypervisors/0", "disk_available_least", 1, 87),
    ("os-hypervisors/detail", "/hypervisors/0", "cpu_info", 1, 87),
    ("os-hypervisors/detail", "/hypervisors/0", "uptime", 88, MAX),
    ("servers/{s}", "/server", "pinned_availability_zone", 96, MAX),
    ("servers/{s}", "/server/image", "properties", 98, MAX),
    ("servers/{s}", "/server", "scheduler_hints", 100, MAX),
    ("flavors/1", "/flavor", "rxtx_factor", 1, 101),
    ("flavors/detail", "/flavors/0", "rxtx_factor", 1, 101),
    ("flavors/1", "/flavor", "OS-FLV-DISABLED:disabled", 1, 101),
    ("flavors/detail", "/flavors/0", "OS-FLV-DISABLED:disabled", 1, 101),
];

/// A cloud with one of everything, and how paths name it.
async fn cloud() -> (Cloud, Vec<(&'static str, String)>) {
    let cloud = Cloud::new().await;
    let server = cloud.active_server().await;
    let made = async |token: &str, path: &str, body: Value| -> Value {
        let reply = cloud.compute("POST", path, (token, "2.64", body)).await;
        assert!(reply.status < 300, "{path}: {}", reply.body);
        reply.body
    };
    let key = json!({"keypair": {"name": "k", "public_key": KEY}});
    made(&cloud.admin, "os-keypairs", key).await;
    made(&cloud.admin, "os-aggregates", json!({"aggregate": {"name": "a"}})).await;
    let group = json!({"server_group": {"name": "g", "policy": "anti-affinity"}});
    let group = made(&cloud.member, "os-server-groups", group).await;
    let actions = format!("servers/{server}/os-instance-actions");
    let (_, listed) = cloud.get(&actions, "2.1").await;
    let request = listed["instanceActions"][0]["request_id"].as_str().unwrap();
    let names = vec![
        ("{a}", format!("{actions}/{request}")),
        ("{s}", server.to_string()),
        ("{g}", group["server_group"]["id"].as_str().unwrap().to_owned()),
        ("{p}", PROJECT.to_owned()),
        ("{t}", FOREVER.to_owned()),
    ];
    (cloud, names)
}

fn filled(path: &str, names: &[(&'static str, String)]) -> String {
    names.iter().fold(path.to_owned(), |path, (name, value)| path.replace(name, value))
}

#[tokio::test]
async fn fields_are_shown_from_version_to_version() {
    let (cloud, names) = cloud().await;
    for (path, pointer, field, first, last) in FIELDS {
        let path = filled(path, &names);
        for minor in [first - 1, *first, *last, last + 1] {
            if !(1..=MAX).contains(&minor) {
                continue;
            }
            let by = (cloud.admin.as_str(), &*format!("2.{minor}"), Value::Null);
            let reply = cloud.compute("GET", &path, by).await;
            assert_eq!(reply.status, 200, "{path} at 2.{minor}: {}", reply.body);
            let object = reply.body.pointer(pointer);
            let object = object.unwrap_or_else(|| panic!("{path} at 2.{minor}: {}", reply.body));
            let shown = object.get(field).is_some();
            let expected = (first..=last).contains(&&minor);
            assert_eq!(shown, expected, "{path} {field} at 2.{minor}: {object}");
        }
    }
}

#[tokio::test]
async fn values_change_with_versions() {
    let (cloud, names) = cloud().await;
    let swap = json!("");
    // The version that changed a value, and what it was and is.
    for (path, pointer, since, before, after) in [
        ("flavors/1", "/flavor/swap", 75, swap.clone(), json!(0)),
        ("flavors/detail", "/flavors/0/swap", 75, swap, json!(0)),
        ("os-services", "/services/0/id", 53, json!(1), Value::Null),
        ("os-hypervisors", "/hypervisors/0/id", 53, json!(1), Value::Null),
        ("os-hypervisors/detail", "/hypervisors/0/id", 53, json!(1), Value::Null),
        ("os-hypervisors/detail", "/hypervisors/0/service/id", 53, json!(1), Value::Null),
    ] {
        let at = async |minor: u16| {
            let by = (cloud.admin.as_str(), &*format!("2.{minor}"), Value::Null);
            let reply = cloud.compute("GET", &filled(path, &names), by).await;
            reply.body.pointer(pointer).cloned().unwrap_or_else(|| panic!("{}", reply.body))
        };
        assert_eq!(at(since - 1).await, before, "{path} {pointer}");
        let now = at(since).await;
        if after.is_null() {
            // A UUID that is made up.
            assert_eq!(now.as_str().map(str::len), Some(36), "{path} {pointer}: {now}");
        } else {
            assert_eq!(now, after, "{path} {pointer}");
        }
    }
}

#[tokio::test]
async fn status_codes_of_key_pairs_changed_with_2_2() {
    let cloud = Cloud::new().await;
    for (version, made, deleted) in [("2.1", 200, 202), ("2.2", 201, 204), ("2.104", 201, 204)] {
        let body = json!({"keypair": {"name": "k", "public_key": KEY}});
        let reply = cloud.compute("POST", "os-keypairs", (&cloud.member, version, body)).await;
        assert_eq!(reply.status, made, "{version}: {}", reply.body);
        assert_eq!(reply.body["keypair"].get("type").is_some(), version != "2.1");
        let gone = (cloud.member.as_str(), version, Value::Null);
        assert_eq!(cloud.compute("DELETE", "os-keypairs/k", gone).await.status, deleted);
    }
}

/// What is neither a path nor a field: who sees what, and which mistakes are told.
#[tokio::test]
async fn rules_change_with_versions() {
    let (cloud, names) = cloud().await;
    let action = filled("{a}", &names);
    for (version, shown) in [("2.50", false), ("2.51", true)] {
        let (_, body) = cloud.get(&action, version).await;
        assert_eq!(body["instanceAction"].get("events").is_some(), shown, "{version}");
        let by = (cloud.admin.as_str(), version, Value::Null);
        let all = cloud.compute("GET", &action, by).await.body;
        assert!(all["instanceAction"]["events"][0].get("traceback").is_some(), "{version}");
    }
    for (version, status) in [("2.37", 200), ("2.38", 400)] {
        assert_eq!(cloud.get("servers?status=FLYING", version).await.0, status, "{version}");
    }
    let later = "2100-01-01T00:00:00Z";
    let sooner = "2000-01-01T00:00:00Z";
    let range = format!("changes-since={later}&changes-before={sooner}");
    let actions = filled("servers/{s}/os-instance-actions", &names);
    for path in ["servers", "servers/detail", &actions] {
        let path = format!("{path}?{range}");
        let (status, body) = cloud.get(&path, "2.66").await;
        assert_eq!(status, 400, "{path}: {body}");
    }
    assert_eq!(cloud.get(&format!("servers?{range}"), "2.65").await.0, 200);
    // Since 2.19 a server is described as asked, and not at all unless it is asked.
    for (version, described) in [("2.18", json!("n")), ("2.19", Value::Null)] {
        let body = json!({"server": {
            "name": "n", "imageRef": crate::support::IMAGE, "flavorRef": "1",
        }});
        let made = cloud.compute("POST", "servers", (&cloud.member, version, body)).await;
        let id = made.body["server"]["id"].as_str().unwrap();
        let (_, shown) = cloud.get(&format!("servers/{id}"), "2.19").await;
        assert_eq!(shown["server"]["description"], described, "{version}");
    }
    // Other users' key pairs since 2.10; before, the parameter does nothing.
    let by = |version| (cloud.member.as_str(), version, Value::Null);
    let other = "os-keypairs?user_id=somebody";
    assert_eq!(cloud.compute("GET", other, by("2.9")).await.status, 200);
    assert_eq!(cloud.compute("GET", other, by("2.10")).await.status, 403);
    // Names of key pairs.
    for (version, text) in [
        ("2.91", "Keypair data is invalid: Keypair name contains unsafe characters"),
        ("2.92", "Invalid input for field/attribute name."),
    ] {
        let body = json!({"keypair": {"name": "a/b", "public_key": KEY}});
        let reply = cloud.compute("POST", "os-keypairs", (&cloud.member, version, body)).await;
        assert_eq!(reply.status, 400);
        assert!(crate::message(&reply).starts_with(text), "{version}: {}", reply.body);
    }
    // Services: what to do in the path, and since 2.11 also forcing down; since 2.53 an id.
    let service = json!({"host": "vm", "binary": "nova-compute", "forced_down": false});
    let old = json!({"host": "vm", "binary": "nova-compute"});
    for (version, body, status) in [
        ("2.10", old, 404),
        ("2.11", service.clone(), 200),
        ("2.52", service.clone(), 200),
        ("2.53", json!({"forced_down": false}), 400),
    ] {
        let by = (cloud.admin.as_str(), version, body);
        let reply = cloud.compute("PUT", "os-services/force-down", by).await;
        assert_eq!(reply.status, status, "{version}: {}", reply.body);
    }
}
