//! One run: a calm beginning, trouble, a calm end, and what has to be true then.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use reprieve_core::{HostName, OperationKind};
use reprieve_store::InstanceRecord;
use tokio::runtime::Handle;

use crate::chance::Chance;
use crate::check;
use crate::clock::Now;
use crate::damage;
use crate::hosts::Likeness;
use crate::machine::Restart;
use crate::names;
use crate::restarts;
use crate::story::Story;
use crate::users::{self, Look, Reply, Wish};
use crate::world::World;

/// Longest time of trouble.
const LONGEST: Duration = Duration::from_secs(4 * 3600);
/// How long everything may take to end by itself when nothing goes wrong any more.
const SETTLE: Duration = Duration::from_secs(300);
/// Longer than any operation may take.
const PAST_DEADLINES: Duration = Duration::from_secs(3700);
/// Two scans of the agents, which find out what no event told.
pub const SCANS: Duration = Duration::from_secs(130);

/// What came of it.
pub struct Outcome {
    /// How often each kind of operation went well.
    pub succeeded: BTreeMap<OperationKind, u64>,
}

/// Runs `seed` until so many operations were accepted.
pub fn run(
    (seed, operations): (u64, u64),
    root: &Path,
    (story, now): (Story, Now),
    outside: &'static Handle,
) -> Result<Outcome> {
    let mut world = World::new(seed, root, (story.clone(), now), outside)?;
    world.start_all()?;
    world.wait_for_hosts()?;
    story.tell("trouble begins");
    world.set_calm(false);
    Trouble::new(seed, &mut world).run(operations)?;
    story.tell("trouble ends");
    world.set_calm(true);
    world.network.set_down(false);
    for host in &world.hosts {
        world.network.cut_off(&host.machine().name, false);
        host.clock.set_right();
    }
    world.start_all()?;
    settle(&mut world)?;
    world.run_for(SCANS)?;
    check::at_rest(&mut world)?;
    bring_back(&mut world)?;
    restarts::settle(&mut world)?;
    names::settle(&mut world)?;
    world.run_for(SCANS)?;
    check::at_rest(&mut world)?;
    Ok(Outcome { succeeded: world.judge.succeeded() })
}

/// Waits until no operation is under way.
fn settle(world: &mut World) -> Result<()> {
    for attempt in 0..2 {
        let end = world.now.since_begin() + SETTLE;
        while world.now.since_begin() < end {
            world.run_for(Duration::from_secs(2))?;
            if world.servers()?.iter().all(|server| server.active.is_none()) {
                return Ok(());
            }
        }
        if attempt == 0 {
            // A last report that was lost is asked for again when the operation is overdue.
            world.story.tell("the deadlines of all operations pass");
            world.story.count("runs that waited for deadlines");
            world.cloud.clock.jump(PAST_DEADLINES, true);
        }
    }
    Ok(())
}

/// Every server is brought back to life, which proves that nothing of it was lost.
fn bring_back(world: &mut World) -> Result<()> {
    use reprieve_core::VmState as S;
    let before = world.servers()?;
    drop(world.replies.take());
    for server in &before {
        world.ask(Wish::Unlock(server.id, "admin"));
    }
    world.run_for(Duration::from_secs(2))?;
    let (mut wished, mut damaged) = (Vec::new(), Vec::new());
    for server in &before {
        if world.judge.is_aside(server.id) {
            continue;
        }
        if world.seen.is_damaged(server.id) {
            damaged.push(Arc::clone(server));
        }
        let kind = match server.vm_state {
            S::Paused => OperationKind::Unpause,
            S::Suspended => OperationKind::Resume,
            // No boot over memory that is half-saved, unless its owner gives it up.
            S::Stopped if check::is_half_saved(world, server) => OperationKind::RebootHard,
            S::Stopped => OperationKind::Start,
            S::Rescued => OperationKind::Unrescue,
            S::Active | S::Building | S::Error | S::Deleted => continue,
        };
        if !world.seen.is_damaged(server.id) {
            wished.push((Arc::clone(server), kind));
        }
        world.ask(Wish::Run(server.id, kind));
    }
    carried_out(world)?;
    check::brought_back(world, &wished)?;
    check::refused(world, &damaged)?;
    if damaged.is_empty() {
        return Ok(());
    }
    // Memory that cannot be restored is the owner's to give up.
    let mut wished = Vec::new();
    for server in damaged {
        world.ask(Wish::Run(server.id, OperationKind::RebootHard));
        wished.push((server, OperationKind::RebootHard));
    }
    carried_out(world)?;
    check::brought_back(world, &wished)
}

