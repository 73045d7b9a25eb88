//! Whether KVM works: by running a guest on it.
//!
//! `/dev/kvm` and libvirt's capabilities say what should be. On nested or paravirtualised machines
//! KVM may refuse the CPU model when QEMU starts, or run real mode and then hang as soon as a guest
//! turns paging on; a probe that stays in real mode would pass there. So the test guest does what a
//! kernel does first: it goes to 64-bit mode with paging, writes to memory a million times, executes
//! CPUID (which exits to the host), and reports through a panic device. It has no BIOS and no disks
//! and is done within milliseconds where KVM works.
//!
//! It runs through libvirt, as real guests do, because libvirt's QEMU may be another user with
//! other rights on `/dev/kvm` than we are.
//!
//! Whoever is killed in the middle of it leaves a guest and a file behind. Both have the same names
//! at every probe of one directory, so the next probe finds and ends them.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use reprieve_core::PowerState;
use uuid::Uuid;

use super::sys::events::{Notice, Sink};
use super::sys::{Domain, Kind};
use crate::xml::{DomainType, probe_xml};

/// How long the guest may take once it runs. It needs a few milliseconds, but on a machine that is still
/// booting it may wait for a processor, and must not be taken for one without KVM.
const DEADLINE: Duration = Duration::from_secs(10);

/// Size of the ROM: the last 64 KiB below 4 GiB and below 1 MiB.
const ROM_BYTES: usize = 65536;

/// Where the CPU begins in the ROM, and what is there: `ljmp $0xf000,$0`.
const RESET: (usize, [u8; 5]) = (0xfff0, [0xea, 0x00, 0x00, 0x00, 0xf0]);

/// The program, at 0xf0000. Assembled with GNU as.
const PROGRAM: [u8; 158] = [
    // 16 bit: ds at the ROM, load the descriptor table
    0xfa, // cli
    0xb8, 0x00, 0xf0, 0x8e, 0xd8, // mov $0xf000,%ax; mov %ax,%ds
    0x66, 0x0f, 0x01, 0x16, 0x98, 0x00, // lgdtl 0x98
    // clear 0x1000..0x4000
    0x31, 0xc0, 0x8e, 0xc0, // xor %ax,%ax; mov %ax,%es
    0xbf, 0x00, 0x10, 0xb9, 0x00, 0x18, // mov $0x1000,%di; mov $0x1800,%cx
    0xfc, 0xf3, 0xab, // cld; rep stosw
    // page tables: the first 2 MiB, mapped to themselves
    0x26, 0x66, 0xc7, 0x06, 0x00, 0x10, 0x03, 0x20, 0x00, 0x00, // movl $0x2003,%es:0x1000
    0x26, 0x66, 0xc7, 0x06, 0x00, 0x20, 0x03, 0x30, 0x00, 0x00, // movl $0x3003,%es:0x2000
    0x26, 0x66, 0xc7, 0x06, 0x00, 0x30, 0x83, 0x00, 0x00, 0x00, // movl $0x83,%es:0x3000
    0x66, 0xb8, 0x00, 0x10, 0x00, 0x00, 0x0f, 0x22, 0xd8, // mov $0x1000,%eax; mov %eax,%cr3
    0x0f, 0x20, 0xe0, 0x0c, 0x20, 0x0f, 0x22, 0xe0, // %cr4 |= PAE
    // long mode and paging on
    0x66, 0xb9, 0x80, 0x00, 0x00, 0xc0, // mov $0xc0000080,%ecx (EFER)
    0x0f, 0x32, 0x80, 0xcc, 0x01, 0x0f, 0x30, // rdmsr; or $1,%ah (LME); wrmsr
    0x0f, 0x20, 0xc0, 0x66, 0x0d, 0x01, 0x00, 0x00, 0x80, 0x0f, 0x22, 0xc0, // %cr0 |= PG|PE
    0x66, 0xea, 0x69, 0x00, 0x0f, 0x00, 0x08, 0x00, // ljmpl $8,$0xf0069
    // 64 bit: a million writes
    0xb9, 0x40, 0x42, 0x0f, 0x00, 0x31, 0xc0, // mov $1000000,%ecx; xor %eax,%eax
    0x01, 0x0c, 0x05, 0x00, 0x80, 0x00, 0x00, // 1: add %ecx,0x8000(,%rax,1)
    0xff, 0xc9, 0x75, 0xf5, // dec %ecx; jnz 1b
    0x0f, 0xa2, // cpuid
    0x66, 0xba, 0x05, 0x05, 0xb0, 0x01, 0xee, // mov $0x505,%dx; mov $1,%al; out %al,%dx
    0xf4, 0xeb, 0xfd, 0x90, // 2: hlt; jmp 2b
    // descriptor table: null, 64-bit code; its limit and address
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, //
    0x00, 0x00, 0x00, 0x00, 0x00, 0x9a, 0x20, 0x00, //
    0x0f, 0x00, 0x88, 0x00, 0x0f, 0x00,
];

