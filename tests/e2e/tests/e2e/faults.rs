//! Bad days of a host: what a deployment of Nova does on them was recorded, and each must end better
//! here. Kills of the daemon are in `crashes` and `chaos`.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use reprieve_e2e::cloud::{Answer, Server, Service};
use reprieve_e2e::lab::{BOOT, Booted, Lab, OPERATION, Plan, SOON, with_lab, with_plan};
use reprieve_e2e::lossy_disk::LossyDisk;
use reprieve_e2e::small_disk::SmallDisk;
use reprieve_e2e::virt;
use reprieve_e2e::wait::Deadline;
use serde_json::{Value, json};
use uuid::Uuid;

fn soon() -> Deadline {
    Deadline::seconds(SOON)
}

/// Asks for what cannot work, and returns what its event says and how the server is then.
fn fails(lab: &Lab, id: Uuid, action: &Value) -> Result<(String, Server)> {
    let asked = lab.cloud.action(id, action)?;
    ensure!(matches!(asked.status, 200 | 202), "{action}: {}", asked.body);
    let after = lab.cloud.settles(id, Deadline::seconds(OPERATION))?;
    let path = format!("/servers/{id}/os-instance-actions/{}", asked.request_id);
    let event = lab.cloud.get(Service::Compute, &path)?["instanceAction"]["events"][0].take();
    ensure!(event["result"] == "Error" && !event["finish_time"].is_null(), "{event}");
    Ok((event.to_string(), after))
}

fn memory_file(lab: &Lab, id: Uuid) -> Result<PathBuf> {
    let mut entries = fs::read_dir(lab.file(id, "save"))?.flatten().map(|entry| entry.path());
    let is_memory = |path: &PathBuf| path.to_string_lossy().contains("/memory-");
    entries.find(is_memory).context("no memory file")
}

/// Row 11, and a rescue in the same situation, with images' or servers' files on the full disk: Nova
/// calls the first ERROR although the guest runs on, and loses the memory when its user does what is
/// left to him.
#[test]
fn on_a_full_disk_suspend_and_rescue_fail_and_the_guest_runs_on() -> Result<()> {
    with_plan(Plan { own_libvirtd: true, ..Plan::default() }, |lab| {
        let image = lab.daemon.data().with_file_name("instances.disk");
        let disk = LossyDisk::mount(&image, &lab.instances(), 4)?;
        // It, and what writes consoles for it, see what is mounted when they are started.
        let libvirtd = lab.libvirtd.as_ref().context("no libvirtd")?;
        libvirtd.stop()?;
        libvirtd.start_again()?;
        lab.host_is_up()?;
        let server = lab.boot(&lab.tiny("full")?)?;
        let (id, guest) = (server.id, &server.guest);
        let pid = virt::qemu_pid(id)?;
        let suspend = json!({ "suspend": null });
        let rescue = json!({ "rescue": { "rescue_image_ref": lab.image("tiny-rescue")? } });

        let small = SmallDisk::mount(&lab.daemon.data().join("cache"), 4)?;
        let untouched = |action: &Value| -> Result<()> {
            let beat = guest.last_beat()?;
            let (said, after) = fails(lab, id, action)?;
            assert!(said.to_lowercase().contains("no space left on"), "{said}");
            assert!(after.rests_in("ACTIVE"), "{}", after.line());
            assert!(
                after.fault().to_lowercase().contains("no space left") || after.fault().is_empty()
            );
            assert_eq!(virt::qemu_pid(id)?, pid, "the guest was not touched");
            guest.beat_after(beat, soon())?;
            for name in ["disk.rescue", "unrescue.xml", "save/manifest.json"] {
                assert!(!lab.file(id, name).exists(), "{name} is left");
            }
            Ok(())
        };
        untouched(&rescue)?;
        drop(small);
        // A rescue needs less room than memory does.
        for (action, leave) in [(&suspend, 8 << 20), (&rescue, 64 << 10)] {
            let full = disk.fill(leave)?;
            untouched(action)?;
            fs::remove_file(full)?;
        }

        lab.perform(id, &suspend, "SUSPENDED")?;
        let beat = guest.last_beat()?;
        lab.perform(id, &json!({ "resume": null }), "ACTIVE")?;
        server.goes_on(beat)?;
        lab.cloud.send("DELETE", Service::Compute, &format!("/servers/{id}"), None)?.expect(204)?;
        Deadline::seconds(OPERATION)
            .until("end of the guest", || Ok(virt::qemu_pid(id)?.is_none().then_some(())))
    })
}

