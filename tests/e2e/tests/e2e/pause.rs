//! pause and unpause: the CPUs stop, memory stays.

use std::time::Duration;

use anyhow::Result;
use reprieve_e2e::lab::{OPERATION, SOON, with_lab};
use reprieve_e2e::virt;
use reprieve_e2e::wait::Deadline;
use serde_json::json;

#[test]
fn heartbeat_stops_and_goes_on_at_the_same_count() -> Result<()> {
    with_lab(|lab| {
        let server = lab.boot(&lab.tiny("pause")?)?;
        let (id, guest) = (server.id, &server.guest);
        let running = guest.beat_after(1, Deadline::seconds(SOON))?;
        let pid = virt::qemu_pid(id)?;

        lab.cloud.perform(id, &json!({ "pause": null }), "PAUSED", OPERATION)?;
        let paused = lab.cloud.server(id)?;
        assert_eq!((paused.power_state, paused.task_state), (3, None));
        assert_eq!(lab.virt.state(id)?.as_deref(), Some("paused"));
        let stopped_at = guest.silent(Duration::from_secs(3), Deadline::seconds(SOON))?;
        assert!(stopped_at >= running);
        let again = lab.cloud.action(id, &json!({ "pause": null }))?.expect(409)?;
        let text = format!("Cannot 'pause' instance {id} while it is in vm_state paused");
        assert_eq!(again.message(), text);

        lab.cloud.perform(id, &json!({ "unpause": null }), "ACTIVE", OPERATION)?;
        assert_eq!(lab.cloud.server(id)?.power_state, 1);
        assert_eq!(lab.virt.state(id)?.as_deref(), Some("running"));
        assert_eq!(guest.beat_after(stopped_at, Deadline::seconds(SOON))?, stopped_at + 1);
        assert_eq!(virt::qemu_pid(id)?, pid, "the same QEMU process all the time");
        assert!(pid.is_some());
        assert_eq!(guest.booted(Deadline::seconds(1))?.boot_id, server.boot.boot_id);
        Ok(())
    })
}
