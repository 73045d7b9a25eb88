//! What has to be sent to hosts now.

use reprieve_core::Timestamp;
use sea_orm::sea_query::{Expr, ExprTrait as _, JoinType};
use sea_orm::{
    ColumnTrait as _, EntityTrait as _, FromQueryResult, QueryFilter as _, QueryOrder as _,
    QuerySelect as _,
};

use super::{find, outbox::backoff};
use crate::convert::operation_record;
use crate::entity::{host, operation, outbox};
use crate::record::{HostRecord, InstanceRecord, OperationRecord, OperationState};
use crate::{Store, StoreError, WriteTx, instances, locks};

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
        let now = self.now();
        let nothing = due(now).limit(1).into_model::<Due>().one(self.reader()).await;
        if nothing.map_err(StoreError::db("look into the outbox"))?.is_none() {
            return Ok(Vec::new());
        }
        let tx = self.begin_lazy_beside().await?;
        let found = read(due(now).limit(limit), &tx).await?;
        let theirs = found.iter().map(|row| (row.op_id.as_str(), row.instance_id.as_str()));
        let rows = match locks::free_operations(&tx, theirs).await? {
            Some(free) => read(due(now).filter(outbox::Column::OpId.is_in(free)), &tx).await?,
            None => found,
        };
        let mut commands = Vec::with_capacity(rows.len());
        for row in rows {
            commands.extend(take(&tx, row, now).await?);
        }
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

fn due(now: Timestamp) -> sea_orm::Select<outbox::Entity> {
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

async fn take(
    tx: &WriteTx,
    row: Due,
    now: Timestamp,
) -> Result<Option<PendingCommand>, StoreError> {
    let attempt = row.attempt.saturating_add(1);
    let next = now.plus(backoff(attempt)).micros();
    let claimed = outbox::Entity::update_many()
        .filter(outbox::Column::OpId.eq(row.op_id.as_str()))
        .filter(outbox::Column::Attempt.eq(row.attempt))
        .col_expr(outbox::Column::Attempt, Expr::value(attempt))
        .col_expr(outbox::Column::NextSendAt, Expr::value(next))
        .exec(&**tx)
        .await
        .map_err(StoreError::db("claim an outbox row"))?;
    if claimed.rows_affected == 0 {
        return Ok(None);
    }
    use operation::Column as Op;
    operation::Entity::update_many()
        .filter(Op::Id.eq(row.op_id.as_str()))
        .filter(Op::State.is_in(["pending", "dispatched"]))
        .col_expr(Op::State, Expr::value(OperationState::Dispatched.as_str()))
        .col_expr(Op::Attempt, Expr::col(Op::Attempt).add(1))
        .exec(&**tx)
        .await
        .map_err(StoreError::db("mark an operation as dispatched"))?;
    let Ok(id) = row.op_id.parse() else { return Ok(None) };
    let Some(model) = find(&**tx, id).await? else { return Ok(None) };
    let operation = operation_record(model)?;
    let Some(instance) = instances::find(&**tx, operation.instance_id).await? else {
        return Ok(None);
    };
    let work = if row.work == "cancel" { PendingWork::Cancel } else { PendingWork::Run };
    let attempt = u32::try_from(attempt).unwrap_or(u32::MAX);
    Ok(Some(PendingCommand { work, operation, instance, host_epoch: row.epoch, attempt }))
}
