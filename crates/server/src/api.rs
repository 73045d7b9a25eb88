//! The api role: HTTP services. Any number of them share a database; a load balancer or the clients
//! choose one.
//!
//! What is recorded here is sent from here at once, past the conductor's outbox scan, so that an
//! operation takes no longer than in one process. The conductor looks after it from then on.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use reprieve_control::Control;
use reprieve_control::app::{flavors, identity, images};
use reprieve_control::metrics::Exporter;
use reprieve_control::work::{dispatch, notify};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::backends::Backends;
use crate::control::{control, policy};
use crate::metrics::Listening;
use crate::parts::{Parts, Setup, Transport};
use crate::{http, metrics};

/// Runs an api process until `shutdown` is cancelled or it cannot go on.
///
/// # Errors
/// When something that it depends on cannot be used, naming it.
pub async fn run(setup: Setup, shutdown: CancellationToken) -> anyhow::Result<()> {
    let policy = policy(&setup)?;
    let listener = listen(&setup).await?;
    let listening = Listening::new(&setup).await?;
    let transport = Transport::new(&setup.loaded)?;
    let services = Backends::new(&setup).await?.services;
    let (bus, counted) = (Arc::clone(&transport.bus), metrics::of(&setup, |_| {}));
    let control = control(&setup, bus, (policy, services), counted).await?;
    let clouds = prepare(&control, &setup).await?;
    let mut parts = Parts::new(shutdown);
    parts.add(dispatch::run_recorded(Arc::clone(&control), parts.stop()));
    let address = listener.local_addr().context("the listener has no address")?;
    serve(&mut parts, &control, listener);
    listening.serve(&mut parts, Exporter::of(&control));
    ready(address, &setup, clouds.as_deref());
    let outcome = parts.finish().await;
    transport.close().await;
    outcome
}

/// Says that requests are served.
pub fn ready(address: std::net::SocketAddr, setup: &Setup, clouds: Option<&Path>) {
    info!(
        %address, data = %setup.data.root().display(),
        clouds_yaml = clouds.map(|path| tracing::field::display(path.display())),
        "ready"
    );
}

/// Takes the address, before anything else is done.
///
/// # Errors
/// When somebody else has it.
pub async fn listen(setup: &Setup) -> anyhow::Result<TcpListener> {
    let address = setup.loaded.config.api.listen;
    TcpListener::bind(address)
        .await
        .with_context(|| format!("{address} cannot be listened on; choose another with --listen"))
}

/// Gives the administrator a new password instead of starting.
///
/// # Errors
/// When it cannot be changed.
pub async fn reset_admin_password(setup: &Setup) -> anyhow::Result<()> {
    if setup.loaded.config.keystone.url.is_some() {
        bail!("passwords are Keystone's here; change it there");
    }
    let transport = Transport::new(&setup.loaded)?;
    let services = Backends::new(setup).await?.services;
    let (bus, counted) = (Arc::clone(&transport.bus), metrics::of(setup, |_| {}));
    let control = control(setup, bus, (policy(setup)?, services), counted).await?;
    let written = identity::reset_admin_password(&control, setup.data.root())
        .await
        .context("the administrator's password was not changed")?;
    println!("new password written to {}", written.clouds.display());
    transport.close().await;
    Ok(())
}

/// What has to be there before the first request: an administrator, flavors, and no upload that a
/// crash left half done. Returns where clouds.yaml is.
///
/// # Errors
/// When one of them cannot be made.
pub async fn prepare(control: &Control, setup: &Setup) -> anyhow::Result<Option<PathBuf>> {
    let clouds = administrator(control, setup.data.root()).await?;
    let requeued =
        images::recover(control).await.context("interrupted image uploads cannot be cleared")?;
    if requeued > 0 {
        info!(requeued, "images whose upload was interrupted wait for their data again");
    }
    flavors::ensure_defaults(&control.store).await.context("the default flavors cannot be made")?;
    Ok(clouds)
}

/// Serves requests, and notifications to those who listen.
pub fn serve(parts: &mut Parts, control: &Arc<Control>, listener: TcpListener) {
    parts.add(notify::run(Arc::clone(control), parts.stop()));
    let router = reprieve_control::http::router(Arc::clone(control));
    parts.add(http::serve(listener, router, parts.stop()));
}

/// Sets up the first administrator of the own identity service, and returns where its clouds.yaml is.
/// With a Keystone there is nothing to set up.
async fn administrator(control: &Control, root: &Path) -> anyhow::Result<Option<PathBuf>> {
    if control.identity.external_url().is_some() {
        return Ok(None);
    }
    let written =
        identity::bootstrap(control, root).await.context("the administrator cannot be set up")?;
    if written.outcome == identity::Outcome::PasswordUnknown {
        warn!(
            clouds_yaml = %written.clouds.display(),
            "there are users but no clouds.yaml; another api process may have it. If the \
             administrator's password is not known, run reprieved --reset-admin-password once"
        );
    }
    Ok(Some(written.clouds))
}
