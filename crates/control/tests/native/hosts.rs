//! Hosts: what administrators see and change.

use jsonschema::Validator;
use reprieve_control::http::native::openapi;
use serde_json::{Value, json};

use crate::support::{Ask, Cloud, IMAGE, Reply, host_info};

async fn ask(cloud: &Cloud, token: &str, (method, path): (&str, &str), body: Value) -> Reply {
    let path = format!("/reprieve/v1{path}");
    let body = (!body.is_null()).then(|| body.to_string().into_bytes());
    cloud.ask(&Ask { method, path: &path, token, body, ..Ask::default() }).await
}

async fn get(cloud: &Cloud, path: &str) -> Reply {
    ask(cloud, &cloud.admin, ("GET", path), Value::Null).await
}

fn schema(name: &str) -> Validator {
    let schema = json!({
        "$ref": format!("#/components/schemas/{name}"),
        "components": {"schemas": openapi::schemas()},
    });
    jsonschema::validator_for(&schema).unwrap()
}

fn assert_is(name: &str, body: &Value) {
    let errors: Vec<String> =
        schema(name).iter_errors(body).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{name}: {errors:?} in {body}");
}

#[tokio::test]
async fn hosts_tell_their_state_versions_and_load() {
    let cloud = Cloud::new().await;
    cloud.active_server().await;
    let list = get(&cloud, "/hosts").await;
    assert_eq!(list.status, 200);
    assert_is("HostList", &list.body);
    let host = &list.body["hosts"][0];
    assert_eq!(
        (&host["name"], &host["state"], &host["enabled"]),
        (&json!("vm"), &json!("up"), &json!(true))
    );
    assert_eq!((&host["hypervisor"], &host["kvm"]), (&json!("QEMU 7.2.22"), &json!(false)));
    assert_eq!((&host["servers"], &host["servers_by_state"]), (&json!(1), &json!({"active": 1})));
    assert_eq!(host["active_operations"], 0);
    assert!(host["lease_age"].as_f64().unwrap() < 25.0);
    let one = get(&cloud, "/hosts/vm").await;
    assert_is("HostDetail", &one.body);
    assert_eq!(one.body["host"]["name"], "vm");
}

#[tokio::test]
async fn a_drained_host_gets_no_new_servers_until_it_is_enabled_again() {
    let cloud = Cloud::new().await;
    let id = cloud.active_server().await;
    let body = json!({"reason": "new memory"});
    let drained = ask(&cloud, &cloud.admin, ("POST", "/hosts/vm/drain"), body).await;
    assert_eq!(drained.status, 200, "{}", drained.body);
    assert_is("HostDetail", &drained.body);
    let host = &drained.body["host"];
    assert_eq!((&host["enabled"], &host["disabled_reason"]), (&json!(false), &json!("new memory")));
    assert_eq!(host["servers_by_state"], json!({"active": 1}));
    // Who drains it again may know a better reason, or none.
    for (body, reason) in [
        (Value::Null, "new memory"),
        (json!({"reason": "new board"}), "new board"),
        (json!({}), "new board"),
    ] {
        let again = ask(&cloud, &cloud.admin, ("POST", "/hosts/vm/drain"), body).await;
        assert_eq!(again.body["host"]["disabled_reason"], reason, "{}", again.body);
    }

    // What is there goes on.
    let path = format!("servers/{id}/action");
    let paused =
        cloud.compute("POST", &path, (&cloud.member, "2.96", json!({"pause": null}))).await;
    assert_eq!(paused.status, 202);
    assert_eq!(get(&cloud, "/hosts/vm").await.body["host"]["active_operations"], 1);
    cloud.settle(id).await;
    assert_eq!(get(&cloud, "/hosts/vm").await.body["host"]["active_operations"], 0);

    let new = json!({"server": {
        "name": "s", "imageRef": IMAGE, "flavorRef": "1", "networks": "none",
    }});
    let nowhere = cloud.compute("POST", "servers", (&cloud.member, "2.96", new)).await;
    let id = nowhere.body["server"]["id"].as_str().unwrap();
    let (_, server) = cloud.get(&format!("servers/{id}"), "2.96").await;
    assert_eq!(server["server"]["status"], "ERROR", "no host takes it");

    let enabled = ask(&cloud, &cloud.admin, ("POST", "/hosts/vm/enable"), Value::Null).await;
    let host = &enabled.body["host"];
    assert_eq!((&host["enabled"], &host["disabled_reason"]), (&json!(true), &Value::Null));
    cloud.active_server().await;
    // Nova's API says the same.
    ask(&cloud, &cloud.admin, ("POST", "/hosts/vm/drain"), Value::Null).await;
    let services =
        cloud.compute("GET", "os-services", (&cloud.admin, "2.96", Value::Null)).await.body;
    let service = &services["services"][0];
    assert_eq!(
        (&service["status"], &service["disabled_reason"]),
        (&json!("disabled"), &json!("drained"))
    );
}

