//! Parts of a server.

use serde_json::{Value, json};

use crate::support::{Ask, Cloud, IMAGE};
use crate::{message, refused};

#[tokio::test]
async fn passwords_and_topology() {
    let cloud = Cloud::new().await;
    let id = cloud.active_server().await;
    let path = format!("servers/{id}/os-server-password");
    assert_eq!(cloud.get(&path, "2.1").await, (200, json!({"password": ""})));
    let by = (cloud.member.as_str(), "2.1", Value::Null);
    assert_eq!(cloud.compute("DELETE", &path, by).await.status, 204);
    let path = format!("servers/{id}/topology");
    let flat = json!({"nodes": [], "pagesize_kb": null});
    assert_eq!(cloud.get(&path, "2.78").await, (200, flat));
    assert_eq!(cloud.get(&path, "2.77").await.0, 404);
    assert_eq!(cloud.get(&format!("{path}?x=1"), "2.78").await.0, 400);
}

#[tokio::test]
async fn tags() {
    let cloud = Cloud::new().await;
    let id = cloud.active_server().await;
    let put = |tag: &str, body: Value| (format!("servers/{id}/tags/{tag}"), body);
    let long = "x".repeat(61);
    for ((path, body), text) in [
        (put("t", json!({"a": 1})), "{'a': 1} is not of type 'null'".to_owned()),
        (
            put("a%2Cb", Value::Null),
            "Tag 'a,b' is invalid. It must be a string without characters '/' and ','. Validation \
             error message: 'a,b' does not match '^[^,/]*$'"
                .to_owned(),
        ),
        (
            put(&long, Value::Null),
            format!(
                "Tag '{long}' is invalid. It must be a string without characters '/' and ','. \
                 Validation error message: '{long}' is too long"
            ),
        ),
    ] {
        refused(&cloud, ("PUT", &path), (&cloud.member, "2.26", body), (400, &text)).await;
    }
    let (path, _) = put("t", Value::Null);
    assert_eq!(cloud.compute("PUT", &path, (&cloud.member, "2.26", Value::Null)).await.status, 201);
    assert_eq!(cloud.compute("PUT", &path, (&cloud.member, "2.26", Value::Null)).await.status, 204);
}

#[tokio::test]
async fn actions_of_deleted_servers_are_shown_since_2_21() {
    let cloud = Cloud::new().await;
    let id = cloud.active_server().await;
    let by = (cloud.member.as_str(), "2.1", Value::Null);
    assert_eq!(cloud.compute("DELETE", &format!("servers/{id}"), by).await.status, 204);
    cloud.settle(id).await;
    let path = format!("servers/{id}/os-instance-actions");
    assert_eq!(cloud.get(&path, "2.20").await.0, 404);
    assert_eq!(cloud.get(&path, "2.21").await.0, 200);
    assert_eq!(cloud.get(&format!("servers/{id}"), "2.96").await.0, 404);
}

/// What is kept of an answer is never shown to another caller, in another version, with other links,
/// or when the server has changed.
#[tokio::test]
async fn are_shown_as_they_are_however_they_were_shown_before() {
    let cloud = Cloud::new().await;
    let id = cloud.active_server().await;
    let mut ways = Vec::new();
    for token in [&cloud.member, &cloud.admin] {
        for version in ["2.1", "2.47", "2.96"] {
            for prefix in ["", "/compute"] {
                for path in [format!("servers/{id}"), "servers/detail?all_tenants=0".to_owned()] {
                    ways.push((token, version, format!("{prefix}/v2.1/{path}")));
                }
            }
        }
    }
    let version = |number: &str| format!("compute {number}");
    let look = async |(token, number, path): &(&String, &str, String)| {
        let version = version(number);
        let headers = vec![("openstack-api-version", version.as_str())];
        let ask = Ask { method: "GET", path, token, headers, ..Ask::default() };
        let reply = cloud.ask(&ask).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.body);
        reply.body
    };
    let mut first = Vec::new();
    for way in &ways {
        let shown = look(way).await;
        // An administrator of another project has none in its own.
        let empty = shown == json!({"servers": []});
        assert!(empty || !first.contains(&shown), "{way:?} is shown as another was");
        first.push(shown);
    }
    for (way, before) in ways.iter().zip(&first).rev() {
        assert_eq!(&look(way).await, before, "{way:?}");
    }
    let rename = json!({"server": {"name": "another"}});
    let path = format!("servers/{id}");
    assert_eq!(cloud.compute("PUT", &path, (&cloud.member, "2.1", rename)).await.status, 200);
    for (way, before) in ways.iter().zip(first) {
        let shown = look(way).await;
        let server = |body: &Value| match body.get("server") {
            Some(server) => server.clone(),
            None => body["servers"][0].clone(),
        };
        let mut renamed = server(&before);
        if renamed.is_null() {
            continue;
        }
        renamed["name"] = json!("another");
        renamed["updated"] = server(&shown)["updated"].clone();
        assert_eq!(server(&shown), renamed, "{way:?}");
    }
}

/// Whoever wants something of Reprieve by metadata is told at once if it cannot be understood.
#[tokio::test]
async fn metadata_for_reprieve_has_to_say_something() {
    const KEY: &str = "reprieve:after_host_reboot";
    let cloud = Cloud::new().await;
    let by = |body: Value| (cloud.member.as_str(), "2.96", body);
    let text = format!("Metadata {KEY} is 'restart', and has to be one of leave, start, resume.");
    let server = |metadata: Value| {
        json!({"server": {"name": "s", "imageRef": IMAGE, "flavorRef": "1", "networks": "none",
            "metadata": metadata}})
    };
    let wrong = json!({KEY: "restart"});
    refused(&cloud, ("POST", "servers"), by(server(wrong.clone())), (400, &text)).await;
    let made = cloud.compute("POST", "servers", by(server(json!({KEY: "resume"})))).await;
    assert_eq!(made.status, 202, "{}", made.body);
    let path = format!("servers/{}/metadata", cloud.active_server().await);
    let resume = json!({"metadata": {KEY: "resume"}});
    assert_eq!(cloud.compute("POST", &path, by(resume)).await.status, 200);
    let item = format!("{path}/{KEY}");
    let all = json!({"metadata": wrong});
    for (method, path, body) in [
        ("POST", &path, all.clone()),
        ("PUT", &path, all),
        ("PUT", &item, json!({"meta": {KEY: "restart"}})),
    ] {
        refused(&cloud, (method, path), by(body), (400, &text)).await;
    }
    let misspelt = json!({"metadata": {"reprieve:after_reboot": "start"}});
    let reply = cloud.compute("POST", &path, by(misspelt)).await;
    assert_eq!(reply.status, 400, "{}", reply.body);
    assert!(message(&reply).contains(KEY), "{}", reply.body);
    let (_, kept) = cloud.get(&path, "2.96").await;
    assert_eq!(kept["metadata"], json!({KEY: "resume"}));
    let start = json!({"meta": {KEY: "start"}});
    assert_eq!(cloud.compute("PUT", &item, by(start)).await.status, 200);
    let gone = cloud.compute("DELETE", &item, by(Value::Null)).await;
    assert_eq!(gone.status, 204);
}
