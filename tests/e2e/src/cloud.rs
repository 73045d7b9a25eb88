//! The HTTP API as any client sees it.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::wait::Deadline;

/// The microversion that the tests speak.
const MICROVERSION: &str = "compute 2.93";

/// A service, by its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// Nova.
    Compute,
    /// Keystone.
    Identity,
    /// Glance.
    Image,
    /// Health, at the root.
    Root,
}

impl Service {
    const fn path(self) -> &'static str {
        match self {
            Self::Compute => "/compute/v2.1",
            Self::Identity => "/identity/v3",
            Self::Image => "/image/v2",
            Self::Root => "",
        }
    }
}

/// How to log in, from `clouds.yaml`.
#[derive(Clone, Deserialize)]
pub struct Credentials {
    /// Identity service.
    pub auth_url: String,
    /// User.
    pub username: String,
    /// Password.
    pub password: String,
    /// Project.
    pub project_name: String,
}

impl Credentials {
    /// Of cloud `reprieve`.
    ///
    /// # Errors
    /// When the file is not as any OpenStack client expects it.
    pub fn read(clouds_yaml: &Path) -> Result<Self> {
        #[derive(Deserialize)]
        struct Clouds {
            clouds: Named,
        }
        #[derive(Deserialize)]
        struct Named {
            reprieve: Cloud,
        }
        #[derive(Deserialize)]
        struct Cloud {
            auth: Credentials,
        }
        let text = std::fs::read_to_string(clouds_yaml)
            .with_context(|| format!("{} cannot be read", clouds_yaml.display()))?;
        let read: Clouds = serde_saphyr::from_str(&text)
            .with_context(|| format!("{} cannot be understood", clouds_yaml.display()))?;
        Ok(read.clouds.reprieve.auth)
    }
}

/// One answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// What was asked, for messages.
    pub asked: String,
    /// Status.
    pub status: u16,
    /// `x-openstack-request-id`.
    pub request_id: String,
    /// `x-subject-token`, a secret.
    subject_token: Option<String>,
    /// Body; `Null` when it is no JSON.
    pub body: Value,
}

impl Answer {
    /// Itself, if the status is `status`.
    ///
    /// # Errors
    /// When it is another one.
    pub fn expect(self, status: u16) -> Result<Self> {
        if self.status != status {
            bail!("{}: {} instead of {status}: {}", self.asked, self.status, self.body);
        }
        Ok(self)
    }

    /// The message of Nova's error document, whatever its key.
    #[must_use]
    pub fn message(&self) -> String {
        let inner = self.body.as_object().and_then(|object| object.values().next());
        inner.and_then(|inner| inner["message"].as_str()).unwrap_or_default().to_owned()
    }
}

/// A server as the API shows it.
#[derive(Debug, Clone)]
pub struct Server {
    /// `status`.
    pub status: String,
    /// `OS-EXT-STS:task_state`.
    pub task_state: Option<String>,
    /// `OS-EXT-STS:power_state`.
    pub power_state: i64,
    /// Everything.
    pub body: Value,
}

impl Server {
    fn of(body: Value) -> Self {
        Self {
            status: body["status"].as_str().unwrap_or_default().to_owned(),
            task_state: body["OS-EXT-STS:task_state"].as_str().map(str::to_owned),
            power_state: body["OS-EXT-STS:power_state"].as_i64().unwrap_or(-1),
            body,
        }
    }

    /// Whether it is in this state and nothing is being done to it.
    #[must_use]
    pub fn rests_in(&self, status: &str) -> bool {
        self.status == status && self.task_state.is_none()
    }

    /// The text of its fault, empty without one.
    #[must_use]
    pub fn fault(&self) -> &str {
        self.body["fault"]["message"].as_str().unwrap_or_default()
    }

    /// One line for messages.
    #[must_use]
    pub fn line(&self) -> String {
        let task = self.task_state.as_deref().unwrap_or("none");
        let power = self.power_state;
        format!(
            "it is {}, task_state {task}, power_state {power}, fault '{}'",
            self.status,
            self.fault()
        )
    }
}

/// What to create.
#[derive(Debug, Clone, Default)]
pub struct NewServer {
    /// Name.
    pub name: String,
    /// Image.
    pub image: String,
    /// Flavor.
    pub flavor: String,
    /// With a config drive.
    pub config_drive: bool,
    /// Key pair.
    pub key_name: Option<String>,
    /// User data, base64.
    pub user_data: Option<String>,
}

