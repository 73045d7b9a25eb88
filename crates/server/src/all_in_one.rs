//! Everything in one process: the wiring of api, conductor and compute on SQLite and an in-process
//! bus. It differs from a deployment on several machines only in what is plugged together here.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use reprieve_bus::{InProcessBus, RabbitConfig, RabbitNotifications};
use reprieve_compute::host::Graces;
use reprieve_compute::{Agent, AgentConfig};
use reprieve_control::app::{identity, images};
use reprieve_control::work::notify;
use reprieve_control::{Control, Settings};
use reprieve_core::policy::Policy;
use reprieve_core::ports::{Bus, Emitter, ImageSource};
use reprieve_core::{Clock, HostName, SealingKey, SystemClock};
use reprieve_hypervisor::image_cache::ImageCache;
use reprieve_hypervisor::libvirt::{Libvirt, LibvirtConfig};
use reprieve_store::Store;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::args::Args;
use crate::backends::Backends;
use crate::data_dir::DataDir;
use crate::http;
use crate::policy_file;

/// Largest image that may be uploaded: 1 TiB.
const MAX_IMAGE_BYTES: u64 = 1 << 40;
/// Under which the database knows how many notifications the broker has got.
const NOTIFICATION_READER: &str = "rabbitmq";

/// Runs until `shutdown` is cancelled or a part cannot go on.
///
/// # Errors
/// When something that everything depends on cannot be used, naming it.
pub async fn run(args: Args, data: DataDir, shutdown: CancellationToken) -> anyhow::Result<()> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let bus: Arc<dyn Bus> = Arc::new(InProcessBus::new());
    let policy = policy_file::read(args.policy_file.as_deref(), &data.policy_file())?;
    let sealing_key = data.sealing_key()?;
    let listener = listen(&args).await?;
    let backends = Backends::new(&args, &data, &clock).await?;
    let source = Arc::clone(&backends.source);
    let rules = (sealing_key.clone(), policy);
    let control = control(&args, &data, (&clock, &bus), rules, backends).await?;
    if args.reset_admin_password {
        let written = identity::reset_admin_password(&control, data.root())
            .await
            .context("the administrator's password was not changed")?;
        println!("new password written to {}", written.clouds.display());
        return Ok(());
    }
    let clouds = administrator(&control, &data).await?;
    let requeued =
        images::recover(&control).await.context("interrupted image uploads cannot be cleared")?;
    if requeued > 0 {
        info!(requeued, "images whose upload was interrupted wait for their data again");
    }
    reprieve_control::app::flavors::ensure_defaults(&control.store)
        .await
        .context("the default flavors cannot be made")?;

    let mut parts = JoinSet::new();
    let stop = shutdown.clone();
    let dispatching = reprieve_control::work::dispatch::run(Arc::clone(&control), stop.clone());
    parts.spawn(async move {
        dispatching.await;
        Ok(())
    });
    let reports = reprieve_control::work::reports::run(Arc::clone(&control), stop.clone());
    parts.spawn(async move {
        reports.await;
        Ok(())
    });
    if let Some(emitter) = notifications(&args)? {
        let control = Arc::clone(&control);
        let passing = notify::run_kept(control, emitter, NOTIFICATION_READER, stop.clone());
        parts.spawn(async move {
            passing.await;
            Ok(())
        });
    }
    let notifying = notify::run(Arc::clone(&control), stop.clone());
    parts.spawn(async move {
        notifying.await;
        Ok(())
    });
    let agent = Agent::run(agent_config(&args, &data, (clock, bus, sealing_key), source)?, stop);
    parts.spawn(async move { agent.await.context("the compute agent cannot go on") });
    let router = reprieve_control::http::router(Arc::clone(&control));
    let address = listener.local_addr().context("the listener has no address")?;
    let serving = http::serve(listener, router, shutdown.clone());
    parts.spawn(async move {
        serving.await;
        Ok(())
    });
    info!(
        %address, data = %data.root().display(),
        clouds_yaml = clouds.as_ref().map(|path| tracing::field::display(path.display())),
        "ready"
    );
    finish(parts, &shutdown).await
}

