//! What holds, for people, as a file that could be used.

use std::fmt::Write as _;

use toml::{Table, Value};

use super::keys::{KEYS, Key};
use super::{EXAMPLE, Loaded};

/// The example with everything that stands behind a single `#` switched on: all defaults.
pub(super) fn defaults() -> Table {
    let lines = EXAMPLE.lines().map(|line| match line.strip_prefix('#') {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase()) => rest,
        Some(_) | None => line,
    });
    toml::from_str(&lines.collect::<Vec<_>>().join("\n")).unwrap_or_default()
}

impl Loaded {
    /// All keys with their values and who said them; secrets hidden.
    #[must_use]
    pub fn show(&self) -> String {
        let defaults = defaults();
        let mut text = String::new();
        let mut table = "";
        for key in KEYS {
            let (of, name) = key.place();
            if of != table {
                // Writing to a String cannot fail.
                let _ = write!(text, "\n[{of}]\n");
                table = of;
            }
            let origin = match self.origin(key.path) {
                Some(origin) => origin.to_string(),
                None => "default".to_owned(),
            };
            let said = find(&self.said, key).or_else(|| find(&defaults, key));
            let _ = match said.map(|value| shown(key, value)) {
                Some(value) => writeln!(text, "{name} = {value}  # {origin}"),
                None => writeln!(text, "#{name} is not set"),
            };
        }
        text
    }
}

fn find<'a>(table: &'a Table, key: &Key) -> Option<&'a Value> {
    match key.place() {
        ("", name) => table.get(name),
        (of, name) => table.get(of)?.get(name),
    }
}

/// A value as it would stand in the file.
fn shown(key: &Key, value: &Value) -> String {
    match value {
        Value::String(_) if key.is_secret() => "\"(hidden)\"".to_owned(),
        // JSON's texts are texts of TOML, too.
        Value::String(text) => serde_json::Value::from(text.as_str()).to_string(),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => format!("{number:?}"),
        Value::Boolean(flag) => flag.to_string(),
        Value::Array(values) => {
            let values: Vec<String> = values.iter().map(|value| shown(key, value)).collect();
            format!("[{}]", values.join(", "))
        }
        // No key has one of these.
        Value::Datetime(_) | Value::Table(_) => "?".to_owned(),
    }
}