/// Waits until what was asked for at rest has been done.
pub fn carried_out(world: &mut World) -> Result<()> {
    world.run_for(Duration::from_secs(5))?;
    for (wish, reply) in world.replies.take() {
        match (wish, reply) {
            (_, Reply::Accepted) => {}
            (wish, Reply::Refused(why) | Reply::Broken(why)) => {
                world.story.broken(format_args!("{wish:?} was refused at rest: {why}"));
            }
        }
    }
    settle(world)?;
    world.run_for(SCANS)?;
    check::at_rest(world)
}

/// The part in which things go wrong.
struct Trouble<'a> {
    world: &'a mut World,
    chance: Chance,
    servers: Vec<Arc<InstanceRecord>>,
    accepted: u64,
    next_wish: Duration,
    next_fault: Duration,
    next_look: Duration,
    /// What ends at some time.
    spells: Vec<(Duration, Spell)>,
    /// Whether twins may have files or machines of their own here.
    strangers: bool,
    /// Requests to open hosts for new servers, or to close them.
    gates: BTreeMap<HostName, Gate>,
}

/// Requests to open a host for new servers, and to close it, that were not answered.
#[derive(Default)]
struct Gate {
    opening: u32,
    closing: u32,
    /// Both were asked for at once, so either may come first, whatever the order of the answers.
    crossed: bool,
}

impl Gate {
    fn asked(&mut self, opens: bool) {
        let count = if opens { &mut self.opening } else { &mut self.closing };
        *count += 1;
        self.crossed |= self.opening > 0 && self.closing > 0;
    }

    /// Whether the host is closed for sure if the request was granted.
    fn answered(&mut self, opens: bool) -> bool {
        let count = if opens { &mut self.opening } else { &mut self.closing };
        *count = count.saturating_sub(1);
        let sure = !opens && !self.crossed;
        self.crossed &= self.opening > 0 || self.closing > 0;
        sure
    }
}

/// A fault that lasts.
#[derive(Debug, Clone, Copy)]
enum Spell {
    CutOff(usize),
    BusDown,
    HypervisorAway(usize),
    Twin(usize),
}

impl<'a> Trouble<'a> {
    fn new(seed: u64, world: &'a mut World) -> Self {
        let now = world.now.since_begin();
        let mut chance = Chance::new(seed, "trouble");
        Self {
            world,
            strangers: chance.permille(200),
            chance,
            gates: BTreeMap::new(),
            servers: Vec::new(),
            accepted: 0,
            next_wish: now,
            next_fault: now + Duration::from_secs(2),
            next_look: now,
            spells: Vec::new(),
        }
    }

    fn run(mut self, operations: u64) -> Result<()> {
        let end = self.world.now.since_begin() + LONGEST;
        while self.accepted < operations {
            let now = self.world.now.since_begin();
            if now > end {
                self.world.story.broken("users got nothing done any more");
                break;
            }
            self.world.tick()?;
            self.hear()?;
            if now >= self.next_look {
                self.next_look = now + Duration::from_millis(1500);
                self.servers = self.world.servers()?;
                check::on_the_way(self.world, &self.servers)?;
            }
            if now >= self.next_wish {
                self.next_wish = now + self.chance.mostly_short(1500);
                self.ask();
            }
            self.spells_end(now)?;
            if now >= self.next_fault {
                self.next_fault = now + self.chance.millis(200, 7000);
                self.fault(now)?;
            }
        }
        self.spells_end(Duration::MAX)
    }

    fn ask(&mut self) {
        let hosts = self.world.host_names();
        let wish = users::wish(&mut self.chance, &self.servers, &hosts);
        let gate = match &wish {
            Wish::Accepting(host, opens) => Some((host.clone(), *opens)),
            _ => None,
        };
        if let (true, Some((host, opens))) = (self.world.ask(wish), gate) {
            if opens {
                self.world.seen.open(&host);
            }
            self.gates.entry(host).or_default().asked(opens);
        }
    }

