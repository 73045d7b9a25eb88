//! Roles, and who has which role where.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::routing::{get, put};
use reprieve_core::{ProjectId, UserId};
use reprieve_store::identity::{AssignmentFilter, AssignmentRecord, RoleRecord};
use serde_json::{Value, json};

use super::fault::{Answer, Fault};
use super::input::{self, MAX_NAME};
use super::users::is_true;
use super::{Caller, no_content};
use crate::Control;
use crate::app::identity::{DOMAIN_ID, DOMAIN_NAME, ManageError};
use crate::auth::Role;

pub fn routes() -> Router<Arc<Control>> {
    Router::new()
        .route("/roles", get(list).post(create))
        .route("/roles/{role}", get(show).patch(update).delete(delete))
        .route("/projects/{project}/users/{user}/roles", get(granted))
        .route(
            "/projects/{project}/users/{user}/roles/{role}",
            put(grant).get(is_granted).delete(revoke),
        )
        .route("/role_assignments", get(assignments))
        .route("/role_inferences", get(inferences))
        .route("/roles/{role}/implies", get(implies))
}

async fn list(caller: Caller) -> Answer {
    let roles = caller.manager().roles(caller.query.get("name")).await?;
    // Roles of a domain do not exist; all are global.
    let none = caller.query.get("domain_id").is_some_and(|id| !id.is_empty());
    let shown = roles.iter().filter(|_| !none).map(|role| render(&caller.base, role)).collect();
    Ok(caller.collection("roles", shown))
}

async fn show(caller: Caller, Path(id): Path<String>) -> Answer {
    let role = caller.manager().role(&id).await?;
    Ok(super::json(StatusCode::OK, &json!({"role": render(&caller.base, &role)})))
}

async fn create(caller: Caller, body: Body) -> Answer {
    let mut role = input::object(body, "role").await?;
    let name = role.name(MAX_NAME)?.ok_or_else(|| Fault::expected("name", "role"))?;
    let description = role.nullable_text("description")?.flatten();
    let role = caller.manager().create_role(name, description).await?;
    Ok(super::json(StatusCode::CREATED, &json!({"role": render(&caller.base, &role)})))
}

async fn update(caller: Caller, Path(id): Path<String>, body: Body) -> Answer {
    let mut role = input::object(body, "role").await?;
    let (name, description) = (role.name(MAX_NAME)?, role.nullable_text("description")?);
    let role = caller.manager().update_role(&id, name, description).await?;
    Ok(super::json(StatusCode::OK, &json!({"role": render(&caller.base, &role)})))
}

async fn delete(caller: Caller, Path(id): Path<String>) -> Answer {
    caller.manager().delete_role(&id).await?;
    Ok(no_content())
}

type Grant = Path<(String, String, String)>;

async fn grant(caller: Caller, Path((project, user, role)): Grant) -> Answer {
    caller.manager().assign(&UserId::from(user), &ProjectId::from(project), &role).await?;
    Ok(no_content())
}

async fn is_granted(caller: Caller, Path((project, user, role)): Grant) -> Answer {
    let filter = AssignmentFilter {
        user: Some(user.into()),
        project: Some(project.into()),
        role: Some(role.clone()),
    };
    if caller.manager().assignments(&filter).await?.is_empty() {
        return Err(Fault::not_found("role assignment with role", &role));
    }
    Ok(no_content())
}

async fn revoke(caller: Caller, Path((project, user, role)): Grant) -> Answer {
    caller.manager().unassign(&UserId::from(user), &ProjectId::from(project), &role).await?;
    Ok(no_content())
}

async fn granted(caller: Caller, Path((project, user)): Path<(String, String)>) -> Answer {
    let filter =
        AssignmentFilter { user: Some(user.into()), project: Some(project.into()), role: None };
    let found = caller.manager().assignments(&filter).await?;
    let shown = found
        .into_iter()
        .map(|one| RoleRecord { id: one.role, name: one.role_name, description: None })
        .map(|role| render(&caller.base, &role))
        .collect();
    Ok(caller.collection("roles", shown))
}

