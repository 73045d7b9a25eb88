//! JSON values spelled the way Python spells them, because Nova's error texts contain `repr()` of
//! what the client sent and clients match on these texts.

use std::fmt::Write as _;

use serde_json::Value;

/// `str(value)`: a string stands for itself.
#[must_use]
pub fn str(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            repr(value)
        }
    }
}

/// `repr(value)`.
#[must_use]
pub fn repr(value: &Value) -> String {
    let mut out = String::new();
    write_value(&mut out, value);
    out
}

/// `repr()` of a string.
#[must_use]
pub fn repr_str(text: &str) -> String {
    let mut out = String::new();
    write_str(&mut out, text);
    out
}

/// Items separated by a comma and a space, each as its `repr()`.
#[must_use]
pub fn join<'a>(items: impl IntoIterator<Item = &'a str>) -> String {
    items.into_iter().map(repr_str).collect::<Vec<_>>().join(", ")
}

fn write_value(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("None"),
        Value::Bool(true) => out.push_str("True"),
        Value::Bool(false) => out.push_str("False"),
        Value::Number(number) => out.push_str(&number.to_string()),
        Value::String(text) => write_str(out, text),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                separate(out, index);
                write_value(out, item);
            }
            out.push(']');
        }
        Value::Object(fields) => {
            out.push('{');
            for (index, (key, field)) in fields.iter().enumerate() {
                separate(out, index);
                write_str(out, key);
                out.push_str(": ");
                write_value(out, field);
            }
            out.push('}');
        }
    }
}

fn separate(out: &mut String, index: usize) {
    if index > 0 {
        out.push_str(", ");
    }
}

fn write_str(out: &mut String, text: &str) {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(quote);
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            _ if character == quote => {
                out.push('\\');
                out.push(character);
            }
            _ if is_printable(character) => out.push(character),
            _ => write_escape(out, u32::from(character)),
        }
    }
    out.push(quote);
}

fn write_escape(out: &mut String, code: u32) {
    // Writing to a String cannot fail.
    let _ = match code {
        0..=0xff => write!(out, "\\x{code:02x}"),
        0x100..=0xffff => write!(out, "\\u{code:04x}"),
        _ => write!(out, "\\U{code:08x}"),
    };
}

/// Near enough to `str.isprintable()`: controls, separators other than the space, and format
/// characters are escaped.
fn is_printable(character: char) -> bool {
    let separator = character.is_whitespace() && character != ' ';
    let format = matches!(character,
        '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{e000}'..='\u{f8ff}' | '\u{fff9}'..='\u{fffb}');
    !(character.is_control() || separator || format)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_look_like_python() {
        for (value, expected) in [
            (json!(null), "None"),
            (json!(true), "True"),
            (json!(1), "1"),
            (json!(1.5), "1.5"),
            (json!("x"), "'x'"),
            (json!("it's"), "\"it's\""),
            (json!("it's \"so\""), "'it\\'s \"so\"'"),
            (json!("a\nb\\\u{0}\u{200b}é"), "'a\\nb\\\\\\x00\\u200bé'"),
            (json!([]), "[]"),
            (json!({"a": [1, false], "b": {}}), "{'a': [1, False], 'b': {}}"),
        ] {
            assert_eq!(repr(&value), expected);
        }
        assert_eq!(str(&json!("x")), "x");
        assert_eq!(str(&json!(null)), "None");
        assert_eq!(join(["a", "b"]), "'a', 'b'");
    }
}
