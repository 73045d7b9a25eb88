//! Hands recorded operations to the bus, again and again until the host reports.
//!
//! The outbox says what is due, and taking a row sets the time of its next attempt (1 s, doubled up
//! to 60 s). An operation that was just recorded comes here directly, taken already; nothing else is
//! in memory. So losing every message, the bus or this process costs time only.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use reprieve_core::message::{Command, RunOperation};
use reprieve_core::plan::plan_from;
use reprieve_core::spec::{GuestMetadata, InstanceSpec};
use reprieve_core::{HostName, Timestamp};
use reprieve_store::{Ended, InstanceRecord, PendingCommand, PendingWork};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};
use tokio_util::sync::CancellationToken;

use super::patience;
use crate::Control;

/// Target of this role's log lines.
const LOG: &str = "reprieve::conductor";
/// How often the outbox is looked at when nobody rings.
const SCAN: Duration = Duration::from_secs(2);
/// How often overdue operations are looked for.
const OVERDUE: Duration = Duration::from_secs(10);
/// Rows taken at a time.
const BATCH: u64 = 64;
/// Messages on their way at a time.
const AT_ONCE: usize = 64;
/// How long the bus may take to accept a message.
const PUBLISH: Duration = Duration::from_secs(5);

/// Runs until `shutdown` is cancelled.
pub async fn run(control: Arc<Control>, shutdown: CancellationToken) {
    let mut scan = interval(SCAN);
    let mut overdue = interval(OVERDUE);
    scan.set_missed_tick_behavior(MissedTickBehavior::Delay);
    overdue.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            commands = control.hand_overs.next(AT_ONCE) => send_all(&control, commands).await,
            () = control.wake_dispatcher.notified() => dispatch(&control, None).await,
            _ = scan.tick() => dispatch(&control, None).await,
            _ = overdue.tick() => expire(&control).await,
        }
    }
}

/// Sends what this process records, at once, until `shutdown` is cancelled; for a process whose
/// operations a conductor elsewhere looks after. What this one does not get out, because it or the bus
/// ends, the conductor finds due a second later.
pub async fn run_recorded(control: Arc<Control>, shutdown: CancellationToken) {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            commands = control.hand_overs.next(AT_ONCE) => send_all(&control, commands).await,
            // Whoever applies reports knows better when to repeat something.
            () = control.wake_dispatcher.notified() => {
                dispatch(&control, Some(patience::LONGEST)).await;
            }
        }
    }
}

/// Sends everything that is due; what was sent already so much later, or as the reports of late say.
async fn dispatch(control: &Control, patience: Option<Duration>) {
    loop {
        let patience = patience.unwrap_or_else(|| control.patience.now());
        let commands = match control.store.claim_after(BATCH, patience).await {
            Ok(commands) => commands,
            Err(error) => {
                let error = chain(&error);
                tracing::error!(target: LOG, error, "the outbox cannot be read");
                return;
            }
        };
        let full = commands.len() as u64 == BATCH;
        send_all(control, commands).await;
        if !full {
            return;
        }
    }
}

/// Sends operations beside each other: the bus answers when a message is safe, which takes as long for
/// many as for one. A host that gets two of one server the wrong way round keeps to the newer.
async fn send_all(control: &Control, commands: Vec<PendingCommand>) {
    let sending = stream::iter(commands).map(|command| send(control, command));
    sending.buffer_unordered(AT_ONCE).collect::<()>().await;
}

/// Sends one operation, or its cancellation. What does not get out is due again after a pause.
async fn send(control: &Control, pending: PendingCommand) {
    let (operation, server) = (&pending.operation, &pending.instance);
    let Some(host) = operation.host.clone() else { return };
    let (action, attempt) = (operation.action.clone(), pending.attempt);
    let (request_id, id) = (operation.request_id.to_string(), operation.id.to_string());
    let server_id = server.id.to_string();
    let cancel = Command::Cancel { operation_id: operation.id, instance_id: operation.instance_id };
    let work = pending.work;
    let Some(run) = command(pending, control.clock.now()) else {
        tracing::error!(
            target: LOG, request_id, server = server_id, operation = id,
            "{action} cannot be sent: its server has no image any more"
        );
        return;
    };
    let mut sent = publish(control, &host, &run).await;
    let word = match work {
        PendingWork::Run => action,
        PendingWork::Cancel => {
            if sent.is_ok() {
                sent = publish(control, &host, &cancel).await;
            }
            format!("stop of {action}")
        }
    };
    match sent {
        Ok(()) => tracing::info!(
            target: LOG, request_id, server = server_id, operation = id, attempt,
            "{word} sent to {host}"
        ),
        Err(error) => tracing::warn!(
            target: LOG, request_id, server = server_id, operation = id, attempt, error,
            "{word} not sent to {host}, will be tried again"
        ),
    }
}

async fn publish(control: &Control, host: &HostName, command: &Command) -> Result<(), String> {
    let published = timeout_at(Instant::now() + PUBLISH, control.bus.command(host, command)).await;
    match published {
        Ok(result) => result.map_err(|error| chain(&error)),
        Err(_) => Err(format!("the bus did not take it within {} s", PUBLISH.as_secs())),
    }
}

/// The message, made of the rows as they are now. `None`: the server lost what it is made from.
fn command(pending: PendingCommand, now: Timestamp) -> Option<Command> {
    let PendingCommand { operation, instance, host_epoch, .. } = pending;
    let kind = operation.kind?;
    // Who waits for a host waits as long as it takes, and then the host gets the time that the operation
    // needs; who asked for a deadline means it.
    let time_left = match operation.deadline_at {
        Some(deadline) if operation.args.expires => now.until(deadline),
        Some(_) | None => kind.deadline(),
    };
    Some(Command::Run(Box::new(RunOperation {
        operation_id: operation.id,
        kind,
        request_id: operation.request_id,
        generation: operation.generation,
        host_epoch,
        plan_version: operation.plan_version,
        plan: plan_from(kind, operation.prior).to_vec(),
        prior: operation.prior,
        deadline: operation.deadline_at.unwrap_or(operation.created_at.plus(kind.deadline())),
        time_left_ms: u64::try_from(time_left.as_millis()).ok(),
        spec: spec(instance)?,
        args: operation.args,
    })))
}

fn spec(server: InstanceRecord) -> Option<InstanceSpec> {
    Some(InstanceSpec {
        id: server.id,
        number: server.number,
        flavor: server.flavor.spec(),
        image: server.image?,
        config_drive: server.config_drive,
        metadata: GuestMetadata {
            hostname: server.hostname,
            public_keys: server.public_keys,
            meta: server.metadata,
            user_data: server.user_data,
            admin_password: server.admin_password,
            availability_zone: server.availability_zone,
        },
        name: server.name,
        project_id: server.project_id,
        user_id: server.user_id,
    })
}

/// Ends or pursues what is past its deadline.
async fn expire(control: &Control) {
    match control.store.expire().await {
        Ok(ended) => {
            for end in &ended {
                let Ended { operation, vm_state, .. } = end;
                control.metrics.ended(end);
                tracing::warn!(
                    target: LOG, request_id = operation.request_id.as_str(),
                    server = %operation.instance_id, operation = %operation.id, %vm_state,
                    "{} gave up: its host never took it", operation.action
                );
            }
            if !ended.is_empty() {
                dispatch(control, None).await;
            }
        }
        Err(error) => {
            let error = chain(&error);
            tracing::error!(target: LOG, error, "overdue operations cannot be read");
        }
    }
}

/// An error with its causes, for one log field.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}
