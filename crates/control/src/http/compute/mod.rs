//! Nova's compute API, v2.1.
//!
//! ```text
//! path → version document | 401 | 404 | route
//! route → microversion → content type → body → project in the URL → handler
//! handler → schema (400) → server (404) → policy (403) → use case (409 …) → view
//! ```
//!
//! The order is Nova's (spec/states.md section 2), so a client sees the same error when a request
//! is wrong in several ways.

mod call;
mod extensions;
mod external_events;
pub mod fault;
mod flavor_extras;
mod flavors;
mod groups;
mod hosts;
mod image_proxy;
mod keypairs;
mod limits;
mod links;
mod microversion;
mod migrations;
mod paging;
mod policy;
mod quotas;
mod routes;
mod schema;
mod servers;
mod usage;
mod versioned;
mod versions;

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use reprieve_core::RequestId;
use serde_json::json;
use tower::{Service, ServiceExt as _, service_fn};

use call::Entrance;
use fault::{ApiFault, json_answer, unrouted};
use links::Links;
use servers::view::Renderings;
use versions::Generation;

use super::endpoint::base_url;
use super::notes::Notes;
use super::reply::causes;
use super::request::RequestIds;
use super::{body, endpoint};
use crate::Control;
use crate::app::identity::{self, AuthError, TokenSecret};
use crate::auth::AuthContext;

/// Prefix under which the service catalog names this service.
pub const PREFIX: &str = "/compute";

/// Answers everything below [`PREFIX`] and below the root.
pub fn service(
    control: Arc<Control>,
) -> impl Service<Request, Response = Response, Error = Infallible, Future: Send> + Clone + Send + Sync
{
    let resources = routes::resources(Arc::clone(&control));
    let inside = Inside { resources, renderings: Arc::default() };
    service_fn(move |request| {
        let (control, inside) = (Arc::clone(&control), inside.clone());
        async move { Ok(serve(&control, inside, request).await) }
    })
}

/// Where requests with a good token go.
#[derive(Clone)]
struct Inside {
    resources: Router,
    renderings: Arc<Renderings>,
}

/// What a path leads to.
#[derive(Debug, PartialEq, Eq)]
enum Place<'a> {
    /// `/`.
    Versions,
    /// `/v2.1/`.
    Version(Generation),
    /// `/v2.1/[project/]…`; the rest begins with a slash.
    Resource(Generation, Option<&'a str>, &'a str),
    /// Anything else.
    Elsewhere(&'a str),
}

impl<'a> Place<'a> {
    fn of(path: &'a str) -> Self {
        let path = path.trim_start_matches('/');
        let (first, rest) = path.split_once('/').unwrap_or((path, ""));
        let generation = match first {
            "" if rest.is_empty() => return Self::Versions,
            "v2" => Generation::V20,
            "v2.1" => Generation::V21,
            _ => return Self::Elsewhere(path),
        };
        let rest = if is_usage_of_nobody(rest) { rest } else { rest.trim_end_matches('/') };
        if rest.is_empty() {
            return Self::Version(generation);
        }
        let (segment, after) = rest.split_once('/').unwrap_or((rest, ""));
        if is_project(segment) {
            Self::Resource(generation, Some(segment), after)
        } else {
            Self::Resource(generation, None, rest)
        }
    }
}

/// The usage of a project without a name is not that of all projects: Nova has no route for it.
fn is_usage_of_nobody(path: &str) -> bool {
    let Some(rest) = path.strip_suffix('/') else { return false };
    rest == usage::PATH || rest.split_once('/').is_some_and(|(_, rest)| rest == usage::PATH)
}

/// Lower-case hexadecimal digits and hyphens; no resource is called like that.
fn is_project(segment: &str) -> bool {
    !segment.is_empty()
        && segment.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-'))
}

async fn serve(control: &Control, inside: Inside, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let (prefix, path) = match path.strip_prefix(PREFIX) {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => (PREFIX, rest),
        _ => ("", path.as_str()),
    };
    let reached = base_url(&control.settings.public_url, request.headers());
    let settings = &control.settings.api;
    let base = settings.compute_link_prefix.as_ref().unwrap_or(&reached).clone() + prefix;
    match Place::of(path) {
        Place::Versions => versions::list(&base),
        Place::Version(generation) => versions::show(&base, generation, request.headers()),
        Place::Elsewhere(path) => versions::choices(&base, path),
        Place::Resource(generation, project, rest) => {
            let images = settings.glance_link_prefix.as_ref().unwrap_or(&reached).clone() + prefix;
            let project = project.map(str::to_owned);
            let links = Links { base, images, reached, generation, project };
            enter(control, inside, request, (links, rest)).await
        }
    }
}

