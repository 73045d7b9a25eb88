//! Building blocks that many schemas share (spec/api.md section 5, "common types").
//!
//! The order of the keywords matters: it is the order in which errors are found.

use serde_json::{Map, Value, json};

use super::formats;

/// Largest value of a 32-bit column.
pub const MAX_INT: i64 = 0x7fff_ffff;

/// A JSON boolean or one of the spellings that Nova takes for one.
#[must_use]
pub fn boolean() -> Value {
    json!({
        "type": ["boolean", "string"],
        "enum": [true, "True", "TRUE", "true", "1", "ON", "On", "on", "YES", "Yes", "yes",
                 false, "False", "FALSE", "false", "0", "OFF", "Off", "off", "NO", "No", "no"],
    })
}

/// The truth of a value that [`boolean`] let pass.
#[must_use]
pub fn is_true(value: &Value) -> bool {
    match value {
        Value::Bool(truth) => *truth,
        Value::String(text) => {
            matches!(text.to_ascii_lowercase().as_str(), "true" | "1" | "on" | "yes")
        }
        Value::Null | Value::Number(_) | Value::Array(_) | Value::Object(_) => false,
    }
}

/// 1 to 255 printable characters without white space at the ends.
#[must_use]
pub fn name() -> Value {
    json!({"type": "string", "minLength": 1, "maxLength": 255, "format": formats::NAME})
}

/// At most 255 printable characters, or null.
#[must_use]
pub fn description() -> Value {
    json!({
        "type": ["string", "null"], "minLength": 0, "maxLength": 255,
        "pattern": r"^[^\p{Cc}]*$",
    })
}

/// A UUID.
#[must_use]
pub fn uuid() -> Value {
    json!({"type": "string", "format": formats::UUID})
}

/// An integer of at least `minimum`, or the same in a string.
#[must_use]
pub fn integer(minimum: i64, maximum: Option<i64>) -> Value {
    let mut schema = json!({
        "type": ["integer", "string"], "pattern": "^[0-9]*$", "minimum": minimum, "minLength": 1,
    });
    if let (Some(maximum), Some(fields)) = (maximum, schema.as_object_mut()) {
        fields.insert("maximum".to_owned(), json!(maximum));
    }
    schema
}

/// The number in a value that [`integer`] let pass.
#[must_use]
pub fn as_integer(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number
            .as_i64()
            .or_else(|| number.as_f64().filter(|float| float.fract() == 0.0).map(clamp)),
        Value::String(text) => text.trim().parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a saturating cast is what is wanted")]
fn clamp(float: f64) -> i64 {
    float as i64
}

/// A flavor: its id, or a URL that ends with it.
#[must_use]
pub fn flavor_ref() -> Value {
    json!({"type": ["string", "integer"], "minLength": 1})
}

/// Host name within the guest.
#[must_use]
pub fn hostname() -> Value {
    json!({
        "type": "string", "minLength": 2, "maxLength": 63,
        "pattern": "^[a-zA-Z0-9]+[a-zA-Z0-9-]*[a-zA-Z0-9]+$",
    })
}

/// Host name that may have a domain (2.94).
#[must_use]
pub fn fqdn() -> Value {
    json!({"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[a-zA-Z0-9-._]*$"})
}

/// Metadata of a server.
#[must_use]
pub fn metadata() -> Value {
    json!({
        "type": "object",
        "patternProperties": {
            "^[a-zA-Z0-9-_:. ]{1,255}$": {"type": "string", "maxLength": 255},
        },
        "additionalProperties": false,
    })
}

/// One tag.
#[must_use]
pub fn tag() -> Value {
    json!({"type": "string", "minLength": 1, "maxLength": 60, "pattern": "^[^,/]*$"})
}

/// Tags of a server.
#[must_use]
pub fn tags() -> Value {
    json!({"type": "array", "items": tag(), "maxItems": 50})
}

/// `AUTO` or `MANUAL`.
#[must_use]
pub fn disk_config() -> Value {
    json!({"type": "string", "enum": ["AUTO", "MANUAL"]})
}

/// An object with exactly these properties, some of them required.
#[must_use]
pub fn object(properties: Value, required: &[&str]) -> Value {
    let mut schema = json!({"type": "object", "properties": properties});
    if let Some(fields) = schema.as_object_mut() {
        if !required.is_empty() {
            fields.insert("required".to_owned(), json!(required));
        }
        fields.insert("additionalProperties".to_owned(), json!(false));
    }
    schema
}

/// Properties in the order of their keys in `base`, then those of `more`.
#[must_use]
pub fn merged(base: Value, more: Value) -> Value {
    let (Value::Object(mut fields), Value::Object(extra)) = (base, more) else {
        return Value::Object(Map::new());
    };
    fields.extend(extra);
    Value::Object(fields)
}

/// A query parameter that may be repeated.
#[must_use]
pub fn repeated(value: Value) -> Value {
    json!({"type": "array", "items": value})
}

/// A query parameter that may be given once.
#[must_use]
pub fn single(value: Value) -> Value {
    json!({"type": "array", "items": value, "maxItems": 1})
}

/// A query. Unknown parameters are errors when `strict`.
#[must_use]
pub fn query(properties: Value, strict: bool) -> Value {
    json!({
        "type": "object",
        "properties": properties,
        "additionalProperties": !strict,
    })
}

/// `limit` and `marker`.
#[must_use]
pub fn paging() -> Value {
    json!({
        "limit": repeated(integer(0, None)),
        "marker": repeated(json!({"type": "string"})),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_numbers_and_truth() {
        assert_eq!(as_integer(&json!("12")), Some(12));
        assert_eq!(as_integer(&json!(12.0)), Some(12));
        assert_eq!(as_integer(&json!("x")), None);
        assert_eq!(as_integer(&json!(null)), None);
        for (value, truth) in [
            (json!(true), true),
            (json!("On"), true),
            (json!("1"), true),
            (json!("no"), false),
            (json!(null), false),
        ] {
            assert_eq!(is_true(&value), truth, "{value}");
        }
    }
}
