//! Tokens: random texts that stand for a user (and a project) for a while.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use reprieve_core::{ProjectId, Timestamp, UserId};
use reprieve_store::identity::{TokenRecord, TokenView};

use super::cache::TokenHash;
use super::password::random_text;
use super::{AuthError, LoginError, now};
use crate::Control;
use crate::auth::{AuthContext, Role};

/// Lifetime. Keystone's default is one hour; four leave room for a long upload or a slow pipeline,
/// and revocation is immediate here.
pub const LIFETIME: Duration = Duration::from_secs(4 * 3600);
/// Longest token text that is looked at; ours have 43 characters.
const MAX_TOKEN_BYTES: usize = 255;

/// The text of a token: as good as a password.
#[derive(Clone)]
pub struct TokenSecret(String);

impl From<String> for TokenSecret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl TokenSecret {
    /// The text, for the one header that carries it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[token]")
    }
}

/// The project a token is scoped to, with the user's roles in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScopedProject {
    /// Identifier.
    pub id: ProjectId,
    /// Name.
    pub name: String,
    /// Roles (id, name) with those they imply, by name.
    pub roles: Vec<(String, String)>,
}

/// The application credential that a token was made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantedCredential {
    /// Identifier.
    pub id: String,
    /// Name.
    pub name: String,
    /// Whether the token may manage application credentials.
    pub unrestricted: bool,
}

/// What a valid token grants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// User.
    pub user_id: UserId,
    /// Its name.
    pub user_name: String,
    /// Scope.
    pub project: Option<ScopedProject>,
    /// How the user authenticated.
    pub methods: Vec<String>,
    /// Own audit id, then the first one's of the chain.
    pub audit_ids: Vec<String>,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
    /// Application credential it was made from.
    pub credential: Option<GrantedCredential>,
}

impl Grant {
    /// What the other services need to know; `None` without a project.
    #[must_use]
    pub fn context(&self) -> Option<AuthContext> {
        let project = self.project.as_ref()?;
        Some(AuthContext {
            user_id: self.user_id.clone(),
            user_name: self.user_name.clone(),
            project_id: project.id.clone(),
            project_name: project.name.clone(),
            roles: project.roles.iter().map(|(_, name)| name.clone()).collect(),
        })
    }

    /// Whether the user is an administrator in the scope.
    #[must_use]
    pub fn is_admin(&self) -> bool {
        let roles = self.project.iter().flat_map(|project| &project.roles);
        roles.into_iter().any(|(_, name)| name == Role::Admin.as_str())
    }
}

/// When expired tokens were removed last. Issuing tokens pays for removing them, so there are never
/// more than one lifetime and one [`PURGE_EVERY`] of them.
#[derive(Default)]
pub(super) struct Purge(AtomicI64);

const PURGE_EVERY: Duration = Duration::from_secs(600);

