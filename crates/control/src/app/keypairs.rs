//! Key pairs: public keys that new servers let in.

use md5::{Digest as _, Md5};
use reprieve_core::UserId;
use reprieve_core::policy::{Rule, rules};
use reprieve_core::quota::Resource;
use reprieve_store::{KeypairRecord, NewKeypair, StoreError};
use rsa::RsaPrivateKey;
use rsa::pkcs1::{EncodeRsaPrivateKey as _, LineEnding};
use rsa::traits::PublicKeyParts as _;
use ssh_key::public::{KeyData, RsaPublicKey};
use ssh_key::rand_core::OsRng;
use ssh_key::{Mpint, PublicKey};

use super::secret::Password;
use super::{AppError, Call};

/// Longest public key that is looked at, in bytes; 16384-bit RSA keys have about 2,800.
const PUBLIC_KEY_BYTES: usize = 16 * 1024;
const COMMENT: &str = "Generated-by-Reprieve";
/// Size of the keys that are made here, which is Nova's.
const BITS: usize = 2048;

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
    /// Private key in PEM (PKCS #1) if the pair was made here. Shown once, stored nowhere.
    pub private_key: Option<Password>,
}

/// Records a public key, or makes a pair.
///
/// # Errors
/// [`AppError::Conflict`] when the name is taken, [`AppError::BadRequest`] when the key is none,
/// [`AppError::QuotaExceeded`] with too many keys.
pub async fn create(call: &Call<'_>, new: NewKey) -> Result<CreatedKey, AppError> {
    let user_id = owner(call, new.user_id, rules::KEYPAIRS_CREATE)?;
    check_quota(call, &user_id).await?;
    let (public_key, private_key) = match new.public_key {
        Some(text) => (text, None),
        None => {
            let made = tokio::task::spawn_blocking(generate).await;
            let (public, private) = made.map_err(AppError::internal("making a key pair"))??;
            (public, Some(private))
        }
    };
    let fingerprint = fingerprint(&public_key)?;
    let (name, kind) = (new.name, new.kind);
    let record = NewKeypair { user_id, name, kind, public_key, fingerprint };
    let store = &call.control.store;
    let recorded = store.create_keypair(record, &call.auth.project_id).await;
    let keypair = recorded.map_err(|error| match error {
        StoreError::Exists { id, .. } => {
            AppError::Conflict(format!("Key pair '{id}' already exists."))
        }
        other => other.into(),
    })?;
    Ok(CreatedKey { keypair, private_key })
}

/// Looks at the quota before a key is read or made. What the store finds when it records is binding.
async fn check_quota(call: &Call<'_>, user: &UserId) -> Result<(), AppError> {
    let (store, project) = (&call.control.store, &call.auth.project_id);
    let limits = store.quota_limits(project, Some(user)).await?;
    let there_are = store.quota_use(project, Some(user)).await?.key_pairs;
    if limits.allows(Resource::KeyPairs, there_are.saturating_add(1)) {
        Ok(())
    } else {
        Err(StoreError::QuotaReached(Resource::KeyPairs).into())
    }
}

/// Key pairs of the caller, or of `user` for administrators, by name.
///
/// # Errors
/// [`AppError::Forbidden`] for another user's.
pub async fn list(call: &Call<'_>, user: Option<UserId>) -> Result<Vec<KeypairRecord>, AppError> {
    let user = owner(call, user, rules::KEYPAIRS_INDEX)?;
    Ok(call.control.store.keypairs(&user).await?)
}

/// One key pair.
///
/// # Errors
/// [`AppError::NotFound`], [`AppError::Forbidden`] for another user's.
pub async fn get(
    call: &Call<'_>,
    name: &str,
    user: Option<UserId>,
) -> Result<KeypairRecord, AppError> {
    let user = owner(call, user, rules::KEYPAIRS_SHOW)?;
    let found = call.control.store.keypair(&user, name).await?;
    found.ok_or_else(|| not_found(name, &user))
}

/// Removes one. Servers made with it keep it.
///
/// # Errors
/// [`AppError::NotFound`], [`AppError::Forbidden`] for another user's.
pub async fn delete(call: &Call<'_>, name: &str, user: Option<UserId>) -> Result<(), AppError> {
    let user = owner(call, user, rules::KEYPAIRS_DELETE)?;
    call.control.store.delete_keypair(&user, name).await.map_err(|error| match error {
        StoreError::NotFound { .. } => not_found(name, &user),
        other => other.into(),
    })
}

fn not_found(name: &str, user: &UserId) -> AppError {
    AppError::NotFound(format!("Keypair {name} not found for user {user}"))
}

/// Whose keys, if the caller may: its own unless it names somebody.
fn owner(call: &Call<'_>, user: Option<UserId>, rule: Rule) -> Result<UserId, AppError> {
    let user = user.unwrap_or_else(|| call.auth.user_id.clone());
    call.require(rule, &user)?;
    Ok(user)
}

/// An RSA pair: the public key in OpenSSH format, the private one in PEM. Takes a good part of a
/// second.
fn generate() -> Result<(String, Password), AppError> {
    const WHAT: &str = "making a key pair";
    let private = RsaPrivateKey::new(&mut OsRng, BITS).map_err(AppError::internal(WHAT))?;
    let text = private.to_pkcs1_pem(LineEnding::LF).map_err(AppError::internal(WHAT))?;
    let number = |bytes: Vec<u8>| Mpint::from_positive_bytes(&bytes);
    let public = || {
        let (e, n) = (number(private.e().to_bytes_be())?, number(private.n().to_bytes_be())?);
        PublicKey::new(KeyData::Rsa(RsaPublicKey { e, n }), COMMENT).to_openssh()
    };
    let public = public().map_err(AppError::internal(WHAT))?;
    Ok((public, Password::from(text.to_string())))
}

