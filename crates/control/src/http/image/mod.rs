//! The image service: the part of Glance's v2 API that OpenStack's clients need to describe, upload,
//! find and share images.
//!
//! One store (a local directory), data uploaded directly: no import workflow, no locations.

mod absent;
mod data;
mod documents;
mod fault;
mod images;
mod input;
mod list;
mod members;
mod view;

use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, post, put};
use reprieve_core::ImageId;

use crate::Control;
use crate::app::identity::validate;
use crate::auth::AuthContext;
use crate::http::endpoint::base_url;
use crate::http::identity::{X_AUTH_TOKEN, challenge};
use crate::http::notes::Notes;
use crate::http::query::Query;
use crate::http::reply::{json, no_content};
use fault::Fault;
pub use input::is_reserved;

/// Routes below `/image`.
fn router() -> Router<Arc<Control>> {
    Router::new()
        .route("/", get(documents::choices))
        .route("/versions", get(documents::versions))
        .route("/v2", get(documents::choices))
        .route("/v2/", get(documents::choices))
        .route("/v2/schemas/{name}", get(documents::schema))
        .route("/v2/images", get(list::list).post(images::create))
        .route("/v2/images/{image}", get(images::show).patch(images::update).delete(images::delete))
        .route("/v2/images/{image}/file", get(data::download).put(data::upload))
        .route("/v2/images/{image}/actions/deactivate", post(images::deactivate))
        .route("/v2/images/{image}/actions/reactivate", post(images::reactivate))
        .route("/v2/images/{image}/tags/{tag}", put(images::add_tag).delete(images::remove_tag))
        .route("/v2/images/{image}/members", get(members::list).post(members::add))
        .route(
            "/v2/images/{image}/members/{member}",
            get(members::show).put(members::decide).delete(members::remove),
        )
        .merge(absent::routes())
        .fallback(documents::other)
        .method_not_allowed_fallback(documents::wrong_method)
}

/// The service with what every answer carries, or a hint to the Glance that is used instead. To be
/// nested as a service.
pub fn service(control: Arc<Control>) -> Router {
    if let Some(url) = control.images.external_url() {
        let text = format!("The image service of this cloud is at {url}.");
        return Router::new().fallback(async move || Fault::not_found(text));
    }
    let annotations = middleware::from_fn_with_state(Arc::clone(&control), annotate);
    router().with_state(control).layer(annotations)
}

async fn annotate(State(control): State<Arc<Control>>, request: Request, next: Next) -> Response {
    Notes::matched(request.extensions(), "");
    let base = base_url(&control.settings.public_url, request.headers());
    challenge(next.run(request).await, &control, &base)
}

/// An authenticated request.
struct Caller {
    control: Arc<Control>,
    auth: AuthContext,
    base: String,
    query: Query,
}

impl FromRequestParts<Arc<Control>> for Caller {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, control: &Arc<Control>) -> Result<Self, Fault> {
        let token = parts.headers.get(X_AUTH_TOKEN).and_then(|value| value.to_str().ok());
        let auth = validate(control, token.ok_or_else(Fault::unauthenticated)?).await?;
        Notes::of(&parts.extensions).asked_by(&auth);
        Ok(Self {
            control: control.clone(),
            auth,
            base: base_url(&control.settings.public_url, &parts.headers),
            query: Query::parse(parts.uri.query().unwrap_or_default()),
        })
    }
}

/// The id in a URL. Nothing can be found under a text that is no id.
fn image_id(text: &str) -> Result<ImageId, Fault> {
    text.parse().map_err(|_| {
        let text: String = text.chars().take(64).collect();
        Fault::not_found(format!("No image found with ID {text}"))
    })
}
