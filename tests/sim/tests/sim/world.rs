//! One simulated cloud: machines, agents, the control plane, its users, and what befalls them.
//!
//! Time goes by in ticks of chance's length. In each, every process runs, in chance's order, until it
//! waits for the end of the tick. Between ticks, processes are killed and started, clocks are set,
//! and messages arrive.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use reprieve_compute::host::Graces;
use reprieve_compute::metrics::StepTimes;
use reprieve_compute::{Agent, AgentConfig};
use reprieve_control::Control;
use reprieve_core::Clock;
use reprieve_core::reboot::RebootPolicy;
use reprieve_hypervisor::image_cache::{ImageCache, LocalImageSource};
use reprieve_outside::simulation::{self, finish};
use reprieve_store::{InstanceQuery, InstanceRecord, Store};
use tokio::runtime::Handle;

use crate::chance::Chance;
use crate::check::Disks;
use crate::clock::{MachineClock, Now};
use crate::cloud::{Cloud, Part, sealing_key};
use crate::judge::Judge;
use crate::machine::Machine;
use crate::network::Network;
use crate::process::Process;
use crate::story::Story;
use crate::users::{self, Replies, Wish};

/// How often guests count.
const GUESTS: Duration = Duration::from_millis(200);
/// How long a process that is asked to end may take.
const STOP: Duration = Duration::from_secs(15);

/// A place for a process.
pub enum Slot {
    /// Nothing runs there until then.
    Down(Duration),
    /// It runs.
    Up(Process),
    /// It was asked to end, and is killed then.
    Stopping(Process, Duration),
}

/// An agent and its machine.
pub struct Host {
    /// The machine.
    pub machine: Machine,
    /// Its clock.
    pub clock: MachineClock,
    /// The agent.
    pub slot: Slot,
}

/// A part of the control plane.
pub struct Controller {
    /// Which.
    pub part: Part,
    /// Its process.
    pub slot: Slot,
    control: Option<Arc<Control>>,
}

/// All of it.
pub struct World {
    /// The true time.
    pub now: Now,
    /// What happened.
    pub story: Story,
    /// Who watches.
    pub judge: Judge,
    /// The bus.
    pub network: Network,
    /// The control plane's lasting things.
    pub cloud: Cloud,
    /// Its processes.
    pub controllers: Vec<Controller>,
    /// The hosts.
    pub hosts: Vec<Host>,
    /// Replies to the users.
    pub replies: Replies,
    /// Own disks as they were seen last.
    pub disks: Disks,
    store: Option<Store>,
    /// Carries out what hypervisors do.
    metal: Process,
    chance: Chance,
    calm: Arc<AtomicBool>,
    guests_count_at: Duration,
}

impl World {
    /// Makes one in `root`, with all processes down. `outside` does the work outside of it.
    pub fn new(
        seed: u64,
        root: &Path,
        (story, now): (Story, Now),
        outside: &'static Handle,
    ) -> Result<Self> {
        let mut chance = Chance::new(seed, "world");
        let calm = Arc::new(AtomicBool::new(true));
        now.advance(Duration::ZERO);
        simulation::enter(outside, pace(seed, &calm));
        let judge = Judge::new(&story);
        let network = Network::new(seed, &now, &story, &judge);
        let cloud = Cloud::new(root, &network, MachineClock::new(&now))?;
        let metal = Process::start()?;
        let mut hosts = Vec::new();
        for number in 1..=chance.below(3) + 1 {
            let name = format!("h{number}");
            let machine = Machine::new(seed, &name, root, (&story, metal.handle()));
            std::fs::create_dir_all(machine.instances())?;
            judge.watch(&machine.name, &machine.fake);
            let clock = MachineClock::new(&now);
            hosts.push(Host { machine, clock, slot: Slot::Down(Duration::ZERO) });
        }
        let apart = chance.permille(300);
        let parts = if apart { vec![Part::Api, Part::Conductor] } else { vec![Part::All] };
        story.tell(format_args!("{} hosts, control plane {parts:?}", hosts.len()));
        let controller =
            |part| Controller { part, slot: Slot::Down(Duration::ZERO), control: None };
        let controllers = parts.into_iter().map(controller).collect();
        Ok(Self {
            now,
            story,
            judge,
            network,
            cloud,
            controllers,
            hosts,
            replies: Replies::default(),
            disks: Disks::new(),
            store: None,
            metal,
            chance,
            calm,
            guests_count_at: GUESTS,
        })
    }

    /// Nothing goes wrong any more, or things may go wrong.
    pub fn set_calm(&mut self, calm: bool) {
        self.calm.store(calm, Ordering::Relaxed);
        self.network.set_calm(calm);
        for host in &self.hosts {
            host.machine.set_calm(calm);
        }
    }

