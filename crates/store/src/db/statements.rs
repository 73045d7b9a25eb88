//! Every statement is work outside of the runtime: SQLite runs in threads of its own, the
//! others elsewhere.

use async_trait::async_trait;
use reprieve_outside::{Kept, outside};
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, ExecResult,
    QueryResult, Statement, TransactionOptions, TransactionTrait as _,
};

use crate::error::connection_ended;

/// Where statements are run that need no transaction.
pub type Reader = Statements<DatabaseConnection>;
/// Where statements of a transaction are run.
pub type Transaction = Statements<DatabaseTransaction>;

/// A connection, or a transaction on one, whose statements are run outside of the runtime.
pub struct Statements<C> {
    on: Kept<C>,
    /// How often a read, or the begin of a transaction, is tried.
    attempts: u32,
}

impl<C> Statements<C> {
    pub(super) const fn on(connection: C) -> Self {
        Self { on: Kept::new(connection), attempts: 1 }
    }

    /// Connections of a pool of so many, all of which a restart of the server ends without a word. Only
    /// those that have been idle for a while are tried before they are used, so whoever finds one of the
    /// others, to read or to begin a transaction, goes on to the next. Nothing else is repeated: it may
    /// have been done.
    pub(super) const fn on_any_of(connections: C, count: u32) -> Self {
        Self { on: Kept::new(connections), attempts: count.saturating_add(1) }
    }

    /// The connection itself.
    pub(super) fn inner(&self) -> &C {
        &self.on
    }

    /// The connection itself, for its end.
    pub(super) fn into_inner(self) -> C {
        self.on.into_inner()
    }

    /// Whether what failed, and did nothing by that, is tried once more.
    fn goes_on(&self, attempt: &mut u32, error: &DbErr) -> bool {
        *attempt += 1;
        *attempt < self.attempts && connection_ended(error)
    }
}

impl Reader {
    /// Begins a transaction.
    ///
    /// # Errors
    /// When no connection takes it.
    pub(super) async fn begin(&self, options: TransactionOptions) -> Result<Transaction, DbErr> {
        let mut attempt = 0;
        loop {
            match outside(self.on.begin_with_options(options)).await {
                Err(error) if self.goes_on(&mut attempt, &error) => {}
                begun => return begun.map(Statements::on),
            }
        }
    }
}

#[async_trait]
impl<C: ConnectionTrait + Send> ConnectionTrait for Statements<C> {
    fn get_database_backend(&self) -> DbBackend {
        self.on.get_database_backend()
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        outside(self.on.execute_raw(statement)).await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        outside(self.on.execute_unprepared(sql)).await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        if self.attempts == 1 {
            return outside(self.on.query_one_raw(statement)).await;
        }
        let mut attempt = 0;
        loop {
            match outside(self.on.query_one_raw(statement.clone())).await {
                Err(error) if self.goes_on(&mut attempt, &error) => {}
                answer => return answer,
            }
        }
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        if self.attempts == 1 {
            return outside(self.on.query_all_raw(statement)).await;
        }
        let mut attempt = 0;
        loop {
            match outside(self.on.query_all_raw(statement.clone())).await {
                Err(error) if self.goes_on(&mut attempt, &error) => {}
                answer => return answer,
            }
        }
    }
}
