//! Connections to a MariaDB database.
//!
//! Transactions run at READ COMMITTED: each statement sees what was committed before it. What has to
//! stay as it was read is locked first (`locks`). No statement waits without limit, neither for a lock
//! nor for the server, and a connection that was idle is tried before it is used, so that a restart of
//! the server is noticed. Text is compared by its characters' numbers, so letters of both cases and
//! spaces at an end count, as in the other databases.
//!
//! Whether a commit waits for the disk is a setting of the whole server
//! (`innodb_flush_log_at_trx_commit`), so no transaction is lazy here: all writers share one pool.
//!
//! A statement that changes the schema commits by itself. `migration` makes it so that a migration
//! which was cut off goes on where it stood. That tables of another program are not taken for such a
//! one is seen to here: nothing is touched in a database that has tables but not the list of
//! migrations, which is what is made first.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sea_orm::{
    ConnectOptions, ConnectionTrait as _, Database, DatabaseConnection, DbBackend, DbErr, Statement,
};
use sqlx::Executor as _;

use super::location::as_mysql;
use super::{Connections, Location, Statements, set_up};
use crate::{StoreError, locks};

/// How long a caller waits for a connection, which is made anew while the server is away.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection that was idle for so long is tried before it is used.
const IDLE: Duration = Duration::from_secs(1);
const READERS: u32 = 8;
const WRITERS: u32 = 16;
/// The oldest version with `SKIP LOCKED` and with schema changes that are done or not, never half.
const OLDEST: (u32, u32) = (10, 6);

/// What holds for a session. Seconds: a statement has 30, of which 10 for a lock; a transaction may
/// stand still for 60, so that one whose process is cut off frees its locks.
const SESSION: &str = "
SET NAMES utf8mb4 COLLATE utf8mb4_nopad_bin;
SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED;
SET SESSION sql_mode = 'STRICT_ALL_TABLES,ANSI_QUOTES,PIPES_AS_CONCAT,SIMULTANEOUS_ASSIGNMENT,\
ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION',
    innodb_lock_wait_timeout = 10, lock_wait_timeout = 10, max_statement_time = 30,
    idle_transaction_timeout = 60;
";

/// What a connection is for.
#[derive(Clone, Copy)]
enum Purpose {
    /// To look at what there is, with nothing but what any server knows.
    Look,
    /// To bring the schema up to date.
    Schema,
    /// Transactions and reading.
    Work,
}

/// Connects, and brings the schema up to date unless another process does so at this moment, which is
/// waited for.
pub(super) async fn open(url: &str) -> Result<Connections, StoreError> {
    let location = Location::MariaDb(url.to_owned()).to_string();
    let cannot = |source| StoreError::Connect { location: location.clone(), source };
    let unsuitable = |why| StoreError::Unsuitable { location: location.clone(), why };
    let url = as_mysql(url).map_err(|why| unsuitable(why.to_owned()))?;
    let look = connect(&url, Purpose::Look, 1).await.map_err(cannot)?;
    let version = ask(&look, "SELECT VERSION()").await?;
    look.close().await.map_err(StoreError::db("end a look at the database"))?;
    if !is_new_enough(&version) {
        let (major, minor) = OLDEST;
        let why = format!("it is {version}, and MariaDB {major}.{minor} or newer is needed");
        return Err(unsuitable(why));
    }
    let alone = connect(&url, Purpose::Schema, 1).await.map_err(cannot)?;
    let done = match only_ours(&alone).await {
        Ok(true) => set_up(&alone).await,
        Ok(false) => Err(unsuitable("it holds tables of another program".to_owned())),
        Err(error) => Err(error),
    };
    // Frees the lock, which is the session's.
    alone.close().await.map_err(StoreError::db("let others at the schema"))?;
    done?;
    let writers = connect(&url, Purpose::Work, WRITERS).await.map_err(cannot)?;
    let readers = connect(&url, Purpose::Work, READERS).await.map_err(cannot)?;
    let [durable, lazy] =
        [writers.clone(), writers].map(|writers| Statements::on_any_of(writers, WRITERS));
    Ok(Connections { readers: Statements::on_any_of(readers, READERS), durable, lazy })
}

