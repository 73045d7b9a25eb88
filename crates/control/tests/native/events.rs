//! The event stream.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use reprieve_control::work::notify::{self, Relay};
use reprieve_control::work::streams::{BUFFER, STREAMS_OF_PROJECT};
use reprieve_core::InstanceId;
use reprieve_core::notification::Notification;
use reprieve_core::ports::{EmitError, Emitter};
use reprieve_store::NotificationQuery;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::reader::Reader;
use crate::support::{Ask, Cloud};

/// Lets notifications be passed on.
async fn begin(cloud: &Cloud) -> (CancellationToken, AbortOnDropHandle<()>) {
    let stop = CancellationToken::new();
    let running = tokio::spawn(notify::run(Arc::clone(&cloud.control), stop.clone()));
    while cloud.control.notifications.streams.subscribe().is_none() {
        tokio::task::yield_now().await;
    }
    (stop, AbortOnDropHandle::new(running))
}

async fn act(cloud: &Cloud, id: InstanceId, action: &str) {
    let path = format!("servers/{id}/action");
    let body = json!({ action: null });
    let reply = cloud.compute("POST", &path, (&cloud.member, "2.96", body)).await;
    assert_eq!(reply.status, 202, "{}", reply.body);
    if !matches!(action, "lock" | "unlock") {
        cloud.settle(id).await;
    }
}

fn data(message: &Value) -> &Value {
    &message["payload"]["nova_object.data"]
}

#[tokio::test]
async fn what_is_committed_is_streamed() {
    let cloud = Cloud::new().await;
    let _work = begin(&cloud).await;
    let id = cloud.active_server().await;
    let mut admin = Reader::open(&cloud.router, &cloud.admin, "", None).await;
    let mut member = Reader::open(&cloud.router, &cloud.member, "", None).await;
    admin.quiet().await;
    member.quiet().await;
    act(&cloud, id, "pause").await;
    let expected = ["update", "pause.start", "update", "pause.end"];
    assert_eq!(admin.names(3).await, expected[..3]);
    let end = admin.event().await.unwrap();
    assert_eq!(end.name, "instance.pause.end");
    assert_eq!(end.data["publisher_id"], "nova-compute:vm");
    assert_eq!(data(&end.data)["host"], "vm");
    assert_eq!(data(&end.data)["power_state"], "paused");
    assert_eq!(member.names(3).await, expected[..3]);
    let seen = member.event().await.unwrap();
    assert_eq!(seen.id, end.id);
    assert_eq!(seen.data["message_id"], end.data["message_id"]);
    assert_eq!(seen.data["publisher_id"], "nova-compute");
    assert_eq!(data(&seen.data)["host"], Value::Null);

    // An administrator's project has no servers: what others own is not for its members.
    let query = "project_id=other";
    let mut elsewhere = Reader::open(&cloud.router, &cloud.admin, query, Some("0")).await;
    elsewhere.quiet().await;
}

#[tokio::test]
async fn a_client_that_comes_back_misses_nothing() {
    let cloud = Cloud::new().await;
    let _work = begin(&cloud).await;
    let id = cloud.active_server().await;
    let mut all = Reader::open(&cloud.router, &cloud.member, "", Some("0")).await;
    let told = ["update", "create.start", "update", "update", "create.end"];
    let first = all.event().await.unwrap();
    assert_eq!(first.id.as_deref(), Some("1-0"));
    assert_eq!(all.names(4).await, told[1..]);
    // In the middle of a change, and while other things happen.
    let mut rest = Reader::open(&cloud.router, &cloud.member, "", Some("2-0")).await;
    act(&cloud, id, "lock").await;
    assert_eq!(rest.names(5).await, ["update", "update", "create.end", "update", "lock"]);
    rest.quiet().await;
    let mut ids = BTreeSet::new();
    let last = rest.last.clone();
    drop(rest);
    act(&cloud, id, "unlock").await;
    let mut again = Reader::open(&cloud.router, &cloud.member, "", Some(&last)).await;
    for expected in ["instance.update", "instance.unlock"] {
        let event = again.event().await.unwrap();
        assert_eq!(event.name, expected);
        assert!(ids.insert(event.id.unwrap()));
    }
    again.quiet().await;
}

