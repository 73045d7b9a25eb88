//! Cancelling operations.

use reprieve_core::message::{OperationResult, Report, ReportBody, StepEvent};
use reprieve_core::{InstanceId, Lock, OperationId, Step};
use reprieve_store::NewAction;
use serde_json::{Value, json};

use crate::support::{Ask, Cloud, Reply};

async fn cancel(cloud: &Cloud, token: &str, id: &str) -> Reply {
    let path = format!("/reprieve/v1/operations/{id}/cancel");
    cloud.ask(&Ask { method: "POST", path: &path, token, ..Ask::default() }).await
}

/// Asks for an operation; its id.
async fn begin(cloud: &Cloud, id: InstanceId, action: &str) -> OperationId {
    let path = format!("servers/{id}/action");
    let asked = cloud.compute("POST", &path, (&cloud.member, "2.96", json!({action: null}))).await;
    assert_eq!(asked.status, 202, "{}", asked.body);
    cloud.under_way(id).await.unwrap().id
}

async fn report(cloud: &Cloud, sequence: i64, body: ReportBody) {
    let at = cloud.control.clock.now();
    let report = Report { host: "vm".into(), epoch: 1, sequence, at, body };
    cloud.control.store.apply(&[report]).await.unwrap();
}

fn message(reply: &Reply) -> &str {
    reply.body["error"]["message"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn a_suspend_is_stopped_by_its_host() {
    let cloud = Cloud::new().await;
    let id = cloud.active_server().await;
    let suspend = begin(&cloud, id, "suspend").await;
    let asked = cancel(&cloud, &cloud.member, &suspend.to_string()).await;
    assert_eq!(asked.status, 200, "{}", asked.body);
    assert_eq!(asked.body["operation"]["state"], "cancelling");
    // Asking again is no mistake.
    let again = cancel(&cloud, &cloud.member, &suspend.to_string()).await;
    assert_eq!((again.status, &again.body["operation"]["state"]), (200, &json!("cancelling")));

    let stopped = ReportBody::Finished {
        operation_id: suspend,
        instance_id: id,
        result: OperationResult::Cancelled,
        seen: reprieve_core::conclude::Observation {
            power: reprieve_core::PowerState::Running,
            ..reprieve_core::conclude::Observation::NOTHING
        },
        done: Vec::new(),
    };
    report(&cloud, 1000, stopped).await;
    let (_, server) = cloud.get(&format!("servers/{id}"), "2.96").await;
    assert_eq!(server["server"]["status"], "ACTIVE");
    assert_eq!(server["server"]["OS-EXT-STS:task_state"], Value::Null);
    let late = cancel(&cloud, &cloud.member, &suspend.to_string()).await;
    assert_eq!(late.status, 409);
    assert!(
        message(&late).ends_with("cannot be cancelled: it has ended already."),
        "{}",
        late.body
    );
}

#[tokio::test]
async fn refusals_say_what_to_do_instead() {
    let cloud = Cloud::new().await;
    let id = cloud.active_server().await;
    let suspend = begin(&cloud, id, "suspend").await;
    let committing = ReportBody::Step {
        operation_id: suspend,
        index: 2,
        step: Step::CommitSave,
        event: StepEvent::Started,
        detail: String::new(),
    };
    report(&cloud, 1000, committing).await;
    let late = cancel(&cloud, &cloud.member, &suspend.to_string()).await;
    assert_eq!(late.status, 409);
    assert!(message(&late).contains("resume the server when this has ended"), "{}", late.body);
    cloud.settle_with(id, 2000).await;

    let resume = begin(&cloud, id, "resume").await;
    cloud.control.store.set_lock(id, Lock::Admin, None, &by()).await.unwrap();
    let locked = cancel(&cloud, &cloud.member, &resume.to_string()).await;
    assert_eq!((locked.status, message(&locked)), (409, &*format!("Instance {id} is locked")));
    assert_eq!(cancel(&cloud, &cloud.admin, &resume.to_string()).await.status, 200);
}

fn by() -> NewAction {
    NewAction {
        request_id: reprieve_core::RequestId::random(),
        user_id: "admin".into(),
        project_id: "admin".into(),
    }
}

#[tokio::test]
async fn who_may_not_know_of_it_or_not_ask_for_it_cannot_cancel_it() {
    let rule = "os_compute_api:os-suspend-server:suspend";
    let cloud = Cloud::with_policy(&[(rule, "role:admin")]).await;
    let id = cloud.active_server().await;
    let path = format!("servers/{id}/action");
    let body = json!({"suspend": null});
    cloud.compute("POST", &path, (&cloud.admin, "2.96", body)).await;
    let suspend = cloud.under_way(id).await.unwrap().id.to_string();
    let refused = cancel(&cloud, &cloud.member, &suspend).await;
    assert_eq!(refused.status, 403, "{}", refused.body);
    assert!(message(&refused).contains(rule), "{}", refused.body);
    for id in [OperationId::random().to_string(), "x".to_owned(), "%00".to_owned()] {
        assert_eq!(cancel(&cloud, &cloud.member, &id).await.status, 404, "{id}");
    }
    assert_eq!(cancel(&cloud, "", &suspend).await.status, 401);
    assert_eq!(cancel(&cloud, &cloud.admin, &suspend).await.status, 200);
}
