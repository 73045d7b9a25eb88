//! Describing, finding and sharing images.

use axum::body::Body;
use serde_json::{Value, json};

use crate::harness::{Cloud, Reply, request, text};

const IMAGES: &str = "/image/v2/images";
const PATCH: &str = "application/openstack-images-v2.1-json-patch";

pub async fn create(cloud: &Cloud, token: &str, body: Value) -> String {
    let made = cloud.call(token, "POST", IMAGES, body).await.expect(201);
    text(&made.json()["id"]).to_owned()
}

pub async fn patch(cloud: &Cloud, token: &str, id: &str, operations: Value) -> Reply {
    let body = Body::from(operations.to_string());
    cloud.send(request(token, "PATCH", &format!("{IMAGES}/{id}"), PATCH, body)).await
}

async fn names(cloud: &Cloud, token: &str, query: &str) -> Vec<String> {
    let listed = cloud.get(token, &format!("{IMAGES}?{query}")).await.expect(200).json();
    let images = listed["images"].as_array().unwrap();
    images.iter().map(|image| text(&image["name"]).to_owned()).collect()
}

#[tokio::test]
async fn discovery_and_schemas() {
    let cloud = Cloud::start().await;
    for (path, status) in [("/image", 300), ("/image/", 300), ("/image/versions", 200)] {
        let body = cloud.get("", path).await.expect(status).json();
        assert_eq!(body["versions"][0]["id"], "v2.7");
        assert_eq!(body["versions"][0]["status"], "CURRENT");
        assert_eq!(body["versions"][0]["links"][0]["href"], "http://cloud:8774/image/v2/");
    }
    let token = cloud.admin().await;
    for name in ["image", "images", "member", "members"] {
        let schema = cloud.get(&token, &format!("/image/v2/schemas/{name}")).await.expect(200);
        assert_eq!(schema.json()["name"], name);
    }
    cloud.get(&token, "/image/v2/schemas/nothing").await.expect(404);
    let methods = cloud.get(&token, "/image/v2/info/import").await.expect(200).json();
    assert_eq!(methods["import-methods"]["value"], json!([]));
    cloud.get(&token, "/image/v2/info/stores").await.expect(404);
    let refused = cloud.get("", IMAGES).await.expect(401);
    assert_eq!(refused.header("www-authenticate"), "Keystone uri=\"http://cloud:8774/identity\"");
}

