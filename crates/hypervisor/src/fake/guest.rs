//! One simulated domain: definitions, a guest process, its memory and its disk.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use reprieve_core::ports::{DomainState, DomainVariant, HypervisorError, InstancePaths};
use reprieve_core::stats::{CpuStats, DiskStats, GuestStats};
use reprieve_core::{InstanceId, OperationId, PowerReason, PowerState};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

/// Memory of every guest.
const MEMORY_KIB: u64 = 64 * 1024;

/// What a definition says, and its "XML".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Definition {
    id: InstanceId,
    tag: OperationId,
    rescue: bool,
    disks: Vec<PathBuf>,
}

impl Definition {
    pub(super) fn new(
        id: InstanceId,
        paths: &InstancePaths,
        variant: &DomainVariant,
        tag: OperationId,
    ) -> Self {
        let (rescue, disks) = match variant {
            DomainVariant::Normal => (false, vec![paths.disk()]),
            DomainVariant::Rescue { .. } => (true, vec![paths.rescue_disk(), paths.disk()]),
        };
        Self { id, tag, rescue, disks }
    }

    pub(super) fn to_xml(&self) -> Result<String, HypervisorError> {
        let body = serde_json::to_string(self).map_err(|e| failed("definition", e))?;
        Ok(format!("<domain type='fake'>{body}</domain>"))
    }

    pub(super) fn from_xml(id: InstanceId, xml: &str) -> Result<Self, HypervisorError> {
        let body = xml
            .strip_prefix("<domain type='fake'>")
            .and_then(|rest| rest.strip_suffix("</domain>"))
            .ok_or_else(|| failed("define_xml", "XML error: not a definition of the fake"))?;
        let definition: Self = serde_json::from_str(body).map_err(|e| failed("define_xml", e))?;
        if definition.id != id {
            return Err(failed("define_xml", "the definition is of another domain"));
        }
        Ok(definition)
    }
}

/// A guest process.
#[derive(Debug)]
struct Process {
    definition: Definition,
    /// Which boot of the guest the memory is from.
    boot: u64,
    /// The guest's memory.
    counter: u64,
}

/// A job on a domain; going on without its caller.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) abort: Arc<Notify>,
    /// Power state to return to when it is aborted.
    before: (PowerState, PowerReason),
}

#[derive(Debug)]
pub(super) struct Domain {
    id: InstanceId,
    persistent: Option<Definition>,
    /// What was there before it was last defined or undefined, until that is on disk.
    replaced: Option<Option<Definition>>,
    process: Option<Process>,
    power: PowerState,
    reason: PowerReason,
    pub(super) job: Option<Job>,
    pub(super) ignores_shutdown: bool,
    pub(super) boots: u64,
}

/// A save file: two lines, the second says whether the first is complete.
#[derive(Debug, Serialize, Deserialize)]
struct SaveFile {
    id: InstanceId,
    definition: Definition,
    boot: u64,
    counter: u64,
}

const COMPLETE: &str = "FakeSave";
const PARTIAL: &str = "FakePart";

impl Domain {
    pub(super) const fn new(id: InstanceId, boots: u64) -> Self {
        Self {
            id,
            persistent: None,
            replaced: None,
            process: None,
            power: PowerState::Shutdown,
            reason: PowerReason::Unknown,
            job: None,
            ignores_shutdown: false,
            boots,
        }
    }

    pub(super) fn state(&self) -> DomainState {
        let current = match &self.process {
            Some(process) => Some(&process.definition),
            None => self.persistent.as_ref(),
        };
        DomainState {
            power: self.power,
            reason: self.reason,
            persistent: self.persistent.is_some(),
            tag: current.map(|definition| definition.tag),
            rescue: current.is_some_and(|definition| definition.rescue),
            job: self.job.is_some(),
        }
    }

    /// One CPU that ran as long as the guest counted, and the disks of its definition.
    pub(super) fn stats(&self) -> Result<GuestStats, HypervisorError> {
        let Some(process) = &self.process else {
            return Err(invalid("stats", "domain is not running"));
        };
        let disk = |file: &PathBuf| DiskStats {
            device: file.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            ..DiskStats::default()
        };
        Ok(GuestStats {
            hypervisor: "qemu".to_owned(),
            memory_max_kib: MEMORY_KIB,
            memory_kib: MEMORY_KIB,
            memory: BTreeMap::from([("actual".to_owned(), MEMORY_KIB)]),
            cpus: vec![CpuStats { id: 0, time_ns: process.counter }],
            disks: process.definition.disks.iter().map(disk).collect(),
        })
    }

    /// Neither defined nor running: libvirt does not know it.
    pub(super) fn is_gone(&self) -> bool {
        self.persistent.is_none() && self.process.is_none()
    }

