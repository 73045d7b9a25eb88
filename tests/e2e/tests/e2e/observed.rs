//! What happens to a guest without being asked for through the API is seen there within a second.

use anyhow::Result;
use reprieve_e2e::lab::{Lab, SOON, with_lab};
use reprieve_e2e::wait::Deadline;
use uuid::Uuid;

/// "Within a second", on a machine that is busy emulating other guests; the agent looks at all of its
/// guests once a minute anyway.
const AT_ONCE: u64 = 15;

fn soon(lab: &Lab, id: Uuid, status: &str, power_state: i64) -> Result<()> {
    let seen = Deadline::seconds(AT_ONCE).until(&format!("{status} in the API"), || {
        let server = lab.cloud.server(id)?;
        Ok((server.rests_in(status) && server.power_state == power_state).then_some(()))
    });
    if seen.is_err() {
        eprintln!("{}", lab.cloud.server(id)?.line());
    }
    seen
}

#[test]
fn virsh_and_the_guest_itself() -> Result<()> {
    with_lab(|lab| {
        let server = lab.boot(&lab.tiny("observed")?)?;
        let id = server.id;
        lab.virt.suspend(id)?;
        soon(lab, id, "PAUSED", 3)?;
        lab.virt.resume(id)?;
        soon(lab, id, "ACTIVE", 1)?;
        server.guest.type_line("poweroff -f", Deadline::seconds(SOON))?;
        Deadline::seconds(SOON).until("end of the guest", || {
            Ok((lab.virt.state(id)?.as_deref() == Some("shut off")).then_some(()))
        })?;
        soon(lab, id, "SHUTOFF", 4)
    })
}
