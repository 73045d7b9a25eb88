//! Images of a Glance.

use bytes::Bytes;
use reprieve_control::app::identity::validate;
use reprieve_control::app::images::{self, ImageError, ImageRecord};
use reprieve_core::ImageId;
use reprieve_core::ports::{ImageSource as _, ImageSourceError};
use reprieve_core::spec::DiskFormat;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha512};

use crate::Site;
use crate::standin::Trouble;

fn data() -> Bytes {
    Bytes::from(vec![7; 300_000])
}

fn sha512(data: &[u8]) -> String {
    Sha512::digest(data).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Site {
    /// Puts an image into Glance.
    fn add_image(&self, visibility: &str, owner: &str) -> ImageId {
        let (id, data) = (ImageId::random(), data());
        let image = json!({
            "id": id.to_string(), "name": "tiny", "status": "active", "visibility": visibility,
            "owner": owner, "disk_format": "qcow2", "container_format": "bare",
            "size": data.len(), "virtual_size": null, "checksum": "d41d8cd98f00b204e9800998ecf8427e",
            "os_hash_algo": "sha512", "os_hash_value": sha512(&data), "os_hidden": false,
            "protected": false, "min_disk": 0, "min_ram": 0, "tags": ["a"],
            "created_at": "2026-08-21T10:00:00Z", "updated_at": "2026-08-21T10:00:00Z",
            "self": format!("/v2/images/{id}"), "file": format!("/v2/images/{id}/file"),
            "schema": "/v2/schemas/image", "hw_disk_bus": "virtio", "stores": "default",
            "locations": [],
        });
        let mut known = self.standin.known();
        known.images.insert(id.to_string(), image);
        known.data.insert(id.to_string(), data);
        id
    }

    async fn see(&self, token: &str, id: ImageId) -> Result<ImageRecord, ImageError> {
        let auth = validate(&self.cloud.control, token).await.unwrap();
        images::get(&self.cloud.control, &auth, id).await
    }

    async fn create(&self, token: &str, image: ImageId) -> crate::harness::Reply {
        let flavors = self.cloud.get(token, "/compute/v2.1/flavors").await.expect(200).json();
        let body = json!({"server": {
            "name": "s", "imageRef": image.to_string(), "networks": "none",
            "flavorRef": flavors["flavors"][0]["id"],
        }});
        let path = "/compute/v2.1/servers";
        let body = axum::body::Body::from(body.to_string());
        let mut request = crate::harness::request(token, "POST", path, "application/json", body);
        let version = "compute 2.90".parse().unwrap();
        request.headers_mut().insert("openstack-api-version", version);
        self.cloud.send(request).await
    }
}

#[tokio::test]
async fn an_image_is_described_and_seen_by_the_right_ones() {
    let site = Site::start().await;
    site.standin.add_token("alices", "member", "aaaa");
    site.standin.add_token("admins", "admin", "cccc");
    let public = site.add_image("public", "bbbb");
    let image = site.see("alices", public).await.unwrap();
    assert_eq!(image.name.as_deref(), Some("tiny"));
    assert_eq!(image.disk_format, Some(DiskFormat::Qcow2));
    let properties: Vec<(&str, &str)> =
        image.properties.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(properties, [("hw_disk_bus", "virtio")]);
    let spec = image.spec().unwrap();
    assert_eq!((spec.size_bytes, spec.sha512), (300_000, sha512(&data())));

    let (own, private) = (site.add_image("private", "aaaa"), site.add_image("private", "bbbb"));
    let (shared, hidden) = (site.add_image("shared", "bbbb"), site.add_image("shared", "bbbb"));
    site.standin.known().members.push((shared.to_string(), "aaaa".to_owned()));
    for seen in [own, shared, site.add_image("community", "bbbb")] {
        site.see("alices", seen).await.unwrap();
    }
    for unseen in [private, hidden, ImageId::random()] {
        assert!(matches!(site.see("alices", unseen).await, Err(ImageError::NotFound(_))));
    }
    site.see("admins", private).await.unwrap();
}

#[tokio::test]
async fn servers_are_made_from_them_and_only_from_usable_ones() {
    let site = Site::start().await;
    site.standin.add_token("alices", "member", "aaaa");
    let image = site.add_image("public", "bbbb");
    site.create("alices", image).await.expect(202);
    site.create("alices", site.add_image("private", "bbbb")).await.expect(400);
    site.create("alices", ImageId::random()).await.expect(400);
    let change = |id: ImageId, key: &str, value: Value| {
        site.standin.known().images.get_mut(&id.to_string()).unwrap()[key] = value;
    };
    for (key, value) in [
        ("status", json!("queued")),
        ("status", json!("deactivated")),
        ("status", json!("something new")),
        ("disk_format", json!("vmdk")),
        ("os_hash_algo", json!("md5")),
        ("os_hash_value", json!("../../etc/passwd")),
        ("size", json!(null)),
    ] {
        let unusable = site.add_image("public", "bbbb");
        change(unusable, key, value.clone());
        let refused = site.create("alices", unusable).await;
        assert_eq!(refused.status.as_u16(), 400, "{key} {value}");
    }
}

#[tokio::test]
async fn a_glance_that_fails_is_503_never_400_and_never_500() {
    let site = Site::impatient().await;
    site.standin.add_token("alices", "member", "aaaa");
    let image = site.add_image("public", "bbbb");
    for trouble in [
        Trouble::Silence,
        Trouble::Status(500),
        Trouble::Status(403),
        Trouble::Status(401),
        Trouble::Nonsense("<html>".to_owned()),
        Trouble::Nonsense("{}".to_owned()),
        Trouble::Nonsense(json!({"id": ImageId::random().to_string()}).to_string()),
        Trouble::Nonsense(" ".repeat(2 << 20)),
    ] {
        site.standin.known().image_trouble = Some(trouble.clone());
        let refused = site.create("alices", image).await;
        assert_eq!(refused.status.as_u16(), 503, "{trouble:?}");
        assert_eq!(refused.header("retry-after"), "1");
        assert!(refused.json()["serviceUnavailable"]["message"].is_string());
    }
    site.standin.known().image_trouble = None;
    // Keystone was set up anew and knows the service token no more.
    site.standin.known().service_tokens.clear();
    site.create("alices", image).await.expect(202);
}

#[tokio::test]
async fn data_comes_whole_or_not_at_all() {
    let site = Site::impatient().await;
    site.standin.add_token("alices", "member", "aaaa");
    let id = site.add_image("public", "bbbb");
    let spec = site.see("alices", id).await.unwrap().spec().unwrap();
    let file = site.cloud.dir.path().join("part");
    site.glance.fetch(&spec, &file).await.unwrap();
    assert_eq!(std::fs::read(&file).unwrap(), data());
    // It does not overwrite.
    assert!(site.glance.fetch(&spec, &file).await.is_err());
    assert!(file.exists());

    let file = site.cloud.dir.path().join("other");
    for trouble in [
        Trouble::Stall,
        Trouble::Short,
        Trouble::Long,
        Trouble::Silence,
        Trouble::Status(500),
        Trouble::Status(204),
        Trouble::Status(403),
        Trouble::Status(401),
    ] {
        site.standin.known().image_trouble = Some(trouble.clone());
        let error = site.glance.fetch(&spec, &file).await.unwrap_err();
        assert!(matches!(error, ImageSourceError::Unreadable { .. }), "{trouble:?}: {error}");
        assert!(!file.exists(), "{trouble:?}");
    }
    site.standin.known().image_trouble = None;
    site.standin.known().service_tokens.clear();
    site.glance.fetch(&spec, &file).await.unwrap();
    site.standin.known().data.clear();
    let file = site.cloud.dir.path().join("gone");
    let gone = site.glance.fetch(&spec, &file).await.unwrap_err();
    assert_eq!(gone, ImageSourceError::NotFound(id));
}

/// Nova's own view of images, which clients of old use: what it shows is Glance's.
#[tokio::test]
async fn images_of_a_glance_are_seen_through_nova() {
    let site = Site::impatient().await;
    site.standin.add_token("alices", "member", "aaaa");
    site.standin.add_token("admins", "admin", "cccc");
    let (own, public) = (site.add_image("private", "aaaa"), site.add_image("public", "bbbb"));
    let private = site.add_image("private", "bbbb");
    let path = |id: ImageId| format!("/compute/v2.1/images/{id}");
    for (token, id) in [("alices", own), ("alices", public), ("admins", private)] {
        let shown = site.cloud.get(token, &path(id)).await.expect(200).json();
        let image = &shown["image"];
        assert_eq!((&image["id"], &image["name"]), (&json!(id.to_string()), &json!("tiny")));
        assert_eq!((&image["status"], &image["progress"]), (&json!("ACTIVE"), &json!(100)));
        assert_eq!(image["OS-EXT-IMG-SIZE:size"], 300_000);
        assert_eq!(image["metadata"], json!({"hw_disk_bus": "virtio"}));
        let alternate = format!("{}/image/images/{id}", site.standin.url);
        assert_eq!(image["links"][2]["href"], json!(alternate));
        let metadata = site.cloud.get(token, &format!("{}/metadata", path(id))).await.expect(200);
        assert_eq!(metadata.json(), json!({"metadata": {"hw_disk_bus": "virtio"}}));
    }
    for id in [private, ImageId::random()] {
        site.cloud.get("alices", &path(id)).await.expect(404);
        site.cloud.call("alices", "DELETE", &path(id), Value::Null).await.expect(404);
    }

    for trouble in [Trouble::Silence, Trouble::Status(500), Trouble::Nonsense("{}".to_owned())] {
        site.standin.known().image_trouble = Some(trouble);
        let refused = site.cloud.get("alices", &path(public)).await.expect(503);
        assert_eq!(refused.header("retry-after"), "1");
    }
}

impl Site {
    /// Ids that a list through Nova has.
    async fn listed(&self, token: &str, query: &str) -> Vec<String> {
        let path = format!("/compute/v2.1/images{query}");
        let list = self.cloud.get(token, &path).await.expect(200).json();
        let images = list["images"].as_array().unwrap().iter();
        images.map(|image| image["id"].as_str().unwrap().to_owned()).collect()
    }
}

#[tokio::test]
async fn lists_are_glances_for_the_user_who_asks() {
    let site = Site::impatient().await;
    site.standin.add_token("alices", "member", "aaaa");
    site.standin.add_token("admins", "admin", "cccc");
    let ids: Vec<String> = [("private", "aaaa"), ("public", "bbbb"), ("private", "bbbb")]
        .into_iter()
        .enumerate()
        .map(|(minute, (visibility, owner))| {
            let id = site.add_image(visibility, owner).to_string();
            let at = format!("2026-08-21T10:0{minute}:00Z");
            site.standin.known().images.get_mut(&id).unwrap()["created_at"] = json!(at);
            id
        })
        .collect();
    let [own, public, private] = ids.as_slice() else { panic!("{ids:?}") };
    assert_eq!(site.listed("alices", "").await, [public.clone(), own.clone()]);
    assert_eq!(site.listed("admins", "").await, [private.clone(), public.clone(), own.clone()]);
    let detail = site.cloud.get("alices", "/compute/v2.1/images/detail").await.expect(200).json();
    assert_eq!(detail["images"][1]["metadata"], json!({"hw_disk_bus": "virtio"}));
    // Pages, as the caller cuts them.
    let page = "/compute/v2.1/images?limit=1";
    let first = site.cloud.get("alices", page).await.expect(200).json();
    assert_eq!(first["images"][0]["id"], json!(public));
    let next = first["images_links"][0]["href"].as_str().unwrap();
    let (_, next) = next.split_once("/images").unwrap();
    assert_eq!(site.listed("alices", next).await.as_slice(), std::slice::from_ref(own));
    assert_eq!(site.listed("alices", "?limit=0").await, Vec::<String>::new());
    let unknown = format!("/compute/v2.1/images?marker={}", ImageId::random());
    site.cloud.get("alices", &unknown).await.expect(400);
    // Filters go to Glance, and stay values there.
    let query = "?name=tiny&status=ACTIVE&minRam=0&property-hw_disk_bus=virtio&changes-since=\
                 2026-08-21T09:00:00Z";
    assert_eq!(site.listed("alices", query).await.len(), 2);
    let asked = site.standin.known().lists.last().unwrap().clone();
    for (name, value) in [("status", "active"), ("updated_at", "gte:2026-08-21T09:00:00Z")] {
        assert!(asked.contains(&(name.to_owned(), value.to_owned())), "{asked:?}");
    }
    assert_eq!(site.listed("alices", "?name=x%26limit%3D9").await, Vec::<String>::new());
    assert!(
        site.standin.known().lists.last().unwrap().contains(&("name".into(), "x&limit=9".into()))
    );
    // Glance knows the token no more, or is not well.
    site.standin.known().tokens.remove("alices");
    site.cloud.get("alices", "/compute/v2.1/images").await.expect(503);
    site.standin.add_token("alices", "member", "aaaa");
    for trouble in [
        Trouble::Silence,
        Trouble::Status(500),
        Trouble::Nonsense("{}".to_owned()),
        Trouble::Nonsense(json!({"images": [{"id": "x"}]}).to_string()),
    ] {
        site.standin.known().image_trouble = Some(trouble);
        site.cloud.get("alices", "/compute/v2.1/images").await.expect(503);
    }
}

#[tokio::test]
async fn long_lists_come_in_pieces() {
    let site = Site::start().await;
    site.standin.add_token("alices", "member", "aaaa");
    for number in 0..230 {
        let id = site.add_image("public", "bbbb").to_string();
        let at = format!("2026-08-21T{:02}:{:02}:00Z", number / 60, number % 60);
        site.standin.known().images.get_mut(&id).unwrap()["created_at"] = json!(at);
    }
    let listed = site.listed("alices", "").await;
    let different: std::collections::BTreeSet<&String> = listed.iter().collect();
    assert_eq!((listed.len(), different.len()), (230, 230));
    assert_eq!(site.standin.known().lists.len(), 3);
    assert_eq!(site.listed("alices", "?limit=130").await, listed[..130]);
}

#[tokio::test]
async fn users_change_and_delete_what_glance_lets_them() {
    let site = Site::impatient().await;
    site.standin.add_token("alices", "member", "aaaa");
    let (own, public) = (site.add_image("private", "aaaa"), site.add_image("public", "bbbb"));
    let private = site.add_image("private", "bbbb");
    let path = |id: ImageId| format!("/compute/v2.1/images/{id}");
    let metadata = |id: ImageId| format!("{}/metadata", path(id));
    let call = async |method: &str, path: &str, body: Value| {
        site.cloud.call("alices", method, path, body).await
    };
    let added = call("POST", &metadata(own), json!({"metadata": {"a": "b"}})).await.expect(200);
    assert_eq!(added.json(), json!({"metadata": {"a": "b", "hw_disk_bus": "virtio"}}));
    let replaced = call("PUT", &metadata(own), json!({"metadata": {"c": "d"}})).await.expect(200);
    assert_eq!(replaced.json(), json!({"metadata": {"c": "d"}}));
    let item = format!("{}/c", metadata(own));
    call("PUT", &item, json!({"meta": {"c": "e"}})).await.expect(200);
    assert_eq!(site.standin.known().images[&own.to_string()]["c"], "e");
    assert_eq!(site.standin.known().images[&own.to_string()]["name"], "tiny");
    call("DELETE", &item, Value::Null).await.expect(204);
    call("DELETE", &item, Value::Null).await.expect(404);
    let rest = site.cloud.get("alices", &metadata(own)).await.expect(200).json();
    assert_eq!(rest, json!({"metadata": {}}));

    let before = site.standin.known().images.clone();
    for (id, status) in [(public, 403), (private, 404), (ImageId::random(), 404)] {
        call("POST", &metadata(id), json!({"metadata": {"a": "b"}})).await.expect(status);
        call("DELETE", &path(id), Value::Null).await.expect(status);
    }
    call("POST", &metadata(own), json!({"metadata": {"owner": "aaaa"}})).await.expect(403);
    site.standin.known().images.get_mut(&own.to_string()).unwrap()["protected"] = json!(true);
    call("DELETE", &path(own), Value::Null).await.expect(403);
    site.standin.known().images.get_mut(&own.to_string()).unwrap()["protected"] = json!(false);
    assert_eq!(site.standin.known().images, before);
    for trouble in [Trouble::Silence, Trouble::Status(500), Trouble::Status(401)] {
        site.standin.known().image_trouble = Some(trouble);
        call("DELETE", &path(own), Value::Null).await.expect(503);
    }
    site.standin.known().image_trouble = None;
    assert_eq!(site.standin.known().images, before);
    call("DELETE", &path(own), Value::Null).await.expect(204);
    assert!(!site.standin.known().images.contains_key(&own.to_string()));
}
