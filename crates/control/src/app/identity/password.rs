//! Stretching and checking passwords with argon2id.
//!
//! Stretching is slow and takes memory on purpose, which is also a lever to take the service down.
//! So it runs off the async threads, two at a time, with a bounded queue in front. Its memory is
//! used again while logins follow each other, because getting it from the system costs as much as
//! the stretching itself, and goes back to the system a moment after the last one.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use argon2::password_hash::phc;
use argon2::{Algorithm, Argon2, Block, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::TryRngCore as _;
use reprieve_store::identity::PasswordHash;
use subtle::ConstantTimeEq as _;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::app::secret::Password;

/// Memory in KiB and passes: of the equivalent pairs in OWASP's password storage cheat sheet the
/// one with the least memory, so that an idle daemon stays small and an attacker gets little of it.
const MEMORY_KIB: u32 = 7 * 1024;
const PASSES: u32 = 5;
/// What is reserved for one stretching, in blocks of 1 KiB; what it does not use is never touched and
/// costs nothing. Larger than the largest piece that glibc keeps when it is freed (`M_MMAP_THRESHOLD`
/// in mallopt(3): up to 32 MiB, and it grows to the size of what was freed). A smaller piece stays
/// resident for every thread that ever did this: 180 MB were measured after a burst of logins.
const RESERVED_BLOCKS: usize = 33 * 1024;
/// How long memory is kept for the next stretching.
const KEEP: Duration = Duration::from_secs(1);
const SALT_BYTES: usize = 16;
const OUTPUT_BYTES: usize = 32;
/// Stretchings at once.
const AT_ONCE: usize = 2;
/// Stretchings running or waiting. The last of them waits about half a second.
const QUEUE: usize = 32;
const DEADLINE: Duration = Duration::from_secs(10);
/// Longest password, in bytes.
pub const MAX_PASSWORD_BYTES: usize = 1024;

/// What unknown users are checked against, so that they cost the same as a wrong password. Its
/// verdict is ignored.
const NOBODY: &str = "$argon2id$v=19$m=7168,t=5,p=1$bm9ib2R5IGF0IGFsbC4uLg$\
     MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE";

/// Why a password could not be stretched or checked. Never says anything about the password.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// Too many logins at once; the API answers 503 with `Retry-After`.
    #[error("too many logins at once; try again in a second")]
    Busy,
    /// Empty or too long.
    #[error("a password must have 1 to {MAX_PASSWORD_BYTES} bytes")]
    Length,
    /// The stored hash is damaged, or the system gives no random numbers or memory.
    #[error("the password could not be processed: {0}")]
    Failed(String),
}

/// Bounds how much stretching happens at once.
pub struct Passwords {
    running: Arc<Semaphore>,
    queued: Arc<Semaphore>,
    idle: Arc<Mutex<Idle>>,
}

type Memory = Vec<Block>;

/// Memory that no stretching uses at the moment; at most as many pieces as run at once.
#[derive(Default)]
struct Idle {
    pieces: Vec<Memory>,
    /// Grows with each use, so that only the last one's timer clears.
    uses: u64,
}

impl Default for Passwords {
    fn default() -> Self {
        Self {
            running: Arc::new(Semaphore::new(AT_ONCE)),
            queued: Arc::new(Semaphore::new(QUEUE)),
            idle: Arc::default(),
        }
    }
}

impl Passwords {
    /// Stretches a new password.
    ///
    /// # Errors
    /// [`PasswordError`].
    pub async fn stretch(&self, password: Password) -> Result<PasswordHash, PasswordError> {
        if password.reveal().is_empty() || password.reveal().len() > MAX_PASSWORD_BYTES {
            return Err(PasswordError::Length);
        }
        self.run(move |memory| {
            let mut salt = [0; SALT_BYTES];
            rand::rngs::OsRng.try_fill_bytes(&mut salt).map_err(failed)?;
            let params = Params::new(MEMORY_KIB, PASSES, 1, Some(OUTPUT_BYTES)).map_err(failed)?;
            let hash = phc::PasswordHash {
                algorithm: Algorithm::Argon2id.ident(),
                version: Some(Version::V0x13.into()),
                salt: Some(phc::Salt::new(&salt).map_err(failed)?),
                hash: Some(
                    phc::Output::new(&digest(&params, &password, &salt, memory)?)
                        .map_err(failed)?,
                ),
                params: phc::ParamsString::try_from(&params).map_err(failed)?,
            };
            Ok(PasswordHash(hash.to_string()))
        })
        .await
    }

