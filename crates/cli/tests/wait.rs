//! `--wait` against a server whose states are scripted.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail as tests do"
)]

mod common;

use common::*;
use serde_json::json;

fn demo_by_name(cloud: &Cloud) {
    let found = json!({"servers": [{"id": ID, "name": "demo"}]});
    cloud.on("GET /compute/v2.1/servers?name=%5Edemo%24", [reply(200, found)]);
}

#[test]
fn waits_until_the_task_is_over() {
    let cloud = Cloud::start();
    demo_by_name(&cloud);
    cloud.server([
        server("ACTIVE", "active", None),
        server("ACTIVE", "active", Some("suspending")),
        server("ACTIVE", "active", Some("suspending")),
        server("SUSPENDED", "suspended", None),
    ]);
    cloud.action(reply(202, json!(null)));
    let done = cloud.run(&["server", "suspend", "demo", "--wait"]).expect(0);
    assert_eq!(done.out, "");
    assert!(done.err.starts_with("demo: SUSPENDED after "), "{done:?}");
    let action = cloud.one("POST", "/action");
    assert_eq!(action.json(), json!({"suspend": null}));
    assert_eq!(action.headers["openstack-api-version"], "compute 2.104");
    assert_eq!(action.headers["x-openstack-nova-api-version"], "2.104");
    assert_eq!(action.headers["x-auth-token"], TOKEN);
    let polls = cloud.asked().iter().filter(|asked| asked.path.ends_with(ID)).count();
    assert_eq!(polls, 4);
}

#[test]
fn without_wait_it_only_says_what_was_accepted() {
    let cloud = Cloud::start();
    cloud.server([server("ACTIVE", "active", None)]);
    cloud.action(reply(202, json!(null)));
    let done = cloud.run(&["server", "pause", ID]).expect(0);
    assert_eq!(done.err, format!("demo: pause accepted ({REQUEST})\n"));
    let quiet = cloud.run(&["-q", "server", "pause", ID]).expect(0);
    assert_eq!((quiet.out, quiet.err), (String::new(), String::new()));
}

#[test]
fn a_fault_is_the_reason_of_the_failure() {
    let cloud = Cloud::start();
    let mut failed = server("ERROR", "error", None);
    failed["fault"] = json!({"code": 500, "message": "no space left on device", "created": "x"});
    cloud.server([
        server("SUSPENDED", "suspended", None),
        server("SUSPENDED", "suspended", Some("resuming")),
        failed,
    ]);
    cloud.action(reply(202, json!(null)));
    let done = cloud.run(&["server", "resume", ID, "--wait"]).expect(1);
    assert_eq!(
        done.err,
        format!(
            "reprieve: resume of demo failed, it is ERROR: no space left on device ('reprieve \
             trace {REQUEST}')\n"
        )
    );
}

#[test]
fn another_state_is_a_failure_with_the_reason_of_the_event() {
    let cloud = Cloud::start();
    cloud.server([server("ACTIVE", "active", None)]);
    cloud.action(reply(202, json!(null)));
    let events = json!([{"event": "compute_suspend_instance", "result": "Error",
                         "details": "the disk is full"}]);
    cloud.on(
        &format!("GET /compute/v2.1/servers/{ID}/os-instance-actions/{REQUEST}"),
        [reply(200, json!({"instanceAction": {"message": "Error", "events": events}}))],
    );
    let done = cloud.run(&["server", "suspend", ID, "--wait"]).expect(1);
    assert!(
        done.err.contains("suspend of demo failed, it is ACTIVE: the disk is full"),
        "{done:?}"
    );
    // A reboot ends where it began: only the event tells.
    let done = cloud.run(&["server", "reboot", ID, "--wait"]).expect(1);
    assert!(done.err.contains("reboot of demo failed: the disk is full"), "{done:?}");
}

#[test]
fn gives_up_after_the_timeout() {
    let cloud = Cloud::start();
    cloud.server([server("ACTIVE", "active", Some("pausing"))]);
    cloud.action(reply(202, json!(null)));
    let done = cloud.run(&["server", "pause", ID, "--wait", "--timeout", "1"]).expect(1);
    assert!(done.err.contains("pause of demo is not over after 1 s"), "{done:?}");
}

#[test]
fn a_delete_is_over_when_the_server_is_gone() {
    let cloud = Cloud::start();
    let known = |task| reply(200, json!({"server": server("ACTIVE", "active", task)}));
    cloud.on(
        &format!("GET /compute/v2.1/servers/{ID}"),
        [known(None), known(Some("deleting")), fault(404, "itemNotFound", "gone")],
    );
    cloud.on(&format!("DELETE /compute/v2.1/servers/{ID}"), [reply(204, json!(null))]);
    let done = cloud.run(&["server", "delete", ID, "--wait"]).expect(0);
    assert!(done.err.starts_with("demo: deleted after "), "{done:?}");
}

#[test]
fn a_service_that_restarts_does_not_end_the_wait() {
    let cloud = Cloud::start();
    let known = |status: &str, vm_state: &str, task| {
        reply(200, json!({"server": server(status, vm_state, task)}))
    };
    cloud.on(
        &format!("GET /compute/v2.1/servers/{ID}"),
        [
            known("ACTIVE", "active", None),
            known("ACTIVE", "active", Some("pausing")),
            fault(503, "serviceUnavailable", "restarting"),
            known("PAUSED", "paused", None),
        ],
    );
    cloud.action(reply(202, json!(null)));
    cloud.run(&["server", "pause", ID, "--wait"]).expect(0);
}

