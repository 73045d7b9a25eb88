//! One server with what is known of its guest, and the check that all of it still holds.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use uuid::Uuid;

use super::site::Site;
use super::strike::Rest;
use crate::guest::Guest;
use crate::lab::{BOOT, SOON};
use crate::run::Run;
use crate::virt;
use crate::wait::Deadline;

/// Where each guest keeps a word of its own on its disk.
const MARK: &str = "/mark";
/// How long the API may lag behind a guest: events tell it at once, but they can be lost in a kill,
/// and libvirt is asked anew with each connection.
const AGREE: u64 = 30;
/// Longer than a guest that runs takes between two heartbeats on a busy machine.
const SILENCE: Duration = Duration::from_millis(2500);
/// Heartbeats that a guest may be ahead of the clock by: it beats at the end of what it missed.
const AHEAD: u64 = 5;

/// What became of the memory of a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// It goes on where it was.
    Kept,
    /// It booted.
    Fresh,
    /// Either: an operation that boots was undone at an unknown point.
    Either,
}

/// How far a guest had come.
#[derive(Debug, Clone, Copy)]
pub struct Noted {
    beat: u64,
    at: Instant,
}

/// A server.
#[derive(Debug)]
pub struct Subject {
    /// Its id.
    pub id: Uuid,
    /// Where it is while nothing is being done to it.
    pub rest: Rest,
    guest: Guest,
    /// Of the last boot that was seen.
    boot_id: String,
    /// The last heartbeat that was seen, and when. None counts since the guest was stopped.
    beat: u64,
    beat_at: Instant,
    /// The end of its console was lost, so that the guest may have counted further.
    console_lost: bool,
    /// What its own disk has in [`MARK`].
    mark: String,
    /// libvirt's definition of the server while it is not rescued.
    definition: String,
}

impl Subject {
    /// Of a server that is ACTIVE for the first time.
    ///
    /// # Errors
    /// When its guest does not boot.
    pub fn of_new(site: &dyn Site, id: Uuid) -> Result<Self> {
        let guest = site.guest(id);
        let boot = guest.booted(Deadline::seconds(BOOT))?;
        let mark = id.simple().to_string();
        guest.shell(&format!("echo {mark} >{MARK}; sync"), Deadline::seconds(SOON))?;
        let beat = guest.last_beat()?;
        let definition = site.virt().inactive_xml(id)?;
        let rest = Rest::Active;
        let beat_at = Instant::now();
        Ok(Self {
            id,
            rest,
            guest,
            boot_id: boot.boot_id,
            beat,
            beat_at,
            console_lost: false,
            mark,
            definition,
        })
    }

    /// Notes how far the guest has come, before something is done to it. The console of a guest
    /// whose memory was just brought back has no heartbeat yet: then the last one still counts.
    ///
    /// # Errors
    /// When its console cannot be read.
    pub fn note_beat(&mut self) -> Result<()> {
        if self.console_lost {
            return Ok(());
        }
        self.beat = self.guest.beats()?.last().copied().unwrap_or(self.beat);
        self.beat_at = Instant::now();
        Ok(())
    }

    /// The host has lost its power since `then`, and with it the end of the guest's console: it may
    /// have counted further than what is there to read.
    pub fn lost_console(&mut self, then: &Noted) {
        self.beat = self.beat.max(then.beat);
        self.beat_at = then.at;
        self.console_lost = true;
    }

    /// How far the guest had come when that was last noted.
    #[must_use]
    pub const fn noted(&self) -> Noted {
        Noted { beat: self.beat, at: self.beat_at }
    }

