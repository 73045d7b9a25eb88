//! Compute hosts: registration, sign of life, what administrators say about them.

use reprieve_core::message::Rebooted;
use reprieve_core::{HostName, InstanceId};
use sea_orm::sea_query::{Expr, ExprTrait as _};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, EntityTrait as _, FromQueryResult, QueryFilter as _,
    QueryOrder as _, QuerySelect as _,
};

use crate::convert::host_record;
use crate::db::{Dialect, next_number};
use crate::entity::{host, instance};
use crate::operations::outbox;
use crate::record::HostRecord;
use crate::{Store, StoreError, WriteTx, aggregates, instances, locks};

/// What a host says when it greets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Greeting<'a> {
    /// Id of its start.
    pub boot_id: &'a str,
    /// The newest epoch that it knows of; 0 for none. Its next one is greater, even if the tables are
    /// older than that.
    pub after: i64,
    /// Its machine was restarted.
    pub rebooted: Option<&'a Rebooted>,
}

/// What a registered host has to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// Its epoch.
    pub epoch: i64,
    /// Servers that should be there.
    pub instances: Vec<InstanceId>,
    /// Whether this start was new; a repeated greeting is answered the same again.
    pub first: bool,
    /// Whether it told of a restart of its machine that was not known before.
    pub rebooted: bool,
}

/// What the servers of a project take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromQueryResult)]
pub struct Usage {
    /// Servers.
    pub instances: i64,
    /// Virtual CPUs.
    pub vcpus: i64,
    /// Memory in MiB.
    pub memory_mib: i64,
    /// Root disks in GiB.
    pub root_gib: i64,
}

/// What an administrator changes about a host; `None` leaves as is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostUpdate {
    /// Whether new servers may be placed on it.
    pub enabled: Option<bool>,
    /// Why not; `Some(None)` removes it.
    pub disabled_reason: Option<Option<String>>,
    /// Whether it is down, whatever it says itself.
    pub forced_down: Option<bool>,
}

/// What became of the wish to forget a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostRemoval {
    /// It is gone, from all aggregates too.
    Removed,
    /// It has servers; nothing was changed.
    Occupied,
}

impl Store {
    /// Registers a start of a host: the only thing that raises its epoch. Whatever it had not
    /// finished is handed to it again.
    ///
    /// # Errors
    /// [`StoreError::Database`]; nothing was changed then.
    pub async fn register_host(
        &self,
        name: &HostName,
        boot_id: &str,
    ) -> Result<Registration, StoreError> {
        self.greeted(name, &Greeting { boot_id, after: 0, rebooted: None }).await
    }

    /// Like [`Self::register_host`], with everything that a host says in its greeting. What becomes of
    /// its servers after a restart of its machine is decided for each when its guest is first seen after
    /// that; each restart counts once, however often it is told.
    ///
    /// # Errors
    /// [`StoreError::Database`]; nothing was changed then.
    pub async fn greeted(
        &self,
        name: &HostName,
        greeting: &Greeting<'_>,
    ) -> Result<Registration, StoreError> {
        let Greeting { boot_id, after, rebooted } = *greeting;
        let now = self.now().micros();
        let tx = self.begin().await?;
        locks::host(&tx, name).await?;
        locks::busy_servers(&tx, name).await?;
        let known = find(&*tx, name).await?;
        let newest = Ord::max(known.as_ref().map_or(0, |row| row.epoch), after);
        let (epoch, first) = match &known {
            Some(row) if row.boot_id == boot_id && row.epoch == newest => (newest, false),
            Some(_) | None => (newest.saturating_add(1), true),
        };
        let number = match &known {
            Some(row) => row.number,
            None => next_number(&*tx, "host", 1).await?,
        };
        let fresh = host::ActiveModel {
            name: Set(name.to_string()),
            epoch: Set(epoch),
            boot_id: Set(boot_id.to_owned()),
            last_seq: Set(0),
            info: Set(None),
            problem: Set(None),
            enabled: Set(true),
            created_at: Set(now),
            last_seen: Set(now),
            number: Set(number),
            disabled_reason: Set(None),
            forced_down: Set(false),
            changed_at: Set(0),
            machine_boot: Set(None),
        };
        if first {
            let mut keep = sea_orm::sea_query::OnConflict::column(host::Column::Name);
            keep.update_columns([
                host::Column::Epoch,
                host::Column::BootId,
                host::Column::LastSeq,
                host::Column::LastSeen,
            ]);
            host::Entity::insert(fresh)
                .on_conflict(keep)
                .exec_without_returning(&*tx)
                .await
                .map_err(StoreError::db("register a host"))?;
            outbox::rearm_host(&tx, name, now).await?;
        }
        let instances = instances_on(&*tx, name).await?;
        let known_boot = known.and_then(|row| row.machine_boot);
        let news = rebooted.filter(|told| known_boot.as_ref() != Some(&told.machine_boot));
        if let Some(news) = news {
            await_guests(&tx, name, news).await?;
        }
        tx.commit().await?;
        Ok(Registration { epoch, instances, first, rebooted: news.is_some() })
    }

    /// All hosts, by name.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Corrupt`].
    pub async fn hosts(&self) -> Result<Vec<HostRecord>, StoreError> {
        all(self.reader()).await
    }

    /// One host.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Corrupt`].
    pub async fn host(&self, name: &HostName) -> Result<Option<HostRecord>, StoreError> {
        find(self.reader(), name).await?.map(host_record).transpose()
    }