    /// The database, for reading; opened if no process has it open.
    pub fn store(&mut self) -> Result<Store> {
        if self.store.is_none() {
            self.store = Some(self.cloud.open()?);
        }
        self.store.clone().context("the database is closed")
    }

    /// Servers that are not deleted, oldest first.
    pub fn servers(&mut self) -> Result<Vec<Arc<InstanceRecord>>> {
        let query = InstanceQuery { limit: 1000, ..InstanceQuery::default() };
        let mut servers = finish(self.store()?.instances(&query))?.instances;
        servers.sort_by_key(|server| server.number);
        Ok(servers)
    }

    /// The process that takes requests, if it runs.
    fn api(&self) -> Option<(&Process, &Arc<Control>)> {
        self.controllers.iter().find_map(|controller| {
            let (Slot::Up(process), Some(control)) = (&controller.slot, &controller.control) else {
                return None;
            };
            (controller.part != Part::Conductor).then_some((process, control))
        })
    }

    /// Lets a user ask; `false` when nobody takes requests.
    pub fn ask(&self, wish: Wish) -> bool {
        let Some((process, control)) = self.api() else { return false };
        let images = (self.cloud.image, self.cloud.rescue_image);
        let told = (self.story.clone(), self.replies.clone());
        process.handle().spawn(users::ask(Arc::clone(control), wish, images, told));
        true
    }

    /// Lets `time` go by.
    pub fn run_for(&mut self, time: Duration) -> Result<()> {
        let end = self.now.since_begin() + time;
        while self.now.since_begin() < end {
            self.tick()?;
        }
        Ok(())
    }

    /// Lets a little time go by.
    pub fn tick(&mut self) -> Result<()> {
        self.start_what_is_due()?;
        {
            // The bus measures time while it waits for room.
            let _entered = self.metal.handle().enter();
            self.network.deliver();
        }
        let lengths =
            if self.calm.load(Ordering::Relaxed) { [20, 50, 100, 200] } else { [2, 6, 15, 50] };
        let length = self.chance.pick(&lengths).copied().unwrap_or(10);
        let tick = Duration::from_millis(length);
        let mut order: Vec<usize> = (0..=self.controllers.len() + self.hosts.len()).collect();
        self.chance.shuffle(&mut order);
        for which in order {
            let controllers = self.controllers.len();
            let slot = match which.checked_sub(controllers) {
                None => self.controllers.get(which).map(|controller| &controller.slot),
                Some(host) => self.hosts.get(host).map(|host| &host.slot),
            };
            match slot {
                Some(Slot::Up(process) | Slot::Stopping(process, _)) => process.step(tick),
                Some(Slot::Down(_)) => {}
                None => self.metal.step(tick),
            }
        }
        self.now.advance(tick);
        if self.now.since_begin() >= self.guests_count_at {
            self.guests_count_at = self.now.since_begin() + GUESTS;
            for host in &self.hosts {
                host.machine.fake.advance(1);
            }
        }
        self.judge.look();
        self.end_what_has_ended()
    }

    fn start_what_is_due(&mut self) -> Result<()> {
        let now = self.now.since_begin();
        let due = |slot: &Slot| matches!(slot, Slot::Down(until) if *until <= now);
        for index in 0..self.controllers.len() {
            if self.controllers.get(index).is_some_and(|controller| due(&controller.slot)) {
                let store = self.store()?;
                let Some(controller) = self.controllers.get_mut(index) else { continue };
                self.story.tell(format_args!("{:?} starts", controller.part));
                let (process, control) = self.cloud.start(controller.part, &store)?;
                (controller.slot, controller.control) = (Slot::Up(process), Some(control));
            }
        }
        for host in &mut self.hosts {
            if due(&host.slot) {
                self.story.tell(format_args!("agent {} starts", host.machine.name));
                host.slot = Slot::Up(start_agent(host, &self.network, &self.cloud, &self.story)?);
            }
        }
        Ok(())
    }

    fn end_what_has_ended(&mut self) -> Result<()> {
        let now = self.now.since_begin();
        let slots = self.controllers.iter_mut().map(|controller| &mut controller.slot);
        let slots = slots.chain(self.hosts.iter_mut().map(|host| &mut host.slot));
        for slot in slots {
            match slot {
                Slot::Up(process) if process.has_ended() => {
                    self.story.tell("a process has ended by itself");
                    *slot = Slot::Down(now + Duration::from_secs(1));
                }
                Slot::Stopping(process, until) => {
                    let stopped = process.has_stopped();
                    if !stopped && now >= *until {
                        self.story.count("processes that did not end");
                    }
                    if stopped || now >= *until {
                        *slot = Slot::Down(now + Duration::from_secs(1));
                    }
                }
                Slot::Up(_) | Slot::Down(_) => {}
            }
        }
        self.close_if_unused();
        Ok(())
    }

