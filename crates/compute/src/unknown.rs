//! Guests with Reprieve's mark of which the control plane never spoke: their servers are not in its
//! tables, because those were lost or restored from a backup. They are told and never touched: what runs
//! in them may be all that is left of somebody's work.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, PoisonError};

use reprieve_core::message::{HostInfo, UnknownGuest};
use reprieve_core::ports::DomainState;
use reprieve_core::{InstanceId, PowerState};
use tracing::{info, warn};

/// What was found in the last two looks.
#[derive(Debug, Default)]
pub struct UnknownGuests(Mutex<Found>);

#[derive(Debug, Default)]
struct Found {
    /// Not known in the last look.
    last: HashSet<InstanceId>,
    /// Not known in the last two: one that appeared or ended during a look is not among them.
    told: BTreeMap<InstanceId, PowerState>,
}

impl UnknownGuests {
    /// Notes what a look at the hypervisor found beside the guests that are `known`.
    pub fn note(&self, guests: &[(InstanceId, DomainState)], known: &HashSet<InstanceId>) {
        let unknown: BTreeMap<_, _> = guests
            .iter()
            .filter(|(id, _)| !known.contains(id))
            .map(|(id, domain)| (*id, domain.power))
            .collect();
        let mut found = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ids = unknown.keys().copied().collect();
        let told: BTreeMap<_, _> =
            unknown.into_iter().filter(|(id, _)| found.last.contains(id)).collect();
        for (id, power) in &told {
            if !found.told.contains_key(id) {
                let power = power.word();
                warn!(server = %id, power, "a guest of no server that is known; it is left alone");
            }
        }
        for id in found.told.keys().filter(|id| !told.contains_key(id)) {
            info!(server = %id, "a guest of no server is known now, or gone");
        }
        *found = Found { last: ids, told };
    }

    /// Whether the last look found one that was not there in the look before.
    pub fn needs_another_look(&self) -> bool {
        let found = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        found.last.iter().any(|id| !found.told.contains_key(id))
    }

    /// What the control plane is told.
    pub fn told(&self) -> Vec<UnknownGuest> {
        let found = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let guests = found.told.iter().take(HostInfo::MAX_UNKNOWN_GUESTS);
        guests.map(|(id, power)| UnknownGuest { id: *id, power: *power }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reprieve_core::PowerReason;

    fn guest(id: InstanceId) -> (InstanceId, DomainState) {
        let state = DomainState {
            power: PowerState::Running,
            reason: PowerReason::Booted,
            persistent: true,
            tag: None,
            rescue: false,
            job: false,
        };
        (id, state)
    }

    #[test]
    fn what_is_unknown_twice_is_told_until_it_is_known_or_gone() {
        let unknown = UnknownGuests::default();
        let (first, second) = (InstanceId::random(), InstanceId::random());
        let both = [guest(first), guest(second)];
        let known = HashSet::from([first]);
        unknown.note(&both, &known);
        assert!(unknown.told().is_empty(), "it may be about to be known");
        assert!(unknown.needs_another_look());
        unknown.note(&both, &known);
        assert_eq!(unknown.told(), [UnknownGuest { id: second, power: PowerState::Running }]);
        unknown.note(&both, &HashSet::from([first, second]));
        assert!(unknown.told().is_empty());
        unknown.note(&[guest(second)], &HashSet::new());
        unknown.note(&[], &HashSet::new());
        assert!(unknown.told().is_empty(), "it is gone");
        assert!(!unknown.needs_another_look());
    }

    #[test]
    fn what_is_told_has_a_bound() {
        let unknown = UnknownGuests::default();
        let many: Vec<_> = (0..300).map(|_| guest(InstanceId::random())).collect();
        unknown.note(&many, &HashSet::new());
        unknown.note(&many, &HashSet::new());
        assert_eq!(unknown.told().len(), HostInfo::MAX_UNKNOWN_GUESTS);
    }
}
