//! What api and conductor share: the control plane on its database and bus.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use reprieve_control::work::{HandOvers, Notifications};
use reprieve_control::{Control, Settings};
use reprieve_core::policy::Policy;
use reprieve_core::ports::Bus;
use reprieve_store::{Location, Store};

use crate::backends::Services;
use crate::parts::Setup;
use crate::policy_file;

/// Opens the database and puts the control plane together.
///
/// # Errors
/// When the database cannot be used, naming it.
pub async fn control(
    setup: &Setup,
    bus: Arc<dyn Bus>,
    policy: Policy,
    services: Services,
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
        },
        identity: services.identity,
        images: services.images,
        wake_dispatcher: tokio::sync::Notify::new(),
        hand_overs: HandOvers::default(),
        notifications: Notifications::of(host.as_str()),
    }))
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
