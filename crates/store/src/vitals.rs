//! What somebody who watches the control plane wants to know of its database, in a few bounded
//! questions: unfinished operations and the outbox are short and read from indexes, hosts and readers
//! are few, and of notifications only single rows are read by their number.

use std::collections::BTreeMap;

use reprieve_core::{HostName, OperationKind, PowerState, Timestamp, VmState};
use sea_orm::sea_query::{Expr, ExprTrait as _};
use sea_orm::{
    ColumnTrait as _, EntityTrait as _, FromQueryResult, QueryFilter as _, QueryOrder as _,
    QuerySelect as _,
};

use crate::convert::time;
use crate::entity::{instance, notification, notification_reader, operation, outbox};
use crate::record::{HostRecord, OperationState};
use crate::{Store, StoreError};

/// Most readers of notifications that are told about.
const READERS: u64 = 16;

/// How the control plane is.
#[derive(Debug, Clone, PartialEq)]
pub struct Vitals {
    /// When this was read.
    pub at: Timestamp,
    /// Unfinished operations.
    pub operations: Vec<Unfinished>,
    /// Operations whose host has yet to report.
    pub outbox: Backlog,
    /// Who passes notifications on.
    pub readers: Vec<Unread>,
    /// Compute hosts.
    pub hosts: Vec<HostRecord>,
}

/// Unfinished operations of one kind in one state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unfinished {
    /// Kind.
    pub kind: OperationKind,
    /// State.
    pub state: OperationState,
    /// How many.
    pub count: i64,
    /// When the oldest of them was accepted.
    pub oldest: Timestamp,
}

/// Things that wait.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backlog {
    /// How many.
    pub count: i64,
    /// When the oldest of them came.
    pub oldest: Option<Timestamp>,
}

/// What a reader of notifications has not passed on yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// Name of the reader.
    pub reader: String,
    /// What waits for it.
    pub backlog: Backlog,
}

/// What a host carries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostLoad {
    /// Its servers by state.
    pub servers: BTreeMap<&'static str, i64>,
    /// Those of them that have a guest, running or not, as last seen.
    pub guests: i64,
    /// Those of them that were suspended because it goes down.
    pub suspended_for_host: i64,
    /// Unfinished operations on it.
    pub operations: i64,
}

#[derive(FromQueryResult)]
struct Group {
    kind: Option<String>,
    state: String,
    count: i64,
    oldest: i64,
}

#[derive(FromQueryResult)]
struct Row {
    count: i64,
    oldest: Option<i64>,
}

#[derive(FromQueryResult)]
struct OnHost {
    host: String,
    state: String,
    suspended_for_host: bool,
    power_state: i32,
    count: i64,
}

impl Vitals {
    /// How long the longest of the operations waits that no host has begun, if there is one.
    #[must_use]
    pub fn oldest_waiting(&self) -> Option<Timestamp> {
        let waits = |one: &&Unfinished| match one.state {
            OperationState::Pending | OperationState::Dispatched => true,
            OperationState::Running
            | OperationState::Cancelling
            | OperationState::Succeeded
            | OperationState::Failed
            | OperationState::Cancelled => false,
        };
        self.operations.iter().filter(waits).map(|one| one.oldest).min()
    }
}

impl Store {
    /// How the control plane is.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Corrupt`].
    pub async fn vitals(&self) -> Result<Vitals, StoreError> {
        Ok(Vitals {
            at: self.now(),
            operations: self.unfinished_operations().await?,
            outbox: self.outbox_backlog().await?,
            readers: self.unread_notifications().await?,
            hosts: self.hosts().await?,
        })
    }

    async fn unfinished_operations(&self) -> Result<Vec<Unfinished>, StoreError> {
        use operation::Column as Op;
        let rows = operation::Entity::find()
            .select_only()
            .columns([Op::Kind, Op::State])
            .column_as(Op::Id.count(), "count")
            .column_as(Op::CreatedAt.min(), "oldest")
            .filter(Op::FinishedAt.is_null())
            .group_by(Op::Kind)
            .group_by(Op::State)
            .into_model::<Group>()
            .all(self.reader())
            .await
            .map_err(StoreError::db("count the unfinished operations"))?;
        // What this version has no word for is not counted under another.
        let known = |row: Group| {
            let kind = OperationKind::parse(row.kind.as_deref()?)?;
            let (state, oldest) = (OperationState::parse(&row.state)?, time(row.oldest));
            Some(Unfinished { kind, state, count: row.count, oldest })
        };
        Ok(rows.into_iter().filter_map(known).collect())
    }

