//! The small resources of the compute API, through the real router: what no recording shows.
// A test awaits a helper that awaits the whole control plane: its future is some 130 types deep.
#![recursion_limit = "256"]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says by panicking what is wrong"
)]

mod bounds;
mod consoles;
mod fields;
mod filters;
mod flavors;
mod images;
mod newest;
mod servers;
#[path = "../support/mod.rs"]
mod support;

use serde_json::{Value, json};
use support::{Ask, Cloud, PROJECT, Reply};

/// The text of a fault.
fn message(reply: &Reply) -> &str {
    let fault = reply.body.as_object().and_then(|fields| fields.values().next());
    fault.and_then(|fault| fault["message"].as_str()).unwrap_or_else(|| panic!("{}", reply.body))
}

/// Asks and expects a refusal with this status and text.
async fn refused(
    cloud: &Cloud,
    (method, path): (&str, &str),
    by: (&str, &str, Value),
    (status, text): (u16, &str),
) {
    let reply = cloud.compute(method, path, by).await;
    assert_eq!((reply.status, message(&reply)), (status, text), "{method} {path}");
}

#[tokio::test]
async fn versions() {
    let cloud = Cloud::new().await;
    let (status, shown) = cloud.get("versions/v2.1", "2.1").await;
    assert_eq!((status, &shown["version"]["id"]), (200, &json!("v2.1")));
    let (_, legacy) = cloud.get("versions/v2.0", "2.1").await;
    assert_eq!(
        legacy["version"]["media-types"][0]["type"],
        "application/vnd.openstack.compute+json;version=2"
    );
    assert_eq!(cloud.get("versions/v3", "2.1").await.0, 404);
    let ask = |path, version| Ask {
        method: "GET",
        path,
        headers: vec![("openstack-api-version", version)],
        ..Ask::default()
    };
    // Without a token, with the version negotiated.
    let reply = cloud.ask(&ask("/v2.1/", "compute 2.12")).await;
    assert_eq!(
        (reply.status, &reply.headers["openstack-api-version"]),
        (200, &"compute 2.12".parse().unwrap())
    );
    assert_eq!(reply.body["version"]["version"], "2.104");
    let latest = cloud.ask(&ask("/v2.1/", "compute latest")).await;
    assert_eq!(latest.headers["openstack-api-version"], "compute 2.104");
    assert_eq!(cloud.ask(&ask("/v2.1", "compute 2.104")).await.status, 200);
    assert_eq!(cloud.ask(&ask("/v2.1", "compute 2.105")).await.status, 406);
    assert_eq!(cloud.ask(&ask("/v2.1", "compute 2.999")).await.status, 406);
    assert_eq!(cloud.ask(&ask("/v2.1", "compute two")).await.status, 400);
    let legacy = cloud.ask(&ask("/v2/", "compute 2.999")).await;
    assert_eq!(legacy.status, 200);
    assert!(!legacy.headers.contains_key("vary"));
    // Below its prefix the service says so in its links.
    let below = cloud.ask(&ask("/compute/", "compute 2.1")).await;
    let link = &below.body["versions"][1]["links"][0]["href"];
    assert_eq!(link, "http://127.0.0.1:8774/compute/v2.1/");
}

#[tokio::test]
async fn paths() {
    let cloud = Cloud::new().await;
    let own = format!("{PROJECT}/servers");
    assert_eq!(cloud.get(&own, "2.1").await, (200, json!({"servers": []})));
    // No project is called nothing.
    for path in ["/servers", "//", "/"] {
        let path = format!("/v2.1/{path}");
        let ask = Ask { method: "GET", path: &path, token: &cloud.member, ..Ask::default() };
        let reply = cloud.ask(&ask).await;
        assert!(matches!(reply.status, 200 | 404), "{path}: {} {}", reply.status, reply.body);
    }
    let doubled =
        Ask { method: "GET", path: "/v2.1//servers", token: &cloud.member, ..Ask::default() };
    assert_eq!(cloud.ask(&doubled).await.status, 404);
}

#[tokio::test]
async fn extensions() {
    let cloud = Cloud::new().await;
    let (_, all) = cloud.get("extensions", "2.96").await;
    assert_eq!(all["extensions"].as_array().unwrap().len(), 99);
    let (status, one) = cloud.get("extensions/os-keypairs", "2.1").await;
    assert_eq!((status, &one["extension"]["name"]), (200, &json!("Keypairs")));
    assert_eq!(cloud.get("extensions/os-nonsense", "2.1").await.0, 404);
}

