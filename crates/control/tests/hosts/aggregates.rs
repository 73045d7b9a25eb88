//! `/os-aggregates`.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use reprieve_core::message::{HostRequest, HostResponse};
use reprieve_core::ports::RequestHandler;
use serde_json::{Value, json};

use crate::support::{Cloud, IMAGE};
use crate::{RECORDED, add_host, admin, fault, get, refused};

const PATH: &str = "os-aggregates";

async fn make(cloud: &Cloud, name: &str, zone: Option<&str>) -> Value {
    let body = json!({"aggregate": {"name": name, "availability_zone": zone}});
    let reply = admin(cloud, "POST", PATH, (RECORDED, body)).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    reply.body["aggregate"].clone()
}

/// Does something that has to succeed; the aggregate afterwards.
async fn act(cloud: &Cloud, id: i64, action: Value) -> Value {
    let reply = admin(cloud, "POST", &format!("{PATH}/{id}/action"), (RECORDED, action)).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    reply.body["aggregate"].clone()
}

fn add(host: &str) -> Value {
    json!({"add_host": {"host": host}})
}

#[tokio::test]
async fn have_no_hosts_when_made_and_no_uuid_before_2_41() {
    let cloud = Cloud::without_quotas().await;
    let made = make(&cloud, "one", Some("z1")).await;
    assert_eq!((&made["id"], &made["availability_zone"]), (&json!(1), &json!("z1")));
    assert_eq!((made.get("hosts"), made.get("metadata")), (None, None));
    let old = get(&cloud, "os-aggregates/1", "2.40").await;
    assert_eq!((&old["aggregate"]["name"], old["aggregate"].get("uuid")), (&json!("one"), None));
    assert_eq!(get(&cloud, PATH, "2.40").await["aggregates"][0].get("uuid"), None);
    assert!(get(&cloud, PATH, "2.41").await["aggregates"][0]["uuid"].is_string());
}

#[tokio::test]
async fn change_and_go() {
    let cloud = Cloud::without_quotas().await;
    make(&cloud, "one", None).await;
    let body = json!({"aggregate": {"name": "uno", "availability_zone": "z"}});
    let changed = admin(&cloud, "PUT", "os-aggregates/1", (RECORDED, body)).await;
    assert_eq!(changed.body["aggregate"]["name"], "uno");
    assert_eq!(changed.body["aggregate"]["metadata"], json!({"availability_zone": "z"}));
    assert!(changed.body["aggregate"]["updated_at"].is_string());
    let set = json!({"set_metadata": {"metadata": {"ssd": "true", "availability_zone": null}}});
    let changed = act(&cloud, 1, set).await;
    assert_eq!(changed["metadata"], json!({"ssd": "true"}));
    assert_eq!(changed["availability_zone"], Value::Null);

    assert_eq!(act(&cloud, 1, add("vm")).await["hosts"], json!(["vm"]));
    let text = "Cannot remove host from aggregate 1. Reason: Host aggregate is not empty.";
    refused(&cloud, "DELETE", "os-aggregates/1", (RECORDED, Value::Null, 400, text)).await;
    let remove = json!({"remove_host": {"host": "vm"}});
    assert_eq!(act(&cloud, 1, remove).await["hosts"], json!([]));
    let gone = admin(&cloud, "DELETE", "os-aggregates/1", (RECORDED, Value::Null)).await;
    assert_eq!((gone.status, gone.body), (200, json!("")));
    assert_eq!(get(&cloud, PATH, RECORDED).await, json!({"aggregates": []}));
    assert_eq!(make(&cloud, "two", None).await["id"], 2, "numbers are not given out twice");
}

