//! Secrets on their way to a compute host.
//!
//! An administrator password must reach the config drive in clear text, but never a log, a database
//! row or a message. It travels as [`Sealed`]: XChaCha20-Poly1305 under a key that only the daemons
//! of one installation hold, bound to the server it belongs to.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use chacha20poly1305::aead::{Aead, AeadCore, KeyInit, OsRng, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use serde::{Deserialize, Serialize};

use crate::ids::{ImageId, InstanceId};
use crate::time::Timestamp;

const NONCE_BYTES: usize = 24;
/// What tickets are bound to beside their image or server, so that none is good for anything else, no
/// sealed secret is one and none is a secret.
const IMAGE_TICKET: &[u8] = b"image data ";
const CONSOLE_TICKET: &[u8] = b"serial console ";

/// An encrypted secret: base64 of nonce and ciphertext.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sealed(String);

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[sealed]")
    }
}

/// Why a secret could not be sealed or opened. Says nothing about its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Encryption failed.
    #[error("a secret could not be sealed")]
    Seal,
    /// Wrong key, wrong server, or damaged.
    #[error(
        "a sealed secret could not be opened: the daemons of this installation do not share one \
         secret.key"
    )]
    Open,
}

/// The key shared by the daemons of one installation (32 bytes, file `secret.key`, mode 0600).
#[derive(Clone)]
pub struct SealingKey([u8; 32]);

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealingKey")
    }
}

impl SealingKey {
    /// From the bytes of the key file.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(Key::from_slice(&self.0))
    }

    /// Seals `secret` for one server.
    ///
    /// # Errors
    /// [`SealError::Seal`] when the cipher refuses, which only a secret of absurd length causes.
    pub fn seal(&self, instance: InstanceId, secret: &str) -> Result<Sealed, SealError> {
        let nonce = XChaCha20Poly1305::generate_nonce(&mut OsRng);
        let bound_to = instance.uuid();
        let payload = Payload { msg: secret.as_bytes(), aad: bound_to.as_bytes() };
        let sealed = self.cipher().encrypt(&nonce, payload).map_err(|_| SealError::Seal)?;
        let mut bytes = nonce.to_vec();
        bytes.extend_from_slice(&sealed);
        Ok(Sealed(BASE64.encode(bytes)))
    }

    /// Proof that its bearer holds the key: lets a compute host fetch the data of one image until
    /// that time. Only ASCII.
    ///
    /// # Errors
    /// [`SealError::Seal`] when the cipher refuses.
    pub fn ticket(&self, image: ImageId, until: Timestamp) -> Result<String, SealError> {
        self.proof(&bound(IMAGE_TICKET, image.uuid().as_bytes()), until)
    }

    /// Whether `ticket` was made by [`Self::ticket`] for this image and has not run out.
    #[must_use]
    pub fn accepts(&self, image: ImageId, ticket: &str, now: Timestamp) -> bool {
        self.is_proof(&bound(IMAGE_TICKET, image.uuid().as_bytes()), ticket, now)
    }

    /// Proof that its bearer holds the key: lets a proxy connect to the serial console of one server
    /// until that time. Only ASCII.
    ///
    /// # Errors
    /// [`SealError::Seal`] when the cipher refuses.
    pub fn console_ticket(
        &self,
        instance: InstanceId,
        until: Timestamp,
    ) -> Result<String, SealError> {
        self.proof(&bound(CONSOLE_TICKET, instance.uuid().as_bytes()), until)
    }

    /// Whether `ticket` was made by [`Self::console_ticket`] for this server and has not run out.
    #[must_use]
    pub fn accepts_console(&self, instance: InstanceId, ticket: &str, now: Timestamp) -> bool {
        self.is_proof(&bound(CONSOLE_TICKET, instance.uuid().as_bytes()), ticket, now)
    }

    fn proof(&self, bound_to: &[u8], until: Timestamp) -> Result<String, SealError> {
        let nonce = XChaCha20Poly1305::generate_nonce(&mut OsRng);
        let until = until.micros().to_be_bytes();
        let payload = Payload { msg: &until, aad: bound_to };
        let sealed = self.cipher().encrypt(&nonce, payload).map_err(|_| SealError::Seal)?;
        let mut bytes = nonce.to_vec();
        bytes.extend_from_slice(&sealed);
        Ok(BASE64.encode(bytes))
    }

    fn is_proof(&self, bound_to: &[u8], ticket: &str, now: Timestamp) -> bool {
        let Ok(bytes) = BASE64.decode(ticket) else { return false };
        let Some((nonce, message)) = bytes.split_at_checked(NONCE_BYTES) else { return false };
        let payload = Payload { msg: message, aad: bound_to };
        let Ok(until) = self.cipher().decrypt(XNonce::from_slice(nonce), payload) else {
            return false;
        };
        <[u8; 8]>::try_from(until).is_ok_and(|until| now.micros() < i64::from_be_bytes(until))
    }

    /// Opens what [`Self::seal`] made for the same server.
    ///
    /// # Errors
    /// [`SealError::Open`] on a wrong key, a wrong server or any damage.
    pub fn open(&self, instance: InstanceId, sealed: &Sealed) -> Result<String, SealError> {
        let bytes = BASE64.decode(&sealed.0).map_err(|_| SealError::Open)?;
        let (nonce, message) = bytes.split_at_checked(NONCE_BYTES).ok_or(SealError::Open)?;
        let bound_to = instance.uuid();
        let payload = Payload { msg: message, aad: bound_to.as_bytes() };
        let clear = self
            .cipher()
            .decrypt(XNonce::from_slice(nonce), payload)
            .map_err(|_| SealError::Open)?;
        String::from_utf8(clear).map_err(|_| SealError::Open)
    }
}

