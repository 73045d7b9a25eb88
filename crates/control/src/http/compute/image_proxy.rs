//! `/images`: the image service seen through Nova.
//!
//! Clients that are older than the image service's own API look here. It shows what that service
//! has, in Nova's words, and changes no more than Nova let them. With a Glance that is there already,
//! lists and changes go there with the caller's token.

use std::collections::BTreeMap;

use axum::extract::Path;
use axum::http::StatusCode;
use reprieve_core::{ImageId, Timestamp};
use reprieve_store::SortDirection;
use serde_json::{Value, json};

use super::call::ApiCall;
use super::fault::{Answer, ApiFault, empty_answer, json_answer};
use super::paging;
use super::schema::{servers as schema, small};
use crate::app::images::{
    self, Edit, ImageError, ImageFilter, ImageRecord, ImageSortKey, ImageStatus, MemberFilter,
    MemberStatus, Page, VisibilityFilter,
};
use crate::http::image::is_reserved;

/// Most properties that an image may have through this service (Nova's default for
/// `metadata_items`).
const MAX_ITEMS: usize = 128;
/// Most filters by property.
const MAX_FILTERS: usize = 32;

/// `GET /images`.
pub async fn index(call: ApiCall) -> Answer {
    list(&call, "images", summary).await
}

/// `GET /images/detail`.
pub async fn detail(call: ApiCall) -> Answer {
    list(&call, "images/detail", full).await
}

/// `GET /images/{id}`.
pub async fn show(call: ApiCall, Path(id): Path<String>) -> Answer {
    let image = find(&call, &id).await?;
    Ok(json_answer(StatusCode::OK, &json!({"image": full(&call, &image)})))
}

/// `DELETE /images/{id}`.
pub async fn delete(call: ApiCall, Path(id): Path<String>) -> Answer {
    let deleted = match call.control.images.external() {
        Some(glance) => glance.delete(&call.token, image_id(&id)?).await,
        None => images::delete(&call.control, &call.auth, image_id(&id)?).await,
    };
    match deleted {
        Ok(()) => Ok(empty_answer(StatusCode::NO_CONTENT)),
        Err(ImageError::Forbidden | ImageError::Refused(_)) => {
            Err(ApiFault::forbidden("You are not allowed to delete the image."))
        }
        Err(error) => Err(error.into()),
    }
}

/// `GET /images/{id}/metadata`.
pub async fn metadata(call: ApiCall, Path(id): Path<String>) -> Answer {
    let image = find(&call, &id).await?;
    Ok(json_answer(StatusCode::OK, &json!({"metadata": image.properties})))
}

/// `POST /images/{id}/metadata`: adds to what is there.
pub async fn add(call: ApiCall, Path(id): Path<String>) -> Answer {
    let body = call.body(&schema::METADATA)?;
    let image = find(&call, &id).await?;
    let image = store(&call, &image, (texts(body.get("metadata")), Vec::new())).await?;
    Ok(json_answer(StatusCode::OK, &json!({"metadata": image.properties})))
}

/// `PUT /images/{id}/metadata`: replaces what is there.
pub async fn replace(call: ApiCall, Path(id): Path<String>) -> Answer {
    let body = call.body(&schema::METADATA)?;
    let image = find(&call, &id).await?;
    let given = texts(body.get("metadata"));
    let obsolete = image.properties.keys().filter(|key| !given.contains_key(*key));
    let obsolete = obsolete.cloned().collect();
    let image = store(&call, &image, (given, obsolete)).await?;
    Ok(json_answer(StatusCode::OK, &json!({"metadata": image.properties})))
}

/// `GET /images/{id}/metadata/{key}`.
pub async fn item(call: ApiCall, Path((id, key)): Path<(String, String)>) -> Answer {
    let image = find(&call, &id).await?;
    let missing = || ApiFault::not_found("Metadata item was not found");
    let value = image.properties.get(&key).ok_or_else(missing)?;
    Ok(json_answer(StatusCode::OK, &json!({"meta": {key: value}})))
}

/// `PUT /images/{id}/metadata/{key}`.
pub async fn set(call: ApiCall, Path((id, key)): Path<(String, String)>) -> Answer {
    let body = call.body(&schema::METADATA_ITEM)?;
    let given = texts(body.get("meta"));
    if !given.contains_key(&key) {
        return Err(ApiFault::bad_request("Request body and URI mismatch"));
    }
    let image = find(&call, &id).await?;
    store(&call, &image, (given.clone(), Vec::new())).await?;
    Ok(json_answer(StatusCode::OK, &json!({"meta": given})))
}

