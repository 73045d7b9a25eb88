//! Steps on the definition of a domain.

use reprieve_core::ports::DomainVariant;

use super::{Probe, StepContext, StepFailure, ensure};

/// Defines the domain from the server's data; the operation's tag tells a definition of this
/// operation from an older one.
pub(super) async fn define(context: &StepContext<'_>) -> Result<String, StepFailure> {
    let tag = context.command.operation_id;
    let probe = || async move {
        let domain = context.settled_domain().await?;
        let ours = domain.is_some_and(|d| d.persistent && d.tag == Some(tag) && !d.rescue);
        Ok(if ours { Probe::Done(()) } else { Probe::NotDone })
    };
    let apply = || async move {
        let (spec, normal) = (&context.command.spec, DomainVariant::Normal);
        Ok(context.host.hypervisor.define(spec, &normal, tag).await?)
    };
    ensure(probe, apply).await?;
    Ok(format!("domain {} is defined", context.command.spec.domain_name()))
}

/// Removes the definition. Disks and saved memory are files of ours and not touched.
pub(super) async fn undefine(context: &StepContext<'_>) -> Result<String, StepFailure> {
    let probe = || async move {
        let domain = context.settled_domain().await?;
        Ok(if domain.is_none_or(|d| !d.persistent) { Probe::Done(()) } else { Probe::NotDone })
    };
    ensure(
        probe,
        || async move { Ok(context.host.hypervisor.undefine(context.instance()).await?) },
    )
    .await?;
    Ok("the domain is not defined any more".to_owned())
}
