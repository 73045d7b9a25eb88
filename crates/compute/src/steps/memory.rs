//! Steps of suspend and resume: memory to disk and back (invariant I8).
//!
//! The manifest and its files are `reprieve_hypervisor::saved_memory`'s; here is what the guest
//! does at each of its transitions.
//!
//! ```text
//!            open_save        save_memory + commit_save        open_restore
//! (nothing) ----------> saving ----------------------> saved --------------> restoring
//!     ^                   | guest still runs: abandoned    ^  guest never ran a CPU |
//!     +-------------------+                                +------------------------+
//!                                                                    | consume_save (CPUs stopped)
//!     (nothing) <---------- remove_save, guest seen running ----- consumed
//! ```

use std::path::Path;
use std::time::Duration;

use reprieve_core::ports::{DomainPower, InstancePaths};
use reprieve_core::{PowerReason, PowerState};
use reprieve_hypervisor::saved_memory::{
    Manifest, SaveError, SaveFacts, SavePlan, SaveState, SaveStore,
};
use reprieve_outside::outside;

use super::{Done, Probe, StepContext, StepFailure, cpu, domain, ensure, power};

/// How long an aborted save gets to end before it is asked again.
const ABORT_AGAIN: Duration = Duration::from_millis(500);

impl From<SaveError> for StepFailure {
    fn from(error: SaveError) -> Self {
        Self::caused_by(&error)
    }
}

fn saves(context: &StepContext<'_>) -> SaveStore {
    SaveStore::new(context.paths.clone())
}

/// Disks that have to stay as they are until the memory is back.
fn disks(paths: &InstancePaths) -> Vec<std::path::PathBuf> {
    vec![paths.disk()]
}

async fn manifest(context: &StepContext<'_>) -> Result<Option<Manifest>, StepFailure> {
    Ok(saves(context).manifest().await?)
}

/// Whether the manifest says that this operation brought the save to `state`.
async fn is_ours(context: &StepContext<'_>, state: SaveState) -> Result<bool, StepFailure> {
    let operation = context.command.operation_id;
    Ok(manifest(context).await?.is_some_and(|m| {
        let by = match m.state {
            SaveState::Saving | SaveState::Saved => Some(m.saved_by),
            SaveState::Restoring | SaveState::Consumed | SaveState::Retired => m.used_by,
        };
        m.state == state && by == Some(operation)
    }))
}

/// Announces the save while the guest still runs.
pub(super) async fn open_save(context: &StepContext<'_>) -> Result<String, StepFailure> {
    let operation = context.command.operation_id;
    if is_ours(context, SaveState::Saving).await? {
        return Ok("the save is announced".to_owned());
    }
    let domain = context.existing_domain().await?;
    let host = context.host.hypervisor.host().await?;
    let facts = SaveFacts {
        host: context.host.name.to_string(),
        hypervisor_version: host.hypervisor_version,
        kvm: host.kvm,
    };
    let plan = SavePlan { disks: disks(&context.paths), facts };
    saves(context).open(operation, &domain, plan).await?;
    Ok("the save is announced".to_owned())
}

/// Writes memory to our file; the hypervisor ends the guest process when the file is complete. When
/// the operation is cancelled, the guest runs on if it is still seen running behind the attempt; if
/// not, its memory is saved and the operation goes on.
/// A guest that is gone with an incomplete file lost its memory: that is said, never booted away.
pub(super) async fn save(context: &StepContext<'_>) -> Result<String, StepFailure> {
    let file = saves(context).part_file(context.command.operation_id);
    let probe = || async move {
        let domain = context.settled_power().await?;
        if domain.is_some_and(|domain| domain.power.has_process()) {
            return Ok(Probe::NotDone);
        }
        if saved_file_is_complete(context).await? {
            return Ok(Probe::Done(()));
        }
        if domain.is_some_and(|domain| domain.reason == PowerReason::GuestShutdown) {
            return Err(StepFailure::failed("the guest powered itself off before it was saved"));
        }
        Err(StepFailure::ambiguous(
            "the guest is gone, but its memory was not saved completely; it was not booted again, \
             and its disk is untouched",
        ))
    };
    let apply = || async move {
        if !is_ours(context, SaveState::Saving).await? {
            return Err(StepFailure::failed("the save is not announced; the guest was left alone"));
        }
        if context.cancel.is_cancelled() {
            return Err(StepFailure::stopped("cancelled before the memory was saved"));
        }
        let saved = save_or_abort(context, &file).await;
        saved.map_err(|failure| match context.cancel.is_cancelled() {
            true => StepFailure { stopped: true, ..failure },
            false => told_if_full(context, failure),
        })
    };
    ensure(probe, apply).await?;
    Ok("memory is saved; there is no guest process".to_owned())
}