    /// Changes what an administrator says about a host. From then on no server is placed that the
    /// change forbids: whoever chooses a host at this moment is waited for.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn update_host(
        &self,
        name: &HostName,
        change: HostUpdate,
    ) -> Result<HostRecord, StoreError> {
        let tx = self.begin().await?;
        locks::host(&tx, name).await?;
        locks::claims(&tx).await?;
        let mut update = host::Entity::update_many()
            .filter(host::Column::Name.eq(name.as_str()))
            .col_expr(host::Column::ChangedAt, Expr::value(self.now().micros()));
        if let Some(enabled) = change.enabled {
            update = update.col_expr(host::Column::Enabled, Expr::value(enabled));
        }
        if let Some(reason) = change.disabled_reason {
            update = update.col_expr(host::Column::DisabledReason, Expr::value(reason));
        }
        if let Some(forced_down) = change.forced_down {
            update = update.col_expr(host::Column::ForcedDown, Expr::value(forced_down));
        }
        update.exec(&*tx).await.map_err(StoreError::db("change a host"))?;
        let row = find(&*tx, name).await?.ok_or_else(|| missing(name))?;
        tx.commit().await?;
        host_record(row)
    }

    /// Whether a host has servers, in the tables or not itself. A host that is removed has none.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn has_servers(&self, name: &HostName) -> Result<bool, StoreError> {
        Ok(!instances_on(self.reader(), name).await?.is_empty())
    }

    /// Forgets a host that has no servers. If it still lives, what it reports is ignored until it
    /// is started again, which registers it as a new one.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn remove_host(&self, name: &HostName) -> Result<HostRemoval, StoreError> {
        let tx = self.begin().await?;
        locks::host(&tx, name).await?;
        // Nobody is given this host meanwhile.
        locks::claims(&tx).await?;
        find(&*tx, name).await?.ok_or_else(|| missing(name))?;
        if !instances_on(&*tx, name).await?.is_empty() {
            return Ok(HostRemoval::Occupied);
        }
        aggregates::forget_host(&tx, name, self.now()).await?;
        host::Entity::delete_by_id(name.to_string())
            .exec(&*tx)
            .await
            .map_err(StoreError::db("remove a host"))?;
        tx.commit().await?;
        Ok(HostRemoval::Removed)
    }

    /// What the servers of a project take.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn usage_of_project(
        &self,
        project: &reprieve_core::ProjectId,
    ) -> Result<Usage, StoreError> {
        let usage = sums(instance::Entity::find().select_only(), Dialect::of(self.reader()))
            .filter(instance::Column::DeletedAt.is_null())
            .filter(instance::Column::ProjectId.eq(project.as_str()))
            .into_model::<Usage>()
            .one(self.reader())
            .await
            .map_err(StoreError::db("add up what a project uses"))?;
        Ok(usage.unwrap_or_default())
    }
}

/// Counts and sums without the numeric type that some databases give to a sum.
pub(crate) fn sums(
    select: sea_orm::Select<instance::Entity>,
    dialect: Dialect,
) -> sea_orm::Select<instance::Entity> {
    let number = dialect.whole_number();
    let sum = |column: instance::Column| Expr::col(column).sum().if_null(0).cast_as(number);
    select
        .column_as(instance::Column::Id.count(), "instances")
        .column_as(sum(instance::Column::Vcpus), "vcpus")
        .column_as(sum(instance::Column::MemoryMib), "memory_mib")
        .column_as(sum(instance::Column::RootGib), "root_gib")
}

/// Notes a restart of a host, and that all of its servers are to be looked at.
async fn await_guests(tx: &WriteTx, name: &HostName, news: &Rebooted) -> Result<(), StoreError> {
    host::Entity::update_many()
        .filter(host::Column::Name.eq(name.as_str()))
        .col_expr(host::Column::MachineBoot, Expr::value(news.machine_boot.as_str()))
        .exec(&**tx)
        .await
        .map_err(StoreError::db("note a restart of a host"))?;
    locks::servers_on(tx, name).await?;
    let waiting = instances::revised()
        .filter(instance::Column::Host.eq(name.as_str()))
        .filter(instance::Column::DeletedAt.is_null())
        .col_expr(instance::Column::HostReboot, Expr::value(news.policy.as_str()));
    instances::execute(tx, waiting).await.map(drop)
}

fn missing(name: &HostName) -> StoreError {
    StoreError::NotFound { what: "host", id: name.to_string() }
}

/// All hosts, by name.
pub(crate) async fn all<C: sea_orm::ConnectionTrait>(
    connection: &C,
) -> Result<Vec<HostRecord>, StoreError> {
    let rows = host::Entity::find()
        .order_by_asc(host::Column::Name)
        .all(connection)
        .await
        .map_err(StoreError::db("read the hosts"))?;
    rows.into_iter().map(host_record).collect()
}

pub(crate) async fn find<C: sea_orm::ConnectionTrait>(
    connection: &C,
    name: &HostName,
) -> Result<Option<host::Model>, StoreError> {
    host::Entity::find_by_id(name.to_string())
        .one(connection)
        .await
        .map_err(StoreError::db("read a host"))
}

pub(crate) async fn instances_on<C: sea_orm::ConnectionTrait>(
    connection: &C,
    name: &HostName,
) -> Result<Vec<InstanceId>, StoreError> {
    let ids: Vec<String> = instance::Entity::find()
        .select_only()
        .column(instance::Column::Id)
        .filter(instance::Column::Host.eq(name.as_str()))
        .filter(instance::Column::DeletedAt.is_null())
        .into_tuple()
        .all(connection)
        .await
        .map_err(StoreError::db("list the servers of a host"))?;
    // An id that cannot be read was not written by this crate; reading its row reports it.
    Ok(ids.iter().filter_map(|id| id.parse().ok()).collect())
}
