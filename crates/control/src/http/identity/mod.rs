//! The identity service: the part of Keystone's v3 API that OpenStack's clients, dashboards and
//! infrastructure tools need.
//!
//! One domain, `default`. Tokens are scoped to a project or unscoped; domain and system scope are
//! refused. The daemon's own services, endpoints and region are fixed; others can be registered.

mod absent;
mod credentials;
mod documents;
mod endpoints;
mod fault;
mod input;
mod projects;
mod roles;
mod services;
mod tokens;
mod users;

use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::get;
use serde_json::{Value, json};

use crate::Control;
use crate::app::identity::{Grant, Manager, grant_of};
use crate::http::endpoint::base_url;
use crate::http::notes::Notes;
use crate::http::query::Query;
use crate::http::reply::{json, no_content};
use fault::Fault;

/// The caller's token.
pub const X_AUTH_TOKEN: HeaderName = HeaderName::from_static("x-auth-token");
const X_SUBJECT_TOKEN: HeaderName = HeaderName::from_static("x-subject-token");

/// Routes below `/identity`.
fn router() -> Router<Arc<Control>> {
    let v3 = Router::new()
        .route("/", get(documents::v3))
        .merge(tokens::routes())
        .merge(users::routes())
        .merge(projects::routes())
        .merge(roles::routes())
        .merge(services::routes())
        .merge(endpoints::routes())
        .merge(credentials::routes())
        .merge(absent::routes());
    Router::new()
        .route("/", get(documents::root))
        .route("/v3/", get(documents::v3))
        .nest("/v3", v3)
        .fallback(documents::other)
        .method_not_allowed_fallback(documents::wrong_method)
}

/// Adds to every answer what caches and clients need: answers differ by token and are not stored.
async fn annotate(State(control): State<Arc<Control>>, request: Request, next: Next) -> Response {
    Notes::matched(request.extensions(), "");
    let base = base_url(&control.settings.public_url, request.headers());
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("X-Auth-Token"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    challenge(response, &control, &base)
}

/// Lets a 401 say where tokens come from. `base` is the base of all URLs.
#[must_use]
pub fn challenge(mut response: Response, control: &Control, base: &str) -> Response {
    if response.status() == StatusCode::UNAUTHORIZED {
        let value = match control.identity.external_url() {
            Some(url) => format!("Keystone uri=\"{url}\""),
            None => format!("Keystone uri=\"{base}/identity\""),
        };
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, value);
        }
    }
    response
}

/// The service with its annotations, or a hint to the Keystone that is used instead. To be nested
/// as a service.
pub fn service(control: Arc<Control>) -> Router {
    if let Some(url) = control.identity.external_url() {
        let text = format!("The identity service of this cloud is at {url}.");
        return Router::new().fallback(async move || Fault::new(StatusCode::NOT_FOUND, text));
    }
    let annotations = middleware::from_fn_with_state(Arc::clone(&control), annotate);
    router().with_state(control).layer(annotations)
}

/// An authenticated request.
struct Caller {
    control: Arc<Control>,
    grant: Arc<Grant>,
    base: String,
    query: Query,
}

impl Caller {
    fn manager(&self) -> Manager<'_> {
        Manager { control: &self.control, grant: &self.grant }
    }

    /// `self`, `previous`, `next` of a collection. Collections are small and never paged.
    fn collection(&self, name: &str, items: Vec<Value>) -> Response {
        let links = json!({
            "self": format!("{}/identity/v3/{name}", self.base), "previous": null, "next": null,
        });
        let key = name.rsplit('/').next().unwrap_or(name);
        json(StatusCode::OK, &json!({ key: items, "links": links }))
    }
}

impl FromRequestParts<Arc<Control>> for Caller {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, control: &Arc<Control>) -> Result<Self, Fault> {
        let token = token_in(&parts.headers, &X_AUTH_TOKEN).ok_or_else(Fault::unauthenticated)?;
        let grant = grant_of(control, token).await?;
        Notes::of(&parts.extensions).asked_by(&*grant);
        Ok(Self {
            control: control.clone(),
            grant,
            base: base_url(&control.settings.public_url, &parts.headers),
            query: Query::parse(parts.uri.query().unwrap_or_default()),
        })
    }
}

fn token_in<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}
