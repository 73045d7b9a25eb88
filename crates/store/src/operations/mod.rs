//! Operations: admission, dispatch, and what the reports of the hosts make of them.

mod admit;
mod apply;
mod cancel;
mod changes;
mod claim;
mod condition;
pub(crate) mod end;
mod expire;
mod list;
pub(crate) mod outbox;
mod reboot;
mod together;
mod unit;

use std::time::Duration;

use reprieve_core::message::OperationArgs;
use reprieve_core::plan::PLAN_VERSION;
use reprieve_core::{
    Admission, Caller, Fault, HostName, InstanceId, OperationId, OperationKind, ProjectId,
    RequestId, Timestamp, UserId,
};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _,
};

pub use apply::{ApplyOutcome, Ended};
pub use cancel::CancelOutcome;
pub use claim::{PendingCommand, PendingWork};
pub use condition::{Condition, Refusal};
pub use list::OperationQuery;
pub(crate) use together::Admissions;
pub(crate) use unit::{Scope, UnitOfWork};

use unit::Work;

use crate::convert::{instance_id, operation_record, step_record, to_json};
use crate::entity::operation::{self, Column};
use crate::entity::step;
use crate::record::{InstanceRecord, OperationRecord, OperationState, StepRecord};
use crate::{Store, StoreError, WriteTx};

/// Who does something, for the instance action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAction {
    /// Request.
    pub request_id: RequestId,
    /// Who asks.
    pub user_id: UserId,
    /// Project of who asks.
    pub project_id: ProjectId,
}

/// An operation to admit.
#[derive(Debug, Clone)]
pub struct NewOperation {
    /// Server.
    pub instance_id: InstanceId,
    /// Kind.
    pub kind: OperationKind,
    /// Arguments.
    pub args: OperationArgs,
    /// What of the caller matters for admission.
    pub caller: Caller,
    /// Who asks.
    pub by: NewAction,
    /// Who hands it to its host first.
    pub hand_over: HandOver,
    /// What else has to be true of the server.
    pub condition: Condition,
    /// Ends it as failed if no host has taken it by then. `None`: it waits for its host.
    pub deadline: Option<Duration>,
}

/// Who hands a new operation to its host first. After that it is the outbox's in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandOver {
    /// The caller, with what admission returns: no dispatcher has to read the outbox meanwhile.
    Caller,
    /// Whoever reads the outbox next.
    Dispatcher,
}

/// What admission did.
#[derive(Debug, Clone, PartialEq)]
pub struct Admitted {
    /// How.
    pub admission: Admission,
    /// The server afterwards.
    pub instance: InstanceRecord,
    /// The operation; `None` when the same was under way already.
    pub operation: Option<OperationRecord>,
    /// What the caller has to hand over now. `None` when there is nothing to send yet, the host is
    /// silent, or it was left to the dispatcher.
    pub command: Option<Box<PendingCommand>>,
}

/// An operation on its way into the database.
pub(crate) struct OperationRow {
    /// Name of the event.
    pub(crate) event: Option<String>,
    record: OperationRecord,
    active: bool,
}

impl OperationRow {
    /// A pending operation that is not the active one yet.
    pub(crate) fn new(
        id: OperationId,
        kind: OperationKind,
        server: &InstanceRecord,
        by: &NewAction,
        now: Timestamp,
    ) -> Self {
        let mut row = Self::done(server, kind.action(), Some(kind.event()), by, now);
        row.record.id = id;
        row.record.kind = Some(kind);
        row.record.state = OperationState::Pending;
        row.record.deadline_at = Some(now.plus(kind.deadline()));
        row.record.started_at = None;
        row.record.finished_at = None;
        row
    }

    /// An action that the database alone carries out, and that has succeeded already.
    pub(crate) fn done(
        server: &InstanceRecord,
        action: &str,
        event: Option<&str>,
        by: &NewAction,
        now: Timestamp,
    ) -> Self {
        let record = OperationRecord {
            id: OperationId::random(),
            instance_id: server.id,
            kind: None,
            action: action.to_owned(),
            event: None,
            state: OperationState::Succeeded,
            request_id: by.request_id.clone(),
            user_id: by.user_id.clone(),
            project_id: by.project_id.clone(),
            host: server.host.clone(),
            generation: server.generation,
            prior: server.vm_state,
            plan_version: PLAN_VERSION,
            step: None,
            step_name: None,
            progress: 0,
            attempt: 0,
            args: OperationArgs::default(),
            deadline_at: None,
            after: None,
            error: None,
            needs_attention: false,
            created_at: now,
            updated_at: now,
            started_at: Some(now),
            finished_at: Some(now),
        };
        Self { event: event.map(ToOwned::to_owned), record, active: false }
    }

    /// Makes it the server's active operation (invariant I1: the insert fails if there is one).
    pub(crate) const fn activate(&mut self) {
        self.active = true;
    }

    /// Its host gets it as soon as it is recorded.
    pub(crate) const fn hand_over(&mut self) {
        self.record.state = OperationState::Dispatched;
        self.record.attempt = 1;
    }

    /// It waits for `other` to end.
    pub(crate) const fn wait_for(&mut self, other: OperationId) {
        self.record.after = Some(other);
    }

    /// What it needs beyond the server's own data, and the generation it was given.
    pub(crate) fn with(&mut self, args: OperationArgs, generation: i64) {
        self.record.args = args;
        self.record.generation = generation;
    }

