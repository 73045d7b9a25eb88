//! The table in docs/recovery.md: for every operation, every step at which its agent can be killed, and
//! what can have happened to the guest by the time another one starts, what recovery does.
//!
//! Nothing in it is written by hand. Each row is a run: the steps before are carried out and recorded,
//! the agent is gone, the guest is changed, and an agent that knows only the ledger and what it sees
//! takes over. `cargo xtask docs` writes the table anew; without that, a difference fails this test.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what it found by panicking"
)]

mod support;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use reprieve_compute::executor::{self, Stops, Verdict};
use reprieve_compute::host::Host;
use reprieve_compute::ledger::{Acceptance, Ended};
use reprieve_compute::steps::{self, StepContext};
use reprieve_core::conclude::{after_failure, after_success_from, power_sync};
use reprieve_core::message::{OperationResult, RunOperation};
use reprieve_core::plan::plan_from;
use reprieve_core::state::status;
use reprieve_core::{
    Clock as _, OperationKind as K, PowerReason, PowerState, SystemClock, VmState,
};
use support::World;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Set by `cargo xtask docs`.
const WRITE: &str = "REPRIEVE_WRITE_DOCS";
/// Longer than any recovery on the fake hypervisor takes on a busy machine.
const SOON: Duration = Duration::from_secs(120);
/// Runs side by side: each has files of its own.
const AT_ONCE: usize = 8;

/// Operations, and a state that each starts from.
const OPERATIONS: [(K, VmState); 14] = [
    (K::Create, VmState::Building),
    (K::Pause, VmState::Active),
    (K::Unpause, VmState::Paused),
    (K::Suspend, VmState::Active),
    (K::Resume, VmState::Suspended),
    (K::Rescue, VmState::Active),
    (K::Unrescue, VmState::Rescued),
    (K::Stop, VmState::Active),
    (K::Start, VmState::Stopped),
    (K::Start, VmState::Rescued),
    (K::RebootSoft, VmState::Active),
    (K::RebootHard, VmState::Suspended),
    (K::RebootHard, VmState::Paused),
    (K::Delete, VmState::Active),
];

/// What happened since the steps before were recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Since {
    Nothing,
    EffectThere,
    GuestOff,
    MachineRestarted,
    Paused,
    LetGo,
}

impl Since {
    const ALL: [Self; 6] = [
        Self::Nothing,
        Self::EffectThere,
        Self::GuestOff,
        Self::MachineRestarted,
        Self::Paused,
        Self::LetGo,
    ];

    const fn words(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::EffectThere => "the step, unrecorded",
            Self::GuestOff => "the guest powered itself off",
            Self::MachineRestarted => "the machine was restarted",
            Self::Paused => "somebody paused the guest",
            Self::LetGo => "somebody let the guest run",
        }
    }
}

/// An agent killed at step `at` of an operation.
#[derive(Debug, Clone, Copy)]
struct Case {
    kind: K,
    prior: VmState,
    at: usize,
    since: Since,
}

/// Changes the guest; `false` when it is no change.
async fn happens(world: &World, host: &Host, command: &RunOperation, case: Case) -> bool {
    let id = world.spec.id;
    let power = host.hypervisor.power(id).await.unwrap().map(|domain| domain.power);
    let process = power.is_some_and(PowerState::has_process);
    match case.since {
        Since::Nothing => {}
        Since::EffectThere => {
            let cancel = CancellationToken::new();
            let context = StepContext::new(host, command, &cancel);
            steps::perform(&context, command.plan[case.at]).await.unwrap();
        }
        Since::GuestOff if process => world.fake.guest_powers_off(id),
        Since::MachineRestarted if process => world.fake.reboot_machine(),
        Since::Paused if power == Some(PowerState::Running) => {
            world.fake.set_power(id, PowerState::Paused, PowerReason::User);
        }
        Since::LetGo if power == Some(PowerState::Paused) => {
            world.fake.set_power(id, PowerState::Running, PowerReason::Unpaused);
        }
        Since::GuestOff | Since::MachineRestarted | Since::Paused | Since::LetGo => return false,
    }
    true
}

/// Carries out the steps before, lets the agent die, and lets another one take over.
async fn recovered(case: Case) -> Option<String> {
    let world = World::new();
    if case.prior != VmState::Building {
        world.bring_to(case.prior).await;
    }
    let command = world.command(case.kind, case.prior);
    let host = world.boot().await;
    let accepted = host.ledger.accept(&command, SystemClock.now()).await.unwrap();
    assert_eq!(accepted, Acceptance::New);
    let cancel = CancellationToken::new();
    let context = StepContext::new(&host, &command, &cancel);
    for (index, step) in command.plan.iter().take(case.at).enumerate() {
        steps::perform(&context, *step).await.unwrap();
        host.ledger.advance(command.operation_id, index + 1, SystemClock.now()).await.unwrap();
    }
    let changed = happens(&world, &host, &command, case).await;
    host.ledger.close().await;
    if !changed {
        return None;
    }
    let host = world.boot().await;
    let job = host.ledger.unfinished().await.unwrap().remove(0);
    assert_eq!(job.next_step, case.at);
    let stops = Stops::default();
    let verdict = tokio::time::timeout(SOON, executor::run(&host, &job, &stops)).await;
    let Verdict::Ended { ended, .. } = verdict.unwrap() else { panic!("{case:?} was interrupted") };
    assert!(host.ledger.unfinished().await.unwrap().is_empty(), "{case:?} has ended");
    host.ledger.close().await;
    Some(told(&world, case, &ended))
}

