//! Connections and transactions.
//!
//! One reader pool and two writer connections. Writers take turns on a semaphore, so SQLite never
//! has to make one wait by polling. Both begin with `BEGIN IMMEDIATE`; they differ in durability
//! only: [`Store::begin`] commits with fsync, [`Store::begin_lazy`] without, for what a restart
//! finds out again by itself (heartbeats, progress, "handed to the bus"). So an operation costs two
//! fsyncs here: one when it is accepted, one when it has ended.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reprieve_core::Clock;
use sea_orm::sea_query::{Expr, ExprTrait as _, Query};
use sea_orm::{
    ConnectOptions, ConnectionTrait as _, Database, DatabaseConnection, DatabaseTransaction,
    SqliteTransactionMode, TransactionOptions, TransactionTrait as _,
};
use sea_orm_migration::MigratorTrait as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use uuid::Uuid;

use crate::StoreError;
use crate::instance_cache::InstanceCache;
use crate::migration::Migrator;
use crate::notifications::Notes;

/// How long a statement waits for another process that holds the database.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a caller waits for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(30);
/// Readers at most. They only keep CPUs busy, so there are no more of them than CPUs.
const MAX_READERS: usize = 4;

/// The database. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    readers: DatabaseConnection,
    durable: DatabaseConnection,
    lazy: DatabaseConnection,
    turn: Arc<Semaphore>,
    clock: Arc<dyn Clock>,
    notifying: AtomicBool,
    bell: Arc<watch::Sender<()>>,
    seen: InstanceCache,
}

/// A write transaction. Dropped without [`WriteTx::commit`] it is rolled back.
pub struct WriteTx {
    tx: DatabaseTransaction,
    pub(crate) notes: Notes,
    // Released after the transaction ended: fields drop in this order.
    _turn: OwnedSemaphorePermit,
}

impl std::ops::Deref for WriteTx {
    type Target = DatabaseTransaction;

    fn deref(&self) -> &DatabaseTransaction {
        &self.tx
    }
}

impl WriteTx {
    /// Makes the transaction's changes visible (and durable, if begun so).
    ///
    /// # Errors
    /// [`StoreError::Database`]; nothing was changed then.
    pub async fn commit(self) -> Result<(), StoreError> {
        let noted = self.notes.write(&self.tx).await?;
        self.tx.commit().await.map_err(StoreError::db("commit a transaction"))?;
        if noted {
            self.notes.ring();
        }
        Ok(())
    }
}

