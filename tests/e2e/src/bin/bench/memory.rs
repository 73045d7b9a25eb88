//! Memory of the idle daemon: all roles in one process.

use std::time::Duration;

use anyhow::{Context as _, Result};
use reprieve_e2e::cloud::Service;
use reprieve_e2e::lab::{Lab, OPERATION, Plan};
use reprieve_e2e::wait::Deadline;

use crate::series::{Report, Series};

const CALLS: usize = 500;
const GOAL_MB: f64 = 40.0;
/// From when on the daemon counts as idle: memory of a login is kept for a second.
const IDLE: Duration = Duration::from_secs(3);

pub fn run() -> Result<Report> {
    let lab = Lab::start(Plan::default())?;
    std::thread::sleep(IDLE);
    let fresh = resident(&lab)?;
    let server = lab.boot(&lab.tiny("memory")?)?;
    for _ in 0..CALLS {
        lab.cloud.server(server.id)?;
        lab.cloud.get(Service::Compute, "/servers/detail")?;
    }
    let busy = resident(&lab)?;
    let path = format!("/servers/{}", server.id);
    lab.cloud.send("DELETE", Service::Compute, &path, None)?.expect(204)?;
    Deadline::seconds(OPERATION).until("end of the delete", || {
        let answer = lab.cloud.send("GET", Service::Compute, &path, None)?;
        Ok((answer.status == 404).then_some(()))
    })?;
    std::thread::sleep(IDLE);
    let used = resident(&lab)?;
    Ok(Report {
        series: vec![
            Series::values("resident after start", "MB", Some(GOAL_MB), vec![fresh]),
            Series::values("resident with a server, after 1000 calls", "MB", None, vec![busy]),
            Series::values("resident, idle again", "MB", Some(GOAL_MB), vec![used]),
        ],
        notes: Vec::new(),
    })
}

/// Resident memory of the daemon in megabytes.
fn resident(lab: &Lab) -> Result<f64> {
    let pid = lab.daemon.pid().context("the daemon does not run")?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).context("/proc")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).context("no VmRSS")?;
    Ok(kib.parse::<f64>().context("VmRSS")? * 1024.0 / 1e6)
}
