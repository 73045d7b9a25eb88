//! File operations that survive a crash at any point, shared by everything here that writes files.
//!
//! A file gets its final name only when its content is durable: write `X.<random>.part`, fsync,
//! rename, fsync the directory. Whoever finds the final name finds complete content. Each attempt
//! writes under a name of its own, so that work which goes on behind a caller that went away can
//! never give a later attempt's half-written file its final name; each attempt sweeps what earlier
//! ones left. Nothing here follows a symbolic link in the last component of a path.
//!
//! Each primitive is one point at which tests let the process "die" (see `kill`).

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use reprieve_outside::outside;

/// A file operation that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {path}: {source}", path = path.display())]
pub struct FileError {
    /// What was tried.
    pub action: &'static str,
    /// On what.
    pub path: PathBuf,
    /// Why not.
    #[source]
    pub source: io::Error,
}

impl FileError {
    /// `action` on `path` failed with `source`.
    pub(crate) fn new(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self { action, path: path.to_owned(), source }
    }
}

pub(crate) type Result<T> = std::result::Result<T, FileError>;

/// Does something to the file system, or, in tests, dies before.
pub(crate) fn effect<T>(
    action: &'static str,
    path: &Path,
    run: impl FnOnce() -> io::Result<T>,
) -> Result<T> {
    #[cfg(test)]
    kill::point().map_err(|e| FileError::new(action, path, e))?;
    run().map_err(|e| FileError::new(action, path, e))
}

/// Runs blocking `work` on files near `path` off the async threads.
pub(crate) async fn off_thread<T, F>(path: &Path, work: F) -> Result<T>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T> + Send + 'static,
{
    let done = outside(async move { tokio::task::spawn_blocking(work).await }).await;
    done.unwrap_or_else(|e| Err(FileError::new("work on", path, io::Error::other(e))))
}

/// `path` with `suffix` appended.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

/// A new name for the content of `path` before it is complete.
pub(crate) fn new_part(path: &Path) -> PathBuf {
    with_suffix(path, &format!(".{}.part", uuid::Uuid::new_v4().simple()))
}

/// Removes what cut-off attempts to write `path` have left.
pub(crate) fn sweep_parts(path: &Path) -> Result<()> {
    let dir = path.parent().unwrap_or(Path::new("/"));
    let failed = |e| FileError::new("list", dir, e);
    let entries = match fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(failed)?,
    };
    let wanted = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    for entry in entries {
        let name = entry.map_err(failed)?.file_name();
        let random = name
            .to_str()
            .and_then(|name| name.strip_prefix(wanted.as_str())?.strip_prefix('.'))
            .and_then(|rest| rest.strip_suffix(".part"));
        if random.is_some_and(|text| text.len() == 32 && !text.contains('.')) {
            remove_file(&dir.join(name))?;
        }
    }
    Ok(())
}

/// Makes the content of a file durable.
pub(crate) fn sync_file(path: &Path) -> Result<()> {
    effect("flush", path, || File::open(path)?.sync_all())
}

/// Makes the entries of the directory that contains `path` durable.
pub(crate) fn sync_parent(path: &Path) -> Result<()> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    effect("flush", parent, || File::open(parent)?.sync_all())
}

/// Renames over whatever has the name `to`, durably.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<()> {
    effect("rename", from, || fs::rename(from, to))?;
    sync_parent(to)
}

/// Renames, durably, unless something has the name `to` already.
pub(crate) fn rename_new(from: &Path, to: &Path) -> Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    effect("rename", from, || {
        renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE).map_err(io::Error::from)
    })?;
    sync_parent(to)
}

/// Gives complete content its final name, durably.
pub(crate) fn publish(part: &Path, path: &Path) -> Result<()> {
    sync_file(part)?;
    rename(part, path)
}

/// Writes a whole file: afterwards it has either the old content or the new one, durably.
pub(crate) fn replace_file(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    sweep_parts(path)?;
    let part = new_part(path);
    let mut file = effect("create", &part, || {
        OpenOptions::new().write(true).create_new(true).mode(mode).open(&part)
    })?;
    // The mode of open is subject to the umask.
    effect("set the mode of", &part, || file.set_permissions(fs::Permissions::from_mode(mode)))?;
    effect("write", &part, || file.write_all(content))?;
    effect("flush", &part, || file.sync_all())?;
    rename(&part, path)
}

