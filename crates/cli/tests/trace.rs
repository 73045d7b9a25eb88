//! `reprieve trace` over log files as a daemon writes them.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail as tests do"
)]

mod common;

use std::path::Path;

use common::{Done, REQUEST, bare};
use serde_json::Value;

fn logs(dir: &Path) {
    let other = "req-00000000-0000-4000-8000-000000000000";
    let api = format!(
        "2026-08-21T10:15:40.100000Z  INFO reprieve::api: POST action request_id={other}\n\
         2026-08-21T10:15:40.123456Z  INFO reprieve::api: pause accepted request_id={REQUEST} server=s\n\
         2026-08-21T10:15:40.200000Z  INFO reprieve::api: answered request_id={other}\n"
    );
    let conductor = format!(
        "{{\"timestamp\":\"2026-08-21T10:15:40.124956Z\",\"level\":\"INFO\",\"fields\":\
         {{\"message\":\"dispatched\",\"request_id\":\"{REQUEST}\",\"host\":\"h1\"}},\
         \"target\":\"reprieve::conductor\"}}\n\
         {{\"timestamp\":\"2026-08-21T10:15:40.140456Z\",\"level\":\"INFO\",\"fields\":\
         {{\"message\":\"reported\",\"request_id\":\"{REQUEST}\"}},\
         \"target\":\"reprieve::conductor\"}}\n"
    );
    let rotated = format!(
        "2026-08-21T10:15:40.130456Z  WARN reprieve::compute: slow host request_id={REQUEST}\n"
    );
    let compute = format!(
        "2026-08-21T10:15:40.135456Z  INFO reprieve::compute: guest paused request_id={REQUEST}\n"
    );
    std::fs::write(dir.join("reprieve-api.log"), api).unwrap();
    std::fs::write(dir.join("reprieve-conductor.log"), conductor).unwrap();
    std::fs::write(dir.join("reprieve-compute.log.1"), rotated).unwrap();
    std::fs::write(dir.join("reprieve-compute.log"), compute).unwrap();
}

fn trace(arguments: &[&str]) -> Done {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("data/log");
    std::fs::create_dir_all(&log).unwrap();
    logs(&log);
    Done::of(bare(&dir, arguments).output().unwrap())
}

#[test]
fn one_timeline_of_all_roles() {
    let done = trace(&["trace", REQUEST]).expect(0);
    assert_eq!(
        done.out,
        "2026-08-21T10:15:40.123456Z\n\
         \x20   +0.000 ms  api        INFO   reprieve::api: pause accepted server=s\n\
         \x20   +1.500 ms  conductor  INFO   reprieve::conductor: dispatched host=h1\n\
         \x20   +7.000 ms  compute    WARN   reprieve::compute: slow host\n\
         \x20  +12.000 ms  compute    INFO   reprieve::compute: guest paused\n\
         \x20  +17.000 ms  conductor  INFO   reprieve::conductor: reported\n"
    );
}

#[test]
fn logs_of_several_hosts_are_one_timeline() {
    let dir = tempfile::tempdir().unwrap();
    let hosts = ["api", "compute"].map(|host| dir.path().join(host));
    for host in &hosts {
        std::fs::create_dir(host).unwrap();
    }
    logs(&hosts[0]);
    // As on hosts of one role each.
    for name in ["reprieve-compute.log", "reprieve-compute.log.1"] {
        std::fs::rename(hosts[0].join(name), hosts[1].join(name)).unwrap();
    }
    let [api, compute] = hosts.each_ref().map(|host| host.to_str().unwrap());
    let given = ["trace", REQUEST, "--log-dir", api, "--log-dir", compute];
    let several = Done::of(bare(&dir, &given).output().unwrap()).expect(0).out;
    let joined = format!("{api}:{compute}");
    let mut command = bare(&dir, &["trace", REQUEST]);
    let by_environment = command.env("REPRIEVE_LOG_DIR", joined).output().unwrap();
    assert_eq!(Done::of(by_environment).expect(0).out, several);
    assert_eq!(several, trace(&["trace", REQUEST]).expect(0).out);
}

#[test]
fn for_programs() {
    let done = trace(&["trace", REQUEST, "-f", "json"]).expect(0);
    let entries: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!(entries.as_array().unwrap().len(), 5);
    assert_eq!(entries[1]["role"], "conductor");
    assert_eq!(entries[1]["relative_ms"], 1.5);
    let lines = trace(&["trace", REQUEST, "-f", "value"]).expect(0).out;
    assert_eq!(lines.lines().count(), 5);
    assert!(lines.lines().all(|line| line.contains(REQUEST)));
}

#[test]
fn nothing_to_find() {
    let unknown = "req-11111111-1111-4111-8111-111111111111";
    let done = trace(&["trace", unknown]).expect(3);
    assert!(done.err.contains("no line of") && done.err.contains(unknown), "{done:?}");
    trace(&["trace", "a"]).expect(2);
    let done =
        trace(&["trace", REQUEST, "--log-dir", "/nonexistent", "--log-dir", "/neither"]).expect(2);
    assert!(done.err.contains("/nonexistent, /neither has no"), "{done:?}");
    assert!(done.err.contains("give --log-dir"), "{done:?}");
}
