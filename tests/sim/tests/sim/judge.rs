//! The rules that are watched all the time: who touches guests, by whom memory is owned, and what a
//! success promises.
//!
//! The guest's memory of the fake is a pair (boot, count) that only grows while it lives. So memory
//! that is restored a second time, or restored over a later boot, shows as a pair that got smaller,
//! and a cold boot that is told as a resume as another boot than the one that was saved.
//!
//! A server whose host another machine or another directory took the name of is set aside: two agents
//! with different files both know of it, and only a person can say which is right. Of those it is
//! still watched that no two agents touch the guest at a time, and that nothing of it is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reprieve_core::message::{OperationResult, Report, ReportBody, RunOperation};
use reprieve_core::{HostName, InstanceId, OperationId, OperationKind, PowerReason, PowerState};
use reprieve_hypervisor::fake::{Call, FakeHypervisor};

use crate::promises::Promised;
use crate::story::Story;

/// Boot and count.
pub type Memory = (u64, u64);

/// An agent is about to do something to a guest.
pub struct Touch<'a> {
    /// Machine.
    pub machine: &'a str,
    /// Which start of an agent.
    pub agent: u64,
    /// What.
    pub call: Call,
    /// Whose guest.
    pub server: InstanceId,
    /// What is durable about this server where the agent keeps such.
    pub promised: Promised,
}

/// Who watches. Clones are the same.
#[derive(Clone)]
pub struct Judge {
    story: Story,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    machines: BTreeMap<HostName, FakeHypervisor>,
    /// Newest memory of each guest that was seen.
    seen: BTreeMap<InstanceId, Memory>,
    /// Memory that was written to a file.
    saved: BTreeMap<InstanceId, Memory>,
    /// Operations as they were sent first, and the guest's boot at that time.
    sent: BTreeMap<OperationId, (OperationKind, Option<u64>)>,
    /// How operations ended, as their host said first.
    ended: BTreeMap<OperationId, OperationResult>,
    succeeded: BTreeMap<OperationKind, u64>,
    /// The last agent that touched a guest of a machine.
    touched: BTreeMap<(String, InstanceId), u64>,
    /// The newest epochs that agents spoke with.
    epochs: BTreeMap<u64, i64>,
    /// Guests with a process.
    alive: BTreeSet<InstanceId>,
    /// Guests that may end: somebody asked for it, or they do it themselves.
    may_end: BTreeSet<InstanceId>,
    /// Servers whose saved memory was damaged.
    damaged: BTreeSet<InstanceId>,
    /// Servers whose owner has asked for what gives up saved memory.
    given_up: BTreeSet<InstanceId>,
    /// Hosts whose name another machine or directory has taken.
    two_faced: BTreeSet<HostName>,
    set_aside: BTreeSet<InstanceId>,
}

impl State {
    /// Whether one start of an agent came before another: who was registered counts by that, because of
    /// two that were started at a time either may be the first.
    fn came_before(&self, one: u64, other: u64) -> bool {
        match (self.epochs.get(&one), self.epochs.get(&other)) {
            (Some(one), Some(other)) => one < other,
            _ => one < other,
        }
    }
}

