//! Error texts, advice and exit statuses of the built program.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail as tests do"
)]

mod common;

use common::*;
use serde_json::json;

#[test]
fn without_arguments_it_prints_help() {
    let dir = tempfile::tempdir().unwrap();
    let done = Done::of(bare(&dir, &[]).output().unwrap()).expect(0);
    assert!(done.out.contains("Usage: reprieve") && done.out.contains("Exit status:"), "{done:?}");
    let done = Done::of(bare(&dir, &["server"]).output().unwrap()).expect(2);
    assert!(done.err.contains("unrescue"), "{done:?}");
    Done::of(bare(&dir, &["server", "fly"]).output().unwrap()).expect(2);
    let help = Done::of(bare(&dir, &["server", "rescue", "--help"]).output().unwrap()).expect(0);
    assert!(help.out.contains("Example:"), "{help:?}");
}

#[test]
fn no_cloud_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let done = Done::of(bare(&dir, &["server", "list"]).output().unwrap()).expect(2);
    assert!(done.err.contains("no cloud is configured"), "{done:?}");
}

#[test]
fn the_cloud_of_a_local_daemon_is_found() {
    let cloud = Cloud::start();
    let data = cloud.path("data");
    std::fs::create_dir(&data).unwrap();
    let text = format!(
        "clouds:\n  reprieve:\n    auth:\n      auth_url: {}/identity/v3\n      username: admin\n      \
         password: {PASSWORD}\n      project_name: admin\n",
        cloud.url
    );
    std::fs::write(data.join("clouds.yaml"), text).unwrap();
    let done = Done::of(bare(&cloud.dir, &["server", "list", "-f", "json"]).output().unwrap());
    assert_eq!(done.expect(0).out, "[]\n");
    let login = cloud.one("POST", "/auth/tokens").json();
    let user = json!({"name": "admin", "domain": {"id": "default"}, "password": PASSWORD});
    assert_eq!(login["auth"]["identity"]["password"]["user"], user);
    assert_eq!(login["auth"]["scope"]["project"]["name"], "admin");
}

#[test]
fn wrong_password() {
    let cloud = Cloud::start();
    let refusal = json!({"error": {"code": 401, "message": "The request you have made requires \
                         authentication.", "title": "Unauthorized"}});
    cloud.on("POST /identity/v3/auth/tokens", [reply(401, refusal)]);
    let done = cloud.run(&["server", "list"]).expect(4);
    assert!(done.err.contains("refused user 'admin' (the OS_* environment)"), "{done:?}");
    assert!(done.err.contains(&cloud.url) && done.err.contains("hint: check user"), "{done:?}");
}

#[test]
fn a_busy_identity_service_is_asked_again() {
    let cloud = Cloud::start();
    let busy = fault(503, "error", "too many logins at once");
    cloud.on("POST /identity/v3/auth/tokens", [busy.clone(), busy.clone(), cloud.token()]);
    cloud.run(&["server", "list"]).expect(0);
    cloud.on("POST /identity/v3/auth/tokens", [busy]);
    let done = cloud.run(&["server", "list"]).expect(1);
    assert!(done.err.contains("too many logins at once"), "{done:?}");
}

#[test]
fn nobody_listens() {
    let dir = tempfile::tempdir().unwrap();
    // Bound, so that nobody else gets it, but not listening.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = socket.local_addr().unwrap().port();
    let mut command = bare(&dir, &["server", "list"]);
    command
        .env("OS_AUTH_URL", format!("http://127.0.0.1:{port}/v3"))
        .env("OS_TOKEN", TOKEN)
        // A proxy must not stand between this machine and itself.
        .env("http_proxy", "http://192.0.2.1:3128");
    let done = Done::of(command.output().unwrap()).expect(5);
    assert!(done.err.contains("cannot reach the identity service"), "{done:?}");
    assert!(done.err.contains(&format!("is reprieved running at http://127.0.0.1:{port}?")));
}

