//! Steps on the power of a guest: boot, graceful shutdown, power off.

use std::time::Duration;

use futures_util::StreamExt;
use reprieve_core::ports::HypervisorEvent;
use reprieve_core::{OperationKind, PowerState, Step, VmState};
use tokio::time::{Instant, timeout_at};

use super::{Probe, StepContext, StepFailure, domain, ensure, memory, rescue};

/// How often the power button is pressed while a guest is asked to shut down
/// (Nova's `shutdown_retry_interval`).
const PRESS_AGAIN: Duration = Duration::from_secs(10);
/// How long an event is waited for before the state is looked at all the same.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Boots the definition that the operation is about. A guest that runs with the other one, because
/// somebody started it meanwhile, is no success.
///
/// The hypervisor's own disk may have lost what it was told, with the power of the machine, although
/// the step that told it is recorded on ours. So that is looked at again first: else a rescue would
/// boot the own disk (I9).
pub(super) async fn start_as_planned(context: &StepContext<'_>) -> Result<String, StepFailure> {
    let process = context.settled_power().await?.is_some_and(|domain| domain.power.has_process());
    if !process {
        define_as_planned(context).await?;
    }
    let domain = context.existing_domain().await?;
    let again = is_rescue_again(context);
    if again && !domain.rescue {
        return Err(StepFailure::failed(
            "the rescue definition is gone; the own disk was not booted instead",
        ));
    }
    let rescue = again || context.command.kind == OperationKind::Rescue;
    if domain.power.has_process() && domain.rescue != rescue {
        let disk = if domain.rescue { "rescue disk" } else { "own disk" };
        return Err(StepFailure::failed(format!(
            "the guest was started from its {disk} outside of this operation"
        )));
    }
    start(context).await
}

/// Makes the definition again that the steps before made, if it is not there.
async fn define_as_planned(context: &StepContext<'_>) -> Result<(), StepFailure> {
    for step in &context.command.plan {
        match step {
            Step::DefineDomain => domain::define(context).await.map(drop)?,
            Step::DefineRescueDomain => rescue::define(context).await.map(drop)?,
            Step::RestoreDefinition => rescue::restore_definition(context).await.map(drop)?,
            Step::PrepareImage
            | Step::BuildDisk
            | Step::BuildConfigDrive
            | Step::StartDomain
            | Step::SuspendCpus
            | Step::ResumeCpus
            | Step::SyncClock
            | Step::OpenSave
            | Step::SaveMemory
            | Step::CommitSave
            | Step::VerifySave
            | Step::OpenRestore
            | Step::RestoreMemory
            | Step::ConsumeSave
            | Step::RetireSave
            | Step::RemoveSave
            | Step::BuildRescueDisk
            | Step::BuildRescueConfigDrive
            | Step::StashDefinition
            | Step::ShutDownGuest
            | Step::PowerOff
            | Step::RemoveRescueFiles
            | Step::UndefineDomain
            | Step::RemoveFiles => {}
        }
    }
    Ok(())
}

/// Whether this is the start of a rescue system that ended with its host.
fn is_rescue_again(context: &StepContext<'_>) -> bool {
    (context.command.kind, context.command.prior) == (OperationKind::Start, VmState::Rescued)
}

/// Boots the defined domain. Refused while there is saved memory: booting would change the disks
/// that memory belongs to (I8).
pub(super) async fn start(context: &StepContext<'_>) -> Result<String, StepFailure> {
    let domain = context.existing_domain().await?;
    if domain.power.has_process() {
        return Ok("the guest process is there".to_owned());
    }
    memory::forbid_boot_over_saved_memory(context).await?;
    match context.host.hypervisor.start(context.instance()).await {
        // A guest may power itself off at once; it was started all the same.
        Ok(()) => Ok("the guest was started".to_owned()),
        Err(error) => {
            if context.existing_domain().await?.power.has_process() {
                return Ok("the guest process is there".to_owned());
            }
            Err(error.into())
        }
    }
}

/// Asks the guest to power off and waits as long as its grace period lasts. Never fails because a
/// guest does not listen: what follows is `power_off`.
pub(super) async fn shut_down_guest(context: &StepContext<'_>) -> Result<String, StepFailure> {
    let grace = grace(context);
    let asked_at = Instant::now();
    let end = asked_at + grace;
    // Subscribed before the first press, so that no event is missed.
    let mut events = context.host.hypervisor.events();
    let mut press_at = asked_at;
    loop {
        let domain = context.settled_power().await?;
        let power = domain.map_or(PowerState::NoState, |domain| domain.power);
        match power {
            PowerState::NoState | PowerState::Shutdown | PowerState::Crashed => {
                let took = asked_at.elapsed().as_secs_f64();
                return Ok(format!("the guest is off after {took:.1} s"));
            }
            PowerState::Paused | PowerState::Suspended => {
                return Ok(format!("the guest is {} and cannot be asked", power.word()));
            }
            PowerState::Running => {}
        }
        let now = Instant::now();
        if now >= end || context.cancel.is_cancelled() {
            return Ok(format!("the guest did not shut down within {} s", grace.as_secs()));
        }
        if now >= press_at {
            // A refusal is no news: the state is looked at anyway.
            if let Err(error) = context.host.hypervisor.request_shutdown(context.instance()).await {
                tracing::debug!(%error, "the power button could not be pressed");
            }
            press_at = now + PRESS_AGAIN;
        }
        let until = end.min(press_at).min(now + LOOK_AGAIN);
        tokio::select! {
            _ = timeout_at(until, changed(&mut events, context)) => {}
            () = context.cancel.cancelled() => {}
        }
    }
}

/// Waits until the hypervisor says that this guest changed.
async fn changed(
    events: &mut futures_util::stream::BoxStream<'static, HypervisorEvent>,
    context: &StepContext<'_>,
) {
    loop {
        match events.next().await {
            Some(HypervisorEvent::Changed(id)) if id == context.instance() => return,
            Some(_) => {}
            None => std::future::pending().await,
        }
    }
}

fn grace(context: &StepContext<'_>) -> Duration {
    let graces = &context.host.graces;
    let wished = context.command.spec.image.properties.get("os_shutdown_timeout");
    let default = match context.command.kind {
        OperationKind::RebootSoft => graces.soft_reboot,
        OperationKind::Create
        | OperationKind::Delete
        | OperationKind::Pause
        | OperationKind::Unpause
        | OperationKind::Suspend
        | OperationKind::Resume
        | OperationKind::Rescue
        | OperationKind::Unrescue
        | OperationKind::Stop
        | OperationKind::Start
        | OperationKind::RebootHard => graces.shutdown,
    };
    wished
        .and_then(|text| text.parse().ok())
        .map_or(default, Duration::from_secs)
        .min(graces.longest)
}

/// Ends the guest process. Files are never touched. Does not wait for a job: a guest that is stuck
/// in one, or on its way down, is ended all the same.
pub(super) async fn power_off(context: &StepContext<'_>) -> Result<String, StepFailure> {
    let probe = || async move {
        let domain = context.host.hypervisor.power(context.instance()).await?;
        let process = domain.is_some_and(|domain| domain.power.has_process());
        Ok(if process { Probe::NotDone } else { Probe::Done(()) })
    };
    ensure(probe, || async move { Ok(context.host.hypervisor.destroy(context.instance()).await?) })
        .await?;
    Ok("there is no guest process".to_owned())
}