    async fn outbox_backlog(&self) -> Result<Backlog, StoreError> {
        let row = outbox::Entity::find()
            .select_only()
            .column_as(outbox::Column::OpId.count(), "count")
            .column_as(outbox::Column::CreatedAt.min(), "oldest")
            .into_model::<Row>()
            .one(self.reader())
            .await
            .map_err(StoreError::db("count the outbox"))?;
        Ok(row.map_or_else(Backlog::default, |row| Backlog {
            count: row.count,
            oldest: row.oldest.map(time),
        }))
    }

    async fn unread_notifications(&self) -> Result<Vec<Unread>, StoreError> {
        use notification_reader::Column as Reader;
        let readers = notification_reader::Entity::find()
            .order_by_asc(Reader::Name)
            .limit(READERS)
            .all(self.reader())
            .await
            .map_err(StoreError::db("list the readers of notifications"))?;
        if readers.is_empty() {
            return Ok(Vec::new());
        }
        let newest = self.notification_range().await?.map_or(0, |(_, newest)| newest);
        let mut unread = Vec::with_capacity(readers.len());
        for reader in readers {
            let oldest: Option<i64> = notification::Entity::find()
                .select_only()
                .column(notification::Column::At)
                .filter(notification::Column::Id.gt(reader.passed))
                .order_by_asc(notification::Column::Id)
                .limit(1)
                .into_tuple()
                .one(self.reader())
                .await
                .map_err(StoreError::db("look for the oldest unread notification"))?;
            // Without one there is nothing between what was passed on and the newest.
            let behind = Ord::max(newest.saturating_sub(reader.passed), 0);
            let backlog = match oldest {
                Some(at) => Backlog { count: behind, oldest: Some(time(at)) },
                None => Backlog::default(),
            };
            unread.push(Unread { reader: reader.name, backlog });
        }
        Ok(unread)
    }

    /// What each host carries; hosts without servers and operations are not in it.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn host_loads(&self) -> Result<BTreeMap<HostName, HostLoad>, StoreError> {
        use instance::Column as Server;
        use operation::Column as Op;
        let mut loads: BTreeMap<HostName, HostLoad> = BTreeMap::new();
        // First: what has ended when they are read has its server's new state when that is.
        let operations: Vec<(String, i64)> = operation::Entity::find()
            .select_only()
            .column(Op::Host)
            .column_as(Expr::col(Op::Id).count(), "count")
            .filter(Op::FinishedAt.is_null())
            .filter(Op::Host.is_not_null())
            .group_by(Op::Host)
            .into_tuple()
            .all(self.reader())
            .await
            .map_err(StoreError::db("count the operations of the hosts"))?;
        for (host, count) in operations {
            loads.entry(host.into()).or_default().operations = count;
        }
        let servers = instance::Entity::find()
            .select_only()
            .column(Server::Host)
            .column_as(Server::VmState, "state")
            .column(Server::SuspendedForHost)
            .column(Server::PowerState)
            .column_as(Server::Id.count(), "count")
            .filter(Server::DeletedAt.is_null())
            .filter(Server::Host.is_not_null())
            .group_by(Server::Host)
            .group_by(Server::VmState)
            .group_by(Server::SuspendedForHost)
            .group_by(Server::PowerState)
            .into_model::<OnHost>()
            .all(self.reader())
            .await
            .map_err(StoreError::db("count the servers of the hosts"))?;
        for OnHost { host, state, suspended_for_host, power_state, count } in servers {
            let Some(state) = VmState::parse(&state) else { continue };
            let load = loads.entry(host.into()).or_default();
            *load.servers.entry(state.as_str()).or_default() += count;
            if PowerState::from_number(power_state).has_process() {
                load.guests += count;
            }
            if suspended_for_host {
                load.suspended_for_host += count;
            }
        }
        Ok(loads)
    }
}
