//! Tokens are checked by a Keystone that is there already.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reprieve_core::{ProjectId, Timestamp};
use reqwest::header::HeaderValue;
use reqwest::{Response, StatusCode};
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::http::{self, ExternalError, X_AUTH_TOKEN, bad, secret_header};
use super::service_user::ServiceSession;
use crate::Control;
use crate::app::identity::{
    AuthError, Grant, GrantedCredential, IdentityBackend, ScopedProject, TokenCache, hash_of,
};

/// Name in messages.
pub(super) const KEYSTONE: &str = "Keystone";
/// How long a token is believed after it was checked: as long a revoked one may still be used.
const TTL: Duration = Duration::from_secs(30);
/// Longest token text that is sent on; Fernet tokens have some 250 characters, JWS ones a thousand.
const MAX_TOKEN_BYTES: usize = 4096;
/// Longest id of a project that is asked about.
const MAX_ID_BYTES: usize = 64;
/// Questions at once. Those who wait find what others have asked meanwhile in the cache.
const AT_ONCE: usize = 32;

/// A Keystone.
pub struct Keystone {
    session: Arc<ServiceSession>,
    cache: TokenCache,
    asking: Semaphore,
}

impl Keystone {
    /// Asks in the name of the session's service user.
    #[must_use]
    pub fn new(session: Arc<ServiceSession>) -> Self {
        Self { session, cache: TokenCache::new(TTL), asking: Semaphore::new(AT_ONCE) }
    }

    /// Makes sure that the service user can log in.
    ///
    /// # Errors
    /// [`ExternalError`].
    pub async fn check(&self) -> Result<(), ExternalError> {
        self.session.token().await.map(drop)
    }

    async fn ask(&self, token: &str) -> Result<Option<Grant>, ExternalError> {
        let subject = secret_header(token);
        let subject = subject.ok_or_else(|| bad(KEYSTONE, "the token cannot be sent"))?;
        let response = self.get("auth/tokens?nocatalog", Some(subject)).await?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(None),
            StatusCode::FORBIDDEN => return Err(ExternalError::ServiceUser),
            status => return Err(ExternalError::Refused { service: KEYSTONE, status }),
        }
        let body = http::json(KEYSTONE, response).await?;
        let token = body.get("token").ok_or_else(|| bad(KEYSTONE, "it has no 'token'"))?;
        read(token).map(Some)
    }

    async fn look_for(&self, project: &ProjectId) -> Result<bool, ExternalError> {
        // What comes from a URL must not become another path.
        let safe = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let text = project.as_str();
        if text.is_empty() || text.len() > MAX_ID_BYTES || !text.bytes().all(safe) {
            return Ok(false);
        }
        let response = self.get(&format!("projects/{text}"), None).await?;
        match response.status() {
            // Forbidden: it cannot be known. Nova takes it for a project then, too.
            StatusCode::OK | StatusCode::FORBIDDEN => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            status => Err(ExternalError::Refused { service: KEYSTONE, status }),
        }
    }

    /// GET as the service user, whose token is renewed once.
    async fn get(
        &self,
        path: &str,
        subject: Option<HeaderValue>,
    ) -> Result<Response, ExternalError> {
        let url = format!("{}/{path}", self.session.keystone());
        let mut service = self.session.token().await?;
        for last in [false, true] {
            let request = self.session.http().get(&url);
            let mut request = request.header(X_AUTH_TOKEN, service.header.clone());
            if let Some(subject) = &subject {
                request = request.header("x-subject-token", subject.clone());
            }
            let response = self.session.http().send(KEYSTONE, request).await?;
            if response.status() != StatusCode::UNAUTHORIZED {
                return Ok(response);
            }
            if !last {
                service = self.session.instead_of(&service).await?;
            }
        }
        Err(ExternalError::ServiceUser)
    }
}

#[async_trait]
impl IdentityBackend for Keystone {
    async fn grant(&self, _control: &Control, token: &str) -> Result<Arc<Grant>, AuthError> {
        let possible = !token.is_empty()
            && token.len() <= MAX_TOKEN_BYTES
            && token.bytes().all(|byte| byte.is_ascii_graphic());
        if !possible {
            return Err(AuthError::Unauthenticated);
        }
        let hash = hash_of(token);
        if let Some(grant) = self.cache.get(&hash, self.session.clock().now()) {
            return Ok(grant);
        }
        let busy = || AuthError::Unavailable(Box::new(ExternalError::Busy { service: KEYSTONE }));
        let turn = timeout(self.session.http().total_limit, self.asking.acquire()).await;
        let _turn = turn.map_err(|_| busy())?.map_err(|_| busy())?;
        if let Some(grant) = self.cache.get(&hash, self.session.clock().now()) {
            return Ok(grant);
        }
        let generation = self.cache.generation();
        let answer = self.ask(token).await;
        let found = answer.map_err(|error| AuthError::Unavailable(Box::new(error)))?;
        let now = self.session.clock().now();
        let grant = found.filter(|grant| now < grant.expires_at);
        let grant = Arc::new(grant.ok_or(AuthError::Unauthenticated)?);
        self.cache.put(hash, Arc::clone(&grant), generation, now);
        Ok(grant)
    }

    async fn has_project(&self, _: &Control, project: &ProjectId) -> Result<bool, AuthError> {
        let found = self.look_for(project).await;
        found.map_err(|error| AuthError::Unavailable(Box::new(error)))
    }

    fn external_url(&self) -> Option<&str> {
        Some(self.session.keystone())
    }
}

/// What Keystone says of a token.
fn read(token: &Value) -> Result<Grant, ExternalError> {
    let text = |pointer: &str| token.pointer(pointer).and_then(Value::as_str);
    let missing = |what: &str| bad(KEYSTONE, &format!("the token has no usable {what}"));
    let time = |pointer: &str| text(pointer).and_then(Timestamp::parse_iso);
    let project = match (text("/project/id"), text("/project/name")) {
        (Some(id), Some(name)) => Some(ScopedProject {
            id: id.into(),
            name: name.to_owned(),
            roles: pairs(token.get("roles")).ok_or_else(|| missing("roles"))?,
        }),
        // A token of the system or a domain, or without a scope.
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => return Err(missing("project")),
    };
    let credential = token.get("application_credential").and_then(|credential| {
        let text = |name: &str| credential.get(name).and_then(Value::as_str).map(str::to_owned);
        let restricted = credential.get("restricted").and_then(Value::as_bool).unwrap_or(true);
        Some(GrantedCredential { id: text("id")?, name: text("name")?, unrestricted: !restricted })
    });
    let texts = |name: &str| -> Vec<String> {
        let values = token.get(name).and_then(Value::as_array);
        values.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    Ok(Grant {
        user_id: text("/user/id").ok_or_else(|| missing("user"))?.into(),
        user_name: text("/user/name").ok_or_else(|| missing("user"))?.to_owned(),
        project,
        methods: texts("methods"),
        audit_ids: texts("audit_ids"),
        issued_at: time("/issued_at").ok_or_else(|| missing("issued_at"))?,
        expires_at: time("/expires_at").ok_or_else(|| missing("expires_at"))?,
        credential,
    })
}

/// Ids and names of a list of objects.
fn pairs(list: Option<&Value>) -> Option<Vec<(String, String)>> {
    let read = |one: &Value| {
        let text = |name: &str| one.get(name).and_then(Value::as_str).map(str::to_owned);
        Some((text("id")?, text("name")?))
    };
    list?.as_array()?.iter().map(read).collect()
}