    pub(super) fn counter(&self) -> Option<u64> {
        self.process.as_ref().map(|process| process.counter)
    }

    pub(super) fn memory(&self) -> Option<(u64, u64)> {
        self.process.as_ref().map(|process| (process.boot, process.counter))
    }

    pub(super) fn define(&mut self, definition: Definition) {
        let before = self.persistent.replace(definition);
        // What was undefined before may still be on the disk.
        if before.is_some() || self.replaced.is_none() {
            self.replaced = Some(before);
        }
    }

    /// With what is on the disk of the one that was there before.
    pub(super) fn after(mut self, former: Option<Self>) -> Self {
        self.replaced = former.and_then(|former| former.replaced);
        self
    }

    /// What was defined or undefined last has reached the disk.
    pub(super) fn write_back(&mut self) {
        self.replaced = None;
    }

    /// What was defined or undefined last has not reached the disk.
    pub(super) fn forget_definition(&mut self) {
        if let Some(before) = self.replaced.take() {
            self.persistent = before;
        }
    }

    pub(super) fn persistent(&self) -> Result<&Definition, HypervisorError> {
        self.persistent.as_ref().ok_or(HypervisorError::NoDomain(self.id))
    }

    pub(super) fn undefine(&mut self) -> Result<(), HypervisorError> {
        let definition = self.persistent.take();
        let definition =
            definition.ok_or_else(|| invalid("undefine", "domain is not persistent"))?;
        self.replaced = Some(Some(definition));
        Ok(())
    }

    /// CPUs run for some time, if they do.
    pub(super) fn live(&mut self, ticks: u64) {
        if self.power != PowerState::Running {
            return;
        }
        if let Some(process) = &mut self.process {
            process.counter += ticks;
            if let Some(disk) = process.definition.disks.first() {
                append(disk, process.counter);
            }
        }
    }

    fn has_disks(definition: &Definition, call: &'static str) -> Result<(), HypervisorError> {
        match definition.disks.iter().find(|disk| !disk.is_file()) {
            Some(missing) => Err(failed(
                call,
                format!("Cannot access storage file '{}': No such file", missing.display()),
            )),
            None => Ok(()),
        }
    }

    pub(super) fn start(&mut self) -> Result<(), HypervisorError> {
        let definition = self.persistent()?.clone();
        self.require_no_process("start")?;
        Self::has_disks(&definition, "start")?;
        self.boots += 1;
        self.process = Some(Process { definition, boot: self.boots, counter: 0 });
        self.set_power(PowerState::Running, PowerReason::Booted);
        self.live(0);
        Ok(())
    }

    pub(super) fn suspend_cpus(&mut self) -> Result<(), HypervisorError> {
        self.require_process("suspend_cpus")?;
        match self.power {
            PowerState::Running => self.set_power(PowerState::Paused, PowerReason::User),
            PowerState::Paused => {}
            PowerState::Suspended
            | PowerState::NoState
            | PowerState::Shutdown
            | PowerState::Crashed => return Err(invalid("suspend_cpus", "domain is pmsuspended")),
        }
        Ok(())
    }

    pub(super) fn resume_cpus(&mut self) -> Result<(), HypervisorError> {
        self.require_process("resume_cpus")?;
        match self.power {
            PowerState::Paused => {
                self.set_power(PowerState::Running, PowerReason::Unpaused);
                self.live(0);
                Ok(())
            }
            PowerState::Running => Err(invalid("resume_cpus", "domain is already running")),
            PowerState::Suspended
            | PowerState::NoState
            | PowerState::Shutdown
            | PowerState::Crashed => Err(invalid("resume_cpus", "domain is pmsuspended")),
        }
    }

    pub(super) fn wake(&mut self) -> Result<(), HypervisorError> {
        self.require_process("wake")?;
        if self.power != PowerState::Suspended {
            return Err(invalid("wake", "domain is not pmsuspended"));
        }
        self.set_power(PowerState::Running, PowerReason::Unknown);
        Ok(())
    }

    pub(super) fn request_shutdown(&mut self) -> Result<(), HypervisorError> {
        self.require_process("request_shutdown")?;
        // A guest whose CPUs are stopped does not see the button.
        if !self.ignores_shutdown && self.power == PowerState::Running {
            self.end(PowerState::Shutdown, PowerReason::GuestShutdown);
        }
        Ok(())
    }

    pub(super) fn destroy(&mut self) -> Result<(), HypervisorError> {
        self.require_process("destroy")?;
        self.end(PowerState::Shutdown, PowerReason::Destroyed);
        Ok(())
    }

