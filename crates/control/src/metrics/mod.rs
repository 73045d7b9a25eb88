//! Numbers about this process for whoever watches it, in the text format of OpenMetrics, which
//! Prometheus reads.
//!
//! Labels are names that this program chose (routes, kinds, steps, states), but for the names of
//! hosts and of readers of notifications. Nothing that a client sends becomes a label: an unknown
//! method is `other`, a path that no route matched is `unmatched`. So the number of series is bounded
//! whatever clients do. No id and no name of a server, user or project is in here.
//!
//! Who may read it: on a listener of its own (`metrics_listen`) everybody who reaches that, as an
//! operator chose the address for it. On the API's listener, which tenants reach, only an
//! administrator (`context_is_admin`): names of hosts are the operator's, how busy others are is no
//! tenant's business, and each look asks the database.
//!
//! The database is asked once at a time, at most once a second, for at most [`DEADLINE`]. When it
//! does not answer, what is in it is left out and `reprieve_database_up` is 0.

mod exporter;
mod snapshot;

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{Method, StatusCode};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use reprieve_core::message::OperationResult;
use reprieve_core::ports::Bus;
use reprieve_store::{Ended, Store};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::http::causes;

pub use exporter::Exporter;
pub(crate) use exporter::for_admins;

/// How long the database may take.
pub const DEADLINE: Duration = Duration::from_secs(2);
/// For how long what the database said is said again.
const FRESH: Duration = Duration::from_secs(1);
/// Upper bounds of the time that requests take, in seconds.
const REQUEST_BOUNDS: [f64; 10] = [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    route: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndedLabels {
    kind: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BuildLabels {
    version: &'static str,
    role: &'static str,
}

/// What this process counts, and what it read last from the database.
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Histogram, fn() -> Histogram>,
    ended: Family<EndedLabels, Counter>,
    audit_failures: Counter,
    /// When the database was read, and what it said.
    last: Mutex<Option<(Instant, String)>>,
    asking: Semaphore,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new("all-in-one", |_| {})
    }
}

impl Metrics {
    /// Of a process of this role. `others` adds what other parts of it count.
    #[must_use]
    pub fn new(role: &'static str, others: impl FnOnce(&mut Registry)) -> Self {
        let mut registry = Registry::default();
        let build: Family<BuildLabels, Gauge> = Family::default();
        build.get_or_create(&BuildLabels { version: env!("CARGO_PKG_VERSION"), role }).set(1);
        registry.register("reprieve_build_info", "Version and role of this process", build);
        let requests: Family<RequestLabels, Histogram, fn() -> Histogram> =
            Family::new_with_constructor(|| Histogram::new(REQUEST_BOUNDS));
        registry.register(
            "reprieve_http_request_duration_seconds",
            "Time until the head of an answer, by route and status",
            requests.clone(),
        );
        let ended: Family<EndedLabels, Counter> = Family::default();
        registry.register(
            "reprieve_operations_ended",
            "Operations whose end this process recorded, by kind and outcome",
            ended.clone(),
        );
        let audit_failures = Counter::default();
        registry.register(
            "reprieve_audit_failures",
            "Requests whose audit line could not be written",
            audit_failures.clone(),
        );
        others(&mut registry);
        let (last, asking) = (Mutex::default(), Semaphore::new(1));
        Self { registry, requests, ended, audit_failures, last, asking }
    }

    /// A request was answered. `route`: as the router has it, never as the client wrote it.
    pub(crate) fn answered(
        &self,
        (method, route): (&Method, Option<String>),
        status: StatusCode,
        took: Duration,
    ) {
        let route = route.unwrap_or_else(|| "unmatched".to_owned());
        let labels = RequestLabels { method: word(method), route, status: status.as_u16() };
        self.requests.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// An operation has ended: to be called once by whoever recorded that.
    pub fn ended(&self, ended: &Ended) {
        let Some(kind) = ended.operation.kind else { return };
        let outcome = match &ended.result {
            OperationResult::Succeeded => "succeeded",
            OperationResult::Failed { needs_attention: true, .. } => "needs_attention",
            OperationResult::Failed { needs_attention: false, .. } => "failed",
            OperationResult::Cancelled => "cancelled",
        };
        self.ended.get_or_create(&EndedLabels { kind: kind.as_str(), outcome }).inc();
    }

    /// An audit line could not be written.
    pub(crate) fn audit_failed(&self) {
        self.audit_failures.inc();
    }

    /// Everything as text. Without a store, as a compute host has none, nothing of the database.
    ///
    /// # Errors
    /// None but those of writing to a text, which does not fail.
    pub async fn text(
        &self,
        bus: &dyn Bus,
        store: Option<&Store>,
    ) -> Result<String, std::fmt::Error> {
        let mut text = String::with_capacity(4096);
        encode_registry(&mut text, &self.registry)?;
        snapshot::bus(&bus.connections(), &mut text)?;
        if let Some(store) = store {
            let read = self.database(store).await;
            snapshot::database_up(read.is_some(), &mut text)?;
            text.push_str(&read.unwrap_or_default());
        }
        encode_eof(&mut text)?;
        Ok(text)
    }

    /// What the database says, or said a moment ago; `None` when it does not say it in time.
    async fn database(&self, store: &Store) -> Option<String> {
        let asked = async {
            // Never closed.
            let _turn = self.asking.acquire().await.ok()?;
            if let Some(fresh) = self.fresh() {
                return Some(fresh);
            }
            let vitals = store.vitals().await;
            let vitals = vitals.inspect_err(|error| {
                let error = causes(error);
                tracing::warn!(target: "reprieve::api", error, "the database tells no metrics");
            });
            let text = snapshot::text(&vitals.ok()?).ok()?;
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) =
                Some((Instant::now(), text.clone()));
            Some(text)
        };
        timeout(DEADLINE, asked).await.unwrap_or_else(|_| {
            let seconds = DEADLINE.as_secs();
            tracing::warn!(target: "reprieve::api", seconds, "the database tells no metrics in time");
            None
        })
    }

    fn fresh(&self) -> Option<String> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref().filter(|(at, _)| at.elapsed() < FRESH).map(|(_, text)| text.clone())
    }
}

/// Methods that anything here knows; a client may invent others.
fn word(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