/// A libvirtd that neither answers nor dies: the API answers, the operation waits, and goes on.
#[test]
fn a_libvirtd_that_hangs_delays_a_pause_and_nothing_else() -> Result<()> {
    with_plan(Plan { own_libvirtd: true, ..Plan::default() }, |lab| {
        let server = lab.boot(&lab.tiny("hangs")?)?;
        let (id, guest) = (server.id, &server.guest);
        let libvirtd = lab.libvirtd.as_ref().context("no libvirtd")?;
        libvirtd.freeze()?;
        let asked = Instant::now();
        lab.cloud.action(id, &json!({ "pause": null }))?.expect(202)?;
        let now = lab.cloud.server(id)?;
        // Whoever asks libvirt gives up after ten.
        assert!(asked.elapsed() < Duration::from_secs(8), "the API waits for libvirt");
        assert_eq!((now.status.as_str(), now.task_state.as_deref()), ("ACTIVE", Some("pausing")));
        // Whether anything came of it cannot be known, so nothing is said until it is.
        Deadline::seconds(OPERATION).until("state 'down' of the compute service", || {
            Ok((lab.compute_state()? == "down").then_some(()))
        })?;
        let now = lab.cloud.server(id)?;
        assert_eq!((now.status.as_str(), now.task_state.as_deref()), ("ACTIVE", Some("pausing")));
        guest.beat_after(guest.last_beat()?, soon())?;
        libvirtd.thaw()?;
        lab.cloud.rests(id, "PAUSED", Deadline::seconds(OPERATION))?;
        assert_eq!(lab.virt.state(id)?.as_deref(), Some("paused"));
        let beat = guest.silent(Duration::from_secs(2), soon())?;
        lab.perform(id, &json!({ "unpause": null }), "ACTIVE")?;
        server.goes_on(beat)
    })
}

/// Row 8: the daemon and all guests die at once. What was on disk is there, and what is gone is
/// said to be.
#[test]
fn a_host_that_loses_its_guests_knows_it_and_keeps_what_is_on_disk() -> Result<()> {
    with_lab(|lab| {
        let spec = lab.tiny("power-cut")?;
        let ids = [lab.create(&spec)?, lab.create(&spec)?, lab.create(&spec)?];
        let mut servers = Vec::new();
        for id in ids {
            lab.cloud.rests(id, "ACTIVE", Deadline::seconds(OPERATION))?;
            let guest = lab.guest(id);
            let boot = guest.booted(Deadline::seconds(BOOT))?;
            servers.push(Booted { id, guest, boot });
        }
        let [paused, suspended, rescued] = servers.as_slice() else { bail!("three servers") };
        lab.perform(paused.id, &json!({ "pause": null }), "PAUSED")?;
        lab.perform(suspended.id, &json!({ "suspend": null }), "SUSPENDED")?;
        let beat = suspended.guest.last_beat()?;
        let rescue = json!({ "rescue": { "rescue_image_ref": lab.image("tiny-rescue")? } });
        lab.perform(rescued.id, &rescue, "RESCUE")?;

        lab.daemon.kill()?;
        for id in [paused.id, rescued.id] {
            ensure!(lab.virt.virsh(&["destroy", &id.to_string()])?.ok(), "{id} is not destroyed");
        }
        lab.daemon.start_again()?;
        lab.sees(paused.id, "SHUTOFF", 4)?;
        lab.sees(rescued.id, "RESCUE", 4)?;
        lab.sees(suspended.id, "SUSPENDED", 4)?;

        lab.perform(suspended.id, &json!({ "resume": null }), "ACTIVE")?;
        suspended.goes_on(beat)?;
        lab.perform(paused.id, &json!({ "os-start": null }), "ACTIVE")?;
        lab.perform(rescued.id, &json!({ "unrescue": null }), "ACTIVE")?;
        for server in [paused, rescued] {
            let boot_id = &server.boot.boot_id;
            let boot = server.guest.booted_after(boot_id, Deadline::seconds(BOOT))?;
            assert_eq!(boot.variant, "tiny");
        }
        Ok(())
    })
}