    /// It ends at this deadline if no host has taken it by then.
    pub(crate) fn expire_after(&mut self, deadline: Duration) {
        self.record.deadline_at = Some(self.record.created_at.plus(deadline));
        self.record.args.expires = true;
    }

    /// It was done on this host, which is not the server's.
    pub(crate) fn on(&mut self, host: HostName) {
        self.record.host = Some(host);
    }

    /// It has ended before it was sent anywhere.
    pub(crate) fn finish(&mut self, state: OperationState, error: Option<Fault>, now: Timestamp) {
        self.record.state = state;
        self.record.error = error;
        self.record.started_at = Some(now);
        self.record.finished_at = Some(now);
    }

    /// Writes it.
    pub(crate) async fn insert(self, tx: &WriteTx) -> Result<OperationRecord, StoreError> {
        let (work, model) = self.into_model()?;
        insert(tx, vec![model]).await?;
        Ok(work.record)
    }

    /// The operation and its row.
    fn into_model(self) -> Result<(Work, operation::ActiveModel), StoreError> {
        let Self { event, mut record, active } = self;
        record.event = event;
        let text = |value: &dyn std::fmt::Display| value.to_string();
        let row = operation::ActiveModel {
            id: Set(text(&record.id)),
            instance_id: Set(text(&record.instance_id)),
            kind: Set(record.kind.map(|kind| kind.as_str().to_owned())),
            action: Set(record.action.clone()),
            event: Set(record.event.clone()),
            state: Set(record.state.as_str().to_owned()),
            active_key: Set(active.then(|| text(&record.instance_id))),
            after_op: Set(record.after.map(|id| text(&id))),
            request_id: Set(text(&record.request_id)),
            user_id: Set(text(&record.user_id)),
            project_id: Set(text(&record.project_id)),
            host: Set(record.host.as_ref().map(|host| text(host))),
            generation: Set(record.generation),
            prior: Set(record.prior.as_str().to_owned()),
            plan_version: Set(i64::from(record.plan_version)),
            step: Set(None),
            step_name: Set(None),
            progress: Set(0),
            attempt: Set(i64::from(record.attempt)),
            args: Set(to_json(&record.args)?),
            deadline_at: Set(record.deadline_at.map(Timestamp::micros)),
            error: Set(record.error.as_ref().map(to_json).transpose()?),
            needs_attention: Set(false),
            created_at: Set(record.created_at.micros()),
            updated_at: Set(record.updated_at.micros()),
            started_at: Set(record.started_at.map(Timestamp::micros)),
            finished_at: Set(record.finished_at.map(Timestamp::micros)),
            report_epoch: Set(0),
            report_seq: Set(0),
        };
        Ok((Work { record, active, report: (0, 0) }, row))
    }
}

/// Writes new operations.
async fn insert(tx: &WriteTx, rows: Vec<operation::ActiveModel>) -> Result<(), StoreError> {
    let Some(first) = rows.first() else { return Ok(()) };
    let server = first.instance_id.try_as_ref().map(|id| instance_id(id)).transpose()?;
    operation::Entity::insert_many(rows).exec_without_returning(&**tx).await.map_err(
        |error| match (error.sql_err(), server) {
            (Some(sea_orm::SqlErr::UniqueConstraintViolation(_)), Some(server)) => {
                StoreError::Raced(server)
            }
            _ => StoreError::Database { what: "record operations", source: error },
        },
    )?;
    Ok(())
}

impl Store {
    /// Instance actions of a server, newest first; also of a deleted one.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Corrupt`].
    pub async fn operations_of(&self, id: InstanceId) -> Result<Vec<OperationRecord>, StoreError> {
        let rows = operation::Entity::find()
            .filter(Column::InstanceId.eq(id.to_string()))
            .order_by_desc(Column::CreatedAt)
            .order_by_desc(Column::Id)
            .all(self.reader())
            .await
            .map_err(StoreError::db("list the actions of a server"))?;
        rows.into_iter().map(operation_record).collect()
    }

    /// One operation.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Corrupt`].
    pub async fn operation(&self, id: OperationId) -> Result<Option<OperationRecord>, StoreError> {
        find(self.reader(), id).await?.map(operation_record).transpose()
    }

    /// The instance action that a request caused on a server.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Corrupt`].
    pub async fn operation_by_request(
        &self,
        instance: InstanceId,
        request: &RequestId,
    ) -> Result<Option<OperationRecord>, StoreError> {
        operation::Entity::find()
            .filter(Column::InstanceId.eq(instance.to_string()))
            .filter(Column::RequestId.eq(request.as_str()))
            .order_by_desc(Column::CreatedAt)
            .one(self.reader())
            .await
            .map_err(StoreError::db("read an action of a server"))?
            .map(operation_record)
            .transpose()
    }

    /// Audit of an operation, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Corrupt`].
    pub async fn steps_of(&self, id: OperationId) -> Result<Vec<StepRecord>, StoreError> {
        let rows = step::Entity::find()
            .filter(step::Column::OpId.eq(id.to_string()))
            .order_by_asc(step::Column::Seq)
            .all(self.reader())
            .await
            .map_err(StoreError::db("read the steps of an operation"))?;
        rows.iter().map(step_record).collect()
    }
}

/// The row of an operation.
pub(crate) async fn find<C: sea_orm::ConnectionTrait>(
    connection: &C,
    id: OperationId,
) -> Result<Option<operation::Model>, StoreError> {
    operation::Entity::find_by_id(id.to_string())
        .one(connection)
        .await
        .map_err(StoreError::db("read an operation"))
}