    /// A host was opened for new servers, or closed to them.
    fn accepting(&mut self, host: HostName, opens: bool, accepted: bool) -> Result<()> {
        let closed = self.gates.entry(host.clone()).or_default().answered(opens);
        if closed && accepted {
            let servers = self.world.servers()?;
            let here = servers.iter().filter(|server| server.host.as_ref() == Some(&host));
            let here = here.map(|server| server.id).collect();
            self.world.seen.close(host, here);
        }
        Ok(())
    }

    fn hear(&mut self) -> Result<()> {
        for (wish, reply) in self.world.replies.take() {
            if let Wish::Accepting(host, yes) = &wish {
                self.accepting(host.clone(), *yes, matches!(reply, Reply::Accepted))?;
            }
            match (wish, reply) {
                (Wish::Create | Wish::Run(..) | Wish::Rescue(..), Reply::Accepted) => {
                    self.accepted += 1;
                    self.world.story.count("operations");
                }
                (Wish::Lock(_) | Wish::Unlock(..) | Wish::Look(..), Reply::Accepted) => {
                    self.world.story.count("other requests");
                }
                (Wish::Cancel(..), Reply::Accepted) => self.world.story.count("cancellations"),
                (Wish::Accepting(_, yes), Reply::Accepted) => {
                    let what = if yes { "hosts opened" } else { "hosts closed" };
                    self.world.story.count(what);
                }
                (Wish::SuspendHost(_), Reply::Accepted) => {
                    self.world.story.count("suspends of all of a host");
                }
                (Wish::ResumeHost(_), Reply::Accepted) => {
                    self.world.story.count("resumes of all of a host");
                }
                (_, Reply::Refused(_)) => self.world.story.count("requests refused"),
                // The host could not ask its hypervisor.
                (Wish::Look(_, Look::Console), Reply::Broken(_)) => {
                    self.world.story.count("questions without an answer");
                }
                (wish, Reply::Broken(why)) => {
                    self.world.story.broken(format_args!("{wish:?} was answered with 500: {why}"));
                }
            }
        }
        Ok(())
    }

    fn fault(&mut self, now: Duration) -> Result<()> {
        let host = self.chance.below(self.world.hosts.len());
        let controller = self.chance.below(self.world.controllers.len());
        let down = self.chance.mostly_short(40_000);
        match self.chance.below(103) {
            0..30 => {
                self.world.story.count("crashes");
                self.world.kill_agent(host, down);
            }
            30..49 => {
                self.world.story.count("crashes");
                self.world.kill_controller(controller, down);
            }
            49..56 => {
                self.world.story.count("stops");
                let all = self.world.controllers.len() + self.world.hosts.len();
                let which = self.chance.below(all);
                self.world.stop(which);
            }
            56..66 => self.spell(now, Spell::CutOff(host), 90_000)?,
            66..70 => self.spell(now, Spell::BusDown, 20_000)?,
            70..77 => self.spell(now, Spell::HypervisorAway(host), 40_000)?,
            77..83 => self.clock_jumps(host),
            83..88 => self.guest_acts(host),
            88..92 => self.turn_is_lost(host),
            92..95 => self.twin(now, host)?,
            95..98 => damage::at_rest(self.world, &mut self.chance)?,
            98..100 => damage::next_save(self.world, host),
            _ => self.machine_restarts(host),
        }
        Ok(())
    }

    fn machine_restarts(&mut self, host: usize) {
        let how = if self.chance.permille(500) { Restart::PowerLoss } else { Restart::Orderly };
        self.world.story.count(match how {
            Restart::Orderly => "restarts of a host's machine",
            Restart::PowerLoss => "losses of a host's power",
        });
        let takes = Duration::from_secs(3) + self.chance.mostly_short(90_000);
        self.world.restart_machine(host, how, takes);
    }

    /// A broker gives somebody's turn at a queue to the next one.
    fn turn_is_lost(&mut self, host: usize) {
        let reports = self.chance.permille(600);
        let name = self.world.hosts.get(host).map(|host| host.machine().name.clone());
        let name = name.filter(|_| !reports);
        if self.world.network.lose_turn(name.as_ref()) {
            self.world.story.count("turns at queues lost");
            let of = name.map_or_else(|| "the reports".to_owned(), |name| name.to_string());
            self.world.story.tell(format_args!("the turn at {of} is lost"));
        }
    }