#[test]
fn names_that_fit_nothing_or_too_much() {
    let cloud = Cloud::start();
    let done = cloud.run(&["server", "show", "nope"]).expect(3);
    assert_eq!(done.err, "reprieve: there is no server 'nope'\n");
    let two = json!({"servers": [{"id": ID, "name": "a.b"}, {"id": OTHER, "name": "a.b"},
                                 {"id": IMAGE, "name": "axb"}]});
    cloud.on("GET /compute/v2.1/servers?name=%5Ea%5C.b%24", [reply(200, two)]);
    let done = cloud.run(&["server", "pause", "a.b"]).expect(2);
    assert_eq!(
        done.err,
        format!("reprieve: several servers are named 'a.b'; use an id: {ID}, {OTHER}\n")
    );
    cloud.run(&["image", "show", "nope"]).expect(3);
    cloud.run(&["flavor", "show", "nope"]).expect(3);
    cloud.run(&["keypair", "show", "nope"]).expect(3);
    cloud.run(&["server", "event", "show", ID, REQUEST]).expect(3);
}

#[test]
fn a_conflict_says_what_is_possible() {
    let cloud = Cloud::start();
    cloud.server([server("PAUSED", "paused", None)]);
    let text = format!("Cannot 'suspend' instance {ID} while it is in vm_state paused");
    cloud.action(fault(409, "conflictingRequest", &text));
    let done = cloud.run(&["server", "suspend", ID]).expect(1);
    assert_eq!(
        done.err,
        format!(
            "reprieve: {text} (HTTP 409, {REQUEST})\nhint: demo is PAUSED: unpause lets it go on; \
             possible now: delete, unpause, reboot --hard\n"
        )
    );
}

#[test]
fn a_hard_reboot_of_a_suspended_server_needs_a_yes() {
    let cloud = Cloud::start();
    cloud.server([server("SUSPENDED", "suspended", None)]);
    cloud.action(reply(202, json!(null)));
    let done = cloud.run(&["server", "reboot", "--hard", ID]).expect(2);
    assert!(done.err.contains("throws its saved memory away"), "{done:?}");
    assert!(done.err.contains("--discard-memory"), "{done:?}");
    assert!(!cloud.asked().iter().any(|asked| asked.path.ends_with("/action")));
    cloud.run(&["server", "reboot", "--hard", "--discard-memory", ID]).expect(0);
    assert_eq!(cloud.one("POST", "/action").json(), json!({"reboot": {"type": "HARD"}}));
    cloud.run(&["server", "reboot", "--discard-memory", ID]).expect(2);
}

#[test]
fn a_failure_of_the_service_can_be_traced() {
    let cloud = Cloud::start();
    cloud.on(
        "GET /compute/v2.1/servers/detail",
        [fault(500, "computeFault", "Unexpected API Error.")],
    );
    let done = cloud.run(&["server", "list"]).expect(1);
    assert!(done.err.contains(&format!("hint: 'reprieve trace {REQUEST}'")), "{done:?}");
}

#[test]
fn an_answer_that_is_not_the_api() {
    let cloud = Cloud::start();
    cloud.on("GET /compute/v2.1/servers/detail", [Reply { status: 200, body: b"<html>".to_vec() }]);
    let done = cloud.run(&["server", "list"]).expect(1);
    assert!(done.err.contains("an answer that is not understood"), "{done:?}");
    cloud.on("GET /compute/v2.1/servers/detail", [reply(302, json!(null))]);
    let done = cloud.run(&["server", "list"]).expect(1);
    assert!(done.err.contains("status 302"), "{done:?}");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    use std::process::Stdio;
    let cloud = Cloud::start();
    let many: Vec<_> = (0..5000).map(|_| server("ACTIVE", "active", None)).collect();
    cloud.on("GET /compute/v2.1/servers/detail", [reply(200, json!({ "servers": many }))]);
    let mut command = cloud.command(&["server", "list", "-f", "json"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let done = Done::of(child.wait_with_output().unwrap()).expect(0);
    assert_eq!(done.err, "");
}

#[test]
fn verbose_shows_requests_without_secrets() {
    let cloud = Cloud::start();
    cloud.server([server("ACTIVE", "active", None)]);
    let done = cloud.run(&["-v", "server", "show", ID]).expect(0);
    assert!(done.err.contains("POST") && done.err.contains("/auth/tokens 201"), "{done:?}");
    assert!(done.err.contains(&format!("/servers/{ID} 200")) && done.err.contains(REQUEST));
}
