//! What this host has promised to do and how far it got: a small SQLite file of its own.
//!
//! Owned by one agent at a time, which a lock beside it guarantees; never shared with the control
//! plane; the same in every deployment. Every write is one transaction with `synchronous=FULL`, so a
//! row that was written survives a power loss (invariant I2).
//!
//! ```text
//! operation: running(step n) -> running(step n+1) -> ... -> finished(result)
//!                   \-> given up(step n, result so far) -------^
//! ```
//!
//! The state of an operation that was given up stays `running`, with a result already.
//!
//! A finished operation stays for [`KEEP_FINISHED`], so that a command delivered again is answered
//! with its result instead of being run again (I3). Its arguments, which may hold sealed secrets,
//! are cleared when it finishes.

use std::collections::HashSet;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reprieve_core::conclude::Observation;
use reprieve_core::message::{OperationArgs, OperationResult, RunOperation};
use reprieve_core::{InstanceId, OperationId, OperationKind, Timestamp};
use reprieve_outside::outside;
use sqlx::Row;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

/// How long the result of an operation is remembered.
pub const KEEP_FINISHED: Duration = Duration::from_secs(30 * 24 * 3600);

/// How many starts of the agent are remembered. A message of one that is forgotten is taken for one of
/// another agent, for which this one makes way.
const KEEP_STARTS: i64 = 1000;

/// Why the ledger could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// Another agent uses it.
    #[error(
        "another compute agent uses the ledger {path}, and two of them would disturb each other's \
         guests: stop that one first",
        path = path.display()
    )]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// It could not be found out whether another agent uses it.
    #[error("the lock {path} cannot be taken", path = path.display())]
    Lock {
        /// The lock's file.
        path: PathBuf,
        /// The system's words.
        #[source]
        source: std::io::Error,
    },
    /// The file could not be opened or prepared.
    #[error("the ledger {path} cannot be opened")]
    Open {
        /// The file.
        path: PathBuf,
        /// SQLite's words.
        #[source]
        source: sqlx::Error,
    },
    /// A query failed.
    #[error("the ledger cannot be {action}")]
    Query {
        /// `read` or `written`.
        action: &'static str,
        /// SQLite's words.
        #[source]
        source: sqlx::Error,
    },
    /// A row cannot be understood.
    #[error("operation {operation} in the ledger cannot be read by this version")]
    Unreadable {
        /// The operation.
        operation: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

fn read(source: sqlx::Error) -> LedgerError {
    LedgerError::Query { action: "read", source }
}

fn written(source: sqlx::Error) -> LedgerError {
    LedgerError::Query { action: "written", source }
}

/// How an operation ended, as remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Result.
    pub result: OperationResult,
    /// The guest afterwards.
    pub seen: Observation,
}

/// What the ledger knows about an operation that was received.
#[derive(Debug, Clone, PartialEq)]
pub enum Acceptance {
    /// New; it is durable now.
    New,
    /// Accepted before and not finished: as far as it got.
    Running(Box<Unfinished>),
    /// Ended before.
    Finished(Ended),
    /// A newer operation was accepted for this server; this one must not run.
    Stale {
        /// Generation of the newer one.
        newest: i64,
    },
}

/// An operation to go on with after a restart.
#[derive(Debug, Clone, PartialEq)]
pub struct Unfinished {
    /// The command as received.
    pub command: RunOperation,
    /// Steps before this index are done.
    pub next_step: usize,
    /// Set when it was given up: only undoing what is private to it is left.
    pub given_up: Option<OperationResult>,
}

/// The ledger. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Ledger {
    pool: SqlitePool,
    lock: Arc<File>,
}

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS operation (
    id TEXT PRIMARY KEY NOT NULL,
    instance_id TEXT NOT NULL,
    generation INTEGER NOT NULL,
    command TEXT NOT NULL,
    next_step INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('running', 'finished')),
    result TEXT,
    seen TEXT,
    changed_at INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS operation_state ON operation (state, changed_at);
