//! Since when query parameters count. Before that they are as if they had not been given: whether
//! they may be given is the schema's business.

use super::super::microversion::Microversion;
use crate::http::query::Query;

/// Parameters, and the minor version since which each counts.
pub struct Parameters(&'static [(&'static str, u16)]);

impl Parameters {
    /// A table.
    pub const fn new(parameters: &'static [(&'static str, u16)]) -> Self {
        Self(parameters)
    }

    fn since(&self, name: &str) -> Option<u16> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, since)| *since)
    }

    /// Whether the parameter is in the table and counts as of `version`.
    #[must_use]
    pub fn has(&self, version: Microversion, name: &str) -> bool {
        self.since(name).is_some_and(|since| version.since(since))
    }

    /// The query without what came later. Parameters that are not in the table always count.
    #[must_use]
    pub fn counting(&self, version: Microversion, query: &Query) -> Query {
        query.only(|name| self.since(name).is_none_or(|since| version.since(since)))
    }

    /// Names and minor versions.
    #[cfg(test)]
    pub const fn rows(&self) -> &'static [(&'static str, u16)] {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static TABLE: Parameters = Parameters::new(&[("old", 1), ("limit", 33)]);

    #[test]
    fn both_sides_of_a_version() {
        let query = Query::parse("limit=1&x=2&old=3&limit=4");
        for minor in 1..=104 {
            let version = Microversion::of(minor);
            let counting = TABLE.counting(version, &query);
            let limits: &[&str] = if minor >= 33 { &["1", "4"] } else { &[] };
            assert_eq!(counting.all("limit").collect::<Vec<_>>(), limits, "2.{minor}");
            assert_eq!((counting.get("x"), counting.get("old")), (Some("2"), Some("3")));
            assert_eq!(TABLE.has(version, "limit"), minor >= 33, "2.{minor}");
            assert!(TABLE.has(version, "old") && !TABLE.has(version, "x"), "2.{minor}");
        }
    }
}
