//! Putting rules together: every rule that is asked exists, no rule asks itself, and no question
//! takes long.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::check::Check;
use super::parse::{SyntaxError, parse};
use super::{Policy, rules};

/// Most rules that an operator may write.
const MAX_RULES: usize = 4096;
/// Longest chain of rules that ask each other.
const MAX_CHAIN: usize = 32;
/// Most parts that one question may look at, in its own check and in those of the rules it asks.
const MAX_PARTS: usize = 10_000;

/// Why rules cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// The text of a check is none.
    #[error("the check of the rule \"{rule}\" cannot be read: {error}")]
    Syntax {
        /// Name of the rule.
        rule: String,
        /// What is wrong and where.
        #[source]
        error: SyntaxError,
    },
    /// A rule asks one that does not exist.
    #[error("the rule \"{rule}\" asks the rule \"{asked}\", which does not exist")]
    Undefined {
        /// Name of the rule.
        rule: String,
        /// Name that it uses.
        asked: String,
    },
    /// A rule asks itself.
    #[error("the rule \"{rule}\" asks itself: {path}")]
    Cycle {
        /// Name of the rule.
        rule: String,
        /// The way from the rule to itself.
        path: String,
    },
    /// Too many rules ask each other.
    #[error(
        "the rule \"{rule}\" asks too much: at most {MAX_CHAIN} rules in a row and {MAX_PARTS} \
         parts altogether"
    )]
    TooMuch {
        /// Name of the rule.
        rule: String,
    },
    /// Too many rules.
    #[error("there are more than {MAX_RULES} rules")]
    TooMany,
}

pub fn load(overrides: impl IntoIterator<Item = (String, String)>) -> Result<Policy, PolicyError> {
    let mut checks = BTreeMap::new();
    for rule in rules::ALL {
        checks.insert(rule.name().to_owned(), read(rule.name(), rule.default_check())?);
    }
    let mut added = BTreeSet::new();
    for (index, (name, text)) in overrides.into_iter().enumerate() {
        if index >= MAX_RULES {
            return Err(PolicyError::TooMany);
        }
        let check = read(&name, &text)?;
        if !rules::ALL.iter().any(|rule| rule.name() == name) {
            added.insert(name.clone());
        }
        checks.insert(name, check);
    }
    let mut walk = Walk { checks: &checks, measured: BTreeMap::new(), path: Vec::new() };
    for name in checks.keys() {
        walk.measure(name)?;
    }
    for check in checks.values() {
        let mut asked = Vec::new();
        check.rules(&mut asked);
        for name in asked {
            added.remove(name);
        }
    }
    Ok(Policy { checks: Arc::new(checks), unknown: added.into_iter().collect() })
}

fn read(rule: &str, text: &str) -> Result<Check, PolicyError> {
    parse(text).map_err(|error| PolicyError::Syntax { rule: rule.to_owned(), error })
}

/// How much a rule asks.
#[derive(Debug, Clone, Copy)]
struct Extent {
    /// Rules in a row.
    chain: usize,
    /// Parts altogether.
    parts: usize,
}

/// A walk through all rules along what they ask.
struct Walk<'a> {
    checks: &'a BTreeMap<String, Check>,
    measured: BTreeMap<&'a str, Extent>,
    path: Vec<&'a str>,
}

impl<'a> Walk<'a> {
    fn measure(&mut self, name: &'a str) -> Result<Extent, PolicyError> {
        if let Some(known) = self.measured.get(name) {
            return Ok(*known);
        }
        let too_much = || PolicyError::TooMuch { rule: name.to_owned() };
        if let Some(first) = self.path.iter().position(|step| *step == name) {
            let way: Vec<&str> = self.path.iter().skip(first).copied().chain([name]).collect();
            let (rule, path) = (name.to_owned(), way.join(" -> "));
            return Err(PolicyError::Cycle { rule, path });
        }
        if self.path.len() >= MAX_CHAIN {
            return Err(too_much());
        }
        let Some(check) = self.checks.get(name) else {
            let rule = self.path.last().copied().unwrap_or_default().to_owned();
            return Err(PolicyError::Undefined { rule, asked: name.to_owned() });
        };
        let mut asked = Vec::new();
        check.rules(&mut asked);
        let mut extent = Extent { chain: 1, parts: check.size() };
        self.path.push(name);
        for next in asked {
            let inner = self.measure(next)?;
            extent.chain = extent.chain.max(inner.chain.saturating_add(1));
            extent.parts = extent.parts.saturating_add(inner.parts);
        }
        self.path.pop();
        if extent.chain > MAX_CHAIN || extent.parts > MAX_PARTS {
            return Err(too_much());
        }
        self.measured.insert(name, extent);
        Ok(extent)
    }
}
