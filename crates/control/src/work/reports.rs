//! Takes reports of the compute hosts from the bus and applies them.
//!
//! A report is acknowledged after the transaction that applied it. Reports that wait together are
//! applied together, which makes one fsync out of many. When the database fails, nothing is
//! acknowledged and the same reports are tried again.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use reprieve_core::HostName;
use reprieve_core::message::{Command, OperationResult, Rebooted, Report, ReportBody};
use reprieve_core::ports::{Delivery, Subscription};
use reprieve_store::{ApplyOutcome, Ended, Greeting, OperationRecord, StoreError};
use tokio_util::sync::CancellationToken;

use super::dispatch::chain;
use crate::Control;

/// Target of this role's log lines.
const LOG: &str = "reprieve::conductor";
/// Most reports in one transaction. As many as the bus hands over unacknowledged: a transaction takes
/// a few statements however many there are.
const BATCH: usize = 256;
/// Pause before the bus or the database is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// Runs until `shutdown` is cancelled.
pub async fn run(control: Arc<Control>, shutdown: CancellationToken) {
    while !shutdown.is_cancelled() {
        match control.bus.reports().await {
            Ok(mut reports) => consume(&control, reports.as_mut(), &shutdown).await,
            Err(error) => tracing::error!(target: LOG, %error, "reports cannot be received"),
        }
        // The subscription ended: the transport is down, or this process is.
        if pause(&shutdown).await {
            return;
        }
    }
}

/// Waits a little; says whether the process is ending.
async fn pause(shutdown: &CancellationToken) -> bool {
    tokio::time::timeout(AGAIN, shutdown.cancelled()).await.is_ok()
}

async fn consume(
    control: &Control,
    reports: &mut dyn Subscription<Report>,
    shutdown: &CancellationToken,
) {
    loop {
        let first = tokio::select! {
            biased; // a report that is there is applied before the process ends
            first = reports.next() => first,
            () = shutdown.cancelled() => None,
        };
        let Some(first) = first else { return };
        let mut batch = vec![first];
        while batch.len() < BATCH {
            match reports.next().now_or_never() {
                Some(Some(next)) => batch.push(next),
                Some(None) | None => break,
            }
        }
        // Beside each other: each waits for the connection, not for an answer.
        let applied = apply(control, batch, shutdown).await;
        join_all(applied.into_iter().map(|delivery| delivery.acknowledge())).await;
    }
}

/// Applies a batch and returns what may be acknowledged: all of it, unless the process ends first.
async fn apply(
    control: &Control,
    batch: Vec<Box<dyn Delivery<Report>>>,
    shutdown: &CancellationToken,
) -> Vec<Box<dyn Delivery<Report>>> {
    let mut run: Vec<Report> = Vec::new();
    for delivery in &batch {
        let report = delivery.message();
        // A greeting changes which reports are fenced, so it keeps its place among them.
        if let ReportBody::Hello { boot_id, rebooted, after } = &report.body {
            let greeting = Greeting { boot_id, after: *after, rebooted: rebooted.as_ref() };
            if !settle(control, std::mem::take(&mut run), shutdown).await
                || !greet(control, report, &greeting, shutdown).await
            {
                return Vec::new();
            }
        } else {
            run.push(report.clone());
        }
    }
    if settle(control, run, shutdown).await { batch } else { Vec::new() }
}

/// Applies reports until the database takes them; `false` when the process ends first.
async fn settle(control: &Control, reports: Vec<Report>, shutdown: &CancellationToken) -> bool {
    if reports.is_empty() {
        return true;
    }
    loop {
        match control.store.apply(&reports).await {
            Ok(outcomes) => {
                let now = control.clock.now();
                for (report, outcome) in reports.iter().zip(outcomes) {
                    if let Some(operation) = first_heard_of(&outcome) {
                        control.patience.note(operation.created_at.until(now));
                    }
                    if let ApplyOutcome::Outdated { boot_id, epoch } = &outcome {
                        tell_of_newer(control, &report.host, (boot_id, *epoch)).await;
                    }
                    if let ApplyOutcome::Unacquainted { epoch, registered } = outcome {
                        ask_to_greet(control, &report.host, (epoch, registered)).await;
                    }
                    tell(control, report, outcome);
                }
                return true;
            }
            Err(error) if !is_temporary(&error) => {
                if let [report] = reports.as_slice() {
                    // Trying it again would not help; the operation's deadline resolves the rest.
                    let (error, host) = (chain(&error), report.host.as_str());
                    tracing::error!(target: LOG, error, host, "a report was dropped");
                    return true;
                }
                for report in reports {
                    if !Box::pin(settle(control, vec![report], shutdown)).await {
                        return false;
                    }
                }
                return true;
            }
            Err(error) => {
                let error = chain(&error);
                tracing::error!(target: LOG, error, "reports wait for the database");
                if pause(shutdown).await {
                    return false;
                }
            }
        }
    }
}

