//! Runs the steps of one operation, from wherever it stands to its end.
//!
//! ```text
//!            +---- transient failure, before the deadline: wait, again ----+
//!            v                                                             |
//! step n: perform (probe -> apply -> probe) --done--> ledger n+1 --> step n+1 ... -> Succeeded
//!            |                                                 shutdown between steps: Interrupted
//!            +-- failure, deadline, cancellation --> ledger: given up --> undo what is private
//!                                                     --> look at the guest --> Failed | Cancelled
//! ```
//!
//! A killed daemon finds the operation in the ledger and enters this picture again at step n; as
//! every step probes first, doing so is always safe (I3). A cancellation is heard before each step but
//! where it could leave a guest without its memory ([`may_stop_before`]). One that was given up is never
//! taken forward again: half of what its steps rely on may be undone already.
//!
//! Each report costs the control plane as much as a quick step costs the guest. So that a step is done is
//! told with whatever comes after it, which is the end of the operation as long as all steps are quick.
//! What is held back that way is in memory only: after a kill a line of the audit is missing, no more.
//!
//! Undoing and looking wait for a hypervisor that cannot be reached, however long: what became of
//! the guest is not known before (I6). Nothing happens to the guest meanwhile.

use std::time::Duration;

use reprieve_core::Step;
use reprieve_core::cancel::may_stop_before;
use reprieve_core::conclude::Observation;
use reprieve_core::fault::Fault;
use reprieve_core::message::{OperationResult, ReportBody, RunOperation, StepDone, StepEvent};
use reprieve_core::ports::DomainPower;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::host::Host;
use crate::ledger::{Ended, Unfinished};
use crate::steps::{self, Done, Guest, Jobs, StepContext, StepFailure};

const FIRST_RETRY: Duration = Duration::from_millis(200);
const LONGEST_RETRY: Duration = Duration::from_secs(5);
/// How long the end of an operation waits for a guest that does not come to rest, and for files
/// that cannot be read.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a run of the executor ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The operation ended.
    Ended {
        /// How, as it is in the ledger.
        ended: Ended,
        /// Steps that were done and not told yet.
        done: Vec<StepDone>,
    },
    /// The daemon is stopping; the ledger knows where to go on.
    Interrupted,
}

/// What can stop a run from outside.
#[derive(Debug, Clone, Default)]
pub struct Stops {
    /// The operation is not wanted any more.
    pub cancel: CancellationToken,
    /// The daemon is stopping.
    pub shutdown: CancellationToken,
}

enum Stop {
    /// Given up, with the result as far as it is known.
    GivenUp(OperationResult),
    Interrupted,
}

impl From<StepFailure> for Stop {
    fn from(failure: StepFailure) -> Self {
        let fault = Fault::new(failure.code, failure.message, failure.details);
        Self::GivenUp(OperationResult::Failed { fault, needs_attention: failure.ambiguous })
    }
}

/// Runs `job` to its end and records the end in the ledger.
pub async fn run(host: &Host, job: &Unfinished, stops: &Stops) -> Verdict {
    let mut audit = Audit::of(host, &job.command);
    if let Some(ended) = run_to_end(host, job, &mut audit, stops).await {
        return Verdict::Ended { ended, done: audit.done };
    }
    audit.tell_done().await;
    Verdict::Interrupted
}

/// `None` when the daemon stops meanwhile.
async fn run_to_end(
    host: &Host,
    job: &Unfinished,
    audit: &mut Audit<'_>,
    stops: &Stops,
) -> Option<Ended> {
    let command = &job.command;
    let context = StepContext::new(host, command, &stops.cancel);
    let mut next = job.next_step;
    let went = match &job.given_up {
        Some(result) => Err(Stop::GivenUp(result.clone())),
        None => forward(&context, &mut next, audit, stops).await,
    };
    let (result, power) = match went {
        Ok(power) => (OperationResult::Succeeded, power),
        Err(Stop::Interrupted) => return None,
        Err(Stop::GivenUp(result)) => {
            let given_up =
                host.ledger.give_up(command.operation_id, next, &result, host.clock.now());
            if let Err(error) = given_up.await {
                // Undoing may be what makes room for the ledger again.
                warn!(%error, "that the operation was given up could not be recorded");
            }
            let result = undone(&context, next, result, &stops.shutdown).await?;
            (without_places(result, &context), None)
        }
    };
    let seen = observe(&context, power, &stops.shutdown).await?;
    let ended = Ended { result, seen };
    record_end(host, command, &ended, &stops.shutdown).await.then_some(ended)
}

