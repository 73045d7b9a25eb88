//! Comparing an answer with a recorded one, value by value.
//!
//! Two runs differ in ids and times. An id of the recording stands for one of ours from the moment
//! the two are met in the same place; from then on they have to appear together. Times only need
//! the same form.

use std::collections::BTreeMap;

use axum::http::HeaderMap;
use serde_json::Value;

use crate::recording::Recording;
use crate::support::Reply;

/// Headers that are compared. The others say how long the body is and what time it is.
const HEADERS: [&str; 8] = [
    "content-type",
    "location",
    "openstack-api-version",
    "vary",
    "www-authenticate",
    "x-compute-request-id",
    "x-openstack-nova-api-version",
    "x-openstack-request-id",
];

/// A value that is not as recorded.
#[derive(Debug, Clone)]
pub struct Mismatch {
    /// `status`, `header:<name>`, or a JSON pointer into the body.
    pub at: String,
    pub recorded: String,
    pub ours: String,
}

/// Which of our ids stands for which id of the recording.
#[derive(Default)]
pub struct Ids {
    ours: BTreeMap<String, String>,
}

impl Ids {
    /// Says what an id, or a name, of the recording is here.
    pub fn bind(&mut self, recorded: &str, ours: &str) {
        self.ours.insert(recorded.to_owned(), ours.to_owned());
    }

    /// The text with everything replaced that is called differently here.
    pub fn translate(&self, text: &str) -> String {
        pieces(text)
            .into_iter()
            .map(|piece| self.ours.get(piece).map_or(piece, String::as_str))
            .collect()
    }

    /// Whether the texts say the same. Ids that are new are bound to each other.
    fn same(&mut self, recorded: &str, ours: &str) -> bool {
        if let (Some(one), Some(two)) = (time_form(recorded), time_form(ours)) {
            return one == two;
        }
        let (recorded, ours) = (pieces(recorded), pieces(ours));
        recorded.len() == ours.len()
            && recorded.into_iter().zip(ours).all(|(recorded, ours)| {
                match (self.ours.get(recorded), id_kind(recorded)) {
                    (Some(known), _) => known == ours,
                    (None, Some(kind)) if id_kind(ours) == Some(kind) => {
                        self.bind(recorded, ours);
                        true
                    }
                    (None, _) => recorded == ours,
                }
            })
    }

    /// Every value of ours that is not as recorded.
    pub fn mismatches(&mut self, recording: &Recording, reply: &Reply) -> Vec<Mismatch> {
        let mut found = Vec::new();
        if recording.status != reply.status {
            found.push(Mismatch {
                at: "status".to_owned(),
                recorded: recording.status.to_string(),
                ours: reply.status.to_string(),
            });
        }
        for name in HEADERS {
            let recorded = values(&recording.answer_headers, name);
            let ours = all_values(&reply.headers, name);
            let same = match (recorded.first(), ours.first()) {
                (Some(one), Some(two)) if recorded.len() == 1 && ours.len() == 1 => {
                    self.same(one, two)
                }
                _ => recorded == ours,
            };
            if !same {
                let at = format!("header:{name}");
                found.push(Mismatch { at, recorded: recorded.join(", "), ours: ours.join(", ") });
            }
        }
        self.differing("", &recording.answer, &reply.body, &mut found);
        found
    }

    /// Adds what differs at and below `at`.
    pub fn differing(
        &mut self,
        at: &str,
        recorded: &Value,
        ours: &Value,
        found: &mut Vec<Mismatch>,
    ) {
        match (recorded, ours) {
            (Value::Object(recorded), Value::Object(ours)) => {
                for (key, recorded) in recorded {
                    let at = below(at, key);
                    match ours.get(key).or_else(|| ours.get(&self.translate(key))) {
                        Some(ours) if is_made(key, recorded, ours) => {}
                        Some(ours) => self.differing(&at, recorded, ours, found),
                        None => found.push(mismatch(&at, Some(recorded), None)),
                    }
                }
                for (key, ours) in ours {
                    let known = |name: &String| *name == *key || self.translate(name) == *key;
                    if !recorded.keys().any(known) {
                        found.push(mismatch(&below(at, key), None, Some(ours)));
                    }
                }
            }
            (Value::Array(recorded), Value::Array(ours)) if recorded.len() == ours.len() => {
                let ours = self.aligned(recorded, ours);
                for (index, (recorded, ours)) in recorded.iter().zip(ours).enumerate() {
                    self.differing(&format!("{at}/{index}"), recorded, ours, found);
                }
            }
            (Value::String(one), Value::String(two)) if self.same(one, two) => {}
            _ if recorded == ours => {}
            _ => found.push(mismatch(at, Some(recorded), Some(ours))),
        }
    }

    /// Lists of what servers used are in the order of the servers' ids, which is another one in
    /// every run. If both lists keep to that rule, ours in the order of the recorded one.
    fn aligned<'a>(&self, recorded: &[Value], ours: &'a [Value]) -> Vec<&'a Value> {
        let asis = || ours.iter().collect();
        let (Some(theirs), Some(known)) = (server_ids(recorded), server_ids(ours)) else {
            return asis();
        };
        if !theirs.is_sorted() || !known.is_sorted() {
            return asis();
        }
        let place = |id: &&str| known.iter().position(|one| *one == self.translate(id));
        let places: Option<Vec<usize>> = theirs.iter().map(place).collect();
        places.map_or_else(asis, |places| places.iter().map(|place| &ours[*place]).collect())
    }
}

