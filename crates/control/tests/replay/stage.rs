//! Plays a script: recorded requests in their order, and between them what nobody recorded.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use reprieve_core::schedule::ClaimPolicy;
use reprieve_core::{HostName, Timestamp};

use crate::clock::{RecordedClock, time};
use crate::compare::Ids;
use crate::differences::Differences;
use crate::hosts::{Guests, offered};
use crate::recording::Recording;
use crate::support::{Ask, Cloud, HOST, IMAGE, PROJECT, Reply, USER};

/// Project of the administrator.
const ADMIN_PROJECT: &str = "1c48c6ec0e674f7dbc7ec18f1b29c47e";
/// A user that asks for what it may not.
const READER: &str = "5f0c7f2d3b1e4c6c8b0a9d8e7f6a5b4c";
/// A rescue image whose properties say which bus it wants.
const STABLE_IMAGE: &str = "20acdcce-7e0c-4fa2-8cf4-489fa2f46373";

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
    /// A server that was made while nobody recorded: body, and the id that it has in the
    /// recordings.
    Make(Who, &'static str, &'static str),
    /// The hosts finish everything that is under way, at the time of the next recorded request.
    Settle,
    /// The hosts finish at this time what is under way on these servers.
    SettleAt(&'static str, &'static [&'static str]),
    /// From now on guests have written to their consoles what this recording shows.
    Console(&'static str),
    /// From now on guests do what this recording of diagnostics shows.
    Guest(&'static str),
}

/// A cloud in which the recordings are replayed: the two hosts of the recorded one, and its time.
pub struct Stage<'a> {
    cloud: Cloud,
    clock: Arc<RecordedClock>,
    reader: String,
    recordings: &'a BTreeMap<String, Recording>,
    guests: Arc<Guests>,
    _serving: Box<dyn std::any::Any + Send>,
    ids: Ids,
    /// What went wrong, in order.
    pub failures: Vec<String>,
    /// Which recordings were replayed.
    pub replayed: BTreeSet<String>,
}

impl<'a> Stage<'a> {
    pub async fn new(recordings: &'a BTreeMap<String, Recording>) -> Self {
        let clock = Arc::new(RecordedClock::new());
        let cloud = Cloud::without_hosts(&[], clock.clone()).await;
        cloud.lift_quotas().await;
        // The recorded hosts kept no memory for themselves (reserved_host_memory_mb = 0).
        let claims = ClaimPolicy { reserved_memory_mib: 0, ..ClaimPolicy::default() };
        cloud.control.store.claim_by(claims);
        for (name, info) in offered(recordings) {
            cloud.add_host(&name, info).await;
        }
        let reader = cloud.add_user(READER, "reader", "reader").await;
        cloud.add_image(STABLE_IMAGE, "rescue-stable").await;
        let guests = Arc::new(Guests::new());
        let serving = cloud.control.bus.serve(&HostName::from(HOST), guests.clone()).await;
        let mut ids = Ids::default();
        for known in [PROJECT, USER, IMAGE, STABLE_IMAGE] {
            ids.bind(known, known);
        }
        let admin = cloud.control.store.project_by_name("admin").await.unwrap().unwrap();
        ids.bind(ADMIN_PROJECT, admin.id.as_str());
        Self {
            cloud,
            clock,
            reader,
            recordings,
            guests,
            _serving: serving.unwrap(),
            ids,
            failures: Vec::new(),
            replayed: BTreeSet::new(),
        }
    }

    /// Plays a scenario. What fails is written down and the play goes on.
    pub async fn play(&mut self, chapters: &[&[Step]], differences: &mut Differences) {
        let steps: Vec<Step> = chapters.concat();
        for (index, step) in steps.iter().enumerate() {
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
                Step::Settle => {
                    if let Some(time) = self.next_recorded(&steps[index..]) {
                        self.move_to(time).await;
                    }
                    self.cloud.settle_all().await;
                }
                Step::SettleAt(at, servers) => {
                    self.move_to(time(at)).await;
                    for server in servers {
                        self.cloud.settle(self.ids.translate(server).parse().unwrap()).await;
                    }
                }
                Step::Console(name) => self.guests.write(&self.recordings[name]),
                Step::Guest(name) => self.guests.act(&self.recordings[name]),
            }
        }
    }

    /// When the first request of these steps was recorded.
    fn next_recorded(&self, steps: &[Step]) -> Option<Timestamp> {
        steps.iter().find_map(|step| match step {
            Step::Replay(_, names) => Some(self.recordings.get(*names.first()?)?.time),
            Step::Ask(..)
            | Step::Make(..)
            | Step::Settle
            | Step::SettleAt(..)
            | Step::Console(_)
            | Step::Guest(_) => None,
        })
    }

    /// Lets time pass, in which the hosts do not fall silent.
    async fn move_to(&self, time: Timestamp) {
        if self.clock.move_to(time) {
            self.cloud.heartbeat().await;
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
        self.move_to(recording.time).await;
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
