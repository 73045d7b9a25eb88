//! Comparing an answer with a recorded one.

use serde_json::{Value, json};

use crate::support::{IMAGE, PROJECT, USER};

/// The value with everything replaced that differs between two runs.
pub fn masked(value: &Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields
                .iter()
                .map(|(key, value)| {
                    let value = match (key.as_str(), value) {
                        ("adminPass", Value::String(text)) if text.len() == 12 => json!("<made>"),
                        ("private_key" | "details", Value::String(_)) => json!("<made>"),
                        ("instance_name", _) | ("OS-EXT-SRV-ATTR:instance_name", _) => json!("<n>"),
                        ("updated_at" | "created_at", Value::String(_)) => json!("<time>"),
                        _ => masked(value),
                    };
                    (mask_text(key), value)
                })
                .collect(),
        ),
        Value::Array(items) => items.iter().map(masked).collect(),
        Value::String(text) => json!(mask_text(text)),
        other => other.clone(),
    }
}

fn mask_text(text: &str) -> String {
    // Our newest version, and that of the recorded Nova.
    let text = text.replace("2.93", "<max>").replace("2.96", "<max>");
    let text = text.replace("{server}", "<id>").replace("{failed}", "<id>");
    if text.starts_with("20") && text.len() >= 19 && text.as_bytes()[10] == b'T' {
        return "<time>".to_owned();
    }
    let mut out = String::new();
    let mut word = String::new();
    for character in text.chars().chain(['\0']) {
        if character.is_ascii_alphanumeric() || character == '-' {
            word.push(character);
            continue;
        }
        out.push_str(&mask_word(&word));
        word.clear();
        if character != '\0' {
            out.push(character);
        }
    }
    out
}

fn mask_word(word: &str) -> String {
    let bare = word.strip_prefix("req-").unwrap_or(word);
    if word == IMAGE || word == PROJECT || word == USER {
        return word.to_owned();
    }
    if uuid::Uuid::try_parse(bare).is_ok() {
        return "<id>".to_owned();
    }
    if word.len() == 10 && word.starts_with("r-") {
        return "<reservation>".to_owned();
    }
    word.to_owned()
}

/// Keys and types only; of a list its first item.
pub fn shape(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            fields.iter().map(|(key, value)| (key.clone(), shape(value))).collect()
        }
        Value::Array(items) => items.iter().take(1).map(shape).collect(),
        Value::String(_) => json!("string"),
        Value::Number(_) => json!("number"),
        Value::Bool(_) => json!("boolean"),
        Value::Null => Value::Null,
    }
}
