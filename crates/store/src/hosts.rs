//! Compute hosts: registration, sign of life.

use reprieve_core::HostName;

use crate::record::HostRecord;
use crate::{Store, StoreError};

impl Store {
    /// All hosts, by name.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Corrupt`].
    pub async fn hosts(&self) -> Result<Vec<HostRecord>, StoreError> {
        Err(StoreError::BadQuery("unfinished".into()))
    }

    /// One host.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Corrupt`].
    pub async fn host(&self, _name: &HostName) -> Result<Option<HostRecord>, StoreError> {
        Err(StoreError::BadQuery("unfinished".into()))
    }
}
