//! The SQLite file: upgrades, durability, who may read it.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod common;

use common::{Fixture, by};
use reprieve_store::Store;
use sea_orm::{ConnectionTrait as _, DbBackend, Statement};

/// What the tables are made of, as SQLite keeps it.
async fn schema(store: &Store) -> Vec<String> {
    let sql = "SELECT type || ' ' || name || ': ' || coalesce(sql, '') AS text \
               FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' ORDER BY type, name";
    let statement = Statement::from_string(DbBackend::Sqlite, sql);
    let rows = store.reader().query_all_raw(statement).await.unwrap();
    rows.iter().map(|row| row.try_get_by("text").unwrap()).collect()
}

#[tokio::test]
async fn opening_again_changes_nothing() {
    let mut f = Fixture::new().await;
    let fresh = schema(&f.store).await;
    for table in ["instances", "operations", "op_events", "outbox", "hosts", "flavors", "keypairs"]
    {
        let name = format!("table {table}: ");
        assert!(fresh.iter().any(|one| one.starts_with(&name)), "{table}");
    }
    let server = f.active().await;
    f.reopen().await;
    assert_eq!(schema(&f.store).await, fresh);
    assert_eq!(f.get(server.id).await, server);
}

#[tokio::test]
async fn writers_are_as_durable_as_they_say() {
    let f = Fixture::new().await;
    let pragma = async |tx: &reprieve_store::WriteTx, name: &str| -> i32 {
        let sql = format!("PRAGMA {name}");
        let statement = Statement::from_string(DbBackend::Sqlite, sql);
        tx.query_one_raw(statement).await.unwrap().unwrap().try_get_by_index(0).unwrap()
    };
    let durable = f.store.begin().await.unwrap();
    assert_eq!(pragma(&durable, "synchronous").await, 2, "FULL");
    assert_eq!(pragma(&durable, "foreign_keys").await, 1);
    assert_eq!(pragma(&durable, "busy_timeout").await, 5000);
    drop(durable);
    let lazy = f.store.begin_lazy().await.unwrap();
    assert_eq!(pragma(&lazy, "synchronous").await, 1, "NORMAL");
    drop(lazy);
    let statement = Statement::from_string(DbBackend::Sqlite, "PRAGMA journal_mode");
    let row = f.store.reader().query_one_raw(statement).await.unwrap().unwrap();
    assert_eq!(row.try_get_by_index::<String>(0).unwrap(), "wal");
}

/// A read that becomes a write would fail at once in SQLite; immediate transactions take turns.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_take_turns_and_readers_do_not_wait() {
    let f = Fixture::new().await;
    let server = f.active().await;
    let held = f.store.begin().await.unwrap();
    assert_eq!(f.get(server.id).await, server, "readers go on");
    let waiting: Vec<_> = (0..8)
        .map(|_| {
            let store = f.store.clone();
            tokio::spawn(async move {
                let change = reprieve_store::InstanceUpdate {
                    description: Some(None),
                    ..Default::default()
                };
                store.update_instance(server.id, change, &by()).await
            })
        })
        .collect();
    drop(held);
    for one in waiting {
        one.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_file_that_is_no_database_is_named() {
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().join("no").join("such").join("dir.db");
    let error = Store::open(&path).await.err().unwrap().to_string();
    assert!(error.contains(path.to_str().unwrap()), "{error}");
}

#[tokio::test]
async fn only_its_owner_reads_the_database() {
    use std::os::unix::fs::PermissionsExt as _;
    let f = Fixture::new().await;
    for name in ["reprieve.db", "reprieve.db-wal", "reprieve.db-shm"] {
        let mode = std::fs::metadata(f.place.file(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}
