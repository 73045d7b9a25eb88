//! Claims: what servers are promised of hosts, while many ask at once.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise"
)]

mod common;

use std::collections::BTreeMap;

use common::place::for_several;
use common::{Fixture, by, host, info, new_instance, operation, saved, seen};
use reprieve_core::group::{GroupPolicy, Seating};
use reprieve_core::message::{HostInfo, OperationArgs, Report, ReportBody};
use reprieve_core::quota::Resource;
use reprieve_core::schedule::{
    Amounts, Candidate, ClaimPolicy, Standing, Target, Wanted, choose as choose_hosts,
};
use reprieve_core::{
    Denied, Fault, HostName, OperationKind as K, PowerState as P, Timestamp, VmState,
};
use reprieve_store::{
    HostUpdate, HostUsage, InstanceRecord, NewInstance, NewOperation, NewServerGroup, Placement,
    Situation, Store, StoreError,
};
use tokio::task::JoinSet;

const HOSTS: [&str; 3] = ["one", "two", "three"];

/// Three more hosts, each with room for a dozen servers of [`new_instance`]'s size and a half.
async fn three_hosts(f: &Fixture) {
    for name in HOSTS {
        let host = HostName::from(name);
        let epoch = f.store.register_host(&host, "boot-1").await.unwrap().epoch;
        let info = HostInfo { memory_mib: 512 + 12 * 512 + 256, ..info() };
        let body = ReportBody::Heartbeat { host: Some(info), problem: None };
        let report = Report { host, epoch, sequence: 1, at: Timestamp::from_micros(1), body };
        f.apply(&report).await;
    }
}

async fn without_quotas(f: &Fixture) {
    let all = [Resource::Instances, Resource::Cores, Resource::Ram, Resource::ServerGroupMembers];
    let limits = BTreeMap::from(all.map(|one| (one, -1)));
    f.store.set_quota_limits(&"demo".into(), None, &limits).await.unwrap();
}

/// Chooses among the three hosts as the control plane does.
fn choose(situation: &Situation, servers: &mut [NewInstance]) {
    let nothing = BTreeMap::new();
    let any = Target::default();
    let candidates = situation.hosts.iter().filter(|host| HOSTS.contains(&host.name.as_str()));
    let candidates = candidates.map(|host| Candidate {
        name: &host.name,
        node: host.node(),
        zone: "nova",
        standing: Standing {
            enabled: host.enabled,
            disabled_reason: host.disabled_reason.as_deref(),
            forced_down: false,
            alive: true,
            reachable: true,
        },
        machine: situation.machine(host),
        offer: situation.offer(host),
        aggregates: situation.metadata_of(&host.name).collect(),
    });
    let flavor = &servers[0].flavor;
    let wanted = Wanted {
        size: Amounts {
            vcpus: flavor.vcpus.into(),
            memory_mib: flavor.memory_mib,
            disk_gib: flavor.root_gib,
        },
        extra_specs: &nothing,
        image_properties: &nothing,
        zone: None,
        forced: &any,
        requested: &any,
    };
    let group = situation.group.as_ref().map(|group| {
        let (policy, max_per_host) = (group.policy, group.max_per_host);
        let mut seating = Seating { policy, max_per_host, members: BTreeMap::new() };
        group.members.iter().filter_map(|one| one.host.as_ref()).for_each(|on| seating.seat(on));
        seating
    });
    let chosen = choose_hosts(candidates.collect(), &wanted, group, servers.len());
    for (server, chosen) in servers.iter_mut().zip(chosen) {
        server.placement = match chosen {
            Ok(host) => Placement::Host(host),
            Err(why) => Placement::Nowhere(Fault::new(500, why.to_string(), "")),
        };
    }
}

/// So many requests at once, in two processes where the database is for several.
async fn race(
    f: &Fixture,
    count: usize,
    make: impl Fn(usize) -> Vec<NewInstance>,
) -> Vec<InstanceRecord> {
    let other = if for_several() { f.another_process().await } else { f.store.clone() };
    let mut racing = JoinSet::new();
    for number in 0..count {
        let store = if number % 2 == 0 { f.store.clone() } else { other.clone() };
        let servers = make(number);
        racing.spawn(async move {
            loop {
                match store.create_chosen(servers.clone(), &by(), choose).await {
                    // So many at once may have to wait longer for a connection than one waits.
                    Err(error) if error.is_transient() => {}
                    made => break made.unwrap(),
                }
            }
        });
    }
    let mut made = Vec::new();
    while let Some(servers) = racing.join_next().await {
        made.extend(servers.unwrap());
    }
    made
}

