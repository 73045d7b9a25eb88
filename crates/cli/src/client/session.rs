//! Authenticated calls to the services of one cloud.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Method, RequestBuilder};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::http::{Answer, Call, Http, Place, secret_header};
use super::identity::{self, Token};
use super::{ClientError, Rejection, Service};
use crate::config::Cloud;

/// The newest compute microversion `2.N` whose rules this program follows.
const NEWEST_MINOR: u16 = 104;

/// A token and connections. Lives on one thread.
pub struct Session {
    cloud: Cloud,
    http: Http,
    token: RefCell<Rc<Token>>,
    minor: Cell<u16>,
    deadline: Option<u32>,
}

impl Session {
    /// Authenticates.
    ///
    /// # Errors
    /// See [`identity::authenticate`].
    pub async fn open(cloud: Cloud, verbose: bool) -> Result<Self, ClientError> {
        let http = Http::new(&cloud, verbose)?;
        let token = identity::authenticate(&http, &cloud).await?;
        Ok(Self {
            cloud,
            http,
            token: RefCell::new(Rc::new(token)),
            minor: Cell::new(NEWEST_MINOR),
            deadline: None,
        })
    }

    /// Asks for operations that end if no host has taken them after so many seconds.
    pub fn with_deadline(self, deadline: Option<u32>) -> Self {
        Self { deadline, ..self }
    }

    /// The token in use.
    pub fn token(&self) -> Rc<Token> {
        Rc::clone(&self.token.borrow())
    }

    /// GET, and the JSON that came.
    pub async fn get<T: DeserializeOwned>(
        &self,
        service: Service,
        path: &str,
    ) -> Result<T, ClientError> {
        let answer = self.call(service, Method::GET, path, None).await?;
        self.json(service, &answer)
    }

    /// POST, and the JSON that came.
    pub async fn post(
        &self,
        service: Service,
        path: &str,
        body: &Value,
    ) -> Result<Value, ClientError> {
        let answer = self.call(service, Method::POST, path, Some(body)).await?;
        self.json(service, &answer)
    }

    /// DELETE.
    pub async fn delete(&self, service: Service, path: &str) -> Result<Answer, ClientError> {
        self.call(service, Method::DELETE, path, None).await
    }

    /// Reads the JSON of an answer.
    pub fn json<T: DeserializeOwned>(
        &self,
        service: Service,
        answer: &Answer,
    ) -> Result<T, ClientError> {
        serde_json::from_slice(&answer.body).map_err(|error| {
            self.place(service).bad_answer(format!("unexpected content ({error})"))
        })
    }

    /// Name of a service for messages.
    pub fn place(&self, service: Service) -> Place {
        let url = self.token().endpoint(service, &self.cloud);
        Place::of(service, &url.unwrap_or_else(|_| self.cloud.auth_url.clone()))
    }

    /// One call. A token that expired meanwhile is renewed once; a compute service that does not
    /// know our microversion is asked again with its newest.
    ///
    /// # Errors
    /// [`ClientError::Rejected`] for every status of 300 and above.
    pub async fn call(
        &self,
        service: Service,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, ClientError> {
        let mut renewed = false;
        loop {
            let token = self.token();
            let url = format!("{}{path}", token.endpoint(service, &self.cloud)?);
            let mut headers = self.headers(service, &token)?;
            if let Some(seconds) = self.deadline.filter(|_| method != Method::GET) {
                headers.insert("x-reprieve-deadline", seconds.into());
            }
            let call = Call { service, method: method.clone(), url: &url, headers, body };
            let answer = self.http.exchange(&call).await?;
            match answer.status {
                200..300 => return Ok(answer),
                401 if !renewed => {
                    renewed = true;
                    let token = identity::authenticate(&self.http, &self.cloud).await?;
                    self.token.replace(Rc::new(token));
                }
                401 => return Err(identity::refused(&self.cloud, &answer.body)),
                406 if service == Service::Compute && self.step_down(&answer.body) => {}
                status => {
                    let mut rejection = Rejection::new(service, status, &answer.body);
                    rejection.request_id = answer.request_id;
                    return Err(ClientError::Rejected(rejection));
                }
            }
        }
    }

    /// Begins a call whose body is streamed; the caller sees to the deadline.
    pub fn streamed(
        &self,
        service: Service,
        method: Method,
        path: &str,
    ) -> Result<RequestBuilder, ClientError> {
        let token = self.token();
        let url = format!("{}{path}", token.endpoint(service, &self.cloud)?);
        let headers = self.headers(service, &token)?;
        Ok(self.http.request(method, &url)?.headers(headers))
    }

    fn headers(&self, service: Service, token: &Token) -> Result<HeaderMap, ClientError> {
        let mut headers = HeaderMap::new();
        headers.insert("x-auth-token", secret_header(token.secret.expose())?);
        if service == Service::Compute {
            let version = format!("2.{}", self.minor.get());
            for (name, text) in [
                ("openstack-api-version", format!("compute {version}")),
                ("x-openstack-nova-api-version", version.clone()),
            ] {
                if let Ok(value) = HeaderValue::from_str(&text) {
                    headers.insert(name, value);
                }
            }
        }
        Ok(headers)
    }

    /// `Version 2.104 is not supported by the API. Minimum is 2.1 and maximum is 2.93.`
    fn step_down(&self, body: &[u8]) -> bool {
        let message = Rejection::new(Service::Compute, 406, body).message;
        let newest = maximum(&message);
        let lower = newest.filter(|minor| *minor < self.minor.get());
        lower.inspect(|minor| self.minor.set(*minor)).is_some()
    }
}

fn maximum(message: &str) -> Option<u16> {
    let (_, rest) = message.split_once("maximum is 2.")?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_newest_version_of_an_older_service() {
        let text = "Version 2.104 is not supported by the API. Minimum is 2.1 and maximum is 2.93.";
        assert_eq!(maximum(text), Some(93));
        assert_eq!(maximum("no"), None);
    }
}
