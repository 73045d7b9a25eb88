//! The schema: what the database itself refuses, upgrades, durability.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod common;

use common::{Fixture, by};
use reprieve_core::OperationKind;
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
async fn the_database_refuses_what_must_not_be() {
    let f = Fixture::new().await;
    let idle = f.active().await;
    let busy = f.active().await;
    f.admit(busy.id, OperationKind::Pause).await.unwrap();
    let (idle, busy) = (idle.id, busy.id);
    for (rule, sql) in [
        ("unknown state", format!("UPDATE instances SET vm_state = 'flying' WHERE id = '{idle}'")),
        ("unknown task", format!("UPDATE instances SET task_state = 'x' WHERE id = '{busy}'")),
        ("I5", format!("UPDATE instances SET task_state = NULL WHERE id = '{busy}'")),
        ("I5", format!("UPDATE instances SET task_state = 'pausing' WHERE id = '{idle}'")),
        ("deleted", format!("UPDATE instances SET vm_state = 'deleted' WHERE id = '{idle}'")),
        ("deleted", format!("UPDATE instances SET deleted_at = 1 WHERE id = '{idle}'")),
        ("power", format!("UPDATE instances SET power_state = 2 WHERE id = '{idle}'")),
        ("progress", format!("UPDATE instances SET progress = 101 WHERE id = '{idle}'")),
        ("lock", format!("UPDATE instances SET locked_by = 'me' WHERE id = '{idle}'")),
        ("number", "UPDATE instances SET number = 1".to_owned()),
        (
            "I1",
            format!(
                "UPDATE operations SET active_key = '{busy}', finished_at = NULL, \
                        state = 'running' WHERE instance_id = '{busy}'"
            ),
        ),
        ("I1", format!("UPDATE operations SET active_key = '{busy}' WHERE instance_id = '{idle}'")),
        ("ended", "UPDATE operations SET state = 'running' WHERE state = 'succeeded'".to_owned()),
        ("state", "UPDATE operations SET state = 'done'".to_owned()),
        ("orphan", "INSERT INTO outbox VALUES ('nothing', 'vm', 'run', 0, 0, 0)".to_owned()),
        ("in use", format!("DELETE FROM instances WHERE id = '{idle}'")),
    ] {
        let tx = f.store.begin().await.unwrap();
        let refused = tx.execute_unprepared(&sql).await;
        assert!(refused.is_err(), "{rule}: {sql}");
    }
    // The refusals were rolled back and the writer is free.
    assert_eq!(f.get(busy).await.task_state.unwrap().as_str(), "pausing");
    f.admit(idle, OperationKind::Pause).await.unwrap();
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
        let mode = std::fs::metadata(f.dir.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}
