//! `reprieve operation …` and `reprieve host …`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail as tests do"
)]

mod common;

use common::*;
use serde_json::{Value, json};

const OPERATION: &str = "0199c1d0-5a3e-7c31-9d0e-3b1f0c8a4f10";

fn operation(state: &str) -> Value {
    json!({
        "id": OPERATION, "server_id": ID, "action": "suspend", "kind": "suspend", "state": state,
        "request_id": REQUEST, "user_id": "u1", "project_id": "p1", "host": "node1",
        "progress": 33, "step": 1, "step_name": "save_memory", "attempt": 1,
        "created_at": "2026-11-22T20:13:22.000000Z", "finished_at": null, "error": null,
        "needs_attention": false,
    })
}

fn one(state: &str) -> Reply {
    let mut operation = operation(state);
    operation["steps"] = json!([
        {"seq": 1, "step": "open_save", "event": "done", "at": "2026-11-22T20:13:22.000000Z",
         "detail": "the save is announced"},
        {"seq": 2, "step": "save_memory", "event": "started", "at": "2026-11-22T20:13:23.000000Z",
         "detail": null},
    ]);
    reply(200, json!({ "operation": operation }))
}

fn path(end: &str) -> String {
    format!("/reprieve/v1/operations/{OPERATION}{end}")
}

fn host(enabled: bool, operations: u64) -> Value {
    json!({
        "name": "node1", "state": "up", "last_seen": "2026-11-22T20:13:22.000000Z",
        "lease_age": 3.25, "epoch": 4, "enabled": enabled,
        "disabled_reason": if enabled { Value::Null } else { json!("new memory") },
        "forced_down": false, "problem": null, "agent_version": "0.1.0",
        "hypervisor": "QEMU 7.2.22", "kvm": true, "servers": 2,
        "servers_by_state": {"active": 1, "suspended": 1}, "guests": 1,
        "suspended_for_host": 0, "active_operations": operations,
    })
}

fn host_reply(enabled: bool, operations: u64) -> Reply {
    reply(200, json!({"host": host(enabled, operations)}))
}

#[test]
fn operations_are_listed_and_filtered() {
    let cloud = Cloud::start();
    cloud.server([server("ACTIVE", "active", None)]);
    let page = json!({"operations": [operation("running")], "next": null});
    cloud.on("GET /reprieve/v1/operations", [reply(200, page)]);
    let arguments = ["operation", "list", "--server", ID, "--active", "--action", "suspend"];
    let done = cloud.run(&arguments).expect(0);
    for word in ["| ID ", "| State ", "running", "save_memory", "33", "node1", OPERATION] {
        assert!(done.out.contains(word), "{word}: {done:?}");
    }
    let asked = cloud.asked().into_iter().find(|one| one.path.contains("/operations")).unwrap();
    assert_eq!(
        asked.path,
        format!(
            "/reprieve/v1/operations?server_id={ID}&state=pending&state=dispatched&state=running\
             &state=cancelling&action=suspend&limit=100"
        )
    );
    assert_eq!(asked.headers["x-auth-token"], TOKEN);
    let json = cloud.run(&["operation", "list", "-f", "json"]).expect(0).json();
    assert_eq!(json[0]["State"], "running");
    let value = cloud.run(&["operation", "list", "-f", "value", "-c", "ID"]).expect(0);
    assert_eq!(value.out, format!("{OPERATION}\n"));
    cloud.run(&["operation", "list", "--state", "odd"]).expect(2);
    cloud.run(&["operation", "list", "--active", "--state", "failed"]).expect(2);
}

