//! How operations end, exactly once each (invariant I5).

use reprieve_core::conclude::{Observation, after_failure, after_success_from, power_sync};
use reprieve_core::message::OperationResult;
use reprieve_core::notification::{Cause, Ending};
use reprieve_core::reboot::{AfterReboot, ended_after_reboot};
use reprieve_core::{
    Fault, InstanceId, OperationId, OperationKind, PowerState, Timestamp, VmState,
};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _, UpdateMany};

use super::{Unfinished, outbox, reboot, unfinished};
use crate::console_tokens;
use crate::convert::to_json;
use crate::entity::instance::{self, Column};
use crate::entity::operation;
use crate::instances::{execute, find, idle, touch};
use crate::notifications::Note;
use crate::record::{FaultRecord, InstanceRecord, OperationRecord, OperationState};
use crate::{StoreError, WriteTx};

/// What an end did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Conclusion {
    /// State of the server from now on.
    pub(crate) vm_state: VmState,
    /// The operation that may go on now.
    pub(crate) successor: Option<OperationId>,
}

/// How an operation ended and what was seen afterwards.
pub(crate) struct Outcome<'a> {
    /// How.
    pub(crate) result: &'a OperationResult,
    /// What the guest looked like.
    pub(crate) seen: Observation,
    /// The report that says so, as (epoch, sequence).
    pub(crate) report: (i64, i64),
    /// Whether its host has looked at the guest for it; else `seen` is what was seen before.
    pub(crate) looked: bool,
}