/// Where notifications go beside the streams of the API.
fn notifications(args: &Args) -> anyhow::Result<Option<Arc<dyn Emitter>>> {
    let Some(url) = &args.notification_url else { return Ok(None) };
    let mut config = RabbitConfig::new(url);
    config.notifications.topic.clone_from(&args.notification_topic);
    config.notifications.durable = args.notifications_durable;
    let emitter = RabbitNotifications::new(config).context(
        "notifications cannot be sent; look at --notification-url and --notification-topic",
    )?;
    Ok(Some(Arc::new(emitter)))
}

/// Sets up the first administrator of the own identity service, and returns where its clouds.yaml is.
/// With a Keystone there is nothing to set up.
async fn administrator(control: &Control, data: &DataDir) -> anyhow::Result<Option<PathBuf>> {
    if control.identity.external_url().is_some() {
        return Ok(None);
    }
    let written = identity::bootstrap(control, data.root())
        .await
        .context("the administrator cannot be set up")?;
    if written.outcome == identity::Outcome::PasswordUnknown {
        warn!(
            clouds_yaml = %written.clouds.display(),
            "there are users but no clouds.yaml; if the administrator's password is not known, \
             run reprieved --reset-admin-password once"
        );
    }
    Ok(Some(written.clouds))
}

/// Waits for all parts. One that ends before it was asked to stops the others.
async fn finish(
    mut parts: JoinSet<anyhow::Result<()>>,
    shutdown: &CancellationToken,
) -> anyhow::Result<()> {
    let mut outcome = Ok(());
    while let Some(ended) = parts.join_next().await {
        let result = ended.context("a part of the daemon ended badly").and_then(|result| result);
        if let Err(error) = result {
            error!("{error:#}");
            outcome = outcome.and(Err(error));
        }
        shutdown.cancel();
    }
    info!("stopped");
    outcome
}

async fn listen(args: &Args) -> anyhow::Result<TcpListener> {
    TcpListener::bind(args.listen).await.with_context(|| {
        format!("{} cannot be listened on; choose another with --listen", args.listen)
    })
}

async fn control(
    args: &Args,
    data: &DataDir,
    (clock, bus): (&Arc<dyn Clock>, &Arc<dyn Bus>),
    (sealing_key, policy): (SealingKey, Policy),
    backends: Backends,
) -> anyhow::Result<Arc<Control>> {
    let database = data.database()?;
    let store = Store::open(&database)
        .await
        .with_context(|| format!("the database {} cannot be used", database.display()))?;
    store.keep_notifications(!args.no_notifications);
    let public_url = match &args.public_url {
        Some(url) => url.trim_end_matches('/').to_owned(),
        None => format!("http://{}", args.listen),
    };
    Ok(Arc::new(Control {
        store,
        bus: Arc::clone(bus),
        clock: Arc::clone(clock),
        sealing_key,
        settings: Settings {
            public_url,
            region: "RegionOne".to_owned(),
            image_dir: data.images(),
            host: host_name(args),
            availability_zone: "nova".to_owned(),
            max_image_bytes: MAX_IMAGE_BYTES,
            policy,
        },
        identity: backends.identity,
        images: backends.images,
        wake_dispatcher: tokio::sync::Notify::new(),
        hand_overs: reprieve_control::work::HandOvers::default(),
        notifications: reprieve_control::work::Notifications::of(host_name(args).as_str()),
    }))
}

/// What this host is called: as it was told, else as the machine is.
fn host_name(args: &Args) -> HostName {
    let own = || rustix::system::uname().nodename().to_string_lossy().into_owned();
    HostName::from(args.host.clone().unwrap_or_else(own))
}

/// What the compute host of this process is made of.
fn agent_config(
    args: &Args,
    data: &DataDir,
    (clock, bus, sealing_key): (Arc<dyn Clock>, Arc<dyn Bus>, SealingKey),
    images: Arc<dyn ImageSource>,
) -> anyhow::Result<AgentConfig> {
    let uri = args.libvirt_uri.clone().unwrap_or_else(|| {
        let root = rustix::process::geteuid().is_root();
        if root { "qemu:///system" } else { "qemu:///session" }.to_owned()
    });
    let hypervisor =
        Libvirt::start(LibvirtConfig { uri, instances_dir: data.instances(), domain_type: None });
    Ok(AgentConfig {
        host: host_name(args),
        instances_dir: data.instances(),
        ledger_file: data.ledger()?,
        cache: ImageCache::new(data.cache()),
        images,
        hypervisor: Arc::new(hypervisor),
        bus,
        clock,
        sealing_key,
        graces: Graces::default(),
    })
}