async fn usage(store: &Store, host: &str) -> HostUsage {
    store.usage_of_hosts().await.unwrap().get(&host.into()).copied().unwrap_or_default()
}

/// Three hosts with room for 36, and 200 requests: 36 are placed, whoever comes when, and what was
/// promised outlives the daemon.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_at_once_get_no_more_than_there_is() {
    let mut f = Fixture::new().await;
    three_hosts(&f).await;
    without_quotas(&f).await;
    let made = race(&f, 200, |number| {
        let of = |index| NewInstance { launch_index: index, ..new_instance(&format!("s{number}")) };
        // Every tenth asks for three at once.
        (0..if number % 10 == 0 { 3 } else { 1 }).map(of).collect()
    })
    .await;
    assert_eq!(made.len(), 240);
    let placed = made.iter().filter(|server| server.host.is_some()).count();
    assert_eq!(placed, 36);
    let refused = made.iter().find(|server| server.host.is_none()).unwrap();
    assert_eq!(refused.vm_state, VmState::Error);
    let text = &refused.fault.as_ref().unwrap().fault.message;
    assert!(text.contains("the flavor needs 512 MiB of memory, the host has 256 left"), "{text}");
    f.reopen().await;
    let full = HostUsage {
        instances: 12,
        vcpus: 12,
        memory_mib: 12 * 512,
        root_gib: 12,
        busy: 12,
        running: 0,
    };
    for host in HOSTS {
        assert_eq!(usage(&f.store, host).await, full, "{host}");
    }
    let again = f.store.create_chosen(vec![new_instance("late")], &by(), choose).await.unwrap();
    assert_eq!(again[0].host, None, "a restart gives nothing back");
}

/// Once an administrator is told that a host takes no new servers, none comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_server_comes_to_a_host_that_was_closed() {
    let f = Fixture::new().await;
    three_hosts(&f).await;
    without_quotas(&f).await;
    let operator = if for_several() { f.another_process().await } else { f.store.clone() };
    let closing = async {
        let close = || HostUpdate { enabled: Some(false), ..HostUpdate::default() };
        while let Err(error) = operator.update_host(&HOSTS[0].into(), close()).await {
            assert!(error.is_transient(), "{error}");
        }
        usage(&operator, HOSTS[0]).await.instances
    };
    let making = race(&f, 60, |number| vec![new_instance(&format!("s{number}"))]);
    let (made, when_told) = tokio::join!(making, closing);
    assert_eq!(made.len(), 60);
    assert_eq!(usage(&f.store, HOSTS[0]).await.instances, when_told);
    assert_eq!(usage(&f.store, HOSTS[1]).await.instances, 12, "the others were asked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn groups_keep_to_their_policies_among_many() {
    let f = Fixture::new().await;
    three_hosts(&f).await;
    without_quotas(&f).await;
    for (policy, max_per_host, expected) in [
        (GroupPolicy::AntiAffinity, None, vec![1, 1, 1]),
        (GroupPolicy::AntiAffinity, Some(2), vec![2, 2, 2]),
        (GroupPolicy::Affinity, None, vec![9]),
    ] {
        let group = NewServerGroup {
            project_id: "demo".into(),
            user_id: "alice".into(),
            name: "g".into(),
            policy,
            max_per_host,
        };
        let group = f.store.create_server_group(group).await.unwrap().id;
        let made =
            race(&f, 30, |_| vec![NewInstance { group: Some(group), ..new_instance("member") }])
                .await;
        let mut on: BTreeMap<HostName, usize> = BTreeMap::new();
        for host in made.iter().filter_map(|server| server.host.clone()) {
            *on.entry(host).or_default() += 1;
        }
        assert_eq!(on.into_values().collect::<Vec<_>>(), expected, "{policy} {max_per_host:?}");
    }
}

/// A fixture whose suspended servers lend their memory; its host has room for one server of 512 MiB.
async fn lending() -> Fixture {
    let f = Fixture::new().await;
    f.store.claim_by(ClaimPolicy { release_suspended_memory: true, ..ClaimPolicy::default() });
    let small = HostInfo { memory_mib: 512 + 512, ..info() };
    f.report(ReportBody::Heartbeat { host: Some(small), problem: None }).await;
    f
}

