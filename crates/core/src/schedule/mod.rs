//! Choosing hosts for new servers: filters, then weights, as functions on data.
//!
//! The store reads hosts, claims and groups in the transaction that records the servers and asks
//! [`choose`] there, so what it decides from is what is true when the claim is written: two requests
//! cannot be given the same room, and members of a group cannot meet where they must not.
//!
//! A host is refused by the first of these that it does not pass ([`Refusal`]): host or zone that was
//! asked for, enabled, not forced down, alive, hypervisor reachable, image properties, extra specs,
//! room, policy of the server group. Of those left the one is taken that a soft policy likes best,
//! then the one with the most memory that nobody was promised (servers spread, Nova's default), then
//! the first by name.

mod claims;
mod traits;

use std::collections::BTreeMap;
use std::fmt;

pub use claims::{
    Amounts, ClaimPolicy, Offer, Ratio, Ratios, Shortage, claims_again, releases_memory,
};
pub use traits::{Machine, lacking_for_flavor, lacking_for_image};

use crate::group::{GroupPolicy, Seating};
use crate::ids::HostName;

/// A host, a node of one, or both, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Target {
    /// Name of the compute host.
    pub host: Option<String>,
    /// Name that its hypervisor goes by.
    pub node: Option<String>,
}

impl Target {
    /// Whether it names anything.
    #[must_use]
    pub const fn is_named(&self) -> bool {
        self.host.is_some() || self.node.is_some()
    }

    /// Whether this host is meant, or any.
    #[must_use]
    pub fn allows(&self, host: &HostName, node: &str) -> bool {
        self.host.as_deref().is_none_or(|name| name == host.as_str())
            && self.node.as_deref().is_none_or(|name| name == node)
    }
}

/// What an administrator, time and the hypervisor say about a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing<'a> {
    /// Whether new servers may be placed on it.
    pub enabled: bool,
    /// Why not, in an administrator's words.
    pub disabled_reason: Option<&'a str>,
    /// Whether an administrator says that it is down.
    pub forced_down: bool,
    /// Whether it gave a sign of life lately.
    pub alive: bool,
    /// Whether its hypervisor can be reached.
    pub reachable: bool,
}

/// A host that a server might go to.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate<'a> {
    /// Name.
    pub name: &'a HostName,
    /// Name that its hypervisor goes by.
    pub node: &'a str,
    /// Availability zone.
    pub zone: &'a str,
    /// Whether it takes servers at all.
    pub standing: Standing<'a>,
    /// What kind of machine it is; `None` until it has said so.
    pub machine: Option<Machine<'a>>,
    /// What it has and has promised; `None` until it has said what it has. Such a host is taken when
    /// no other is left: the operation waits there, and fails if it does not fit.
    pub offer: Option<Offer>,
    /// Metadata of its aggregates.
    pub aggregates: Vec<&'a BTreeMap<String, String>>,
}

/// What all servers of a request want.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Size of each.
    pub size: Amounts,
    /// Of the flavor.
    pub extra_specs: &'a BTreeMap<String, String>,
    /// Of the image.
    pub image_properties: &'a BTreeMap<String, String>,
    /// Zone that was asked for.
    pub zone: Option<&'a str>,
    /// Host named in the zone. It may be in any zone.
    pub forced: &'a Target,
    /// Host named by itself.
    pub requested: &'a Target,
}

/// Why a host does not get a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Another host was named.
    OtherHost,
    /// It is in another zone.
    OtherZone {
        /// Its zone.
        zone: String,
        /// The one that was asked for.
        wanted: String,
    },
    /// It takes no new servers.
    Disabled(Option<String>),
    /// An administrator says that it is down.
    ForcedDown,
    /// It is silent.
    Down,
    /// Its hypervisor cannot be reached.
    Unreachable,
    /// The image asks for another kind of host.
    Image {
        /// The property.
        property: &'static str,
        /// Its value.
        value: String,
    },
    /// The flavor asks for another kind of host.
    ExtraSpec {
        /// The extra spec.
        key: String,
        /// Its value.
        value: String,
    },
    /// It has no room.
    Short(Shortage),
    /// The server group does not let its members meet there, or be apart.
    Group(GroupPolicy),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherHost => f.write_str("another host was asked for"),
            Self::OtherZone { zone, wanted } => write!(f, "it is in zone {zone}, not in {wanted}"),
            Self::Disabled(Some(reason)) => write!(f, "disabled: {reason}"),
            Self::Disabled(None) => f.write_str("disabled"),
            Self::ForcedDown => f.write_str("forced down"),
            Self::Down => f.write_str("down"),
            Self::Unreachable => f.write_str("its hypervisor cannot be reached"),
            Self::Image { property, value } => {
                write!(f, "it does not have what the image asks for, {property}={value}")
            }
            Self::ExtraSpec { key, value } => {
                write!(f, "it does not have what the flavor asks for, {key}={value}")
            }
            Self::Short(shortage) => shortage.fmt(f),
            Self::Group(policy) => {
                write!(f, "the policy {policy} of the server group forbids it")
            }
        }
    }
}

