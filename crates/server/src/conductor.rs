//! The conductor role: hands recorded operations to the hosts until they report, records what came of
//! them, and passes notifications on to a broker.
//!
//! One is enough. A second one waits: the broker gives reports to one of them at a time, the outbox is
//! taken row by row, and notifications have one reader.

use std::sync::Arc;

use anyhow::Context as _;
use reprieve_bus::RabbitNotifications;
use reprieve_control::Control;
use reprieve_control::metrics::Exporter;
use reprieve_control::work::{dispatch, notify, reports};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::backends::Services;
use crate::config::Loaded;
use crate::control::{control, policy};
use crate::metrics::{self, Listening};
use crate::parts::{Parts, Setup, Transport};

/// Under which the database knows how many notifications the broker has got.
const NOTIFICATION_READER: &str = "rabbitmq";

/// Runs a conductor until `shutdown` is cancelled.
///
/// # Errors
/// When something that it depends on cannot be used, naming it.
pub async fn run(setup: Setup, shutdown: CancellationToken) -> anyhow::Result<()> {
    let listening = Listening::new(&setup).await?;
    let transport = Transport::new(&setup.loaded)?;
    let (bus, counted) = (Arc::clone(&transport.bus), metrics::of(&setup, |_| {}));
    // Nobody asks it for tokens or images.
    let services = Services::own();
    let control = control(&setup, bus, (policy(&setup)?, services), counted).await?;
    let mut parts = Parts::new(shutdown);
    conduct(&mut parts, &control, &setup.loaded)?;
    listening.serve(&mut parts, Exporter::of(&control));
    info!(host = %setup.host, data = %setup.data.root().display(), "ready");
    let outcome = parts.finish().await;
    transport.close().await;
    outcome
}

/// Its parts.
///
/// # Errors
/// When notifications are to go to a broker that makes no sense.
pub fn conduct(parts: &mut Parts, control: &Arc<Control>, loaded: &Loaded) -> anyhow::Result<()> {
    if let Some(config) = loaded.notified_broker()? {
        let emitter = RabbitNotifications::new(config).context(
            "notifications cannot be sent; look at --notification-url and --notification-topic",
        )?;
        let (control, emitter) = (Arc::clone(control), Arc::new(emitter));
        parts.add(notify::run_kept(control, emitter, NOTIFICATION_READER, parts.stop()));
    }
    parts.add(dispatch::run(Arc::clone(control), parts.stop()));
    parts.add(reports::run(Arc::clone(control), parts.stop()));
    Ok(())
}
