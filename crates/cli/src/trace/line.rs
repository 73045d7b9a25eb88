//! One line of a log: the human form
//! `2026-08-21T10:15:40.123456Z  INFO reprieve::compute: message key=value …`
//! or one JSON object with `timestamp`, `level`, `target`, `fields`.

use jiff::Timestamp;
use serde_json::Value;

/// A line that belongs to the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// When, in microseconds since 1970.
    pub micros: i64,
    /// When, as written.
    pub timestamp: String,
    /// Whose log it is.
    pub role: &'static str,
    /// `INFO` and so on.
    pub level: String,
    /// Module, message and fields; without the request id that all lines share.
    pub text: String,
    /// The line as it is.
    pub raw: String,
}

/// Understands a line. One without a time of its own (a continuation) takes `previous`.
pub fn parse(role: &'static str, raw: &str, (id, previous): (&str, i64)) -> Entry {
    json(raw, id).or_else(|| human(raw, id)).map_or_else(
        || Entry {
            micros: previous,
            timestamp: written(previous),
            role,
            level: String::new(),
            text: raw.trim().to_owned(),
            raw: raw.to_owned(),
        },
        |(time, level, text)| Entry {
            micros: time.as_microsecond(),
            timestamp: written(time.as_microsecond()),
            role,
            level,
            text,
            raw: raw.to_owned(),
        },
    )
}

fn written(micros: i64) -> String {
    let time = Timestamp::from_microsecond(micros).unwrap_or(Timestamp::UNIX_EPOCH);
    time.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

fn human(raw: &str, id: &str) -> Option<(Timestamp, String, String)> {
    let (time, rest) = raw.trim_start().split_once(' ')?;
    let time: Timestamp = time.parse().ok()?;
    let (level, text) = rest.trim_start().split_once(' ').unwrap_or((rest.trim(), ""));
    let known = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR"].contains(&level);
    let (level, text) = if known { (level, text) } else { ("", rest) };
    Some((time, level.to_owned(), without_id(text, id)))
}

/// Takes `request_id=ID` away, quoted or not, and a span that has nothing but it; other mentions
/// of the id stay.
fn without_id(text: &str, id: &str) -> String {
    let mut text = text.to_owned();
    for field in [format!("request_id=\"{id}\""), format!("request_id={id}")] {
        text = text
            .replace(&format!("request{{{field}}}: "), "")
            .replace(&format!("{{{field} "), "{")
            .replace(&format!(" {field}"), "");
    }
    text.trim().to_owned()
}

fn json(raw: &str, id: &str) -> Option<(Timestamp, String, String)> {
    if !raw.trim_start().starts_with('{') {
        return None;
    }
    let value: Value = serde_json::from_str(raw).ok()?;
    let time: Timestamp = value.get("timestamp")?.as_str()?.parse().ok()?;
    let level = value.get("level").and_then(Value::as_str).unwrap_or_default();
    let target = value.get("target").and_then(Value::as_str);
    let mut text = target.map(|target| format!("{target}:")).unwrap_or_default();
    // Fields beside the line itself, or of the span the line is in.
    let fields = ["fields", "span"].into_iter().filter_map(|key| value.get(key)?.as_object());
    let fields: Vec<(&String, &Value)> = fields.flatten().collect();
    let message = fields.iter().find(|(key, _)| *key == "message").map(|(_, value)| *value);
    if let Some(message) = message.or_else(|| value.get("message")) {
        text = format!("{text} {}", bare(message));
    }
    let mut written: Vec<&String> = Vec::new();
    for (key, field) in fields {
        let shared = key == "request_id" && field.as_str() == Some(id);
        if key != "message" && key != "name" && !shared && !written.contains(&key) {
            text = format!("{text} {key}={}", bare(field));
            written.push(key);
        }
    }
    Some((time, level.to_owned(), text.trim().to_owned()))
}

fn bare(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "req-5b6c791d-5709-4f36-8fbe-c3e02869e35d";

    #[test]
    fn the_human_form() {
        let raw = format!(
            "2026-08-21T10:15:40.123456Z  INFO reprieve::compute: guest paused request_id={ID} \
             server=x"
        );
        let entry = parse("compute", &raw, (ID, 0));
        assert_eq!(entry.timestamp, "2026-08-21T10:15:40.123456Z");
        assert_eq!(entry.level, "INFO");
        assert_eq!(entry.text, "reprieve::compute: guest paused server=x");
        assert_eq!(entry.raw, raw);
    }

    #[test]
    fn spans_are_kept_when_they_say_more() {
        let parsed =
            |rest: &str| parse("api", &format!("2026-08-21T10:15:40Z  INFO {rest}"), (ID, 0)).text;
        assert_eq!(
            parsed(&format!(
                "request{{request_id={ID}}}: reprieve::api: POST request_id=\"{ID}\" status=202"
            )),
            "reprieve::api: POST status=202"
        );
        assert_eq!(
            parsed(&format!("operation{{request_id={ID} server=s}}: reprieve::compute: done")),
            "operation{server=s}: reprieve::compute: done"
        );
        assert_eq!(
            parsed(&format!("operation{{server=s request_id={ID}}}: reprieve::compute: done")),
            "operation{server=s}: reprieve::compute: done"
        );
    }

    #[test]
    fn the_json_form() {
        let raw = format!(
            r#"{{"timestamp":"2026-08-21T10:15:40.123456Z","level":"WARN","fields":{{"message":"slow","ms":12,"request_id":"{ID}"}},"target":"reprieve::api"}}"#
        );
        let entry = parse("api", &raw, (ID, 0));
        assert_eq!(entry.level, "WARN");
        assert_eq!(entry.text, "reprieve::api: slow ms=12");
        assert_eq!(entry.micros, 1_787_307_340_123_456);
    }

    #[test]
    fn anything_else_keeps_its_place() {
        let entry = parse("api", "  caused by something", (ID, 5_000_000));
        assert_eq!((entry.micros, entry.text.as_str()), (5_000_000, "caused by something"));
        let broken = parse("api", "{\"timestamp\": 7", (ID, 1));
        assert_eq!(broken.micros, 1);
    }
}