    fn twin(&mut self, now: Duration, host: usize) -> Result<()> {
        let likeness = match self.chance.below(3) {
            1 if self.strangers => Likeness::OwnFiles,
            2 if self.strangers => Likeness::OwnMachine,
            _ => Likeness::SameFiles,
        };
        if self.world.hosts.get(host).is_none_or(|host| host.twin.is_some()) {
            return Ok(());
        }
        self.world.story.count(match likeness {
            Likeness::SameFiles => "twins on the same files",
            Likeness::OwnFiles => "twins with files of their own",
            Likeness::OwnMachine => "twins on machines of their own",
        });
        self.world.add_twin(host, likeness)?;
        let lasts = self.chance.millis(5_000, 60_000);
        self.spells.push((now.saturating_add(lasts), Spell::Twin(host)));
        Ok(())
    }

    fn spell(&mut self, now: Duration, spell: Spell, longest: u64) -> Result<()> {
        let lasts = self.chance.mostly_short(longest) + Duration::from_millis(50);
        self.world.story.tell(format_args!("{spell:?} for {} ms", lasts.as_millis()));
        self.world.story.count("spells");
        self.set(spell, true)?;
        self.spells.push((now.saturating_add(lasts), spell));
        Ok(())
    }

    fn spells_end(&mut self, now: Duration) -> Result<()> {
        let (over, left) = self.spells.drain(..).partition(|(end, _)| *end <= now);
        self.spells = left;
        let over: Vec<(Duration, Spell)> = over;
        for (_, spell) in over {
            self.world.story.tell(format_args!("{spell:?} is over"));
            self.set(spell, false)?;
        }
        Ok(())
    }

    fn set(&mut self, spell: Spell, on: bool) -> Result<()> {
        match spell {
            Spell::BusDown => self.world.network.set_down(on),
            Spell::CutOff(host) => {
                if let Some(host) = self.world.hosts.get(host) {
                    self.world.network.cut_off(&host.machine().name, on);
                }
            }
            Spell::HypervisorAway(host) => {
                if let Some(host) = self.world.hosts.get(host) {
                    host.machine().fake.set_disconnected(on.then_some("simulated"));
                }
            }
            Spell::Twin(host) => self.world.remove_twin(host)?,
        }
        Ok(())
    }

    fn clock_jumps(&mut self, host: usize) {
        let (by, forwards) = (self.chance.mostly_short(600_000), self.chance.permille(600));
        let control = self.chance.permille(500);
        self.world.story.count("clock jumps");
        let sign = if forwards { '+' } else { '-' };
        let clock = if control {
            self.world.story.tell(format_args!("control's clock {sign}{} ms", by.as_millis()));
            Some(&self.world.cloud.clock)
        } else {
            self.world.story.tell(format_args!("host {host}'s clock {sign}{} ms", by.as_millis()));
            self.world.hosts.get(host).map(|host| &host.clock)
        };
        if let Some(clock) = clock {
            clock.jump(by, forwards);
        }
    }

    fn guest_acts(&mut self, host: usize) {
        let Some(host) = self.world.hosts.get(host) else { return };
        let fake = &host.machine().fake;
        let known = fake.known();
        let Some(id) = self.chance.pick(&known).copied() else { return };
        let server = self.world.story.name("s", id.uuid());
        let lives = fake.truth(id).is_some_and(|truth| truth.power.has_process() && !truth.job);
        match self.chance.below(4) {
            0 if lives => {
                self.world.story.tell(format_args!("guest {server} powers itself off"));
                self.world.judge.may_end(id);
                fake.guest_powers_off(id);
            }
            1 if lives => {
                self.world.story.tell(format_args!("guest {server} crashes"));
                self.world.judge.may_end(id);
                fake.guest_crashes(id);
            }
            _ => {
                let ignores = self.chance.permille(500);
                self.world.story.tell(format_args!("guest {server} ignores its button: {ignores}"));
                fake.ignore_shutdown(id, ignores);
            }
        }
    }
}
