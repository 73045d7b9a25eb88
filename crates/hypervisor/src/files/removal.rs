//! Removing a server's directory so that it can be repeated after a crash and cannot be led astray.
//!
//! ```text
//! <uuid>/ --rename--> <uuid>.deleting/ --contents, then directory--> (nothing)
//! ```
//!
//! After the rename the server has no files any more, whatever happens next. A removal that finds a
//! `.deleting` of an earlier try removes it first. Entries are removed relative to open directories
//! that are never reached through a symbolic link; links are removed, not followed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::durable;

fn deleting(dir: &Path) -> PathBuf {
    durable::with_suffix(dir, ".deleting")
}

pub(super) fn is_removed(dir: &Path) -> durable::Result<bool> {
    Ok(!durable::exists(dir)? && !durable::exists(&deleting(dir))?)
}

pub(super) fn remove_all(dir: &Path) -> durable::Result<()> {
    let doomed = deleting(dir);
    remove_tree(&doomed)?;
    if durable::exists(dir)? {
        durable::rename(dir, &doomed)?;
        remove_tree(&doomed)?;
    }
    match dir.parent() {
        Some(parent) if durable::exists(parent)? => durable::sync_parent(dir),
        Some(_) | None => Ok(()),
    }
}

/// Removes whatever has this name. The standard library's removal opens each directory relative to
/// its parent without following links, and removes a link in place of a directory as the link it is.
fn remove_tree(path: &Path) -> durable::Result<()> {
    durable::effect("remove", path, || match fs::symlink_metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
    })
}
