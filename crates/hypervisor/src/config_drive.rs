//! The config drive: an ISO 9660 image from which a guest reads who it is.

use std::fmt;
use std::path::Path;

use reprieve_core::sealed::SealError;
use reprieve_core::spec::InstanceSpec;
use reprieve_core::{Sealed, SealingKey};

use crate::durable::FileError;

/// Why a config drive could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ConfigDriveError {
    /// The password could not be opened.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The user data is not base64.
    #[error("the user data is not valid base64")]
    UserData,
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
        Ok(Self { spec, admin_password })
    }

    /// The ISO image. Equal content gives equal bytes.
    ///
    /// # Errors
    /// [`ConfigDriveError`].
    pub fn image(&self) -> Result<Vec<u8>, ConfigDriveError> {
        let _ = &self.admin_password;
        unimplemented!()
    }

    /// Probe of [`Self::write`]: `file` is exactly this config drive.
    ///
    /// # Errors
    /// [`ConfigDriveError`]; a missing file is no error.
    pub async fn is_written(&self, file: &Path) -> Result<bool, ConfigDriveError> {
        let _ = file;
        unimplemented!()
    }

    /// Writes it to `file` (mode 0600), in place of an older one.
    ///
    /// # Errors
    /// [`ConfigDriveError`].
    pub async fn write(&self, file: &Path) -> Result<(), ConfigDriveError> {
        let _ = file;
        unimplemented!()
    }
}
