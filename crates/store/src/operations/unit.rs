//! Everything that a transaction works on, as one unit: read and locked with a few statements, changed
//! in memory, written with a few statements.
//!
//! How many servers, operations and hosts there are makes the statements longer, not more. What is in
//! a unit is locked until its transaction ends (`locks`), so nothing that was read has changed when it
//! is written; only columns that changed are.
//!
//! Invariant I1 is the database's: an operation that ends gives up its server's place with a statement
//! of its own, before another one takes it.

use std::collections::{BTreeMap, BTreeSet};

use reprieve_core::message::StepEvent;
use reprieve_core::{HostName, InstanceId, OperationId, Step, Timestamp};
use sea_orm::sea_query::{Expr, ExprTrait as _};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _,
    QuerySelect as _,
};

use super::outbox::{Entry, Outbox};
use super::{OperationRow, changes};
use crate::convert::{instance_record, operation_record};
use crate::entity::{host, instance, operation, step};
use crate::notifications::Note;
use crate::record::{InstanceRecord, OperationRecord, OperationState};
use crate::rows::{self, RowChange};
use crate::{StoreError, WriteTx, console_tokens, locks};

/// What a unit is about. Servers of operations, and unfinished operations of servers, come with them.
#[derive(Debug, Default)]
pub(crate) struct Scope {
    /// Hosts, by name, that may change.
    pub(crate) hosts: BTreeSet<String>,
    /// Hosts, by name, of which only the epoch is asked.
    pub(crate) senders: BTreeSet<String>,
    /// Operations.
    pub(crate) operations: BTreeSet<OperationId>,
    /// Servers.
    pub(crate) servers: BTreeSet<InstanceId>,
}

impl Scope {
    /// Servers alone.
    pub(crate) fn servers(ids: impl IntoIterator<Item = InstanceId>) -> Self {
        Self { servers: ids.into_iter().collect(), ..Self::default() }
    }

    /// Operations alone.
    pub(crate) fn operations(ids: impl IntoIterator<Item = OperationId>) -> Self {
        Self { operations: ids.into_iter().collect(), ..Self::default() }
    }
}

/// An operation with what only the database knows of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Work {
    /// The operation.
    pub(crate) record: OperationRecord,
    /// Whether it is the one that its server's host works on, or will.
    pub(crate) active: bool,
    /// The newest report about it that was applied, as (epoch, sequence).
    pub(crate) report: (i64, i64),
}

/// A row as it is stored and as it is to be.
#[derive(Debug)]
struct Tracked<T> {
    stored: T,
    current: T,
}

impl<T: Clone> Tracked<T> {
    fn new(stored: T) -> Self {
        Self { current: stored.clone(), stored }
    }

    /// What was to be written is.
    fn settle(&mut self) {
        self.stored = self.current.clone();
    }
}

/// A line in the audit of an operation.
struct Line {
    step: Step,
    event: StepEvent,
    at: Timestamp,
    detail: String,
}

/// The unfinished operations of a server: at most one of each, because `active_key` is unique, and
/// superseding a waiting operation ends it.
pub(crate) struct Unfinished {
    /// The one that its host works on, or will.
    pub(crate) active: Option<OperationRecord>,
    /// The one that takes its place once it has ended.
    pub(crate) waiting: Option<OperationRecord>,
}

/// See the module.
pub(crate) struct UnitOfWork<'a> {
    tx: &'a WriteTx,
    now: Timestamp,
    hosts: BTreeMap<String, Tracked<host::Model>>,
    epochs: BTreeMap<String, i64>,
    servers: BTreeMap<InstanceId, Tracked<InstanceRecord>>,
    operations: BTreeMap<OperationId, Tracked<Work>>,
    recorded: Vec<operation::ActiveModel>,
    outbox: Outbox,
    lines: BTreeMap<OperationId, Vec<Line>>,
    deleted: Vec<InstanceId>,
}

impl<'a> UnitOfWork<'a> {
    /// Locks and reads what is in `scope`, as far as it exists.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Corrupt`].
    pub(crate) async fn begin(
        tx: &'a WriteTx,
        scope: &Scope,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let hosts = read_hosts(tx, scope).await?;
        let servers = read_servers(tx, scope).await?;
        let epochs = read_epochs(tx, scope).await?;
        let operations = read_operations(tx, scope, &servers).await?;
        Ok(Self {
            tx,
            now,
            hosts: hosts.into_iter().map(|row| (row.name.clone(), Tracked::new(row))).collect(),
            epochs,
            servers: servers.into_iter().map(|one| (one.id, Tracked::new(one))).collect(),
            operations: operations
                .into_iter()
                .map(|work| (work.record.id, Tracked::new(work)))
                .collect(),
            recorded: Vec::new(),
            outbox: Outbox::default(),
            lines: BTreeMap::new(),
            deleted: Vec::new(),
        })
    }

