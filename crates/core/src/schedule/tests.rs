//! Which host is chosen.

use proptest::prelude::*;

use super::*;
use crate::message::HostInfo;

const NOBODY: Target = Target { host: None, node: None };
const GOOD: Standing<'static> = Standing {
    enabled: true,
    disabled_reason: None,
    forced_down: false,
    alive: true,
    reachable: true,
};
static NOTHING: BTreeMap<String, String> = BTreeMap::new();

fn wanted(size: Amounts) -> Wanted<'static> {
    Wanted {
        size,
        extra_specs: &NOTHING,
        image_properties: &NOTHING,
        zone: None,
        forced: &NOBODY,
        requested: &NOBODY,
    }
}

fn small() -> Amounts {
    Amounts { vcpus: 1, memory_mib: 1024, disk_gib: 1 }
}

fn offer(memory_mib: u64) -> Offer {
    Offer {
        total: Amounts { vcpus: 4, memory_mib, disk_gib: 100 },
        reserved_memory_mib: 0,
        ratios: Ratios::default(),
        claimed: Amounts::default(),
    }
}

fn candidate<'a>(name: &'a HostName, memory_mib: u64) -> Candidate<'a> {
    Candidate {
        name,
        node: name.as_str(),
        zone: "nova",
        standing: GOOD,
        machine: None,
        offer: Some(offer(memory_mib)),
        aggregates: Vec::new(),
    }
}

fn names(chosen: &[Result<HostName, NoHost>]) -> Vec<&str> {
    chosen.iter().map(|one| one.as_ref().map_or("-", |host| host.as_str())).collect()
}

#[test]
fn servers_spread_over_free_memory() {
    let (a, b) = (HostName::from("a"), HostName::from("b"));
    let hosts = || vec![candidate(&b, 4096), candidate(&a, 6144)];
    let chosen = choose(hosts(), &wanted(small()), None, 11);
    // Of equals the first by name.
    assert_eq!(names(&chosen), ["a", "a", "a", "b", "a", "b", "a", "b", "a", "b", "-"]);
    let said = chosen.last().unwrap().as_ref().unwrap_err().to_string();
    let short = "the flavor needs 1024 MiB of memory, the host has 0 left";
    assert_eq!(said, format!("a: {short}; b: {short}"));
    let none = choose(Vec::new(), &wanted(small()), None, 1).remove(0).unwrap_err();
    assert_eq!(none.to_string(), "no compute host has registered");
}

#[test]
fn a_host_that_has_not_said_what_it_has_comes_last() {
    let (a, b) = (HostName::from("a"), HostName::from("b"));
    let unknown = Candidate { offer: None, ..candidate(&a, 0) };
    let chosen = choose(vec![unknown, candidate(&b, 1024)], &wanted(small()), None, 3);
    assert_eq!(names(&chosen), ["b", "a", "a"]);
}

#[test]
fn every_filter_says_why() {
    let name = HostName::from("a");
    let host = || candidate(&name, 8192);
    let standing = |standing: Standing<'static>| Candidate { standing, ..host() };
    let other = Target { host: Some("b".to_owned()), node: None };
    let node = Target { host: Some("a".to_owned()), node: Some("b".to_owned()) };
    let own = Target { host: Some("a".to_owned()), node: Some("a".to_owned()) };
    let plain = wanted(small());
    let specs = BTreeMap::from([("aggregate_instance_extra_specs:ssd".into(), "true".into())]);
    let properties = BTreeMap::from([("hw_vm_mode".to_owned(), "xen".to_owned())]);
    let info = HostInfo {
        hypervisor_hostname: "a".to_owned(),
        hypervisor_type: "QEMU".to_owned(),
        hypervisor_version: 1,
        vcpus: 1,
        memory_mib: 1,
        disk_gib: 1,
        disk_free_gib: 1,
        kvm: false,
        cpu_info: String::new(),
        host_ip: String::new(),
        uptime: String::new(),
        agent_version: String::new(),
        unknown_guests: Vec::new(),
    };
    let known = Candidate { machine: Some(Machine::of(&info)), ..host() };
    let ssd = BTreeMap::from([("ssd".to_owned(), "true".to_owned())]);
    let fast = Candidate { aggregates: vec![&ssd], ..host() };
    let picky = Wanted { extra_specs: &specs, ..plain };
    for (host, wanted, expected) in [
        (host(), plain, None),
        (host(), Wanted { requested: &other, ..plain }, Some("another host was asked for")),
        (host(), Wanted { forced: &node, ..plain }, Some("another host was asked for")),
        (host(), Wanted { zone: Some("x"), ..plain }, Some("it is in zone nova, not in x")),
        (host(), Wanted { zone: Some("x"), forced: &own, ..plain }, None),
        (host(), Wanted { zone: Some("nova"), requested: &own, ..plain }, None),
        (standing(Standing { enabled: false, ..GOOD }), plain, Some("disabled")),
        (
            standing(Standing { enabled: false, disabled_reason: Some("new disks"), ..GOOD }),
            plain,
            Some("disabled: new disks"),
        ),
        (standing(Standing { forced_down: true, ..GOOD }), plain, Some("forced down")),
        (standing(Standing { alive: false, ..GOOD }), plain, Some("down")),
        (
            standing(Standing { reachable: false, ..GOOD }),
            plain,
            Some("its hypervisor cannot be reached"),
        ),
        (
            known,
            Wanted { image_properties: &properties, ..plain },
            Some("it does not have what the image asks for, hw_vm_mode=xen"),
        ),
        (
            host(),
            picky,
            Some(
                "it does not have what the flavor asks for, \
                 aggregate_instance_extra_specs:ssd=true",
            ),
        ),
        (fast, picky, None),
    ] {
        let said = refusal(&host, &wanted).map(|refusal| refusal.to_string());
        assert_eq!(said.as_deref(), expected);
        let chosen = choose(vec![host], &wanted, None, 1).remove(0);
        assert_eq!(chosen.is_ok(), expected.is_none());
    }
}

