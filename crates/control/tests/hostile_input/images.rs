//! The image service.

use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};

use crate::json::{Names, for_all};
use crate::requests::{self, Example, Service};
use crate::support::{Ask, Cloud, IMAGE, PROJECT, Reply};

const JSON: &str = "application/json";
const PATCH: &str = "application/openstack-images-v2.1-json-patch";
const OLD_PATCH: &str = "application/openstack-images-v2.0-json-patch";
const OCTETS: &str = "application/octet-stream";

const KEYS: Names = &[
    "id",
    "name",
    "status",
    "visibility",
    "size",
    "virtual_size",
    "checksum",
    "os_hash_algo",
    "os_hidden",
    "created_at",
    "file",
    "self",
    "schema",
    "tags",
    "protected",
    "min_disk",
    "min_ram",
    "owner",
    "disk_format",
    "container_format",
    "locations",
    "stores",
    "hw_disk_bus",
    "os_glance_importing",
    "op",
    "path",
    "value",
    "add",
    "replace",
    "remove",
    "member",
    "method",
    "uri",
    "input",
    "type",
    "from",
];

const TEXTS: Names = &[
    "public",
    "shared",
    "community",
    "raw",
    "qcow2",
    "iso",
    "vmdk",
    "bare",
    "ovf",
    "accepted",
    "rejected",
    "add",
    "replace",
    "remove",
    "move",
    "/name",
    "/tags/-",
    "/hw_disk_bus",
    "/a~1b",
    "/",
    "//",
    "/locations/0",
    "glance-direct",
    "web-download",
    "http://169.254.169.254/",
    "file:///etc/passwd",
    IMAGE,
    PROJECT,
];

/// `{"code": …, "message": …, "title": …}`.
fn is_fault(body: &Value) -> bool {
    body["code"].is_u64() && body["message"].is_string() && body["title"].is_string()
}

async fn ask(
    cloud: &Cloud,
    (method, path): (&str, &str),
    (media_type, body): (&str, Vec<u8>),
) -> Reply {
    let headers = vec![("content-type", media_type)];
    let path = format!("/image/v2/{path}");
    cloud.ask(&Ask { method, path: &path, token: &cloud.member, headers, body: Some(body) }).await
}

/// A queued image of the member; its id.
async fn queued(cloud: &Cloud, format: &str) -> String {
    let body = json!({
        "name": "x", "disk_format": format, "container_format": "bare", "hw_disk_bus": "virtio",
    });
    let made = ask(cloud, ("POST", "images"), (JSON, body.to_string().into_bytes())).await;
    assert_eq!(made.status, 201, "{}", made.body);
    made.body["id"].as_str().unwrap().to_owned()
}

