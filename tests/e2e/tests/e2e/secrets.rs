//! What is secret stays secret: in no log, in no file that others can read.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use reprieve_e2e::lab::{BOOT, Lab, OPERATION, with_lab};
use reprieve_e2e::wait::Deadline;
use serde_json::json;

/// All files below a directory.
fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| format!("{}", dir.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.extend(files(&entry.path())?);
        } else {
            found.push(entry.path());
        }
    }
    Ok(found)
}

fn mode(path: &Path) -> Result<u32> {
    let metadata = fs::metadata(path).with_context(|| format!("{}", path.display()))?;
    Ok(metadata.permissions().mode() & 0o777)
}

fn logs(lab: &Lab) -> Result<String> {
    let mut text = fs::read_to_string(lab.daemon.stderr_file())?;
    for file in files(&lab.daemon.data().join("log"))? {
        text.push_str(&String::from_utf8_lossy(&fs::read(file)?));
    }
    Ok(text)
}

#[test]
fn no_secret_in_logs_or_readable_files() -> Result<()> {
    with_lab(|lab| {
        let mut spec = lab.tiny("secrets")?;
        spec.config_drive = true;
        let server = lab.boot(&spec)?;
        let rescue = json!({ "rescue": { "adminPass": "Not-For-Logs-77" } });
        lab.cloud.action(server.id, &rescue)?.expect(200)?;
        lab.cloud.rests(server.id, "RESCUE", Deadline::seconds(OPERATION))?;
        server.guest.booted_after(&server.boot.boot_id, Deadline::seconds(BOOT))?;
        // A refused login must not be quoted either.
        let mut wrong = lab.credentials()?;
        wrong.password = "Wrong-Password-99".into();
        assert_eq!(lab.cloud.issue_token(&wrong)?.status, 401);

        let password = lab.credentials()?.password;
        let secrets = [&password, &lab.cloud.token, "Not-For-Logs-77", "Wrong-Password-99"];
        let logs = logs(lab)?;
        assert!(logs.contains("rescue"), "the logs are those of this run");
        for secret in secrets {
            assert!(!logs.contains(secret), "a secret is in the logs");
        }
        let data = lab.daemon.data();
        for name in ["clouds.yaml", "openrc", "secret.key", "reprieve.db", "ledger.db"] {
            assert_eq!(mode(&data.join(name))?, 0o600, "{name}");
        }
        for name in ["disk.config", "disk.config.rescue", "unrescue.xml"] {
            assert_eq!(mode(&lab.file(server.id, name))? & 0o007, 0, "{name}");
        }
        // In no file but the config drive that the guest reads it from.
        for file in files(data)? {
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.starts_with("disk")
                || file.starts_with(data.join("images"))
                || file.starts_with(data.join("cache"))
            {
                continue;
            }
            let bytes = fs::read(&file)?;
            let found = bytes.windows(15).any(|window| window == b"Not-For-Logs-77");
            assert!(!found, "the rescue password is in {}", file.display());
        }
        Ok(())
    })
}