async fn assignments(caller: Caller) -> Answer {
    let query = &caller.query;
    let filter = AssignmentFilter {
        user: query.get("user.id").map(UserId::from),
        project: query.get("scope.project.id").map(ProjectId::from),
        role: query.get("role.id").map(str::to_owned),
    };
    let found = caller.manager().assignments(&filter).await?;
    // There are no groups, and no roles in the system or in a domain.
    let none = ["group.id", "scope.system", "scope.domain.id"].iter().any(|name| query.has(name));
    let named = query.get("include_names").is_some_and(is_true);
    let found = if query.get("effective").is_some_and(is_true) {
        // Not through the manager: users may see what follows from their own roles.
        effective(&found, &caller.control.store.roles(None).await.map_err(ManageError::from)?)
    } else {
        found
    };
    let shown = found
        .iter()
        .filter(|_| !none)
        .map(|assignment| render_assignment(&caller.base, assignment, named))
        .collect();
    Ok(caller.collection("role_assignments", shown))
}

/// Assignments with those that follow from them.
fn effective(given: &[AssignmentRecord], roles: &[RoleRecord]) -> Vec<AssignmentRecord> {
    let mut all: Vec<AssignmentRecord> = Vec::new();
    for assignment in given {
        let implied = roles
            .iter()
            .filter(|role| implied_by(&assignment.role_name, &role.name))
            .map(|role| AssignmentRecord {
                role: role.id.clone(),
                role_name: role.name.clone(),
                ..assignment.clone()
            });
        for one in std::iter::once(assignment.clone()).chain(implied) {
            if !all.contains(&one) {
                all.push(one);
            }
        }
    }
    all
}

/// Whether who has role `prior` also has role `name`.
fn implied_by(prior: &str, name: &str) -> bool {
    match (Role::parse(prior), Role::parse(name)) {
        (Some(prior), Some(role)) => prior > role,
        (None, _) | (_, None) => false,
    }
}

/// Which roles follow from which; only that of the default ones.
async fn inferences(caller: Caller) -> Answer {
    let roles = caller.manager().roles(None).await?;
    let shown = roles
        .iter()
        .map(|prior| (prior, followers(&caller.base, prior, &roles)))
        .filter(|(_, implies)| !implies.is_empty())
        .map(|(prior, implies)| {
            json!({
                "prior_role": render(&caller.base, prior), "implies": implies,
            })
        })
        .collect();
    Ok(caller.collection("role_inferences", shown))
}

async fn implies(caller: Caller, Path(id): Path<String>) -> Answer {
    let prior = caller.manager().role(&id).await?;
    let roles = caller.manager().roles(None).await?;
    let shown = json!({"role_inference": {
        "prior_role": render(&caller.base, &prior),
        "implies": followers(&caller.base, &prior, &roles),
    }});
    Ok(super::json(StatusCode::OK, &shown))
}

fn followers(base: &str, prior: &RoleRecord, roles: &[RoleRecord]) -> Vec<Value> {
    let follow = roles.iter().filter(|role| implied_by(&prior.name, &role.name));
    follow.map(|role| render(base, role)).collect()
}

fn render(base: &str, role: &RoleRecord) -> Value {
    json!({
        "id": role.id,
        "name": role.name,
        "domain_id": null,
        "description": role.description,
        "options": {},
        "links": {"self": format!("{base}/identity/v3/roles/{}", role.id)},
    })
}

fn render_assignment(base: &str, one: &AssignmentRecord, named: bool) -> Value {
    let (user, project, role) = (one.user.as_str(), one.project.as_str(), one.role.as_str());
    let link = format!("{base}/identity/v3/projects/{project}/users/{user}/roles/{role}");
    let domain = json!({"id": DOMAIN_ID, "name": DOMAIN_NAME});
    let (role, user, project) = if named {
        (
            json!({"id": role, "name": one.role_name}),
            json!({"id": user, "name": one.user_name, "domain": domain}),
            json!({"id": project, "name": one.project_name, "domain": domain}),
        )
    } else {
        (json!({"id": role}), json!({"id": user}), json!({"id": project}))
    };
    json!({
        "role": role,
        "user": user,
        "scope": {"project": project},
        "links": {"assignment": link},
    })
}
