//! What agents do and say when they start and end: of two with one name the older one stops and says
//! why, and no guest is touched by both; whether their machine was restarted; and how operations of
//! earlier starts ended.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a helper of a test fails the test")]

mod support;

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reprieve_compute::ledger::{Ledger, LedgerError};
use reprieve_compute::{Agent, AgentConfig, AgentError};
use reprieve_core::conclude::Observation;
use reprieve_core::message::{
    Command, HostRequest, HostResponse, OperationResult, Rebooted, Report, ReportBody,
    RunOperation, UnknownGuest,
};
use reprieve_core::ports::{Bus, BusConnection, BusError, Delivery, RequestHandler, Subscription};
use reprieve_core::reboot::RebootPolicy;
use reprieve_core::{Clock, HostName, OperationKind, PowerState, SystemClock, VmState};
use reprieve_hypervisor::fake::Call;
use support::{World, run_on};
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;

/// Long enough for anything on a busy machine.
const SOON: Duration = Duration::from_secs(30);

/// What a greeting said: the start, the restart of the machine, and the newest epoch known.
type Greeted = (String, Option<Rebooted>, i64);

/// A control plane that says what it is told to.
struct Script {
    commands: Mutex<Option<mpsc::Receiver<Command>>>,
    greetings: mpsc::UnboundedSender<Greeted>,
    lives: mpsc::UnboundedSender<(i64, Vec<UnknownGuest>)>,
    ends: mpsc::UnboundedSender<(OperationResult, Observation)>,
}

struct Lines(mpsc::Receiver<Command>);

struct Line(Command);

#[async_trait]
impl Subscription<Command> for Lines {
    async fn next(&mut self) -> Option<Box<dyn Delivery<Command>>> {
        Some(Box::new(Line(self.0.recv().await?)))
    }
}

#[async_trait]
impl Delivery<Command> for Line {
    fn message(&self) -> &Command {
        &self.0
    }
    async fn acknowledge(self: Box<Self>) {}
}

#[async_trait]
impl Bus for Script {
    async fn command(&self, _: &HostName, _: &Command) -> Result<(), BusError> {
        Ok(())
    }
    async fn commands(&self, _: &HostName) -> Result<Box<dyn Subscription<Command>>, BusError> {
        Ok(Box::new(Lines(self.commands.lock().await.take().unwrap())))
    }
    async fn report(&self, report: &Report) -> Result<(), BusError> {
        match &report.body {
            ReportBody::Hello { boot_id, rebooted, after } => {
                self.greetings.send((boot_id.clone(), rebooted.clone(), *after)).ok();
            }
            ReportBody::Heartbeat { host: Some(host), .. } => {
                self.lives.send((report.epoch, host.unknown_guests.clone())).ok();
            }
            ReportBody::Finished { result, seen, .. } => {
                self.ends.send((result.clone(), *seen)).ok();
            }
            ReportBody::Heartbeat { host: None, .. }
            | ReportBody::Accepted { .. }
            | ReportBody::Step { .. }
            | ReportBody::Rejected { .. }
            | ReportBody::Observed { .. } => {}
        }
        Ok(())
    }
    async fn reports(&self) -> Result<Box<dyn Subscription<Report>>, BusError> {
        Err(BusError::Unavailable("a host needs none".to_owned()))
    }
    async fn request(
        &self,
        _: &HostName,
        _: &HostRequest,
        _: Duration,
    ) -> Result<HostResponse, BusError> {
        Err(BusError::Unavailable("a host asks nobody".to_owned()))
    }
    async fn serve(
        &self,
        _: &HostName,
        _: Arc<dyn RequestHandler>,
    ) -> Result<Box<dyn Any + Send>, BusError> {
        Ok(Box::new(()))
    }
    fn connections(&self) -> Vec<BusConnection> {
        Vec::new()
    }
}

