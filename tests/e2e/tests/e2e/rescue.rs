//! rescue and unrescue, as seen by libvirt and by the guest; the server's own disk is never lost.

use anyhow::{Context as _, Result};
use reprieve_e2e::guest::Boot;
use reprieve_e2e::lab::{BOOT, Booted, Lab, OPERATION, SOON, with_lab};
use reprieve_e2e::places;
use reprieve_e2e::virt::Disk;
use reprieve_e2e::wait::Deadline;
use serde_json::{Value, json};

fn disk(target: &str, file: &str) -> Disk {
    let bus = if target.starts_with("hd") { "ide" } else { "virtio" };
    Disk { target: target.into(), bus: bus.into(), file: file.into(), boot_order: None }
}

/// Asks for a rescue and waits until the rescue system runs; returns the password.
fn rescue(lab: &Lab, server: &Booted, body: &Value) -> Result<(String, Boot)> {
    let answer = lab.cloud.action(server.id, &json!({ "rescue": body }))?.expect(200)?;
    let password = answer.body["adminPass"].as_str().context("no adminPass")?.to_owned();
    lab.cloud.rests(server.id, "RESCUE", Deadline::seconds(OPERATION))?;
    let boot = server.guest.booted_after(&server.boot.boot_id, Deadline::seconds(BOOT))?;
    Ok((password, boot))
}

fn unrescue(lab: &Lab, server: &Booted, rescued: &Boot) -> Result<Boot> {
    lab.cloud.perform(server.id, &json!({ "unrescue": null }), "ACTIVE", OPERATION)?;
    server.guest.booted_after(&rescued.boot_id, Deadline::seconds(BOOT))
}

fn assert_nothing_left(lab: &Lab, server: &Booted) {
    for name in ["disk.rescue", "disk.config.rescue", "unrescue.xml"] {
        assert!(!lab.file(server.id, name).exists(), "{name} is left");
    }
}

fn shell(server: &Booted, command: &str) -> Result<String> {
    server.guest.shell(command, Deadline::seconds(SOON))
}

#[test]
fn with_an_image_of_ones_own() -> Result<()> {
    with_lab(|lab| {
        let mut spec = lab.tiny("rescue")?;
        spec.config_drive = true;
        let server = lab.boot(&spec)?;
        let id = server.id;
        let own_xml = lab.virt.inactive_xml(id)?;
        assert_eq!(lab.virt.disks(id)?, [disk("vda", "disk"), disk("hda", "disk.config")]);
        assert_eq!(
            (server.boot.variant.as_str(), server.boot.root.as_str()),
            ("tiny", "/dev/vda1")
        );

        let image = lab.image("tiny-rescue")?;
        let (password, boot) = rescue(lab, &server, &json!({ "rescue_image_ref": image }))?;
        assert_eq!(password.len(), 12);
        let expected =
            [disk("vda", "disk.rescue"), disk("vdb", "disk"), disk("hda", "disk.config.rescue")];
        assert_eq!(lab.virt.disks(id)?, expected);
        assert_eq!((boot.variant.as_str(), boot.root.as_str()), ("tiny-rescue", "/dev/vda1"));
        assert!(boot.fdisk.contains("Disk /dev/vda"), "{}", boot.fdisk);
        assert!(boot.fdisk.contains("Disk /dev/vdb"), "{}", boot.fdisk);
        assert!(lab.file(id, "unrescue.xml").exists());

        shell(&server, "mount -t ext4 /dev/vdb1 /mnt && echo repaired >/mnt/proof && umount /mnt")?;
        let own = unrescue(lab, &server, &boot)?;
        assert_eq!((own.variant.as_str(), own.root.as_str()), ("tiny", "/dev/vda1"));
        assert_eq!(shell(&server, "cat /proof")?, "repaired");
        assert_eq!(lab.virt.inactive_xml(id)?, own_xml, "the definition is the one it had");
        assert_nothing_left(lab, &server);
        Ok(())
    })
}

#[test]
fn with_the_image_it_was_made_from_and_a_password_of_ones_own() -> Result<()> {
    with_lab(|lab| {
        let mut spec = lab.tiny("rescue-default")?;
        spec.config_drive = true;
        let server = lab.boot(&spec)?;
        shell(&server, "echo mine >/only-on-the-own-disk; sync")?;

        let (password, boot) = rescue(lab, &server, &json!({ "adminPass": "Correct-Horse-1" }))?;
        assert_eq!(password, "Correct-Horse-1");
        assert_eq!((boot.variant.as_str(), boot.root.as_str()), ("tiny", "/dev/vda1"));
        let text = server.guest.text()?;
        assert!(text.contains("admin_pass=yes"), "the rescue's config drive has the password");
        let seen = shell(
            &server,
            "test ! -e /only-on-the-own-disk && mount -t ext4 /dev/vdb1 /mnt && \
            cat /mnt/only-on-the-own-disk && umount /mnt",
        )?;
        assert_eq!(seen, "mine");
        // The rescue image must have been booted from a copy.
        shell(&server, "echo rescue >/only-in-the-rescue; sync")?;

        unrescue(lab, &server, &boot)?;
        assert_eq!(
            shell(&server, "cat /only-on-the-own-disk; ls /only-in-the-rescue || true")?
                .lines()
                .next(),
            Some("mine")
        );
        assert_nothing_left(lab, &server);
        Ok(())
    })
}

#[test]
fn with_a_stable_device() -> Result<()> {
    with_lab(|lab| {
        let server = lab.boot(&lab.tiny("rescue-stable")?)?;
        let properties = json!({ "hw_rescue_bus": "virtio", "hw_rescue_device": "disk" });
        let file = places::image("tiny-rescue")?;
        let image = lab.cloud.upload("stable", "qcow2", &file, &properties)?;

        let (_, boot) = rescue(lab, &server, &json!({ "rescue_image_ref": image }))?;
        let rescue_disk = Disk { boot_order: Some(1), ..disk("vdb", "disk.rescue") };
        assert_eq!(lab.virt.disks(server.id)?, [disk("vda", "disk"), rescue_disk]);
        assert_eq!((boot.variant.as_str(), boot.root.as_str()), ("tiny-rescue", "/dev/vdb1"));

        let own = unrescue(lab, &server, &boot)?;
        assert_eq!((own.variant.as_str(), own.root.as_str()), ("tiny", "/dev/vda1"));
        assert_eq!(lab.virt.disks(server.id)?, [disk("vda", "disk")]);
        assert_nothing_left(lab, &server);
        Ok(())
    })
}