fn server_ids(list: &[Value]) -> Option<Vec<&str>> {
    list.iter().map(|entry| entry.get("instance_id")?.as_str()).collect()
}

fn mismatch(at: &str, recorded: Option<&Value>, ours: Option<&Value>) -> Mismatch {
    let text = |value: Option<&Value>| value.map_or_else(|| "absent".to_owned(), Value::to_string);
    Mismatch { at: at.to_owned(), recorded: text(recorded), ours: text(ours) }
}

fn below(at: &str, key: &str) -> String {
    format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// A secret that was made for the answer, in the form that Nova gives it.
fn is_made(key: &str, recorded: &Value, ours: &Value) -> bool {
    let length = |value: &Value| value.as_str().map(str::len);
    key == "adminPass" && length(recorded) == Some(12) && length(ours) == Some(12)
}

fn values(headers: &[(String, String)], name: &str) -> Vec<String> {
    headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.clone()).collect()
}

fn all_values(headers: &HeaderMap, name: &str) -> Vec<String> {
    headers.get_all(name).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
}

/// Words, and what is between them.
fn pieces(text: &str) -> Vec<&str> {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let mut pieces = Vec::new();
    let mut begin = 0;
    for (index, pair) in text.as_bytes().windows(2).enumerate() {
        if is_word(pair[0]) != is_word(pair[1]) && text.is_char_boundary(index + 1) {
            pieces.push(&text[begin..=index]);
            begin = index + 1;
        }
    }
    pieces.push(&text[begin..]);
    pieces
}

/// What sort of id a word is.
fn id_kind(word: &str) -> Option<&'static str> {
    let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let request = word.strip_prefix("req-");
    let domain = word.strip_prefix("instance-");
    if request.is_some_and(|id| uuid::Uuid::try_parse(id).is_ok()) {
        Some("request")
    } else if domain.is_some_and(|number| number.len() == 8 && is_hex(number)) {
        Some("domain")
    } else if word.len() == 10 && word.starts_with("r-") {
        Some("reservation")
    } else if word.len() == 36 && uuid::Uuid::try_parse(word).is_ok() {
        Some("uuid")
    } else {
        // Ids of projects and users. `hostId` is derived from names and has to be the same.
        (word.len() == 32 && is_hex(word)).then_some("identity")
    }
}

/// A point in time with its digits made equal.
fn time_form(text: &str) -> Option<String> {
    let digits = |range: std::ops::Range<usize>| {
        text.as_bytes().get(range).is_some_and(|part| part.iter().all(u8::is_ascii_digit))
    };
    let time = digits(0..4) && digits(11..13) && text.as_bytes().get(10) == Some(&b'T');
    time.then(|| text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn found(recorded: &Value, ours: &Value) -> Vec<String> {
        let mut found = Vec::new();
        Ids::default().differing("", recorded, ours, &mut found);
        found.into_iter().map(|mismatch| mismatch.at).collect()
    }

    #[test]
    fn ids_have_to_appear_together() {
        let (a, b) =
            ("aaaaaaaa-0000-4000-8000-000000000001", "bbbbbbbb-0000-4000-8000-000000000002");
        let (x, y) =
            ("cccccccc-0000-4000-8000-000000000003", "dddddddd-0000-4000-8000-000000000004");
        let pair = |one: &str, two: &str| json!([one, format!("http://h/servers/{two}/x")]);
        assert_eq!(found(&pair(a, a), &pair(x, x)), Vec::<String>::new());
        assert_eq!(found(&pair(a, b), &pair(x, y)), Vec::<String>::new());
        assert_eq!(found(&pair(a, a), &pair(x, y)), ["/1"]);
        assert_eq!(found(&json!(a), &json!("req-x")), [""]);
    }

    #[test]
    fn values_count_and_times_only_need_their_form() {
        let recorded = json!({"t": "2026-11-22T20:13:18Z", "n": 1, "list": [1, 2], "gone": null});
        let ours = json!({"t": "2031-01-01T00:00:00Z", "n": 2, "list": [1], "new": 1});
        assert_eq!(found(&recorded, &ours), ["/n", "/list", "/gone", "/new"]);
        assert_eq!(found(&json!("2026-11-22T20:13:18Z"), &json!("2026-11-22T20:13:18.5")), [""]);
        assert_eq!(
            found(&json!({"adminPass": "MySecret12ab"}), &json!({"adminPass": "x"})),
            ["/adminPass"]
        );
    }

    #[test]
    fn lists_in_the_order_of_ids_are_compared_by_id() {
        let (a, b) =
            ("aaaaaaaa-0000-4000-8000-000000000001", "bbbbbbbb-0000-4000-8000-000000000002");
        let (x, y) =
            ("cccccccc-0000-4000-8000-000000000003", "dddddddd-0000-4000-8000-000000000004");
        let list = |one: &str, two: &str| {
            let entry = |id: &str, flavor| json!({"instance_id": id, "flavor": flavor});
            json!([entry(one, one == a || one == y), entry(two, two == a || two == y)])
        };
        let compared = |to_a: &str, to_b: &str, ours: &Value| {
            let (mut ids, mut found) = (Ids::default(), Vec::new());
            ids.bind(a, to_a);
            ids.bind(b, to_b);
            ids.differing("", &list(a, b), ours, &mut found);
            found.len()
        };
        assert_eq!(compared(y, x, &list(x, y)), 0);
        assert_eq!(compared(x, y, &list(x, y)), 2, "the flavors belong to the others");
        assert_ne!(compared(x, y, &list(y, x)), 0, "in no order");
    }
}
