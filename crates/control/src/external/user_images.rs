//! What users do with images of a Glance through Nova's old image resource: lists, properties,
//! deletion.
//!
//! Glance is asked with the user's own token, so that it decides what the user may see and change, as
//! it would without us. Nothing is read from here and written back: a change names the properties
//! that are set and removed, and what others change meanwhile stays. A deletion is the user's, done
//! once and never repeated by us: an answer that was lost is an error for the user, who sees by the
//! next request what became of it.

use async_trait::async_trait;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reprieve_core::ImageId;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

use super::glance::{GLANCE, Glance, read};
use super::http::{self, ExternalError, X_AUTH_TOKEN, bad};
use crate::app::identity::TokenSecret;
use crate::app::images::{Edit, ExternalImages, ImageError, ImageFilter, ImageRecord, Page};

/// Images that Glance is asked for at a time, so that an answer is not too long to be kept.
const PIECE: u64 = 100;
/// Media type of a change.
const PATCH: &str = "application/openstack-images-v2.1-json-patch";
/// Parameters that are no filters, so that no property can be called so.
const NO_FILTERS: [&str; 5] = ["limit", "marker", "sort", "sort_key", "sort_dir"];
/// What stays as it is in a query.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'_').remove(b'.').remove(b'-').remove(b'~');

#[async_trait]
impl ExternalImages for Glance {
    async fn list(&self, token: &TokenSecret, page: &Page) -> Result<Vec<ImageRecord>, ImageError> {
        let filters = filters(&page.filter);
        let (mut found, mut marker) = (Vec::new(), page.marker);
        loop {
            let left = page.limit.saturating_sub(found.len().try_into().unwrap_or(u64::MAX));
            if left == 0 {
                return Ok(found);
            }
            let asked = left.min(PIECE);
            let piece = self.piece(token, &filters, (marker, asked)).await?;
            let count = piece.len();
            found.extend(piece);
            marker = found.last().map(|image| image.id);
            if u64::try_from(count).unwrap_or(u64::MAX) < asked {
                return Ok(found);
            }
        }
    }

    async fn update(
        &self,
        token: &TokenSecret,
        id: ImageId,
        edits: &[Edit],
    ) -> Result<ImageRecord, ImageError> {
        let changes = edits.iter().map(change).collect::<Option<Vec<Value>>>();
        let Some(changes) = changes else {
            let text = "Only properties of images are changed from here.".to_owned();
            return Err(ImageError::Refused(text));
        };
        let path = format!("images/{id}");
        let answer = self.ask(token, (Method::PATCH, &path), Some(&Value::Array(changes))).await?;
        let answer = expect(answer, StatusCode::OK, id)?;
        let image = http::json(GLANCE, answer).await.map_err(unavailable)?;
        read(id, &image).map_err(unavailable)
    }

    async fn delete(&self, token: &TokenSecret, id: ImageId) -> Result<(), ImageError> {
        let answer = self.ask(token, (Method::DELETE, &format!("images/{id}")), None).await?;
        expect(answer, StatusCode::NO_CONTENT, id).map(drop)
    }
}

impl Glance {
    async fn piece(
        &self,
        token: &TokenSecret,
        filters: &str,
        (marker, limit): (Option<ImageId>, u64),
    ) -> Result<Vec<ImageRecord>, ImageError> {
        let marker_part = marker.map(|id| format!("&marker={id}")).unwrap_or_default();
        let order = "sort_key=created_at&sort_dir=desc";
        let path = format!("images?{order}&limit={limit}{marker_part}{filters}");
        let answer = self.ask(token, (Method::GET, &path), None).await?;
        match (answer.status(), marker) {
            (StatusCode::OK, _) => {}
            (StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND, Some(id)) => {
                return Err(ImageError::Invalid(format!("Marker {id} could not be found.")));
            }
            (StatusCode::BAD_REQUEST, None) => {
                let text = "The image service does not understand one of the filters.".to_owned();
                return Err(ImageError::Invalid(text));
            }
            (status, _) => return Err(refusal(status)),
        }
        let body = http::json(GLANCE, answer).await.map_err(unavailable)?;
        let images = body.get("images").and_then(Value::as_array);
        let images = images.ok_or_else(|| unavailable(bad(GLANCE, "it has no images")))?;
        if u64::try_from(images.len()).map_or(true, |count| count > limit) {
            return Err(unavailable(bad(GLANCE, "it has more images than were asked for")));
        }
        images.iter().map(described).collect()
    }

    /// One exchange in the name of a user; within the limit of all that move no image.
    async fn ask(
        &self,
        token: &TokenSecret,
        (method, path): (Method, &str),
        body: Option<&Value>,
    ) -> Result<Response, ImageError> {
        let header = http::secret_header(token.reveal());
        let header = header.ok_or_else(|| unavailable(bad(GLANCE, "no token fits a header")))?;
        let http = self.session().http();
        let mut request = http.request(method, &self.url(path)).header(X_AUTH_TOKEN, header);
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, PATCH).body(body.to_string());
        }
        http.send(GLANCE, request).await.map_err(unavailable)
    }
}

