//! The outbox: operations whose host has yet to report. Written in the transaction that makes an
//! operation active, removed by the first report about it.

use std::time::Duration;

use reprieve_core::{HostName, OperationId, Timestamp};
use sea_orm::sea_query::{Expr, OnConflict, Query};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, ConnectionTrait as _, EntityTrait as _, QueryFilter as _,
};

use crate::entity::operation;
use crate::entity::outbox::{self, Column};
use crate::{StoreError, WriteTx};

/// Longest pause between two attempts.
const LONGEST: Duration = Duration::from_secs(60);

/// How long to wait for a report after the `attempt`th hand-over: 1 s, doubled up to a minute.
pub(crate) fn backoff(attempt: i64) -> Duration {
    let doublings = u32::try_from(attempt.saturating_sub(1)).unwrap_or(0).min(6);
    Duration::from_secs(1u64 << doublings).min(LONGEST)
}

/// Hand the operation over, at once.
pub(crate) async fn add(
    tx: &WriteTx,
    operation: OperationId,
    host: &HostName,
    now: Timestamp,
) -> Result<(), StoreError> {
    put(tx, operation, (host, "run"), (0, now)).await
}

/// The operation is being handed over by the caller of this; again after a pause.
pub(crate) async fn add_claimed(
    tx: &WriteTx,
    operation: OperationId,
    host: &HostName,
    now: Timestamp,
) -> Result<(), StoreError> {
    put(tx, operation, (host, "run"), (1, now)).await
}

/// Stop the operation: from now on it is handed over together with its cancellation.
pub(crate) async fn add_cancel(
    tx: &WriteTx,
    operation: OperationId,
    host: &HostName,
    now: Timestamp,
) -> Result<(), StoreError> {
    put(tx, operation, (host, "cancel"), (0, now)).await
}

async fn put(
    tx: &WriteTx,
    operation: OperationId,
    (host, work): (&HostName, &str),
    (attempt, now): (i64, Timestamp),
) -> Result<(), StoreError> {
    let next = if attempt == 0 { now } else { now.plus(backoff(attempt)) };
    let row = outbox::ActiveModel {
        op_id: Set(operation.to_string()),
        host: Set(host.to_string()),
        work: Set(work.to_owned()),
        attempt: Set(attempt),
        next_send_at: Set(next.micros()),
        created_at: Set(now.micros()),
    };
    let again = OnConflict::column(Column::OpId)
        .update_columns([Column::Host, Column::Work, Column::Attempt, Column::NextSendAt])
        .to_owned();
    outbox::Entity::insert(row)
        .on_conflict(again)
        .exec_without_returning(&**tx)
        .await
        .map_err(StoreError::db("write to the outbox"))?;
    Ok(())
}

/// The host has it: nothing more to send, unless it is to be stopped (`run_only`).
pub(crate) async fn remove(
    tx: &WriteTx,
    operation: OperationId,
    run_only: bool,
) -> Result<(), StoreError> {
    let mut delete = outbox::Entity::delete_many().filter(Column::OpId.eq(operation.to_string()));
    if run_only {
        delete = delete.filter(Column::Work.eq("run"));
    }
    delete.exec(&**tx).await.map_err(StoreError::db("clear the outbox"))?;
    Ok(())
}

/// A host has started: everything it had not finished goes to it again, now. It knows its
/// operations by their ids and answers with what became of them.
pub(crate) async fn rearm_host(tx: &WriteTx, host: &HostName, now: i64) -> Result<(), StoreError> {
    use operation::Column as Op;
    let mut open = Query::select();
    open.column(Op::Id)
        .column(Op::Host)
        .expr(Expr::case(Op::State.eq("cancelling"), "cancel").finally("run"))
        .expr(Expr::value(0))
        .expr(Expr::value(now))
        .expr(Expr::value(now))
        .from(operation::Entity)
        .and_where(Op::ActiveKey.is_not_null())
        .and_where(Op::Host.eq(host.as_str()));
    outbox::Entity::delete_many()
        .filter(Column::Host.eq(host.as_str()))
        .exec(&**tx)
        .await
        .map_err(StoreError::db("clear the outbox of a host"))?;
    let mut insert = Query::insert();
    insert.into_table(outbox::Entity).columns([
        Column::OpId,
        Column::Host,
        Column::Work,
        Column::Attempt,
        Column::NextSendAt,
        Column::CreatedAt,
    ]);
    insert.select_from(open).map_err(|error| StoreError::Database {
        what: "hand the operations of a host over again",
        source: sea_orm::DbErr::Custom(error.to_string()),
    })?;
    // None is left, unless somebody else hands one over at this moment.
    insert.on_conflict(OnConflict::column(Column::OpId).do_nothing_on([Column::OpId]).to_owned());
    tx.execute(&insert)
        .await
        .map_err(StoreError::db("hand the operations of a host over again"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_from_a_second_to_a_minute() {
        let seconds: Vec<u64> = (1..=9).map(|attempt| backoff(attempt).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(backoff(0).as_secs(), 1);
    }
}
