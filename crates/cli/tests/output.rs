//! What the commands print, and what they send for it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail as tests do"
)]

mod common;

use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use common::*;
use serde_json::json;

fn two_servers(cloud: &Cloud) {
    let mut first = server("ACTIVE", "active", None);
    first["addresses"] = json!({"net1": [{"addr": "10.0.0.5"}]});
    let mut second = server("PAUSED", "paused", None);
    (second["id"], second["name"]) = (json!(OTHER), json!("evil\u{1b}[31m"));
    cloud.on(
        "GET /compute/v2.1/servers/detail?deleted=False",
        [reply(
            200,
            json!({"servers": [first], "servers_links": [{"rel": "next", "href":
            "http://elsewhere.example/steal"}]}),
        )],
    );
    cloud.on(
        &format!("GET /compute/v2.1/servers/detail?deleted=False&marker={ID}"),
        [reply(200, json!({"servers": [second]}))],
    );
    cloud.on("GET /image/v2/images", [reply(200, json!({"images": [image()]}))]);
}

#[test]
fn lists_of_servers() {
    let cloud = Cloud::start();
    two_servers(&cloud);
    let table = cloud.run(&["server", "list"]).expect(0).out;
    let rows: Vec<&str> = table.lines().collect();
    assert_eq!(
        rows[1].split('|').map(str::trim).collect::<Vec<_>>(),
        ["", "ID", "Name", "Status", "Networks", "Image", "Flavor", ""]
    );
    assert!(rows[3].contains("net1=10.0.0.5") && rows[3].contains("| tiny"), "{table}");
    assert!(rows[4].contains("evil\\x1b[31m") && !table.contains('\u{1b}'), "{table}");
    let value = cloud.run(&["server", "list", "-f", "value", "-c", "Status", "-c", "ID"]);
    assert_eq!(value.expect(0).out, format!("{ID} ACTIVE\n{OTHER} PAUSED\n"));
    let json = cloud.run(&["server", "list", "-f", "json", "--no-name-lookup"]).expect(0).json();
    assert_eq!(json[0]["Networks"], json!({"net1": ["10.0.0.5"]}));
    assert_eq!((&json[0]["Image"], &json[1]["Flavor"]), (&json!(IMAGE), &json!("tiny")));
    cloud.run(&["server", "list", "-c", "Nope"]).expect(2);
}

#[test]
fn filters_of_lists() {
    let cloud = Cloud::start();
    let arguments = ["server", "list", "--status", "PAUSED", "--name", "a b", "--all-projects"];
    cloud.run(&arguments).expect(0);
    let end = "/servers/detail?deleted=False&name=a%20b&status=PAUSED&all_tenants=True";
    cloud.one("GET", end);
}

#[test]
fn a_server_as_a_record() {
    let cloud = Cloud::start();
    cloud.server([server("ACTIVE", "active", None)]);
    let json = cloud.run(&["server", "show", ID, "-f", "json"]).expect(0).json();
    assert_eq!(json["project_id"], "p1");
    assert_eq!(json["flavor"]["original_name"], "tiny");
    assert!(json.get("links").is_none() && json.get("metadata").is_none());
    let keys: Vec<&String> = json.as_object().unwrap().keys().collect();
    assert!(keys.is_sorted(), "{keys:?}");
    let columns = ["-c", "OS-EXT-STS:task_state", "-c", "fault", "-c", "status"];
    let arguments = [["server", "show", ID, "-f", "value"].as_slice(), &columns].concat();
    assert_eq!(cloud.run(&arguments).expect(0).out, "None\nNone\nACTIVE\n");
}

