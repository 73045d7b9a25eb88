//! The outbox: operations whose host has yet to report. Written in the transaction that makes an
//! operation active, removed by the first report about it.

use std::collections::BTreeMap;
use std::time::Duration;

use reprieve_core::{HostName, OperationId, Timestamp};
use sea_orm::sea_query::{Expr, OnConflict, Query};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, Condition, ConnectionTrait as _, EntityTrait as _,
    QueryFilter as _,
};

use super::PendingWork;
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

/// What has to be sent about an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// To whom.
    pub(crate) host: HostName,
    /// What.
    pub(crate) work: PendingWork,
    /// How often it was sent: 0 is due at once, 1 is being handed over by whoever records it, and due
    /// again after a pause.
    pub(crate) attempt: i64,
}

impl Entry {
    /// Hand the operation over, at once.
    pub(crate) const fn run(host: HostName) -> Self {
        Self { host, work: PendingWork::Run, attempt: 0 }
    }

    /// The operation is being handed over by the caller of this.
    pub(crate) const fn handed_over(host: HostName) -> Self {
        Self { host, work: PendingWork::Run, attempt: 1 }
    }

    /// Stop the operation: from now on it is handed over together with its cancellation.
    pub(crate) const fn cancel(host: HostName) -> Self {
        Self { host, work: PendingWork::Cancel, attempt: 0 }
    }

    fn into_row(self, operation: OperationId, now: Timestamp) -> outbox::ActiveModel {
        let Self { host, work, attempt } = self;
        let next = if attempt == 0 { now } else { now.plus(backoff(attempt)) };
        outbox::ActiveModel {
            op_id: Set(operation.to_string()),
            host: Set(host.to_string()),
            work: Set(word(work).to_owned()),
            attempt: Set(attempt),
            next_send_at: Set(next.micros()),
            created_at: Set(now.micros()),
        }
    }
}

const fn word(work: PendingWork) -> &'static str {
    match work {
        PendingWork::Run => "run",
        PendingWork::Cancel => "cancel",
    }
}

/// What becomes of an operation's row.
#[derive(Debug)]
enum Fate {
    /// It is written, over one that may be there.
    Posted(Entry),
    /// It goes, unless it is there to stop the operation.
    Taken,
    /// It goes.
    Settled,
}

/// Changes of the outbox on their way into it.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    fates: BTreeMap<OperationId, Fate>,
}

impl Outbox {
    /// Something has to be sent.
    pub(crate) fn post(&mut self, operation: OperationId, entry: Entry) {
        self.fates.insert(operation, Fate::Posted(entry));
    }

    /// The host has it: nothing more to send, unless it is to be stopped.
    pub(crate) fn taken(&mut self, operation: OperationId) {
        match self.fates.get(&operation) {
            Some(Fate::Posted(Entry { work: PendingWork::Cancel, .. }) | Fate::Settled) => {}
            Some(Fate::Posted(Entry { work: PendingWork::Run, .. })) => self.settled(operation),
            Some(Fate::Taken) | None => {
                self.fates.insert(operation, Fate::Taken);
            }
        }
    }

    /// It has ended: nothing more to send.
    pub(crate) fn settled(&mut self, operation: OperationId) {
        self.fates.insert(operation, Fate::Settled);
    }

    /// Writes the changes.
    pub(crate) async fn write(self, tx: &WriteTx, now: Timestamp) -> Result<(), StoreError> {
        let (mut posted, mut taken, mut settled) = (Vec::new(), Vec::new(), Vec::new());
        for (operation, fate) in self.fates {
            match fate {
                Fate::Posted(entry) => posted.push(entry.into_row(operation, now)),
                Fate::Taken => taken.push(operation.to_string()),
                Fate::Settled => settled.push(operation.to_string()),
            }
        }
        let run = Condition::all().add(Column::Work.eq(word(PendingWork::Run)));
        clear(tx, taken, run).await?;
        clear(tx, settled, Condition::all()).await?;
        put(tx, posted).await
    }
}

async fn clear(tx: &WriteTx, of: Vec<String>, which: Condition) -> Result<(), StoreError> {
    if of.is_empty() {
        return Ok(());
    }
    outbox::Entity::delete_many()
        .filter(Column::OpId.is_in(of))
        .filter(which)
        .exec(&**tx)
        .await
        .map_err(StoreError::db("clear the outbox"))?;
    Ok(())
}

async fn put(tx: &WriteTx, rows: Vec<outbox::ActiveModel>) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    let again = OnConflict::column(Column::OpId)
        .update_columns([Column::Host, Column::Work, Column::Attempt, Column::NextSendAt])
        .to_owned();
    outbox::Entity::insert_many(rows)
        .on_conflict(again)
        .exec_without_returning(&**tx)
        .await
        .map_err(StoreError::db("write to the outbox"))?;
    Ok(())
}

/// Hand a new operation over, at once.
pub(crate) async fn add(
    tx: &WriteTx,
    operation: OperationId,
    host: &HostName,
    now: Timestamp,
) -> Result<(), StoreError> {
    put(tx, vec![Entry::run(host.clone()).into_row(operation, now)]).await
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

    fn id(number: u128) -> OperationId {
        uuid::Uuid::from_u128(number).into()
    }

    #[test]
    fn what_comes_last_about_an_operation_counts() {
        let host = || HostName::from("h".to_owned());
        let after = |changes: &[fn(&mut Outbox, OperationId)]| {
            let mut outbox = Outbox::default();
            changes.iter().for_each(|change| change(&mut outbox, id(1)));
            outbox.fates.remove(&id(1))
        };
        let run: fn(&mut Outbox, OperationId) =
            |o, id| o.post(id, Entry::run("h".to_owned().into()));
        let stop: fn(&mut Outbox, OperationId) =
            |o, id| o.post(id, Entry::cancel("h".to_owned().into()));
        let (taken, settled) =
            (Outbox::taken as fn(&mut Outbox, OperationId), Outbox::settled as _);
        assert!(matches!(after(&[run]), Some(Fate::Posted(entry)) if entry == Entry::run(host())));
        assert!(matches!(after(&[taken]), Some(Fate::Taken)));
        assert!(matches!(after(&[run, taken]), Some(Fate::Settled)));
        // The host has to hear of it, whatever it said before.
        assert!(
            matches!(after(&[stop, taken]), Some(Fate::Posted(entry)) if entry == Entry::cancel(host()))
        );
        assert!(matches!(after(&[taken, settled]), Some(Fate::Settled)));
        assert!(matches!(after(&[settled, taken]), Some(Fate::Settled)));
        assert!(matches!(after(&[stop, settled]), Some(Fate::Settled)));
        assert!(matches!(after(&[settled, run]), Some(Fate::Posted(_))));
    }
}
