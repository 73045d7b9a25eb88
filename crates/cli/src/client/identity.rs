//! Identity v3: from credentials to a token and its catalog.

use std::time::Duration;

use reqwest::Method;
use reqwest::header::HeaderMap;
use serde::Deserialize;
use serde_json::{Value, json};

use super::http::{Answer, Call, Http, Place, secret_header};
use super::{ClientError, Rejection, Service};
use crate::config::{Cloud, CredentialName, Credentials, Domain, Named, Secret};

/// A token and what it says.
pub struct Token {
    /// The token itself.
    pub secret: Secret,
    /// What the service says about it.
    pub body: TokenBody,
}

/// The parts of a token that are needed here.
#[derive(Deserialize)]
pub struct TokenBody {
    /// Until when.
    pub expires_at: Option<String>,
    /// Whose.
    pub user: Option<Owner>,
    /// For which project.
    pub project: Option<Owner>,
    #[serde(default)]
    catalog: Vec<CatalogEntry>,
}

/// A user or project.
#[derive(Deserialize)]
pub struct Owner {
    /// Id.
    pub id: String,
}

#[derive(Deserialize)]
struct CatalogEntry {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    endpoints: Vec<Endpoint>,
}

#[derive(Deserialize)]
struct Endpoint {
    interface: String,
    region: Option<String>,
    region_id: Option<String>,
    url: String,
}

#[derive(Deserialize)]
struct Envelope {
    token: TokenBody,
}

impl Token {
    /// Base URL of a service, without trailing slash.
    ///
    /// # Errors
    /// [`ClientError::NoService`].
    pub fn endpoint(&self, service: Service, cloud: &Cloud) -> Result<String, ClientError> {
        let in_region = |endpoint: &&Endpoint| {
            let region = endpoint.region_id.as_ref().or(endpoint.region.as_ref());
            cloud.region.is_none() || region == cloud.region.as_ref()
        };
        let entries = self.body.catalog.iter().filter(|entry| entry.kind == service.catalog_type());
        let found = entries
            .flat_map(|entry| &entry.endpoints)
            .filter(|endpoint| endpoint.interface == cloud.interface)
            .find(in_region);
        let endpoint = found.ok_or_else(|| ClientError::NoService {
            service,
            interface: cloud.interface.clone(),
            region: cloud.region.clone(),
            auth_url: cloud.auth_url.clone(),
        })?;
        let base = endpoint.url.trim_end_matches('/');
        Ok(match service {
            Service::Image if !base.ends_with("/v2") => format!("{base}/v2"),
            Service::Image | Service::Compute | Service::Identity => base.to_owned(),
            Service::Native => native(base),
        })
    }
}

/// Where our own API is when Nova's is at `compute`: `…/compute/v2.1` or `…/v2.1`, with or without a
/// project.
fn native(compute: &str) -> String {
    let end = ["/v2.1", "/v2"].iter().find_map(|version| {
        let at = compute.rfind(version)?;
        let rest = compute.get(at + version.len()..)?;
        (rest.is_empty() || rest.starts_with('/')).then_some(at)
    });
    let root = end.and_then(|end| compute.get(..end)).unwrap_or(compute);
    let root = root.strip_suffix("/compute").unwrap_or(root);
    format!("{root}/reprieve/v1")
}

fn domain(domain: &Domain) -> Value {
    match domain {
        Domain::Id(id) => json!({ "id": id }),
        Domain::Name(name) => json!({ "name": name }),
    }
}

fn named(thing: &Named) -> Value {
    match thing {
        Named::Id(id) => json!({ "id": id }),
        Named::Name { name, domain: within } => json!({ "name": name, "domain": domain(within) }),
    }
}

fn request_body(cloud: &Cloud) -> Value {
    let identity = match &cloud.credentials {
        Credentials::Password { user, password } => {
            let mut user = named(user);
            if let Some(fields) = user.as_object_mut() {
                fields.insert("password".to_owned(), password.expose().into());
            }
            json!({ "methods": ["password"], "password": { "user": user } })
        }
        Credentials::ApplicationCredential { credential, secret } => {
            let mut given = match credential {
                CredentialName::Id(id) => json!({ "id": id }),
                CredentialName::Name { name, user } => json!({ "name": name, "user": named(user) }),
            };
            if let Some(fields) = given.as_object_mut() {
                fields.insert("secret".to_owned(), secret.expose().into());
            }
            json!({ "methods": ["application_credential"], "application_credential": given })
        }
        Credentials::Token(token) => {
            json!({ "methods": ["token"], "token": { "id": token.expose() } })
        }
    };
    let mut auth = json!({ "identity": identity });
    if let (Some(project), Some(fields)) = (&cloud.project, auth.as_object_mut()) {
        fields.insert("scope".to_owned(), json!({ "project": named(project) }));
    }
    json!({ "auth": auth })
}

