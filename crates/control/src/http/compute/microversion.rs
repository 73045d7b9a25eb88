//! Microversions of the compute API: parsing, negotiation and the headers of every answer
//! (spec/api.md section 3).

use std::fmt;

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

const STANDARD: HeaderName = HeaderName::from_static("openstack-api-version");
const LEGACY: HeaderName = HeaderName::from_static("x-openstack-nova-api-version");
const SERVICE: &str = "compute";

/// A version 2.N that this service speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Microversion(u16);

impl Microversion {
    /// The lowest, and the one of a request that names none.
    pub const MIN: Self = Self(1);
    /// The highest.
    pub const MAX: Self = Self(104);

    /// Whether fields and rules that came with 2.`minor` apply.
    #[must_use]
    pub const fn since(self, minor: u16) -> bool {
        self.0 >= minor
    }

    /// Whether something that ended with 2.`minor` still applies.
    #[must_use]
    pub const fn until(self, minor: u16) -> bool {
        self.0 <= minor
    }

    /// 2.`minor`, in tests and tables.
    #[cfg(test)]
    #[must_use]
    pub const fn of(minor: u16) -> Self {
        Self(minor)
    }

    /// The version that a request asks for. `OpenStack-API-Version` counts first, its last compute
    /// entry, as in the library `microversion_parse`.
    ///
    /// # Errors
    /// [`Rejected`] when the text is no version or no version of ours.
    pub fn negotiate(headers: &HeaderMap) -> Result<Self, Rejected> {
        match requested(headers) {
            None => Ok(Self::MIN),
            Some(text) if text == "latest" => Ok(Self::MAX),
            Some(text) => Self::parse(&text),
        }
    }

    fn parse(text: &str) -> Result<Self, Rejected> {
        let malformed = || Rejected::Malformed(text.to_owned());
        let (major, minor) = text.split_once('.').ok_or_else(malformed)?;
        if !is_number(major) || major == "0" || !is_number(minor) {
            return Err(malformed());
        }
        let known = (major == "2").then(|| minor.parse().ok().map(Self)).flatten();
        known
            .filter(|version| (Self::MIN..=Self::MAX).contains(version))
            .ok_or_else(|| Rejected::OutOfRange(text.to_owned()))
    }
}

impl fmt::Display for Microversion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "2.{}", self.0)
    }
}

/// Decimal digits without leading zeros.
fn is_number(text: &str) -> bool {
    text == "0"
        || (!text.is_empty()
            && !text.starts_with('0')
            && text.bytes().all(|byte| byte.is_ascii_digit()))
}

fn requested(headers: &HeaderMap) -> Option<String> {
    let standard = headers
        .get_all(STANDARD)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|entry| entry.trim().split_once(char::is_whitespace))
        .filter(|(service, _)| service.eq_ignore_ascii_case(SERVICE))
        .map(|(_, version)| version.trim().to_owned())
        .next_back();
    let legacy = || Some(headers.get(LEGACY)?.to_str().ok()?.trim().to_owned());
    standard.or_else(legacy)
}

/// A requested version that cannot be served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// 400.
    #[error("API Version String {0} is of invalid format. Must be of format MajorNum.MinorNum.")]
    Malformed(String),
    /// 406.
    #[error(
        "Version {0} is not supported by the API. Minimum is {min} and maximum is {max}.",
        min = Microversion::MIN,
        max = Microversion::MAX
    )]
    OutOfRange(String),
}

/// Headers that say which version answered; `version` is `2.N`.
#[must_use]
pub fn headers(version: &str) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers = vec![
        (header::VARY, HeaderValue::from_static("OpenStack-API-Version")),
        (header::VARY, HeaderValue::from_static("X-OpenStack-Nova-API-Version")),
    ];
    if let (Ok(standard), Ok(legacy)) =
        (HeaderValue::from_str(&format!("{SERVICE} {version}")), HeaderValue::from_str(version))
    {
        headers.extend([(STANDARD, standard), (LEGACY, legacy)]);
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(pairs: &[(&'static str, &str)]) -> Result<Microversion, Rejected> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        Microversion::negotiate(&headers)
    }

    const NEW: &str = "openstack-api-version";
    const OLD: &str = "x-openstack-nova-api-version";

    #[test]
    fn negotiation() {
        assert_eq!(ask(&[]), Ok(Microversion::MIN));
        assert_eq!(ask(&[(NEW, "compute 2.37")]), Ok(Microversion::of(37)));
        assert_eq!(ask(&[(NEW, "COMPUTE  2.37 ")]), Ok(Microversion::of(37)));
        assert_eq!(ask(&[(NEW, "compute latest")]), Ok(Microversion::MAX));
        assert_eq!(ask(&[(OLD, "2.12")]), Ok(Microversion::of(12)));
        assert_eq!(ask(&[(OLD, "latest")]), Ok(Microversion::MAX));
        assert_eq!(ask(&[(NEW, "volume 3.0")]), Ok(Microversion::MIN));
        assert_eq!(ask(&[(NEW, "volume 3.0"), (OLD, "2.3")]), Ok(Microversion::of(3)));
        assert_eq!(
            ask(&[(NEW, "volume 3.59,compute 2.60"), (OLD, "2.3")]),
            Ok(Microversion::of(60))
        );
        assert_eq!(ask(&[(NEW, "compute 2.3, compute 2.60")]), Ok(Microversion::of(60)));
    }

    #[test]
    fn refusals_have_novas_texts() {
        for bad in ["2.abc", "2", "2.", ".1", "2.01", "02.1", "0.1", "2.1.1", "-2.1", "two"] {
            let rejected = ask(&[(NEW, &format!("compute {bad}"))]).unwrap_err();
            assert_eq!(
                rejected.to_string(),
                format!(
                    "API Version String {bad} is of invalid format. Must be of format \
                     MajorNum.MinorNum."
                )
            );
        }
        for far in ["2.999", "2.105", "2.0", "3.0", "1.1", "2.99999999999999999999"] {
            let rejected = ask(&[(OLD, far)]).unwrap_err();
            assert_eq!(
                rejected.to_string(),
                format!(
                    "Version {far} is not supported by the API. Minimum is 2.1 and maximum is \
                     2.104."
                )
            );
        }
    }
}
