//! A daemon's directory, and its end.
//!
//! Tests may end in any way, and what lives in a `static` is never dropped. So a small shell waits
//! for this process to be gone: it reads a pipe whose other end only this process has. Then it ends
//! what is noted in the directory and removes the directory.

use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::{Context as _, Result};
use std::os::unix::process::CommandExt as _;

/// Ends the process groups noted below `$1/pids` (file name: process id, content: signal) once
/// standard input ends. Waits a little for them, so that nothing writes into a removed directory.
const SCRIPT: &str = r#"
read -r _
for note in "$1"/pids/*; do
  [ -e "$note" ] || continue
  kill -s "$(cat "$note")" -- "-${note##*/}"
  tries=50
  while [ $tries -gt 0 ] && kill -0 -- "-${note##*/}"; do sleep 0.1; tries=$((tries - 1)); done
done 2>/dev/null
rm -rf -- "$1"
"#;

/// A directory that lives as long as this value or, if that is shorter, this process.
#[derive(Debug)]
pub(crate) struct Keeper {
    dir: PathBuf,
    shell: Child,
    pipe: Option<ChildStdin>,
}

impl Keeper {
    /// A new directory below the system's place for temporary files.
    pub(crate) fn new(name: &str) -> Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix(&format!("reprieve-{name}-"))
            .tempdir()
            .context("no directory can be made")?
            .keep();
        std::fs::create_dir(dir.join("pids"))?;
        let mut shell = Command::new("sh")
            .args(["-c", SCRIPT, "keeper"])
            .arg(&dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A key that interrupts the tests must not interrupt this.
            .process_group(0)
            .spawn()
            .context("sh cannot be run")?;
        let pipe = shell.stdin.take();
        Ok(Self { dir, shell, pipe })
    }

    /// The directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the process groups are noted that end with this.
    pub(crate) fn notes(&self) -> PathBuf {
        self.dir.join("pids")
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.pipe.take());
        if let Err(error) = self.shell.wait() {
            eprintln!("{} may be left over: {error}", self.dir.display());
        }
    }
}
