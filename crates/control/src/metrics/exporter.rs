//! `/metrics` and who gets it.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use reprieve_core::ports::Bus;
use reprieve_store::Store;

use super::Metrics;
use crate::Control;
use crate::app::identity::{self, AuthError};
use crate::http::identity::{X_AUTH_TOKEN, challenge};
use crate::http::{causes, endpoint, request};

const OPEN_METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// What a listener of its own serves.
#[derive(Clone)]
pub struct Exporter {
    /// What this process counts.
    pub metrics: Arc<Metrics>,
    /// Whose connections are told about.
    pub bus: Arc<dyn Bus>,
    /// What is told about, if this process knows a database.
    pub store: Option<Store>,
}

impl Exporter {
    /// Of the control plane.
    #[must_use]
    pub fn of(control: &Control) -> Self {
        Self {
            metrics: Arc::clone(&control.metrics),
            bus: Arc::clone(&control.bus),
            store: Some(control.store.clone()),
        }
    }

    /// For a listener of its own: no token is asked for, and there is nothing else but `/healthz`.
    pub fn router(self) -> Router {
        Router::new()
            .route("/healthz", get(request::healthz))
            .route("/metrics", get(async |State(exporter): State<Self>| exporter.answer().await))
            .with_state(self)
    }

    async fn answer(&self) -> Response {
        match self.metrics.text(&*self.bus, self.store.as_ref()).await {
            Ok(text) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
            Err(error) => {
                tracing::error!(target: "reprieve::api", %error, "no metrics can be written");
                StatusCode::INTERNAL_SERVER_ERROR.into_response()
            }
        }
    }
}

/// `GET /metrics` on the API's listener: for administrators.
pub(crate) async fn for_admins(
    State(control): State<Arc<Control>>,
    headers: HeaderMap,
) -> Response {
    match check(&control, &headers).await {
        Ok(()) => Exporter::of(&control).answer().await,
        Err(refused) => {
            let base = endpoint::base_url(&control.settings.public_url, &headers);
            challenge(refused.into_response(), &control, &base)
        }
    }
}

/// A refusal: its status and a sentence.
type Refused = (StatusCode, &'static str);

async fn check(control: &Control, headers: &HeaderMap) -> Result<(), Refused> {
    let refused = |status: StatusCode, text: &'static str| Err((status, text));
    let token = headers.get(X_AUTH_TOKEN).and_then(|value| value.to_str().ok());
    let Some(token) = token else {
        let text = "Metrics need an administrator's token here; without one they are served where \
                    metrics_listen says.\n";
        return refused(StatusCode::UNAUTHORIZED, text);
    };
    match identity::validate(control, token).await {
        Ok(auth) if control.settings.policy.is_admin(&auth.credentials()) => Ok(()),
        Ok(_) | Err(AuthError::NotScoped) => {
            refused(StatusCode::FORBIDDEN, "Metrics are for administrators.\n")
        }
        Err(AuthError::Unauthenticated) => {
            refused(StatusCode::UNAUTHORIZED, "The token is not valid.\n")
        }
        Err(error @ (AuthError::Store(_) | AuthError::Unavailable(_))) => {
            tracing::error!(target: "reprieve::api", error = causes(&error), "no token checked");
            refused(StatusCode::SERVICE_UNAVAILABLE, "The token could not be checked. Try again.\n")
        }
    }
}
