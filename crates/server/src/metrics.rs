//! Metrics of this process, on a listener of their own where the operator asked for one.

use std::net::SocketAddr;

use anyhow::Context as _;
use prometheus_client::registry::Registry;
use reprieve_control::metrics::{Exporter, Metrics};
use tokio::net::TcpListener;

use crate::config::{Config, Role};
use crate::http;
use crate::parts::{Parts, Setup};

/// What this process counts. `others` adds what its other parts count.
#[must_use]
pub fn of(setup: &Setup, others: impl FnOnce(&mut Registry)) -> Metrics {
    Metrics::new(setup.role.name(), others)
}

/// A listener that was taken, if one was asked for.
pub struct Listening(Option<TcpListener>);

impl Listening {
    /// Takes the address, before anything else is done.
    ///
    /// # Errors
    /// When somebody else has it.
    pub async fn new(setup: &Setup) -> anyhow::Result<Self> {
        let Some(address) = address(&setup.loaded.config, setup.role) else {
            return Ok(Self(None));
        };
        let listener = TcpListener::bind(address).await.with_context(|| {
            format!("{address} cannot be listened on for metrics; choose another metrics_listen")
        })?;
        Ok(Self(Some(listener)))
    }

    /// Serves metrics on it, beside the other parts.
    pub fn serve(self, parts: &mut Parts, exporter: Exporter) {
        let Some(listener) = self.0 else { return };
        if let Ok(address) = listener.local_addr() {
            tracing::info!(%address, "metrics are served");
        }
        parts.add(http::serve(listener, exporter.router(), parts.stop()));
    }
}

/// Where a role serves metrics.
const fn address(config: &Config, role: Role) -> Option<SocketAddr> {
    match role {
        Role::AllInOne | Role::Api => config.api.metrics_listen,
        Role::Conductor => config.conductor.metrics_listen,
        Role::Compute => config.compute.metrics_listen,
    }
}
