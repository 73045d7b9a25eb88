//! What the parts of the daemon have in common, whatever of them runs in this process.

use std::sync::Arc;

use anyhow::Context as _;
use reprieve_bus::{InProcessBus, RabbitBus};
use reprieve_core::ports::Bus;
use reprieve_core::{Clock, HostName, SealingKey, SystemClock};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::config::{Loaded, Role};
use crate::data_dir::DataDir;

/// What every part is made with.
pub struct Setup {
    /// What the operator says, checked for the role of this process.
    pub loaded: Loaded,
    /// What survives a restart.
    pub data: DataDir,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Key that seals secrets for compute hosts.
    pub sealing_key: SealingKey,
    /// What this host is called: as it was told, else as the machine is.
    pub host: HostName,
    /// What this process is.
    pub role: Role,
}

impl Setup {
    /// Reads the key.
    ///
    /// # Errors
    /// When it cannot be read or made.
    pub fn new(loaded: Loaded, data: DataDir, role: Role) -> anyhow::Result<Self> {
        let own = || rustix::system::uname().nodename().to_string_lossy().into_owned();
        let host = HostName::from(loaded.config.host.clone().unwrap_or_else(own));
        let sealing_key = loaded.sealing_key(&data)?;
        Ok(Self { loaded, data, clock: Arc::new(SystemClock), sealing_key, host, role })
    }
}

/// The way between control plane and hosts.
pub struct Transport {
    /// For the parts.
    pub bus: Arc<dyn Bus>,
    rabbit: Option<RabbitBus>,
}

impl Transport {
    /// Over RabbitMQ if that is configured, else within this process. That the broker is away is no
    /// error: it may come.
    ///
    /// # Errors
    /// When the configuration makes no sense.
    pub fn new(loaded: &Loaded) -> anyhow::Result<Self> {
        let Some(config) = loaded.broker()? else {
            return Ok(Self { bus: Arc::new(InProcessBus::new()), rabbit: None });
        };
        let rabbit = RabbitBus::new(config).context("the message bus cannot be used")?;
        Ok(Self { bus: Arc::new(rabbit.clone()), rabbit: Some(rabbit) })
    }

    /// Says farewell to the broker, so that what was not acknowledged goes to others at once.
    pub async fn close(self) {
        if let Some(rabbit) = self.rabbit {
            rabbit.close().await;
        }
    }
}

/// Parts that run. One that ends before it was asked to stops the others.
pub struct Parts {
    running: JoinSet<anyhow::Result<()>>,
    shutdown: CancellationToken,
}

impl Parts {
    /// None yet. `shutdown` asks all of them to end.
    #[must_use]
    pub fn new(shutdown: CancellationToken) -> Self {
        Self { running: JoinSet::new(), shutdown }
    }

    /// What asks a part to end.
    #[must_use]
    pub fn stop(&self) -> CancellationToken {
        self.shutdown.clone()
    }

    /// Adds one that cannot fail.
    pub fn add(&mut self, part: impl Future<Output = ()> + Send + 'static) {
        self.running.spawn(async move {
            part.await;
            Ok(())
        });
    }

    /// Adds one that may end because it cannot go on.
    pub fn add_fallible(
        &mut self,
        part: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) {
        self.running.spawn(part);
    }

    /// Waits for all of them.
    ///
    /// # Errors
    /// What the first one that could not go on said.
    pub async fn finish(mut self) -> anyhow::Result<()> {
        let mut outcome = Ok(());
        while let Some(ended) = self.running.join_next().await {
            let result = ended.context("a part of the daemon ended badly").and_then(|ended| ended);
            if let Err(error) = result {
                error!("{error:#}");
                outcome = outcome.and(Err(error));
            }
            self.shutdown.cancel();
        }
        info!("stopped");
        outcome
    }
}
