//! What microversions changed, as data (spec/api.md section 11).
//!
//! Handlers know the newest form of everything and ask for no version. What an older request sees
//! is in tables, and whoever wants to know what 2.N changed looks for `N` in them:
//!
//! | table | says |
//! |---|---|
//! | [`routes`](super::routes) | in which versions a path has a method |
//! | [`actions`](super::servers::actions) | in which versions a server has an action |
//! | [`answers`] | which fields came, left or differed, and which status codes |
//! | [`view::changes`](super::servers::view) | the same of servers, typed, as lists of them are long |
//! | [`queries`] | since when a query parameter counts |
//! | [`rules`] | everything else, each thing by a name |
//! | [`schema`](super::schema) | what bodies and queries may be |
//!
//! Invariant: all of this is pure. A table is applied to what a handler made and to what it was
//! made of, and knows neither the store nor the caller.

pub mod answers;
mod change;
mod parameters;
pub mod queries;
pub mod route;
pub mod rules;

pub use change::{Changes, Stepped};
pub use parameters::Parameters;

use super::microversion::Microversion;

/// From which to which minor version something exists, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Versions {
    first: u16,
    last: u16,
}

impl Versions {
    /// All of them.
    pub const ALWAYS: Self = Self { first: 1, last: u16::MAX };

    /// Since 2.`first`.
    #[must_use]
    pub const fn since(first: u16) -> Self {
        Self { first, ..Self::ALWAYS }
    }

    /// Until 2.`last`, with which it still exists.
    #[must_use]
    pub const fn until(last: u16) -> Self {
        Self { last, ..Self::ALWAYS }
    }

    /// Whether `version` is one of them.
    #[must_use]
    pub const fn contain(self, version: Microversion) -> bool {
        version.since(self.first) && version.until(self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_are_included() {
        for (versions, first, last) in [
            (Versions::ALWAYS, 1, 104),
            (Versions::since(26), 26, 104),
            (Versions::until(35), 1, 35),
        ] {
            for minor in 1..=104 {
                let expected = (first..=last).contains(&minor);
                assert_eq!(versions.contain(Microversion::of(minor)), expected, "2.{minor}");
            }
        }
    }
}
