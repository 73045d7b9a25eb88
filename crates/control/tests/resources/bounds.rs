//! Both sides of every version boundary of paths, query parameters and the emptiness of queries.
//! The tables here are written from spec/api.md, not from the service's own.

use serde_json::{Value, json};

use crate::support::{Ask, Cloud, IMAGE, PROJECT, Reply};
use crate::{message, refused};

const MAX: u16 = 104;
const NO_RESOURCE: &str = "The resource could not be found.";
const UNKNOWN: &str = "11111111-1111-1111-1111-111111111111";

/// Method, path, and the first and last minor version in which it exists. `{s}` is a server.
const BOUNDED: &[(&str, &str, u16, u16)] = &[
    ("POST", "servers/{s}/remote-consoles", 6, MAX),
    ("POST", "servers/{s}/migrations/1/action", 22, MAX),
    ("GET", "servers/{s}/migrations", 23, MAX),
    ("GET", "servers/{s}/migrations/1", 23, MAX),
    ("DELETE", "servers/{s}/migrations/1", 24, MAX),
    ("GET", "servers/{s}/tags", 26, MAX),
    ("PUT", "servers/{s}/tags", 26, MAX),
    ("DELETE", "servers/{s}/tags", 26, MAX),
    ("GET", "servers/{s}/tags/t", 26, MAX),
    ("PUT", "servers/{s}/tags/t", 26, MAX),
    ("DELETE", "servers/{s}/tags/t", 26, MAX),
    ("GET", "images", 1, 35),
    ("GET", "images/detail", 1, 35),
    ("GET", "images/{i}", 1, 35),
    ("DELETE", "images/{u}", 1, 35),
    ("GET", "images/{i}/metadata", 1, 38),
    ("POST", "images/{i}/metadata", 1, 38),
    ("PUT", "images/{i}/metadata", 1, 38),
    ("GET", "images/{i}/metadata/k", 1, 38),
    ("PUT", "images/{i}/metadata/k", 1, 38),
    ("DELETE", "images/{i}/metadata/k", 1, 38),
    ("GET", "os-hypervisors/vm/search", 1, 52),
    ("GET", "os-hypervisors/vm/servers", 1, 52),
    ("PUT", "flavors/1", 55, MAX),
    ("GET", "servers/{s}/topology", 78, MAX),
    ("POST", "os-aggregates/1/images", 81, MAX),
    ("GET", "os-hypervisors/statistics", 1, 87),
    ("GET", "os-hypervisors/{u}/uptime", 1, 87),
    ("GET", "servers/{s}/shares", 97, MAX),
    ("POST", "servers/{s}/shares", 97, MAX),
    ("GET", "servers/{s}/shares/{u}", 97, MAX),
    ("DELETE", "servers/{s}/shares/{u}", 97, MAX),
    ("GET", "os-volumes_boot", 1, 102),
    ("POST", "os-volumes_boot", 1, 102),
    ("GET", "os-volumes_boot/detail", 1, 102),
    ("GET", "os-volumes_boot/{s}", 1, 102),
    ("PUT", "os-volumes_boot/{s}", 1, 102),
    ("DELETE", "os-volumes_boot/{u}", 1, 102),
];

/// Actions of servers, likewise. None of the bodies is one that would do anything.
const ACTIONS: &[(&str, u16, u16)] = &[
    ("os-getVNCConsole", 1, 5),
    ("os-getSPICEConsole", 1, 5),
    ("os-getRDPConsole", 1, 5),
    ("os-getSerialConsole", 1, 5),
    ("trigger_crash_dump", 17, MAX),
    ("addFixedIp", 1, 43),
    ("removeFixedIp", 1, 43),
    ("addFloatingIp", 1, 43),
    ("removeFloatingIp", 1, 43),
];

fn filled(path: &str, server: &str) -> String {
    path.replace("{s}", server).replace("{i}", IMAGE).replace("{u}", UNKNOWN)
}

/// Whether the answer says that there is no such thing in this version.
fn is_absent(reply: &Reply) -> bool {
    reply.status == 404
        && reply.body["itemNotFound"] == json!({"code": 404, "message": NO_RESOURCE})
}

/// Asks as the administrator just outside and just inside of both ends.
async fn check_ends(cloud: &Cloud, (method, path): (&str, &str), body: &Value, ends: (u16, u16)) {
    let (first, last) = ends;
    for minor in [first.saturating_sub(1), first, last, last + 1] {
        if !(1..=MAX).contains(&minor) {
            continue;
        }
        let by = (cloud.admin.as_str(), &*format!("2.{minor}"), body.clone());
        let reply = cloud.compute(method, path, by).await;
        let expected = !(first..=last).contains(&minor);
        assert_eq!(
            is_absent(&reply),
            expected,
            "{method} {path} {body} at 2.{minor}: {}",
            reply.body
        );
        let version = &reply.headers["openstack-api-version"];
        assert_eq!(version, &format!("compute 2.{minor}"), "{method} {path}");
    }
}

#[tokio::test]
async fn paths_exist_from_version_to_version() {
    let cloud = Cloud::new().await;
    let server = cloud.active_server().await.to_string();
    for (method, path, first, last) in BOUNDED {
        let body = if matches!(*method, "POST" | "PUT") { json!({}) } else { Value::Null };
        let path = filled(path, &server);
        check_ends(&cloud, (method, &path), &body, (*first, *last)).await;
    }
    let path = format!("servers/{server}/action");
    for (action, first, last) in ACTIONS {
        check_ends(&cloud, ("POST", &path), &json!({*action: 5}), (*first, *last)).await;
    }
}

