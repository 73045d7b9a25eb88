//! Guests of servers that were deleted here, and are back.
//!
//! libvirt removes a definition without waiting for its disk, so a loss of power shortly after a delete
//! brings it back, and nobody's guest is in the list of domains. Its definition is removed again.
//!
//! Why that cannot lose anything: it is done only where the control plane never spoke of the server since
//! this start, the newest that the ledger has of it is a delete that succeeded here, there is no process,
//! and its directory is not there, as the delete left it. What has files again was put there by somebody,
//! and is told like any guest of no server ([`crate::unknown`]). Only the definition is removed.

use std::collections::HashSet;

use reprieve_core::InstanceId;
use reprieve_core::ports::DomainState;
use tracing::{info, warn};

use crate::host::Host;
use crate::steps::undefine_again;

/// Removes such definitions. Returns the guests that are left.
pub async fn undefine_returned(
    host: &Host,
    mut guests: Vec<(InstanceId, DomainState)>,
    known: &HashSet<InstanceId>,
) -> Vec<(InstanceId, DomainState)> {
    let quiet = guests
        .iter()
        .filter(|(id, domain)| !known.contains(id) && !domain.power.has_process() && !domain.job);
    let quiet: Vec<_> = quiet.map(|(id, _)| *id).collect();
    if quiet.is_empty() {
        return guests;
    }
    let deletes = match host.ledger.deletes_of(&quiet).await {
        Ok(deletes) => deletes,
        Err(error) => {
            warn!(%error, "whether guests of no server were deleted here cannot be read");
            return guests;
        }
    };
    for delete in deletes {
        let (server, operation) = (delete.spec.id, delete.operation_id);
        match undefine_again(host, &delete).await {
            Ok(true) => {
                info!(%server, %operation, "a deleted server's definition was back; it is removed");
                guests.retain(|(id, _)| *id != server);
            }
            Ok(false) => {}
            Err(failure) => {
                let error = failure.details;
                warn!(%server, error, "a deleted server's definition is back, and stays for now");
            }
        }
    }
    guests
}
