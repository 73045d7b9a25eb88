//! What every HTTP request gets, whichever service answers it: a request id, one access-log line, a
//! place in the metrics, an audit line if it may change something, an answer even when a handler
//! panics, and an end of its body even when nobody read it.
//!
//! The access line says method, path, status, time and ids. It never says queries, headers or
//! bodies, because tokens, passwords and user data travel there.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt as _;
use reprieve_core::{Clock, InstanceId, RequestId};
use tracing::Instrument as _;
use uuid::Uuid;

use super::audit::{self, Audit};
use super::compute::fault::ApiFault;
use super::notes::{ClientAddress, Notes};
use super::unread;
use crate::Control;
use crate::metrics::Metrics;

/// Request id of any OpenStack service; in a request it is the id that the caller traces by.
pub const X_OPENSTACK_REQUEST_ID: HeaderName = HeaderName::from_static("x-openstack-request-id");
/// The same id under the name that Nova's clients look for.
pub const X_COMPUTE_REQUEST_ID: HeaderName = HeaderName::from_static("x-compute-request-id");

/// Longest part of a path that is logged.
const MAX_LOGGED_PATH: usize = 256;

/// What is before the token of a console in a path.
const SECRET_NAMES: &str = "/os-console-auth-tokens/";

/// Ids of a request, in its extensions.
#[derive(Debug, Clone)]
pub struct RequestIds {
    /// Ours, fresh for each request.
    pub id: RequestId,
    /// The caller's, when it sent a well-formed one; only for logs.
    pub global: Option<RequestId>,
}

impl RequestIds {
    fn of(headers: &HeaderMap) -> Self {
        Self { id: RequestId::random(), global: global_id(headers) }
    }
}

/// `req-<uuid>` as oslo.middleware accepts it; everything else is ignored.
fn global_id(headers: &HeaderMap) -> Option<RequestId> {
    let text = headers.get(X_OPENSTACK_REQUEST_ID)?.to_str().ok()?;
    let uuid = text.strip_prefix("req-")?;
    let hyphenated = uuid.len() == 36;
    (hyphenated && Uuid::try_parse(uuid).is_ok()).then(|| RequestId::from(text))
}

/// Who is told about requests.
#[derive(Clone)]
pub struct Watch {
    metrics: Arc<Metrics>,
    audit: Arc<Audit>,
    clock: Arc<dyn Clock>,
}

impl Default for Watch {
    /// Nobody who keeps it.
    fn default() -> Self {
        let clock = Arc::new(reprieve_core::SystemClock);
        Self { metrics: Arc::default(), audit: Arc::default(), clock }
    }
}

impl Watch {
    /// What the control plane says.
    #[must_use]
    pub fn of(control: &Control) -> Self {
        Self {
            metrics: Arc::clone(&control.metrics),
            audit: Arc::clone(&control.audit),
            clock: Arc::clone(&control.clock),
        }
    }
}

/// What is known of a request before it is answered.
struct Asked {
    begun: Instant,
    ids: RequestIds,
    method: Method,
    /// Cut to a length that is logged.
    path: String,
    client: Option<ClientAddress>,
    notes: Notes,
}

impl Asked {
    fn note(request: &mut Request) -> Self {
        let notes = Notes::default();
        let asked = Self {
            begun: Instant::now(),
            ids: RequestIds::of(request.headers()),
            method: request.method().clone(),
            path: logged(request.uri().path()),
            client: request.extensions().get::<ClientAddress>().copied(),
            notes: notes.clone(),
        };
        request.extensions_mut().insert(asked.ids.clone());
        request.extensions_mut().insert(notes);
        Notes::matched(request.extensions(), "");
        asked
    }
}

/// Middleware around everything: see the module's text.
pub async fn observe(State(watch): State<Watch>, mut request: Request, next: Next) -> Response {
    let asked = Asked::note(&mut request);
    let Asked { ids, method, path, .. } = &asked;
    let (request, body) = unread::watch(request);
    let span = tracing::info_span!(target: "reprieve::api", "request", request_id = %ids.id);
    let answered = AssertUnwindSafe(next.run(request).instrument(span)).catch_unwind().await;
    let mut response = answered.unwrap_or_else(|_| {
        tracing::error!(target: "reprieve::api", request_id = %ids.id, %method, path,
            "the handler panicked");
        ApiFault::internal().into_response()
    });
    if let Ok(id) = HeaderValue::from_str(ids.id.as_str()) {
        response.headers_mut().insert(X_OPENSTACK_REQUEST_ID, id.clone());
        response.headers_mut().insert(X_COMPUTE_REQUEST_ID, id);
    }
    let server = server_in(path).or_else(|| response.extensions().get::<InstanceId>().copied());
    tell(&watch, &asked, server, response.status());
    if let Some(body) = body {
        unread::settle(body, &mut response).await;
    }
    response
}

