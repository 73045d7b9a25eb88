//! The HTTP services on one port.
//!
//! ```text
//! /healthz /readyz                     health
//! /metrics                             numbers, for administrators
//! /identity/…                          Keystone's API, a subset
//! /image/…                             Glance's API, a subset
//! /reprieve/v1/…                       our own API: operations, events
//! /reprieve/hosts/…                    for compute hosts: data of images
//! /compute/…  and everything else      Nova's API
//! ```
//!
//! Compute answers at the root, too, because Nova stands there in many installations and because
//! unknown paths get its version document. Links in answers use the Host header and the prefix that
//! the client used.

pub mod audit;
pub mod body;
pub mod compute;
pub mod endpoint;
pub mod hosts;
pub mod identity;
pub mod image;
pub mod native;
pub mod notes;
pub mod query;
mod reply;
pub(crate) use reply::causes;
pub mod request;
mod unread;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::middleware;
use axum::routing::get;
use reprieve_store::FlavorQuery;

use crate::{Control, metrics};

/// What an operator decides about answers of the compute API (Nova's `[api]`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiSettings {
    /// Most items of a page (`max_limit`).
    pub max_limit: u32,
    /// What links of the compute API begin with instead of where the client reached it
    /// (`compute_link_prefix`), without trailing slash.
    pub compute_link_prefix: Option<String>,
    /// The same for links of images (`glance_link_prefix`).
    pub glance_link_prefix: Option<String>,
}

impl Default for ApiSettings {
    /// As Nova's.
    fn default() -> Self {
        Self { max_limit: 1000, compute_link_prefix: None, glance_link_prefix: None }
    }
}

/// All services.
pub fn router(control: Arc<Control>) -> Router {
    let compute = compute::service(Arc::clone(&control));
    let watch = request::Watch::of(&control);
    Router::new()
        .route("/healthz", get(request::healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics::for_admins))
        .route(hosts::IMAGE, get(hosts::image))
        .nest_service("/identity", identity::service(Arc::clone(&control)))
        .nest_service("/image", image::service(Arc::clone(&control)))
        .nest_service(native::PREFIX, native::service(Arc::clone(&control)))
        .with_state(control)
        .fallback_service(compute)
        .layer(middleware::from_fn_with_state(watch, request::observe))
}

/// `/readyz`: the database answers, so requests can be served.
async fn readyz(State(control): State<Arc<Control>>) -> (StatusCode, &'static str) {
    let query = FlavorQuery { limit: Some(1), ..FlavorQuery::default() };
    match control.store.flavors(&query).await {
        Ok(_) => (StatusCode::OK, "ready\n"),
        Err(error) => {
            tracing::warn!(target: "reprieve::api", %error, "not ready: the database fails");
            (StatusCode::SERVICE_UNAVAILABLE, "the database fails\n")
        }
    }
}
