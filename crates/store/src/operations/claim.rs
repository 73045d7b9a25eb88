//! What has to be sent to hosts now.

use std::time::Duration;

use reprieve_core::Timestamp;
use sea_orm::sea_query::{Expr, ExprTrait as _, JoinType};
use sea_orm::{
    ColumnTrait as _, EntityTrait as _, FromQueryResult, QueryFilter as _, QueryOrder as _,
    QuerySelect as _,
};

use super::{Scope, UnitOfWork, outbox::backoff};
use crate::entity::{host, operation, outbox};
use crate::record::{HostRecord, InstanceRecord, OperationRecord};
use crate::rows::{self, RowChange};
use crate::{Store, StoreError, WriteTx, locks};

/// What has to be sent to a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PendingWork {
    /// Run the operation.
    Run,
    /// Run it if it is unknown, so that there is an answer in any case, and stop it.
    Cancel,
}

/// An outbox row with everything that its message is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct PendingCommand {
    /// What to send.
    pub work: PendingWork,
    /// The operation.
    pub operation: OperationRecord,
    /// Its server.
    pub instance: InstanceRecord,
    /// Current epoch of the host.
    pub host_epoch: i64,
    /// How often it was sent, this time included.
    pub attempt: u32,
}

#[derive(FromQueryResult)]
struct Due {
    op_id: String,
    instance_id: String,
    work: String,
    attempt: i64,
    epoch: i64,
}

impl Store {
    /// Takes up to `limit` outbox rows that are due and sets the time of their next attempt, so that
    /// another dispatcher does not send them too. Rows of hosts that are silent wait until the host
    /// says hello.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Corrupt`].
    pub async fn claim(&self, limit: u64) -> Result<Vec<PendingCommand>, StoreError> {
        self.claim_after(limit, Duration::ZERO).await
    }

    /// [`Self::claim`], but what was sent before is due only so much later.
    ///
    /// # Errors
    /// As [`Self::claim`].
    pub async fn claim_after(
        &self,
        limit: u64,
        patience: Duration,
    ) -> Result<Vec<PendingCommand>, StoreError> {
        let now = self.now();
        let due = || due(now, patience);
        let nothing = due().limit(1).into_model::<Due>().one(self.reader()).await;
        if nothing.map_err(StoreError::db("look into the outbox"))?.is_none() {
            return Ok(Vec::new());
        }
        let tx = self.begin_lazy_beside().await?;
        let found = read(due().limit(limit), &tx).await?;
        let theirs = found.iter().map(|row| (row.op_id.as_str(), row.instance_id.as_str()));
        let rows = match locks::free_operations(&tx, theirs).await? {
            Some(free) => read(due().filter(outbox::Column::OpId.is_in(free)), &tx).await?,
            None => found,
        };
        let commands = take(&tx, rows, now).await?;
        tx.commit().await?;
        Ok(commands)
    }

    /// When the next outbox row becomes due, if any.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn outbox_len(&self) -> Result<u64, StoreError> {
        use sea_orm::PaginatorTrait as _;
        outbox::Entity::find()
            .count(self.reader())
            .await
            .map_err(StoreError::db("count the outbox"))
    }
}

fn due(now: Timestamp, patience: Duration) -> sea_orm::Select<outbox::Entity> {
    let later = now.micros().saturating_sub(crate::convert::micros(patience));
    let first = outbox::Column::Attempt.eq(0);
    let silent = now.micros().saturating_sub(crate::convert::micros(HostRecord::SILENCE));
    outbox::Entity::find()
        .select_only()
        .columns([outbox::Column::OpId, outbox::Column::Work, outbox::Column::Attempt])
        .column(host::Column::Epoch)
        .column(operation::Column::InstanceId)
        .join(
            JoinType::InnerJoin,
            outbox::Entity::belongs_to(operation::Entity)
                .from(outbox::Column::OpId)
                .to(operation::Column::Id)
                .into(),
        )
        .join(
            JoinType::InnerJoin,
            outbox::Entity::belongs_to(host::Entity)
                .from(outbox::Column::Host)
                .to(host::Column::Name)
                .into(),
        )
        .filter(outbox::Column::NextSendAt.lte(now.micros()))
        .filter(first.or(outbox::Column::NextSendAt.lte(later)))
        .filter(Expr::col((host::Entity, host::Column::LastSeen)).gt(silent))
        .order_by_asc(outbox::Column::NextSendAt)
        .order_by_asc(outbox::Column::OpId)
}

async fn read(
    select: sea_orm::Select<outbox::Entity>,
    tx: &WriteTx,
) -> Result<Vec<Due>, StoreError> {
    let rows = select.into_model::<Due>().all(&**tx).await;
    rows.map_err(StoreError::db("look into the outbox"))
}

/// Notes that they are sent, all of them together, and reads what their messages are made of.
async fn take(
    tx: &WriteTx,
    rows: Vec<Due>,
    now: Timestamp,
) -> Result<Vec<PendingCommand>, StoreError> {
    let ids = rows.iter().filter_map(|row| row.op_id.parse().ok());
    let mut unit = UnitOfWork::begin(tx, &Scope::operations(ids), now).await?;
    let (mut commands, mut sent) = (Vec::with_capacity(rows.len()), Vec::new());
    for row in rows {
        let attempt = row.attempt.saturating_add(1);
        let next = now.plus(backoff(attempt)).micros();
        use outbox::Column::{Attempt, NextSendAt};
        let values = vec![(Attempt, attempt.into()), (NextSendAt, next.into())];
        sent.push(RowChange { key: row.op_id.clone(), values });
        let Ok(id) = row.op_id.parse() else { continue };
        unit.sent(id);
        let Some(operation) = unit.operation(id).map(|work| work.record.clone()) else { continue };
        let Some(instance) = unit.server(operation.instance_id).cloned() else { continue };
        let work = if row.work == "cancel" { PendingWork::Cancel } else { PendingWork::Run };
        let attempt = u32::try_from(attempt).unwrap_or(u32::MAX);
        commands.push(PendingCommand { work, operation, instance, host_epoch: row.epoch, attempt });
    }
    rows::update::<outbox::Entity>(tx, outbox::Column::OpId, sent, "claim the outbox").await?;
    unit.write().await?;
    Ok(commands)
}
