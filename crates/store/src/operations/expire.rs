//! Operations past their deadline: nothing is ever stuck.

use std::time::Duration;

use reprieve_core::conclude::{Observation, SavedMemory};
use reprieve_core::message::OperationResult;
use reprieve_core::{Fault, Timestamp, VmState};
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _, QuerySelect as _};

use super::end::{self, Outcome};
use super::outbox::Entry;
use super::{Ended, Scope, UnitOfWork};
use crate::convert::operation_id;
use crate::entity::operation::{self, Column};
use crate::record::{InstanceRecord, OperationRecord, OperationState};
use crate::{Store, StoreError, locks};

/// How long after its deadline the host may still report by itself.
const GRACE: Duration = Duration::from_secs(30);
/// How long a host that knows the operation gets before it is asked again.
const EXTENSION: Duration = Duration::from_secs(60);
/// How long an operation waits for its host, unless its user wants it to end before. A host that is away
/// longer is not about to come back.
const WAIT: Duration = Duration::from_secs(3600);
/// At most so many at once, to keep the transaction short.
const BATCH: u64 = 100;

impl Store {
    /// Resolves operations past their deadline. One that its host has confirmed is not guessed about
    /// (invariant I6): it is handed over again, which makes the host say what became of it. One that its
    /// host never confirmed waits for it, an hour at most or as long as its user wants, and then ends as
    /// failed, in the state that was last seen; should the host have heard of it all the same, what it
    /// says later is believed.
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
        let theirs = found.iter().map(|row| (row.id.as_str(), row.instance_id.as_str()));
        let free = locks::free_operations(&tx, theirs).await?;
        let ids = free.unwrap_or_else(|| found.into_iter().map(|row| row.id).collect());
        let ids = ids.iter().map(|id| operation_id(id)).collect::<Result<Vec<_>, _>>()?;
        let mut unit = UnitOfWork::begin(&tx, &Scope::operations(ids.iter().copied()), now).await?;
        let mut ended = Vec::new();
        for id in ids {
            let Some(work) = unit.operation(id) else { continue };
            let (operation, confirmed) = (work.record.clone(), work.report.0 > 0);
            // It was found before it was locked.
            let due = operation.deadline_at.is_some_and(|deadline| deadline.micros() <= latest);
            if !due || !work.active || operation.finished_at.is_some() {
                continue;
            }
            if confirmed || waits(&operation, now) {
                ask_again(&mut unit, &operation);
            } else {
                ended.extend(give_up(&mut unit, operation)?);
            }
        }
        unit.write().await?;
        tx.commit().await?;
        Ok(ended)
    }
}

/// Whether an operation that no host has confirmed goes on waiting for one.
fn waits(operation: &OperationRecord, now: Timestamp) -> bool {
    !operation.args.expires && now < operation.created_at.plus(WAIT)
}

fn ask_again(unit: &mut UnitOfWork<'_>, operation: &OperationRecord) {
    let extended = unit.now().plus(EXTENSION);
    unit.change_operation(operation.id, |work| work.record.deadline_at = Some(extended));
    let Some(host) = operation.host.clone() else { return };
    let entry = if operation.state == OperationState::Cancelling {
        Entry::cancel(host)
    } else {
        Entry::run(host)
    };
    unit.post(operation.id, entry);
}

fn give_up(
    unit: &mut UnitOfWork<'_>,
    operation: OperationRecord,
) -> Result<Option<Ended>, StoreError> {
    let (Some(kind), Some(server)) = (operation.kind, unit.server(operation.instance_id)) else {
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
    let seen = last_seen(server);
    let outcome = Outcome { result: &result, seen, report, looked: false };
    let conclusion = end::conclude(unit, &operation, kind, &outcome)?;
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
