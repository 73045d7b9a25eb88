//! The steps that operations are made of, each safe to repeat.
//!
//! Every step looks first (`probe`), acts only when the effect is not there yet (`apply`), and
//! believes only what it sees afterwards (`probe`): [`ensure`]. A libvirt error is never proof that
//! nothing happened, and success never proof that something did.
//!
//! Why no step can lose memory or a disk when it is killed on any line:
//!
//! | step | touches | why it is safe |
//! |---|---|---|
//! | `build_disk` | own disk | made under another name and renamed; never made twice: a complete disk is kept |
//! | `save_memory` | RAM | libvirt ends the guest only after the file is complete; the file has a name of ours and a manifest announced it; a guest that is gone with an incomplete file is reported as lost, never booted |
//! | `consume_save`, `remove_save` | saved memory | consumed durably before a CPU runs, so it can never be restored over newer disks; removed only when the guest is seen running |
//! | `start_domain` | disks | refused while valid saved memory exists |
//! | `retire_save` | saved memory | only in a HARD reboot, which is the user's word that the memory is not wanted |
//! | `build_rescue_disk`, `remove_rescue_files` | rescue disk | only `disk.rescue*` names; never while a rescue definition uses them |
//! | `stash_definition`, `restore_definition` | definition | a rescue definition is never stashed over the original; the stash is removed last |
//! | `remove_files` | everything | only in a delete, after the guest process and the definition are gone |
//! | [`undefine_again`] | definition | of a server whose files a delete has removed: there is nothing left that it defines |

mod cpu;
mod domain;
mod files;
mod memory;
mod power;
mod rescue;

use reprieve_core::conclude::Observation;
use reprieve_core::message::RunOperation;
use reprieve_core::ports::{DomainPower, DomainState, HypervisorError, InstancePaths, observation};
use reprieve_core::{InstanceId, OperationKind, Step};
use tokio_util::sync::CancellationToken;

use crate::host::Host;

pub use words::words;
mod words;

/// Why a step did not reach its effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepFailure {
    /// For the owner of the server.
    pub message: String,
    /// For administrators: the whole chain.
    pub details: String,
    /// HTTP-like class: 400 when the request cannot work, 500 otherwise.
    pub code: u16,
    /// Trying again may help.
    pub transient: bool,
    /// What happened cannot be established (invariant I6).
    pub ambiguous: bool,
    /// The operation was cancelled, and the step has seen that its effect is not there.
    pub stopped: bool,
}

impl StepFailure {
    /// The hypervisor or the files did not do what was needed.
    #[must_use]
    pub fn failed(message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            details: message.clone(),
            message,
            code: 500,
            transient: false,
            ambiguous: false,
            stopped: false,
        }
    }

    /// The request cannot work on this server.
    #[must_use]
    pub fn refused(message: impl Into<String>) -> Self {
        Self { code: 400, ..Self::failed(message) }
    }

    /// Nobody can say what happened.
    #[must_use]
    pub fn ambiguous(message: impl Into<String>) -> Self {
        Self { ambiguous: true, ..Self::failed(message) }
    }

    /// The operation is not wanted any more. Counts only where it is seen afterwards that the step did
    /// nothing ([`ensure`]).
    #[must_use]
    pub fn stopped(message: impl Into<String>) -> Self {
        Self { stopped: true, ..Self::failed(message) }
    }

    /// From any error, keeping its chain of causes.
    #[must_use]
    pub fn caused_by(error: &(dyn std::error::Error + 'static)) -> Self {
        let mut details = error.to_string();
        let mut cause = error.source();
        while let Some(inner) = cause {
            details.push_str(": ");
            details.push_str(&inner.to_string());
            cause = inner.source();
        }
        // The whole chain is the message too: "no space left" is what the owner needs to read.
        Self { message: details.clone(), details, ..Self::failed("") }
    }
}

impl From<HypervisorError> for StepFailure {
    fn from(error: HypervisorError) -> Self {
        Self { transient: error.is_transient(), ..Self::caused_by(&error) }
    }
}

/// What a step says when its effect is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// For the log and the audit of the operation.
    pub detail: String,
    /// What its last probe says about the guest.
    pub guest: Guest,
}

