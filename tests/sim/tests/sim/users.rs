//! Users: what they ask for, and what they are told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reprieve_control::Control;
use reprieve_control::app::servers::{self, NewServer, RescueRequest, Target};
use reprieve_control::app::{AppError, Call, hosts, operations};
use reprieve_core::reboot::{METADATA_KEY, RebootPolicy};
use reprieve_core::{HostName, InstanceId, OperationId, OperationKind, RequestId, VmState};
use reprieve_store::{InstanceRecord, OperationQuery};

use crate::chance::Chance;
use crate::cloud::{FLAVOR, user};
use crate::story::Story;

/// Servers that there are at most.
const SERVERS: usize = 6;

/// What a user asks for.
#[derive(Debug, Clone)]
pub enum Wish {
    /// A new server.
    Create,
    /// An operation without arguments.
    Run(InstanceId, OperationKind),
    /// A rescue, with the other image or the server's own.
    Rescue(InstanceId, bool),
    /// A lock.
    Lock(InstanceId),
    /// Its end, by somebody with this role.
    Unlock(InstanceId, &'static str),
    /// That an operation of this server is stopped, by somebody with this role.
    Cancel(InstanceId, OperationId, &'static str),
    /// That new servers may come to a host, or may not.
    Accepting(HostName, bool),
    /// That what runs on a host is suspended because the host goes down.
    SuspendHost(HostName),
    /// That what was suspended so goes on.
    ResumeHost(HostName),
    /// Only to see something.
    Look(InstanceId, Look),
}

/// What a user wants to see.
#[derive(Debug, Clone, Copy)]
pub enum Look {
    /// The server.
    Server,
    /// Its actions.
    Actions,
    /// Its console.
    Console,
    /// All operations.
    Operations,
}

/// What came of a wish.
#[derive(Debug)]
pub enum Reply {
    /// It was accepted.
    Accepted,
    /// It was refused, with a reason that is the user's.
    Refused(String),
    /// The service says that it failed.
    Broken(String),
}

/// Replies that have come. Clones are the same.
#[derive(Clone, Default)]
pub struct Replies(Arc<Mutex<Heard>>);

#[derive(Default)]
struct Heard {
    replies: Vec<(Wish, Reply)>,
    requests: BTreeSet<String>,
}

impl Replies {
    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, wish: Wish, reply: Reply) {
        self.heard().replies.push((wish, reply));
    }

    fn asked(&self, request: &RequestId) {
        self.heard().requests.insert(request.as_str().to_owned());
    }

    /// Takes them.
    pub fn take(&self) -> Vec<(Wish, Reply)> {
        std::mem::take(&mut self.heard().replies)
    }

    /// Whether somebody has made this request.
    pub fn is_of_somebody(&self, request: &RequestId) -> bool {
        self.heard().requests.contains(request.as_str())
    }
}

/// What the users of these servers, and the operators of these hosts, wish for next.
pub fn wish(chance: &mut Chance, servers: &[Arc<InstanceRecord>], hosts: &[HostName]) -> Wish {
    use OperationKind as K;
    let live = servers.len();
    if live < 2 || (live < SERVERS && chance.permille(120)) {
        return Wish::Create;
    }
    let Some(server) = chance.pick(servers) else { return Wish::Create };
    let id = server.id;
    match chance.below(100) {
        0..6 => {
            let looks = [Look::Server, Look::Actions, Look::Console, Look::Operations];
            return Wish::Look(id, chance.pick(&looks).copied().unwrap_or(Look::Server));
        }
        6..8 => return Wish::Lock(id),
        8..13 => return Wish::Unlock(id, either(chance)),
        13..17 => return Wish::Run(id, K::Delete),
        // Anything, at any time.
        17..29 => {
            let kind = chance.pick(K::ALL).copied().unwrap_or(K::Pause);
            return of_kind(chance, id, kind);
        }
        29..38 => {
            let under_way: Vec<_> = servers.iter().filter(|one| one.active.is_some()).collect();
            let one = chance.pick(&under_way).copied();
            if let Some((id, (operation, _))) = one.and_then(|one| Some((one.id, one.active?))) {
                return Wish::Cancel(id, operation, either(chance));
            }
        }
        38..41 => {
            let accepting = chance.permille(700);
            if let Some(host) = chance.pick(hosts) {
                return Wish::Accepting(host.clone(), accepting);
            }
        }
        41..43 => {
            let back = chance.permille(400);
            if let Some(host) = chance.pick(hosts).cloned() {
                return if back { Wish::ResumeHost(host) } else { Wish::SuspendHost(host) };
            }
        }
        _ => {}
    }
    let fitting: &[K] = match server.vm_state {
        VmState::Building | VmState::Deleted => &[K::Delete],
        VmState::Active => {
            &[K::Pause, K::Suspend, K::Suspend, K::Rescue, K::Stop, K::RebootSoft, K::RebootHard]
        }
        VmState::Paused => &[K::Unpause, K::Unpause, K::Unpause, K::RebootHard],
        VmState::Suspended => &[K::Resume, K::Resume, K::Resume, K::Resume, K::RebootHard],
        VmState::Stopped => &[K::Start, K::Start, K::Rescue, K::RebootHard],
        VmState::Rescued => &[K::Unrescue],
        VmState::Error => &[K::RebootHard, K::Rescue, K::Unrescue, K::Stop, K::Delete],
    };
    let kind = chance.pick(fitting).copied().unwrap_or(K::Delete);
    of_kind(chance, id, kind)
}

fn either(chance: &mut Chance) -> &'static str {
    if chance.permille(500) { "admin" } else { "member" }
}

