//! How the newest form of an answer becomes the one of an older version.
//!
//! Invariant of every table: the newest change comes first, so that each change meets the answer as
//! it was just after it had been made.

use serde_json::{Map, Value};

use super::super::microversion::Microversion;

/// One thing that a version changed in an answer about an `S`.
pub struct Change<S: 'static> {
    /// The minor version that changed it.
    since: u16,
    /// What it was before.
    before: Before<S>,
}

/// What it was before a change. The functions see what the answer is about.
enum Before<S: 'static> {
    /// There was no such field.
    Without(&'static str),
    /// There was a field that is no more. The function is given its name, too.
    With(&'static str, fn(&S, &str) -> Value),
    /// The field, where it is, had another value; `None`: none at all.
    Otherwise(&'static str, fn(&S, Value) -> Option<Value>),
    /// All of it was different.
    Altogether(fn(&S) -> Value),
}

/// 2.`since` brought the field.
pub const fn came<S>(since: u16, field: &'static str) -> Change<S> {
    Change { since, before: Before::Without(field) }
}

/// 2.`since` has no such field any more; before, it was this.
pub const fn left<S>(since: u16, field: &'static str, was: fn(&S, &str) -> Value) -> Change<S> {
    Change { since, before: Before::With(field, was) }
}

/// Before 2.`since` the field, where it was shown, had this value instead of the one it has since.
pub const fn differed<S>(
    since: u16,
    field: &'static str,
    was: fn(&S, Value) -> Option<Value>,
) -> Change<S> {
    Change { since, before: Before::Otherwise(field, was) }
}

/// Before 2.`since` the whole answer was this.
pub const fn replaced<S>(since: u16, was: fn(&S) -> Value) -> Change<S> {
    Change { since, before: Before::Altogether(was) }
}

impl<S> Change<S> {
    /// Makes of the fields just after the change those just before it.
    fn undo(&self, source: &S, fields: &mut Map<String, Value>) {
        match &self.before {
            Before::Without(field) => {
                fields.shift_remove(*field);
            }
            Before::With(field, was) => {
                fields.insert((*field).to_owned(), was(source, field));
            }
            Before::Otherwise(field, was) => {
                if let Some(now) = fields.get_mut(*field) {
                    match was(source, now.take()) {
                        Some(before) => *now = before,
                        None => {
                            fields.shift_remove(*field);
                        }
                    }
                }
            }
            Before::Altogether(was) => {
                if let Value::Object(before) = was(source) {
                    *fields = before;
                }
            }
        }
    }

    /// Whether a version before the change has the field; `None`: the change does not say.
    fn had(&self, field: &str) -> Option<bool> {
        match &self.before {
            Before::Without(name) => (*name == field).then_some(false),
            Before::With(name, _) => (*name == field).then_some(true),
            Before::Otherwise(..) | Before::Altogether(_) => None,
        }
    }
}

/// All changes of an answer about an `S`, the newest first.
pub struct Changes<S: 'static>(&'static [Change<S>]);

impl<S> Changes<S> {
    /// A table.
    pub const fn new(changes: &'static [Change<S>]) -> Self {
        Self(changes)
    }

    /// Those that a request at `version` must not see, the newest first.
    fn later(&self, version: Microversion) -> impl Iterator<Item = &'static Change<S>> {
        self.0.iter().filter(move |change| !version.since(change.since))
    }

    /// The answer as of `version`: `newest` is its newest form and `source` what it is about. What
    /// is no object stays as it is.
    #[must_use]
    pub fn at(&self, version: Microversion, source: &S, newest: Value) -> Value {
        match newest {
            Value::Object(mut fields) => {
                self.later(version).for_each(|change| change.undo(source, &mut fields));
                Value::Object(fields)
            }
            other => other,
        }
    }

    /// Whether the answer can have the field as of `version`, so that it is worth finding out.
    #[must_use]
    pub fn shows(&self, version: Microversion, field: &str) -> bool {
        let oldest_of_the_later = self.later(version).filter_map(|change| change.had(field)).last();
        oldest_of_the_later.unwrap_or_else(|| {
            // As in the newest form: there unless the last word was that it left.
            self.0.iter().find_map(|change| change.had(field)) != Some(true)
        })
    }

    /// Minor versions of the changes, in the order written.
    #[cfg(test)]
    pub fn minors(&self) -> Vec<u16> {
        self.0.iter().map(|change| change.since).collect()
    }
}

/// A value that versions changed, such as a status code.
pub struct Stepped<T: 'static> {
    newest: T,
    /// What it was before a minor version, the newest first.
    before: &'static [(u16, T)],
}

impl<T: Copy> Stepped<T> {
    /// `newest`, but each value of `before` (the newest first) until just before its version.
    pub const fn new(newest: T, before: &'static [(u16, T)]) -> Self {
        Self { newest, before }
    }

    /// As of `version`.
    #[must_use]
    pub fn at(&self, version: Microversion) -> T {
        let later = self.before.iter().filter(|(since, _)| !version.since(*since));
        later.last().map_or(self.newest, |(_, value)| *value)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// One change of each kind, and one field with several.
    static TABLE: Changes<i64> = Changes::new(&[
        left(90, "gone", |source, name| json!([source, name])),
        came(80, "late"),
        differed(70, "swap", |source, now| Some(json!([source, now]))),
        differed(60, "list", |_, now| (now != json!([])).then_some(now)),
        differed(50, "gone", |_, now| Some(json!(now[0].to_string()))),
        came(40, "gone"),
        replaced(20, |source| json!({"all": source})),
    ]);

    fn at(minor: u16, newest: Value) -> Value {
        TABLE.at(Microversion::of(minor), &7, newest)
    }

    #[test]
    fn every_step_down() {
        let newest = json!({"late": 1, "swap": 0, "list": [], "name": "n"});
        let mut expected = newest.clone();
        for minor in (1..=104).rev() {
            match minor {
                89 => expected["gone"] = json!([7, "gone"]),
                79 => {
                    expected.as_object_mut().unwrap().shift_remove("late");
                }
                69 => expected["swap"] = json!([7, 0]),
                59 => {
                    expected.as_object_mut().unwrap().shift_remove("list");
                }
                49 => expected["gone"] = json!("7"),
                39 => {
                    expected.as_object_mut().unwrap().shift_remove("gone");
                }
                19 => expected = json!({"all": 7}),
                _ => {}
            }
            assert_eq!(at(minor, newest.clone()), expected, "2.{minor}");
        }
    }

    #[test]
    fn fields_that_are_not_there_do_not_appear() {
        assert_eq!(
            at(50, json!({"name": "n", "list": [1]})),
            json!({
                "name": "n", "list": [1], "gone": [7, "gone"],
            })
        );
        assert_eq!(at(1, json!("no object")), json!("no object"));
    }

    #[test]
    fn tables_say_what_they_show() {
        for minor in 1..=104 {
            let shows = |field| TABLE.shows(Microversion::of(minor), field);
            assert_eq!(shows("late"), minor >= 80, "2.{minor}");
            assert_eq!(shows("gone"), (40..90).contains(&minor), "2.{minor}");
            assert!(shows("swap") && shows("name"), "2.{minor}");
        }
    }

    #[test]
    fn values_step() {
        let status = Stepped::new('c', &[(30, 'b'), (10, 'a')]);
        for (minor, value) in [(1, 'a'), (9, 'a'), (10, 'b'), (29, 'b'), (30, 'c'), (104, 'c')] {
            assert_eq!(status.at(Microversion::of(minor)), value, "2.{minor}");
        }
    }
}
