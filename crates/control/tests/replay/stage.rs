//! Plays a script: recorded requests in their order, and between them what nobody recorded.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use reprieve_core::message::{HostRequest, HostResponse};
use reprieve_core::ports::RequestHandler;
use reprieve_core::{HostName, PowerState};

use crate::compare::Ids;
use crate::differences::Differences;
use crate::recording::Recording;
use crate::support::{Ask, Cloud, HOST, IMAGE, PROJECT, Reply, USER};

/// Project of the administrator.
const ADMIN_PROJECT: &str = "1c48c6ec0e674f7dbc7ec18f1b29c47e";
/// A user that asks for what it may not.
const READER: &str = "5f0c7f2d3b1e4c6c8b0a9d8e7f6a5b4c";
/// A rescue image whose properties say which bus it wants.
const STABLE_IMAGE: &str = "20acdcce-7e0c-4fa2-8cf4-489fa2f46373";

/// `hostId` of the member's project on the two hosts of the recorded cloud.
const HOST_ID: &str = "2f1489754118cc2338502b8bfd84fa815eb960e335f23dc62c5e1f28";
const FAKE_HOST_ID: &str = "e1f4ce058a99206a4f629af3efd12879250afe3e4ee91c1a04031d06";

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// The user of the recordings.
    Member,
    /// The administrator, whose project is another one.
    Admin,
    /// Somebody who may only look at the member's project.
    Reader,
}

/// A step of a script. Ids in it are those of the recordings.
#[derive(Debug, Clone, Copy)]
pub enum Step {
    /// Requests that were recorded, one after another.
    Replay(Who, &'static [&'static str]),
    /// A request that nobody recorded: method, path below `/v2.1/`, body.
    Ask(Who, &'static str, &'static str, &'static str),
    /// A server that was made while nobody recorded: body, and the id that it has in the recordings.
    Make(Who, &'static str, &'static str),
    /// The host finishes everything that is under way.
    Settle,
    /// From now on guests have written to their consoles what this recording shows.
    Console(&'static str),
}

/// What the guests' consoles say.
struct Console(Arc<Mutex<String>>);

#[async_trait]
impl RequestHandler for Console {
    async fn answer(&self, question: HostRequest) -> HostResponse {
        match question {
            HostRequest::ConsoleLog { .. } => {
                HostResponse::ConsoleLog { text: self.0.lock().unwrap().clone() }
            }
            HostRequest::Diagnostics { .. } => {
                HostResponse::NotRunning { power: PowerState::NoState }
            }
            HostRequest::CacheImages { .. } => HostResponse::Noted,
        }
    }
}

/// A cloud in which the recordings are replayed.
pub struct Stage<'a> {
    cloud: Cloud,
    reader: String,
    recordings: &'a BTreeMap<String, Recording>,
    console: Arc<Mutex<String>>,
    _serving: Box<dyn std::any::Any + Send>,
    ids: Ids,
    /// What went wrong, in order.
    pub failures: Vec<String>,
    /// Which recordings were replayed.
    pub replayed: BTreeSet<String>,
}

impl<'a> Stage<'a> {
    pub async fn new(recordings: &'a BTreeMap<String, Recording>) -> Self {
        let cloud = Cloud::without_quotas().await;
        let reader = cloud.add_user(READER, "reader", "reader").await;
        cloud.add_image(STABLE_IMAGE, "rescue-stable").await;
        let console = Arc::new(Mutex::new(String::new()));
        let (host, guests) = (HostName::from(HOST), Arc::new(Console(Arc::clone(&console))));
        let serving = cloud.control.bus.serve(&host, guests).await.unwrap();
        let mut ids = Ids::default();
        for known in [PROJECT, USER, IMAGE, STABLE_IMAGE] {
            ids.bind(known, known);
        }
        let admin = cloud.control.store.project_by_name("admin").await.unwrap().unwrap();
        ids.bind(ADMIN_PROJECT, admin.id.as_str());
        // The recorded cloud had a second host in a zone of its own.
        ids.bind("az-fake1", "az-vm");
        ids.bind("fake1", HOST);
        ids.bind(FAKE_HOST_ID, HOST_ID);
        Self {
            cloud,
            reader,
            recordings,
            console,
            _serving: serving,
            ids,
            failures: Vec::new(),
            replayed: BTreeSet::new(),
        }
    }

    /// Plays the steps. What fails is written down and the play goes on.
    pub async fn play(&mut self, script: &[Step], differences: &mut Differences) {
        for step in script {
            match *step {
                Step::Replay(who, names) => {
                    for name in names {
                        self.replay(who, name, differences).await;
                    }
                }
                Step::Ask(who, method, path, body) => {
                    let reply = self.ask(who, (method, path, body)).await;
                    if reply.status >= 300 {
                        self.failures.push(format!("{step:?}: {} {}", reply.status, reply.body));
                    }
                }
                Step::Make(who, body, id) => {
                    let reply = self.ask(who, ("POST", "servers", body)).await;
                    match reply.body["server"]["id"].as_str() {
                        Some(made) => self.ids.bind(id, made),
                        None => self.failures.push(format!("{step:?}: {}", reply.body)),
                    }
                }
                Step::Settle => self.cloud.settle_all().await,
                Step::Console(name) => {
                    let shown = &self.recordings[name].answer["output"];
                    *self.console.lock().unwrap() = shown.as_str().unwrap().to_owned();
                }
            }
        }
    }

    fn token(&self, who: Who) -> &str {
        match who {
            Who::Member => &self.cloud.member,
            Who::Admin => &self.cloud.admin,
            Who::Reader => &self.reader,
        }
    }

    async fn ask(&self, who: Who, (method, path, body): (&str, &str, &str)) -> Reply {
        let path = format!("/v2.1/{}", self.ids.translate(path));
        let body = (!body.is_empty()).then(|| self.ids.translate(body).into_bytes());
        let headers = vec![("openstack-api-version", "compute 2.93")];
        let token = self.token(who);
        self.cloud.ask(&Ask { method, path: &path, token, headers, body }).await
    }

    async fn replay(&mut self, who: Who, name: &str, differences: &mut Differences) {
        let Some(recording) = self.recordings.get(name) else {
            self.failures.push(format!("there is no recording {name}"));
            return;
        };
        let path = self.ids.translate(&recording.path);
        let body = recording
            .body
            .clone()
            .map(|body| self.ids.translate(&String::from_utf8(body).unwrap()).into_bytes());
        let headers = recording.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let ask = Ask {
            method: &recording.method,
            path: &path,
            token: if recording.with_token { self.token(who) } else { "" },
            headers: headers.collect(),
            body,
        };
        let reply = self.cloud.ask(&ask).await;
        self.replayed.insert(name.to_owned());
        let mismatches = self.ids.mismatches(recording, &reply);
        let left = differences.unexpected(name, mismatches, (&mut self.ids, &reply));
        for mismatch in left {
            let (at, recorded, ours) = (mismatch.at, mismatch.recorded, mismatch.ours);
            self.failures
                .push(format!("{name} at '{at}'\n  recorded {recorded}\n  ours     {ours}"));
        }
    }
}
