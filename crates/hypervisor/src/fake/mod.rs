//! A hypervisor in memory with simulated guests and injected faults, for fast tests of everything
//! above the port.
//!
//! It keeps the traits of the real one that a step must cope with: resuming a running guest fails
//! while suspending a paused one succeeds; a second destroy fails; a save leaves the domain off; a
//! save goes on when its caller is gone; an error does not prove that nothing happened; a damaged
//! save file is restored as readily as a sound one if only its header is right.
//!
//! A guest is a counter that goes on only while its CPUs run ([`FakeHypervisor::advance`]). Its memory
//! is that counter: it is written into the save file and read back from there, so a test can prove
//! that memory continues. A guest that runs writes to its boot disk, so a test can prove that nothing
//! ran over disks that saved memory depends on, or over the own disk during a rescue.
//!
//! ```text
//! (no domain) --define--> off --start--> running <--suspend_cpus / resume_cpus--> paused
//!                          ^  \--restore_memory--------------------------------------^
//!                          +---- destroy, shutdown, save_memory, guest_powers_off --- running, paused
//! ```
//!
//! Faults are aimed at the next call of one kind: [`FakeHypervisor::fail_next`] (nothing happens),
//! [`FakeHypervisor::lose_answer`] (it happens, the caller hears an error),
//! [`FakeHypervisor::crash_at`] (the caller never hears anything: drop it, as a kill -9 would).

mod guest;
mod image;
mod port;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reprieve_core::console::DomainConsole;
use reprieve_core::ports::{DomainState, HypervisorError, HypervisorEvent};
use reprieve_core::{InstanceId, PowerReason, PowerState};
use tokio::sync::{broadcast, oneshot};

use guest::Domain;
pub use image::FakeImageSource;

/// Events that a slow listener may be behind before it is told to look at everything.
const EVENT_BUFFER: usize = 1024;

/// A call of the `Hypervisor` port, to aim a fault at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Call {
    /// `host`
    Host,
    /// `list`
    List,
    /// `domain`
    Domain,
    /// `define`
    Define,
    /// `definition`
    Definition,
    /// `define_xml`
    DefineXml,
    /// `start`
    Start,
    /// `suspend_cpus`
    SuspendCpus,
    /// `resume_cpus`
    ResumeCpus,
    /// `wake`
    Wake,
    /// `request_shutdown`
    RequestShutdown,
    /// `destroy`
    Destroy,
    /// `undefine`
    Undefine,
    /// `save_memory`
    SaveMemory,
    /// `save_is_complete`
    SaveIsComplete,
    /// `restore_memory`
    RestoreMemory,
    /// `abort_job`
    AbortJob,
    /// `job_progress`
    JobProgress,
    /// `stats`
    Stats,
    /// `consoles`
    Consoles,
    /// `sync_clock`
    SyncClock,
}

impl Call {
    /// The calls that change something: those between whose before and after a crash matters.
    pub const EFFECTS: [Self; 13] = [
        Self::Define,
        Self::DefineXml,
        Self::Start,
        Self::SuspendCpus,
        Self::ResumeCpus,
        Self::Wake,
        Self::RequestShutdown,
        Self::Destroy,
        Self::Undefine,
        Self::SaveMemory,
        Self::RestoreMemory,
        Self::AbortJob,
        Self::SyncClock,
    ];

    /// The name of the call.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::List => "list",
            Self::Domain => "domain",
            Self::Define => "define",
            Self::Definition => "definition",
            Self::DefineXml => "define_xml",
            Self::Start => "start",
            Self::SuspendCpus => "suspend_cpus",
            Self::ResumeCpus => "resume_cpus",
            Self::Wake => "wake",
            Self::RequestShutdown => "request_shutdown",
            Self::Destroy => "destroy",
            Self::Undefine => "undefine",
            Self::SaveMemory => "save_memory",
            Self::SaveIsComplete => "save_is_complete",
            Self::RestoreMemory => "restore_memory",
            Self::AbortJob => "abort_job",
            Self::JobProgress => "job_progress",
            Self::Stats => "stats",
            Self::Consoles => "consoles",
            Self::SyncClock => "sync_clock",
        }
    }
}

/// Whether the caller dies before or after the effect of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Before: nothing has happened.
    Before,
    /// After: it has happened but the caller never hears of it.
    After,
}

/// What is to happen to the next call of one kind.
#[derive(Debug)]
enum Fault {
    /// Nothing happens; the caller hears this.
    Fail(HypervisorError),
    /// It happens; the caller hears this.
    LoseAnswer(HypervisorError),
    /// The caller hears nothing, ever; the test hears that it got there.
    Crash(Moment, oneshot::Sender<()>),
}

