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
use super::{Ended, Scope, UnitOfWork, expire};
use crate::record::{OperationRecord, OperationState};
use crate::{Store, StoreError, WriteTx};

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
    let mut unit = UnitOfWork::begin(tx, &Scope::operations([id]), now).await?;
    let missing = || StoreError::NotFound { what: "operation", id: id.to_string() };
    let work = unit.operation(id).ok_or_else(missing)?;
    let (operation, active) = (work.record.clone(), work.active);
    let outcome = match cancel(operation.kind, stage(&operation, active)) {
        Err(refused) => CancelOutcome::Refused(refused),
        Ok(Cancellation::UnderWay) => CancelOutcome::Asked,
        Ok(Cancellation::Ask) => {
            end::stop(&mut unit, &operation);
            CancelOutcome::Asked
        }
        Ok(Cancellation::Now) => end_unsent(&mut unit, operation)?,
    };
    unit.write().await?;
    Ok(outcome)
}

fn end_unsent(
    unit: &mut UnitOfWork<'_>,
    operation: OperationRecord,
) -> Result<CancelOutcome, StoreError> {
    let Some(kind) = operation.kind else {
        return Ok(CancelOutcome::Refused(NotCancellable::AtOnce));
    };
    let server = unit.server(operation.instance_id).ok_or_else(|| StoreError::NotFound {
        what: "server",
        id: operation.instance_id.to_string(),
    })?;
    let (result, seen) = (OperationResult::Cancelled, expire::last_seen(server));
    let report = (server.obs_epoch, server.obs_seq);
    let outcome = Outcome { result: &result, seen, report, looked: false };
    let conclusion = end::conclude(unit, &operation, kind, &outcome)?;
    let (vm_state, successor) = (conclusion.vm_state, conclusion.successor);
    Ok(CancelOutcome::Ended(Box::new(Ended { operation, result, vm_state, successor })))
}
