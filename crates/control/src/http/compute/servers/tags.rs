//! Tags of a server (spec/api.md section 7.6).

use axum::extract::Path;
use axum::http::{HeaderValue, StatusCode, header};
use reprieve_store::{InstanceRecord, InstanceUpdate};
use serde_json::{Value, json};

use super::super::call::ApiCall;
use super::super::fault::{Answer, ApiFault, empty_answer, json_answer};
use super::super::policy;
use super::super::schema::servers as schema;
use super::create::text_list;
use super::metadata::check_writable;
use crate::app::servers;

/// Most tags of a server.
const MAX_TAGS: usize = 50;

const UPDATE: &str = "update tag";
const DELETE: &str = "delete tag";

/// `GET /servers/{id}/tags`.
pub async fn index(call: ApiCall, Path(id): Path<String>) -> Answer {
    let server = call.server(&id, policy::TAGS_INDEX).await?;
    Ok(json_answer(StatusCode::OK, &json!({"tags": server.tags})))
}

/// `GET /servers/{id}/tags/{tag}`.
pub async fn show(call: ApiCall, Path((id, tag)): Path<(String, String)>) -> Answer {
    let server = call.server(&id, policy::TAGS_SHOW).await?;
    if server.tags.contains(&tag) {
        Ok(empty_answer(StatusCode::NO_CONTENT))
    } else {
        Err(missing(&id, &tag))
    }
}

/// `PUT /servers/{id}/tags`.
pub async fn replace(call: ApiCall, Path(id): Path<String>) -> Answer {
    let body = call.body(&schema::TAGS)?;
    let server = call.server(&id, policy::TAGS_UPDATE_ALL).await?;
    let tags = store(&call, &server, (text_list(body.get("tags")), UPDATE)).await?;
    Ok(json_answer(StatusCode::OK, &json!({"tags": tags})))
}

/// `PUT /servers/{id}/tags/{tag}`.
pub async fn add(call: ApiCall, Path((id, tag)): Path<(String, String)>) -> Answer {
    call.body(&schema::TAG_BODY)?;
    check_tag(&call, &tag)?;
    let server = call.server(&id, policy::TAGS_UPDATE).await?;
    check_writable(&server, UPDATE)?;
    if server.tags.contains(&tag) {
        return Ok(empty_answer(StatusCode::NO_CONTENT));
    }
    let mut tags = server.tags.clone();
    let path = format!("servers/{}/tags/{tag}", server.id);
    tags.push(tag);
    store(&call, &server, (tags, UPDATE)).await?;
    let mut response = empty_answer(StatusCode::CREATED);
    if let Ok(location) = HeaderValue::from_str(&call.links.versioned(&path)) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    // Nova leaves this one answer the type that its library gives to an empty page.
    let page = HeaderValue::from_static("text/html; charset=UTF-8");
    response.headers_mut().insert(header::CONTENT_TYPE, page);
    Ok(response)
}

/// `DELETE /servers/{id}/tags`.
pub async fn clear(call: ApiCall, Path(id): Path<String>) -> Answer {
    let server = call.server(&id, policy::TAGS_DELETE_ALL).await?;
    store(&call, &server, (Vec::new(), DELETE)).await?;
    Ok(empty_answer(StatusCode::NO_CONTENT))
}

/// `DELETE /servers/{id}/tags/{tag}`.
pub async fn remove(call: ApiCall, Path((id, tag)): Path<(String, String)>) -> Answer {
    let server = call.server(&id, policy::TAGS_DELETE).await?;
    if !server.tags.contains(&tag) {
        return Err(missing(&id, &tag));
    }
    let tags = server.tags.iter().filter(|kept| **kept != tag).cloned().collect();
    store(&call, &server, (tags, DELETE)).await?;
    Ok(empty_answer(StatusCode::NO_CONTENT))
}

fn missing(id: &str, tag: &str) -> ApiFault {
    ApiFault::not_found(format!("Server {id} has no tag '{tag}'"))
}

/// What the schema says of tags in bodies, for one in a path.
fn check_tag(call: &ApiCall, tag: &str) -> Result<(), ApiFault> {
    let checked = schema::TAG.at(call.version)?.check_body(&Value::from(tag));
    checked.map_err(|why| {
        ApiFault::bad_request(format!(
            "Tag '{tag}' is invalid. It must be a string without characters '/' and ','. \
             Validation error message: {}",
            why.message()
        ))
    })
}

async fn store(
    call: &ApiCall,
    server: &InstanceRecord,
    (mut tags, action): (Vec<String>, &'static str),
) -> Result<Vec<String>, ApiFault> {
    check_writable(server, action)?;
    tags.sort();
    tags.dedup();
    if tags.len() > MAX_TAGS {
        let text = format!("The number of tags exceeded the per-server limit {MAX_TAGS}");
        return Err(ApiFault::bad_request(text));
    }
    let change = InstanceUpdate { tags: Some(tags), ..InstanceUpdate::default() };
    Ok(servers::update(&call.app(), server.id, change).await?.tags)
}
