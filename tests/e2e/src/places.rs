//! Where things are: the repository, the programs under test, the guest images.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

/// The repository.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .map_or_else(PathBuf::new, Path::to_owned)
}

/// A program of this workspace: from `REPRIEVE_BIN_DIR`, else from where this program was built to.
///
/// # Errors
/// When it has not been built.
pub fn program(name: &str) -> Result<PathBuf> {
    let dir = match std::env::var_os("REPRIEVE_BIN_DIR") {
        Some(dir) => PathBuf::from(dir),
        None => {
            let own = std::env::current_exe().context("this program has no path")?;
            let dir = own.parent().unwrap_or(Path::new("."));
            // Tests are built into target/PROFILE/deps.
            let dir = if dir.ends_with("deps") { dir.parent().unwrap_or(dir) } else { dir };
            dir.to_owned()
        }
    };
    let path = dir.join(name);
    if !path.is_file() {
        bail!("{} is missing; run cargo xtask e2e, which builds it", path.display());
    }
    Ok(path)
}

/// A guest image: `tiny` or `tiny-rescue`.
///
/// # Errors
/// When it has not been built.
pub fn image(name: &str) -> Result<PathBuf> {
    let path = root().join("target/images").join(name).with_extension("qcow2");
    if !path.is_file() {
        bail!("{} is missing; run make image", path.display());
    }
    Ok(path)
}

/// The libvirt to use: `REPRIEVE_LIBVIRT_URI`, else what `scripts/libvirtd.sh` finds.
///
/// # Errors
/// When none answers.
pub fn libvirt_uri() -> Result<String> {
    if let Ok(uri) = std::env::var("REPRIEVE_LIBVIRT_URI") {
        return Ok(uri);
    }
    let output = crate::run::Run::new(root().join("scripts/libvirtd.sh")).arg("uri").go()?;
    let uri = output.stdout.trim();
    if !output.ok() || uri.is_empty() {
        bail!("no libvirt answers; run scripts/libvirtd.sh start");
    }
    Ok(uri.to_owned())
}

/// The openstack client that `cargo xtask e2e` installs.
///
/// # Errors
/// When `REPRIEVE_E2E_VENV` does not name its environment.
pub fn openstack() -> Result<PathBuf> {
    installed("openstack")
}

/// The Python that has OpenStack's libraries, as `cargo xtask e2e` installs them.
///
/// # Errors
/// As [`openstack`].
pub fn python() -> Result<PathBuf> {
    installed("python3")
}

/// A program of the clients' environment.
fn installed(name: &str) -> Result<PathBuf> {
    const HOW: &str = "run cargo xtask e2e, which installs OpenStack's clients and sets it";
    let venv = std::env::var_os("REPRIEVE_E2E_VENV")
        .with_context(|| format!("REPRIEVE_E2E_VENV is not set; {HOW}"))?;
    let path = PathBuf::from(venv).join("bin").join(name);
    if !path.is_file() {
        bail!("{} is missing; {HOW}", path.display());
    }
    Ok(path)
}

/// A program of `tests/e2e/clients` that drives a client library.
#[must_use]
pub fn driver(name: &str) -> PathBuf {
    root().join("tests/e2e/clients").join(name).with_extension("py")
}