    /// When it all happens.
    pub(crate) const fn now(&self) -> Timestamp {
        self.now
    }

    /// The transaction.
    pub(crate) const fn tx(&self) -> &'a WriteTx {
        self.tx
    }

    /// The epoch of a host.
    pub(crate) fn epoch(&self, name: &HostName) -> Option<i64> {
        let held = self.hosts.get(name.as_str()).map(|row| row.current.epoch);
        held.or_else(|| self.epochs.get(name.as_str()).copied())
    }

    /// A host that may change.
    pub(crate) fn host(&mut self, name: &HostName) -> Option<&mut host::Model> {
        self.hosts.get_mut(name.as_str()).map(|row| &mut row.current)
    }

    /// A server, deleted or not.
    pub(crate) fn server(&self, id: InstanceId) -> Option<&InstanceRecord> {
        self.servers.get(&id).map(|row| &row.current)
    }

    /// A server that is not deleted.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub(crate) fn existing(&self, id: InstanceId) -> Result<&InstanceRecord, StoreError> {
        let found = self.server(id).filter(|server| server.deleted_at.is_none());
        found.ok_or_else(|| StoreError::NotFound { what: "server", id: id.to_string() })
    }

    /// Changes a server. When is said with it, and its revision is another one: what was read of a
    /// server is good until then.
    pub(crate) fn change(&mut self, id: InstanceId, change: impl FnOnce(&mut InstanceRecord)) {
        if let Some(row) = self.servers.get_mut(&id) {
            row.current.updated_at = self.now;
            change(&mut row.current);
            row.current.revision = row.current.revision.saturating_add(1);
        }
    }

    /// An operation.
    pub(crate) fn operation(&self, id: OperationId) -> Option<&Work> {
        self.operations.get(&id).map(|row| &row.current)
    }

    /// Changes an operation, and says when.
    pub(crate) fn change_operation(&mut self, id: OperationId, change: impl FnOnce(&mut Work)) {
        if let Some(row) = self.operations.get_mut(&id) {
            row.current.record.updated_at = self.now;
            change(&mut row.current);
        }
    }

    /// An operation is sent to its host, perhaps once more, which is no change that people see.
    pub(crate) fn sent(&mut self, id: OperationId) {
        let Some(row) = self.operations.get_mut(&id) else { return };
        let record = &mut row.current.record;
        match record.state {
            OperationState::Pending | OperationState::Dispatched => {
                record.state = OperationState::Dispatched;
                record.attempt = record.attempt.saturating_add(1);
            }
            OperationState::Running
            | OperationState::Cancelling
            | OperationState::Succeeded
            | OperationState::Failed
            | OperationState::Cancelled => {}
        }
    }

    /// The unfinished operations of a server.
    pub(crate) fn unfinished(&self, instance: InstanceId) -> Unfinished {
        let mut found = Unfinished { active: None, waiting: None };
        for Tracked { current, .. } in self.operations.values() {
            if current.record.instance_id == instance && current.record.finished_at.is_none() {
                let slot = if current.active { &mut found.active } else { &mut found.waiting };
                *slot = Some(current.record.clone());
            }
        }
        found
    }

    /// Records a new operation.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when it cannot be written as JSON.
    pub(crate) fn record(&mut self, row: OperationRow) -> Result<OperationRecord, StoreError> {
        let (work, model) = row.into_model()?;
        self.recorded.push(model);
        let record = work.record.clone();
        self.operations.insert(record.id, Tracked::new(work));
        Ok(record)
    }

    /// Something has to be sent to a host.
    pub(crate) fn post(&mut self, operation: OperationId, entry: Entry) {
        self.outbox.post(operation, entry);
    }

    /// The host has the operation: nothing more to send, unless it is to be stopped.
    pub(crate) fn taken(&mut self, operation: OperationId) {
        self.outbox.taken(operation);
    }

    /// The operation has ended: nothing more to send.
    pub(crate) fn settled(&mut self, operation: OperationId) {
        self.outbox.settled(operation);
    }

    /// A line in the audit of an operation.
    pub(crate) fn tell(
        &mut self,
        operation: OperationId,
        (step, event): (Step, StepEvent),
        (at, detail): (Timestamp, &str),
    ) {
        // What a program on a host said may hold what PostgreSQL takes in no text.
        let detail = detail.replace('\0', "\u{fffd}");
        self.lines.entry(operation).or_default().push(Line { step, event, at, detail });
    }

    /// What belongs to a server goes with it.
    pub(crate) fn forget(&mut self, server: InstanceId) {
        self.deleted.push(server);
    }

    /// Notes a change for whoever listens.
    pub(crate) fn note(&self, note: Note<'_>) -> Result<(), StoreError> {
        self.tx.note(note)
    }

    /// Writes what has changed since the last time.
    ///
    /// # Errors
    /// [`StoreError::Raced`] when a server has an active operation already; else
    /// [`StoreError::Database`]. The transaction is of no use then.
    pub(crate) async fn write(&mut self) -> Result<(), StoreError> {
        self.write_operations().await?;
        self.write_servers().await?;
        std::mem::take(&mut self.outbox).write(self.tx, self.now).await?;
        self.write_lines().await?;
        self.write_hosts().await?;
        for server in std::mem::take(&mut self.deleted) {
            console_tokens::remove(self.tx, server).await?;
        }
        Ok(())
    }

    async fn write_operations(&mut self) -> Result<(), StoreError> {
        let (mut leaving, mut others) = (Vec::new(), Vec::new());
        for (id, row) in &mut self.operations {
            if row.stored == row.current {
                continue;
            }
            let values = changes::of_operation(&row.stored, &row.current)?.into_values();
            let leaves = row.stored.active && !row.current.active;
            let group = if leaves { &mut leaving } else { &mut others };
            group.push(RowChange { key: id.to_string(), values });
            row.settle();
        }
        use operation::Column::Id;
        rows::update::<operation::Entity>(self.tx, Id, leaving, "end operations").await?;
        let recorded = std::mem::take(&mut self.recorded);
        super::insert(self.tx, recorded).await?;
        rows::update::<operation::Entity>(self.tx, Id, others, "change operations").await
    }

    async fn write_servers(&mut self) -> Result<(), StoreError> {
        let mut changed = Vec::new();
        for (id, row) in &mut self.servers {
            if row.stored.revision == row.current.revision {
                continue;
            }
            let values = changes::of_server(&row.stored, &row.current)?.into_values();
            changed.push(RowChange { key: id.to_string(), values });
            row.settle();
        }
        let id = instance::Column::Id;
        rows::update::<instance::Entity>(self.tx, id, changed, "change servers").await
    }

    async fn write_hosts(&mut self) -> Result<(), StoreError> {
        let mut changed = Vec::new();
        for (name, row) in &mut self.hosts {
            let values = changes::of_host(&row.stored, &row.current).into_values();
            changed.push(RowChange { key: name.clone(), values });
            row.settle();
        }
        let name = host::Column::Name;
        rows::update::<host::Entity>(self.tx, name, changed, "note signs of life").await
    }

    async fn write_lines(&mut self) -> Result<(), StoreError> {
        let lines = std::mem::take(&mut self.lines);
        if lines.is_empty() {
            return Ok(());
        }
        let last = last_lines(self.tx, lines.keys()).await?;
        let mut rows = Vec::new();
        for (id, lines) in lines {
            let id = id.to_string();
            let first = last.get(&id).copied().unwrap_or(0).saturating_add(1);
            for (seq, line) in (first..).zip(lines) {
                rows.push(step::ActiveModel {
                    op_id: Set(id.clone()),
                    seq: Set(seq),
                    step: Set(line.step.as_str().to_owned()),
                    what: Set(word(line.event).to_owned()),
                    at: Set(line.at.micros()),
                    detail: Set(line.detail),
                });
            }
        }
        step::Entity::insert_many(rows)
            .exec_without_returning(&**self.tx)
            .await
            .map_err(StoreError::db("write the audit of operations"))?;
        Ok(())
    }
}

