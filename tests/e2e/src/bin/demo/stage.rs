//! Where the scenes are played: one daemon, or the processes of several machines on this one.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use reprieve_e2e::cloud::{Cloud, NewServer};
use reprieve_e2e::cluster::{Cluster, Shape};
use reprieve_e2e::daemon::{DEFAULT_PORT, Daemon};
use reprieve_e2e::firehose::{Carried, Firehose};
use reprieve_e2e::guest::Guest;
use reprieve_e2e::lab::{BOOT, Booted, Lab, OPERATION, Plan, SOON, timed};
use reprieve_e2e::virt::Virt;
use reprieve_e2e::wait::Deadline;
use reprieve_test_daemons::free_port;
use uuid::Uuid;

use crate::show::Show;

/// The stage.
pub enum Stage {
    /// `reprieved` alone.
    One(Box<Lab>),
    /// Two api, one conductor and two computes on PostgreSQL and RabbitMQ.
    Several(Box<Several>),
}

/// A cluster and who looks at it.
pub struct Several {
    firehose: Firehose,
    /// Through the second api; what is done is asked of the first.
    cloud: Cloud,
    cluster: Cluster,
}

impl Stage {
    /// One daemon with no configuration at all, on its usual port if that is free.
    ///
    /// # Errors
    /// When it does not serve.
    pub fn one(dir: PathBuf, show: &Show) -> Result<Self> {
        let (port, why) = match std::net::TcpListener::bind(("127.0.0.1", DEFAULT_PORT)) {
            Ok(_) => (DEFAULT_PORT, ""),
            Err(_) => (free_port()?, "port 8774 is taken, so with another one: "),
        };
        let plan = Plan { dir: Some(dir), port: Some(port), as_found: true, ..Plan::default() };
        let (lab, took) = timed(|| Lab::start(plan))?;
        show.asked(&format!("{why}{}", lab.daemon.command_line()));
        show.plain(&format!(
            "serves {} after {} ms; clients find it with OS_CLIENT_CONFIG_FILE={}",
            lab.daemon.url(),
            took.as_millis(),
            lab.daemon.data().join("clouds.yaml").display()
        ));
        Ok(Self::One(Box::new(lab)))
    }

    /// What several machines would run.
    ///
    /// # Errors
    /// When a part of it does not start.
    pub fn several(dir: PathBuf, show: &Show) -> Result<Self> {
        show.plain("starting PostgreSQL, RabbitMQ, two api, one conductor and two computes");
        let shape = Shape { dir: Some(dir), ..Shape::default() };
        let (cluster, took) = timed(|| Cluster::start(shape))?;
        for daemon in daemons(&cluster) {
            show.asked(&daemon.command_line());
        }
        let [first, second] = &cluster.apis;
        show.plain(&format!("{} and {} serve", first.url(), second.url()));
        show.plain(&format!("both hosts can run guests after {:.1} s", took.as_secs_f64()));
        let (firehose, cloud) = (Firehose::open(&cluster.broker)?, cluster.cloud(0)?);
        Ok(Self::Several(Box::new(Several { firehose, cloud, cluster })))
    }

    /// The API.
    pub fn cloud(&self) -> &Cloud {
        match self {
            Self::One(lab) => &lab.cloud,
            Self::Several(several) => &several.cloud,
        }
    }

    /// libvirt.
    pub fn virt(&self) -> &Virt {
        match self {
            Self::One(lab) => &lab.virt,
            Self::Several(several) => &several.cluster.virt,
        }
    }

    /// Creates a server and waits until it is ACTIVE and its guest has booted.
    ///
    /// # Errors
    /// When it does not.
    pub fn boot(&self, server: &NewServer) -> Result<Booted> {
        match self {
            Self::One(lab) => lab.boot(server),
            Self::Several(several) => {
                let id = several.cloud.create(server)?;
                several.cloud.rests(id, "ACTIVE", Deadline::seconds(OPERATION))?;
                let host = several.cluster.host_of(&several.cloud, id)?;
                let guest: Guest = several.cluster.guest(host, id);
                let boot = guest.booted(Deadline::seconds(BOOT))?;
                Ok(Booted { id, guest, boot })
            }
        }
    }

    /// A file of a server on its host.
    ///
    /// # Errors
    /// When it has no host.
    pub fn file(&self, id: Uuid, name: &str) -> Result<PathBuf> {
        match self {
            Self::One(lab) => Ok(lab.file(id, name)),
            Self::Several(several) => {
                let host = several.cluster.host_of(&several.cloud, id)?;
                Ok(several.cluster.file(host, id, name))
            }
        }
    }

    /// The lines about a request in all logs, as `reprieve trace` prints them.
    ///
    /// # Errors
    /// When it finds none.
    pub fn trace(&self, request: &str) -> Result<String> {
        let mut run = match self {
            Self::One(lab) => lab.reprieve(&["trace", request])?,
            Self::Several(several) => several.cluster.reprieve(&["trace", request])?,
        };
        for home in self.homes() {
            run = run.arg("--log-dir").arg(home.join("log"));
        }
        Ok(run.ok()?.stdout)
    }

    /// What the broker carried for a request; `None` when there is no broker.
    ///
    /// # Errors
    /// When it has not carried it in time.
    pub fn messages(&self, request: &str) -> Result<Option<Vec<Carried>>> {
        match self {
            Self::One(_) => Ok(None),
            Self::Several(several) => {
                several.firehose.messages_of(request, Deadline::seconds(SOON)).map(Some)
            }
        }
    }

    /// Data directories of all processes.
    pub fn homes(&self) -> Vec<&Path> {
        match self {
            Self::One(lab) => vec![lab.daemon.data()],
            Self::Several(several) => daemons(&several.cluster).map(Daemon::data).collect(),
        }
    }

    /// What the processes said last.
    pub fn said(&self) -> String {
        match self {
            Self::One(lab) => lab.daemon.said(),
            Self::Several(several) => several.cluster.said(),
        }
    }

    /// The request that was last made about a server.
    ///
    /// # Errors
    /// When it has no action.
    pub fn last_request(&self, id: Uuid) -> Result<String> {
        let path = format!("/servers/{id}/os-instance-actions");
        let actions = self.cloud().get(reprieve_e2e::cloud::Service::Compute, &path)?;
        let request = actions["instanceActions"][0]["request_id"].as_str();
        request.map(str::to_owned).context("the server has no action")
    }
}

fn daemons(cluster: &Cluster) -> impl Iterator<Item = &Daemon> {
    let computes = cluster.computes.iter().map(|(_, daemon)| daemon);
    cluster.apis.iter().chain([&cluster.conductor]).chain(computes)
}
