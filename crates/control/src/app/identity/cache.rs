//! Tokens that were valid a moment ago.
//!
//! Bounded, and emptied whenever anything changes that a token's validity depends on; in this
//! process a change is therefore seen by the next request. Other API processes on the same database
//! see it after at most [`TTL`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reprieve_core::Timestamp;

use super::Grant;

/// How long an entry of the own database may be believed.
const TTL: Duration = Duration::from_secs(5);
const CAPACITY: usize = 4096;

/// Hash of a token's text.
pub type TokenHash = [u8; 32];

pub struct TokenCache {
    inner: Mutex<Inner>,
    ttl: Duration,
}

impl Default for TokenCache {
    fn default() -> Self {
        Self::new(TTL)
    }
}

#[derive(Default)]
struct Inner {
    /// Counts changes: what was read before a change must not be put in after it.
    generation: u64,
    entries: HashMap<TokenHash, Entry>,
}

struct Entry {
    grant: Arc<Grant>,
    believed_until: Timestamp,
}

/// Proof of when a reader began; see [`TokenCache::put`].
#[derive(Clone, Copy)]
pub struct Generation(u64);

impl TokenCache {
    /// Believes entries for `ttl`.
    pub fn new(ttl: Duration) -> Self {
        Self { inner: Mutex::default(), ttl }
    }

    pub fn get(&self, hash: &TokenHash, now: Timestamp) -> Option<Arc<Grant>> {
        let inner = self.lock();
        let entry = inner.entries.get(hash)?;
        (now < entry.believed_until).then(|| entry.grant.clone())
    }

    /// To be taken before the database is read.
    pub fn generation(&self) -> Generation {
        Generation(self.lock().generation)
    }

    /// Remembers what was read, unless something changed since `read_at`.
    pub fn put(&self, hash: TokenHash, grant: Arc<Grant>, read_at: Generation, now: Timestamp) {
        let mut inner = self.lock();
        if inner.generation != read_at.0 {
            return;
        }
        if inner.entries.len() >= CAPACITY {
            inner.entries.retain(|_, entry| now < entry.believed_until);
        }
        if inner.entries.len() >= CAPACITY {
            inner.entries.clear();
        }
        let believed_until = now.plus(self.ttl).min(grant.expires_at);
        inner.entries.insert(hash, Entry { grant, believed_until });
    }

    /// Forgets everything. To be called after a change was committed.
    pub fn clear(&self) {
        let mut inner = self.lock();
        inner.generation += 1;
        inner.entries.clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        // Every change of the map is complete before anything can panic.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::token::tests::grant;
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn entries_end_with_their_time_and_with_the_token() {
        let cache = TokenCache::default();
        cache.put([1; 32], Arc::new(grant(at(1000))), cache.generation(), at(0));
        assert!(cache.get(&[1; 32], at(4)).is_some());
        assert!(cache.get(&[1; 32], at(5)).is_none());
        assert!(cache.get(&[2; 32], at(4)).is_none());
        cache.put([3; 32], Arc::new(grant(at(2))), cache.generation(), at(0));
        assert!(cache.get(&[3; 32], at(1)).is_some());
        assert!(cache.get(&[3; 32], at(2)).is_none());
    }

    #[test]
    fn what_was_read_before_a_change_is_not_remembered() {
        let cache = TokenCache::default();
        let before = cache.generation();
        cache.clear();
        cache.put([1; 32], Arc::new(grant(at(1000))), before, at(0));
        assert!(cache.get(&[1; 32], at(0)).is_none());
    }

    #[test]
    fn it_does_not_grow_without_bound() {
        let cache = TokenCache::default();
        for n in 0..CAPACITY as u64 + 10 {
            let mut hash = [0; 32];
            hash[..8].copy_from_slice(&n.to_le_bytes());
            cache.put(hash, Arc::new(grant(at(1000))), cache.generation(), at(0));
        }
        assert!(cache.lock().entries.len() <= CAPACITY);
    }
}
