//! The scenes. Each checks what it shows: a picture that is not as the text says fails the demo.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use reprieve_e2e::cloud::NewServer;
use reprieve_e2e::firehose::Carried;
use reprieve_e2e::guest::Guest;
use reprieve_e2e::lab::{BOOT, Booted, OPERATION, SOON, timed};
use reprieve_e2e::places;
use reprieve_e2e::virt;
use reprieve_e2e::wait::Deadline;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::show::{Outcome, Show};
use crate::stage::Stage;

/// `#!/bin/sh`, writes a greeting.
const USER_DATA: &str = "IyEvYmluL3NoCmVjaG8gaGVsbG8gPi9oZWxsbwo=";

/// Names of the scenes, in their order.
const NAMES: [&str; 4] = ["create", "1 pause", "2 suspend", "3 rescue"];

/// The way through the scenes.
pub struct Walk<'a> {
    stage: &'a Stage,
    show: &'a Show,
}

/// What the scenes hand on.
struct State {
    server: Booted,
    rescue_image: String,
    unpaused_in: Duration,
}

impl<'a> Walk<'a> {
    pub fn new(stage: &'a Stage, show: &'a Show) -> Self {
        Self { stage, show }
    }

    /// All scenes, to the first that fails.
    pub fn all(&self) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        let mut state = None;
        for name in NAMES {
            let begun = Instant::now();
            let played = self.play(name, &mut state);
            let passed = played.is_ok();
            let words = played.unwrap_or_else(|error| {
                let words = format!("{error:#}");
                eprintln!("demo: {words}");
                words.lines().next().unwrap_or_default().to_owned()
            });
            outcomes.push(Outcome { name, passed, words, took: begun.elapsed() });
            if !passed {
                break;
            }
        }
        outcomes
    }

    fn play(&self, name: &str, state: &mut Option<State>) -> Result<String> {
        if name == "create" {
            let (made, words) = self.create()?;
            *state = Some(made);
            return Ok(words);
        }
        let state = state.as_mut().context("there is no server")?;
        match name {
            "1 pause" => self.pause(state),
            "2 suspend" => self.suspend(state),
            "3 rescue" => self.rescue(state),
            other => bail!("no scene {other}"),
        }
    }

    fn create(&self) -> Result<(State, String)> {
        let (stage, show) = (self.stage, self.show);
        show.title("A server");
        // A guest that does not boot cannot hear the power button; this is how long it is asked.
        let patience = json!({ "os_shutdown_timeout": "3" });
        let tiny = stage.cloud().upload("tiny", "qcow2", &places::image("tiny")?, &patience)?;
        let rescue = places::image("tiny-rescue")?;
        let rescue_image = stage.cloud().upload("tiny-rescue", "qcow2", &rescue, &json!({}))?;
        show.asked("PUT /image/v2/images/…/file: tiny.qcow2 and tiny-rescue.qcow2");
        let spec = NewServer {
            name: "demo".into(),
            image: tiny,
            flavor: stage.cloud().flavor("demo", 128, 1)?,
            config_drive: true,
            key_name: None,
            user_data: Some(USER_DATA.into()),
        };
        show.asked(&format!("POST /compute/v2.1/servers {}", spec.body()));
        let (server, took) = timed(|| stage.boot(&spec))?;
        self.trace(&stage.last_request(server.id)?)?;
        self.libvirt(server.id)?;
        show.guest(&facts(&server.guest)?);
        show.result(&format!("ACTIVE and booted after {:.1} s", took.as_secs_f64()));
        let words = format!("created and booted in {:.1} s", took.as_secs_f64());
        Ok((State { server, rescue_image, unpaused_in: Duration::MAX }, words))
    }

    fn pause(&self, state: &mut State) -> Result<String> {
        let (stage, show, id, guest) =
            (self.stage, self.show, state.server.id, &state.server.guest);
        show.title("Scene 1: pause stops the CPUs; memory stays where it is");
        let paused_in = self.act(id, &json!({ "pause": null }), "PAUSED")?;
        self.libvirt(id)?;
        ensure!(
            stage.virt().state(id)?.as_deref() == Some("paused"),
            "libvirt does not say paused"
        );
        let last = guest.silent(Duration::from_secs(2), Deadline::seconds(SOON))?;
        show.guest(&format!("{}\n(nothing more for 2 s)", beats(guest)?));

        state.unpaused_in = self.act(id, &json!({ "unpause": null }), "ACTIVE")?;
        self.libvirt(id)?;
        let next = guest.beat_after(last, Deadline::seconds(SOON))?;
        show.guest(&beats(guest)?);
        ensure!(next == last + 1, "the count went from {last} to {next}");
        show.result(&format!("the count goes on: {last}, then {next}"));
        Ok(format!("pause {}, unpause {}", ms(paused_in), ms(state.unpaused_in)))
    }

    fn suspend(&self, state: &mut State) -> Result<String> {
        let (stage, show, id, guest) =
            (self.stage, self.show, state.server.id, &state.server.guest);
        show.title("Scene 2: suspend writes memory to disk; no process is left");
        let suspended_in = self.act(id, &json!({ "suspend": null }), "SUSPENDED")?;
        self.libvirt(id)?;
        ensure!(stage.virt().state(id)?.as_deref() == Some("shut off"), "libvirt: not shut off");
        ensure!(virt::qemu_pid(id)?.is_none(), "QEMU still runs");
        let power = stage.cloud().server(id)?.power_state;
        ensure!(power == 4, "power_state is {power}");
        let last = guest.last_beat()?;
        show.guest(&beats(guest)?);
        show.plain(&format!("no QEMU process; {}", self.saved_files(id)?));

        let resumed_in = self.act(id, &json!({ "resume": null }), "ACTIVE")?;
        self.libvirt(id)?;
        let next = guest.beat_after(0, Deadline::seconds(SOON))?;
        show.guest(&beats(guest)?);
        ensure!((last + 1..=last + 3).contains(&next), "the count went from {last} to {next}");
        show.result(&format!("the count goes on: {last}, then {next}; the guest was not booted"));
        ensure!(state.unpaused_in < resumed_in, "resume after suspend was faster than after pause");
        Ok(format!(
            "suspend {}, resume {}: after a pause it took {}",
            ms(suspended_in),
            ms(resumed_in),
            ms(state.unpaused_in)
        ))
    }

    fn rescue(&self, state: &mut State) -> Result<String> {
        let (stage, show, id, guest) =
            (self.stage, self.show, state.server.id, &state.server.guest);
        show.title("Scene 3: rescue boots another system to repair this one");
        self.shell(guest, "mv /sbin/init /sbin/init.lost; sync; echo broken")?;
        let hard = json!({ "reboot": { "type": "HARD" } });
        self.act(id, &hard, "ACTIVE")?;
        let broken =
            guest.wait_for("word of the broken guest", Deadline::seconds(BOOT), |text| {
                let line = text.lines().find(|line| line.contains("REPRIEVE-GUEST BROKEN"))?;
                Some(line.to_owned())
            })?;
        show.guest(&broken);

        let body = json!({ "rescue": { "rescue_image_ref": state.rescue_image } });
        let rescued_in = self.act(id, &body, "RESCUE")?;
        self.libvirt(id)?;
        let disks = stage.virt().disks(id)?;
        let file_of =
            |target: &str| disks.iter().find(|d| d.target == target).map(|d| d.file.clone());
        ensure!(file_of("vda").as_deref() == Some("disk.rescue"), "vda is not disk.rescue");
        ensure!(file_of("vdb").as_deref() == Some("disk"), "vdb is not the server's disk");
        let rescue = guest.booted(Deadline::seconds(BOOT))?;
        show.guest(&facts(guest)?);
        ensure!(rescue.variant == "tiny-rescue" && rescue.root == "/dev/vda1", "{rescue:?}");
        ensure!(rescue.fdisk.contains("/dev/vdb1"), "the guest does not see /dev/vdb1");
        self.shell(guest, "mount -t ext4 /dev/vdb1 /mnt && mv /mnt/sbin/init.lost /mnt/sbin/init && umount /mnt && echo repaired")?;

        let unrescued_in = self.act(id, &json!({ "unrescue": null }), "ACTIVE")?;
        self.libvirt(id)?;
        let own = guest.booted_after(&rescue.boot_id, Deadline::seconds(BOOT))?;
        show.guest(&facts(guest)?);
        ensure!(own.variant == "tiny" && own.root == "/dev/vda1", "{own:?}");
        ensure!(!stage.file(id, "disk.rescue")?.exists(), "disk.rescue is left");
        show.result("the server boots its own disk again, repaired");
        Ok(format!("rescue {}, unrescue {}", ms(rescued_in), ms(unrescued_in)))
    }

    /// Asks for an action, waits for its result, shows the request's way; returns how long it took
    /// from the question to the state.
    fn act(&self, id: Uuid, body: &Value, status: &str) -> Result<Duration> {
        self.show.asked(&format!("POST /compute/v2.1/servers/{id}/action {body}"));
        let (request, took) = timed(|| self.stage.cloud().perform(id, body, status, OPERATION))?;
        self.show.result(&format!("{status} after {}", ms(took)));
        self.trace(&request)?;
        Ok(took)
    }

    fn trace(&self, request: &str) -> Result<()> {
        let trace = self.stage.trace(request)?;
        let lines: Vec<String> = trace.lines().map(|line| self.shortened(line)).collect();
        self.show.log(&format!("$ reprieve trace {request}\n{}", lines.join("\n")));
        for role in ["api", "conductor", "compute"] {
            ensure!(trace.contains(role), "the logs of {role} do not mention {request}");
        }
        if let Some(messages) = self.stage.messages(request)? {
            let lines: Vec<String> = messages.iter().map(message).collect();
            self.show.messages(&lines.join("\n"));
        }
        Ok(())
    }

    /// A line of the logs without the ids that are the same in all of them.
    fn shortened(&self, line: &str) -> String {
        let mut line = line.to_owned();
        for home in self.stage.homes() {
            line = line.replace(&*home.to_string_lossy(), "DATA");
        }
        if let Some((before, (_, after))) =
            line.split_once("operation{").and_then(|(b, rest)| Some((b, rest.split_once("}: ")?)))
        {
            line = format!("{before}{after}");
        }
        let ids = ["server=", "server_id=", "operation=", "request_id="];
        let said = |word: &&str| !ids.iter().any(|id| word.starts_with(id));
        line.split(' ').filter(said).collect::<Vec<_>>().join(" ")
    }

    fn libvirt(&self, id: Uuid) -> Result<()> {
        let mut text = format!("$ virsh list --all\n{}", self.stage.virt().row(id)?.trim_end());
        for disk in self.stage.virt().disks(id)? {
            text.push_str(&format!("\n{} ({}): {}", disk.target, disk.bus, disk.file));
        }
        self.show.libvirt(&text);
        Ok(())
    }

    fn shell(&self, guest: &Guest, command: &str) -> Result<()> {
        let said = guest.shell(command, Deadline::seconds(SOON))?;
        self.show.guest(&format!("# {command}\n{said}"));
        Ok(())
    }

    fn saved_files(&self, id: Uuid) -> Result<String> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(self.stage.file(id, "save")?).context("save/")? {
            let entry = entry.context("save/")?;
            let bytes = entry.metadata().context("save/")?.len();
            names.push(format!("save/{} ({bytes} bytes)", entry.file_name().to_string_lossy()));
        }
        ensure!(!names.is_empty(), "nothing was saved");
        names.sort();
        Ok(names.join(", "))
    }
}