/// Rows 13 and 13c, and definitions that somebody removes.
#[test]
fn what_virsh_takes_away_is_seen_and_put_back() -> Result<()> {
    with_lab(|lab| {
        let server = lab.boot(&lab.tiny("virsh")?)?;
        let (id, guest) = (server.id, &server.guest);
        let virsh = |command: &str| -> Result<()> {
            let output = lab.virt.virsh(&[command, &id.to_string()])?;
            ensure!(output.ok(), "virsh {command}: {}", output.stderr);
            Ok(())
        };
        // The guest runs on without a definition, and what brings it back is not the definition.
        lab.perform(id, &json!({ "pause": null }), "PAUSED")?;
        virsh("undefine")?;
        lab.sees(id, "PAUSED", 3)?;
        let beat = guest.last_beat()?;
        lab.perform(id, &json!({ "unpause": null }), "ACTIVE")?;
        server.goes_on(beat)?;
        lab.perform(id, &json!({ "suspend": null }), "SUSPENDED")?;
        let beat = guest.last_beat()?;
        lab.perform(id, &json!({ "resume": null }), "ACTIVE")?;
        server.goes_on(beat)?;
        lab.perform(id, &json!({ "suspend": null }), "SUSPENDED")?;
        let beat = guest.last_beat()?;
        if lab.virt.state(id)?.is_some() {
            virsh("undefine")?;
        }
        lab.perform(id, &json!({ "resume": null }), "ACTIVE")?;
        server.goes_on(beat)?;

        let rescue = json!({ "rescue": { "rescue_image_ref": lab.image("tiny-rescue")? } });
        lab.perform(id, &rescue, "RESCUE")?;
        virsh("destroy")?;
        lab.sees(id, "RESCUE", 4)?;
        virsh("undefine")?;
        lab.perform(id, &json!({ "unrescue": null }), "ACTIVE")?;
        let own = guest.booted_after(&server.boot.boot_id, Deadline::seconds(BOOT))?;
        assert_eq!(own.variant, "tiny");
        lab.perform(id, &json!({ "pause": null }), "PAUSED")?;
        virsh("destroy")?;
        lab.sees(id, "SHUTOFF", 4)?;
        lab.perform(id, &json!({ "os-start": null }), "ACTIVE")?;
        virsh("destroy")?;
        lab.sees(id, "SHUTOFF", 4)?;
        lab.perform(id, &json!({ "os-start": null }), "ACTIVE")
    })
}

/// Rows 9a, 9b and 13b, and a disk that was written to meanwhile. A flipped bit and a file that is gone
/// are in `suspend`.
#[test]
fn spoilt_memory_is_refused_kept_and_works_again_once_mended() -> Result<()> {
    with_lab(|lab| {
        let server = lab.boot(&lab.tiny("spoilt")?)?;
        let (id, guest) = (server.id, &server.guest);
        let (suspend, resume) = (json!({ "suspend": null }), json!({ "resume": null }));
        let hard = json!({ "reboot": { "type": "HARD" } });
        lab.perform(id, &suspend, "SUSPENDED")?;
        // What libvirt would have saved by itself is not what the guest comes back from.
        ensure!(lab.virt.virsh(&["managedsave-remove", &id.to_string()])?.ok());
        let beat = guest.last_beat()?;
        let memory = OpenOptions::new().read(true).write(true).open(memory_file(lab, id)?)?;
        let mut header = [0; 16];
        memory.read_exact_at(&mut header, 0)?;
        memory.write_all_at(&[0; 16], 0)?;
        let (said, after) = fails(lab, id, &resume)?;
        assert!(said.contains("damaged"), "{said}");
        assert_eq!(virt::qemu_pid(id)?, None, "nothing was started");
        memory.write_all_at(&header, 0)?;
        // Whatever it is called meanwhile, what was mended brings the guest back.
        assert_eq!(after.status, "SUSPENDED", "{}", after.line());
        lab.perform(id, &resume, "ACTIVE")?;
        server.goes_on(beat)?;

        lab.perform(id, &suspend, "SUSPENDED")?;
        let memory = OpenOptions::new().write(true).open(memory_file(lab, id)?)?;
        memory.set_len(memory.metadata()?.len() / 2)?;
        let (said, after) = fails(lab, id, &resume)?;
        assert!(said.contains("bytes"), "{said}");
        assert_eq!((after.status.as_str(), virt::qemu_pid(id)?), ("ERROR", None));
        assert!(!after.fault().is_empty(), "{}", after.line());
        lab.perform(id, &hard, "ACTIVE")?;
        let boot = guest.booted_after(&server.boot.boot_id, Deadline::seconds(BOOT))?;

        lab.perform(id, &suspend, "SUSPENDED")?;
        let disk = OpenOptions::new().read(true).write(true).open(lab.file(id, "disk"))?;
        let mut end = [0];
        let last = disk.metadata()?.len() - 1;
        disk.read_exact_at(&mut end, last)?;
        disk.write_all_at(&end, last)?;
        let (said, after) = fails(lab, id, &resume)?;
        assert!(said.contains("changed since the memory was saved"), "{said}");
        assert_eq!((after.status.as_str(), virt::qemu_pid(id)?), ("ERROR", None));
        lab.perform(id, &hard, "ACTIVE")?;
        guest.booted_after(&boot.boot_id, Deadline::seconds(BOOT)).map(drop)
    })
}

