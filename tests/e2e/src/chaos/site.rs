//! Where runs are made: on one daemon ([`Lab`]), or on roles apart ([`Apart`]). What is done there
//! and what is checked is the same.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use reprieve_core::reboot::RebootPolicy;
use uuid::Uuid;

use super::strike::Role;
use crate::cloud::{Cloud, Service};
use crate::cluster::{Cluster, Guests, Shape};
use crate::guest::Guest;
use crate::lab::{Lab, Plan, SOON};
use crate::libvirtd::Libvirtd;
use crate::virt::Virt;
use crate::wait::Deadline;

/// A cloud of which everything can be killed.
pub trait Site {
    /// The API that operations are asked of. Of several, the one that dies.
    fn asked(&self) -> &Cloud;
    /// The API through which everything is looked at.
    fn cloud(&self) -> &Cloud;
    /// libvirt.
    fn virt(&self) -> &Virt;
    /// Where servers have their files.
    fn instances(&self) -> PathBuf;
    /// Sees to it that nothing is left of a server.
    fn adopt(&self, id: Uuid);
    /// The log that tells of steps.
    fn steps(&self) -> PathBuf;
    /// What everybody says, by name.
    fn logs(&self) -> Vec<(&'static str, PathBuf)>;
    /// `kill -9`.
    ///
    /// # Errors
    /// When it does not run.
    fn kill(&self, role: Role) -> Result<()>;
    /// Starts what was killed. A host gets this policy for its servers.
    ///
    /// # Errors
    /// When it does not start.
    fn bring_back(&mut self, role: Role, policy: RebootPolicy) -> Result<()>;
    /// Waits until everything that was started serves.
    ///
    /// # Errors
    /// When it does not in time.
    fn serves(&mut self) -> Result<()>;
    /// Waits until the compute host can run guests, and everybody who is asked knows.
    ///
    /// # Errors
    /// When it cannot in time.
    fn host_is_up(&self) -> Result<()>;
    /// Ends what runs guests as an administrator would, and starts it again.
    ///
    /// # Errors
    /// When it does not end or start.
    fn restart(&mut self) -> Result<()>;

    /// A file of a server.
    fn file(&self, id: Uuid, name: &str) -> PathBuf {
        self.instances().join(id.to_string()).join(name)
    }

    /// The console of a server.
    fn guest(&self, id: Uuid) -> Guest {
        Guest::new(id, self.file(id, "console.log"), self.virt().clone())
    }
}

/// One daemon with a libvirtd of its own.
///
/// # Errors
/// When it does not serve.
pub fn one() -> Result<Lab> {
    Lab::start(Plan { own_libvirtd: true, ..Plan::default() })
}

fn own(libvirtd: Option<&Libvirtd>) -> Result<&Libvirtd> {
    libvirtd.context("there is no libvirtd of its own")
}

impl Site for Lab {
    fn asked(&self) -> &Cloud {
        &self.cloud
    }

    fn cloud(&self) -> &Cloud {
        &self.cloud
    }

    fn virt(&self) -> &Virt {
        &self.virt
    }

    fn instances(&self) -> PathBuf {
        Self::instances(self)
    }

    fn adopt(&self, id: Uuid) {
        Self::adopt(self, id);
    }

    fn steps(&self) -> PathBuf {
        self.daemon.stderr_file()
    }

    fn logs(&self) -> Vec<(&'static str, PathBuf)> {
        let libvirtd = self.libvirtd.iter().map(|libvirtd| ("libvirtd", libvirtd.log()));
        std::iter::once(("reprieved", self.daemon.stderr_file())).chain(libvirtd).collect()
    }

    fn kill(&self, role: Role) -> Result<()> {
        match role {
            Role::Reprieved => self.daemon.kill_now(),
            Role::Libvirtd => own(self.libvirtd.as_ref())?.kill(),
            Role::Api
            | Role::Conductor
            | Role::Compute
            | Role::Broker
            | Role::Database
            | Role::Host => bail!("one daemon has no {} of its own", role.name()),
        }
    }

    fn bring_back(&mut self, role: Role, _: RebootPolicy) -> Result<()> {
        match role {
            Role::Reprieved => self.daemon.start_again().map(drop),
            Role::Libvirtd => own(self.libvirtd.as_ref())?.start_again(),
            Role::Api
            | Role::Conductor
            | Role::Compute
            | Role::Broker
            | Role::Database
            | Role::Host => bail!("one daemon has no {} of its own", role.name()),
        }
    }

