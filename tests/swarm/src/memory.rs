//! What the processes take.

use std::fs;

use anyhow::{Context as _, Result};
use reprieve_e2e::cluster::Cluster;

/// Prints resident memory of each role.
///
/// # Errors
/// When a process is gone.
pub fn print(cluster: &Cluster, hosts: usize) -> Result<()> {
    let [first, second] = &cluster.apis;
    let daemons = [("api", first), ("api", second), ("conductor", &cluster.conductor)];
    for (role, daemon) in daemons {
        let pid = daemon.pid().with_context(|| format!("{role} does not run"))?;
        println!("{role}: {:.1} MB resident", megabytes(&pid.to_string())?);
    }
    let all = megabytes("self")?;
    println!(
        "{hosts} agents and the clients: {all:.0} MB resident, {:.2} MB a host",
        all / hosts as f64
    );
    Ok(())
}

fn megabytes(pid: &str) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("/proc")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).context("no VmRSS")?;
    Ok(kib.parse::<f64>().context("VmRSS")? * 1024.0 / 1e6)
}
