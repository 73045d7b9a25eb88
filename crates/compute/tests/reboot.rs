//! Restarts of the machine: every state, each policy, on the fake hypervisor with real files.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what it found by panicking")]

mod support;

use std::collections::HashSet;

use reprieve_compute::deleted;
use reprieve_compute::executor::{self, Stops, Verdict};
use reprieve_compute::ledger::Unfinished;
use reprieve_compute::steps::{self, Jobs};
use reprieve_core::message::OperationResult;
use reprieve_core::ports::Hypervisor as _;
use reprieve_core::reboot::{AfterReboot, Before, RebootPolicy, Revival, after_reboot};
use reprieve_core::{Clock as _, OperationKind, PowerReason, PowerState, SystemClock, VmState};
use reprieve_hypervisor::fake::{Call, Moment};
use support::World;

/// A server in each state, and one that was suspended for its host.
const SERVERS: [Before; 6] = [
    Before { state: VmState::Active, suspended_for_host: false },
    Before { state: VmState::Paused, suspended_for_host: false },
    Before { state: VmState::Suspended, suspended_for_host: false },
    Before { state: VmState::Suspended, suspended_for_host: true },
    Before { state: VmState::Stopped, suspended_for_host: false },
    Before { state: VmState::Rescued, suspended_for_host: false },
];

/// A server whose machine is restarted, and what is decided then.
async fn restarted(world: &World, policy: RebootPolicy, before: Before) -> AfterReboot {
    world.bring_to(before.state).await;
    world.fake.reboot_machine();
    let host = world.boot().await;
    let seen = steps::observe(&host, world.spec.id, Jobs::Wait).await.unwrap();
    host.ledger.close().await;
    assert!(!seen.power.has_process());
    after_reboot(policy, before, &seen)
}

#[tokio::test]
async fn what_is_decided_can_be_done() {
    for policy in RebootPolicy::ALL {
        for server in SERVERS {
            let (note, state) = (format!("{policy} {server:?}"), server.state);
            let world = World::new();
            let boots = |world: &World| world.fake.boots(world.spec.id);
            let decided = restarted(&world, *policy, server).await;
            let before = boots(&world);
            let prior = decided.synced.vm_state;
            assert_eq!(decided.synced.alarm, None, "{note}");
            if let Some(revival) = decided.revival {
                let ended = world.run(revival.kind(), prior).await;
                assert_eq!(ended.result, OperationResult::Succeeded, "{note}");
                assert_eq!(ended.seen.power, PowerState::Running, "{note}");
                assert_eq!(ended.seen.rescue_stashed, state == VmState::Rescued, "{note}");
                let booted = u64::from(revival == Revival::Start);
                assert_eq!(boots(&world), before + booted, "{note}");
            }
            // Whatever was decided, the way on is open.
            let (next, from) = match (state, decided.revival) {
                (VmState::Suspended, None) => (OperationKind::Resume, prior),
                (VmState::Rescued, _) => (OperationKind::Unrescue, prior),
                (_, Some(_)) => (OperationKind::Pause, VmState::Active),
                (_, None) => (OperationKind::Start, prior),
            };
            world.succeed(next, from).await;
            if state == VmState::Suspended {
                assert!(world.fake.counter(world.spec.id) >= Some(5), "memory goes on");
            }
        }
    }
}

/// I9: the own disk is not booted in the name of a rescue.
#[tokio::test]
async fn a_rescue_whose_definition_is_gone_is_not_started() {
    let world = World::new();
    let rescued = Before { state: VmState::Rescued, suspended_for_host: false };
    restarted(&world, RebootPolicy::Start, rescued).await;
    world.succeed(OperationKind::Unrescue, VmState::Rescued).await;
    world.fake.reboot_machine();
    let boots = world.fake.boots(world.spec.id);
    let ended = world.run(OperationKind::Start, VmState::Rescued).await;
    let OperationResult::Failed { fault, .. } = &ended.result else { panic!("{ended:?}") };
    assert!(fault.message.contains("the rescue definition is gone"), "{}", fault.message);
    assert_eq!(world.fake.boots(world.spec.id), boots);
}

/// A deletion that libvirt's disk did not have yet: the definition is back, and its files are gone.
#[tokio::test]
async fn a_delete_goes_on_where_its_domain_is_back() {
    for next_step in 0..=2 {
        let world = World::new();
        world.bring_to(VmState::Active).await;
        world.succeed(OperationKind::Delete, VmState::Active).await;
        assert_eq!(world.fake.known(), []);
        world.fake.lose_power();
        assert_eq!(world.fake.known(), [world.spec.id]);
        let host = world.boot().await;
        let command = world.command(OperationKind::Delete, VmState::Active);
        host.ledger.accept(&command, SystemClock.now()).await.unwrap();
        let job = Unfinished { command, next_step, given_up: None };
        let Verdict::Ended { ended, .. } = executor::run(&host, &job, &Stops::default()).await
        else {
            panic!("interrupted");
        };
        assert_eq!(ended.result, OperationResult::Succeeded, "from step {next_step}");
        assert_eq!(world.fake.known(), []);
        host.ledger.close().await;
    }
}