/// Rows 5 to 7: of several requests at once one is accepted, and all others are told why not.
#[test]
fn of_simultaneous_requests_one_wins() -> Result<()> {
    with_lab(|lab| {
        let id = lab.create(&lab.tiny("race")?)?;
        lab.cloud.rests(id, "ACTIVE", Deadline::seconds(OPERATION))?;
        let mixed =
            ["pause", "suspend", "pause", "suspend", "suspend", "pause", "suspend", "pause"];
        for actions in [["pause"; 8], mixed] {
            let cloud = &lab.cloud;
            let answers: Vec<Answer> = std::thread::scope(|scope| {
                let ask = |action: &'static str| {
                    scope.spawn(move || cloud.action(id, &json!({ action: null })))
                };
                let asking: Vec<_> = actions.into_iter().map(ask).collect();
                asking
                    .into_iter()
                    .flat_map(std::thread::ScopedJoinHandle::join)
                    .collect::<Result<_>>()
            })?;
            let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
            statuses.sort_unstable();
            assert_eq!(statuses, [202, 409, 409, 409, 409, 409, 409, 409]);
            let after = lab.cloud.settles(id, Deadline::seconds(OPERATION))?;
            let (back, domain) = match after.status.as_str() {
                "PAUSED" => ("unpause", "paused"),
                "SUSPENDED" => ("resume", "shut off"),
                other => bail!("the server is {other}"),
            };
            assert_eq!(lab.virt.state(id)?.as_deref(), Some(domain));
            lab.perform(id, &json!({ back: null }), "ACTIVE")?;
            assert_eq!(lab.virt.state(id)?.as_deref(), Some("running"));
        }
        Ok(())
    })
}

/// Rows 10a and 10b: Nova powers the guest off before it looks at the image.
#[test]
fn an_image_that_is_none_never_comes_near_a_guest() -> Result<()> {
    with_lab(|lab| {
        let server = lab.boot(&lab.tiny("no-image")?)?;
        let id = server.id;
        let pid = virt::qemu_pid(id)?;
        let noise = lab.daemon.data().with_file_name("noise");
        fs::write(&noise, vec![0x5a; 1 << 20])?;
        let image = lab.cloud.new_image("noise", "qcow2", &json!({}))?;
        let answer = lab.cloud.upload_data(&image, &noise)?;
        assert!(matches!(answer.status, 400 | 415), "{}", answer.status);
        let rescue = |image: &str| json!({ "rescue": { "rescue_image_ref": image } });
        let answer = lab.cloud.action(id, &rescue(&image))?.expect(400)?;
        assert!(!answer.message().is_empty());
        assert!(lab.cloud.server(id)?.rests_in("ACTIVE"));
        assert_eq!((virt::qemu_pid(id)?, lab.file(id, "unrescue.xml").exists()), (pid, false));

        // As a raw disk it is one, from which nothing boots.
        let image = lab.cloud.upload("noise", "raw", &noise, &json!({}))?;
        lab.perform(id, &rescue(&image), "RESCUE")?;
        assert_eq!(lab.virt.state(id)?.as_deref(), Some("running"));
        lab.perform(id, &json!({ "unrescue": null }), "ACTIVE")?;
        let own = server.guest.booted_after(&server.boot.boot_id, Deadline::seconds(BOOT))?;
        assert_eq!(own.variant, "tiny");
        Ok(())
    })
}
