//! A small server that answers as Keystone and Glance do, and misbehaves when told to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use futures_util::StreamExt as _;
use reprieve_core::Timestamp;
use serde_json::{Value, json};
use tokio_util::task::AbortOnDropHandle;

/// The service user's password.
pub const PASSWORD: &str = "the-service-password";

/// How an answer goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// No answer at all.
    Silence,
    /// This status without a useful body.
    Status(u16),
    /// 200 with this body.
    Nonsense(String),
    /// Image data that stops after the first half.
    Stall,
    /// Image data that ends after the first half.
    Short,
    /// Image data that goes on.
    Long,
}

#[derive(Default)]
pub struct Known {
    /// Service tokens that are valid.
    pub service_tokens: Vec<String>,
    /// When service tokens that are issued end.
    pub service_expiry: String,
    /// Users' tokens and what they say.
    pub tokens: HashMap<String, Value>,
    /// Images by id.
    pub images: HashMap<String, Value>,
    /// Parameters of all lists of images.
    pub lists: Vec<Vec<(String, String)>>,
    /// Their data.
    pub data: HashMap<String, Bytes>,
    /// Image and project of all memberships.
    pub members: Vec<(String, String)>,
    /// How validations go wrong.
    pub trouble: Option<Trouble>,
    /// How answers about projects go wrong.
    pub project_trouble: Option<Trouble>,
    /// How image answers go wrong.
    pub image_trouble: Option<Trouble>,
    /// Whether the service user is refused.
    pub locked_out: bool,
    /// Logins of the service user.
    pub logins: usize,
    /// Validations of tokens.
    pub validations: usize,
}

/// The server; ends when dropped.
pub struct StandIn {
    /// Base of both services.
    pub url: String,
    known: Arc<Mutex<Known>>,
    _task: AbortOnDropHandle<()>,
}

type Shared = State<Arc<Mutex<Known>>>;

impl StandIn {
    /// On a free port.
    pub async fn start() -> Self {
        let known =
            Known { service_expiry: "2026-08-21T11:15:40.000000Z".to_owned(), ..Known::default() };
        let known = Arc::new(Mutex::new(known));
        let router = Router::new()
            .route("/identity/v3/auth/tokens", post(log_in).get(validate))
            .route("/identity/v3/projects/{id}", get(project))
            .route("/image/v2/images", get(list))
            .route("/image/v2/images/{id}", get(image).patch(change).delete(delete))
            .route("/image/v2/images/{id}/file", get(file))
            .route("/image/v2/images/{id}/members/{project}", get(member))
            .with_state(Arc::clone(&known));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, known, _task: AbortOnDropHandle::new(task) }
    }

    /// What it knows and does; not to be held twice.
    pub fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap()
    }

    /// Logins of the service user and validations of tokens so far.
    pub fn asked(&self) -> (usize, usize) {
        let known = self.known();
        (known.logins, known.validations)
    }

    /// Makes a token of a user with a role in a project valid.
    pub fn add_token(&self, token: &str, role: &str, project: &str) {
        let said = json!({"token": {
            "methods": ["password"],
            "user": {
                "domain": {"id": "default", "name": "Default"},
                "id": "0123456789abcdef0123456789abcdef", "name": "alice",
                "password_expires_at": null,
            },
            "audit_ids": ["3T2dc1CGQxyJsHdDu1xkcw"],
            "expires_at": "2026-08-21T11:15:40.000000Z",
            "issued_at": "2026-08-21T10:15:40.000000Z",
            "project": {
                "domain": {"id": "default", "name": "Default"}, "id": project, "name": "demo",
            },
            "is_domain": false,
            "roles": [{"id": "9fe2ff9ee4384b1894a90878d3e92bab", "name": role}],
        }});
        self.known().tokens.insert(token.to_owned(), said);
    }
}

fn refused(status: StatusCode) -> Response {
    let body = json!({"error": {
        "code": status.as_u16(), "message": "no", "title": status.canonical_reason(),
    }});
    (status, body.to_string()).into_response()
}

async fn log_in(State(known): Shared, body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap();
    let mut known = known.lock().unwrap();
    known.logins += 1;
    let user = &body["auth"]["identity"]["password"]["user"];
    let good = user["name"] == "nova"
        && user["password"] == PASSWORD
        && body["auth"]["scope"]["project"]["name"] == "service";
    if known.locked_out || !good {
        return refused(StatusCode::UNAUTHORIZED);
    }
    let token = format!("service-token-{}", known.logins);
    known.service_tokens.push(token.clone());
    let body = json!({"token": {"expires_at": known.service_expiry, "methods": ["password"]}});
    (StatusCode::CREATED, [("x-subject-token", token)], body.to_string()).into_response()
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).map_or("", |value| value.to_str().unwrap())
}

