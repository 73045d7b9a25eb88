//! Operations, the root and the document.

use jsonschema::Validator;
use reprieve_control::http::native::openapi;
use reprieve_core::OperationId;
use serde_json::{Value, json};

use crate::support::{Ask, Cloud, Reply};

async fn get(cloud: &Cloud, token: &str, path: &str) -> Reply {
    let path = format!("/reprieve/v1{path}");
    cloud.ask(&Ask { method: "GET", path: &path, token, ..Ask::default() }).await
}

/// A validator of one schema of the document.
fn schema(name: &str) -> Validator {
    let schema = json!({
        "$ref": format!("#/components/schemas/{name}"),
        "components": {"schemas": openapi::schemas()},
    });
    jsonschema::validator_for(&schema).unwrap()
}

fn assert_is(name: &str, body: &Value) {
    let errors: Vec<String> =
        schema(name).iter_errors(body).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{name}: {errors:?} in {body}");
}

fn actions(body: &Value) -> Vec<&str> {
    body["operations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["action"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn operations_show_who_what_and_how_far() {
    let cloud = Cloud::new().await;
    let id = cloud.active_server().await;
    let path = format!("servers/{id}/action");
    let body = json!({"pause": null});
    let asked = cloud.compute("POST", &path, (&cloud.member, "2.96", body)).await;
    let request_id = asked.headers["x-openstack-request-id"].to_str().unwrap().to_owned();

    let list = get(&cloud, &cloud.member, "/operations").await;
    assert_eq!(list.status, 200);
    assert_is("OperationList", &list.body);
    assert_eq!(actions(&list.body), ["pause", "create"]);
    let pause = &list.body["operations"][0];
    assert_eq!(pause["request_id"], request_id);
    assert_eq!(pause["server_id"], id.to_string());
    assert_eq!((&pause["progress"], &pause["finished_at"]), (&json!(0), &Value::Null));
    assert!(pause["deadline_at"].is_string());
    assert_eq!(pause["host"], Value::Null, "hosts are not for members");

    cloud.settle(id).await;
    let path = format!("/operations/{}", pause["id"].as_str().unwrap());
    let shown = get(&cloud, &cloud.admin, &path).await;
    assert_is("OperationDetail", &shown.body);
    let shown = &shown.body["operation"];
    assert_eq!((&shown["state"], &shown["progress"]), (&json!("succeeded"), &json!(100)));
    assert_eq!(shown["host"], "vm");
    assert!(shown["steps"].is_array());
}

/// Asks for something of a server and for a deadline.
async fn within(cloud: &Cloud, path: &str, deadline: &str, body: &Value) -> Reply {
    let path = format!("/compute/v2.1/{path}");
    let headers = vec![("x-reprieve-deadline", deadline), ("content-type", "application/json")];
    let body = Some(body.to_string().into_bytes());
    cloud.ask(&Ask { method: "POST", path: &path, token: &cloud.member, headers, body }).await
}

#[tokio::test]
async fn what_waits_says_for_what_and_ends_at_the_deadline_that_was_asked_for() {
    let cloud = Cloud::new().await;
    let id = cloud.active_server().await;
    let path = format!("servers/{id}/action");
    for bad in ["0", "-1", "1.5", "soon", "86401", "", "99999999999999999999"] {
        let refused = within(&cloud, &path, bad, &json!({"pause": null})).await;
        assert_eq!(refused.status, 400, "{bad}");
        assert!(refused.body.to_string().contains("from 1 to 86400"), "{bad}: {}", refused.body);
    }
    let new = json!({"server": {"name": "n", "imageRef": "i", "flavorRef": "f"}});
    let refused = within(&cloud, "servers", "60", &new).await;
    assert_eq!(refused.status, 400, "{}", refused.body);

    let delete = json!({"forceDelete": null});
    let refused = within(&cloud, &path, "60", &delete).await;
    assert_eq!(refused.status, 400, "{}", refused.body);

    assert_eq!(within(&cloud, &path, " 60 ", &json!({"pause": null})).await.status, 202);
    let list = get(&cloud, &cloud.member, "/operations?state=dispatched").await;
    assert_is("OperationList", &list.body);
    let pause = &list.body["operations"][0];
    assert_eq!(pause["waiting"], "waiting for host");
    let record = cloud.under_way(id).await.unwrap();
    let asked = record.created_at.until(record.deadline_at.unwrap());
    assert_eq!(asked.as_secs(), 60);
    let server = format!("servers/{id}");
    let delete = cloud.compute("DELETE", &server, (&cloud.member, "2.1", json!(null)));
    assert_eq!(delete.await.status, 204);
    let list = get(&cloud, &cloud.member, "/operations?action=delete").await;
    assert_eq!(list.body["operations"][0]["waiting"], "waiting for operation");
    assert_eq!(list.body["operations"][0]["waits_for"], pause["id"]);
    let list = get(&cloud, &cloud.member, "/operations?action=create").await;
    assert_eq!(list.body["operations"][0]["waiting"], Value::Null, "it is over");
}

#[tokio::test]
async fn steps_and_errors_are_told_to_whom_they_concern() {
    use reprieve_core::message::{OperationResult, Report, ReportBody, StepEvent};
    use reprieve_core::{Fault, PowerReason, PowerState, Step};
    let cloud = Cloud::new().await;
    let id = cloud.active_server().await;
    let path = format!("servers/{id}/action");
    let body = json!({"pause": null});
    cloud.compute("POST", &path, (&cloud.member, "2.96", body)).await;
    let operation_id = cloud.under_way(id).await.unwrap().id;
    let report = |sequence, body| Report {
        host: "vm".into(),
        epoch: 1,
        sequence,
        at: cloud.control.clock.now(),
        body,
    };
    let step = ReportBody::Step {
        operation_id,
        index: 0,
        step: Step::SuspendCpus,
        event: StepEvent::Failed,
        detail: "virDomainSuspend".into(),
    };
    let finished = ReportBody::Finished {
        operation_id,
        instance_id: id,
        result: OperationResult::Failed {
            fault: Fault::new(500, "The guest did not stop", "on /dev/sda"),
            needs_attention: true,
        },
        seen: reprieve_core::conclude::Observation {
            power: PowerState::Running,
            reason: PowerReason::Unknown,
            rescue_stashed: false,
            saved: reprieve_core::conclude::SavedMemory::None,
        },
        done: Vec::new(),
    };
    let reports = [report(1000, step), report(1001, finished)];
    cloud.control.store.apply(&reports).await.unwrap();

    let path = format!("/operations/{operation_id}");
    for (token, detail, details) in [
        (&cloud.member, Value::Null, Value::Null),
        (&cloud.admin, json!("virDomainSuspend"), json!("on /dev/sda")),
    ] {
        let shown = get(&cloud, token, &path).await.body;
        assert_is("OperationDetail", &shown);
        let shown = &shown["operation"];
        assert_eq!(shown["needs_attention"], true);
        assert_eq!(shown["error"]["message"], "The guest did not stop");
        assert_eq!(shown["error"]["details"], details);
        let step = &shown["steps"][0];
        assert_eq!((&step["step"], &step["event"]), (&json!("suspend_cpus"), &json!("failed")));
        assert_eq!(step["detail"], detail);
    }
}

#[tokio::test]
async fn pages_filters_and_bad_values() {
    let cloud = Cloud::new().await;
    let id = cloud.active_server().await;
    let other = cloud.active_server().await;
    for action in ["lock", "unlock"] {
        let path = format!("servers/{id}/action");
        cloud.compute("POST", &path, (&cloud.member, "2.96", json!({ action: null }))).await;
    }
    let of_server = format!("/operations?server_id={id}&limit=2");
    let first = get(&cloud, &cloud.member, &of_server).await.body;
    assert_eq!(actions(&first), ["unlock", "lock"]);
    let next = first["next"].as_str().unwrap();
    let next = next.strip_prefix("http://127.0.0.1:8774/reprieve/v1").unwrap();
    let second = get(&cloud, &cloud.member, next).await.body;
    assert_eq!(actions(&second), ["create"]);
    assert_eq!(second["next"], Value::Null);
    let query = format!("/operations?server_id={other}&state=succeeded&state=failed&action=create");
    assert_eq!(actions(&get(&cloud, &cloud.member, &query).await.body), ["create"]);
    // Others than administrators cannot look elsewhere.
    let query = "/operations?project_id=elsewhere";
    assert_eq!(actions(&get(&cloud, &cloud.member, query).await.body).len(), 4);
    assert_eq!(actions(&get(&cloud, &cloud.admin, query).await.body).len(), 0);
    assert_eq!(actions(&get(&cloud, &cloud.admin, "/operations").await.body).len(), 4);

    for bad in ["server_id=x", "state=odd", "limit=0", "limit=1001", "limit=x", "marker=1", "x=1"] {
        let reply = get(&cloud, &cloud.member, &format!("/operations?{bad}")).await;
        assert_eq!(reply.status, 400, "{bad}");
        assert_is("Error", &reply.body);
    }
}

#[tokio::test]
async fn what_is_not_there_or_not_allowed() {
    let cloud = Cloud::new().await;
    let unknown = OperationId::random();
    for (path, status) in [
        (format!("/operations/{unknown}"), 404),
        ("/operations/x".to_owned(), 404),
        ("/nothing".to_owned(), 404),
        ("/operations?x=%ff".to_owned(), 400),
    ] {
        let reply = get(&cloud, &cloud.member, &path).await;
        assert_eq!(reply.status, status, "{path}");
        assert_is("Error", &reply.body);
    }
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        let ask =
            Ask { method, path: "/reprieve/v1/operations", token: &cloud.member, ..Ask::default() };
        let reply = cloud.ask(&ask).await;
        assert_eq!(reply.status, 405, "{method}");
        assert_is("Error", &reply.body);
    }
    let anonymous = get(&cloud, "", "/operations").await;
    assert_eq!(anonymous.status, 401);
    assert!(anonymous.headers.contains_key("www-authenticate"));
    assert_eq!(get(&cloud, "nonsense", "/operations").await.status, 401);
}

#[tokio::test]
async fn the_root_and_the_document_need_no_token() {
    let cloud = Cloud::new().await;
    for path in ["", "/"] {
        let root = get(&cloud, "", path).await;
        assert_eq!(root.status, 200, "{path}");
        assert_is("Root", &root.body);
        for link in root.body["links"].as_array().unwrap() {
            let href = link["href"].as_str().unwrap();
            let path = href.strip_prefix("http://127.0.0.1:8774/reprieve/v1").unwrap();
            let status = get(&cloud, "", path).await.status;
            assert!(matches!(status, 200 | 401), "{href}: {status}");
        }
    }
    let document = get(&cloud, "", "/openapi.json").await;
    assert_eq!(document.body, openapi::document());
}