    /// Checks that API, libvirt, files and the guest itself agree on `rest`, and that the guest is
    /// the one it was; notes what is new.
    ///
    /// # Errors
    /// The first thing that is not true.
    pub fn check(&mut self, site: &dyn Site, rest: Rest, memory: Memory) -> Result<()> {
        self.agrees(site, rest).with_context(|| format!("the API says {}", rest.status()))?;
        match rest {
            Rest::Active | Rest::Rescued => self.runs(site, rest, memory)?,
            Rest::Paused => self.stands_still()?,
            Rest::Suspended => self.is_saved(site)?,
            Rest::Stopped => {
                ensure!(
                    manifest_state(site, self.id).is_none(),
                    "a saved memory of a stopped guest"
                );
                self.disk_is_clean(site)?;
            }
            Rest::RescuedOff => self.disk_is_clean(site)?,
        }
        let stashed = site.file(self.id, "unrescue.xml").exists();
        let rescue_disk = site.file(self.id, "disk.rescue").exists();
        let rescued = rest.is_rescue();
        ensure!(stashed == rescued, "unrescue.xml is there: {stashed}, in {}", rest.status());
        ensure!(rescue_disk == rescued, "disk.rescue is there: {rescue_disk}");
        if !rescued {
            let definition = site.virt().inactive_xml(self.id)?;
            ensure!(
                same_machine(&definition, &self.definition),
                "another definition:\n{definition}"
            );
        }
        self.rest = rest;
        Ok(())
    }

    /// libvirt, the processes and the API, which is asked last.
    fn agrees(&self, site: &dyn Site, rest: Rest) -> Result<()> {
        let mut seen = String::new();
        let looked = Deadline::seconds(AGREE).until("agreement", || {
            let domain = site.virt().state(self.id)?;
            let process = virt::qemu_pid(self.id)?.is_some();
            let server = site.cloud().server(self.id)?;
            seen = format!("libvirt says {domain:?}, QEMU runs: {process}; {}", server.line());
            let agreed = domain.as_deref() == Some(rest.domain())
                && process == rest.has_process()
                && server.rests_in(rest.status())
                && server.power_state == rest.power_state();
            Ok(agreed.then_some(()))
        });
        looked.with_context(|| seen)
    }

    fn runs(&mut self, site: &dyn Site, rest: Rest, memory: Memory) -> Result<()> {
        let fresh = match memory {
            Memory::Kept => false,
            Memory::Fresh => true,
            Memory::Either => self.booted_since()?,
        };
        if !fresh {
            return self.goes_on();
        }
        let boot = self.guest.booted_after(&self.boot_id, Deadline::seconds(BOOT))?;
        let variant = if rest == Rest::Rescued { "tiny-rescue" } else { "tiny" };
        ensure!(boot.variant == variant, "{} was booted in {}", boot.variant, rest.status());
        let mark = match rest {
            Rest::Rescued => {
                format!("mount -t ext4 /dev/vdb1 /mnt && cat /mnt{MARK} && umount /mnt")
            }
            Rest::Active | Rest::Paused | Rest::Suspended | Rest::Stopped | Rest::RescuedOff => {
                format!("cat {MARK}")
            }
        };
        let mark = self.guest.shell(&mark, Deadline::seconds(SOON))?;
        ensure!(mark == self.mark, "the server's own disk has the mark '{mark}'");
        ensure!(manifest_state(site, self.id).is_none(), "saved memory of a guest that booted");
        self.boot_id = boot.boot_id;
        self.console_lost = false;
        self.note_beat()
    }

    /// Whether the guest has booted since it was last looked at.
    fn booted_since(&self) -> Result<bool> {
        Deadline::seconds(BOOT).until("word of the guest", || {
            if let Some(boot) = self.guest.last_boot()? {
                return Ok(Some(boot.boot_id != self.boot_id));
            }
            // The console begins anew with a process; a guest that went on says nothing of a boot.
            Ok(self.guest.beats()?.iter().any(|beat| *beat > self.beat).then_some(false))
        })
    }