#[tokio::test]
async fn filters_and_their_bad_values() {
    let cloud = Cloud::new().await;
    let _work = begin(&cloud).await;
    let (one, two) = (cloud.active_server().await, cloud.active_server().await);
    let query = format!("server_id={two}&event_type=instance.pause.*&event_type=instance.lock");
    let mut reader = Reader::open(&cloud.router, &cloud.member, &query, None).await;
    reader.quiet().await;
    for id in [one, two] {
        act(&cloud, id, "lock").await;
        act(&cloud, id, "unlock").await;
        act(&cloud, id, "pause").await;
    }
    assert_eq!(reader.names(3).await, ["lock", "pause.start", "pause.end"]);
    for (query, status) in [
        ("server_id=x", 400),
        ("nonsense=1", 400),
        ("last_event_id=x", 400),
        ("last_event_id=1-2-3", 400),
    ] {
        let path = format!("/reprieve/v1/events?{query}");
        let ask = Ask { method: "GET", path: &path, token: &cloud.member, ..Ask::default() };
        let reply = cloud.ask(&ask).await;
        assert_eq!(reply.status, status, "{query}");
        assert_eq!(reply.body["error"]["code"], status, "{query}");
    }
    let anonymous = Ask { method: "GET", path: "/reprieve/v1/events", ..Ask::default() };
    assert_eq!(cloud.ask(&anonymous).await.status, 401);
}

#[tokio::test]
async fn what_was_dropped_is_a_gap() {
    let cloud = Cloud::new().await;
    let _work = begin(&cloud).await;
    let id = cloud.active_server().await;
    for action in ["lock", "unlock", "lock"] {
        act(&cloud, id, action).await;
    }
    assert!(cloud.control.store.trim_notifications(1).await.unwrap() > 2);
    let mut reader = Reader::open(&cloud.router, &cloud.member, "", Some("1")).await;
    let gap = reader.event().await.unwrap();
    assert_eq!((gap.name.as_str(), &gap.data), ("stream.gap", &json!({"missed": 4})));
    assert_eq!(reader.names(2).await, ["update", "lock"]);
    let mut stranger = Reader::open(&cloud.router, &cloud.member, "", Some("9999")).await;
    let gap = stranger.event().await.unwrap();
    assert_eq!((gap.name.as_str(), &gap.data), ("stream.gap", &json!({"missed": null})));
}

#[tokio::test]
async fn a_stream_ends_with_its_token_and_with_the_process() {
    let cloud = Cloud::new().await;
    let (stop, _running) = begin(&cloud).await;
    let mut admin = Reader::open(&cloud.router, &cloud.admin, "", None).await;
    let mut member = Reader::open(&cloud.router, &cloud.member, "", None).await;
    admin.quiet().await;
    member.quiet().await;
    let revoke = Ask {
        method: "DELETE",
        path: "/identity/v3/auth/tokens",
        token: &cloud.admin,
        headers: vec![("x-subject-token", &cloud.member)],
        body: None,
    };
    assert_eq!(cloud.ask(&revoke).await.status, 204);
    let last = member.event().await.unwrap();
    assert_eq!((last.name.as_str(), &last.data["reason"]), ("stream.end", &json!("token")));
    assert_eq!(member.any().await, None);
    admin.quiet().await;
    stop.cancel();
    let last = admin.event().await.unwrap();
    assert_eq!((last.name.as_str(), &last.data["reason"]), ("stream.end", &json!("shutdown")));
    assert_eq!(admin.any().await, None);
    let late =
        Ask { method: "GET", path: "/reprieve/v1/events", token: &cloud.admin, ..Ask::default() };
    let reply = cloud.ask(&late).await;
    assert!(reply.body.as_str().unwrap().contains("shutdown"), "{}", reply.body);
}

#[tokio::test]
async fn a_slow_reader_is_dropped_and_told_so() {
    let cloud = Cloud::new().await;
    let _work = begin(&cloud).await;
    let id = cloud.active_server().await;
    let query = NotificationQuery { limit: 1, ..NotificationQuery::default() };
    let record = cloud.control.store.notifications(&query).await.unwrap().remove(0);
    let mut reader = Reader::open(&cloud.router, &cloud.admin, "", None).await;
    reader.quiet().await;
    let event = Arc::new(notify::of(&record, "vm").remove(0));
    let streams = &cloud.control.notifications.streams;
    let flood = vec![event; BUFFER + 7];
    streams.emit(&flood).await.unwrap();
    let last = reader.event().await.unwrap();
    assert_eq!(last.name, "stream.end");
    assert_eq!(last.data, json!({"reason": "too_slow", "missed": 7}));
    assert_eq!(reader.any().await, None);
    // It comes back and goes on where it was.
    act(&cloud, id, "lock").await;
    let last = reader.last.clone();
    let mut again = Reader::open(&cloud.router, &cloud.admin, "", Some(&last)).await;
    assert_eq!(again.names(2).await, ["update", "lock"]);
}

