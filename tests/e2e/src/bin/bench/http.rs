//! How fast the API answers when nobody waits for a hypervisor: version document, one server, a list
//! of a thousand. The load comes from wrk on the same machine, so it takes its share of the CPUs.

use std::path::Path;

use anyhow::{Context as _, Result};
use reprieve_core::{HostName, InstanceId, ProjectId, UserId};
use reprieve_e2e::cloud::{Cloud, Credentials, Service};
use reprieve_e2e::crowd::{self, Crowd};
use reprieve_e2e::daemon::{Daemon, Settings};
use reprieve_e2e::run::Run;
use reprieve_store::Store;
use reprieve_test_daemons::free_port;
use serde_json::Value;

use crate::series::{Report, Series};

const SERVERS: usize = 1000;
const SECONDS: u64 = 5;
const CONNECTIONS: usize = 32;

/// What wrk found.
struct Load {
    per_second: f64,
    median_ms: f64,
}

pub fn run() -> Result<Report> {
    let dir = tempfile::tempdir().context("temporary directory")?;
    let data = dir.path().join("data");
    std::fs::create_dir(&data).context("data directory")?;
    // No libvirt: nothing may take part but the API and its database.
    let nothing = Some(format!("qemu+unix:///system?socket={}/none", dir.path().display()));
    let settings = Settings {
        data: data.clone(),
        port: free_port()?,
        libvirt_uri: nothing,
        notification_url: None,
        part: None,
    };
    let mut daemon = Daemon::start(settings)?;
    let credentials = Credentials::read(&data.join("clouds.yaml"))?;
    let first = Cloud::login(&daemon.url(), &credentials)?;
    let (project, user) = crowd::owner(&first, &credentials)?;
    daemon.stop()?;
    let id = tokio::runtime::Runtime::new()?.block_on(populate(&data, project, user))?;
    daemon.start_again()?;
    let cloud = Cloud::login(&daemon.url(), &credentials)?;
    let url = |path: &str| format!("{}{path}", daemon.url());

    let root = wrk(&url("/"), None, CONNECTIONS)?;
    let token = Some(cloud.token.as_str());
    let show = wrk(&url(&format!("/compute/v2.1/servers/{id}")), token, CONNECTIONS)?;
    // A page is at most a thousand by default.
    let all = cloud.get(Service::Compute, "/servers/detail")?;
    let shown = all.get("servers").and_then(Value::as_array).map_or(0, Vec::len);
    anyhow::ensure!(shown == SERVERS, "{shown} servers in the list");
    let pid = daemon.pid().context("the daemon does not run")?.to_string();
    Run::new("taskset").args(["-a", "-c", "-p", "0", &pid]).go()?;
    let list = wrk(&url("/compute/v2.1/servers/detail"), token, 1)?;

    let rate = |what: &str, load: &Load, floor| {
        Series::at_least(what, "req/s", floor, vec![load.per_second])
    };
    let notes = vec![
        format!("a server costs {:.1} times GET /", root.per_second / show.per_second),
        format!("a thousand servers cost {:.0} times GET /", root.per_second / list.per_second),
    ];
    let series = vec![
        rate("GET /, 32 connections", &root, 20_000.0),
        rate("GET servers/{id}, 32 connections", &show, 5_000.0),
        Series::values(
            "GET servers/detail, 1000 servers, median on one core",
            "ms",
            Some(10.0),
            vec![list.median_ms],
        ),
    ];
    Ok(Report { series, notes })
}

/// Runs wrk and reads its answer. Every answer has to be a success.
fn wrk(url: &str, token: Option<&str>, connections: usize) -> Result<Load> {
    let mut run = Run::new("wrk")
        .args(["--threads", "1", "--latency", "--duration", &format!("{SECONDS}s")])
        .args(["--connections", &connections.to_string()]);
    if let Some(token) = token {
        run = run.args(["--header", &format!("X-Auth-Token: {token}")]);
    }
    let output = run.arg(url).go().context("wrk cannot be run; scripts/setup.sh test brings it")?;
    let text = &output.stdout;
    anyhow::ensure!(output.ok() && !text.contains("Non-2xx"), "{text}{}", output.stderr);
    let word_after = |label: &str| {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(label));
        line.map(str::trim).with_context(|| format!("no '{label}' in what wrk says:\n{text}"))
    };
    Ok(Load {
        per_second: word_after("Requests/sec:")?.parse().context("requests per second")?,
        median_ms: milliseconds(word_after("50%")?)?,
    })
}

/// `1.23ms`, `456.00us` or `1.20s` as milliseconds.
fn milliseconds(text: &str) -> Result<f64> {
    for (unit, factor) in [("us", 1e-3), ("ms", 1.0), ("s", 1e3)] {
        if let Some(number) = text.strip_suffix(unit) {
            return Ok(number.parse::<f64>().with_context(|| text.to_owned())? * factor);
        }
    }
    anyhow::bail!("'{text}' is no time")
}

/// Puts servers into the database of a daemon that does not run, ACTIVE on a host that is not there.
async fn populate(data: &Path, project: ProjectId, user: UserId) -> Result<InstanceId> {
    let store = Store::open(&data.join("reprieve.db")).await?;
    let host = HostName::from("elsewhere".to_owned());
    let servers = Crowd::new(&store, project, user).await?.fill(&store, &host, SERVERS).await?;
    store.close().await?;
    servers.first().map(|server| server.id).context("no server was made")
}