#[test]
fn a_full_host_is_passed_over_for_one_that_a_policy_likes_less() {
    let (a, b) = (HostName::from("a"), HostName::from("b"));
    let members = BTreeMap::from([(a.clone(), 1)]);
    let liking = Seating { policy: GroupPolicy::SoftAffinity, max_per_host: None, members };
    let hosts = vec![candidate(&a, 2048), candidate(&b, 9000)];
    let chosen = choose(hosts, &wanted(small()), Some(liking), 3);
    assert_eq!(names(&chosen), ["a", "a", "b"]);
}

fn policies() -> impl Strategy<Value = Option<(GroupPolicy, u32)>> {
    prop::option::of((prop::sample::select(GroupPolicy::ALL), 1_u32..4))
}

proptest! {
    /// Whatever there is and is asked for: nobody gets more than there is, hard policies hold, and a
    /// server ends without a host only when each of them is full or forbidden.
    #[test]
    fn what_is_chosen_holds(
        sizes in prop::collection::vec((1_u64..9, 0_u64..9000, 0_u64..40, any::<bool>()), 0..6),
        one in (0_u64..4, 0_u64..3000, 0_u64..9),
        policy in policies(),
        count in 0_usize..40,
    ) {
        let known: Vec<HostName> =
            (0..sizes.len()).map(|number| HostName::from(format!("h{number}"))).collect();
        let offers: Vec<Offer> = sizes
            .iter()
            .map(|(vcpus, memory_mib, disk_gib, _)| Offer {
                total: Amounts { vcpus: *vcpus, memory_mib: *memory_mib, disk_gib: *disk_gib },
                reserved_memory_mib: 100,
                ratios: Ratios::default(),
                claimed: Amounts::default(),
            })
            .collect();
        let hosts = known.iter().zip(&sizes).zip(&offers).map(|((name, size), offer)| Candidate {
            standing: Standing { enabled: size.3, ..GOOD },
            offer: Some(*offer),
            ..candidate(name, 0)
        });
        let size = Amounts { vcpus: one.0, memory_mib: one.1, disk_gib: one.2 };
        let group = policy.map(|(policy, max)| Seating {
            policy,
            max_per_host: Some(max),
            members: BTreeMap::new(),
        });
        let chosen = choose(hosts.collect(), &wanted(size), group.clone(), count);
        prop_assert_eq!(chosen.len(), count);

        let (mut offers, mut group) = (offers, group);
        for result in chosen {
            let open: Vec<usize> = (0..sizes.len())
                .filter(|index| sizes[*index].3 && offers[*index].shortage(size).is_none())
                .filter(|index| group.as_ref().is_none_or(|group| group.admits(&known[*index])))
                .collect();
            let weigh = |index: usize| {
                let liked = group.as_ref().map_or(0, |group| group.preference(&known[index]));
                (liked, offers[index].free_memory_mib())
            };
            match result {
                Ok(host) => {
                    let index = known.iter().position(|name| *name == host).unwrap();
                    prop_assert!(open.contains(&index), "{host} was not open");
                    prop_assert!(open.iter().all(|other| weigh(*other) <= weigh(index)));
                    offers[index].claim(size);
                    if let Some(group) = &mut group {
                        group.seat(&host);
                    }
                }
                Err(NoHost(refusals)) => {
                    prop_assert!(open.is_empty());
                    prop_assert_eq!(refusals.len(), sizes.len(), "each says why");
                }
            }
        }
        for offer in offers {
            let (limit, claimed) = (offer.limit(), offer.claimed);
            prop_assert!(claimed.vcpus <= limit.vcpus && claimed.memory_mib <= limit.memory_mib);
            prop_assert!(claimed.disk_gib <= limit.disk_gib);
        }
    }
}
