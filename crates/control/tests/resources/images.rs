//! The image service seen through Nova.

use serde_json::{Value, json};

use crate::refused;
use crate::support::{Ask, Cloud, IMAGE};

#[tokio::test]
async fn images_until_2_35() {
    let cloud = Cloud::new().await;
    let (status, listed) = cloud.get("images", "2.35").await;
    assert_eq!(status, 200);
    let image = &listed["images"][0];
    assert_eq!((&image["id"], &image["name"]), (&json!(IMAGE), &json!("tiny")));
    let base = "http://127.0.0.1:8774";
    let links = json!([
        {"rel": "self", "href": format!("{base}/compute/v2.1/images/{IMAGE}")},
        {"rel": "bookmark", "href": format!("{base}/compute/images/{IMAGE}")},
        {
            "rel": "alternate",
            "type": "application/vnd.openstack.image",
            "href": format!("{base}/image/images/{IMAGE}"),
        },
    ]);
    assert_eq!(image["links"], links);
    let (_, shown) = cloud.get(&format!("images/{IMAGE}"), "2.1").await;
    let image = &shown["image"];
    assert_eq!((&image["status"], &image["progress"]), (&json!("ACTIVE"), &json!(100)));
    assert_eq!(image["OS-EXT-IMG-SIZE:size"], 1 << 20);
    let (_, detailed) = cloud.get("images/detail?limit=1", "2.1").await;
    assert_eq!(detailed["images"][0], *image);
    let next = detailed["images_links"][0]["href"].as_str().unwrap();
    assert!(next.ends_with(&format!("/v2.1/images/detail?limit=1&marker={IMAGE}")), "{next}");
    assert_eq!(cloud.get("images?name=other", "2.1").await.1, json!({"images": []}));
    assert_eq!(cloud.get("images?status=ACTIVE", "2.1").await.1["images"][0]["id"], IMAGE);
    let by = |version| (cloud.member.as_str(), version, Value::Null);
    for path in ["images", "images/detail", &format!("images/{IMAGE}")] {
        let gone = (404, "The resource could not be found.");
        refused(&cloud, ("GET", path), by("2.36"), gone).await;
    }
    for id in ["nope", "11111111-1111-1111-1111-111111111111"] {
        let path = format!("images/{id}");
        refused(&cloud, ("GET", &path), by("2.1"), (404, "Image not found.")).await;
    }
    let own = format!("images/{IMAGE}");
    let text = "You are not allowed to delete the image.";
    refused(&cloud, ("DELETE", &own), by("2.1"), (403, text)).await;
    let admin = (cloud.admin.as_str(), "2.1", Value::Null);
    assert_eq!(cloud.compute("DELETE", &own, admin).await.status, 204);
    refused(&cloud, ("GET", &own), by("2.1"), (404, "Image not found.")).await;
}

#[tokio::test]
async fn images_are_filtered_by_what_they_need_and_when_they_changed() {
    let cloud = Cloud::new().await;
    let large = "22222222-2222-2222-2222-222222222222";
    cloud.add_image(large, "large").await;
    let path = format!("/image/v2/images/{large}");
    let patch = json!([
        {"op": "replace", "path": "/min_ram", "value": 512},
        {"op": "replace", "path": "/min_disk", "value": 2},
    ]);
    let patch = Ask {
        method: "PATCH",
        path: &path,
        token: &cloud.admin,
        headers: vec![("content-type", "application/openstack-images-v2.1-json-patch")],
        body: Some(patch.to_string().into_bytes()),
    };
    let patched = cloud.ask(&patch).await;
    assert_eq!(patched.status, 200, "{}", patched.body);
    let found = async |query: &str| -> Vec<String> {
        let (status, body) = cloud.get(&format!("images?{query}"), "2.1").await;
        assert_eq!(status, 200, "{query}: {body}");
        let mut names: Vec<String> = body["images"]
            .as_array()
            .unwrap()
            .iter()
            .map(|image| image["name"].as_str().unwrap().to_owned())
            .collect();
        names.sort();
        names
    };
    for (query, expected) in [
        ("", &["large", "tiny"] as &[_]),
        ("minRam=512", &["large"]),
        ("minRam=0", &["tiny"]),
        ("minRam=256", &[]),
        ("minDisk=2", &["large"]),
        ("minDisk=2&minRam=0", &[]),
        ("minDisk=2&minRam=512&limit=1", &["large"]),
        ("minDisk=18446744073709551615", &[]),
        ("changes-since=2020-01-01T00:00:00Z", &["large", "tiny"]),
        ("changes-since=2020-01-01", &["large", "tiny"]),
        ("changes-since=2100-01-01T00:00:00Z", &[]),
    ] {
        assert_eq!(found(query).await, expected, "{query}");
    }
    let image = cloud.get(&format!("images/{large}"), "2.1").await.1["image"].take();
    assert_eq!((&image["minRam"], &image["minDisk"]), (&json!(512), &json!(2)));
    let by = (cloud.member.as_str(), "2.1", Value::Null);
    for (query, text) in [
        ("minRam=much", "Invalid minRam filter [much]"),
        ("minDisk=-1", "Invalid minDisk filter [-1]"),
        ("changes-since=yesterday", "Invalid changes-since filter [yesterday]"),
    ] {
        for path in ["images", "images/detail"] {
            let path = format!("{path}?{query}");
            refused(&cloud, ("GET", &path), by.clone(), (400, text)).await;
        }
    }
}

#[tokio::test]
async fn metadata_of_images_until_2_38() {
    let cloud = Cloud::new().await;
    let path = format!("images/{IMAGE}/metadata");
    let by = |body: Value| (cloud.admin.as_str(), "2.38", body);
    let ask = async |method, path: &str, body: Value| {
        let reply = cloud.compute(method, path, by(body)).await;
        (reply.status, reply.body)
    };
    let given = json!({"metadata": {"a": "1", "b": "2"}});
    assert_eq!(ask("POST", &path, given.clone()).await, (200, given));
    let given = json!({"metadata": {"b": "3"}});
    assert_eq!(ask("PUT", &path, given.clone()).await, (200, given.clone()));
    assert_eq!(cloud.get(&path, "2.1").await, (200, given));
    let item = format!("{path}/c");
    let meta = json!({"meta": {"c": "4"}});
    assert_eq!(ask("PUT", &item, meta.clone()).await, (200, meta.clone()));
    assert_eq!(ask("GET", &item, Value::Null).await, (200, meta));
    assert_eq!(ask("DELETE", &item, Value::Null).await.0, 204);
    refused(&cloud, ("DELETE", &item), by(Value::Null), (404, "Invalid metadata key")).await;
    refused(&cloud, ("GET", &item), by(Value::Null), (404, "Metadata item was not found")).await;
    let other = json!({"meta": {"x": "4"}});
    let text = "Request body and URI mismatch";
    refused(&cloud, ("PUT", &item), by(other), (400, text)).await;
    let reserved = json!({"metadata": {"status": "deleted"}});
    let text = "Attribute 'status' is reserved.";
    refused(&cloud, ("POST", &path), by(reserved), (403, text)).await;
    let gone = (cloud.admin.as_str(), "2.39", Value::Null);
    refused(&cloud, ("GET", &path), gone, (404, "The resource could not be found.")).await;
}
