//! What Keystone has and this service does not, answered so that clients can tell: groups, roles in
//! a domain or the system, further domains. Lists are empty, single things are not found, making
//! them is refused.

use std::sync::Arc;

use axum::Router;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{MethodRouter, get, post, put};
use reprieve_core::{ProjectId, UserId};

use super::Caller;
use super::fault::{Answer, Fault};
use super::projects::check_domain;
use crate::Control;

pub fn routes() -> Router<Arc<Control>> {
    Router::new()
        .route("/groups", get(groups).post(no_groups))
        .route("/groups/{group}", get(no_group).patch(no_group).delete(no_group))
        .route("/groups/{group}/users", get(no_group))
        .route("/groups/{group}/users/{user}", get(no_member).put(no_member).delete(no_member))
        .route("/projects/{project}/groups/{group}/roles", get(no_project_group))
        .route("/projects/{project}/groups/{group}/roles/{role}", not_granted())
        .route("/domains/{domain}/users/{user}/roles", get(domain_roles))
        .route("/domains/{domain}/users/{user}/roles/{role}", not_granted())
        .route("/domains/{domain}/groups/{group}/roles", get(no_domain_group))
        .route("/domains/{domain}/groups/{group}/roles/{role}", not_granted())
        .route("/system/users/{user}/roles", get(system_roles))
        .route("/system/users/{user}/roles/{role}", not_granted_in_system())
        .route("/system/groups/{group}/roles", get(no_group))
        .route("/system/groups/{group}/roles/{role}", not_granted_in_system())
        .route("/OS-EP-FILTER/endpoints/{endpoint}/projects", get(no_projects))
        .route("/OS-EP-FILTER/projects/{project}/endpoints", get(no_endpoints))
        .route("/OS-EP-FILTER/endpoint_groups", post(no_filters).get(endpoint_groups))
}

/// Methods on a grant that nobody can have.
fn not_granted() -> MethodRouter<Arc<Control>> {
    put(no_grants).get(no_grant).delete(no_grant)
}

fn not_granted_in_system() -> MethodRouter<Arc<Control>> {
    put(no_grants).get(no_system_grant).delete(no_system_grant)
}

fn forbidden(text: &str) -> Fault {
    Fault::new(StatusCode::FORBIDDEN, text)
}

async fn groups(caller: Caller) -> Response {
    caller.collection("groups", Vec::new())
}

async fn no_groups(_caller: Caller) -> Fault {
    forbidden("Groups are not offered; give roles to users.")
}

async fn no_group(_caller: Caller, Path(group): Path<String>) -> Fault {
    Fault::not_found("group", &group)
}

async fn no_member(_caller: Caller, Path((group, _)): Path<(String, String)>) -> Fault {
    Fault::not_found("group", &group)
}

async fn no_project_group(
    caller: Caller,
    Path((project, group)): Path<(String, String)>,
) -> Answer {
    caller.manager().project(&ProjectId::from(project)).await?;
    Err(Fault::not_found("group", &group))
}

async fn no_domain_group(_caller: Caller, Path((_, group)): Path<(String, String)>) -> Fault {
    Fault::not_found("group", &group)
}

async fn no_grants(_caller: Caller) -> Fault {
    forbidden("Roles can be given to users in projects only.")
}

async fn no_grant(_caller: Caller, Path((_, _, role)): Path<(String, String, String)>) -> Fault {
    Fault::not_found("role assignment with role", &role)
}

async fn no_system_grant(_caller: Caller, Path((_, role)): Path<(String, String)>) -> Fault {
    Fault::not_found("role assignment with role", &role)
}

async fn domain_roles(caller: Caller, Path((domain, user)): Path<(String, String)>) -> Answer {
    check_domain(&domain)?;
    caller.manager().user(&UserId::from(user.as_str())).await?;
    Ok(caller.collection(&format!("domains/{domain}/users/{user}/roles"), Vec::new()))
}

async fn system_roles(caller: Caller, Path(user): Path<String>) -> Answer {
    caller.manager().user(&UserId::from(user.as_str())).await?;
    Ok(caller.collection(&format!("system/users/{user}/roles"), Vec::new()))
}

/// Every project sees every endpoint, so none is filtered.
async fn no_projects(caller: Caller, Path(endpoint): Path<String>) -> Response {
    caller.collection(&format!("OS-EP-FILTER/endpoints/{endpoint}/projects"), Vec::new())
}

async fn no_endpoints(caller: Caller, Path(project): Path<String>) -> Response {
    caller.collection(&format!("OS-EP-FILTER/projects/{project}/endpoints"), Vec::new())
}

async fn endpoint_groups(caller: Caller) -> Response {
    caller.collection("OS-EP-FILTER/endpoint_groups", Vec::new())
}

async fn no_filters(_caller: Caller) -> Fault {
    forbidden("Endpoints cannot be filtered; every project sees all.")
}
