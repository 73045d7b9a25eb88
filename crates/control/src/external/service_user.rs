//! The user as which this daemon asks other services, and its token.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reprieve_core::{Clock, Timestamp};
use reqwest::StatusCode;
use reqwest::header::HeaderValue;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::http::{self, ExternalError, Http, bad};
use super::keystone::KEYSTONE;

/// How long before its end a token is replaced.
const MARGIN: Duration = Duration::from_secs(60);
/// How long Keystone is left alone after it did not answer.
const PAUSE: Duration = Duration::from_secs(1);
/// And after it refused the service user, so that the account is not locked.
const PAUSE_AFTER_REFUSAL: Duration = Duration::from_secs(15);

/// Credentials of the service user.
#[derive(Clone)]
pub struct ServiceUser {
    auth: Value,
}

impl fmt::Debug for ServiceUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[service user]")
    }
}

/// What is wrong with the service user's credentials. Never says what stands there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServiceUserError {
    /// Not a mapping.
    #[error("it must be a YAML mapping with the keys that 'auth' has in clouds.yaml")]
    Form,
    /// A key has the wrong kind of value.
    #[error("'{0}' must be a text")]
    Kind(&'static str),
    /// Keys are missing.
    #[error(
        "it needs username, password and project_name (and user_domain_name, project_domain_name \
         when they are not Default), or application_credential_id and application_credential_secret"
    )]
    Incomplete,
}

impl ServiceUser {
    /// Reads what stands below `auth` in a clouds.yaml.
    ///
    /// # Errors
    /// [`ServiceUserError`].
    pub fn parse(text: &str) -> Result<Self, ServiceUserError> {
        let keys: Value = serde_saphyr::from_str(text).map_err(|_| ServiceUserError::Form)?;
        if !keys.is_object() {
            return Err(ServiceUserError::Form);
        }
        let get = |key: &'static str| match keys.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            // YAML takes a password of digits for a number.
            Some(Value::Number(number)) => Ok(Some(number.to_string())),
            Some(_) => Err(ServiceUserError::Kind(key)),
        };
        if let (Some(id), Some(secret)) =
            (get("application_credential_id")?, get("application_credential_secret")?)
        {
            let auth = json!({"identity": {
                "methods": ["application_credential"],
                "application_credential": {"id": id, "secret": secret},
            }});
            return Ok(Self { auth });
        }
        let named = |id: Option<String>, name: Option<String>, domain: Value| match (id, name) {
            (Some(id), _) => Ok(json!({ "id": id })),
            (None, Some(name)) => Ok(json!({"name": name, "domain": domain})),
            (None, None) => Err(ServiceUserError::Incomplete),
        };
        let domain = |id: Option<String>, name: Option<String>| match (id, name) {
            (Some(id), _) => json!({ "id": id }),
            (None, Some(name)) => json!({ "name": name }),
            (None, None) => json!({"id": "default"}),
        };
        let user_domain = domain(get("user_domain_id")?, get("user_domain_name")?);
        let project_domain = domain(get("project_domain_id")?, get("project_domain_name")?);
        let mut user = named(get("user_id")?, get("username")?, user_domain)?;
        let project = named(get("project_id")?, get("project_name")?, project_domain)?;
        let password = get("password")?.ok_or(ServiceUserError::Incomplete)?;
        if let Some(members) = user.as_object_mut() {
            members.insert("password".to_owned(), password.into());
        }
        let auth = json!({
            "identity": {"methods": ["password"], "password": { "user": user }},
            "scope": { "project": project },
        });
        Ok(Self { auth })
    }
}

/// A token of the service user.
#[derive(Clone)]
pub(super) struct ServiceToken {
    pub header: HeaderValue,
    renew_at: Timestamp,
    /// Tells it from the tokens before and after it.
    number: u64,
}

#[derive(Default)]
struct State {
    token: Option<ServiceToken>,
    issued: u64,
    rest_until: Option<Timestamp>,
}

/// The service user's token, renewed when it has to be. One for all who ask in its name.
pub struct ServiceSession {
    http: Http,
    /// Ends in `/v3`.
    keystone: String,
    user: ServiceUser,
    clock: Arc<dyn Clock>,
    /// Held while a token is fetched, so that one is fetched for all who wait.
    state: Mutex<State>,
}

