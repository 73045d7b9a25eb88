//! The ledger of a host is lost, and every operation whose end was not heard of comes again: the next
//! agent begins with its first step. Whatever comes of that, no memory and no disk is lost by it, and what
//! is said of the server is true.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what it found by panicking")]

mod support;

use reprieve_core::conclude::{SavedMemory, after_failure, after_success_from};
use reprieve_core::message::OperationResult;
use reprieve_core::{OperationKind as K, PowerState, VmState};
use support::{World, run_on};

const OPERATIONS: [(K, VmState); 13] = [
    (K::Create, VmState::Building),
    (K::Pause, VmState::Active),
    (K::Unpause, VmState::Paused),
    (K::Suspend, VmState::Active),
    (K::Suspend, VmState::Paused),
    (K::Resume, VmState::Suspended),
    (K::Rescue, VmState::Active),
    (K::Unrescue, VmState::Rescued),
    (K::Stop, VmState::Active),
    (K::Start, VmState::Stopped),
    (K::RebootSoft, VmState::Active),
    (K::RebootHard, VmState::Paused),
    (K::Delete, VmState::Active),
];

#[tokio::test]
async fn an_operation_that_comes_again_without_its_ledger_loses_nothing() {
    for (kind, prior) in OPERATIONS {
        let world = World::new();
        if prior != VmState::Building {
            world.bring_to(prior).await;
        }
        let id = world.spec.id;
        let command = world.command(kind, prior);
        let host = world.boot().await;
        let first = run_on(&host, command.clone()).await;
        assert_eq!(first.result, OperationResult::Succeeded, "{kind}");
        host.ledger.close().await;
        let before = world.fake.truth(id);
        let boots = world.fake.boots(id);
        for name in ["ledger.db", "ledger.db-wal", "ledger.db-shm"] {
            let file = world.instances().parent().unwrap().join(name);
            if file.exists() {
                std::fs::remove_file(file).unwrap();
            }
        }

        let host = world.boot().await;
        let again = run_on(&host, command).await;
        host.ledger.close().await;
        let state = match again.result {
            OperationResult::Succeeded => after_success_from(kind, prior),
            OperationResult::Failed { .. } | OperationResult::Cancelled => {
                after_failure(kind, prior, &again.seen)
            }
        };
        let told = format!("{kind} from {prior}: {:?}, {:?}", again.result, again.seen);
        assert_eq!(state, after_success_from(kind, prior), "{told}");
        assert_eq!(again.seen.saved, first.seen.saved, "{told}");
        let after = world.fake.truth(id);
        assert_eq!(
            after.as_ref().map(|guest| guest.power),
            before.as_ref().map(|guest| guest.power)
        );
        match kind {
            // They end the guest to boot another one, and do it once more.
            K::RebootSoft | K::RebootHard | K::Rescue | K::Unrescue => {}
            K::Create
            | K::Delete
            | K::Pause
            | K::Unpause
            | K::Suspend
            | K::Resume
            | K::Stop
            | K::Start => assert_eq!(world.fake.boots(id), boots, "{told}"),
        }
        assert_eq!(world.paths().disk().exists(), kind != K::Delete, "{told}");
        if first.seen.saved == SavedMemory::Valid {
            world.succeed(K::Resume, VmState::Suspended).await;
            let resumed = world.fake.truth(id).unwrap();
            assert_eq!(resumed.power, PowerState::Running, "{told}");
            assert_eq!(world.fake.boots(id), boots, "it came back from its memory: {told}");
        }
    }
}
