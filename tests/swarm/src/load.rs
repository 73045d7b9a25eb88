//! Clients that ask for one action on many servers, each with a connection of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, Result, ensure};
use reprieve_e2e::cloud::{Cloud, Service};
use reprieve_e2e::cluster::Cluster;
use reqwest::{Client, StatusCode};
use serde_json::json;
use tokio::task::JoinSet;
use uuid::Uuid;

/// Who asks.
pub struct Clients {
    http: Client,
    /// A login at each api.
    clouds: Vec<Arc<Cloud>>,
    /// Requests at a time.
    at_a_time: usize,
}

impl Clients {
    /// Logs in at both api.
    ///
    /// # Errors
    /// When that is refused.
    pub fn log_in(cluster: &Cluster, at_a_time: usize) -> Result<Self> {
        // reqwest is built without a TLS provider of its own, and wants one also where none is needed.
        rustls::crypto::ring::default_provider().install_default().ok();
        let http = Client::builder().build().context("an HTTP client")?;
        let clouds = (0..2).map(|number| cluster.cloud(number).map(Arc::new));
        Ok(Self { http, clouds: clouds.collect::<Result<_>>()?, at_a_time })
    }

    /// Asks for `pause` or `unpause` of all servers, through both api in turn.
    ///
    /// # Errors
    /// When one is not accepted.
    pub async fn ask(&self, action: &str, servers: &Arc<[Uuid]>) -> Result<()> {
        let next = Arc::new(AtomicUsize::new(0));
        let body = json!({ action: null }).to_string();
        let mut running = JoinSet::new();
        for cloud in self.clouds.iter().cycle().take(self.at_a_time) {
            let (http, cloud, body) = (self.http.clone(), Arc::clone(cloud), body.clone());
            let (next, servers) = (Arc::clone(&next), Arc::clone(servers));
            running.spawn(async move {
                while let Some(id) = servers.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let url = cloud.url(Service::Compute, &format!("/servers/{id}/action"));
                    let request = http.post(url).header("x-auth-token", &cloud.token);
                    let request = request.header("content-type", "application/json");
                    let answer = request.body(body.clone()).send().await?;
                    let status = answer.status();
                    let text = answer.text().await?;
                    ensure!(status == StatusCode::ACCEPTED, "{status} for {id}: {text}");
                }
                Ok(())
            });
        }
        while let Some(ended) = running.join_next().await {
            ended.context("a client panicked")??;
        }
        Ok(())
    }
}
