//! `/os-availability-zone`. A zone is available while a host in it is enabled.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use reprieve_store::HostRecord;
use serde_json::{Map, Value, json};

use super::super::call::ApiCall;
use super::super::fault::{Answer, json_answer};
use super::super::policy;
use super::{BINARY, is_up};
use crate::app::hosts::{self, Zones};

/// The zone of what is no compute host, which only administrators see. Nova's scheduler and
/// conductor are in it; here they are parts of the daemon that answers, so no host is listed.
const INTERNAL: &str = "internal";

/// `GET /os-availability-zone`.
pub async fn index(call: ApiCall) -> Answer {
    call.authorize(policy::ZONES)?;
    let (hosts, zones) = (hosts::list(&call.control).await?, Zones::load(&call.control).await?);
    let shown = by_zone(&hosts, &zones)
        .into_iter()
        .map(|(zone, hosts)| view(zone, hosts.iter().any(|host| host.enabled), Value::Null));
    answer(shown.collect())
}

/// `GET /os-availability-zone/detail`.
pub async fn detail(call: ApiCall) -> Answer {
    call.authorize(policy::ZONES_DETAIL)?;
    let (hosts, zones) = (hosts::list(&call.control).await?, Zones::load(&call.control).await?);
    let mut by_zone = by_zone(&hosts, &zones);
    by_zone.entry(INTERNAL).or_default();
    let shown = by_zone.into_iter().map(|(zone, hosts)| {
        let enabled: Map<String, Value> = hosts
            .iter()
            .filter(|host| host.enabled)
            .map(|host| (host.name.to_string(), service(&call, host)))
            .collect();
        match (zone, enabled.is_empty()) {
            (INTERNAL, _) | (_, false) => view(zone, true, enabled.into()),
            (_, true) => view(zone, false, Value::Null),
        }
    });
    answer(shown.collect())
}

fn by_zone<'a>(
    hosts: &'a [HostRecord],
    zones: &'a Zones,
) -> BTreeMap<&'a str, Vec<&'a HostRecord>> {
    let mut found: BTreeMap<&str, Vec<&HostRecord>> = BTreeMap::new();
    for host in hosts {
        found.entry(zones.of(&host.name)).or_default().push(host);
    }
    found
}

fn service(call: &ApiCall, host: &HostRecord) -> Value {
    json!({BINARY: {
        "available": is_up(call, host),
        "active": host.enabled,
        "updated_at": host.updated_at().micros_naive(),
    }})
}

fn view(zone: &str, available: bool, hosts: Value) -> Value {
    json!({"zoneName": zone, "zoneState": {"available": available}, "hosts": hosts})
}

fn answer(zones: Vec<Value>) -> Answer {
    Ok(json_answer(StatusCode::OK, &json!({"availabilityZoneInfo": zones})))
}