#[tokio::test]
async fn volumes_boot_is_another_name_for_servers() {
    let cloud = Cloud::new().await;
    let id = cloud.active_server().await;
    let (status, listed) = cloud.get("os-volumes_boot", "2.96").await;
    assert_eq!((status, &listed["servers"][0]["id"]), (200, &json!(id)));
    let (_, shown) = cloud.get(&format!("os-volumes_boot/{id}"), "2.96").await;
    assert_eq!(shown["server"]["status"], "ACTIVE");
    let (_, detailed) = cloud.get("os-volumes_boot/detail", "2.1").await;
    assert_eq!(detailed["servers"][0]["status"], "ACTIVE");
}

#[tokio::test]
async fn events_of_other_services() {
    let cloud = Cloud::without_quotas().await;
    let known = cloud.active_server().await;
    let huge = json!({"server": {
        "name": "nowhere", "imageRef": support::IMAGE, "flavorRef": "99", "networks": "none",
    }});
    let nowhere = cloud.compute("POST", "servers", (&cloud.member, "2.96", huge)).await;
    let nowhere = nowhere.body["server"]["id"].clone();
    let unknown = "11111111-1111-1111-1111-111111111111";
    let send = async |version, events: Value| {
        let body = json!({"events": events});
        cloud.compute("POST", "os-server-external-events", (&cloud.admin, version, body)).await
    };
    let plugged = json!({"name": "network-vif-plugged", "server_uuid": known, "tag": "port"});
    let reply = send("2.1", json!([plugged])).await;
    assert_eq!(reply.status, 200);
    let answered = &reply.body["events"][0];
    assert_eq!((&answered["status"], &answered["code"]), (&json!("completed"), &json!(200)));
    assert_eq!(answered["tag"], "port");
    let extended = json!({"name": "volume-extended", "server_uuid": known});
    let events = json!([
        plugged,
        {"name": "network-changed", "server_uuid": unknown},
        {"name": "network-changed", "server_uuid": nowhere, "status": "failed"},
        extended,
    ]);
    let reply = send("2.51", events).await;
    assert_eq!(reply.status, 207);
    let answered = reply.body["events"].as_array().unwrap();
    let codes: Vec<&Value> = answered.iter().map(|event| &event["code"]).collect();
    assert_eq!(json!(codes), json!([200, 404, 422, 400]));
    assert_eq!(answered[2]["status"], "failed");
    let none = send("2.51", json!([{"name": "network-changed", "server_uuid": unknown}])).await;
    assert_eq!((none.status, message(&none)), (404, "No instances found for any event"));
    for (version, events, text) in [
        ("2.50", json!([extended]), "'volume-extended' is not one of ['network-changed', "),
        ("2.51", json!([]), "[] is too short"),
        ("2.51", json!([{"name": "network-changed"}]), "'server_uuid' is a required property"),
    ] {
        let reply = send(version, events).await;
        assert_eq!(reply.status, 400);
        assert!(message(&reply).contains(text), "{}", reply.body);
    }
    let body = json!({"events": [plugged]});
    let member = (cloud.member.as_str(), "2.1", body);
    let reply = cloud.compute("POST", "os-server-external-events", member).await;
    assert_eq!(reply.status, 403);
}

