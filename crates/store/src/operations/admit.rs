//! Admission: decide and record in one transaction.

use reprieve_core::notification::Cause;
use reprieve_core::schedule::ClaimPolicy;
use reprieve_core::{
    Admission, HostName, InstanceId, OperationId, OperationKind, Timestamp, admit,
};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait as _, QueryFilter as _};

use super::{
    Admitted, HandOver, NewOperation, OperationRow, PendingCommand, PendingWork, end, outbox,
    unfinished,
};
use crate::claims::claim_again;
use crate::convert::host_record;
use crate::entity::instance::Column;
use crate::instances::{execute, existing, touch};
use crate::notifications::Note;
use crate::record::{InstanceRecord, OperationRecord, OperationState};
use crate::{Store, StoreError, WriteTx, hosts};

/// How often a decision is made anew when the server changed under it. Happens only on databases
/// that let writers run side by side.
const ATTEMPTS: u32 = 5;

impl Store {
    /// Decides and records one operation in one transaction: operation, server, outbox.
    ///
    /// A server without a host has nothing that would have to be destroyed, so its deletion ends
    /// here and now.
    ///
    /// # Errors
    /// [`StoreError::Denied`] when the state machine says no, also after a lost race, and when a host
    /// has no room for memory that a suspended server has lent to others;
    /// [`StoreError::NotFound`] when there is no such server or it is deleted;
    /// [`StoreError::Raced`] when it changes all the time.
    pub async fn admit(&self, new: NewOperation) -> Result<Admitted, StoreError> {
        let mut attempt = 1;
        loop {
            match self.try_admit(&new).await {
                Err(StoreError::Raced(_)) if attempt < ATTEMPTS => attempt += 1,
                Err(error) if error.is_conflict() && attempt < ATTEMPTS => attempt += 1,
                result => return result,
            }
        }
    }

    async fn try_admit(&self, new: &NewOperation) -> Result<Admitted, StoreError> {
        let now = self.now();
        let tx = self.begin_beside().await?;
        match decide(&tx, new, (self.claim_policy(), now)).await {
            Ok(admitted) => tx.commit().await.map(|()| admitted),
            Err(error) => {
                // Left to itself the server's lock would outlive the answer, and hold up others.
                tx.roll_back().await;
                Err(error)
            }
        }
    }
}

/// Decides and writes down what was decided.
async fn decide(
    tx: &WriteTx,
    new: &NewOperation,
    (claims, now): (ClaimPolicy, Timestamp),
) -> Result<Admitted, StoreError> {
    let instance = existing(tx, new.instance_id).await?;
    let admission = admit(&instance.subject(), new.kind, new.caller)?;
    claim_again(tx, &instance, new.kind, claims).await?;
    let superseded = match admission {
        Admission::AlreadyUnderWay => {
            return Ok(Admitted { admission, instance, operation: None, command: None });
        }
        Admission::Start => None,
        Admission::Supersede(_) => supersede(tx, new.instance_id, now).await?,
    };
    let epoch = match (new.hand_over, &instance.host, superseded) {
        (HandOver::Caller, Some(host), None) => awake(tx, host, now).await?,
        (HandOver::Caller | HandOver::Dispatcher, _, _) => None,
    };
    carry_out(tx, new, (admission, instance), (epoch, superseded), now).await
}

/// Begins an operation that nobody asked for: the host of the server was restarted, and
/// [`after_reboot`] wants it. Inside of the transaction that locked the server.
///
/// [`after_reboot`]: reprieve_core::reboot::after_reboot
pub(crate) async fn begin_by_itself(
    tx: &WriteTx,
    new: &NewOperation,
    now: Timestamp,
) -> Result<Admitted, StoreError> {
    let instance = existing(tx, new.instance_id).await?;
    carry_out(tx, new, (Admission::Start, instance), (None, None), now).await
}

