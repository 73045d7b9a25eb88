//! What only a database server does: several processes at once, ends and restarts, refusals.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

use std::time::{Duration, Instant};

use reprieve_store::{Location, NewAction, Store, StoreError};
use reprieve_test_daemons::Cluster;
use sea_orm::{ConnectionTrait as _, DbBackend, Statement};
use tokio::task::{JoinSet, spawn_blocking};

/// Longer than a server takes to start on a busy machine.
const SOON: Duration = Duration::from_secs(30);

fn location(cluster: &Cluster, name: &str) -> Location {
    cluster.create(name, "template0").unwrap();
    Location::Postgres(cluster.url(name))
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_start_at_once_make_the_schema_once() {
    let location = location(Cluster::shared(), "started_at_once");
    let mut starting = JoinSet::new();
    for _ in 0..6 {
        let location = location.clone();
        starting.spawn(async move { Store::open(location).await.map(drop) });
    }
    while let Some(started) = starting.join_next().await {
        started.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_restarted_is_found_again() {
    let cluster = spawn_blocking(|| Cluster::start().unwrap()).await.unwrap();
    let store = Store::open(location(&cluster, "restarted")).await.unwrap();
    let registered = store.register_host(&"vm".into(), "boot-1").await.unwrap();
    let held = store.begin().await.unwrap();
    cluster.kill().unwrap();
    let cut_off = held.commit().await.unwrap_err();
    assert!(cut_off.is_transient(), "{cut_off:?}");
    let away = store.hosts().await.unwrap_err();
    assert!(away.is_transient(), "{away:?}");
    spawn_blocking(move || {
        cluster.run_again().unwrap();
        cluster
    })
    .await
    .map(|cluster| async move {
        let begun = Instant::now();
        loop {
            match store.register_host(&"vm".into(), "boot-1").await {
                Ok(again) => break assert_eq!(again.epoch, registered.epoch),
                Err(error) => assert!(error.is_transient(), "{error:?}"),
            }
            assert!(begun.elapsed() < SOON, "the server is not found again");
        }
        drop(cluster);
    })
    .unwrap()
    .await;
}

/// As after a restart of the server, when connections were in use a moment before. Nobody but those whose
/// transactions were under way notices.
#[tokio::test(flavor = "multi_thread")]
async fn connections_that_were_ended_are_passed_over() {
    let store = Store::open(location(Cluster::shared(), "ended")).await.unwrap();
    for _ in 0..3 {
        let mut busy = JoinSet::new();
        for _ in 0..4 {
            let store = store.clone();
            busy.spawn(async move {
                // Whoever waits for its turn has a connection already.
                store.begin().await?.commit().await?;
                store.hosts().await
            });
        }
        while let Some(done) = busy.join_next().await {
            done.unwrap().unwrap();
        }
        let all = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                   WHERE datname = 'ended' AND pid <> pg_backend_pid()";
        let ended = Statement::from_string(DbBackend::Postgres, all);
        store.reader().query_one_raw(ended).await.unwrap();
        let begun = store.begin().await.unwrap();
        begun.commit().await.unwrap();
        let begun = store.begin_lazy().await.unwrap();
        begun.commit().await.unwrap();
        store.hosts().await.unwrap();
    }
}

#[tokio::test]
async fn a_server_that_is_away_is_named_without_its_password() {
    let url = "postgresql://reprieve:s3cret@127.0.0.1:1/db";
    let error = Store::open(Location::Postgres(url.to_owned())).await.err().unwrap();
    assert!(matches!(error, StoreError::Connect { .. }) && error.is_transient(), "{error:?}");
    let said = format!("{error} {error:?}");
    assert!(said.contains("postgresql://reprieve@127.0.0.1:1/db"), "{said}");
    assert!(!said.contains("s3cret"), "{said}");
}

#[tokio::test]
async fn tls_trusts_the_named_authority_and_nobody_else() {
    let cluster = Cluster::shared();
    cluster.create("encrypted", "template0").unwrap();
    let url = cluster.encrypted_url("encrypted");
    let trusting = format!("{url}&sslrootcert={}", cluster.authority().display());
    let store = Store::open(Location::Postgres(trusting.clone())).await.unwrap();
    assert!(store.hosts().await.unwrap().is_empty());
    for refused in [url, trusting.replace("localhost", "127.0.0.1")] {
        let error = Store::open(Location::Postgres(refused)).await.err().unwrap();
        let StoreError::Connect { source, .. } = &error else { panic!("{error:?}") };
        assert!(source.to_string().contains("certificate"), "{source}");
    }
}

/// SQLite takes it; PostgreSQL has no such text.
#[tokio::test]
async fn a_null_character_is_the_callers_fault() {
    let store = Store::open(location(Cluster::shared(), "null_character")).await.unwrap();
    let by = NewAction {
        request_id: reprieve_core::RequestId::random(),
        user_id: "a\0b".into(),
        project_id: "demo".into(),
    };
    let quota = std::collections::BTreeMap::from([(reprieve_core::quota::Resource::Cores, 1)]);
    let refused =
        store.set_quota_limits(&by.project_id, Some(&by.user_id), &quota).await.unwrap_err();
    assert!(matches!(refused, StoreError::BadQuery(_)), "{refused:?}");
}
