//! Application credentials. There are no access rules: a credential that asks for some is refused,
//! because leaving them out would let it do more than was meant.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use reprieve_core::{Timestamp, UserId};
use reprieve_store::identity::CredentialRecord;
use serde_json::{Value, json};

use super::fault::{Answer, Fault};
use super::input::{self, MAX_NAME, Object, invalid};
use super::{Caller, no_content};
use crate::Control;
use crate::app::identity::{CredentialRequest, RoleName};

/// Most roles that a request may name.
const MAX_ROLES: usize = 100;

pub fn routes() -> Router<Arc<Control>> {
    Router::new()
        .route("/users/{user}/application_credentials", get(list).post(create))
        .route("/users/{user}/application_credentials/{credential}", get(show).delete(delete))
        .route("/users/{user}/access_rules", get(access_rules))
        .route("/users/{user}/access_rules/{rule}", get(access_rule).delete(access_rule))
}

async fn list(caller: Caller, Path(user): Path<String>) -> Answer {
    let user = UserId::from(user);
    let name = caller.query.get("name");
    let found = caller.manager().application_credentials(&user, name).await?;
    let items = found.iter().map(|credential| render(&caller.base, credential)).collect();
    let path = format!("users/{user}/application_credentials");
    Ok(caller.collection(&path, items))
}

async fn show(caller: Caller, Path((user, id)): Path<(String, String)>) -> Answer {
    let found = caller.manager().application_credential(&UserId::from(user), &id).await?;
    Ok(one(StatusCode::OK, render(&caller.base, &found)))
}

async fn create(caller: Caller, Path(user): Path<String>, body: Body) -> Answer {
    let request = read(input::object(body, "application_credential").await?)?;
    let user = UserId::from(user);
    let (made, secret) = caller.manager().create_application_credential(&user, request).await?;
    let mut shown = render(&caller.base, &made);
    if let Some(members) = shown.as_object_mut() {
        members.insert("secret".to_owned(), secret.reveal().into());
    }
    Ok(one(StatusCode::CREATED, shown))
}

async fn delete(caller: Caller, Path((user, id)): Path<(String, String)>) -> Answer {
    caller.manager().delete_application_credential(&UserId::from(user), &id).await?;
    Ok(no_content())
}

async fn access_rules(caller: Caller, Path(user): Path<String>) -> Answer {
    caller.manager().application_credentials(&UserId::from(user.as_str()), None).await?;
    Ok(caller.collection(&format!("users/{user}/access_rules"), Vec::new()))
}

async fn access_rule(caller: Caller, Path((user, id)): Path<(String, String)>) -> Answer {
    caller.manager().application_credentials(&UserId::from(user), None).await?;
    Err(Fault::not_found("Access Rule", &id))
}

fn read(mut object: Object) -> Result<CredentialRequest, Fault> {
    let name = object.name(MAX_NAME)?;
    match object.take("access_rules") {
        None | Some(Value::Null) => {}
        Some(Value::Array(rules)) if rules.is_empty() => {}
        Some(_) => {
            return Err(Fault::bad_request(
                "Access rules are not offered; create the credential without them.",
            ));
        }
    }
    let expires_at = match object.nullable_text("expires_at")?.flatten() {
        None => None,
        Some(text) => Some(
            Timestamp::parse_iso(&text)
                .ok_or_else(|| invalid("expires_at", "a time such as 2030-01-31T12:00:00Z"))?,
        ),
    };
    Ok(CredentialRequest {
        name: name.ok_or_else(|| Fault::expected("name", "application_credential"))?,
        secret: object.password("secret")?,
        description: object.nullable_text("description")?.flatten(),
        expires_at,
        roles: read_roles(object.take("roles"))?,
        unrestricted: object.nullable_flag("unrestricted")?.unwrap_or(false),
    })
}

fn read_roles(roles: Option<Value>) -> Result<Vec<RoleName>, Fault> {
    let wrong = || invalid("roles", "a list of objects with 'id' or 'name'");
    let roles = match roles {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(roles)) if roles.len() <= MAX_ROLES => roles,
        Some(_) => return Err(wrong()),
    };
    let read = |role: &Value| match (role.get("id"), role.get("name")) {
        (Some(Value::String(id)), _) => Some(RoleName::Id(id.clone())),
        (None, Some(Value::String(name))) => Some(RoleName::Name(name.clone())),
        _ => None,
    };
    roles.iter().map(|role| read(role).ok_or_else(wrong)).collect()
}

fn one(status: StatusCode, shown: Value) -> Response {
    super::json(status, &json!({ "application_credential": shown }))
}

fn render(base: &str, credential: &CredentialRecord) -> Value {
    let roles: Vec<Value> = credential
        .roles
        .iter()
        .map(|(id, name)| json!({"id": id, "name": name, "domain_id": null}))
        .collect();
    let (user, id) = (credential.user.as_str(), &credential.id);
    json!({
        "id": id,
        "name": credential.name,
        "description": credential.description,
        "user_id": user,
        "project_id": credential.project.as_str(),
        "system": null,
        "roles": roles,
        "expires_at": credential.expires_at.map(Timestamp::micros_naive),
        "unrestricted": credential.unrestricted,
        "links": {"self": format!("{base}/identity/v3/users/{user}/application_credentials/{id}")},
    })
}
