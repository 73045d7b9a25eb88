//! A parsed check, and what it says of a caller.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::{Credentials, Target, rules};

/// An expression in the language of oslo.policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// `@`, or nothing at all.
    Always,
    /// `!`.
    Never,
    /// `not …`.
    Not(Box<Self>),
    /// `… and …`.
    All(Vec<Self>),
    /// `… or …`.
    Any(Vec<Self>),
    /// `rule:name`.
    Rule(String),
    /// `role:name`.
    Role(Template),
    /// `attribute:value`, where the attribute is the caller's.
    Attribute(Attribute, Template),
    /// `'text':value`, with the text as Python prints it.
    Literal(String, Template),
}

/// What a check may ask of the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attribute {
    /// `user_id`.
    UserId,
    /// `project_id`.
    ProjectId,
    /// `roles`.
    Roles,
    /// `is_admin`: what the rule `context_is_admin` says.
    IsAdmin,
    /// What no caller here has, such as `system_scope`.
    Absent,
}

impl Attribute {
    pub fn named(name: &str) -> Self {
        match name {
            "user_id" => Self::UserId,
            "project_id" => Self::ProjectId,
            "roles" => Self::Roles,
            "is_admin" => Self::IsAdmin,
            _ => Self::Absent,
        }
    }
}

/// A text with holes that the target fills.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(pub Vec<Part>);

/// A piece of a [`Template`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// As it is.
    Text(String),
    /// `%(project_id)s`.
    ProjectId,
    /// `%(user_id)s`.
    UserId,
    /// A hole that no target fills.
    Absent,
}

impl Template {
    /// The whole text; `None` when the target does not have what it takes.
    fn fill<'a>(&'a self, target: Target<'a>) -> Option<Cow<'a, str>> {
        match self.0.as_slice() {
            [only] => only.fill(target).map(Cow::Borrowed),
            parts => {
                parts.iter().map(|part| part.fill(target)).collect::<Option<_>>().map(Cow::Owned)
            }
        }
    }
}

impl Part {
    fn fill<'a>(&'a self, target: Target<'a>) -> Option<&'a str> {
        match self {
            Self::Text(text) => Some(text),
            Self::ProjectId => target.project_id.map(|project| project.as_str()),
            Self::UserId => target.user_id.map(|user| user.as_str()),
            Self::Absent => None,
        }
    }
}

impl Check {
    /// Every rule that this check asks directly.
    pub fn rules<'a>(&'a self, found: &mut Vec<&'a str>) {
        match self {
            Self::Rule(name) => found.push(name),
            Self::Attribute(Attribute::IsAdmin, _) => found.push(rules::CONTEXT_IS_ADMIN.name()),
            Self::Not(inner) => inner.rules(found),
            Self::All(parts) | Self::Any(parts) => {
                parts.iter().for_each(|part| part.rules(found));
            }
            Self::Always
            | Self::Never
            | Self::Role(_)
            | Self::Attribute(
                Attribute::UserId | Attribute::ProjectId | Attribute::Roles | Attribute::Absent,
                _,
            )
            | Self::Literal(..) => {}
        }
    }

    /// How many parts it has.
    pub fn size(&self) -> usize {
        match self {
            Self::Not(inner) => inner.size().saturating_add(1),
            Self::All(parts) | Self::Any(parts) => {
                parts.iter().fold(1, |sum, part| sum.saturating_add(part.size()))
            }
            Self::Always
            | Self::Never
            | Self::Rule(_)
            | Self::Role(_)
            | Self::Attribute(..)
            | Self::Literal(..) => 1,
        }
    }
}

/// One caller, one target, and the rules that decide. Loading has made sure that the recursion in
/// here ends soon.
pub struct Question<'a> {
    /// Every rule.
    pub checks: &'a BTreeMap<String, Check>,
    /// Who asks.
    pub by: &'a Credentials<'a>,
    /// For what.
    pub target: Target<'a>,
}

impl Question<'_> {
    /// What a rule says. One that does not exist says no.
    pub fn rule(&self, name: &str) -> bool {
        self.checks.get(name).is_some_and(|check| self.holds(check))
    }

    fn holds(&self, check: &Check) -> bool {
        match check {
            Check::Always => true,
            Check::Never => false,
            Check::Not(inner) => !self.holds(inner),
            Check::All(parts) => parts.iter().all(|part| self.holds(part)),
            Check::Any(parts) => parts.iter().any(|part| self.holds(part)),
            Check::Rule(name) => self.rule(name),
            Check::Role(role) => role.fill(self.target).is_some_and(|role| self.has(&role)),
            Check::Attribute(attribute, value) => {
                value.fill(self.target).is_some_and(|value| self.is(*attribute, &value))
            }
            Check::Literal(text, value) => {
                value.fill(self.target).is_some_and(|value| value == *text)
            }
        }
    }

    /// Names of roles are the same in any case.
    fn has(&self, role: &str) -> bool {
        let same = |held: &str| {
            let lower = held.chars().flat_map(char::to_lowercase);
            held == role || lower.eq(role.chars().flat_map(char::to_lowercase))
        };
        self.by.roles.iter().any(|held| same(held))
    }

    fn is(&self, attribute: Attribute, value: &str) -> bool {
        match attribute {
            Attribute::UserId => self.by.user_id.as_str() == value,
            Attribute::ProjectId => self.by.project_id.as_str() == value,
            Attribute::Roles => self.by.roles.contains(&value),
            Attribute::IsAdmin => {
                let own = Question { target: self.by.own(), ..*self };
                let text = if own.rule(rules::CONTEXT_IS_ADMIN.name()) { "True" } else { "False" };
                text == value
            }
            Attribute::Absent => false,
        }
    }
}