/// Ends an unfinished operation, puts the server into the state that follows, and lets the
/// operation that waited for this one take its place.
pub(crate) async fn conclude(
    tx: &WriteTx,
    operation: &OperationRecord,
    kind: OperationKind,
    (outcome, now): (&Outcome<'_>, Timestamp),
) -> Result<Conclusion, StoreError> {
    let server = find(&**tx, operation.instance_id).await?.ok_or_else(|| StoreError::NotFound {
        what: "server",
        id: operation.instance_id.to_string(),
    })?;
    let (state, vm_state, fault) = verdict(operation, kind, outcome);
    let attention = matches!(outcome.result, OperationResult::Failed { needs_attention: true, .. });
    finish(tx, operation, (state, fault.clone(), attention), now).await?;
    outbox::remove(tx, operation.id, false).await?;

    let mut update = touch(server.id, now)
        .col_expr(Column::PowerReason, Expr::value(outcome.seen.reason.as_str()))
        .col_expr(Column::ObsEpoch, Expr::value(outcome.report.0))
        .col_expr(Column::ObsSeq, Expr::value(outcome.report.1));
    if let Some(fault) = fault {
        let fault = FaultRecord { fault, created: now };
        update = update.col_expr(Column::Fault, Expr::value(to_json(&fault)?));
    }
    if outcome.looked {
        update = update.col_expr(Column::HostReboot, Expr::value(None::<String>));
    }
    if kind == OperationKind::Create && vm_state != VmState::Deleted {
        update = update.col_expr(Column::AdminPassword, Expr::value(None::<String>));
    }
    if state == OperationState::Succeeded && sets_launched_at(kind) {
        update = update.col_expr(Column::LaunchedAt, Expr::value(now.micros()));
    }
    if vm_state == VmState::Deleted {
        cancel_unfinished(tx, server.id, now).await?;
        console_tokens::remove(tx, server.id).await?;
        execute(tx, deleted(update, now)).await?;
        note_end(tx, operation, (&server, outcome), (vm_state, true), now)?;
        return Ok(Conclusion { vm_state, successor: None });
    }
    update = update
        .col_expr(Column::VmState, Expr::value(vm_state.as_str()))
        .col_expr(Column::PowerState, Expr::value(outcome.seen.power.number()))
        .col_expr(Column::RescueStashed, Expr::value(outcome.seen.rescue_stashed));
    let successor = promote(tx, &server, vm_state, now).await?;
    if successor.is_none() {
        update = idle(update);
    }
    execute(tx, update).await?;
    note_end(tx, operation, (&server, outcome), (vm_state, successor.is_none()), now)?;
    let Some(after) = after_restart(&server, operation, kind, (outcome, vm_state)) else {
        return Ok(Conclusion { vm_state, successor });
    };
    // What waited for this one goes first.
    let after = AfterReboot { start: after.start && successor.is_none(), ..after };
    let restart = reboot::follow_up(tx, &server, &after, now).await?;
    Ok(Conclusion { vm_state, successor: successor.or(restart) })
}

/// What else follows where the host was restarted meanwhile.
fn after_restart(
    server: &InstanceRecord,
    operation: &OperationRecord,
    kind: OperationKind,
    (outcome, vm_state): (&Outcome<'_>, VmState),
) -> Option<AfterReboot> {
    let policy = server.host_reboot.filter(|_| outcome.looked)?.for_server(&server.metadata);
    let meant = match outcome.result {
        OperationResult::Succeeded => after_success_from(kind, operation.prior),
        OperationResult::Failed { .. } | OperationResult::Cancelled => operation.prior,
    };
    Some(ended_after_reboot(policy, kind, (meant, vm_state), &outcome.seen))
}

/// Notes an end. The server as it is afterwards is worked out, not read: this is on the way of every
/// operation.
fn note_end(
    tx: &WriteTx,
    operation: &OperationRecord,
    (server, outcome): (&InstanceRecord, &Outcome<'_>),
    (vm_state, is_idle): (VmState, bool),
    now: Timestamp,
) -> Result<(), StoreError> {
    let Some(kind) = operation.kind.filter(|_| tx.notes_changes()) else { return Ok(()) };
    let ending = match outcome.result {
        OperationResult::Succeeded => Ending::Succeeded,
        OperationResult::Failed { fault, .. } => Ending::Failed(fault.clone()),
        OperationResult::Cancelled => Ending::Cancelled,
    };
    let mut after = server.clone();
    after.vm_state = vm_state;
    after.power_state = outcome.seen.power;
    after.updated_at = now;
    if is_idle {
        (after.task_state, after.active, after.progress) = (None, None, 0);
    }
    if ending == Ending::Succeeded && sets_launched_at(kind) {
        after.launched_at = Some(now);
    }
    if vm_state == VmState::Deleted {
        after.power_state = PowerState::NoState;
        (after.terminated_at, after.deleted_at) = (Some(now), Some(now));
    }
    let rescue_image = operation.rescue_image(server);
    let cause = Cause::Ended { kind, ending, rescue_image };
    let (before, by) = (Some(server), operation.initiator());
    tx.note(Note { before, after: &after, cause, by, now })
}

/// The state of the operation, the state of the server, and the fault if there is one.
fn verdict(
    operation: &OperationRecord,
    kind: OperationKind,
    outcome: &Outcome<'_>,
) -> (OperationState, VmState, Option<Fault>) {
    let otherwise = || after_failure(kind, operation.prior, &outcome.seen);
    match outcome.result {
        OperationResult::Succeeded => (
            OperationState::Succeeded,
            now_is(after_success_from(kind, operation.prior), &outcome.seen),
            None,
        ),
        OperationResult::Failed { fault, .. } => {
            (OperationState::Failed, otherwise(), Some(fault.clone()))
        }
        // Nothing was done to a guest whose host never heard of the operation.
        OperationResult::Cancelled if operation.attempt == 0 => {
            (OperationState::Cancelled, operation.prior, None)
        }
        OperationResult::Cancelled => (OperationState::Cancelled, otherwise(), None),
    }
}

/// The state that follows a success, unless the guest has left it again: one that powered itself off
/// as soon as it was booted is not reported a second time.
fn now_is(state: VmState, seen: &Observation) -> VmState {
    match state {
        VmState::Active | VmState::Paused => power_sync(state, seen).vm_state,
        VmState::Building
        | VmState::Suspended
        | VmState::Stopped
        | VmState::Rescued
        | VmState::Error
        | VmState::Deleted => state,
    }
}

/// Nova sets `launched_at` when a server is built and again when it is rescued.
const fn sets_launched_at(kind: OperationKind) -> bool {
    matches!(kind, OperationKind::Create | OperationKind::Rescue)
}

/// The server is gone. What was secret about it goes too.
pub(crate) fn deleted(
    update: UpdateMany<instance::Entity>,
    now: Timestamp,
) -> UpdateMany<instance::Entity> {
    idle(update)
        .col_expr(Column::VmState, Expr::value(VmState::Deleted.as_str()))
        .col_expr(Column::PowerState, Expr::value(0))
        .col_expr(Column::TerminatedAt, Expr::value(now.micros()))
        .col_expr(Column::DeletedAt, Expr::value(now.micros()))
        .col_expr(Column::UserData, Expr::value(None::<String>))
        .col_expr(Column::AdminPassword, Expr::value(None::<String>))
        .col_expr(Column::RescueStashed, Expr::value(false))
}

/// The operation that waited becomes the active one.
async fn promote(
    tx: &WriteTx,
    server: &InstanceRecord,
    vm_state: VmState,
    now: Timestamp,
) -> Result<Option<OperationId>, StoreError> {
    let Some(waiting) = unfinished(tx, server.id).await?.waiting else { return Ok(None) };
    use operation::Column as Op;
    let deadline = waiting.kind.map(|kind| now.plus(kind.deadline()).micros());
    operation::Entity::update_many()
        .filter(Op::Id.eq(waiting.id.to_string()))
        .col_expr(Op::ActiveKey, Expr::value(server.id.to_string()))
        .col_expr(Op::Prior, Expr::value(vm_state.as_str()))
        .col_expr(Op::DeadlineAt, Expr::value(deadline))
        .col_expr(Op::UpdatedAt, Expr::value(now.micros()))
        .exec(&**tx)
        .await
        .map_err(StoreError::db("let the next operation go on"))?;
    if let Some(host) = &server.host {
        outbox::add(tx, waiting.id, host, now).await?;
    }
    Ok(Some(waiting.id))
}

/// Ends an operation that has not reached a host.
pub(crate) async fn cancel(
    tx: &WriteTx,
    operation: &OperationRecord,
    now: Timestamp,
) -> Result<(), StoreError> {
    outbox::remove(tx, operation.id, false).await?;
    finish(tx, operation, (OperationState::Cancelled, None, false), now).await
}

/// Ends whatever is unfinished on a server as cancelled, and says what it was.
pub(crate) async fn cancel_unfinished(
    tx: &WriteTx,
    instance: InstanceId,
    now: Timestamp,
) -> Result<Unfinished, StoreError> {
    let found = unfinished(tx, instance).await?;
    for operation in found.active.iter().chain(&found.waiting) {
        cancel(tx, operation, now).await?;
    }
    Ok(found)
}

/// Asks for an operation to be stopped that may have reached its host.
pub(crate) async fn stop(
    tx: &WriteTx,
    operation: &OperationRecord,
    now: Timestamp,
) -> Result<(), StoreError> {
    use operation::Column as Op;
    operation::Entity::update_many()
        .filter(Op::Id.eq(operation.id.to_string()))
        .col_expr(Op::State, Expr::value(OperationState::Cancelling.as_str()))
        .col_expr(Op::UpdatedAt, Expr::value(now.micros()))
        .exec(&**tx)
        .await
        .map_err(StoreError::db("stop an operation"))?;
    match &operation.host {
        Some(host) => outbox::add_cancel(tx, operation.id, host, now).await,
        None => Ok(()),
    }
}

async fn finish(
    tx: &WriteTx,
    operation: &OperationRecord,
    (state, error, needs_attention): (OperationState, Option<Fault>, bool),
    now: Timestamp,
) -> Result<(), StoreError> {
    use operation::Column as Op;
    let error = error.as_ref().map(to_json).transpose()?;
    let mut update = operation::Entity::update_many()
        .filter(Op::Id.eq(operation.id.to_string()))
        .col_expr(Op::State, Expr::value(state.as_str()))
        .col_expr(Op::ActiveKey, Expr::value(None::<String>))
        .col_expr(Op::Error, Expr::value(error))
        .col_expr(Op::NeedsAttention, Expr::value(needs_attention))
        .col_expr(Op::UpdatedAt, Expr::value(now.micros()))
        .col_expr(Op::FinishedAt, Expr::value(now.micros()));
    if state == OperationState::Succeeded {
        update = update.col_expr(Op::Progress, Expr::value(100));
    }
    // Sealed or not, a password is kept no longer than it is needed, nor are files that may hold one.
    if operation.args.rescue_password.is_some() || !operation.args.injected_files.is_empty() {
        let mut args = operation.args.clone();
        args.rescue_password = None;
        args.injected_files.clear();
        update = update.col_expr(Op::Args, Expr::value(to_json(&args)?));
    }
    update.exec(&**tx).await.map_err(StoreError::db("end an operation"))?;
    Ok(())
}
