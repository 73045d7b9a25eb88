//! Queries of URLs.

use serde_json::Value;

/// The query of a request, decoded, in the order given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    /// From the raw query of a URL. Bytes that are not UTF-8 are replaced.
    #[must_use]
    pub fn parse(raw: &str) -> Self {
        let pairs = raw
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .map(|(name, value)| (decode(name), decode(value)))
            .collect();
        Self { pairs }
    }

    /// Names and values in the order given.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// All values of a parameter.
    pub fn all<'a, 'n>(
        &'a self,
        name: &'n str,
    ) -> impl DoubleEndedIterator<Item = &'a str> + use<'a, 'n> {
        self.pairs.iter().filter(move |(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// The last value of a parameter, which is the one that counts where only one can.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next_back()
    }

    /// Whether the parameter is there.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Names of all parameters.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.pairs.iter().map(|(name, _)| name.as_str())
    }

    /// The parameters whose names pass.
    #[must_use]
    pub fn only(&self, passes: impl Fn(&str) -> bool) -> Self {
        let pairs = self.pairs.iter().filter(|(name, _)| passes(name)).cloned().collect();
        Self { pairs }
    }

    /// Name → list of values, for validation.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut fields = serde_json::Map::new();
        for (name, value) in &self.pairs {
            let values = fields.entry(name.clone()).or_insert_with(|| Value::Array(Vec::new()));
            if let Some(values) = values.as_array_mut() {
                values.push(Value::String(value.clone()));
            }
        }
        Value::Object(fields)
    }
}

fn decode(text: &str) -> String {
    let spaced = text.replace('+', " ");
    percent_encoding::percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn queries() {
        let query = Query::parse("a=1&b&a=2&&c=%C3%A4+x&d=%ff");
        assert_eq!(query.get("a"), Some("2"));
        assert_eq!(query.get("b"), Some(""));
        assert_eq!(query.get("c"), Some("ä x"));
        assert_eq!(query.get("d"), Some("\u{fffd}"));
        assert!(!query.has("e"));
        assert_eq!(query.to_json()["a"], json!(["1", "2"]));
        assert_eq!(query.only(|name| name == "a"), Query::parse("a=1&a=2"));
        assert_eq!(Query::parse(""), Query::default());
    }
}