const fn word(event: StepEvent) -> &'static str {
    match event {
        StepEvent::Started => "started",
        StepEvent::Done => "done",
        StepEvent::Retrying => "retrying",
        StepEvent::Failed => "failed",
    }
}

async fn read_hosts(tx: &WriteTx, scope: &Scope) -> Result<Vec<host::Model>, StoreError> {
    if scope.hosts.is_empty() {
        return Ok(Vec::new());
    }
    let select = host::Entity::find()
        .filter(host::Column::Name.is_in(scope.hosts.iter().map(String::as_str)))
        .order_by_asc(host::Column::Name);
    let rows = locks::held(tx, select).all(&**tx).await;
    rows.map_err(StoreError::db("read hosts"))
}

/// Epochs of hosts whose rows are not locked: a lock is a write of its own, and in a busy cloud every
/// second report is of another host. They are read when the servers are locked. So a start of the host
/// that is registered later waits for this transaction wherever it looks at one of them
/// (`Store::register_host`), and finds what this one writes.
async fn read_epochs(tx: &WriteTx, scope: &Scope) -> Result<BTreeMap<String, i64>, StoreError> {
    let names: Vec<&str> = scope.senders.difference(&scope.hosts).map(String::as_str).collect();
    if names.is_empty() {
        return Ok(BTreeMap::new());
    }
    let rows: Vec<(String, i64)> = host::Entity::find()
        .select_only()
        .columns([host::Column::Name, host::Column::Epoch])
        .filter(host::Column::Name.is_in(names))
        .into_tuple()
        .all(&**tx)
        .await
        .map_err(StoreError::db("read the epochs of hosts"))?;
    Ok(rows.into_iter().collect())
}

