//! What can go wrong with the database.

use reprieve_core::quota::{OverQuota, Resource};
use reprieve_core::{Denied, InstanceId, ServerGroupId};

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
    /// The server changed while it was being decided about; nothing was written.
    #[error("server {0} changed meanwhile; try again")]
    Raced(InstanceId),
    /// Servers would exceed a quota; nothing was written.
    #[error(transparent)]
    OverQuota(#[from] OverQuota),
    /// There are as many of these as a quota allows; nothing was written.
    #[error("the quota of {0} is used up")]
    QuotaReached(Resource),
    /// A server group has other members than hosts were chosen for; nothing was written.
    #[error("server group {0} changed meanwhile; try again")]
    GroupChanged(ServerGroupId),
    /// A filter of a listing is unusable.
    #[error("{0}")]
    BadQuery(String),
}

impl StoreError {
    /// Wraps a database error with what was attempted.
    pub(crate) fn db(what: &'static str) -> impl FnOnce(sea_orm::DbErr) -> Self {
        move |source| Self::Database { what, source }
    }
}