#[test]
fn tokens_are_shown_only_when_asked_for() {
    let cloud = Cloud::start();
    let done = cloud.run(&["token", "issue", "-f", "value", "-c", "id"]).expect(0);
    assert_eq!(done.out, format!("{TOKEN}\n"));
    let mut command = bare(&cloud.dir, &["token", "issue", "-f", "json", "--os-token", TOKEN]);
    command.env("OS_AUTH_URL", format!("{}/identity", cloud.url));
    let done = Done::of(command.output().unwrap()).expect(0);
    assert_eq!(done.json()["project_id"], "p1");
    let asked = cloud.one("GET", "/identity/v3/auth/tokens");
    assert_eq!(asked.headers["x-subject-token"], TOKEN);
}

#[test]
fn images_are_uploaded_with_the_format_they_have() {
    let cloud = Cloud::start();
    let data = [b"QFI\xfb".as_slice(), &vec![7; 3 << 20]].concat();
    std::fs::write(cloud.path("disk"), &data).unwrap();
    cloud.on("POST /image/v2/images", [reply(201, json!({"id": IMAGE, "name": "tiny"}))]);
    cloud.on(&format!("PUT /image/v2/images/{IMAGE}/file"), [reply(204, json!(null))]);
    let arguments = [
        "image",
        "create",
        "tiny",
        "--file",
        "disk",
        "--public",
        "-f",
        "json",
        "--property",
        "hw_rescue_device=disk",
        "--min-ram",
        "64",
    ];
    let done = cloud.run(&arguments).expect(0);
    assert!(done.err.contains("disk looks like qcow2"), "{done:?}");
    assert_eq!(done.json()["properties"]["hw_disk_bus"], "virtio");
    assert_eq!(
        cloud.one("POST", "/images").json(),
        json!({"name": "tiny", "container_format": "bare", "disk_format": "qcow2",
               "visibility": "public", "min_ram": 64, "hw_rescue_device": "disk"})
    );
    let put = cloud.one("PUT", "/file");
    assert_eq!(put.body, data);
    assert_eq!(put.headers["content-length"], data.len().to_string());
    assert_eq!(put.headers["content-type"], "application/octet-stream");
}

#[test]
fn an_upload_that_fails_leaves_no_image() {
    let cloud = Cloud::start();
    std::fs::write(cloud.path("disk"), "raw data").unwrap();
    cloud.on("POST /image/v2/images", [reply(201, json!({"id": IMAGE, "name": "x"}))]);
    let put = format!("PUT /image/v2/images/{IMAGE}/file");
    cloud.on(&put, [fault(415, "error", "the data are not raw")]);
    cloud.on(&format!("DELETE /image/v2/images/{IMAGE}"), [reply(204, json!(null))]);
    let arguments = ["image", "create", "x", "--file", "disk"];
    let done = cloud.run(&arguments).expect(1);
    assert!(done.err.contains("the data are not raw"), "{done:?}");
    cloud.one("DELETE", IMAGE);
    // What was stored is not what was sent.
    cloud.on(&put, [reply(204, json!(null))]);
    let mut other = image();
    other["os_hash_value"] = json!("00");
    cloud.on(&format!("GET /image/v2/images/{IMAGE}"), [reply(200, other)]);
    let done = cloud.run(&arguments).expect(1);
    assert!(done.err.contains("the data are damaged"), "{done:?}");
}

#[test]
fn mistakes_with_files_are_found_before_anything_is_created() {
    let cloud = Cloud::start();
    std::fs::write(cloud.path("disk.gz"), b"\x1f\x8b\x08rest").unwrap();
    cloud.run(&["image", "create", "x", "--file", "disk.gz"]).expect(2);
    cloud.run(&["image", "create", "x", "--file", "missing"]).expect(1);
    cloud.run(&["image", "create", "x", "--file", "-"]).expect(2);
    std::fs::write(cloud.path("big"), vec![0; 60_000]).unwrap();
    let arguments =
        ["server", "create", "x", "--image", "i", "--flavor", "f", "--user-data", "big"];
    cloud.run(&arguments).expect(2);
    assert!(cloud.asked().is_empty());
}

