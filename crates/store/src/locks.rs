//! Locks of transactions that run beside each other, where the database lets them.
//!
//! SQLite has one writer at a time, so everything here does nothing there. On PostgreSQL a
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
//! To exclude deadlocks, locks are taken in this order: the turn, hosts by name, servers by id,
//! names (of projects, of groups), claims, counters. Where PostgreSQL finds one all the same, it ends one of the transactions, which
//! is [`StoreError::is_transient`]. Every lock ends with its transaction, after the transaction has
//! become visible.

use reprieve_core::{HostName, InstanceId, ProjectId, ServerGroupId};
use sea_orm::sea_query::{LockBehavior, LockType, Query, SelectStatement};
use sea_orm::{
    ColumnTrait as _, Condition, ConnectionTrait as _, DbBackend, EntityTrait, QueryFilter as _,
    QueryOrder as _, QuerySelect, QueryTrait as _, Select, Statement,
};

use crate::entity::{host, instance, operation};
use crate::{StoreError, WriteTx};

/// Namespaces of advisory locks: numbers that no other program on the database should use.
const SCHEMA: i64 = 0x7265_7072_0000_0001;
const TURN: i64 = 0x7265_7072_0000_0002;
const CLAIMS: i64 = 0x7265_7072_0000_0003;
const QUOTA: i32 = 0x7265_7001;
const GROUP: i32 = 0x7265_7002;

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

fn needed(tx: &WriteTx) -> bool {
    tx.get_database_backend() == DbBackend::Postgres
}

/// Waits for the turn to write.
pub(crate) async fn take_turn(tx: &WriteTx) -> Result<(), StoreError> {
    advisory(tx, "SELECT pg_advisory_xact_lock($1)", [TURN.into()]).await
}

/// What counts for the quotas of a project is changed by nobody else.
pub(crate) async fn quota(tx: &WriteTx, project: &ProjectId) -> Result<(), StoreError> {
    named(tx, QUOTA, project.as_str()).await
}

/// Nobody else joins the group.
pub(crate) async fn group(tx: &WriteTx, group: ServerGroupId) -> Result<(), StoreError> {
    named(tx, GROUP, &group.to_string()).await
}

/// Nobody else claims anything of a host. One lock for all hosts: who makes servers waits for others
/// that do so anyway, for their numbers.
pub(crate) async fn claims(tx: &WriteTx) -> Result<(), StoreError> {
    advisory(tx, "SELECT pg_advisory_xact_lock($1)", [CLAIMS.into()]).await
}

/// Two names may share a lock, which costs a wait.
async fn named(tx: &WriteTx, space: i32, name: &str) -> Result<(), StoreError> {
    let values = [space.into(), name.into()];
    advisory(tx, "SELECT pg_advisory_xact_lock($1, hashtext($2))", values).await
}

async fn advisory<const N: usize>(
    tx: &WriteTx,
    sql: &str,
    values: [sea_orm::Value; N],
) -> Result<(), StoreError> {
    if needed(tx) {
        let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, values);
        tx.query_one_raw(statement).await.map_err(StoreError::db("take a lock"))?;
    }
    Ok(())
}

/// Locks a server. One that does not exist needs none.
pub(crate) async fn server(tx: &WriteTx, id: InstanceId) -> Result<(), StoreError> {
    if !needed(tx) {
        return Ok(());
    }
    let select = servers(Condition::all().add(instance::Column::Id.eq(id.to_string())));
    tx.query_all(&select).await.map_err(StoreError::db("lock a server"))?;
    Ok(())
}

/// Locks a host. One that does not exist needs none.
pub(crate) async fn host(tx: &WriteTx, name: &HostName) -> Result<(), StoreError> {
    hosts(tx, [name.as_str()]).await
}

/// The rows that are read stay as they are until the transaction ends. They are locked in the order in
/// which they are read.
pub(crate) fn held<E: EntityTrait>(tx: &WriteTx, select: Select<E>) -> Select<E> {
    if needed(tx) { select.lock(LockType::NoKeyUpdate) } else { select }
}

/// Locks the servers on which a host has unfinished operations.
pub(crate) async fn busy_servers(tx: &WriteTx, host: &HostName) -> Result<(), StoreError> {
    if !needed(tx) {
        return Ok(());
    }
    let theirs = Query::select()
        .column(operation::Column::InstanceId)
        .from(operation::Entity)
        .and_where(operation::Column::ActiveKey.is_not_null())
        .and_where(operation::Column::Host.eq(host.as_str()))
        .to_owned();
    let select = servers(Condition::all().add(instance::Column::Id.in_subquery(theirs)));
    tx.query_all(&select).await.map_err(StoreError::db("lock the servers of a host"))?;
    Ok(())
}

/// Locks all servers of a host.
pub(crate) async fn servers_on(tx: &WriteTx, host: &HostName) -> Result<(), StoreError> {
    if !needed(tx) {
        return Ok(());
    }
    let its = instance::Column::Host.eq(host.as_str());
    let select = servers(Condition::all().add(its).add(instance::Column::DeletedAt.is_null()));
    tx.query_all(&select).await.map_err(StoreError::db("lock all servers of a host"))?;
    Ok(())
}

/// Locks the servers of these operations as far as nobody else has, and says for which operations it
/// did; what was read of them before is to be read again. Whoever has the others is just changing
/// what the caller looks for, or does the same as the caller. `None` where no locks are needed.
pub(crate) async fn free_operations(
    tx: &WriteTx,
    operations: impl IntoIterator<Item = &str> + Send,
) -> Result<Option<Vec<String>>, StoreError> {
    if !needed(tx) {
        return Ok(None);
    }
    let servers = operation::Entity::belongs_to(instance::Entity)
        .from(operation::Column::InstanceId)
        .to(instance::Column::Id)
        .into();
    let mut select = operation::Entity::find()
        .select_only()
        .column(operation::Column::Id)
        .join(sea_orm::sea_query::JoinType::InnerJoin, servers)
        .filter(operation::Column::Id.is_in(operations))
        .order_by_asc(instance::Column::Id);
    let skip = LockBehavior::SkipLocked;
    QuerySelect::query(&mut select).lock_with_tables_behavior(
        LockType::NoKeyUpdate,
        [instance::Entity],
        skip,
    );
    let free = select.into_tuple().all(&**tx).await;
    free.map(Some).map_err(StoreError::db("lock servers that are free"))
}

async fn hosts(tx: &WriteTx, names: impl IntoIterator<Item = &str>) -> Result<(), StoreError> {
    if !needed(tx) {
        return Ok(());
    }
    let select = host::Entity::find()
        .select_only()
        .column(host::Column::Name)
        .filter(host::Column::Name.is_in(names))
        .order_by_asc(host::Column::Name)
        .lock(LockType::NoKeyUpdate)
        .into_query();
    tx.query_all(&select).await.map_err(StoreError::db("lock hosts"))?;
    Ok(())
}

/// Locks servers in the order of their ids. Not so strongly that rows which refer to them could not
/// be written meanwhile.
fn servers(which: Condition) -> SelectStatement {
    instance::Entity::find()
        .select_only()
        .column(instance::Column::Id)
        .filter(which)
        .order_by_asc(instance::Column::Id)
        .lock(LockType::NoKeyUpdate)
        .into_query()
}
