//! Connections and transactions.
//!
//! Readers have connections of their own. Writers come in two kinds of durability:
//! [`Store::begin`] commits with fsync, [`Store::begin_lazy`] without, for what a restart finds out
//! again by itself (heartbeats, progress, "handed to the bus"). So an operation costs two fsyncs
//! here: one when it is accepted, one when it has ended.
//!
//! A transaction that reads, decides and writes must not be overtaken in between:
//!
//! | | SQLite | PostgreSQL, MariaDB |
//! |---|---|---|
//! | [`Store::begin`] | writers take turns on a semaphore, so SQLite never has to make one wait by polling; `BEGIN IMMEDIATE` | writers of all processes take turns on one lock |
//! | `Store::begin_beside` | the same | side by side; what is read and must stay is locked first, see `locks` |
//!
//! The first is the safe choice; the second is for what happens often.

mod dialect;
mod location;
mod mariadb;
mod postgres;
mod sqlite;
mod statements;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use reprieve_core::Clock;
use reprieve_core::schedule::ClaimPolicy;
use reprieve_outside::outside;
use sea_orm::sea_query::{Expr, ExprTrait as _, Func, Query};
use sea_orm::{ConnectionTrait, DatabaseConnection, SqliteTransactionMode, TransactionOptions};
use sea_orm_migration::MigratorTrait as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use uuid::Uuid;

pub(crate) use dialect::{Dialect, statement};
pub use location::Location;
pub use statements::{Reader, Statements, Transaction};

use crate::instance_cache::InstanceCache;
use crate::migration::Migrator;
use crate::notifications::Notes;
use crate::operations::Admissions;
use crate::{StoreError, locks};

/// The database. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
    admissions: Arc<Admissions>,
}

struct Inner {
    connections: Connections,
    /// For writers of this process, where the database cannot let them take turns by itself.
    turn: Option<Arc<Semaphore>>,
    clock: Arc<dyn Clock>,
    notifying: AtomicBool,
    bell: Arc<watch::Sender<()>>,
    seen: InstanceCache,
    claims: OnceLock<ClaimPolicy>,
}

/// Pools.
struct Connections {
    readers: Reader,
    durable: Reader,
    lazy: Reader,
}

/// A write transaction. Dropped without [`WriteTx::commit`] it is rolled back.
pub struct WriteTx {
    tx: Transaction,
    pub(crate) notes: Notes,
    // Released after the transaction ended: fields drop in this order.
    _turn: Option<OwnedSemaphorePermit>,
}

impl std::ops::Deref for WriteTx {
    type Target = Transaction;

    fn deref(&self) -> &Transaction {
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
        let tx = self.tx;
        let committed = outside(async move { tx.into_inner().commit().await }).await;
        committed.map_err(StoreError::db("commit a transaction"))?;
        if noted {
            self.notes.ring();
        }
        Ok(())
    }

    /// Takes everything back and waits until the locks are gone. Dropped, a transaction does the same
    /// a little later.
    pub(crate) async fn roll_back(self) {
        // An error says that the connection has ended, and its transaction with it.
        let tx = self.tx;
        outside(async move { tx.into_inner().rollback().await }).await.ok();
    }
}

impl Store {
    /// Opens the database, creates it if it is a file, and brings its schema up to date.
    ///
    /// # Errors
    /// [`StoreError::Open`] when a file or its directory cannot be used, [`StoreError::Connect`] when
    /// a server cannot be reached, [`StoreError::Unsuitable`] when it is not one that can be used,
    /// [`StoreError::Database`] when a migration fails.
    pub async fn open(location: impl Into<Location>) -> Result<Self, StoreError> {
        Self::open_with_clock(location, Arc::new(reprieve_core::SystemClock)).await
    }

