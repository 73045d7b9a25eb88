//! Everything in one process: api, conductor and compute, on SQLite and an in-process bus unless
//! something else is configured. It differs from a deployment on several machines only in what is
//! plugged together here.

use std::sync::Arc;

use anyhow::Context as _;
use reprieve_compute::metrics::StepTimes;
use reprieve_control::metrics::Exporter;
use tokio_util::sync::CancellationToken;

use crate::backends::Backends;
use crate::control::{control, policy};
use crate::metrics::Listening;
use crate::parts::{Parts, Setup, Transport};
use crate::{api, compute, conductor, metrics};

/// Runs until `shutdown` is cancelled or a part cannot go on.
///
/// # Errors
/// When something that everything depends on cannot be used, naming it.
pub async fn run(setup: Setup, shutdown: CancellationToken) -> anyhow::Result<()> {
    let policy = policy(&setup)?;
    let listener = api::listen(&setup).await?;
    let listening = Listening::new(&setup).await?;
    let transport = Transport::new(&setup.loaded)?;
    let Backends { services, source } = Backends::new(&setup).await?;
    let step_times = StepTimes::default();
    let counted = metrics::of(&setup, |registry| step_times.register(registry));
    let bus = Arc::clone(&transport.bus);
    let control = control(&setup, bus, (policy, services), counted).await?;
    let clouds = api::prepare(&control, &setup).await?;
    let mut parts = Parts::new(shutdown);
    conductor::conduct(&mut parts, &control, &setup.loaded)?;
    let bus = Arc::clone(&transport.bus);
    compute::host(&mut parts, &setup, bus, (source, step_times)).await?;
    let address = listener.local_addr().context("the listener has no address")?;
    api::serve(&mut parts, &control, listener);
    listening.serve(&mut parts, Exporter::of(&control));
    api::ready(address, &setup, clouds.as_deref());
    let outcome = parts.finish().await;
    transport.close().await;
    outcome
}