#[test]
fn an_expired_token_is_renewed() {
    let cloud = Cloud::start();
    cloud.on(
        &format!("GET /compute/v2.1/servers/{ID}"),
        [
            fault(401, "unauthorized", "expired"),
            reply(200, json!({"server": server("PAUSED", "paused", None)})),
        ],
    );
    let done = cloud.run(&["server", "show", ID, "-f", "value", "-c", "status"]).expect(0);
    assert_eq!(done.out, "PAUSED\n");
    let logins = cloud.asked().iter().filter(|asked| asked.path.ends_with("/auth/tokens")).count();
    assert_eq!(logins, 2);
}

#[test]
fn an_older_compute_service_is_spoken_to_in_its_version() {
    let cloud = Cloud::start();
    let too_new = "Version 2.104 is not supported by the API. Minimum is 2.1 and maximum is 2.93.";
    cloud.on(
        &format!("GET /compute/v2.1/servers/{ID}"),
        [
            fault(406, "computeFault", too_new),
            reply(200, json!({"server": server("PAUSED", "paused", None)})),
        ],
    );
    cloud.run(&["server", "show", ID]).expect(0);
    let asked = cloud.asked();
    let last = asked.iter().rev().find(|asked| asked.path.ends_with(ID)).unwrap();
    assert!(
        asked
            .iter()
            .any(|a| a.headers.get("openstack-api-version").is_some_and(|v| v == "compute 2.93"))
    );
    assert!(last.path.contains(ID) || last.path.contains(IMAGE));
}

#[test]
fn several_servers_are_all_tried() {
    let cloud = Cloud::start();
    cloud.server([server("ACTIVE", "active", None), server("PAUSED", "paused", None)]);
    cloud.action(reply(202, json!(null)));
    let done = cloud.run(&["server", "pause", OTHER, ID, "--wait"]).expect(3);
    assert!(done.err.contains(&format!("there is no server '{OTHER}'")), "{done:?}");
    assert!(done.err.contains("demo: PAUSED after"), "{done:?}");
    assert!(done.err.contains("1 of 2 failed"), "{done:?}");
}

#[test]
fn create_waits_and_shows_the_server_with_its_password() {
    let cloud = Cloud::start();
    cloud.on(
        "POST /compute/v2.1/servers",
        [reply(202, json!({"server": {"id": ID, "adminPass": "zAAsnwx8CtYw"}}))],
    );
    cloud.on(
        "GET /compute/v2.1/flavors/tiny",
        [fault(404, "itemNotFound", "Flavor tiny could not be found.")],
    );
    cloud.on(
        "GET /compute/v2.1/flavors/detail",
        [reply(200, json!({"flavors": [{"id": "7", "name": "tiny"}, {"id": "8", "name": "x"}]}))],
    );
    cloud.server([
        server("BUILD", "building", Some("scheduling")),
        server("BUILD", "building", Some("spawning")),
        server("ACTIVE", "active", None),
    ]);
    std::fs::write(cloud.path("ud"), "#!/bin/sh\n").unwrap();
    let arguments = [
        "server",
        "create",
        "demo",
        "--image",
        IMAGE,
        "--flavor",
        "tiny",
        "--key-name",
        "me",
        "--user-data",
        "ud",
        "--property",
        "role=db",
        "--wait",
        "-f",
        "json",
    ];
    let done = cloud.run(&arguments).expect(0);
    let shown = done.json();
    assert_eq!(shown["adminPass"], "zAAsnwx8CtYw");
    assert_eq!(shown["status"], "ACTIVE");
    assert_eq!(shown["image"], format!("tiny ({IMAGE})"));
    assert_eq!(shown["properties"], json!({"k": "v"}));
    assert_eq!(
        cloud.one("POST", "/servers").json(),
        json!({"server": {"name": "demo", "imageRef": IMAGE, "flavorRef": "7",
               "networks": "auto", "key_name": "me", "user_data": "IyEvYmluL3NoCg==",
               "metadata": {"role": "db"}}})
    );
}

#[test]
fn rescue_prints_the_password_and_says_which_disk_is_which() {
    let cloud = Cloud::start();
    cloud.server([
        server("ACTIVE", "active", None),
        server("ACTIVE", "active", Some("rescuing")),
        server("RESCUE", "rescued", None),
    ]);
    cloud.action(reply(200, json!({"adminPass": "generated12ch"})));
    cloud.on("GET /image/v2/images", [reply(200, json!({"images": [image()]}))]);
    let arguments = ["server", "rescue", ID, "--image", "tiny", "--wait", "-f", "value"];
    let done = cloud.run(&arguments).expect(0);
    assert_eq!(done.out, "generated12ch\n");
    assert!(done.err.contains("demo: RESCUE after"), "{done:?}");
    assert!(done.err.contains("/dev/vda is the rescue disk (tiny), /dev/vdb is the server's own"));
    assert!(done.err.contains("reprieve server unrescue demo"));
    assert_eq!(cloud.one("POST", "/action").json(), json!({"rescue": {"rescue_image_ref": IMAGE}}));
}
