//! Steps on the CPUs of a guest: pause, unpause, and the clock afterwards.

use std::sync::atomic::{AtomicBool, Ordering};

use reprieve_core::PowerState;
use reprieve_core::ports::DomainPower;
use reprieve_core::spec::has_guest_agent;
use reprieve_core::state::PowerReason;

use super::{Done, Guest, Probe, StepContext, StepFailure, ensure};

/// Stops the CPUs. A guest that an I/O error or the watchdog stopped was not paused by its user,
/// and saying so would hide the error.
pub(super) async fn suspend(context: &StepContext<'_>) -> Result<Done, StepFailure> {
    let probe = || async move {
        let domain = context.existing_power().await?;
        match domain.power {
            PowerState::Paused if domain.reason == PowerReason::User => Ok(Probe::Done(domain)),
            PowerState::Running => Ok(Probe::NotDone),
            PowerState::Paused
            | PowerState::Suspended
            | PowerState::NoState
            | PowerState::Shutdown
            | PowerState::Crashed => Err(not_possible("paused", domain)),
        }
    };
    let apply =
        || async move { Ok(context.host.hypervisor.suspend_cpus(context.instance()).await?) };
    Ok(Done::seen("the CPUs are stopped", ensure(probe, apply).await?))
}

/// Lets the CPUs go on.
pub(super) async fn resume(context: &StepContext<'_>) -> Result<Done, StepFailure> {
    // What the first probe saw decides how the guest is woken.
    let asleep = &AtomicBool::new(false);
    let probe = || async move {
        let domain = context.existing_power().await?;
        match domain.power {
            PowerState::Running => Ok(Probe::Done(domain)),
            PowerState::Paused => Ok(Probe::NotDone),
            // The guest put itself to sleep; only its firmware can wake it.
            PowerState::Suspended => {
                asleep.store(true, Ordering::Relaxed);
                Ok(Probe::NotDone)
            }
            PowerState::NoState | PowerState::Shutdown | PowerState::Crashed => {
                Err(not_possible("continued", domain))
            }
        }
    };
    let apply = || async move {
        let (hypervisor, id) = (&context.host.hypervisor, context.instance());
        if asleep.load(Ordering::Relaxed) {
            Ok(hypervisor.wake(id).await?)
        } else {
            Ok(hypervisor.resume_cpus(id).await?)
        }
    };
    Ok(Done::seen("the CPUs run", ensure(probe, apply).await?))
}

/// Sets the guest's clock, which stood still. Guests without an agent keep their own time; that is
/// no failure.
pub(super) async fn sync_clock(context: &StepContext<'_>) -> Result<Done, StepFailure> {
    let detail = if has_guest_agent(&context.command.spec.image.properties) {
        match context.host.hypervisor.sync_clock(context.instance()).await {
            Ok(true) => "the guest's clock was set".to_owned(),
            Ok(false) => "the guest's agent does not answer; its clock was not set".to_owned(),
            Err(error) => format!("the guest's clock was not set: {error}"),
        }
    } else {
        "the guest has no agent that could set its clock".to_owned()
    };
    Ok(Done { detail, guest: Guest::Untouched })
}

fn not_possible(what: &str, domain: DomainPower) -> StepFailure {
    StepFailure::failed(format!(
        "the guest cannot be {what}: it is {} ({})",
        domain.power.word(),
        domain.reason
    ))
}