impl Judge {
    /// With nobody to watch yet.
    pub fn new(story: &Story) -> Self {
        Self { story: story.clone(), state: Arc::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Watches the guests of a machine.
    pub fn watch(&self, host: &HostName, machine: &FakeHypervisor) {
        self.state().machines.insert(host.clone(), machine.clone());
    }

    /// The name of a host is used for other files, or not any more.
    pub fn set_two_faced(&self, host: &HostName, two_faced: bool) {
        if two_faced {
            self.state().two_faced.insert(host.clone());
        } else {
            self.state().two_faced.remove(host);
        }
    }

    /// A server is set aside.
    pub fn set_aside(&self, id: InstanceId) {
        self.state().set_aside.insert(id);
    }

    /// Whether a server is set aside.
    pub fn is_aside(&self, id: InstanceId) -> bool {
        self.state().set_aside.contains(&id)
    }

    /// A guest is about to end by itself.
    pub fn may_end(&self, id: InstanceId) {
        self.state().may_end.insert(id);
    }

    /// The machine of a host is about to be restarted, which ends all of its guests.
    pub fn restarted(&self, host: &HostName) {
        self.look();
        let mut state = self.state();
        let State { machines, alive, may_end, .. } = &mut *state;
        let guests = machines.get(host).map(FakeHypervisor::known).unwrap_or_default();
        may_end.extend(guests.into_iter().filter(|id| alive.contains(id)));
    }

    /// The memory of a guest that was saved last.
    pub fn saved(&self, id: InstanceId) -> Option<Memory> {
        self.state().saved.get(&id).copied()
    }

    /// The saved memory of a server was damaged.
    pub fn damaged(&self, id: InstanceId) {
        let mut state = self.state();
        state.damaged.insert(id);
        state.given_up.remove(&id);
    }

    /// Whether damaged memory need not be kept any more.
    pub fn is_given_up(&self, id: InstanceId) -> bool {
        self.state().given_up.contains(&id)
    }

    /// Damaged memory is gone as its owner wished.
    pub fn forget_damage(&self, id: InstanceId) {
        self.state().damaged.remove(&id);
    }

    /// How often each kind of operation went well.
    pub fn succeeded(&self) -> BTreeMap<OperationKind, u64> {
        self.state().succeeded.clone()
    }

    fn broken(&self, id: InstanceId, what: std::fmt::Arguments<'_>) {
        self.story.broken(format_args!("{}: {what}", self.story.name("s", id.uuid())));
    }

    /// An agent is about to do something to a guest.
    pub fn touched(&self, touch: &Touch<'_>) {
        let Touch { machine, agent, call, server, promised } = touch;
        let mut state = self.state();
        let last = state.touched.insert(((*machine).to_owned(), *server), *agent);
        if let Some(last) = last.filter(|last| state.came_before(*agent, *last)) {
            let call = call.name();
            self.broken(*server, format_args!("I1: agent {agent} wants {call} after agent {last}"));
        }
        let Promised { under_way, deleted } = promised;
        // A definition that was removed and is back is nobody's.
        let returned = *call == Call::Undefine && *deleted && !state.alive.contains(server);
        if under_way.is_empty() && !returned {
            let call = call.name();
            self.broken(*server, format_args!("I2: {call} without an intent in the ledger"));
        }
        if ends_guests(*call) {
            state.may_end.insert(*server);
            let ends = |kind: &OperationKind| {
                !matches!(kind, OperationKind::Pause | OperationKind::Unpause)
            };
            if !under_way.iter().any(ends) {
                let call = call.name();
                self.broken(*server, format_args!("I7: {call} during {under_way:?}"));
            }
        }
    }

    /// Looks at all guests. To be called whenever they have run, and often enough between.
    pub fn look(&self) {
        let mut state = self.state();
        let State { machines, seen, saved, alive, may_end, set_aside, .. } = &mut *state;
        let mut living = BTreeSet::new();
        for machine in machines.values() {
            for id in machine.known() {
                let memory = machine.memory(id);
                if let Some(memory) = memory {
                    living.insert(id);
                    let before = seen.insert(id, memory).unwrap_or(memory);
                    if memory < before && !set_aside.contains(&id) {
                        self.broken(
                            id,
                            format_args!("I8: its memory went back from {before:?} to {memory:?}"),
                        );
                    }
                }
                let truth = machine.truth(id);
                let is_saved = truth.is_some_and(|truth| {
                    truth.power == PowerState::Shutdown && truth.reason == PowerReason::Saved
                });
                if let Some(memory) = seen.get(&id).filter(|_| is_saved) {
                    saved.insert(id, *memory);
                }
            }
        }
        for id in alive.difference(&living) {
            if !may_end.remove(id) {
                self.broken(*id, format_args!("I7: its guest ended, and nobody asked for it"));
            }
        }
        // Who is alive again may not end for what ended it before.
        may_end.retain(|id| alive.contains(id) || !living.contains(id));
        *alive = living;
    }

    /// An agent speaks as the one that has this epoch.
    pub fn speaks(&self, agent: u64, epoch: i64) {
        let mut state = self.state();
        let newest = state.epochs.entry(agent).or_insert(epoch);
        *newest = epoch.max(*newest);
    }

    /// An operation is sent to a host.
    pub fn commanded(&self, host: &HostName, run: &RunOperation) {
        let mut state = self.state();
        let id = run.spec.id;
        if state.two_faced.contains(host) {
            state.set_aside.insert(id);
        }
        if state.sent.contains_key(&run.operation_id) {
            return;
        }
        if matches!(run.kind, OperationKind::RebootHard | OperationKind::Delete) {
            state.given_up.insert(id);
        }
        let memory = state.machines.values().find_map(|machine| machine.memory(id));
        state.sent.insert(run.operation_id, (run.kind, memory.map(|(boot, _)| boot)));
    }

    /// A host says that an operation has ended.
    pub fn finished(&self, report: &Report) {
        self.look();
        let ReportBody::Finished { operation_id, instance_id, result, .. } = &report.body else {
            return;
        };
        let mut state = self.state();
        if state.set_aside.contains(instance_id) {
            return;
        }
        if let Some(first) = state.ended.get(operation_id) {
            if first != result {
                self.broken(
                    *instance_id,
                    format_args!("I3: an operation ended twice: {first:?}, then {result:?}"),
                );
            }
            return;
        }
        state.ended.insert(*operation_id, result.clone());
        match result {
            OperationResult::Succeeded => {}
            OperationResult::Failed { .. } => return self.story.count("operations that failed"),
            OperationResult::Cancelled => return self.story.count("operations stopped by hosts"),
        }
        let Some((kind, boot)) = state.sent.get(operation_id).copied() else { return };
        *state.succeeded.entry(kind).or_default() += 1;
        let machine = state.machines.get(&report.host);
        let now = machine.and_then(|machine| machine.memory(*instance_id));
        let saved = state.saved.get(instance_id).copied();
        if kind == OperationKind::Resume && state.damaged.contains(instance_id) {
            self.broken(*instance_id, format_args!("I8: its damaged memory was restored"));
        }
        if let Some(now) = unlike_promised(kind, now, (saved, boot)) {
            self.broken(
                *instance_id,
                format_args!(
                    "I8: {kind} is told as a success, but its memory is {now:?}; saved {saved:?}, \
                     boot before {boot:?}"
                ),
            );
        }
    }
}

/// Whether a guest may end by this call.
pub fn ends_guests(call: Call) -> bool {
    matches!(call, Call::Destroy | Call::RequestShutdown | Call::SaveMemory)
}

/// The guest's memory, if it is not what the success of an operation promises. A guest that has ended
/// by itself since has no memory any more.
fn unlike_promised(
    kind: OperationKind,
    now: Option<Memory>,
    (saved, boot): (Option<Memory>, Option<u64>),
) -> Option<Memory> {
    match kind {
        OperationKind::Resume => now.filter(|now| match saved {
            Some(saved) => now.0 != saved.0 || *now < saved,
            None => true,
        }),
        OperationKind::Pause | OperationKind::Unpause => {
            now.filter(|(now, _)| boot.is_some_and(|boot| boot != *now))
        }
        OperationKind::Create
        | OperationKind::Delete
        | OperationKind::Suspend
        | OperationKind::Rescue
        | OperationKind::Unrescue
        | OperationKind::Stop
        | OperationKind::Start
        | OperationKind::RebootSoft
        | OperationKind::RebootHard => None,
    }
}