/// Nobody has room for a server. Displays as each host with its reason, for administrators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoHost(pub Vec<(HostName, Refusal)>);

impl fmt::Display for NoHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("no compute host has registered");
        }
        for (index, (host, refusal)) in self.0.iter().enumerate() {
            write!(f, "{}{host}: {refusal}", if index == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

/// Why a host cannot take a server, whatever it has promised to others.
#[must_use]
pub fn refusal(host: &Candidate<'_>, wanted: &Wanted<'_>) -> Option<Refusal> {
    let named = |target: &Target| target.allows(host.name, host.node);
    if !named(wanted.forced) || !named(wanted.requested) {
        return Some(Refusal::OtherHost);
    }
    if let Some(zone) = wanted.zone
        && !wanted.forced.is_named()
        && zone != host.zone
    {
        let (zone, wanted) = (host.zone.to_owned(), zone.to_owned());
        return Some(Refusal::OtherZone { zone, wanted });
    }
    let Standing { enabled, disabled_reason, forced_down, alive, reachable } = host.standing;
    if !enabled {
        return Some(Refusal::Disabled(disabled_reason.map(str::to_owned)));
    }
    if forced_down {
        return Some(Refusal::ForcedDown);
    }
    if !alive {
        return Some(Refusal::Down);
    }
    if !reachable {
        return Some(Refusal::Unreachable);
    }
    let machine = host.machine.as_ref();
    if let Some((property, value)) =
        machine.and_then(|machine| lacking_for_image(machine, wanted.image_properties))
    {
        return Some(Refusal::Image { property, value: value.to_owned() });
    }
    let lacking = lacking_for_flavor(machine, &host.aggregates, wanted.extra_specs);
    lacking.map(|(key, value)| Refusal::ExtraSpec { key: key.to_owned(), value: value.to_owned() })
}

/// A host for each of `count` servers, each with the others before it in mind.
#[must_use]
pub fn choose(
    hosts: Vec<Candidate<'_>>,
    wanted: &Wanted<'_>,
    mut group: Option<Seating>,
    count: usize,
) -> Vec<Result<HostName, NoHost>> {
    let mut hosts: Vec<(Candidate<'_>, Option<Refusal>)> = hosts
        .into_iter()
        .map(|host| {
            let refused = refusal(&host, wanted);
            (host, refused)
        })
        .collect();
    hosts.sort_by(|(one, _), (other, _)| one.name.cmp(other.name));
    let mut chosen = Vec::with_capacity(count);
    for _ in 0..count {
        let mut refusals = Vec::new();
        let mut best: Option<(Weight, &mut Candidate<'_>)> = None;
        for (host, refused) in &mut hosts {
            let refused = refused.clone().or_else(|| now_refused(host, wanted, group.as_ref()));
            if let Some(refused) = refused {
                refusals.push((host.name.clone(), refused));
                continue;
            }
            let weight = weight(host, group.as_ref());
            if best.as_ref().is_none_or(|(most, _)| weight > *most) {
                best = Some((weight, host));
            }
        }
        chosen.push(match best {
            Some((_, host)) => {
                if let Some(offer) = &mut host.offer {
                    offer.claim(wanted.size);
                }
                if let Some(group) = &mut group {
                    group.seat(host.name);
                }
                Ok(host.name.clone())
            }
            None => Err(NoHost(refusals)),
        });
    }
    chosen
}

/// Why it cannot take one now, given what it has promised.
fn now_refused(
    host: &Candidate<'_>,
    wanted: &Wanted<'_>,
    group: Option<&Seating>,
) -> Option<Refusal> {
    let short = host.offer.as_ref().and_then(|offer| offer.shortage(wanted.size));
    let unwanted = || {
        let group = group.filter(|group| !group.admits(host.name))?;
        Some(Refusal::Group(group.policy))
    };
    short.map(Refusal::Short).or_else(unwanted)
}

/// More is better: what a soft policy likes, whether it is known what the host has, and its free
/// memory. Of equals the first by name is taken, because only more replaces it.
type Weight = (i64, bool, i128);

fn weight(host: &Candidate<'_>, group: Option<&Seating>) -> Weight {
    let liked = group.map_or(0, |group| group.preference(host.name));
    let free = host.offer.as_ref().map_or(0, Offer::free_memory_mib);
    (liked, host.offer.is_some(), free)
}

#[cfg(test)]
mod tests;
