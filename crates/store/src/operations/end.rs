//! How operations end, exactly once each (invariant I5). Decided in memory; the unit writes it.

use reprieve_core::conclude::{
    Observation, after_failure, after_success_from, after_success_seen, fault_after_cancel,
};
use reprieve_core::message::OperationResult;
use reprieve_core::notification::{Cause, Ending};
use reprieve_core::reboot::{
    AfterReboot, Before, RebootPolicy, ended_after_reboot, overtaken_by_reboot,
};
use reprieve_core::{Fault, InstanceId, OperationId, OperationKind, PowerState, VmState};

use super::outbox::Entry;
use super::unit::Unfinished;
use super::{UnitOfWork, reboot};
use crate::StoreError;
use crate::notifications::Note;
use crate::record::{FaultRecord, InstanceRecord, OperationRecord, OperationState};

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
pub(crate) fn conclude(
    unit: &mut UnitOfWork<'_>,
    operation: &OperationRecord,
    kind: OperationKind,
    outcome: &Outcome<'_>,
) -> Result<Conclusion, StoreError> {
    let (id, now) = (operation.instance_id, unit.now());
    let missing = || StoreError::NotFound { what: "server", id: id.to_string() };
    let before = unit.server(id).ok_or_else(missing)?.clone();
    let (state, vm_state, fault) = verdict(operation, kind, outcome);
    let overtaken = overtaken(&before, operation, kind, outcome);
    let vm_state = overtaken.map_or(vm_state, |after| after.synced.vm_state);
    let attention = matches!(outcome.result, OperationResult::Failed { needs_attention: true, .. });
    finish(unit, operation.id, (state, fault.clone(), attention));

    let gone = vm_state == VmState::Deleted;
    let successor = if gone {
        cancel_unfinished(unit, id);
        unit.forget(id);
        None
    } else {
        promote(unit, &before, vm_state)
    };
    let still = before.vm_state == VmState::Suspended && before.suspended_for_host;
    let for_host = vm_state == VmState::Suspended && (still || operation.args.for_host);
    unit.change(id, |server| {
        server.power_reason = outcome.seen.reason;
        (server.obs_epoch, server.obs_seq) = outcome.report;
        if let Some(fault) = fault {
            server.fault = Some(FaultRecord { fault, created: now });
        }
        if outcome.looked {
            server.host_reboot = None;
        }
        if kind == OperationKind::Create {
            server.admin_password = None;
        }
        if state == OperationState::Succeeded && sets_launched_at(kind) {
            server.launched_at = Some(now);
        }
        if gone {
            delete(server);
            return;
        }
        server.vm_state = vm_state;
        server.power_state = outcome.seen.power;
        server.rescue_stashed = outcome.seen.rescue_stashed;
        server.suspended_for_host = for_host;
        if successor.is_none() {
            idle(server);
        }
    });
    note_end(unit, operation, (&before, outcome.result))?;
    let restarted = || after_restart(&before, operation, kind, (outcome, vm_state, for_host));
    let Some(after) = overtaken.or_else(restarted).filter(|_| !gone) else {
        return Ok(Conclusion { vm_state, successor });
    };
    // What waited for this one goes first.
    let revival = after.revival.filter(|_| successor.is_none());
    let after = AfterReboot { revival, ..after };
    let restart = reboot::follow_up(unit, &before, &after)?;
    Ok(Conclusion { vm_state, successor: successor.or(restart) })
}

/// What a restart makes of a server whose suspend it overtook, if that was for the restart.
pub(super) fn overtaken(
    server: &InstanceRecord,
    operation: &OperationRecord,
    kind: OperationKind,
    outcome: &Outcome<'_>,
) -> Option<AfterReboot> {
    let policy = policy_after_restart(server, outcome)?;
    if kind != OperationKind::Suspend || !operation.args.for_host {
        return None;
    }
    match outcome.result {
        OperationResult::Succeeded => None,
        OperationResult::Failed { .. } | OperationResult::Cancelled => {
            overtaken_by_reboot(policy, operation.prior, &outcome.seen)
        }
    }
}

/// What is wanted for a server whose host was restarted, where its guest was looked at since.
fn policy_after_restart(server: &InstanceRecord, outcome: &Outcome<'_>) -> Option<RebootPolicy> {
    let policy = server.host_reboot.filter(|_| outcome.looked)?;
    Some(policy.for_server(&server.metadata))
}