fn unavailable(error: ExternalError) -> ImageError {
    ImageError::Unavailable(Box::new(error))
}

fn refusal(status: StatusCode) -> ImageError {
    unavailable(ExternalError::Refused { service: GLANCE, status })
}

/// An answer about one image, if it is the good one.
fn expect(answer: Response, good: StatusCode, id: ImageId) -> Result<Response, ImageError> {
    Err(match answer.status() {
        status if status == good => return Ok(answer),
        StatusCode::BAD_REQUEST => {
            ImageError::Invalid("The image service does not take this change.".to_owned())
        }
        StatusCode::FORBIDDEN => ImageError::Forbidden,
        StatusCode::NOT_FOUND | StatusCode::GONE => ImageError::NotFound(id),
        StatusCode::CONFLICT => {
            ImageError::Conflict(format!("Image {id} is in use or was changed meanwhile."))
        }
        StatusCode::PAYLOAD_TOO_LARGE => {
            ImageError::Refused("Image metadata limit exceeded".to_owned())
        }
        status => refusal(status),
    })
}

fn described(image: &Value) -> Result<ImageRecord, ImageError> {
    let id = image.get("id").and_then(Value::as_str).and_then(|id| id.parse().ok());
    let id: ImageId = id.ok_or_else(|| unavailable(bad(GLANCE, "an image has no usable id")))?;
    read(id, image).map_err(unavailable)
}

/// What Nova passed on of a list's filters, each behind an ampersand.
fn filters(filter: &ImageFilter) -> String {
    let mut text = String::new();
    let mut add = |name: &str, value: &str| {
        let (name, value) = (utf8_percent_encode(name, QUERY), utf8_percent_encode(value, QUERY));
        text.push_str(&format!("&{name}={value}"));
    };
    for name in filter.names.iter().flatten() {
        add("name", name);
    }
    for status in filter.statuses.iter().flatten() {
        add("status", status);
    }
    if let Some(ram) = filter.min_ram {
        add("min_ram", &ram.to_string());
    }
    if let Some(disk) = filter.min_disk {
        add("min_disk", &disk.to_string());
    }
    if let Some(since) = filter.updated_since {
        add("updated_at", &format!("gte:{}", since.seconds_z()));
    }
    let properties = filter.properties.iter();
    for (name, value) in properties.filter(|(name, _)| !NO_FILTERS.contains(&name.as_str())) {
        add(name, value);
    }
    text
}

/// A change in Glance's words; `None` for one that is not of properties.
fn change(edit: &Edit) -> Option<Value> {
    let path = |name: &str| format!("/{}", name.replace('~', "~0").replace('/', "~1"));
    match edit {
        Edit::SetProperty(name, value) => {
            Some(json!({"op": "add", "path": path(name), "value": value}))
        }
        Edit::ReplaceProperty(name, value) => {
            Some(json!({"op": "replace", "path": path(name), "value": value}))
        }
        Edit::RemoveProperty(name) => Some(json!({"op": "remove", "path": path(name)})),
        Edit::Name(_)
        | Edit::Visibility(_)
        | Edit::Owner(_)
        | Edit::DiskFormat(_)
        | Edit::ContainerFormat(_)
        | Edit::MinDisk(_)
        | Edit::MinRam(_)
        | Edit::Protected(_)
        | Edit::Hidden(_)
        | Edit::Tags(_)
        | Edit::AddTag(_)
        | Edit::RemoveTag(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_written_so_that_they_stay_values() {
        let filter = ImageFilter {
            names: Some(vec!["a&b=c d".into()]),
            statuses: Some(vec!["active".into()]),
            min_ram: Some(512),
            min_disk: Some(0),
            properties: vec![("hw x".into(), "é".into()), ("limit".into(), "9".into())],
            ..ImageFilter::default()
        };
        let text = "&name=a%26b%3Dc%20d&status=active&min_ram=512&min_disk=0&hw%20x=%C3%A9";
        assert_eq!(filters(&filter), text);
        assert_eq!(filters(&ImageFilter::default()), "");
    }

    #[test]
    fn only_changes_of_properties_go_there() {
        let set = change(&Edit::SetProperty("a/b~c".into(), "v".into())).unwrap();
        assert_eq!(set, json!({"op": "add", "path": "/a~1b~0c", "value": "v"}));
        let remove = change(&Edit::RemoveProperty("a".into())).unwrap();
        assert_eq!(remove, json!({"op": "remove", "path": "/a"}));
        assert_eq!(change(&Edit::Protected(true)), None);
    }
}
