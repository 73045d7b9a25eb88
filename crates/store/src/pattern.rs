//! Regular expressions that tenants write. No two databases agree on them, so rows are compared
//! here; an expression that would take too much memory is refused.

use regex::{Regex, RegexBuilder};

use crate::StoreError;

/// Largest compiled expression, in bytes.
const BYTES: usize = 256 * 1024;
/// Most characters of a refused expression that are repeated to the client.
const SHOWN: usize = 64;

/// Compiles an expression that is looked for anywhere in a text.
///
/// # Errors
/// [`StoreError::BadQuery`] when it is malformed or too large.
pub fn compile(pattern: &str) -> Result<Regex, StoreError> {
    RegexBuilder::new(pattern).size_limit(BYTES).build().map_err(|_| {
        let shown: String = pattern.chars().take(SHOWN).collect();
        StoreError::BadQuery(format!("Invalid regular expression '{shown}'."))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn found_anywhere_unless_anchored() {
        assert!(compile("m1").unwrap().is_match("ci.m1.small"));
        assert!(!compile("^m1").unwrap().is_match("ci.m1.small"));
    }

    #[test]
    fn malformed_and_huge_ones_are_refused_in_short() {
        for bad in ["(", "a{1000}{1000}"] {
            assert!(matches!(compile(bad), Err(StoreError::BadQuery(_))), "{bad}");
        }
        let Err(StoreError::BadQuery(text)) = compile(&"(".repeat(1000)) else {
            panic!("it was accepted");
        };
        assert!(text.len() < 200, "{text}");
    }
}
