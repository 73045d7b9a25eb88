//! The identity service: who may ask for what.
//!
//! Owns users, projects, roles, application credentials and tokens. Passwords are stretched with argon2id and tokens stored
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
//!
//! With a Keystone that is there already (`crate::external`) none of this is used: tokens are
//! checked there, and the API of this service is switched off.

mod backend;
mod bootstrap;
mod cache;
pub mod catalog;
mod credentials;
mod login;
mod manage;
mod password;
mod registry;
mod token;

use std::sync::Arc;

use reprieve_core::{ProjectId, Timestamp};
use reprieve_store::StoreError;

pub use backend::{BuiltIn, IdentityBackend};
pub use bootstrap::{BootstrapError, Bootstrapped, Outcome, bootstrap, reset_admin_password};
pub(crate) use cache::TokenCache;
pub use credentials::{CredentialRequest, RoleName};
pub use login::{CredentialName, LoginError, Method, Named, Scope, TokenRequest, issue};
pub use manage::{ManageError, Manager, ProjectChange, UserChange};
pub use password::PasswordError;
pub(super) use password::random_text;
pub use registry::{EndpointChange, RegionChange, ServiceChange};
pub(crate) use token::hash_of;
pub use token::{Grant, GrantedCredential, ScopedProject, Token, TokenSecret};

use crate::Control;
use crate::auth::AuthContext;

/// The domain that everything belongs to; there is no other.
pub const DOMAIN_ID: &str = "default";
/// Its name.
pub const DOMAIN_NAME: &str = "Default";

/// Who checks tokens, and what the own identity service keeps in memory.
pub struct Identity {
    backend: Arc<dyn IdentityBackend>,
    cache: TokenCache,
    passwords: password::Passwords,
    purge: token::Purge,
}

impl Identity {
    /// The own identity service, nothing cached yet.
    #[must_use]
    pub fn new() -> Self {
        Self::with(Arc::new(BuiltIn))
    }

    /// Tokens are checked by `backend`.
    #[must_use]
    pub fn with(backend: Arc<dyn IdentityBackend>) -> Self {
        Self {
            backend,
            cache: TokenCache::default(),
            passwords: password::Passwords::default(),
            purge: token::Purge::default(),
        }
    }

    /// Where clients get tokens, ending in `/v3`, unless that is this daemon.
    #[must_use]
    pub fn external_url(&self) -> Option<&str> {
        self.backend.external_url()
    }
}

impl Default for Identity {
    fn default() -> Self {
        Self::new()
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
    /// The external identity service cannot be asked at the moment; the API answers 503.
    #[error("the identity service could not be asked; try again")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
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
    control.identity.backend.grant(control, token).await
}

/// Whether there is such a project in the identity service, whichever that is.
///
/// # Errors
/// [`AuthError::Store`], [`AuthError::Unavailable`].
pub async fn has_project(control: &Control, project: &ProjectId) -> Result<bool, AuthError> {
    control.identity.backend.has_project(control, project).await
}

/// The current time.
fn now(control: &Control) -> Timestamp {
    control.clock.now()
}
