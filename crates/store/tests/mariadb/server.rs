//! What only a database server does: several processes at once, ends and restarts, refusals; and what
//! only MariaDB does.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use reprieve_core::quota::Resource;
use reprieve_core::{ProjectId, UserId};
use reprieve_store::{Location, Store, StoreError, WriteTx};
use reprieve_test_daemons::MariaDb;
use sea_orm::{ConnectionTrait as _, DbBackend, DbErr, ExecResult, Statement};
use tokio::task::{JoinSet, spawn_blocking};

/// Longer than a server takes to start on a busy machine.
const SOON: Duration = Duration::from_secs(30);

fn location(server: &MariaDb, name: &str) -> Location {
    server.create(name).unwrap();
    Location::MariaDb(server.url(name))
}

async fn run(tx: &WriteTx, sql: &str) -> Result<ExecResult, DbErr> {
    tx.execute_unprepared(sql).await
}

/// The error of a statement as the store gives it.
fn as_store_error(source: DbErr) -> StoreError {
    StoreError::Database { what: "do this", source }
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_start_at_once_make_the_schema_once() {
    let location = location(MariaDb::shared(), "started_at_once");
    let mut starting = JoinSet::new();
    for _ in 0..6 {
        let location = location.clone();
        starting.spawn(async move { Store::open(location).await.map(drop) });
    }
    while let Some(started) = starting.join_next().await {
        started.unwrap().unwrap();
    }
}

/// Statements that change the schema are no transactions, so this leaves steps begun.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_cut_off_while_it_makes_the_schema_does_no_harm() {
    let server = MariaDb::shared();
    let (fresh, cut_off) = (location(server, "made_at_once"), location(server, "made_by_many"));
    Store::open(fresh).await.unwrap();
    let mut opened = false;
    for milliseconds in (5..2000).step_by(35) {
        let limit = Duration::from_millis(milliseconds);
        let opening = tokio::time::timeout(limit, Store::open(cut_off.clone()));
        opened = opening.await.is_ok_and(|store| store.is_ok());
        if opened {
            break;
        }
    }
    if !opened {
        Store::open(cut_off).await.unwrap();
    }
    let made = ["made_at_once", "made_by_many"].map(|name| {
        // Servers are numbered from a random place, and migrations are done when they are.
        let sql = "UPDATE counters SET value = 0; UPDATE seaql_migrations SET applied_at = 0";
        server.sql(name, sql).unwrap();
        server.dump(name).unwrap()
    });
    assert_eq!(made.first(), made.last());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_restarted_is_found_again() {
    let server = spawn_blocking(|| MariaDb::start().unwrap()).await.unwrap();
    let store = Store::open(location(&server, "restarted")).await.unwrap();
    let registered = store.register_host(&"vm".into(), "boot-1").await.unwrap();
    let held = store.begin().await.unwrap();
    server.kill().unwrap();
    let cut_off = held.commit().await.unwrap_err();
    assert!(cut_off.is_transient(), "{cut_off:?}");
    let away = store.hosts().await.unwrap_err();
    assert!(away.is_transient(), "{away:?}");
    let again = spawn_blocking(move || {
        server.run_again().unwrap();
        server
    });
    let server = again.await.unwrap();
    let begun = Instant::now();
    loop {
        match store.register_host(&"vm".into(), "boot-1").await {
            Ok(again) => break assert_eq!(again.epoch, registered.epoch),
            Err(error) => assert!(error.is_transient(), "{error:?}"),
        }
        assert!(begun.elapsed() < SOON, "the server is not found again");
    }
    drop(server);
}

#[tokio::test]
async fn a_server_that_is_away_is_named_without_its_password() {
    let url = "mariadb://reprieve:s3cret@127.0.0.1:1/db";
    let error = Store::open(Location::MariaDb(url.to_owned())).await.err().unwrap();
    assert!(matches!(error, StoreError::Connect { .. }) && error.is_transient(), "{error:?}");
    let said = format!("{error} {error:?}");
    assert!(said.contains("mariadb://reprieve@127.0.0.1:1/db"), "{said}");
    assert!(!said.contains("s3cret"), "{said}");
}

#[tokio::test]
async fn tls_trusts_the_named_authority_and_nobody_else() {
    let server = MariaDb::shared();
    server.create("encrypted").unwrap();
    let url = server.encrypted_url("encrypted");
    let trusting = format!("{url}&ssl-ca={}", server.authority().display());
    let store = Store::open(Location::MariaDb(trusting.clone())).await.unwrap();
    assert!(store.hosts().await.unwrap().is_empty());
    let statement = Statement::from_string(DbBackend::MySql, "SHOW STATUS LIKE 'Ssl_cipher'");
    let row = store.reader().query_one_raw(statement).await.unwrap().unwrap();
    assert!(!row.try_get_by_index::<String>(1).unwrap().is_empty());
    for refused in [url, trusting.replace("localhost", "127.0.0.1")] {
        let error = Store::open(Location::MariaDb(refused)).await.err().unwrap();
        let StoreError::Connect { source, .. } = &error else { panic!("{error:?}") };
        assert!(source.to_string().contains("certificate"), "{source}");
    }
}

#[tokio::test]
async fn what_cannot_be_used_is_left_alone() {
    let server = MariaDb::shared();
    let others = location(server, "of_another_program");
    server.sql("of_another_program", "CREATE TABLE instances (id INTEGER PRIMARY KEY)").unwrap();
    let before = server.dump("of_another_program").unwrap();
    let no_database = Location::MariaDb(server.url(""));
    let unreadable = Location::MariaDb("mysql:s3cret".to_owned());
    for (location, why) in [
        (others, "it holds tables of another program"),
        (no_database, "its address names no database"),
        (unreadable, "its address cannot be read"),
    ] {
        let error = Store::open(location).await.err().unwrap();
        assert!(!error.is_transient(), "{error:?}");
        let StoreError::Unsuitable { why: said, .. } = &error else { panic!("{error:?}") };
        assert_eq!(said, why);
        assert!(!format!("{error:?}").contains("s3cret"), "{error:?}");
    }
    assert_eq!(server.dump("of_another_program").unwrap(), before);
}

/// What would be one for a database's usual comparison is two here, as it is elsewhere.
#[tokio::test]
async fn text_is_the_same_only_character_by_character() {
    let store = Store::open(location(MariaDb::shared(), "compared")).await.unwrap();
    let names = ["demo", "Demo", "demo ", "d\u{e9}mo", "de\u{301}mo", "\u{1f600}"];
    let project = ProjectId::from("p");
    for (limit, name) in (1..).zip(names) {
        let quota = BTreeMap::from([(Resource::Cores, limit)]);
        store.set_quota_limits(&project, Some(&UserId::from(name)), &quota).await.unwrap();
    }
    for (limit, name) in (1..).zip(names) {
        let limits = store.quota_limits(&project, Some(&UserId::from(name))).await.unwrap();
        assert_eq!(limits.get(Resource::Cores), limit, "{name}");
    }
}

#[tokio::test]
async fn text_that_is_too_long_for_an_index_is_the_callers_fault() {
    let store = Store::open(location(MariaDb::shared(), "too_long")).await.unwrap();
    let quota = BTreeMap::from([(Resource::Cores, 1)]);
    let longest = UserId::from("\u{1f600}".repeat(255));
    store.set_quota_limits(&"p".into(), Some(&longest), &quota).await.unwrap();
    let longer = UserId::from("x".repeat(256));
    let refused = store.set_quota_limits(&"p".into(), Some(&longer), &quota).await.unwrap_err();
    assert!(matches!(refused, StoreError::BadQuery(_)), "{refused:?}");
}

/// A turn and a statement that take too long, an end by an operator: all of it passes.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_refuses_for_now_passes() {
    let server = MariaDb::shared();
    let store = Store::open(location(server, "refused")).await.unwrap();
    let one = store.begin().await.unwrap();
    let begun = Instant::now();
    let late = store.begin_lazy().await.err().unwrap();
    assert!(late.is_transient() && begun.elapsed() < SOON, "{late:?}");
    let shorter = "SET STATEMENT max_statement_time = 0.2 FOR SELECT SLEEP(5)";
    let slow = as_store_error(run(&one, shorter).await.unwrap_err());
    assert!(slow.is_transient(), "{slow:?}");
    let id = "SELECT CONNECTION_ID()";
    let id = one.query_one_raw(Statement::from_string(DbBackend::MySql, id)).await.unwrap();
    let id: u64 = id.unwrap().try_get_by_index(0).unwrap();
    server.sql("refused", &format!("KILL {id}")).unwrap();
    let killed = one.commit().await.unwrap_err();
    assert!(killed.is_transient(), "{killed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_a_deadlock_may_try_again() {
    // Two databases, because within one they would take turns.
    let server = MariaDb::shared();
    let first = Store::open(location(server, "deadlock_1")).await.unwrap();
    let second = Store::open(location(server, "deadlock_2")).await.unwrap();
    let (one, two) = (first.begin().await.unwrap(), second.begin().await.unwrap());
    let lock =
        |row: u8| format!("SELECT number FROM deadlock_1.locks WHERE number = {row} FOR UPDATE");
    let (seven, eight) = (lock(7), lock(8));
    run(&one, &seven).await.unwrap();
    run(&two, &eight).await.unwrap();
    let (a, b) = tokio::join!(run(&one, &eight), run(&two, &seven));
    let lost: Vec<_> = [a.err(), b.err()].into_iter().flatten().map(as_store_error).collect();
    assert_eq!(lost.len(), 1, "{lost:?}");
    assert!(lost.iter().all(StoreError::is_transient), "{lost:?}");
}

#[tokio::test]
async fn sessions_are_as_strict_as_they_have_to_be() {
    let store = Store::open(location(MariaDb::shared(), "sessions")).await.unwrap();
    let tx = store.begin().await.unwrap();
    for (variable, value) in [
        ("tx_isolation", "READ-COMMITTED"),
        ("collation_connection", "utf8mb4_nopad_bin"),
        ("innodb_lock_wait_timeout", "10"),
        ("max_statement_time", "30.000000"),
        ("idle_transaction_timeout", "60"),
    ] {
        let sql = format!("SELECT CAST(@@SESSION.{variable} AS CHAR)");
        let row = tx.query_one_raw(Statement::from_string(DbBackend::MySql, sql)).await;
        let found: String = row.unwrap().unwrap().try_get_by_index(0).unwrap();
        assert_eq!(found, value, "{variable}");
    }
    let truncated = "INSERT INTO counters (name, value) VALUES (repeat('x', 65), 0)";
    run(&tx, truncated).await.unwrap_err();
}
