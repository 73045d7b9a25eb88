//! The rules that are watched all the time: by whom memory is owned, and what a success promises.
//!
//! The guest's memory of the fake is a pair (boot, count) that only grows while it lives. So memory
//! that is restored a second time, or restored over a later boot, shows as a pair that got smaller,
//! and a cold boot that is told as a resume as another boot than the one that was saved.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reprieve_core::message::{OperationResult, Report, ReportBody, RunOperation};
use reprieve_core::{HostName, InstanceId, OperationId, OperationKind, PowerReason, PowerState};
use reprieve_hypervisor::fake::FakeHypervisor;

use crate::story::Story;

/// Boot and count.
type Memory = (u64, u64);

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
    ended: BTreeSet<OperationId>,
    succeeded: BTreeMap<OperationKind, u64>,
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

    /// Looks at all guests. To be called whenever they have run, and often enough between.
    pub fn look(&self) {
        let mut state = self.state();
        let State { machines, seen, saved, .. } = &mut *state;
        for machine in machines.values() {
            for id in machine.known() {
                let memory = machine.memory(id);
                if let Some(memory) = memory {
                    let before = seen.insert(id, memory).unwrap_or(memory);
                    if memory < before {
                        let server = self.story.name("s", id.uuid());
                        self.story.broken(format_args!(
                            "I8: memory of {server} went back from {before:?} to {memory:?}"
                        ));
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
    }

    /// How often each kind of operation went well.
    pub fn succeeded(&self) -> BTreeMap<OperationKind, u64> {
        self.state().succeeded.clone()
    }

    /// An operation is sent to a host.
    pub fn commanded(&self, run: &RunOperation) {
        let mut state = self.state();
        if state.sent.contains_key(&run.operation_id) {
            return;
        }
        let id = run.spec.id;
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
        if !state.ended.insert(*operation_id) || *result != OperationResult::Succeeded {
            return;
        }
        let Some((kind, boot)) = state.sent.get(operation_id).copied() else { return };
        *state.succeeded.entry(kind).or_default() += 1;
        let machine = state.machines.get(&report.host);
        let now = machine.and_then(|machine| machine.memory(*instance_id));
        let saved = state.saved.get(instance_id).copied();
        let broken = match kind {
            // A guest that has ended by itself since has no memory any more.
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
        };
        if let Some(now) = broken {
            let server = self.story.name("s", instance_id.uuid());
            self.story.broken(format_args!(
                "{kind} of {server} is told as a success, but its memory is {now:?}; saved {saved:?}, \
                 boot before {boot:?}"
            ));
        }
    }
}