/// Gets a token, or asks what a given token says when no other project is wanted.
///
/// # Errors
/// [`ClientError::Unauthorized`] when the credentials are refused.
pub async fn authenticate(http: &Http, cloud: &Cloud) -> Result<Token, ClientError> {
    let url = format!("{}/auth/tokens", cloud.auth_url);
    let body = request_body(cloud);
    let mut call = Call {
        service: Service::Identity,
        method: Method::POST,
        url: &url,
        headers: HeaderMap::new(),
        body: Some(&body),
    };
    let existing = match (&cloud.credentials, &cloud.project) {
        (Credentials::Token(token), None) => Some(token.clone()),
        (
            Credentials::Token(_)
            | Credentials::Password { .. }
            | Credentials::ApplicationCredential { .. },
            _,
        ) => None,
    };
    if let Some(token) = &existing {
        (call.method, call.body) = (Method::GET, None);
        call.headers.insert("x-auth-token", secret_header(token.expose())?);
        call.headers.insert("x-subject-token", secret_header(token.expose())?);
    }
    let place = Place::of(Service::Identity, &url);
    let answer = patiently(http, &call).await?;
    match answer.status {
        200 | 201 => {}
        // A GET of one's own token answers 404 when the token is not valid any more.
        401 | 404 if answer.status == 401 || existing.is_some() => {
            return Err(refused(cloud, &answer.body));
        }
        status => {
            let mut rejection = Rejection::new(Service::Identity, status, &answer.body);
            rejection.request_id = answer.request_id;
            return Err(ClientError::Rejected(rejection));
        }
    }
    let envelope: Envelope = serde_json::from_slice(&answer.body)
        .map_err(|error| place.bad_answer(format!("not a token ({error})")))?;
    let header = answer.headers.get("x-subject-token").and_then(|value| value.to_str().ok());
    let secret = existing
        .or_else(|| header.map(|text| Secret::from(text.to_owned())))
        .ok_or_else(|| place.bad_answer("there is no X-Subject-Token header".to_owned()))?;
    Ok(Token { secret, body: envelope.token })
}

/// Checking passwords is hard work on purpose; a service that is at its limit says 503 and when to
/// come back. A script that runs many commands at once should not notice.
async fn patiently(http: &Http, call: &Call<'_>) -> Result<Answer, ClientError> {
    const TRIES: u32 = 5;
    const LONGEST_PAUSE: Duration = Duration::from_secs(5);
    for _ in 1..TRIES {
        let answer = http.exchange(call).await?;
        let pause = answer.headers.get("retry-after").and_then(|value| value.to_str().ok());
        match pause.and_then(|text| text.parse().ok()) {
            // The pause that the service asked for.
            Some(seconds) if answer.status == 503 => {
                tokio::time::sleep(Duration::from_secs(seconds).min(LONGEST_PAUSE)).await;
            }
            Some(_) | None => return Ok(answer),
        }
    }
    http.exchange(call).await
}

/// The credentials were refused.
pub fn refused(cloud: &Cloud, body: &[u8]) -> ClientError {
    ClientError::Unauthorized {
        auth_url: cloud.auth_url.clone(),
        user: cloud.user().to_owned(),
        origin: cloud.origin.clone(),
        message: Rejection::new(Service::Identity, 401, body).message,
    }
}

#[cfg(test)]
mod tests {
    use super::native;

    #[test]
    fn our_own_api_stands_beside_novas() {
        for compute in [
            "http://cloud:8774/compute/v2.1",
            "http://cloud:8774/v2.1",
            "http://cloud:8774/v2.1/7d5299e8d2bb46d39588f33bd792a1fd",
            "http://cloud:8774/compute/v2/7d52",
            "http://cloud:8774",
        ] {
            assert_eq!(native(compute), "http://cloud:8774/reprieve/v1", "{compute}");
        }
        assert_eq!(native("https://v2.example/nova/v2.1"), "https://v2.example/nova/reprieve/v1");
    }
}
