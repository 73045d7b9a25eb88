//! `/metrics`: who gets it, what is in it, and that clients cannot make it grow.

use std::collections::{BTreeMap, BTreeSet};

use axum::body::{Body, to_bytes};
use axum::http::Request;
use reprieve_control::metrics::Exporter;
use reprieve_core::VmState;
use reprieve_core::message::OperationResult;
use reprieve_store::{Ended, OperationQuery};
use serde_json::json;
use tower::ServiceExt as _;

use crate::support::{Ask, Cloud, Reply, host_info};

async fn ask(cloud: &Cloud, token: &str) -> Reply {
    cloud.ask(&Ask { method: "GET", path: "/metrics", token, ..Ask::default() }).await
}

async fn scrape(cloud: &Cloud) -> String {
    let reply = ask(cloud, &cloud.admin).await;
    assert_eq!(reply.status, 200);
    reply.body.as_str().unwrap().to_owned()
}

/// Names and types of what is printed, as they are written to be asked for.
fn families(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .map(|(name, kind)| match kind {
            "counter" => (format!("{name}_total"), kind.to_owned()),
            _ => (name.to_owned(), kind.to_owned()),
        })
        .collect()
}

/// Rows of the table in the documentation: name, type, labels, and who serves it.
fn documented() -> Vec<[String; 4]> {
    let doc = include_str!("../../../../docs/operations.md");
    let rows = doc.lines().filter(|line| line.starts_with("| `reprieve_"));
    rows.map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        [cells[0].trim_matches('`'), cells[1], cells[2], cells[4]].map(str::to_owned)
    })
    .collect()
}

/// A cloud in which everything has happened that is told.
async fn busy() -> Cloud {
    let cloud = Cloud::new().await;
    cloud.control.store.hold_notification_reader("rabbitmq", "me").await.unwrap();
    let id = cloud.active_server().await;
    let path = format!("servers/{id}/action");
    cloud.compute("POST", &path, (&cloud.member, "2.96", json!({"suspend": null}))).await;
    cloud.settle(id).await;
    let other = cloud.active_server().await;
    let path = format!("servers/{other}/action");
    cloud.compute("POST", &path, (&cloud.member, "2.96", json!({"pause": null}))).await;
    // Nobody here reads reports from a bus and counts what they end.
    let query = OperationQuery { limit: 1, ..OperationQuery::default() };
    let operation = cloud.control.store.operations(&query).await.unwrap().remove(0);
    cloud.control.metrics.ended(&Ended {
        operation,
        result: OperationResult::Cancelled,
        vm_state: VmState::Active,
        successor: None,
    });
    cloud
}

#[tokio::test]
async fn what_is_printed_is_what_the_documentation_says() {
    let cloud = busy().await;
    let printed = families(&scrape(&cloud).await);
    let documented: BTreeMap<String, String> = documented()
        .into_iter()
        .filter(|[_, _, _, by]| by != "compute")
        .map(|[name, kind, _, _]| (name, kind))
        .collect();
    assert_eq!(printed, documented);
}

#[tokio::test]
async fn only_administrators_get_it_where_tenants_are() {
    let cloud = Cloud::new().await;
    for (token, status) in [("", 401), ("nonsense", 401), (cloud.member.as_str(), 403)] {
        let reply = ask(&cloud, token).await;
        assert_eq!(reply.status, status, "{token}");
        assert!(!reply.body.to_string().contains("reprieve_build_info"));
    }
    let reply = ask(&cloud, &cloud.admin).await;
    assert_eq!(reply.status, 200);
    let kind = reply.headers["content-type"].to_str().unwrap();
    assert!(kind.starts_with("application/openmetrics-text; version=1.0.0"), "{kind}");
    assert!(reply.body.as_str().unwrap().ends_with("# EOF\n"));

    // On a listener of its own it is for whoever reaches that.
    let own = Exporter::of(&cloud.control).router();
    let get = async |path: &str| {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = own.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        (status, to_bytes(response.into_body(), 1 << 20).await.unwrap())
    };
    let (status, body) = get("/metrics").await;
    assert_eq!(status, 200);
    assert!(body.ends_with(b"# EOF\n"));
    assert_eq!(get("/healthz").await.0, 200);
    assert_eq!(get("/compute/v2.1/servers").await.0, 404);
}

