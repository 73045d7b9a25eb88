//! The config drive: a small read-only CD from which a guest learns who it is.
//!
//! Owns what Nova's users expect on it: an ISO 9660 volume labelled `config-2` with
//! `openstack/<version>/{meta_data,network_data,vendor_data}.json` and `user_data`. Names are kept in
//! Rock Ridge (Linux) and Joliet (Windows) form.
//!
//! Invariants: equal content gives equal bytes, so that whether a drive is written is a comparison and
//! an old drive with an old password is never taken for the new one; the file gets its name only when
//! it is complete, with mode 0600, for it may hold a password in clear text.

mod content;
mod iso;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::Path;

use reprieve_core::sealed::SealError;
use reprieve_core::spec::{InjectedFile, InstanceSpec};
use reprieve_core::{Sealed, SealingKey};

use crate::durable::{self, FileError, off_thread};

const FILE_MODE: u32 = 0o600;

/// Why a config drive could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ConfigDriveError {
    /// The password could not be opened.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The user data is not base64.
    #[error("the user data is not valid base64")]
    UserData,
    /// A file for the guest is not base64.
    #[error("the content of the injected file '{0}' is not valid base64")]
    InjectedFile(String),
    /// The image could not be built.
    #[error("the config drive could not be built: {0}")]
    Build(String),
    /// The file system.
    #[error(transparent)]
    Io(#[from] FileError),
}

/// The content of a config drive. Holds a clear-text password, so its Debug says nothing.
pub struct ConfigDrive<'a> {
    spec: &'a InstanceSpec,
    admin_password: Option<String>,
    files: &'a [InjectedFile],
}

impl fmt::Debug for ConfigDrive<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfigDrive").field("server", &self.spec.id).finish_non_exhaustive()
    }
}

impl<'a> ConfigDrive<'a> {
    /// Of a server, with the password that the guest's administrator gets: the server's own at
    /// creation, the rescue's at rescue.
    ///
    /// # Errors
    /// [`ConfigDriveError::Seal`] when the password cannot be opened.
    pub fn new(
        spec: &'a InstanceSpec,
        admin_password: Option<&Sealed>,
        key: &SealingKey,
    ) -> Result<Self, ConfigDriveError> {
        let admin_password = admin_password.map(|sealed| key.open(spec.id, sealed)).transpose()?;
        Ok(Self { spec, admin_password, files: &[] })
    }

    /// With files for the guest.
    #[must_use]
    pub const fn with_files(mut self, files: &'a [InjectedFile]) -> Self {
        self.files = files;
        self
    }

    /// The ISO image. Equal content gives equal bytes.
    ///
    /// # Errors
    /// [`ConfigDriveError::UserData`], [`ConfigDriveError::InjectedFile`],
    /// [`ConfigDriveError::Build`].
    pub fn image(&self) -> Result<Vec<u8>, ConfigDriveError> {
        let tree = content::tree(self.spec, self.admin_password.as_deref(), self.files)?;
        iso::build(tree).map_err(ConfigDriveError::Build)
    }

    /// Probe of [`Self::write`]: `file` is exactly this config drive.
    ///
    /// # Errors
    /// [`ConfigDriveError`]; a missing file is no error.
    pub async fn is_written(&self, file: &Path) -> Result<bool, ConfigDriveError> {
        let (wanted, path) = (self.image()?, file.to_owned());
        Ok(off_thread(file, move || {
            let found = durable::read_head(&path, wanted.len() as u64)?;
            Ok(found.is_some_and(|(head, size)| size == wanted.len() as u64 && head == wanted))
        })
        .await?)
    }

    /// Writes it to `file`, in place of an older one.
    ///
    /// # Errors
    /// [`ConfigDriveError`].
    pub async fn write(&self, file: &Path) -> Result<(), ConfigDriveError> {
        let (image, path) = (self.image()?, file.to_owned());
        Ok(off_thread(file, move || durable::replace_file(&path, &image, FILE_MODE)).await?)
    }
}
