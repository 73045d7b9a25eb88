//! One request to the compute API after everything that is common to all of them: token, version,
//! content type, body, project in the URL (spec/api.md sections 1 and 3).

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::{HeaderMap, Method, header, request::Parts};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use reprieve_core::policy::Target;
use reprieve_core::{InstanceId, OperationKind, RequestId};
use reprieve_store::InstanceRecord;
use serde_json::Value;

use super::fault::ApiFault;
use super::links::Links;
use super::microversion::{self, Microversion};
use super::policy::Rule;
use super::schema::Family;
use super::servers::view::Renderings;
use super::versioned::{Changes, Parameters, Stepped, Versions};
use super::versions::Generation;
use crate::Control;
use crate::app::identity::TokenSecret;
use crate::app::{self, AppError, servers};
use crate::auth::AuthContext;
use crate::http::body;
use crate::http::notes::Notes;
use crate::http::query::Query;

/// Media types of requests; anything else is refused with 415.
const MEDIA_TYPES: [&str; 3] =
    ["application/json", "application/vnd.openstack.compute+json", "text/plain"];

/// What stands before the routes, as the catalog has it, whatever way a client took.
const ROUTES: &str = "/compute/v2.1";

/// Seconds after which an operation ends as failed that no host has taken.
const DEADLINE: &str = "X-Reprieve-Deadline";
/// A day.
const LONGEST_DEADLINE: u64 = 86400;

/// What the caller asks and who it is. Handlers take it as an argument.
#[derive(Clone)]
pub struct ApiCall {
    /// Services.
    pub control: Arc<Control>,
    /// Who asks.
    pub auth: AuthContext,
    /// With which token, for services that the caller is passed on to.
    pub token: TokenSecret,
    /// Microversion.
    pub version: Microversion,
    /// Makes links.
    pub links: Links,
    /// Query.
    pub query: Query,
    /// Servers as they were last written out.
    pub renderings: Arc<Renderings>,
    /// What others are told about the request.
    pub notes: Notes,
    request_id: RequestId,
    deadline: Option<Duration>,
    body: Option<Arc<Value>>,
}

/// What is known of a request before its route is: put into its extensions by the service.
#[derive(Clone)]
pub struct Entrance {
    /// Makes links.
    pub links: Links,
    /// Who asks.
    pub auth: AuthContext,
    /// With which token.
    pub token: TokenSecret,
    /// Id of the request.
    pub request_id: RequestId,
    /// Servers as they were last written out.
    pub renderings: Arc<Renderings>,
}