/// Sets the mode of a file or directory.
pub(crate) fn set_mode(path: &Path, mode: u32) -> Result<()> {
    effect("set the mode of", path, || fs::set_permissions(path, fs::Permissions::from_mode(mode)))
}

/// Copies a whole file to a new one, sharing blocks where the file system can. Not durable yet.
pub(crate) fn copy_file(from: &Path, to: &Path, mode: u32) -> Result<()> {
    effect("copy", from, || {
        let mut source = File::open(from)?;
        let mut copy = OpenOptions::new().write(true).create_new(true).mode(mode).open(to)?;
        io::copy(&mut source, &mut copy)?;
        Ok(())
    })
}

/// Removes a file; it may be missing. Not durable by itself: see [`sync_parent`].
pub(crate) fn remove_file(path: &Path) -> Result<()> {
    effect("remove", path, || match fs::remove_file(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    })
}

/// Makes a directory with exactly this mode; it may exist.
pub(crate) fn create_dir(path: &Path, mode: u32) -> Result<()> {
    effect("create", path, || match fs::DirBuilder::new().mode(mode).create(path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    })?;
    effect("set the mode of", path, || {
        let dir = open_dir(path)?;
        if dir.metadata()?.mode() & 0o7777 == mode {
            return Ok(());
        }
        dir.set_permissions(fs::Permissions::from_mode(mode))
    })?;
    sync_parent(path)
}

/// Opens a directory itself, never what a symbolic link of its name points to.
pub(crate) fn open_dir(path: &Path) -> io::Result<File> {
    use rustix::fs::OFlags;
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW;
    OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)
}

/// Opens a regular file for reading; `None` when it is missing. Refuses symbolic links, and pipes
/// and devices, on which reading could block.
pub(crate) fn open_file(path: &Path) -> Result<Option<File>> {
    use rustix::fs::OFlags;
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let opened = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path);
    let file = match opened {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(|e| FileError::new("open", path, e))?,
    };
    let metadata = file.metadata().map_err(|e| FileError::new("inspect", path, e))?;
    if !metadata.is_file() {
        let problem = io::Error::new(io::ErrorKind::InvalidInput, "not a regular file");
        return Err(FileError::new("open", path, problem));
    }
    Ok(Some(file))
}

/// The first `limit` bytes of a regular file and its size; `None` when it is missing.
pub(crate) fn read_head(path: &Path, limit: u64) -> Result<Option<(Vec<u8>, u64)>> {
    let Some(file) = open_file(path)? else { return Ok(None) };
    let read = || {
        let size = file.metadata()?.len();
        let mut head = Vec::new();
        (&file).take(limit).read_to_end(&mut head)?;
        Ok((head, size))
    };
    read().map(Some).map_err(|e| FileError::new("read", path, e))
}

/// Whether something has this name, without following a link.
pub(crate) fn exists(path: &Path) -> Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(FileError::new("inspect", path, e)),
    }
}

/// Lets tests end the "process" at a chosen file operation: from then on every operation of this
/// thread fails without effect, as if nothing ran any more.
#[cfg(test)]
pub(crate) mod kill {
    use std::cell::Cell;
    use std::io;

    thread_local! {
        static LEFT: Cell<Option<u32>> = const { Cell::new(None) };
    }

    /// The process dies before its `operations`-th next file operation (0 = the very next).
    pub(crate) fn after(operations: u32) {
        LEFT.set(Some(operations));
    }

    /// Starts a new process.
    pub(crate) fn revive() {
        LEFT.set(None);
    }

    pub(super) fn point() -> io::Result<()> {
        match LEFT.get() {
            None => Ok(()),
            Some(0) => Err(io::Error::other("killed")),
            Some(left) => {
                LEFT.set(Some(left - 1));
                Ok(())
            }
        }
    }
}