/// A fault's message is for the owner of the server, who is not to know where its host keeps what. Its
/// details, for administrators, say it in full.
fn without_places(result: OperationResult, context: &StepContext<'_>) -> OperationResult {
    match result {
        OperationResult::Failed { mut fault, needs_attention } => {
            let all = &context.host.instances_dir;
            for place in [Some(context.paths.dir.as_path()), Some(all.as_path()), all.parent()] {
                let Some(place) = place.filter(|place| place.parent().is_some()) else { continue };
                fault.message = fault.message.replace(&format!("{}/", place.display()), "");
            }
            OperationResult::Failed { fault, needs_attention }
        }
        OperationResult::Succeeded | OperationResult::Cancelled => result,
    }
}

/// What is told of the steps of an operation.
struct Audit<'a> {
    host: &'a Host,
    command: &'a RunOperation,
    /// Steps that were done and not told yet, in their order.
    done: Vec<StepDone>,
}

impl<'a> Audit<'a> {
    const fn of(host: &'a Host, command: &'a RunOperation) -> Self {
        Self { host, command, done: Vec::new() }
    }

    /// A step is done, which is told with what comes next.
    fn note_done(&mut self, (index, step): (usize, Step), detail: String) {
        let at = self.host.clock.now();
        self.done.push(StepDone { index: number(index), step, at, detail });
    }

    /// Tells that something else happened to a step, after what was held back.
    async fn tell(&mut self, (index, step): (usize, Step), event: StepEvent, detail: String) {
        self.tell_done().await;
        self.report(number(index), step, event, detail).await;
    }

    /// Tells what was held back.
    async fn tell_done(&mut self) {
        for StepDone { index, step, detail, .. } in std::mem::take(&mut self.done) {
            self.report(index, step, StepEvent::Done, detail).await;
        }
    }

    async fn report(&self, index: u32, step: Step, event: StepEvent, detail: String) {
        let operation_id = self.command.operation_id;
        let body = ReportBody::Step { operation_id, index, step, event, detail };
        self.host.reporter.send(body).await;
    }
}

/// As in messages. No plan comes near the limit.
fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

/// Runs the steps from `next` on; `next` is the one that was reached. Says what the guest's power is if
/// a probe has seen it after the last step that touched it.
async fn forward(
    context: &StepContext<'_>,
    next: &mut usize,
    audit: &mut Audit<'_>,
    stops: &Stops,
) -> Result<Option<DomainPower>, Stop> {
    let mut power = None;
    while let Some(step) = context.command.plan.get(*next).copied() {
        if stops.shutdown.is_cancelled() {
            return Err(Stop::Interrupted);
        }
        match run_step(context, (*next, step), audit, stops).await? {
            Guest::Untouched => {}
            Guest::Unknown => power = None,
            Guest::Seen(seen) => power = Some(seen),
        }
        *next += 1;
    }
    Ok(power)
}

async fn run_step(
    context: &StepContext<'_>,
    (index, step): (usize, Step),
    audit: &mut Audit<'_>,
    stops: &Stops,
) -> Result<Guest, Stop> {
    let (host, command) = (context.host, context.command);
    let may_stop = may_stop_before(command.kind, step);
    let begun = Instant::now();
    let mut pause = FIRST_RETRY;
    loop {
        if may_stop && stops.cancel.is_cancelled() {
            return Err(Stop::GivenUp(OperationResult::Cancelled));
        }
        let failure = match perform(context, (index, step), audit).await {
            Ok(Done { detail, guest }) => {
                host.step_times.note(command.kind, step, begun.elapsed());
                info!(step = step.as_str(), detail, "step done");
                audit.note_done((index, step), detail);
                // The last step is recorded together with the result.
                if index + 1 < command.plan.len() {
                    let advanced =
                        host.ledger.advance(command.operation_id, index + 1, host.clock.now());
                    if let Err(error) = advanced.await {
                        // The step is probed again after a restart, so going on is safe.
                        warn!(%error, "progress could not be recorded");
                    }
                }
                return Ok(guest);
            }
            Err(failure) => failure,
        };
        if failure.stopped {
            info!(step = step.as_str(), error = %failure.details, "step stopped");
            audit.tell((index, step), StepEvent::Failed, "stopped".to_owned()).await;
            return Err(Stop::GivenUp(OperationResult::Cancelled));
        }
        let expired = host.clock.now() >= command.deadline;
        if !failure.transient || expired {
            warn!(step = step.as_str(), error = %failure.details, expired, "step failed");
            audit.tell((index, step), StepEvent::Failed, failure.message.clone()).await;
            return Err(failure.into());
        }
        info!(step = step.as_str(), error = %failure.message, retry_in = ?pause, "step waits");
        audit.tell((index, step), StepEvent::Retrying, failure.message).await;
        tokio::select! {
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(LONGEST_RETRY),
            () = stops.cancel.cancelled(), if may_stop => {
                return Err(Stop::GivenUp(OperationResult::Cancelled));
            }
            () = stops.shutdown.cancelled() => return Err(Stop::Interrupted),
        }
    }
}

