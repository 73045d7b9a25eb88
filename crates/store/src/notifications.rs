//! The outbox of notifications: changes of servers, written in the transactions that make them.
//!
//! A transaction collects what it changes and writes it with one statement when it commits, so the
//! rows say exactly what was committed and cost an operation no round trip of their own. The rows
//! have numbers that grow without gaps. They are read by whoever passes notifications on and by
//! clients that come back; nobody has to: [`Store::trim_notifications`] drops the oldest, and a
//! reader sees from the numbers how many it missed.
//!
//! The numbers are in the order in which the transactions become visible, so a reader that goes on
//! after the last number it saw never misses a change that was committed late. SQLite has one writer
//! at a time. On PostgreSQL a transaction takes its numbers at its very end from a counter whose row
//! it holds until it is visible: what notes changes commits one after the other.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use reprieve_core::notification::{Cause, Change, FlavorFacts, Initiator, Snapshot, State};
use reprieve_core::{Lock, OperationKind, ProjectId, Timestamp};
use sea_orm::sea_query::{Expr, ExprTrait as _, Query};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, EntityTrait as _, QueryFilter as _, QueryOrder as _,
    QuerySelect as _,
};
use tokio::sync::watch;
use uuid::Uuid;

use crate::convert::{time, to_json};
use crate::db::{Dialect, next_number};
use crate::entity::notification::{self, Column};
use crate::operations::NewAction;
use crate::record::{FlavorSnapshot, InstanceRecord, OperationRecord};
use crate::{Store, StoreError, WriteTx};

/// Rows of one statement, far below what a database allows.
const CHUNK: usize = 500;

/// A committed change.
#[derive(Debug, Clone, PartialEq)]
pub struct NotificationRecord {
    /// Its number.
    pub number: i64,
    /// When it was committed.
    pub at: Timestamp,
    /// What changed; `None` when another version wrote it and this one cannot read it.
    pub change: Option<Change>,
}

/// Which changes to read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NotificationQuery {
    /// After the one with this number.
    pub after: i64,
    /// Of servers of this project.
    pub project: Option<ProjectId>,
    /// At most so many, oldest first.
    pub limit: u64,
}

/// One change to note.
pub(crate) struct Note<'a> {
    /// The server before; `None` when it is new.
    pub(crate) before: Option<&'a InstanceRecord>,
    /// The server as the transaction leaves it.
    pub(crate) after: &'a InstanceRecord,
    /// Why.
    pub(crate) cause: Cause,
    /// Who asked.
    pub(crate) by: Option<Initiator>,
    /// When.
    pub(crate) now: Timestamp,
}

/// What a transaction has noted so far.
pub(crate) struct Notes {
    wanted: bool,
    rows: Mutex<Vec<Row>>,
    bell: Arc<watch::Sender<()>>,
}

struct Row {
    project_id: String,
    at: i64,
    change: String,
}

impl Notes {
    pub(crate) fn new(wanted: bool, bell: Arc<watch::Sender<()>>) -> Self {
        Self { wanted, rows: Mutex::default(), bell }
    }

    /// Writes the rows; says whether there were any.
    pub(crate) async fn write<C: ConnectionTrait>(
        &self,
        connection: &C,
    ) -> Result<bool, StoreError> {
        let rows = std::mem::take(&mut *self.rows.lock().unwrap_or_else(PoisonError::into_inner));
        let failed = StoreError::db("note changes");
        if rows.is_empty() {
            return Ok(false);
        }
        let first = match Dialect::of(connection) {
            Dialect::Postgres | Dialect::MariaDb => {
                let count = i64::try_from(rows.len()).unwrap_or(i64::MAX);
                let last = next_number(connection, "notification", count).await?;
                Some(last.saturating_sub(count).saturating_add(1))
            }
            // The only writer: the number after the largest is free and the next to be seen.
            Dialect::Sqlite => None,
        };
        insert(connection, rows, first).await.map_err(failed)?;
        Ok(true)
    }