    /// The guest counts on from where it was: its memory was kept.
    fn goes_on(&mut self) -> Result<()> {
        let guest = &self.guest;
        let next = guest.beat_after(self.beat, Deadline::seconds(SOON))?;
        let most = self.beat + self.beat_at.elapsed().as_secs() + AHEAD;
        ensure!(next <= most, "the count went from {} to {next}, {most} at most", self.beat);
        if let Some(boot) = guest.last_boot()? {
            ensure!(boot.boot_id == self.boot_id, "the guest has booted: its memory is lost");
        } else {
            // After a restore nothing is in the log of the boot: the guest itself has to say.
            let asked = "cat /proc/sys/kernel/random/boot_id";
            let boot_id = guest.shell(asked, Deadline::seconds(SOON))?;
            ensure!(boot_id == self.boot_id, "the guest is another boot: its memory is lost");
        }
        self.console_lost = false;
        self.note_beat()
    }

    fn stands_still(&mut self) -> Result<()> {
        let before = self.beat;
        let last = self.guest.silent(SILENCE, Deadline::seconds(SOON))?;
        ensure!(last >= before, "the count went from {before} back to {last}");
        if let Some(boot) = self.guest.last_boot()? {
            ensure!(boot.boot_id == self.boot_id, "the paused guest has booted");
        }
        self.note_beat()
    }

    fn is_saved(&mut self, site: &dyn Site) -> Result<()> {
        let state = manifest_state(site, self.id);
        ensure!(state.as_deref() == Some("saved"), "the manifest says {state:?}");
        let dir = site.file(self.id, "save");
        let mut files = Vec::new();
        for entry in fs::read_dir(&dir).context("save")? {
            let entry = entry.context("save")?;
            files.push((entry.file_name().to_string_lossy().into_owned(), entry.metadata()?.len()));
        }
        let memory: Vec<_> = files.iter().filter(|(name, _)| name.starts_with("memory-")).collect();
        let [(_, size)] = memory.as_slice() else { bail!("save/ has {files:?}") };
        ensure!(*size > 1 << 20, "the saved memory has {size} bytes");
        self.disk_is_clean(site)?;
        self.note_beat()
    }

    fn disk_is_clean(&self, site: &dyn Site) -> Result<()> {
        Run::new("qemu-img").arg("check").arg(site.file(self.id, "disk")).ok().map(drop)
    }
}

/// What the manifest of the saved memory says; nothing while there is none.
fn manifest_state(site: &dyn Site, id: Uuid) -> Option<String> {
    let bytes = fs::read(site.file(id, "save/manifest.json")).ok()?;
    let manifest: Value = serde_json::from_slice(&bytes).ok()?;
    manifest["state"].as_str().map(str::to_owned)
}

/// Whether two definitions are the same but for the tag of the operation that wrote them.
fn same_machine(one: &str, other: &str) -> bool {
    let without_tag = |xml: &str| {
        let kept = xml.lines().filter(|line| !line.contains("<reprieve:"));
        kept.map(str::to_owned).collect::<Vec<_>>()
    };
    without_tag(one) == without_tag(other)
}

/// Checks that nothing is left of a server that was deleted.
///
/// # Errors
/// What is left.
pub fn is_gone(site: &dyn Site, id: Uuid) -> Result<()> {
    let domain = site.virt().state(id)?;
    ensure!(domain.is_none(), "the domain of a deleted server is {domain:?}");
    let process = virt::qemu_pid(id)?;
    ensure!(process.is_none(), "QEMU {process:?} of a deleted server runs");
    for entry in fs::read_dir(site.instances()).context("instances")? {
        let name = entry.context("instances")?.file_name();
        ensure!(!name.to_string_lossy().contains(&id.to_string()), "{} is left", name.display());
    }
    Ok(())
}

/// [`is_gone`], within a minute.
///
/// # Errors
/// What is left then.
pub fn is_gone_soon(site: &dyn Site, id: Uuid) -> Result<()> {
    let mut left = String::new();
    let gone = Deadline::seconds(SOON).until("the end of a deleted server", || {
        let looked = is_gone(site, id);
        left = looked.as_ref().err().map(|error| format!("{error:#}")).unwrap_or_default();
        Ok(looked.is_ok().then_some(()))
    });
    gone.with_context(|| left)
}
