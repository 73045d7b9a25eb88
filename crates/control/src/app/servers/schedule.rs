//! Hosts for new servers, chosen in the transaction that records them: from rows to
//! [`reprieve_core::schedule`] and back.

use std::collections::BTreeMap;

use reprieve_core::schedule::{Amounts, Candidate, NoHost, Standing, Wanted, choose};
use reprieve_core::{Fault, Timestamp};
use reprieve_store::{FlavorSnapshot, HostRecord, NewInstance, Placement, Situation};

use super::super::hosts::Zones;
use super::destination::Destination;
use super::group;

/// Nova's words.
const NO_HOST: &str = "No valid host was found. There are not enough hosts available.";

/// What becomes of a server for which no host was chosen. Names of hosts and how busy they are, are in
/// the details, which only administrators see.
pub(super) fn nowhere(reason: &NoHost) -> Placement {
    Placement::Nowhere(Fault::new(500, NO_HOST, reason.to_string()))
}

/// Where the servers of a request may go.
pub(super) struct Search<'a> {
    /// What the request says.
    pub(super) destination: &'a Destination,
    /// Zone of hosts that are in no other.
    pub(super) default_zone: &'a str,
    /// Now.
    pub(super) now: Timestamp,
}

/// Writes into each server where it goes. All are of one size, image and group.
pub(super) fn place(situation: &Situation, search: &Search<'_>, servers: &mut [NewInstance]) {
    let Some(first) = servers.first() else { return };
    let zones = Zones::of_aggregates(&situation.aggregates, search.default_zone);
    let hosts = situation.hosts.iter().map(|host| candidate(situation, host, &zones, search.now));
    let Destination { zone, forced, requested } = search.destination;
    let nothing = BTreeMap::new();
    let wanted = Wanted {
        size: size(&first.flavor),
        extra_specs: &first.flavor.extra_specs,
        image_properties: first.image.as_ref().map_or(&nothing, |image| &image.properties),
        zone: zone.as_deref(),
        forced,
        requested,
    };
    let group = situation.group.as_ref().map(group::seating);
    let chosen = choose(hosts.collect(), &wanted, group, servers.len());
    for (server, chosen) in servers.iter_mut().zip(chosen) {
        match chosen {
            Ok(host) => {
                server.availability_zone = zones.of(&host).to_owned();
                server.placement = Placement::Host(host);
            }
            Err(reason) => server.placement = nowhere(&reason),
        }
    }
}

fn size(flavor: &FlavorSnapshot) -> Amounts {
    Amounts { vcpus: flavor.vcpus.into(), memory_mib: flavor.memory_mib, disk_gib: flavor.root_gib }
}

fn candidate<'a>(
    situation: &'a Situation,
    host: &'a HostRecord,
    zones: &'a Zones,
    now: Timestamp,
) -> Candidate<'a> {
    Candidate {
        name: &host.name,
        node: host.node(),
        zone: zones.of(&host.name),
        standing: Standing {
            enabled: host.enabled,
            disabled_reason: host.disabled_reason.as_deref(),
            forced_down: host.forced_down,
            alive: host.is_alive(now),
            reachable: host.problem.is_none(),
        },
        machine: situation.machine(host),
        offer: situation.offer(host),
        aggregates: situation.metadata_of(&host.name).collect(),
    }
}
