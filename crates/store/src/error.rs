//! What can go wrong with the database.

use reprieve_core::quota::{OverQuota, Resource};
use reprieve_core::{Denied, InstanceId};
use sea_orm::{DbErr, RuntimeErr};

/// A failed store call.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database refused or failed.
    #[error("the database failed while it should {what}")]
    Database {
        /// What was attempted.
        what: &'static str,
        /// Cause.
        #[source]
        source: sea_orm::DbErr,
    },
    /// The database file cannot be used.
    #[error(
        "the database at {path} cannot be opened; check that its directory exists, is writable and has space"
    )]
    Open {
        /// File.
        path: String,
        /// Cause.
        #[source]
        source: sea_orm::DbErr,
    },
    /// The database server cannot be reached.
    #[error("the database at {location} cannot be reached")]
    Connect {
        /// Its address, without secrets.
        location: String,
        /// Cause.
        #[source]
        source: sea_orm::DbErr,
    },
    /// The database is not one that can be used.
    #[error("the database at {location} cannot be used: {why}")]
    Unsuitable {
        /// Its address, without secrets.
        location: String,
        /// What is wrong with it.
        why: String,
    },
    /// A stored value cannot be read by this version.
    #[error("{table}.{column} of '{row}' holds a value this version cannot read: {message}")]
    Corrupt {
        /// Table.
        table: &'static str,
        /// Column.
        column: &'static str,
        /// Key of the row.
        row: String,
        /// What is wrong with it.
        message: String,
    },
    /// There is no such row.
    #[error("{what} '{id}' does not exist")]
    NotFound {
        /// Kind of thing.
        what: &'static str,
        /// Its key.
        id: String,
    },
    /// A row with this key exists already.
    #[error("{what} '{id}' exists already")]
    Exists {
        /// Kind of thing.
        what: &'static str,
        /// Its key.
        id: String,
    },
    /// The state machine says no.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// A condition of the caller does not hold; nothing was written.
    #[error(transparent)]
    Refused(Box<dyn std::error::Error + Send + Sync>),
    /// The server changed while it was being decided about; nothing was written.
    #[error("server {0} changed meanwhile; try again")]
    Raced(InstanceId),
    /// Servers would exceed a quota; nothing was written.
    #[error(transparent)]
    OverQuota(#[from] OverQuota),
    /// There are as many of these as a quota allows; nothing was written.
    #[error("the quota of {0} is used up")]
    QuotaReached(Resource),
    /// A filter of a listing is unusable.
    #[error("{0}")]
    BadQuery(String),
}

impl StoreError {
    /// Wraps a database error with what was attempted. Text that the database cannot keep is the
    /// fault of whoever sent it.
    pub(crate) fn db(what: &'static str) -> impl FnOnce(sea_orm::DbErr) -> Self {
        move |source| match code(&source).as_deref() {
            Some(NOT_IN_REPERTOIRE) => {
                Self::BadQuery("Text must not contain the null character.".to_owned())
            }
            Some(TOO_LONG) => Self::BadQuery("Text is too long.".to_owned()),
            _ => Self::Database { what, source },
        }
    }

    /// Whether the same call may succeed if it is made again, soon or when the database is back.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connect { .. } => true,
            Self::Database { source, .. } | Self::Open { source, .. } => passes(source),
            Self::Raced(_) => true,
            Self::Unsuitable { .. }
            | Self::Corrupt { .. }
            | Self::NotFound { .. }
            | Self::Exists { .. }
            | Self::Denied(_)
            | Self::Refused(_)
            | Self::OverQuota(_)
            | Self::QuotaReached(_)
            | Self::BadQuery(_) => false,
        }
    }

    /// Whether the database did not say what became of the transaction: it was away, or went away. What
    /// was to be committed may have been.
    pub(crate) fn is_silence(&self) -> bool {
        match self {
            Self::Connect { .. } => true,
            // Codes of what ended the connection: class 08, and what an operator or a crash did (57P).
            Self::Database { source, .. } | Self::Open { source, .. } => {
                code(source).is_none_or(|code| {
                    code.len() == 5 && (code.starts_with("08") || code.starts_with("57P"))
                })
            }
            Self::Unsuitable { .. }
            | Self::Corrupt { .. }
            | Self::NotFound { .. }
            | Self::Exists { .. }
            | Self::Denied(_)
            | Self::Refused(_)
            | Self::Raced(_)
            | Self::OverQuota(_)
            | Self::QuotaReached(_)
            | Self::BadQuery(_) => false,
        }
    }

    /// Whether the transaction was ended because of what another one did at the same time. Made
    /// again at once it will likely succeed.
    pub(crate) fn is_conflict(&self) -> bool {
        match self {
            Self::Database { source, .. } => {
                code(source).is_some_and(|code| CONFLICTS.contains(&code.as_str()))
            }
            Self::Open { .. }
            | Self::Connect { .. }
            | Self::Unsuitable { .. }
            | Self::Corrupt { .. }
            | Self::NotFound { .. }
            | Self::Exists { .. }
            | Self::Denied(_)
            | Self::Refused(_)
            | Self::Raced(_)
            | Self::OverQuota(_)
            | Self::QuotaReached(_)
            | Self::BadQuery(_) => false,
        }
    }
}

