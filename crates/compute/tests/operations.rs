//! Every operation on the fake hypervisor: undisturbed, with its agent killed before and after
//! every call to the hypervisor, and with every call failing once.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::missing_docs_in_private_items,
    missing_docs,
    reason = "a test says what it found by panicking"
)]

mod support;

use std::collections::BTreeSet;

use reprieve_compute::actor::ActorHandle;
use reprieve_compute::executor::{self, Stops, Verdict};
use reprieve_compute::ledger::Unfinished;
use reprieve_core::conclude::{SavedMemory, after_failure, after_success};
use reprieve_core::message::OperationResult;
use reprieve_core::ports::Hypervisor as _;
use reprieve_core::ports::HypervisorError;
use reprieve_core::spec::InjectedFile;
use reprieve_core::{OperationKind, PowerState, VmState};
use reprieve_hypervisor::fake::{Call, Moment};
use support::{World, run_on};

/// Operation and the state it starts from.
const CASES: [(OperationKind, VmState); 13] = [
    (OperationKind::Create, VmState::Building),
    (OperationKind::Pause, VmState::Active),
    (OperationKind::Unpause, VmState::Paused),
    (OperationKind::Suspend, VmState::Active),
    (OperationKind::Resume, VmState::Suspended),
    (OperationKind::Rescue, VmState::Active),
    (OperationKind::Unrescue, VmState::Rescued),
    (OperationKind::Stop, VmState::Active),
    (OperationKind::Start, VmState::Stopped),
    (OperationKind::RebootSoft, VmState::Active),
    (OperationKind::RebootHard, VmState::Suspended),
    (OperationKind::Delete, VmState::Suspended),
    (OperationKind::Delete, VmState::Rescued),
];

fn now() -> reprieve_core::Timestamp {
    reprieve_core::Clock::now(&reprieve_core::SystemClock)
}

async fn world_for(prior: VmState) -> World {
    let world = World::new();
    if prior != VmState::Building {
        world.bring_to(prior).await;
    }
    world
}

/// The calls that `kind` makes when nothing disturbs it.
async fn calls_of(kind: OperationKind, prior: VmState) -> BTreeSet<Call> {
    let world = world_for(prior).await;
    let before = world.fake.calls().len();
    world.run(kind, prior).await;
    world.fake.calls().into_iter().skip(before).map(|(call, _)| call).collect()
}

fn expected_power(kind: OperationKind) -> PowerState {
    match after_success(kind) {
        VmState::Active | VmState::Rescued => PowerState::Running,
        VmState::Paused => PowerState::Paused,
        VmState::Suspended | VmState::Stopped => PowerState::Shutdown,
        VmState::Deleted => PowerState::NoState,
        other => panic!("{kind} does not end in {other}"),
    }
}

/// What must be true when `kind` has succeeded, however it got there.
fn assert_effect(world: &World, kind: OperationKind, before: Option<u64>, note: &str) {
    let counter = world.fake.counter(world.spec.id);
    let paths = world.paths();
    match kind {
        // The guest went on where it was.
        OperationKind::Pause | OperationKind::Unpause => assert_eq!(counter, before, "{note}"),
        OperationKind::Resume => {
            assert!(counter >= Some(5), "{note}: memory was lost, the guest counts {counter:?}");
            assert!(!paths.save_dir().join("manifest.json").exists(), "{note}: save is left");
        }
        OperationKind::Suspend => assert_eq!(counter, None, "{note}"),
        OperationKind::Rescue => {
            assert!(paths.rescue_disk().exists() && paths.disk().exists(), "{note}");
            assert!(paths.stashed_definition().exists(), "{note}");
        }
        OperationKind::Unrescue => {
            assert!(!paths.rescue_disk().exists() && paths.disk().exists(), "{note}");
            assert!(!paths.stashed_definition().exists(), "{note}");
        }
        OperationKind::RebootHard | OperationKind::Start => {
            assert!(paths.disk().exists(), "{note}");
            assert!(!paths.save_dir().join("manifest.json").exists(), "{note}: save is left");
        }
        OperationKind::Delete => assert!(!paths.dir.exists(), "{note}: files are left"),
        OperationKind::Create | OperationKind::Stop | OperationKind::RebootSoft => {
            assert!(paths.disk().exists(), "{note}");
        }
    }
}

#[tokio::test]
async fn every_operation_succeeds_undisturbed() {
    for (kind, prior) in CASES {
        let world = world_for(prior).await;
        let before = world.fake.counter(world.spec.id);
        let ended = world.run(kind, prior).await;
        assert_eq!(ended.result, OperationResult::Succeeded, "{kind} from {prior}");
        assert_eq!(ended.seen.power, expected_power(kind), "{kind} from {prior}");
        assert_effect(&world, kind, before, &format!("{kind} from {prior}"));
    }
}

