//! `kill -9` of the daemon in the middle of operations: after a restart with the same data each of
//! them ends by itself, truthfully, and no memory or disk is lost.

use std::fs;

use anyhow::{Context as _, Result};
use reprieve_e2e::lab::{BOOT, Lab, OPERATION, SOON, with_lab};
use reprieve_e2e::virt;
use reprieve_e2e::wait::Deadline;
use serde_json::{Value, json};
use uuid::Uuid;

/// When the daemon is killed: as soon as this is true.
type Moment = fn(&Lab, Uuid) -> Result<bool>;

/// Right after the API has accepted.
fn accepted(_: &Lab, _: Uuid) -> Result<bool> {
    Ok(true)
}

/// What the manifest of the saved memory says; nothing while there is none.
fn manifest_state(lab: &Lab, id: Uuid) -> Option<String> {
    let bytes = fs::read(lab.file(id, "save/manifest.json")).ok()?;
    let manifest: Value = serde_json::from_slice(&bytes).ok()?;
    manifest["state"].as_str().map(str::to_owned)
}

fn saving(lab: &Lab, id: Uuid) -> Result<bool> {
    Ok(manifest_state(lab, id).as_deref() == Some("saving"))
}

fn guest_is_gone(_: &Lab, id: Uuid) -> Result<bool> {
    Ok(virt::qemu_pid(id)?.is_none())
}

fn restoring(lab: &Lab, id: Uuid) -> Result<bool> {
    Ok(matches!(manifest_state(lab, id).as_deref(), Some("restoring" | "consumed") | None))
}

fn guest_is_back(_: &Lab, id: Uuid) -> Result<bool> {
    Ok(virt::qemu_pid(id)?.is_some())
}

fn rescue_disk_is_built(lab: &Lab, id: Uuid) -> Result<bool> {
    Ok(lab.file(id, "disk.rescue").exists())
}

fn rescue_disk_is_gone(lab: &Lab, id: Uuid) -> Result<bool> {
    Ok(!lab.file(id, "disk.rescue").exists())
}

fn disk_is_built(lab: &Lab, id: Uuid) -> Result<bool> {
    Ok(lab.file(id, "disk").exists())
}

/// Asks for an action, kills the daemon at the moment, starts it again, waits for the end.
fn interrupt(lab: &mut Lab, id: Uuid, action: &Value, moment: Moment, status: &str) -> Result<()> {
    let answer = lab.cloud.action(id, action)?;
    anyhow::ensure!(matches!(answer.status, 200 | 202), "{action}: {}", answer.body);
    kill_at(lab, id, moment)?;
    lab.cloud
        .rests(id, status, Deadline::seconds(OPERATION))
        .with_context(|| format!("{action}"))?;
    Ok(())
}

fn kill_at(lab: &mut Lab, id: Uuid, moment: Moment) -> Result<()> {
    Deadline::seconds(OPERATION)
        .until("the moment to kill the daemon", || Ok(moment(lab, id)?.then_some(())))?;
    lab.daemon.kill()?;
    lab.daemon.start_again()?;
    Ok(())
}

#[test]
fn in_suspend_and_resume_memory_is_never_lost() -> Result<()> {
    with_lab(|lab| {
        let server = lab.boot(&lab.tiny("crash-suspend")?)?;
        let id = server.id;
        let moments: [(Moment, Moment); 3] =
            [(accepted, accepted), (saving, restoring), (guest_is_gone, guest_is_back)];
        for (in_suspend, in_resume) in moments {
            server.guest.beat_after(0, Deadline::seconds(SOON))?;
            interrupt(lab, id, &json!({ "suspend": null }), in_suspend, "SUSPENDED")?;
            assert_eq!(virt::qemu_pid(id)?, None);
            let before = server.guest.last_beat()?;
            interrupt(lab, id, &json!({ "resume": null }), in_resume, "ACTIVE")?;
            server.goes_on(before)?;
            assert_eq!(manifest_state(lab, id), None, "nothing is left");
        }
        Ok(())
    })
}

#[test]
fn in_rescue_and_unrescue_the_disk_is_never_lost() -> Result<()> {
    with_lab(|lab| {
        let server = lab.boot(&lab.tiny("crash-rescue")?)?;
        let (id, guest) = (server.id, &server.guest);
        guest.shell("echo mine >/mine; sync", Deadline::seconds(SOON))?;
        let definition = lab.virt.inactive_xml(id)?;
        let image = lab.image("tiny-rescue")?;
        let rescue = json!({ "rescue": { "rescue_image_ref": image } });
        let moments: [(Moment, Moment); 2] =
            [(rescue_disk_is_built, accepted), (guest_is_gone, rescue_disk_is_gone)];
        let mut boot_id = server.boot.boot_id.clone();
        for (in_rescue, in_unrescue) in moments {
            interrupt(lab, id, &rescue, in_rescue, "RESCUE")?;
            let rescued = guest.booted_after(&boot_id, Deadline::seconds(BOOT))?;
            assert_eq!(rescued.variant, "tiny-rescue");
            interrupt(lab, id, &json!({ "unrescue": null }), in_unrescue, "ACTIVE")?;
            let own = guest.booted_after(&rescued.boot_id, Deadline::seconds(BOOT))?;
            assert_eq!(own.variant, "tiny");
            assert_eq!(guest.shell("cat /mine", Deadline::seconds(SOON))?, "mine");
            assert_eq!(lab.virt.inactive_xml(id)?, definition);
            boot_id = own.boot_id;
        }
        Ok(())
    })
}

#[test]
fn in_create_the_server_comes_up_and_guests_survive() -> Result<()> {
    with_lab(|lab| {
        let spec = lab.tiny("crash-create")?;
        let first = lab.create(&spec)?;
        kill_at(lab, first, accepted)?;
        lab.cloud.rests(first, "ACTIVE", Deadline::seconds(OPERATION))?;
        let guest = lab.guest(first);
        let boot = guest.booted(Deadline::seconds(BOOT))?;
        let pid = virt::qemu_pid(first)?;

        let second = lab.create(&spec)?;
        kill_at(lab, second, disk_is_built)?;
        lab.cloud.rests(second, "ACTIVE", Deadline::seconds(OPERATION))?;
        lab.guest(second).booted(Deadline::seconds(BOOT))?;

        // The first guest did not even notice.
        assert_eq!(virt::qemu_pid(first)?, pid);
        assert_eq!(guest.booted(Deadline::seconds(1))?.boot_id, boot.boot_id);
        lab.daemon.stop()?;
        assert_eq!(virt::qemu_pid(first)?, pid, "an orderly stop leaves guests alone, too");
        lab.daemon.start_again()?;
        let beat = guest.last_beat()?;
        guest.beat_after(beat, Deadline::seconds(SOON))?;
        assert!(lab.cloud.server(first)?.rests_in("ACTIVE"));
        Ok(())
    })
}