CREATE TABLE IF NOT EXISTS machine (
    only INTEGER PRIMARY KEY NOT NULL CHECK (only = 1),
    boot_id TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS start (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    boot_id TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS guest (
    instance_id TEXT PRIMARY KEY NOT NULL,
    newest_generation INTEGER NOT NULL
) STRICT;
CREATE TRIGGER IF NOT EXISTS operation_is_newest AFTER INSERT ON operation BEGIN
    INSERT INTO guest (instance_id, newest_generation) VALUES (NEW.instance_id, NEW.generation)
    ON CONFLICT (instance_id) DO UPDATE SET newest_generation = NEW.generation;
END;
";

/// Accepts an operation unless it is known, or a newer one of its server is. One statement, so one
/// transaction and one way to SQLite's thread and back: every operation of a host waits for it.
const ACCEPT: &str = "
INSERT INTO operation (id, instance_id, generation, command, next_step, state, changed_at)
SELECT ?1, ?2, ?3, ?4, 0, 'running', ?5
WHERE NOT EXISTS (SELECT 1 FROM guest WHERE instance_id = ?2 AND newest_generation > ?3)
ON CONFLICT (id) DO NOTHING
";

/// Lets the write-ahead log have its full length before it is needed. A commit that overwrites
/// allocated blocks is made durable without the file system's own journal, which is several times
/// faster than one that appends (docs/findings.md).
const GROW_JOURNAL: &str = "
PRAGMA wal_autocheckpoint = 256;
CREATE TABLE IF NOT EXISTS filler (data BLOB) STRICT;
INSERT INTO filler VALUES (zeroblob(1200000));
DELETE FROM filler;
PRAGMA wal_checkpoint(RESTART);
";

impl Ledger {
    /// Opens the ledger in `file`, creating it if there is none.
    ///
    /// # Errors
    /// [`LedgerError::InUse`] while another agent has it open; [`LedgerError::Open`] or
    /// [`LedgerError::Lock`] when the files cannot be used.
    pub async fn open(file: &Path) -> Result<Self, LedgerError> {
        outside(Self::open_file(file)).await
    }

    async fn open_file(file: &Path) -> Result<Self, LedgerError> {
        let lock = Arc::new(locked(file)?);
        let open = |source| LedgerError::Open { path: file.to_owned(), source };
        let options = SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(5));
        // One connection: writes are serialised anyway, and readers never wait long.
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .connect_with(options)
            .await
            .map_err(open)?;
        sqlx::raw_sql(SCHEMA).execute(&pool).await.map_err(open)?;
        sqlx::raw_sql(GROW_JOURNAL).execute(&pool).await.map_err(open)?;
        Ok(Self { pool, lock })
    }

    /// Makes an operation durable, unless it is known or stale already.
    ///
    /// # Errors
    /// [`LedgerError`]; the operation must then not be acknowledged.
    pub async fn accept(
        &self,
        command: &RunOperation,
        now: Timestamp,
    ) -> Result<Acceptance, LedgerError> {
        outside(self.accept_in_one(command, now)).await
    }

    async fn accept_in_one(
        &self,
        command: &RunOperation,
        now: Timestamp,
    ) -> Result<Acceptance, LedgerError> {
        let text = serde_json::to_string(command).map_err(|source| LedgerError::Unreadable {
            operation: command.operation_id.to_string(),
            source,
        })?;
        let accepted = sqlx::query(ACCEPT)
            .bind(command.operation_id.to_string())
            .bind(command.spec.id.to_string())
            .bind(command.generation)
            .bind(text)
            .bind(now.micros())
            .execute(&self.pool)
            .await
            .map_err(written)?;
        if accepted.rows_affected() > 0 {
            return Ok(Acceptance::New);
        }
        if let Some(known) = known(&self.pool, command.operation_id).await? {
            return Ok(known);
        }
        let newest =
            sqlx::query_scalar("SELECT newest_generation FROM guest WHERE instance_id = ?")
                .bind(command.spec.id.to_string())
                .fetch_one(&self.pool)
                .await
                .map_err(read)?;
        Ok(Acceptance::Stale { newest })
    }

    /// Records that every step before `next_step` is done.
    ///
    /// # Errors
    /// [`LedgerError`]; the step will be probed again after a restart.
    pub async fn advance(
        &self,
        operation: OperationId,
        next_step: usize,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        let query = sqlx::query("UPDATE operation SET next_step = ?, changed_at = ? WHERE id = ?")
            .bind(i64::try_from(next_step).unwrap_or(i64::MAX))
            .bind(now.micros())
            .bind(operation.to_string());
        outside(query.execute(&self.pool)).await.map_err(written)?;
        Ok(())
    }

    /// Records that an operation goes no further than step `reached` and will end with `result`,
    /// before anything is undone.
    ///
    /// # Errors
    /// [`LedgerError`]; after a restart the operation would be taken forward again.
    pub async fn give_up(
        &self,
        operation: OperationId,
        reached: usize,
        result: &OperationResult,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        let result = serde_json::to_string(result).map_err(|source| LedgerError::Unreadable {
            operation: operation.to_string(),
            source,
        })?;
        let query = sqlx::query(
            "UPDATE operation SET next_step = ?, result = ?, changed_at = ? WHERE id = ?",
        )
        .bind(i64::try_from(reached).unwrap_or(i64::MAX))
        .bind(result)
        .bind(now.micros())
        .bind(operation.to_string());
        outside(query.execute(&self.pool)).await.map_err(written)?;
        Ok(())
    }

    /// Records the end of an operation and forgets its arguments.
    ///
    /// # Errors
    /// [`LedgerError`]; the operation then counts as running and is gone through again.
    pub async fn finish(
        &self,
        command: &RunOperation,
        ended: &Ended,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        let unreadable = |source| LedgerError::Unreadable {
            operation: command.operation_id.to_string(),
            source,
        };
        let mut bare = command.clone();
        bare.args = OperationArgs::default();
        bare.spec.metadata.admin_password = None;
        bare.spec.metadata.user_data = None;
        let query = sqlx::query(
            "UPDATE operation SET state = 'finished', command = ?, result = ?, seen = ?, \
             changed_at = ? WHERE id = ?",
        )
        .bind(serde_json::to_string(&bare).map_err(unreadable)?)
        .bind(serde_json::to_string(&ended.result).map_err(unreadable)?)
        .bind(serde_json::to_string(&ended.seen).map_err(unreadable)?)
        .bind(now.micros())
        .bind(command.operation_id.to_string());
        outside(query.execute(&self.pool)).await.map_err(written)?;
        Ok(())
    }

    /// Operations that a previous run of the agent left unfinished, oldest first.
    ///
    /// # Errors
    /// [`LedgerError`] when a row cannot be read: better not to start than to forget a promise.
    pub async fn unfinished(&self) -> Result<Vec<Unfinished>, LedgerError> {
        let rows = sqlx::query(
            "SELECT id, command, next_step, result FROM operation WHERE state = 'running' \
             ORDER BY id",
        );
        let rows = outside(rows.fetch_all(&self.pool)).await.map_err(read)?;
        rows.iter().map(unfinished).collect()
    }

    /// Deletes that succeeded here and are the newest of what is known of their servers, for those of
    /// these servers that have one.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn deletes_of(&self, ids: &[InstanceId]) -> Result<Vec<RunOperation>, LedgerError> {
        let ids: Vec<_> = ids.iter().map(ToString::to_string).collect();
        let rows = sqlx::query(
            "SELECT operation.id, command, next_step, result FROM operation \
             JOIN guest ON guest.instance_id = operation.instance_id \
             AND guest.newest_generation = operation.generation \
             WHERE state = 'finished' AND operation.instance_id IN (SELECT value FROM json_each(?))",
        )
        .bind(serde_json::Value::from(ids).to_string());
        let rows = outside(rows.fetch_all(&self.pool)).await.map_err(read)?;
        let finished = rows.iter().map(unfinished).collect::<Result<Vec<_>, _>>()?;
        let succeeded = |job: &Unfinished| {
            job.command.kind == OperationKind::Delete
                && job.given_up == Some(OperationResult::Succeeded)
        };
        Ok(finished.into_iter().filter(succeeded).map(|job| job.command).collect())
    }

    /// Forgets results older than [`KEEP_FINISHED`], and servers of which nothing else is known.
    ///
    /// # Errors
    /// [`LedgerError`]; nothing is lost but space.
    pub async fn forget_old(&self, now: Timestamp) -> Result<u64, LedgerError> {
        let keep = i64::try_from(KEEP_FINISHED.as_micros()).unwrap_or(i64::MAX);
        let old = sqlx::query("DELETE FROM operation WHERE state = 'finished' AND changed_at < ?")
            .bind(now.micros().saturating_sub(keep));
        let done = outside(old.execute(&self.pool)).await.map_err(written)?;
        if done.rows_affected() > 0 {
            let without = "DELETE FROM guest WHERE instance_id NOT IN \
                           (SELECT instance_id FROM operation)";
            let forget = sqlx::query(without).execute(&self.pool);
            outside(forget).await.map_err(written)?;
        }
        Ok(done.rows_affected())
    }

    /// The kernel's boot id that the control plane knows of; `None` in a new ledger.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn machine_boot(&self) -> Result<Option<String>, LedgerError> {
        let known = sqlx::query_scalar("SELECT boot_id FROM machine WHERE only = 1");
        outside(known.fetch_optional(&self.pool)).await.map_err(read)
    }

    /// Records that the control plane knows of this start of the machine.
    ///
    /// # Errors
    /// [`LedgerError`]; it is then told once more.
    pub async fn set_machine_boot(&self, boot_id: &str) -> Result<(), LedgerError> {
        let query = sqlx::query(
            "INSERT INTO machine (only, boot_id) VALUES (1, ?1) \
             ON CONFLICT (only) DO UPDATE SET boot_id = ?1",
        )
        .bind(boot_id);
        outside(query.execute(&self.pool)).await.map_err(written)?;
        Ok(())
    }

    /// Records a start of the agent and returns the ids of the earlier ones.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn note_start(&self, boot_id: &str) -> Result<HashSet<String>, LedgerError> {
        let earlier = sqlx::query_scalar("SELECT boot_id FROM start");
        let earlier: Vec<String> = outside(earlier.fetch_all(&self.pool)).await.map_err(read)?;
        let note = sqlx::query("INSERT INTO start (boot_id) VALUES (?)").bind(boot_id);
        outside(note.execute(&self.pool)).await.map_err(written)?;
        let forget =
            sqlx::query("DELETE FROM start WHERE number <= (SELECT max(number) FROM start) - ?")
                .bind(KEEP_STARTS);
        outside(forget.execute(&self.pool)).await.map_err(written)?;
        Ok(earlier.into_iter().collect())
    }

    /// Waits until everything is written, closes the file and leaves it to others.
    pub async fn close(&self) {
        outside(self.pool.close()).await;
        if let Err(error) = self.lock.unlock() {
            tracing::warn!(%error, "the ledger stays locked until this process has ended");
        }
    }
}