/// From what the server says of itself, as in `10.11.19-MariaDB-0+deb12u1`.
fn is_new_enough(version: &str) -> bool {
    let mut numbers = version.split('.').map(str::parse::<u32>);
    let first_two = (numbers.next(), numbers.next());
    let (Some(Ok(major)), Some(Ok(minor))) = first_two else { return false };
    version.contains("MariaDB") && (major, minor) >= OLDEST
}

/// Waits for the schema, then says whether there is nothing but what migrations have made.
async fn only_ours(alone: &DatabaseConnection) -> Result<bool, StoreError> {
    let got = ask(alone, locks::SCHEMA_ON_MARIADB).await?;
    if got != "1" {
        let source = DbErr::Conn(sea_orm::RuntimeErr::Internal("it took too long".to_owned()));
        return Err(StoreError::Database { what: "wait for the schema", source });
    }
    let others =
        "SELECT CAST(count(*) > 0 AND coalesce(sum(table_name = 'seaql_migrations'), 0) = 0
        AS CHAR) FROM information_schema.tables WHERE table_schema = DATABASE()";
    Ok(ask(alone, others).await? == "0")
}

/// The one text that is the answer.
async fn ask(connection: &DatabaseConnection, sql: &str) -> Result<String, StoreError> {
    let what = "look at the database";
    let statement = Statement::from_string(DbBackend::MySql, sql);
    let row = connection.query_one_raw(statement).await.map_err(StoreError::db(what))?;
    let answer = row.map(|row| row.try_get_by_index::<Option<String>>(0)).transpose();
    Ok(answer.map_err(StoreError::db(what))?.flatten().unwrap_or_default())
}

async fn connect(
    url: &str,
    purpose: Purpose,
    connections: u32,
) -> Result<DatabaseConnection, DbErr> {
    let used = Arc::new(AtomicBool::new(false));
    let mut options = ConnectOptions::new(url);
    options
        .max_connections(connections)
        .min_connections(1)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire_if_idle_for(IDLE)
        .sqlx_logging(false)
        .map_sqlx_mysql_opts(|mysql| {
            // All of this is in `SESSION`.
            let mysql = mysql.set_names(false).pipes_as_concat(false).no_engine_substitution(false);
            mysql.timezone(None).statement_cache_capacity(200)
        })
        .map_sqlx_mysql_pool_opts(move |pool| {
            let used = Arc::clone(&used);
            pool.after_connect(move |session, _| {
                let again = used.swap(true, Ordering::Relaxed);
                Box::pin(async move {
                    let sql = match purpose {
                        Purpose::Look => return Ok(()),
                        // Whoever migrates has to hold the lock, which went with the first session.
                        Purpose::Schema if again => return Err(sqlx::Error::PoolClosed),
                        Purpose::Schema => SESSION.to_owned() + locks::PATIENT_ON_MARIADB,
                        Purpose::Work => SESSION.to_owned(),
                    };
                    session.execute(sqlx::AssertSqlSafe(sql)).await.map(drop)
                })
            })
        });
    Database::connect(options).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_told_apart() {
        for good in ["10.6.0-MariaDB", "10.11.19-MariaDB-0+deb12u1", "11.4.2-MariaDB-log"] {
            assert!(is_new_enough(good), "{good}");
        }
        for bad in ["10.5.29-MariaDB", "8.0.36-0ubuntu0.22.04.1", "9.1.0", "MariaDB", ""] {
            assert!(!is_new_enough(bad), "{bad}");
        }
    }

    #[test]
    fn addresses_are_the_drivers_or_refused() {
        for url in ["mariadb://u@h/d", "mysql://u@h/d"] {
            assert_eq!(as_mysql(url).unwrap(), "mysql://u@h/d");
        }
        for url in ["mysql:d", "mysql://", "mysql://u@h", "mysql://u@h/", "mysql://u@h:x/d"] {
            assert!(as_mysql(url).is_err(), "{url}");
        }
    }
}
