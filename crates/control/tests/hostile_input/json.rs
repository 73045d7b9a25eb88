//! What is sent: any JSON, examples that are almost right, and bytes that are no JSON at all.

use std::future::Future;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Map, Value, json};

/// Names that a service knows.
pub type Names = &'static [&'static str];

/// Runs `check` for many values, on one runtime, because the cloud belongs to it.
pub fn for_all<S: Strategy, F: Future<Output = Result<(), TestCaseError>>>(
    cases: u32,
    strategy: &S,
    check: impl Fn(S::Value) -> F,
) {
    let handle = tokio::runtime::Handle::current();
    let mut runner =
        TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let result =
        runner.run(strategy, |value| tokio::task::block_in_place(|| handle.block_on(check(value))));
    if let Err(error) = result {
        panic!("{error}");
    }
}

/// What is no object and no list; among it texts that mean something.
fn leaf(texts: Names) -> impl Strategy<Value = Value> + Clone {
    let hostile = prop::sample::select(vec![
        "",
        " ",
        "1",
        "\u{0}",
        "a\u{0}b",
        "\u{1b}[31m",
        "\u{202e}",
        "true",
        "-1",
        "99999999999999999999",
        "../../etc/passwd",
        "'; drop table users; --",
        "%00",
        "$(project_id)s",
        "9999-12-31T23:59:59Z",
        "0000-00-00",
    ]);
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(|number| json!(number)),
        any::<u64>().prop_map(|number| json!(number)),
        any::<f64>().prop_map(|number| json!(number)),
        any::<String>().prop_map(Value::String),
        (1_usize..2000).prop_map(|length| json!("x".repeat(length))),
        prop::sample::select(texts).prop_map(|text| json!(text)),
        hostile.prop_map(|text| json!(text)),
    ]
}

