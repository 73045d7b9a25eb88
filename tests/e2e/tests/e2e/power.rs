//! stop, start and the two reboots; the console log and the list of events.

use anyhow::Result;
use reprieve_e2e::cloud::Service;
use reprieve_e2e::lab::{BOOT, OPERATION, timed, with_lab};
use reprieve_e2e::virt;
use reprieve_e2e::wait::Deadline;
use serde_json::json;

#[test]
fn stop_start_and_reboot() -> Result<()> {
    with_lab(|lab| {
        let server = lab.boot(&lab.tiny("power")?)?;
        let (id, guest) = (server.id, &server.guest);

        let stop = json!({ "os-stop": null });
        let (stopped, took) = timed(|| lab.cloud.perform(id, &stop, "SHUTOFF", OPERATION))?;
        // A guest that ignored the power button would have cost the grace period of a minute.
        assert!(guest.text()?.contains("REPRIEVE-GUEST POWER-BUTTON"), "stopped after {took:?}");
        assert_eq!(lab.cloud.server(id)?.power_state, 4);
        assert_eq!(lab.virt.state(id)?.as_deref(), Some("shut off"));
        assert_eq!(virt::qemu_pid(id)?, None);
        let console = lab.cloud.action(id, &json!({ "os-getConsoleOutput": {} }))?;
        assert_eq!(console.status, 404, "{}", console.body);

        lab.cloud.perform(id, &json!({ "os-start": null }), "ACTIVE", OPERATION)?;
        let started = guest.booted_after(&server.boot.boot_id, Deadline::seconds(BOOT))?;
        let console = json!({ "os-getConsoleOutput": {} });
        let all = lab.cloud.action(id, &console)?.expect(200)?.body["output"].take();
        let all = all.as_str().unwrap_or_default();
        assert!(all.contains(&started.boot_id) && all.contains("HEARTBEAT 1 "), "{all:?}");
        let console = json!({ "os-getConsoleOutput": { "length": 3 } });
        let end = lab.cloud.action(id, &console)?.expect(200)?.body["output"].take();
        let lines = end.as_str().unwrap_or_default().trim_end().lines().count();
        assert!((1..=3).contains(&lines), "{end:?}");

        lab.cloud.perform(id, &json!({ "reboot": { "type": "SOFT" } }), "ACTIVE", OPERATION)?;
        let soft = guest.booted_after(&started.boot_id, Deadline::seconds(BOOT))?;
        lab.cloud.perform(id, &json!({ "reboot": { "type": "HARD" } }), "ACTIVE", OPERATION)?;
        guest.booted_after(&soft.boot_id, Deadline::seconds(BOOT))?;

        let path = format!("/servers/{id}/os-instance-actions");
        let actions = lab.cloud.get(Service::Compute, &path)?;
        let names: Vec<_> = actions["instanceActions"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|a| &a["action"])
            .collect();
        assert_eq!(names, ["reboot", "reboot", "start", "stop", "create"]);
        let event = lab.cloud.get(Service::Compute, &format!("{path}/{stopped}"))?;
        let event = &event["instanceAction"]["events"][0];
        assert_eq!(
            (&event["event"], &event["result"]),
            (&json!("compute_stop_instance"), &json!("Success"))
        );
        Ok(())
    })
}
