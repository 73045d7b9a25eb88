//! Cancelling an operation on request.
//!
//! Decided and recorded in one transaction that holds the server's lock, so that neither a report nor
//! a dispatcher changes the operation meanwhile. One that no host knows of ends here, and its server
//! stays as it was. Any other goes to its host as a cancellation, through the outbox, until the host
//! reports how it ended; nothing about the guest is assumed before (invariant I6).

use reprieve_core::cancel::{Cancellation, NotCancellable, Stage, cancel};
use reprieve_core::message::OperationResult;
use reprieve_core::{OperationId, Timestamp};

use super::end::{self, Outcome};
use super::{Ended, expire, find};
use crate::convert::operation_record;
use crate::instances;
use crate::record::{OperationRecord, OperationState};
use crate::{Store, StoreError, WriteTx, locks};

/// What became of the wish to cancel an operation.
#[derive(Debug, Clone, PartialEq)]
pub enum CancelOutcome {
    /// It ended at once: no host knew of it.
    Ended(Box<Ended>),
    /// Its host will be asked to stop it, or is being asked already.
    Asked,
    /// It cannot be cancelled; nothing was changed.
    Refused(NotCancellable),
}

/// Where an operation is, as far as cancelling is concerned. `active`: its server's active one.
fn stage(operation: &OperationRecord, active: bool) -> Stage {
    match operation.state {
        OperationState::Pending if !active => Stage::Waiting,
        OperationState::Pending if operation.attempt == 0 => Stage::Unsent,
        OperationState::Pending | OperationState::Dispatched | OperationState::Running => {
            Stage::Sent(operation.step_name)
        }
        OperationState::Cancelling => Stage::Stopping,
        OperationState::Succeeded | OperationState::Failed | OperationState::Cancelled => {
            Stage::Ended
        }
    }
}

impl Store {
    /// Cancels an operation, or has its host asked to.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Database`], [`StoreError::Corrupt`].
    pub async fn cancel_operation(&self, id: OperationId) -> Result<CancelOutcome, StoreError> {
        let now = self.now();
        let tx = self.begin_beside().await?;
        match decide(&tx, id, now).await {
            Ok(outcome) => tx.commit().await.map(|()| outcome),
            Err(error) => {
                tx.roll_back().await;
                Err(error)
            }
        }
    }
}

async fn decide(
    tx: &WriteTx,
    id: OperationId,
    now: Timestamp,
) -> Result<CancelOutcome, StoreError> {
    let missing = || StoreError::NotFound { what: "operation", id: id.to_string() };
    let seen = operation_record(find(&**tx, id).await?.ok_or_else(missing)?)?;
    // Read again behind the lock: a report may have ended it in between.
    locks::server(tx, seen.instance_id).await?;
    let row = find(&**tx, id).await?.ok_or_else(missing)?;
    let active = row.active_key.is_some();
    let operation = operation_record(row)?;
    match cancel(operation.kind, stage(&operation, active)) {
        Err(refused) => Ok(CancelOutcome::Refused(refused)),
        Ok(Cancellation::UnderWay) => Ok(CancelOutcome::Asked),
        Ok(Cancellation::Ask) => {
            end::stop(tx, &operation, now).await?;
            Ok(CancelOutcome::Asked)
        }
        Ok(Cancellation::Now) => end_unsent(tx, operation, now).await,
    }
}

async fn end_unsent(
    tx: &WriteTx,
    operation: OperationRecord,
    now: Timestamp,
) -> Result<CancelOutcome, StoreError> {
    let Some(kind) = operation.kind else {
        return Ok(CancelOutcome::Refused(NotCancellable::AtOnce));
    };
    let server = instances::find(&**tx, operation.instance_id).await?.ok_or_else(|| {
        StoreError::NotFound { what: "server", id: operation.instance_id.to_string() }
    })?;
    let (result, seen) = (OperationResult::Cancelled, expire::last_seen(&server));
    let report = (server.obs_epoch, server.obs_seq);
    let outcome = Outcome { result: &result, seen, report, looked: false };
    let conclusion = end::conclude(tx, &operation, kind, (&outcome, now)).await?;
    let (vm_state, successor) = (conclusion.vm_state, conclusion.successor);
    Ok(CancelOutcome::Ended(Box::new(Ended { operation, result, vm_state, successor })))
}