/// Runs the test guest on an own connection. Blocks for [`DEADLINE`] and the start of QEMU at most.
///
/// # Errors
/// Why such guests do not run here, in words for the log.
pub fn guest_runs(uri: &str, dir: &Path, machine: &str, kind: DomainType) -> Result<(), String> {
    let mut connection = super::link::open(uri).map_err(|error| error.message)?;
    let id = guest_id(dir);
    match connection.domain(id) {
        Ok(left) => end(&left),
        Err(error) if error.kind == Kind::NoDomain => {}
        Err(error) => return Err(error.message),
    }
    // The cheap answer first: libvirt knows when there is no KVM at all.
    connection.domain_capabilities(kind.as_str(), machine).map_err(|error| error.message)?;
    let (sender, notices) = mpsc::channel();
    let sink: Sink = Arc::new(move |notice| {
        // The receiver is gone once the answer is known.
        let _ = sender.send(notice);
    });
    connection.watch_domains(&sink).map_err(|error| error.message)?;
    let rom = RomFile::write(dir)?;
    let xml = probe_xml(id, kind, machine, &rom.0).map_err(|error| error.to_string())?;
    let guest = connection.run_transient(&xml).map_err(|error| error.message)?;
    let verdict = watch(&guest, id, &notices);
    end(&guest);
    verdict
}

/// The id of the test guest of the instances in `dir`. One daemon has a directory, so a guest with
/// this id is its own.
#[must_use]
pub fn guest_id(dir: &Path) -> Uuid {
    let digest = blake3::hash(dir.as_os_str().as_bytes());
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(digest.as_bytes()).for_each(|(byte, of_digest)| *byte = *of_digest);
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}

fn end(guest: &Domain) {
    match guest.destroy() {
        Ok(()) => {}
        // It ended by itself.
        Err(error) if matches!(error.kind, Kind::NoDomain | Kind::InvalidState) => {}
        Err(error) => tracing::warn!(%error, "the KVM test guest could not be ended"),
    }
}

fn watch(guest: &Domain, id: Uuid, notices: &mpsc::Receiver<Notice>) -> Result<(), String> {
    let until = Instant::now() + DEADLINE;
    loop {
        let raw = match guest.state() {
            Ok(raw) => raw,
            Err(error) if error.kind == Kind::NoDomain => {
                return Err("the test guest ended without a sign of life".to_owned());
            }
            Err(error) => return Err(error.message),
        };
        let (power, reason) = super::state::power(raw);
        if let Some(verdict) = verdict(power) {
            return verdict.map_err(str::to_owned);
        }
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match notices.recv_timeout(left) {
                Ok(Notice::Lifecycle(uuid)) if uuid == id => break,
                Ok(Notice::Lifecycle(_) | Notice::Closed(_)) => {}
                Err(_) => {
                    let (seconds, power) = (DEADLINE.as_secs(), power.word());
                    return Err(format!(
                        "the test guest gave no sign of life in {seconds} s: it is {power} ({reason})"
                    ));
                }
            }
        }
    }
}

/// What a state of the test guest proves; `None`: nothing yet.
///
/// A guest that reports is paused first and crashed a moment later: QEMU stops its CPUs, which
/// libvirt notes at once, while it handles the report itself on another thread. So a pause proves
/// nothing, whatever its reason.
const fn verdict(power: PowerState) -> Option<Result<(), &'static str>> {
    match power {
        PowerState::Crashed => Some(Ok(())),
        PowerState::Running | PowerState::Paused | PowerState::NoState => None,
        PowerState::Shutdown => Some(Err("the test guest stopped without a sign of life")),
        // It has no way to ask for that.
        PowerState::Suspended => Some(Err("the test guest fell asleep")),
    }
}

/// The ROM in a file that QEMU can read; removed when dropped.
struct RomFile(PathBuf);

impl RomFile {
    fn write(dir: &Path) -> Result<Self, String> {
        let path = dir.join(".kvm-probe.rom");
        let mut rom = PROGRAM.to_vec();
        rom.resize(RESET.0, 0);
        rom.extend_from_slice(&RESET.1);
        rom.resize(ROM_BYTES, 0);
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o644)
            .open(&path)
            .and_then(|mut file| file.write_all(&rom))
            .map_err(|error| format!("{} cannot be written: {error}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for RomFile {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            tracing::warn!(%error, file = %self.0.display(), "a probe file stays behind");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_report_is_success_and_only_an_end_is_failure() {
        assert_eq!(verdict(PowerState::Crashed), Some(Ok(())));
        for undecided in [PowerState::Running, PowerState::Paused, PowerState::NoState] {
            assert_eq!(verdict(undecided), None, "{undecided:?}");
        }
        for ended in [PowerState::Shutdown, PowerState::Suspended] {
            assert!(matches!(verdict(ended), Some(Err(_))), "{ended:?}");
        }
    }
}
