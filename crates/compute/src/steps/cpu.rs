//! Steps on the CPUs of a guest: pause, unpause, and the clock afterwards.

use reprieve_core::PowerState;
use reprieve_core::ports::DomainState;
use reprieve_core::state::PowerReason;

use super::{Probe, StepContext, StepFailure, ensure};

/// Stops the CPUs. A guest that an I/O error or the watchdog stopped was not paused by its user,
/// and saying so would hide the error.
pub(super) async fn suspend(context: &StepContext<'_>) -> Result<String, StepFailure> {
    let probe = || async move {
        let domain = context.existing_domain().await?;
        match domain.power {
            PowerState::Paused if domain.reason == PowerReason::User => Ok(Probe::Done),
            PowerState::Running => Ok(Probe::NotDone),
            PowerState::Paused
            | PowerState::Suspended
            | PowerState::NoState
            | PowerState::Shutdown
            | PowerState::Crashed => Err(not_possible("paused", &domain)),
        }
    };
    ensure(
        probe,
        || async move { Ok(context.host.hypervisor.suspend_cpus(context.instance()).await?) },
    )
    .await?;
    Ok("the CPUs are stopped".to_owned())
}

/// Lets the CPUs go on.
pub(super) async fn resume(context: &StepContext<'_>) -> Result<String, StepFailure> {
    let probe = || async move {
        let domain = context.existing_domain().await?;
        match domain.power {
            PowerState::Running => Ok(Probe::Done),
            PowerState::Paused | PowerState::Suspended => Ok(Probe::NotDone),
            PowerState::NoState | PowerState::Shutdown | PowerState::Crashed => {
                Err(not_possible("continued", &domain))
            }
        }
    };
    let apply = || async move {
        let id = context.instance();
        match context.existing_domain().await?.power {
            // The guest put itself to sleep; only its firmware can wake it.
            PowerState::Suspended => Ok(context.host.hypervisor.wake(id).await?),
            PowerState::Running
            | PowerState::Paused
            | PowerState::NoState
            | PowerState::Shutdown
            | PowerState::Crashed => Ok(context.host.hypervisor.resume_cpus(id).await?),
        }
    };
    ensure(probe, apply).await?;
    Ok("the CPUs run".to_owned())
}

/// Sets the guest's clock, which stood still. Guests without an agent keep their own time; that is
/// no failure.
pub(super) async fn sync_clock(context: &StepContext<'_>) -> Result<String, StepFailure> {
    let told = match context.host.hypervisor.sync_clock(context.instance()).await {
        Ok(true) => "the guest's clock was set".to_owned(),
        Ok(false) => "the guest has no agent that could set its clock".to_owned(),
        Err(error) => format!("the guest's clock was not set: {error}"),
    };
    Ok(told)
}

fn not_possible(what: &str, domain: &DomainState) -> StepFailure {
    StepFailure::failed(format!(
        "the guest cannot be {what}: it is {} ({})",
        domain.power.word(),
        domain.reason
    ))
}