impl Done {
    fn seen(detail: &str, power: DomainPower) -> Self {
        Self { detail: detail.to_owned(), guest: Guest::Seen(power) }
    }
}

impl From<String> for Done {
    fn from(detail: String) -> Self {
        Self { detail, guest: Guest::Unknown }
    }
}

/// What is known about a guest after a step, so that it need not be asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guest {
    /// Nothing.
    Unknown,
    /// The step's last probe saw this.
    Seen(DomainPower),
    /// The step did nothing to it: what was known before still holds.
    Untouched,
}

/// What a probe found, with what the step needs to know of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Probe<T = ()> {
    /// The effect is there.
    Done(T),
    /// It is not.
    NotDone,
}

/// `probe -> apply -> probe`. The second probe decides; the error of `apply` only explains.
async fn ensure<T, P, A>(probe: impl Fn() -> P, apply: impl FnOnce() -> A) -> Result<T, StepFailure>
where
    P: Future<Output = Result<Probe<T>, StepFailure>>,
    A: Future<Output = Result<(), StepFailure>>,
{
    if let Probe::Done(found) = probe().await? {
        return Ok(found);
    }
    let applied = apply().await;
    match (probe().await?, applied) {
        (Probe::Done(found), _) => Ok(found),
        (Probe::NotDone, Err(failure)) => Err(failure),
        (Probe::NotDone, Ok(())) => Err(StepFailure::failed(
            "the hypervisor reported success, but the guest did not change",
        )),
    }
}

/// What the steps of one operation share.
pub struct StepContext<'a> {
    /// This host.
    pub host: &'a Host,
    /// The operation.
    pub command: &'a RunOperation,
    /// Files of the server.
    pub paths: InstancePaths,
    /// Set when the operation is not wanted any more; long waits end then.
    pub cancel: &'a CancellationToken,
}

impl<'a> StepContext<'a> {
    /// For `command` on `host`.
    #[must_use]
    pub fn new(host: &'a Host, command: &'a RunOperation, cancel: &'a CancellationToken) -> Self {
        let paths = InstancePaths::new(&host.instances_dir, command.spec.id);
        Self { host, command, paths, cancel }
    }

    /// The server.
    #[must_use]
    pub const fn instance(&self) -> InstanceId {
        self.command.spec.id
    }

    /// The domain, once no job runs on it: libvirt finishes a save or a destroy even when its
    /// caller has died, so its state says nothing before.
    async fn settled_domain(&self) -> Result<Option<DomainState>, StepFailure> {
        let domain = self.host.hypervisor.domain(self.instance()).await?;
        match domain {
            Some(DomainState { job: true, .. }) => Err(still_working()),
            settled => Ok(settled),
        }
    }

    /// The power of the domain, once no job runs on it.
    async fn settled_power(&self) -> Result<Option<DomainPower>, StepFailure> {
        match self.host.hypervisor.power(self.instance()).await? {
            Some(DomainPower { job: true, .. }) => Err(still_working()),
            settled => Ok(settled),
        }
    }

    /// The power of the domain, which has to exist.
    async fn existing_power(&self) -> Result<DomainPower, StepFailure> {
        let missing = HypervisorError::NoDomain(self.instance());
        self.settled_power().await?.ok_or_else(|| missing.into())
    }

    /// The domain, which has to exist.
    async fn existing_domain(&self) -> Result<DomainState, StepFailure> {
        let missing = HypervisorError::NoDomain(self.instance());
        self.settled_domain().await?.ok_or_else(|| missing.into())
    }
}

fn still_working() -> StepFailure {
    StepFailure {
        transient: true,
        ..StepFailure::failed("the hypervisor still works on this guest")
    }
}

/// Removes the definition of a server once more whose delete has succeeded, if it has neither a process
/// nor files. Says whether it did: what has files again was put there by somebody.
///
/// # Errors
/// [`StepFailure`]; the definition may still be there.
pub async fn undefine_again(host: &Host, delete: &RunOperation) -> Result<bool, StepFailure> {
    let cancel = CancellationToken::new();
    let context = StepContext::new(host, delete, &cancel);
    let domain = context.settled_domain().await?;
    let quiet = domain.is_some_and(|domain| !domain.power.has_process());
    if !quiet || !files::are_removed(&context).await? {
        return Ok(false);
    }
    domain::undefine(&context).await?;
    Ok(true)
}

