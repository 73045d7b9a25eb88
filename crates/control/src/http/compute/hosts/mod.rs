//! What runs servers: services, hypervisors, availability zones, aggregates (spec/api.md sections
//! 10.3 to 10.6).
//!
//! A compute host is one row here, which Nova shows as a service and as a hypervisor with ids of
//! their own.

pub mod aggregates;
pub mod hypervisor_view;
pub mod hypervisors;
pub mod services;
pub mod zones;

use reprieve_core::HostName;
use reprieve_store::HostRecord;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::call::ApiCall;
use super::fault::ApiFault;
use super::versioned::rules;

/// The only service that a host has.
const BINARY: &str = "nova-compute";

/// What an id is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Service,
    Hypervisor,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Hypervisor => "hypervisor",
        }
    }
}

/// An id that stays the same as long as the host is called the same.
fn stable_uuid(kind: Kind, host: &HostName) -> Uuid {
    let digest = Sha256::digest(format!("{}/{host}", kind.as_str()));
    let mut bytes = [0; 16];
    for (target, source) in bytes.iter_mut().zip(digest) {
        *target = source;
    }
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

/// What it is called: a UUID.
fn id(kind: Kind, host: &HostRecord) -> String {
    stable_uuid(kind, &host.name).to_string()
}

/// The host with this id, in whichever form the version has.
fn with_id<'a>(
    call: &ApiCall,
    kind: Kind,
    hosts: &'a [HostRecord],
    wanted: &str,
) -> Option<&'a HostRecord> {
    let by_uuid = call.applies(rules::HOSTS_HAVE_UUIDS);
    hosts.iter().find(|host| match by_uuid {
        true => id(kind, host).eq_ignore_ascii_case(wanted),
        false => wanted.parse() == Ok(host.number),
    })
}

/// Refuses what is no UUID, where hosts are called by UUIDs.
fn require_uuid(call: &ApiCall, text: &str) -> Result<(), ApiFault> {
    if call.applies(rules::HOSTS_HAVE_UUIDS) && Uuid::try_parse(text).is_err() {
        return Err(ApiFault::bad_request(format!("Invalid uuid {text}")));
    }
    Ok(())
}

/// A number in a URL.
fn integer(text: &str) -> Result<i64, ApiFault> {
    let no_integer =
        |_| ApiFault::bad_request("Invalid input received: id must be an integer".to_owned());
    text.trim().parse().map_err(no_integer)
}

fn is_up(call: &ApiCall, host: &HostRecord) -> bool {
    host.is_up(call.control.clock.now())
}

fn state(call: &ApiCall, host: &HostRecord) -> &'static str {
    if is_up(call, host) { "up" } else { "down" }
}

const fn status(host: &HostRecord) -> &'static str {
    if host.enabled { "enabled" } else { "disabled" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_hosts_are_stable_and_differ() {
        let host = HostName::from("cmp1");
        assert_eq!(stable_uuid(Kind::Service, &host), stable_uuid(Kind::Service, &host));
        assert_ne!(stable_uuid(Kind::Service, &host), stable_uuid(Kind::Hypervisor, &host));
        assert_ne!(stable_uuid(Kind::Service, &host), stable_uuid(Kind::Service, &"cmp2".into()));
    }
}
