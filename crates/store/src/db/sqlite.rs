//! Connections to a SQLite file.

use std::path::Path;
use std::time::Duration;

use sea_orm::{ConnectOptions, ConnectionTrait as _, Database, DatabaseConnection, DbErr};

use super::{Connections, Statements, set_up};
use crate::StoreError;

/// How long a statement waits for another process that holds the database.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a caller waits for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(30);
/// Readers at most. They only keep CPUs busy, so there are no more of them than CPUs.
const MAX_READERS: usize = 4;

/// Lets the write-ahead log have its full length before it is needed: a commit that overwrites
/// allocated blocks is durable several times faster than one that appends (docs/findings.md).
const GROW_JOURNAL: &str = "
CREATE TABLE IF NOT EXISTS filler (data BLOB);
INSERT INTO filler VALUES (zeroblob(1200000));
DELETE FROM filler;
PRAGMA wal_checkpoint(RESTART);
";

/// Opens the file, creates it if needed and brings its schema up to date.
pub(super) async fn open(path: &Path) -> Result<Connections, StoreError> {
    let cannot = |source| StoreError::Open { path: path.display().to_string(), source };
    keep_private(path).map_err(|error| cannot(DbErr::Custom(error.to_string())))?;
    let durable = connect(path, "FULL", 1).await.map_err(cannot)?;
    set_up(&durable).await?;
    durable
        .execute_unprepared(GROW_JOURNAL)
        .await
        .map_err(StoreError::db("make room in the journal"))?;
    let lazy = connect(path, "NORMAL", 1).await.map_err(cannot)?;
    let cpus = std::thread::available_parallelism().map_or(2, usize::from);
    let readers = u32::try_from(cpus.clamp(2, MAX_READERS)).unwrap_or(2);
    let readers = connect(path, "NORMAL", readers).await.map_err(cannot)?;
    let [readers, durable, lazy] = [readers, durable, lazy].map(Statements::on);
    Ok(Connections { readers, durable, lazy })
}

/// Makes the file, if there is none, so that only its owner can read it: it holds password hashes and
/// what tenants told their servers. SQLite gives its side files the same mode.
fn keep_private(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = std::fs::OpenOptions::new();
    options.create(true).append(true).mode(0o600).open(path).map(drop)
}

async fn connect(
    path: &Path,
    synchronous: &'static str,
    connections: u32,
) -> Result<DatabaseConnection, DbErr> {
    let file = path.to_owned();
    let mut options = ConnectOptions::new("sqlite://reprieve.db");
    options
        .max_connections(connections)
        .min_connections(1)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .idle_timeout(None::<Duration>)
        .max_lifetime(None::<Duration>)
        .test_before_acquire(false)
        .sqlx_logging(false)
        .map_sqlx_sqlite_opts(move |sqlite| {
            sqlite
                .filename(&file)
                .create_if_missing(true)
                .busy_timeout(BUSY_TIMEOUT)
                .foreign_keys(true)
                .pragma("journal_mode", "WAL")
                .pragma("synchronous", synchronous)
                .pragma("wal_autocheckpoint", "256")
                // KiB of pages per connection; what is not here is in the system's cache.
                .pragma("cache_size", "-512")
                .statement_cache_capacity(200)
        });
    Database::connect(options).await
}
