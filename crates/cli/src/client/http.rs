//! One HTTP exchange, with a deadline and a bounded answer.

use std::cell::OnceCell;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Client, Method, RequestBuilder, Response, Url};
use serde_json::Value;

use super::{ClientError, Service};
use crate::config::Cloud;

/// To establish a connection.
pub const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// For a whole exchange that moves no image.
pub const TOTAL_LIMIT: Duration = Duration::from_secs(60);

/// Largest answer that is kept in memory: thousands of servers with all details.
const MAX_ANSWER: usize = 64 << 20;

/// Makes connections.
pub struct Http {
    cacert: Option<Vec<u8>>,
    verify: bool,
    verbose: bool,
    direct: OnceCell<Client>,
    proxied: OnceCell<Client>,
}

/// What to send.
pub struct Call<'a> {
    /// To whom, for messages.
    pub service: Service,
    /// Method.
    pub method: Method,
    /// Whole URL.
    pub url: &'a str,
    /// Headers.
    pub headers: HeaderMap,
    /// JSON body.
    pub body: Option<&'a Value>,
}

/// A whole answer.
pub struct Answer {
    /// Status.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// Body, as received.
    pub body: Bytes,
    /// The service's name for this request.
    pub request_id: Option<String>,
}

/// Has the service's name for the request.
pub fn request_id(headers: &HeaderMap) -> Option<String> {
    let value =
        headers.get("x-openstack-request-id").or_else(|| headers.get("x-compute-request-id"))?;
    Some(value.to_str().ok()?.chars().filter(|c| !c.is_control()).take(80).collect())
}

/// A header value that reqwest and hyper keep out of their own debug output.
pub fn secret_header(text: &str) -> Result<HeaderValue, ClientError> {
    let mut value = HeaderValue::from_str(text)
        .map_err(|_| ClientError::Local { what: "the token has characters no token has".into() })?;
    value.set_sensitive(true);
    Ok(value)
}

impl Http {
    /// For the services of `cloud`.
    ///
    /// # Errors
    /// When the file with trusted certificates cannot be read.
    pub fn new(cloud: &Cloud, verbose: bool) -> Result<Self, ClientError> {
        let read = |path: &std::path::PathBuf| {
            std::fs::read(path).map_err(|source| ClientError::File {
                action: "read",
                path: path.display().to_string(),
                source,
            })
        };
        Ok(Self {
            cacert: cloud.cacert.as_ref().map(read).transpose()?,
            verify: cloud.verify,
            verbose,
            direct: OnceCell::new(),
            proxied: OnceCell::new(),
        })
    }

    /// Begins a request; the caller sets its deadline.
    pub fn request(&self, method: Method, url: &str) -> Result<RequestBuilder, ClientError> {
        let parsed = Url::parse(url)
            .map_err(|error| ClientError::Local { what: format!("'{url}' is no URL: {error}") })?;
        Ok(self.client(is_local(&parsed))?.request(method, parsed))
    }

    /// A proxy cannot reach this machine's loopback, so its services are asked directly.
    fn client(&self, local: bool) -> Result<&Client, ClientError> {
        let cell = if local { &self.direct } else { &self.proxied };
        if let Some(client) = cell.get() {
            return Ok(client);
        }
        let failed = |error: reqwest::Error| ClientError::Local {
            what: format!("cannot set up HTTP: {}", innermost(&error)),
        };
        let mut builder = Client::builder()
            .connect_timeout(CONNECT_LIMIT)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("reprieve/", env!("CARGO_PKG_VERSION")))
            .tls_danger_accept_invalid_certs(!self.verify);
        if local {
            builder = builder.no_proxy();
        }
        if let Some(pem) = &self.cacert {
            let certificates = reqwest::Certificate::from_pem_bundle(pem).map_err(failed)?;
            builder = builder.tls_certs_merge(certificates);
        }
        let client = builder.build().map_err(failed)?;
        Ok(cell.get_or_init(|| client))
    }

    /// One exchange with a JSON body either way.
    ///
    /// # Errors
    /// When there is no answer; a refusal is an answer.
    pub async fn exchange(&self, call: &Call<'_>) -> Result<Answer, ClientError> {
        let begun = Instant::now();
        let mut request = self
            .request(call.method.clone(), call.url)?
            .headers(call.headers.clone())
            .header("accept", "application/json")
            .timeout(TOTAL_LIMIT);
        if let Some(body) = call.body {
            request = request.json(body);
        }
        let place = Place::of(call.service, call.url);
        let response = request.send().await.map_err(|error| place.failure(&error))?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = collect(response, &place).await?;
        let request_id = request_id(&headers);
        if self.verbose {
            let millis = begun.elapsed().as_millis();
            let id = request_id.as_deref().unwrap_or("-");
            eprintln!("{} {} {status} {millis} ms {id}", call.method, call.url);
        }
        Ok(Answer { status, headers, body, request_id })
    }
}

/// Reads a bounded body.
async fn collect(mut response: Response, place: &Place) -> Result<Bytes, ClientError> {
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| place.failure(&error))? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(place.bad_answer(format!("it is larger than {MAX_ANSWER} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// Whom a message is about.
#[derive(Debug, Clone)]
pub struct Place {
    service: Service,
    url: String,
}

impl Place {
    /// Service and origin of a URL; the path is of no use to the reader.
    pub fn of(service: Service, url: &str) -> Self {
        let origin = Url::parse(url).map(|url| url.origin().ascii_serialization());
        Self { service, url: origin.unwrap_or_else(|_| url.to_owned()) }
    }

    /// What a failed exchange means.
    pub fn failure(&self, error: &reqwest::Error) -> ClientError {
        let (service, url) = (self.service, self.url.clone());
        if error.is_connect() {
            let reason = if error.is_timeout() {
                format!("no connection within {} s", CONNECT_LIMIT.as_secs())
            } else {
                innermost(error)
            };
            ClientError::Unreachable { service, url, reason }
        } else if error.is_timeout() {
            ClientError::TimedOut { service, url, limit: TOTAL_LIMIT }
        } else {
            ClientError::Broken { service, url, reason: innermost(error) }
        }
    }

    /// No sign of life for `limit`.
    pub fn stalled(&self, limit: Duration) -> ClientError {
        ClientError::Stalled { url: self.url.clone(), limit }
    }

    /// Not what the API promises.
    pub fn bad_answer(&self, reason: String) -> ClientError {
        ClientError::BadAnswer { service: self.service, url: self.url.clone(), reason }
    }
}

/// The cause at the end of the chain: `Connection refused (os error 111)`.
fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

fn is_local(url: &Url) -> bool {
    let Some(host) = url.host_str() else { return false };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_local() {
        let local = |text: &str| is_local(&Url::parse(text).unwrap());
        for url in
            ["http://localhost:8774/x", "http://127.0.0.1", "http://127.8.0.1", "http://[::1]:1/"]
        {
            assert!(local(url), "{url}");
        }
        for url in
            ["http://localhost.example.org", "http://10.0.0.1", "https://cloud", "http://[::2]/"]
        {
            assert!(!local(url), "{url}");
        }
    }

    #[test]
    fn a_request_id_cannot_carry_escapes() {
        let mut headers = HeaderMap::new();
        headers.insert("x-openstack-request-id", HeaderValue::from_static("req-1"));
        assert_eq!(request_id(&headers).as_deref(), Some("req-1"));
        assert_eq!(request_id(&HeaderMap::new()), None);
    }
}
