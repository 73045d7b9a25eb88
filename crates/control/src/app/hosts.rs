//! Compute hosts as administrators see and change them, and the availability zones they make.

use std::collections::{BTreeMap, BTreeSet};

use reprieve_core::HostName;
use reprieve_store::{AggregateRecord, HostLoad, HostRecord, HostRemoval, HostUpdate, StoreError};

use super::{AppError, Call};
use crate::Control;

/// Reason of a drain that gives none.
const NO_REASON: &str = "drained";

/// Which availability zone each host is in: that of an aggregate, else the default one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Zones {
    default: String,
    of: BTreeMap<HostName, String>,
}

impl Zones {
    /// As they are now.
    ///
    /// # Errors
    /// [`AppError::Internal`].
    pub async fn load(control: &Control) -> Result<Self, AppError> {
        let aggregates = control.store.aggregates().await?;
        Ok(Self::of_aggregates(&aggregates, &control.settings.availability_zone))
    }

    /// As aggregates make them.
    #[must_use]
    pub fn of_aggregates(aggregates: &[AggregateRecord], default: &str) -> Self {
        let mut of = BTreeMap::new();
        for aggregate in aggregates {
            let Some(zone) = aggregate.zone() else { continue };
            of.extend(aggregate.hosts.iter().map(|host| (host.clone(), zone.to_owned())));
        }
        Self { default: default.to_owned(), of }
    }

    /// The zone of a host.
    #[must_use]
    pub fn of(&self, host: &HostName) -> &str {
        self.of.get(host).unwrap_or(&self.default)
    }

    /// The zones in which new servers can be asked for: those with an enabled host.
    #[must_use]
    pub fn available<'a>(&'a self, hosts: &'a [HostRecord]) -> BTreeSet<&'a str> {
        hosts.iter().filter(|host| host.enabled).map(|host| self.of(&host.name)).collect()
    }
}

/// All hosts, in the order of their first registration.
///
/// # Errors
/// [`AppError::Internal`].
pub async fn list(control: &Control) -> Result<Vec<HostRecord>, AppError> {
    let mut hosts = control.store.hosts().await?;
    hosts.sort_by_key(|host| host.number);
    Ok(hosts)
}

/// A host with what it carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carrying {
    /// The host.
    pub host: HostRecord,
    /// Its servers and operations.
    pub load: HostLoad,
}

/// All hosts with what they carry, by name.
///
/// # Errors
/// [`AppError::Internal`].
pub async fn list_carrying(control: &Control) -> Result<Vec<Carrying>, AppError> {
    let mut loads = control.store.host_loads().await?;
    let hosts = control.store.hosts().await?.into_iter();
    let carrying = |host: HostRecord| {
        let load = loads.remove(&host.name).unwrap_or_default();
        Carrying { host, load }
    };
    Ok(hosts.map(carrying).collect())
}

/// One host with what it carries.
///
/// # Errors
/// [`AppError::NotFound`].
pub async fn show_carrying(control: &Control, name: &HostName) -> Result<Carrying, AppError> {
    let host = control.store.host(name).await?.ok_or_else(|| no_host(name.as_str()))?;
    let load = control.store.host_loads().await?.remove(name).unwrap_or_default();
    Ok(Carrying { host, load })
}

/// Lets no new servers come to a host, or lets them come again. What is there stays and goes on.
///
/// # Errors
/// [`AppError::NotFound`].
pub async fn accept_servers(
    call: &Call<'_>,
    name: &HostName,
    (enabled, reason): (bool, Option<String>),
) -> Result<Carrying, AppError> {
    let reason = match (enabled, reason) {
        (true, _) => None,
        (false, Some(reason)) => Some(reason),
        (false, None) => Some(said_before(call, name).await?.unwrap_or_else(|| NO_REASON.into())),
    };
    let change = HostUpdate {
        enabled: Some(enabled),
        disabled_reason: Some(reason),
        ..HostUpdate::default()
    };
    update(call, name, change).await.map_err(|error| match error {
        AppError::NotFound(_) => no_host(name.as_str()),
        other => other,
    })?;
    show_carrying(call.control, name).await
}

/// Why a host is closed already: who drains it once more and says nothing does not know better.
async fn said_before(call: &Call<'_>, name: &HostName) -> Result<Option<String>, AppError> {
    let host = call.control.store.host(name).await?.ok_or_else(|| no_host(name.as_str()))?;
    Ok(host.disabled_reason.filter(|_| !host.enabled))
}

/// Enables, disables, or declares a host down or not.
///
/// # Errors
/// [`AppError::NotFound`] when it went away meanwhile.
pub async fn update(
    call: &Call<'_>,
    name: &HostName,
    change: HostUpdate,
) -> Result<HostRecord, AppError> {
    let host = call.control.store.update_host(name, change).await?;
    tracing::warn!(
        request_id = call.request_id.as_str(),
        host = name.as_str(),
        enabled = host.enabled,
        forced_down = host.forced_down,
        reason = host.disabled_reason,
        "an administrator changed a host"
    );
    Ok(host)
}

/// Forgets a host.
///
/// # Errors
/// [`AppError::Conflict`] while it has servers, [`AppError::NotFound`] when it went away meanwhile.
pub async fn remove(call: &Call<'_>, name: &HostName) -> Result<(), AppError> {
    match call.control.store.remove_host(name).await {
        Ok(HostRemoval::Removed) => {
            tracing::warn!(
                request_id = call.request_id.as_str(),
                host = name.as_str(),
                "an administrator removed a host"
            );
            Ok(())
        }
        Ok(HostRemoval::Occupied) => {
            let text = "Unable to delete compute service that is hosting instances. Migrate or \
                        delete the instances first.";
            Err(AppError::Conflict(text.to_owned()))
        }
        Err(StoreError::NotFound { .. }) => Err(no_host(name.as_str())),
        Err(error) => Err(error.into()),
    }
}

/// 404 for a host that never registered.
pub(super) fn no_host(name: &str) -> AppError {
    AppError::NotFound(format!("Compute host {name} could not be found."))
}