/// `DELETE /images/{id}/metadata/{key}`.
pub async fn remove(call: ApiCall, Path((id, key)): Path<(String, String)>) -> Answer {
    let image = find(&call, &id).await?;
    if !image.properties.contains_key(&key) {
        return Err(ApiFault::not_found("Invalid metadata key"));
    }
    store(&call, &image, (BTreeMap::new(), vec![key])).await?;
    Ok(empty_answer(StatusCode::NO_CONTENT))
}

async fn list(call: &ApiCall, path: &str, view: fn(&ApiCall, &ImageRecord) -> Value) -> Answer {
    call.check_query(&small::IMAGES)?;
    let limit = paging::limit(&call.query, call.max_limit());
    let marker = call.query.get("marker").map(|text| {
        text.parse().map_err(|_| ApiFault::bad_request(format!("marker [{text}] not found")))
    });
    let page = Page {
        visibility: VisibilityFilter::Usual,
        members: MemberFilter::Only(MemberStatus::Accepted),
        filter: filter(call)?,
        sort: vec![(ImageSortKey::CreatedAt, SortDirection::Descending)],
        marker: marker.transpose()?,
        limit: limit.into(),
    };
    let found = match call.control.images.external() {
        Some(glance) => glance.list(&call.token, &page).await?,
        None => images::list(&call.control, &call.auth, page).await?,
    };
    let shown: Vec<Value> = found.iter().map(|image| view(call, image)).collect();
    let mut body = json!({"images": shown});
    let full_page = limit > 0 && u32::try_from(found.len()).is_ok_and(|count| count == limit);
    if let (true, Some(last), Some(fields)) = (full_page, found.last(), body.as_object_mut()) {
        let next = call.links.next(path, &call.query, &last.id.to_string());
        fields.insert("images_links".to_owned(), next);
    }
    Ok(json_answer(StatusCode::OK, &body))
}

/// What of the query the image service can filter by; the rest is ignored, as Nova did. The least
/// memory and disk of a guest have to be the ones that are asked for: Nova passed them on, and the
/// image service compares them so.
fn filter(call: &ApiCall) -> Result<ImageFilter, ApiFault> {
    let mut filter = ImageFilter::default();
    for (name, value) in call.query.pairs() {
        let mut property = |name: &str, value: &str| {
            filter.properties.push((name.to_owned(), value.to_owned()));
        };
        match name {
            "name" => filter.names = Some(vec![value.to_owned()]),
            "status" => filter.statuses = Some(vec![value.to_ascii_lowercase()]),
            "minRam" => filter.min_ram = Some(number(name, value)?),
            "minDisk" => filter.min_disk = Some(number(name, value)?),
            "changes-since" => filter.updated_since = Some(instant(name, value)?),
            // Also as the URL of the server.
            "server" => property("instance_uuid", value.rsplit('/').next().unwrap_or_default()),
            "type" => property("image_type", value),
            _ => {
                if let Some(name) = name.strip_prefix("property-") {
                    property(name, value);
                }
            }
        }
    }
    if filter.properties.len() > MAX_FILTERS {
        let text = format!("At most {MAX_FILTERS} filters are allowed.");
        return Err(ApiFault::bad_request(text));
    }
    Ok(filter)
}

fn number(name: &str, text: &str) -> Result<u64, ApiFault> {
    text.trim().parse().map_err(|_| invalid(name, text))
}

fn instant(name: &str, text: &str) -> Result<Timestamp, ApiFault> {
    Timestamp::parse_iso(text).ok_or_else(|| invalid(name, text))
}

fn invalid(name: &str, text: &str) -> ApiFault {
    ApiFault::bad_request(format!("Invalid {name} filter [{text}]"))
}

fn image_id(text: &str) -> Result<ImageId, ApiFault> {
    text.parse().map_err(|_| not_found())
}

fn not_found() -> ApiFault {
    ApiFault::not_found("Image not found.")
}

async fn find(call: &ApiCall, id: &str) -> Result<ImageRecord, ApiFault> {
    Ok(images::get(&call.control, &call.auth, image_id(id)?).await?)
}