/// How the next save goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SaveDefect {
    /// The guest is gone and the file incomplete, as after a power cut in the middle of a save.
    Incomplete,
    /// The file is complete and says so, but a bit of the memory in it is wrong.
    FlippedBit,
}

/// The fake. Clones share one state, which survives the "crash" of whoever uses it.
#[derive(Debug, Clone)]
pub struct FakeHypervisor {
    /// Where the servers' directories of this user of it are.
    instances: PathBuf,
    state: Arc<Mutex<State>>,
    events: broadcast::Sender<HypervisorEvent>,
}

#[derive(Debug)]
struct State {
    domains: BTreeMap<InstanceId, Domain>,
    /// Domains that are gone, which is not on disk yet.
    undefined: BTreeMap<InstanceId, Domain>,
    /// How often guests were booted whose domains are gone.
    former_boots: HashMap<InstanceId, u64>,
    faults: Vec<(Call, Fault)>,
    held: Vec<(Call, oneshot::Receiver<()>)>,
    delays: HashMap<Call, Duration>,
    save_defect: Option<SaveDefect>,
    disconnected: Option<String>,
    consoles: Vec<DomainConsole>,
    calls: Vec<(Call, Option<InstanceId>)>,
}

impl State {
    /// The domain of a server, a new one if there is none. Boots are counted over all domains that a
    /// server has had: its memory never gets older by losing its domain.
    fn domain(&mut self, id: InstanceId) -> &mut Domain {
        let boots = self.former_boots.get(&id).copied().unwrap_or(0);
        let former = self.undefined.remove(&id);
        self.domains.entry(id).or_insert_with(|| Domain::new(id, boots).after(former))
    }

    fn forget(&mut self, id: InstanceId) {
        if let Some(gone) = self.domains.remove(&id) {
            self.former_boots.insert(id, gone.boots);
            self.undefined.insert(id, gone);
        }
    }
}

impl FakeHypervisor {
    /// With servers' directories below `instances`, as [`reprieve_core::ports::InstancePaths`].
    #[must_use]
    pub fn new(instances: PathBuf) -> Self {
        let state = State {
            domains: BTreeMap::new(),
            undefined: BTreeMap::new(),
            former_boots: HashMap::new(),
            faults: Vec::new(),
            held: Vec::new(),
            delays: HashMap::new(),
            save_defect: None,
            disconnected: None,
            consoles: Vec::new(),
            calls: Vec::new(),
        };
        let (events, _) = broadcast::channel(EVENT_BUFFER);
        Self { instances, state: Arc::new(Mutex::new(state)), events }
    }

    /// The same hypervisor and guests, used by somebody who keeps servers' directories elsewhere.
    #[must_use]
    pub fn used_from(&self, instances: PathBuf) -> Self {
        Self { instances, ..self.clone() }
    }

    /// The next `call` fails with `error` and has no effect. May be given several times for several
    /// calls.
    pub fn fail_next(&self, call: Call, error: HypervisorError) {
        self.state().faults.push((call, Fault::Fail(error)));
    }

    /// The next `call` has its effect, but the caller hears `error` (typically a time-out).
    pub fn lose_answer(&self, call: Call, error: HypervisorError) {
        self.state().faults.push((call, Fault::LoseAnswer(error)));
    }

    /// The next `call` never returns. The receiver fires when that point is reached; then drop the
    /// caller, as a kill -9 would, and start a new one on the same fake.
    pub fn crash_at(&self, call: Call, moment: Moment) -> oneshot::Receiver<()> {
        let (reached, receiver) = oneshot::channel();
        self.state().faults.push((call, Fault::Crash(moment, reached)));
        receiver
    }

    /// Every `call` takes this long from now on (by tokio's clock). A save is a job meanwhile.
    pub fn delay(&self, call: Call, time: Duration) {
        self.state().delays.insert(call, time);
    }

    /// The next `call` waits, before its effect, until the sender is used or dropped. A save is a
    /// job meanwhile, and goes on without its caller.
    #[must_use]
    pub fn hold_next(&self, call: Call) -> oneshot::Sender<()> {
        let (release, held) = oneshot::channel();
        self.state().held.push((call, held));
        release
    }

    /// The next save goes wrong.
    pub fn break_next_save(&self, defect: SaveDefect) {
        self.state().save_defect = Some(defect);
    }

    /// The next save goes well after all.
    pub fn mend_next_save(&self) {
        self.state().save_defect = None;
    }

    /// Whether the guest ignores the ACPI power button.
    pub fn ignore_shutdown(&self, id: InstanceId, ignores: bool) {
        self.with_domain(id, |domain| domain.ignores_shutdown = ignores);
    }

