//! Links in answers (spec/api.md section 6).

use std::fmt::Write as _;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::versions::Generation;

/// What stays as it is in a query, as in Python's `urlencode`.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'_').remove(b'.').remove(b'-').remove(b'~');

/// Where the client reached the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Links {
    /// URL of the service, without version and without trailing slash.
    pub base: String,
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
    pub fn both(&self, path: &str) -> Value {
        json!([
            {"rel": "self", "href": self.versioned(path)},
            {"rel": "bookmark", "href": self.bookmark(path)},
        ])
    }

    /// `bookmark` alone, for things of other services and parts of a server.
    #[must_use]
    pub fn bookmark_only(&self, path: &str) -> Value {
        json!([{"rel": "bookmark", "href": self.bookmark(path)}])
    }

    /// `next` of a page: the same query with another marker, sorted by name.
    #[must_use]
    pub fn next(&self, path: &str, query: &Query, marker: &str) -> Value {
        let mut pairs: Vec<(&str, &str)> = query
            .pairs
            .iter()
            .filter(|(name, _)| name != "marker")
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
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

/// The query of a request, decoded, in the order given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    /// From the raw query of a URL. Bytes that are not UTF-8 are replaced.
    #[must_use]
    pub fn parse(raw: &str) -> Self {
        let pairs = raw
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .map(|(name, value)| (decode(name), decode(value)))
            .collect();
        Self { pairs }
    }

    /// All values of a parameter.
    pub fn all<'a, 'n>(
        &'a self,
        name: &'n str,
    ) -> impl DoubleEndedIterator<Item = &'a str> + use<'a, 'n> {
        self.pairs.iter().filter(move |(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// The last value of a parameter, which is the one that counts where only one can.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next_back()
    }

    /// Whether the parameter is there.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Names of all parameters.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.pairs.iter().map(|(name, _)| name.as_str())
    }

    /// Name → list of values, for validation.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut fields = serde_json::Map::new();
        for (name, value) in &self.pairs {
            let values = fields.entry(name.clone()).or_insert_with(|| Value::Array(Vec::new()));
            if let Some(values) = values.as_array_mut() {
                values.push(Value::String(value.clone()));
            }
        }
        Value::Object(fields)
    }
}

fn decode(text: &str) -> String {
    let spaced = text.replace('+', " ");
    percent_encoding::percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links(project: Option<&str>) -> Links {
        Links {
            base: "http://h:8774/compute".into(),
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
    fn the_next_page_keeps_the_query() {
        let query = Query::parse("status=ACTIVE&name=a%20b&limit=2&marker=old&status=ERROR");
        let next = links(None).next("servers/detail", &query, "new");
        assert_eq!(
            next[0]["href"],
            "http://h:8774/compute/v2.1/servers/detail?limit=2&marker=new&name=a%20b&\
             status=ACTIVE&status=ERROR"
        );
    }

    #[test]
    fn queries() {
        let query = Query::parse("a=1&b&a=2&&c=%C3%A4+x&d=%ff");
        assert_eq!(query.get("a"), Some("2"));
        assert_eq!(query.get("b"), Some(""));
        assert_eq!(query.get("c"), Some("ä x"));
        assert_eq!(query.get("d"), Some("\u{fffd}"));
        assert!(!query.has("e"));
        assert_eq!(query.to_json()["a"], json!(["1", "2"]));
        assert_eq!(Query::parse(""), Query::default());
    }
}
