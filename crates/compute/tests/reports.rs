//! When it is told that a step is done: with what comes after it, at once if that takes a while, and
//! always before anything else about the operation.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a helper of a test fails it")]

mod support;

use std::time::Duration;

use reprieve_compute::executor::{self, Stops, Verdict};
use reprieve_compute::host::Host;
use reprieve_compute::ledger::{Acceptance, Unfinished};
use reprieve_core::message::{OperationResult, ReportBody, StepEvent};
use reprieve_core::ports::HypervisorError;
use reprieve_core::{Clock as _, OperationKind, Step, SystemClock, VmState};
use reprieve_hypervisor::fake::Call;
use support::World;
use tokio::sync::mpsc::UnboundedReceiver;

/// Longer than any step takes that is not held.
const LONG: Duration = Duration::from_secs(3600);
/// Longer than a step takes that is not held, however busy the disk is, and short enough to wait for.
const A_WHILE: Duration = Duration::from_secs(3);

async fn run(host: &Host, world: &World, kind: OperationKind, stops: &Stops) -> Verdict {
    let prior = if kind == OperationKind::Unpause { VmState::Paused } else { VmState::Active };
    let command = world.command(kind, prior);
    let accepted = host.ledger.accept(&command, SystemClock.now()).await.unwrap();
    assert_eq!(accepted, Acceptance::New);
    executor::run(host, &Unfinished { command, next_step: 0, given_up: None }, stops).await
}

/// The steps that came with the end, and how it ended.
fn ended(verdict: Verdict) -> (Vec<(u32, Step)>, OperationResult) {
    let Verdict::Ended { ended, done } = verdict else { panic!("interrupted") };
    (done.iter().map(|one| (one.index, one.step)).collect(), ended.result)
}

/// Everything that was reported, once the reporter has nothing left.
async fn told(
    host: Host,
    mut reports: UnboundedReceiver<ReportBody>,
) -> Vec<(u32, Step, StepEvent)> {
    drop(host);
    let mut told = Vec::new();
    while let Some(body) = reports.recv().await {
        told.push(step_of(&body));
    }
    told
}

fn step_of(body: &ReportBody) -> (u32, Step, StepEvent) {
    let ReportBody::Step { index, step, event, .. } = body else { panic!("{body:?}") };
    (*index, *step, *event)
}

/// A host that announces steps which take longer than this.
async fn boot(world: &World, quick_step: Duration) -> (Host, UnboundedReceiver<ReportBody>) {
    let (host, reports) = world.boot_heard().await;
    (Host { quick_step, ..host }, reports)
}

#[tokio::test]
async fn quick_steps_are_told_with_the_end_alone() {
    let world = World::new();
    world.bring_to(VmState::Paused).await;
    let (host, reports) = boot(&world, LONG).await;
    let verdict = run(&host, &world, OperationKind::Unpause, &Stops::default()).await;
    let all = vec![(0, Step::ResumeCpus), (1, Step::SyncClock)];
    assert_eq!(ended(verdict), (all, OperationResult::Succeeded));
    assert_eq!(told(host, reports).await, []);
}

#[tokio::test]
async fn what_was_done_is_told_when_the_next_step_takes_a_while() {
    let world = World::new();
    world.bring_to(VmState::Active).await;
    let (host, mut reports) = boot(&world, A_WHILE).await;
    let save = world.fake.hold_next(Call::SaveMemory);
    let stops = Stops::default();
    let running = run(&host, &world, OperationKind::Suspend, &stops);
    let (verdict, before) = tokio::join!(running, async {
        let before = [reports.recv().await.unwrap(), reports.recv().await.unwrap()];
        save.send(()).unwrap();
        before.map(|body| step_of(&body))
    });
    let since = vec![(1, Step::SaveMemory), (2, Step::CommitSave)];
    assert_eq!(ended(verdict), (since, OperationResult::Succeeded));
    let expected =
        [(0, Step::OpenSave, StepEvent::Done), (1, Step::SaveMemory, StepEvent::Started)];
    assert_eq!(before, expected);
    assert_eq!(told(host, reports).await, []);
}

#[tokio::test]
async fn what_was_done_is_told_before_what_failed() {
    let world = World::new();
    world.bring_to(VmState::Active).await;
    let (host, reports) = boot(&world, LONG).await;
    let no = HypervisorError::Failed { call: "save", message: "no".to_owned() };
    world.fake.fail_next(Call::SaveMemory, no);
    let verdict = run(&host, &world, OperationKind::Suspend, &Stops::default()).await;
    let (done, result) = ended(verdict);
    assert_eq!(done, []);
    assert!(matches!(result, OperationResult::Failed { .. }), "{result:?}");
    let told = told(host, reports).await;
    let (first, last) = (told.first().copied(), told.last().copied());
    assert_eq!(first, Some((0, Step::OpenSave, StepEvent::Done)), "{told:?}");
    assert_eq!(last, Some((1, Step::SaveMemory, StepEvent::Failed)), "{told:?}");
}

#[tokio::test]
async fn what_was_done_is_told_when_the_daemon_stops() {
    let world = World::new();
    world.bring_to(VmState::Paused).await;
    let (host, reports) = world.boot_heard().await;
    let stops = Stops::default();
    let resumes = world.fake.hold_next(Call::ResumeCpus);
    let stopping = async {
        stops.shutdown.cancel();
        resumes.send(()).unwrap();
    };
    let running = run(&host, &world, OperationKind::Unpause, &stops);
    let (verdict, ()) = tokio::join!(running, async {
        // The first step has begun by the time this is polled to its end.
        while !world.fake.calls().iter().any(|(call, _)| *call == Call::ResumeCpus) {
            tokio::task::yield_now().await;
        }
        stopping.await;
    });
    assert_eq!(verdict, Verdict::Interrupted);
    let told = told(host, reports).await;
    assert!(told.contains(&(0, Step::ResumeCpus, StepEvent::Done)), "{told:?}");
}