/// Makes one step's effect true.
///
/// # Errors
/// [`StepFailure`]; what the step did is unknown until it is probed again.
pub async fn perform(context: &StepContext<'_>, step: Step) -> Result<Done, StepFailure> {
    let detail = match step {
        Step::SuspendCpus => return cpu::suspend(context).await,
        Step::ResumeCpus => return memory::resume_cpus(context).await,
        Step::SyncClock => return cpu::sync_clock(context).await,
        Step::PrepareImage => files::prepare_image(context).await,
        Step::BuildDisk => files::build_disk(context).await,
        Step::BuildConfigDrive => files::build_config_drive(context).await,
        Step::RemoveFiles => files::remove_files(context).await,
        Step::DefineDomain => domain::define(context).await,
        Step::UndefineDomain => domain::undefine(context).await,
        Step::StartDomain => power::start_as_planned(context).await,
        Step::ShutDownGuest => power::shut_down_guest(context).await,
        Step::PowerOff => power::power_off(context).await,
        Step::OpenSave => memory::open_save(context).await,
        Step::SaveMemory => memory::save(context).await,
        Step::CommitSave => memory::commit(context).await,
        Step::VerifySave => memory::verify(context).await,
        Step::OpenRestore => memory::open_restore(context).await,
        Step::RestoreMemory => memory::restore(context).await,
        Step::ConsumeSave => memory::consume(context).await,
        Step::RemoveSave => memory::remove(context).await,
        Step::RetireSave => memory::retire(context).await,
        Step::BuildRescueDisk => rescue::build_disk(context).await,
        Step::BuildRescueConfigDrive => rescue::build_config_drive(context).await,
        Step::StashDefinition => rescue::stash_definition(context).await,
        Step::DefineRescueDomain => rescue::define(context).await,
        Step::RestoreDefinition => rescue::restore_definition(context).await,
        Step::RemoveRescueFiles => rescue::remove_files(context).await,
    };
    detail.map(Done::from)
}

/// Undoes what is private to a failed or cancelled operation that got as far as step `reached`.
/// Never touches what the user had before, except to put it back.
///
/// # Errors
/// [`StepFailure`] when a person has to look.
pub async fn undo(context: &StepContext<'_>, reached: usize) -> Result<(), StepFailure> {
    match context.command.kind {
        OperationKind::Create => files::undo_create(context).await,
        OperationKind::Suspend => memory::undo_save(context).await,
        OperationKind::Resume => memory::undo_restore(context).await,
        OperationKind::Rescue => rescue::undo(context, reached).await,
        OperationKind::Unrescue => rescue::end_unrescue(context).await,
        // Nothing here is private to the operation: what is, is.
        OperationKind::Delete
        | OperationKind::Pause
        | OperationKind::Unpause
        | OperationKind::Stop
        | OperationKind::Start
        | OperationKind::RebootSoft
        | OperationKind::RebootHard => Ok(()),
    }
}

/// What a look at a guest makes of a job that runs on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Jobs {
    /// The guest is in between: look again later.
    Wait,
    /// It is stuck: say what there is.
    LookThrough,
}

/// What is true about a guest now.
///
/// # Errors
/// [`StepFailure`] when the hypervisor cannot be asked, or a job still runs.
pub async fn observe(
    host: &Host,
    instance: InstanceId,
    jobs: Jobs,
) -> Result<Observation, StepFailure> {
    let power = host.hypervisor.power(instance).await?;
    if jobs == Jobs::Wait && power.is_some_and(|power| power.job) {
        return Err(still_working());
    }
    observe_with(host, instance, power).await
}

/// What is true about a guest whose power is known already.
///
/// # Errors
/// [`StepFailure`] when its files cannot be read.
pub async fn observe_with(
    host: &Host,
    instance: InstanceId,
    power: Option<DomainPower>,
) -> Result<Observation, StepFailure> {
    let paths = InstancePaths::new(&host.instances_dir, instance);
    let (stashed, saved) = host.files_seen(paths).await?;
    Ok(observation(power, stashed, saved))
}