/// I3, I5: killed at any call, before or after its effect, the operation still reaches its end.
#[tokio::test(flavor = "multi_thread")]
async fn every_operation_survives_a_kill_at_every_call() {
    let mut tasks = tokio::task::JoinSet::new();
    for (kind, prior) in CASES {
        tasks.spawn(async move {
            let mut kills = 0;
            for call in calls_of(kind, prior).await {
                for moment in [Moment::Before, Moment::After] {
                    kills += usize::from(survives_a_kill(kind, prior, call, moment).await);
                }
            }
            assert!(kills >= 2, "{kind} from {prior} was killed only {kills} times");
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}

async fn survives_a_kill(kind: OperationKind, prior: VmState, call: Call, moment: Moment) -> bool {
    let note = format!("{kind} from {prior} killed {moment:?} {call:?}");
    let world = world_for(prior).await;
    let before = world.fake.counter(world.spec.id);
    let command = world.command(kind, prior);
    let Some(ended) = world.run_killed_at(command, call, moment).await else { return false };
    assert_eq!(ended.result, OperationResult::Succeeded, "{note}");
    assert_eq!(ended.seen.power, expected_power(kind), "{note}");
    assert_effect(&world, kind, before, &note);
    true
}

/// A call that fails for good ends the operation in a state that is true, and never costs memory
/// or a disk.
#[tokio::test(flavor = "multi_thread")]
async fn every_failing_call_ends_in_the_truth() {
    let mut tasks = tokio::task::JoinSet::new();
    for (kind, prior) in CASES {
        tasks.spawn(async move {
            for call in calls_of(kind, prior).await {
                fails_truthfully(kind, prior, call).await;
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}

/// A libvirtd that dies at any call and comes back costs time, and nothing else: the operation goes on
/// and succeeds (chaos seed 3, run 40 of suspend and resume, where a suspend was undone).
#[tokio::test(flavor = "multi_thread")]
async fn every_operation_outlives_a_hypervisor_that_goes_away_at_any_call() {
    let mut tasks = tokio::task::JoinSet::new();
    for (kind, prior) in CASES {
        for call in calls_of(kind, prior).await {
            tasks.spawn(outlives(kind, prior, call));
        }
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}

async fn outlives(kind: OperationKind, prior: VmState, call: Call) {
    let note = format!("{kind} from {prior} with the hypervisor away at {call:?}");
    let message = "client socket is closed".to_owned();
    let errors = [
        HypervisorError::Unavailable { uri: "test".to_owned(), message: message.clone() },
        HypervisorError::Interrupted { call: "test", message },
        HypervisorError::Timeout { call: "test", seconds: 10 },
    ];
    for error in errors {
        let world = world_for(prior).await;
        let before = world.fake.counter(world.spec.id);
        world.fake.fail_next(call, error);
        let ended = world.run(kind, prior).await;
        assert_eq!(ended.result, OperationResult::Succeeded, "{note}");
        assert_eq!(ended.seen.power, expected_power(kind), "{note}");
        assert_effect(&world, kind, before, &note);
    }
}

async fn fails_truthfully(kind: OperationKind, prior: VmState, call: Call) {
    let note = format!("{kind} from {prior} with {call:?} failing");
    let world = world_for(prior).await;
    let counter = world.fake.counter(world.spec.id);
    let refusal = HypervisorError::Failed { call: "test", message: "no space left".to_owned() };
    world.fake.fail_next(call, refusal);
    let ended = world.run(kind, prior).await;
    if ended.result == OperationResult::Succeeded {
        assert_effect(&world, kind, counter, &note);
        return;
    }
    let OperationResult::Failed { fault, .. } = &ended.result else { panic!("{note}: cancelled") };
    assert!(!fault.message.is_empty(), "{note}");
    let state = after_failure(kind, prior, &ended.seen);
    match kind {
        OperationKind::Create => {
            assert!(!world.paths().dir.exists(), "{note}: files are left");
            return;
        }
        OperationKind::Delete => return,
        // The guest was never touched, or was put back.
        OperationKind::Suspend | OperationKind::Pause => {
            assert_eq!(state, VmState::Active, "{note}");
            assert_eq!(world.fake.counter(world.spec.id), counter, "{note}");
        }
        OperationKind::Resume if ended.seen.saved == SavedMemory::Valid => {
            assert_eq!(state, VmState::Suspended, "{note}");
        }
        OperationKind::Resume => {
            let now = world.fake.counter(world.spec.id);
            assert!(now >= Some(5), "{note}: neither saved nor in RAM ({now:?})");
        }
        OperationKind::Rescue => assert_eq!(state, VmState::Active, "{note}: {:?}", ended),
        _ => {}
    }
    assert!(world.paths().disk().exists(), "{note}: the disk is gone");
}

#[tokio::test]
async fn i8_saved_memory_is_not_restored_over_a_changed_disk() {
    let world = world_for(VmState::Suspended).await;
    let disk = std::fs::OpenOptions::new().append(true).open(world.paths().disk()).unwrap();
    std::io::Write::write_all(&mut &disk, b"somebody wrote to the disk").unwrap();
    disk.sync_all().unwrap();
    let ended = world.run(OperationKind::Resume, VmState::Suspended).await;
    let OperationResult::Failed { fault, .. } = ended.result else { panic!("restored") };
    assert!(fault.message.contains("changed since the memory was saved"), "{}", fault.message);
    assert_eq!(world.fake.counter(world.spec.id), None);
}

#[tokio::test]
async fn i8_damaged_memory_is_neither_restored_nor_deleted() {
    let world = world_for(VmState::Suspended).await;
    let memory = std::fs::read_dir(world.paths().save_dir())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.file_name().unwrap().to_string_lossy().starts_with("memory-"))
        .unwrap();
    let mut bytes = std::fs::read(&memory).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&memory, bytes).unwrap();
    let ended = world.run(OperationKind::Resume, VmState::Suspended).await;
    let OperationResult::Failed { fault, .. } = ended.result else { panic!("restored") };
    assert!(fault.message.contains("damaged"), "{}", fault.message);
    assert!(memory.exists());
    assert_eq!(world.fake.counter(world.spec.id), None);
}

#[tokio::test]
async fn i8_start_never_boots_over_saved_memory() {
    let world = world_for(VmState::Suspended).await;
    let ended = world.run(OperationKind::Start, VmState::Stopped).await;
    let OperationResult::Failed { fault, .. } = ended.result else { panic!("booted") };
    assert!(fault.message.contains("saved memory"), "{}", fault.message);
    world.succeed(OperationKind::Resume, VmState::Suspended).await;
    assert!(world.fake.counter(world.spec.id) >= Some(5));
}

#[tokio::test]
async fn a_guest_that_ignores_the_power_button_is_powered_off_after_its_grace() {
    let world = world_for(VmState::Active).await;
    world.fake.ignore_shutdown(world.spec.id, true);
    world.succeed(OperationKind::Stop, VmState::Active).await;
    assert_eq!(world.fake.counter(world.spec.id), None);
}

#[tokio::test]
async fn a_repeated_command_is_answered_from_the_ledger() {
    use reprieve_compute::ledger::Acceptance;
    let world = world_for(VmState::Active).await;
    let host = world.boot().await;
    let command = world.command(OperationKind::Pause, VmState::Active);
    let ended = run_on(&host, command.clone()).await;
    let calls = world.fake.calls().len();
    let now = reprieve_core::Clock::now(&reprieve_core::SystemClock);
    assert_eq!(host.ledger.accept(&command, now).await.unwrap(), Acceptance::Finished(ended));
    let mut older = world.command(OperationKind::Unpause, VmState::Paused);
    older.generation = command.generation - 1;
    let stale = host.ledger.accept(&older, now).await.unwrap();
    assert_eq!(stale, Acceptance::Stale { newest: command.generation });
    assert_eq!(world.fake.calls().len(), calls, "the guest was touched");
}

fn broken() -> HypervisorError {
    HypervisorError::Failed { call: "test", message: "no space left".to_owned() }
}

/// A rescue that could not boot is taken back. Killed in the middle of that, the next daemon takes it
/// back too: the guest that runs from its own disk again is not called rescued.
#[tokio::test]
async fn i9_a_rescue_that_was_given_up_is_never_taken_forward_again() {
    let world = world_for(VmState::Active).await;
    world.fake.fail_next(Call::Start, broken());
    let command = world.command(OperationKind::Rescue, VmState::Active);
    let ended = world.run_killed_at(command, Call::Start, Moment::After).await.unwrap();
    let OperationResult::Failed { fault, .. } = &ended.result else { panic!("{ended:?}") };
    assert!(fault.message.contains("no space left"), "{}", fault.message);
    assert_eq!(after_failure(OperationKind::Rescue, VmState::Active, &ended.seen), VmState::Active);
    assert!(!world.paths().rescue_disk().exists() && !ended.seen.rescue_stashed);
}

/// A guest that somebody booted from its own disk in the middle of a rescue is not rescued.
#[tokio::test]
async fn i6_a_guest_on_its_own_disk_is_not_a_rescued_one() {
    let world = world_for(VmState::Active).await;
    let host = world.boot().await;
    let command = world.command(OperationKind::Rescue, VmState::Active);
    let last = command.plan.len() - 1;
    host.ledger.accept(&command, now()).await.unwrap();
    let job = Unfinished { command, next_step: last, given_up: None };
    let Verdict::Ended { ended, .. } = executor::run(&host, &job, &Stops::default()).await else {
        panic!("interrupted")
    };
    assert!(matches!(ended.result, OperationResult::Failed { .. }), "{ended:?}");
}

/// Memory that nothing announced would be memory that nothing speaks for.
#[tokio::test]
async fn i8_a_save_without_its_announcement_leaves_the_guest_alone() {
    let world = world_for(VmState::Active).await;
    let host = world.boot().await;
    let command = world.command(OperationKind::Suspend, VmState::Active);
    host.ledger.accept(&command, now()).await.unwrap();
    let job = Unfinished { command, next_step: 1, given_up: None };
    let Verdict::Ended { ended, .. } = executor::run(&host, &job, &Stops::default()).await else {
        panic!("interrupted")
    };
    assert!(matches!(ended.result, OperationResult::Failed { .. }), "{ended:?}");
    assert_eq!(world.fake.counter(world.spec.id), Some(5));
}

/// A guest that powered itself off just before its suspend is off, and can be started.
#[tokio::test]
async fn a_guest_that_powers_itself_off_before_its_suspend_is_stopped_and_starts_again() {
    for step in [0, 1] {
        let world = world_for(VmState::Active).await;
        let host = world.boot().await;
        let command = world.command(OperationKind::Suspend, VmState::Active);
        if step == 1 {
            // The save was announced, and QEMU ended before libvirt got to it.
            let job = Unfinished { command: command.clone(), next_step: 0, given_up: None };
            let reached = world.fake.crash_at(Call::SaveMemory, Moment::Before);
            host.ledger.accept(&command, now()).await.unwrap();
            let stops = Stops::default();
            tokio::select! {
                biased;
                died = reached => died.unwrap(),
                _ = executor::run(&host, &job, &stops) => panic!("not saved"),
            }
            std::fs::write(world.paths().save_dir().join("memory-x.part"), b"").unwrap();
        } else {
            host.ledger.accept(&command, now()).await.unwrap();
        }
        world.fake.guest_powers_off(world.spec.id);
        let job = Unfinished { command, next_step: step, given_up: None };
        let Verdict::Ended { ended, .. } = executor::run(&host, &job, &Stops::default()).await
        else {
            panic!("interrupted")
        };
        let OperationResult::Failed { needs_attention, .. } = ended.result else { panic!() };
        assert!(!needs_attention);
        let state = after_failure(OperationKind::Suspend, VmState::Active, &ended.seen);
        assert_eq!(state, VmState::Stopped);
        host.ledger.close().await;
        world.succeed(OperationKind::Start, VmState::Stopped).await;
    }
}

/// What a half-done rescue left does not survive the boot from the own disk that replaced it.
#[tokio::test]
async fn a_hard_reboot_and_a_start_clear_what_a_failed_rescue_left() {
    for (kind, prior) in
        [(OperationKind::RebootHard, VmState::Error), (OperationKind::Start, VmState::Stopped)]
    {
        let world = world_for(VmState::Rescued).await;
        world.succeed(OperationKind::Stop, VmState::Error).await;
        let ended = world.run(kind, prior).await;
        assert_eq!(ended.result, OperationResult::Succeeded);
        assert!(!ended.seen.rescue_stashed && !world.paths().rescue_disk().exists());
        assert!(world.paths().disk().exists());
    }
}

/// A rescue that is refused before it has done anything has nothing to take back: neither a rescue
/// system that is there already, nor a guest that runs beside saved memory that nobody wants any more.
#[tokio::test]
async fn a_rescue_that_is_refused_leaves_the_guest_alone() {
    for prepared in [VmState::Rescued, VmState::Suspended] {
        let world = world_for(prepared).await;
        let id = world.spec.id;
        if prepared == VmState::Suspended {
            // As `virsh start` does.
            world.fake.start(id).await.unwrap();
        }
        let (boots, truth) = (world.fake.boots(id), world.fake.truth(id));
        assert!(truth.as_ref().unwrap().power.has_process());
        let ended = world.run(OperationKind::Rescue, VmState::Error).await;
        let OperationResult::Failed { fault, .. } = &ended.result else { panic!("{ended:?}") };
        assert_eq!((world.fake.boots(id), world.fake.truth(id)), (boots, truth), "{prepared}");
        assert_eq!(world.paths().rescue_disk().exists(), prepared == VmState::Rescued);
        let place = world.instances().parent().unwrap().display().to_string();
        assert!(!fault.message.contains(&place), "{}", fault.message);
    }
}

/// libvirtd that is away for longer than an operation may take does not make a running guest broken.
#[tokio::test]
async fn i6_the_end_waits_for_a_hypervisor_that_is_away() {
    let world = world_for(VmState::Active).await;
    let host = std::sync::Arc::new(world.boot().await);
    let mut command = world.command(OperationKind::Pause, VmState::Active);
    command.deadline = reprieve_core::Timestamp::from_micros(0);
    world.fake.set_disconnected(Some("libvirtd is being restarted"));
    let calls = world.fake.calls().len();
    let running = std::sync::Arc::clone(&host);
    let ended = tokio::spawn(async move { run_on(&running, command).await });
    // The step, and at least one look at the end.
    while world.fake.calls().len() < calls + 2 {
        tokio::task::yield_now().await;
    }
    // Keeps the paused clock from moving by itself.
    let (release, held) = std::sync::mpsc::channel::<()>();
    let holder = tokio::task::spawn_blocking(move || held.recv());
    tokio::time::pause();
    for _ in 0..120 {
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
    }
    assert!(!ended.is_finished(), "an end without a look at the guest");
    world.fake.set_disconnected(None);
    tokio::time::advance(std::time::Duration::from_secs(10)).await;
    tokio::time::resume();
    drop(release);
    let _ = holder.await.unwrap();
    let ended = ended.await.unwrap();
    assert_eq!(ended.seen.power, PowerState::Running);
    assert_eq!(after_failure(OperationKind::Pause, VmState::Active, &ended.seen), VmState::Active);
}

/// What belongs to a deleted server does not stay in memory for ever.
#[tokio::test]
async fn the_actor_of_a_deleted_server_ends() {
    let world = world_for(VmState::Active).await;
    let host = std::sync::Arc::new(world.boot().await);
    let command = world.command(OperationKind::Delete, VmState::Active);
    host.ledger.accept(&command, now()).await.unwrap();
    let tasks = tokio_util::task::TaskTracker::new();
    let stops = Default::default();
    let actor = ActorHandle::spawn(host, world.spec.id, stops, &tasks);
    assert!(actor.run(Unfinished { command, next_step: 0, given_up: None }).await);
    tasks.close();
    tasks.wait().await;
    assert!(actor.has_ended() && !world.paths().dir.exists());
}

#[tokio::test]
async fn a_suspend_without_space_says_so_and_the_guest_runs_on() {
    let world = world_for(VmState::Active).await;
    let counter = world.fake.counter(world.spec.id);
    let words = format!("operation failed: Unable to write {}", "/a/long/path".repeat(30));
    let message = format!("{words}: No space left on device");
    world
        .fake
        .fail_next(Call::SaveMemory, HypervisorError::Failed { call: "save_memory", message });
    let ended = world.run(OperationKind::Suspend, VmState::Active).await;
    let OperationResult::Failed { fault, needs_attention } = ended.result else { panic!("saved") };
    assert!(!needs_attention);
    assert!(fault.message.starts_with("there is no space left on "), "{}", fault.message);
    assert!(fault.details.contains("/a/long/path"), "{}", fault.details);
    assert!(world.fake.counter(world.spec.id) >= counter);
    assert_eq!((ended.seen.power, ended.seen.saved), (PowerState::Running, SavedMemory::None));
}

/// Files of a request come with its create operation, and only then.
#[tokio::test]
async fn injected_files_are_on_the_config_drive() {
    let world = World::new();
    let host = world.boot().await;
    let mut command = world.command(OperationKind::Create, VmState::Building);
    command.args.injected_files = vec![InjectedFile {
        path: "/etc/motd".to_owned(),
        contents: "aGVsbG8gZ3Vlc3Q=".to_owned(),
    }];
    let ended = run_on(&host, command).await;
    assert_eq!(ended.result, OperationResult::Succeeded);
    let drive = std::fs::read(world.paths().config_drive()).unwrap();
    let holds = |text: &[u8]| drive.windows(text.len()).any(|window| window == text);
    assert!(holds(b"hello guest") && holds(b"/content/0000") && holds(b"/etc/motd"));
}
