//! Data of images for compute hosts that are processes of their own.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use reprieve_control::external::{Http, OwnImages};
use reprieve_control::http::hosts;
use reprieve_core::ports::{ImageSource, ImageSourceError};
use reprieve_core::spec::{DiskFormat, ImageSpec};
use reprieve_core::{Clock as _, ImageId, SealingKey, SystemClock};
use serde_json::json;

use crate::harness::{Cloud, Reply, request, text};
use crate::images::create;

/// The key of the harness.
const KEY: [u8; 32] = [7; 32];

fn data() -> Vec<u8> {
    vec![3; 700_001]
}

/// An image that only its owner may see, with data.
async fn private_image(cloud: &Cloud) -> ImageId {
    let token = cloud.user("alice", "member").await;
    let body = json!({"name": "x", "disk_format": "raw", "container_format": "bare"});
    let id = create(cloud, &token, body).await;
    let path = format!("/image/v2/images/{id}/file");
    let upload = request(&token, "PUT", &path, "application/octet-stream", Body::from(data()));
    cloud.send(upload).await.expect(204);
    id.parse().unwrap()
}

async fn fetch(cloud: &Cloud, id: &str, ticket: &str) -> Reply {
    let path = hosts::IMAGE.replace("{image}", id);
    let request = Request::get(path).header(hosts::TICKET, ticket).body(Body::empty());
    cloud.send(request.unwrap()).await
}

#[tokio::test]
async fn whoever_holds_the_key_gets_the_data_for_a_while() {
    let cloud = Cloud::start().await;
    let image = private_image(&cloud).await;
    let until = cloud.clock.now().plus(Duration::from_secs(60));
    let ticket = |key| SealingKey::new(key).ticket(image, until).unwrap();
    let id = image.to_string();
    let reply = fetch(&cloud, &id, &ticket(KEY)).await.expect(200);
    assert_eq!(reply.header("content-length"), "700001");
    assert!(reply.body == data());

    fetch(&cloud, &id, &ticket([8; 32])).await.expect(401);
    fetch(&cloud, &id, "").await.expect(401);
    fetch(&cloud, "..%2f..%2fsecret.key", &ticket(KEY)).await.expect(401);
    fetch(&cloud, "nonsense", &ticket(KEY)).await.expect(401);
    let other = ImageId::random();
    fetch(&cloud, &other.to_string(), &ticket(KEY)).await.expect(401);
    let own = SealingKey::new(KEY).ticket(other, until).unwrap();
    fetch(&cloud, &other.to_string(), &own).await.expect(404);
    // A user's token is none, not even the administrator's.
    let token = cloud.admin().await;
    let path = hosts::IMAGE.replace("{image}", &id);
    cloud.get(&token, &path).await.expect(401);
    cloud.clock.advance(60);
    fetch(&cloud, &id, &ticket(KEY)).await.expect(401);
}

#[tokio::test]
async fn a_host_asks_one_api_after_the_other() {
    let cloud = Cloud::start().await;
    let image = private_image(&cloud).await;
    // Hosts and api processes have clocks of their own; this one's is ahead of the cloud's.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let alive = format!("http://{}", listener.local_addr().unwrap());
    let router = cloud.router.clone();
    let serving = tokio::spawn(async move { axum::serve(listener, router).await });
    let token = cloud.admin().await;
    let shown = cloud.get(&token, &format!("/image/v2/images/{image}")).await.expect(200).json();
    let spec = ImageSpec {
        id: image,
        name: "x".to_owned(),
        format: DiskFormat::Raw,
        size_bytes: 700_001,
        sha512: text(&shown["os_hash_value"]).to_owned(),
        properties: std::collections::BTreeMap::new(),
    };
    let images = |urls: &[&str]| {
        let urls: Vec<String> = urls.iter().map(|url| (*url).to_owned()).collect();
        let http = Http::new(None).unwrap();
        OwnImages::new(http, &urls, SealingKey::new(KEY), Arc::new(SystemClock)).unwrap()
    };
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("fetched");
    let both = images(&["http://127.0.0.1:1", &alive]);
    both.fetch(&spec, &file).await.unwrap();
    assert!(std::fs::read(&file).unwrap() == data());

    let file = dir.path().join("other");
    let down = images(&["http://127.0.0.1:1"]).fetch(&spec, &file).await.unwrap_err();
    assert!(matches!(down, ImageSourceError::Unreadable { .. }), "{down}");
    let short = ImageSpec { size_bytes: 5, ..spec.clone() };
    let refused = images(&[&alive]).fetch(&short, &file).await.unwrap_err();
    assert!(refused.to_string().contains("longer than announced"), "{refused}");
    let gone = ImageSpec { id: ImageId::random(), ..spec };
    let refused = images(&[&alive]).fetch(&gone, &file).await.unwrap_err();
    assert_eq!(refused, ImageSourceError::NotFound(gone.id));
    assert!(!file.exists());
    serving.abort();
}
