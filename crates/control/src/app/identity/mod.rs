//! The identity service: who may ask for what.
//!
//! Owns users, projects, roles and tokens. Passwords are stretched with argon2id and tokens stored
//! as a hash, so a stolen database logs nobody in. Everything a token depends on (user and project
//! enabled, role still assigned) is looked at when the token is *used*, so disabling or unassigning
//! takes effect with the next request.
//!
//! ```text
//! password ─▶ login ─▶ token (random, only its hash is stored) ─▶ validate ─▶ AuthContext
//!                                   │ expiry, revocation, password change,
//!                                   ▼ user or project disabled, role taken away
//!                                invalid
//! ```

mod bootstrap;
mod cache;
pub mod catalog;
mod login;
mod manage;
mod password;
mod token;

use std::sync::Arc;

use reprieve_core::Timestamp;
use reprieve_store::StoreError;

pub use bootstrap::{BootstrapError, Bootstrapped, Outcome, bootstrap, reset_admin_password};
pub use login::{LoginError, Method, Named, Scope, TokenRequest, issue};
pub use manage::{ManageError, Manager, ProjectChange, UserChange};
pub use password::PasswordError;
pub use token::{Grant, ScopedProject, Token, TokenSecret};

use crate::Control;
use crate::auth::AuthContext;

/// The domain that everything belongs to; there is no other.
pub const DOMAIN_ID: &str = "default";
/// Its name.
pub const DOMAIN_NAME: &str = "Default";

/// What the identity service keeps in memory.
#[derive(Default)]
pub struct Identity {
    cache: cache::TokenCache,
    passwords: password::Passwords,
    purge: token::Purge,
}

impl Identity {
    /// Nothing cached yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

/// Why a token does not let anybody in.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// Unknown, expired or revoked token, or its user or project no longer exists or is disabled.
    /// The API answers 401 and never says which.
    #[error("the request you have made requires authentication")]
    Unauthenticated,
    /// The token is good but not scoped to a project, which the service needs. The API answers 403.
    #[error("the token is not scoped to a project; ask for one with a project scope")]
    NotScoped,
    /// The database failed; the API answers 503.
    #[error("the token could not be checked")]
    Store(#[source] StoreError),
}

/// Checks a token as it stands in `X-Auth-Token` and says who is asking.
///
/// On the path of every request: a hit in memory, or one indexed statement.
///
/// # Errors
/// [`AuthError`].
pub async fn validate(control: &Control, token: &str) -> Result<AuthContext, AuthError> {
    let grant = grant_of(control, token).await?;
    grant.context().ok_or(AuthError::NotScoped)
}

/// Like [`validate`], for the identity service itself, which also serves tokens without a scope.
///
/// # Errors
/// [`AuthError`], never `NotScoped`.
pub async fn grant_of(control: &Control, token: &str) -> Result<Arc<Grant>, AuthError> {
    token::lookup(control, token).await
}

/// The current time.
fn now(control: &Control) -> Timestamp {
    control.clock.now()
}