impl Store {
    /// Opens the database file, creates it if needed and brings its schema up to date.
    ///
    /// # Errors
    /// [`StoreError::Open`] when the file or its directory cannot be used,
    /// [`StoreError::Database`] when a migration fails.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        Self::open_with_clock(path, Arc::new(reprieve_core::SystemClock)).await
    }

    /// Like [`Self::open`], with a clock that tests hold still.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn open_with_clock(path: &Path, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        keep_private(path).map_err(|error| StoreError::Open {
            path: path.display().to_string(),
            source: sea_orm::DbErr::Custom(error.to_string()),
        })?;
        let durable = connect(path, "FULL", 1).await?;
        Migrator::up(&durable, None)
            .await
            .map_err(StoreError::db("bring the schema up to date"))?;
        seed_instance_numbers(&durable).await?;
        durable
            .execute_unprepared(GROW_JOURNAL)
            .await
            .map_err(StoreError::db("make room in the journal"))?;
        let lazy = connect(path, "NORMAL", 1).await?;
        let cpus = std::thread::available_parallelism().map_or(2, usize::from);
        let readers = u32::try_from(cpus.clamp(2, MAX_READERS)).unwrap_or(2);
        let readers = connect(path, "NORMAL", readers).await?;
        let turn = Arc::new(Semaphore::new(1));
        let (notifying, bell) = (AtomicBool::new(true), Arc::new(watch::Sender::new(())));
        let seen = InstanceCache::default();
        let inner = Inner { readers, durable, lazy, turn, clock, notifying, bell, seen };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// For reading outside of a transaction.
    #[must_use]
    pub fn reader(&self) -> &DatabaseConnection {
        &self.inner.readers
    }

    /// The current time as the store's clock has it.
    #[must_use]
    pub fn now(&self) -> reprieve_core::Timestamp {
        self.inner.clock.now()
    }

    /// Servers as readers last saw them.
    pub(crate) fn seen(&self) -> &InstanceCache {
        &self.inner.seen
    }

    /// Whether transactions note what they change.
    pub(crate) fn notifying(&self) -> &AtomicBool {
        &self.inner.notifying
    }

    /// Rung by transactions that noted something.
    pub(crate) fn bell(&self) -> &Arc<watch::Sender<()>> {
        &self.inner.bell
    }

    /// Begins a write transaction whose commit is durable (one fsync).
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn begin(&self) -> Result<WriteTx, StoreError> {
        self.begin_on(&self.inner.durable).await
    }

    /// Begins a write transaction that a power cut may lose, but not a crash of the daemon. No
    /// fsync; the next durable commit covers it too.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn begin_lazy(&self) -> Result<WriteTx, StoreError> {
        self.begin_on(&self.inner.lazy).await
    }

    async fn begin_on(&self, connection: &DatabaseConnection) -> Result<WriteTx, StoreError> {
        // The semaphore is never closed, so this cannot fail; a closed one is reported all the same.
        let turn = self.inner.turn.clone().acquire_owned().await.map_err(|error| {
            StoreError::Database {
                what: "take a turn to write",
                source: sea_orm::DbErr::Custom(error.to_string()),
            }
        })?;
        let options = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        let tx = connection
            .begin_with_options(options)
            .await
            .map_err(StoreError::db("begin a transaction"))?;
        let notifying = self.notifying().load(Ordering::Relaxed);
        let notes = Notes::new(notifying, Arc::clone(self.bell()));
        Ok(WriteTx { tx, notes, _turn: turn })
    }

    /// Closes all connections after checkpointing, for an orderly end.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn close(&self) -> Result<(), StoreError> {
        for connection in [&self.inner.readers, &self.inner.lazy, &self.inner.durable] {
            connection.clone().close().await.map_err(StoreError::db("close the database"))?;
        }
        Ok(())
    }
}

/// Lets the write-ahead log have its full length before it is needed: a commit that overwrites
/// allocated blocks is durable several times faster than one that appends (docs/findings.md).
const GROW_JOURNAL: &str = "
CREATE TABLE IF NOT EXISTS filler (data BLOB);
INSERT INTO filler VALUES (zeroblob(1200000));
DELETE FROM filler;
PRAGMA wal_checkpoint(RESTART);
";

/// Lets the numbers of a new installation begin at a random place.
///
/// A domain's name is made from its server's number and has to be unique on its libvirt, which
/// another installation may use as well, or one whose database was lost.
async fn seed_instance_numbers(connection: &DatabaseConnection) -> Result<(), StoreError> {
    let [a, b, ..] = Uuid::new_v4().into_bytes();
    let begin = 0x1000_0000 + (i64::from(u16::from_be_bytes([a, b])) << 12);
    let mut seed = Query::update();
    seed.table("counters")
        .value("value", begin)
        .and_where(Expr::col("name").eq("instance"))
        .and_where(Expr::col("value").eq(0));
    connection.execute(&seed).await.map_err(StoreError::db("begin numbering servers"))?;
    Ok(())
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
) -> Result<DatabaseConnection, StoreError> {
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
    Database::connect(options)
        .await
        .map_err(|source| StoreError::Open { path: path.display().to_string(), source })
}

/// Takes `count` numbers from a counter and returns the last of them. Numbers of a transaction that
/// is rolled back are given out again; numbers of a committed one never.
pub(crate) async fn next_number(
    tx: &WriteTx,
    counter: &'static str,
    count: i64,
) -> Result<i64, StoreError> {
    let mut raise = Query::update();
    raise
        .table("counters")
        .value("value", Expr::col("value").add(count))
        .and_where(Expr::col("name").eq(counter));
    tx.execute(&raise).await.map_err(StoreError::db("raise a counter"))?;
    let mut read = Query::select();
    read.column("value").from("counters").and_where(Expr::col("name").eq(counter));
    let row = tx.query_one(&read).await.map_err(StoreError::db("read a counter"))?;
    let row =
        row.ok_or_else(|| StoreError::NotFound { what: "counter", id: counter.to_owned() })?;
    row.try_get_by("value").map_err(StoreError::db("read a counter"))
}