    /// Like [`Self::open`], with a clock that tests hold still.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn open_with_clock(
        location: impl Into<Location>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        let location = location.into();
        location.check().map_err(|why| StoreError::Unsuitable {
            location: location.to_string(),
            why: why.to_owned(),
        })?;
        let (connections, turn) = match location {
            Location::File(path) => {
                (outside(sqlite::open(&path)).await?, Some(Arc::new(Semaphore::new(1))))
            }
            Location::Postgres(url) => (outside(postgres::open(&url)).await?, None),
            Location::MariaDb(url) => (outside(mariadb::open(&url)).await?, None),
        };
        let (notifying, bell) = (AtomicBool::new(true), Arc::new(watch::Sender::new(())));
        let (seen, claims) = (InstanceCache::default(), OnceLock::new());
        let inner = Inner { connections, turn, clock, notifying, bell, seen, claims };
        Ok(Self { inner: Arc::new(inner), admissions: Arc::default() })
    }

    /// The same database for a part of this program that may end while others go on: none of them waits
    /// for a transaction of the other's.
    #[must_use]
    pub fn apart(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), admissions: Arc::default() }
    }

    /// For reading outside of a transaction.
    #[must_use]
    pub fn reader(&self) -> &Reader {
        &self.inner.connections.readers
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

    /// How hosts are filled, once it has been said.
    pub(crate) fn claims(&self) -> &OnceLock<ClaimPolicy> {
        &self.inner.claims
    }

    /// Operations that wait to be admitted.
    pub(crate) fn admissions(&self) -> &Admissions {
        &self.admissions
    }

    /// Whether transactions note what they change.
    pub(crate) fn notifying(&self) -> &AtomicBool {
        &self.inner.notifying
    }

    /// Rung by transactions that noted something.
    pub(crate) fn bell(&self) -> &Arc<watch::Sender<()>> {
        &self.inner.bell
    }

    /// Begins a write transaction whose commit is durable (one fsync), after all others that were
    /// begun by this or [`Self::begin_lazy`].
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn begin(&self) -> Result<WriteTx, StoreError> {
        let tx = self.begin_beside().await?;
        locks::take_turn(&tx).await?;
        Ok(tx)
    }

    /// Begins a write transaction that a power cut may lose, but not a crash of the daemon. No
    /// fsync, where the database can do without; the next durable commit covers it too.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn begin_lazy(&self) -> Result<WriteTx, StoreError> {
        let tx = self.begin_lazy_beside().await?;
        locks::take_turn(&tx).await?;
        Ok(tx)
    }

    /// Like [`Self::begin`], but on databases that can do so beside other transactions: the caller
    /// locks what it reads and what must not change meanwhile.
    pub(crate) async fn begin_beside(&self) -> Result<WriteTx, StoreError> {
        self.begin_on(&self.inner.connections.durable).await
    }

    /// Like [`Self::begin_lazy`], beside other transactions as [`Self::begin_beside`].
    pub(crate) async fn begin_lazy_beside(&self) -> Result<WriteTx, StoreError> {
        self.begin_on(&self.inner.connections.lazy).await
    }

    async fn begin_on(&self, connection: &Reader) -> Result<WriteTx, StoreError> {
        let turn = match &self.inner.turn {
            Some(turn) => Some(wait_for(turn).await?),
            None => None,
        };
        let mut options = TransactionOptions::default();
        if Dialect::of(connection) == Dialect::Sqlite {
            options.sqlite_transaction_mode = Some(SqliteTransactionMode::Immediate);
        }
        let begun = connection.begin(options).await;
        let tx = begun.map_err(StoreError::db("begin a transaction"))?;
        let notifying = self.notifying().load(Ordering::Relaxed);
        let notes = Notes::new(notifying, Arc::clone(self.bell()));
        Ok(WriteTx { tx, notes, _turn: turn })
    }

    /// Closes all connections (SQLite: after checkpointing), for an orderly end.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn close(&self) -> Result<(), StoreError> {
        let Connections { readers, durable, lazy } = &self.inner.connections;
        for connection in [readers, lazy, durable] {
            let closed = outside(connection.inner().clone().close()).await;
            closed.map_err(StoreError::db("close the database"))?;
        }
        Ok(())
    }
}

/// The semaphore is never closed, so this cannot fail; a closed one is reported all the same.
async fn wait_for(turn: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, StoreError> {
    Arc::clone(turn).acquire_owned().await.map_err(|error| StoreError::Database {
        what: "take a turn to write",
        source: sea_orm::DbErr::Custom(error.to_string()),
    })
}

/// Brings the schema up to date. The caller sees to it that nobody else does so meanwhile.
async fn set_up(connection: &DatabaseConnection) -> Result<(), StoreError> {
    Migrator::up(connection, None).await.map_err(StoreError::db("bring the schema up to date"))?;
    seed_instance_numbers(connection).await
}

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

/// Takes `count` numbers from a counter and returns the last of them. Numbers of a transaction that
/// is rolled back are given out again; numbers of a committed one never. Until the transaction ends,
/// nobody else gets any: numbers are in the order of commits.
pub(crate) async fn next_number<C: ConnectionTrait>(
    connection: &C,
    counter: &'static str,
    count: i64,
) -> Result<i64, StoreError> {
    let raised = Expr::col("value").add(count);
    let mut raise = Query::update();
    raise.table("counters").and_where(Expr::col("name").eq(counter));
    let missing = || StoreError::NotFound { what: "counter", id: counter.to_owned() };
    let (what, reading) = ("raise a counter", "read a counter");
    match Dialect::of(connection) {
        Dialect::Sqlite | Dialect::Postgres => {
            raise.value("value", raised).returning_col("value");
            let row = connection.query_one(&raise).await.map_err(StoreError::db(what))?;
            row.ok_or_else(missing)?.try_get_by("value").map_err(StoreError::db(reading))
        }
        // It has no UPDATE with RETURNING, but says what was put into this function.
        Dialect::MariaDb => {
            raise.value("value", Func::cust("LAST_INSERT_ID").arg(raised));
            let done = connection.execute(&raise).await.map_err(StoreError::db(what))?;
            if done.rows_affected() == 0 {
                return Err(missing());
            }
            i64::try_from(done.last_insert_id()).map_err(|error| StoreError::Database {
                what: reading,
                source: sea_orm::DbErr::Custom(error.to_string()),
            })
        }
    }
}
