//! Nova's own formats, and `minimum`/`maximum` for numbers in strings.

use std::num::IntErrorKind;
use std::str::FromStr as _;

use jsonschema::error::ValidationErrorKind;
use jsonschema::{Draft, Keyword, ValidationError, ValidationOptions};
use reprieve_core::{InstanceId, Timestamp};
use serde_json::Value;

use super::python::repr;

/// A name without white space around it.
pub const NAME: &str = "name";
/// The name of an availability zone: a name without `:`.
pub const ZONE_NAME: &str = "az_name";
/// A UUID, hyphens optional.
pub const UUID: &str = "uuid";
/// A point in time in ISO 8601.
pub const DATE_TIME: &str = "date-time";
/// An IPv4 address.
pub const IPV4: &str = "ipv4";
/// An IPv6 address.
pub const IPV6: &str = "ipv6";

/// Options with everything that Nova adds to JSON Schema.
pub fn options() -> ValidationOptions<'static> {
    jsonschema::options()
        .with_draft(Draft::Draft202012)
        .should_validate_formats(true)
        .with_format(NAME, is_name)
        .with_format(ZONE_NAME, |text: &str| is_name(text) && !text.contains(':'))
        .with_format(UUID, |text: &str| InstanceId::from_str(text).is_ok())
        .with_format(DATE_TIME, |text: &str| Timestamp::parse_iso(text).is_some())
        .with_format(IPV4, |text: &str| std::net::Ipv4Addr::from_str(text).is_ok())
        .with_format(IPV6, |text: &str| std::net::Ipv6Addr::from_str(text).is_ok())
        .with_keyword("minimum", |_, limit, _| bound(limit, Side::Minimum))
        .with_keyword("maximum", |_, limit, _| bound(limit, Side::Maximum))
}

/// Printable, and no white space at its ends.
fn is_name(text: &str) -> bool {
    text.trim() == text && !text.chars().any(char::is_control)
}

/// Texts that Nova gives without the usual frame.
pub fn sentence(error: &ValidationError<'_>) -> Option<String> {
    match error.kind() {
        ValidationErrorKind::Format { format } if format == NAME => Some(
            "An invalid 'name' value was provided. The name must be: printable characters. Can \
             not start or end with whitespace."
                .to_owned(),
        ),
        _ => None,
    }
}

#[derive(Clone, Copy)]
enum Side {
    Minimum,
    Maximum,
}

/// A bound that also holds for integers in strings; other strings are not its business.
struct Bound {
    side: Side,
    limit: i128,
}

fn bound(limit: &Value, side: Side) -> Result<Box<dyn for<'i> Keyword<'i>>, ValidationError<'_>> {
    match limit.as_i64() {
        Some(limit) => Ok(Box::new(Bound { side, limit: i128::from(limit) })),
        None => Err(ValidationError::schema("a bound must be an integer")),
    }
}

impl Bound {
    /// Whether the number keeps to the bound; `None` when it is not a number.
    fn keeps(&self, instance: &Value) -> Option<bool> {
        let inside = |number: i128| match self.side {
            Side::Minimum => number >= self.limit,
            Side::Maximum => number <= self.limit,
        };
        match instance {
            Value::Number(number) => Some(match (number.as_i64(), number.as_u64()) {
                (Some(signed), _) => inside(i128::from(signed)),
                (None, Some(unsigned)) => inside(i128::from(unsigned)),
                // Beyond 64 bits a number is a float; the limits are far smaller.
                (None, None) => {
                    let float = number.as_f64().unwrap_or(f64::INFINITY);
                    #[expect(clippy::cast_precision_loss, reason = "limits are small integers")]
                    let limit = self.limit as f64;
                    match self.side {
                        Side::Minimum => float >= limit,
                        Side::Maximum => float <= limit,
                    }
                }
            }),
            Value::String(text) => whole(text).map(inside),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        }
    }
}

/// The whole number in a text. One that is too long to be kept is beyond every bound all the same.
fn whole(text: &str) -> Option<i128> {
    match text.trim().parse::<i128>() {
        Ok(number) => Some(number),
        Err(error) => match error.kind() {
            IntErrorKind::PosOverflow => Some(i128::MAX),
            IntErrorKind::NegOverflow => Some(i128::MIN),
            _ => None,
        },
    }
}

impl<'i> Keyword<'i> for Bound {
    fn validate(&self, instance: &'i Value) -> Result<(), ValidationError<'i>> {
        if self.is_valid(instance) {
            return Ok(());
        }
        // Nova turns the string into a number before it complains.
        let number = match instance {
            Value::String(text) => text.trim().to_owned(),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Array(_)
            | Value::Object(_) => repr(instance),
        };
        let limit = self.limit;
        Err(ValidationError::custom(match self.side {
            Side::Minimum => format!("{number} is less than the minimum of {limit}"),
            Side::Maximum => format!("{number} is greater than the maximum of {limit}"),
        }))
    }

    fn is_valid(&self, instance: &'i Value) -> bool {
        self.keeps(instance).unwrap_or(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_hold_for_numbers_of_any_length_in_texts() {
        let bound = Bound { side: Side::Maximum, limit: 10 };
        assert_eq!(bound.keeps(&Value::from("10")), Some(true));
        assert_eq!(bound.keeps(&Value::from("11")), Some(false));
        assert_eq!(bound.keeps(&Value::from("9".repeat(60))), Some(false));
        assert_eq!(bound.keeps(&Value::from(format!("-{}", "9".repeat(60)))), Some(true));
        assert_eq!(bound.keeps(&Value::from("ten")), None);
    }

    #[test]
    fn names() {
        for good in ["a", "a b", "ü", "a.b-c_d"] {
            assert!(is_name(good), "{good}");
        }
        for bad in [" a", "a ", "a\n", "\u{7}", "a\u{0}b"] {
            assert!(!is_name(bad), "{bad:?}");
        }
    }
}
