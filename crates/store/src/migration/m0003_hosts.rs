//! What administrators say about hosts: numbers, reasons, aggregates; the zone a server was asked for.

use super::Part::All;
use super::Step;

/// Hosts that exist already are numbered in the order in which they registered.
const HOSTS: &[&str] = &[
    "ALTER TABLE hosts ADD COLUMN number BIGINT NOT NULL DEFAULT 0",
    "ALTER TABLE hosts ADD COLUMN disabled_reason TEXT",
    "ALTER TABLE hosts ADD COLUMN forced_down BOOLEAN NOT NULL DEFAULT FALSE",
    "ALTER TABLE hosts ADD COLUMN changed_at BIGINT NOT NULL DEFAULT 0",
    "UPDATE hosts SET number = (SELECT count(*) FROM hosts AS earlier
        WHERE earlier.created_at < hosts.created_at
           OR (earlier.created_at = hosts.created_at AND earlier.name <= hosts.name))",
    "INSERT INTO counters (name, value) SELECT 'host', coalesce(max(number), 0) FROM hosts",
];

/// Hosts and metadata are JSON: there are few aggregates, and every change looks at all of them.
const AGGREGATES: &[&str] = &[
    "CREATE TABLE aggregates (
        number BIGINT NOT NULL PRIMARY KEY,
        uuid TEXT(36) NOT NULL UNIQUE,
        name TEXT(255) NOT NULL UNIQUE,
        hosts TEXT NOT NULL,
        metadata TEXT NOT NULL,
        created_at BIGINT NOT NULL,
        updated_at BIGINT)",
    "INSERT INTO counters (name, value) VALUES ('aggregate', 0)",
];

const INSTANCES: &[&str] = &["ALTER TABLE instances ADD COLUMN requested_zone TEXT"];

/// The step.
pub(super) const STEP: Step =
    Step::new("m0003_hosts", &[All(HOSTS), All(AGGREGATES), All(INSTANCES)]);

#[cfg(test)]
mod tests {
    use sea_orm::{ConnectionTrait as _, Database, DbBackend, Statement};
    use sea_orm_migration::MigratorTrait as _;

    use super::super::Migrator;

    #[tokio::test]
    async fn hosts_that_are_there_get_numbers() {
        let dir = tempfile::TempDir::new().unwrap();
        let url = format!("sqlite://{}?mode=rwc", dir.path().join("old.db").display());
        let db = Database::connect(url).await.unwrap();
        Migrator::up(&db, Some(2)).await.unwrap();
        for (name, created_at) in [("c", 1), ("b", 2), ("a", 2)] {
            let sql = format!(
                "INSERT INTO hosts (name, epoch, boot_id, last_seq, enabled, created_at, last_seen)
                 VALUES ('{name}', 1, 'x', 0, TRUE, {created_at}, 3)"
            );
            db.execute_unprepared(&sql).await.unwrap();
        }
        Migrator::up(&db, Some(1)).await.unwrap();
        let ask = async |sql: &str| -> String {
            let statement = Statement::from_string(DbBackend::Sqlite, sql);
            let row = db.query_one_raw(statement).await.unwrap().unwrap();
            row.try_get_by_index(0).unwrap()
        };
        let numbers = "SELECT group_concat(name || number || forced_down) FROM
                       (SELECT * FROM hosts ORDER BY number)";
        assert_eq!(ask(numbers).await, "c10,a20,b30");
        let next = "SELECT CAST(value AS TEXT) FROM counters WHERE name = 'host'";
        assert_eq!(ask(next).await, "3");
    }
}
