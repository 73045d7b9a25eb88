//! Tokens: issue, show, revoke; what the caller's token reaches.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use axum::routing::get;
use serde_json::{Value, json};

use super::fault::{Answer, Fault};
use super::input::{self, Object};
use super::{Caller, X_SUBJECT_TOKEN, no_content, projects, services, token_in};
use crate::Control;
use crate::app::identity::{
    CredentialName, DOMAIN_ID, DOMAIN_NAME, Grant, Method, Named, Scope, TokenRequest, TokenSecret,
    issue,
};
use crate::http::endpoint::base_url;
use crate::http::notes::Notes;

pub fn routes() -> Router<Arc<Control>> {
    Router::new()
        // HEAD is answered by GET without its body.
        .route("/auth/tokens", get(show).post(create).delete(revoke))
        .route("/auth/catalog", get(catalog))
        .route("/auth/projects", get(own_projects))
        .route("/auth/domains", get(own_domains))
        .route("/auth/system", get(own_system))
}

async fn create(
    State(control): State<Arc<Control>>,
    notes: Option<Extension<Notes>>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let request = read_request(input::object(body, "auth").await?)?;
    let token = issue(&control, request).await?;
    if let Some(Extension(notes)) = notes {
        notes.asked_by(&*token.grant);
    }
    let base = base_url(&control.settings.public_url, &headers);
    let shown = render(&token.grant, Some(services::catalog(&control, &base, &token.grant).await?));
    let mut response = super::json(StatusCode::CREATED, &shown);
    let mut secret =
        HeaderValue::from_str(token.secret.reveal()).map_err(|_| Fault::unauthenticated())?;
    secret.set_sensitive(true);
    response.headers_mut().insert(X_SUBJECT_TOKEN, secret);
    Ok(response)
}

async fn show(caller: Caller, headers: HeaderMap) -> Answer {
    let subject = subject(&headers)?;
    let grant = caller.manager().inspect(subject).await?;
    let catalog = if caller.query.has("nocatalog") {
        None
    } else {
        Some(services::catalog(&caller.control, &caller.base, &grant).await?)
    };
    let mut response = super::json(StatusCode::OK, &render(&grant, catalog));
    if let Ok(mut value) = HeaderValue::from_str(subject) {
        value.set_sensitive(true);
        response.headers_mut().insert(X_SUBJECT_TOKEN, value);
    }
    Ok(response)
}

async fn revoke(caller: Caller, headers: HeaderMap) -> Answer {
    caller.manager().revoke(subject(&headers)?).await?;
    Ok(no_content())
}

fn subject(headers: &HeaderMap) -> Result<&str, Fault> {
    token_in(headers, &X_SUBJECT_TOKEN)
        .ok_or_else(|| Fault::expected("X-Subject-Token", "the request headers"))
}

async fn catalog(caller: Caller) -> Answer {
    if caller.grant.project.is_none() {
        return Err(Fault::new(
            StatusCode::FORBIDDEN,
            "You are not authorized to perform the requested action: \
             identity:get_auth_catalog needs a token with a scope.",
        ));
    }
    let entries = services::catalog(&caller.control, &caller.base, &caller.grant).await?;
    let links = json!({
        "self": format!("{}/identity/v3/auth/catalog", caller.base), "previous": null, "next": null,
    });
    Ok(super::json(StatusCode::OK, &json!({"catalog": entries, "links": links})))
}

async fn own_projects(caller: Caller) -> Answer {
    let mut projects = caller.manager().projects_of(&caller.grant.user_id).await?;
    projects.retain(|project| project.enabled);
    let items = projects.iter().map(|project| projects::render(&caller.base, project)).collect();
    Ok(caller.collection("auth/projects", items))
}

/// Nobody has a role in a domain.
async fn own_domains(caller: Caller) -> Response {
    caller.collection("auth/domains", Vec::new())
}

/// Nobody has a role in the system.
async fn own_system(caller: Caller) -> Response {
    caller.collection("auth/system", Vec::new())
}