    /// Wakes the readers. To be called when the transaction is committed.
    pub(crate) fn ring(&self) {
        self.bell.send_replace(());
    }
}

/// Writes rows, numbered from `first`, or by the database.
async fn insert<C: ConnectionTrait>(
    connection: &C,
    rows: Vec<Row>,
    first: Option<i64>,
) -> Result<(), sea_orm::DbErr> {
    let mut rows = (0_i64..).zip(rows).peekable();
    while rows.peek().is_some() {
        let mut insert = Query::insert();
        let columns = [Column::ProjectId, Column::At, Column::Change, Column::Id];
        let used = if first.is_some() { 4 } else { 3 };
        insert.into_table(notification::Entity).columns(columns.into_iter().take(used));
        for (index, row) in rows.by_ref().take(CHUNK) {
            let number = first.map(|first| first.saturating_add(index).into());
            let values = [row.project_id.into(), row.at.into(), row.change.into()];
            insert
                .values(values.into_iter().chain(number))
                .map_err(|error| sea_orm::DbErr::Custom(error.to_string()))?;
        }
        connection.execute(&insert).await?;
    }
    Ok(())
}

impl WriteTx {
    /// Whether changes are to be noted; what only serves a note can be left out otherwise.
    pub(crate) const fn notes_changes(&self) -> bool {
        self.notes.wanted
    }

    /// Notes a change, to be written with the commit.
    pub(crate) fn note(&self, note: Note<'_>) -> Result<(), StoreError> {
        if !self.notes_changes() {
            return Ok(());
        }
        let Note { before, after, cause, by, now } = note;
        let project_id = after.project_id.to_string();
        let snapshot = snapshot(after, &cause);
        let before = before.map(state);
        let change = Change { key: Uuid::new_v4(), before, after: snapshot, cause, by };
        let row = Row { project_id, at: now.micros(), change: to_json(&change)? };
        self.notes.rows.lock().unwrap_or_else(PoisonError::into_inner).push(row);
        Ok(())
    }
}

/// What may be told of a server. Nothing secret: no password, no user data, no fault's details.
fn snapshot(server: &InstanceRecord, cause: &Cause) -> Snapshot {
    let created = match cause {
        Cause::Accepted(kind) | Cause::Begun { kind, .. } | Cause::Ended { kind, .. } => {
            *kind == OperationKind::Create
        }
        Cause::StateReset { stopped } => *stopped == Some(OperationKind::Create),
        Cause::DeletedUnhosted
        | Cause::Locked
        | Cause::Unlocked
        | Cause::Updated
        | Cause::Observed => false,
    };
    let key = server.key_name.as_ref().filter(|_| created);
    Snapshot {
        id: server.id,
        number: server.number,
        project_id: server.project_id.clone(),
        user_id: server.user_id.clone(),
        reservation_id: server.reservation_id.clone(),
        description: server.description.clone(),
        hostname: server.hostname.clone(),
        host: server.host.clone(),
        availability_zone: server.availability_zone.clone(),
        flavor: flavor(&server.flavor),
        image_id: server.image.as_ref().map(|image| image.id),
        key_name: server.key_name.clone(),
        public_key: key.and_then(|name| server.public_keys.get(name).cloned()),
        metadata: server.metadata.clone(),
        tags: server.tags.clone(),
        locked: server.lock != Lock::Unlocked,
        locked_reason: server.locked_reason.clone(),
        auto_disk_config: server.disk_config.as_str().to_owned(),
        created_at: server.created_at,
        terminated_at: server.terminated_at,
        deleted_at: server.deleted_at,
        state: state(server),
    }
}

fn state(server: &InstanceRecord) -> State {
    State {
        name: server.name.clone(),
        vm_state: server.vm_state,
        task_state: server.task_state,
        power_state: server.power_state,
        progress: server.progress,
        launched_at: server.launched_at,
        updated_at: server.updated_at,
    }
}

