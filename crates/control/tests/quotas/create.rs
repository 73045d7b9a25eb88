//! Creating servers: quotas, files for the guest, security groups.

use std::sync::Arc;

use reprieve_core::InstanceId;
use serde_json::{Value, json};

use crate::support::Cloud;
use crate::{create, fault, member, server, set_quota};

async fn count(cloud: &Cloud) -> usize {
    cloud.get("servers", "2.96").await.1["servers"].as_array().unwrap().len()
}

#[tokio::test]
async fn what_does_not_fit_is_refused_with_everything_that_is_too_much() {
    let cloud = Cloud::new().await;
    let ask = async |more: Value| member(&cloud, "POST", "servers", ("2.96", server(&more))).await;
    let refused = ask(json!({"min_count": 11})).await;
    assert_eq!(
        fault(&refused, "forbidden", 403),
        "Quota exceeded for instances: Requested 11, but already used 0 of 10 instances"
    );
    let refused = ask(json!({"flavorRef": "99", "min_count": 1, "max_count": 2})).await;
    assert_eq!(
        fault(&refused, "forbidden", 403),
        "Quota exceeded for cores, ram: Requested 4000, 2097152, but already used 0, 0 of 20, \
         51200 cores, ram"
    );
    create(&cloud, &json!({"min_count": 9})).await;
    set_quota(&cloud, json!({"cores": 10, "ram": 2400})).await;
    let refused = ask(json!({"min_count": 2, "max_count": 4})).await;
    assert_eq!(
        fault(&refused, "forbidden", 403),
        "Quota exceeded for cores, instances, ram: Requested 4, 2-4, 1024, but already used 9, 9, \
         2304 of 10, 10, 2400 cores, instances, ram"
    );
    assert_eq!(count(&cloud).await, 9);
    set_quota(&cloud, json!({"instances": -1, "cores": -1, "ram": -1})).await;
    create(&cloud, &json!({"min_count": 3})).await;
    assert_eq!(count(&cloud).await, 12);
}

