//! Servers as they were last read.
//!
//! Reading a row of fifty columns costs far more than asking for its revision, and most servers do
//! not change between two lists. So readers outside of transactions ask the database for revisions
//! first, and for whole rows only where the revision is another one than that of the record here.
//!
//! Invariants:
//! - A record is handed out only if the database has just said that its revision is the current one.
//!   So it does not matter who changed the server: this process or another.
//! - Every change of a row raises its revision (`instances::revised`).
//! - Only committed rows get in: transactions read past it.
//! - What is kept is bounded in bytes; what was not asked for longest goes first.

use std::mem::size_of;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hashlink::LruCache;
use reprieve_core::InstanceId;

use crate::record::InstanceRecord;

/// What all kept records may take, in bytes.
const LIMIT: usize = 16 << 20;
/// What a node of a map or an allocation takes beside its contents, roughly.
const OVERHEAD: usize = 48;

/// Records by id.
pub(crate) struct InstanceCache {
    kept: Mutex<Kept>,
    limit: usize,
}

struct Kept {
    records: LruCache<InstanceId, Arc<InstanceRecord>>,
    bytes: usize,
}

impl Default for InstanceCache {
    fn default() -> Self {
        Self::with_limit(LIMIT)
    }
}

impl InstanceCache {
    fn with_limit(limit: usize) -> Self {
        let kept = Kept { records: LruCache::new_unbounded(), bytes: 0 };
        Self { kept: Mutex::new(kept), limit }
    }

    /// The record of this revision, if it is here.
    pub(crate) fn get(&self, id: InstanceId, revision: i64) -> Option<Arc<InstanceRecord>> {
        let mut kept = self.kept();
        let found = kept.records.get(&id).filter(|record| record.revision == revision);
        found.map(Arc::clone)
    }

    /// Whether there is a record of the server here, of whatever revision.
    pub(crate) fn knows(&self, id: InstanceId) -> bool {
        self.kept().records.contains_key(&id)
    }

    /// Keeps a record that was read from committed rows.
    pub(crate) fn put(&self, record: &Arc<InstanceRecord>) {
        let mut kept = self.kept();
        let known = kept.records.get(&record.id).map(|known| known.revision);
        // Two readers may come back in another order than they asked in.
        if known.is_some_and(|known| known > record.revision) {
            return;
        }
        kept.bytes = kept.bytes.saturating_add(weight(record));
        let mut gone = kept.records.insert(record.id, Arc::clone(record));
        loop {
            kept.bytes = kept.bytes.saturating_sub(gone.as_deref().map_or(0, weight));
            if kept.bytes <= self.limit {
                return;
            }
            gone = match kept.records.remove_lru() {
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

/// What a record takes, in bytes, roughly.
fn weight(record: &InstanceRecord) -> usize {
    let texts = [&record.name, &record.hostname, &record.availability_zone, &record.reservation_id]
        .into_iter()
        .chain(&record.description)
        .chain(&record.user_data)
        .chain(&record.key_name)
        .chain(&record.locked_reason)
        .chain(&record.requested_zone)
        .chain(&record.tags)
        .map(|text| text.len() + OVERHEAD);
    let pairs = record
        .metadata
        .iter()
        .chain(&record.public_keys)
        .chain(&record.flavor.extra_specs)
        .chain(record.image.iter().flat_map(|image| &image.properties))
        .map(|(name, value)| name.len() + value.len() + 2 * OVERHEAD);
    let fault =
        record.fault.as_ref().map_or(0, |kept| kept.fault.message.len() + kept.fault.details.len());
    let hints = match record.scheduler_hints.is_empty() {
        true => 0,
        false => {
            serde_json::to_string(&record.scheduler_hints).map_or(LIMIT, |text| 2 * text.len())
        }
    };
    size_of::<InstanceRecord>() + texts.chain(pairs).sum::<usize>() + fault + hints
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert::instance_record;
    use crate::entity::instance;

    fn record(id: InstanceId, revision: i64, user_data: usize) -> Arc<InstanceRecord> {
        let text = |text: &str| text.to_owned();
        let row = instance::Model {
            id: id.to_string(),
            number: 1,
            project_id: text("p"),
            user_id: text("u"),
            name: text("vm"),
            description: None,
            hostname: text("vm"),
            image: None,
            image_id: None,
            flavor: text(
                r#"{"flavor_id":"1","name":"f","vcpus":1,"memory_mib":1,"root_gib":1,
                    "ephemeral_gib":0,"swap_mib":0,"extra_specs":{}}"#,
            ),
            flavor_id: text("1"),
            vcpus: 1,
            memory_mib: 1,
            root_gib: 1,
            metadata: text("{}"),
            tags: text("[]"),
            key_name: None,
            public_keys: text("{}"),
            user_data: Some("x".repeat(user_data)),
            admin_password: None,
            config_drive: false,
            availability_zone: text("nova"),
            host: None,
            vm_state: text("active"),
            task_state: None,
            active_op: None,
            active_kind: None,
            power_state: 1,
            power_reason: text("unknown"),
            progress: 0,
            locked_by: None,
            locked_reason: None,
            fault: None,
            launched_at: None,
            terminated_at: None,
            created_at: 0,
            updated_at: 0,
            deleted_at: None,
            generation: 1,
            obs_epoch: 0,
            obs_seq: 0,
            reservation_id: text("r-1"),
            launch_index: 0,
            disk_config: text("MANUAL"),
            access_ip_v4: None,
            access_ip_v6: None,
            rescue_stashed: false,
            requested_zone: None,
            server_group: None,
            scheduler_hints: None,
            host_reboot: None,
            suspended_for_host: false,
            revision,
        };
        Arc::new(instance_record(row).unwrap())
    }

    #[test]
    fn only_the_revision_that_was_asked_for() {
        let cache = InstanceCache::default();
        let id = InstanceId::random();
        cache.put(&record(id, 3, 0));
        assert!(cache.get(id, 2).is_none());
        assert!(cache.get(id, 4).is_none());
        assert_eq!(cache.get(id, 3).unwrap().revision, 3);
        assert!(cache.get(InstanceId::random(), 3).is_none());
    }

    #[test]
    fn an_older_record_does_not_replace_a_newer_one() {
        let cache = InstanceCache::default();
        let id = InstanceId::random();
        cache.put(&record(id, 3, 0));
        cache.put(&record(id, 2, 0));
        assert!(cache.get(id, 2).is_none());
        assert!(cache.get(id, 3).is_some());
    }

    #[test]
    fn bounded_in_bytes_and_the_longest_unused_goes_first() {
        let cache = InstanceCache::with_limit(10_000);
        let [a, b, c] = [(); 3].map(|()| InstanceId::random());
        cache.put(&record(a, 1, 3000));
        cache.put(&record(b, 1, 3000));
        assert!(cache.get(a, 1).is_some());
        cache.put(&record(c, 1, 3000));
        assert!(cache.get(b, 1).is_none());
        assert!(cache.get(a, 1).is_some() && cache.get(c, 1).is_some());
        // Replacing does not count twice, and what is too large for it leaves it empty.
        for revision in 2..50 {
            cache.put(&record(c, revision, 3000));
        }
        assert!(cache.get(a, 1).is_some() && cache.get(c, 49).is_some());
        cache.put(&record(b, 2, 20_000));
        assert!(cache.get(b, 2).is_none());
        assert_eq!(cache.kept().bytes, 0);
    }
}
