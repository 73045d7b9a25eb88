//! What follows a restart of a host, once it is decided: its owner is told what was lost, and the
//! guest comes back.

use reprieve_core::message::OperationArgs;
use reprieve_core::reboot::{ACTION, AfterReboot, EVENT, Revival};
use reprieve_core::{Caller, Fault, OperationId, RequestId};

use super::{Condition, HandOver, NewAction, NewOperation, OperationRow, UnitOfWork, admit};
use crate::StoreError;
use crate::record::{InstanceRecord, OperationState};

/// Records it, after the state of the server was. Returns the operation that brings the guest back.
pub(super) fn follow_up(
    unit: &mut UnitOfWork<'_>,
    server: &InstanceRecord,
    after: &AfterReboot,
) -> Result<Option<OperationId>, StoreError> {
    if let Some(lost) = after.lost {
        tell_lost(unit, server, lost)?;
    }
    after.revival.map(|revival| revive(unit, server, revival)).transpose()
}

/// What happens to a server by itself is recorded in the name of its owner.
fn by_itself(server: &InstanceRecord) -> NewAction {
    NewAction {
        request_id: RequestId::random(),
        user_id: server.user_id.clone(),
        project_id: server.project_id.clone(),
    }
}

/// An instance action that failed tells the owner what went with the host.
fn tell_lost(
    unit: &mut UnitOfWork<'_>,
    server: &InstanceRecord,
    lost: &str,
) -> Result<(), StoreError> {
    let now = unit.now();
    let mut row = OperationRow::done(server, ACTION, Some(EVENT), &by_itself(server), now);
    row.finish(OperationState::Failed, Some(Fault::new(500, lost, lost)), now);
    unit.record(row).map(drop)
}

/// Brings back a guest that ended with its host. A lock on the server is for users; and the memory
/// that it needs is its own, also that of one that was suspended for its host
/// ([`InstanceRecord::holds_memory`]).
fn revive(
    unit: &mut UnitOfWork<'_>,
    server: &InstanceRecord,
    revival: Revival,
) -> Result<OperationId, StoreError> {
    let new = NewOperation {
        instance_id: server.id,
        kind: revival.kind(),
        args: OperationArgs::default(),
        caller: Caller { is_admin: true },
        by: by_itself(server),
        hand_over: HandOver::Dispatcher,
        condition: Condition::default(),
        deadline: None,
    };
    let begun = admit::begin_by_itself(unit, &new)?;
    begun.operation.map(|operation| operation.id).ok_or(StoreError::Raced(server.id))
}