/// Lets the fixture's host be chosen if it has room.
fn if_room(situation: &Situation, servers: &mut [NewInstance]) {
    let it = situation.hosts.iter().find(|one| one.name == host()).unwrap();
    let one = Amounts { vcpus: 1, memory_mib: 512, disk_gib: 1 };
    servers[0].placement = match situation.offer(it).unwrap().shortage(one) {
        None => Placement::Host(host()),
        Some(short) => Placement::Nowhere(Fault::new(500, short.to_string(), "")),
    };
}

/// It goes on when its host is back, and nobody has to ask whether there is room.
#[tokio::test]
async fn a_server_that_was_suspended_for_its_host_keeps_its_memory() {
    let f = lending().await;
    let sleeper = f.active().await.id;
    let args = OperationArgs { for_host: true, ..OperationArgs::default() };
    let suspend = NewOperation { args, ..operation(sleeper, K::Suspend) };
    let suspend = f.store.admit(suspend).await.unwrap().operation.unwrap().id;
    f.finish(suspend, sleeper, saved()).await;
    assert_eq!(usage(&f.store, common::HOST).await.memory_mib, 512);
    f.done(sleeper, K::Resume, seen(P::Running)).await;
    f.done(sleeper, K::Suspend, saved()).await;
    assert_eq!(usage(&f.store, common::HOST).await.memory_mib, 0, "its user suspended it");
}

#[tokio::test]
async fn a_suspended_server_lends_its_memory_and_asks_for_it_again() {
    let f = lending().await;
    let memory = async || usage(&f.store, common::HOST).await.memory_mib;
    let sleeper = f.active().await.id;
    assert_eq!(memory().await, 512);
    let suspend = f.admit(sleeper, K::Suspend).await.unwrap().operation.unwrap().id;
    assert_eq!(memory().await, 512, "until it is suspended");
    f.finish(suspend, sleeper, saved()).await;
    assert_eq!(memory().await, 0);

    let guest = f.store.create_chosen(vec![new_instance("guest")], &by(), if_room).await.unwrap();
    let guest = &guest[0];
    assert_eq!(guest.host, Some(host()));
    f.finish(guest.active.unwrap().0, guest.id, seen(P::Running)).await;
    let before = f.get(sleeper).await;
    for kind in [K::Resume, K::RebootHard] {
        let refused = f.admit(sleeper, kind).await.unwrap_err();
        assert!(
            matches!(
                refused,
                StoreError::Denied(Denied::NoRoom { need_mib: 512, have_mib: 0, .. })
            ),
            "{refused}"
        );
        assert!(refused.to_string().contains("there is no room on its host"), "{refused}");
    }
    assert_eq!(f.get(sleeper).await, before, "nothing was written");

    f.done(guest.id, K::Delete, seen(P::NoState)).await;
    let resume = f.admit(sleeper, K::Resume).await.unwrap().operation.unwrap().id;
    assert_eq!(memory().await, 512, "from the moment it is accepted");
    // One that fails lends it again, one that succeeds keeps it.
    f.fail(resume, sleeper, saved()).await;
    assert_eq!((f.get(sleeper).await.vm_state, memory().await), (VmState::Suspended, 0));
    f.done(sleeper, K::Resume, seen(P::Running)).await;
    assert_eq!((f.get(sleeper).await.vm_state, memory().await), (VmState::Active, 512));
}

#[tokio::test]
async fn without_the_policy_a_suspended_server_keeps_its_memory() {
    let f = Fixture::new().await;
    let server = f.active().await.id;
    f.done(server, K::Suspend, saved()).await;
    assert_eq!(usage(&f.store, common::HOST).await.memory_mib, 512);
    let full = HostInfo { memory_mib: 512, ..info() };
    f.report(ReportBody::Heartbeat { host: Some(full), problem: None }).await;
    f.done(server, K::Resume, seen(P::Running)).await;
}

/// Somebody wakes up while others want the room: one of them gets it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_resume_and_new_servers_do_not_get_the_same_room() {
    for _ in 0..4 {
        let f = lending().await;
        let sleeper = f.active().await.id;
        f.done(sleeper, K::Suspend, saved()).await;
        let mut racing = JoinSet::new();
        for number in 0..8 {
            let store = f.store.clone();
            racing.spawn(async move {
                if number == 4 {
                    return store.admit(operation(sleeper, K::Resume)).await.is_ok();
                }
                let new = vec![new_instance("guest")];
                let made = store.create_chosen(new, &by(), if_room).await.unwrap();
                made[0].host.is_some()
            });
        }
        let mut won = 0;
        while let Some(one) = racing.join_next().await {
            won += usize::from(one.unwrap());
        }
        assert_eq!((won, usage(&f.store, common::HOST).await.memory_mib), (1, 512));
    }
}