/// Takes the ledger for this agent. The lock goes with the process, however that ends. It has a file of
/// its own: closing any other handle of a database's file would take SQLite's own locks away.
fn locked(ledger: &Path) -> Result<File, LedgerError> {
    let mut name = ledger.as_os_str().to_owned();
    name.push(".lock");
    let path = PathBuf::from(name);
    let opened = File::options().create(true).truncate(false).write(true).open(&path);
    let file = opened.map_err(|source| LedgerError::Lock { path: path.clone(), source })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(LedgerError::InUse { path: ledger.to_owned() }),
        Err(TryLockError::Error(source)) => Err(LedgerError::Lock { path, source }),
    }
}

fn unfinished(row: &sqlx::sqlite::SqliteRow) -> Result<Unfinished, LedgerError> {
    let unreadable = |source| {
        let operation = row.try_get("id").unwrap_or_default();
        LedgerError::Unreadable { operation, source }
    };
    let command: String = row.try_get("command").map_err(read)?;
    let next: i64 = row.try_get("next_step").map_err(read)?;
    let result: Option<String> = row.try_get("result").map_err(read)?;
    Ok(Unfinished {
        command: serde_json::from_str(&command).map_err(unreadable)?,
        next_step: usize::try_from(next).unwrap_or(0),
        given_up: result.map(|text| serde_json::from_str(&text)).transpose().map_err(unreadable)?,
    })
}

async fn known(
    pool: &SqlitePool,
    operation: OperationId,
) -> Result<Option<Acceptance>, LedgerError> {
    let row = sqlx::query("SELECT * FROM operation WHERE id = ?")
        .bind(operation.to_string())
        .fetch_optional(pool)
        .await
        .map_err(read)?;
    let Some(row) = row else { return Ok(None) };
    let state: String = row.try_get("state").map_err(read)?;
    if state != "finished" {
        return unfinished(&row).map(|job| Some(Acceptance::Running(Box::new(job))));
    }
    let unreadable = |source| LedgerError::Unreadable { operation: operation.to_string(), source };
    let result: String = row.try_get("result").map_err(read)?;
    let seen: String = row.try_get("seen").map_err(read)?;
    Ok(Some(Acceptance::Finished(Ended {
        result: serde_json::from_str(&result).map_err(unreadable)?,
        seen: serde_json::from_str(&seen).map_err(unreadable)?,
    })))
}
