//! Every statement is work outside of the runtime: SQLite runs in threads of its own, the
//! others elsewhere.

use async_trait::async_trait;
use reprieve_outside::{Kept, outside};
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, ExecResult,
    QueryResult, Statement,
};

/// Where statements are run that need no transaction.
pub type Reader = Statements<DatabaseConnection>;
/// Where statements of a transaction are run.
pub type Transaction = Statements<DatabaseTransaction>;

/// A connection, or a transaction on one, whose statements are run outside of the runtime.
pub struct Statements<C>(Kept<C>);

impl<C> Statements<C> {
    pub(super) const fn on(connection: C) -> Self {
        Self(Kept::new(connection))
    }

    /// The connection itself.
    pub(super) fn inner(&self) -> &C {
        &self.0
    }

    /// The connection itself, for its end.
    pub(super) fn into_inner(self) -> C {
        self.0.into_inner()
    }
}

#[async_trait]
impl<C: ConnectionTrait + Send> ConnectionTrait for Statements<C> {
    fn get_database_backend(&self) -> DbBackend {
        self.0.get_database_backend()
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        outside(self.0.execute_raw(statement)).await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        outside(self.0.execute_unprepared(sql)).await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        outside(self.0.query_one_raw(statement)).await
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        outside(self.0.query_all_raw(statement)).await
    }
}