/// What a token says, with the catalog if it has a scope.
fn render(grant: &Grant, catalog: Option<Vec<Value>>) -> Value {
    let domain = json!({"id": DOMAIN_ID, "name": DOMAIN_NAME});
    let mut token = json!({
        "methods": grant.methods,
        "user": {
            "domain": domain,
            "id": grant.user_id.as_str(),
            "name": grant.user_name,
            "password_expires_at": null,
        },
        "audit_ids": grant.audit_ids,
        "expires_at": grant.expires_at.micros_z(),
        "issued_at": grant.issued_at.micros_z(),
    });
    if let (Some(project), Some(members)) = (&grant.project, token.as_object_mut()) {
        let roles: Vec<Value> =
            project.roles.iter().map(|(id, name)| json!({"id": id, "name": name})).collect();
        let shown = json!({"domain": domain, "id": project.id.as_str(), "name": project.name});
        members.insert("project".to_owned(), shown);
        members.insert("is_domain".to_owned(), false.into());
        members.insert("roles".to_owned(), roles.into());
        if let Some(catalog) = catalog {
            members.insert("catalog".to_owned(), catalog.into());
        }
    }
    if let (Some(credential), Some(members)) = (&grant.credential, token.as_object_mut()) {
        let shown = json!({
            "id": credential.id, "name": credential.name, "restricted": !credential.unrestricted,
        });
        members.insert("application_credential".to_owned(), shown);
    }
    json!({ "token": token })
}

fn read_request(mut auth: Object) -> Result<TokenRequest, Fault> {
    let mut identity = auth.required_object("identity")?;
    let methods = match identity.take("methods") {
        Some(Value::Array(methods)) => methods,
        _ => return Err(Fault::expected("methods", "identity")),
    };
    let method = match methods.as_slice() {
        [Value::String(method)] if method == "password" => read_password(&mut identity)?,
        [Value::String(method)] if method == "token" => {
            let text = identity.required_object("token")?.required_text("id")?;
            Method::Token(TokenSecret::from(text))
        }
        [Value::String(method)] if method == "application_credential" => {
            if auth.has("scope") {
                return Err(Fault::new(
                    StatusCode::UNAUTHORIZED,
                    "Error authenticating with application credential: \
                     Application credentials cannot request a scope.",
                ));
            }
            read_credential(&mut identity)?
        }
        [] => return Err(Fault::expected("methods", "identity")),
        // Several factors or a method that is not offered.
        _ => return Err(Fault::unauthenticated()),
    };
    Ok(TokenRequest { method, scope: read_scope(&mut auth)? })
}

fn read_password(identity: &mut Object) -> Result<Method, Fault> {
    let mut user = identity.required_object("password")?.required_object("user")?;
    let password = user.password("password")?.ok_or_else(|| Fault::expected("password", "user"))?;
    let user = read_named(&mut user)?;
    Ok(Method::Password { user, password })
}

fn read_credential(identity: &mut Object) -> Result<Method, Fault> {
    let mut given = identity.required_object("application_credential")?;
    let secret = given.password("secret")?;
    let secret = secret.ok_or_else(|| Fault::expected("secret", "application_credential"))?;
    let credential = match given.text("id")? {
        Some(id) => CredentialName::Id(id),
        None => CredentialName::Name {
            name: given.required_text("name")?,
            user: read_named(&mut given.required_object("user")?)?,
        },
    };
    Ok(Method::ApplicationCredential { credential, secret })
}

fn read_scope(auth: &mut Object) -> Result<Scope, Fault> {
    match auth.take("scope") {
        None => return Ok(Scope::Default),
        Some(Value::String(text)) if text == "unscoped" => return Ok(Scope::Unscoped),
        Some(Value::Object(members)) => auth.put("scope", members),
        Some(_) => return Err(Fault::expected("project", "scope")),
    }
    let mut scope = auth.required_object("scope")?;
    if scope.has("unscoped") {
        return Ok(Scope::Unscoped);
    }
    match scope.object("project")? {
        Some(mut project) => Ok(Scope::Project(read_named(&mut project)?)),
        // Scopes that exist in Keystone, but in which nobody has a role here.
        None if scope.has("domain") || scope.has("system") || scope.has("OS-TRUST:trust") => {
            Err(Fault::unauthenticated())
        }
        None => Err(Fault::expected("project", "scope")),
    }
}

/// `{"id": …}` or `{"name": …, "domain": …}`. What is in another domain does not exist.
fn read_named(object: &mut Object) -> Result<Named, Fault> {
    if let Some(id) = object.text("id")? {
        return Ok(Named::Id(id));
    }
    let name = object.required_text("name")?;
    if !object.has("domain") {
        return Err(Fault::expected("domain", "the user or project that is given by name"));
    }
    if object.in_default_domain()? { Ok(Named::Name(name)) } else { Ok(Named::Id(String::new())) }
}
