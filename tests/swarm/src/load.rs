//! Clients that ask for one action on many servers, each with a connection of its own.

use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, Result};
use reprieve_e2e::cluster::Cluster;
use serde_json::json;
use uuid::Uuid;

/// What they do.
pub struct Load<'a> {
    /// `pause`, `unpause`.
    pub action: &'a str,
    /// Requests at a time.
    pub clients: usize,
}

impl Load<'_> {
    /// Asks for the action on all servers, through both api in turn.
    ///
    /// # Errors
    /// When one is not accepted.
    pub fn run(&self, cluster: &Cluster, servers: &[Uuid]) -> Result<()> {
        let next = AtomicUsize::new(0);
        let body = json!({ self.action: null });
        let clients = (0..self.clients).map(|number| cluster.cloud(number % 2));
        let clients: Vec<_> = clients.collect::<Result<_>>()?;
        std::thread::scope(|scope| {
            let running: Vec<_> = clients
                .iter()
                .map(|cloud| {
                    scope.spawn(|| -> Result<()> {
                        while let Some(id) = servers.get(next.fetch_add(1, Ordering::Relaxed)) {
                            cloud.action(*id, &body)?.expect(202)?;
                        }
                        Ok(())
                    })
                })
                .collect();
            running.into_iter().try_for_each(|client| {
                client.join().ok().context("a client panicked").and_then(|ended| ended)
            })
        })
    }
}
