//! `GET /servers` and `GET /servers/detail`: filters, order, pages (spec/api.md section 7.2).

use axum::http::StatusCode;
use reprieve_core::{HostName, InstanceId, PowerState, TaskState, Timestamp, VmState};
use reprieve_store::{
    ApiStatus, Deleted, InstanceFilter, InstancePage, InstanceQuery, SortDirection, SortKey,
};
use serde::Serialize;

use super::super::call::ApiCall;
use super::super::fault::{Answer, ApiFault, written_answer};
use super::super::paging::limit;
use super::super::policy;
use super::super::schema::servers as schema;
use super::super::versioned::queries::{self, SERVER_FILTERS_FOR_EVERYBODY as FOR_EVERYBODY};
use super::super::versioned::rules;
use super::columns;
use super::view::{self, Hosts, Viewer};
use crate::app::servers::{self, ListServers};

/// Parameters that order and cut the list instead of filtering it.
const NOT_FILTERS: [&str; 6] =
    ["limit", "marker", "sort_key", "sort_dir", "all_tenants", "changes-before"];

/// What a server of a list takes as JSON, mostly, in bytes.
const USUAL: usize = 2048;

/// `GET /servers`.
pub async fn index(call: ApiCall) -> Answer {
    list(&call, false).await
}

/// `GET /servers/detail`.
pub async fn detail(call: ApiCall) -> Answer {
    list(&call, true).await
}

