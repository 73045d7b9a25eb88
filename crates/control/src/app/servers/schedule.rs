//! Choosing a host for a new server.

use reprieve_core::group::Seating;
use reprieve_core::{Fault, Timestamp};
use reprieve_store::{FlavorRecord, HostRecord, Placement};

use super::super::{AppError, Call};
use super::destination::Destination;

/// Nova's words, with the reason after them.
const NO_HOST: &str = "No valid host was found. ";

/// What is wanted.
pub(super) struct Wanted<'a> {
    /// Size.
    pub(super) flavor: &'a FlavorRecord,
    /// Where it may go.
    pub(super) destination: &'a Destination,
    /// Group that the servers join.
    pub(super) group: Option<&'a Seating>,
}

/// A host for each of `count` servers: in the right zone, enabled, up, large enough for the flavor,
/// within the policy of the group; of these the one that a soft policy prefers, then the one with
/// the most memory that no server was promised.
pub(super) async fn place(
    call: &Call<'_>,
    wanted: &Wanted<'_>,
    count: u32,
) -> Result<Vec<Placement>, AppError> {
    let store = &call.control.store;
    let now = call.control.clock.now();
    let hosts = store.hosts().await?;
    let usage = store.usage_of_hosts().await?;
    let mut free: Vec<(&HostRecord, i128)> = Vec::new();
    let mut refusals = Vec::new();
    for host in &hosts {
        match refusal(host, wanted, now) {
            Some(reason) => refusals.push(format!("{}: {reason}", host.name)),
            None => {
                let total = host.info.as_ref().map_or(0, |info| info.memory_mib);
                let used = usage.get(&host.name).map_or(0, |usage| usage.memory_mib);
                free.push((host, i128::from(total) - i128::from(used)));
            }
        }
    }
    let need = i128::from(wanted.flavor.memory_mib);
    let mut group = wanted.group.cloned();
    let mut placements = Vec::new();
    for _ in 0..count {
        let open = free
            .iter_mut()
            .filter(|(host, _)| group.as_ref().is_none_or(|group| group.admits(&host.name)));
        let liking =
            |host: &HostRecord| group.as_ref().map_or(0, |group| group.preference(&host.name));
        match open.max_by_key(|(host, left)| (liking(host), *left)) {
            Some((host, left)) => {
                *left -= need;
                placements.push(Placement::Host(host.name.clone()));
                if let Some(group) = &mut group {
                    group.seat(&host.name);
                }
            }
            None => placements.push(Placement::Nowhere(nowhere(&refusals, group.as_ref(), &free))),
        }
    }
    if free.is_empty() {
        tracing::warn!(
            target: "reprieve::conductor",
            request_id = call.request_id.as_str(), reasons = refusals.join("; "),
            "no valid host for flavor {}", wanted.flavor.name
        );
    }
    Ok(placements)
}

/// The fault of a server without a host; what the hosts in `free` would have had room for is refused
/// by its group.
fn nowhere(refusals: &[String], group: Option<&Seating>, free: &[(&HostRecord, i128)]) -> Fault {
    let by_group = free.iter().filter_map(|(host, _)| {
        let policy = group?.policy;
        Some(format!("{}: the policy {policy} of the server group forbids it", host.name))
    });
    let reasons: Vec<String> = refusals.iter().cloned().chain(by_group).collect();
    let reasons = match reasons.as_slice() {
        [] => "no compute host has registered".to_owned(),
        some => some.join("; "),
    };
    Fault::new(500, format!("{NO_HOST}{reasons}"), reasons)
}

/// Why a host cannot take the server, if so.
fn refusal(host: &HostRecord, wanted: &Wanted<'_>, now: Timestamp) -> Option<String> {
    if let Some(reason) = wanted.destination.refusal(host) {
        return Some(reason);
    }
    if !host.enabled {
        return Some(match &host.disabled_reason {
            Some(reason) => format!("disabled: {reason}"),
            None => "disabled".to_owned(),
        });
    }
    if host.forced_down {
        return Some("forced down".to_owned());
    }
    if !host.is_alive(now) {
        return Some("down".to_owned());
    }
    if host.problem.is_some() {
        return Some("its hypervisor cannot be reached".to_owned());
    }
    // A host that has just registered has not said yet what it offers. It gets the server all the
    // same: the operation waits there until the hypervisor answers, and fails if it does not fit.
    let info = host.info.as_ref()?;
    let flavor = wanted.flavor;
    let short = |what: &str, need: u64, have: u64, unit: &str| {
        (need > have).then(|| format!("the flavor needs {need} {unit}{what}, the host has {have}"))
    };
    short("vCPUs", flavor.vcpus.into(), info.vcpus.into(), "")
        .or_else(|| short("memory", flavor.memory_mib, info.memory_mib, "MiB of "))
        .or_else(|| short("disk", flavor.root_gib, info.disk_gib, "GiB of "))
}
