//! Links in answers (spec/api.md section 6).

use std::fmt::Write as _;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reprieve_core::ImageId;
use serde::Serialize;
use serde_json::{Value, json};

use super::versions::Generation;
use crate::http::query::Query;

/// What stays as it is in a query, as in Python's `urlencode`.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'_').remove(b'.').remove(b'-').remove(b'~');

/// A link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Link {
    /// What it is to the thing that has it.
    pub rel: &'static str,
    /// URL.
    pub href: String,
}

/// Where links lead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Links {
    /// URL of the service, without version and without trailing slash: where the client reached it,
    /// or what the operator has set.
    pub base: String,
    /// The same for links of images.
    pub images: String,
    /// Where the client reached this daemon, without a path.
    pub reached: String,
    /// Version in the URL.
    pub generation: Generation,
    /// Project, if it is in the URL.
    pub project: Option<String>,
}

impl Links {
    fn project_part(&self) -> String {
        self.project.as_ref().map(|project| format!("/{project}")).unwrap_or_default()
    }

    /// URL of `path` (without leading slash) with the version in it.
    #[must_use]
    pub fn versioned(&self, path: &str) -> String {
        format!("{}/{}{}/{path}", self.base, self.generation.segment(), self.project_part())
    }

    /// URL of `path` without a version: the name that stays when versions change.
    #[must_use]
    pub fn bookmark(&self, path: &str) -> String {
        format!("{}{}/{path}", self.base, self.project_part())
    }

    /// `self` and `bookmark`.
    #[must_use]
    pub fn pair(&self, path: &str) -> [Link; 2] {
        [Link { rel: "self", href: self.versioned(path) }, self.bookmark_link(path)]
    }

    /// `bookmark` of an image.
    #[must_use]
    pub fn image_bookmark(&self, id: ImageId) -> Link {
        let href = format!("{}{}/images/{id}", self.images, self.project_part());
        Link { rel: "bookmark", href }
    }

    /// `self` and `bookmark` of an image.
    #[must_use]
    pub fn image_pair(&self, id: ImageId) -> [Link; 2] {
        let (version, project) = (self.generation.segment(), self.project_part());
        let href = format!("{}/{version}{project}/images/{id}", self.images);
        [Link { rel: "self", href }, self.image_bookmark(id)]
    }

    /// `bookmark` alone.
    #[must_use]
    pub fn bookmark_link(&self, path: &str) -> Link {
        Link { rel: "bookmark", href: self.bookmark(path) }
    }

    /// `self` and `bookmark`.
    #[must_use]
    pub fn both(&self, path: &str) -> Value {
        json!(self.pair(path))
    }

    /// `next` of a page: the same query with another marker, sorted by name.
    #[must_use]
    pub fn next(&self, path: &str, query: &Query, marker: &str) -> Value {
        let mut pairs: Vec<(&str, &str)> =
            query.pairs().filter(|(name, _)| *name != "marker").collect();
        pairs.push(("marker", marker));
        pairs.sort_by_key(|(name, _)| *name);
        let mut href = self.versioned(path);
        for (index, (name, value)) in pairs.into_iter().enumerate() {
            let separator = if index == 0 { '?' } else { '&' };
            let name = utf8_percent_encode(name, QUERY);
            let value = utf8_percent_encode(value, QUERY);
            // Writing to a String cannot fail.
            let _ = write!(href, "{separator}{name}={value}");
        }
        json!([{"rel": "next", "href": href}])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links(project: Option<&str>) -> Links {
        Links {
            base: "http://h:8774/compute".into(),
            images: "https://glance.example/compute".into(),
            reached: "http://h:8774".into(),
            generation: Generation::V21,
            project: project.map(str::to_owned),
        }
    }

    #[test]
    fn the_project_is_in_links_only_if_it_was_in_the_url() {
        let with = links(Some("ab12"));
        assert_eq!(with.versioned("servers/1"), "http://h:8774/compute/v2.1/ab12/servers/1");
        assert_eq!(with.bookmark("servers/1"), "http://h:8774/compute/ab12/servers/1");
        assert_eq!(links(None).versioned("servers/1"), "http://h:8774/compute/v2.1/servers/1");
        assert_eq!(links(None).bookmark("servers/1"), "http://h:8774/compute/servers/1");
    }

    #[test]
    fn links_of_images_have_their_own_beginning() {
        let id = ImageId::random();
        let [to_self, bookmark] = links(Some("ab12")).image_pair(id);
        let base = "https://glance.example/compute";
        assert_eq!(to_self.href, format!("{base}/v2.1/ab12/images/{id}"));
        assert_eq!(bookmark.href, format!("{base}/ab12/images/{id}"));
    }

    #[test]
    fn the_next_page_keeps_the_query() {
        let query = Query::parse("status=ACTIVE&name=a%20b&limit=2&marker=old&status=ERROR");
        let next = links(None).next("servers/detail", &query, "new");
        assert_eq!(
            next[0]["href"],
            "http://h:8774/compute/v2.1/servers/detail?limit=2&marker=new&name=a%20b&\
             status=ACTIVE&status=ERROR"
        );
    }
}