fn bound(what: &[u8], to: &[u8]) -> Vec<u8> {
    [what, to].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_only_for_the_same_server_and_key() {
        let key = SealingKey::new([7; 32]);
        let (mine, other) = (InstanceId::random(), InstanceId::random());
        let sealed = key.seal(mine, "s3cret").unwrap();
        assert_eq!(key.open(mine, &sealed).unwrap(), "s3cret");
        assert_eq!(key.open(other, &sealed), Err(SealError::Open));
        assert_eq!(SealingKey::new([8; 32]).open(mine, &sealed), Err(SealError::Open));
        assert!(!format!("{sealed:?}").contains("s3cret"));
        assert!(!serde_json::to_string(&sealed).unwrap().contains("s3cret"));
        assert_eq!(key.open(mine, &Sealed("AAAA".into())), Err(SealError::Open));
    }

    #[test]
    fn a_ticket_for_a_console_is_for_nothing_else() {
        let key = SealingKey::new([7; 32]);
        let (server, until) = (InstanceId::random(), Timestamp::from_micros(1_000));
        let (before, image) = (Timestamp::from_micros(999), ImageId::from(server.uuid()));
        let ticket = key.console_ticket(server, until).unwrap();
        assert!(key.accepts_console(server, &ticket, before));
        assert!(!key.accepts_console(server, &ticket, until));
        assert!(!key.accepts_console(InstanceId::random(), &ticket, before));
        assert!(!key.accepts(image, &ticket, before));
        assert!(!key.accepts_console(server, &key.ticket(image, until).unwrap(), before));
    }

    #[test]
    fn a_ticket_is_for_one_image_one_key_and_a_time() {
        let key = SealingKey::new([7; 32]);
        let (image, until) = (ImageId::random(), Timestamp::from_micros(1_000));
        let ticket = key.ticket(image, until).unwrap();
        let before = Timestamp::from_micros(999);
        assert!(ticket.is_ascii() && key.accepts(image, &ticket, before));
        assert!(!key.accepts(image, &ticket, until));
        assert!(!key.accepts(ImageId::random(), &ticket, before));
        assert!(!SealingKey::new([8; 32]).accepts(image, &ticket, before));
        for strange in ["", "AAAA", "no base64", ticket.get(1..).unwrap()] {
            assert!(!key.accepts(image, strange, before), "{strange}");
        }
        // A sealed secret is no ticket, even if it was for a server with the image's id.
        let server = InstanceId::from(image.uuid());
        let Sealed(secret) = key.seal(server, "12345678").unwrap();
        assert!(!key.accepts(image, &secret, before));
    }
}