#[tokio::test]
async fn servers_are_suspended_for_their_host_and_resumed_with_it() {
    let cloud = Cloud::new().await;
    let (runs, paused, asleep) =
        (cloud.active_server().await, cloud.active_server().await, cloud.active_server().await);
    ask(&cloud, &cloud.admin, ("POST", "/hosts/vm/drain"), Value::Null).await;
    cloud.add_host("elsewhere", host_info("elsewhere")).await;
    let elsewhere = cloud.active_server().await;
    let act = async |id, verb: &str| {
        let path = format!("servers/{id}/action");
        let body = json!({ verb: null });
        cloud.compute("POST", &path, (&cloud.member, "2.96", body)).await.status
    };
    for (id, verb) in [(paused, "pause"), (asleep, "suspend"), (runs, "lock")] {
        assert_eq!(act(id, verb).await, 202, "{verb}");
    }
    cloud.settle_all().await;
    let to = async |verb: &str| {
        ask(&cloud, &cloud.admin, ("POST", &format!("/hosts/vm/{verb}")), Value::Null).await
    };
    let asked = to("suspend").await;
    assert_eq!(asked.status, 202, "{}", asked.body);
    assert_is("HostAsked", &asked.body);
    let operations = asked.body["operations"].as_array().unwrap();
    assert_eq!(operations.len(), 1, "not what is paused or suspended: {}", asked.body);
    assert_eq!(operations[0]["server_id"], runs.to_string());
    assert_eq!(asked.body["refused"], json!([]));
    let operation = cloud.under_way(runs).await.unwrap();
    assert_eq!(operation.id.to_string(), operations[0]["id"].as_str().unwrap());
    // Asked again: it is under way. What is wanted back meanwhile has to be asked for again.
    let again = to("suspend").await;
    assert_eq!((&again.body["operations"], &again.body["refused"]), (&json!([]), &json!([])));
    assert_eq!(to("resume").await.status, 409, "it is closed");
    to("enable").await;
    let early = to("resume").await;
    assert_eq!(early.body["operations"], json!([]));
    assert_eq!(early.body["refused"][0]["server_id"], runs.to_string());
    assert_eq!(early.body["host"]["guests"], 2, "one is paused");
    cloud.settle(runs).await;
    assert!(cloud.under_way(elsewhere).await.is_none());
    let now = get(&cloud, "/hosts/vm").await.body;
    assert_eq!(
        (&now["host"]["suspended_for_host"], &now["host"]["guests"]),
        (&json!(1), &json!(1))
    );

    // Only what was suspended for it is resumed; its user may do so before.
    let asked = to("resume").await;
    assert_eq!(asked.status, 202);
    assert_eq!(asked.body["operations"][0]["server_id"], runs.to_string());
    assert_eq!(asked.body["operations"].as_array().unwrap().len(), 1);
    cloud.settle(runs).await;
    assert_eq!(to("resume").await.body["operations"], json!([]));
    let (_, server) = cloud.get(&format!("servers/{asleep}"), "2.96").await;
    assert_eq!(server["server"]["status"], "SUSPENDED");

    // What is busy is said.
    assert_eq!(act(asleep, "resume").await, 202);
    cloud.settle(asleep).await;
    assert_eq!(act(asleep, "pause").await, 202);
    let asked = to("suspend").await;
    assert_is("HostAsked", &asked.body);
    assert_eq!(asked.body["refused"][0]["server_id"], asleep.to_string());
    let why = asked.body["refused"][0]["message"].as_str().unwrap();
    assert!(why.contains("pausing"), "{why}");
}

/// Who may close hosts may not therefore do something to servers.
#[tokio::test]
async fn what_is_done_to_servers_of_a_host_needs_what_it_needs_for_each() {
    const SUSPEND: &str = "os_compute_api:os-suspend-server:suspend";
    let rules =
        [("os_compute_api:os-services:update", "role:member"), (SUSPEND, "rule:context_is_admin")];
    let cloud = Cloud::with_policy(&rules).await;
    let id = cloud.active_server().await;
    let path = "/hosts/vm/suspend";
    let asked = ask(&cloud, &cloud.member, ("POST", path), Value::Null).await;
    assert_eq!(asked.status, 202, "{}", asked.body);
    assert_eq!(asked.body["operations"], json!([]));
    assert_eq!(asked.body["refused"][0]["server_id"], id.to_string());
    let why = asked.body["refused"][0]["message"].as_str().unwrap();
    assert!(why.contains(SUSPEND), "{why}");
    assert!(cloud.under_way(id).await.is_none());
    let asked = ask(&cloud, &cloud.admin, ("POST", path), Value::Null).await;
    assert_eq!(asked.body["operations"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn hosts_are_for_administrators_and_names_are_only_looked_up() {
    let cloud = Cloud::new().await;
    cloud.add_host("b", host_info("b")).await;
    for (method, path) in [
        ("GET", "/hosts"),
        ("GET", "/hosts/vm"),
        ("POST", "/hosts/vm/drain"),
        ("POST", "/hosts/vm/enable"),
        ("POST", "/hosts/vm/suspend"),
        ("POST", "/hosts/vm/resume"),
    ] {
        let member = ask(&cloud, &cloud.member, (method, path), Value::Null).await;
        assert_eq!(member.status, 403, "{path}");
        assert_is("Error", &member.body);
        assert_eq!(ask(&cloud, "", (method, path), Value::Null).await.status, 401, "{path}");
    }
    for name in ["nope", "%00", "%0a", "..%2f", "%25", &"x".repeat(3000)] {
        let ends = ["/drain", "/enable", "/suspend", "/resume"];
        let posts = ends.into_iter().map(|end| ("POST", end));
        for (method, end) in posts.chain([("GET", "")]) {
            let path = format!("/hosts/{name}{end}");
            let reply = ask(&cloud, &cloud.admin, (method, &path), Value::Null).await;
            assert_eq!(reply.status, 404, "{method} {path}");
            assert_is("Error", &reply.body);
        }
    }
    for bad in [json!({"reason": ""}), json!({"reason": 1}), json!({"x": 1}), json!([])] {
        let reply = ask(&cloud, &cloud.admin, ("POST", "/hosts/b/drain"), bad.clone()).await;
        assert_eq!(reply.status, 400, "{bad}");
    }
    let long = json!({"reason": "x".repeat(9000)});
    let long = ask(&cloud, &cloud.admin, ("POST", "/hosts/b/drain"), long).await;
    assert_eq!(long.status, 413);
    assert_eq!(get(&cloud, "/hosts/b").await.body["host"]["enabled"], true);
}
