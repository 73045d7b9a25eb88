//! Steps of rescue and unrescue (invariant I9).
//!
//! The own disk is only ever attached, never written, moved or rebuilt here. The original
//! definition is kept in `unrescue.xml` before anything else is defined, and the rescue files are
//! removed only after the original definition is back.

use reprieve_core::ports::DomainVariant;
use reprieve_core::spec::RescueMode;
use reprieve_core::{OperationKind, VmState};
use reprieve_hypervisor::config_drive::ConfigDrive;

use super::{Probe, StepContext, StepFailure, ensure, files, memory, power};

/// Makes the rescue disk, fresh for this operation.
pub(super) async fn build_disk(context: &StepContext<'_>) -> Result<String, StepFailure> {
    let base = files::cached(context).await?;
    // Its disks would change under it, and nothing could be booted in the end.
    memory::forbid_boot_over_saved_memory(context).await?;
    let (own, operation) = (files::of(context), context.command.operation_id);
    if !own.rescue_disk_is_built(&base, operation).await? {
        refuse_while_rescued(context).await?;
        own.build_rescue_disk(&base, operation).await?;
    }
    let image = &files::wanted_image(context).name;
    Ok(format!("{} is built from '{image}'", context.paths.rescue_disk().display()))
}

/// Writes the config drive of the rescue system, with the rescue's password.
pub(super) async fn build_config_drive(context: &StepContext<'_>) -> Result<String, StepFailure> {
    let spec = &context.command.spec;
    if !spec.config_drive {
        return Ok("the server has no config drive".to_owned());
    }
    let password = context.command.args.rescue_password.as_ref();
    let drive = ConfigDrive::new(spec, password, &context.host.sealing_key)?;
    let file = context.paths.rescue_config_drive();
    if !drive.is_written(&file).await? {
        refuse_while_rescued(context).await?;
        drive.write(&file).await?;
    }
    Ok(format!("{} is written", file.display()))
}

/// Keeps the original definition. A rescue definition is never stashed: that would lose the
/// original for good.
pub(super) async fn stash_definition(context: &StepContext<'_>) -> Result<String, StepFailure> {
    let own = files::of(context);
    let domain = context.settled_domain().await?;
    let stashed = own.stashed_definition().await?.is_some();
    if domain.as_ref().is_some_and(|domain| domain.rescue) {
        return if stashed {
            Ok("the original definition is kept".to_owned())
        } else {
            Err(StepFailure::ambiguous(
                "the domain has a rescue definition, but the original one was not kept",
            ))
        };
    }
    if stashed {
        return Ok("the original definition is kept".to_owned());
    }
    let hypervisor = &context.host.hypervisor;
    if domain.is_none_or(|domain| !domain.persistent) {
        let (spec, tag) = (&context.command.spec, context.command.operation_id);
        hypervisor.define(spec, &DomainVariant::Normal, tag).await?;
    }
    let definition = hypervisor.definition(context.instance()).await?;
    own.stash_definition(&definition).await?;
    Ok("the original definition is kept".to_owned())
}

/// Defines the domain with the rescue disk.
pub(super) async fn define(context: &StepContext<'_>) -> Result<String, StepFailure> {
    let tag = context.command.operation_id;
    let probe = || async move {
        let domain = context.settled_domain().await?;
        let ours = domain.is_some_and(|domain| domain.rescue && domain.tag == Some(tag));
        Ok(if ours { Probe::Done(()) } else { Probe::NotDone })
    };
    let image = files::wanted_image(context);
    let mode = RescueMode::of_image(&image.properties);
    let words = match &mode {
        RescueMode::Legacy => "the rescue disk comes first, the server's own disk second",
        RescueMode::Stable(_) => "the server's disks keep their places, the rescue disk boots",
    };
    let variant = DomainVariant::Rescue { mode, image: image.clone() };
    let apply = || async move {
        if files::of(context).stashed_definition().await?.is_none() {
            return Err(StepFailure::ambiguous("the original definition was not kept"));
        }
        Ok(context.host.hypervisor.define(&context.command.spec, &variant, tag).await?)
    };
    ensure(probe, apply).await?;
    Ok(words.to_owned())
}

/// Puts the original definition back. Without a stash it is made from the server's data again,
/// which gives the same disks.
pub(super) async fn restore_definition(context: &StepContext<'_>) -> Result<String, StepFailure> {
    let probe = || async move {
        let domain = context.settled_domain().await?;
        let normal = domain.is_some_and(|domain| domain.persistent && !domain.rescue);
        Ok(if normal { Probe::Done(()) } else { Probe::NotDone })
    };
    let apply = || async move {
        let hypervisor = &context.host.hypervisor;
        match files::of(context).stashed_definition().await? {
            Some(xml) => Ok(hypervisor.define_xml(context.instance(), &xml).await?),
            None => {
                let (spec, tag) = (&context.command.spec, context.command.operation_id);
                Ok(hypervisor.define(spec, &DomainVariant::Normal, tag).await?)
            }
        }
    };
    ensure(probe, apply).await?;
    Ok("the original definition is back".to_owned())
}

/// Removes rescue disk, rescue config drive and, last, the stash.
pub(super) async fn remove_files(context: &StepContext<'_>) -> Result<String, StepFailure> {
    refuse_while_rescued(context).await?;
    let own = files::of(context);
    if own.rescue_files_exist().await? {
        own.remove_rescue_files().await?;
    }
    Ok("the rescue files are gone".to_owned())
}

async fn refuse_while_rescued(context: &StepContext<'_>) -> Result<(), StepFailure> {
    match context.settled_domain().await? {
        Some(domain) if domain.rescue => Err(StepFailure::failed(
            "the domain still uses the rescue disk; its files are not touched",
        )),
        Some(_) | None => Ok(()),
    }
}

/// Ends an unrescue that failed. Once the original definition is back the rescue is over, whatever came
/// after that: its files go, so that nobody takes the server for rescued, whose guest would boot its own
/// disk. The stash goes last and only while libvirt has the definition that is in it, so a kill on any
/// line leaves the one or the other, and the same is done again. Before that the server is as rescued as
/// it was.
pub(super) async fn end_unrescue(context: &StepContext<'_>) -> Result<(), StepFailure> {
    match context.settled_domain().await? {
        Some(domain) if domain.persistent && !domain.rescue => {
            remove_files(context).await.map(drop)
        }
        Some(_) | None => Ok(()),
    }
}

/// Takes a rescue back: the original definition, the rescue files gone, and the guest running
/// again if this rescue shut it down. A rescue system that another operation has made is not this
/// one's to take back: its guest and its files stay as they are.
pub(super) async fn undo(context: &StepContext<'_>, reached: usize) -> Result<(), StepFailure> {
    use reprieve_core::Step;
    let domain = context.settled_domain().await?;
    if let Some(domain) = domain.as_ref().filter(|domain| domain.rescue) {
        if domain.tag != Some(context.command.operation_id) {
            return Ok(());
        }
        power::power_off(context).await?;
        restore_definition(context).await?;
    }
    let plan = reprieve_core::plan::plan(OperationKind::Rescue);
    let asked = plan.iter().position(|step| *step == Step::ShutDownGuest);
    let shut_down_by_us = asked.is_some_and(|asked| reached >= asked);
    if shut_down_by_us && context.command.prior == VmState::Active {
        power::start(context).await?;
    }
    remove_files(context).await?;
    Ok(())
}