impl ApiCall {
    /// For the use cases.
    #[must_use]
    pub fn app(&self) -> app::Call<'_> {
        app::Call {
            control: &self.control,
            auth: &self.auth,
            request_id: &self.request_id,
            deadline: self.deadline,
        }
    }

    /// Refuses a deadline where there is nothing that could be ended at it.
    ///
    /// # Errors
    /// 400.
    pub fn without_deadline(&self) -> Result<(), ApiFault> {
        match self.deadline {
            None => Ok(()),
            Some(_) => Err(ApiFault::bad_request(format!(
                "{DEADLINE} is for operations on a server that exists: delete one whose creation takes \
                 too long."
            ))),
        }
    }

    /// The body, valid by `family`.
    ///
    /// # Errors
    /// 400.
    pub fn body(&self, family: &Family) -> Result<Value, ApiFault> {
        let mut body = self.raw_body();
        let schema = family.at(self.version)?;
        match self.links.generation {
            Generation::V21 => schema.check_body(&body)?,
            Generation::V20 => {
                trim_names(&mut body);
                schema.check_body_leniently(&mut body)?;
            }
        }
        Ok(body)
    }

    /// The body as it came; null when there was none.
    #[must_use]
    pub fn raw_body(&self) -> Value {
        self.body.as_deref().cloned().unwrap_or(Value::Null)
    }

    /// Whether there was a body.
    #[must_use]
    pub const fn has_body(&self) -> bool {
        self.body.is_some()
    }

    /// Checks the query by `family`.
    ///
    /// # Errors
    /// 400.
    pub fn check_query(&self, family: &Family) -> Result<(), ApiFault> {
        family.at(self.version)?.check_query(&self.query.to_json())
    }

    /// Refuses what does not exist in the version asked for.
    ///
    /// # Errors
    /// 404.
    pub fn require(&self, versions: Versions) -> Result<(), ApiFault> {
        if versions.contain(self.version) { Ok(()) } else { Err(ApiFault::no_resource()) }
    }

    /// Whether a rule holds in the version asked for: one of [`rules`](super::versioned::rules).
    #[must_use]
    pub const fn applies(&self, rule: Versions) -> bool {
        rule.contain(self.version)
    }

    /// The query without the parameters that came after the version asked for.
    #[must_use]
    pub fn counting(&self, parameters: &Parameters) -> Query {
        parameters.counting(self.version, &self.query)
    }

    /// An answer about `source` as the version asked for has it, made of its newest form.
    #[must_use]
    pub fn as_asked<S>(&self, changes: &Changes<S>, source: &S, newest: Value) -> Value {
        changes.at(self.version, source, newest)
    }

    /// What a value is in the version asked for.
    #[must_use]
    pub fn value<T: Copy>(&self, stepped: &Stepped<T>) -> T {
        stepped.at(self.version)
    }

    /// Whether an answer in the version asked for can have the field.
    #[must_use]
    pub fn shows<S>(&self, changes: &Changes<S>, field: &str) -> bool {
        changes.shows(self.version, field)
    }

    /// Checks a rule about something of the caller's own.
    ///
    /// # Errors
    /// 403.
    pub fn authorize(&self, rule: Rule) -> Result<(), ApiFault> {
        Ok(self.app().require_own(rule)?)
    }

    /// Checks a rule about something of somebody: a server, or of a project or user.
    ///
    /// # Errors
    /// 403.
    pub fn authorize_about<'t>(
        &self,
        rule: Rule,
        target: impl Into<Target<'t>>,
    ) -> Result<(), ApiFault> {
        Ok(self.app().require(rule, target)?)
    }

    /// Whether a rule about something of somebody holds.
    #[must_use]
    pub fn may<'t>(&self, rule: Rule, target: impl Into<Target<'t>>) -> bool {
        self.app().may(rule, target)
    }

    /// Whether a rule about something of the caller's own holds.
    #[must_use]
    pub fn may_own(&self, rule: Rule) -> bool {
        self.app().may_own(rule)
    }

    /// Most items of a page.
    #[must_use]
    pub fn max_limit(&self) -> u32 {
        self.control.settings.api.max_limit
    }

    /// A query with the most items that a page of its answer has.
    #[must_use]
    pub fn paged<'q>(&self, query: &'q Query) -> (&'q Query, u32) {
        (query, self.max_limit())
    }

    /// Whether projects and locks are no borders for the caller.
    #[must_use]
    pub fn is_admin(&self) -> bool {
        self.app().is_admin()
    }

    /// A server that the caller may see and to which `rule` lets it do something.
    ///
    /// # Errors
    /// 404 before 403, as in Nova.
    pub async fn server(&self, id: &str, rule: Rule) -> Result<InstanceRecord, ApiFault> {
        let server = servers::get(&self.app(), server_id(id)?).await?;
        self.authorize_about(rule, &server)?;
        Ok(server)
    }

    /// Accepts an operation without arguments of a server that the caller may see and to which `rule`
    /// lets it do that, if also something else is true of it, which is told whether the caller is an
    /// administrator.
    ///
    /// # Errors
    /// 404 before 403, as in Nova, before what `condition` says, before what the state machine does.
    pub async fn run<F>(
        &self,
        id: &str,
        (kind, rule): (OperationKind, Rule),
        condition: F,
    ) -> Result<(), ApiFault>
    where
        F: Fn(&InstanceRecord, bool) -> Result<(), AppError> + Send + Sync + 'static,
    {
        let (control, auth) = (Arc::clone(&self.control), self.auth.clone());
        let request_id = self.request_id.clone();
        let condition = move |server: &InstanceRecord| {
            let (auth, request_id) = (&auth, &request_id);
            let call = app::Call { control: &control, auth, request_id, deadline: None };
            call.require(rule, server)?;
            condition(server, call.is_admin())
        };
        Ok(servers::run_if(&self.app(), server_id(id)?, kind, condition).await?)
    }
}

/// The id of a server in a URL.
///
/// # Errors
/// 404 for a text that is no id, because nothing can be there.
pub fn server_id(text: &str) -> Result<InstanceId, ApiFault> {
    text.parse().map_err(|_| ApiFault::not_found(format!("Instance {text} could not be found.")))
}

/// `/v2` allowed white space around names.
fn trim_names(body: &mut Value) {
    let Some(things) = body.as_object_mut() else { return };
    for thing in things.values_mut() {
        if let Some(Value::String(name)) = thing.get_mut("name") {
            *name = name.trim().to_owned();
        }
    }
}

