//! Key pairs: public keys that new servers let in.

use reprieve_core::UserId;
use reprieve_store::KeypairRecord;

use super::{AppError, Call};

/// What to record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    /// Name, already validated.
    pub name: String,
    /// OpenSSH public key; `None` = make a pair.
    pub public_key: Option<String>,
    /// `ssh`.
    pub kind: String,
    /// Owner; `None` = the caller. Others need an administrator.
    pub user_id: Option<UserId>,
}

/// A recorded key pair.
pub struct CreatedKey {
    /// The record.
    pub keypair: KeypairRecord,
    /// Private key in OpenSSH format if the pair was made here. Shown once, stored nowhere.
    pub private_key: Option<super::secret::Password>,
}

/// Records a public key, or makes a pair.
///
/// # Errors
/// [`AppError::Conflict`] when the name is taken, [`AppError::BadRequest`] when the key is none,
/// [`AppError::QuotaExceeded`] with too many keys.
pub async fn create(_call: &Call<'_>, _new: NewKey) -> Result<CreatedKey, AppError> {
    Err(AppError::BadRequest("unfinished".into()))
}

/// Key pairs of the caller, or of `user` for administrators, by name.
///
/// # Errors
/// [`AppError::Forbidden`] for another user's.
pub async fn list(
    _call: &Call<'_>,
    _user: Option<UserId>,
) -> Result<Vec<KeypairRecord>, AppError> {
    Err(AppError::BadRequest("unfinished".into()))
}

/// One key pair.
///
/// # Errors
/// [`AppError::NotFound`], [`AppError::Forbidden`] for another user's.
pub async fn get(
    _call: &Call<'_>,
    _name: &str,
    _user: Option<UserId>,
) -> Result<KeypairRecord, AppError> {
    Err(AppError::BadRequest("unfinished".into()))
}

/// Removes one. Servers made with it keep it.
///
/// # Errors
/// [`AppError::NotFound`], [`AppError::Forbidden`] for another user's.
pub async fn delete(
    _call: &Call<'_>,
    _name: &str,
    _user: Option<UserId>,
) -> Result<(), AppError> {
    Err(AppError::BadRequest("unfinished".into()))
}