/// Saves. When the operation is cancelled, asks for an end of the save until it has ended: a save
/// that has not begun yet cannot be aborted, and must not go on behind what comes next.
async fn save_or_abort(context: &StepContext<'_>, file: &Path) -> Result<(), StepFailure> {
    let (hypervisor, id) = (&context.host.hypervisor, context.instance());
    let saving = hypervisor.save_memory(id, file);
    tokio::pin!(saving);
    tokio::select! {
        saved = &mut saving => return Ok(saved?),
        () = context.cancel.cancelled() => {}
    }
    loop {
        if let Err(error) = hypervisor.abort_job(id).await {
            tracing::debug!(%error, "the save could not be aborted now");
        }
        if let Ok(saved) = tokio::time::timeout(ABORT_AGAIN, &mut saving).await {
            return Ok(saved?);
        }
    }
}

/// libvirt names two long paths before it comes to the reason, which is what the owner needs to read.
fn told_if_full(context: &StepContext<'_>, failure: StepFailure) -> StepFailure {
    if !failure.details.contains("No space left on device") {
        return failure;
    }
    let message = format!(
        "there is no space left on {} to save the guest's memory of up to {} MiB",
        context.host.name, context.command.spec.flavor.memory_mib
    );
    StepFailure { message, ..failure }
}