    /// A database that no process has open is opened anew by the next one.
    fn close_if_unused(&mut self) {
        let down = |controller: &Controller| matches!(controller.slot, Slot::Down(_));
        if self.controllers.iter().all(down) {
            for controller in &mut self.controllers {
                controller.control = None;
            }
            if let Some(store) = self.store.take() {
                // A killed process closes nothing, but two that are open are not what is simulated.
                if let Err(error) = finish(store.close()) {
                    self.story.tell(format_args!("the database was not closed: {error}"));
                }
            }
        }
    }

    /// Kills a process of the control plane; it is down for so long.
    pub fn kill_controller(&mut self, index: usize, down: Duration) {
        let until = self.now.since_begin() + down;
        if let Some(controller) = self.controllers.get_mut(index) {
            let part = controller.part;
            self.story.tell(format_args!("{part:?} is killed for {} ms", down.as_millis()));
            controller.control = None;
            controller.slot = Slot::Down(until);
        }
        self.close_if_unused();
    }

    /// Kills an agent; it is down for so long.
    pub fn kill_agent(&mut self, index: usize, down: Duration) {
        let until = self.now.since_begin() + down;
        if let Some(host) = self.hosts.get_mut(index) {
            let name = &host.machine.name;
            self.story.tell(format_args!("agent {name} is killed for {} ms", down.as_millis()));
            host.slot = Slot::Down(until);
        }
    }

    /// Asks a process to end: one of the control plane, or behind these an agent.
    pub fn stop(&mut self, index: usize) {
        let until = self.now.since_begin() + STOP;
        let controllers = self.controllers.len();
        let slot = match index.checked_sub(controllers) {
            None => self.controllers.get_mut(index).map(|controller| &mut controller.slot),
            Some(host) => self.hosts.get_mut(host).map(|host| &mut host.slot),
        };
        let Some(slot) = slot else { return };
        if let Slot::Up(process) = slot {
            process.shutdown().cancel();
            self.story.tell(format_args!("process {index} is asked to end"));
        }
        let before = std::mem::replace(slot, Slot::Down(until));
        *slot = match before {
            Slot::Up(process) => Slot::Stopping(process, until),
            other => other,
        };
    }

    /// Starts everything that is down.
    pub fn start_all(&mut self) -> Result<()> {
        let slots = self.controllers.iter_mut().map(|controller| &mut controller.slot);
        for slot in slots.chain(self.hosts.iter_mut().map(|host| &mut host.slot)) {
            if let Slot::Down(until) = slot {
                *until = Duration::ZERO;
            }
        }
        self.start_what_is_due()
    }

    /// Waits until all hosts can take servers.
    pub fn wait_for_hosts(&mut self) -> Result<()> {
        for _ in 0..600 {
            self.run_for(Duration::from_millis(500))?;
            let (store, now) = (self.store()?, self.cloud.clock.now());
            let hosts = finish(store.hosts())?;
            if hosts.len() == self.hosts.len() && hosts.iter().all(|host| host.is_up(now)) {
                return Ok(());
            }
        }
        bail!("not all hosts have come up within five minutes without faults")
    }
}

fn start_agent(host: &Host, network: &Network, cloud: &Cloud, story: &Story) -> Result<Process> {
    let machine = &host.machine;
    let config = AgentConfig {
        host: machine.name.clone(),
        instances_dir: machine.instances(),
        ledger_file: machine.ledger(),
        cache: ImageCache::new(machine.cache()),
        images: Arc::new(LocalImageSource::new(cloud.images())),
        hypervisor: Arc::new(machine.clone()),
        bus: Arc::new(network.clone()),
        clock: Arc::new(host.clock.clone()),
        sealing_key: sealing_key(),
        graces: Graces {
            shutdown: Duration::from_secs(4),
            soft_reboot: Duration::from_secs(6),
            longest: Duration::from_secs(10),
        },
        consoles: None,
        step_times: StepTimes::default(),
        // Machines of the simulation are not restarted, only what runs on them.
        machine_boot: None,
        after_reboot: RebootPolicy::default(),
    };
    let mut process = Process::start()?;
    let (stop, story, name) = (process.shutdown(), story.clone(), machine.name.clone());
    process.add(async move {
        if let Err(error) = Agent::run(config, stop).await {
            story.tell(format_args!("agent {name} ends: {error}"));
        }
    });
    Ok(process)
}

/// How long work outside of the runtime seems to take: nothing, mostly.
fn pace(seed: u64, calm: &Arc<AtomicBool>) -> simulation::Pace {
    let (mut chance, calm) = (Chance::new(seed, "pace"), Arc::clone(calm));
    Box::new(move || {
        if calm.load(Ordering::Relaxed) || !chance.permille(60) {
            return (Duration::ZERO, Duration::ZERO);
        }
        let longest = if chance.permille(20) { 4000 } else { 60 };
        (chance.mostly_short(longest), chance.mostly_short(longest))
    })
}
