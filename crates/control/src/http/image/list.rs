//! Lists: filters, sorting, pages.

use axum::http::StatusCode;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reprieve_core::{ImageId, ProjectId, Timestamp};
use reprieve_store::SortDirection;
use serde_json::{Value, json};

use super::fault::{Answer, Fault};
use super::view::BASE_ATTRIBUTES;
use super::{Caller, view};
use crate::app::images::{
    self, ImageFilter, ImageSortKey, ImageTime, MAX_PAGE, MemberFilter, MemberStatus, Page,
    TimeComparison, TimeCondition, Visibility, VisibilityFilter,
};
use crate::http::query::Query;

/// Images on a page when the client does not say; Glance's default.
const DEFAULT_PAGE: u64 = 25;
/// Most values in an `in:` list and most filters by property, tag or time.
const MAX_VALUES: usize = 500;
const MAX_FILTERS: usize = 32;
/// What stays as it is in a query.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

pub async fn list(caller: Caller) -> Answer {
    let page = read(&caller.query)?;
    let limit = page.limit;
    let images = images::list(&caller.control, &caller.auth, page).await?;
    let shown: Vec<Value> = images.iter().map(view::image).collect();
    let mut body = json!({
        "images": shown,
        "first": link(&caller.query, None),
        "schema": "/v2/schemas/images",
    });
    let full = images.len() as u64 == limit;
    if let (true, Some(last), Some(members)) = (full, images.last(), body.as_object_mut()) {
        members.insert("next".to_owned(), link(&caller.query, Some(last.id)).into());
    }
    Ok(super::json(StatusCode::OK, &body))
}

/// This list from its beginning, or behind an image.
fn link(query: &Query, marker: Option<ImageId>) -> String {
    let mut pairs: Vec<(&str, String)> = query
        .pairs()
        .filter(|(name, _)| *name != "marker")
        .map(|(name, value)| (name, value.to_owned()))
        .collect();
    pairs.extend(marker.map(|id| ("marker", id.to_string())));
    let encode = |text: &str| utf8_percent_encode(text, PLAIN).to_string();
    let query: Vec<String> =
        pairs.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
    match query.as_slice() {
        [] => "/v2/images".to_owned(),
        query => format!("/v2/images?{}", query.join("&")),
    }
}

fn read(query: &Query) -> Result<Page, Fault> {
    let limit = match query.get("limit") {
        None => DEFAULT_PAGE,
        Some(text) => text
            .parse::<u64>()
            .map_err(|_| Fault::bad_request("limit param must be an integer of at least 0"))?
            .min(MAX_PAGE),
    };
    let marker = query.get("marker").map(|text| {
        text.parse().map_err(|_| Fault::bad_request(format!("Marker {text} could not be found.")))
    });
    Ok(Page {
        visibility: visibility(query)?,
        members: members(query)?,
        filter: filter(query)?,
        sort: sort(query)?,
        marker: marker.transpose()?,
        limit,
    })
}

fn visibility(query: &Query) -> Result<VisibilityFilter, Fault> {
    match query.get("visibility") {
        None => Ok(VisibilityFilter::Usual),
        Some("all") => Ok(VisibilityFilter::All),
        Some(text) => Visibility::parse(text)
            .map(VisibilityFilter::Only)
            .ok_or_else(|| Fault::bad_request(format!("Invalid visibility value: {text}"))),
    }
}

fn members(query: &Query) -> Result<MemberFilter, Fault> {
    match query.get("member_status") {
        None => Ok(MemberFilter::Only(MemberStatus::Accepted)),
        Some("all") => Ok(MemberFilter::All),
        Some(text) => MemberStatus::parse(text)
            .map(MemberFilter::Only)
            .ok_or_else(|| Fault::bad_request(format!("Invalid status: {text}"))),
    }
}

fn filter(query: &Query) -> Result<ImageFilter, Fault> {
    let mut filter = ImageFilter::default();
    for (name, value) in query.pairs() {
        match name {
            "limit" | "marker" | "sort" | "sort_key" | "sort_dir" | "visibility"
            | "member_status" => {}
            // Nothing has an id that is no UUID.
            "id" => {
                let ids = one_of(value)?;
                filter.ids = Some(ids.iter().filter_map(|id| id.parse().ok()).collect());
            }
            "name" => filter.names = Some(one_of(value)?),
            "status" => filter.statuses = Some(one_of(value)?),
            "disk_format" => filter.disk_formats = Some(one_of(value)?),
            "container_format" => filter.container_formats = Some(one_of(value)?),
            "owner" => filter.owner = Some(ProjectId::from(value)),
            "protected" => filter.protected = Some(truth(name, value)?),
            "os_hidden" => filter.hidden = truth(name, value)?,
            "size_min" => filter.size_min = Some(size(name, value)?),
            "size_max" => filter.size_max = Some(size(name, value)?),
            "tag" => filter.tags.push(value.to_owned()),
            "created_at" => filter.times.push(time(ImageTime::CreatedAt, name, value)?),
            "updated_at" => filter.times.push(time(ImageTime::UpdatedAt, name, value)?),
            _ if BASE_ATTRIBUTES.contains(&name) => {
                return Err(Fault::bad_request(format!("Filtering by '{name}' is not supported.")));
            }
            _ => filter.properties.push((name.to_owned(), value.to_owned())),
        }
    }
    if filter.tags.len() + filter.properties.len() + filter.times.len() > MAX_FILTERS {
        return Err(Fault::bad_request(format!("At most {MAX_FILTERS} filters are allowed.")));
    }
    Ok(filter)
}

