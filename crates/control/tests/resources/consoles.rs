//! Remote consoles and their tokens.

use std::any::Any;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use reprieve_core::console::{ConsoleEndpoint, ConsoleProtocol};
use reprieve_core::message::{HostRequest, HostResponse};
use reprieve_core::ports::RequestHandler;
use reprieve_core::{Clock as _, InstanceId, PowerState, SystemClock};
use serde_json::{Value, json};

use crate::support::{Cloud, IMAGE, Reply};
use crate::{message, refused};

/// A host whose guests have what is said here.
struct Guests(Mutex<HostResponse>);

#[async_trait]
impl RequestHandler for Guests {
    async fn answer(&self, request: HostRequest) -> HostResponse {
        let HostRequest::Console { protocol, .. } = request else { panic!("{request:?}") };
        let answer = self.0.lock().unwrap().clone();
        match (&answer, protocol) {
            // As a real one: a serial port and no display, unless a display is what is asked about.
            (HostResponse::Console { endpoint }, ConsoleProtocol::Vnc | ConsoleProtocol::Spice)
                if endpoint.path.is_some() =>
            {
                HostResponse::NoConsole
            }
            (_, _) => answer,
        }
    }
}

impl Guests {
    async fn serve(cloud: &Cloud, answer: HostResponse) -> (Arc<Self>, Box<dyn Any + Send>) {
        let guests = Arc::new(Self(Mutex::new(answer)));
        let serving = cloud.control.bus.serve(&"vm".into(), guests.clone()).await.unwrap();
        (guests, serving)
    }

    fn say(&self, answer: HostResponse) {
        *self.0.lock().unwrap() = answer;
    }
}

fn serial(id: InstanceId) -> HostResponse {
    let path = Some(id.to_string());
    let endpoint = ConsoleEndpoint { host: "node1".into(), port: 6084, tls_port: None, path };
    HostResponse::Console { endpoint }
}

fn display() -> HostResponse {
    let (port, tls_port) = (5900, Some(5901));
    let endpoint = ConsoleEndpoint { host: "10.0.0.5".into(), port, tls_port, path: None };
    HostResponse::Console { endpoint }
}

fn asked(protocol: &str, kind: &str) -> Value {
    json!({"remote_console": {"protocol": protocol, "type": kind}})
}

async fn open(cloud: &Cloud, id: InstanceId, version: &str, body: Value) -> Reply {
    let path = match body.get("remote_console") {
        Some(_) => format!("servers/{id}/remote-consoles"),
        None => format!("servers/{id}/action"),
    };
    cloud.compute("POST", &path, (&cloud.member, version, body)).await
}

/// The token in a URL.
fn token<'a>(reply: &'a Reply, base: &str) -> &'a str {
    assert_eq!(reply.status, 200, "{}", reply.body);
    let answer = reply.body.as_object().and_then(|fields| fields.values().next()).unwrap();
    let token = answer["url"].as_str().unwrap().strip_prefix(base).unwrap();
    assert_eq!(token.len(), 43, "256 bits");
    token
}

#[tokio::test]
async fn of_the_kind_that_a_guest_has_are_given() {
    let cloud = Cloud::new().await;
    let id = cloud.active_server().await;
    let (_guests, _serving) = Guests::serve(&cloud, serial(id)).await;
    let base = "ws://127.0.0.1:6083/?token=";
    let new = open(&cloud, id, "2.6", asked("serial", "serial")).await;
    let old = open(&cloud, id, "2.5", json!({"os-getSerialConsole": {"type": "serial"}})).await;
    let (of_new, of_old) = (token(&new, base), token(&old, base));
    assert_ne!(of_new, of_old);
    let url = format!("{base}{of_new}");
    let expected = json!({"remote_console": {"protocol": "serial", "type": "serial", "url": url}});
    assert_eq!(new.body, expected);
    assert_eq!(old.body["console"]["type"], "serial");
    // What a proxy is told.
    let mut expected = json!({"console": {
        "instance_uuid": id, "host": "node1", "port": 6084, "internal_access_path": id,
    }});
    for secret in [of_new, of_old] {
        let path = format!("os-console-auth-tokens/{secret}");
        let found = cloud.compute("GET", &path, (&cloud.admin, "2.31", Value::Null)).await;
        assert_eq!((found.status, &found.body), (200, &expected));
    }
    expected["console"]["tls_port"] = Value::Null;
    let path = format!("os-console-auth-tokens/{of_new}");
    let found = cloud.compute("GET", &path, (&cloud.admin, "2.99", Value::Null)).await;
    assert_eq!(found.body, expected);
    let strict = format!("{path}?x=1");
    let found = cloud.compute("GET", &strict, (&cloud.admin, "2.98", Value::Null)).await;
    assert_eq!(found.status, 200);
    let found = cloud.compute("GET", &strict, (&cloud.admin, "2.99", Value::Null)).await;
    assert_eq!(found.status, 400);
    // Ended with the server, and never somebody else's to ask for.
    let other = cloud.compute("GET", &path, (&cloud.member, "2.31", Value::Null)).await;
    assert_eq!(other.status, 403);
    let delete = (cloud.member.as_str(), "2.1", Value::Null);
    cloud.compute("DELETE", &format!("servers/{id}"), delete).await;
    cloud.settle(id).await;
    let by = (cloud.admin.as_str(), "2.31", Value::Null);
    refused(&cloud, ("GET", &path), by, (404, "Token not found")).await;
}

