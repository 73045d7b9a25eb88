//! Projects, and the only domain.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use reprieve_core::ProjectId;
use reprieve_store::identity::ProjectRecord;
use serde_json::{Value, json};

use super::fault::{Answer, Fault};
use super::input::{self, MAX_PROJECT_NAME, Object};
use super::users::{in_domain, is_true};
use super::{Caller, no_content};
use crate::Control;
use crate::app::identity::{DOMAIN_ID, DOMAIN_NAME, ProjectChange};

pub fn routes() -> Router<Arc<Control>> {
    Router::new()
        .route("/projects", get(list).post(create))
        .route("/projects/{project}", get(show).patch(update).delete(delete))
        .route("/domains", get(domains).post(only_one))
        .route("/domains/{domain}", get(domain).patch(only_one).delete(only_one))
}

async fn list(caller: Caller) -> Answer {
    let projects = caller.manager().projects(caller.query.get("name")).await?;
    let enabled = caller.query.get("enabled").map(is_true);
    // Only domains are domains, and every project stands directly below the only one.
    let none = caller.query.get("is_domain").is_some_and(is_true)
        || caller.query.get("parent_id").is_some_and(|id| id != DOMAIN_ID)
        || !in_domain(&caller);
    let items = projects
        .iter()
        .filter(|project| !none && enabled.is_none_or(|wanted| project.enabled == wanted))
        .map(|project| render(&caller.base, project))
        .collect();
    Ok(caller.collection("projects", items))
}

async fn show(caller: Caller, Path(id): Path<String>) -> Answer {
    let project = caller.manager().project(&ProjectId::from(id)).await?;
    Ok(one(StatusCode::OK, &caller, &project))
}

async fn create(caller: Caller, body: Body) -> Answer {
    let mut project = input::object(body, "project").await?;
    project.check_domain_id()?;
    if project.flag("is_domain")? == Some(true) {
        return Err(Fault::bad_request("Domains cannot be created; there is only 'default'."));
    }
    let name = project.name(MAX_PROJECT_NAME)?;
    let name = name.ok_or_else(|| Fault::expected("name", "project"))?;
    let project = caller.manager().create_project(name, read_change(&mut project)?).await?;
    Ok(one(StatusCode::CREATED, &caller, &project))
}

async fn update(caller: Caller, Path(id): Path<String>, body: Body) -> Answer {
    let mut project = input::object(body, "project").await?;
    project.check_domain_id()?;
    let name = project.name(MAX_PROJECT_NAME)?;
    let change = ProjectChange { name, ..read_change(&mut project)? };
    let project = caller.manager().update_project(&ProjectId::from(id), change).await?;
    Ok(one(StatusCode::OK, &caller, &project))
}

async fn delete(caller: Caller, Path(id): Path<String>) -> Answer {
    caller.manager().delete_project(&ProjectId::from(id)).await?;
    Ok(no_content())
}

async fn domains(caller: Caller) -> Answer {
    let wanted = caller.query.get("name").is_none_or(|name| name == DOMAIN_NAME);
    let items = wanted.then(|| render_domain(&caller.base)).into_iter().collect();
    Ok(caller.collection("domains", items))
}

async fn domain(caller: Caller, Path(id): Path<String>) -> Answer {
    check_domain(&id)?;
    Ok(super::json(StatusCode::OK, &json!({"domain": render_domain(&caller.base)})))
}

async fn only_one(_caller: Caller) -> Fault {
    Fault::new(
        StatusCode::FORBIDDEN,
        "There is only the domain 'default', and it cannot be changed.",
    )
}

/// Whether it is the only domain.
pub fn check_domain(id: &str) -> Result<(), Fault> {
    if id == DOMAIN_ID { Ok(()) } else { Err(Fault::not_found("domain", id)) }
}

fn read_change(project: &mut Object) -> Result<ProjectChange, Fault> {
    Ok(ProjectChange {
        name: None,
        enabled: project.flag("enabled")?,
        description: project.nullable_text("description")?.map(Option::unwrap_or_default),
    })
}

fn one(status: StatusCode, caller: &Caller, project: &ProjectRecord) -> Response {
    super::json(status, &json!({"project": render(&caller.base, project)}))
}

/// A project as JSON.
pub fn render(base: &str, project: &ProjectRecord) -> Value {
    let id = project.id.as_str();
    json!({
        "id": id,
        "name": project.name,
        "domain_id": DOMAIN_ID,
        "description": project.description,
        "enabled": project.enabled,
        "parent_id": DOMAIN_ID,
        "is_domain": false,
        "tags": [],
        "options": {},
        "links": {"self": format!("{base}/identity/v3/projects/{id}")},
    })
}

fn render_domain(base: &str) -> Value {
    json!({
        "id": DOMAIN_ID,
        "name": DOMAIN_NAME,
        "description": "The only domain",
        "enabled": true,
        "tags": [],
        "options": {},
        "links": {"self": format!("{base}/identity/v3/domains/{DOMAIN_ID}")},
    })
}
