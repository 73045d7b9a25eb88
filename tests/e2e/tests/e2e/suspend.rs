//! suspend and resume: memory goes to disk and comes back; and what happens when it is damaged.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use reprieve_e2e::cloud::Service;
use reprieve_e2e::lab::{BOOT, Booted, Lab, OPERATION, SOON, with_lab};
use reprieve_e2e::virt;
use reprieve_e2e::wait::Deadline;
use serde_json::{Value, json};

/// Names of the files in `save/`.
fn saved(lab: &Lab, server: &Booted) -> Result<Vec<String>> {
    let dir = lab.file(server.id, "save");
    if !dir.exists() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(&dir)?.collect::<std::io::Result<Vec<_>>>()?;
    Ok(entries.iter().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
}

fn memory_file(lab: &Lab, server: &Booted) -> Result<PathBuf> {
    let names = saved(lab, server)?;
    let name = names.iter().find(|name| name.starts_with("memory-")).context("no memory file")?;
    Ok(lab.file(server.id, "save").join(name))
}

fn suspended(lab: &Lab, name: &str) -> Result<(Booted, u64)> {
    let server = lab.boot(&lab.tiny(name)?)?;
    let beat = server.guest.beat_after(2, Deadline::seconds(SOON))?;
    lab.cloud.perform(server.id, &json!({ "suspend": null }), "SUSPENDED", OPERATION)?;
    Ok((server, beat))
}

#[test]
fn memory_goes_to_disk_and_comes_back() -> Result<()> {
    with_lab(|lab| {
        let (server, beat) = suspended(lab, "suspend")?;
        let (id, guest) = (server.id, &server.guest);
        assert_eq!(lab.cloud.server(id)?.power_state, 4);
        assert_eq!(lab.virt.state(id)?.as_deref(), Some("shut off"));
        assert_eq!(virt::qemu_pid(id)?, None, "QEMU is gone");
        let stopped_at = guest.last_beat()?;
        assert!(stopped_at >= beat);
        let manifest = fs::read(lab.file(id, "save/manifest.json"))?;
        let manifest: Value = serde_json::from_slice(&manifest)?;
        assert_eq!(manifest["state"], "saved", "{manifest}");
        assert!(fs::metadata(memory_file(lab, &server)?)?.len() > 1 << 20);

        lab.cloud.perform(id, &json!({ "resume": null }), "ACTIVE", OPERATION)?;
        assert_eq!(lab.cloud.server(id)?.power_state, 1);
        // A line that the guest had not finished sending is lost with the old console; the count
        // itself must go on: neither restarted nor skipped.
        let next = guest.beat_after(0, Deadline::seconds(SOON))?;
        assert!((stopped_at + 1..=stopped_at + 3).contains(&next), "{stopped_at} then {next}");
        let asked = guest.shell("cat /proc/sys/kernel/random/boot_id", Deadline::seconds(SOON))?;
        assert_eq!(asked, server.boot.boot_id, "the guest was not booted again");
        assert_eq!(saved(lab, &server)?, [""; 0], "nothing is left in save/");
        assert!(virt::qemu_pid(id)?.is_some());
        Ok(())
    })
}

#[test]
fn damaged_memory_is_neither_restored_nor_replaced_by_a_boot() -> Result<()> {
    with_lab(|lab| {
        let (server, _) = suspended(lab, "damaged")?;
        let id = server.id;
        let file = memory_file(lab, &server)?;
        let length = fs::metadata(&file)?.len();
        let opened = OpenOptions::new().read(true).write(true).open(&file)?;
        let mut byte = [0];
        opened.read_exact_at(&mut byte, length / 2)?;
        opened.write_all_at(&[byte[0] ^ 1], length / 2)?;

        let asked = lab.cloud.action(id, &json!({ "resume": null }))?.expect(202)?;
        let after = lab.cloud.settles(id, Deadline::seconds(OPERATION))?;
        assert_ne!(after.status, "ACTIVE", "{}", after.line());
        let path = format!("/servers/{id}/os-instance-actions/{}", asked.request_id);
        let action = lab.cloud.get(Service::Compute, &path)?;
        let event = &action["instanceAction"]["events"][0];
        assert_eq!(event["result"], "Error");
        assert!(event.to_string().contains("damaged"), "{event}");
        assert_eq!(virt::qemu_pid(id)?, None, "nothing was started");
        assert_eq!(fs::metadata(&file)?.len(), length, "the file is kept");

        // The way out is a decision of the user: without the memory.
        let hard = json!({ "reboot": { "type": "HARD" } });
        lab.cloud.perform(id, &hard, "ACTIVE", OPERATION)?;
        let boot = server.guest.booted_after(&server.boot.boot_id, Deadline::seconds(BOOT))?;
        assert_ne!(boot.boot_id, server.boot.boot_id);
        Ok(())
    })
}

#[test]
fn lost_memory_is_never_a_silent_boot() -> Result<()> {
    with_lab(|lab| {
        let (server, _) = suspended(lab, "lost")?;
        let id = server.id;
        fs::remove_file(memory_file(lab, &server)?)?;
        let answer = lab.cloud.action(id, &json!({ "resume": null }))?;
        ensure!(matches!(answer.status, 202 | 409), "{}: {}", answer.status, answer.body);
        let after = lab.cloud.settles(id, Deadline::seconds(OPERATION))?;
        assert_eq!(after.status, "ERROR", "{}", after.line());
        assert_eq!(virt::qemu_pid(id)?, None, "nothing was started");
        assert_eq!(lab.virt.state(id)?.as_deref(), Some("shut off"));
        Ok(())
    })
}