#[tokio::test]
async fn a_new_image_is_queued_and_shown_as_glance_does() {
    let cloud = Cloud::start().await;
    let token = cloud.user("alice", "member").await;
    let body = json!({
        "name": "tiny", "disk_format": "qcow2", "container_format": "bare", "min_disk": 1,
        "tags": ["b", "a", "b"], "hw_disk_bus": "virtio", "owner_specified.openstack.md5": "",
    });
    let reply = cloud.call(&token, "POST", IMAGES, body).await.expect(201);
    let image = reply.json();
    let id = text(&image["id"]);
    assert_eq!(reply.header("location"), format!("http://cloud:8774/image/v2/images/{id}"));
    let shown = cloud.get(&token, &format!("{IMAGES}/{id}")).await.expect(200).json();
    assert_eq!(shown, image);
    let expected = json!({
        "status": "queued", "visibility": "shared", "name": "tiny", "disk_format": "qcow2",
        "container_format": "bare", "min_disk": 1, "min_ram": 0, "protected": false,
        "os_hidden": false, "size": null, "virtual_size": null, "checksum": null,
        "os_hash_algo": null, "os_hash_value": null, "tags": ["a", "b"], "hw_disk_bus": "virtio",
        "owner_specified.openstack.md5": "", "self": format!("/v2/images/{id}"),
        "file": format!("/v2/images/{id}/file"), "schema": "/v2/schemas/image",
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(image[name], *value, "{name}");
    }
    assert_eq!(text(&image["created_at"]).len(), "2026-08-21T10:15:40Z".len());
    cloud.get(&token, &format!("{IMAGES}/{id}/file")).await.expect(204);
    cloud.get(&token, &format!("{IMAGES}/tiny")).await.expect(404);
    cloud.get(&token, &format!("{IMAGES}/..%2f..%2freprieve.db")).await.expect(404);
}

#[tokio::test]
async fn bad_descriptions_are_refused() {
    let cloud = Cloud::start().await;
    let token = cloud.user("alice", "member").await;
    let many: serde_json::Map<String, Value> =
        (0..129).map(|n| (format!("p{n}"), "v".into())).collect();
    for (status, body) in [
        (400, json!([])),
        (400, json!({"name": "x".repeat(256)})),
        (400, json!({"name": "x\u{1b}[31m"})),
        (400, json!({"name": 1})),
        (400, json!({"id": "not-a-uuid"})),
        (400, json!({"disk_format": "vmdk"})),
        (400, json!({"container_format": "ova"})),
        (400, json!({"visibility": "secret"})),
        (400, json!({"min_disk": -1})),
        (400, json!({"min_ram": "1"})),
        (400, json!({"protected": "yes"})),
        (400, json!({"tags": "a"})),
        (400, json!({"prop": 1})),
        (400, json!({"x".repeat(256): "v"})),
        (400, json!({"prop": "v".repeat(32 * 1024)})),
        (400, Value::Object(many)),
        (403, json!({"status": "active"})),
        (403, json!({"size": 1})),
        (403, json!({"locations": []})),
        (403, json!({"os_glance_stage": "x"})),
        (403, json!({"visibility": "public"})),
        (403, json!({"owner": "other"})),
    ] {
        let reply = cloud.call(&token, "POST", IMAGES, body.clone()).await;
        assert_eq!(reply.status.as_u16(), status, "{body}: {}", reply.json());
        let fault = reply.json();
        assert_eq!(fault["code"], status);
        assert!(fault["message"].is_string() && fault["title"].is_string());
    }
    let reader = cloud.user("bob", "reader").await;
    cloud.call(&reader, "POST", IMAGES, json!({})).await.expect(403);
    let huge = Body::from(vec![b' '; (1 << 20) + 1]);
    cloud.send(request(&token, "POST", IMAGES, "application/json", huge)).await.expect(413);
    assert!(names(&cloud, &token, "").await.is_empty());
}

#[tokio::test]
async fn an_id_can_be_chosen_once() {
    let cloud = Cloud::start().await;
    let token = cloud.user("alice", "member").await;
    let id = "7b0dd8a0-0000-4000-8000-000000000001";
    assert_eq!(create(&cloud, &token, json!({"id": id, "name": "x"})).await, id);
    cloud.call(&token, "POST", IMAGES, json!({"id": id})).await.expect(409);
}

#[tokio::test]
async fn patches_change_all_or_nothing() {
    let cloud = Cloud::start().await;
    let token = cloud.user("alice", "member").await;
    let id = create(&cloud, &token, json!({"name": "one", "os_distro": "debian"})).await;
    let changed = patch(
        &cloud,
        &token,
        &id,
        json!([
            {"op": "replace", "path": "/name", "value": "two"},
            {"op": "add", "path": "/a~1b~0c", "value": "x"},
            {"op": "replace", "path": "/os_distro", "value": "alpine"},
            {"op": "replace", "path": "/tags", "value": ["t"]},
            {"op": "add", "path": "/disk_format", "value": "raw"},
        ]),
    );
    let changed = changed.await.expect(200).json();
    assert_eq!(changed["name"], "two");
    assert_eq!(changed["a/b~c"], "x");
    assert_eq!(changed["os_distro"], "alpine");
    assert_eq!(changed["tags"], json!(["t"]));
    assert_eq!(changed["disk_format"], "raw");

    let op = |op: &str, path: &str, value: Value| {
        json!([
            {"op": "replace", "path": "/name", "value": "never"},
            {"op": op, "path": path, "value": value},
        ])
    };
    for (status, operations) in [
        (409, op("replace", "/nothing", json!("x"))),
        (409, op("remove", "/nothing", Value::Null)),
        (403, op("remove", "/name", Value::Null)),
        (403, op("replace", "/status", json!("active"))),
        (403, op("replace", "/id", json!("x"))),
        (403, op("replace", "/visibility", json!("public"))),
        (403, op("add", "/os_glance_stage", json!("x"))),
        (400, op("replace", "/a/b", json!("x"))),
        (400, op("replace", "name", json!("x"))),
        (400, op("replace", "/", json!("x"))),
        (400, op("move", "/name", json!("x"))),
        (400, json!({"op": "add"})),
        (400, json!(["x"])),
        (400, json!([{"op": "add", "path": "/x"}])),
    ] {
        let reply = patch(&cloud, &token, &id, operations.clone()).await;
        assert_eq!(reply.status.as_u16(), status, "{operations}: {}", reply.json());
    }
    let shown = cloud.get(&token, &format!("{IMAGES}/{id}")).await.json();
    assert_eq!(shown["name"], "two");

    let path = format!("{IMAGES}/{id}");
    let wrong = cloud.call(&token, "PATCH", &path, json!([])).await.expect(415);
    assert!(wrong.header("accept-patch").contains(PATCH));
    let removed = patch(&cloud, &token, &id, json!([{"op": "remove", "path": "/os_distro"}])).await;
    assert!(removed.expect(200).json().get("os_distro").is_none());
}

#[tokio::test]
async fn patches_may_have_the_older_form() {
    let cloud = Cloud::start().await;
    let token = cloud.user("alice", "member").await;
    let id = create(&cloud, &token, json!({"name": "one", "os_distro": "debian"})).await;
    let path = format!("{IMAGES}/{id}");
    let patch = async |operations: Value| {
        let old = "application/openstack-images-v2.0-json-patch";
        let body = Body::from(operations.to_string());
        cloud.send(request(&token, "PATCH", &path, old, body)).await
    };
    let changed = patch(json!([
        {"replace": "/name", "value": "two"},
        {"add": "/os_version", "value": "12"},
        {"remove": "/os_distro"},
    ]));
    let changed = changed.await.expect(200).json();
    assert_eq!(changed["name"], "two");
    assert_eq!(changed["os_version"], "12");
    assert!(changed.get("os_distro").is_none());
    for wrong in [
        json!([{"op": "replace", "path": "/name", "value": "x"}]),
        json!([{"replace": "/name", "add": "/name", "value": "x"}]),
        json!([{"replace": "/name"}]),
        json!([{"replace": 1, "value": "x"}]),
        json!([{}]),
    ] {
        patch(wrong).await.expect(400);
    }
}

#[tokio::test]
async fn tags_come_and_go() {
    let cloud = Cloud::start().await;
    let token = cloud.user("alice", "member").await;
    let id = create(&cloud, &token, json!({"name": "x"})).await;
    let tag = |tag: &str| format!("{IMAGES}/{id}/tags/{tag}");
    cloud.call(&token, "PUT", &tag("blue%20sky"), Value::Null).await.expect(204);
    let shown = cloud.get(&token, &format!("{IMAGES}/{id}")).await.json();
    assert_eq!(shown["tags"], json!(["blue sky"]));
    cloud.call(&token, "DELETE", &tag("blue%20sky"), Value::Null).await.expect(204);
    cloud.call(&token, "DELETE", &tag("blue%20sky"), Value::Null).await.expect(404);
    cloud.call(&token, "PUT", &tag(&"x".repeat(256)), Value::Null).await.expect(400);
}

#[tokio::test]
async fn others_images_are_invisible_unless_shared() {
    let cloud = Cloud::start().await;
    let (alice, bob) = (cloud.user("alice", "member").await, cloud.user("bob", "member").await);
    let admin = cloud.admin().await;
    let make = async |token: &str, name: &str, visibility: &str| {
        create(&cloud, token, json!({"name": name, "visibility": visibility})).await
    };
    let private = make(&alice, "private", "private").await;
    let shared = make(&alice, "shared", "shared").await;
    let community = make(&alice, "community", "community").await;
    let public = make(&admin, "public", "public").await;

    let path = |id: &str| format!("{IMAGES}/{id}");
    for (id, status) in [(&private, 404), (&shared, 404), (&community, 200), (&public, 200)] {
        cloud.get(&bob, &path(id)).await.expect(status);
        cloud.get(&admin, &path(id)).await.expect(200);
        // What may be seen may not be changed; what may not be seen does not exist.
        let refused = if status == 404 { 404 } else { 403 };
        cloud.call(&bob, "DELETE", &path(id), Value::Null).await.expect(refused);
        patch(&cloud, &bob, id, json!([])).await.expect(refused);
    }
    assert_eq!(names(&cloud, &bob, "").await, ["public"]);
    assert_eq!(names(&cloud, &bob, "visibility=community").await, ["community"]);
    assert_eq!(names(&cloud, &bob, "visibility=all&sort=name:asc").await, ["community", "public"]);
    assert!(names(&cloud, &bob, "visibility=private").await.is_empty());
    assert_eq!(
        names(&cloud, &alice, "sort_key=name").await,
        ["shared", "public", "private", "community"]
    );
    cloud.get(&bob, &format!("{IMAGES}?marker={private}")).await.expect(400);

    let member = cloud.get(&bob, "/identity/v3/auth/projects").await.json();
    let member = text(&member["projects"][0]["id"]).to_owned();
    let members = format!("{}/members", path(&shared));
    let add = json!({ "member": member });
    cloud.call(&bob, "POST", &members, add.clone()).await.expect(404);
    let added = cloud.call(&alice, "POST", &members, add.clone()).await.expect(200).json();
    assert_eq!(added["status"], "pending");
    cloud.call(&alice, "POST", &members, add).await.expect(409);
    cloud.get(&bob, &path(&shared)).await.expect(200);
    assert_eq!(names(&cloud, &bob, "").await, ["public"]);
    assert_eq!(names(&cloud, &bob, "member_status=all&sort=name").await, ["shared", "public"]);
    let own = format!("{members}/{member}");
    let accept = json!({"status": "accepted"});
    cloud.call(&alice, "PUT", &own, accept.clone()).await.expect(403);
    cloud.call(&bob, "PUT", &own, json!({"status": "maybe"})).await.expect(400);
    cloud.call(&bob, "PUT", &own, accept).await.expect(200);
    assert_eq!(names(&cloud, &bob, "visibility=shared").await, ["shared"]);
    cloud.call(&bob, "DELETE", &own, Value::Null).await.expect(403);
    cloud.call(&alice, "DELETE", &own, Value::Null).await.expect(204);
    cloud.get(&bob, &path(&shared)).await.expect(404);
    let on_private = format!("{}/members", path(&private));
    cloud.get(&alice, &on_private).await.expect(403);
}

#[tokio::test]
async fn lists_are_filtered_sorted_and_paged() {
    let cloud = Cloud::start().await;
    let token = cloud.user("alice", "member").await;
    for n in 0..7 {
        let format = if n % 2 == 0 { "raw" } else { "qcow2" };
        let body = json!({
            "name": format!("i{n}"), "disk_format": format, "container_format": "bare",
            "tags": [format!("t{}", n % 3)], "color": format!("c{}", n % 2), "protected": n == 0,
        });
        create(&cloud, &token, body).await;
    }
    create(&cloud, &token, json!({"name": "hidden", "os_hidden": true})).await;

    assert_eq!(names(&cloud, &token, "limit=2").await, ["i6", "i5"]);
    assert_eq!(names(&cloud, &token, "name=i3").await, ["i3"]);
    assert_eq!(names(&cloud, &token, "name=in:i3,%22i4%22&sort=name:asc").await, ["i3", "i4"]);
    assert_eq!(names(&cloud, &token, "tag=t0&sort=name:asc").await, ["i0", "i3", "i6"]);
    assert_eq!(names(&cloud, &token, "color=c1&sort=name:asc").await, ["i1", "i3", "i5"]);
    assert_eq!(names(&cloud, &token, "color=c1&tag=t0").await, ["i3"]);
    assert_eq!(names(&cloud, &token, "protected=true").await, ["i0"]);
    assert_eq!(names(&cloud, &token, "os_hidden=true").await, ["hidden"]);
    assert_eq!(
        names(&cloud, &token, "sort_key=disk_format&sort_key=name&sort_dir=asc").await,
        ["i1", "i3", "i5", "i0", "i2", "i4", "i6"]
    );
    assert!(names(&cloud, &token, "limit=0").await.is_empty());
    assert!(names(&cloud, &token, "status=active").await.is_empty());
    assert!(names(&cloud, &token, "id=nothing").await.is_empty());

    for sort in
        ["", "&sort=name:asc", "&sort=disk_format:asc,size", "&sort_key=status&sort_dir=asc"]
    {
        let mut path = format!("/v2/images?limit=3{sort}");
        let mut seen = Vec::new();
        loop {
            let page = cloud.get(&token, &format!("/image{path}")).await.expect(200).json();
            let images = page["images"].as_array().unwrap();
            seen.extend(images.iter().map(|image| text(&image["name"]).to_owned()));
            assert!(!text(&page["first"]).contains("marker"));
            match page.get("next") {
                Some(next) => path = text(next).to_owned(),
                None => break,
            }
        }
        assert_eq!(seen.len(), 7, "{sort}: {seen:?}");
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 7, "{sort}");
    }
    for bad in [
        "limit=-1",
        "limit=x",
        "marker=x",
        "marker=7b0dd8a0-0000-4000-8000-000000000001",
        "sort_key=owner",
        "sort_dir=up",
        "sort=name:up",
        "sort=name&sort_key=name",
        "visibility=none",
        "member_status=none",
        "protected=maybe",
        "size_min=x",
        "checksum=x",
        "name=in:%22a",
    ] {
        cloud.get(&token, &format!("{IMAGES}?{bad}")).await.expect(400);
    }
    let many = vec!["p=v"; 33].join("&");
    cloud.get(&token, &format!("{IMAGES}?{many}")).await.expect(400);
}