/// An agent that has greeted.
struct Started {
    commands: mpsc::Sender<Command>,
    boot_id: String,
    rebooted: Option<Rebooted>,
    greeted: mpsc::UnboundedReceiver<Greeted>,
    lives: mpsc::UnboundedReceiver<(i64, Vec<UnknownGuest>)>,
    ends: mpsc::UnboundedReceiver<(OperationResult, Observation)>,
    shutdown: CancellationToken,
    running: tokio::task::JoinHandle<Result<(), AgentError>>,
}

async fn start(world: &World) -> Started {
    start_on(world, None).await
}

/// In this start of the machine.
async fn start_on(world: &World, machine_boot: Option<&str>) -> Started {
    let (commands, waiting) = mpsc::channel(8);
    let (greetings, mut greeted) = mpsc::unbounded_channel();
    let (told, ends) = mpsc::unbounded_channel();
    let (living, lives) = mpsc::unbounded_channel();
    let commands_of_host = Mutex::new(Some(waiting));
    let bus = Script { commands: commands_of_host, greetings, lives: living, ends: told };
    let shutdown = CancellationToken::new();
    let config = AgentConfig {
        machine_boot: machine_boot.map(str::to_owned),
        after_reboot: RebootPolicy::Start,
        ..world.config(Arc::new(bus))
    };
    let running = tokio::spawn(Agent::run(config, shutdown.clone()));
    let (boot_id, rebooted, after) = next(&mut greeted).await;
    assert_eq!(after, 0, "a start knows of no epoch");
    Started { commands, boot_id, rebooted, greeted, lives, ends, shutdown, running }
}

impl Started {
    async fn welcome(&self, boot_id: &str, epoch: i64) {
        let welcome = Command::Welcome { boot_id: boot_id.to_owned(), epoch, instances: vec![] };
        self.commands.send(welcome).await.unwrap();
    }

    async fn run(&self, command: &RunOperation, epoch: i64) {
        let command = RunOperation { host_epoch: epoch, ..command.clone() };
        self.commands.send(Command::Run(Box::new(command))).await.unwrap();
    }

    /// Waits until it has taken everything that it was sent.
    async fn has_read(&self) {
        until(|| self.commands.capacity() == self.commands.max_capacity()).await;
    }

    /// Stops it, after it has worked off what it was sent.
    async fn stop(self) {
        self.has_read().await;
        self.shutdown.cancel();
        tokio::time::timeout(SOON, self.running).await.unwrap().unwrap().unwrap();
    }
}

async fn next<T>(told: &mut mpsc::UnboundedReceiver<T>) -> T {
    tokio::time::timeout(SOON, told.recv()).await.unwrap().unwrap()
}

async fn until(there: impl Fn() -> bool) {
    let wait = async {
        while !there() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, wait).await.unwrap();
}

/// Calls so far that do something to a guest.
fn effects(world: &World) -> usize {
    let calls = world.fake.calls();
    calls.iter().filter(|(call, _)| Call::EFFECTS.contains(call)).count()
}

/// What another agent of this name has done meanwhile must not be done again behind its back.
#[tokio::test]
async fn an_unfinished_operation_goes_on_when_it_is_sent_again_and_not_before() {
    let world = World::new();
    world.bring_to(VmState::Active).await;
    let command = world.command(OperationKind::Pause, VmState::Active);
    let killed = world.boot().await;
    killed.ledger.accept(&command, SystemClock.now()).await.unwrap();
    killed.ledger.close().await;
    let before = effects(&world);
    let agent = start(&world).await;
    agent.welcome("another", 2).await;
    agent.welcome(&agent.boot_id, 3).await;
    agent.has_read().await;
    assert_eq!(effects(&world), before, "nobody has asked for it");
    agent.run(&command, 3).await;
    let paused = || world.fake.truth(world.spec.id).unwrap().power == PowerState::Paused;
    until(paused).await;
    agent.stop().await;
    assert_eq!(effects(&world), before + 1);
}

