//! The compute role: the guests of one host. It knows no database.

use std::sync::Arc;

use anyhow::Context as _;
use reprieve_compute::console::{self, ConsoleAddress, ConsoleServer};
use reprieve_compute::host::Graces;
use reprieve_compute::metrics::StepTimes;
use reprieve_compute::{Agent, AgentConfig};
use reprieve_control::metrics::Exporter;
use reprieve_core::ports::{Bus, Hypervisor, ImageSource};
use reprieve_hypervisor::image_cache::ImageCache;
use reprieve_hypervisor::libvirt::{Libvirt, LibvirtConfig};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::backends::Backends;
use crate::metrics::{self, Listening};
use crate::parts::{Parts, Setup, Transport};

/// Runs the agent until `shutdown` is cancelled or it cannot go on.
///
/// # Errors
/// When something that it depends on cannot be used, naming it, and when another agent took the
/// name of this one.
pub async fn run(setup: Setup, shutdown: CancellationToken) -> anyhow::Result<()> {
    let listening = Listening::new(&setup).await?;
    let transport = Transport::new(&setup.loaded)?;
    let source = Backends::new(&setup).await?.source;
    let mut parts = Parts::new(shutdown);
    let step_times = StepTimes::default();
    let counted = metrics::of(&setup, |registry| step_times.register(registry));
    let bus = Arc::clone(&transport.bus);
    host(&mut parts, &setup, Arc::clone(&bus), (source, step_times)).await?;
    listening.serve(&mut parts, Exporter { metrics: Arc::new(counted), bus, store: None });
    info!(host = %setup.host, data = %setup.data.root().display(), "ready");
    let outcome = parts.finish().await;
    transport.close().await;
    outcome
}

/// Its part.
///
/// # Errors
/// When its ledger cannot be made, or the address of consoles is taken.
pub async fn host(
    parts: &mut Parts,
    setup: &Setup,
    bus: Arc<dyn Bus>,
    (images, step_times): (Arc<dyn ImageSource>, StepTimes),
) -> anyhow::Result<()> {
    let Setup { loaded, data, clock, sealing_key, host, role: _ } = setup;
    let uri = loaded.config.compute.libvirt_uri.clone().unwrap_or_else(|| {
        let root = rustix::process::geteuid().is_root();
        if root { "qemu:///system" } else { "qemu:///session" }.to_owned()
    });
    let hypervisor =
        Libvirt::start(LibvirtConfig { uri, instances_dir: data.instances(), domain_type: None });
    let hypervisor: Arc<dyn Hypervisor> = Arc::new(hypervisor);
    let consoles = consoles(setup).await?;
    let address = consoles.local_addr().context("the listener of consoles has no address")?;
    let known_as = loaded.config.compute.console_host.as_deref();
    let server = ConsoleServer {
        hypervisor: Arc::clone(&hypervisor),
        clock: Arc::clone(clock),
        sealing_key: sealing_key.clone(),
    };
    parts.add(console::serve(consoles, server, parts.stop()));
    let config = AgentConfig {
        host: host.clone(),
        instances_dir: data.instances(),
        ledger_file: data.ledger()?,
        cache: ImageCache::new(data.cache()),
        images,
        hypervisor,
        bus,
        clock: Arc::clone(clock),
        sealing_key: sealing_key.clone(),
        graces: Graces::default(),
        consoles: Some(ConsoleAddress::new(address, known_as)),
        step_times,
        machine_boot: machine_boot(),
        after_reboot: loaded.config.compute.after_host_reboot,
    };
    let agent = Agent::run(config, parts.stop());
    parts.add_fallible(async move { agent.await.context("the compute agent cannot go on") });
    Ok(())
}

/// Takes the address of consoles.
async fn consoles(setup: &Setup) -> anyhow::Result<TcpListener> {
    let address = setup.loaded.config.compute.console_listen;
    TcpListener::bind(address).await.with_context(|| {
        format!(
            "{address} cannot be listened on; choose another with console_listen below [compute]"
        )
    })
}

/// The kernel's id of the start that this machine is in.
fn machine_boot() -> Option<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(text.trim().to_owned()).filter(|id| !id.is_empty())
}