#[tokio::test]
async fn it_tells_states_ages_and_latencies_and_nothing_about_tenants() {
    let cloud = busy().await;
    let text = scrape(&cloud).await;
    for expected in [
        r#"reprieve_operations_active{kind="pause",state="dispatched"} 1"#,
        r#"reprieve_operations_ended_total{kind="pause",outcome="cancelled"} 1"#,
        r#"reprieve_host_state{host="vm",state="up"} 1"#,
        r#"reprieve_host_state{host="vm",state="down"} 0"#,
        r#"reprieve_host_enabled{host="vm"} 1"#,
        r#"reprieve_bus_connected{connection="#,
        "reprieve_database_up 1",
        "reprieve_outbox_rows ",
        r#"reprieve_build_info{version=""#,
        r#"method="POST",route="/compute/v2.1/servers/{id}/action",status="202"}"#,
        r#"method="POST",route="/identity/v3/auth/tokens",status="201"}"#,
    ] {
        assert!(text.contains(expected), "{expected} is not in\n{text}");
    }
    for id in [crate::support::PROJECT, crate::support::USER, crate::support::IMAGE] {
        assert!(!text.contains(id), "{id}");
    }
    let known: BTreeSet<String> = documented()
        .into_iter()
        .flat_map(|[_, _, labels, _]| {
            labels.split(',').map(|label| label.trim().to_owned()).collect::<Vec<_>>()
        })
        .chain(["le".to_owned()])
        .collect();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((_, rest)) = line.split_once('{') else { continue };
        let Some((labels, _)) = rest.rsplit_once('}') else { panic!("{line}") };
        for pair in labels.split("\",") {
            let name = pair.split_once('=').unwrap().0;
            assert!(known.contains(name), "{name} in {line}");
        }
    }
}

#[tokio::test]
async fn nothing_that_a_client_sends_becomes_a_label() {
    let cloud = Cloud::new().await;
    let server = "b8e2b8c2-b090-4a6d-b0f5-19d7d885328f";
    let hostile = async |from: u32| {
        for number in from..from + 20 {
            let paths = [
                format!("/nothing-{number}"),
                format!("/nothing-{number}/%22%7d%0areprieve_build_info%201"),
                format!("/compute/v2.1/servers/{number}"),
                format!("/compute/v2.1/{number:x}/servers/{server}/metadata/key-{number}"),
                format!("/identity/v3/users/user-{number}"),
                format!("/image/v2/images/{number}"),
                format!("/reprieve/v1/operations/{number}"),
                format!("/reprieve/v1/other-{number}"),
            ];
            let methods = ["GET".to_owned(), format!("M{number}"), "POST".to_owned()];
            for path in &paths {
                for method in &methods {
                    let ask = Ask { method, path, token: &cloud.member, ..Ask::default() };
                    cloud.ask(&ask).await;
                }
            }
        }
    };
    hostile(0).await;
    let series = async || scrape(&cloud).await.lines().count();
    let before = series().await;
    let again = series().await;
    hostile(1000).await;
    let after = series().await;
    assert!(after <= again.max(before), "{before}, {again}, then {after}");
    let text = scrape(&cloud).await;
    for word in ["nothing-", "user-", "key-", "other-", "M1", server] {
        assert!(!text.contains(word), "{word}");
    }
    assert!(text.contains(r#"method="other""#) && text.contains(r#"route="unmatched""#));
}

#[tokio::test]
async fn the_names_of_hosts_are_escaped() {
    let cloud = Cloud::new().await;
    let name = "evil\"} 1\nreprieve_fake 1\\";
    cloud.add_host(name, host_info(name)).await;
    let text = scrape(&cloud).await;
    assert!(!text.lines().any(|line| line.starts_with("reprieve_fake")), "{text}");
    let escaped = r#"host="evil\"} 1\nreprieve_fake 1\\""#;
    assert!(text.contains(escaped), "{text}");
}