    /// Whether `password` is the one that `hash` was made of. `None` never matches but takes as
    /// long.
    ///
    /// # Errors
    /// [`PasswordError`], never `Length`.
    pub async fn matches(
        &self,
        password: Password,
        hash: Option<PasswordHash>,
    ) -> Result<bool, PasswordError> {
        // Nobody has such a password, and reading it must not become expensive.
        let possible = password.reveal().len() <= MAX_PASSWORD_BYTES;
        self.run(move |memory| {
            let known = hash.is_some() && possible;
            let text = hash.filter(|_| possible).map_or_else(|| NOBODY.to_owned(), |hash| hash.0);
            let password = if possible { password } else { Password::from(String::new()) };
            let stored = phc::PasswordHash::new(&text).map_err(failed)?;
            let params = Params::try_from(&stored).map_err(failed)?;
            let (Some(salt), Some(output)) = (&stored.salt, &stored.hash) else {
                return Err(failed("the stored hash has no salt or no output"));
            };
            let given = digest(&params, &password, salt.as_ref(), memory)?;
            Ok(bool::from(given.ct_eq(output.as_bytes())) && known)
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Memory) -> Result<T, PasswordError> + Send + 'static,
    ) -> Result<T, PasswordError> {
        let place = self.queued.clone().try_acquire_owned().map_err(|_| PasswordError::Busy)?;
        let turn = timeout(DEADLINE, self.running.clone().acquire_owned()).await;
        let turn = turn.map_err(|_| PasswordError::Busy)?.map_err(failed)?;
        // Both go along: a caller that gives up does not make room while the work still runs.
        let idle = self.idle.clone();
        let stretched = tokio::task::spawn_blocking(move || {
            let mut memory = lock(&idle).pieces.pop().unwrap_or_default();
            let result = work(&mut memory);
            let mut kept = lock(&idle);
            kept.pieces.push(memory);
            kept.uses = kept.uses.wrapping_add(1);
            drop((turn, place));
            (result, kept.uses)
        });
        let (result, last_use) = stretched.await.map_err(failed)?;
        tokio::spawn(forget_after(self.idle.clone(), last_use));
        result
    }
}

/// Gives the memory back unless it was used again meanwhile.
async fn forget_after(idle: Arc<Mutex<Idle>>, last_use: u64) {
    tokio::time::sleep(KEEP).await;
    let mut idle = lock(&idle);
    if idle.uses == last_use {
        idle.pieces = Vec::new();
    }
}

/// A list of buffers is whole whatever panicked.
fn lock(idle: &Mutex<Idle>) -> std::sync::MutexGuard<'_, Idle> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}

fn digest(
    params: &Params,
    password: &Password,
    salt: &[u8],
    memory: &mut Memory,
) -> Result<[u8; OUTPUT_BYTES], PasswordError> {
    let blocks = params.block_count();
    if memory.capacity() < blocks {
        *memory = Vec::with_capacity(blocks.max(RESERVED_BLOCKS));
    }
    memory.resize(blocks, Block::default());
    let mut output = [0; OUTPUT_BYTES];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone())
        .hash_password_into_with_memory(
            password.reveal().as_bytes(),
            salt,
            &mut output,
            memory.as_mut_slice(),
        )
        .map_err(failed)?;
    Ok(output)
}

fn failed(error: impl std::fmt::Display) -> PasswordError {
    PasswordError::Failed(error.to_string())
}

