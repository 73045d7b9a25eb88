//! Schema, as a list of steps that is only ever appended to.
//!
//! Statements are written once, in words that [`statement`] makes each database's own of: `TEXT(n)` is
//! text of at most `n` characters where text in an index has to be limited, and what is within
//! `/*M! … */` is for MariaDB alone.
//!
//! On SQLite and PostgreSQL a step is one transaction with the note that it was done. On MariaDB each
//! statement that changes the schema is one by itself: done or not, never half. A process that is
//! killed in the middle of a step leaves it begun but not noted, and the next one does it again from
//! its begin. A statement that was done says so, by the number of its error, and is passed over; one
//! that would not fail the second time does the same again. So a step gets where it would have got.
//! For that a statement may not depend on what a later one of its step has changed, and changes the
//! schema at one place only.

// The trait of the migration library hides the lifetime of `SchemaManager`; spelling it as `'_`
// would make async_trait generate another signature (E0195).
#![allow(elided_lifetimes_in_paths)]

use sea_orm::ConnectionTrait;
use sea_orm_migration::prelude::*;

use crate::db::Dialect;
use crate::error::mariadb_number;

mod m0001_servers;
mod m0002_identity_images;
mod m0003_hosts;
mod m0004_quotas;
mod m0006_application_credentials;
mod m0007_notifications;
mod m0008_instance_revision;
mod m0020_notification_readers;
mod m0021_list_index;
mod m0030_console_tokens;
mod m0031_host_reboot;
mod m0032_lean_indexes;
mod m0033_suspended_for_host;

/// All steps, oldest first.
const STEPS: [Step; 13] = [
    m0001_servers::STEP,
    m0002_identity_images::STEP,
    m0003_hosts::STEP,
    m0004_quotas::STEP,
    m0006_application_credentials::STEP,
    m0007_notifications::STEP,
    m0008_instance_revision::STEP,
    m0020_notification_readers::STEP,
    m0021_list_index::STEP,
    m0030_console_tokens::STEP,
    m0031_host_reboot::STEP,
    m0032_lean_indexes::STEP,
    m0033_suspended_for_host::STEP,
];

/// Does them.
pub(crate) struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        STEPS.into_iter().map(|step| Box::new(step) as Box<dyn MigrationTrait>).collect()
    }
}

/// Statements that are done or not, together.
#[derive(Clone, Copy)]
pub(crate) struct Step {
    name: &'static str,
    parts: &'static [Part],
}

