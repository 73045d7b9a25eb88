//! Operations past their deadline: nothing is ever stuck.

use std::time::Duration;

use reprieve_core::conclude::{Observation, SavedMemory};
use reprieve_core::message::OperationResult;
use reprieve_core::{Fault, VmState};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _, QuerySelect as _};

use super::end::{self, Outcome};
use super::{Ended, outbox};
use crate::convert::operation_record;
use crate::entity::operation::{self, Column};
use crate::record::{InstanceRecord, OperationRecord, OperationState};
use crate::{Store, StoreError, WriteTx, instances, locks};

/// How long after its deadline the host may still report by itself.
const GRACE: Duration = Duration::from_secs(30);
/// How long a host that knows the operation gets before it is asked again.
const EXTENSION: Duration = Duration::from_secs(60);
/// At most so many at once, to keep the transaction short.
const BATCH: u64 = 100;

impl Store {
    /// Resolves operations past their deadline. One that its host never confirmed ends as failed,
    /// in the state that was last seen. One that its host has confirmed is not guessed about
    /// (invariant I6): it is handed over again, which makes the host say what became of it.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Corrupt`].
    pub async fn expire(&self) -> Result<Vec<Ended>, StoreError> {
        let now = self.now();
        let latest = now.micros().saturating_sub(crate::convert::micros(GRACE));
        let overdue = || {
            operation::Entity::find()
                .filter(Column::FinishedAt.is_null())
                .filter(Column::DeadlineAt.lte(latest))
                .filter(Column::ActiveKey.is_not_null())
                .limit(BATCH)
        };
        let what = "look for overdue operations";
        if overdue().one(self.reader()).await.map_err(StoreError::db(what))?.is_none() {
            return Ok(Vec::new());
        }
        let tx = self.begin_beside().await?;
        let found = overdue().all(&*tx).await.map_err(StoreError::db(what))?;
        let ids = found.iter().map(|row| row.id.as_str());
        let rows = match locks::free_operations(&tx, ids).await? {
            Some(free) => {
                let again = overdue().filter(Column::Id.is_in(free)).all(&*tx).await;
                again.map_err(StoreError::db(what))?
            }
            None => found,
        };
        let mut ended = Vec::new();
        for row in rows {
            let confirmed = row.report_epoch > 0;
            let operation = operation_record(row)?;
            if confirmed {
                ask_again(&tx, &operation, now).await?;
            } else {
                ended.extend(give_up(&tx, operation, now).await?);
            }
        }
        tx.commit().await?;
        Ok(ended)
    }
}

async fn ask_again(
    tx: &WriteTx,
    operation: &OperationRecord,
    now: reprieve_core::Timestamp,
) -> Result<(), StoreError> {
    let extended = now.plus(EXTENSION).micros();
    operation::Entity::update_many()
        .filter(Column::Id.eq(operation.id.to_string()))
        .col_expr(Column::DeadlineAt, Expr::value(extended))
        .exec(&**tx)
        .await
        .map_err(StoreError::db("extend an operation"))?;
    let Some(host) = &operation.host else { return Ok(()) };
    if operation.state == OperationState::Cancelling {
        outbox::add_cancel(tx, operation.id, host, now).await
    } else {
        outbox::add(tx, operation.id, host, now).await
    }
}

async fn give_up(
    tx: &WriteTx,
    operation: OperationRecord,
    now: reprieve_core::Timestamp,
) -> Result<Option<Ended>, StoreError> {
    let Some(kind) = operation.kind else { return Ok(None) };
    let Some(server) = instances::find(&**tx, operation.instance_id).await? else {
        return Ok(None);
    };
    let host = operation.host.as_ref().map_or("none", |host| host.as_str());
    let message = format!("Host {host} did not take the {} in time.", kind.action());
    let details = format!("handed over {} times without an answer", operation.attempt);
    let result = OperationResult::Failed {
        fault: Fault::new(500, message, details),
        needs_attention: false,
    };
    let report = (server.obs_epoch, server.obs_seq);
    let seen = last_seen(&server);
    let outcome = Outcome { result: &result, seen, report, looked: false };
    let conclusion = end::conclude(tx, &operation, kind, (&outcome, now)).await?;
    let (vm_state, successor) = (conclusion.vm_state, conclusion.successor);
    Ok(Some(Ended { operation, result, vm_state, successor }))
}

/// What the tables remember of the guest.
pub(super) fn last_seen(server: &InstanceRecord) -> Observation {
    let saved = match server.vm_state {
        VmState::Suspended => SavedMemory::Valid,
        VmState::Building
        | VmState::Active
        | VmState::Paused
        | VmState::Stopped
        | VmState::Rescued
        | VmState::Error
        | VmState::Deleted => SavedMemory::None,
    };
    Observation {
        power: server.power_state,
        reason: server.power_reason,
        rescue_stashed: server.rescue_stashed,
        saved,
    }
}