#[tokio::test]
async fn refusals_have_novas_words() {
    let cloud = Cloud::without_quotas().await;
    add_host(&cloud, "fake1").await;
    make(&cloud, "one", Some("z1")).await;
    make(&cloud, "two", Some("z2")).await;
    act(&cloud, 1, add("vm")).await;
    let body = |name: &str| json!({"aggregate": {"name": name}});
    let remove = |host: &str| json!({"remove_host": {"host": host}});
    for (method, path, body, status, text) in [
        ("POST", "os-aggregates", body("one"), 409, "Aggregate one already exists."),
        ("PUT", "os-aggregates/2", body("one"), 409, "Aggregate one already exists."),
        ("GET", "os-aggregates/9", Value::Null, 404, "Aggregate 9 could not be found."),
        ("PUT", "os-aggregates/9", body("x"), 404, "Aggregate 9 could not be found."),
        ("DELETE", "os-aggregates/9", Value::Null, 404, "Aggregate 9 could not be found."),
        ("POST", "os-aggregates/9/action", add("vm"), 404, "Aggregate 9 could not be found."),
        (
            "GET",
            "os-aggregates/x",
            Value::Null,
            400,
            "Invalid input received: id must be an integer",
        ),
        ("POST", "os-aggregates/1/action", add("vm"), 409, "Aggregate 1 already has host vm."),
        ("POST", "os-aggregates/1/action", add("x"), 404, "Compute host x could not be found."),
        ("POST", "os-aggregates/1/action", remove("x"), 404, "Compute host x could not be found."),
        ("POST", "os-aggregates/2/action", remove("vm"), 404, "Aggregate 2 has no host vm."),
        (
            "POST",
            "os-aggregates/2/action",
            add("vm"),
            409,
            "Cannot add host to aggregate 2. Reason: One or more hosts already in availability \
             zone(s) ['z1'].",
        ),
        (
            "POST",
            "os-aggregates/1/action",
            json!({"set_metadata": {"metadata": {"availability_zone": ""}}}),
            400,
            "Cannot update metadata of aggregate 1. Reason: Aggregate one does not support empty \
             named availability zone.",
        ),
        ("POST", "os-aggregates", json!({}), 400, "'aggregate' is a required property"),
        (
            "POST",
            "os-aggregates",
            json!({"aggregate": {"name": "n", "availability_zone": "a:b"}}),
            400,
            "Invalid input for field/attribute availability_zone. Value: a:b. 'a:b' is not valid \
             under any of the given schemas",
        ),
        (
            "PUT",
            "os-aggregates/1",
            json!({"aggregate": {}}),
            400,
            "Invalid input for field/attribute aggregate. Value: {}. {} is not valid under any of \
             the given schemas",
        ),
        ("POST", "os-aggregates/1/action", json!({"x": 1}), 400, "There is no such action: x"),
        ("POST", "os-aggregates/1/action", json!({}), 400, "Malformed request body"),
    ] {
        refused(&cloud, method, path, (RECORDED, body, status, text)).await;
    }
    let reply = cloud.compute("GET", PATH, (&cloud.member, RECORDED, Value::Null)).await;
    let text = "Policy doesn't allow os_compute_api:os-aggregates:index to be performed.";
    assert_eq!(fault(&reply), (403, text));
}

#[tokio::test]
async fn hosts_with_servers_stay_in_their_zone() {
    let cloud = Cloud::without_quotas().await;
    make(&cloud, "one", Some("z1")).await;
    make(&cloud, "two", None).await;
    // In the default zone, in which its server is and stays.
    cloud.active_server().await;
    let text = |what: &str, id: i64| {
        format!(
            "Cannot {what} aggregate {id}. Reason: One or more hosts contain instances in this \
             zone."
        )
    };
    let action = "os-aggregates/1/action";
    let refusal = text("add host to", 1);
    refused(&cloud, "POST", action, (RECORDED, add("vm"), 409, &refusal)).await;
    act(&cloud, 2, add("vm")).await;
    let zone = json!({"aggregate": {"availability_zone": "z2"}});
    let refusal = text("update", 2);
    refused(&cloud, "PUT", "os-aggregates/2", (RECORDED, zone, 400, &refusal)).await;
    let set = json!({"set_metadata": {"metadata": {"availability_zone": "z2"}}});
    let refusal = text("update metadata of", 2);
    refused(&cloud, "POST", "os-aggregates/2/action", (RECORDED, set, 400, &refusal)).await;
    // Saying what is so already changes nothing.
    let same = json!({"set_metadata": {"metadata": {"availability_zone": "az-vm"}}});
    assert_eq!(act(&cloud, 2, same).await["availability_zone"], "az-vm");
    let remove = json!({"remove_host": {"host": "vm"}});
    assert_eq!(act(&cloud, 2, remove).await["hosts"], json!([]));
}

/// Keeps what it was asked.
struct Listening(Mutex<Vec<HostRequest>>);

#[async_trait]
impl RequestHandler for Listening {
    async fn answer(&self, request: HostRequest) -> HostResponse {
        self.0.lock().unwrap().push(request);
        HostResponse::Noted
    }
}

#[tokio::test]
async fn images_are_announced_to_the_hosts() {
    let cloud = Cloud::without_quotas().await;
    let listening = Arc::new(Listening(Mutex::default()));
    let _serving = cloud.control.bus.serve(&"vm".into(), listening.clone()).await.unwrap();
    make(&cloud, "one", None).await;
    act(&cloud, 1, add("vm")).await;
    let path = "os-aggregates/1/images";
    let cache = |ids: &[&str]| {
        let items: Vec<Value> = ids.iter().map(|id| json!({"id": id})).collect();
        json!({"cache": items})
    };
    let asked = admin(&cloud, "POST", path, ("2.81", cache(&[IMAGE]))).await;
    assert_eq!((asked.status, asked.body), (202, json!("")));
    let requests = listening.0.lock().unwrap().clone();
    let [HostRequest::CacheImages { images }] = requests.as_slice() else {
        panic!("{requests:?}");
    };
    assert_eq!(images[0].id.to_string(), IMAGE);

    let twice = (cache(&[IMAGE, IMAGE]), "Duplicate images in request");
    let missing = "11111111-1111-1111-1111-111111111111";
    let text = format!("Image {missing} could not be found.");
    for (body, text) in [twice, (cache(&[missing]), text.as_str())] {
        refused(&cloud, "POST", path, ("2.81", body, 400, text)).await;
    }
    let old = admin(&cloud, "POST", path, ("2.80", cache(&[IMAGE]))).await;
    assert_eq!(old.status, 404);
}
