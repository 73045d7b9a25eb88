//! The control plane: use cases (`app`), HTTP services (`http`) and background work (`work`).
//!
//! It owns intent: what should happen to which server. It never touches a hypervisor; it talks to
//! compute hosts over the bus only, and every decision about a server's state is made by
//! `reprieve-core` and stored in one transaction.
//!
//! ```text
//! http (parse, validate, version) -> app (authorise, admit, one transaction) -> store
//!                                                      work::dispatch -> bus -> compute
//!                                          store <- work::reports <- bus <-
//!                                          store -> work::notify  -> streams, brokers
//! ```
//!
//! `external` is the way to a Keystone and a Glance that are there already, `metrics` what watchers
//! are told.

pub mod app;
pub mod auth;
pub mod external;
pub mod http;
pub mod metrics;
pub mod work;

use std::path::PathBuf;
use std::sync::Arc;

use reprieve_core::policy::Policy;
use reprieve_core::ports::Bus;
use reprieve_core::{Clock, HostName, SealingKey};
use reprieve_store::Store;
use tokio::sync::Notify;

/// Settings of the control plane that do not change while it runs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Base of the URLs in the service catalog and of Location headers when a request has no Host
    /// header, without trailing slash: `http://127.0.0.1:8774`.
    pub public_url: String,
    /// Region in the catalog.
    pub region: String,
    /// Directory of the image data.
    pub image_dir: PathBuf,
    /// Name of the host that this runs on.
    pub host: HostName,
    /// Default availability zone.
    pub availability_zone: String,
    /// Largest image that an upload may have, in bytes.
    pub max_image_bytes: u64,
    /// Who may do what in the compute API.
    pub policy: Policy,
    /// Remote consoles.
    pub consoles: app::servers::ConsoleSettings,
    /// What answers of the compute API look like.
    pub api: http::ApiSettings,
}

/// Everything the services share. Cheap to clone through [`Arc`].
pub struct Control {
    /// Database.
    pub store: Store,
    /// Way to the compute hosts.
    pub bus: Arc<dyn Bus>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Key that seals secrets for compute hosts.
    pub sealing_key: SealingKey,
    /// Settings.
    pub settings: Settings,
    /// Who checks tokens, token cache and password hashing.
    pub identity: app::identity::Identity,
    /// Where images are described.
    pub images: Arc<dyn app::images::ImageBackend>,
    /// Rung when the outbox has something new, so that the dispatcher need not wait for its scan.
    pub wake_dispatcher: Notify,
    /// Operations on their way from where they were recorded to the dispatcher, past the outbox.
    pub hand_overs: work::HandOvers,
    /// How long reports take.
    pub patience: work::Patience,
    /// What others are told.
    pub notifications: work::Notifications,
    /// What this process counts.
    pub metrics: Arc<metrics::Metrics>,
    /// Where it is written who changed what.
    pub audit: Arc<http::audit::Audit>,
}