async fn list(call: &ApiCall, detail: bool) -> Answer {
    call.check_query(&schema::LIST)?;
    call.authorize(if detail { policy::SERVERS_DETAIL } else { policy::SERVERS_INDEX })?;
    let limit = limit(&call.query, call.max_limit());
    let all_tenants = all_tenants(call)?;
    let page = match filter(call, all_tenants)? {
        Some(filter) if limit > 0 => {
            let query = InstanceQuery { filter, sort: sort(call)?, marker: marker(call)?, limit };
            servers::list(&call.app(), ListServers { query, all_tenants, detail }).await?
        }
        _ => InstancePage { instances: Vec::new(), full: false },
    };
    let next = page.instances.last().filter(|_| page.full).map(|last| {
        let path = if detail { "servers/detail" } else { "servers" };
        call.links.next(path, &call.query, &last.id.to_string())
    });
    // Mostly large enough: growing it copies what is there.
    let mut body = Vec::with_capacity(page.instances.len().saturating_mul(USUAL));
    body.extend_from_slice(br#"{"servers":["#);
    let hosts = if detail { Hosts::for_call(call).await? } else { Hosts::default() };
    let mut viewer = Viewer::new(call, &hosts, view::Answer::Detail);
    for (index, server) in page.instances.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        match detail {
            true => viewer.write(server, &mut body)?,
            false => write(&view::summary(call, server), &mut body)?,
        }
    }
    body.push(b']');
    if let Some(next) = next {
        body.extend_from_slice(br#","servers_links":"#);
        write(&next, &mut body)?;
    }
    body.push(b'}');
    Ok(written_answer(StatusCode::OK, body))
}

/// Appends JSON.
fn write(value: &impl Serialize, out: &mut Vec<u8>) -> Result<(), ApiFault> {
    // Only a map whose keys are no texts cannot be written.
    serde_json::to_writer(out, value).map_err(|_| ApiFault::internal())
}

/// Whether servers of all projects are asked for. The parameter without a value counts as yes.
fn all_tenants(call: &ApiCall) -> Result<bool, ApiFault> {
    match call.query.get("all_tenants") {
        None => Ok(false),
        Some("") => Ok(true),
        Some(text) => truth(text),
    }
}

/// A truth value as Python's oslo spells it.
pub(super) fn truth(text: &str) -> Result<bool, ApiFault> {
    match text.trim().to_ascii_lowercase().as_str() {
        "1" | "t" | "true" | "on" | "y" | "yes" => Ok(true),
        "0" | "f" | "false" | "off" | "n" | "no" => Ok(false),
        _ => Err(ApiFault::bad_request(format!(
            "Invalid input received: Unrecognized value '{text}', acceptable values are: '0', \
             '1', 'f', 'false', 'n', 'no', 'off', 'on', 't', 'true', 'y', 'yes'"
        ))),
    }
}

fn marker(call: &ApiCall) -> Result<Option<InstanceId>, ApiFault> {
    let Some(text) = call.query.get("marker") else { return Ok(None) };
    let unknown = |_| ApiFault::bad_request(format!("marker [{text}] not found"));
    text.parse().map(Some).map_err(unknown)
}

fn sort(call: &ApiCall) -> Result<Vec<(SortKey, SortDirection)>, ApiFault> {
    let directions: Vec<SortDirection> = call
        .query
        .all("sort_dir")
        .map(|text| match text {
            "asc" => SortDirection::Ascending,
            _ => SortDirection::Descending,
        })
        .collect();
    let mut order = Vec::new();
    for (index, text) in call.query.all("sort_key").enumerate() {
        if matches!(text, "host" | "node") && !call.is_admin() {
            let text = format!("Only administrators can sort servers by {text}");
            return Err(ApiFault::forbidden(text));
        }
        // Keys that validation let pass and the database does not know are ignored, as before 2.75.
        if let Some(key) = SortKey::parse(text) {
            let direction = directions.get(index).or(directions.last()).copied();
            order.push((key, direction.unwrap_or_default()));
        }
    }
    Ok(order)
}

/// The conditions; `None`: nothing can match them.
fn filter(call: &ApiCall, all_tenants: bool) -> Result<Option<InstanceFilter>, ApiFault> {
    let mut filter = InstanceFilter::default();
    time_range(call, &mut filter)?;
    let mut possible = statuses(call, &mut filter)?;
    let everything = call.may_own(policy::SERVERS_ALL_FILTERS);
    for name in call.query.names() {
        let allowed = everything || FOR_EVERYBODY.has(call.version, name);
        if NOT_FILTERS.contains(&name) || name == "status" || !allowed {
            continue;
        }
        let Some(value) = call.query.get(name) else { continue };
        match name {
            // Only administrators who ask for all projects can choose one.
            "tenant_id" | "project_id" => {
                filter.project_id = all_tenants.then(|| value.into());
            }
            _ => possible &= condition(&mut filter, name, value)?,
        }
    }
    Ok(possible.then_some(filter))
}

fn time_range(call: &ApiCall, filter: &mut InstanceFilter) -> Result<(), ApiFault> {
    filter.changes_since = call.query.get("changes-since").and_then(Timestamp::parse_iso);
    let query = call.counting(&queries::SERVERS);
    filter.changes_before = query.get("changes-before").and_then(Timestamp::parse_iso);
    if let (Some(since), Some(before)) = (filter.changes_since, filter.changes_before)
        && since > before
    {
        return Err(ApiFault::bad_request(
            "The value of changes-since must be less than or equal to changes-before.",
        ));
    }
    if filter.changes_since.is_some() || filter.changes_before.is_some() {
        filter.deleted = Deleted::Include;
    }
    Ok(())
}

/// The `status` filter; false: nothing can match.
fn statuses(call: &ApiCall, filter: &mut InstanceFilter) -> Result<bool, ApiFault> {
    if !call.query.has("status") {
        return Ok(true);
    }
    for status in call.query.all("status").filter_map(ApiStatus::parse) {
        if !filter.statuses.contains(&status) {
            filter.statuses.push(status);
        }
    }
    if filter.statuses.is_empty() {
        if call.applies(rules::STATUSES_ARE_CHECKED) {
            return Err(ApiFault::bad_request("Invalid status value"));
        }
        return Ok(false);
    }
    if filter.statuses.iter().all(|status| *status == ApiStatus::Deleted) {
        if !call.is_admin() {
            return Err(ApiFault::forbidden("Only administrators may list deleted instances"));
        }
        filter.deleted = Deleted::Only;
    }
    Ok(true)
}

fn comma_list(value: &str) -> Vec<String> {
    value.split(',').filter(|tag| !tag.is_empty()).map(str::to_owned).collect()
}

/// Adds one condition; false: nothing can match it.
fn condition(filter: &mut InstanceFilter, name: &str, value: &str) -> Result<bool, ApiFault> {
    let text = || Some(value.to_owned());
    match name {
        "name" | "display_name" => filter.name = text(),
        "hostname" => filter.hostname = text(),
        "description" | "display_description" => filter.description = text(),
        "reservation_id" => filter.reservation_id = text(),
        "availability_zone" => filter.availability_zone = text(),
        "key_name" => filter.key_name = text(),
        "flavor" => filter.flavor_id = text(),
        "user_id" => filter.user_id = Some(value.into()),
        "host" | "node" => filter.host = Some(HostName::from(value)),
        "tags" => filter.tags = comma_list(value),
        "tags-any" => filter.tags_any = comma_list(value),
        "not-tags" => filter.not_tags = comma_list(value),
        "not-tags-any" => filter.not_tags_any = comma_list(value),
        "config_drive" => filter.config_drive = Some(truth(value)?),
        "locked" => filter.locked = Some(truth(value)?),
        "deleted" => filter.deleted = deleted(filter.deleted, truth(value)?),
        // No server has an address, none is soft-deleted.
        "ip" | "ip6" => return Ok(false),
        "soft_deleted" => return Ok(!truth(value)?),
        "changes-since" => {}
        _ => match columns::condition(&mut filter.columns, name, value) {
            Some(possible) => return Ok(possible),
            None => return parsed_condition(filter, name, value),
        },
    }
    Ok(true)
}

/// `deleted=true` means only those; `deleted=false` is the default, also with `changes-since`.
const fn deleted(before: Deleted, wanted: bool) -> Deleted {
    match (before, wanted) {
        (_, true) => Deleted::Only,
        (Deleted::Only, false) => Deleted::Only,
        (Deleted::Include | Deleted::Exclude, false) => Deleted::Exclude,
    }
}

/// Conditions on values of a type: what is not of the type matches nothing.
fn parsed_condition(
    filter: &mut InstanceFilter,
    name: &str,
    value: &str,
) -> Result<bool, ApiFault> {
    match name {
        "image" | "image_ref" => filter.image = value.parse().ok(),
        "uuid" => filter.ids = value.parse().into_iter().collect(),
        "vm_state" => filter.vm_states = VmState::parse(value).into_iter().collect(),
        "task_state" => {
            let task = if value == "None" { Some(None) } else { TaskState::parse(value).map(Some) };
            filter.task_states = task.into_iter().collect();
        }
        "power_state" => {
            let number = value.parse::<i32>().ok();
            let state = number.map(PowerState::from_number);
            filter.power_state = state.filter(|state| Some(state.number()) == number);
        }
        _ if schema::JOINED.contains(&name) || name.starts_with('_') => {
            return Err(ApiFault::bad_request(format!("Invalid filter field: {name}.")));
        }
        // Unknown parameters do nothing before 2.75; later they do not get here.
        _ => return Ok(true),
    }
    Ok(match name {
        "image" | "image_ref" => filter.image.is_some(),
        "uuid" => !filter.ids.is_empty(),
        "vm_state" => !filter.vm_states.is_empty(),
        "task_state" => !filter.task_states.is_empty(),
        _ => filter.power_state.is_some(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(name: &str, value: &str) -> (Result<bool, ApiFault>, InstanceFilter) {
        let mut filter = InstanceFilter::default();
        let possible = condition(&mut filter, name, value);
        (possible, filter)
    }

    #[test]
    fn values_of_the_wrong_type_match_nothing() {
        for (name, value) in [
            ("image", "nope"),
            ("uuid", "1"),
            ("vm_state", "flying"),
            ("task_state", "waiting"),
            ("power_state", "2"),
            ("power_state", "x"),
            ("ip", "10.0.0.1"),
        ] {
            assert_eq!(apply(name, value).0, Ok(false), "{name}={value}");
        }
        let (possible, filter) = apply("power_state", "4");
        assert_eq!((possible, filter.power_state), (Ok(true), Some(PowerState::Shutdown)));
        let (possible, filter) = apply("task_state", "None");
        assert_eq!((possible, filter.task_states), (Ok(true), vec![None]));
    }

    #[test]
    fn joined_tables_are_refused() {
        let refused = apply("metadata", "x").0.unwrap_err();
        assert_eq!(refused.message(), "Invalid filter field: metadata.");
        assert!(apply("_x", "x").0.is_err());
        assert_eq!(apply("foo", "x").0, Ok(true));
    }

    #[test]
    fn truth_is_spelled_in_many_ways() {
        for text in ["1", "True", "yes", "ON", "t"] {
            assert_eq!(truth(text), Ok(true));
        }
        assert_eq!(truth("False"), Ok(false));
        assert!(truth("maybe").is_err());
    }
}