/// Statements of a step.
pub(crate) enum Part {
    /// On every database.
    All(&'static [&'static str]),
    /// On these databases.
    On(&'static [Dialect], &'static [&'static str]),
}

impl Step {
    const fn new(name: &'static str, parts: &'static [Part]) -> Self {
        Self { name, parts }
    }

    /// What is done on a database.
    fn statements(&self, dialect: Dialect) -> impl Iterator<Item = String> + Send {
        let parts = self.parts.iter().filter_map(move |part| match part {
            Part::All(statements) => Some(*statements),
            Part::On(dialects, statements) => dialects.contains(&dialect).then_some(*statements),
        });
        parts.flatten().map(move |text| statement(text, dialect))
    }
}

impl MigrationName for Step {
    fn name(&self) -> &str {
        self.name
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Step {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let dialect = Dialect::of(manager.get_connection());
        for sql in self.statements(dialect) {
            run(manager.get_connection(), &sql).await?;
        }
        Ok(())
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}

/// How MariaDB keeps text and rows: compared by their characters' numbers with spaces at the end,
/// indexes of up to 3072 bytes.
const TABLE_OF_MARIADB: &str = " ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 \
     COLLATE utf8mb4_nopad_bin";

/// What a statement fails with on MariaDB that was done already: the table, the column, the index is
/// there, or the index is not there any more.
const DONE: [u16; 4] = [1050, 1060, 1061, 1091];
/// The same of one that puts rows into a table: their key is there.
const ROWS_DONE: u16 = 1062;

/// Runs a statement, unless it was done before the step was cut off.
async fn run<C: ConnectionTrait>(connection: &C, sql: &str) -> Result<(), DbErr> {
    let error = match connection.execute_unprepared(sql).await {
        Ok(_) => return Ok(()),
        Err(error) => error,
    };
    let done =
        |number: u16| DONE.contains(&number) || (number == ROWS_DONE && sql.starts_with("INSERT"));
    if mariadb_number(&error).is_some_and(done) { Ok(()) } else { Err(error) }
}

/// A statement in a database's own words.
fn statement(text: &str, dialect: Dialect) -> String {
    match dialect {
        Dialect::Sqlite | Dialect::Postgres => {
            let without = replaced(text, (" /*M!", "*/"), |_| String::new());
            replaced(&without, ("TEXT(", ")"), |_| "TEXT".to_owned())
        }
        Dialect::MariaDb => {
            let with = replaced(text, ("/*M!", "*/"), ToOwned::to_owned);
            let limited = replaced(&with, (" TEXT(", ")"), |most| format!(" VARCHAR({most})"));
            let mut sql = limited.replace(" TEXT", " LONGTEXT");
            if sql.starts_with("CREATE TABLE") {
                sql.push_str(TABLE_OF_MARIADB);
            }
            sql
        }
    }
}

/// Puts something else in place of what begins and ends so.
fn replaced(text: &str, (begin, end): (&str, &str), by: impl Fn(&str) -> String) -> String {
    let mut pieces = text.split(begin);
    let mut made = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (inside, behind) = piece.split_once(end).unwrap_or((piece, ""));
        made.push_str(&by(inside));
        made.push_str(behind);
    }
    made
}

#[cfg(test)]
mod tests {
    use reprieve_test_daemons::MariaDb;
    use sea_orm_migration::sea_orm::{Database, DatabaseConnection, DbBackend, Statement};

    use super::*;

    async fn schema(db: &DatabaseConnection) -> Vec<String> {
        let sql = "SELECT coalesce(sql, name) AS text FROM sqlite_master ORDER BY type, name";
        let statement = Statement::from_string(DbBackend::Sqlite, sql);
        let rows = db.query_all_raw(statement).await.unwrap();
        rows.iter().map(|row| row.try_get_by("text").unwrap()).collect()
    }

    /// A database that grew with every release looks like one that was made today.
    #[tokio::test]
    async fn upgraded_is_fresh() {
        let dir = tempfile::TempDir::new().unwrap();
        let url = |name: &str| format!("sqlite://{}?mode=rwc", dir.path().join(name).display());
        let fresh = Database::connect(url("fresh.db")).await.unwrap();
        Migrator::up(&fresh, None).await.unwrap();
        let upgraded = Database::connect(url("upgraded.db")).await.unwrap();
        for _ in Migrator::migrations() {
            Migrator::up(&upgraded, Some(1)).await.unwrap();
        }
        let tables = schema(&fresh).await;
        assert!(tables.len() > 20);
        assert_eq!(schema(&upgraded).await, tables);
    }

    #[test]
    fn each_database_gets_its_own_words() {
        let text = "CREATE TABLE t (a TEXT(36) PRIMARY KEY, b TEXT, c TEXT /*M! x */)";
        let usual = "CREATE TABLE t (a TEXT PRIMARY KEY, b TEXT, c TEXT)";
        assert_eq!(statement(text, Dialect::Sqlite), usual);
        assert_eq!(statement(text, Dialect::Postgres), usual);
        let limited =
            "CREATE TABLE t (a VARCHAR(36) PRIMARY KEY, b LONGTEXT, c LONGTEXT  x ) ENGINE";
        let on_mariadb = statement(text, Dialect::MariaDb);
        assert!(on_mariadb.starts_with(limited), "{on_mariadb}");
        let index = "DROP INDEX i /*M! ON t */";
        assert_eq!(statement(index, Dialect::Postgres), "DROP INDEX i");
        assert_eq!(statement(index, Dialect::MariaDb), "DROP INDEX i  ON t ");
    }

    /// Everything of a database of MariaDB, without when migrations were done.
    fn all_of(server: &MariaDb, name: &str) -> String {
        let forget = "UPDATE seaql_migrations SET applied_at = 0";
        server.sql(name, forget).unwrap();
        server.dump(name).unwrap()
    }

    async fn connection(server: &MariaDb, name: &str) -> DatabaseConnection {
        // The driver knows one scheme only.
        let url = server.url(name).replace("mariadb:", "mysql:");
        let mut options = sea_orm::ConnectOptions::new(url);
        options.max_connections(1);
        let db = Database::connect(options).await.unwrap();
        let mode = "SET SESSION sql_mode = 'ANSI_QUOTES,STRICT_ALL_TABLES'";
        db.execute_unprepared(mode).await.unwrap();
        db
    }

    /// Each step is begun again and again, one statement further each time, as by processes that are
    /// killed before they have noted it.
    #[tokio::test(flavor = "multi_thread")]
    async fn mariadb_goes_on_where_a_step_was_cut_off() {
        let server = MariaDb::shared();
        for name in ["fresh", "cut_off"] {
            server.create(name).unwrap();
        }
        let fresh = connection(server, "fresh").await;
        let cut_off = connection(server, "cut_off").await;
        let mut cuts = 0;
        for step in STEPS {
            let statements: Vec<String> = step.statements(Dialect::MariaDb).collect();
            for done in 1..=statements.len() {
                for sql in statements.iter().take(done) {
                    run(&cut_off, sql).await.unwrap();
                }
                cuts += 1;
            }
            Migrator::up(&cut_off, Some(1)).await.unwrap();
        }
        assert!(cuts > 60, "{cuts}");
        Migrator::up(&fresh, None).await.unwrap();
        assert_eq!(all_of(server, "cut_off"), all_of(server, "fresh"));
    }
}
