//! What is lost beside guests: the ledger of a host, the newest part of the tables, a domain. Nothing that
//! still exists is destroyed, and what cannot be brought together again is told.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use reprieve_e2e::cloud::NewServer;
use reprieve_e2e::lab::{BOOT, Lab, SOON, with_lab};
use reprieve_e2e::virt;
use reprieve_e2e::wait::Deadline;
use serde_json::{Value, json};

fn soon() -> Deadline {
    Deadline::seconds(SOON)
}

/// The files of an SQLite database.
fn database(data: &Path, name: &str) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(data).with_context(|| data.display().to_string())?;
    let files = entries.flatten().map(|entry| entry.path());
    Ok(files
        .filter(|path| {
            let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            file == name || file == format!("{name}-wal") || file == format!("{name}-shm")
        })
        .collect())
}

fn copy(files: &[PathBuf], to: &Path) -> Result<()> {
    for file in files {
        let name = file.file_name().context("a file without a name")?;
        fs::copy(file, to.join(name)).with_context(|| file.display().to_string())?;
    }
    Ok(())
}

fn remove(files: &[PathBuf]) -> Result<()> {
    ensure!(!files.is_empty(), "there is nothing to lose");
    files.iter().try_for_each(|file| Ok(fs::remove_file(file)?))
}

/// Ids of the guests that its host does not know a server of.
fn unknown_guests(lab: &Lab) -> Result<Vec<String>> {
    let host = lab.host()?;
    let shown = lab.reprieve(&["host", "show", &host, "-f", "json"])?.within(SOON).ok()?;
    let shown: Value = serde_json::from_str(&shown.stdout)?;
    let guests = shown["unknown_guests"].as_array().context("host show names no unknown_guests")?;
    Ok(guests.iter().filter_map(|guest| guest["id"].as_str().map(str::to_owned)).collect())
}

/// The tables come from a backup that is older than one server and one operation, and the ledger is gone.
#[test]
fn a_backup_of_the_tables_loses_no_guest() -> Result<()> {
    with_lab(|lab| {
        let tiny = lab.tiny("kept")?;
        let named = |name: &str| NewServer { name: name.to_owned(), ..tiny.clone() };
        let kept = lab.boot(&tiny)?;
        let suspended = lab.boot(&named("suspended"))?;
        lab.perform(suspended.id, &json!({ "suspend": null }), "SUSPENDED")?;
        let asleep = suspended.guest.last_beat()?;
        let data = lab.daemon.data().to_owned();
        let backup = data.with_file_name("backup");
        fs::create_dir(&backup)?;
        lab.daemon.stop()?;
        copy(&database(&data, "reprieve.db")?, &backup)?;
        lab.daemon.start_again()?;

        let forgotten = lab.boot(&named("forgotten"))?;
        lab.perform(kept.id, &json!({ "pause": null }), "PAUSED")?;
        let paused = kept.guest.last_beat()?;
        let pid = virt::qemu_pid(forgotten.id)?;

        lab.daemon.kill()?;
        remove(&database(&data, "reprieve.db")?)?;
        remove(&database(&data, "ledger.db")?)?;
        copy(&database(&backup, "reprieve.db")?, &data)?;
        lab.daemon.start_again()?;

        // What the tables do not know any more is true all the same.
        lab.sees(kept.id, "PAUSED", 3)?;
        lab.perform(kept.id, &json!({ "unpause": null }), "ACTIVE")?;
        kept.goes_on(paused)?;
        lab.perform(suspended.id, &json!({ "resume": null }), "ACTIVE")?;
        suspended.goes_on(asleep)?;

        let told = soon().until("guest of no server in `host show`", || {
            let unknown = unknown_guests(lab)?;
            Ok(unknown.contains(&forgotten.id.to_string()).then_some(unknown))
        })?;
        // Beside it there may be guests of other tests.
        let mine = |id: &&String| {
            [kept.id, suspended.id, forgotten.id].iter().any(|one| one.to_string() == **id)
        };
        let told: Vec<&String> = told.iter().filter(mine).collect();
        assert_eq!(told, [&forgotten.id.to_string()]);
        ensure!(lab.cloud.server(forgotten.id).is_err(), "nobody knows its server");
        let before = forgotten.guest.last_beat()?;
        forgotten.goes_on(before)?;
        assert_eq!(virt::qemu_pid(forgotten.id)?, pid, "it runs as if nothing had been");
        Ok(())
    })
}

/// Nothing is left of the guest, not even a domain that is off: it was undefined while it ran.
#[test]
fn a_domain_that_is_gone_is_told_and_defined_again() -> Result<()> {
    with_lab(|lab| {
        let server = lab.boot(&lab.tiny("gone")?)?;
        let id = server.id;
        for (command, status) in [(json!({ "pause": null }), "PAUSED"), (json!(null), "ACTIVE")] {
            if !command.is_null() {
                lab.perform(id, &command, status)?;
            }
            for verb in ["undefine", "destroy"] {
                let output = lab.virt.virsh(&[verb, &id.to_string()])?;
                ensure!(output.ok(), "virsh {verb}: {}", output.stderr);
            }
            assert_eq!(lab.virt.state(id)?, None);
            lab.sees(id, "SHUTOFF", 0)?;
            lab.perform(id, &json!({ "os-start": null }), "ACTIVE")?;
        }
        server.guest.booted_after(&server.boot.boot_id, Deadline::seconds(BOOT)).map(drop)
    })
}