impl NewServer {
    /// The request's body.
    #[must_use]
    pub fn body(&self) -> Value {
        let mut server = json!({
            "name": self.name, "imageRef": self.image, "flavorRef": self.flavor,
            "networks": "none", "config_drive": self.config_drive,
        });
        if let Some(key) = &self.key_name {
            server["key_name"] = json!(key);
        }
        if let Some(data) = &self.user_data {
            server["user_data"] = json!(data);
        }
        json!({ "server": server })
    }
}

/// A logged-in client.
#[derive(Clone)]
pub struct Cloud {
    agent: ureq::Agent,
    base: String,
    /// The token, a secret.
    pub token: String,
    /// The project.
    pub project: String,
}

impl Cloud {
    /// A client that has no token yet.
    #[must_use]
    pub fn anonymous(base: &str) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(60)))
            .build();
        Self {
            agent: config.into(),
            base: base.into(),
            token: String::new(),
            project: String::new(),
        }
    }

    /// Logs in.
    ///
    /// # Errors
    /// When that is refused.
    pub fn login(base: &str, with: &Credentials) -> Result<Self> {
        let mut cloud = Self::anonymous(base);
        let answer = cloud.issue_token(with)?.expect(201)?;
        cloud.project = answer.body["token"]["project"]["id"].as_str().unwrap_or_default().into();
        cloud.token = answer.subject_token.context("no x-subject-token in the answer")?;
        Ok(cloud)
    }

    /// Asks for a token.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn issue_token(&self, with: &Credentials) -> Result<Answer> {
        let domain = json!({ "name": "Default" });
        let user = json!({
            "name": with.username, "password": with.password, "domain": domain.clone(),
        });
        let body = json!({ "auth": {
            "identity": { "methods": ["password"], "password": { "user": user } },
            "scope": { "project": { "name": with.project_name, "domain": domain } },
        }});
        self.send("POST", Service::Identity, "/auth/tokens", Some(&body))
    }

    /// One call.
    ///
    /// # Errors
    /// When there is no answer. Not for any status.
    pub fn send(
        &self,
        method: &str,
        of: Service,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer> {
        let asked = format!("{method} {}{path}", of.path());
        let request = self.request(method, of, path);
        let sent = match body {
            Some(body) => {
                let body = serde_json::to_vec(body).context("the body is no JSON")?;
                self.agent.run(request.header("content-type", "application/json").body(body)?)
            }
            None => self.agent.run(request.body(())?),
        };
        read(asked, sent)
    }

    /// An action that ends if no host has taken it after so many seconds.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn action_within(&self, id: Uuid, body: &Value, seconds: u64) -> Result<Answer> {
        let path = format!("/servers/{id}/action");
        let request = self.request("POST", Service::Compute, &path);
        let request = request
            .header("content-type", "application/json")
            .header("x-reprieve-deadline", seconds.to_string());
        let body = serde_json::to_vec(body).context("the body is no JSON")?;
        read(format!("POST {path}"), self.agent.run(request.body(body)?))
    }

    /// Where something is.
    #[must_use]
    pub fn url(&self, of: Service, path: &str) -> String {
        format!("{}{}{path}", self.base, of.path())
    }

    fn request(&self, method: &str, of: Service, path: &str) -> ureq::http::request::Builder {
        let request = ureq::http::Request::builder().method(method).uri(self.url(of, path));
        let request = request.header("openstack-api-version", MICROVERSION);
        if self.token.is_empty() { request } else { request.header("x-auth-token", &self.token) }
    }

    /// GET.
    ///
    /// # Errors
    /// When the answer is not 200.
    pub fn get(&self, of: Service, path: &str) -> Result<Value> {
        Ok(self.send("GET", of, path, None)?.expect(200)?.body)
    }

    /// Makes an image of a file and returns its id.
    ///
    /// # Errors
    /// When it is refused.
    pub fn upload(
        &self,
        name: &str,
        format: &str,
        file: &Path,
        properties: &Value,
    ) -> Result<String> {
        let id = self.new_image(name, format, properties)?;
        self.upload_data(&id, file)?.expect(204)?;
        Ok(id)
    }

    /// Records an image without data.
    ///
    /// # Errors
    /// When it is refused.
    pub fn new_image(&self, name: &str, format: &str, properties: &Value) -> Result<String> {
        let mut body = json!({
            "name": name, "disk_format": format, "container_format": "bare",
        });
        for (key, value) in properties.as_object().into_iter().flatten() {
            body[key] = value.clone();
        }
        let answer = self.send("POST", Service::Image, "/images", Some(&body))?.expect(201)?;
        Ok(answer.body["id"].as_str().context("the image has no id")?.to_owned())
    }

    /// Sends the data of an image.
    ///
    /// # Errors
    /// When there is no answer. Not for any status.
    pub fn upload_data(&self, image: &str, file: &Path) -> Result<Answer> {
        let data = File::open(file).with_context(|| format!("{}", file.display()))?;
        let path = format!("/images/{image}/file");
        let request = self.request("PUT", Service::Image, &path);
        let request = request.header("content-type", "application/octet-stream").body(data)?;
        read(format!("PUT {path}"), self.agent.run(request))
    }

    /// Makes a flavor and returns its id.
    ///
    /// # Errors
    /// When it is refused.
    pub fn flavor(&self, name: &str, memory_mib: u32, disk_gib: u32) -> Result<String> {
        let body = json!({ "flavor": {
            "name": name, "ram": memory_mib, "vcpus": 1, "disk": disk_gib,
        }});
        let answer = self.send("POST", Service::Compute, "/flavors", Some(&body))?.expect(200)?;
        Ok(answer.body["flavor"]["id"].as_str().context("the flavor has no id")?.to_owned())
    }

    /// Asks for a server and returns its id.
    ///
    /// # Errors
    /// When it is refused.
    pub fn create(&self, server: &NewServer) -> Result<Uuid> {
        let answer = self.send("POST", Service::Compute, "/servers", Some(&server.body()))?;
        let answer = answer.expect(202)?;
        let id = answer.body["server"]["id"].as_str().context("the server has no id")?;
        id.parse().context("the server's id is no UUID")
    }

    /// A server.
    ///
    /// # Errors
    /// When it is not there.
    pub fn server(&self, id: Uuid) -> Result<Server> {
        let mut body = self.get(Service::Compute, &format!("/servers/{id}"))?;
        Ok(Server::of(body["server"].take()))
    }

    /// Asks for an action.
    ///
    /// # Errors
    /// When there is no answer. Not for any status.
    pub fn action(&self, id: Uuid, body: &Value) -> Result<Answer> {
        self.send("POST", Service::Compute, &format!("/servers/{id}/action"), Some(body))
    }

    /// Waits until a server rests in `status`.
    ///
    /// # Errors
    /// When it rests in ERROR instead, or the deadline passes.
    pub fn rests(&self, id: Uuid, status: &str, deadline: Deadline) -> Result<Server> {
        deadline.until(&format!("status {status} of server {id}"), || {
            let server = self.server(id)?;
            if server.rests_in(status) {
                return Ok(Some(server));
            }
            if server.rests_in("ERROR") || deadline.passed() {
                bail!("{}", server.line());
            }
            Ok(None)
        })
    }

    /// Waits until nothing is being done to a server.
    ///
    /// # Errors
    /// When the deadline passes.
    pub fn settles(&self, id: Uuid, deadline: Deadline) -> Result<Server> {
        deadline.until(&format!("end of what is done to server {id}"), || {
            let server = self.server(id)?;
            Ok(server.task_state.is_none().then_some(server))
        })
    }

    /// Asks for an action and waits for its result; returns the request id.
    ///
    /// # Errors
    /// As [`Self::rests`], and when the action is refused.
    pub fn perform(&self, id: Uuid, body: &Value, status: &str, seconds: u64) -> Result<String> {
        let answer = self.action(id, body)?;
        if !matches!(answer.status, 200 | 202) {
            bail!("{} {body}: {}: {}", answer.asked, answer.status, answer.body);
        }
        self.rests(id, status, Deadline::seconds(seconds)).with_context(|| format!("{body}"))?;
        Ok(answer.request_id)
    }
}

type Sent = Result<ureq::http::Response<ureq::Body>, ureq::Error>;

fn read(asked: String, sent: Sent) -> Result<Answer> {
    let mut response = sent.with_context(|| format!("{asked}: no answer"))?;
    let header = |name: &str| {
        let value = response.headers().get(name).and_then(|value| value.to_str().ok());
        value.map(str::to_owned)
    };
    let request_id = header("x-openstack-request-id").unwrap_or_default();
    let subject_token = header("x-subject-token");
    let status = response.status().as_u16();
    let bytes = response.body_mut().read_to_vec().with_context(|| format!("{asked}: no body"))?;
    let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    Ok(Answer { asked, status, request_id, subject_token, body })
}
