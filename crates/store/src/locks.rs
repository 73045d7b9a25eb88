//! Locks of transactions that run beside each other, where the database lets them.
//!
//! SQLite has one writer at a time, so everything here does nothing there. On PostgreSQL and MariaDB a
//! transaction locks what it decides about before it reads it:
//!
//! | what changes | is locked |
//! |---|---|
//! | a server, its operations and their outbox rows | the server's row |
//! | a host's row | the host's row |
//! | what counts for the quotas of a project; members of a server group | a name |
//! | what servers claim of hosts (more of it; giving back needs none) | all claims |
//! | numbers | the counter's row, by [`crate::db::next_number`] |
//! | everything else | the turn of [`crate::Store::begin`] |
//!
//! To exclude deadlocks, locks are taken in this order: the turn, hosts by name, servers by id, names
//! (of projects, of groups), claims, counters. Where the database finds one all the same, it ends one
//! of the transactions, which is [`StoreError::is_transient`]. Every lock ends with its transaction,
//! after the transaction has become visible.
//!
//! What is no row is an advisory lock on PostgreSQL. Those of MariaDB are of sessions, not of
//! transactions, so there it is a row of the table `locks`, which has nothing but numbers. MariaDB also
//! locks rows in the order in which it comes across them and whether or not they are meant, so what is
//! to be locked is looked for first, and then locked by its key.

use std::collections::BTreeSet;

use reprieve_core::{HostName, InstanceId, ProjectId, ServerGroupId};
use sea_orm::sea_query::extension::mysql::{IndexHintScope, MySqlSelectStatementExt as _};
use sea_orm::sea_query::{LockBehavior, LockType, Query, SelectStatement};
use sea_orm::{
    ColumnTrait as _, Condition, ConnectionTrait as _, DbErr, EntityTrait, QueryFilter as _,
    QueryOrder as _, QuerySelect, QueryTrait as _, Select, Value,
};

use crate::db::{Dialect, statement};
use crate::entity::{host, instance, operation};
use crate::{StoreError, WriteTx};

/// Namespaces of advisory locks: numbers that no other program on the database should use.
const SCHEMA: i64 = 0x7265_7072_0000_0001;
const TURN: i64 = 0x7265_7072_0000_0002;
const CLAIMS: i64 = 0x7265_7072_0000_0003;
const QUOTA: i32 = 0x7265_7001;
const GROUP: i32 = 0x7265_7002;

/// Rows of MariaDB's table `locks`; of the last two there are [`SLOTS`] each.
const TURN_ROW: i64 = 0;
const CLAIMS_ROW: i64 = 1;
const QUOTA_ROWS: i64 = 2;
const GROUP_ROWS: i64 = QUOTA_ROWS + SLOTS;
const SLOTS: i64 = 128;

/// Most rows that are locked with one statement, far below where MariaDB would make a join of it.
const AT_ONCE: usize = 500;

/// The statement that waits until no other process brings the schema up to date. The lock is the
/// session's.
pub(crate) fn schema() -> String {
    // The other process may take longer than a statement is given otherwise.
    format!(
        "SET lock_timeout = '5min'; SET statement_timeout = '5min'; \
             SELECT pg_advisory_lock({SCHEMA}); \
             RESET lock_timeout; RESET statement_timeout"
    )
}

/// The same on MariaDB, where such a lock is the whole server's. The answer is 1 when it was had.
pub(crate) const SCHEMA_ON_MARIADB: &str =
    "SELECT CAST(GET_LOCK(CONCAT('reprieve.', MD5(DATABASE())), 300) AS CHAR)";

/// Lets a session of MariaDB wait for that lock, and change the schema of long tables.
pub(crate) const PATIENT_ON_MARIADB: &str =
    "SET SESSION max_statement_time = 600, lock_wait_timeout = 60";