fn of_kind(chance: &mut Chance, id: InstanceId, kind: OperationKind) -> Wish {
    match kind {
        OperationKind::Create => Wish::Create,
        OperationKind::Rescue => Wish::Rescue(id, chance.permille(500)),
        OperationKind::Delete
        | OperationKind::Pause
        | OperationKind::Unpause
        | OperationKind::Suspend
        | OperationKind::Resume
        | OperationKind::Unrescue
        | OperationKind::Stop
        | OperationKind::Start
        | OperationKind::RebootSoft
        | OperationKind::RebootHard => Wish::Run(id, kind),
    }
}

/// Of eight requests one is for an operation that nobody wants any more after five seconds to a minute. The
/// id was drawn already, so this changes no other part of a story.
fn deadline(request_id: &RequestId) -> Option<Duration> {
    let drawn =
        request_id.as_str().bytes().fold(0_u64, |all, byte| all * 31 % 6151 + u64::from(byte));
    drawn.is_multiple_of(8).then(|| Duration::from_secs(5 + drawn % 56))
}

/// Of four servers three leave it to their host what is done after a restart of it.
fn metadata(request_id: &RequestId) -> BTreeMap<String, String> {
    let drawn = request_id.as_str().bytes().map(usize::from).sum::<usize>();
    let of_its_own = drawn.is_multiple_of(4).then(|| drawn / 4 % RebootPolicy::ALL.len());
    let policy = of_its_own.and_then(|index| RebootPolicy::ALL.get(index));
    policy.map(|policy| (METADATA_KEY.to_owned(), policy.to_string())).into_iter().collect()
}

