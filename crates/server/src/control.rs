//! What api and conductor share: the control plane on its database and bus.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use reprieve_control::http::audit::Audit;
use reprieve_control::metrics::Metrics;
use reprieve_control::work::{HandOvers, Notifications, Patience};
use reprieve_control::{Control, Settings};
use reprieve_core::policy::Policy;
use reprieve_core::ports::Bus;
use reprieve_store::{Location, Store};

use crate::backends::Services;
use crate::config::Role;
use crate::parts::Setup;
use crate::{policy_file, telemetry};

/// Opens the database and puts the control plane together. `metrics` is what this process counts.
///
/// # Errors
/// When the database cannot be used, naming it.
pub async fn control(
    setup: &Setup,
    bus: Arc<dyn Bus>,
    (policy, services): (Policy, Services),
    metrics: Metrics,
) -> anyhow::Result<Arc<Control>> {
    let Setup { loaded, data, clock, sealing_key, host, role: _ } = setup;
    let config = &loaded.config;
    let location = match loaded.database_url()? {
        Some(location) => location,
        None => Location::File(data.database()?),
    };
    let place = location.to_string();
    let store = Store::open(location)
        .await
        .with_context(|| format!("the database {place} cannot be used"))?;
    store.claim_by(config.scheduler.policy());
    store.keep_notifications(config.notifications.enabled);
    let public_url = match &config.api.public_url {
        Some(url) => url.trim_end_matches('/').to_owned(),
        None => format!("http://{}", config.api.listen),
    };
    Ok(Arc::new(Control {
        store,
        bus,
        clock: Arc::clone(clock),
        sealing_key: sealing_key.clone(),
        settings: Settings {
            public_url,
            region: config.api.region.clone(),
            image_dir: image_dir(setup),
            host: host.clone(),
            availability_zone: config.api.availability_zone.clone(),
            max_image_bytes: config.images.max_bytes,
            policy,
            consoles: config.consoles.settings(),
            api: config.api.settings(),
        },
        identity: services.identity,
        images: services.images,
        wake_dispatcher: tokio::sync::Notify::new(),
        hand_overs: HandOvers::default(),
        patience: Patience::default(),
        notifications: Notifications::of(host.as_str()),
        metrics: Arc::new(metrics),
        audit: Arc::new(audit(setup)?),
    }))
}

/// Where it is written who changed what: only roles that are asked for changes have it.
fn audit(setup: &Setup) -> anyhow::Result<Audit> {
    let asked = match setup.role {
        Role::AllInOne | Role::Api => true,
        Role::Conductor | Role::Compute => false,
    };
    if asked && setup.loaded.config.log.audit {
        Ok(Audit::to(telemetry::open(&setup.data.log().join(telemetry::AUDIT_FILE))?))
    } else {
        Ok(Audit::off())
    }
}

/// Where the own image service keeps its data.
#[must_use]
pub fn image_dir(setup: &Setup) -> PathBuf {
    let named = &setup.loaded.config.images.directory;
    named.clone().unwrap_or_else(|| setup.data.images())
}

/// Who may do what.
///
/// # Errors
/// When the policy file cannot be used.
pub fn policy(setup: &Setup) -> anyhow::Result<Policy> {
    let named = setup.loaded.config.api.policy_file.as_deref();
    policy_file::read(named, &setup.data.policy_file())
}
