//! From a password, an application credential or another token to a new token.

use std::sync::Arc;

use reprieve_core::{ProjectId, Timestamp, UserId};
use reprieve_store::StoreError;
use reprieve_store::identity::{AssignmentFilter, CredentialRecord, UserRecord};

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

/// Names an application credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialName {
    /// By id.
    Id(String),
    /// By name, of a user.
    Name {
        /// User.
        user: Named,
        /// Name.
        name: String,
    },
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
    /// By an application credential, which also says what the token is good for.
    ApplicationCredential {
        /// Credential.
        credential: CredentialName,
        /// Its secret.
        secret: Password,
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
    Store(#[source] StoreError),
    /// The identity service is another one, which cannot be asked.
    #[error("the identity service could not be asked; try again")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<StoreError> for LoginError {
    fn from(error: StoreError) -> Self {
        match error {
            // What the database cannot even keep names nobody.
            StoreError::BadQuery(_) => Self::Unauthenticated,
            other => Self::Store(other),
        }
    }
}

impl From<AuthError> for LoginError {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Unauthenticated | AuthError::NotScoped => Self::Unauthenticated,
            AuthError::Store(error) => error.into(),
            AuthError::Unavailable(error) => Self::Unavailable(error),
        }
    }
}

/// Issues a token.
///
/// # Errors
/// [`LoginError`].
pub async fn issue(control: &Control, request: TokenRequest) -> Result<Token, LoginError> {
    let Proven { user, methods, parent, bound } = prove(control, request.method).await?;
    let project = match (&bound, request.scope) {
        (Some(bound), scope) => Some(bound_scope(control, bound, &user, scope).await?),
        (None, Scope::Unscoped) => None,
        (None, Scope::Default) => default_scope(control, &user).await?,
        (None, Scope::Project(named)) => Some(scope(control, &user.id, named).await?),
    };
    let credential = bound.map(|bound| (bound.credential, bound.expires_at));
    token::create(control, Issue { user: user.id, project, methods, parent, credential }).await
}

struct Proven {
    user: UserRecord,
    methods: Vec<String>,
    parent: Option<Arc<Grant>>,
    bound: Option<Bound>,
}

/// The application credential that a token comes from, directly or through another token: it can
/// never reach further than that.
struct Bound {
    credential: String,
    project: ProjectId,
    expires_at: Option<Timestamp>,
}

async fn prove(control: &Control, method: Method) -> Result<Proven, LoginError> {
    match method {
        Method::Password { user, password } => by_password(control, user, password).await,
        Method::ApplicationCredential { credential, secret } => {
            by_credential(control, credential, secret).await
        }
        Method::Token(secret) => by_token(control, &secret).await,
    }
}

async fn find_user(control: &Control, user: Named) -> Result<Option<UserRecord>, StoreError> {
    match user {
        Named::Id(id) => control.store.user(&id.into()).await,
        Named::Name(name) => control.store.user_by_name(&name).await,
    }
}

async fn by_password(
    control: &Control,
    user: Named,
    password: Password,
) -> Result<Proven, LoginError> {
    let found = find_user(control, user).await?;
    // Also for unknown and disabled users, so that the time tells nothing.
    let id = found.as_ref().map_or_else(|| UserId::from(""), |user| user.id.clone());
    let hash = control.store.password_hash(&id).await?;
    let matches = control.identity.passwords.matches(password, hash).await?;
    let Some(user) = found.filter(|user| matches && user.enabled) else {
        // Not the name that was given: people type passwords there.
        tracing::warn!(target: "reprieve::api", user_id = %id, "login refused");
        return Err(LoginError::Unauthenticated);
    };
    Ok(Proven { user, methods: vec!["password".to_owned()], parent: None, bound: None })
}

async fn by_credential(
    control: &Control,
    credential: CredentialName,
    secret: Password,
) -> Result<Proven, LoginError> {
    let found = find_credential(control, credential).await?;
    // As for passwords: what does not exist costs as much as a wrong secret.
    let id = found.as_ref().map(|credential| credential.id.clone()).unwrap_or_default();
    let hash = control.store.application_credential_secret(&id).await?;
    let matches = control.identity.passwords.matches(secret, hash).await?;
    let now = super::now(control);
    let usable =
        found.filter(|credential| matches && credential.expires_at.is_none_or(|end| now < end));
    let user = match &usable {
        Some(credential) => control.store.user(&credential.user).await?,
        None => None,
    };
    let Some((credential, user)) = usable.zip(user.filter(|user| user.enabled)) else {
        tracing::warn!(target: "reprieve::api", application_credential_id = %id, "login refused");
        return Err(LoginError::Unauthenticated);
    };
    let CredentialRecord { id: credential, project, expires_at, .. } = credential;
    Ok(Proven {
        user,
        methods: vec!["application_credential".to_owned()],
        parent: None,
        bound: Some(Bound { credential, project, expires_at }),
    })
}

async fn find_credential(
    control: &Control,
    credential: CredentialName,
) -> Result<Option<CredentialRecord>, StoreError> {
    match credential {
        CredentialName::Id(id) => control.store.application_credential(&id).await,
        CredentialName::Name { user, name } => {
            let Some(user) = find_user(control, user).await? else { return Ok(None) };
            let found = control.store.application_credentials(&user.id, Some(&name)).await?;
            Ok(found.into_iter().next())
        }
    }
}

async fn by_token(control: &Control, secret: &token::TokenSecret) -> Result<Proven, LoginError> {
    let grant = grant_of(control, secret.reveal()).await?;
    let user = control.store.user(&grant.user_id).await?;
    let user = user.ok_or(LoginError::Unauthenticated)?;
    let mut methods = grant.methods.clone();
    if !methods.iter().any(|method| method == "token") {
        methods.push("token".to_owned());
    }
    let bound = match (&grant.credential, &grant.project) {
        (None, _) => None,
        (Some(credential), Some(project)) => Some(Bound {
            credential: credential.id.clone(),
            project: project.id.clone(),
            expires_at: Some(grant.expires_at),
        }),
        (Some(_), None) => return Err(LoginError::Unauthenticated),
    };
    Ok(Proven { user, methods, parent: Some(grant), bound })
}

/// The project of an application credential, if it can be used and nothing else is asked for.
async fn bound_scope(
    control: &Control,
    bound: &Bound,
    user: &UserRecord,
    wanted: Scope,
) -> Result<ProjectId, LoginError> {
    let named = match wanted {
        Scope::Default => Named::Id(bound.project.to_string()),
        Scope::Project(named) => named,
        Scope::Unscoped => return Err(LoginError::Unauthenticated),
    };
    let project = scope(control, &user.id, named).await?;
    if project == bound.project { Ok(project) } else { Err(LoginError::Unauthenticated) }
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
