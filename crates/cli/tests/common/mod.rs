//! A small cloud in this process, scripted per test, and the built `reprieve` to talk to it.

#![allow(dead_code, reason = "every test binary uses another part")]

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{Method, Response};
use serde_json::{Value, json};
use tempfile::TempDir;

pub const ID: &str = "b8e2b8c2-b090-4a6d-b0f5-19d7d885328f";
pub const OTHER: &str = "11111111-1111-4111-8111-111111111111";
pub const IMAGE: &str = "3770e010-6cdc-4db6-a78b-a7add665bb8b";
pub const REQUEST: &str = "req-a915a060-61c0-4238-a1a0-4c1f515c5486";
pub const PASSWORD: &str = "correct-horse";
pub const TOKEN: &str = "gAAAAA-secret-token";

/// One answer.
#[derive(Clone)]
pub struct Reply {
    pub status: u16,
    pub body: Vec<u8>,
}

pub fn reply(status: u16, body: Value) -> Reply {
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    Reply { status, body }
}

pub fn fault(status: u16, name: &str, message: &str) -> Reply {
    reply(status, json!({ name: { "code": status, "message": message } }))
}

/// What was asked.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    pub path: String,
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
}

impl Asked {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

#[derive(Default)]
struct Script {
    /// `METHOD path` → answers, the last of which is repeated.
    replies: HashMap<String, VecDeque<Reply>>,
    asked: Vec<Asked>,
}

/// The cloud. Ends with the test.
pub struct Cloud {
    script: Arc<Mutex<Script>>,
    pub url: String,
    pub dir: TempDir,
    _runtime: tokio::runtime::Runtime,
}

impl Cloud {
    pub fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let script = Arc::new(Mutex::new(Script::default()));
        let router = Router::new().fallback(answer).with_state(Arc::clone(&script));
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        runtime.spawn(async move { axum::serve(listener, router).await.unwrap() });
        let cloud = Self { script, url, dir: tempfile::tempdir().unwrap(), _runtime: runtime };
        cloud.on("POST /identity/v3/auth/tokens", [cloud.token()]);
        cloud.on("GET /identity/v3/auth/tokens", [cloud.token()]);
        cloud.on(&format!("GET /image/v2/images/{IMAGE}"), [reply(200, image())]);
        cloud
    }

    pub fn token(&self) -> Reply {
        let endpoint = |kind: &str, path: &str| {
            json!({"type": kind, "name": kind, "endpoints": [{"interface": "public",
                   "region": "RegionOne", "url": format!("{}{path}", self.url)}]})
        };
        let catalog = [endpoint("compute", "/compute/v2.1"), endpoint("image", "/image")];
        reply(
            201,
            json!({"token": {"expires_at": "2026-11-23T00:00:00.000000Z",
            "user": {"id": "u1"}, "project": {"id": "p1"}, "catalog": catalog}}),
        )
    }

    /// Scripts the answers to one request; the last is repeated.
    pub fn on(&self, request: &str, replies: impl IntoIterator<Item = Reply>) {
        let replies = replies.into_iter().collect();
        self.script.lock().unwrap().replies.insert(request.to_owned(), replies);
    }

    /// Scripts the states that a server goes through, one each time it is asked for.
    pub fn server(&self, states: impl IntoIterator<Item = Value>) {
        let replies: Vec<Reply> =
            states.into_iter().map(|state| reply(200, json!({"server": state}))).collect();
        self.on(&format!("GET /compute/v2.1/servers/{ID}"), replies);
    }

    /// Scripts the answer to actions.
    pub fn action(&self, answer: Reply) {
        self.on(&format!("POST /compute/v2.1/servers/{ID}/action"), [answer]);
    }