/// `in:a,b,"c,d"` or a single value.
fn one_of(value: &str) -> Result<Vec<String>, Fault> {
    let Some(list) = value.strip_prefix("in:") else { return Ok(vec![value.to_owned()]) };
    let (mut values, mut value, mut quoted) = (Vec::new(), String::new(), false);
    for character in list.chars() {
        match character {
            '"' => quoted = !quoted,
            ',' if !quoted => values.push(std::mem::take(&mut value)),
            other => value.push(other),
        }
    }
    values.push(value);
    if quoted {
        return Err(Fault::bad_request("A quotation mark is missing in an 'in:' filter."));
    }
    if values.len() > MAX_VALUES {
        return Err(Fault::bad_request(format!("At most {MAX_VALUES} values are allowed.")));
    }
    Ok(values)
}

/// `gt:TIME`, or a time alone, which has to be equal. A time has colons as well, so it is tried
/// first.
fn time(column: ImageTime, name: &str, value: &str) -> Result<TimeCondition, Fault> {
    if let Some(time) = Timestamp::parse_iso(value) {
        return Ok(TimeCondition { column, comparison: TimeComparison::Equal, time });
    }
    let unreadable = || {
        Fault::bad_request(format!(
            "Bad \"{name}\" query filter format. Use ISO 8601 DateTime notation."
        ))
    };
    let (operator, text) = value.split_once(':').ok_or_else(unreadable)?;
    let comparison = match operator {
        "eq" => TimeComparison::Equal,
        "neq" => TimeComparison::NotEqual,
        "gt" => TimeComparison::After,
        "gte" => TimeComparison::NotBefore,
        "lt" => TimeComparison::Before,
        "lte" => TimeComparison::NotAfter,
        other => {
            let text = format!("Unable to filter by unknown operator '{other}'.");
            return Err(Fault::bad_request(text));
        }
    };
    let time = Timestamp::parse_iso(text).ok_or_else(unreadable)?;
    Ok(TimeCondition { column, comparison, time })
}

fn truth(name: &str, value: &str) -> Result<bool, Fault> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => {
            Err(Fault::bad_request(format!("Invalid value for {name}: it must be true or false.")))
        }
    }
}

fn size(name: &str, value: &str) -> Result<u64, Fault> {
    value
        .parse()
        .map_err(|_| Fault::bad_request(format!("Invalid value for {name}: not a number.")))
}

/// `sort=name:asc,size`, or `sort_key` and `sort_dir` repeated.
fn sort(query: &Query) -> Result<Vec<(ImageSortKey, SortDirection)>, Fault> {
    let keys: Vec<&str> = query.all("sort_key").collect();
    let directions: Vec<&str> = query.all("sort_dir").collect();
    let pairs: Vec<(&str, &str)> = match query.get("sort") {
        Some(_) if !keys.is_empty() || !directions.is_empty() => {
            return Err(Fault::bad_request("Old and new sorting syntax cannot be combined"));
        }
        Some(sort) => {
            sort.split(',').map(|one| one.split_once(':').unwrap_or((one, "desc"))).collect()
        }
        None if keys.is_empty() => {
            vec![("created_at", directions.first().copied().unwrap_or("desc"))]
        }
        None if directions.len() > 1 && directions.len() != keys.len() => {
            return Err(Fault::bad_request(
                "Number of sort dirs does not match the number of sort keys",
            ));
        }
        None => {
            let common = directions.first().copied().unwrap_or("desc");
            let direction = |at: usize| directions.get(at).copied().unwrap_or(common);
            keys.into_iter().enumerate().map(|(at, key)| (key, direction(at))).collect()
        }
    };
    if pairs.len() > 8 {
        return Err(Fault::bad_request("At most 8 sort keys are allowed."));
    }
    pairs.into_iter().map(|(key, direction)| Ok((sort_key(key)?, sort_dir(direction)?))).collect()
}

fn sort_key(text: &str) -> Result<ImageSortKey, Fault> {
    match text.trim() {
        "name" => Ok(ImageSortKey::Name),
        "status" => Ok(ImageSortKey::Status),
        "container_format" => Ok(ImageSortKey::ContainerFormat),
        "disk_format" => Ok(ImageSortKey::DiskFormat),
        "size" => Ok(ImageSortKey::Size),
        "id" => Ok(ImageSortKey::Id),
        "created_at" => Ok(ImageSortKey::CreatedAt),
        "updated_at" => Ok(ImageSortKey::UpdatedAt),
        other => Err(Fault::bad_request(format!(
            "Invalid sort key: {other}. It must be one of the following: name, status, \
             container_format, disk_format, size, id, created_at, updated_at."
        ))),
    }
}

fn sort_dir(text: &str) -> Result<SortDirection, Fault> {
    match text.trim() {
        "asc" => Ok(SortDirection::Ascending),
        "desc" => Ok(SortDirection::Descending),
        other => Err(Fault::bad_request(format!(
            "Invalid sort direction: {other}. It must be one of the following: asc, desc."
        ))),
    }
}