/// The next agent of this name gets its first command when this one touches no guest any more.
#[tokio::test]
async fn it_keeps_its_turn_until_no_step_is_run() {
    let world = World::new();
    world.bring_to(VmState::Active).await;
    let command = world.command(OperationKind::Pause, VmState::Active);
    let agent = start(&world).await;
    agent.welcome(&agent.boot_id, 1).await;
    let goes_on = world.fake.hold_next(Call::SuspendCpus);
    agent.run(&command, 1).await;
    until(|| world.fake.calls().contains(&(Call::SuspendCpus, Some(world.spec.id)))).await;
    agent.shutdown.cancel();
    let early = tokio::time::timeout(Duration::from_millis(500), agent.commands.closed()).await;
    assert!(early.is_err(), "it listens while the step is run");
    drop(goes_on);
    tokio::time::timeout(SOON, agent.commands.closed()).await.unwrap();
    tokio::time::timeout(SOON, agent.running).await.unwrap().unwrap().unwrap();
    assert_eq!(world.fake.truth(world.spec.id).unwrap().power, PowerState::Paused);
}

#[tokio::test]
async fn two_on_the_same_files_do_not_run_at_a_time() {
    let world = World::new();
    let agent = start(&world).await;
    let (greetings, _greeted) = mpsc::unbounded_channel();
    let (ends, _ended) = mpsc::unbounded_channel();
    let (lives, _living) = mpsc::unbounded_channel();
    let (_, none) = mpsc::channel(1);
    let bus = Arc::new(Script { commands: Mutex::new(Some(none)), greetings, lives, ends });
    let config = world.config(bus);
    let file = config.ledger_file.clone();
    let refused = Agent::run(config, CancellationToken::new()).await.unwrap_err();
    assert!(
        matches!(&refused, AgentError::Ledger(LedgerError::InUse { path }) if *path == file),
        "{refused}"
    );
    assert!(refused.to_string().contains("stop that one first"), "{refused}");
    agent.stop().await;
    Ledger::open(&file).await.unwrap().close().await;
}

#[tokio::test]
async fn the_older_one_stops_and_says_why() {
    let world = World::new();
    let agent = start(&world).await;
    agent.welcome(&agent.boot_id, 4).await;
    // Of an earlier start, delivered late.
    agent.welcome("before", 3).await;
    agent.welcome("after", 5).await;
    let ended = tokio::time::timeout(SOON, agent.running).await.unwrap().unwrap().unwrap_err();
    assert!(matches!(&ended, AgentError::Superseded { host } if host.as_str() == "host"));
    assert!(ended.to_string().contains("another compute agent called host has registered"));
}

#[tokio::test]
async fn old_greetings_that_were_repeated_do_not_end_it() {
    let world = World::new();
    let agent = start(&world).await;
    agent.welcome("before", 1).await;
    agent.welcome(&agent.boot_id, 2).await;
    // A conductor that died before it acknowledged: both greetings count again, in their order.
    agent.welcome("before", 3).await;
    agent.welcome(&agent.boot_id, 4).await;
    let ended = tokio::time::timeout(Duration::from_secs(7), agent.running);
    assert!(ended.await.is_err(), "it goes on");
    agent.shutdown.cancel();
}

/// The greeting of an earlier start came late, and the control plane takes it for the one that counts.
#[tokio::test]
async fn it_does_not_make_way_for_an_earlier_start_of_its_own() {
    let world = World::new();
    let before = start(&world).await;
    let earlier = before.boot_id.clone();
    before.stop().await;
    let mut agent = start(&world).await;
    agent.welcome(&agent.boot_id, 2).await;
    assert_eq!(next(&mut agent.lives).await.0, 2);
    agent.welcome(&earlier, 3).await;
    let (again, _, after) = next(&mut agent.greeted).await;
    assert_eq!((&again, after), (&agent.boot_id, 3));
    agent.welcome(&agent.boot_id, 4).await;
    assert_eq!(next(&mut agent.lives).await.0, 4);
    // For one that is none of its own it makes way.
    agent.welcome("another", 5).await;
    let ended = tokio::time::timeout(SOON, agent.running).await.unwrap().unwrap();
    assert!(matches!(ended, Err(AgentError::Superseded { .. })));
}

