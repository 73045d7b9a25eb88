//! Version documents: discovery without a token (spec/api.md section 2).

use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use super::call::ApiCall;
use super::fault::{Answer, ApiFault, json_answer};
use super::microversion::{self, Microversion};

/// The two versions in the URL: 2.1, and 2.0 as a mode of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generation {
    /// `/v2/`: without microversions, unknown properties are dropped.
    V20,
    /// `/v2.1/`.
    V21,
}

impl Generation {
    /// Segment of the path.
    #[must_use]
    pub const fn segment(self) -> &'static str {
        match self {
            Self::V20 => "v2",
            Self::V21 => "v2.1",
        }
    }

    const fn id(self) -> &'static str {
        match self {
            Self::V20 => "v2.0",
            Self::V21 => "v2.1",
        }
    }

    const fn status(self) -> &'static str {
        match self {
            Self::V20 => "SUPPORTED",
            Self::V21 => "CURRENT",
        }
    }

    const fn media_type(self) -> &'static str {
        match self {
            Self::V20 => "application/vnd.openstack.compute+json;version=2",
            Self::V21 => "application/vnd.openstack.compute+json;version=2.1",
        }
    }

    /// Fields that all documents share.
    fn summary(self, base: &str) -> Value {
        let (version, min_version, updated) = match self {
            Self::V20 => (String::new(), String::new(), "2011-01-21T11:33:21Z"),
            Self::V21 => (
                Microversion::MAX.to_string(),
                Microversion::MIN.to_string(),
                "2013-07-23T11:33:21Z",
            ),
        };
        json!({
            "id": self.id(),
            "status": self.status(),
            "version": version,
            "min_version": min_version,
            "updated": updated,
            "links": [{"rel": "self", "href": format!("{base}/{}/", self.segment())}],
        })
    }

    fn media_types(self) -> Value {
        json!([{"base": "application/json", "type": self.media_type()}])
    }
}

/// `/`: both versions. `base` is the URL of the service without trailing slash.
#[must_use]
pub fn list(base: &str) -> Response {
    let versions = [Generation::V20.summary(base), Generation::V21.summary(base)];
    json_answer(StatusCode::OK, &json!({"versions": versions}))
}

/// `/v2/` or `/v2.1/`: one version. The latter negotiates microversions like any resource.
#[must_use]
pub fn show(base: &str, generation: Generation, asked: &HeaderMap) -> Response {
    let negotiated = match generation {
        Generation::V20 => None,
        Generation::V21 => match Microversion::negotiate(asked) {
            Ok(version) => Some(version),
            Err(rejected) => return ApiFault::from(rejected).into_response(),
        },
    };
    let mut response = json_answer(StatusCode::OK, &document(base, generation));
    for (name, value) in
        negotiated.iter().flat_map(|version| microversion::headers(&version.to_string()))
    {
        response.headers_mut().append(name, value);
    }
    response
}

/// `GET /versions/{id}`: the same, for those who come with a token.
pub async fn show_by_id(call: ApiCall, Path(id): Path<String>) -> Answer {
    let generation = [Generation::V20, Generation::V21].into_iter().find(|known| known.id() == id);
    let generation = generation.ok_or_else(ApiFault::no_resource)?;
    Ok(json_answer(StatusCode::OK, &document(&call.links.base, generation)))
}

fn document(base: &str, generation: Generation) -> Value {
    let mut version = generation.summary(base);
    if let Some(links) = version.get_mut("links").and_then(Value::as_array_mut) {
        links.push(json!({
            "rel": "describedby", "type": "text/html", "href": "http://docs.openstack.org/",
        }));
    }
    if let Some(fields) = version.as_object_mut() {
        fields.insert("media-types".to_owned(), generation.media_types());
    }
    json!({"version": version})
}

/// Any other path: 300, where it might be. `path` has no leading slash.
#[must_use]
pub fn choices(base: &str, path: &str) -> Response {
    let choice = |generation: Generation| {
        let href = format!("{base}/{}/{}", generation.segment(), path.trim_matches('/'));
        json!({
            "id": generation.id(),
            "status": generation.status(),
            "links": [{"rel": "self", "href": href}],
            "media-types": generation.media_types(),
        })
    };
    let body = json!({"choices": [choice(Generation::V20), choice(Generation::V21)]});
    json_answer(StatusCode::MULTIPLE_CHOICES, &body)
}
