//! Transactions beside each other, of one process and of several: what one of them decides holds.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise"
)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::place::for_several;
use common::{Fixture, by, host, new_instance, operation, seen};
use reprieve_core::message::{OperationResult, Report, ReportBody};
use reprieve_core::quota::Resource;
use reprieve_core::{HostName, InstanceId, Lock, OperationKind as K, PowerState as P};
use reprieve_store::{NotificationQuery, Store, StoreError};
use tokio::task::JoinSet;

const TASKS: usize = 16;

/// The database as so many tasks see it: in several processes where the database is for several.
async fn stores(f: &Fixture) -> [Store; 2] {
    let other = if for_several() { f.another_process().await } else { f.store.clone() };
    [f.store.clone(), other]
}

async fn all<T: 'static>(mut tasks: JoinSet<T>) -> Vec<T> {
    let mut done = Vec::new();
    while let Some(one) = tasks.join_next().await {
        done.push(one.unwrap());
    }
    done
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_of_many_operations_is_admitted() {
    let f = Fixture::new().await;
    let stores = stores(&f).await;
    for _ in 0..5 {
        let id = f.active().await.id;
        let mut tasks = JoinSet::new();
        for task in 0..TASKS {
            let store = stores[task % 2].clone();
            let kind = if task % 4 < 2 { K::Pause } else { K::Suspend };
            tasks.spawn(async move { store.admit(operation(id, kind)).await });
        }
        let results = all(tasks).await;
        let admitted = results.iter().filter(|result| result.is_ok()).count();
        assert_eq!(admitted, 1, "{results:?}");
        for refused in results.iter().filter_map(|result| result.as_ref().err()) {
            assert!(matches!(refused, StoreError::Denied(_)), "{refused}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn requests_together_do_not_exceed_a_quota() {
    let f = Fixture::new().await;
    let stores = stores(&f).await;
    let limits = BTreeMap::from([(Resource::Instances, 5)]);
    f.store.set_quota_limits(&"demo".into(), None, &limits).await.unwrap();
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let store = stores[task % 2].clone();
        tasks.spawn(async move { store.create_instances(vec![new_instance("x")], &by()).await });
    }
    let results = all(tasks).await;
    let mut numbers = BTreeSet::new();
    for result in results {
        match result {
            Ok(made) => assert!(numbers.insert(made[0].number), "a number is given out once"),
            Err(error) => assert!(matches!(error, StoreError::OverQuota(_)), "{error:?}"),
        }
    }
    assert_eq!(numbers.len(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_due_is_claimed_once() {
    let f = Fixture::new().await;
    let stores = stores(&f).await;
    let unlimited = [Resource::Instances, Resource::Cores, Resource::Ram].map(|all| (all, -1));
    let limits = BTreeMap::from(unlimited);
    f.store.set_quota_limits(&"demo".into(), None, &limits).await.unwrap();
    for _ in 0..40 {
        f.building().await;
    }
    let mut tasks = JoinSet::new();
    for task in 0..6 {
        let store = stores[task % 2].clone();
        tasks.spawn(async move {
            let mut claimed = Vec::new();
            // Rows that another one looks at are left to it, so an empty answer is not the end.
            for _ in 0..20 {
                let commands = store.claim(7).await.unwrap();
                claimed.extend(commands.into_iter().map(|command| command.operation.id));
            }
            claimed
        });
    }
    let claimed: Vec<_> = all(tasks).await.into_iter().flatten().collect();
    let once: BTreeSet<_> = claimed.iter().map(ToString::to_string).collect();
    assert_eq!(claimed.len(), once.len(), "nothing is claimed twice");
    assert_eq!(once.len(), 40);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_start_of_a_host_gets_an_epoch_of_its_own() {
    let f = Fixture::new().await;
    let stores = stores(&f).await;
    for name in [host(), HostName::from("new")] {
        let mut tasks = JoinSet::new();
        for task in 0..TASKS {
            let (store, name) = (stores[task % 2].clone(), name.clone());
            tasks.spawn(async move {
                store.register_host(&name, &format!("boot-x{task}")).await.unwrap().epoch
            });
        }
        let epochs: BTreeSet<i64> = all(tasks).await.into_iter().collect();
        assert_eq!(epochs.len(), TASKS, "{epochs:?}");
    }
}

/// A reader that goes on after the newest number it has seen must see every change.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_reader_of_notifications_misses_none() {
    let f = Fixture::new().await;
    let stores = stores(&f).await;
    let mut servers = Vec::new();
    for _ in 0..8 {
        servers.push(f.active().await.id);
    }
    let begin = newest(&f.store).await;
    let writing = Arc::new(AtomicBool::new(true));
    let reader = tokio::spawn({
        let (store, writing) = (stores[1].clone(), Arc::clone(&writing));
        async move {
            let mut seen = Vec::new();
            loop {
                let last_look = !writing.load(Ordering::SeqCst);
                let after = seen.last().copied().unwrap_or(begin);
                let query = NotificationQuery { after, limit: 100, ..Default::default() };
                let found = store.notifications(&query).await.unwrap();
                let done = found.is_empty() && last_look;
                seen.extend(found.into_iter().map(|record| record.number));
                if done {
                    return seen;
                }
            }
        }
    });
    let mut tasks = JoinSet::new();
    for (task, id) in servers.into_iter().enumerate() {
        let store = stores[task % 2].clone();
        tasks.spawn(async move {
            for round in 0..20 {
                let lock = if round % 2 == 0 { Lock::Owner } else { Lock::Unlocked };
                store.set_lock(id, lock, None, &by()).await.unwrap();
                // What is rolled back leaves no gap.
                drop(store.begin_lazy().await.unwrap());
            }
        });
    }
    all(tasks).await;
    writing.store(false, Ordering::SeqCst);
    let seen = reader.await.unwrap();
    let expected: Vec<i64> = (begin + 1..=begin + 160).collect();
    assert_eq!(seen, expected);
}

async fn newest(store: &Store) -> i64 {
    store.notification_range().await.unwrap().map_or(0, |(_, newest)| newest)
}

/// Reports about the same servers in opposite order, of two conductors, while operations are
/// admitted, claimed and given up: nobody waits for ever, and everything ends once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn conductors_do_not_lock_each_other_out() {
    let f = Fixture::new().await;
    let stores = stores(&f).await;
    let mut servers = Vec::new();
    for _ in 0..6 {
        servers.push(f.active().await.id);
    }
    for _ in 0..10 {
        let mut ends = Vec::new();
        for id in &servers {
            let kind = match f.get(*id).await.vm_state {
                reprieve_core::VmState::Paused => K::Unpause,
                _ => K::Pause,
            };
            let operation_id = f.admit(*id, kind).await.unwrap().operation.unwrap().id;
            let power = if kind == K::Pause { P::Paused } else { P::Running };
            ends.push(f.next_report(ReportBody::Finished {
                operation_id,
                instance_id: *id,
                result: OperationResult::Succeeded,
                seen: seen(power),
                done: Vec::new(),
            }));
        }
        let backwards: Vec<Report> = ends.iter().rev().cloned().collect();
        let (one, two) = tokio::join!(
            conduct(&stores[0], ends, &servers),
            conduct(&stores[1], backwards, &servers)
        );
        assert_eq!(one + two, servers.len(), "each operation ends once");
    }
}

async fn conduct(store: &Store, reports: Vec<Report>, servers: &[InstanceId]) -> usize {
    let change = async |id: InstanceId| store.set_lock(id, Lock::Unlocked, None, &by()).await;
    let together = async {
        let (applied, claimed, expired) =
            tokio::join!(store.apply(&reports), store.claim(10), store.expire());
        claimed.unwrap();
        expired.unwrap();
        applied.unwrap()
    };
    let (outcomes, changes) =
        tokio::join!(together, futures_util::future::join_all(servers.iter().copied().map(change)));
    changes.into_iter().for_each(Result::unwrap);
    let ended = |outcome: &&reprieve_store::ApplyOutcome| {
        matches!(outcome, reprieve_store::ApplyOutcome::Ended(_))
    };
    outcomes.iter().filter(ended).count()
}

/// Losing a race is an answer, not an error of the database.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_waits_longer_than_it_has_to() {
    let f = Fixture::new().await;
    let id = f.active().await.id;
    let stores = stores(&f).await;
    let begun = std::time::Instant::now();
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let store = stores[task % 2].clone();
        tasks.spawn(async move { store.set_lock(id, Lock::Owner, None, &by()).await });
    }
    all(tasks).await.into_iter().for_each(Result::unwrap);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}
