//! From the question to the visible state, beside what the library alone needs for the same guest.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use futures_util::StreamExt as _;
use reprieve_core::InstanceId;
use reprieve_core::ports::{Hypervisor as _, HypervisorEvent};
use reprieve_e2e::lab::{Booted, Lab, Plan, timed};
use reprieve_e2e::wait::Deadline;
use reprieve_hypervisor::libvirt::{Libvirt, LibvirtConfig};
use reprieve_hypervisor::xml::DomainType;
use serde_json::{Value, json};

use crate::series::{Report, Series};

const RUNS: usize = 40;
const READS: usize = 500;
const TOKENS: usize = 20;
const GOAL_MS: f64 = 20.0;

pub fn run() -> Result<Report> {
    let mut lab = Lab::start(Plan::default())?;
    let server = lab.boot(&lab.tiny("pause")?)?;
    let (mut pause, mut unpause) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        pause.push(visible(&lab, &server, &json!({ "pause": null }), "PAUSED")?);
        unpause.push(visible(&lab, &server, &json!({ "unpause": null }), "ACTIVE")?);
    }
    let reads = (0..READS)
        .map(|_| Ok(timed(|| lab.cloud.server(server.id))?.1))
        .collect::<Result<Vec<_>>>()?;
    let credentials = lab.credentials()?;
    let tokens = (0..TOKENS)
        .map(|_| Ok(timed(|| lab.cloud.issue_token(&credentials)?.expect(201))?.1))
        .collect::<Result<Vec<_>>>()?;

    // Alone with the guest.
    lab.daemon.stop()?;
    let (suspend, resume) = bare(&lab, &server)?;

    let pause = Series::times("POST pause to PAUSED", Some(GOAL_MS), &pause);
    let unpause = Series::times("POST unpause to ACTIVE", Some(GOAL_MS), &unpause);
    let suspend = Series::times("virDomainSuspend alone", None, &suspend);
    let resume = Series::times("virDomainResume alone", None, &resume);
    let notes = vec![
        format!("pause is {:.1} times the library call", pause.median() / suspend.median()),
        format!("unpause is {:.1} times the library call", unpause.median() / resume.median()),
    ];
    let reads = Series::times("GET servers/{id}", None, &reads);
    let tokens = Series::times("POST auth/tokens", None, &tokens);
    Ok(Report { series: vec![pause, unpause, suspend, resume, reads, tokens], notes })
}

/// From before the question to the answer that shows the state with nothing under way.
fn visible(lab: &Lab, server: &Booted, body: &Value, status: &str) -> Result<Duration> {
    let begun = Instant::now();
    lab.cloud.action(server.id, body)?.expect(202)?;
    let deadline = Deadline::seconds(30);
    while !lab.cloud.server(server.id)?.rests_in(status) {
        anyhow::ensure!(!deadline.passed(), "no {status} in time");
    }
    Ok(begun.elapsed())
}

/// The same two calls through our binding, without anything around them.
fn bare(lab: &Lab, server: &Booted) -> Result<(Vec<Duration>, Vec<Duration>)> {
    let config = LibvirtConfig {
        uri: lab.virt.uri.clone(),
        instances_dir: PathBuf::from(lab.daemon.data()).join("instances"),
        domain_type: Some(DomainType::Qemu),
    };
    let id = InstanceId::from(server.id);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let libvirt = Libvirt::start(config);
        let mut events = libvirt.events();
        let connected = async {
            while let Some(event) = events.next().await {
                if event == HypervisorEvent::Connected {
                    return Some(());
                }
            }
            None
        };
        let connected = tokio::time::timeout(Duration::from_secs(10), connected).await;
        connected.context("no connection in time")?.context("no connection")?;
        let (mut suspend, mut resume) = (Vec::new(), Vec::new());
        for _ in 0..RUNS {
            let begun = Instant::now();
            libvirt.suspend_cpus(id).await?;
            suspend.push(begun.elapsed());
            let begun = Instant::now();
            libvirt.resume_cpus(id).await?;
            resume.push(begun.elapsed());
        }
        Ok((suspend, resume))
    })
}
