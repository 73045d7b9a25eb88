//! The list of what is deliberately not as recorded.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use toml::{Table, Value as Toml};

use crate::compare::{Ids, Mismatch};
use crate::recording::directory;
use crate::support::Reply;

/// One value that is not as recorded, and why.
struct Difference {
    recordings: Vec<String>,
    at: String,
    here: Here,
}

/// What is answered instead.
enum Here {
    /// Something that no two runs have in common.
    Anything,
    /// Nothing.
    Absent,
    /// This.
    Value(Value),
}

/// `differences.toml`, and what of it was found to be so.
pub struct Differences {
    all: Vec<Difference>,
    found: BTreeSet<(String, String)>,
}

impl Differences {
    /// Reads the file and checks that every entry says why.
    pub fn read() -> Self {
        Self::parse(&std::fs::read_to_string(directory().join("differences.toml")).unwrap())
    }

    fn parse(text: &str) -> Self {
        let file: Table = text.parse().unwrap();
        assert!(file.keys().eq(["difference"]), "the file lists differences and nothing else");
        let all = entries(&file)
            .into_iter()
            .map(|entry| Difference {
                recordings: names(entry),
                at: text_of(entry, "at").to_owned(),
                here: match text_of(entry, "here") {
                    "anything" => Here::Anything,
                    "absent" => Here::Absent,
                    json => Here::Value(serde_json::from_str(json).unwrap_or_else(|error| {
                        panic!("here = '{json}' is neither JSON nor a word: {error}")
                    })),
                },
            })
            .collect();
        Self { all, found: BTreeSet::new() }
    }

    /// What is left of the mismatches of one recording: those that nobody meant.
    pub fn unexpected(
        &mut self,
        name: &str,
        mismatches: Vec<Mismatch>,
        (ids, reply): (&mut Ids, &Reply),
    ) -> Vec<Mismatch> {
        let mut left = mismatches;
        for difference in self.all.iter().filter(|one| one.recordings.iter().any(|n| n == name)) {
            let mut places = BTreeSet::new();
            left.retain(|mismatch| {
                let place = covered(&difference.at, &mismatch.at);
                places.extend(place.map(str::to_owned));
                place.is_none()
            });
            if !places.is_empty() {
                self.found.insert((name.to_owned(), difference.at.clone()));
            }
            for place in places {
                left.extend(difference.against(&place, ids, reply));
            }
        }
        left
    }

    /// Entries that are not true any more.
    pub fn outdated(&self) -> Vec<String> {
        let listed = self.all.iter().flat_map(|difference| {
            difference.recordings.iter().map(|name| (name.clone(), difference.at.clone()))
        });
        let mut seen = BTreeMap::new();
        let mut outdated = Vec::new();
        for entry in listed {
            let times: &mut u32 = seen.entry(entry.clone()).or_default();
            *times += 1;
            if *times > 1 {
                outdated.push(format!("{} at '{}' is listed twice", entry.0, entry.1));
            } else if !self.found.contains(&entry) {
                outdated.push(format!("{} does not differ at '{}' any more", entry.0, entry.1));
            }
        }
        outdated
    }
}

impl Difference {
    /// What at `place` is not as this entry says it is here.
    fn against(&self, place: &str, ids: &mut Ids, reply: &Reply) -> Vec<Mismatch> {
        let ours = match place.strip_prefix("header:") {
            Some(name) => {
                let value = reply.headers.get(name).map(|value| value.to_str().unwrap());
                value.map(Value::from)
            }
            None if place == "status" => Some(reply.status.into()),
            None => reply.body.pointer(place).cloned(),
        };
        let mut found = Vec::new();
        match (&self.here, ours) {
            (Here::Anything, Some(_)) | (Here::Absent, None) => {}
            (Here::Value(expected), Some(ours)) => {
                ids.differing(place, expected, &ours, &mut found);
            }
            (Here::Anything | Here::Value(_), None) => found.push(Mismatch {
                at: place.to_owned(),
                recorded: "listed as something else".to_owned(),
                ours: "absent".to_owned(),
            }),
            (Here::Absent, Some(ours)) => found.push(Mismatch {
                at: place.to_owned(),
                recorded: "listed as absent".to_owned(),
                ours: ours.to_string(),
            }),
        }
        found
    }
}

