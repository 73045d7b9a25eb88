//! Choosing a host for a new server.

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
}

/// A host for each of `count` servers: in the right zone, enabled, up, large enough for the flavor, the one with the
/// most memory that no server was promised.
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
    let placements = (0..count).map(|_| match free.iter_mut().max_by_key(|(_, left)| *left) {
        Some((host, left)) => {
            *left -= need;
            Placement::Host(host.name.clone())
        }
        None => Placement::Nowhere(nowhere(&refusals)),
    });
    let placements: Vec<Placement> = placements.collect();
    if free.is_empty() {
        tracing::warn!(
            target: "reprieve::conductor",
            request_id = call.request_id.as_str(), reasons = refusals.join("; "),
            "no valid host for flavor {}", wanted.flavor.name
        );
    }
    Ok(placements)
}

fn nowhere(refusals: &[String]) -> Fault {
    let reasons = match refusals {
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
        (need > have).then(|| format!("the flavor needs {need}{unit} {what}, it has {have}{unit}"))
    };
    short("vCPUs", flavor.vcpus.into(), info.vcpus.into(), "")
        .or_else(|| short("memory", flavor.memory_mib, info.memory_mib, " MiB of"))
        .or_else(|| short("disk", flavor.root_gib, info.disk_gib, " GiB of"))
}
