//! The hosts: machines, the agents on them, and twins of these.
//!
//! A twin is a second agent with the name of the first, started while that one lives: by mistake on the
//! same files, by mistake with files of its own, or on another machine, as when a machine comes back
//! that was given up and replaced. The first of these cannot start while the other lives; of the others
//! the older one stops and says why, until an operator has put it right.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use reprieve_compute::host::Graces;
use reprieve_compute::ledger::LedgerError;
use reprieve_compute::metrics::StepTimes;
use reprieve_compute::{Agent, AgentConfig, AgentError};
use reprieve_core::reboot::RebootPolicy;
use reprieve_hypervisor::image_cache::{ImageCache, LocalImageSource};

use crate::clock::MachineClock;
use crate::cloud::{Cloud, sealing_key};
use crate::machine::{Machine, Restart};
use crate::network::Network;
use crate::process::Process;
use crate::story::Story;

/// A process that is not started again by itself.
pub const FOR_GOOD: Duration = Duration::MAX;
/// How long whoever looks after processes waits before it starts one again.
const AGAIN: Duration = Duration::from_secs(1);

/// How long an operator takes to see that an agent made way for nobody.
const OPERATOR: Duration = Duration::from_secs(60);

/// A place for a process.
pub enum Slot {
    /// Nothing runs there until then.
    Down(Duration),
    /// It runs.
    Up(Process),
    /// It was asked to end, and is killed then.
    Stopping(Process, Duration),
}

impl Slot {
    /// The process, if there is one.
    pub fn process(&self) -> Option<&Process> {
        match self {
            Self::Up(process) | Self::Stopping(process, _) => Some(process),
            Self::Down(_) => None,
        }
    }

    /// Ends what has ended, or has not ended in time; says whether it did.
    pub fn ends(&mut self, now: Duration, story: &Story) -> bool {
        let over = match self {
            Self::Down(_) => false,
            Self::Up(process) => process.has_ended(),
            Self::Stopping(process, until) => {
                let stopped = process.has_stopped();
                if !stopped && now >= *until {
                    story.count("processes that did not end");
                }
                stopped || now >= *until
            }
        };
        if over {
            *self = Self::Down(now + AGAIN);
        }
        over
    }

    /// Whether it is time to start a process here.
    pub fn is_due(&self, now: Duration) -> bool {
        matches!(self, Self::Down(until) if *until <= now)
    }
}

/// Why an agent has ended by itself.
type End = Arc<Mutex<Option<AgentError>>>;

/// An agent's place.
pub struct Post {
    /// The machine, as it uses it.
    pub machine: Machine,
    /// Its process.
    pub slot: Slot,
    end: End,
    /// How often it made way for another one of its name.
    pub superseded: u64,
    /// How often it could not start because another one has its files.
    pub shut_out: u64,
}

impl Post {
    /// Where nothing runs yet.
    pub fn new(machine: Machine) -> Self {
        let (slot, end) = (Slot::Down(Duration::ZERO), End::default());
        Self { machine, slot, end, superseded: 0, shut_out: 0 }
    }

    /// Whether it stopped for another one of its name and waits for an operator.
    pub fn waits(&self) -> bool {
        matches!(self.slot, Slot::Down(until) if until == FOR_GOOD)
    }

    /// Starts the `number`th agent here.
    pub fn start(
        &mut self,
        number: u64,
        (clock, after_reboot): (&MachineClock, RebootPolicy),
        (network, cloud, story): (&Network, &Cloud, &Story),
    ) -> Result<()> {
        let machine = self.machine.used_by(number);
        story.tell(format_args!("agent {number} starts on {}", machine.label()));
        let config = AgentConfig {
            after_reboot,
            ..config(&machine, clock, &network.used_by(number), cloud)
        };
        let mut process = Process::start()?;
        let (stop, story, end) = (process.shutdown(), story.clone(), Arc::clone(&self.end));
        process.add(async move {
            if let Err(error) = Agent::run(config, stop).await {
                let label = machine.label();
                story.tell(format_args!("agent {number} on {label} ends: {error}"));
                *end.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            }
        });
        self.slot = Slot::Up(process);
        Ok(())
    }