    fn serves(&mut self) -> Result<()> {
        // Whoever starts it has waited for that.
        Ok(())
    }

    fn host_is_up(&self) -> Result<()> {
        Self::host_is_up(self)
    }

    fn restart(&mut self) -> Result<()> {
        self.daemon.stop()?;
        self.daemon.start_again().map(drop)
    }
}

/// Two api, a conductor and a compute host on PostgreSQL, RabbitMQ and a libvirtd, all of its own.
pub struct Apart {
    cluster: Cluster,
    asked: Cloud,
    cloud: Cloud,
    agent_log: PathBuf,
    instances: PathBuf,
}

/// The compute host.
const HOST: &str = "compute1";

impl Apart {
    /// Starts all of it.
    ///
    /// # Errors
    /// When a part of it does not start, or this is not root.
    pub fn start() -> Result<Self> {
        // What the database has acknowledged has to be there after its death.
        let (durable, guests) = (true, Guests::OnMachine);
        let cluster =
            Cluster::start(Shape { computes: &[HOST], durable, guests, ..Shape::default() })?;
        let (asked, cloud) = (cluster.cloud(0)?, cluster.cloud(1)?);
        let (_, agent) = cluster.computes.first().context("there is no compute host")?;
        let (agent_log, instances) = (agent.stderr_file(), agent.data().join("instances"));
        Ok(Self { cluster, asked, cloud, agent_log, instances })
    }
}

impl Site for Apart {
    fn asked(&self) -> &Cloud {
        &self.asked
    }

    fn cloud(&self) -> &Cloud {
        &self.cloud
    }

    fn virt(&self) -> &Virt {
        &self.cluster.virt
    }

    fn instances(&self) -> PathBuf {
        self.instances.clone()
    }

    fn adopt(&self, _: Uuid) {
        // Its directory tells of it, and no guest of this libvirtd outlives it.
    }

    fn steps(&self) -> PathBuf {
        self.agent_log.clone()
    }

    fn logs(&self) -> Vec<(&'static str, PathBuf)> {
        let Cluster { apis: [first, second], conductor, libvirtd, .. } = &self.cluster;
        let own = [("api1", first), ("api2", second), ("conductor", conductor)];
        let own = own.into_iter().map(|(name, daemon)| (name, daemon.stderr_file()));
        let libvirtd = libvirtd.iter().map(|libvirtd| ("libvirtd", libvirtd.log()));
        own.chain([("compute", self.agent_log.clone())]).chain(libvirtd).collect()
    }

    fn kill(&self, role: Role) -> Result<()> {
        let Cluster { apis: [first, _], conductor, computes, broker, database, .. } = &self.cluster;
        match role {
            Role::Api => first.kill_now(),
            Role::Conductor => conductor.kill_now(),
            Role::Compute => computes.iter().try_for_each(|(_, agent)| agent.kill_now()),
            Role::Libvirtd => own(self.cluster.libvirtd.as_ref())?.kill(),
            Role::Broker => broker.kill(),
            Role::Database => database.kill_at_once(),
            Role::Host => self.cluster.cut_power(),
            Role::Reprieved => bail!("roles apart are no single reprieved"),
        }
    }

    fn bring_back(&mut self, role: Role, policy: RebootPolicy) -> Result<()> {
        let Cluster { apis: [first, _], conductor, computes, broker, database, .. } =
            &mut self.cluster;
        match role {
            Role::Api => first.spawn(),
            Role::Conductor => conductor.spawn(),
            Role::Compute => computes.iter_mut().try_for_each(|(_, agent)| agent.spawn()),
            Role::Libvirtd => own(self.cluster.libvirtd.as_ref())?.start_again(),
            Role::Broker => broker.run_again(),
            Role::Database => database.run_again(),
            Role::Host => self.cluster.boot_host(policy),
            Role::Reprieved => bail!("roles apart are no single reprieved"),
        }
    }

    fn serves(&mut self) -> Result<()> {
        self.cluster.serves()
    }

    fn host_is_up(&self) -> Result<()> {
        Cluster::is_up(&self.cloud, HOST)?;
        // Connections that it kept may have died with the one at their other end.
        Deadline::seconds(SOON).until("an answer of the api that is asked", || {
            let answer = self.asked.send("GET", Service::Compute, "/servers", None);
            Ok(answer.is_ok_and(|answer| answer.status == 200).then_some(()))
        })
    }

    fn restart(&mut self) -> Result<()> {
        for (_, agent) in &mut self.cluster.computes {
            agent.stop()?;
            agent.spawn()?;
        }
        Ok(())
    }
}
