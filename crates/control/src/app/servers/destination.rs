//! Where a new server may go: what its request says about zones and hosts.

use reprieve_core::HostName;
use reprieve_core::policy::rules;
use reprieve_core::schedule::Target;
use reprieve_store::InstanceRecord;

use super::super::hosts::{self, Zones};
use super::super::{AppError, Call};
use super::NewServer;

/// Where a server may go.
pub(super) struct Destination {
    /// Zone that was asked for; the server is kept in it.
    pub(super) zone: Option<String>,
    /// Named in the zone: `zone:host:node`. Nothing is checked but that it can take the server.
    pub(super) forced: Target,
    /// Named by `host` and `hypervisor_hostname` (2.74).
    pub(super) requested: Target,
}

impl Destination {
    /// What the request says.
    ///
    /// # Errors
    /// [`AppError::Forbidden`] when a host is named by somebody who may not;
    /// [`AppError::BadRequest`] for a zone without hosts, and for a host named by `host` or
    /// `hypervisor_hostname` that does not exist. A forced one that does not exist is found out
    /// when a host is chosen, as in Nova.
    pub(super) async fn of(call: &Call<'_>, new: &NewServer) -> Result<Self, AppError> {
        if new.forced.is_named() {
            call.require_own(rules::SERVERS_FORCED_HOST)?;
        }
        if new.requested.is_named() {
            call.require_own(rules::SERVERS_REQUESTED_DESTINATION)?;
        }
        let hosts = call.control.store.hosts().await?;
        let zones = Zones::load(call.control).await?;
        let zone = new.availability_zone.clone().filter(|zone| !zone.is_empty());
        if let (Some(zone), false) = (&zone, new.forced.is_named())
            && !zones.available(&hosts).contains(zone.as_str())
        {
            let text = "The requested availability zone is not available";
            return Err(AppError::BadRequest(text.to_owned()));
        }
        if !hosts.iter().any(|host| new.requested.allows(&host.name, host.node()))
            && let Some(name) = new.requested.host.as_ref().or(new.requested.node.as_ref())
        {
            return Err(AppError::BadRequest(hosts::no_host(name).to_string()));
        }
        let (forced, requested) = (new.forced.clone(), new.requested.clone());
        Ok(Self { zone, forced, requested })
    }
}

/// The zone that a server is in, as far as it is known: without a host it is the one asked for.
#[must_use]
pub fn current_zone<'a>(server: &'a InstanceRecord, host: Option<&HostName>) -> &'a str {
    match host {
        Some(_) => &server.availability_zone,
        None => server.requested_zone.as_deref().unwrap_or_default(),
    }
}

/// Whether a server may be kept in `zone` from now on (2.104).
///
/// # Errors
/// [`AppError::Conflict`] when it is kept in another one, or is in another one.
pub(super) fn check_pin(server: &InstanceRecord, zone: &str) -> Result<(), AppError> {
    let pinned = server.requested_zone.as_deref();
    if pinned.is_some_and(|pinned| pinned != zone) {
        let text = "Cannot change pinned availability zone directly. Unpin first by setting \
                    pinned_availability_zone to null.";
        return Err(AppError::Conflict(text.to_owned()));
    }
    let current = current_zone(server, server.host.as_ref());
    if pinned.is_none() && current != zone {
        return Err(AppError::Conflict(format!(
            "Server can only be pinned to its current availability zone '{current}', but '{zone}' \
             was requested."
        )));
    }
    Ok(())
}