#[test]
fn pages_are_followed_by_the_last_id_and_not_by_a_link() {
    let cloud = Cloud::start();
    let first = json!({"operations": [operation("running")], "next": "http://elsewhere/steal"});
    let mut last = operation("failed");
    last["id"] = json!(OTHER);
    last["error"] = json!({"code": 500, "message": "the disk is full", "details": null});
    let last = json!({"operations": [last], "next": null});
    cloud.on("GET /reprieve/v1/operations", [reply(200, first), reply(200, last)]);
    let done = cloud.run(&["operation", "list", "--long"]).expect(0);
    assert!(done.out.contains(OPERATION) && done.out.contains(OTHER), "{done:?}");
    assert!(done.out.contains("the disk is full"), "{done:?}");
    let asked: Vec<String> = cloud.asked().into_iter().map(|asked| asked.path).collect();
    let second = format!("/reprieve/v1/operations?limit=99&marker={OPERATION}");
    assert!(asked.contains(&second), "{asked:?}");
}

#[test]
fn one_operation_shows_its_steps() {
    let cloud = Cloud::start();
    cloud.on(&format!("GET {}", path("")), [one("running")]);
    let done = cloud.run(&["operation", "show", OPERATION]).expect(0);
    let line = "2026-11-22T20:13:22.000000Z open_save done: the save is announced";
    assert!(done.out.contains(line), "{done:?}");
    assert!(done.out.contains("save_memory started"), "{done:?}");
    let json = cloud.run(&["operation", "show", OPERATION, "-f", "json"]).expect(0).json();
    assert_eq!(json["steps"][0]["event"], "done");
    let missing = cloud.run(&["operation", "show", "nope"]).expect(3);
    assert_eq!(missing.err, "reprieve: there is no operation 'nope'\n");
}

#[test]
fn a_cancellation_is_waited_for() {
    let cloud = Cloud::start();
    cloud.on(&format!("POST {}", path("/cancel")), [one("cancelling")]);
    let states = [one("cancelling"), fault(503, "error", "restarting"), one("cancelled")];
    cloud.on(&format!("GET {}", path("")), states);
    let done = cloud.run(&["operation", "cancel", OPERATION, "--wait"]).expect(0);
    assert!(done.err.starts_with(&format!("{OPERATION}: suspend cancelled after ")), "{done:?}");
    assert_eq!(cloud.one("POST", "/cancel").body, b"");
    let done = cloud.run(&["operation", "cancel", OPERATION]).expect(0);
    assert_eq!(done.err, format!("{OPERATION}: suspend is being stopped\n"));
    assert_eq!(cloud.run(&["-q", "operation", "cancel", OPERATION]).expect(0).err, "");
}

#[test]
fn what_was_not_cancelled_is_a_failure() {
    let cloud = Cloud::start();
    let text = "Operation x (suspend) cannot be cancelled: it is past the point where it can be \
                stopped: the memory is saved; resume the server when this has ended.";
    cloud.on(&format!("POST {}", path("/cancel")), [fault(409, "error", text)]);
    let done = cloud.run(&["operation", "cancel", OPERATION]).expect(1);
    assert_eq!(done.err, format!("reprieve: {text} (HTTP 409, {REQUEST})\n"));

    cloud.on(&format!("POST {}", path("/cancel")), [one("cancelling")]);
    cloud.on(&format!("GET {}", path("")), [one("succeeded")]);
    let done = cloud.run(&["operation", "cancel", OPERATION, "--wait"]).expect(1);
    assert!(done.err.contains("it was done before it could be stopped"), "{done:?}");
    let mut failed = operation("failed");
    failed["error"] = json!({"code": 500, "message": "the disk is full", "details": null});
    cloud.on(&format!("GET {}", path("")), [reply(200, json!({ "operation": failed }))]);
    let done = cloud.run(&["operation", "cancel", OPERATION, "--wait"]).expect(1);
    assert!(done.err.contains("it failed: the disk is full"), "{done:?}");
    cloud.on(&format!("GET {}", path("")), [one("cancelling")]);
    let arguments = ["operation", "cancel", OPERATION, "--wait", "--timeout", "1"];
    let done = cloud.run(&arguments).expect(1);
    assert!(done.err.contains("is not stopped after 1 s; its host is still asked"), "{done:?}");
}