fn is_service(known: &Known, headers: &HeaderMap) -> bool {
    let token = header(headers, "x-auth-token");
    known.service_tokens.iter().any(|valid| valid == token)
}

/// The troubles that concern a whole answer.
async fn suffer(trouble: Option<Trouble>) -> Option<Response> {
    match trouble {
        None | Some(Trouble::Stall | Trouble::Short | Trouble::Long) => None,
        Some(Trouble::Silence) => std::future::pending().await,
        Some(Trouble::Status(status)) => Some(refused(StatusCode::from_u16(status).unwrap())),
        Some(Trouble::Nonsense(body)) => Some((StatusCode::OK, body).into_response()),
    }
}

async fn validate(State(known): Shared, headers: HeaderMap) -> Response {
    let trouble = {
        let mut known = known.lock().unwrap();
        known.validations += 1;
        if !is_service(&known, &headers) {
            return refused(StatusCode::UNAUTHORIZED);
        }
        known.trouble.clone()
    };
    if let Some(answer) = suffer(trouble).await {
        return answer;
    }
    let known = known.lock().unwrap();
    match known.tokens.get(header(&headers, "x-subject-token")) {
        Some(said) => said.to_string().into_response(),
        None => refused(StatusCode::NOT_FOUND),
    }
}

async fn project(State(known): Shared, Path(id): Path<String>, headers: HeaderMap) -> Response {
    let trouble = {
        let known = known.lock().unwrap();
        if !is_service(&known, &headers) {
            return refused(StatusCode::UNAUTHORIZED);
        }
        known.project_trouble.clone()
    };
    if let Some(answer) = suffer(trouble).await {
        return answer;
    }
    if id == "bbbb" {
        return json!({"project": {"id": id, "name": "other"}}).to_string().into_response();
    }
    refused(StatusCode::NOT_FOUND)
}

/// Project of a user's token, and whether it is an administrator's; otherwise the answer.
async fn user(known: &Mutex<Known>, headers: &HeaderMap) -> Result<(String, bool), Response> {
    let (said, trouble) = {
        let known = known.lock().unwrap();
        (known.tokens.get(header(headers, "x-auth-token")).cloned(), known.image_trouble.clone())
    };
    if let Some(answer) = suffer(trouble).await {
        return Err(answer);
    }
    let token = &said.ok_or_else(|| refused(StatusCode::UNAUTHORIZED))?["token"];
    let project = token["project"]["id"].as_str().unwrap().to_owned();
    Ok((project, token["roles"][0]["name"] == "admin"))
}

fn sees(image: &Value, (project, is_admin): &(String, bool)) -> bool {
    *is_admin || image["visibility"] == "public" || image["owner"] == **project
}

/// Newest first, with paging; every other parameter has to be equal to what the image has.
async fn list(State(known): Shared, RawQuery(asked): RawQuery, headers: HeaderMap) -> Response {
    let user = match user(&known, &headers).await {
        Ok(user) => user,
        Err(answer) => return answer,
    };
    let text =
        |part: &str| percent_encoding::percent_decode_str(part).decode_utf8().unwrap().into();
    let asked: Vec<(String, String)> = asked
        .unwrap_or_default()
        .split('&')
        .map(|pair| pair.split_once('=').unwrap())
        .map(|(name, value)| (text(name), text(value)))
        .collect();
    let mut known = known.lock().unwrap();
    known.lists.push(asked.clone());
    let parameter = |name: &str| asked.iter().find(|(key, _)| key == name).map(|(_, value)| value);
    assert_eq!(parameter("sort_key").unwrap(), "created_at");
    assert_eq!(parameter("sort_dir").unwrap(), "desc");
    let own = ["limit", "marker", "sort_key", "sort_dir", "updated_at"];
    let fits = |image: &Value| {
        let filters = asked.iter().filter(|(name, _)| !own.contains(&name.as_str()));
        filters.into_iter().all(|(name, value)| match &image[name] {
            Value::String(text) => text == value,
            other => serde_json::from_str::<Value>(value).is_ok_and(|value| value == *other),
        })
    };
    let mut seen: Vec<&Value> =
        known.images.values().filter(|image| sees(image, &user) && fits(image)).collect();
    seen.sort_by_key(|image| std::cmp::Reverse(image["created_at"].as_str().unwrap().to_owned()));
    let begin = match parameter("marker") {
        None => 0,
        Some(marker) => match seen.iter().position(|image| image["id"] == **marker) {
            Some(at) => at + 1,
            None => return refused(StatusCode::BAD_REQUEST),
        },
    };
    let limit: usize = parameter("limit").unwrap().parse().unwrap();
    let page: Vec<&Value> = seen.into_iter().skip(begin).take(limit).collect();
    json!({"images": page, "first": "/v2/images"}).to_string().into_response()
}