fn texts(value: Option<&Value>) -> BTreeMap<String, String> {
    let fields = value.and_then(Value::as_object).into_iter().flatten();
    fields.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

/// Writes properties: first the obsolete ones go, then the given ones come.
async fn store(
    call: &ApiCall,
    image: &ImageRecord,
    (given, obsolete): (BTreeMap<String, String>, Vec<String>),
) -> Result<ImageRecord, ApiFault> {
    if let Some(name) = given.keys().find(|name| is_reserved(name)) {
        return Err(ApiFault::forbidden(format!("Attribute '{name}' is reserved.")));
    }
    if given.values().any(|value| value.contains('\0')) {
        return Err(ApiFault::bad_request("A value may not contain the character NUL."));
    }
    let kept = image.properties.keys().filter(|key| !obsolete.contains(key));
    let new = kept.filter(|key| !given.contains_key(*key)).count();
    if new.saturating_add(given.len()) > MAX_ITEMS {
        return Err(ApiFault::forbidden("Image metadata limit exceeded"));
    }
    let mut edits: Vec<Edit> = obsolete.into_iter().map(Edit::RemoveProperty).collect();
    edits.extend(given.into_iter().map(|(key, value)| Edit::SetProperty(key, value)));
    Ok(match call.control.images.external() {
        Some(glance) => glance.update(&call.token, image.id, &edits).await?,
        None => images::update(&call.control, &call.auth, image.id, edits).await?,
    })
}

fn links(call: &ApiCall, image: &ImageRecord) -> Value {
    let service = match call.control.images.external_url() {
        Some(glance) => glance.trim_end_matches('/').to_owned(),
        None => format!("{}/image", call.links.reached),
    };
    let service = match &call.control.settings.api.glance_link_prefix {
        Some(prefix) => format!("{prefix}{}", path_of(&service)),
        None => service,
    };
    let alternate = format!("{service}/images/{}", image.id);
    let mut links = json!(call.links.image_pair(image.id));
    if let Some(list) = links.as_array_mut() {
        list.push(json!({
            "rel": "alternate",
            "type": "application/vnd.openstack.image",
            "href": alternate,
        }));
    }
    links
}

/// What of a URL is behind the host.
fn path_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.find('/').and_then(|at| rest.get(at..)).unwrap_or_default()
}

fn summary(call: &ApiCall, image: &ImageRecord) -> Value {
    json!({"id": image.id, "name": image.name, "links": links(call, image)})
}

fn full(call: &ApiCall, image: &ImageRecord) -> Value {
    let (status, progress) = match image.status {
        ImageStatus::Queued => ("SAVING", 25),
        ImageStatus::Saving => ("SAVING", 50),
        ImageStatus::Active => ("ACTIVE", 100),
        ImageStatus::Deactivated => ("UNKNOWN", 0),
    };
    let mut view = json!({
        "id": image.id,
        "name": image.name,
        "minRam": image.min_ram,
        "minDisk": image.min_disk,
        "metadata": image.properties,
        "created": image.created_at.seconds_z(),
        "updated": image.updated_at.seconds_z(),
        "status": status,
        "progress": progress,
        "OS-EXT-IMG-SIZE:size": image.data.as_ref().map_or(0, |data| data.size),
        "links": links(call, image),
    });
    let server = image.properties.get("instance_uuid");
    if let (Some(id), Some(fields)) = (server, view.as_object_mut()) {
        let links = call.links.both(&format!("servers/{id}"));
        fields.insert("server".to_owned(), json!({"id": id, "links": links}));
    }
    view
}

impl From<ImageError> for ApiFault {
    fn from(error: ImageError) -> Self {
        match &error {
            ImageError::NotFound(_) | ImageError::NothingThere(_) | ImageError::Gone(_) => {
                not_found()
            }
            ImageError::Forbidden | ImageError::Refused(_) | ImageError::TooManyMembers(_) => {
                Self::forbidden(error.to_string())
            }
            ImageError::Invalid(_) | ImageError::Format(_) | ImageError::BrokenOff(_) => {
                Self::bad_request(error.to_string())
            }
            ImageError::Conflict(_) => Self::conflict(error.to_string()),
            ImageError::TooLarge(_) | ImageError::StorageFull => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, error.to_string())
            }
            ImageError::Unavailable(_) => Self::unavailable(&error),
            ImageError::File { .. } | ImageError::Interrupted | ImageError::Store(_) => {
                Self::unexpected(&error)
            }
        }
    }
}