/// Performs a step and says that it has begun if it is not over soon: in that time nobody could see it.
async fn perform(
    context: &StepContext<'_>,
    (index, step): (usize, Step),
    audit: &mut Audit<'_>,
) -> Result<Done, StepFailure> {
    let work = steps::perform(context, step);
    tokio::pin!(work);
    if let Ok(done) = tokio::time::timeout(context.host.quick_step, &mut work).await {
        return done;
    }
    // Side by side: a bus that is away must not keep the step from hearing a cancellation.
    let begun = audit.tell((index, step), StepEvent::Started, String::new());
    tokio::join!(begun, work).1
}

/// Undoes what is private to the operation and puts the outcome into words; `None` when the daemon
/// stops meanwhile.
async fn undone(
    context: &StepContext<'_>,
    reached: usize,
    result: OperationResult,
    shutdown: &CancellationToken,
) -> Option<OperationResult> {
    let Err(failure) = undo(context, reached, shutdown).await? else { return Some(result) };
    let fault = match result {
        OperationResult::Failed { mut fault, .. } => {
            fault.details = format!("{}\nundoing it failed: {}", fault.details, failure.details);
            fault
        }
        OperationResult::Succeeded | OperationResult::Cancelled => {
            Fault::new(failure.code, failure.message, failure.details)
        }
    };
    Some(OperationResult::Failed { fault, needs_attention: true })
}

/// Undoes. Repeating it is safe, so it waits for a guest that does not come to rest for a while, and
/// for a hypervisor that is away as long as it takes. `None` when the daemon stops meanwhile.
async fn undo(
    context: &StepContext<'_>,
    reached: usize,
    shutdown: &CancellationToken,
) -> Option<Result<(), StepFailure>> {
    let give_up = Instant::now() + PATIENCE;
    let mut pause = FIRST_RETRY;
    loop {
        match steps::undo(context, reached).await {
            Err(failure) if failure.transient => {
                let patient = Instant::now() < give_up;
                let hypervisor = &context.host.hypervisor;
                if !patient && hypervisor.domain(context.instance()).await.is_ok() {
                    return Some(Err(failure));
                }
                warn!(error = %failure.message, retry_in = ?pause, "undoing waits");
            }
            undone => return Some(undone),
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(LONGEST_RETRY),
            () = shutdown.cancelled() => return None,
        }
    }
}

/// Looks at the guest after the operation, unless its last probe has just done so. Waits for a
/// hypervisor that is away as long as it takes: an end without a look would call a guest that runs on
/// undisturbed broken. `None` when the daemon stops meanwhile: the operation is gone through again
/// after the restart.
async fn observe(
    context: &StepContext<'_>,
    known: Option<DomainPower>,
    shutdown: &CancellationToken,
) -> Option<Observation> {
    if known.is_some()
        && let Ok(seen) = steps::observe_with(context.host, context.instance(), known).await
    {
        return Some(seen);
    }
    let give_up = Instant::now() + PATIENCE;
    let mut pause = FIRST_RETRY;
    loop {
        let patient = Instant::now() < give_up;
        let jobs = if patient { Jobs::Wait } else { Jobs::LookThrough };
        match steps::observe(context.host, context.instance(), jobs).await {
            Ok(seen) => return Some(seen),
            Err(failure) if patient || failure.transient => {
                warn!(error = %failure.message, "the guest cannot be observed yet");
            }
            Err(failure) => {
                error!(error = %failure.details, "the guest cannot be observed");
                return Some(Observation::NOTHING);
            }
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(LONGEST_RETRY),
            () = shutdown.cancelled() => return None,
        }
    }
}

/// Writes the end into the ledger; an end that cannot be written is not reported either. `false`
/// when the daemon stops meanwhile.
async fn record_end(
    host: &Host,
    command: &RunOperation,
    ended: &Ended,
    shutdown: &CancellationToken,
) -> bool {
    let mut pause = FIRST_RETRY;
    while let Err(error) = host.ledger.finish(command, ended, host.clock.now()).await {
        error!(%error, "the end of an operation could not be recorded; trying again");
        tokio::select! {
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(LONGEST_RETRY),
            () = shutdown.cancelled() => return false,
        }
    }
    true
}