#[test]
fn downloads_are_checked_and_complete_or_absent() {
    let cloud = Cloud::start();
    // SHA-512 of "hello".
    let digest = "9b71d224bd62f3785d96d46ad3ea3d73319bfbc2890caadae2dff72519673ca7\
                  2323c3d99ba5c11d7c7acc6e14b8c5da0c4663475c2e5c3adef46f73bcdec043";
    let mut stored = image();
    stored["os_hash_value"] = json!(digest);
    cloud.on(&format!("GET /image/v2/images/{IMAGE}"), [reply(200, stored)]);
    let file = format!("GET /image/v2/images/{IMAGE}/file");
    cloud.on(&file, [Reply { status: 200, body: b"hello".to_vec() }]);
    cloud.run(&["image", "save", IMAGE, "--file", "out"]).expect(0);
    assert_eq!(std::fs::read(cloud.path("out")).unwrap(), b"hello");
    let mut command = cloud.command(&["image", "save", IMAGE]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!((text.as_str(), child.wait().unwrap().code()), ("hello", Some(0)));
    cloud.on(&file, [Reply { status: 200, body: b"hellO".to_vec() }]);
    let done = cloud.run(&["image", "save", IMAGE, "--file", "bad"]).expect(1);
    assert!(done.err.contains("the data are damaged"), "{done:?}");
    let left: Vec<_> = std::fs::read_dir(cloud.dir.path()).unwrap().flatten().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[test]
fn flavors() {
    let cloud = Cloud::start();
    let flavor = json!({"id": "7", "name": "tiny", "ram": 128, "disk": 1, "vcpus": 1, "swap": 0,
                        "OS-FLV-EXT-DATA:ephemeral": 0, "os-flavor-access:is_public": true,
                        "extra_specs": {}, "links": []});
    cloud.on("POST /compute/v2.1/flavors", [reply(200, json!({"flavor": flavor}))]);
    let specs = "POST /compute/v2.1/flavors/7/os-extra_specs";
    cloud.on(specs, [reply(200, json!({"extra_specs": {"a": "b"}}))]);
    let arguments = [
        "flavor",
        "create",
        "tiny",
        "--ram",
        "128",
        "--disk",
        "1",
        "--property",
        "a=b",
        "-f",
        "json",
    ];
    let created = cloud.run(&arguments).expect(0).json();
    assert_eq!(created["properties"], json!({"a": "b"}));
    let sent = cloud.one("POST", "/flavors").json();
    assert!(sent["flavor"].get("id").is_none());
    assert_eq!(sent["flavor"]["ram"], 128);
    cloud.on("GET /compute/v2.1/flavors/detail", [reply(200, json!({"flavors": [flavor]}))]);
    let list = cloud.run(&["flavor", "list", "-f", "value"]).expect(0);
    assert_eq!(list.out, "7 tiny 128 1 0 1 True\n");
    cloud.on("DELETE /compute/v2.1/flavors/7", [reply(202, json!(null))]);
    cloud.run(&["flavor", "delete", "tiny"]).expect(0);
}

#[test]
fn keypairs_are_made_here() {
    let cloud = Cloud::start();
    let keypair = json!({"name": "me", "fingerprint": "aa:bb", "type": "ssh", "user_id": "u1",
                         "public_key": "ssh-ed25519 AAAA me"});
    cloud.on("POST /compute/v2.1/os-keypairs", [reply(201, json!({"keypair": keypair}))]);
    cloud.run(&["keypair", "create", "me", "--private-key", "key"]).expect(0);
    let private = std::fs::read_to_string(cloud.path("key")).unwrap();
    assert!(private.starts_with("-----BEGIN OPENSSH PRIVATE KEY-----\n"));
    assert_eq!(std::fs::metadata(cloud.path("key")).unwrap().permissions().mode() & 0o777, 0o600);
    let sent = cloud.one("POST", "/os-keypairs");
    let public = sent.json()["keypair"]["public_key"].as_str().unwrap().to_owned();
    assert!(public.starts_with("ssh-ed25519 ") && public.ends_with(" me"), "{public}");
    assert!(!String::from_utf8_lossy(&sent.body).contains("PRIVATE"));
    // Never over an existing file.
    cloud.run(&["keypair", "create", "me", "--private-key", "key"]).expect(1);
    let printed = cloud.run(&["keypair", "create", "me"]).expect(0);
    assert!(printed.out.starts_with("-----BEGIN OPENSSH PRIVATE KEY-----\n"));
    cloud.on("GET /compute/v2.1/os-keypairs/me", [reply(200, json!({"keypair": keypair}))]);
    let shown = cloud.run(&["keypair", "show", "me", "--public-key"]).expect(0);
    assert_eq!(shown.out, "ssh-ed25519 AAAA me\n");
    let list = json!({"keypairs": [{"keypair": keypair}]});
    cloud.on("GET /compute/v2.1/os-keypairs", [reply(200, list)]);
    let listed = cloud.run(&["keypair", "list", "-f", "value"]).expect(0);
    assert_eq!(listed.out, "me aa:bb ssh\n");
}

#[test]
fn a_refused_key_leaves_no_file() {
    let cloud = Cloud::start();
    let refusal = fault(409, "conflictingRequest", "Key pair 'me' already exists.");
    cloud.on("POST /compute/v2.1/os-keypairs", [refusal]);
    cloud.run(&["keypair", "create", "me", "--private-key", "key"]).expect(1);
    assert!(!cloud.path("key").exists());
}

#[test]
fn console_and_events() {
    let cloud = Cloud::start();
    cloud.server([server("ACTIVE", "active", None)]);
    cloud.action(reply(200, json!({"output": "HEARTBEAT 1\r\nHEARTBEAT 2\r\n"})));
    let done = cloud.run(&["server", "console", "log", ID, "--lines", "2"]).expect(0);
    assert_eq!(done.out, "HEARTBEAT 1\r\nHEARTBEAT 2\r\n");
    let sent = cloud.one("POST", "/action").json();
    assert_eq!(sent, json!({"os-getConsoleOutput": {"length": 2}}));
    // A deleted server: only its id is left.
    let event = json!({"action": "delete", "request_id": REQUEST, "instance_uuid": OTHER,
                       "start_time": "2026-11-22T20:13:40.000000", "message": null});
    let path = format!("GET /compute/v2.1/servers/{OTHER}/os-instance-actions");
    cloud.on(&path, [reply(200, json!({"instanceActions": [event]}))]);
    let done = cloud.run(&["server", "event", "list", OTHER, "-f", "value"]).expect(0);
    assert_eq!(done.out, format!("{REQUEST} {OTHER} delete 2026-11-22T20:13:40.000000\n"));
    let whole = json!({"action": "delete", "events": [{"event": "compute_terminate_instance",
        "start_time": "a", "finish_time": "b", "result": "Success"}]});
    cloud.on(&format!("{path}/{REQUEST}"), [reply(200, json!({"instanceAction": whole}))]);
    let arguments = ["server", "event", "show", OTHER, REQUEST, "-f", "value", "-c", "events"];
    let done = cloud.run(&arguments).expect(0);
    assert_eq!(done.out, "compute_terminate_instance a .. b Success\n");
}

#[test]
fn locks() {
    let cloud = Cloud::start();
    cloud.server([server("ACTIVE", "active", None)]);
    cloud.action(reply(202, json!(null)));
    cloud.run(&["server", "lock", ID, "--reason", "evidence"]).expect(0);
    let sent = cloud.one("POST", "/action").json();
    assert_eq!(sent, json!({"lock": {"locked_reason": "evidence"}}));
    cloud.run(&["server", "unlock", ID]).expect(0);
}

#[test]
fn completions() {
    let dir = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let done = Done::of(bare(&dir, &["completion", shell]).output().unwrap()).expect(0);
        assert!(done.out.contains("unrescue"), "{shell}");
    }
}