#[tokio::test]
async fn of_displays_are_given_where_there_are_some() {
    let cloud = Cloud::new().await;
    let id = cloud.active_server().await;
    let (_guests, _serving) = Guests::serve(&cloud, display()).await;
    let novnc = open(&cloud, id, "2.6", asked("vnc", "novnc")).await;
    token(&novnc, "http://127.0.0.1:6080/vnc_auto.html?path=%3Ftoken%3D");
    let old = open(&cloud, id, "2.1", json!({"os-getVNCConsole": {"type": "novnc"}})).await;
    token(&old, "http://127.0.0.1:6080/vnc_auto.html?path=%3Ftoken%3D");
    let old = open(&cloud, id, "2.1", json!({"os-getSPICEConsole": {"type": "spice-html5"}})).await;
    token(&old, "http://127.0.0.1:6082/spice_auto.html?token=");
    let direct = open(&cloud, id, "2.99", asked("spice", "spice-direct")).await;
    let secret = token(&direct, "http://127.0.0.1:13002/nova?token=");
    let path = format!("os-console-auth-tokens/{secret}");
    let found = cloud.compute("GET", &path, (&cloud.admin, "2.99", Value::Null)).await;
    let expected = json!({"console": {
        "instance_uuid": id, "host": "10.0.0.5", "port": 5900, "tls_port": 5901,
        "internal_access_path": null,
    }});
    assert_eq!(found.body, expected);
}

#[tokio::test]
async fn that_a_guest_has_not_are_unavailable() {
    let cloud = Cloud::without_quotas().await;
    let id = cloud.active_server().await;
    let (guests, _serving) = Guests::serve(&cloud, serial(id)).await;
    let path = format!("servers/{id}/remote-consoles");
    let ask = |version, protocol, kind| (cloud.member.as_str(), version, asked(protocol, kind));
    for (version, protocol, kind, text) in [
        ("2.6", "vnc", "novnc", "Unavailable console type novnc."),
        ("2.6", "vnc", "xvpvnc", "Unavailable console type xvpvnc."),
        ("2.6", "spice", "spice-html5", "Unavailable console type spice-html5."),
        ("2.6", "rdp", "rdp-html5", "Unavailable console type rdp."),
        ("2.6", "rdp", "novnc", "Unavailable console type rdp."),
        ("2.8", "mks", "webmks", "Unavailable console type webmks."),
        ("2.99", "spice", "spice-direct", "Unavailable console type spice-direct."),
        ("2.6", "serial", "novnc", "Invalid console type novnc"),
    ] {
        refused(&cloud, ("POST", &path), ask(version, protocol, kind), (400, text)).await;
    }
    let action = format!("servers/{id}/action");
    for (name, kind, said) in [
        ("os-getVNCConsole", "novnc", "novnc"),
        ("os-getSPICEConsole", "spice-html5", "spice-html5"),
        ("os-getRDPConsole", "rdp-html5", "rdp"),
    ] {
        let body = json!({name: {"type": kind}});
        let text = format!("Unavailable console type {said}.");
        let by = (cloud.member.as_str(), "2.5", body);
        refused(&cloud, ("POST", &action), by, (400, &text)).await;
    }
    // A guest that is off has none; a domain that is not there is no server.
    let wanted = || ask("2.96", "serial", "serial");
    let text = "Unavailable console type serial.";
    for answer in
        [HostResponse::NotRunning { power: PowerState::Shutdown }, HostResponse::NoConsole]
    {
        guests.say(answer);
        refused(&cloud, ("POST", &path), wanted(), (400, text)).await;
    }
    guests.say(HostResponse::NotRunning { power: PowerState::NoState });
    let gone = format!("Instance {id} could not be found.");
    refused(&cloud, ("POST", &path), wanted(), (404, &gone)).await;
    for answer in [HostResponse::Failed { message: "libvirt is away".into() }, HostResponse::Noted]
    {
        guests.say(answer);
        let text = "Compute service of vm is unavailable at this time.";
        refused(&cloud, ("POST", &path), wanted(), (409, text)).await;
    }
    let suspend = (cloud.member.as_str(), "2.1", json!({"suspend": null}));
    cloud.compute("POST", &action, suspend).await;
    cloud.settle(id).await;
    guests.say(HostResponse::NotRunning { power: PowerState::NoState });
    refused(&cloud, ("POST", &path), wanted(), (400, text)).await;
}

