//! The audit trail of the real router.

use serde_json::{Value, json};

use crate::support::{Ask, Cloud, PROJECT, USER};

/// Lines about a path that ends so.
fn about(cloud: &Cloud, end: &str) -> Vec<Value> {
    let ends = |line: &Value| line["target"].as_str().unwrap().ends_with(end);
    cloud.trail.lines().into_iter().filter(ends).collect()
}

#[tokio::test]
async fn changes_tell_who_what_and_what_came_of_it() {
    let cloud = Cloud::new().await;
    let id = cloud.active_server().await;
    let [created] = about(&cloud, "/servers").try_into().unwrap();
    assert_eq!(created["server_id"], id.to_string());
    assert_eq!((&created["status"], &created["verb"]), (&json!(202), &Value::Null));

    let path = format!("servers/{id}/action");
    let asked =
        cloud.compute("POST", &path, (&cloud.member, "2.96", json!({"suspend": null}))).await;
    let [line] = about(&cloud, "/action").try_into().unwrap();
    let request_id = asked.headers["x-openstack-request-id"].to_str().unwrap();
    assert_eq!(line["request_id"], request_id);
    assert_eq!((&line["user_id"], &line["project_id"]), (&json!(USER), &json!(PROJECT)));
    assert!(line["roles"].as_array().unwrap().contains(&json!("member")), "{line}");
    assert_eq!(line["action"], "POST /compute/v2.1/servers/{id}/action");
    assert_eq!((&line["verb"], &line["status"]), (&json!("suspend"), &json!(202)));
    assert_eq!(line["server_id"], id.to_string());
    assert!(line["time"].as_str().unwrap().ends_with('Z'));
    let names: Vec<&str> = line.as_object().unwrap().keys().map(String::as_str).collect();
    let doc = include_str!("../../../../docs/operations.md");
    for name in names {
        assert!(doc.contains(&format!("| `{name}` |")), "{name} is not in docs/operations.md");
    }

    // Refusals are told, too.
    cloud.compute("POST", &path, (&cloud.member, "2.96", json!({"pause": null}))).await;
    let lines = about(&cloud, "/action");
    assert_eq!((&lines[1]["verb"], &lines[1]["status"]), (&json!("pause"), &json!(409)));
    cloud.compute("POST", &path, ("nonsense", "2.96", json!({"pause": null}))).await;
    let lines = about(&cloud, "/action");
    assert_eq!((&lines[2]["user_id"], &lines[2]["status"]), (&Value::Null, &json!(401)));
    let operation = cloud.under_way(id).await.unwrap().id;
    let path = format!("/reprieve/v1/operations/{operation}/cancel");
    cloud.ask(&Ask { method: "POST", path: &path, token: &cloud.member, ..Ask::default() }).await;
    let [line] = about(&cloud, "/cancel").try_into().unwrap();
    assert_eq!(line["action"], "POST /reprieve/v1/operations/{id}/cancel");
    assert_eq!(line["user_id"], USER);
}

#[tokio::test]
async fn looking_leaves_no_line_and_nothing_secret_is_in_any() {
    let cloud = Cloud::new().await;
    let id = cloud.active_server().await;
    let before = cloud.trail.lines().len();
    cloud.get("servers/detail", "2.96").await;
    cloud.ask(&Ask { method: "HEAD", path: "/identity/v3", ..Ask::default() }).await;
    cloud.ask(&Ask { method: "OPTIONS", path: "/image/v2/images", ..Ask::default() }).await;
    assert_eq!(cloud.trail.lines().len(), before);

    // A login tells who it was once it has succeeded.
    let logins = about(&cloud, "/auth/tokens");
    assert!(logins.iter().any(|line| line["user_id"] == USER), "{logins:?}");
    let path = format!("servers/{id}/action?token=in-a-query");
    let body = json!({"rescue": {"adminPass": "hunter2hunter2"}});
    cloud.compute("POST", &path, (&cloud.member, "2.96", body)).await;
    let text = cloud.trail.text();
    for secret in
        [&cloud.member, &cloud.admin, "hunter2hunter2", "in-a-query", "a password of a test"]
    {
        assert!(!text.contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn what_a_client_invents_stays_bounded_and_within_its_line() {
    let cloud = Cloud::new().await;
    let before = cloud.trail.lines().len();
    let long = format!("/{}", "a".repeat(5000));
    for (method, path) in [
        ("FROBNICATE", "/compute/v2.1/servers"),
        ("POST", long.as_str()),
        ("POST", "/compute/v2.1/servers/%0a%22%7b/action"),
        ("DELETE", "/identity/v3/%e2%80%ae"),
    ] {
        cloud.ask(&Ask { method, path, token: &cloud.member, ..Ask::default() }).await;
    }
    let body = json!({"no such \"action\"\n": {}}).to_string().into_bytes();
    let path = format!("/compute/v2.1/servers/{USER}/action");
    let ask = Ask { method: "POST", path: &path, token: &cloud.member, ..Ask::default() };
    cloud.ask(&Ask { body: Some(body), ..ask }).await;
    let lines = cloud.trail.lines();
    assert_eq!(lines.len(), before + 5);
    for line in lines.iter().skip(before) {
        assert!(line.to_string().len() < 1500, "{line}");
        assert_eq!(line["verb"], Value::Null, "only known actions are named");
    }
}
