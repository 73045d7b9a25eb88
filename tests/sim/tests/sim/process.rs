//! Processes: each has a runtime of its own, with a clock of its own that stands still until it is
//! stepped. Dropping the runtime is `kill -9`: every task of it ends where it is.

use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A process that runs.
pub struct Process {
    runtime: Runtime,
    parts: Vec<JoinHandle<()>>,
    shutdown: CancellationToken,
}

impl Process {
    /// One without parts.
    pub fn start() -> Result<Self> {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = runtime.context("cannot make a runtime")?;
        Ok(Self { runtime, parts: Vec::new(), shutdown: CancellationToken::new() })
    }

    /// Adds a part.
    pub fn add(&mut self, part: impl Future<Output = ()> + Send + 'static) {
        self.parts.push(self.runtime.spawn(part));
    }

    /// What asks its parts to end.
    pub fn shutdown(&self) -> CancellationToken {
        self.shutdown.clone()
    }

    /// For more tasks in it.
    pub fn handle(&self) -> &Handle {
        self.runtime.handle()
    }

    /// Lets it run for so long.
    pub fn step(&self, tick: Duration) {
        self.runtime.block_on(async { tokio::time::sleep(tick).await });
    }

    /// Whether one of its parts has ended.
    pub fn has_ended(&self) -> bool {
        self.parts.iter().any(JoinHandle::is_finished)
    }

    /// Whether all of its parts have ended.
    pub fn has_stopped(&self) -> bool {
        self.parts.iter().all(JoinHandle::is_finished)
    }
}
