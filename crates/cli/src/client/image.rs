//! Image v2: metadata of images. Their data are moved by `transfer`.

use reqwest::Method;
use serde_json::{Map, Value};

use super::{ClientError, Service, Session, compute, encode, query};

/// Images in one page of a listing.
const PAGE: usize = 500;

/// One image.
///
/// # Errors
/// 404 when there is none.
pub async fn show(session: &Session, id: &str) -> Result<Map<String, Value>, ClientError> {
    session.get(Service::Image, &format!("/images/{}", encode(id))).await
}

/// Images that fit a filter; pages are followed by the id of the last image.
///
/// # Errors
/// As every call.
pub async fn list(session: &Session, filter: &[(&str, String)]) -> Result<Vec<Value>, ClientError> {
    let mut all: Vec<Value> = Vec::new();
    let mut marker: Option<String> = None;
    loop {
        let mut pairs = filter.to_vec();
        pairs.push(("limit", PAGE.to_string()));
        if let Some(marker) = marker.clone() {
            pairs.push(("marker", marker));
        }
        let value: Value =
            session.get(Service::Image, &format!("/images{}", query(&pairs))).await?;
        let more = value.get("next").is_some();
        let page = compute::items(session, value, "images")?;
        let last = page.last().and_then(|image| image.get("id")?.as_str()).map(str::to_owned);
        all.extend(page);
        if !more || last.is_none() || last == marker {
            return Ok(all);
        }
        marker = last;
    }
}

/// Creates an image without data.
///
/// # Errors
/// As every call.
pub async fn create(session: &Session, body: &Value) -> Result<Map<String, Value>, ClientError> {
    let answer = session.call(Service::Image, Method::POST, "/images", Some(body)).await?;
    session.json(Service::Image, &answer)
}

/// Deletes an image.
///
/// # Errors
/// As every call.
pub async fn delete(session: &Session, id: &str) -> Result<(), ClientError> {
    session.delete(Service::Image, &format!("/images/{}", encode(id))).await.map(drop)
}