/// Writes down what was decided.
async fn carry_out(
    tx: &WriteTx,
    new: &NewOperation,
    (admission, instance): (Admission, InstanceRecord),
    (epoch, superseded): (Option<i64>, Option<OperationId>),
    now: Timestamp,
) -> Result<Admitted, StoreError> {
    let operation = record(tx, new, (&instance, epoch), superseded, now).await?;
    let before = instance;
    let instance = after(tx, new.instance_id).await?;
    let cause = match operation.finished_at {
        None => Cause::Accepted(new.kind),
        Some(_) => Cause::DeletedUnhosted,
    };
    let (before, by) = (Some(&before), new.by.initiator());
    tx.note(Note { before, after: &instance, cause, by, now })?;
    let command = epoch.map(|host_epoch| {
        let (operation, instance) = (operation.clone(), instance.clone());
        let work = PendingWork::Run;
        Box::new(PendingCommand { work, operation, instance, host_epoch, attempt: 1 })
    });
    Ok(Admitted { admission, instance, operation: Some(operation), command })
}

/// Clears the way for another operation. `Some`: the active one has to be stopped first, and the
/// new one waits for it. `None`: nothing had reached a host yet, the way is free.
async fn supersede(
    tx: &WriteTx,
    instance: InstanceId,
    now: Timestamp,
) -> Result<Option<OperationId>, StoreError> {
    let found = unfinished(tx, instance).await?;
    if let Some(waiting) = found.waiting {
        end::cancel(tx, &waiting, now).await?;
    }
    let Some(active) = found.active else { return Ok(None) };
    if active.state == OperationState::Pending {
        end::cancel(tx, &active, now).await?;
        return Ok(None);
    }
    end::stop(tx, &active, now).await?;
    Ok(Some(active.id))
}

/// The epoch of a host that can be handed something now.
async fn awake(tx: &WriteTx, host: &HostName, now: Timestamp) -> Result<Option<i64>, StoreError> {
    let Some(row) = hosts::find(&**tx, host).await? else { return Ok(None) };
    let epoch = row.epoch;
    Ok(host_record(row)?.is_alive(now).then_some(epoch))
}

async fn record(
    tx: &WriteTx,
    new: &NewOperation,
    (instance, handed_over): (&InstanceRecord, Option<i64>),
    superseded: Option<OperationId>,
    now: Timestamp,
) -> Result<OperationRecord, StoreError> {
    let generation = instance.generation.saturating_add(1);
    let id = OperationId::random();
    let mut row = OperationRow::new(id, new.kind, instance, &new.by, now);
    row.with(new.args.clone(), generation);
    let update = touch(instance.id, now)
        .filter(Column::Generation.eq(instance.generation))
        .col_expr(Column::Generation, Expr::value(generation));
    let Some(host) = &instance.host else {
        let gone = end::deleted(update, now);
        return done_here(tx, gone, instance, (row, now)).await;
    };
    let update = update
        .col_expr(Column::TaskState, Expr::value(new.kind.task_state().as_str()))
        .col_expr(Column::ActiveOp, Expr::value(id.to_string()))
        .col_expr(Column::ActiveKind, Expr::value(new.kind.as_str()))
        .col_expr(Column::Progress, Expr::value(0));
    if execute(tx, update).await? == 0 {
        return Err(StoreError::Raced(instance.id));
    }
    match superseded {
        Some(other) => {
            row.wait_for(other);
            row.insert(tx).await
        }
        None => {
            row.activate();
            if handed_over.is_some() {
                row.hand_over();
            }
            let record = row.insert(tx).await?;
            match handed_over {
                Some(_) => outbox::add_claimed(tx, id, host, now).await?,
                None => outbox::add(tx, id, host, now).await?,
            }
            Ok(record)
        }
    }
}

/// Deletes a server that no host knows of. Nothing else is admitted for one: it never ran.
async fn done_here(
    tx: &WriteTx,
    gone: sea_orm::UpdateMany<crate::entity::instance::Entity>,
    instance: &InstanceRecord,
    (mut row, now): (OperationRow, Timestamp),
) -> Result<OperationRecord, StoreError> {
    if row.kind() != Some(OperationKind::Delete) {
        return Err(StoreError::Denied(reprieve_core::Denied::NeverLaunched {
            action: row.kind().map_or("run", OperationKind::action),
            id: instance.id,
        }));
    }
    if execute(tx, gone).await? == 0 {
        return Err(StoreError::Raced(instance.id));
    }
    row.finish(OperationState::Succeeded, None, now);
    row.insert(tx).await
}

/// The server after the decision, deleted or not.
async fn after(tx: &WriteTx, id: InstanceId) -> Result<InstanceRecord, StoreError> {
    crate::instances::find(&**tx, id)
        .await?
        .ok_or_else(|| StoreError::NotFound { what: "server", id: id.to_string() })
}