/// Checks size and token, then lets the routes decide.
async fn enter(
    control: &Control,
    Inside { resources, renderings }: Inside,
    mut request: Request,
    (links, path): (Links, &str),
) -> Response {
    if body::announces_more_than(request.headers(), body::COMPUTE_LIMIT) {
        return ApiFault::from(body::BodyError::TooLarge).into_response();
    }
    let (auth, token) = match authenticate(control, request.headers()).await {
        Ok(known) => known,
        Err(response) => return response,
    };
    Notes::of(request.extensions()).asked_by(&auth);
    let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    let Ok(uri) = Uri::try_from(format!("/{path}{query}")) else { return unrouted() };
    if percent_encoding::percent_decode_str(uri.path()).decode_utf8().is_err() {
        return unrouted();
    }
    *request.uri_mut() = uri;
    let request_id = request
        .extensions()
        .get::<RequestIds>()
        .map_or_else(RequestId::random, |ids| ids.id.clone());
    request.extensions_mut().insert(Entrance { links, auth, token, request_id, renderings });
    match resources.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// Who asks, and with which token; otherwise the answer that Keystone's middleware gives.
async fn authenticate(
    control: &Control,
    headers: &HeaderMap,
) -> Result<(AuthContext, TokenSecret), Response> {
    let token = headers.get("x-auth-token").and_then(|value| value.to_str().ok());
    let Some(token) = token else { return Err(unauthorized(control, headers)) };
    match identity::validate(control, token).await {
        Ok(auth) => Ok((auth, TokenSecret::from(token.to_owned()))),
        Err(AuthError::Unauthenticated) => Err(unauthorized(control, headers)),
        Err(error @ AuthError::NotScoped) => {
            Err(ApiFault::forbidden(error.to_string()).into_response())
        }
        Err(error @ (AuthError::Store(_) | AuthError::Unavailable(_))) => {
            let error = causes(&error);
            tracing::error!(target: "reprieve::api", error, "a token could not be checked");
            let text = "The token could not be checked. Try again.";
            let fault = ApiFault::new(StatusCode::SERVICE_UNAVAILABLE, text);
            let soon = HeaderValue::from_static("1");
            Err(fault.with_header(header::RETRY_AFTER, soon).into_response())
        }
    }
}

fn unauthorized(control: &Control, headers: &HeaderMap) -> Response {
    let body = json!({"error": {
        "code": 401,
        "title": "Unauthorized",
        "message": "The request you have made requires authentication.",
    }});
    let mut response = json_answer(StatusCode::UNAUTHORIZED, &body);
    let keystone = match control.identity.external_url() {
        Some(url) => url.to_owned(),
        None => endpoint::base_url(&control.settings.public_url, headers) + "/identity/v3",
    };
    if let Ok(challenge) = HeaderValue::from_str(&format!("Keystone uri=\"{keystone}\"")) {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        use Generation::{V20, V21};
        for (path, place) in [
            ("", Place::Versions),
            ("/", Place::Versions),
            ("/v2.1", Place::Version(V21)),
            ("/v2.1/", Place::Version(V21)),
            ("/v2/", Place::Version(V20)),
            ("/v3/", Place::Elsewhere("v3/")),
            ("/nonsense", Place::Elsewhere("nonsense")),
            ("/v2.1/servers", Place::Resource(V21, None, "servers")),
            ("/v2.1/servers/", Place::Resource(V21, None, "servers")),
            ("/v2/ab-12/servers/1", Place::Resource(V20, Some("ab-12"), "servers/1")),
            ("/v2.1/AB12/servers", Place::Resource(V21, None, "AB12/servers")),
            ("/v2.1/flavors", Place::Resource(V21, None, "flavors")),
            (
                "/v2.1/os-simple-tenant-usage/",
                Place::Resource(V21, None, "os-simple-tenant-usage/"),
            ),
            (
                "/v2.1/ab12/os-simple-tenant-usage/",
                Place::Resource(V21, Some("ab12"), "os-simple-tenant-usage/"),
            ),
            (
                "/v2.1/os-simple-tenant-usage/ab/",
                Place::Resource(V21, None, "os-simple-tenant-usage/ab"),
            ),
            ("/v2.1/abc", Place::Resource(V21, Some("abc"), "")),
            ("/v2.1//servers", Place::Resource(V21, None, "/servers")),
        ] {
            assert_eq!(Place::of(path), place, "{path}");
        }
    }
}