/// The tables of the control plane were restored from a backup that knows nothing of this start.
#[tokio::test]
async fn it_greets_again_when_it_is_not_known_any_more() {
    let world = World::new();
    let mut agent = start(&world).await;
    agent.welcome(&agent.boot_id, 7).await;
    assert_eq!(next(&mut agent.lives).await.0, 7);
    // Somebody else's question, answered long ago.
    agent.commands.send(Command::Greet { epoch: 6 }).await.unwrap();
    agent.commands.send(Command::Greet { epoch: 7 }).await.unwrap();
    let (again, _, after) = next(&mut agent.greeted).await;
    assert_eq!((&again, after), (&agent.boot_id, 7));
    agent.welcome(&agent.boot_id, 8).await;
    assert_eq!(next(&mut agent.lives).await.0, 8);
    assert!(agent.greeted.try_recv().is_err(), "once is enough");
    agent.stop().await;
}

/// A guest whose server was in tables that were lost is told and left alone.
#[tokio::test]
async fn guests_of_no_server_are_told_and_left_alone() {
    let world = World::new();
    world.bring_to(VmState::Active).await;
    let before = effects(&world);
    let mut agent = start(&world).await;
    agent.welcome(&agent.boot_id, 1).await;
    let expected = [UnknownGuest { id: world.spec.id, power: PowerState::Running }];
    told_to_be(&world, &mut agent, &expected).await;
    assert_eq!(effects(&world), before);
    // Once its server is known it is one like all others.
    let instances = vec![world.spec.id];
    let boot_id = agent.boot_id.clone();
    agent.commands.send(Command::Welcome { boot_id, epoch: 1, instances }).await.unwrap();
    told_to_be(&world, &mut agent, &[]).await;
    agent.stop().await;
}

/// Lets the agent look again and again until it tells of these.
async fn told_to_be(world: &World, agent: &mut Started, expected: &[UnknownGuest]) {
    let mut told = Vec::new();
    for _ in 0..100 {
        // A connection is a reason to look at everything, and to give a sign of life.
        world.fake.set_disconnected(None);
        (_, told) = next(&mut agent.lives).await;
        if told == expected {
            return;
        }
    }
    panic!("{told:?} instead of {expected:?}");
}

#[tokio::test]
async fn a_restart_of_the_machine_is_told_until_it_was_heard() {
    let world = World::new();
    let told = |machine_boot: &str| {
        let (machine_boot, policy) = (machine_boot.to_owned(), RebootPolicy::Start);
        Some(Rebooted { machine_boot, policy })
    };
    // A new ledger knows of nothing before; without a boot id nothing is known at all.
    for (machine_boot, heard, expected) in [
        (Some("first"), false, None),
        (Some("first"), true, None),
        (None, true, None),
        (Some("second"), false, told("second")),
        (Some("second"), false, told("second")),
        (Some("third"), true, told("third")),
        (Some("third"), true, None),
        (Some("first"), true, told("first")),
    ] {
        let agent = start_on(&world, machine_boot).await;
        assert_eq!(agent.rebooted, expected, "{machine_boot:?}");
        if heard {
            agent.welcome(&agent.boot_id, 1).await;
        }
        agent.stop().await;
    }
}

/// The report of its end was lost, and then the guest with the machine. What is said when the control
/// plane asks again has to be true now.
#[tokio::test]
async fn an_end_is_told_again_with_what_the_guest_is_now() {
    let world = World::new();
    world.bring_to(VmState::Active).await;
    let host = world.boot().await;
    let command = world.command(OperationKind::Pause, VmState::Active);
    let ended = run_on(&host, command.clone()).await;
    assert_eq!(ended.seen.power, PowerState::Paused);
    host.ledger.close().await;
    world.fake.reboot_machine();

    let mut agent = start(&world).await;
    agent.welcome(&agent.boot_id, command.host_epoch).await;
    agent.commands.send(Command::Run(Box::new(command))).await.unwrap();
    let told = tokio::time::timeout(SOON, agent.ends.recv()).await.unwrap().unwrap();
    assert_eq!((told.0, told.1.power), (OperationResult::Succeeded, PowerState::Shutdown));
    agent.stop().await;
}
