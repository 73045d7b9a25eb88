//! What of compute hosts is shown with servers.

use std::collections::BTreeMap;

use reprieve_core::{HostName, ProjectId, Timestamp};
use reprieve_store::HostRecord;
use sha2::{Digest as _, Sha224};

use super::super::super::call::ApiCall;
use super::super::super::fault::ApiFault;
use super::super::super::policy;
use crate::app::AppError;

/// Status of a host that says nothing.
pub const UNKNOWN: &str = "UNKNOWN";

/// What of the hosts is shown: read once for all servers of an answer.
#[derive(Debug, Default)]
pub struct Hosts {
    records: BTreeMap<HostName, HostRecord>,
    now: Option<Timestamp>,
}

impl Hosts {
    /// The hosts, if the caller may see anything of them.
    ///
    /// # Errors
    /// 500 when the database fails.
    pub async fn for_call(call: &ApiCall) -> Result<Self, ApiFault> {
        let shown = [
            policy::SERVERS_HOST_STATUS,
            policy::SERVERS_HOST_STATUS_UNKNOWN,
            policy::EXTENDED_ATTRIBUTES,
        ];
        if !shown.iter().any(|rule| call.may_own(*rule)) {
            return Ok(Self::default());
        }
        let hosts = call.control.store.hosts().await.map_err(AppError::from)?;
        let records = hosts.into_iter().map(|host| (host.name.clone(), host)).collect();
        Ok(Self { records, now: Some(call.control.clock.now()) })
    }

    /// `host_status`.
    pub fn status(&self, host: Option<&HostName>) -> &'static str {
        let Some(host) = host else { return "" };
        match (self.records.get(host), self.now) {
            (Some(host), Some(_)) if host.forced_down => "DOWN",
            (Some(host), Some(_)) if !host.enabled => "MAINTENANCE",
            (Some(host), Some(now)) if host.is_up(now) => "UP",
            // It answers and says that its hypervisor does not.
            (Some(host), Some(now)) if host.is_alive(now) => "DOWN",
            _ => UNKNOWN,
        }
    }

    /// Name that the hypervisor of a host goes by.
    pub fn hypervisor<'a>(&'a self, host: Option<&'a HostName>) -> Option<&'a str> {
        let host = host?;
        Some(self.records.get(host).map_or(host.as_str(), HostRecord::node))
    }
}

/// `hostId`: tells whether two servers of a project share a host without naming it.
#[must_use]
pub fn host_id(project: &ProjectId, host: Option<&HostName>) -> String {
    let Some(host) = host else { return String::new() };
    let mut digest = Sha224::new();
    digest.update(project.as_str());
    digest.update(host.as_str());
    let digits = digest.finalize().into_iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.filter_map(|digit| char::from_digit(u32::from(digit), 16)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_ids_are_novas() {
        // From a recorded answer of Nova: project 7d52…, host "vm".
        let id = host_id(&"7d5299e8d2bb46d39588f33bd792a1fd".into(), Some(&"vm".into()));
        assert_eq!(id, "2f1489754118cc2338502b8bfd84fa815eb960e335f23dc62c5e1f28");
        assert_eq!(host_id(&"p".into(), None), "");
    }
}
