//! Users.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use reprieve_core::{ProjectId, UserId};
use reprieve_store::identity::UserRecord;
use serde_json::{Value, json};

use super::fault::{Answer, Fault};
use super::input::{self, MAX_NAME, Object};
use super::{Caller, no_content, projects};
use crate::Control;
use crate::app::identity::{DOMAIN_ID, UserChange};

pub fn routes() -> Router<Arc<Control>> {
    Router::new()
        .route("/users", get(list).post(create))
        .route("/users/{user}", get(show).patch(update).delete(delete))
        .route("/users/{user}/password", post(change_password))
        .route("/users/{user}/projects", get(projects_of))
        .route("/users/{user}/groups", get(groups_of))
}

async fn list(caller: Caller) -> Answer {
    let users = caller.manager().users(caller.query.get("name")).await?;
    let enabled = caller.query.get("enabled").map(is_true);
    let items = users
        .iter()
        .filter(|user| enabled.is_none_or(|wanted| user.enabled == wanted))
        .filter(|_| in_domain(&caller))
        .map(|user| render(&caller.base, user))
        .collect();
    Ok(caller.collection("users", items))
}

async fn show(caller: Caller, Path(user): Path<String>) -> Answer {
    let user = caller.manager().user(&UserId::from(user)).await?;
    Ok(one(StatusCode::OK, &caller, &user))
}

async fn create(caller: Caller, body: Body) -> Answer {
    let mut user = input::object(body, "user").await?;
    user.check_domain_id()?;
    let name = user.name(MAX_NAME)?.ok_or_else(|| Fault::expected("name", "user"))?;
    let user = caller.manager().create_user(name, read_change(&mut user)?).await?;
    Ok(one(StatusCode::CREATED, &caller, &user))
}

async fn update(caller: Caller, Path(id): Path<String>, body: Body) -> Answer {
    let mut user = input::object(body, "user").await?;
    user.check_domain_id()?;
    let name = user.name(MAX_NAME)?;
    let change = UserChange { name, ..read_change(&mut user)? };
    let user = caller.manager().update_user(&UserId::from(id), change).await?;
    Ok(one(StatusCode::OK, &caller, &user))
}

async fn delete(caller: Caller, Path(id): Path<String>) -> Answer {
    caller.manager().delete_user(&UserId::from(id)).await?;
    Ok(no_content())
}

async fn change_password(caller: Caller, Path(id): Path<String>, body: Body) -> Answer {
    let mut user = input::object(body, "user").await?;
    let original = user.password("original_password")?;
    let original = original.ok_or_else(|| Fault::expected("original_password", "user"))?;
    let new = user.password("password")?.ok_or_else(|| Fault::expected("password", "user"))?;
    caller.manager().change_password(&UserId::from(id), original, new).await?;
    Ok(no_content())
}

async fn projects_of(caller: Caller, Path(id): Path<String>) -> Answer {
    let projects = caller.manager().projects_of(&UserId::from(id)).await?;
    let items = projects.iter().map(|project| projects::render(&caller.base, project)).collect();
    Ok(caller.collection("projects", items))
}

/// There are no groups.
async fn groups_of(caller: Caller, Path(id): Path<String>) -> Answer {
    caller.manager().user(&UserId::from(id)).await?;
    Ok(caller.collection("groups", Vec::new()))
}

fn read_change(user: &mut Object) -> Result<UserChange, Fault> {
    Ok(UserChange {
        name: None,
        password: user.password("password")?,
        enabled: user.flag("enabled")?,
        default_project: user
            .nullable_text("default_project_id")?
            .map(|id| id.filter(|id| !id.is_empty()).map(ProjectId::from)),
        description: user.nullable_text("description")?,
        email: user.nullable_text("email")?,
    })
}

fn one(status: StatusCode, caller: &Caller, user: &UserRecord) -> Response {
    super::json(status, &json!({"user": render(&caller.base, user)}))
}

fn render(base: &str, user: &UserRecord) -> Value {
    let id = user.id.as_str();
    let mut shown = json!({
        "id": id,
        "name": user.name,
        "domain_id": DOMAIN_ID,
        "enabled": user.enabled,
        "default_project_id": user.default_project.as_ref().map(ProjectId::as_str),
        "description": user.description,
        "password_expires_at": null,
        "options": {},
        "links": {"self": format!("{base}/identity/v3/users/{id}")},
    });
    if let (Some(email), Some(members)) = (&user.email, shown.as_object_mut()) {
        members.insert("email".to_owned(), email.as_str().into());
    }
    shown
}

/// Whether a list that is limited to a domain is limited to the only one.
pub fn in_domain(caller: &Caller) -> bool {
    caller.query.get("domain_id").is_none_or(|id| id == DOMAIN_ID)
}

/// A truth value in a query: everything but the texts for no.
pub fn is_true(text: &str) -> bool {
    !matches!(text.to_ascii_lowercase().as_str(), "false" | "0" | "no" | "off")
}