#[test]
fn several_cancellations_are_all_tried() {
    let cloud = Cloud::start();
    cloud.on(&format!("POST {}", path("/cancel")), [one("cancelled")]);
    let done = cloud.run(&["operation", "cancel", OTHER, OPERATION]).expect(3);
    assert!(done.err.contains(&format!("there is no operation '{OTHER}'")), "{done:?}");
    assert!(done.err.contains("suspend cancelled after"), "{done:?}");
    assert!(done.err.contains("1 of 2 failed"), "{done:?}");
}

#[test]
fn hosts_are_listed() {
    let cloud = Cloud::start();
    cloud.on("GET /reprieve/v1/hosts", [reply(200, json!({"hosts": [host(false, 1)]}))]);
    let done = cloud.run(&["host", "list"]).expect(0);
    for word in ["node1", "up", "3.2 s", "QEMU 7.2.22", "0.1.0", "False", "new memory"] {
        assert!(done.out.contains(word), "{word}: {done:?}");
    }
    let json = cloud.run(&["host", "list", "-f", "json"]).expect(0).json();
    assert_eq!((&json[0]["Lease Age"], &json[0]["Servers"]), (&json!(3.25), &json!(2)));
    cloud.on("GET /reprieve/v1/hosts/node1", [host_reply(true, 0)]);
    let done = cloud.run(&["host", "show", "node1", "-f", "value", "-c", "state"]).expect(0);
    assert_eq!(done.out, "up\n");
    assert_eq!(cloud.run(&["host", "show", "b"]).expect(3).err, "reprieve: there is no host 'b'\n");
}

#[test]
fn a_drain_waits_until_nothing_is_under_way_and_tells_what_is_left() {
    let cloud = Cloud::start();
    cloud.on("POST /reprieve/v1/hosts/node1/drain", [host_reply(false, 2)]);
    let states = [host_reply(false, 2), host_reply(false, 1), host_reply(false, 0)];
    cloud.on("GET /reprieve/v1/hosts/node1", states);
    let arguments = ["host", "drain", "node1", "--reason", "new memory", "--wait", "-f", "json"];
    let done = cloud.run(&arguments).expect(0);
    assert!(done.err.contains("node1: nothing is under way after "), "{done:?}");
    assert!(done.err.contains("node1: no new servers come; 2 servers are still there"), "{done:?}");
    let left = done.json();
    assert_eq!(left["servers_by_state"], json!({"active": 1, "suspended": 1}));
    assert_eq!(left["active_operations"], 0);
    assert_eq!(cloud.one("POST", "/drain").json(), json!({"reason": "new memory"}));

    let done = cloud.run(&["host", "drain", "node1", "-f", "value", "-c", "active_operations"]);
    assert_eq!(done.expect(0).out, "2\n", "without --wait it says how it is");
    cloud.on("GET /reprieve/v1/hosts/node1", [host_reply(false, 1)]);
    let done = cloud.run(&["host", "drain", "node1", "--wait", "--timeout", "1"]).expect(1);
    assert!(done.err.contains("operations on node1 are not over after 1 s"), "{done:?}");
}

fn asked(states: Value, accepted: usize, refused: Value) -> Reply {
    let mut host = host(false, accepted as u64);
    host["servers_by_state"] = states;
    let operation = json!({"id": OPERATION, "server_id": ID});
    let operations = vec![operation; accepted];
    reply(202, json!({"host": host, "operations": operations, "refused": refused}))
}

