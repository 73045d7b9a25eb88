//! A control plane without network, and requests to it.

#[path = "../support/backends.rs"]
pub mod backends;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use reprieve_control::app::identity::{Identity, bootstrap};
use reprieve_control::{Control, Settings, http};
use reprieve_core::{Clock, SealingKey, Timestamp};
use reprieve_store::Store;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::Notify;
use tower::ServiceExt as _;

/// A clock that only moves when told, and by a microsecond with every look, so that nothing happens
/// at the same time.
pub struct TestClock(AtomicI64);

impl TestClock {
    /// Begins at `start`.
    pub fn at(start: Timestamp) -> Self {
        Self(AtomicI64::new(start.micros()))
    }

    /// Lets time pass.
    pub fn advance(&self, seconds: i64) {
        self.0.fetch_add(seconds * 1_000_000, Ordering::Relaxed);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.fetch_add(1, Ordering::Relaxed))
    }
}

/// Largest image of the tests, in bytes.
pub const MAX_IMAGE: u64 = 4 << 20;

pub struct Cloud {
    pub control: Arc<Control>,
    pub clock: Arc<TestClock>,
    pub router: Router,
    pub dir: TempDir,
    /// Password of the first administrator.
    pub password: String,
}

/// An answer.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The answer, after its status was checked.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", String::from_utf8_lossy(&self.body));
        self
    }
}

pub async fn control(dir: &std::path::Path, clock: Arc<TestClock>) -> Arc<Control> {
    let store = Store::open_with_clock(backends::database(dir), clock.clone()).await.unwrap();
    Arc::new(Control {
        store,
        bus: backends::bus(),
        clock,
        sealing_key: SealingKey::new([7; 32]),
        settings: Settings {
            public_url: "http://127.0.0.1:8774".into(),
            region: "RegionOne".into(),
            image_dir: dir.join("images"),
            host: "vm".into(),
            availability_zone: "nova".into(),
            max_image_bytes: MAX_IMAGE,
            policy: reprieve_core::policy::Policy::load([]).unwrap(),
            consoles: Default::default(),
            api: Default::default(),
        },
        identity: Identity::new(),
        images: Arc::new(reprieve_control::app::images::BuiltIn),
        wake_dispatcher: Notify::new(),
        hand_overs: reprieve_control::work::HandOvers::default(),
        patience: reprieve_control::work::Patience::default(),
        notifications: reprieve_control::work::Notifications::of("vm"),
        metrics: Arc::default(),
        audit: Arc::default(),
    })
}

impl Cloud {
    pub async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(TestClock::at(Timestamp::from_micros(1_787_307_340_000_000)));
        let control = control(dir.path(), clock.clone()).await;
        bootstrap(&control, dir.path()).await.unwrap();
        let clouds = std::fs::read_to_string(dir.path().join("clouds.yaml")).unwrap();
        let password = password_in(&clouds);
        let router = http::router(control.clone());
        Self { control, clock, router, dir, password }
    }

    pub fn image_dir(&self) -> PathBuf {
        self.control.settings.image_dir.clone()
    }

    /// Sends a request.
    pub async fn send(&self, request: Request<Body>) -> Reply {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Reply { status: parts.status, headers: parts.headers, body }
    }

    /// Sends a JSON request with a token.
    pub async fn call(&self, token: &str, method: &str, path: &str, body: Value) -> Reply {
        self.send(request(token, method, path, "application/json", json_body(&body))).await
    }

    pub async fn get(&self, token: &str, path: &str) -> Reply {
        self.call(token, "GET", path, Value::Null).await
    }

    /// Asks for a token.
    pub async fn login(&self, auth: Value) -> Reply {
        self.call("", "POST", "/identity/v3/auth/tokens", json!({ "auth": auth })).await
    }

    /// A token of `user` for `project`.
    pub async fn token(&self, user: &str, password: &str, project: &str) -> String {
        let reply = self.login(password_auth(user, password, Some(project))).await.expect(201);
        reply.header("x-subject-token").to_owned()
    }

    pub async fn admin(&self) -> String {
        self.token("admin", &self.password, "admin").await
    }

    /// A new user with a role in a project of its own; both are called `name`. Returns a token.
    pub async fn user(&self, name: &str, role: &str) -> String {
        let admin = self.admin().await;
        let user = json!({"user": {"name": name, "password": "secret"}});
        let user = self.call(&admin, "POST", "/identity/v3/users", user).await.expect(201).json();
        let project = json!({"project": {"name": name}});
        let project = self.call(&admin, "POST", "/identity/v3/projects", project).await.expect(201);
        let roles = self.get(&admin, &format!("/identity/v3/roles?name={role}")).await.json();
        let path = format!(
            "/identity/v3/projects/{}/users/{}/roles/{}",
            text(&project.json()["project"]["id"]),
            text(&user["user"]["id"]),
            text(&roles["roles"][0]["id"]),
        );
        self.call(&admin, "PUT", &path, Value::Null).await.expect(204);
        self.token(name, "secret", name).await
    }
}

pub fn request(
    token: &str,
    method: &str,
    path: &str,
    media_type: &str,
    body: Body,
) -> Request<Body> {
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let mut builder = Request::builder().method(method).uri(path).header("host", "cloud:8774");
    if !token.is_empty() {
        builder = builder.header("x-auth-token", token);
    }
    builder.header("content-type", media_type).body(body).unwrap()
}

fn json_body(body: &Value) -> Body {
    if body.is_null() { Body::empty() } else { Body::from(body.to_string()) }
}

pub fn password_auth(user: &str, password: &str, project: Option<&str>) -> Value {
    let mut auth = json!({"identity": {"methods": ["password"], "password": {"user": {
        "name": user, "domain": {"id": "default"}, "password": password,
    }}}});
    if let Some(project) = project {
        auth["scope"] = json!({"project": {"name": project, "domain": {"name": "Default"}}});
    }
    auth
}

pub fn password_in(clouds: &str) -> String {
    let line = clouds.lines().find_map(|line| line.trim().strip_prefix("password: '")).unwrap();
    line.strip_suffix('\'').unwrap().to_owned()
}

pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is not a text"))
}
