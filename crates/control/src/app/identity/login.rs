//! From a password or another token to a new token.

use std::sync::Arc;

use reprieve_core::{ProjectId, UserId};
use reprieve_store::StoreError;
use reprieve_store::identity::{AssignmentFilter, UserRecord};

use super::password::PasswordError;
use super::token::{self, Grant, Issue, Token};
use super::{AuthError, grant_of};
use crate::Control;
use crate::app::secret::Password;

/// Names a user or a project of the only domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// By id.
    Id(String),
    /// By name.
    Name(String),
}

/// How the user proves who it is.
#[derive(Debug, Clone)]
pub enum Method {
    /// By password.
    Password {
        /// User.
        user: Named,
        /// Password.
        password: Password,
    },
    /// By an earlier token.
    Token(token::TokenSecret),
}

/// What the token shall be good for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Not said: the user's default project if there is one, otherwise nothing.
    Default,
    /// Nothing but the identity service's own user.
    Unscoped,
    /// A project.
    Project(Named),
}

/// A wish for a token.
#[derive(Debug, Clone)]
pub struct TokenRequest {
    /// Proof.
    pub method: Method,
    /// Scope.
    pub scope: Scope,
}

/// Why no token was issued.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// Wrong name, password, token or project, or one that is disabled: 401, never saying which.
    #[error("the request you have made requires authentication")]
    Unauthenticated,
    /// The password could not be checked.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The database failed.
    #[error("no token could be issued")]
    Store(#[from] StoreError),
}

impl From<AuthError> for LoginError {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Unauthenticated | AuthError::NotScoped => Self::Unauthenticated,
            AuthError::Store(error) => Self::Store(error),
        }
    }
}

/// Issues a token.
///
/// # Errors
/// [`LoginError`].
pub async fn issue(control: &Control, request: TokenRequest) -> Result<Token, LoginError> {
    let Proven { user, methods, parent } = prove(control, request.method).await?;
    let project = match request.scope {
        Scope::Unscoped => None,
        Scope::Default => default_scope(control, &user).await?,
        Scope::Project(named) => Some(scope(control, &user.id, named).await?),
    };
    token::create(control, Issue { user: user.id, project, methods, parent }).await
}

struct Proven {
    user: UserRecord,
    methods: Vec<String>,
    parent: Option<Arc<Grant>>,
}

async fn prove(control: &Control, method: Method) -> Result<Proven, LoginError> {
    match method {
        Method::Password { user, password } => {
            let found = match user {
                Named::Id(id) => control.store.user(&id.into()).await?,
                Named::Name(name) => control.store.user_by_name(&name).await?,
            };
            // Also for unknown and disabled users, so that the time tells nothing.
            let id = found.as_ref().map_or_else(|| UserId::from(""), |user| user.id.clone());
            let hash = control.store.password_hash(&id).await?;
            let matches = control.identity.passwords.matches(password, hash).await?;
            let Some(user) = found.filter(|user| matches && user.enabled) else {
                // Not the name that was given: people type passwords there.
                tracing::warn!(target: "reprieve::api", user_id = %id, "login refused");
                return Err(LoginError::Unauthenticated);
            };
            Ok(Proven { user, methods: vec!["password".to_owned()], parent: None })
        }
        Method::Token(secret) => {
            let grant = grant_of(control, secret.reveal()).await?;
            let user = control.store.user(&grant.user_id).await?;
            let user = user.ok_or(LoginError::Unauthenticated)?;
            let mut methods = grant.methods.clone();
            if !methods.iter().any(|method| method == "token") {
                methods.push("token".to_owned());
            }
            Ok(Proven { user, methods, parent: Some(grant) })
        }
    }
}

/// The project, if the user may use it.
async fn scope(control: &Control, user: &UserId, named: Named) -> Result<ProjectId, LoginError> {
    let project = match named {
        Named::Id(id) => control.store.project(&id.into()).await?,
        Named::Name(name) => control.store.project_by_name(&name).await?,
    };
    let project = project.filter(|project| project.enabled);
    let project = project.ok_or(LoginError::Unauthenticated)?.id;
    if has_role(control, user, &project).await? {
        Ok(project)
    } else {
        Err(LoginError::Unauthenticated)
    }
}

/// A default project that cannot be used gives an unscoped token, as in Keystone.
async fn default_scope(
    control: &Control,
    user: &UserRecord,
) -> Result<Option<ProjectId>, LoginError> {
    let Some(project) = &user.default_project else { return Ok(None) };
    match scope(control, &user.id, Named::Id(project.to_string())).await {
        Ok(project) => Ok(Some(project)),
        Err(LoginError::Unauthenticated) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn has_role(
    control: &Control,
    user: &UserId,
    project: &ProjectId,
) -> Result<bool, LoginError> {
    let filter =
        AssignmentFilter { user: Some(user.clone()), project: Some(project.clone()), role: None };
    Ok(!control.store.assignments(&filter).await?.is_empty())
}
