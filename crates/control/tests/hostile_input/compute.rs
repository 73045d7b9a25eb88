//! The compute API.

use axum::body::{Body, Bytes};
use axum::http::Request;
use proptest::prelude::*;
use reprieve_control::http;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::json::{any_json, for_all};
use crate::requests::{self, Example, Service};
use crate::support::{Ask, Cloud, IMAGE, PROJECT, ZONE};

/// Texts that mean something somewhere.
const TEXTS: &[&str] =
    &["none", "auto", "SOFT", "HARD", "active", "AUTO", IMAGE, "nova:vm", "::::"];

const KEYS: &[&str] = &[
    "server",
    "name",
    "imageRef",
    "flavorRef",
    "metadata",
    "networks",
    "min_count",
    "max_count",
    "user_data",
    "tags",
    "hostname",
    "availability_zone",
    "block_device_mapping_v2",
    "config_drive",
    "key_name",
    "os:scheduler_hints",
    "personality",
    "security_groups",
    "adminPass",
    "description",
    "accessIPv4",
    "keypair",
    "public_key",
    "type",
    "user_id",
    "flavor",
    "ram",
    "vcpus",
    "disk",
    "id",
    "swap",
    "rxtx_factor",
    "extra_specs",
    "meta",
    "pause",
    "rescue",
    "rescue_image_ref",
    "reboot",
    "lock",
    "locked_reason",
    "os-getConsoleOutput",
    "length",
    "os-resetState",
    "state",
    "remote_console",
    "addTenantAccess",
    "tenant",
    "os-stop",
    "unlock",
    "createImage",
    "host",
    "binary",
    "status",
    "disabled_reason",
    "forced_down",
    "aggregate",
    "add_host",
    "set_metadata",
    "cache",
    "server_group",
    "policy",
    "policies",
    "rules",
    "max_server_per_host",
    "quota_set",
    "quota_class_set",
    "instances",
    "force",
    "path",
    "contents",
    "group",
    "events",
    "server_uuid",
    "tag",
    "status",
    "force_complete",
    "os-getVNCConsole",
    "protocol",
    "share",
    "share_id",
    "hw:cpu_policy",
    "hw:numa_nodes",
];

const VERSIONS: &[&str] = &[
    "2.1", "2.5", "2.6", "2.19", "2.35", "2.37", "2.38", "2.51", "2.57", "2.59", "2.73", "2.75",
    "2.83", "2.86", "2.90", "2.96", "2.97", "2.101", "2.102", "2.103", "latest",
];

