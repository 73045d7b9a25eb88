//! What all actors of a host share.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reprieve_core::conclude::SavedMemory;
use reprieve_core::console::{ConsoleEndpoint, ConsoleProtocol, DomainConsole};
use reprieve_core::message::HostResponse;
use reprieve_core::ports::{Hypervisor, ImageSource, InstancePaths};
use reprieve_core::spec::ImageSpec;
use reprieve_core::{Clock, HostName, InstanceId, PowerState, SealingKey};
use reprieve_hypervisor::files::InstanceFiles;
use reprieve_hypervisor::image_cache::ImageCache;
use reprieve_hypervisor::saved_memory::SaveStore;
use reprieve_outside::outside;

use crate::agent::AgentConfig;
use crate::console::{self, ConsoleAddress};
use crate::ledger::Ledger;
use crate::metrics::StepTimes;
use crate::reporter::Reporter;
use crate::steps::StepFailure;

/// How long a step may take before it is announced.
const QUICK_STEP: Duration = Duration::from_millis(100);

/// How long guests may take to shut down when asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Graces {
    /// For stop and rescue (Nova's `shutdown_timeout`).
    pub shutdown: Duration,
    /// For a SOFT reboot (Nova's `wait_soft_reboot_seconds`).
    pub soft_reboot: Duration,
    /// The most that an image's `os_shutdown_timeout` can ask for.
    pub longest: Duration,
}

impl Default for Graces {
    fn default() -> Self {
        Self {
            shutdown: Duration::from_secs(60),
            soft_reboot: Duration::from_secs(120),
            longest: Duration::from_secs(600),
        }
    }
}

/// One compute host.
pub struct Host {
    /// Its name.
    pub name: HostName,
    /// Directory with one directory per server.
    pub instances_dir: PathBuf,
    /// Hypervisor.
    pub hypervisor: Arc<dyn Hypervisor>,
    /// Image cache.
    pub cache: ImageCache,
    /// Where images come from.
    pub images: Arc<dyn ImageSource>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Key of sealed secrets.
    pub sealing_key: SealingKey,
    /// What was promised.
    pub ledger: Ledger,
    /// The way out.
    pub reporter: Reporter,
    /// How long guests may take to shut down.
    pub graces: Graces,
    /// Where proxies find serial consoles; `None`: there are none for them.
    pub consoles: Option<ConsoleAddress>,
    /// How long steps take.
    pub step_times: StepTimes,
    /// How long a step may take of which nobody need hear before it is over.
    pub quick_step: Duration,
}

impl Host {
    /// From the agent's configuration.
    #[must_use]
    pub fn new(config: AgentConfig, ledger: Ledger, reporter: Reporter) -> Self {
        Self {
            name: config.host,
            instances_dir: config.instances_dir,
            hypervisor: config.hypervisor,
            cache: config.cache,
            images: config.images,
            clock: config.clock,
            sealing_key: config.sealing_key,
            ledger,
            reporter,
            graces: config.graces,
            consoles: config.consoles,
            step_times: config.step_times,
            quick_step: QUICK_STEP,
        }
    }

    /// What the files of a server say: whether a rescue stashed its definition, and its saved
    /// memory.
    ///
    /// # Errors
    /// [`StepFailure`] when the files cannot be read.
    pub async fn files_seen(
        &self,
        paths: InstancePaths,
    ) -> Result<(bool, SavedMemory), StepFailure> {
        let stash = paths.stashed_definition();
        let stashed = outside(tokio::fs::try_exists(&stash)).await.map_err(|error| {
            StepFailure::failed(format!("cannot look for {}: {error}", stash.display()))
        })?;
        let saved =
            SaveStore::new(paths).status().await.map_err(|error| StepFailure::caused_by(&error))?;
        Ok((stashed, saved))
    }

    /// The end of a guest's console log; no console without a guest process, as Nova has it.
    pub async fn console_log(&self, instance: InstanceId, max_bytes: u64) -> HostResponse {
        match self.hypervisor.power(instance).await {
            Ok(Some(domain)) if domain.power.has_process() => {}
            Ok(_) => return HostResponse::NoConsole,
            Err(error) => return HostResponse::Failed { message: error.to_string() },
        }
        let files = InstanceFiles::new(InstancePaths::new(&self.instances_dir, instance));
        match files.console_log_tail(max_bytes).await {
            Ok(text) => HostResponse::ConsoleLog { text: text.unwrap_or_default() },
            Err(error) => HostResponse::Failed { message: error.to_string() },
        }
    }

    /// What a guest uses, if it runs.
    pub async fn diagnostics(&self, instance: InstanceId) -> HostResponse {
        let answered = match self.hypervisor.power(instance).await {
            Ok(Some(domain)) if domain.power == PowerState::Running => {
                self.hypervisor.stats(instance).await
            }
            Ok(domain) => {
                let power = domain.map_or(PowerState::NoState, |domain| domain.power);
                return HostResponse::NotRunning { power };
            }
            Err(error) => Err(error),
        };
        match answered {
            Ok(stats) => HostResponse::Diagnostics { stats },
            Err(error) => HostResponse::Failed { message: error.to_string() },
        }
    }

    /// Where a proxy reaches a console of a guest that runs.
    pub async fn console(&self, instance: InstanceId, protocol: ConsoleProtocol) -> HostResponse {
        let power = match self.hypervisor.power(instance).await {
            Ok(domain) => domain.map_or(PowerState::NoState, |domain| domain.power),
            Err(error) => return HostResponse::Failed { message: error.to_string() },
        };
        if !power.has_process() {
            return HostResponse::NotRunning { power };
        }
        let found = match self.hypervisor.consoles(instance).await {
            Ok(found) => found,
            Err(error) => return HostResponse::Failed { message: error.to_string() },
        };
        let device = found.into_iter().find(|console| console.protocol() == protocol);
        match device.and_then(|device| self.endpoint(instance, device)) {
            Some(endpoint) => HostResponse::Console { endpoint },
            None => HostResponse::NoConsole,
        }
    }

    /// How a device is reached from elsewhere; `None`: it is not.
    fn endpoint(&self, instance: InstanceId, device: DomainConsole) -> Option<ConsoleEndpoint> {
        let here = self.consoles.as_ref()?;
        match device {
            DomainConsole::SerialPty(path) if console::usable(&path) => Some(ConsoleEndpoint {
                host: here.host.clone(),
                port: here.port,
                tls_port: None,
                path: Some(instance.to_string()),
            }),
            DomainConsole::SerialPty(path) => {
                tracing::warn!(
                    server = %instance, path = %path.display(),
                    "this user may not open the terminal of a guest, so it has no serial console"
                );
                None
            }
            DomainConsole::Listening { address, port, tls_port, .. } => Some(ConsoleEndpoint {
                host: here.reached(&address),
                port: port.or(tls_port)?,
                tls_port,
                path: None,
            }),
        }
    }

    /// Brings images into the cache before they are needed, one after the other. What cannot be
    /// fetched now is fetched, or fails, when a server needs it.
    pub async fn cache_images(self: Arc<Self>, images: Vec<ImageSpec>) {
        for image in images {
            match self.cache.ensure(&image, &*self.images).await {
                Ok(_) => tracing::info!(image = %image.id, "image is in the cache"),
                Err(error) => tracing::warn!(image = %image.id, %error, "image not cached"),
            }
        }
    }
}