#[tokio::test]
async fn as_many_are_made_as_fit_if_these_are_enough() {
    let cloud = Cloud::new().await;
    create(&cloud, &json!({"min_count": 2, "max_count": 500_000})).await;
    assert_eq!(count(&cloud).await, 10);
    set_quota(&cloud, json!({"instances": 11})).await;
    // Only one fits: it is called as one is.
    let id = create(&cloud, &json!({"name": "last", "max_count": 3})).await;
    let (_, shown) = cloud.get(&format!("servers/{id}"), "2.96").await;
    assert_eq!(shown["server"]["name"], "last");
    // Without a quota there is still an end.
    set_quota(&cloud, json!({"instances": -1, "cores": -1, "ram": -1})).await;
    let body = server(&json!({"min_count": 1001}));
    let refused = member(&cloud, "POST", "servers", ("2.96", body)).await;
    assert_eq!(fault(&refused, "badRequest", 400), "min_count must be <= 1000");
    let body = server(&json!({"min_count": 3, "max_count": 2}));
    let refused = member(&cloud, "POST", "servers", ("2.96", body)).await;
    assert_eq!(fault(&refused, "badRequest", 400), "min_count must be <= max_count");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn requests_side_by_side_do_not_exceed_a_quota() {
    let cloud = Arc::new(Cloud::new().await);
    set_quota(&cloud, json!({"instances": 6})).await;
    let asking: Vec<_> = (0..10)
        .map(|_| {
            let cloud = Arc::clone(&cloud);
            tokio::spawn(async move {
                let body = server(&json!({"min_count": 1, "max_count": 2}));
                member(&cloud, "POST", "servers", ("2.96", body)).await.status
            })
        })
        .collect();
    let mut statuses = Vec::new();
    for one in asking {
        statuses.push(one.await.unwrap());
    }
    assert!(statuses.iter().all(|status| [202, 403].contains(status)), "{statuses:?}");
    assert_eq!(count(&cloud).await, 6, "{statuses:?}");
}

#[tokio::test]
async fn metadata_keeps_to_its_quota() {
    let cloud = Cloud::new().await;
    set_quota(&cloud, json!({"metadata_items": 1})).await;
    let two = json!({"a": "1", "b": "2"});
    let body = server(&json!({"metadata": two}));
    let refused = member(&cloud, "POST", "servers", ("2.96", body)).await;
    let text = "Maximum number of metadata items exceeds 1";
    assert_eq!(fault(&refused, "forbidden", 403), text);
    let id = cloud.active_server().await;
    let path = format!("servers/{id}/metadata");
    let refused = member(&cloud, "POST", &path, ("2.96", json!({"metadata": two}))).await;
    assert_eq!(fault(&refused, "forbidden", 403), text);
    let one = json!({"metadata": {"a": "1"}});
    assert_eq!(member(&cloud, "POST", &path, ("2.96", one)).await.status, 200);
}

fn with_files(files: Value) -> (&'static str, Value) {
    ("2.56", server(&json!({"personality": files})))
}

/// Until 2.56 a request may bring files, which reach the host with the create operation.
#[tokio::test]
async fn files_are_handed_to_the_host_and_forgotten() {
    let cloud = Cloud::new().await;
    let files = json!([{"path": "/etc/motd", "contents": "aGVs\nbG8="}]);
    let reply = member(&cloud, "POST", "servers", with_files(files.clone())).await;
    assert_eq!(reply.status, 202, "{}", reply.body);
    let id: InstanceId = reply.body["server"]["id"].as_str().unwrap().parse().unwrap();
    let operation = cloud.under_way(id).await.unwrap();
    let sent = &operation.args.injected_files[0];
    assert_eq!((sent.path.as_str(), sent.contents.as_str()), ("/etc/motd", "aGVsbG8="));
    cloud.settle(id).await;
    let ended = cloud.control.store.operation(operation.id).await.unwrap().unwrap();
    assert!(ended.args.injected_files.is_empty());

    let refused =
        member(&cloud, "POST", "servers", ("2.57", server(&json!({"personality": files})))).await;
    assert!(fault(&refused, "badRequest", 400).contains("('personality' was unexpected)"));
    let (version, mut body) = with_files(files);
    body["server"]["config_drive"] = json!(false);
    let refused = member(&cloud, "POST", "servers", (version, body)).await;
    assert_eq!(
        fault(&refused, "badRequest", 400),
        "Files can be injected (personality) through a config drive only."
    );
}

#[tokio::test]
async fn files_keep_to_their_quotas() {
    let cloud = Cloud::new().await;
    let file = |path: &str, contents: &str| json!({"path": path, "contents": contents});
    let long = "a".repeat(256);
    let large = "a".repeat(10_244);
    for (files, text) in [
        (json!(vec![file("/a", ""); 6]), "Personality file limit exceeded"),
        (json!([file(&long, &large)]), "Personality file path exceeds maximum 255"),
        (json!([file("/a", &large)]), "Personality file content exceeds maximum 10240"),
    ] {
        let refused = member(&cloud, "POST", "servers", with_files(files)).await;
        assert_eq!(fault(&refused, "forbidden", 403), text);
    }
    for (files, text) in [
        (json!([{"path": "/a"}]), "Bad personality format: missing contents"),
        (
            json!([file("/a", "a")]),
            "Invalid input for field/attribute contents. Value: a. 'a' is not a 'base64'",
        ),
    ] {
        let refused = member(&cloud, "POST", "servers", with_files(files)).await;
        assert_eq!(fault(&refused, "badRequest", 400), text);
    }
    let most = json!(vec![file("/a", &"a".repeat(10_240)); 5]);
    assert_eq!(member(&cloud, "POST", "servers", with_files(most)).await.status, 202);
}

#[tokio::test]
async fn security_groups_are_repeated_in_the_answer() {
    let cloud = Cloud::new().await;
    let groups = json!([{"name": "web"}, {"name": "db"}]);
    let body = server(&json!({"security_groups": groups}));
    let reply = member(&cloud, "POST", "servers", ("2.96", body)).await;
    assert_eq!(reply.body["server"]["security_groups"], groups);
    let reply = member(&cloud, "POST", "servers", ("2.96", server(&json!({})))).await;
    assert_eq!(reply.body["server"]["security_groups"], json!([{"name": "default"}]));
}
