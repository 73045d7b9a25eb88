//! Running `qemu-img` with everything explicit: no shell, no format that it would have to guess, no
//! environment of ours, bounded time and memory.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use reprieve_core::spec::DiskFormat;
use reprieve_outside::outside;
use tokio::process::Command;

use super::FilesError;
use crate::image_cache::CachedImage;

/// Address space of one run. Tables of a 16 TiB image need far less; a hostile one gets no more.
const MEMORY_LIMIT: &str = "--as=2147483648";
/// Words of a failed run that are kept.
const MAX_STDERR: usize = 2000;

/// How to run `qemu-img`.
#[derive(Debug, Clone)]
pub struct QemuImg {
    /// The program; looked up in `PATH` when it has no slash.
    pub program: PathBuf,
    /// How long one run may take.
    pub deadline: Duration,
}

impl Default for QemuImg {
    fn default() -> Self {
        Self { program: PathBuf::from("qemu-img"), deadline: Duration::from_secs(120) }
    }
}

impl QemuImg {
    /// Makes `file`, a QCOW2 overlay of `base` with `virtual_size` bytes.
    pub(super) async fn create_overlay(
        &self,
        file: &Path,
        base: &CachedImage,
        virtual_size: u64,
    ) -> Result<(), FilesError> {
        let arguments: [OsString; 9] = [
            "-q".into(),
            "-f".into(),
            "qcow2".into(),
            "-F".into(),
            backing_format(base.format).into(),
            "-b".into(),
            base.path.clone().into(),
            "--".into(),
            file.into(),
        ];
        let size = OsString::from(virtual_size.to_string());
        self.run("create", arguments.into_iter().chain([size])).await
    }

    async fn run(
        &self,
        action: &'static str,
        arguments: impl Iterator<Item = OsString>,
    ) -> Result<(), FilesError> {
        let failed = |message: String| FilesError::QemuImg { action, message };
        let mut command = Command::new("prlimit");
        command
            .args([MEMORY_LIMIT, "--"])
            .arg(&self.program)
            .arg(action)
            .args(arguments)
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let deadline = self.deadline;
        let ended = outside(async move {
            let child = command.spawn().map_err(|e| {
                failed(format!("it could not be started: {e}; install util-linux and qemu-utils"))
            })?;
            match tokio::time::timeout(deadline, child.wait_with_output()).await {
                Ok(output) => output.map_err(|e| failed(e.to_string())),
                Err(_) => Err(failed(format!("not done after {deadline:?}"))),
            }
        });
        let output = ended.await?;
        if output.status.success() {
            return Ok(());
        }
        let words: String =
            String::from_utf8_lossy(&output.stderr).trim().chars().take(MAX_STDERR).collect();
        Err(failed(format!("{}: {words}", output.status)))
    }
}

/// Name of a format for `-F`. An ISO image is raw data to QEMU.
pub(super) const fn backing_format(format: DiskFormat) -> &'static str {
    match format {
        DiskFormat::Raw | DiskFormat::Iso => "raw",
        DiskFormat::Qcow2 => "qcow2",
    }
}