/// A message in a line: the queue, and what is in it but for the server's description, which is long
/// and the same each time.
fn message(carried: &Carried) -> String {
    let mut body = carried.body.clone();
    if let Some(fields) = body.as_object_mut() {
        for (name, value) in fields.iter_mut() {
            if ["spec", "args"].contains(&name.as_str()) {
                *value = json!("…");
            }
        }
    }
    format!("{}: {body}", carried.queue)
}

/// The last three heartbeats.
fn beats(guest: &Guest) -> Result<String> {
    let text = guest.text()?;
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("HEARTBEAT")).collect();
    Ok(lines.get(lines.len().saturating_sub(3)..).unwrap_or_default().join("\n"))
}

/// What the guest says about itself and its disks at boot.
fn facts(guest: &Guest) -> Result<String> {
    let text = guest.text()?;
    // The loader may not have ended its last line.
    let begin = text.rfind("REPRIEVE-GUEST").unwrap_or_default();
    let kept = |line: &&str| {
        ["REPRIEVE-GUEST", "Disk /dev/", "/dev/vd", "CONFIG-DRIVE", "HEARTBEAT 1 "]
            .iter()
            .any(|begin| line.starts_with(begin))
    };
    let lines = text.get(begin..).unwrap_or_default().lines().filter(kept);
    Ok(lines.collect::<Vec<_>>().join("\n"))
}

fn ms(time: Duration) -> String {
    if time.as_millis() < 1000 {
        format!("{} ms", time.as_millis())
    } else {
        format!("{:.1} s", time.as_secs_f64())
    }
}