/// Servers in the order of their ids, which is the order in which they are locked. Whose an operation
/// is never changes, so that is asked before.
async fn read_servers(tx: &WriteTx, scope: &Scope) -> Result<Vec<InstanceRecord>, StoreError> {
    let mut ids: BTreeSet<String> = scope.servers.iter().map(ToString::to_string).collect();
    if !scope.operations.is_empty() {
        let theirs: Vec<String> = operation::Entity::find()
            .select_only()
            .column(operation::Column::InstanceId)
            .filter(operation::Column::Id.is_in(texts(&scope.operations)))
            .into_tuple()
            .all(&**tx)
            .await
            .map_err(StoreError::db("read whose operations they are"))?;
        ids.extend(theirs);
    }
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let select = instance::Entity::find()
        .filter(instance::Column::Id.is_in(ids))
        .order_by_asc(instance::Column::Id);
    let rows = locks::held(tx, select).all(&**tx).await;
    let rows = rows.map_err(StoreError::db("read servers"))?;
    rows.into_iter().map(instance_record).collect()
}

/// The operations in question, and whatever else is unfinished on the servers: the one that a server
/// names (invariant I5), and the one that its host works on, which is the same unless the first waits
/// for it.
async fn read_operations(
    tx: &WriteTx,
    scope: &Scope,
    servers: &[InstanceRecord],
) -> Result<Vec<Work>, StoreError> {
    use operation::Column as Op;
    let mut ids = scope.operations.clone();
    ids.extend(servers.iter().filter_map(|server| server.active).map(|(id, _)| id));
    let mut found = find_operations(tx, Op::Id, texts(&ids)).await?;
    let worked_on: BTreeSet<InstanceId> =
        found.iter().filter(|work| work.active).map(|work| work.record.instance_id).collect();
    let busy = servers.iter().filter(|server| server.active.is_some()).map(|server| server.id);
    let others: BTreeSet<InstanceId> = busy.filter(|id| !worked_on.contains(id)).collect();
    found.extend(find_operations(tx, Op::ActiveKey, texts(&others)).await?);
    Ok(found)
}

async fn find_operations(
    tx: &WriteTx,
    key: operation::Column,
    are: Vec<String>,
) -> Result<Vec<Work>, StoreError> {
    if are.is_empty() {
        return Ok(Vec::new());
    }
    let rows = operation::Entity::find().filter(key.is_in(are)).all(&**tx).await;
    let rows = rows.map_err(StoreError::db("read operations"))?;
    rows.into_iter().map(work).collect()
}

fn work(row: operation::Model) -> Result<Work, StoreError> {
    let active = row.active_key.is_some();
    let report = (row.report_epoch, row.report_seq);
    Ok(Work { record: operation_record(row)?, active, report })
}

fn texts<T: ToString>(ids: &BTreeSet<T>) -> Vec<String> {
    ids.iter().map(ToString::to_string).collect()
}

/// The number of the last line in the audit of each operation that has one.
async fn last_lines(
    tx: &WriteTx,
    operations: impl Iterator<Item = &OperationId>,
) -> Result<BTreeMap<String, i64>, StoreError> {
    let operations: Vec<String> = operations.map(ToString::to_string).collect();
    let rows: Vec<(String, i64)> = step::Entity::find()
        .select_only()
        .column(step::Column::OpId)
        .expr(Expr::col(step::Column::Seq).max())
        .filter(step::Column::OpId.is_in(operations))
        .group_by(step::Column::OpId)
        .into_tuple()
        .all(&**tx)
        .await
        .map_err(StoreError::db("read the audit of operations"))?;
    Ok(rows.into_iter().collect())
}