    /// The connection breaks (with a reason) or comes back.
    pub fn set_disconnected(&self, reason: Option<&str>) {
        self.state().disconnected = reason.map(str::to_owned);
        self.emit(self.connection());
    }

    /// How the connection is.
    pub(super) fn connection(&self) -> HypervisorEvent {
        match self.state().disconnected.clone() {
            Some(reason) => HypervisorEvent::Disconnected(reason),
            None => HypervisorEvent::Connected,
        }
    }

    /// Lets every running guest count `ticks` further and write to its boot disk.
    pub fn advance(&self, ticks: u64) {
        let mut state = self.state();
        let State { domains, .. } = &mut *state;
        for domain in domains.values_mut() {
            domain.live(ticks);
        }
    }

    /// The guest's counter; `None` when it has no process.
    #[must_use]
    pub fn counter(&self, id: InstanceId) -> Option<u64> {
        self.state().domains.get(&id).and_then(Domain::counter)
    }

    /// The guest's memory: the boot it is from, and the counter; `None` when it has no process. Over
    /// the life of a guest it never gets smaller, unless memory is restored that ran on already.
    #[must_use]
    pub fn memory(&self, id: InstanceId) -> Option<(u64, u64)> {
        self.state().domains.get(&id).and_then(Domain::memory)
    }

    /// What is true about a domain, whether or not the hypervisor can be reached.
    #[must_use]
    pub fn truth(&self, id: InstanceId) -> Option<DomainState> {
        self.state().domains.get(&id).map(Domain::state)
    }

    /// All domains.
    #[must_use]
    pub fn known(&self) -> Vec<InstanceId> {
        self.state().domains.keys().copied().collect()
    }

    /// How often the guest was booted (restores do not count).
    #[must_use]
    pub fn boots(&self, id: InstanceId) -> u64 {
        self.state().domains.get(&id).map_or(0, |domain| domain.boots)
    }

    /// The guest powers itself off.
    pub fn guest_powers_off(&self, id: InstanceId) {
        self.with_domain(id, |domain| domain.end(PowerState::Shutdown, PowerReason::GuestShutdown));
        self.emit(HypervisorEvent::Changed(id));
    }

    /// The guest crashes.
    pub fn guest_crashes(&self, id: InstanceId) {
        self.with_domain(id, |domain| domain.end(PowerState::Crashed, PowerReason::Crashed));
        self.emit(HypervisorEvent::Changed(id));
    }

    /// The machine is restarted: no guest has a process any more, nobody knows why, and whatever was
    /// being done to them has ended with it. Definitions and files stay; what ran without a definition is
    /// gone.
    pub fn reboot_machine(&self) {
        let mut state = self.state();
        for domain in state.domains.values_mut() {
            domain.end(PowerState::Shutdown, PowerReason::Unknown);
        }
        let without = state.domains.iter().filter(|(_, domain)| domain.is_gone());
        let without: Vec<_> = without.map(|(id, _)| *id).collect();
        without.into_iter().for_each(|id| state.forget(id));
        drop(state);
        self.emit(HypervisorEvent::Connected);
    }

    /// What was defined and undefined so far reaches the disk, as it does within half a minute.
    pub fn write_back(&self) {
        let mut state = self.state();
        state.undefined.clear();
        state.domains.values_mut().for_each(guest::Domain::write_back);
    }

    /// The machine loses its power: as [`Self::reboot_machine`], and what each domain was last defined
    /// as, or that it was undefined, had not reached the disk.
    pub fn lose_power(&self) {
        let mut state = self.state();
        let mut back = std::mem::take(&mut state.undefined);
        state.domains.append(&mut back);
        state.domains.values_mut().for_each(guest::Domain::forget_definition);
        drop(state);
        self.reboot_machine();
    }

    /// The power state of a guest with a process becomes another one, behind everybody's back: an
    /// operator with virsh, an I/O error, a guest that goes to sleep.
    pub fn set_power(&self, id: InstanceId, power: PowerState, reason: PowerReason) {
        self.with_domain(id, |domain| domain.set_power(power, reason));
        self.emit(HypervisorEvent::Changed(id));
    }

    /// Every guest that runs has these consoles from now on.
    pub fn set_consoles(&self, consoles: &[DomainConsole]) {
        self.state().consoles = consoles.to_vec();
    }

    /// Calls so far, in order.
    #[must_use]
    pub fn calls(&self) -> Vec<(Call, Option<InstanceId>)> {
        self.state().calls.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with_domain(&self, id: InstanceId, change: impl FnOnce(&mut Domain)) {
        if let Some(domain) = self.state().domains.get_mut(&id) {
            change(domain);
        }
    }

    fn emit(&self, event: HypervisorEvent) {
        // Nobody listening is fine.
        let _ = self.events.send(event);
    }
}
