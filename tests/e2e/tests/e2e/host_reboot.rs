//! The machine of a compute host is restarted on purpose: what ran on it is suspended before, and goes
//! on afterwards.

use anyhow::{Result, ensure};
use reprieve_core::reboot::RebootPolicy;
use reprieve_e2e::cloud::{Cloud, NewServer};
use reprieve_e2e::cluster::{Cluster, Guests, Shape};
use reprieve_e2e::lab::{BOOT, Booted, OPERATION, SOON};
use reprieve_e2e::places;
use reprieve_e2e::run::Run;
use reprieve_e2e::wait::Deadline;
use serde_json::{Value, json};

const HOST: &str = "compute1";

fn soon() -> Deadline {
    Deadline::seconds(SOON)
}

fn operation() -> Deadline {
    Deadline::seconds(OPERATION)
}

fn boot(cluster: &Cluster, cloud: &Cloud, new: &NewServer) -> Result<Booted> {
    let id = cloud.create(new)?;
    cloud.rests(id, "ACTIVE", operation())?;
    let guest = cluster.guest(0, id);
    let boot = guest.booted(Deadline::seconds(BOOT))?;
    Ok(Booted { id, guest, boot })
}

fn host_command(cluster: &Cluster, args: &[&str]) -> Result<Run> {
    Ok(cluster.reprieve(&["host"])?.args(args).within(OPERATION))
}

/// What `reprieve host show` says.
fn host(cluster: &Cluster) -> Result<Value> {
    host_command(cluster, &["show", HOST, "-f", "json"])?.ok()?.json()
}

#[test]
fn servers_that_are_suspended_for_a_restart_of_their_host_go_on_after_it() -> Result<()> {
    let shape = Shape { computes: &[HOST], guests: Guests::OnMachine, ..Shape::default() };
    let mut cluster = Cluster::start(shape)?;
    restart(&mut cluster).inspect_err(|_| eprintln!("{}", cluster.said()))
}

fn restart(cluster: &mut Cluster) -> Result<()> {
    let cloud = cluster.cloud(0)?;
    let image = cloud.upload("tiny", "qcow2", &places::image("tiny")?, &json!({}))?;
    let flavor = cloud.flavor("e2e", 128, 1)?;
    let named = |name: &str| NewServer {
        name: name.to_owned(),
        image: image.clone(),
        flavor: flavor.clone(),
        ..NewServer::default()
    };
    let runs = boot(cluster, &cloud, &named("runs"))?;
    let asleep = boot(cluster, &cloud, &named("asleep"))?;
    let paused = boot(cluster, &cloud, &named("paused"))?;
    cloud.action(asleep.id, &json!({ "suspend": null }))?.expect(202)?;
    cloud.rests(asleep.id, "SUSPENDED", operation())?;
    cloud.action(paused.id, &json!({ "pause": null }))?.expect(202)?;
    cloud.rests(paused.id, "PAUSED", operation())?;

    // The one that is paused would lose its memory, and an operator who is about to go on is told.
    let drain = ["drain", HOST, "--suspend", "--wait", "-f", "json"];
    let refused = host_command(cluster, &drain)?.go()?;
    ensure!(refused.code == Some(1), "{refused:?}");
    ensure!(
        refused.stderr.contains("1 guest with its memory; servers there: 1 paused"),
        "{}",
        refused.stderr
    );
    cloud.rests(runs.id, "SUSPENDED", operation())?;
    cloud.action(paused.id, &json!({ "unpause": null }))?.expect(202)?;
    cloud.rests(paused.id, "ACTIVE", operation())?;
    let drained = host_command(cluster, &drain)?.ok()?.json()?;
    ensure!(drained["servers_by_state"] == json!({ "suspended": 3 }), "{drained}");
    ensure!(drained["suspended_for_host"] == 2, "{drained}");
    let [ran, slept, stood] = [&runs, &asleep, &paused].map(|one| one.guest.last_beat());
    let (ran, slept, stood) = (ran?, slept?, stood?);

    cluster.cut_power()?;
    cluster.boot_host(RebootPolicy::Resume)?;
    Cluster::is_up(&cloud, HOST)?;
    for (server, before) in [(&runs, ran), (&paused, stood)] {
        cloud.rests(server.id, "ACTIVE", operation())?;
        server.goes_on(before)?;
    }
    // Its user suspended it.
    let server = cloud.rests(asleep.id, "SUSPENDED", soon())?;
    ensure!(server.fault().is_empty(), "{}", server.fault());
    ensure!(host(cluster)?["suspended_for_host"] == 0);

    // Without a restart, whoever drained it says when they go on.
    let drained = host_command(cluster, &drain)?.ok()?.json()?;
    ensure!(drained["suspended_for_host"] == 2, "{drained}");
    let ran = runs.guest.last_beat()?;
    host_command(cluster, &["enable", HOST, "--resume", "--wait"])?.ok()?;
    cloud.rests(runs.id, "ACTIVE", soon())?;
    runs.goes_on(ran)?;
    cloud.rests(asleep.id, "SUSPENDED", soon())?;
    cloud.action(asleep.id, &json!({ "resume": null }))?.expect(202)?;
    cloud.rests(asleep.id, "ACTIVE", operation())?;
    asleep.goes_on(slept)
}
