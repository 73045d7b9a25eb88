//! `/os-services`, and what its changes mean for servers.

use serde_json::{Value, json};

use crate::support::Cloud;
use crate::{RECORDED, add_host, admin, create, fault, get, refused, server};

async fn service(cloud: &Cloud, host: &str) -> Value {
    let services = get(cloud, &format!("os-services?host={host}"), RECORDED).await;
    services["services"][0].clone()
}

#[tokio::test]
async fn lists_are_filtered() {
    let cloud = Cloud::without_quotas().await;
    add_host(&cloud, "fake1").await;
    let hosts = async |query: &str| -> Vec<String> {
        let list = get(&cloud, &format!("os-services?{query}"), RECORDED).await;
        let list = list["services"].as_array().unwrap().iter();
        list.map(|service| service["host"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(hosts("").await, ["vm", "fake1"]);
    assert_eq!(hosts("host=fake1").await, ["fake1"]);
    assert_eq!(hosts("binary=nova-scheduler").await, [] as [String; 0]);
    get(&cloud, "os-services?unknown=1", "2.74").await;
    let text = "Additional properties are not allowed ('unknown' was unexpected)";
    refused(&cloud, "GET", "os-services?unknown=1", ("2.75", Value::Null, 400, text)).await;
}

#[tokio::test]
async fn hosts_that_are_disabled_or_down_get_no_servers() {
    let cloud = Cloud::without_quotas().await;
    let running = cloud.active_server().await;
    let id = service(&cloud, "vm").await["id"].as_str().unwrap().to_owned();
    let path = format!("os-services/{id}");
    for (way_in, host_status, reason, way_out) in [
        (
            json!({"status": "disabled", "disabled_reason": "new memory"}),
            "MAINTENANCE",
            "vm: disabled: new memory",
            json!({"status": "enabled"}),
        ),
        (json!({"forced_down": true}), "DOWN", "vm: forced down", json!({"forced_down": false})),
    ] {
        admin(&cloud, "PUT", &path, (RECORDED, way_in)).await;
        assert_eq!(server(&cloud, running).await["host_status"], host_status);
        let failed = server(&cloud, create(&cloud, json!({})).await).await;
        assert_eq!(failed["status"], "ERROR");
        let text = failed["fault"]["details"].as_str().unwrap();
        assert!(text.contains(reason), "{text}");
        admin(&cloud, "PUT", &path, (RECORDED, way_out)).await;
        assert_eq!(server(&cloud, running).await["host_status"], "UP");
        let made = server(&cloud, create(&cloud, json!({})).await).await;
        assert_eq!(made["status"], "BUILD");
    }
}

#[tokio::test]
async fn wrong_changes() {
    let cloud = Cloud::without_quotas().await;
    let id = service(&cloud, "vm").await["id"].as_str().unwrap().to_owned();
    let path = format!("os-services/{id}");
    let unknown = "os-services/11111111-1111-1111-1111-111111111111";
    let down = || json!({"forced_down": true});
    for (path, body, status, text) in [
        (path.as_str(), json!({}), 400, NOTHING),
        (&path, json!({"disabled_reason": "x"}), 400, NOTHING),
        (
            &path,
            json!({"status": "enabled", "disabled_reason": "x"}),
            400,
            "Specifying 'disabled_reason' with status 'enabled' is invalid.",
        ),
        (
            &path,
            json!({"status": "gone"}),
            400,
            "Invalid input for field/attribute status. Value: gone. 'gone' is not one of \
             ['enabled', 'disabled']",
        ),
        (
            &path,
            json!({"host": "vm"}),
            400,
            "Additional properties are not allowed ('host' was unexpected)",
        ),
        ("os-services/enable", down(), 400, "Invalid uuid enable"),
        (unknown, down(), 404, "Service 11111111-1111-1111-1111-111111111111 could not be found."),
    ] {
        refused(&cloud, "PUT", path, (RECORDED, body, status, text)).await;
    }
    for (method, path, rule) in [
        ("GET", "os-services", "list"),
        ("PUT", path.as_str(), "update"),
        ("DELETE", path.as_str(), "delete"),
    ] {
        let body = if method == "PUT" { down() } else { Value::Null };
        let reply = cloud.compute(method, path, (&cloud.member, RECORDED, body)).await;
        let text =
            format!("Policy doesn't allow os_compute_api:os-services:{rule} to be performed.");
        assert_eq!(fault(&reply), (403, text.as_str()));
    }
}

const NOTHING: &str =
    "No updates were requested. Fields 'status' or 'forced_down' should be specified.";

#[tokio::test]
async fn before_2_53_the_path_says_what_to_do() {
    let cloud = Cloud::without_quotas().await;
    let body = |more: Value| {
        let mut body = json!({"host": "vm", "binary": "nova-compute"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    for (version, action, more, answer) in [
        ("2.1", "disable", json!({}), json!({"status": "disabled"})),
        ("2.1", "enable", json!({}), json!({"status": "enabled"})),
        (
            "2.1",
            "disable-log-reason",
            json!({"disabled_reason": "r"}),
            json!({"status": "disabled", "disabled_reason": "r"}),
        ),
        ("2.52", "enable", json!({}), json!({"status": "enabled"})),
        ("2.11", "force-down", json!({"forced_down": "True"}), json!({"forced_down": true})),
    ] {
        let path = format!("os-services/{action}");
        let reply = admin(&cloud, "PUT", &path, (version, body(more))).await;
        assert_eq!(reply.body, json!({"service": body(answer)}), "{action}");
        assert_eq!(reply.status, 200);
    }
    let shown = service(&cloud, "vm").await;
    assert_eq!((&shown["forced_down"], &shown["disabled_reason"]), (&json!(true), &Value::Null));
    for (version, action, body, status, text) in [
        ("2.10", "force-down", body(json!({})), 404, "Unknown action"),
        ("2.11", "force-down", body(json!({})), 400, "Missing forced_down field"),
        ("2.1", "explode", body(json!({})), 404, "Unknown action"),
        ("2.1", "disable-log-reason", body(json!({})), 400, "Missing disabled reason field"),
        ("2.1", "enable", json!({"host": "vm"}), 400, "'binary' is a required property"),
        (
            "2.1",
            "enable",
            json!({"host": "vm", "binary": "nova-conductor"}),
            404,
            "Could not find binary nova-conductor on host vm.",
        ),
        (
            "2.1",
            "enable",
            json!({"host": "x", "binary": "nova-compute"}),
            404,
            "Could not find binary nova-compute on host x.",
        ),
    ] {
        let path = format!("os-services/{action}");
        refused(&cloud, "PUT", &path, (version, body, status, text)).await;
    }
}

#[tokio::test]
async fn a_host_is_forgotten_when_it_has_no_servers() {
    let cloud = Cloud::without_quotas().await;
    cloud.active_server().await;
    add_host(&cloud, "fake1").await;
    let path = format!("os-services/{}", service(&cloud, "vm").await["id"].as_str().unwrap());
    let text = "Unable to delete compute service that is hosting instances. Migrate or delete the \
                instances first.";
    refused(&cloud, "DELETE", &path, (RECORDED, Value::Null, 409, text)).await;

    let aggregate = json!({"aggregate": {"name": "a"}});
    admin(&cloud, "POST", "os-aggregates", (RECORDED, aggregate)).await;
    let add = json!({"add_host": {"host": "fake1"}});
    let added = admin(&cloud, "POST", "os-aggregates/1/action", (RECORDED, add)).await;
    assert_eq!(added.body["aggregate"]["hosts"], json!(["fake1"]));
    let path = format!("os-services/{}", service(&cloud, "fake1").await["id"].as_str().unwrap());
    let removed = admin(&cloud, "DELETE", &path, (RECORDED, Value::Null)).await;
    assert_eq!(removed.status, 204);
    assert_eq!(get(&cloud, "os-services", "2.1").await["services"].as_array().unwrap().len(), 1);
    assert_eq!(get(&cloud, "os-aggregates/1", "2.1").await["aggregate"]["hosts"], json!([]));
    let text = format!("Service {} not found.", path.strip_prefix("os-services/").unwrap());
    refused(&cloud, "DELETE", &path, (RECORDED, Value::Null, 404, &text)).await;
    refused(&cloud, "DELETE", "os-services/9", ("2.52", Value::Null, 404, "Service 9 not found."))
        .await;
    let text = "Invalid input received: id must be an integer";
    refused(&cloud, "DELETE", "os-services/x", ("2.52", Value::Null, 400, text)).await;
    refused(&cloud, "DELETE", "os-services/x", (RECORDED, Value::Null, 400, "Invalid uuid x"))
        .await;
    // It comes back under a new number when it is started again.
    add_host(&cloud, "fake1").await;
    assert_eq!(get(&cloud, "os-services", "2.1").await["services"][1]["id"], 3);
}