/// `BYTES` random bytes from the system as URL-safe text.
///
/// # Errors
/// [`PasswordError::Failed`] when the system gives none.
pub fn random_text<const BYTES: usize>() -> Result<String, PasswordError> {
    let mut bytes = [0; BYTES];
    rand::rngs::OsRng.try_fill_bytes(&mut bytes).map_err(failed)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str) -> Password {
        Password::from(text.to_owned())
    }

    #[tokio::test]
    async fn only_the_right_password_matches() {
        let passwords = Passwords::default();
        let hash = passwords.stretch(password("correct horse")).await.unwrap();
        assert!(hash.0.starts_with("$argon2id$v=19$m=7168,t=5,p=1$"));
        assert!(!format!("{hash:?}").contains("argon2id"));
        assert!(passwords.matches(password("correct horse"), Some(hash.clone())).await.unwrap());
        assert!(!passwords.matches(password("wrong horse"), Some(hash)).await.unwrap());
    }

    /// So that the cost can be raised later without locking anybody out.
    #[tokio::test]
    async fn parameters_are_the_stored_ones() {
        let params = Params::new(64, 3, 1, Some(OUTPUT_BYTES)).unwrap();
        let salt = b"somesaltsomesalt";
        let cheap = digest(&params, &password("pw"), salt, &mut Vec::new()).unwrap();
        let text = phc::PasswordHash {
            algorithm: Algorithm::Argon2id.ident(),
            version: Some(Version::V0x13.into()),
            params: phc::ParamsString::try_from(&params).unwrap(),
            salt: Some(phc::Salt::new(salt).unwrap()),
            hash: Some(phc::Output::new(&cheap).unwrap()),
        };
        let stored = PasswordHash(text.to_string());
        let passwords = Passwords::default();
        assert!(passwords.matches(password("pw"), Some(stored.clone())).await.unwrap());
        assert!(!passwords.matches(password("px"), Some(stored)).await.unwrap());
        let damaged = PasswordHash("$argon2id$v=19$m=64,t=3,p=1".into());
        assert!(matches!(
            passwords.matches(password("pw"), Some(damaged)).await,
            Err(PasswordError::Failed(_))
        ));
    }

    #[tokio::test(start_paused = true)]
    async fn memory_is_used_again_but_not_kept() {
        let passwords = Passwords::default();
        let many = (0..8).map(|_| passwords.matches(password("x"), None));
        futures_util::future::join_all(many).await;
        let kept = || lock(&passwords.idle).pieces.iter().map(Vec::len).collect::<Vec<_>>();
        assert!((1..=AT_ONCE).contains(&kept().len()), "{:?}", kept());
        assert_eq!(kept()[0], MEMORY_KIB as usize);
        tokio::time::sleep(KEEP / 2).await;
        passwords.matches(password("x"), None).await.unwrap();
        tokio::time::sleep(KEEP * 3 / 4).await;
        assert!(!kept().is_empty(), "it was used less than a second ago");
        tokio::time::sleep(KEEP).await;
        assert!(kept().is_empty());
    }

    /// Twelve threads' worth of kept memory would be 86 MB.
    #[test]
    fn memory_goes_back_to_the_system() {
        let resident = || {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
            line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
        };
        let burst = || {
            std::thread::scope(|scope| {
                for _ in 0..12 {
                    scope.spawn(|| {
                        let params = Params::new(MEMORY_KIB, 1, 1, Some(OUTPUT_BYTES)).unwrap();
                        digest(&params, &password("pw"), b"somesaltsomesalt", &mut Vec::new())
                            .unwrap();
                    });
                }
            });
        };
        burst();
        // Other tests of this program run beside this one and may take memory meanwhile. What is kept
        // would be kept each time.
        let grown = || {
            let before = resident();
            burst();
            resident().saturating_sub(before)
        };
        let growth: Vec<u64> = (0..7).map(|_| grown()).collect();
        let bounded = growth.iter().filter(|kib| **kib < 4 * u64::from(MEMORY_KIB)).count();
        assert!(bounded > growth.len() / 2, "{growth:?} KiB more each time");
    }

    #[tokio::test]
    async fn nobody_is_never_let_in_but_costs_a_real_check() {
        let passwords = Passwords::default();
        let parsed = phc::PasswordHash::new(NOBODY).unwrap();
        let params = Params::try_from(&parsed).unwrap();
        assert_eq!((params.m_cost(), params.t_cost()), (MEMORY_KIB, PASSES));
        assert!(!passwords.matches(password(""), None).await.unwrap());
        let long = "x".repeat(MAX_PASSWORD_BYTES + 1);
        let hash = passwords.stretch(password("a")).await.unwrap();
        assert!(!passwords.matches(password(&long), Some(hash)).await.unwrap());
        assert!(matches!(passwords.stretch(password(&long)).await, Err(PasswordError::Length)));
    }

    #[tokio::test]
    async fn a_flood_of_logins_is_turned_away() {
        let passwords = Passwords::default();
        let flood = futures_util::future::join_all(
            (0..QUEUE + 8).map(|_| passwords.matches(password("x"), None)),
        );
        let busy = flood.await.iter().filter(|r| matches!(r, Err(PasswordError::Busy))).count();
        assert!((1..=8).contains(&busy), "{busy}");
    }

    #[test]
    fn random_texts_differ() {
        let (one, two) = (random_text::<32>().unwrap(), random_text::<32>().unwrap());
        assert_ne!(one, two);
        assert_eq!(one.len(), 43);
    }
}