async fn saved_file_is_complete(context: &StepContext<'_>) -> Result<bool, StepFailure> {
    let saves = saves(context);
    let (operation, id) = (context.command.operation_id, context.instance());
    // A commit that was killed may have renamed the file already.
    for file in [saves.part_file(operation), saves.data_file(operation)] {
        let there = outside(tokio::fs::try_exists(&file)).await.map_err(|error| {
            StepFailure::failed(format!("cannot look for {}: {error}", file.display()))
        })?;
        if !there {
            continue;
        }
        // The guest is gone and this file is all there is of it: a check that fails for whatever
        // reason is made again rather than taken for an answer.
        let complete = context.host.hypervisor.save_is_complete(id, &file).await;
        if complete.map_err(|error| StepFailure { transient: true, ..error.into() })? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Makes the save durable and valid.
pub(super) async fn commit(context: &StepContext<'_>) -> Result<String, StepFailure> {
    let probe = || async move {
        Ok(if is_ours(context, SaveState::Saved).await? { Probe::Done(()) } else { Probe::NotDone })
    };
    let apply = || async move {
        let domain = context.settled_power().await?;
        if domain.is_some_and(|domain| domain.power.has_process()) {
            return Err(StepFailure::failed(
                "the guest was started outside of this operation; its save is not valid",
            ));
        }
        if !saved_file_is_complete(context).await? {
            return Err(StepFailure::ambiguous("the saved memory is not complete any more"));
        }
        Ok(saves(context).commit(context.command.operation_id).await?)
    };
    ensure(probe, apply).await?;
    let size = manifest(context).await?.and_then(|m| m.data).map_or(0, |data| data.size);
    Ok(format!("{size} bytes of memory are durable and digested"))
}

/// Gives up a save whose guest still runs, or of which nothing was written. A guest that is gone
/// keeps every byte.
pub(super) async fn undo_save(context: &StepContext<'_>) -> Result<(), StepFailure> {
    if !is_ours(context, SaveState::Saving).await? {
        return Ok(());
    }
    let Some(domain) = context.settled_domain().await? else { return Ok(()) };
    match saves(context).abandon_save(context.command.operation_id, &domain).await {
        Err(SaveError::Guest { .. }) if !domain.power.has_process() => Ok(()),
        abandoned => Ok(abandoned?),
    }
}

/// Reads everything once: state, size, digest, disks.
pub(super) async fn verify(context: &StepContext<'_>) -> Result<String, StepFailure> {
    for state in [SaveState::Restoring, SaveState::Consumed] {
        if is_ours(context, state).await? {
            return Ok("verified before the restore began".to_owned());
        }
    }
    if let Some(domain) = context.settled_power().await?
        && domain.power.has_process()
    {
        return Err(StepFailure::failed(
            "the guest was started outside of Reprieve; its saved memory is kept, not restored",
        ));
    }
    let file = saves(context).verify().await?;
    Ok(format!("{} is whole and the disks did not change", file.display()))
}

/// Announces the restore.
pub(super) async fn open_restore(context: &StepContext<'_>) -> Result<String, StepFailure> {
    if !is_ours(context, SaveState::Restoring).await? {
        let domain = context.settled_domain().await?;
        saves(context).open_restore(context.command.operation_id, domain.as_ref()).await?;
    }
    Ok("the restore is announced".to_owned())
}

/// Brings the memory back with the CPUs stopped.
pub(super) async fn restore(context: &StepContext<'_>) -> Result<String, StepFailure> {
    let probe = || async move {
        match context.settled_power().await? {
            Some(domain) if restored(domain)? == Probe::Done(()) => settle_restore(context).await,
            Some(_) | None => Ok(Probe::NotDone),
        }
    };
    let apply = || async move {
        let file = saves(context).restorable(context.command.operation_id).await?;
        // A guest that comes back without a definition would be gone with its end, also for a start that
        // follows a restart of the host.
        if context.settled_power().await?.is_none() {
            domain::define(context).await?;
        }
        Ok(context.host.hypervisor.restore_memory(context.instance(), &file).await?)
    };
    ensure(probe, apply).await?;
    Ok("memory is back, the CPUs are stopped".to_owned())
}

/// Waits for a restore that goes on without its caller: libvirt shows the guest as paused before
/// its memory has been read, and says nothing of a job. Stopping CPUs that are stopped changes
/// nothing, but is answered only when the restore has ended, well or badly.
async fn settle_restore(context: &StepContext<'_>) -> Result<Probe, StepFailure> {
    let waited = context.host.hypervisor.suspend_cpus(context.instance()).await;
    match context.settled_power().await? {
        Some(domain) if restored(domain)? == Probe::Done(()) => {
            waited.map_err(|error| StepFailure { transient: true, ..error.into() })?;
            Ok(Probe::Done(()))
        }
        Some(_) | None => Ok(Probe::NotDone),
    }
}

fn restored(domain: DomainPower) -> Result<Probe, StepFailure> {
    match domain.power {
        PowerState::Paused => Ok(Probe::Done(())),
        PowerState::Running | PowerState::Suspended => Err(StepFailure::ambiguous(
            "the guest runs although its memory was only being restored: somebody started it \
             outside of Reprieve",
        )),
        PowerState::NoState | PowerState::Shutdown | PowerState::Crashed => Ok(Probe::NotDone),
    }
}

/// From here on this memory is never restored again. No CPU has run yet.
pub(super) async fn consume(context: &StepContext<'_>) -> Result<String, StepFailure> {
    if is_ours(context, SaveState::Consumed).await? {
        return Ok("the saved memory is used up".to_owned());
    }
    let domain = context.existing_domain().await?;
    saves(context).consume(context.command.operation_id, &domain).await?;
    Ok("the saved memory is used up".to_owned())
}

/// Removes the file of a guest that is seen running.
pub(super) async fn remove(context: &StepContext<'_>) -> Result<String, StepFailure> {
    if manifest(context).await?.is_none() {
        return Ok("there is no saved memory".to_owned());
    }
    let power = context.settled_power().await?.map(|domain| domain.power);
    match power {
        Some(PowerState::Running | PowerState::Suspended) => {
            saves(context).remove().await?;
            Ok("the saved memory was removed, the guest runs".to_owned())
        }
        Some(
            PowerState::Paused | PowerState::NoState | PowerState::Shutdown | PowerState::Crashed,
        )
        | None => Ok("the guest does not run now; the used-up memory file was kept".to_owned()),
    }
}

/// The user chose to boot without the saved memory, whatever state it is in.
pub(super) async fn retire(context: &StepContext<'_>) -> Result<String, StepFailure> {
    saves(context).retire(context.command.operation_id).await?;
    Ok("whatever memory was saved is given up, as a HARD reboot asks for".to_owned())
}

/// Takes back a restore whose guest never ran a CPU: the saved memory stays as good as it was.
pub(super) async fn undo_restore(context: &StepContext<'_>) -> Result<(), StepFailure> {
    if !is_ours(context, SaveState::Restoring).await? {
        return Ok(());
    }
    if let Some(domain) = context.settled_power().await?
        && domain.power.has_process()
    {
        // `restored` says whether its CPUs are stopped; if they are not, nothing is touched.
        restored(domain)?;
        power::power_off(context).await?;
    }
    let domain = context.settled_domain().await?;
    saves(context).abandon_restore(context.command.operation_id, domain.as_ref()).await?;
    Ok(())
}

/// Refuses to let a guest run over disks that saved memory belongs to (I8): memory that may be
/// restored, and memory that is damaged or half-saved, which a person may want to save yet.
pub(super) async fn forbid_boot_over_saved_memory(
    context: &StepContext<'_>,
) -> Result<(), StepFailure> {
    let state = manifest(context).await?.map(|manifest| manifest.state);
    match state {
        None | Some(SaveState::Consumed | SaveState::Retired) => Ok(()),
        Some(SaveState::Saving | SaveState::Saved | SaveState::Restoring) => {
            Err(StepFailure::refused(
                "this server has saved memory; resume it, or use a HARD reboot to give the memory \
                 up and boot from disk",
            ))
        }
    }
}

/// Lets the restored CPUs go on. A restored guest that vanished after its memory was used up is
/// lost, and said to be.
pub(super) async fn resume_cpus(context: &StepContext<'_>) -> Result<Done, StepFailure> {
    if is_ours(context, SaveState::Consumed).await?
        && !context.settled_power().await?.is_some_and(|domain| domain.power.has_process())
    {
        return Err(StepFailure::failed(
            "the restored guest is gone and its memory with it; a HARD reboot starts it from disk",
        ));
    }
    cpu::resume(context).await
}