/// What else follows where the host was restarted meanwhile.
pub(super) fn after_restart(
    server: &InstanceRecord,
    operation: &OperationRecord,
    kind: OperationKind,
    (outcome, vm_state, suspended_for_host): (&Outcome<'_>, VmState, bool),
) -> Option<AfterReboot> {
    let policy = policy_after_restart(server, outcome)?;
    let state = match outcome.result {
        OperationResult::Succeeded => after_success_from(kind, operation.prior),
        OperationResult::Failed { .. } | OperationResult::Cancelled => operation.prior,
    };
    let meant = Before { state, suspended_for_host };
    Some(ended_after_reboot(policy, kind, (meant, vm_state), &outcome.seen))
}

/// Notes an end.
fn note_end(
    unit: &UnitOfWork<'_>,
    operation: &OperationRecord,
    (before, result): (&InstanceRecord, &OperationResult),
) -> Result<(), StoreError> {
    let (Some(kind), Some(after)) = (operation.kind, unit.server(before.id)) else {
        return Ok(());
    };
    let ending = match result {
        OperationResult::Succeeded => Ending::Succeeded,
        OperationResult::Failed { fault, .. } => Ending::Failed(fault.clone()),
        OperationResult::Cancelled => Ending::Cancelled,
    };
    let rescue_image = operation.rescue_image(before);
    let cause = Cause::Ended { kind, ending, rescue_image };
    let (by, now) = (operation.initiator(), unit.now());
    unit.note(Note { before: Some(before), after, cause, by, now })
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
            after_success_seen(kind, operation.prior, &outcome.seen),
            None,
        ),
        OperationResult::Failed { fault, .. } => {
            (OperationState::Failed, otherwise(), Some(fault.clone()))
        }
        // Nothing was done to a guest whose host never heard of the operation.
        OperationResult::Cancelled if operation.attempt == 0 => {
            (OperationState::Cancelled, operation.prior, None)
        }
        OperationResult::Cancelled => {
            let after = otherwise();
            let worse = after == VmState::Error && operation.prior != VmState::Error;
            let fault = worse.then(|| fault_after_cancel(kind, &outcome.seen));
            (OperationState::Cancelled, after, fault)
        }
    }
}

/// Nova sets `launched_at` when a server is built and again when it is rescued.
const fn sets_launched_at(kind: OperationKind) -> bool {
    matches!(kind, OperationKind::Create | OperationKind::Rescue)
}

/// Nothing is being done to the server any more (invariant I5).
pub(crate) fn idle(server: &mut InstanceRecord) {
    (server.task_state, server.active, server.progress) = (None, None, 0);
}

/// The server is gone. What was secret about it goes too.
pub(super) fn delete(server: &mut InstanceRecord) {
    idle(server);
    server.vm_state = VmState::Deleted;
    server.power_state = PowerState::NoState;
    (server.terminated_at, server.deleted_at) = (Some(server.updated_at), Some(server.updated_at));
    (server.user_data, server.admin_password) = (None, None);
    server.rescue_stashed = false;
}

/// The operation that waited becomes the active one.
fn promote(
    unit: &mut UnitOfWork<'_>,
    server: &InstanceRecord,
    vm_state: VmState,
) -> Option<OperationId> {
    let waiting = unit.unfinished(server.id).waiting?;
    let now = unit.now();
    unit.change_operation(waiting.id, |work| {
        work.active = true;
        work.record.prior = vm_state;
        work.record.after = None;
        if !waiting.args.expires {
            work.record.deadline_at = waiting.kind.map(|kind| now.plus(kind.deadline()));
        }
    });
    if let Some(host) = &server.host {
        unit.post(waiting.id, Entry::run(host.clone()));
    }
    Some(waiting.id)
}

/// Ends an operation that has not reached a host.
pub(super) fn cancel(unit: &mut UnitOfWork<'_>, operation: OperationId) {
    finish(unit, operation, (OperationState::Cancelled, None, false));
}

/// Ends whatever is unfinished on a server as cancelled, and says what it was.
pub(crate) fn cancel_unfinished(unit: &mut UnitOfWork<'_>, instance: InstanceId) -> Unfinished {
    let found = unit.unfinished(instance);
    for operation in found.active.iter().chain(&found.waiting) {
        cancel(unit, operation.id);
    }
    found
}

/// Asks for an operation to be stopped that may have reached its host.
pub(super) fn stop(unit: &mut UnitOfWork<'_>, operation: &OperationRecord) {
    unit.change_operation(operation.id, |work| work.record.state = OperationState::Cancelling);
    if let Some(host) = &operation.host {
        unit.post(operation.id, Entry::cancel(host.clone()));
    }
}

fn finish(
    unit: &mut UnitOfWork<'_>,
    operation: OperationId,
    (state, error, needs_attention): (OperationState, Option<Fault>, bool),
) {
    let now = unit.now();
    unit.change_operation(operation, |work| {
        work.active = false;
        let record = &mut work.record;
        (record.state, record.error, record.needs_attention) = (state, error, needs_attention);
        record.finished_at = Some(now);
        if state == OperationState::Succeeded {
            record.progress = 100;
        }
        // Sealed or not, a password is kept no longer than it is needed, nor are files that may hold
        // one.
        record.args.rescue_password = None;
        record.args.injected_files.clear();
    });
    unit.settled(operation);
}