/// Log, metrics and audit.
fn tell(watch: &Watch, asked: &Asked, server: Option<InstanceId>, status: StatusCode) {
    let Asked { begun, ids, method, path, client, notes } = asked;
    let took = begun.elapsed();
    tracing::info!(
        target: "reprieve::api",
        %method,
        path,
        status = status.as_u16(),
        ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        request_id = %ids.id,
        global_request_id = ids.global.as_ref().map(tracing::field::display),
        server_id = server.map(tracing::field::display),
        "request"
    );
    watch.metrics.answered((method, notes.route().map(str::to_owned)), status, took);
    if !audit::is_change(method) {
        return;
    }
    let line = audit::Line {
        at: watch.clock.now(),
        request_id: &ids.id,
        global_request_id: ids.global.as_ref(),
        client: *client,
        method,
        path,
        notes,
        server,
        status,
    };
    if let Err(error) = watch.audit.write(&line) {
        watch.metrics.audit_failed();
        tracing::error!(target: "reprieve::api", request_id = %ids.id, %error, "no audit line written");
    }
}

/// A path as it may be logged: without what follows the resources whose names are secrets, and not
/// too long.
fn logged(path: &str) -> String {
    let shown = match path.find(SECRET_NAMES) {
        Some(at) => path.get(..at.saturating_add(SECRET_NAMES.len())).unwrap_or_default(),
        None => path,
    };
    let hidden = if shown.len() < path.len() { "***" } else { "" };
    shown.chars().take(MAX_LOGGED_PATH).chain(hidden.chars()).collect()
}

/// The server that a path is about.
fn server_in(path: &str) -> Option<InstanceId> {
    let (_, after) = path.split_once("/servers/")?;
    after.split('/').next()?.parse().ok()
}

/// `/healthz`: the process answers.
pub async fn healthz() -> (StatusCode, &'static str) {
    (StatusCode::OK, "ok\n")
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::{Body, to_bytes};
    use axum::middleware;
    use axum::routing::get;
    use tower::ServiceExt as _;

    use super::*;

    #[test]
    fn tokens_in_paths_are_not_logged() {
        let path = "/compute/v2.1/os-console-auth-tokens/s3cret";
        assert_eq!(logged(path), "/compute/v2.1/os-console-auth-tokens/***");
        assert_eq!(logged("/compute/v2.1/os-console-auth-tokens/"), &path[..path.len() - 6]);
        assert_eq!(logged("/compute/v2.1/servers"), "/compute/v2.1/servers");
        assert_eq!(logged(&"x".repeat(1000)).len(), MAX_LOGGED_PATH);
    }

    #[tokio::test]
    async fn a_panic_is_a_500_without_details() {
        async fn explode() -> &'static str {
            panic!("a secret")
        }
        let watch = Watch {
            metrics: Arc::default(),
            audit: Arc::default(),
            clock: Arc::new(reprieve_core::SystemClock),
        };
        let metrics = Arc::clone(&watch.metrics);
        let observing = middleware::from_fn_with_state(watch, observe);
        let router = Router::new().route("/{what}", get(explode)).layer(observing);
        let request = Request::get("/x").body(Body::empty()).unwrap();
        let response = router.oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let id = response.headers()[X_OPENSTACK_REQUEST_ID].to_str().unwrap().to_owned();
        assert!(global_id(&headers(&id)).is_some(), "{id}");
        let body = to_bytes(response.into_body(), 1000).await.unwrap();
        let body = String::from_utf8(body.to_vec()).unwrap();
        assert!(body.starts_with("{\"computeFault\":{\"code\":500,"), "{body}");
        assert!(!body.contains("secret"));
        let text = metrics.text(&reprieve_bus::InProcessBus::new(), None).await.unwrap();
        assert!(text.contains(r#"{method="GET",route="/{what}",status="500"}"#), "{text}");
    }

    fn headers(id: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(X_OPENSTACK_REQUEST_ID, HeaderValue::from_str(id).unwrap());
        headers
    }

    #[test]
    fn only_well_formed_global_ids_are_taken() {
        let good = "req-5b6c791d-5709-4f36-8fbe-c3e02869e35d";
        assert_eq!(global_id(&headers(good)), Some(RequestId::from(good)));
        for bad in ["5b6c791d-5709-4f36-8fbe-c3e02869e35d", "req-", "req-x", "req-\\n", ""] {
            assert_eq!(global_id(&headers(bad)), None, "{bad}");
        }
    }

    #[test]
    fn servers_are_recognised_in_paths() {
        let id = InstanceId::random();
        assert_eq!(server_in(&format!("/compute/v2.1/servers/{id}/action")), Some(id));
        assert_eq!(server_in(&format!("/v2.1/servers/{id}")), Some(id));
        assert_eq!(server_in("/v2.1/servers/detail"), None);
        assert_eq!(server_in("/"), None);
    }
}