impl Purge {
    /// Whether it is time; if so, it is the caller's turn.
    fn is_due(&self, now: Timestamp) -> bool {
        let last = self.0.load(Ordering::Relaxed);
        let due = now >= Timestamp::from_micros(last).plus(PURGE_EVERY);
        let next = now.micros();
        due && self.0.compare_exchange(last, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

/// A new token.
#[derive(Debug)]
pub struct Token {
    /// Its text.
    pub secret: TokenSecret,
    /// What it grants.
    pub grant: Arc<Grant>,
}

/// Who the new token is for.
pub(super) struct Issue {
    pub user: UserId,
    pub project: Option<ProjectId>,
    pub methods: Vec<String>,
    /// The token this one is made from: it ends no later and is in its audit chain.
    pub parent: Option<Arc<Grant>>,
    /// Application credential it is made from, and when that ends.
    pub credential: Option<(String, Option<Timestamp>)>,
}

/// Makes and records a token. The grant is read back from the database, so a user or project that
/// was disabled meanwhile gets none.
pub(super) async fn create(control: &Control, issue: Issue) -> Result<Token, LoginError> {
    let secret = TokenSecret(random_text::<32>()?);
    let audit_id = random_text::<16>()?;
    let hash = hash_of(secret.reveal());
    let issued_at = now(control);
    let expires_at = issued_at.plus(LIFETIME);
    let (parent, credential) = (issue.parent, issue.credential);
    let credential_end = credential.as_ref().and_then(|(_, end)| *end).unwrap_or(expires_at);
    let record = TokenRecord {
        hash: hex(&hash),
        user: issue.user,
        project: issue.project,
        methods: issue.methods.join(","),
        audit_id,
        parent_audit_id: parent.as_ref().and_then(|grant| grant.audit_ids.last().cloned()),
        issued_at,
        expires_at: parent
            .map_or(expires_at, |grant| expires_at.min(grant.expires_at))
            .min(credential_end),
        application_credential: credential.map(|(id, _)| id),
    };
    control.store.create_token(record).await?;
    if control.identity.purge.is_due(issued_at) {
        control.store.purge_tokens(issued_at).await?;
    }
    let grant = lookup(control, secret.reveal()).await.map_err(LoginError::from)?;
    Ok(Token { secret, grant })
}

/// Finds what a token grants now.
pub(super) async fn lookup(control: &Control, token: &str) -> Result<Arc<Grant>, AuthError> {
    if token.is_empty() || token.len() > MAX_TOKEN_BYTES {
        return Err(AuthError::Unauthenticated);
    }
    let (hash, now) = (hash_of(token), now(control));
    let cache = &control.identity.cache;
    if let Some(grant) = cache.get(&hash, now) {
        return Ok(grant);
    }
    let generation = cache.generation();
    let view = control.store.token(&hex(&hash)).await.map_err(AuthError::Store)?;
    let grant = view.and_then(|view| granted(view, now)).ok_or(AuthError::Unauthenticated)?;
    let grant = Arc::new(grant);
    cache.put(hash, grant.clone(), generation, now);
    Ok(grant)
}

/// Ends a token at once; `false` when it was not valid.
pub(super) async fn revoke(control: &Control, token: &str) -> Result<bool, AuthError> {
    if token.is_empty() || token.len() > MAX_TOKEN_BYTES {
        return Ok(false);
    }
    let hash = hex(&hash_of(token));
    let ended = control.store.delete_token(&hash).await.map_err(AuthError::Store)?;
    control.identity.cache.clear();
    Ok(ended)
}

/// Decides whether a stored token is valid at `now`.
fn granted(view: TokenView, now: Timestamp) -> Option<Grant> {
    let TokenView { token, user_name, user_enabled, project, roles, credential } = view;
    if now >= token.expires_at || !user_enabled {
        return None;
    }
    let credential = match (token.application_credential, credential) {
        (None, _) => None,
        (Some(id), Some(facts)) if facts.expires_at.is_none_or(|end| now < end) => {
            Some(GrantedCredential { id, name: facts.name, unrestricted: facts.unrestricted })
        }
        (Some(_), _) => return None,
    };
    let project = match (token.project, project) {
        (None, _) => None,
        (Some(id), Some((name, true))) if !roles.is_empty() => {
            Some(ScopedProject { id, name, roles })
        }
        (Some(_), _) => return None,
    };
    let mut audit_ids = vec![token.audit_id];
    audit_ids.extend(token.parent_audit_id);
    Some(Grant {
        user_id: token.user,
        user_name,
        project,
        methods: token.methods.split(',').map(str::to_owned).collect(),
        audit_ids,
        issued_at: token.issued_at,
        expires_at: token.expires_at,
        credential,
    })
}

/// What a token is remembered by.
pub(crate) fn hash_of(token: &str) -> TokenHash {
    *blake3::hash(token.as_bytes()).as_bytes()
}

fn hex(hash: &TokenHash) -> String {
    blake3::Hash::from_bytes(*hash).to_hex().to_string()
}

#[cfg(test)]
pub(super) mod tests {
    use reprieve_store::identity::CredentialFacts;

    use super::*;

    pub(in super::super) fn grant(expires_at: Timestamp) -> Grant {
        granted(view(expires_at), Timestamp::from_micros(0)).unwrap()
    }

    fn view(expires_at: Timestamp) -> TokenView {
        TokenView {
            token: TokenRecord {
                hash: String::new(),
                user: "u".into(),
                project: Some("p".into()),
                methods: "password,token".into(),
                audit_id: "second".into(),
                parent_audit_id: Some("first".into()),
                issued_at: Timestamp::from_micros(0),
                expires_at,
                application_credential: None,
            },
            user_name: "alice".into(),
            user_enabled: true,
            project: Some(("dev".into(), true)),
            roles: vec![("r".into(), "member".into())],
            credential: None,
        }
    }

    #[test]
    fn a_token_of_a_credential_ends_with_it() {
        let (start, end) = (Timestamp::from_micros(0), Timestamp::from_micros(10));
        let of_credential = |expires_at| {
            let mut view = view(end);
            view.token.application_credential = Some("c".into());
            let facts = CredentialFacts { name: "ci".into(), unrestricted: false, expires_at };
            TokenView { credential: Some(facts), ..view }
        };
        let valid = granted(of_credential(None), start).unwrap();
        assert!(!valid.credential.unwrap().unrestricted);
        let soon = Some(Timestamp::from_micros(5));
        assert!(granted(of_credential(soon), start).is_some());
        assert!(granted(of_credential(soon), Timestamp::from_micros(5)).is_none());
        assert!(granted(TokenView { credential: None, ..of_credential(None) }, start).is_none());
    }

    #[test]
    fn validity_depends_on_time_user_project_and_role() {
        let (start, end) = (Timestamp::from_micros(0), Timestamp::from_micros(10));
        let valid = granted(view(end), start).unwrap();
        assert_eq!(valid.audit_ids, ["second", "first"]);
        assert_eq!(valid.methods, ["password", "token"]);
        assert_eq!(valid.context().unwrap().roles, ["member"]);
        assert!(granted(view(end), end).is_none());
        assert!(granted(TokenView { user_enabled: false, ..view(end) }, start).is_none());
        let disabled = Some(("dev".to_owned(), false));
        assert!(granted(TokenView { project: disabled, ..view(end) }, start).is_none());
        assert!(granted(TokenView { roles: Vec::new(), ..view(end) }, start).is_none());
    }

    #[test]
    fn a_token_never_shows_in_debug_output() {
        assert_eq!(format!("{:?}", TokenSecret("s3cret".into())), "[token]");
    }
}