/// Makes the request, in a task of the process that takes requests.
pub async fn ask(
    control: Arc<Control>,
    wish: Wish,
    images: (reprieve_core::ImageId, reprieve_core::ImageId),
    (story, replies): (Story, Replies),
) {
    let (role, request_id) = (role(&wish), RequestId::random());
    let auth = user(role);
    let (auth, request_id) = (&auth, &request_id);
    replies.asked(request_id);
    let deadline = deadline(request_id);
    let call = Call { control: &control, auth, request_id, deadline };
    let answered = match wish.clone() {
        Wish::Create => {
            let metadata = metadata(request_id);
            let new = NewServer { metadata, ..new_server(images.0) };
            servers::create(&call, new).await.map(drop)
        }
        Wish::Run(id, kind) => servers::run(&call, id, kind).await,
        Wish::Rescue(id, other) => {
            let image = other.then(|| images.1.to_string());
            let request = RescueRequest { admin_password: None, image };
            servers::rescue(&call, id, request).await.map(drop)
        }
        Wish::Lock(id) => servers::lock(&call, id, None).await,
        Wish::Unlock(id, _) => servers::unlock(&call, id).await,
        Wish::Cancel(_, id, _) => operations::cancel(&call, id).await,
        Wish::Accepting(host, yes) => {
            let reason = (!yes).then(|| "simulated".to_owned());
            hosts::accept_servers(&call, &host, (yes, reason)).await.map(drop)
        }
        Wish::SuspendHost(host) => servers::suspend_for_host(&call, &host).await.map(drop),
        Wish::ResumeHost(host) => servers::resume_for_host(&call, &host).await.map(drop),
        Wish::Look(id, look) => see(&call, id, look).await,
    };
    let reply = match answered {
        Ok(()) => Reply::Accepted,
        Err(error @ (AppError::Internal { .. } | AppError::Unavailable { .. })) => {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            Reply::Broken(format!("{error}: {}", cause.unwrap_or_default()))
        }
        Err(error) => Reply::Refused(error.to_string()),
    };
    story.tell(format_args!("{role} {}: {reply:?}", tell(&story, &wish)));
    replies.push(wish, reply);
}

fn role(wish: &Wish) -> &'static str {
    match wish {
        Wish::Unlock(_, role) | Wish::Cancel(_, _, role) => role,
        Wish::Accepting(..) | Wish::SuspendHost(_) | Wish::ResumeHost(_) => "admin",
        Wish::Create | Wish::Run(..) | Wish::Rescue(..) | Wish::Lock(_) | Wish::Look(..) => {
            "member"
        }
    }
}

fn tell(story: &Story, wish: &Wish) -> String {
    let name = |id: &InstanceId| story.name("s", id.uuid());
    match wish {
        Wish::Create => "create".to_owned(),
        Wish::Run(id, kind) => format!("{kind} {}", name(id)),
        Wish::Rescue(id, other) => format!("rescue {} {other}", name(id)),
        Wish::Lock(id) => format!("lock {}", name(id)),
        Wish::Unlock(id, _) => format!("unlock {}", name(id)),
        Wish::Cancel(id, operation, _) => {
            format!("cancel {} of {}", story.name("o", operation.uuid()), name(id))
        }
        Wish::Accepting(host, yes) => format!("let servers come to {host}: {yes}"),
        Wish::SuspendHost(host) => format!("suspend what runs on {host}"),
        Wish::ResumeHost(host) => format!("resume what was suspended for {host}"),
        Wish::Look(id, look) => format!("look at {look:?} of {}", name(id)),
    }
}

async fn see(call: &Call<'_>, id: InstanceId, look: Look) -> Result<(), AppError> {
    match look {
        Look::Server => servers::get(call, id).await.map(drop),
        Look::Actions => servers::actions(call, id).await.map(drop),
        Look::Console => servers::console_log(call, id, Some(10)).await.map(drop),
        Look::Operations => {
            let query = OperationQuery { limit: 20, ..OperationQuery::default() };
            operations::list(call, query).await.map(drop)
        }
    }
}

fn new_server(image: reprieve_core::ImageId) -> NewServer {
    NewServer {
        name: "s".into(),
        description: None,
        hostname: None,
        image,
        flavor_id: FLAVOR.into(),
        key_name: None,
        metadata: Default::default(),
        tags: Vec::new(),
        user_data: None,
        admin_password: None,
        config_drive: Some(true),
        availability_zone: None,
        forced: Target::default(),
        requested: Target::default(),
        min_count: 1,
        max_count: 1,
        disk_config: None,
        access_ip_v4: None,
        access_ip_v6: None,
        scheduler_hints: Default::default(),
        injected_files: Vec::new(),
    }
}
