//! Parts of a server.

use serde_json::{Value, json};

use crate::support::{Cloud, IMAGE};
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
async fn consoles() {
    let cloud = Cloud::without_quotas().await;
    let id = cloud.active_server().await;
    let path = format!("servers/{id}/remote-consoles");
    let ask = |version, protocol: &str, kind: &str| {
        let body = json!({"remote_console": {"protocol": protocol, "type": kind}});
        (cloud.member.as_str(), version, body)
    };
    for (protocol, kind, said) in
        [("vnc", "novnc", "novnc"), ("serial", "serial", "serial"), ("rdp", "novnc", "rdp")]
    {
        let text = format!("Unavailable console type {said}.");
        refused(&cloud, ("POST", &path), ask("2.6", protocol, kind), (400, &text)).await;
    }
    let text = "Invalid input for field/attribute type. Value: webmks. 'webmks' is not one of \
                ['novnc', 'xvpvnc', 'rdp-html5', 'spice-html5', 'serial']";
    refused(&cloud, ("POST", &path), ask("2.7", "vnc", "webmks"), (400, text)).await;
    let text = "Unavailable console type webmks.";
    refused(&cloud, ("POST", &path), ask("2.8", "mks", "webmks"), (400, text)).await;
    let body = json!({"remote_console": {"protocol": "vnc"}});
    let reply = cloud.compute("POST", &path, (&cloud.member, "2.6", body)).await;
    assert!(message(&reply).ends_with("'type' is a required property"), "{}", reply.body);
    // The older form.
    let action = format!("servers/{id}/action");
    let old = |body: Value| (cloud.member.as_str(), "2.5", body);
    let body = json!({"os-getSerialConsole": {"type": "serial"}});
    let text = "Unavailable console type serial.";
    refused(&cloud, ("POST", &action), old(body), (400, text)).await;
    let body = json!({"os-getVNCConsole": {"type": "x"}});
    let text = "Invalid input for field/attribute type. Value: x. 'x' is not one of ['novnc', \
                'xvpvnc']";
    refused(&cloud, ("POST", &action), old(body), (400, text)).await;
    let gone = json!({"os-getVNCConsole": {"type": "novnc"}});
    let reply = cloud.compute("POST", &action, (&cloud.member, "2.6", gone)).await;
    assert_eq!(reply.status, 404);
    // Being deleted, and never placed.
    let delete = (cloud.member.as_str(), "2.1", Value::Null);
    cloud.compute("DELETE", &format!("servers/{id}"), delete).await;
    let text = format!("Cannot 'get_vnc_console' instance {id} while it is in task_state deleting");
    refused(&cloud, ("POST", &path), ask("2.96", "vnc", "novnc"), (409, &text)).await;
    let huge = json!({"server": {
        "name": "n", "imageRef": IMAGE, "flavorRef": "99", "networks": "none",
    }});
    let made = cloud.compute("POST", "servers", (&cloud.member, "2.96", huge)).await;
    let id = made.body["server"]["id"].as_str().unwrap();
    let path = format!("servers/{id}/remote-consoles");
    let text = format!("Instance {id} is not ready");
    refused(&cloud, ("POST", &path), ask("2.96", "vnc", "novnc"), (409, &text)).await;
}

#[tokio::test]
async fn tokens_of_consoles() {
    let cloud = Cloud::new().await;
    let by = |token, version| (token, version, Value::Null);
    let admin = cloud.admin.as_str();
    let path = ("GET", "os-console-auth-tokens/t");
    refused(&cloud, path, by(admin, "2.31"), (404, "Token not found")).await;
    assert_eq!(cloud.compute(path.0, path.1, by(admin, "2.30")).await.status, 400);
    assert_eq!(cloud.compute(path.0, path.1, by(&cloud.member, "2.31")).await.status, 403);
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
