//! Public keys of users.

use reprieve_core::UserId;

use crate::record::KeypairRecord;
use crate::{Store, StoreError};

/// A key pair to record. The private key is never stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKeypair {
    /// Owner.
    pub user_id: UserId,
    /// Name.
    pub name: String,
    /// `ssh`.
    pub kind: String,
    /// OpenSSH public key.
    pub public_key: String,
    /// Fingerprint.
    pub fingerprint: String,
}

impl Store {
    /// Records a key pair.
    ///
    /// # Errors
    /// [`StoreError::Exists`].
    pub async fn create_keypair(&self, _new: NewKeypair) -> Result<KeypairRecord, StoreError> {
        Err(StoreError::BadQuery("unfinished".into()))
    }

    /// One key pair.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn keypair(
        &self,
        _user: &UserId,
        _name: &str,
    ) -> Result<Option<KeypairRecord>, StoreError> {
        Err(StoreError::BadQuery("unfinished".into()))
    }

    /// Key pairs of a user by name.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn keypairs(&self, _user: &UserId) -> Result<Vec<KeypairRecord>, StoreError> {
        Err(StoreError::BadQuery("unfinished".into()))
    }

    /// Removes a key pair.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn delete_keypair(&self, _user: &UserId, _name: &str) -> Result<(), StoreError> {
        Err(StoreError::BadQuery("unfinished".into()))
    }
}