#[tokio::test]
async fn a_project_has_so_many_streams() {
    let cloud = Cloud::new().await;
    let _work = begin(&cloud).await;
    let mut open = Vec::new();
    for _ in 0..STREAMS_OF_PROJECT {
        open.push(Reader::open(&cloud.router, &cloud.member, "", None).await);
    }
    let ask =
        Ask { method: "GET", path: "/reprieve/v1/events", token: &cloud.member, ..Ask::default() };
    assert_eq!(cloud.ask(&ask).await.status, 429);
    open.pop();
    Reader::open(&cloud.router, &cloud.member, "", None).await;
}

/// A broker that is down now and then.
#[derive(Default)]
struct Broker {
    down: AtomicBool,
    taken: Mutex<Vec<String>>,
    missed: Mutex<Vec<u64>>,
}

#[async_trait]
impl Emitter for Broker {
    fn has_audience(&self) -> bool {
        true
    }

    async fn emit(&self, notifications: &[Arc<Notification>]) -> Result<(), EmitError> {
        if self.down.load(Ordering::SeqCst) {
            return Err(EmitError("connection refused".to_owned()));
        }
        let names = notifications.iter().map(|one| one.event_type.clone());
        self.taken.lock().unwrap().extend(names);
        Ok(())
    }

    async fn missed(&self, changes: u64) {
        self.missed.lock().unwrap().push(changes);
    }
}

#[tokio::test]
async fn a_broker_that_was_down_gets_what_is_kept_and_the_count_of_the_rest() {
    let cloud = Cloud::new().await;
    let broker = Broker::default();
    let mut relay = Relay::new(&cloud.control.store, &broker, "vm");
    let id = cloud.active_server().await;
    relay.pass_on().await.unwrap();
    assert_eq!(broker.taken.lock().unwrap().len(), 5);
    broker.taken.lock().unwrap().clear();

    broker.down.store(true, Ordering::SeqCst);
    act(&cloud, id, "lock").await;
    for _ in 0..2 {
        assert!(relay.pass_on().await.unwrap_err().contains("connection refused"));
    }
    for action in ["unlock", "pause"] {
        act(&cloud, id, action).await; // in spite of the broker
    }
    cloud.control.store.trim_notifications(2).await.unwrap();
    assert!(relay.pass_on().await.is_err());
    broker.down.store(false, Ordering::SeqCst);
    relay.pass_on().await.unwrap();
    relay.pass_on().await.unwrap();
    let expected = ["instance.pause.start", "instance.update", "instance.pause.end"];
    assert_eq!(*broker.taken.lock().unwrap(), expected);
    assert_eq!(*broker.missed.lock().unwrap(), [3], "lock, unlock, and that pause was accepted");
}

/// How far a broker was told is remembered, so that whoever comes next goes on from there; and one of
/// several processes tells it.
#[tokio::test]
async fn a_broker_is_told_by_one_process_at_a_time_and_over_restarts() {
    let cloud = Cloud::new().await;
    let broker = Broker::default();
    let relay = |holder| Relay::kept(&cloud.control.store, &broker, "vm", ("broker", holder));
    let taken = || std::mem::take(&mut *broker.taken.lock().unwrap());

    let mut first = relay("first");
    first.pass_on().await.unwrap();
    let id = cloud.active_server().await;
    first.look().await.unwrap();
    first.pass_on().await.unwrap();
    assert!(taken().is_empty(), "what was committed before the first look is not told");
    act(&cloud, id, "lock").await;
    first.look().await.unwrap();
    first.pass_on().await.unwrap();
    assert_eq!(taken(), ["instance.update", "instance.lock"]);

    let mut second = relay("second");
    act(&cloud, id, "unlock").await;
    second.look().await.unwrap();
    second.pass_on().await.unwrap();
    assert!(taken().is_empty(), "the place is taken");
    first.leave().await;
    second.look().await.unwrap();
    second.pass_on().await.unwrap();
    assert_eq!(taken(), ["instance.update", "instance.unlock"]);
    // It comes back and finds that it has lost its place.
    act(&cloud, id, "lock").await;
    first.look().await.unwrap();
    first.pass_on().await.unwrap();
    assert!(taken().is_empty());
    second.pass_on().await.unwrap();
    assert_eq!(taken(), ["instance.update", "instance.lock"]);
    second.leave().await;
    act(&cloud, id, "unlock").await;
    let mut third = relay("third");
    third.look().await.unwrap();
    third.pass_on().await.unwrap();
    assert_eq!(taken(), ["instance.update", "instance.unlock"]);
}
