//! Running other programs: said on stderr before, checked after.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

/// The repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(PathBuf::new, Path::to_path_buf)
}

/// A program to run in the repository.
pub struct Cmd {
    program: OsString,
    args: Vec<OsString>,
    envs: Vec<(OsString, OsString)>,
}

impl Cmd {
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self { program: program.as_ref().to_owned(), args: Vec::new(), envs: Vec::new() }
    }

    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.envs.push((name.into(), value.as_ref().to_owned()));
        self
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.args).current_dir(root());
        // `cargo xtask` describes this package to us. Build scripts would take that for news about
        // theirs, and half of all dependencies would be built again.
        for (name, _) in std::env::vars_os().filter(|(name, _)| describes_package(name)) {
            command.env_remove(name);
        }
        command.envs(self.envs.iter().map(|(name, value)| (name, value)));
        command
    }

    fn shown(&self) -> String {
        let words = std::iter::once(&self.program).chain(&self.args);
        words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    /// Runs it with its output shown; fails when it fails.
    pub fn run(self) -> Result<()> {
        eprintln!("+ {}", self.shown());
        let begun = Instant::now();
        let status = self
            .command()
            .status()
            .with_context(|| format!("{} could not be started", self.program.display()))?;
        if !status.success() {
            bail!("{} failed: {status}", self.shown());
        }
        eprintln!("+ {:.1} s", begun.elapsed().as_secs_f64());
        Ok(())
    }

    /// Whether it can be run and succeeds, without showing what it says.
    pub fn succeeds(self) -> bool {
        let run = self.command().stdout(Stdio::null()).stderr(Stdio::null()).status();
        run.is_ok_and(|status| status.success())
    }
}

/// Whether cargo sets this variable for the package that it runs a program of.
fn describes_package(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|prefix| name.starts_with(prefix))
}

/// Runs cargo.
pub fn cargo(args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<()> {
    Cmd::new("cargo").args(args).run()
}

/// A libvirtd that answers; one that was started for this is stopped again.
pub struct Libvirtd;

impl Libvirtd {
    pub fn start() -> Result<Self> {
        Cmd::new(root().join("scripts/libvirtd.sh")).arg("start").run()?;
        Ok(Self)
    }
}

impl Drop for Libvirtd {
    fn drop(&mut self) {
        if let Err(error) = Cmd::new(root().join("scripts/libvirtd.sh")).arg("stop").run() {
            eprintln!("{error:#}");
        }
    }
}

/// A Python environment with what `requirements` pins, made anew when that changes.
pub fn python_venv(requirements: &Path) -> Result<PathBuf> {
    let venv = root().join("target/venv-e2e");
    let wanted = fs::read(requirements)
        .with_context(|| format!("{} cannot be read", requirements.display()))?;
    let stamp = venv.join("requirements.installed");
    if fs::read(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(venv);
    }
    Cmd::new("python3").args(["-m", "venv", "--clear"]).arg(&venv).run()?;
    Cmd::new(venv.join("bin/pip"))
        .args(["install", "--quiet", "--disable-pip-version-check", "--requirement"])
        .arg(requirements)
        .run()?;
    fs::write(&stamp, wanted).with_context(|| format!("{} cannot be written", stamp.display()))?;
    Ok(venv)
}