/// The operation that a host has reported about for the first time.
fn first_heard_of(outcome: &ApplyOutcome) -> Option<&OperationRecord> {
    let operation = match outcome {
        ApplyOutcome::Accepted(operation) | ApplyOutcome::Progressed(operation) => operation,
        ApplyOutcome::Ended(ended) => &ended.operation,
        ApplyOutcome::Ignored(_)
        | ApplyOutcome::Alive
        | ApplyOutcome::Outdated { .. }
        | ApplyOutcome::Unacquainted { .. }
        | ApplyOutcome::Rejected(_)
        | ApplyOutcome::Observed { .. } => return None,
    };
    operation.started_at.is_none().then_some(operation)
}

/// Whether the same call may succeed later.
const fn is_temporary(error: &StoreError) -> bool {
    match error {
        StoreError::Database { .. }
        | StoreError::Open { .. }
        | StoreError::Connect { .. }
        | StoreError::Raced(_) => true,
        StoreError::Unsuitable { .. }
        | StoreError::Corrupt { .. }
        | StoreError::NotFound { .. }
        | StoreError::Exists { .. }
        | StoreError::Denied(_)
        | StoreError::Refused(_)
        | StoreError::OverQuota(_)
        | StoreError::QuotaReached(_)
        | StoreError::BadQuery(_) => false,
    }
}

/// Registers a start of a host and tells it its epoch.
async fn greet(
    control: &Control,
    report: &Report,
    greeting: &Greeting<'_>,
    shutdown: &CancellationToken,
) -> bool {
    let host = &report.host;
    let registration = loop {
        match control.store.greeted(host, greeting).await {
            Ok(registration) => break registration,
            Err(error) => {
                let error = chain(&error);
                tracing::error!(target: LOG, error, host = host.as_str(), "host not registered");
                if pause(shutdown).await {
                    return false;
                }
            }
        }
    };
    let epoch = registration.epoch;
    if registration.first {
        tracing::info!(
            target: LOG, host = host.as_str(), epoch, servers = registration.instances.len(),
            "host registered"
        );
    }
    if let (Some(Rebooted { machine_boot, policy }), true) =
        (greeting.rebooted, registration.rebooted)
    {
        tracing::warn!(
            target: LOG, host = host.as_str(), machine_boot, %policy,
            servers = registration.instances.len(), "the host was restarted"
        );
    }
    let instances = registration.instances;
    let welcome = Command::Welcome { boot_id: greeting.boot_id.to_owned(), epoch, instances };
    if let Err(error) = control.bus.command(host, &welcome).await {
        // It greets again until it is answered.
        tracing::warn!(target: LOG, %error, host = host.as_str(), "welcome not sent");
    }
    control.wake_dispatcher.notify_one();
    true
}

/// Tells an agent that lives, and does not know it, that another start of its host counts: what told it
/// so was lost, or the greeting of an earlier start came late. It makes way, and says why; without that
/// both sides would ignore each other for good. The one that counts hears what it knows.
async fn tell_of_newer(control: &Control, host: &HostName, (boot_id, epoch): (&str, i64)) {
    let newer = Command::Welcome { boot_id: boot_id.to_owned(), epoch, instances: Vec::new() };
    if let Err(error) = control.bus.command(host, &newer).await {
        // It gives another sign of life.
        tracing::warn!(target: LOG, %error, host = host.as_str(), "news of a newer start not sent");
    }
}

/// Asks a host to greet again of which the tables know too little, because they were lost or restored
/// from a backup. One that was removed while it lived has no servers, and stays away until its agent is
/// started again.
async fn ask_to_greet(control: &Control, host: &HostName, (epoch, registered): (i64, bool)) {
    if !registered {
        match control.store.has_servers(host).await {
            Ok(true) => {}
            Ok(false) => return,
            // It gives another sign of life.
            Err(error) => {
                tracing::warn!(target: LOG, error = chain(&error), "servers of a host not counted");
                return;
            }
        }
    }
    let asked = control.bus.command(host, &Command::Greet { epoch }).await;
    let (host, error) = (host.as_str(), asked.err().map(|error| error.to_string()));
    tracing::warn!(
        target: LOG, host, epoch, error,
        "the tables know too little of a host, which was asked to greet again"
    );
}