/// What is locked by a name of its own.
enum Name<'a> {
    Turn,
    Claims,
    Quota(&'a str),
    Group(&'a str),
}

impl Name<'_> {
    fn on_postgres(&self) -> (&'static str, Vec<Value>) {
        let one = "SELECT pg_advisory_xact_lock($1)";
        // Two names may share a lock, which costs a wait.
        let hashed = "SELECT pg_advisory_xact_lock($1, hashtext($2))";
        match *self {
            Self::Turn => (one, vec![TURN.into()]),
            Self::Claims => (one, vec![CLAIMS.into()]),
            Self::Quota(name) => (hashed, vec![QUOTA.into(), name.into()]),
            Self::Group(name) => (hashed, vec![GROUP.into(), name.into()]),
        }
    }

    fn on_mariadb(&self) -> (&'static str, Vec<Value>) {
        let one = "SELECT number FROM locks WHERE number = $1 FOR UPDATE";
        let hashed = "SELECT number FROM locks WHERE number = $1 + CRC32($2) % $3 FOR UPDATE";
        match *self {
            Self::Turn => (one, vec![TURN_ROW.into()]),
            Self::Claims => (one, vec![CLAIMS_ROW.into()]),
            Self::Quota(name) => (hashed, vec![QUOTA_ROWS.into(), name.into(), SLOTS.into()]),
            Self::Group(name) => (hashed, vec![GROUP_ROWS.into(), name.into(), SLOTS.into()]),
        }
    }
}

/// Waits for the turn to write.
pub(crate) async fn take_turn(tx: &WriteTx) -> Result<(), StoreError> {
    named(tx, Name::Turn).await
}

/// What counts for the quotas of a project is changed by nobody else.
pub(crate) async fn quota(tx: &WriteTx, project: &ProjectId) -> Result<(), StoreError> {
    named(tx, Name::Quota(project.as_str())).await
}

/// Nobody else joins the group.
pub(crate) async fn group(tx: &WriteTx, group: ServerGroupId) -> Result<(), StoreError> {
    named(tx, Name::Group(&group.to_string())).await
}

/// Nobody else claims anything of a host. One lock for all hosts: who makes servers waits for others
/// that do so anyway, for their numbers.
pub(crate) async fn claims(tx: &WriteTx) -> Result<(), StoreError> {
    named(tx, Name::Claims).await
}

async fn named(tx: &WriteTx, name: Name<'_>) -> Result<(), StoreError> {
    let (sql, values) = match Dialect::of(&**tx) {
        Dialect::Sqlite => return Ok(()),
        Dialect::Postgres => name.on_postgres(),
        Dialect::MariaDb => name.on_mariadb(),
    };
    let row = tx.query_one_raw(statement(&**tx, sql, values)).await;
    match row.map_err(StoreError::db("take a lock"))? {
        Some(_) => Ok(()),
        None => Err(StoreError::NotFound { what: "lock", id: sql.to_owned() }),
    }
}

/// Locks a server. One that does not exist needs none.
pub(crate) async fn server(tx: &WriteTx, id: InstanceId) -> Result<(), StoreError> {
    let id = [id.to_string()];
    let locked = by_id(tx, &id, None).await;
    locked.map(drop).map_err(StoreError::db("lock a server"))
}

/// Locks a host. One that does not exist needs none.
pub(crate) async fn host(tx: &WriteTx, name: &HostName) -> Result<(), StoreError> {
    hosts(tx, [name.as_str()]).await
}

/// Rows that are looked for by their primary keys stay as they are read until the transaction ends.
/// They are locked in the order in which they are read.
pub(crate) fn held<E: EntityTrait>(tx: &WriteTx, mut select: Select<E>) -> Select<E> {
    match Dialect::of(&**tx) {
        Dialect::Sqlite => {}
        dialect @ (Dialect::Postgres | Dialect::MariaDb) => {
            lock(QuerySelect::query(&mut select), dialect, None);
        }
    }
    select
}

/// Locks the servers on which a host has unfinished operations.
pub(crate) async fn busy_servers(tx: &WriteTx, host: &HostName) -> Result<(), StoreError> {
    let theirs = Query::select()
        .column(operation::Column::InstanceId)
        .from(operation::Entity)
        .and_where(operation::Column::ActiveKey.is_not_null())
        .and_where(operation::Column::Host.eq(host.as_str()))
        .to_owned();
    let busy = Condition::all().add(instance::Column::Id.in_subquery(theirs));
    servers(tx, busy).await.map_err(StoreError::db("lock the servers of a host"))
}

/// Locks all servers of a host.
pub(crate) async fn servers_on(tx: &WriteTx, host: &HostName) -> Result<(), StoreError> {
    let its = instance::Column::Host.eq(host.as_str());
    let all = Condition::all().add(its).add(instance::Column::DeletedAt.is_null());
    servers(tx, all).await.map_err(StoreError::db("lock all servers of a host"))
}