#[tokio::test]
async fn of_servers_that_come_and_go_are_refused() {
    let cloud = Cloud::without_quotas().await;
    let id = cloud.active_server().await;
    let path = format!("servers/{id}/remote-consoles");
    let ask = |protocol, kind| (cloud.member.as_str(), "2.96", asked(protocol, kind));
    let delete = (cloud.member.as_str(), "2.1", Value::Null);
    cloud.compute("DELETE", &format!("servers/{id}"), delete).await;
    for (protocol, kind) in [("vnc", "novnc"), ("spice", "spice-html5"), ("serial", "serial")] {
        let text = format!(
            "Cannot 'get_{protocol}_console' instance {id} while it is in task_state deleting"
        );
        refused(&cloud, ("POST", &path), ask(protocol, kind), (409, &text)).await;
    }
    let create = async |flavor: &str| -> InstanceId {
        let body = json!({"server": {
            "name": "n", "imageRef": IMAGE, "flavorRef": flavor, "networks": "none",
        }});
        let made = cloud.compute("POST", "servers", (&cloud.member, "2.96", body)).await;
        made.body["server"]["id"].as_str().unwrap().parse().unwrap()
    };
    // Never placed, and placed but not there yet.
    let absent = HostResponse::NotRunning { power: PowerState::NoState };
    let (_guests, _serving) = Guests::serve(&cloud, absent).await;
    for flavor in ["99", "1"] {
        let id = create(flavor).await;
        let path = format!("servers/{id}/remote-consoles");
        let text = format!("Instance {id} is not ready");
        refused(&cloud, ("POST", &path), ask("serial", "serial"), (409, &text)).await;
    }
}

#[tokio::test]
async fn asked_for_wrongly_are_refused() {
    let cloud = Cloud::new().await;
    let id = cloud.active_server().await;
    let path = format!("servers/{id}/remote-consoles");
    let ask = |version, protocol, kind| (cloud.member.as_str(), version, asked(protocol, kind));
    let known = "'novnc', 'xvpvnc', 'rdp-html5', 'spice-html5', 'serial'";
    let text = format!(
        "Invalid input for field/attribute type. Value: webmks. 'webmks' is not one of [{known}]"
    );
    refused(&cloud, ("POST", &path), ask("2.7", "vnc", "webmks"), (400, &text)).await;
    let text = format!(
        "Invalid input for field/attribute type. Value: spice-direct. 'spice-direct' is not one of \
         [{known}, 'webmks']"
    );
    refused(&cloud, ("POST", &path), ask("2.98", "spice", "spice-direct"), (400, &text)).await;
    let reply = open(&cloud, id, "2.6", json!({"remote_console": {"protocol": "vnc"}})).await;
    assert!(message(&reply).ends_with("'type' is a required property"), "{}", reply.body);
    let action = format!("servers/{id}/action");
    let body = json!({"os-getVNCConsole": {"type": "x"}});
    let text = "Invalid input for field/attribute type. Value: x. 'x' is not one of ['novnc', \
                'xvpvnc']";
    let by = (cloud.member.as_str(), "2.5", body);
    refused(&cloud, ("POST", &action), by, (400, text)).await;
    let gone = open(&cloud, id, "2.6", json!({"os-getVNCConsole": {"type": "novnc"}})).await;
    assert_eq!(gone.status, 404);
}

#[tokio::test]
async fn tokens_that_are_none() {
    let cloud = Cloud::new().await;
    let by = |token, version| (token, version, Value::Null);
    let admin = cloud.admin.as_str();
    let long = format!("os-console-auth-tokens/{}", "t".repeat(300));
    for path in ["os-console-auth-tokens/t", &long] {
        refused(&cloud, ("GET", path), by(admin, "2.31"), (404, "Token not found")).await;
    }
    let path = ("GET", "os-console-auth-tokens/t");
    assert_eq!(cloud.compute(path.0, path.1, by(admin, "2.30")).await.status, 400);
    assert_eq!(cloud.compute(path.0, path.1, by(&cloud.member, "2.31")).await.status, 403);
}

#[tokio::test]
async fn tokens_end_with_their_time() {
    let cloud = Cloud::new().await;
    let id = cloud.active_server().await;
    let (_guests, _serving) = Guests::serve(&cloud, serial(id)).await;
    let reply = open(&cloud, id, "2.96", asked("serial", "serial")).await;
    let secret = token(&reply, "ws://127.0.0.1:6083/?token=");
    let record = cloud.control.store.console_token(&blake3_of(secret)).await.unwrap().unwrap();
    let left = record.expires_at.micros() - SystemClock.now().micros();
    assert!((590_000_000..=600_000_000).contains(&left), "{left}");
}

fn blake3_of(secret: &str) -> String {
    blake3::hash(secret.as_bytes()).to_hex().to_string()
}
