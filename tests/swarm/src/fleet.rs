//! Many agents in one process, each as on a host of its own but for the hypervisor.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use reprieve_bus::{RabbitBus, RabbitConfig};
use reprieve_compute::host::Graces;
use reprieve_compute::metrics::StepTimes;
use reprieve_compute::{Agent, AgentConfig};
use reprieve_core::ports::{Bus, DomainVariant, Hypervisor as _};
use reprieve_core::reboot::RebootPolicy;
use reprieve_core::spec::{GuestMetadata, InstanceSpec};
use reprieve_core::{HostName, OperationId, SealingKey, SystemClock};
use reprieve_hypervisor::fake::{FakeHypervisor, FakeImageSource};
use reprieve_hypervisor::image_cache::ImageCache;
use reprieve_store::InstanceRecord;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::Crowded;

/// Hosts that share a pair of connections to the broker, which takes about two thousand channels on
/// each.
const ON_A_CONNECTION: usize = 250;

/// All agents.
pub struct Fleet {
    agents: JoinSet<Result<()>>,
    buses: Vec<RabbitBus>,
    stop: CancellationToken,
    _dir: TempDir,
}

impl Fleet {
    /// Starts an agent for each host, with guests that run.
    ///
    /// # Errors
    /// When there is no room for their ledgers, or the broker's address is none.
    pub async fn start(broker: &str, crowded: &Crowded) -> Result<Self> {
        let dir = in_memory()?;
        let (mut agents, mut buses) = (JoinSet::new(), Vec::new());
        let stop = CancellationToken::new();
        let hosts: Vec<_> = crowded.iter().collect();
        for hosts in hosts.chunks(ON_A_CONNECTION) {
            let bus = RabbitBus::new(RabbitConfig::new(broker))?;
            for (host, servers) in hosts {
                let home = dir.path().join(host.as_str());
                std::fs::create_dir_all(home.join("instances"))?;
                let shared: Arc<dyn Bus> = Arc::new(bus.clone());
                let config = config((*host).clone(), &home, servers, shared).await?;
                let agent = Agent::run(config, stop.clone());
                agents.spawn(async move { agent.await.context("an agent cannot go on") });
            }
            buses.push(bus);
        }
        Ok(Self { agents, buses, stop, _dir: dir })
    }

    /// Ends all of them.
    pub async fn stop(mut self) {
        self.stop.cancel();
        while let Some(ended) = self.agents.join_next().await {
            if let Ok(Err(error)) = ended {
                eprintln!("{error:#}");
            }
        }
        for bus in &self.buses {
            bus.close().await;
        }
    }
}

fn in_memory() -> Result<TempDir> {
    let shm = Path::new("/dev/shm");
    let parent = if shm.is_dir() { PathBuf::from(shm) } else { std::env::temp_dir() };
    tempfile::Builder::new().prefix("reprieve-swarm-").tempdir_in(parent).context("no directory")
}

async fn config(
    host: HostName,
    home: &Path,
    servers: &[InstanceRecord],
    bus: Arc<dyn Bus>,
) -> Result<AgentConfig> {
    let instances_dir = home.join("instances");
    let hypervisor = FakeHypervisor::new(instances_dir.clone());
    for server in servers {
        let spec = spec(server).context("a server without an image")?;
        hypervisor.define(&spec, &DomainVariant::Normal, OperationId::random()).await?;
        // What a guest boots from; it writes there.
        let own = instances_dir.join(server.id.to_string());
        std::fs::create_dir(&own)?;
        std::fs::write(own.join("disk"), "")?;
        hypervisor.start(server.id).await?;
    }
    Ok(AgentConfig {
        host,
        instances_dir,
        ledger_file: home.join("ledger.db"),
        cache: ImageCache::new(home.join("cache")),
        images: Arc::new(FakeImageSource::new()),
        hypervisor: Arc::new(hypervisor),
        bus,
        clock: Arc::new(SystemClock),
        sealing_key: SealingKey::new([0; 32]),
        graces: Graces::default(),
        consoles: None,
        step_times: StepTimes::default(),
        machine_boot: None,
        after_reboot: RebootPolicy::default(),
    })
}

fn spec(server: &InstanceRecord) -> Option<InstanceSpec> {
    Some(InstanceSpec {
        id: server.id,
        number: server.number,
        name: server.name.clone(),
        project_id: server.project_id.clone(),
        user_id: server.user_id.clone(),
        flavor: server.flavor.spec(),
        image: server.image.clone()?,
        config_drive: server.config_drive,
        metadata: GuestMetadata {
            hostname: server.hostname.clone(),
            public_keys: server.public_keys.clone(),
            meta: server.metadata.clone(),
            user_data: None,
            admin_password: None,
            availability_zone: server.availability_zone.clone(),
        },
    })
}