    /// All requests so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.script.lock().unwrap().asked.clone()
    }

    /// The only request with this method and a path that ends so.
    pub fn one(&self, method: &str, end: &str) -> Asked {
        let fits = |asked: &Asked| asked.method == method && asked.path.ends_with(end);
        let mut found: Vec<Asked> = self.asked().into_iter().filter(fits).collect();
        assert_eq!(found.len(), 1, "{method} …{end}: {found:?}");
        found.remove(0)
    }

    /// `reprieve` with credentials of this cloud in the environment.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = bare(&self.dir, arguments);
        command
            .env("OS_AUTH_URL", format!("{}/identity/v3", self.url))
            .env("OS_USERNAME", "admin")
            .env("OS_PASSWORD", PASSWORD)
            .env("OS_PROJECT_NAME", "admin")
            .env("OS_USER_DOMAIN_NAME", "Default")
            .env("OS_PROJECT_DOMAIN_NAME", "Default");
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Done {
        Done::of(self.command(arguments).output().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

/// `reprieve` that knows nothing of the machine it runs on.
pub fn bare(dir: &TempDir, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_reprieve"));
    command
        .args(arguments)
        .env_clear()
        .env("HOME", dir.path())
        .env("REPRIEVE_DATA_DIR", dir.path().join("data"))
        .current_dir(dir.path())
        .stdin(Stdio::null());
    command
}

/// How a run ended.
#[derive(Debug)]
pub struct Done {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Done {
    pub fn of(output: Output) -> Self {
        let done = Self {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        };
        for secret in [PASSWORD, TOKEN] {
            assert!(!done.err.contains(secret), "{secret} in {done:?}");
        }
        done
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        self
    }
}

async fn answer(State(script): State<Arc<Mutex<Script>>>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let body: Bytes = axum::body::to_bytes(body, 1 << 28).await.unwrap_or_default();
    let path = parts.uri.path_and_query().unwrap().as_str().to_owned();
    let mut script = script.lock().unwrap();
    script.asked.push(Asked {
        method: parts.method.to_string(),
        path: path.clone(),
        headers: parts
            .headers
            .iter()
            .map(|(key, value)| (key.to_string(), value.to_str().unwrap_or("").to_owned()))
            .collect(),
        body: body.to_vec(),
    });
    let keys =
        [format!("{} {path}", parts.method), format!("{} {}", parts.method, parts.uri.path())];
    let key = keys.iter().find(|key| script.replies.contains_key(*key)).cloned();
    let scripted = key.and_then(|key| {
        let queue = script.replies.get_mut(&key)?;
        if queue.len() > 1 { queue.pop_front() } else { queue.front().cloned() }
    });
    let reply = scripted.unwrap_or_else(|| {
        let empty = parts.uri.path().rsplit('/').next().unwrap_or_default();
        match (parts.method == Method::GET, empty) {
            (true, "servers") => reply_list("servers"),
            (true, "images") => reply_list("images"),
            (true, "detail") => reply(200, json!({"servers": [], "flavors": []})),
            _ => fault(404, "itemNotFound", "The resource could not be found."),
        }
    });
    Response::builder()
        .status(reply.status)
        .header("content-type", "application/json")
        .header("x-openstack-request-id", REQUEST)
        .header("x-subject-token", TOKEN)
        .header("retry-after", "0")
        .body(Body::from(reply.body))
        .unwrap()
}

fn reply_list(key: &str) -> Reply {
    reply(200, json!({ key: [] }))
}

/// A server in some state, as an administrator sees it.
pub fn server(status: &str, vm_state: &str, task: Option<&str>) -> Value {
    json!({
        "id": ID, "name": "demo", "status": status, "tenant_id": "p1", "user_id": "u1",
        "metadata": {"k": "v"}, "image": {"id": IMAGE, "links": []},
        "flavor": {"original_name": "tiny", "vcpus": 1, "ram": 128, "disk": 1},
        "addresses": {}, "links": [], "created": "2026-11-22T20:13:18Z",
        "OS-EXT-STS:task_state": task, "OS-EXT-STS:vm_state": vm_state,
        "OS-EXT-STS:power_state": 1, "OS-SRV-USG:launched_at": "2026-11-22T20:13:22.000000",
        "locked": false, "locked_reason": null, "os-extended-volumes:volumes_attached": [],
    })
}

pub fn image() -> Value {
    json!({"id": IMAGE, "name": "tiny", "status": "active", "disk_format": "qcow2", "size": 5,
           "os_hash_algo": "sha512", "os_hash_value": null, "hw_disk_bus": "virtio"})
}
