//! Use cases: authorise, decide, record. No HTTP and no SQL.

pub mod aggregates;
mod error;
pub mod flavors;
pub mod hosts;
pub mod identity;
pub mod images;
pub mod keypairs;
pub mod operations;
pub mod quotas;
pub mod secret;
pub mod server_groups;
pub mod servers;
pub mod usage;

use std::time::Duration;

use reprieve_core::policy::{Rule, Target};
use reprieve_core::{Caller, RequestId};
use reprieve_store::NewAction;

use crate::Control;
use crate::auth::AuthContext;
pub use error::AppError;

/// One request: what it needs, who makes it, and its id, which follows it through every log line.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    /// Services.
    pub control: &'a Control,
    /// Who asks.
    pub auth: &'a AuthContext,
    /// Which request this is.
    pub request_id: &'a RequestId,
    /// How long the operation that it asks for may wait for its host; `None`: as long as any may.
    pub deadline: Option<Duration>,
}

impl Call<'_> {
    /// Whether a rule lets the caller do something to `target`.
    #[must_use]
    pub fn may<'t>(&self, rule: Rule, target: impl Into<Target<'t>>) -> bool {
        self.control.settings.policy.allows(rule, &self.auth.credentials(), target.into())
    }

    /// Whether a rule lets the caller do something of its own.
    #[must_use]
    pub fn may_own(&self, rule: Rule) -> bool {
        self.control.settings.policy.allows_own(rule, &self.auth.credentials())
    }

    /// Refuses what a rule does not let the caller do to `target`.
    ///
    /// # Errors
    /// [`AppError::Forbidden`] with the name of the rule.
    pub fn require<'t>(&self, rule: Rule, target: impl Into<Target<'t>>) -> Result<(), AppError> {
        if self.may(rule, target) { Ok(()) } else { Err(AppError::policy(rule.name())) }
    }

    /// Refuses what a rule does not let the caller do of its own.
    ///
    /// # Errors
    /// [`AppError::Forbidden`] with the name of the rule.
    pub fn require_own(&self, rule: Rule) -> Result<(), AppError> {
        if self.may_own(rule) { Ok(()) } else { Err(AppError::policy(rule.name())) }
    }

    /// Whether projects and locks are no borders for the caller (rule `context_is_admin`).
    #[must_use]
    pub fn is_admin(&self) -> bool {
        self.control.settings.policy.is_admin(&self.auth.credentials())
    }

    /// What of the caller matters for admission.
    #[must_use]
    pub fn caller(&self) -> Caller {
        Caller { is_admin: self.is_admin() }
    }

    /// Who asks, for the instance action.
    #[must_use]
    pub fn action(&self) -> NewAction {
        NewAction {
            request_id: self.request_id.clone(),
            user_id: self.auth.user_id.clone(),
            project_id: self.auth.project_id.clone(),
        }
    }
}
