//! HTTP to other services: deadlines, bounded answers, errors without secrets.

use std::time::Duration;

use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};
use serde_json::Value;

/// To establish a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// For a whole exchange that moves no image.
const TOTAL_LIMIT: Duration = Duration::from_secs(10);
/// How long the data of an image may pause.
const IDLE_LIMIT: Duration = Duration::from_secs(60);
/// Largest answer that is kept in memory; a token with a large catalog is 100 KiB.
const MAX_ANSWER: usize = 1 << 20;
/// The caller's own token.
pub(super) const X_AUTH_TOKEN: HeaderName = HeaderName::from_static("x-auth-token");

/// Why another service did not help.
#[derive(Debug, thiserror::Error)]
pub enum ExternalError {
    /// No connection, or no answer in time.
    #[error("{service} did not answer")]
    Unreachable {
        /// Which service.
        service: &'static str,
        /// Cause.
        #[source]
        source: reqwest::Error,
    },
    /// It answered that it cannot or will not.
    #[error("{service} answered {status}")]
    Refused {
        /// Which service.
        service: &'static str,
        /// Status.
        status: StatusCode,
    },
    /// What it answered makes no sense.
    #[error("{service} gave an answer that cannot be used: {problem}")]
    BadAnswer {
        /// Which service.
        service: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// Keystone does not know the service user, or refused its token twice.
    #[error("Keystone refused the service user; check its credentials and its roles")]
    ServiceUser,
    /// It failed a moment ago and is left alone for a little while.
    #[error("{service} failed a moment ago")]
    Resting {
        /// Which service.
        service: &'static str,
    },
    /// Too many questions at once.
    #[error("too many questions to {service} at once")]
    Busy {
        /// Which service.
        service: &'static str,
    },
    /// HTTP cannot be set up.
    #[error("HTTP cannot be set up")]
    Setup(#[source] reqwest::Error),
    /// Not a URL that a service can have.
    #[error("'{url}' is not an http or https URL of a service")]
    Url {
        /// What was given.
        url: String,
    },
}

/// Makes connections to other services. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Http {
    client: Client,
    /// For a whole exchange that moves no image.
    pub(super) total_limit: Duration,
    /// For a pause in the data of an image.
    pub(super) idle_limit: Duration,
}

impl Http {
    /// Trusts the system's certificates and those in `ca`, in PEM.
    ///
    /// # Errors
    /// [`ExternalError::Setup`].
    pub fn new(ca: Option<&[u8]>) -> Result<Self, ExternalError> {
        // reqwest is built without a TLS provider of its own. That there is one already is fine.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = Client::builder()
            .connect_timeout(CONNECT_LIMIT)
            .redirect(reqwest::redirect::Policy::none())
            // The other services of a cloud are not behind a proxy.
            .no_proxy()
            .user_agent(concat!("reprieved/", env!("CARGO_PKG_VERSION")));
        if let Some(pem) = ca {
            let certificates =
                reqwest::Certificate::from_pem_bundle(pem).map_err(ExternalError::Setup)?;
            builder = builder.tls_certs_merge(certificates);
        }
        let client = builder.build().map_err(ExternalError::Setup)?;
        Ok(Self { client, total_limit: TOTAL_LIMIT, idle_limit: IDLE_LIMIT })
    }

    /// With other deadlines: for a whole exchange that moves no image, and for a pause in the data
    /// of one.
    #[must_use]
    pub fn with_limits(self, total: Duration, idle: Duration) -> Self {
        Self { total_limit: total, idle_limit: idle, ..self }
    }

    /// Sends a request that moves no image.
    pub(super) async fn send(
        &self,
        service: &'static str,
        request: RequestBuilder,
    ) -> Result<Response, ExternalError> {
        request.timeout(self.total_limit).send().await.map_err(unreachable(service))
    }

    pub(super) fn get(&self, url: &str) -> RequestBuilder {
        self.client.get(url)
    }

    pub(super) fn request(&self, method: reqwest::Method, url: &str) -> RequestBuilder {
        self.client.request(method, url)
    }

    pub(super) fn post(&self, url: &str) -> RequestBuilder {
        self.client.post(url)
    }
}

/// A URL without trailing slashes, if it can be that of a service.
pub(super) fn base(url: &str) -> Result<String, ExternalError> {
    let wrong = || ExternalError::Url { url: url.to_owned() };
    let parsed = Url::parse(url).map_err(|_| wrong())?;
    let plain = parsed.query().is_none()
        && parsed.fragment().is_none()
        && parsed.password().is_none()
        && parsed.username().is_empty();
    if !matches!(parsed.scheme(), "http" | "https") || parsed.host_str().is_none() || !plain {
        return Err(wrong());
    }
    Ok(url.trim().trim_end_matches('/').to_owned())
}

/// A header value that is kept out of debug output.
pub(super) fn secret_header(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// A failed exchange. The URL is left out: what it says is in the configuration.
pub(super) fn unreachable(service: &'static str) -> impl Fn(reqwest::Error) -> ExternalError {
    move |source| ExternalError::Unreachable { service, source: source.without_url() }
}

/// The JSON of an answer.
pub(super) async fn json(
    service: &'static str,
    mut response: Response,
) -> Result<Value, ExternalError> {
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(unreachable(service))? {
        if body.len() + piece.len() > MAX_ANSWER {
            return Err(bad(service, "it is too long"));
        }
        body.extend_from_slice(&piece);
    }
    // What the parser quotes may be a secret.
    serde_json::from_slice(&body).map_err(|_| bad(service, "it is not JSON"))
}

pub(super) fn bad(service: &'static str, problem: &str) -> ExternalError {
    ExternalError::BadAnswer { service, problem: problem.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_services() {
        assert_eq!(base("http://k:5000/").unwrap(), "http://k:5000");
        assert_eq!(base("https://k/identity/v3").unwrap(), "https://k/identity/v3");
        for wrong in ["", "k:5000", "ftp://k", "http://", "http://u:p@k", "http://k/?a=b"] {
            assert!(base(wrong).is_err(), "{wrong}");
        }
    }
}