/// Every path that takes a body.
fn targets(server: &str) -> Vec<(&'static str, String)> {
    vec![
        ("POST", "servers".into()),
        ("PUT", format!("servers/{server}")),
        ("POST", format!("servers/{server}/action")),
        ("POST", format!("servers/{server}/metadata")),
        ("PUT", format!("servers/{server}/metadata")),
        ("PUT", format!("servers/{server}/metadata/k")),
        ("PUT", format!("servers/{server}/tags")),
        ("PUT", format!("servers/{server}/tags/t")),
        ("POST", format!("servers/{server}/remote-consoles")),
        ("POST", "flavors".into()),
        ("PUT", "flavors/1".into()),
        ("POST", "flavors/1/action".into()),
        ("POST", "flavors/1/os-extra_specs".into()),
        ("PUT", "flavors/1/os-extra_specs/k".into()),
        ("POST", "os-keypairs".into()),
        ("PUT", "os-services/enable".into()),
        ("PUT", "os-services/11111111-1111-1111-1111-111111111111".into()),
        ("POST", "os-aggregates".into()),
        ("PUT", "os-aggregates/1".into()),
        ("POST", "os-aggregates/1/action".into()),
        ("POST", "os-aggregates/1/images".into()),
        ("POST", "os-server-groups".into()),
        ("PUT", format!("os-quota-sets/{PROJECT}")),
        ("PUT", "os-quota-class-sets/default".into()),
        ("POST", "os-server-external-events".into()),
        ("POST", "os-volumes_boot".into()),
        ("PUT", format!("os-volumes_boot/{server}")),
        ("POST", format!("servers/{server}/migrations/1/action")),
        ("POST", format!("servers/{server}/shares")),
        ("POST", format!("images/{IMAGE}/metadata")),
        ("PUT", format!("images/{IMAGE}/metadata")),
        ("PUT", format!("images/{IMAGE}/metadata/k")),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn no_body_breaks_anything() {
    let cloud = Cloud::new().await;
    let server = cloud.active_server().await.to_string();
    let targets = targets(&server);
    let wrapped = prop_oneof![
        any_json(KEYS, TEXTS),
        // What the schemas expect around it.
        (prop::sample::select(KEYS), any_json(KEYS, TEXTS))
            .prop_map(|(key, value)| json!({key: value})),
        (prop::sample::select(KEYS), any_json(KEYS, TEXTS)).prop_map(|(key, value)| {
            let mut server = json!({
                "name": "n", "imageRef": IMAGE, "flavorRef": "1", "networks": "none",
            });
            server[key] = value;
            json!({"server": server})
        }),
    ];
    let strategy =
        (prop::sample::select(targets), prop::sample::select(VERSIONS), wrapped, any::<bool>());
    let cloud = &cloud;
    for_all(600, &strategy, |((method, path), version, body, admin)| async move {
        let token = if admin { &cloud.admin } else { &cloud.member };
        let reply = cloud.compute(method, &path, (token, version, body.clone())).await;
        prop_assert!(
            reply.status < 500 || reply.status == 501,
            "{method} {path} {body}: {}",
            reply.body
        );
        prop_assert!(
            reply.status < 400 || is_fault(&reply.body),
            "{method} {path}: {}",
            reply.body
        );
        Ok(())
    });
    assert_eq!(cloud.get("servers/detail", "2.104").await.0, 200);
}

/// A good request.
fn example(method: &'static str, path: &str, body: Value) -> Example {
    let path = format!("/compute/v2.1/{path}");
    Example { method, path, media_type: "application/json", body }
}

/// Good requests of one version, to be changed.
async fn service(cloud: &Cloud, version: &'static str) -> Service {
    let server = cloud.active_server().await.to_string();
    let examples = [of_servers(&server), actions(&server), of_the_rest(&server)].concat();
    let third = cloud.add_user("7417417417417417417417417417417f", "third", "reader").await;
    Service { examples, keys: KEYS, texts: TEXTS, version, not_all_offered: true, third, is_fault }
}

fn of_servers(server: &str) -> Vec<Example> {
    let new = json!({"server": {
        "name": "server #", "imageRef": IMAGE, "flavorRef": "1", "networks": "none",
        "min_count": 1, "max_count": 2, "metadata": {"a": "b"}, "tags": ["t"],
        "hostname": "server-#", "description": "d", "availability_zone": ZONE,
        "user_data": "aGFsbG8=", "config_drive": true, "OS-DCF:diskConfig": "AUTO",
        "accessIPv4": "192.0.2.1", "accessIPv6": "2001:db8::1", "adminPass": "secret of a test",
        "security_groups": [{"name": "default"}],
        "block_device_mapping_v2": [{
            "uuid": IMAGE, "source_type": "image", "destination_type": "local", "boot_index": 0,
            "delete_on_termination": true,
        }],
    }, "os:scheduler_hints": {"build_near_host_ip": "192.0.2.1"}});
    let change = json!({"server": {"name": "n", "description": null, "accessIPv4": "192.0.2.2"}});
    let metadata = format!("servers/{server}/metadata");
    vec![
        example("POST", "servers", new),
        example("PUT", &format!("servers/{server}"), change),
        example("PUT", &format!("servers/{server}/tags"), json!({"tags": ["a", "b"]})),
        example("POST", &metadata, json!({"metadata": {"k": "v"}})),
        example("PUT", &format!("{metadata}/k"), json!({"meta": {"k": "v"}})),
    ]
}

fn actions(server: &str) -> Vec<Example> {
    let bodies = [
        json!({"pause": null}),
        json!({"rescue": {"adminPass": "secret of a test", "rescue_image_ref": IMAGE}}),
        json!({"reboot": {"type": "HARD"}}),
        json!({"lock": {"locked_reason": "r"}}),
        json!({"unlock": null}),
        json!({"os-getConsoleOutput": {"length": 10}}),
        json!({"os-resetState": {"state": "active"}}),
        json!({"rebuild": {"imageRef": IMAGE, "name": "n", "metadata": {"a": "b"}}}),
        json!({"resize": {"flavorRef": "2"}}),
        json!({"createBackup": {"name": "b", "backup_type": "daily", "rotation": 1}}),
        json!({"os-migrateLive": {"host": null, "block_migration": "auto"}}),
        json!({"evacuate": {"host": "h"}}),
        json!({"unshelve": {"availability_zone": "nova"}}),
    ];
    let path = format!("servers/{server}/action");
    bodies.into_iter().map(|body| example("POST", &path, body)).collect()
}

fn of_the_rest(server: &str) -> Vec<Example> {
    let flavor = json!({"flavor": {
        "name": "flavor #", "id": "f#", "ram": 64, "vcpus": 1, "disk": 1, "swap": 0,
        "OS-FLV-EXT-DATA:ephemeral": 0, "rxtx_factor": 1.0, "os-flavor-access:is_public": false,
        "description": "d",
    }});
    let specs = json!({"extra_specs": {"hw:cpu_sockets": "1", "hw:cpu_policy": "shared"}});
    let access = json!({"addTenantAccess": {"tenant": PROJECT}});
    let key = include_str!("../../../../tests/e2e/tests/data/id_ed25519.pub").trim();
    let key = json!({"keypair": {"name": "key #", "public_key": key}});
    let group = json!({"server_group": {
        "name": "group", "policy": "anti-affinity", "rules": {"max_server_per_host": 3},
    }});
    let aggregate = json!({"aggregate": {"name": "aggregate #", "availability_zone": "zone #"}});
    let renamed = json!({"aggregate": {"name": "renamed #"}});
    let metadata = json!({"set_metadata": {"metadata": {"a": "b", "c": null}}});
    let quotas = json!({"quota_set": {"instances": 100, "cores": -1, "ram": 51200, "force": true}});
    let event = json!({"events": [{
        "name": "network-vif-plugged", "server_uuid": server, "tag": IMAGE, "status": "completed",
    }]});
    vec![
        example("POST", "flavors", flavor),
        example("POST", "flavors/2/os-extra_specs", specs),
        example("POST", "flavors/2/action", access),
        example("POST", "os-keypairs", key),
        example("POST", "os-server-groups", group),
        example("POST", "os-aggregates", aggregate),
        example("PUT", "os-aggregates/1", renamed),
        example("POST", "os-aggregates/1/action", metadata),
        example("PUT", &format!("os-quota-sets/{PROJECT}"), quotas),
        example("POST", "os-server-external-events", event),
    ]
}

#[tokio::test]
async fn the_examples_are_good() {
    let cloud = Cloud::without_quotas().await;
    let mut service = service(&cloud, "compute 2.96").await;
    // One action at a time, and some are not offered.
    service.examples.retain(|example| !example.path.ends_with("/action"));
    requests::examples_are_good(&cloud, &service, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_changed_example_breaks_anything() {
    for version in ["compute 2.56", "compute 2.96"] {
        let cloud = Cloud::without_quotas().await;
        let service = service(&cloud, version).await;
        requests::no_body_breaks(&cloud, &service, 400);
        assert_eq!(cloud.get("servers/detail", "2.96").await.0, 200);
    }
}

/// `{"name": {"code": …, "message": …}}`.
fn is_fault(body: &Value) -> bool {
    let Some(fields) = body.as_object() else { return false };
    fields.len() == 1
        && fields.values().all(|fault| fault["code"].is_u64() && fault["message"].is_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_query_and_no_path_breaks_anything() {
    let cloud = Cloud::new().await;
    cloud.active_server().await;
    let names = prop_oneof![
        prop::sample::select(vec![
            "limit",
            "marker",
            "sort_key",
            "sort_dir",
            "changes-since",
            "changes-before",
            "status",
            "name",
            "image",
            "flavor",
            "tags",
            "not-tags-any",
            "locked",
            "uuid",
            "power_state",
            "vm_state",
            "task_state",
            "host",
            "deleted",
            "all_tenants",
            "tenant_id",
            "ip",
            "minRam",
            "minDisk",
            "is_public",
            "user_id",
            "with_servers",
            "hypervisor_hostname_pattern",
            "metadata",
            "_x",
            "created_at",
            "launched_at",
            "progress",
            "locked_by",
            "launch_index",
            "auto_disk_config",
            "root_device_name",
            "access_ip_v6",
            "server",
            "property-x",
            "config_drive",
            "start",
            "end",
            "detailed",
            "offset",
            "all_projects",
        ])
        .prop_map(str::to_owned),
        "[a-z%]{0,6}",
    ];
    let values = prop_oneof![
        prop::sample::select(vec![
            "",
            "1",
            "-1",
            "0",
            "true",
            "None",
            "desc",
            "created_at",
            "host",
            "ACTIVE",
            "deleted",
            "2026-01-01T00:00:00Z",
            "(",
            "[a-z",
            "a,b",
            "%ff",
            "%00",
            "99999999999999999999",
            "11111111-1111-1111-1111-111111111111",
            "%2525",
            "'; drop table instances; --",
        ])
        .prop_map(|text| text.replace(' ', "+")),
        "[ -~&&[^ #&=<>\"`{}|^\\\\]]{0,12}",
    ];
    let paths = prop_oneof![
        4 => prop::sample::select(vec![
            "servers", "servers/detail", "flavors", "flavors/detail", "os-keypairs", "os-services",
            "os-hypervisors/detail", "os-hypervisors", "os-hypervisors/1/uptime",
            "os-hypervisors/v/servers", "os-availability-zone/detail", "os-aggregates",
            "os-aggregates/1", "limits", "os-instance-actions", "os-server-groups",
            "os-hypervisors/detail", "limits", "os-instance-actions", "os-server-groups",
            "os-simple-tenant-usage", "os-simple-tenant-usage/p", "os-quota-class-sets/p",
            "servers/x/os-instance-actions", "os-quota-sets/p/detail", "os-keypairs/k",
            "os-migrations", "images", "images/detail", "images/x/metadata/k", "extensions",
            "extensions/x", "versions/x", "os-volumes_boot/detail", "os-console-auth-tokens/t",
            "servers/x/migrations/1", "servers/x/topology", "servers/x/shares/y",
        ])
        .prop_map(str::to_owned),
        1 => "[a-z0-9%./:-]{0,24}",
    ];
    let query = prop::collection::vec((names, values), 0..4);
    let strategy = (paths, query, prop::sample::select(VERSIONS), any::<bool>());
    let cloud = &cloud;
    for_all(600, &strategy, |(path, query, version, admin)| async move {
        let query: Vec<String> =
            query.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        let path = format!("/compute/v2.1/{path}?{}", query.join("&"));
        if path.parse::<axum::http::Uri>().is_err() {
            return Ok(());
        }
        let version = format!("compute {version}");
        let token = if admin { &cloud.admin } else { &cloud.member };
        let headers = vec![("openstack-api-version", version.as_str())];
        let ask = Ask { method: "GET", path: &path, token, headers, body: None };
        let reply = cloud.ask(&ask).await;
        prop_assert!(
            reply.status < 500 || reply.status == 501,
            "{path}: {} {}",
            reply.status,
            reply.body
        );
        Ok(())
    });
}

#[tokio::test]
async fn bodies_are_bounded() {
    let cloud = Cloud::new().await;
    let ask = |body: Vec<u8>| Ask {
        method: "POST",
        path: "/v2.1/servers",
        token: &cloud.member,
        headers: vec![],
        body: Some(body),
    };
    let large = cloud.ask(&ask(vec![b' '; 114_689])).await;
    assert_eq!(large.status, 413);
    assert_eq!(large.body["overLimit"]["code"], 413);
    // At the limit it is read, and then it is nonsense.
    let fits = cloud.ask(&ask(vec![b' '; 114_688])).await;
    assert_eq!(fits.body["badRequest"]["message"], "Malformed request body");
    let deep = cloud.ask(&ask("[".repeat(50_000).into_bytes())).await;
    assert_eq!(deep.body["badRequest"]["message"], "Malformed request body");
    let bytes = cloud.ask(&ask(vec![0xff, 0xfe, 0x00])).await;
    assert_eq!(bytes.body["badRequest"]["message"], "Malformed request body");
    // A body that does not say how long it is.
    let chunks = futures_util::stream::iter(
        (0..200).map(|_| Ok::<_, std::io::Error>(Bytes::from(vec![b' '; 1024]))),
    );
    let request = Request::post("/v2.1/servers")
        .header("x-auth-token", &cloud.member)
        .body(Body::from_stream(chunks))
        .unwrap();
    let router = http::router(std::sync::Arc::clone(&cloud.control));
    assert_eq!(router.oneshot(request).await.unwrap().status(), 413);
}

/// JSON allows a key twice and does not say what it means; the last one counts, as in Python.
#[tokio::test]
async fn keys_may_be_given_twice() {
    let cloud = Cloud::new().await;
    let server = |name: &str| {
        format!(r#"{{"name": "first", "imageRef": "{IMAGE}", "flavorRef": "1", "name": "{name}"}}"#)
    };
    let twice = format!(r#"{{"server": 5, "server": {}}}"#, server("last"));
    let ask = |path, body: String| Ask {
        method: "POST",
        path,
        token: &cloud.member,
        headers: vec![],
        body: Some(body.into_bytes()),
    };
    let made = cloud.ask(&ask("/v2.1/servers", twice)).await;
    assert_eq!(made.status, 202, "{}", made.body);
    let id = made.body["server"]["id"].as_str().unwrap();
    let (_, shown) = cloud.get(&format!("servers/{id}"), "2.96").await;
    assert_eq!(shown["server"]["name"], "last");
    // Only one action is asked for, although it is asked for twice.
    let path = format!("/v2.1/servers/{id}/action");
    let paused = cloud.ask(&ask(&path, r#"{"pause": 1, "pause": null}"#.to_owned())).await;
    assert_eq!(paused.status, 409, "{}", paused.body);
    let many = format!("{{{}}}", vec![r#""server": {}"#; 5_000].join(","));
    assert_eq!(cloud.ask(&ask("/v2.1/servers", many)).await.status, 400);
}

/// As long as a URL can be: more than 64 KiB are refused before anybody reads them.
#[tokio::test]
async fn long_queries_are_read_or_refused() {
    let cloud = Cloud::new().await;
    cloud.active_server().await;
    let many = |name: &str, value: &str, count| vec![format!("{name}={value}"); count].join("&");
    for mut query in [
        many("limit", "1", 10_000),
        many("sort_key", "uuid", 2_000),
        many("status", "ACTIVE", 2_000),
        many("tags", "a", 10_000),
        many("tags", &vec!["a"; 30_000].join(","), 1),
        many("name", &"(a*)*".repeat(5_000), 1),
        many("foo", &"%20".repeat(20_000), 1),
        (0..10_000).map(|number| format!("n{number}=1")).collect::<Vec<_>>().join("&"),
    ] {
        query.truncate(65_000);
        for path in ["servers", "servers/detail", "flavors", "os-keypairs", "images", "limits"] {
            for version in ["2.1", "2.35", "2.104"] {
                let (status, body) = cloud.get(&format!("{path}?{query}"), version).await;
                assert!(status < 500, "{path} at {version}: {body}");
            }
        }
    }
}

#[tokio::test]
async fn a_body_that_never_ends_is_given_up() {
    let cloud = Cloud::new().await;
    let new = example("POST", "servers", json!({}));
    requests::a_body_that_stops_is_given_up(&cloud, &new).await;
}