/// Somebody starts the guest of a definition that is back, just before it is removed: its disk stays.
#[tokio::test]
async fn files_stay_under_a_guest_that_runs() {
    let world = World::new();
    world.bring_to(VmState::Stopped).await;
    let (id, disk) = (world.spec.id, world.paths().disk());
    let host = world.boot().await;
    let command = world.command(OperationKind::Delete, VmState::Stopped);
    host.ledger.accept(&command, SystemClock.now()).await.unwrap();
    let job = Unfinished { command, next_step: 2, given_up: None };
    let release = world.fake.hold_next(Call::Undefine);
    let stops = Stops::default();
    let starts = async {
        while !world.fake.calls().contains(&(Call::Undefine, Some(id))) {
            tokio::task::yield_now().await;
        }
        host.hypervisor.start(id).await.unwrap();
        release.send(()).unwrap();
    };
    let (verdict, ()) = tokio::join!(executor::run(&host, &job, &stops), starts);
    let Verdict::Ended { ended, .. } = verdict else { panic!("interrupted") };
    let OperationResult::Failed { fault, .. } = &ended.result else { panic!("{ended:?}") };
    assert!(fault.message.contains("still has its domain"), "{}", fault.message);
    assert!(disk.exists());
    assert_eq!(ended.seen.power, PowerState::Running);
    host.ledger.close().await;
}

/// What libvirt has of a server that the control plane does not know, after its delete and a loss of
/// power.
#[tokio::test]
async fn a_definition_that_came_back_after_the_delete_is_removed_and_nothing_else() {
    #[derive(Debug, PartialEq)]
    enum Case {
        Deleted,
        Known,
        Runs,
        HasFiles,
        Newer,
        NeverDeleted,
    }
    for case in
        [Case::Deleted, Case::Known, Case::Runs, Case::HasFiles, Case::Newer, Case::NeverDeleted]
    {
        let world = World::new();
        world.bring_to(VmState::Active).await;
        world.fake.write_back();
        let id = world.spec.id;
        if case != Case::NeverDeleted {
            world.succeed(OperationKind::Delete, VmState::Active).await;
        }
        world.fake.lose_power();
        let disk = world.paths().disk();
        if case == Case::HasFiles {
            std::fs::create_dir_all(&world.paths().dir).unwrap();
            std::fs::write(&disk, "from a backup").unwrap();
        }
        if case == Case::Runs {
            world.fake.set_power(id, PowerState::Running, PowerReason::Booted);
        }
        let host = world.boot().await;
        if case == Case::Newer {
            let newer = world.command(OperationKind::Create, VmState::Building);
            host.ledger.accept(&newer, SystemClock.now()).await.unwrap();
        }
        let known = HashSet::from_iter((case == Case::Known).then_some(id));
        let guests = host.hypervisor.list().await.unwrap();
        assert_eq!(guests.len(), 1, "{case:?}");
        let left = deleted::undefine_returned(&host, guests, &known).await;
        let stays = case != Case::Deleted;
        assert_eq!(
            (left.len(), world.fake.known().len()),
            (stays.into(), stays.into()),
            "{case:?}"
        );
        if case == Case::HasFiles {
            assert_eq!(std::fs::read_to_string(&disk).unwrap(), "from a backup");
        }
        assert_eq!(disk.exists(), matches!(case, Case::HasFiles | Case::NeverDeleted), "{case:?}");
        host.ledger.close().await;
    }
}

/// I9: the step that defined a domain is on our disk, the definition is not on libvirt's. Nothing is
/// booted from another one.
#[tokio::test]
async fn a_definition_that_went_with_the_power_is_made_again() {
    for (kind, prior) in [
        (OperationKind::Create, VmState::Building),
        (OperationKind::Start, VmState::Stopped),
        (OperationKind::RebootHard, VmState::Active),
        (OperationKind::Rescue, VmState::Active),
        (OperationKind::Unrescue, VmState::Rescued),
    ] {
        let world = World::new();
        if prior != VmState::Building {
            world.bring_to(prior).await;
        }
        let command = world.command(kind, prior);
        assert!(world.killed_at(command, Call::Start, Moment::Before).await, "{kind}");
        world.fake.lose_power();
        let ended = world.goes_on().await;
        assert_eq!(ended.result, OperationResult::Succeeded, "{kind}");
        assert_eq!(ended.seen.power, PowerState::Running, "{kind}");
        let host = world.boot().await;
        let domain = host.hypervisor.domain(world.spec.id).await.unwrap().unwrap();
        assert_eq!(domain.rescue, kind == OperationKind::Rescue, "{kind}");
        host.ledger.close().await;
    }
}

/// The definition went with the power, the saved memory did not: its guest comes back with a definition,
/// so that it is still there when its process has ended.
#[tokio::test]
async fn a_guest_that_is_resumed_without_its_definition_gets_one() {
    let world = World::new();
    world.bring_to(VmState::Suspended).await;
    let id = world.spec.id;
    let before = world.fake.boots(id);
    world.fake.undefine(id).await.unwrap();
    assert_eq!(world.fake.domain(id).await, Ok(None));
    world.succeed(OperationKind::Resume, VmState::Suspended).await;
    let domain = world.fake.domain(id).await.unwrap().unwrap();
    assert_eq!((domain.power, domain.persistent), (PowerState::Running, true));
    assert_eq!(world.fake.boots(id), before, "it goes on with its memory");
    world.fake.reboot_machine();
    let off = world.fake.domain(id).await.unwrap().unwrap();
    assert_eq!(off.power, PowerState::Shutdown);
}