#[tokio::test]
async fn migrations() {
    let cloud = Cloud::new().await;
    let id = cloud.active_server().await;
    let by = |version| (cloud.admin.as_str(), version, Value::Null);
    let list = format!("servers/{id}/migrations");
    let one = format!("{list}/7");
    let action = format!("{one}/action");
    assert_eq!(cloud.compute("GET", &list, by("2.23")).await.body, json!({"migrations": []}));
    refused(&cloud, ("GET", &list), by("2.22"), (404, "The resource could not be found.")).await;
    let text = format!("In-progress live migration 7 is not found for server {id}.");
    refused(&cloud, ("GET", &one), by("2.23"), (404, &text)).await;
    let text = format!("Instance {id} is in an invalid state for 'abort live migration'");
    refused(&cloud, ("DELETE", &one), by("2.24"), (409, &text)).await;
    let force = |body: Value| (cloud.admin.as_str(), "2.22", body);
    let text = format!("Instance {id} is in an invalid state for 'force_complete'");
    let body = json!({"force_complete": null});
    refused(&cloud, ("POST", &action), force(body.clone()), (409, &text)).await;
    let text =
        "Invalid input for field/attribute force_complete. Value: 1. 1 is not of type 'null'";
    refused(&cloud, ("POST", &action), force(json!({"force_complete": 1})), (400, text)).await;
    let text = "There is no such action: stop";
    refused(&cloud, ("POST", &action), force(json!({"stop": 1})), (400, text)).await;
    // Something else is being done to it.
    let pause = (cloud.member.as_str(), "2.1", json!({"pause": null}));
    cloud.compute("POST", &format!("servers/{id}/action"), pause).await;
    let text = format!("Cannot 'force_complete' instance {id} while it is in task_state pausing");
    refused(&cloud, ("POST", &action), force(body.clone()), (409, &text)).await;
    cloud.settle(id).await;
    let text = format!("Cannot 'force_complete' instance {id} while it is in vm_state paused");
    refused(&cloud, ("POST", &action), force(body), (409, &text)).await;
    // A manager sees its project's, not another's.
    let manager = cloud.add_user("f".repeat(32).as_str(), "boss", "manager").await;
    let by_manager = |version| (manager.as_str(), version, Value::Null);
    assert_eq!(cloud.compute("GET", &list, by_manager("2.96")).await.status, 200);
    assert_eq!(cloud.compute("GET", &one, by_manager("2.96")).await.status, 403);
    let of_project = |id: &str| format!("os-migrations?project_id={id}");
    let reply = cloud.compute("GET", &of_project(PROJECT), by_manager("2.96")).await;
    assert_eq!(reply.status, 200);
    let reply = cloud.compute("GET", &of_project("other"), by_manager("2.96")).await;
    assert_eq!(reply.status, 403);
    assert!(message(&reply).contains("os-migrations:index:all_projects"));
    let everywhere = |query: &str| format!("os-migrations?{query}");
    let reply = cloud.compute("GET", &everywhere("limit=1&marker=x"), by("2.58")).await;
    assert_eq!(reply.body, json!({"migrations": []}));
    assert_eq!(cloud.compute("GET", &everywhere("foo=1"), by("2.59")).await.status, 400);
    let marker = "marker=11111111-1111-1111-1111-111111111111";
    let text = "Marker 11111111-1111-1111-1111-111111111111 could not be found.";
    refused(&cloud, ("GET", &everywhere(marker)), by("2.59"), (400, text)).await;
    let range = "changes-since=2026-02-01T00:00:00Z&changes-before=2026-01-01T00:00:00Z";
    let text = "The value of changes-since must be less than or equal to changes-before.";
    refused(&cloud, ("GET", &everywhere(range)), by("2.66"), (400, text)).await;
    assert_eq!(cloud.compute("GET", &everywhere("user_id=u"), by("2.79")).await.status, 400);
    assert_eq!(cloud.compute("GET", &everywhere("user_id=u"), by("2.80")).await.status, 200);
}

#[tokio::test]
async fn pages_and_links_are_as_the_operator_has_set() {
    let cloud = Cloud::with_settings(|settings| {
        settings.api.max_limit = 2;
        settings.api.compute_link_prefix = Some("https://cloud.example/nova".into());
        settings.api.glance_link_prefix = Some("https://images.example".into());
    })
    .await;
    let first = cloud.active_server().await;
    for _ in 0..2 {
        cloud.active_server().await;
    }
    let base = "https://cloud.example/nova/compute";
    for query in ["", "?limit=9"] {
        let (_, list) = cloud.get(&format!("servers{query}"), "2.96").await;
        assert_eq!(list["servers"].as_array().unwrap().len(), 2, "{query}");
        let next = list["servers_links"][0]["href"].as_str().unwrap();
        assert!(next.starts_with(&format!("{base}/v2.1/servers?")), "{next}");
    }
    let (_, one) = cloud.get("servers?limit=1", "2.96").await;
    assert_eq!(one["servers"].as_array().unwrap().len(), 1);
    let (_, flavors) = cloud.get("flavors", "2.1").await;
    assert_eq!(flavors["flavors"].as_array().unwrap().len(), 2);
    let (_, images) = cloud.get("images?limit=9", "2.1").await;
    let links = &images["images"][0]["links"];
    let hrefs: Vec<&str> =
        links.as_array().unwrap().iter().map(|link| link["href"].as_str().unwrap()).collect();
    let image = support::IMAGE;
    assert_eq!(
        hrefs,
        [
            format!("https://images.example/compute/v2.1/images/{image}"),
            format!("https://images.example/compute/images/{image}"),
            format!("https://images.example/image/images/{image}"),
        ]
    );
    let (_, shown) = cloud.get(&format!("servers/{first}"), "2.1").await;
    let server = &shown["server"];
    assert_eq!(server["links"][1]["href"], format!("{base}/servers/{first}"));
    assert_eq!(server["image"]["links"][0]["href"], hrefs[1]);
    assert_eq!(server["flavor"]["links"][0]["href"], format!("{base}/flavors/1"));
    let versions = Ask { method: "GET", path: "/compute/", ..Ask::default() };
    let listed = cloud.ask(&versions).await;
    assert_eq!(listed.body["versions"][1]["links"][0]["href"], format!("{base}/v2.1/"));
}