impl ServiceSession {
    /// A session with the Keystone at `keystone`; asks for nothing yet.
    ///
    /// # Errors
    /// [`ExternalError::Url`].
    pub fn new(
        http: Http,
        keystone: &str,
        user: ServiceUser,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ExternalError> {
        let base = http::base(keystone)?;
        let keystone = if base.ends_with("/v3") { base } else { format!("{base}/v3") };
        Ok(Self { http, keystone, user, clock, state: Mutex::default() })
    }

    /// Base of Keystone's API, ending in `/v3`.
    pub(super) fn keystone(&self) -> &str {
        &self.keystone
    }

    pub(super) fn http(&self) -> &Http {
        &self.http
    }

    pub(super) fn clock(&self) -> &dyn Clock {
        self.clock.as_ref()
    }

    /// A token that is good for a while.
    pub(super) async fn token(&self) -> Result<ServiceToken, ExternalError> {
        let mut state = self.state.lock().await;
        let now = self.clock.now();
        match &state.token {
            Some(token) if now < token.renew_at => Ok(token.clone()),
            Some(_) | None => self.fetch(&mut state).await,
        }
    }

    /// Another token than `old`, which was refused.
    pub(super) async fn instead_of(
        &self,
        old: &ServiceToken,
    ) -> Result<ServiceToken, ExternalError> {
        let mut state = self.state.lock().await;
        match &state.token {
            Some(token) if token.number != old.number => Ok(token.clone()),
            Some(_) | None => {
                state.token = None;
                self.fetch(&mut state).await
            }
        }
    }

    async fn fetch(&self, state: &mut State) -> Result<ServiceToken, ExternalError> {
        let now = self.clock.now();
        if state.rest_until.is_some_and(|end| now < end) {
            return Err(ExternalError::Resting { service: KEYSTONE });
        }
        match self.log_in(now).await {
            Ok((header, renew_at)) => {
                state.issued = state.issued.wrapping_add(1);
                let token = ServiceToken { header, renew_at, number: state.issued };
                state.token = Some(token.clone());
                state.rest_until = None;
                Ok(token)
            }
            Err(error) => {
                let pause = match error {
                    ExternalError::ServiceUser => PAUSE_AFTER_REFUSAL,
                    _ => PAUSE,
                };
                state.rest_until = Some(self.clock.now().plus(pause));
                Err(error)
            }
        }
    }

    async fn log_in(&self, now: Timestamp) -> Result<(HeaderValue, Timestamp), ExternalError> {
        let url = format!("{}/auth/tokens?nocatalog", self.keystone);
        let body = json!({ "auth": self.user.auth });
        let response = self.http.send(KEYSTONE, self.http.post(&url).json(&body)).await?;
        match response.status() {
            StatusCode::CREATED => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                return Err(ExternalError::ServiceUser);
            }
            status => return Err(ExternalError::Refused { service: KEYSTONE, status }),
        }
        let secret = response.headers().get("x-subject-token").cloned();
        let mut secret = secret.ok_or_else(|| bad(KEYSTONE, "X-Subject-Token is missing"))?;
        secret.set_sensitive(true);
        let body = http::json(KEYSTONE, response).await?;
        let end = body.pointer("/token/expires_at").and_then(Value::as_str);
        let end = end.and_then(Timestamp::parse_iso);
        let end = end.ok_or_else(|| bad(KEYSTONE, "the token has no expires_at"))?;
        if end <= now {
            return Err(bad(KEYSTONE, "the token has ended already; check both clocks"));
        }
        let margin = i64::try_from(MARGIN.as_micros()).unwrap_or(i64::MAX);
        // A token that lives shorter than the margin is used for half of its life.
        let half = now.micros().saturating_add((end.micros() - now.micros()) / 2);
        let renew_at = Timestamp::from_micros(end.micros().saturating_sub(margin).max(half));
        Ok((secret, renew_at))
    }
}

/// So that logs of whatever holds a session stay free of secrets.
impl fmt::Debug for ServiceSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceSession").field("keystone", &self.keystone).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_read_as_in_clouds_yaml() {
        let user = ServiceUser::parse(
            "username: nova\npassword: 12345\nproject_name: service\nuser_domain_name: Default\n",
        )
        .unwrap();
        assert_eq!(
            user.auth,
            json!({
                "identity": {"methods": ["password"], "password": {"user": {
                    "name": "nova", "domain": {"name": "Default"}, "password": "12345"}}},
                "scope": {"project": {"name": "service", "domain": {"id": "default"}}},
            })
        );
        let credential = ServiceUser::parse(
            "{application_credential_id: abc, application_credential_secret: xyz}",
        )
        .unwrap();
        assert_eq!(credential.auth["identity"]["application_credential"]["id"], "abc");
        assert!(credential.auth.get("scope").is_none());
        assert_eq!(format!("{user:?}{credential:?}"), "[service user][service user]");
    }

    #[test]
    fn mistakes_are_named_without_what_stands_there() {
        for (text, error) in [
            ("", ServiceUserError::Form),
            ("hunter2", ServiceUserError::Form),
            ("username: [a", ServiceUserError::Form),
            ("username: nova\nproject_name: service", ServiceUserError::Incomplete),
            ("password: hunter2", ServiceUserError::Incomplete),
            (
                "username: nova\nproject_name: service\npassword: [hunter2]",
                ServiceUserError::Kind("password"),
            ),
        ] {
            let refused = ServiceUser::parse(text).unwrap_err();
            assert_eq!(refused, error, "{text}");
            assert!(!refused.to_string().contains("hunter2"));
        }
    }
}