#[test]
fn servers_are_suspended_for_their_host_and_resumed_with_it() {
    let cloud = Cloud::start();
    cloud.on("POST /reprieve/v1/hosts/node1/drain", [host_reply(false, 0)]);
    let refused = json!([{"server_id": ID, "message": "it is busy"}]);
    let suspend = "POST /reprieve/v1/hosts/node1/suspend";
    cloud.on(suspend, [asked(json!({"active": 2}), 1, refused)]);
    cloud.on("GET /reprieve/v1/hosts/node1", [host_reply(false, 1), host_reply(false, 0)]);
    let arguments = ["host", "drain", "node1", "--suspend", "--wait", "-f", "json"];
    let done = cloud.run(&arguments).expect(1);
    for text in [
        "node1: 1 server is being suspended",
        &format!("node1: {ID} is not suspended: it is busy"),
        "node1: nothing is under way after ",
        "node1: a restart of the machine would still end 1 guest with its memory; servers \
         there: 1 active, 1 suspended",
    ] {
        assert!(done.err.contains(text), "{text}: {done:?}");
    }
    assert_eq!(done.json()["active_operations"], 0, "how it is, all the same");

    let mut quiet = host(false, 0);
    quiet["servers_by_state"] = json!({"suspended": 2, "stopped": 1, "error": 1, "rescued": 1});
    quiet["guests"] = json!(0);
    cloud.on("GET /reprieve/v1/hosts/node1", [reply(200, json!({ "host": quiet }))]);
    cloud.on(suspend, [asked(json!({"suspended": 2}), 0, json!([]))]);
    let done = cloud.run(&arguments).expect(0);
    assert!(done.err.contains("node1: no server is to be suspended"), "{done:?}");

    cloud.on("POST /reprieve/v1/hosts/node1/enable", [host_reply(true, 0)]);
    cloud.on("POST /reprieve/v1/hosts/node1/resume", [asked(json!({}), 2, json!([]))]);
    let done = cloud.run(&["host", "enable", "node1", "--resume"]).expect(0);
    let texts = "node1: new servers may come again\nnode1: 2 servers are being resumed\n";
    assert_eq!(done.err, texts);
    cloud.on("POST /reprieve/v1/hosts/node1/resume", [asked(json!({}), 2, json!([]))]);
    let mut left = host(true, 0);
    left["suspended_for_host"] = json!(1);
    cloud.on("GET /reprieve/v1/hosts/node1", [reply(200, json!({ "host": left }))]);
    let done = cloud.run(&["host", "enable", "node1", "--resume", "--wait"]).expect(1);
    assert!(done.err.contains("1 that were suspended for it are not resumed"), "{done:?}");
    cloud.run(&["host", "enable", "node1", "--wait"]).expect(2);
    cloud.run(&["host", "drain", "node1", "--undo", "--suspend"]).expect(2);
    // Somebody else drains it again, to restart it.
    cloud.on("GET /reprieve/v1/hosts/node1", [host_reply(false, 0)]);
    let before = cloud.asked().len();
    let done = cloud.run(&["host", "enable", "node1", "--resume", "--wait"]).expect(1);
    assert!(done.err.contains("node1 was drained again meanwhile"), "{done:?}");
    let asked = cloud.asked().split_off(before);
    assert!(!asked.iter().any(|one| one.path.ends_with("/resume")), "{asked:?}");
}

#[test]
fn a_drain_is_undone_in_two_ways() {
    let cloud = Cloud::start();
    cloud.on("POST /reprieve/v1/hosts/node1/enable", [host_reply(true, 0)]);
    for arguments in [["host", "enable", "node1"].as_slice(), &["host", "drain", "node1", "--undo"]]
    {
        let done = cloud.run(arguments).expect(0);
        assert_eq!(done.err, "node1: new servers may come again\n");
    }
    cloud.run(&["host", "drain", "node1", "--undo", "--wait"]).expect(2);
    cloud.run(&["host", "enable", "node2"]).expect(3);
}

#[test]
fn another_compute_service_has_none_of_it() {
    let cloud = Cloud::start();
    for arguments in [["operation", "list"], ["host", "list"]] {
        let done = cloud.run(&arguments).expect(1);
        assert!(done.err.contains("it is another one"), "{done:?}");
    }
    cloud.on("GET /reprieve/v1/hosts", [fault(403, "error", "Policy doesn't allow it.")]);
    let done = cloud.run(&["host", "list"]).expect(1);
    assert!(done.err.contains("hint: your roles in this project do not allow it"), "{done:?}");
}
