//! One simulated cloud: machines, agents, the control plane, its users, and what befalls them.
//!
//! Time goes by in ticks of chance's length. In each, every process runs, in chance's order, until it
//! waits for the end of the tick. Between ticks, processes are killed and started, clocks are set,
//! and messages arrive.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use reprieve_control::Control;
use reprieve_core::reboot::RebootPolicy;
use reprieve_core::{Clock, HostName};
use reprieve_outside::simulation::{self, finish};
use reprieve_store::{InstanceQuery, InstanceRecord, Store};
use tokio::runtime::Handle;

use crate::chance::Chance;
use crate::check::Seen;
use crate::clock::{MachineClock, Now};
use crate::cloud::{Cloud, Part};
use crate::hosts::{Host, Likeness, Post, Slot};
use crate::judge::Judge;
use crate::machine::{Machine, Restart};
use crate::network::Network;
use crate::process::Process;
use crate::story::Story;
use crate::users::{self, Replies, Wish};

/// How often guests count.
const GUESTS: Duration = Duration::from_millis(200);
/// How long what libvirt writes is not on its disk yet, at most.
const WRITE_BACK: Duration = Duration::from_secs(20);
/// How long a process that is asked to end may take.
const STOP: Duration = Duration::from_secs(15);

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
    /// What was seen at the last look.
    pub seen: Seen,
    seed: u64,
    root: PathBuf,
    /// Starts of agents so far.
    agents: u64,
    store: Option<Store>,
    /// Carries out what hypervisors do.
    metal: Process,
    chance: Chance,
    calm: Arc<AtomicBool>,
    guests_count_at: Duration,
    write_back_at: Duration,
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
        let mut policies = Chance::new(seed, "policies");
        let mut hosts = Vec::new();
        for number in 1..=chance.below(3) + 1 {
            let name = format!("h{number}");
            let machine = Machine::new(seed, &name, root, (&story, &judge, metal.handle()));
            std::fs::create_dir_all(machine.instances())?;
            judge.watch(&machine.name, &machine.fake);
            let clock = MachineClock::new(&now);
            let after_reboot = policy(&mut policies);
            let post = Post::new(machine);
            hosts.push(Host { clock, after_reboot, post, twin: None, twins: 0, restarts: 0 });
        }
        let parts = parts(&mut chance);
        let policies: Vec<_> = hosts.iter().map(|host| host.after_reboot.as_str()).collect();
        story.tell(format_args!("hosts {policies:?}, control plane {parts:?}"));
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
            seen: Seen::default(),
            seed,
            root: root.to_owned(),
            agents: 0,
            store: None,
            metal,
            chance,
            calm,
            guests_count_at: GUESTS,
            write_back_at: WRITE_BACK,
        })
    }

    /// Nothing goes wrong any more, or things may go wrong.
    pub fn set_calm(&mut self, calm: bool) {
        self.calm.store(calm, Ordering::Relaxed);
        self.network.set_calm(calm);
        for post in self.hosts.iter().flat_map(Host::posts) {
            post.machine.set_calm(calm);
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

    /// Lets a user ask one of the processes that take requests; `false` when none does.
    pub fn ask(&mut self, wish: Wish) -> bool {
        let open = |controller: &Controller| {
            let (Slot::Up(process), Some(control)) = (&controller.slot, &controller.control) else {
                return None;
            };
            let takes = controller.part != Part::Conductor;
            takes.then(|| (process.handle().clone(), Arc::clone(control)))
        };
        let open: Vec<_> = self.controllers.iter().filter_map(open).collect();
        let Some((process, control)) = self.chance.pick(&open).cloned() else { return false };
        let images = (self.cloud.image, self.cloud.rescue_image);
        let told = (self.story.clone(), self.replies.clone());
        process.spawn(users::ask(control, wish, images, told));
        true
    }

    /// The hosts' names.
    pub fn host_names(&self) -> Vec<HostName> {
        self.hosts.iter().map(|host| host.machine().name.clone()).collect()
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
        let controllers = self.controllers.iter().map(|controller| &controller.slot);
        let agents = self.hosts.iter().flat_map(Host::posts).map(|post| &post.slot);
        let mut processes: Vec<&Process> =
            controllers.chain(agents).filter_map(Slot::process).collect();
        processes.push(&self.metal);
        self.chance.shuffle(&mut processes);
        for process in processes {
            process.step(tick);
        }
        self.now.advance(tick);
        if self.now.since_begin() >= self.guests_count_at {
            self.guests_count_at = self.now.since_begin() + GUESTS;
            for host in &self.hosts {
                host.machine().fake.advance(1);
            }
        }
        if self.now.since_begin() >= self.write_back_at {
            self.write_back_at = self.now.since_begin() + WRITE_BACK;
            self.hosts.iter().for_each(|host| host.machine().fake.write_back());
        }
        self.judge.look();
        self.end_what_has_ended()
    }

    fn start_what_is_due(&mut self) -> Result<()> {
        let now = self.now.since_begin();
        for index in 0..self.controllers.len() {
            if self.controllers.get(index).is_some_and(|one| one.slot.is_due(now)) {
                let store = self.store()?;
                let Some(controller) = self.controllers.get_mut(index) else { continue };
                self.story.tell(format_args!("{:?} starts", controller.part));
                let (process, control) = self.cloud.start(controller.part, &store)?;
                (controller.slot, controller.control) = (Slot::Up(process), Some(control));
            }
        }
        for host in &mut self.hosts {
            let of_host = (&host.clock.clone(), host.after_reboot);
            let due = |post: &&mut Post| post.slot.is_due(now) && !post.machine.is_off(now);
            for post in host.posts_mut().filter(due) {
                self.agents += 1;
                post.start(self.agents, of_host, (&self.network, &self.cloud, &self.story))?;
            }
        }
        Ok(())
    }

    fn end_what_has_ended(&mut self) -> Result<()> {
        let now = self.now.since_begin();
        for controller in &mut self.controllers {
            controller.slot.ends(now, &self.story);
        }
        for host in &mut self.hosts {
            host.posts_mut().for_each(|post| post.ends(now, &self.story));
            host.is_looked_after(now);
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

    /// Kills the agent of a host, or its twin; it is down for so long.
    pub fn kill_agent(&mut self, index: usize, down: Duration) {
        let until = self.now.since_begin() + down;
        let twin = self.chance.permille(300);
        let Some(host) = self.hosts.get_mut(index) else { return };
        let post = match &mut host.twin {
            Some((_, post)) if twin => post,
            _ => &mut host.post,
        };
        let label = post.machine.label();
        self.story.tell(format_args!("the agent on {label} is killed for {} ms", down.as_millis()));
        post.kill(until);
    }

    /// The machine of a host is restarted, which takes so long.
    pub fn restart_machine(&mut self, index: usize, how: Restart, takes: Duration) {
        let until = self.now.since_begin() + takes;
        let Some(host) = self.hosts.get_mut(index) else { return };
        let label = host.machine().label().to_owned();
        let takes = takes.as_millis();
        self.story.tell(format_args!("{label}'s machine is restarted in {takes} ms: {how:?}"));
        self.judge.restarted(&host.machine().name);
        host.restart(how, until);
    }

    /// Starts a second agent with the name of a host.
    pub fn add_twin(&mut self, index: usize, likeness: Likeness) -> Result<()> {
        let Some(host) = self.hosts.get_mut(index) else { return Ok(()) };
        let name = host.machine().name.clone();
        self.story.tell(format_args!("{name} gets a twin: {likeness:?}"));
        let (seed, root) = (self.seed, self.root.clone());
        let metal = self.metal.handle();
        let other =
            |label: &str| Machine::new(seed, label, &root, (&self.story, &self.judge, metal));
        host.add_twin(likeness, &root, other)?;
        let calm = self.calm.load(Ordering::Relaxed);
        host.posts().for_each(|post| post.machine.set_calm(calm));
        // While nothing is done to servers, neither learns what the other does not know.
        if likeness != Likeness::SameFiles && !calm {
            self.judge.set_two_faced(&name, true);
            self.set_aside(&name)?;
        }
        Ok(())
    }

    /// An operator puts it right: the twin of a host goes for good, and the first is started again if
    /// it had made way.
    pub fn remove_twin(&mut self, index: usize) -> Result<()> {
        let Some(host) = self.hosts.get_mut(index) else { return Ok(()) };
        let Some((likeness, _)) = host.twin.take() else { return Ok(()) };
        if host.post.waits() {
            host.post.slot = Slot::Down(Duration::ZERO);
        }
        let name = host.machine().name.clone();
        self.story.tell(format_args!("the twin of {name} is gone"));
        if likeness != Likeness::SameFiles && !self.calm.load(Ordering::Relaxed) {
            self.set_aside(&name)?;
            self.judge.set_two_faced(&name, false);
        }
        Ok(())
    }

    /// Nobody can say any more which of two agents knows what is true about the servers of a host.
    fn set_aside(&mut self, name: &HostName) -> Result<()> {
        for server in self.servers()?.iter().filter(|server| server.host.as_ref() == Some(name)) {
            self.judge.set_aside(server.id);
        }
        Ok(())
    }

    /// Asks a process to end: one of the control plane, or behind these an agent.
    pub fn stop(&mut self, index: usize) {
        let until = self.now.since_begin() + STOP;
        let controllers = self.controllers.len();
        let slot = match index.checked_sub(controllers) {
            None => self.controllers.get_mut(index).map(|controller| &mut controller.slot),
            Some(host) => self.hosts.get_mut(host).map(|host| &mut host.post.slot),
        };
        let Some(slot) = slot else { return };
        if let Slot::Up(process) = slot {
            process.shutdown().cancel();
            self.story.tell(format_args!("process {index} is asked to end"));
        }
        let before = std::mem::replace(slot, Slot::Down(until));
        *slot = match before {
            Slot::Up(process) => Slot::Stopping(process, until),
            other @ (Slot::Down(_) | Slot::Stopping(..)) => other,
        };
    }

    /// Starts everything that is down.
    pub fn start_all(&mut self) -> Result<()> {
        let slots = self.controllers.iter_mut().map(|controller| &mut controller.slot);
        for slot in slots.chain(self.hosts.iter_mut().map(|host| &mut host.post.slot)) {
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

/// How the control plane is divided into processes: not at all, or with several of each part.
fn parts(chance: &mut Chance) -> Vec<Part> {
    if chance.permille(600) {
        return vec![Part::All];
    }
    let (apis, conductors) = (chance.below(3) + 1, chance.below(2) + 1);
    let apis = std::iter::repeat_n(Part::Api, apis);
    apis.chain(std::iter::repeat_n(Part::Conductor, conductors)).collect()
}

/// What is done with the servers of a host after a restart of its machine.
fn policy(chance: &mut Chance) -> RebootPolicy {
    let policies = [RebootPolicy::Leave, RebootPolicy::Start, RebootPolicy::Resume];
    chance.pick(&policies).copied().unwrap_or_default()
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
