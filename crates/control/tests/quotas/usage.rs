//! `/os-simple-tenant-usage`.

use serde_json::{Value, json};

use crate::support::{Cloud, PROJECT};
use crate::{admin, fault, member};

const FOREVER: &str = "start=2020-01-01T00:00:00&end=2100-01-01T00:00:00";

fn path(query: &str) -> String {
    format!("os-simple-tenant-usage/{PROJECT}?{query}")
}

#[tokio::test]
async fn a_project_sees_what_it_used() {
    let cloud = Cloud::new().await;
    let id = cloud.active_server().await;
    let (status, body) = cloud.get(&path(FOREVER), "2.93").await;
    assert_eq!(status, 200);
    let usage = &body["tenant_usage"];
    assert_eq!(usage["start"], "2020-01-01T00:00:00.000000");
    assert_eq!(usage["server_usages"].as_array().unwrap().len(), 1);
    let server = &usage["server_usages"][0];
    let hours = server["hours"].as_f64().unwrap();
    assert!((0.0..0.1).contains(&hours), "{hours}");
    let started = server["started_at"].as_str().unwrap();
    for (name, factor) in [
        ("total_hours", 1.0),
        ("total_vcpus_usage", 1.0),
        ("total_local_gb_usage", 1.0),
        ("total_memory_mb_usage", 256.0),
    ] {
        let total = usage[name].as_f64().unwrap();
        assert!((total - factor * hours).abs() < 1e-9, "{name} {total}");
    }

    let server = format!("servers/{id}");
    member(&cloud, "DELETE", &server, ("2.93", Value::Null)).await;
    cloud.settle(id).await;
    let (_, body) = cloud.get(&path(FOREVER), "2.1").await;
    let ended = &body["tenant_usage"]["server_usages"][0];
    assert_eq!(ended["state"], "terminated");
    assert!(ended["ended_at"].as_str().unwrap() >= started);
}

#[tokio::test]
async fn periods() {
    let cloud = Cloud::new().await;
    // Nothing was used by nobody.
    assert_eq!(cloud.get(&path(""), "2.93").await, (200, json!({"tenant_usage": {}})));
    cloud.active_server().await;
    // By default the period is now.
    let (_, body) = cloud.get(&path(""), "2.93").await;
    assert_eq!(body["tenant_usage"]["server_usages"].as_array().unwrap().len(), 1);
    let past = "start=2020-01-01T00:00:00&end=2021-01-01 00:00:00.0".replace(' ', "%20");
    assert_eq!(cloud.get(&path(&past), "2.93").await.1, json!({"tenant_usage": {}}));
    for (query, text) in [
        (
            "start=2021-01-01T00:00:00&end=2020-01-01T00:00:00",
            "Invalid start time. The start time cannot occur after the end time.",
        ),
        ("start=yesterday", "Invalid datetime string: Datetime is in invalid format"),
        ("end=2020-01-01T00:00:00Z", "Invalid datetime string: Datetime is in invalid format"),
        ("marker=x", "marker [x] not found"),
    ] {
        let refused = member(&cloud, "GET", &path(query), ("2.40", Value::Null)).await;
        assert_eq!(fault(&refused, "badRequest", 400), text);
    }
    assert_eq!(cloud.get(&path("x=1"), "2.74").await.0, 200);
    assert_eq!(cloud.get(&path("x=1"), "2.75").await.0, 400);
}

#[tokio::test]
async fn administrators_see_all_projects_page_by_page() {
    let cloud = Cloud::new().await;
    let mut ids =
        [cloud.active_server().await, cloud.active_server().await].map(|id| id.to_string());
    ids.sort();
    let get = async |query: &str, version: &str| {
        let path = format!("os-simple-tenant-usage?{FOREVER}&{query}");
        admin(&cloud, "GET", &path, (version, Value::Null)).await.body
    };
    let body = get("", "2.39").await;
    let usage = &body["tenant_usages"][0];
    assert_eq!((&usage["tenant_id"], usage.get("server_usages")), (&json!(PROJECT), None));
    assert_eq!(body.get("tenant_usages_links"), None);
    let body = get("detailed=1&limit=1", "2.40").await;
    assert_eq!(body["tenant_usages"][0]["server_usages"][0]["instance_id"], ids[0]);
    let next = body["tenant_usages_links"][0].clone();
    assert_eq!(next["rel"], "next");
    let href = next["href"].as_str().unwrap();
    let rest = href.strip_prefix("http://127.0.0.1:8774/compute/v2.1/").unwrap();
    assert!(rest.contains(&format!("marker={}", ids[0])), "{rest}");
    let body = admin(&cloud, "GET", rest, ("2.40", Value::Null)).await.body;
    assert_eq!(body["tenant_usages"][0]["server_usages"][0]["instance_id"], ids[1]);
    let beyond = get(&format!("marker={}", ids[1]), "2.40").await;
    assert_eq!(beyond, json!({"tenant_usages": []}));
    let (_, own) = cloud.get(&path(&format!("{FOREVER}&limit=2")), "2.40").await;
    assert_eq!(own["tenant_usage_links"][0]["rel"], "next");
    // A project without a name has none.
    for path in ["os-simple-tenant-usage/".to_owned(), format!("os-simple-tenant-usage/?{FOREVER}")]
    {
        assert_eq!(admin(&cloud, "GET", &path, ("2.1", Value::Null)).await.status, 404, "{path}");
    }
    for (path, rule) in [("os-simple-tenant-usage", "list"), ("os-simple-tenant-usage/x", "show")] {
        let refused = member(&cloud, "GET", path, ("2.93", Value::Null)).await;
        let rule = format!("os_compute_api:os-simple-tenant-usage:{rule}");
        let text = format!("Policy doesn't allow {rule} to be performed.");
        assert_eq!(fault(&refused, "forbidden", 403), text);
    }
}