async fn service(cloud: &Cloud) -> Service {
    let id = queued(cloud, "raw").await;
    let mut examples = Vec::new();
    let mut add = |method, path: String, (media_type, body)| {
        let path = format!("/image/v2/{path}");
        examples.push(Example { method, path, media_type, body });
    };
    let image = json!({
        "name": "new", "disk_format": "qcow2", "container_format": "bare", "min_disk": 1,
        "min_ram": 64, "visibility": "private", "protected": false, "os_hidden": false,
        "tags": ["a", "b"], "hw_disk_bus": "virtio", "owner": PROJECT,
    });
    add("POST", "images".into(), (JSON, image));
    let patch = json!([
        {"op": "replace", "path": "/name", "value": "other"},
        {"op": "add", "path": "/hw_vif_model", "value": "virtio"},
        {"op": "remove", "path": "/hw_vif_model"},
        {"op": "replace", "path": "/tags", "value": ["c"]},
        {"op": "replace", "path": "/min_disk", "value": 2},
    ]);
    add("PATCH", format!("images/{id}"), (PATCH, patch));
    let old = json!([
        {"replace": "/name", "value": "other"}, {"add": "/a~1b", "value": "c"},
        {"remove": "/a~1b"},
    ]);
    add("PATCH", format!("images/{id}"), (OLD_PATCH, old));
    add("PUT", format!("images/{id}/tags/t"), (JSON, json!({})));
    add("POST", format!("images/{id}/members"), (JSON, json!({"member": PROJECT})));
    add("PUT", format!("images/{id}/members/{PROJECT}"), (JSON, json!({"status": "accepted"})));
    for (method, end, body) in [
        ("POST", "import", json!({"method": {"name": "glance-direct"}})),
        ("PUT", "stage", json!("data")),
        ("POST", "locations", json!([{"url": "file:///etc/passwd", "metadata": {}}])),
    ] {
        add(method, format!("images/{id}/{end}"), (JSON, body));
    }
    let task = json!({"type": "import", "input": {"import_from": "http://169.254.169.254/"}});
    add("POST", "tasks".into(), (JSON, task));
    add("POST", "metadefs/namespaces".into(), (JSON, json!({"namespace": "n"})));
    // Of the same project, with less rights.
    let third = cloud.add_user("7417417417417417417417417417417f", "third", "reader").await;
    Service {
        examples,
        keys: KEYS,
        texts: TEXTS,
        version: "",
        not_all_offered: false,
        third,
        is_fault,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_body_breaks_anything() {
    let cloud = Cloud::new().await;
    let service = service(&cloud).await;
    requests::no_body_breaks(&cloud, &service, 700);
    let (method, path) = ("GET", "/image/v2/images?limit=1000&visibility=all");
    let list = cloud.ask(&Ask { method, path, token: &cloud.admin, ..Ask::default() }).await;
    assert_eq!(list.status, 200, "{}", list.body);
}

#[tokio::test]
async fn the_examples_are_good() {
    let cloud = Cloud::new().await;
    let service = service(&cloud).await;
    let refused = ["import", "stage", "locations", "tasks", "namespaces"];
    requests::examples_are_good(&cloud, &service, &refused).await;
}

fn new_image() -> Example {
    Example {
        method: "POST",
        path: "/image/v2/images".to_owned(),
        media_type: JSON,
        body: json!({"name": "x"}),
    }
}

#[tokio::test]
async fn bodies_are_bounded() {
    let cloud = Cloud::new().await;
    requests::bodies_are_bounded(&cloud, &new_image(), is_fault).await;
}

#[tokio::test]
async fn a_body_that_never_ends_is_given_up() {
    let cloud = Cloud::new().await;
    requests::a_body_that_stops_is_given_up(&cloud, &new_image()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_query_breaks_anything() {
    let cloud = Cloud::new().await;
    let paths: Names = &[
        "/image/v2/images",
        "/image/v2/images",
        "/image/v2/images/x/members",
        "/image/v2/images/%00",
        "/image/v2/images/%ff/file",
        "/image/v2/schemas/x",
        "/image/v2/tasks",
        "/image/v2/metadefs/namespaces/a/b",
        "/image/",
    ];
    let names: Names = &[
        "name",
        "status",
        "visibility",
        "member_status",
        "id",
        "disk_format",
        "container_format",
        "owner",
        "protected",
        "os_hidden",
        "size_min",
        "size_max",
        "tag",
        "created_at",
        "updated_at",
        "checksum",
        "limit",
        "marker",
        "sort",
        "sort_key",
        "sort_dir",
        "hw_disk_bus",
    ];
    requests::no_query_breaks(&cloud, paths, (names, TEXTS));
}

/// A small QCOW2 image, as `qemu-img create` writes it.
fn qcow2() -> Vec<u8> {
    let mut data = vec![0; 4 * 65_536];
    for (at, bytes) in [
        (0, &b"QFI\xfb"[..]),
        (4, &3_u32.to_be_bytes()),
        (20, &16_u32.to_be_bytes()),
        (24, &(64_u64 << 20).to_be_bytes()),
        (36, &1_u32.to_be_bytes()),
        (40, &(3 * 65_536_u64).to_be_bytes()),
        (48, &65_536_u64.to_be_bytes()),
        (56, &1_u32.to_be_bytes()),
        (96, &4_u32.to_be_bytes()),
        (100, &104_u32.to_be_bytes()),
    ] {
        data[at..at + bytes.len()].copy_from_slice(bytes);
    }
    data
}

/// What a file says of itself is decided before anything believes it: it becomes active or stays
/// queued, and nothing of refused data is kept.
#[tokio::test(flavor = "multi_thread")]
async fn no_data_breaks_anything() {
    let cloud = Cloud::new().await;
    let whole = qcow2();
    let id = queued(&cloud, "qcow2").await;
    let path = format!("images/{id}/file");
    assert_eq!(ask(&cloud, ("PUT", &path), (OCTETS, whole.clone())).await.status, 204);
    let header = prop::collection::vec((0_usize..112, any::<u8>()), 1..8);
    let magic = prop::sample::select(vec![
        &b"QFI\xfb"[..],
        b"KDMV",
        b"conectix",
        b"vhdxfile",
        b"# Disk DescriptorFile\n",
        b"LUKS\xba\xbe",
        b"\x7fELF",
        b"<<< Oracle VM",
        b"QED\0",
    ]);
    let data = prop_oneof![
        4 => header.prop_map(move |changes| {
            let mut data = whole.clone();
            changes.into_iter().for_each(|(at, byte)| data[at] = byte);
            data
        }),
        2 => (any::<Index>(), Just(qcow2())).prop_map(|(at, mut data)| {
            data.truncate(at.index(300));
            data
        }),
        2 => prop::collection::vec(any::<u8>(), 0..3000),
        1 => (magic, prop::collection::vec(any::<u8>(), 0..1000))
            .prop_map(|(magic, rest)| [magic, &rest].concat()),
    ];
    let formats = prop::sample::select(vec!["raw", "qcow2", "iso"]);
    let cloud = &cloud;
    for_all(150, &(formats, data), |(format, data)| async move {
        let id = queued(cloud, format).await;
        let path = format!("images/{id}");
        let reply = ask(cloud, ("PUT", &format!("{path}/file")), (OCTETS, data)).await;
        prop_assert!(reply.status < 500, "{format}: {} {}", reply.status, reply.body);
        let shown = ask(cloud, ("GET", &path), (JSON, Vec::new())).await;
        let (status, expected) = (&shown.body["status"], [("active", 204), ("queued", 400)]);
        prop_assert!(expected.iter().any(|(s, code)| status == s && reply.status == *code));
        let deleted = ask(cloud, ("DELETE", &path), (JSON, Vec::new())).await;
        prop_assert_eq!(deleted.status, 204);
        Ok(())
    });
    let kept = std::fs::read_dir(&cloud.control.settings.image_dir).unwrap();
    let kept: Vec<_> = kept.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(kept, [id.as_str()]);
}