/// Locks the servers of these operations (an operation, its server) as far as nobody else has, and
/// says for which operations it did; what was read of them before is to be read again. Whoever has the
/// others is just changing what the caller looks for, or does the same as the caller. `None` where no
/// locks are needed.
pub(crate) async fn free_operations<'a>(
    tx: &WriteTx,
    operations: impl Iterator<Item = (&'a str, &'a str)> + Clone + Send,
) -> Result<Option<Vec<String>>, StoreError> {
    if Dialect::of(&**tx) == Dialect::Sqlite {
        return Ok(None);
    }
    let ids: BTreeSet<&str> = operations.clone().map(|(_, server)| server).collect();
    let ids: Vec<String> = ids.into_iter().map(ToOwned::to_owned).collect();
    let free = by_id(tx, &ids, Some(LockBehavior::SkipLocked)).await;
    let free = free.map_err(StoreError::db("lock servers that are free"))?;
    let free: BTreeSet<&str> = free.iter().map(String::as_str).collect();
    let locked = operations.filter(|(_, server)| free.contains(server));
    Ok(Some(locked.map(|(operation, _)| operation.to_owned()).collect()))
}

async fn hosts(tx: &WriteTx, names: impl IntoIterator<Item = &str>) -> Result<(), StoreError> {
    let dialect = Dialect::of(&**tx);
    if dialect == Dialect::Sqlite {
        return Ok(());
    }
    let select = host::Entity::find()
        .select_only()
        .column(host::Column::Name)
        .filter(host::Column::Name.is_in(names))
        .order_by_asc(host::Column::Name)
        .into_query();
    let select = locking(select, dialect, None);
    tx.query_all(&select).await.map(drop).map_err(StoreError::db("lock hosts"))
}

/// Locks servers in the order of their ids.
async fn servers(tx: &WriteTx, which: Condition) -> Result<(), DbErr> {
    let dialect = Dialect::of(&**tx);
    let select = instance::Entity::find()
        .select_only()
        .column(instance::Column::Id)
        .filter(which)
        .order_by_asc(instance::Column::Id);
    match dialect {
        Dialect::Sqlite => Ok(()),
        Dialect::Postgres => {
            let select = locking(select.into_query(), dialect, None);
            tx.query_all(&select).await.map(drop)
        }
        Dialect::MariaDb => {
            let ids: Vec<String> = select.into_tuple().all(&**tx).await?;
            by_id(tx, &ids, None).await.map(drop)
        }
    }
}

/// Locks servers by their ids, which are in order, and says which.
async fn by_id(
    tx: &WriteTx,
    ids: &[String],
    behavior: Option<LockBehavior>,
) -> Result<Vec<String>, DbErr> {
    let dialect = Dialect::of(&**tx);
    let mut locked = Vec::new();
    if dialect == Dialect::Sqlite {
        return Ok(locked);
    }
    for some in ids.chunks(AT_ONCE) {
        let select = instance::Entity::find()
            .select_only()
            .column(instance::Column::Id)
            .filter(instance::Column::Id.is_in(some))
            .order_by_asc(instance::Column::Id)
            .into_query();
        let select = locking(select, dialect, behavior);
        for row in tx.query_all(&select).await? {
            locked.push(row.try_get_by_index(0)?);
        }
    }
    Ok(locked)
}

fn locking(
    mut select: SelectStatement,
    dialect: Dialect,
    behavior: Option<LockBehavior>,
) -> SelectStatement {
    lock(&mut select, dialect, behavior);
    select
}

/// Lets a statement lock what it finds, which it does by the primary key. Where the database can, not
/// so strongly that rows which refer to it could not be written meanwhile.
fn lock(select: &mut SelectStatement, dialect: Dialect, behavior: Option<LockBehavior>) {
    let strength = match dialect {
        Dialect::Sqlite | Dialect::Postgres => LockType::NoKeyUpdate,
        Dialect::MariaDb => {
            // By any other way it would lock rows that it only looks at, and in another order.
            select.force_index("PRIMARY", IndexHintScope::All);
            LockType::Update
        }
    };
    match behavior {
        Some(behavior) => select.lock_with_behavior(strength, behavior),
        None => select.lock(strength),
    };
}
