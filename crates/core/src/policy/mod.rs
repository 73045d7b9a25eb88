//! Who may do what: Nova's rules by name, and checks in the words of oslo.policy.
//!
//! A rule has a check, a small expression about the caller ([`Credentials`]) and about what is asked
//! for ([`Target`]). Defaults are in [`rules`]; an operator's file replaces them by name. Everything
//! that could go wrong with a check is found when it is loaded, so that a question always has an
//! answer:
//!
//! ```text
//! name, text -> parse -> Check -> closed? acyclic? small? -> Policy
//! Policy, Rule, Credentials, Target -> yes | no
//! ```

mod check;
mod load;
mod parse;
pub mod rules;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ids::{ProjectId, UserId};
use check::{Check, Question};

pub use load::PolicyError;
pub use parse::{Problem, SyntaxError};
pub use rules::Rule;

/// Roles that Keystone's bootstrap makes: each implies those after it.
const IMPLIED_ROLES: [&str; 4] = ["admin", "manager", "member", "reader"];

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials<'a> {
    user_id: &'a UserId,
    project_id: &'a ProjectId,
    roles: Vec<&'a str>,
}

impl<'a> Credentials<'a> {
    /// A user with `roles` in a project. Roles that these imply are added: a token of an identity
    /// service that does not resolve them is worth the same.
    pub fn new(
        user_id: &'a UserId,
        project_id: &'a ProjectId,
        roles: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let mut roles: Vec<&str> = roles.into_iter().collect();
        let highest = IMPLIED_ROLES
            .iter()
            .position(|known| roles.iter().any(|role| role.eq_ignore_ascii_case(known)));
        if let Some(highest) = highest {
            roles.extend(IMPLIED_ROLES.iter().skip(highest));
        }
        Self { user_id, project_id, roles }
    }

    /// What is asked for when nothing else is named: something of the caller's own.
    const fn own(&self) -> Target<'a> {
        Target { project_id: Some(self.project_id), user_id: Some(self.user_id) }
    }
}

/// Whose thing is asked for. What is not known matches nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Target<'a> {
    /// Project that it belongs to.
    pub project_id: Option<&'a ProjectId>,
    /// User who made it.
    pub user_id: Option<&'a UserId>,
}

impl<'a> From<&'a ProjectId> for Target<'a> {
    fn from(project: &'a ProjectId) -> Self {
        Self { project_id: Some(project), user_id: None }
    }
}

impl<'a> From<&'a UserId> for Target<'a> {
    fn from(user: &'a UserId) -> Self {
        Self { project_id: None, user_id: Some(user) }
    }
}

/// Every rule with its check. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Policy {
    checks: Arc<BTreeMap<String, Check>>,
    unknown: Arc<[String]>,
}

impl Policy {
    /// Nova's defaults, with the checks of `overrides` (name, check) in their place. Names that Nova
    /// does not have may help other rules; those that do not even that are
    /// [unknown](Self::unknown_names).
    ///
    /// # Errors
    /// [`PolicyError`], naming the rule.
    pub fn load(
        overrides: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, PolicyError> {
        load::load(overrides)
    }

    /// Names in the overrides that no rule here uses: probably misspelled, or of a feature that is
    /// not here.
    #[must_use]
    pub fn unknown_names(&self) -> &[String] {
        &self.unknown
    }

    /// Whether the caller may.
    #[must_use]
    pub fn allows(&self, rule: Rule, by: &Credentials<'_>, target: Target<'_>) -> bool {
        Question { checks: &self.checks, by, target }.rule(rule.name())
    }

    /// Whether the caller may, about something of its own.
    #[must_use]
    pub fn allows_own(&self, rule: Rule, by: &Credentials<'_>) -> bool {
        self.allows(rule, by, by.own())
    }

    /// Whether the caller counts as an administrator, for whom projects and locks are no borders.
    #[must_use]
    pub fn is_admin(&self, by: &Credentials<'_>) -> bool {
        self.allows_own(rules::CONTEXT_IS_ADMIN, by)
    }
}