/// The part of `at` that `place` names, if `at` is there or below. A `*` stands for any one key.
fn covered<'a>(place: &str, at: &'a str) -> Option<&'a str> {
    let mut rest = at;
    for wanted in place.split_inclusive('/') {
        let (wanted, slash) = match wanted.strip_suffix('/') {
            Some(wanted) => (wanted, 1),
            None => (wanted, 0),
        };
        let given = rest.split('/').next().unwrap_or_default();
        if wanted != "*" && wanted != given {
            return None;
        }
        rest = rest.get(given.len() + slash..)?;
    }
    // The root of a body is the empty pointer; status and headers are not below it.
    (rest.is_empty() || rest.starts_with('/')).then(|| &at[..at.len() - rest.len()])
}

fn entries(file: &Table) -> Vec<&Table> {
    let list = file["difference"].as_array().unwrap();
    let tables: Vec<&Table> = list.iter().map(|entry| entry.as_table().unwrap()).collect();
    for entry in &tables {
        assert!(!text_of(entry, "reason").trim().is_empty(), "an entry without a reason");
    }
    tables
}

fn names(entry: &Table) -> Vec<String> {
    let list = entry["recordings"].as_array().unwrap();
    list.iter().map(|name| name.as_str().unwrap().to_owned()).collect()
}

fn text_of<'a>(entry: &'a Table, key: &str) -> &'a str {
    entry.get(key).and_then(Toml::as_str).unwrap_or_else(|| panic!("{entry:?}: no text '{key}'"))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderMap;
    use serde_json::json;

    use super::{Differences, covered};
    use crate::compare::{Ids, Mismatch};
    use crate::support::Reply;

    /// What is unexpected, and which entries are outdated, after an answer with this body.
    fn judged(body: serde_json::Value) -> (Vec<String>, Vec<String>) {
        let mut differences = Differences::parse(
            r#"
            [[difference]]
            recordings = ["one", "gone"]
            at = "/a"
            here = '2'
            reason = "It is so."
            "#,
        );
        let (recorded, mut ids, mut found) = (json!({"a": 1, "b": 1}), Ids::default(), Vec::new());
        ids.differing("", &recorded, &body, &mut found);
        let reply = Reply { status: 200, headers: HeaderMap::new(), body };
        let left = differences.unexpected("one", found, (&mut ids, &reply));
        (left.into_iter().map(|Mismatch { at, .. }| at).collect(), differences.outdated())
    }

    #[test]
    fn what_is_not_listed_and_what_is_listed_and_not_so_are_found() {
        let gone = "gone does not differ at '/a' any more".to_owned();
        let one = "one does not differ at '/a' any more".to_owned();
        let none: Vec<String> = Vec::new();
        assert_eq!(judged(json!({"a": 2, "b": 1})), (none.clone(), vec![gone.clone()]));
        assert_eq!(judged(json!({"a": 1, "b": 1})), (none, vec![one, gone.clone()]));
        assert_eq!(judged(json!({"a": 3, "b": 1})), (vec!["/a".to_owned()], vec![gone.clone()]));
        assert_eq!(judged(json!({"a": 2, "b": 2})), (vec!["/b".to_owned()], vec![gone]));
    }

    #[test]
    fn places() {
        for (place, at, expected) in [
            ("/a/b", "/a/b", Some("/a/b")),
            ("/a/b", "/a/b/c", Some("/a/b")),
            ("/a/b", "/a/bc", None),
            ("/a/b", "/a", None),
            ("/a/*/c", "/a/7/c/d", Some("/a/7/c")),
            ("/a/*/c", "/a/7/x", None),
            ("", "/a", Some("")),
            ("", "status", None),
            ("status", "status", Some("status")),
        ] {
            assert_eq!(covered(place, at), expected, "{place} {at}");
        }
    }
}
