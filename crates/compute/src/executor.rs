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
//! Undoing and looking wait for a hypervisor that cannot be reached, however long: what became of
//! the guest is not known before (I6). Nothing happens to the guest meanwhile.

use std::time::Duration;

use reprieve_core::Step;
use reprieve_core::cancel::may_stop_before;
use reprieve_core::conclude::Observation;
use reprieve_core::fault::Fault;
use reprieve_core::message::{OperationResult, ReportBody, RunOperation, StepEvent};
use reprieve_core::ports::DomainPower;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::host::Host;
use crate::ledger::{Ended, Unfinished};
use crate::steps::{self, Done, Guest, Jobs, StepContext, StepFailure};

const FIRST_RETRY: Duration = Duration::from_millis(200);
const LONGEST_RETRY: Duration = Duration::from_secs(5);
/// How long a step may take before it is announced.
const QUICK: Duration = Duration::from_millis(100);
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
        /// What its last step said, if it succeeded.
        detail: Option<String>,
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
    let command = &job.command;
    let context = StepContext::new(host, command, &stops.cancel);
    let mut next = job.next_step;
    let went = match &job.given_up {
        Some(result) => Err(Stop::GivenUp(result.clone())),
        None => forward(host, &context, &mut next, stops).await,
    };
    let mut way = Way::default();
    let result = match went {
        Ok(gone) => {
            way = gone;
            OperationResult::Succeeded
        }
        Err(Stop::Interrupted) => return Verdict::Interrupted,
        Err(Stop::GivenUp(result)) => {
            let given_up =
                host.ledger.give_up(command.operation_id, next, &result, host.clock.now());
            if let Err(error) = given_up.await {
                // Undoing may be what makes room for the ledger again.
                warn!(%error, "that the operation was given up could not be recorded");
            }
            match undone(&context, next, result, &stops.shutdown).await {
                Some(result) => without_places(result, &context),
                None => return Verdict::Interrupted,
            }
        }
    };
    let Some(seen) = observe(&context, way.power, &stops.shutdown).await else {
        return Verdict::Interrupted;
    };
    let ended = Ended { result, seen };
    if record_end(host, command, &ended, &stops.shutdown).await {
        Verdict::Ended { ended, detail: way.detail }
    } else {
        Verdict::Interrupted
    }
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

/// What is known after all steps are done.
#[derive(Default)]
struct Way {
    /// The power of the guest, if a probe has seen it after the last step that touched it.
    power: Option<DomainPower>,
    /// What the last step said.
    detail: Option<String>,
}

/// Runs the steps from `next` on; `next` is the one that was reached.
async fn forward(
    host: &Host,
    context: &StepContext<'_>,
    next: &mut usize,
    stops: &Stops,
) -> Result<Way, Stop> {
    let mut way = Way::default();
    while let Some(step) = context.command.plan.get(*next).copied() {
        if stops.shutdown.is_cancelled() {
            return Err(Stop::Interrupted);
        }
        let Done { detail, guest } = run_step(host, context, (*next, step), stops).await?;
        match guest {
            Guest::Untouched => {}
            Guest::Unknown => way.power = None,
            Guest::Seen(power) => way.power = Some(power),
        }
        way.detail = Some(detail);
        *next += 1;
    }
    Ok(way)
}

async fn run_step(
    host: &Host,
    context: &StepContext<'_>,
    (index, step): (usize, Step),
    stops: &Stops,
) -> Result<Done, Stop> {
    let command = context.command;
    let may_stop = may_stop_before(command.kind, step);
    let begun = Instant::now();
    let mut pause = FIRST_RETRY;
    loop {
        if may_stop && stops.cancel.is_cancelled() {
            return Err(Stop::GivenUp(OperationResult::Cancelled));
        }
        let failure = match perform(host, context, (index, step)).await {
            Ok(done) => {
                host.step_times.note(command.kind, step, begun.elapsed());
                let detail = done.detail.as_str();
                info!(step = step.as_str(), detail, "step done");
                // The last step is recorded and reported together with the result.
                if index + 1 < command.plan.len() {
                    let advanced =
                        host.ledger.advance(command.operation_id, index + 1, host.clock.now());
                    if let Err(error) = advanced.await {
                        // The step is probed again after a restart, so going on is safe.
                        warn!(%error, "progress could not be recorded");
                    }
                    let detail = detail.to_owned();
                    report(host, command, (index, step), StepEvent::Done, detail).await;
                }
                return Ok(done);
            }
            Err(failure) => failure,
        };
        if failure.stopped {
            info!(step = step.as_str(), error = %failure.details, "step stopped");
            report(host, command, (index, step), StepEvent::Failed, "stopped".to_owned()).await;
            return Err(Stop::GivenUp(OperationResult::Cancelled));
        }
        let expired = host.clock.now() >= command.deadline;
        if !failure.transient || expired {
            warn!(step = step.as_str(), error = %failure.details, expired, "step failed");
            let detail = failure.message.clone();
            report(host, command, (index, step), StepEvent::Failed, detail).await;
            return Err(failure.into());
        }
        info!(step = step.as_str(), error = %failure.message, retry_in = ?pause, "step waits");
        report(host, command, (index, step), StepEvent::Retrying, failure.message).await;
        tokio::select! {
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(LONGEST_RETRY),
            () = stops.cancel.cancelled(), if may_stop => {
                return Err(Stop::GivenUp(OperationResult::Cancelled));
            }
            () = stops.shutdown.cancelled() => return Err(Stop::Interrupted),
        }
    }
}

/// Performs a step and says that it has begun if it is not over soon: saying so costs the control
/// plane as much as a quick step costs the guest, and nobody could see it in that time.
async fn perform(
    host: &Host,
    context: &StepContext<'_>,
    (index, step): (usize, Step),
) -> Result<Done, StepFailure> {
    let work = steps::perform(context, step);
    tokio::pin!(work);
    if let Ok(done) = tokio::time::timeout(QUICK, &mut work).await {
        return done;
    }
    // Side by side: a bus that is away must not keep the step from hearing a cancellation.
    let begun = report(host, context.command, (index, step), StepEvent::Started, String::new());
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

async fn report(
    host: &Host,
    command: &RunOperation,
    (index, step): (usize, Step),
    event: StepEvent,
    detail: String,
) {
    let body = ReportBody::Step {
        operation_id: command.operation_id,
        index: u32::try_from(index).unwrap_or(u32::MAX),
        step,
        event,
        detail,
    };
    host.reporter.send(body).await;
}