/// Any JSON, with the names that the service knows among the keys, so that the input gets far.
pub fn any_json(keys: Names, texts: Names) -> impl Strategy<Value = Value> + Clone {
    leaf(texts).prop_recursive(4, 24, 5, move |inner| {
        let key = prop_oneof![
            3 => prop::sample::select(keys).prop_map(str::to_owned),
            1 => any::<String>(),
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
            prop::collection::vec((key, inner), 0..5)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// One change of a good example.
#[derive(Debug, Clone)]
enum Change {
    /// Something else in the place of a value.
    Replace(Value),
    /// A value less.
    Remove,
    /// A list or object more around a value.
    Wrap(bool),
    /// A member or item more.
    Add(String, Value),
    /// A list that is much longer.
    Repeat(usize),
}

/// Changes of an example, each with the place where it happens.
#[derive(Debug, Clone)]
pub struct Changes(Vec<(Index, Change)>);

/// A few changes.
pub fn changes(keys: Names, texts: Names) -> impl Strategy<Value = Changes> {
    let key = prop_oneof![prop::sample::select(keys).prop_map(str::to_owned), any::<String>()];
    let change = prop_oneof![
        4 => any_json(keys, texts).prop_map(Change::Replace),
        4 => leaf(texts).prop_map(Change::Replace),
        2 => Just(Change::Remove),
        1 => any::<bool>().prop_map(Change::Wrap),
        2 => (key, any_json(keys, texts)).prop_map(|(key, value)| Change::Add(key, value)),
        1 => (2_usize..1500).prop_map(Change::Repeat),
    ];
    prop::collection::vec((any::<Index>(), change), 0..3).prop_map(Changes)
}

impl Changes {
    /// The example with the changes.
    pub fn apply(self, example: &Value) -> Value {
        let mut value = example.clone();
        for (place, change) in self.0 {
            let mut left = place.index(count(&value));
            change_at(&mut value, &mut left, &change);
        }
        value
    }
}

/// How many values there are, inner ones included.
fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(count).sum::<usize>(),
        Value::Object(members) => members.values().map(count).sum(),
        _ => 0,
    }
}

/// Changes the value that is `left` values further on; whether that was found.
fn change_at(value: &mut Value, left: &mut usize, change: &Change) -> bool {
    if *left == 0 {
        *value = changed(value.take(), change);
        return true;
    }
    *left -= 1;
    match value {
        Value::Array(items) => items.iter_mut().any(|item| change_at(item, left, change)),
        Value::Object(members) => {
            let place = members.iter_mut().find_map(|(name, member)| {
                let gone = *left == 0 && matches!(change, Change::Remove);
                change_at(member, left, change).then(|| gone.then(|| name.clone()))
            });
            if let Some(Some(gone)) = &place {
                members.remove(gone);
            }
            place.is_some()
        }
        _ => false,
    }
}

fn changed(value: Value, change: &Change) -> Value {
    match (change, value) {
        (Change::Replace(other), _) => other.clone(),
        (Change::Remove, _) => Value::Null,
        (Change::Wrap(true), value) => json!([value]),
        (Change::Wrap(false), value) => json!({ "id": value }),
        (Change::Add(key, more), Value::Object(mut members)) => {
            members.insert(key.clone(), more.clone());
            Value::Object(members)
        }
        (Change::Add(_, more), Value::Array(mut items)) => {
            items.push(more.clone());
            Value::Array(items)
        }
        (Change::Add(..), value) => value,
        (Change::Repeat(times), Value::String(text)) => {
            json!(text.repeat((*times).min(20_000 / text.len().max(1))))
        }
        (Change::Repeat(times), Value::Array(items)) => {
            let times = (*times).min(2000 / items.len().max(1));
            Value::Array(std::iter::repeat_n(items, times).flatten().collect())
        }
        (Change::Repeat(_), value) => value,
    }
}

/// How the text of a body is damaged.
#[derive(Debug, Clone)]
pub enum Damage {
    /// Not at all.
    None,
    /// Broken off.
    Cut(Index),
    /// With a byte that is no UTF-8.
    Byte(Index, u8),
    /// Given twice, under the same keys.
    Twice,
    /// With lists in lists, deeper than any stack, in the place of a value.
    Deep(Index),
    /// Behind a byte order mark.
    Marked,
    /// With something behind its end.
    Followed,
    /// Other bytes.
    Bytes(Vec<u8>),
}

/// Mostly none.
pub fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        24 => Just(Damage::None),
        1 => any::<Index>().prop_map(Damage::Cut),
        1 => (any::<Index>(), 0x80_u8..).prop_map(|(at, byte)| Damage::Byte(at, byte)),
        2 => Just(Damage::Twice),
        1 => any::<Index>().prop_map(Damage::Deep),
        1 => Just(Damage::Marked),
        1 => Just(Damage::Followed),
        1 => prop::collection::vec(any::<u8>(), 0..200).prop_map(Damage::Bytes),
    ]
}

impl Damage {
    /// The bytes of a body.
    pub fn apply(self, value: &Value) -> Vec<u8> {
        let mut bytes = value.to_string().into_bytes();
        match self {
            Self::None => {}
            Self::Cut(at) => bytes.truncate(at.index(bytes.len())),
            Self::Byte(at, byte) => bytes.insert(at.index(bytes.len()), byte),
            Self::Twice => {
                if let Some(inside) = bytes.strip_prefix(b"{").and_then(|b| b.strip_suffix(b"}"))
                    && !inside.is_empty()
                {
                    bytes = [b"{", inside, b",", inside, b"}"].concat();
                }
            }
            Self::Deep(at) => {
                let colons: Vec<usize> =
                    (0..bytes.len()).filter(|place| bytes[*place] == b':').collect();
                let place = if colons.is_empty() { 0 } else { colons[at.index(colons.len())] + 1 };
                let (open, close) = ("[".repeat(20_000), "]".repeat(20_000));
                let deep = [&bytes[..place], open.as_bytes(), close.as_bytes(), &bytes[place..]];
                bytes = deep.concat();
            }
            Self::Marked => bytes = [b"\xef\xbb\xbf".as_slice(), &bytes].concat(),
            Self::Followed => bytes.extend(b"{}"),
            Self::Bytes(other) => bytes = other,
        }
        bytes
    }
}