/// What came of it, in words for the table.
fn told(world: &World, case: Case, ended: &Ended) -> String {
    let Case { kind, prior, .. } = case;
    let seen = &ended.seen;
    let guest = if seen.power.has_process() { "with" } else { "without" };
    match &ended.result {
        OperationResult::Succeeded => {
            let state = match after_success_from(kind, prior) {
                state @ (VmState::Active | VmState::Paused) => power_sync(state, seen).vm_state,
                state => state,
            };
            format!("goes on to its end | {} {guest} a guest", shown(state))
        }
        OperationResult::Failed { fault, needs_attention } => {
            let look = if *needs_attention { "; a person has to look" } else { "" };
            let state = after_failure(kind, prior, seen);
            let why = plain(world, &fault.message);
            format!("fails: {why}{look} | {} {guest} a guest", shown(state))
        }
        OperationResult::Cancelled => panic!("{case:?}: nobody cancelled it"),
    }
}

fn shown(state: VmState) -> &'static str {
    if state == VmState::Deleted { "DELETED" } else { status(state, None) }
}

/// A message without what is of this run alone.
fn plain(world: &World, message: &str) -> String {
    let instances = world.instances();
    let (dir, id) = (instances.display().to_string(), world.spec.id.to_string());
    message.replace(&dir, "DATA/instances").replace(&id, "UUID").replace('|', "/")
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (kind, prior) in OPERATIONS {
        for at in 0..plan_from(kind, prior).len() {
            cases.extend(Since::ALL.map(|since| Case { kind, prior, at, since }));
        }
    }
    cases
}

/// The outcome of every case, in their order.
async fn outcomes(cases: &[Case]) -> Vec<Option<String>> {
    let mut outcomes = vec![None; cases.len()];
    let mut running = JoinSet::new();
    let mut waiting = cases.iter().copied().enumerate();
    loop {
        while running.len() < AT_ONCE
            && let Some((number, case)) = waiting.next()
        {
            running.spawn(async move { (number, recovered(case).await) });
        }
        let Some(one) = running.join_next().await else { return outcomes };
        let (number, outcome) = one.unwrap();
        outcomes[number] = outcome;
    }
}

const HEAD: &str = "\
# What recovery does

Generated by `cargo xtask docs`; do not edit. Each row was run: an agent was killed at this step, with
the steps before it recorded in the ledger; the column *since* says what happened to the guest before
another agent took over; the rest is what that one did and what the server is then.

Not in the table, because they are the same everywhere: an operation that was given up is undone and
never taken forward again; one whose hypervisor is away waits for it; a shutdown of the agent ends
between steps. Each operation goes on when the control plane, which has welcomed the next agent, sends it
again. How a restart of the machine is followed up is in `crates/core/src/reboot.rs`.
";

/// The page, from the outcomes.
fn page(cases: &[Case], outcomes: &[Option<String>]) -> String {
    let mut page = HEAD.to_owned();
    let mut section = None;
    for (case, outcome) in cases.iter().zip(outcomes) {
        let Case { kind, prior, at, since } = *case;
        if section != Some((kind, prior)) {
            section = Some((kind, prior));
            let from = if prior == VmState::Building { "BUILD" } else { shown(prior) };
            write!(page, "\n## {kind}, from {from}\n\n").unwrap();
            page.push_str("| step | since | the next agent | server |\n|---|---|---|---|\n");
        }
        if let Some(outcome) = outcome {
            let step = plan_from(kind, prior)[at];
            writeln!(page, "| `{step}` | {} | {outcome} |", since.words()).unwrap();
        }
    }
    page
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_says_what_is_done() {
    let cases = cases();
    let page = page(&cases, &outcomes(&cases).await);
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/recovery.md");
    if std::env::var_os(WRITE).is_some() {
        return std::fs::write(file, page).unwrap();
    }
    let written = std::fs::read_to_string(file).unwrap();
    let differs = page.lines().zip(written.lines()).find(|(now, then)| now != then);
    assert_eq!(differs, None, "left is so now, right in the page; cargo xtask docs writes it anew");
    assert_eq!(page.lines().count(), written.lines().count());
}
