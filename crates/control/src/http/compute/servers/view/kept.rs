//! Servers as they were last written out.
//!
//! Writing a server costs more than everything else about a list, and most servers do not change
//! between two looks at it. So the text of a server is kept with everything that it was made from, and
//! used again while that is the same: the revision of the server ([`InstanceRecord::revision`], raised
//! with every change of it), what of its host is shown, and the [`Occasion`].
//!
//! Invariants:
//! - A text is used only if all of that is equal. Nothing else may get into the text; [`super::newest`]
//!   and [`super::changes`] see nothing else but constants.
//! - What is kept is bounded in bytes; what was not asked for longest goes first.

use std::mem::size_of;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hashlink::LruCache;
use reprieve_core::InstanceId;
use reprieve_store::InstanceRecord;

use super::{Answer, Sees};
use crate::http::compute::links::Links;
use crate::http::compute::microversion::Microversion;

/// What all kept texts may take, in bytes.
const LIMIT: usize = 8 << 20;
/// What a node of the map takes beside its contents, roughly, in bytes.
const OVERHEAD: usize = 96;

/// What a text depends on beside server and host: the same for most servers of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Occasion {
    pub(super) version: Microversion,
    pub(super) sees: Sees,
    pub(super) links: Links,
}

/// What of a server's host is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct HostShown<'a> {
    pub(super) status: &'static str,
    pub(super) hypervisor: Option<&'a str>,
}

/// Texts by server.
#[derive(Debug)]
pub struct Renderings {
    kept: Mutex<Kept>,
    limit: usize,
}

#[derive(Debug)]
struct Kept {
    texts: LruCache<(InstanceId, Answer), Text>,
    bytes: usize,
}

#[derive(Debug)]
struct Text {
    revision: i64,
    occasion: Arc<Occasion>,
    host_status: &'static str,
    hypervisor: Option<Box<str>>,
    json: Box<[u8]>,
}

impl Text {
    fn weight(&self) -> usize {
        let hypervisor = self.hypervisor.as_deref().map_or(0, str::len);
        size_of::<Self>() + OVERHEAD + self.json.len() + hypervisor
    }
}

impl Default for Renderings {
    fn default() -> Self {
        Self::with_limit(LIMIT)
    }
}

impl Renderings {
    fn with_limit(limit: usize) -> Self {
        let kept = Kept { texts: LruCache::new_unbounded(), bytes: 0 };
        Self { kept: Mutex::new(kept), limit }
    }

    /// Appends the text of a server, if it is here and still right; says whether it is.
    pub(super) fn copy(
        &self,
        (server, answer): (&InstanceRecord, Answer),
        occasion: &Arc<Occasion>,
        host: HostShown<'_>,
        out: &mut Vec<u8>,
    ) -> bool {
        let mut kept = self.kept();
        let found = kept.texts.get(&(server.id, answer)).filter(|text| {
            text.revision == server.revision
                && text.host_status == host.status
                && text.hypervisor.as_deref() == host.hypervisor
                && (Arc::ptr_eq(&text.occasion, occasion) || *text.occasion == **occasion)
        });
        match found {
            Some(text) => {
                out.extend_from_slice(&text.json);
                true
            }
            None => false,
        }
    }

    /// Keeps the text of a server.
    pub(super) fn keep(
        &self,
        (server, answer): (&InstanceRecord, Answer),
        occasion: &Arc<Occasion>,
        host: HostShown<'_>,
        json: &[u8],
    ) {
        let text = Text {
            revision: server.revision,
            occasion: Arc::clone(occasion),
            host_status: host.status,
            hypervisor: host.hypervisor.map(Box::from),
            json: json.into(),
        };
        self.put((server.id, answer), text);
    }

    fn put(&self, key: (InstanceId, Answer), text: Text) {
        let mut kept = self.kept();
        kept.bytes = kept.bytes.saturating_add(text.weight());
        let mut gone = kept.texts.insert(key, text);
        loop {
            kept.bytes = kept.bytes.saturating_sub(gone.as_ref().map_or(0, Text::weight));
            if kept.bytes <= self.limit {
                return;
            }
            gone = match kept.texts.remove_lru() {
                Some((_, oldest)) => Some(oldest),
                None => return,
            };
        }
    }

    /// A panic elsewhere cannot leave it half-changed in a way that matters: a wrong sum of bytes.
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: usize) -> Text {
        let sees = Sees {
            attributes: false,
            flavor_specs: false,
            host_status: false,
            host_status_unknown: false,
            fault_details: false,
        };
        let links = Links {
            base: String::new(),
            images: String::new(),
            reached: String::new(),
            generation: crate::http::compute::versions::Generation::V21,
            project: None,
        };
        Text {
            revision: 1,
            occasion: Arc::new(Occasion { version: Microversion::MIN, sees, links }),
            host_status: "",
            hypervisor: None,
            json: vec![b' '; bytes].into(),
        }
    }

    #[test]
    fn bounded_in_bytes_and_the_longest_unused_goes_first() {
        let renderings = Renderings::with_limit(8_000);
        let [a, b, c] = [(); 3].map(|()| (InstanceId::random(), Answer::Show));
        let has = |key| renderings.kept().texts.get(&key).is_some();
        renderings.put(a, text(3000));
        renderings.put(b, text(3000));
        assert!(has(a));
        renderings.put(c, text(3000));
        assert!(!has(b) && has(a) && has(c));
        // Replacing does not count twice, and what is too large for it leaves it empty.
        for _ in 0..50 {
            renderings.put(c, text(3000));
        }
        assert!(has(a) && has(c));
        renderings.put(b, text(20_000));
        assert!(!has(b));
        assert_eq!(renderings.kept().bytes, 0);
    }
}