/// The image that a user wants to change; otherwise the status of the answer.
fn changed<'k>(
    known: &'k mut Known,
    id: &str,
    user: &(String, bool),
) -> Result<&'k mut Value, StatusCode> {
    let image = known.images.get_mut(id).filter(|image| sees(image, user));
    let image = image.ok_or(StatusCode::NOT_FOUND)?;
    let owned = user.1 || image["owner"] == *user.0;
    if owned { Ok(image) } else { Err(StatusCode::FORBIDDEN) }
}

async fn change(
    State(known): Shared,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let user = match user(&known, &headers).await {
        Ok(user) => user,
        Err(answer) => return answer,
    };
    assert_eq!(header(&headers, "content-type"), "application/openstack-images-v2.1-json-patch");
    let mut known = known.lock().unwrap();
    let image = match changed(&mut known, &id, &user) {
        Ok(image) => image,
        Err(status) => return refused(status),
    };
    let edits: Vec<Value> = serde_json::from_slice(&body).unwrap();
    for edit in edits {
        let name = edit["path"].as_str().unwrap().strip_prefix('/').unwrap();
        match edit["op"].as_str().unwrap() {
            "add" => image[name] = edit["value"].clone(),
            "remove" if image.get(name).is_some() => {
                image.as_object_mut().unwrap().remove(name);
            }
            _ => return refused(StatusCode::CONFLICT),
        }
    }
    image.to_string().into_response()
}

async fn delete(State(known): Shared, Path(id): Path<String>, headers: HeaderMap) -> Response {
    let user = match user(&known, &headers).await {
        Ok(user) => user,
        Err(answer) => return answer,
    };
    let mut known = known.lock().unwrap();
    match changed(&mut known, &id, &user) {
        Ok(image) if image["protected"] == true => return refused(StatusCode::FORBIDDEN),
        Ok(_) => {}
        Err(status) => return refused(status),
    }
    known.images.remove(&id);
    StatusCode::NO_CONTENT.into_response()
}

/// What images need of a request; otherwise the answer.
async fn enter(known: &Mutex<Known>, headers: &HeaderMap) -> Result<Option<Trouble>, Response> {
    let trouble = {
        let known = known.lock().unwrap();
        if !is_service(&known, headers) {
            return Err(refused(StatusCode::UNAUTHORIZED));
        }
        known.image_trouble.clone()
    };
    match suffer(trouble.clone()).await {
        Some(answer) => Err(answer),
        None => Ok(trouble),
    }
}

async fn image(State(known): Shared, Path(id): Path<String>, headers: HeaderMap) -> Response {
    if let Err(answer) = enter(&known, &headers).await {
        return answer;
    }
    let known = known.lock().unwrap();
    match known.images.get(&id) {
        Some(image) => image.to_string().into_response(),
        None => refused(StatusCode::NOT_FOUND),
    }
}

async fn member(
    State(known): Shared,
    Path((id, project)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    if let Err(answer) = enter(&known, &headers).await {
        return answer;
    }
    if known.lock().unwrap().members.contains(&(id.clone(), project.clone())) {
        let body = json!({"image_id": id, "member_id": project, "status": "accepted"});
        return body.to_string().into_response();
    }
    refused(StatusCode::NOT_FOUND)
}

async fn file(State(known): Shared, Path(id): Path<String>, headers: HeaderMap) -> Response {
    let trouble = match enter(&known, &headers).await {
        Ok(trouble) => trouble,
        Err(answer) => return answer,
    };
    let Some(data) = known.lock().unwrap().data.get(&id).cloned() else {
        return refused(StatusCode::NOT_FOUND);
    };
    let half = data.slice(..data.len() / 2);
    let pieces = match trouble {
        Some(Trouble::Stall | Trouble::Short) => vec![half],
        Some(Trouble::Long) => vec![data.clone(), data],
        _ => vec![data],
    };
    let given = futures_util::stream::iter(pieces.into_iter().map(Ok::<_, std::io::Error>));
    let body = match trouble {
        Some(Trouble::Stall) => Body::from_stream(given.chain(futures_util::stream::pending())),
        _ => Body::from_stream(given),
    };
    body.into_response()
}

/// When the clock of the tests began.
pub fn beginning() -> Timestamp {
    Timestamp::parse_iso("2026-08-21T10:15:40Z").unwrap()
}
