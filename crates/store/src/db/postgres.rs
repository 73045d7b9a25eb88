//! Connections to a PostgreSQL database.
//!
//! Transactions run at PostgreSQL's default, READ COMMITTED: each statement sees what was committed
//! before it. What has to stay as it was read is locked first (`locks`). No statement waits without
//! limit, neither for a lock nor for the server, and a connection that was idle is tried before it
//! is used, so that a restart of the server is noticed.

use std::time::Duration;

use sea_orm::{ConnectOptions, ConnectionTrait as _, Database, DatabaseConnection, DbErr};

use super::{Connections, Location, Statements, set_up};
use crate::{StoreError, locks};

/// How long a caller waits for a connection, which is made anew while the server is away.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a statement may take, the time for a lock included.
const STATEMENT_TIMEOUT: &str = "30s";
/// How long a statement may wait for one lock.
const LOCK_TIMEOUT: &str = "10s";
/// How long a transaction may stand still, so that one whose process is cut off frees its locks.
const IDLE_TIMEOUT: &str = "60s";
/// A connection that was idle for so long is tried before it is used.
const IDLE: Duration = Duration::from_secs(1);
const READERS: u32 = 8;
const WRITERS: u32 = 8;

/// Whether a transaction is on disk when its commit returns.
#[derive(Clone, Copy)]
enum Commits {
    Durable,
    Lazy,
}

/// Connects, and brings the schema up to date unless another process does so at this moment, which is
/// waited for.
pub(super) async fn open(url: &str) -> Result<Connections, StoreError> {
    let location = Location::Postgres(url.to_owned());
    let cannot = |source| StoreError::Connect { location: location.to_string(), source };
    let alone = connect(url, Commits::Durable, 1).await.map_err(cannot)?;
    // Held by the session, of which there is one; it ends with the pool, whatever happens.
    alone
        .execute_unprepared(&locks::schema())
        .await
        .map_err(StoreError::db("wait for the schema"))?;
    let done = set_up(&alone).await;
    alone.close().await.map_err(StoreError::db("let others at the schema"))?;
    done?;
    let durable = connect(url, Commits::Durable, WRITERS).await.map_err(cannot)?;
    let lazy = connect(url, Commits::Lazy, WRITERS).await.map_err(cannot)?;
    let readers = connect(url, Commits::Lazy, READERS).await.map_err(cannot)?;
    let [durable, lazy] = [durable, lazy].map(|writers| Statements::on_any_of(writers, WRITERS));
    Ok(Connections { readers: Statements::on_any_of(readers, READERS), durable, lazy })
}

async fn connect(
    url: &str,
    commits: Commits,
    connections: u32,
) -> Result<DatabaseConnection, DbErr> {
    let synchronous = match commits {
        Commits::Durable => "on",
        Commits::Lazy => "off",
    };
    let mut options = ConnectOptions::new(url);
    options
        .max_connections(connections)
        .min_connections(1)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire_if_idle_for(IDLE)
        .sqlx_logging(false)
        .map_sqlx_postgres_opts(move |postgres| {
            postgres.application_name("reprieve").statement_cache_capacity(200).options([
                ("statement_timeout", STATEMENT_TIMEOUT),
                ("lock_timeout", LOCK_TIMEOUT),
                ("idle_in_transaction_session_timeout", IDLE_TIMEOUT),
                ("synchronous_commit", synchronous),
            ])
        });
    Database::connect(options).await
}