impl From<AppError> for ApiFault {
    fn from(error: AppError) -> Self {
        match &error {
            AppError::NotFound(_) => Self::not_found(error.to_string()),
            AppError::BadRequest(_) => Self::bad_request(error.to_string()),
            AppError::Forbidden(_) | AppError::QuotaExceeded(_) => {
                Self::forbidden(error.to_string())
            }
            AppError::Conflict(_) | AppError::Denied(_) => Self::conflict(error.to_string()),
            AppError::Unavailable { .. } => Self::unavailable(&error),
            AppError::Internal { .. } => Self::unexpected(&error),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for ApiCall {
    type Rejection = ApiFault;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiFault> {
        parts.extensions.get::<Self>().cloned().ok_or_else(ApiFault::internal)
    }
}

/// Middleware of every existing route: makes the [`ApiCall`], and names the version in the answer.
pub async fn prepare(
    State(control): State<Arc<Control>>,
    mut request: Request,
    next: Next,
) -> Response {
    Notes::matched(request.extensions(), ROUTES);
    let notes = Notes::of(request.extensions());
    let Some(entrance) = request.extensions_mut().remove::<Entrance>() else {
        return ApiFault::internal().into_response();
    };
    let generation = entrance.links.generation;
    let negotiated = match generation {
        Generation::V20 => Ok(Microversion::MIN),
        Generation::V21 => Microversion::negotiate(request.headers()),
    };
    let version = match negotiated {
        Ok(version) => version,
        Err(rejected) => return ApiFault::from(rejected).into_response(),
    };
    let mut response = match understand(control, entrance, version, &mut request).await {
        Ok(call) => {
            request.extensions_mut().insert(ApiCall { notes, ..call });
            next.run(request).await
        }
        Err(fault) => fault.into_response(),
    };
    if generation == Generation::V21 {
        for (name, value) in microversion::headers(&version.to_string()) {
            response.headers_mut().append(name, value);
        }
    }
    response
}

async fn understand(
    control: Arc<Control>,
    entrance: Entrance,
    version: Microversion,
    request: &mut Request,
) -> Result<ApiCall, ApiFault> {
    check_media_type(request.headers())?;
    let deadline = deadline(request.headers())?;
    let body = match *request.method() {
        Method::POST | Method::PUT => {
            let unread = std::mem::take(request.body_mut());
            parse(&body::read(unread, body::COMPUTE_LIMIT).await?)?
        }
        _ => None,
    };
    let Entrance { links, auth, token, request_id, renderings } = entrance;
    if let Some(project) = links.project.as_deref().filter(|id| *id != auth.project_id.as_str()) {
        return Err(ApiFault::bad_request(format!(
            "Malformed request URL: URL's project_id '{project}' doesn't match Context's \
             project_id '{}'",
            auth.project_id
        )));
    }
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let notes = Notes::default();
    Ok(ApiCall {
        control,
        auth,
        token,
        version,
        links,
        query,
        renderings,
        notes,
        request_id,
        deadline,
        body,
    })
}

/// How long the operation may wait for its host, as its user wants it.
fn deadline(headers: &HeaderMap) -> Result<Option<Duration>, ApiFault> {
    let Some(value) = headers.get(DEADLINE) else { return Ok(None) };
    let seconds = value.to_str().ok().and_then(|text| text.trim().parse().ok());
    match seconds {
        Some(seconds @ 1..=LONGEST_DEADLINE) => Ok(Some(Duration::from_secs(seconds))),
        Some(_) | None => Err(ApiFault::bad_request(format!(
            "{DEADLINE} has to be a whole number of seconds from 1 to {LONGEST_DEADLINE}."
        ))),
    }
}

fn parse(bytes: &Bytes) -> Result<Option<Arc<Value>>, ApiFault> {
    if bytes.is_empty() {
        return Ok(None);
    }
    serde_json::from_slice(bytes)
        .map(|value| Some(Arc::new(value)))
        .map_err(|_| ApiFault::bad_request("Malformed request body"))
}

fn check_media_type(headers: &HeaderMap) -> Result<(), ApiFault> {
    let Some(given) = headers.get(header::CONTENT_TYPE) else { return Ok(()) };
    let text = given.to_str().unwrap_or("?");
    let media_type = text.split(';').next().unwrap_or_default().trim();
    let known = media_type.is_empty()
        || MEDIA_TYPES.iter().any(|known| known.eq_ignore_ascii_case(media_type));
    if known { Ok(()) } else { Err(ApiFault::unsupported_media_type()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn media_types() {
        let check = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_str(text).unwrap());
            check_media_type(&headers)
        };
        for good in ["application/json", "Application/JSON; charset=utf-8", "text/plain", ""] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in ["application/xml", "text/html", "application/jsonx"] {
            assert_eq!(check(bad).unwrap_err().status().as_u16(), 415, "{bad}");
        }
        assert_eq!(check_media_type(&HeaderMap::new()), Ok(()));
    }

    #[test]
    fn deep_nesting_is_malformed_not_fatal() {
        let deep = Bytes::from("[".repeat(100_000));
        assert_eq!(parse(&deep).unwrap_err().message(), "Malformed request body");
        assert!(parse(&Bytes::new()).unwrap().is_none());
    }
}