/// MD5 of the key, as OpenSSH shows it with `-E md5`: sixteen pairs of digits.
fn fingerprint(public_key: &str) -> Result<String, AppError> {
    let invalid = || {
        let text = "Keypair data is invalid: failed to generate fingerprint";
        AppError::BadRequest(text.to_owned())
    };
    if public_key.len() > PUBLIC_KEY_BYTES {
        return Err(invalid());
    }
    let key = PublicKey::from_openssh(public_key.trim()).map_err(|_| invalid())?;
    let bytes = key.to_bytes().map_err(|_| invalid())?;
    let pairs: Vec<String> = Md5::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(pairs.join(":"))
}

#[cfg(test)]
mod tests {
    use rsa::pkcs1::DecodeRsaPrivateKey as _;

    use super::*;

    #[test]
    fn fingerprints_are_those_that_nova_shows() {
        let key = concat!(
            "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQCyITvg8Xl9vQlEZYUyWpgEjxBwk6L22fUM+U6zCG4jIe3Z",
            "OxnHrNLrrGZJAoIMLEgb0Jszv7xzJgEXVJDT7IDxYEiJSONZSMUjdOXUeRJeOlDTx+fWcL//kyKngWqtO2yr",
            "upI8qY7OXtKsxEDLWM6H7aPe/0opyrHXeXuxsKWHcEKlB5rkz5IhCgnby5V4Ri1BPWwG5zOQFJ3DLn615iJd",
            "88gJ6ttmFXIDmHfe3ONVwbpz9vk3nuTUQ4LtEFP/eq7nNhdgsSTmfmXRJizbv+exl2T370bi4UJ6cVI50gez",
            "uROgadv0rUy+O0bUpnNCFcjLjg7WOjAwcM7QVq5GZmO/ Generated-by-Nova",
        );
        assert_eq!(fingerprint(key).unwrap(), "45:9e:50:78:74:9a:40:0c:87:b7:52:47:da:35:4b:5a");
        for bad in ["bogus", "ssh-ed25519 AAAA", "", "ssh-rsa %%%"] {
            let refused = fingerprint(bad).unwrap_err().to_string();
            assert_eq!(refused, "Keypair data is invalid: failed to generate fingerprint");
        }
    }

    #[test]
    fn keys_on_all_curves_of_openssh_are_taken() {
        let keys = [
            (
                concat!(
                    "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBKvTxEyg7X",
                    "ke0erFR2cyzkSCaat+bwt1PlggmZOqwvyKWpMRLK4z6q3ny9AH55qn3AHie3Pn4QYNINEL6zDqylk=",
                ),
                "14:5b:8e:c9:96:37:df:e8:30:8a:a0:a4:e5:a2:ba:2b",
            ),
            (
                concat!(
                    "ecdsa-sha2-nistp384 AAAAE2VjZHNhLXNoYTItbmlzdHAzODQAAAAIbmlzdHAzODQAAABhBOjbsbRniR",
                    "GHILFwpSnCK7yTinQx/gKn8jTRpUj4V7heCKOyFIGj2FX6ofBEPMemhfkrFuZJ1DoazUZ6m0neX7BwLGW9",
                    "9QgPTgsD52bcbDD1nKQ9rAFYypmdiS2iyblqJA==",
                ),
                "bb:9c:2e:73:14:c0:ac:d2:20:60:ec:48:24:10:b7:53",
            ),
            (
                concat!(
                    "ecdsa-sha2-nistp521 AAAAE2VjZHNhLXNoYTItbmlzdHA1MjEAAAAIbmlzdHA1MjEAAACFBAB0S1RekL",
                    "wCy5ynnbmqrGNeqf0mhtIoO43ET1YtycO69zmupspmNTWGQ3er7/9dSFngQUzvMHofkDdrMd2T8DBpKQAH",
                    "0Coa+mZvAAcv4WKgjBsUgBRp6Mi/hKhfyPXgdFwKOIa+PIMO4eTcqcIlL6uv/tvRrsOXZPfnOapV8tvB4I",
                    "j7JQ==",
                ),
                "89:8d:19:56:c5:10:d4:59:c8:0b:b6:98:98:97:f7:04",
            ),
        ];
        for (key, expected) in keys {
            assert_eq!(fingerprint(key).unwrap(), expected, "{key}");
            assert_eq!(fingerprint(&format!("{key} me@here\n")).unwrap(), expected, "{key}");
        }
    }

    #[test]
    fn a_generated_pair_belongs_together() {
        let (public, private) = generate().unwrap();
        let parsed = RsaPrivateKey::from_pkcs1_pem(private.reveal()).unwrap();
        assert!(private.reveal().starts_with("-----BEGIN RSA PRIVATE KEY-----\nMII"));
        assert_eq!(parsed.n().bits(), 2048);
        let key = PublicKey::from_openssh(&public).unwrap();
        let rsa = key.key_data().rsa().unwrap();
        assert_eq!(rsa.n.as_positive_bytes().unwrap(), parsed.n().to_bytes_be());
        assert_eq!(rsa.e.as_positive_bytes().unwrap(), [1, 0, 1]);
        assert!(public.starts_with("ssh-rsa AAAAB3NzaC1yc2E"));
        assert!(public.ends_with(COMMENT));
        fingerprint(&public).unwrap();
    }
}
