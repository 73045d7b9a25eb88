//! Image data: in, verified, out, and what interrupts it.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use futures_util::stream;
use md5::{Digest as _, Md5};
use reprieve_control::app::images::{self, ImageStatus};
use reprieve_core::ImageId;
use serde_json::{Value, json};
use sha2::Sha512;
use tokio::sync::mpsc;

use crate::harness::{Cloud, MAX_IMAGE, Reply, control, request, text};
use crate::images::create;

const OCTETS: &str = "application/octet-stream";

fn file(id: &str) -> String {
    format!("/image/v2/images/{id}/file")
}

async fn queued(cloud: &Cloud, token: &str, format: &str) -> String {
    let body = json!({"name": "x", "disk_format": format, "container_format": "bare"});
    create(cloud, token, body).await
}

async fn put(cloud: &Cloud, token: &str, id: &str, body: impl Into<Body>) -> Reply {
    cloud.send(request(token, "PUT", &file(id), OCTETS, body.into())).await
}

async fn show(cloud: &Cloud, token: &str, id: &str) -> Value {
    cloud.get(token, &format!("/image/v2/images/{id}")).await.expect(200).json()
}

/// Nothing of an image without data is on the disk.
fn assert_no_files(cloud: &Cloud) {
    let names: Vec<_> = std::fs::read_dir(cloud.image_dir())
        .map(|dir| dir.map(|entry| entry.unwrap().file_name()).collect())
        .unwrap_or_default();
    assert!(names.is_empty(), "{names:?}");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A QCOW2 header of version 3 with one cluster, as `qemu-img create` writes it, and a backing file
/// name if wanted.
fn qcow2(backing: Option<&str>) -> Vec<u8> {
    let mut data = vec![0; 4 * 65_536];
    data[..4].copy_from_slice(b"QFI\xfb");
    data[4..8].copy_from_slice(&3_u32.to_be_bytes());
    if let Some(backing) = backing {
        data[8..16].copy_from_slice(&512_u64.to_be_bytes());
        data[16..20].copy_from_slice(&(backing.len() as u32).to_be_bytes());
        data[512..512 + backing.len()].copy_from_slice(backing.as_bytes());
    }
    data[20..24].copy_from_slice(&16_u32.to_be_bytes());
    data[24..32].copy_from_slice(&(64_u64 << 20).to_be_bytes());
    data[36..40].copy_from_slice(&1_u32.to_be_bytes());
    data[40..48].copy_from_slice(&(3 * 65_536_u64).to_be_bytes());
    data[48..56].copy_from_slice(&65_536_u64.to_be_bytes());
    data[56..60].copy_from_slice(&1_u32.to_be_bytes());
    data[96..100].copy_from_slice(&4_u32.to_be_bytes());
    data[100..104].copy_from_slice(&104_u32.to_be_bytes());
    data
}

#[tokio::test]
async fn data_comes_back_as_it_went_in_and_is_described() {
    let cloud = Cloud::start().await;
    let token = cloud.user("alice", "member").await;
    let id = queued(&cloud, &token, "raw").await;
    let data: Vec<u8> = (0..3_000_001_u32).map(|n| (n % 251) as u8).collect();
    let pieces: Vec<_> =
        data.chunks(70_000).map(|piece| Ok::<_, std::io::Error>(piece.to_vec())).collect();
    put(&cloud, &token, &id, Body::from_stream(stream::iter(pieces))).await.expect(204);

    let (md5, sha512) = (hex(&Md5::digest(&data)), hex(&Sha512::digest(&data)));
    let image = show(&cloud, &token, &id).await;
    assert_eq!(image["status"], "active");
    assert_eq!(image["size"], data.len());
    assert_eq!(image["virtual_size"], data.len());
    assert_eq!(image["checksum"], md5);
    assert_eq!(image["os_hash_algo"], "sha512");
    assert_eq!(image["os_hash_value"], sha512);

    let out = cloud.get(&token, &file(&id)).await.expect(200);
    assert_eq!(out.body, data);
    assert_eq!(out.header("content-md5"), md5);
    assert_eq!(out.header("content-length"), data.len().to_string());
    assert_eq!(out.header("content-type"), OCTETS);
    let mut part = request(&token, "GET", &file(&id), OCTETS, Body::empty());
    part.headers_mut().insert("range", "bytes=100-199".parse().unwrap());
    let part = cloud.send(part).await.expect(206);
    assert_eq!(part.body, data[100..200]);
    assert_eq!(part.header("content-range"), format!("bytes 100-199/{}", data.len()));
    let mut beyond = request(&token, "GET", &file(&id), OCTETS, Body::empty());
    beyond.headers_mut().insert("range", "bytes=99999999-".parse().unwrap());
    cloud.send(beyond).await.expect(416);

    let spec =
        cloud.control.store.image(id.parse().unwrap()).await.unwrap().unwrap().spec().unwrap();
    assert_eq!(spec.sha512, sha512);
    put(&cloud, &token, &id, "again").await.expect(409);
    cloud.call(&token, "DELETE", &format!("/image/v2/images/{id}"), Value::Null).await.expect(204);
    assert_no_files(&cloud);
}

#[tokio::test]
async fn qcow2_is_understood() {
    let cloud = Cloud::start().await;
    let token = cloud.user("alice", "member").await;
    let id = queued(&cloud, &token, "qcow2").await;
    put(&cloud, &token, &id, qcow2(None)).await.expect(204);
    let image = show(&cloud, &token, &id).await;
    assert_eq!(image["virtual_size"], 64 << 20);
    assert_eq!(image["size"], 4 * 65_536);
}

#[tokio::test]
async fn dangerous_or_mislabelled_data_is_refused_and_the_image_stays_queued() {
    let cloud = Cloud::start().await;
    let token = cloud.user("alice", "member").await;
    let reads_host = qcow2(Some("/etc/shadow"));
    for (format, data) in [
        ("raw", reads_host.clone()),
        ("iso", reads_host.clone()),
        ("qcow2", reads_host),
        ("raw", qcow2(None)),
        ("qcow2", vec![0; 100_000]),
        ("iso", vec![0; 100_000]),
        ("qcow2", b"QFI\xfb".to_vec()),
        ("raw", Vec::new()),
    ] {
        let id = queued(&cloud, &token, format).await;
        let refused = put(&cloud, &token, &id, data).await.expect(400);
        let message = refused.json()["message"].as_str().unwrap().to_owned();
        assert!(message.starts_with("Image data is not acceptable: the image"), "{message}");
        let image = show(&cloud, &token, &id).await;
        assert_eq!(image["status"], "queued", "{format}");
        assert_eq!(image["size"], Value::Null);
        assert_no_files(&cloud);
        // The owner may try again with better data.
        if format == "raw" {
            put(&cloud, &token, &id, "good").await.expect(204);
            let path = format!("/image/v2/images/{id}");
            cloud.call(&token, "DELETE", &path, Value::Null).await.expect(204);
        }
    }
}

#[tokio::test]
async fn uploads_are_bounded() {
    let cloud = Cloud::start().await;
    let token = cloud.user("alice", "member").await;
    let id = queued(&cloud, &token, "raw").await;
    // Said in advance.
    let mut announced = request(&token, "PUT", &file(&id), OCTETS, Body::from("x"));
    announced.headers_mut().insert("content-length", (MAX_IMAGE + 1).into());
    cloud.send(announced).await.expect(413);
    // Found out on the way.
    let piece = Bytes::from(vec![0; 1 << 20]);
    let endless = stream::repeat_with(move || Ok::<_, std::io::Error>(piece.clone()));
    put(&cloud, &token, &id, Body::from_stream(endless)).await.expect(413);
    assert_eq!(show(&cloud, &token, &id).await["status"], "queued");
    assert_no_files(&cloud);
}

#[tokio::test]
async fn what_breaks_off_leaves_a_queued_image() {
    let cloud = Cloud::start().await;
    let token = cloud.user("alice", "member").await;
    let id = queued(&cloud, &token, "raw").await;
    let broken = stream::iter([Ok("some"), Err(std::io::Error::other("connection reset"))]);
    put(&cloud, &token, &id, Body::from_stream(broken)).await.expect(400);
    assert_eq!(show(&cloud, &token, &id).await["status"], "queued");
    let mut short = request(&token, "PUT", &file(&id), OCTETS, Body::from("some"));
    short.headers_mut().insert("content-length", 10.into());
    cloud.send(short).await.expect(400);
    assert_eq!(show(&cloud, &token, &id).await["status"], "queued");
    assert_no_files(&cloud);
}

#[tokio::test]
async fn an_upload_needs_the_right_caller_formats_and_type() {
    let cloud = Cloud::start().await;
    let (alice, bob) = (cloud.user("alice", "member").await, cloud.user("bob", "member").await);
    let id = create(&cloud, &alice, json!({"name": "x", "visibility": "community"})).await;
    let without = put(&cloud, &alice, &id, "data").await.expect(400);
    assert!(without.json()["message"].as_str().unwrap().contains("must be set prior to saving"));
    put(&cloud, &bob, &id, "data").await.expect(403);
    let unknown = ImageId::random().to_string();
    put(&cloud, &alice, &unknown, "data").await.expect(404);
    put(&cloud, &alice, "..%2fescape", "data").await.expect(404);
    let typed = request(&alice, "PUT", &file(&id), "application/json", Body::from("data"));
    cloud.send(typed).await.expect(415);
    let import = format!("/image/v2/images/{id}/import");
    cloud.call(&alice, "POST", &import, json!({})).await.expect(400);
}

/// An upload that the test feeds; an empty piece breaks the connection.
fn fed(
    cloud: &Arc<Cloud>,
    token: &str,
    id: &str,
) -> (mpsc::Sender<&'static str>, tokio::task::JoinHandle<Reply>) {
    let (sender, receiver) = mpsc::channel(1);
    let pieces = stream::unfold(receiver, async |mut receiver| {
        let piece: &'static str = receiver.recv().await?;
        let broken = || Err(std::io::Error::other("connection reset"));
        Some((if piece.is_empty() { broken() } else { Ok(piece) }, receiver))
    });
    let request = request(token, "PUT", &file(id), OCTETS, Body::from_stream(pieces));
    let cloud = cloud.clone();
    (sender, tokio::spawn(async move { cloud.send(request).await }))
}

/// Waits until the upload holds the image.
async fn until_saving(cloud: &Cloud, id: &str) {
    while cloud.control.store.uploads().await.unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    let image = cloud.control.store.image(id.parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(image.status, ImageStatus::Saving);
}

#[tokio::test]
async fn one_upload_at_a_time() {
    let cloud = Arc::new(Cloud::start().await);
    let token = cloud.user("alice", "member").await;
    let id = queued(&cloud, &token, "raw").await;
    let (sender, first) = fed(&cloud, &token, &id);
    sender.send("first").await.unwrap();
    until_saving(&cloud, &id).await;
    put(&cloud, &token, &id, "second").await.expect(409);
    drop(sender);
    first.await.unwrap().expect(204);
    assert_eq!(cloud.get(&token, &file(&id)).await.expect(200).body, "first");
}

#[tokio::test]
async fn deleting_during_the_upload_leaves_nothing() {
    let cloud = Arc::new(Cloud::start().await);
    let token = cloud.user("alice", "member").await;
    let id = queued(&cloud, &token, "raw").await;
    let (sender, upload) = fed(&cloud, &token, &id);
    sender.send("data").await.unwrap();
    until_saving(&cloud, &id).await;
    cloud.call(&token, "DELETE", &format!("/image/v2/images/{id}"), Value::Null).await.expect(204);
    drop(sender);
    upload.await.unwrap().expect(410);
    assert_no_files(&cloud);
}

#[tokio::test]
async fn a_client_that_goes_away_does_not_keep_the_image() {
    let cloud = Arc::new(Cloud::start().await);
    let token = cloud.user("alice", "member").await;
    let id = queued(&cloud, &token, "raw").await;
    let (sender, upload) = fed(&cloud, &token, &id);
    sender.send("data").await.unwrap();
    until_saving(&cloud, &id).await;
    // The server drops the handler; what it started must end by itself when the body breaks.
    upload.abort();
    assert!(upload.await.unwrap_err().is_cancelled());
    sender.send("").await.unwrap();
    while !cloud.control.store.uploads().await.unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(show(&cloud, &token, &id).await["status"], "queued");
    assert_no_files(&cloud);
}

#[tokio::test]
async fn a_crash_during_the_upload_is_put_right_at_the_next_start() {
    let cloud = Arc::new(Cloud::start().await);
    let token = cloud.user("alice", "member").await;
    let kept = queued(&cloud, &token, "raw").await;
    put(&cloud, &token, &kept, "kept").await.expect(204);

    // As a killed process leaves it: saving, an unlocked part, and the file already renamed.
    let crashed = queued(&cloud, &token, "raw").await;
    let crashed_id: ImageId = crashed.parse().unwrap();
    assert!(cloud.control.store.begin_upload(crashed_id, "dead").await.unwrap());
    let dir = cloud.image_dir();
    std::fs::write(dir.join(format!("{crashed}-dead.part")), "half").unwrap();
    std::fs::write(dir.join(&crashed), "whole").unwrap();
    let orphan = ImageId::random();
    std::fs::write(dir.join(orphan.to_string()), "orphan").unwrap();
    std::fs::write(dir.join("README"), "not ours").unwrap();

    // And one that is alive, as of another process.
    let alive = queued(&cloud, &token, "raw").await;
    let (sender, upload) = fed(&cloud, &token, &alive);
    sender.send("alive").await.unwrap();
    while cloud.control.store.uploads().await.unwrap().len() < 2 {
        tokio::task::yield_now().await;
    }

    let restarted = control(cloud.dir.path(), cloud.clock.clone()).await;
    assert_eq!(images::recover(&restarted).await.unwrap(), 1);
    assert_eq!(show(&cloud, &token, &crashed).await["status"], "queued");
    drop(sender);
    upload.await.unwrap().expect(204);
    assert_eq!(cloud.get(&token, &file(&alive)).await.expect(200).body, "alive");
    assert_eq!(cloud.get(&token, &file(&kept)).await.expect(200).body, "kept");
    let mut names: Vec<_> = std::fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let mut expected = vec![kept, alive, "README".to_owned()];
    names.sort();
    expected.sort();
    assert_eq!(names, expected);
}

#[tokio::test]
async fn deactivated_data_is_for_administrators() {
    let cloud = Cloud::start().await;
    let (admin, token) = (cloud.admin().await, cloud.user("alice", "member").await);
    let other = cloud.user("bob", "member").await;
    let id = queued(&cloud, &token, "raw").await;
    let action = |name: &str| format!("/image/v2/images/{id}/actions/{name}");
    cloud.call(&admin, "POST", &action("deactivate"), Value::Null).await.expect(403);
    put(&cloud, &token, &id, "data").await.expect(204);
    cloud.call(&other, "POST", &action("deactivate"), Value::Null).await.expect(404);
    cloud.call(&token, "POST", &action("deactivate"), Value::Null).await.expect(204);
    assert_eq!(text(&show(&cloud, &token, &id).await["status"]), "deactivated");
    cloud.get(&token, &file(&id)).await.expect(403);
    cloud.get(&admin, &file(&id)).await.expect(200);
    let record = cloud.control.store.image(id.parse().unwrap()).await.unwrap().unwrap();
    assert!(record.spec().is_none());
    cloud.call(&other, "POST", &action("reactivate"), Value::Null).await.expect(404);
    cloud.call(&admin, "POST", &action("reactivate"), Value::Null).await.expect(204);
    cloud.get(&token, &file(&id)).await.expect(200);
}

#[tokio::test]
async fn the_format_is_fixed_once_there_is_data() {
    let cloud = Cloud::start().await;
    let token = cloud.user("alice", "member").await;
    let id = queued(&cloud, &token, "raw").await;
    put(&cloud, &token, &id, "data").await.expect(204);
    let to = |format: &str| json!([{"op": "replace", "path": "/disk_format", "value": format}]);
    crate::images::patch(&cloud, &token, &id, to("qcow2")).await.expect(403);
    crate::images::patch(&cloud, &token, &id, to("raw")).await.expect(200);
}
