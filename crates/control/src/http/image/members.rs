//! Sharing images.

use axum::body::Body;
use axum::extract::Path;
use axum::http::StatusCode;
use reprieve_core::ProjectId;
use serde_json::{Value, json};

use super::fault::{Answer, Fault};
use super::{Caller, image_id, input, no_content, view};
use crate::app::images::{MAX_NAME, MemberStatus, members};

pub async fn list(caller: Caller, Path(id): Path<String>) -> Answer {
    let members = members::list(&caller.control, &caller.auth, image_id(&id)?).await?;
    let shown: Vec<Value> = members.iter().map(view::member).collect();
    Ok(super::json(StatusCode::OK, &json!({"members": shown, "schema": "/v2/schemas/members"})))
}

pub async fn show(caller: Caller, Path((id, member)): Path<(String, String)>) -> Answer {
    let project = ProjectId::from(member);
    let member = members::show(&caller.control, &caller.auth, image_id(&id)?, &project).await?;
    Ok(super::json(StatusCode::OK, &view::member(&member)))
}

pub async fn add(caller: Caller, Path(id): Path<String>, body: Body) -> Answer {
    let body = input::json(body).await?;
    let member = body.get("member").and_then(Value::as_str);
    let member = member.filter(|member| !member.is_empty());
    let member = member.ok_or_else(|| Fault::bad_request("The body needs the text 'member'."))?;
    let project = ProjectId::from(input::text("member", member, MAX_NAME)?);
    let member = members::add(&caller.control, &caller.auth, image_id(&id)?, project).await?;
    Ok(super::json(StatusCode::OK, &view::member(&member)))
}

pub async fn decide(
    caller: Caller,
    Path((id, member)): Path<(String, String)>,
    body: Body,
) -> Answer {
    let body = input::json(body).await?;
    let status = body.get("status").and_then(Value::as_str).and_then(MemberStatus::parse);
    let status = status.ok_or_else(|| {
        Fault::bad_request("The status must be one of pending, accepted, rejected.")
    })?;
    let decision = (ProjectId::from(member), status);
    let id = image_id(&id)?;
    let member = members::decide(&caller.control, &caller.auth, id, decision).await?;
    Ok(super::json(StatusCode::OK, &view::member(&member)))
}

pub async fn remove(caller: Caller, Path((id, member)): Path<(String, String)>) -> Answer {
    let project = ProjectId::from(member);
    members::remove(&caller.control, &caller.auth, image_id(&id)?, &project).await?;
    Ok(no_content())
}
