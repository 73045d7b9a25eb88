//! Roles apart: two api, one conductor and two computes on PostgreSQL and RabbitMQ. What is asked of
//! one api is seen through the other, and whoever dies in the middle of an operation, it ends well.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use reprieve_e2e::cloud::{Cloud, NewServer};
use reprieve_e2e::cluster::{Cluster, Shape};
use reprieve_e2e::guest::Guest;
use reprieve_e2e::lab::{BOOT, OPERATION, SOON};
use reprieve_e2e::places;
use reprieve_e2e::wait::Deadline;
use serde_json::{Value, json};
use uuid::Uuid;

/// A cluster with one booted server.
struct Scene<'a> {
    cluster: &'a mut Cluster,
    one: Cloud,
    other: Cloud,
    server: Uuid,
    host: usize,
    guest: Guest,
    boot_id: String,
}

impl<'a> Scene<'a> {
    fn set(cluster: &'a mut Cluster) -> Result<Self> {
        let (one, other) = (cluster.cloud(0)?, cluster.cloud(1)?);
        let image = one.upload("tiny", "qcow2", &places::image("tiny")?, &json!({}))?;
        let flavor = other.flavor("e2e", 128, 1)?;
        let new = NewServer { name: "apart".into(), image, flavor, ..NewServer::default() };
        let server = one.create(&new)?;
        other.rests(server, "ACTIVE", Deadline::seconds(OPERATION))?;
        let host = cluster.host_of(&other, server)?;
        let guest = cluster.guest(host, server);
        let boot_id = guest.booted(Deadline::seconds(BOOT))?.boot_id;
        Ok(Self { cluster, one, other, server, host, guest, boot_id })
    }

    /// Asks one api, and waits with the other.
    fn perform(&self, action: &str, status: &str) -> Result<()> {
        self.ask(action)?;
        self.rests(action, status)
    }

    fn ask(&self, action: &str) -> Result<()> {
        self.one.action(self.server, &json!({ action: null }))?.expect(202).map(drop)
    }

    fn rests(&self, action: &str, status: &str) -> Result<()> {
        let rests = self.other.rests(self.server, status, Deadline::seconds(OPERATION));
        rests.map(drop).with_context(|| action.to_owned())
    }

    /// Suspends, with `kill` in the middle, and sees that the guest goes on where it was.
    fn suspended_while(&mut self, kill: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        self.guest.beat_after(0, Deadline::seconds(SOON))?;
        self.ask("suspend")?;
        kill(self)?;
        self.rests("suspend", "SUSPENDED")?;
        let before = self.guest.last_beat()?;
        self.perform("resume", "ACTIVE")?;
        let after = self.guest.beat_after(before, Deadline::seconds(SOON))?;
        ensure!(after <= before + 3, "the count went from {before} to {after}");
        let command = "cat /proc/sys/kernel/random/boot_id";
        let boot_id = self.guest.shell(command, Deadline::seconds(SOON))?;
        ensure!(boot_id == self.boot_id, "the guest booted anew");
        Ok(())
    }

    /// Whether the host has begun to write the guest's memory.
    fn saving(&self) -> bool {
        let manifest = self.cluster.file(self.host, self.server, "save/manifest.json");
        let read = fs::read(manifest).ok();
        let manifest = read.and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
        manifest.is_some_and(|manifest| manifest["state"] == "saving")
    }
}

fn with_cluster(test: impl FnOnce(&mut Cluster) -> Result<()>) -> Result<()> {
    let mut cluster = Cluster::start(Shape::default())?;
    test(&mut cluster).inspect_err(|_| eprintln!("{}", cluster.said()))
}

#[test]
fn operations_end_well_whoever_dies() -> Result<()> {
    with_cluster(|cluster| {
        let mut scene = Scene::set(cluster)?;
        scene.perform("pause", "PAUSED")?;
        scene.perform("unpause", "ACTIVE")?;
        // The conductor, as soon as something was accepted. Nothing is recorded until it is back.
        scene.suspended_while(|scene| {
            scene.cluster.conductor.kill()?;
            scene.cluster.conductor.start_again().map(drop)
        })?;
        // The compute host, while it writes the memory.
        scene.suspended_while(|scene| {
            let deadline = Deadline::seconds(OPERATION);
            deadline.until("the moment to kill the host", || Ok(scene.saving().then_some(())))?;
            let (_, compute) = &mut scene.cluster.computes[scene.host];
            compute.kill()?;
            compute.start_again().map(drop)
        })?;
        // The broker, with everything that is in it.
        scene.suspended_while(|scene| {
            scene.cluster.broker.kill()?;
            scene.cluster.broker.run_again()
        })?;
        // The conductor again, for good: a second one stands by.
        let mut spare = scene.cluster.another("spare", "conductor", "spare")?;
        spare.start_again()?;
        let stands_by = || Ok(spare.said().contains("ready").then_some(()));
        Deadline::seconds(SOON).until("start of the second conductor", stands_by)?;
        scene.suspended_while(|scene| scene.cluster.conductor.kill())?;
        // The api that was asked; the other one goes on.
        scene.suspended_while(|scene| {
            scene.cluster.apis[0].kill()?;
            scene.rests("suspend", "SUSPENDED")?;
            scene.cluster.apis[0].start_again().map(drop)
        })?;
        spare.stop()
    })
}

#[test]
fn the_older_of_two_hosts_with_one_name_stops_and_says_why() -> Result<()> {
    with_cluster(|cluster| {
        let cloud = cluster.cloud(0)?;
        let mut second = cluster.another("impostor", "compute", "compute2")?;
        second.start_again()?;
        let (_, older) = &mut cluster.computes[1];
        let code = older.ends(Deadline::seconds(SOON))?;
        ensure!(code == 3, "it ended with {code}");
        let said = older.said();
        ensure!(said.contains("another compute agent called compute2 has registered"), "{said}");
        // The newer one is the host now.
        let registered =
            || Ok(second.said().contains("registered with the control plane").then_some(()));
        Deadline::seconds(SOON).until("registration of the newer one", registered)?;
        Cluster::is_up(&cloud, "compute2")?;
        second.stop()
    })
}

#[test]
fn no_log_has_a_password_of_the_installation() -> Result<()> {
    with_cluster(|cluster| {
        let Scene { cluster, .. } = Scene::set(cluster)?;
        // With the broker away for a moment there is much to say about it.
        cluster.broker.kill()?;
        cluster.broker.run_again()?;
        Cluster::is_up(&cluster.cloud(1)?, "compute1")?;
        let stopped: Result<Vec<()>> = cluster.all().map(|daemon| daemon.stop()).collect();
        stopped?;
        let password = reprieve_e2e::cloud::Credentials::read(&cluster.clouds_yaml())?.password;
        for daemon in cluster.all() {
            let text = fs::read_to_string(daemon.stderr_file())?;
            ensure!(!text.contains("guest:guest") && !text.contains(&password), "{text}");
        }
        Ok(())
    })
}