fn flavor(flavor: &FlavorSnapshot) -> FlavorFacts {
    FlavorFacts {
        flavor_id: flavor.flavor_id.clone(),
        name: flavor.name.clone(),
        vcpus: flavor.vcpus,
        memory_mib: flavor.memory_mib,
        root_gib: flavor.root_gib,
        ephemeral_gib: flavor.ephemeral_gib,
        swap_mib: flavor.swap_mib,
        extra_specs: flavor.extra_specs.clone(),
    }
}

impl NewAction {
    /// For notifications.
    pub(crate) fn initiator(&self) -> Option<Initiator> {
        Some(Initiator {
            request_id: self.request_id.clone(),
            user_id: self.user_id.clone(),
            project_id: self.project_id.clone(),
        })
    }
}

impl OperationRecord {
    /// For notifications.
    pub(crate) fn initiator(&self) -> Option<Initiator> {
        Some(Initiator {
            request_id: self.request_id.clone(),
            user_id: self.user_id.clone(),
            project_id: self.project_id.clone(),
        })
    }

    /// The image that a rescue was asked to use, unless it is the server's own, which is used when
    /// none is named.
    pub(crate) fn rescue_image(&self, server: &InstanceRecord) -> Option<reprieve_core::ImageId> {
        let own = server.image.as_ref().map(|image| image.id);
        let image = self.args.rescue_image.as_ref().map(|image| image.id);
        image.filter(|image| Some(*image) != own)
    }
}

impl Store {
    /// Whether changes are noted from now on. They are when the store is opened.
    pub fn keep_notifications(&self, wanted: bool) {
        self.notifying().store(wanted, Ordering::Relaxed);
    }

    /// Rings after each commit that noted a change.
    #[must_use]
    pub fn notification_bell(&self) -> watch::Receiver<()> {
        self.bell().subscribe()
    }

    /// Changes, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn notifications(
        &self,
        query: &NotificationQuery,
    ) -> Result<Vec<NotificationRecord>, StoreError> {
        let mut select = notification::Entity::find()
            .filter(Column::Id.gt(query.after))
            .order_by_asc(Column::Id)
            .limit(query.limit);
        if let Some(project) = &query.project {
            select = select.filter(Column::ProjectId.eq(project.as_str()));
        }
        let rows = select.all(self.reader()).await.map_err(StoreError::db("read notifications"))?;
        let records = rows.into_iter().map(|row| NotificationRecord {
            number: row.id,
            at: time(row.at),
            change: serde_json::from_str(&row.change).ok(),
        });
        Ok(records.collect())
    }

    /// Numbers of the oldest and of the newest change; `None` when there are none.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn notification_range(&self) -> Result<Option<(i64, i64)>, StoreError> {
        // Two expressions would make SQLite read the whole table; each alone is one look.
        let oldest = notification::Entity::find().order_by_asc(Column::Id);
        let newest = notification::Entity::find().order_by_desc(Column::Id);
        let mut found = [None, None];
        for (number, select) in found.iter_mut().zip([oldest, newest]) {
            *number = select
                .select_only()
                .column(Column::Id)
                .into_tuple::<i64>()
                .one(self.reader())
                .await
                .map_err(StoreError::db("look for notifications"))?;
        }
        let [oldest, newest] = found;
        Ok(oldest.zip(newest))
    }

    /// Drops all changes but the newest `keep`, of which there is at least one: the next number is
    /// made from it. Says how many were dropped.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn trim_notifications(&self, keep: u32) -> Result<u64, StoreError> {
        let Some((oldest, newest)) = self.notification_range().await? else { return Ok(0) };
        let last = newest.saturating_sub(i64::from(Ord::max(keep, 1)));
        if last < oldest {
            return Ok(0);
        }
        let tx = self.begin_lazy_beside().await?;
        let dropped = notification::Entity::delete_many()
            .filter(Expr::col(Column::Id).lte(last))
            .exec(&*tx)
            .await
            .map_err(StoreError::db("drop old notifications"))?;
        tx.commit().await?;
        Ok(dropped.rows_affected)
    }
}