    pub(super) fn begin_save(&mut self) -> Result<Job, HypervisorError> {
        self.require_process("save_memory")?;
        if self.job.is_some() {
            return Err(invalid("save_memory", "another job is active"));
        }
        let job = Job { abort: Arc::default(), before: (self.power, self.reason) };
        self.job = Some(job.clone());
        self.set_power(PowerState::Paused, PowerReason::Saving);
        Ok(job)
    }

    /// The job was aborted: the guest goes on as before.
    pub(super) fn abandon_save(&mut self) {
        if let Some(job) = self.job.take() {
            let (power, reason) = job.before;
            self.set_power(power, reason);
        }
    }

    /// The guest's process ends and its memory is in `file`.
    pub(super) fn finish_save(
        &mut self,
        file: &Path,
        complete: bool,
    ) -> Result<(), HypervisorError> {
        self.job = None;
        let Some(process) = self.process.take() else {
            return Err(failed("save_memory", "domain is not running"));
        };
        let Process { definition, boot, counter } = process;
        let text = serde_json::to_string(&SaveFile { id: self.id, definition, boot, counter });
        let text = text.map_err(|e| failed("save_memory", e))?;
        self.set_power(PowerState::Shutdown, PowerReason::Saved);
        let mark = if complete { COMPLETE } else { PARTIAL };
        fs::write(file, format!("{mark}\n{text}\n")).map_err(|e| failed("save_memory", e))?;
        if complete { Ok(()) } else { Err(failed("save_memory", "operation failed: I/O error")) }
    }

    pub(super) fn restore(&mut self, file: &Path) -> Result<(), HypervisorError> {
        self.require_no_process("restore_memory")?;
        let text = fs::read_to_string(file).map_err(|e| failed("restore_memory", e))?;
        let body = text
            .strip_prefix(COMPLETE)
            .ok_or_else(|| failed("restore_memory", "save image is incomplete"))?;
        let save: SaveFile = serde_json::from_str(body).map_err(|e| failed("restore_memory", e))?;
        if save.id != self.id {
            return Err(failed("restore_memory", "the save image is of another domain"));
        }
        Self::has_disks(&save.definition, "restore_memory")?;
        let SaveFile { id: _, definition, boot, counter } = save;
        self.boots = self.boots.max(boot);
        self.process = Some(Process { definition, boot, counter });
        // Not "restored": libvirt 9.0 says `paused (migrating)`, and goes on saying it, of a guest
        // that was brought back with its CPUs stopped.
        self.set_power(PowerState::Paused, PowerReason::Migration);
        Ok(())
    }

    pub(super) fn set_power(&mut self, power: PowerState, reason: PowerReason) {
        (self.power, self.reason) = (power, reason);
    }

    /// The process is gone.
    pub(super) fn end(&mut self, power: PowerState, reason: PowerReason) {
        if let Some(job) = self.job.take() {
            job.abort.notify_one();
        }
        self.process = None;
        self.set_power(power, reason);
    }

    fn require_process(&self, call: &'static str) -> Result<(), HypervisorError> {
        match self.process {
            Some(_) => Ok(()),
            None => Err(invalid(call, "domain is not running")),
        }
    }

    fn require_no_process(&self, call: &'static str) -> Result<(), HypervisorError> {
        match self.process {
            Some(_) => Err(invalid(call, "domain is already active")),
            None => Ok(()),
        }
    }
}

/// Whether `file` says that it is complete.
pub(super) fn save_is_complete(file: &Path) -> bool {
    fs::read_to_string(file).is_ok_and(|text| text.starts_with(COMPLETE) && text.ends_with("}\n"))
}

/// Changes the memory in a complete save without changing its length.
pub(super) fn flip_bit(file: &Path) -> std::io::Result<()> {
    let mut bytes = fs::read(file)?;
    if let Some(digit) = bytes.iter_mut().rev().find(|byte| byte.is_ascii_digit()) {
        *digit ^= 1;
    }
    fs::write(file, bytes)
}

/// A guest's write to its disk: behind what is there, so that headers stay as they are, and longer
/// each time, so that it shows even within one tick of the file system's clock.
fn append(disk: &Path, counter: u64) {
    let file = fs::File::options().append(true).open(disk);
    // A guest whose disk was taken away has an I/O error; the fake's goes on counting.
    let _ = file.and_then(|mut file| file.write_all(&counter.to_be_bytes()));
}

pub(super) fn failed(call: &'static str, message: impl ToString) -> HypervisorError {
    HypervisorError::Failed { call, message: message.to_string() }
}

fn invalid(call: &'static str, message: &str) -> HypervisorError {
    HypervisorError::InvalidState { call, message: message.to_owned() }
}