/// Says in the log what a report did, and wakes whoever has work now.
fn tell(control: &Control, report: &Report, outcome: ApplyOutcome) {
    let host = report.host.as_str();
    match outcome {
        ApplyOutcome::Ignored(reason) => {
            let (epoch, sequence) = (report.epoch, report.sequence);
            tracing::debug!(target: LOG, host, epoch, sequence, reason, "report ignored");
        }
        ApplyOutcome::Outdated { epoch, .. } => {
            let outdated = report.epoch;
            tracing::warn!(target: LOG, host, epoch, outdated, "an earlier start of a host lives");
        }
        ApplyOutcome::Unacquainted { epoch, registered } => {
            let text = "a host lives of which the tables know too little";
            tracing::debug!(target: LOG, host, epoch, registered, "{text}");
        }
        ApplyOutcome::Alive => {
            if let ReportBody::Heartbeat { problem: Some(problem), .. } = &report.body {
                tracing::warn!(target: LOG, host, problem, "host cannot run guests");
            }
        }
        ApplyOutcome::Accepted(operation) => tell_begun(&operation, host),
        ApplyOutcome::Progressed(operation) => {
            if operation.started_at.is_none() {
                tell_begun(&operation, host);
            }
            if let ReportBody::Step { step, event, detail, .. } = &report.body {
                tracing::debug!(
                    target: LOG, request_id = operation.request_id.as_str(),
                    server = %operation.instance_id, operation = %operation.id, host, detail,
                    "{} {step}: {event:?}", operation.action
                );
            }
        }
        ApplyOutcome::Rejected(operation) => {
            if let ReportBody::Rejected { reason, .. } = &report.body {
                tracing::warn!(
                    target: LOG, request_id = operation.request_id.as_str(),
                    server = %operation.instance_id, operation = %operation.id, host, reason,
                    "{} refused by {host}, will be sent again", operation.action
                );
            }
        }
        ApplyOutcome::Ended(ended) => tell_end(control, host, &ended),
        ApplyOutcome::Observed { instance_id, from, to, restart: Some(operation), .. } => {
            tracing::info!(
                target: LOG, server = %instance_id, host, %from, %to, %operation,
                "the guest ended with its host and is started again"
            );
            control.wake_dispatcher.notify_one();
        }
        ApplyOutcome::Observed { instance_id, from, to, alarm, restart: None } => match alarm {
            Some(alarm) => tracing::error!(
                target: LOG, server = %instance_id, host, %from, %to, "{alarm}"
            ),
            None if from != to => tracing::info!(
                target: LOG, server = %instance_id, host, %from, %to,
                "guest changed outside of Reprieve"
            ),
            None => tracing::debug!(target: LOG, server = %instance_id, host, "guest observed"),
        },
    }
}

fn tell_begun(operation: &OperationRecord, host: &str) {
    tracing::info!(
        target: LOG, request_id = operation.request_id.as_str(),
        server = %operation.instance_id, operation = %operation.id, host,
        "{} begun by {host}", operation.action
    );
}

fn tell_end(control: &Control, host: &str, ended: &Ended) {
    let Ended { operation, result, vm_state, successor } = ended;
    let (request_id, server) = (operation.request_id.as_str(), operation.instance_id);
    let (id, action) = (operation.id, operation.action.as_str());
    control.metrics.ended(ended);
    match result {
        OperationResult::Succeeded => tracing::info!(
            target: LOG, request_id, %server, operation = %id, host, %vm_state, "{action} done"
        ),
        OperationResult::Cancelled => tracing::info!(
            target: LOG, request_id, %server, operation = %id, host, %vm_state, "{action} stopped"
        ),
        OperationResult::Failed { fault, needs_attention } => tracing::error!(
            target: LOG, request_id, %server, operation = %id, host, %vm_state,
            needs_attention, fault = fault.message, "{action} failed"
        ),
    }
    if successor.is_some() {
        control.wake_dispatcher.notify_one();
    }
}