    /// Ends what has ended. An agent that made way for another one is not started again by whoever
    /// looks after processes (its exit code says so).
    pub fn ends(&mut self, now: Duration, story: &Story) {
        if !self.slot.ends(now, story) {
            return;
        }
        let ended = self.end.lock().unwrap_or_else(PoisonError::into_inner).take();
        match ended {
            Some(AgentError::Superseded { .. }) => {
                self.superseded += 1;
                story.count("agents that made way for another of their name");
                self.slot = Slot::Down(FOR_GOOD);
            }
            Some(AgentError::Ledger(LedgerError::InUse { .. })) => {
                self.shut_out += 1;
                story.count("agents shut out by another on their files");
            }
            Some(AgentError::Ledger(_) | AgentError::Bus(_)) => {
                story.tell("an agent has ended by itself");
            }
            None => {}
        }
    }

    /// Its machine is restarted, and up again then. That starts one that made way, too.
    pub fn is_restarted(&mut self, until: Duration) {
        self.slot = Slot::Down(until);
    }

    /// It is killed, and down until then. One that waits for an operator goes on waiting.
    pub fn kill(&mut self, until: Duration) {
        if !self.waits() {
            self.slot = Slot::Down(until);
        }
    }
}

fn config(
    machine: &Machine,
    clock: &MachineClock,
    network: &Network,
    cloud: &Cloud,
) -> AgentConfig {
    AgentConfig {
        host: machine.name.clone(),
        instances_dir: machine.instances(),
        ledger_file: machine.ledger(),
        cache: ImageCache::new(machine.cache()),
        images: Arc::new(LocalImageSource::new(cloud.images())),
        hypervisor: Arc::new(machine.clone()),
        bus: Arc::new(network.clone()),
        clock: Arc::new(clock.clone()),
        sealing_key: sealing_key(),
        graces: Graces {
            shutdown: Duration::from_secs(4),
            soft_reboot: Duration::from_secs(6),
            longest: Duration::from_secs(10),
        },
        consoles: None,
        step_times: StepTimes::default(),
        machine_boot: Some(machine.boot_id()),
        after_reboot: RebootPolicy::default(),
    }
}

/// What a twin shares with the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Likeness {
    /// Everything.
    SameFiles,
    /// Machine and hypervisor, but it has files of its own.
    OwnFiles,
    /// Only the name.
    OwnMachine,
}

/// A host: all that goes by its name.
pub struct Host {
    /// The clock of its machine.
    pub clock: MachineClock,
    /// What is done with its servers when its machine was restarted.
    pub after_reboot: RebootPolicy,
    /// Where its agent belongs.
    pub post: Post,
    /// A second agent with its name.
    pub twin: Option<(Likeness, Post)>,
    /// Twins so far.
    pub twins: u32,
    /// Restarts of its machine so far.
    pub restarts: usize,
}

impl Host {
    /// Its machine.
    pub fn machine(&self) -> &Machine {
        &self.post.machine
    }

    /// All places of agents.
    pub fn posts(&self) -> impl Iterator<Item = &Post> {
        std::iter::once(&self.post).chain(self.twin.iter().map(|(_, post)| post))
    }

    /// The same, to change them.
    pub fn posts_mut(&mut self) -> impl Iterator<Item = &mut Post> {
        std::iter::once(&mut self.post).chain(self.twin.iter_mut().map(|(_, post)| post))
    }

    /// An agent that made way for another one which is not there any more is started again: the greeting
    /// of one that is gone may come late.
    pub fn is_looked_after(&mut self, now: Duration) {
        if self.twin.is_none() && self.post.waits() {
            self.post.slot = Slot::Down(now + OPERATOR);
        }
    }

    /// Its machine is restarted, and up again then.
    pub fn restart(&mut self, how: Restart, until: Duration) {
        self.restarts += 1;
        self.machine().restart(how, until);
        self.post.is_restarted(until);
        if let Some((Likeness::SameFiles | Likeness::OwnFiles, twin)) = &mut self.twin {
            twin.is_restarted(until);
        }
    }

    /// Makes the place of a twin. `other` makes another machine of this label.
    pub fn add_twin(
        &mut self,
        likeness: Likeness,
        root: &Path,
        other: impl FnOnce(&str) -> Machine,
    ) -> Result<()> {
        self.twins += 1;
        let label = format!("{}-twin{}", self.machine().name, self.twins);
        let machine = match likeness {
            Likeness::SameFiles => self.machine().clone(),
            Likeness::OwnFiles => self.machine().with_files(&root.join(&label)),
            Likeness::OwnMachine => other(&label).known_as(&self.machine().name),
        };
        std::fs::create_dir_all(machine.instances())?;
        self.twin = Some((likeness, Post::new(machine)));
        Ok(())
    }
}