/// A path that does not exist in a version is 404 for everybody who may ask at all, and a request
/// that nobody can read is refused before.
#[tokio::test]
async fn absence_has_its_place_among_refusals() {
    let cloud = Cloud::new().await;
    let absent = (404, NO_RESOURCE);
    let by = |version| (cloud.member.as_str(), version, Value::Null);
    // Before the rule that it is for administrators, the query, the body, and the server.
    refused(&cloud, ("GET", "os-hypervisors/statistics"), by("2.88"), absent).await;
    refused(&cloud, ("GET", "images?limit=-1"), by("2.36"), absent).await;
    let tags = format!("servers/{UNKNOWN}/tags");
    refused(&cloud, ("PUT", &tags), by("2.25"), absent).await;
    refused(&cloud, ("GET", &tags), by("2.25"), absent).await;
    let missing = format!("Instance {UNKNOWN} could not be found.");
    refused(&cloud, ("GET", &tags), by("2.26"), (404, &missing)).await;
    // After the token, the media type, the JSON, and the project in the URL.
    let path = format!("/v2.1/servers/{UNKNOWN}/tags");
    let elsewhere = format!("/v2.1/abc/servers/{UNKNOWN}/tags");
    let old = ("openstack-api-version", "compute 2.25");
    let ask = |path, token, more: &[(&'static str, &'static str)], body: &str| Ask {
        method: "PUT",
        path,
        token,
        headers: [&[old], more].concat(),
        body: Some(body.as_bytes().to_vec()),
    };
    let xml = [("content-type", "application/xml")];
    for (ask, status) in [
        (ask(&path, "", &[], "{}"), 401),
        (ask(&path, &cloud.member, &xml, "{}"), 415),
        (ask(&path, &cloud.member, &[], "{"), 400),
        (ask(&elsewhere, &cloud.member, &[], "{}"), 400),
        (ask(&path, &cloud.member, &[], "{}"), 404),
    ] {
        let reply = cloud.ask(&ask).await;
        assert_eq!(reply.status, status, "{}", reply.body);
    }
    // What no version has is the router's own 404.
    for version in ["2.1", "2.104"] {
        let reply = cloud.compute("PATCH", "os-volumes_boot", by(version)).await;
        assert_eq!((reply.status, &reply.body["title"]), (404, &json!("Not Found")));
    }
}

/// Unknown parameters are ignored until this version. All of these take none at all.
const WITHOUT_PARAMETERS: &[&str] = &[
    "servers/{s}",
    "servers/{s}/os-instance-actions/req-1",
    "servers/{s}/metadata",
    "servers/{s}/metadata/k",
    "servers/{s}/tags",
    "servers/{s}/tags/t",
    "servers/{s}/ips",
    "servers/{s}/ips/l",
    "servers/{s}/os-interface",
    "servers/{s}/os-security-groups",
    "servers/{s}/os-server-password",
    "servers/{s}/shares",
    "servers/{s}/shares/{u}",
    "servers/{s}/migrations",
    "servers/{s}/migrations/1",
    "servers/{s}/diagnostics",
    "flavors/1",
    "flavors/1/os-extra_specs",
    "flavors/1/os-extra_specs/k",
    "flavors/1/os-flavor-access",
    "os-availability-zone",
    "os-availability-zone/detail",
    "os-aggregates",
    "os-aggregates/1",
    "os-quota-sets/{p}/defaults",
    "os-quota-class-sets/default",
    "os-server-groups/{u}",
    "extensions",
    "extensions/os-keypairs",
];

#[tokio::test]
async fn unknown_parameters_are_errors_since_2_102_at_the_latest() {
    let cloud = Cloud::new().await;
    let server = cloud.active_server().await.to_string();
    let text = "Additional properties are not allowed ('x' was unexpected)";
    for path in WITHOUT_PARAMETERS {
        let path = filled(path, &server).replace("{p}", PROJECT);
        let ask = async |path: &str, version| {
            cloud.compute("GET", path, (&cloud.admin, version, Value::Null)).await
        };
        let asked = format!("{path}?x=1");
        let (plain, before) = (ask(&path, "2.101").await, ask(&asked, "2.101").await);
        assert_eq!((plain.status, &plain.body), (before.status, &before.body), "{path}");
        let now = ask(&asked, "2.102").await;
        assert_eq!((now.status, message(&now)), (400, text), "{path}");
        assert_ne!(ask(&path, "2.102").await.status, 400, "{path}");
    }
    let attachments = format!("servers/{server}/os-volume_attachments");
    for (query, version, status) in [
        ("x=1", "2.74", 200),
        ("x=1", "2.75", 400),
        ("limit=1&offset=1", "2.104", 200),
        ("limit=-1", "2.1", 400),
    ] {
        let asked = format!("{attachments}?{query}");
        assert_eq!(cloud.get(&asked, version).await.0, status, "{query} at {version}");
    }
    // Only the reading methods: what a DELETE says beside its path is ignored.
    let tag = format!("servers/{server}/tags?x=1");
    let by = (cloud.member.as_str(), "2.104", Value::Null);
    assert_eq!(cloud.compute("DELETE", &tag, by).await.status, 204);
}
