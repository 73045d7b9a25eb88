//! The services of a cloud: identity v3, compute v2.1 and image v2, found by the token's catalog.
//!
//! Invariants: every request has a deadline; a token goes only to URLs of the catalog and never
//! into a message; redirects are not followed, as they would carry the token elsewhere.

pub mod compute;
mod error;
mod http;
mod identity;
pub mod image;
pub mod native;
mod session;
pub mod transfer;

pub use error::{ClientError, Rejection};
pub use identity::Owner;
pub use session::Session;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Everything but the unreserved characters of RFC 3986.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// One path segment or query value.
pub fn encode(text: &str) -> String {
    match text {
        // A segment of dots would be resolved away by the URL parser.
        "." => "%2E".to_owned(),
        ".." => "%2E%2E".to_owned(),
        other => utf8_percent_encode(other, RESERVED).to_string(),
    }
}

/// `?a=b&c=d`, or nothing.
pub fn query(pairs: &[(&str, String)]) -> String {
    let mut text = String::new();
    for (key, value) in pairs {
        text.push(if text.is_empty() { '?' } else { '&' });
        text.push_str(key);
        text.push('=');
        text.push_str(&encode(value));
    }
    text
}

/// One of the services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// Keystone's.
    Identity,
    /// Nova's.
    Compute,
    /// Glance's.
    Image,
    /// Reprieve's own, beside Nova's.
    Native,
}

impl Service {
    /// Word in messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Compute => "compute",
            Self::Image => "image",
            Self::Native => "reprieve",
        }
    }

    /// Type in the catalog. Our own API stands beside Nova's and is not named there.
    pub const fn catalog_type(self) -> &'static str {
        match self {
            Self::Identity | Self::Compute | Self::Image => self.as_str(),
            Self::Native => "compute",
        }
    }
}

impl std::fmt::Display for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_name_reaches_the_url_as_syntax() {
        assert_eq!(encode("a/../b?c#d e%"), "a%2F..%2Fb%3Fc%23d%20e%25");
        assert_eq!(encode(".."), "%2E%2E");
        assert_eq!(
            query(&[("name", "^a+b$".into()), ("limit", "1".into())]),
            "?name=%5Ea%2Bb%24&limit=1"
        );
        assert_eq!(query(&[]), "");
    }
}
