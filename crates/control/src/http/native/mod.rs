//! Our own API, below `/reprieve/v1`: what Nova's has no place for.
//!
//! The endpoints are one table ([`endpoints`]) from which the router, the
//! check of queries and the OpenAPI document are made, and answers are made from the tables of fields
//! that describe them ([`view`]), so the document cannot say anything else than the code does.
//!
//! Looking needs what looking at instance actions needs
//! (`os_compute_api:os-instance-actions:list`). Administrators (`context_is_admin`) see everything,
//! others what concerns the servers of their project, without the names of hosts and without the
//! causes of faults. Cancelling an operation needs what asking for it needs; hosts need what Nova's
//! services need (`os_compute_api:os-services:list`, `:update`).

mod endpoints;
mod events;
mod fault;
mod feed;
mod hosts;
pub mod openapi;
mod operations;
mod view;

use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use reprieve_core::RequestId;
use reprieve_core::policy::rules;
use serde_json::{Value, json};

use self::endpoints::{ENDPOINTS, Method, Parameter, Place};
use self::fault::{Answer, Fault};
use self::view::Sight;
use super::identity::{X_AUTH_TOKEN, challenge};
use super::notes::Notes;
use super::query::Query;
use super::reply;
use super::request::RequestIds;
use crate::Control;
use crate::app::{self, AppError, identity};
use crate::auth::AuthContext;
use crate::http::endpoint::base_url;

/// Where this API is.
pub const PREFIX: &str = "/reprieve/v1";

/// The API. To be nested as a service at [`PREFIX`].
pub fn service(control: Arc<Control>) -> Router {
    let annotations = middleware::from_fn_with_state(Arc::clone(&control), annotate);
    let routes = ENDPOINTS.iter().fold(Router::new(), |router, endpoint| {
        router.route(endpoint.route(), (endpoint.handler)())
    });
    routes
        .method_not_allowed_fallback(async || {
            Fault::new(StatusCode::METHOD_NOT_ALLOWED, "This cannot be asked with that method.")
        })
        .fallback(async |uri: Uri| {
            let path: String = uri.path().chars().take(128).collect();
            Fault::not_found(format!("There is nothing at {PREFIX}{path}."))
        })
        .with_state(control)
        .layer(annotations)
}

async fn annotate(
    State(control): State<Arc<Control>>,
    request: axum::extract::Request,
    next: Next,
) -> Response {
    Notes::matched(request.extensions(), "");
    let base = base_url(&control.settings.public_url, request.headers());
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("X-Auth-Token"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    challenge(response, &control, &base)
}

/// An authenticated request of somebody who may look.
struct Caller {
    control: Arc<Control>,
    auth: AuthContext,
    token: String,
    base: String,
    query: Query,
    request_id: RequestId,
}

impl Caller {
    /// For the use cases.
    fn app(&self) -> app::Call<'_> {
        app::Call {
            control: &self.control,
            auth: &self.auth,
            request_id: &self.request_id,
            deadline: None,
        }
    }

    /// How much the caller may see.
    fn sight(&self) -> Sight {
        sight(&self.control, &self.auth)
    }

    /// Refuses query parameters that the endpoint does not have.
    fn check_query(&self, known: &[Parameter]) -> Result<(), Fault> {
        let is_known = |name: &str| {
            known.iter().any(|known| known.place == Place::Query && known.name == name)
        };
        match self.query.names().find(|name| !is_known(name)) {
            None => Ok(()),
            Some(name) => {
                let name: String = name.chars().take(64).collect();
                Err(Fault::bad_request(format!("There is no query parameter '{name}' here.")))
            }
        }
    }
}

/// How much somebody may see.
fn sight(control: &Control, auth: &AuthContext) -> Sight {
    let admin = control.settings.policy.is_admin(&auth.credentials());
    if admin { Sight::Admin } else { Sight::Owner }
}

/// Whether somebody may look at all.
fn may_look(control: &Control, auth: &AuthContext) -> bool {
    control.settings.policy.allows_own(rules::ACTIONS_LIST, &auth.credentials())
}

impl FromRequestParts<Arc<Control>> for Caller {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, control: &Arc<Control>) -> Result<Self, Fault> {
        let token = parts.headers.get(X_AUTH_TOKEN).and_then(|value| value.to_str().ok());
        let token = token.ok_or_else(Fault::unauthenticated)?.to_owned();
        let auth = identity::validate(control, &token).await?;
        Notes::of(&parts.extensions).asked_by(&auth);
        if !may_look(control, &auth) {
            return Err(AppError::policy(rules::ACTIONS_LIST.name()).into());
        }
        let ids = parts.extensions.get::<RequestIds>();
        Ok(Self {
            control: Arc::clone(control),
            auth,
            token,
            base: base_url(&control.settings.public_url, &parts.headers) + PREFIX,
            query: Query::parse(parts.uri.query().unwrap_or_default()),
            request_id: ids.map_or_else(RequestId::random, |ids| ids.id.clone()),
        })
    }
}

/// `GET /reprieve/v1`: what there is. Needs no token.
async fn root(State(control): State<Arc<Control>>, headers: HeaderMap) -> Answer {
    let base = base_url(&control.settings.public_url, &headers) + PREFIX;
    let links = links(&base);
    Ok(reply::json(StatusCode::OK, &json!({"name": "reprieve", "version": "v1", "links": links})))
}

fn links(base: &str) -> Vec<Value> {
    let fixed = ENDPOINTS
        .iter()
        .filter(|endpoint| endpoint.method == Method::Get && !endpoint.path.contains('{'));
    let links = fixed.map(|endpoint| {
        let rel = if endpoint.path.is_empty() { "self" } else { endpoint.name };
        json!({"rel": rel, "href": format!("{base}{}", endpoint.path)})
    });
    links.collect()
}