/// Times are compared as they are shown: to the second.
#[tokio::test]
async fn lists_are_filtered_by_times() {
    let cloud = Cloud::start().await;
    let token = cloud.user("alice", "member").await;
    let first = create(&cloud, &token, json!({"name": "first"})).await;
    cloud.clock.advance(60);
    create(&cloud, &token, json!({"name": "second"})).await;
    let shown = cloud.get(&token, &format!("{IMAGES}/{first}")).await.expect(200).json();
    let at = text(&shown["created_at"]);
    let offset = at.replace('Z', "%2B00:00");
    let half = at.replace('Z', ".5Z");
    for (query, expected) in [
        (format!("created_at={at}"), &["first"][..]),
        (format!("created_at={offset}"), &["first"]),
        (format!("created_at=eq:{at}"), &["first"]),
        (format!("created_at=eq:{half}"), &[]),
        (format!("created_at=neq:{at}"), &["second"]),
        (format!("created_at=neq:{half}"), &["second", "first"]),
        (format!("created_at=gt:{at}"), &["second"]),
        (format!("created_at=gt:{half}"), &["second"]),
        (format!("created_at=gte:{at}"), &["second", "first"]),
        (format!("created_at=gte:{half}"), &["second"]),
        (format!("created_at=lt:{at}"), &[]),
        (format!("created_at=lt:{half}"), &["first"]),
        (format!("created_at=lte:{at}"), &["first"]),
        (format!("created_at=gte:{at}&created_at=lte:{at}"), &["first"]),
        ("created_at=gt:2020-01-01".to_owned(), &["second", "first"]),
        ("updated_at=lt:2001-01-01T00:00:00Z".to_owned(), &[]),
        ("updated_at=gt:2001-01-01T00:00:00".to_owned(), &["second", "first"]),
    ] {
        assert_eq!(names(&cloud, &token, &query).await, expected, "{query}");
    }
    cloud.clock.advance(60);
    let renamed = json!([{"op": "replace", "path": "/name", "value": "changed"}]);
    patch(&cloud, &token, &first, renamed).await.expect(200);
    let query = format!("updated_at=gt:{at}&created_at={at}");
    assert_eq!(names(&cloud, &token, &query).await, ["changed"]);

    let format =
        |name| format!("Bad \"{name}\" query filter format. Use ISO 8601 DateTime notation.");
    let operator = |name| format!("Unable to filter by unknown operator '{name}'.");
    for (query, message) in [
        ("created_at=yesterday", format("created_at")),
        ("updated_at=gt:yesterday", format("updated_at")),
        ("updated_at=gt:", format("updated_at")),
        ("updated_at=", format("updated_at")),
        ("created_at=in:2020-01-01", operator("in")),
        ("created_at=:2020-01-01", operator("")),
    ] {
        let refused = cloud.get(&token, &format!("{IMAGES}?{query}")).await.expect(400).json();
        assert_eq!(refused["message"], message, "{query}");
    }
}

#[tokio::test]
async fn protected_images_stay() {
    let cloud = Cloud::start().await;
    let token = cloud.user("alice", "member").await;
    let id = create(&cloud, &token, json!({"name": "x", "protected": true})).await;
    let path = format!("{IMAGES}/{id}");
    cloud.call(&token, "DELETE", &path, Value::Null).await.expect(403);
    let free = json!([{"op": "replace", "path": "/protected", "value": false}]);
    patch(&cloud, &token, &id, free).await.expect(200);
    cloud.call(&token, "DELETE", &path, Value::Null).await.expect(204);
    cloud.get(&token, &path).await.expect(404);
    cloud.call(&token, "DELETE", &path, Value::Null).await.expect(404);
}
