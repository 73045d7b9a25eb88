//! Runs the steps of one operation, from wherever it stands to its end.
//!
//! ```text
//!            +---- transient failure, before the deadline: wait, again ----+
//!            v                                                             |
//! step n: perform (probe -> apply -> probe) --done--> ledger n+1 --> step n+1 ... -> Succeeded
//!            |                                                 shutdown between steps: Interrupted
//!            +-- failure, deadline, cancellation --> undo what is private --> Failed | Cancelled
//! ```
//!
//! A killed daemon finds the operation in the ledger and enters this picture again at step n; as
//! every step probes first, doing so is always safe (I3).

use std::time::Duration;

use reprieve_core::Step;
use reprieve_core::conclude::Observation;
use reprieve_core::fault::Fault;
use reprieve_core::message::{OperationResult, ReportBody, RunOperation, StepEvent};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::host::Host;
use crate::ledger::{Ended, Unfinished};
use crate::steps::{self, StepContext, StepFailure};

const FIRST_RETRY: Duration = Duration::from_millis(200);
const LONGEST_RETRY: Duration = Duration::from_secs(5);
/// How long the end of an operation waits for a hypervisor that cannot be asked.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a run of the executor ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The operation ended; its result is in the ledger.
    Ended(Ended),
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
    Failed(StepFailure),
    Cancelled,
    Interrupted,
}

/// Runs `job` to its end and records the end in the ledger.
pub async fn run(host: &Host, job: &Unfinished, stops: &Stops) -> Verdict {
    let command = &job.command;
    let context = StepContext::new(host, command, &stops.cancel);
    let mut next = job.next_step;
    let stop = loop {
        let Some(step) = command.plan.get(next).copied() else { break None };
        if stops.shutdown.is_cancelled() {
            return Verdict::Interrupted;
        }
        match run_step(host, &context, (next, step), stops).await {
            Ok(()) => next += 1,
            Err(stop) => break Some(stop),
        }
    };
    let result = match stop {
        None => OperationResult::Succeeded,
        Some(Stop::Interrupted) => return Verdict::Interrupted,
        Some(Stop::Cancelled) => undone(&context, next, None).await,
        Some(Stop::Failed(failure)) => undone(&context, next, Some(failure)).await,
    };
    let Some(seen) = observe(&context, &stops.shutdown).await else { return Verdict::Interrupted };
    let ended = Ended { result, seen };
    record_end(host, command, ended, &stops.shutdown).await
}

async fn run_step(
    host: &Host,
    context: &StepContext<'_>,
    (index, step): (usize, Step),
    stops: &Stops,
) -> Result<(), Stop> {
    let command = context.command;
    report(host, command, (index, step), StepEvent::Started, String::new()).await;
    let mut pause = FIRST_RETRY;
    loop {
        if stops.cancel.is_cancelled() {
            return Err(Stop::Cancelled);
        }
        let failure = match steps::perform(context, step).await {
            Ok(detail) => {
                info!(step = step.as_str(), %detail, "step done");
                // The last step is recorded together with the result.
                if index + 1 < command.plan.len() {
                    let advanced =
                        host.ledger.advance(command.operation_id, index + 1, host.clock.now());
                    if let Err(error) = advanced.await {
                        // The step is probed again after a restart, so going on is safe.
                        warn!(%error, "progress could not be recorded");
                    }
                }
                report(host, command, (index, step), StepEvent::Done, detail).await;
                return Ok(());
            }
            Err(failure) => failure,
        };
        let expired = host.clock.now() >= command.deadline;
        if !failure.transient || expired {
            warn!(step = step.as_str(), error = %failure.details, expired, "step failed");
            let detail = failure.message.clone();
            report(host, command, (index, step), StepEvent::Failed, detail).await;
            return Err(Stop::Failed(failure));
        }
        info!(step = step.as_str(), error = %failure.message, retry_in = ?pause, "step waits");
        report(host, command, (index, step), StepEvent::Retrying, failure.message).await;
        tokio::select! {
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(LONGEST_RETRY),
            () = stops.cancel.cancelled() => return Err(Stop::Cancelled),
            () = stops.shutdown.cancelled() => return Err(Stop::Interrupted),
        }
    }
}

/// Undoes what is private to the operation and puts the outcome into words.
async fn undone(
    context: &StepContext<'_>,
    reached: usize,
    failure: Option<StepFailure>,
) -> OperationResult {
    let undone = undo(context, reached).await;
    let needs_attention = undone.is_err() || failure.as_ref().is_some_and(|f| f.ambiguous);
    let undo_failure = undone.err();
    match (failure, undo_failure) {
        (None, None) => OperationResult::Cancelled,
        (failure, undo_failure) => {
            let mut details = Vec::new();
            let mut parts = failure.into_iter().chain(undo_failure);
            let first = parts.next();
            let (code, message) = match &first {
                Some(failure) => (failure.code, failure.message.clone()),
                None => (500, String::new()),
            };
            details.extend(first.map(|failure| failure.details));
            details.extend(parts.map(|failure| format!("undoing it failed: {}", failure.details)));
            let fault = Fault::new(code, message, details.join("\n"));
            OperationResult::Failed { fault, needs_attention }
        }
    }
}

/// Undoes, waiting a while for a hypervisor that is away: undoing is safe to repeat, too.
async fn undo(context: &StepContext<'_>, reached: usize) -> Result<(), StepFailure> {
    let give_up = tokio::time::Instant::now() + PATIENCE;
    let mut pause = FIRST_RETRY;
    loop {
        match steps::undo(context, reached).await {
            Err(failure) if failure.transient && tokio::time::Instant::now() < give_up => {
                warn!(error = %failure.message, retry_in = ?pause, "undoing waits");
            }
            undone => return undone,
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_RETRY);
    }
}

/// Looks at the guest after the operation, waiting a while for a hypervisor that is away. `None`
/// when the daemon stops meanwhile: the operation is gone through again after the restart.
async fn observe(context: &StepContext<'_>, shutdown: &CancellationToken) -> Option<Observation> {
    let give_up = tokio::time::Instant::now() + PATIENCE;
    let mut pause = FIRST_RETRY;
    loop {
        match steps::observe(context.host, context.instance()).await {
            Ok(seen) => return Some(seen),
            Err(failure) if tokio::time::Instant::now() >= give_up => {
                error!(error = %failure.details, "the guest cannot be observed");
                return Some(Observation::NOTHING);
            }
            Err(failure) => warn!(error = %failure.message, "the guest cannot be observed yet"),
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(LONGEST_RETRY),
            () = shutdown.cancelled() => return None,
        }
    }
}

/// Writes the end into the ledger; an end that cannot be written is not reported either.
async fn record_end(
    host: &Host,
    command: &RunOperation,
    ended: Ended,
    shutdown: &CancellationToken,
) -> Verdict {
    let mut pause = FIRST_RETRY;
    while let Err(error) = host.ledger.finish(command, &ended, host.clock.now()).await {
        error!(%error, "the end of an operation could not be recorded; trying again");
        tokio::select! {
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(LONGEST_RETRY),
            () = shutdown.cancelled() => return Verdict::Interrupted,
        }
    }
    Verdict::Ended(ended)
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