/// PostgreSQL: a character that the encoding of the database does not have; NUL in practice.
const NOT_IN_REPERTOIRE: &str = "22021";
/// MariaDB: longer than its column, which only those that are in an index limit.
const TOO_LONG: &str = "22001";
/// PostgreSQL: serialization failure, deadlock. MariaDB says the first of a deadlock.
const CONFLICTS: [&str; 2] = ["40001", "40P01"];
/// What passes. PostgreSQL: connection exceptions (class 08), no resources (53), conflicts (40),
/// cancelled or shut down by an operator (57), locks not to be had (55P03), idle for too long
/// (25P03). SQLite: busy (5), locked (6), no memory (7), I/O (10), full (13), with their variants.
const PASSING: [&str; 6] = ["08", "53", "40", "57", "55P03", "25P03"];
const PASSING_OF_SQLITE: [i32; 5] = [5, 6, 7, 10, 13];
/// MariaDB, whose codes say little beyond their numbers: read by somebody else meanwhile (1020), disk
/// or table full (1021, 1114), out of memory (1037, 1038, 1041), too many connections or threads (1040,
/// 1135, 1203, 1226), not ready or going down (1047, 1053), broken connections (1152, 1158 to 1161,
/// 1184), a commit that failed (1180), a lock not to be had in time (1205), deadlock (1213), read-only
/// for now (1290, 1836), ended by an operator (1317, 1927), out of time (1969).
const PASSING_OF_MARIADB: [u16; 26] = [
    1020, 1021, 1037, 1038, 1040, 1041, 1047, 1053, 1114, 1135, 1152, 1158, 1159, 1160, 1161, 1180,
    1184, 1203, 1205, 1213, 1226, 1290, 1317, 1836, 1927, 1969,
];

fn passes(error: &DbErr) -> bool {
    let source = match error {
        DbErr::ConnectionAcquire(_) | DbErr::Conn(_) => return true,
        DbErr::Exec(RuntimeErr::SqlxError(source))
        | DbErr::Query(RuntimeErr::SqlxError(source)) => source,
        _ => return false,
    };
    match &**source {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(said) => match number_of_mariadb(said.as_ref()) {
            Some(number) => PASSING_OF_MARIADB.contains(&number),
            None => said.code().is_some_and(|code| passes_by_code(&code)),
        },
        _ => false,
    }
}

/// By the code of SQLite or PostgreSQL.
fn passes_by_code(code: &str) -> bool {
    match code.parse::<i32>() {
        // Codes of PostgreSQL have five characters, those of SQLite are numbers below 10,000.
        Ok(number) if code.len() < 5 => PASSING_OF_SQLITE.contains(&(number & 0xff)),
        Ok(_) | Err(_) => PASSING.iter().any(|passing| code.starts_with(passing)),
    }
}

/// MariaDB's number for what went wrong; `None` of any other database.
fn number_of_mariadb(said: &(dyn sqlx::error::DatabaseError + 'static)) -> Option<u16> {
    said.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>().map(|said| said.number())
}

/// MariaDB's number for what went wrong; `None` when nothing was said, or by another database.
pub(crate) fn mariadb_number(error: &DbErr) -> Option<u16> {
    match error {
        DbErr::Exec(RuntimeErr::SqlxError(source))
        | DbErr::Query(RuntimeErr::SqlxError(source)) => {
            number_of_mariadb(source.as_database_error()?)
        }
        _ => None,
    }
}

/// Whether the server ended the connection, or had ended it before: the next one may be a good one.
pub(crate) fn connection_ended(error: &DbErr) -> bool {
    let shut_down = |code: String| code.starts_with("57P");
    matches!(driver(error), Some(sqlx::Error::Io(_))) || code(error).is_some_and(shut_down)
}

/// The database's own code for what went wrong.
fn code(error: &DbErr) -> Option<String> {
    driver(error)?.as_database_error()?.code().map(|code| code.into_owned())
}

/// What the driver said.
fn driver(error: &DbErr) -> Option<&sqlx::Error> {
    match error {
        DbErr::Exec(RuntimeErr::SqlxError(source))
        | DbErr::Query(RuntimeErr::SqlxError(source))
        | DbErr::Conn(RuntimeErr::SqlxError(source)) => Some(source),
        _ => None,
    }
}
