//! Which epoch this start of the agent has, and what a welcome means for it. Decisions only: the agent
//! sends and receives.
//!
//! ```text
//! greeting ── welcome of this start ──▶ registered(epoch)
//!    ▲                                      │
//!    ├── the control plane does not know it (its tables were lost or are older) ──┤
//!    ├── the greeting of an earlier start on the same ledger came late ───────────┤
//!    └── ... and another agent of this name was welcomed: this one makes way ◀────┘
//! ```
//!
//! An epoch never goes back (invariant I4: the numbers of its reports would come twice). Earlier starts
//! on the same ledger are no rivals: the ledger is locked, so none of them lives.

use std::collections::HashSet;

/// What a welcome means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Welcomed {
    /// This start is registered, with this epoch.
    Registered(i64),
    /// It was overtaken by a newer one: nothing.
    Late,
    /// Meant for another start while this one waits for its own: nothing.
    Elsewhere,
    /// An earlier start on the same ledger was registered after this one, long after it ended: this one
    /// has to greet again.
    Outlived,
    /// Another agent has taken the name.
    Superseded,
}

/// What this start knows about its place in the control plane.
#[derive(Debug)]
pub struct Registration {
    boot_id: String,
    earlier: HashSet<String>,
    epoch: Option<i64>,
    newest: i64,
    /// Whether it makes way for another agent. It greets no more then: that would take the name back.
    superseded: bool,
}

impl Registration {
    /// A start that has not greeted yet, and the ids of earlier starts on the same ledger.
    #[must_use]
    pub fn new(boot_id: String, earlier: HashSet<String>) -> Self {
        Self { boot_id, earlier, epoch: None, newest: 0, superseded: false }
    }

    /// Id of this start.
    #[must_use]
    pub fn boot_id(&self) -> &str {
        &self.boot_id
    }

    /// The epoch; `None` while it has to greet.
    #[must_use]
    pub const fn epoch(&self) -> Option<i64> {
        self.epoch
    }

    /// The newest epoch that this start, or an earlier one beside it, has had; 0 when none is known. The
    /// next one has to be greater.
    #[must_use]
    pub const fn newest(&self) -> i64 {
        self.newest
    }

    /// Hears a welcome.
    pub fn welcomed(&mut self, boot_id: &str, epoch: i64) -> Welcomed {
        if boot_id == self.boot_id {
            if epoch < self.newest {
                return Welcomed::Late;
            }
            (self.epoch, self.newest, self.superseded) = (Some(epoch), epoch, false);
            return Welcomed::Registered(epoch);
        }
        if epoch <= self.newest {
            return Welcomed::Late;
        }
        match self.epoch {
            None => Welcomed::Elsewhere,
            Some(_) if self.earlier.contains(boot_id) && !self.superseded => {
                (self.epoch, self.newest) = (None, epoch);
                Welcomed::Outlived
            }
            Some(_) => {
                self.superseded = true;
                Welcomed::Superseded
            }
        }
    }

    /// Hears that the control plane does not know this epoch; `false` if it is not its own any more.
    pub fn is_unknown(&mut self, epoch: i64) -> bool {
        let mine = self.epoch == Some(epoch) && !self.superseded;
        if mine {
            self.epoch = None;
        }
        mine
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registered(epoch: i64) -> Registration {
        let earlier = ["before".to_owned()].into();
        let mut registration = Registration::new("this".to_owned(), earlier);
        assert_eq!(registration.welcomed("this", epoch), Welcomed::Registered(epoch));
        registration
    }

    #[test]
    fn a_start_waits_for_its_own_welcome() {
        let mut start = Registration::new("this".to_owned(), HashSet::new());
        assert_eq!(start.welcomed("another", 7), Welcomed::Elsewhere);
        assert_eq!((start.epoch(), start.newest()), (None, 0));
        assert_eq!(start.welcomed("this", 3), Welcomed::Registered(3));
        assert_eq!((start.epoch(), start.newest()), (Some(3), 3));
    }

    #[test]
    fn an_epoch_never_goes_back() {
        let mut start = registered(5);
        assert_eq!(start.welcomed("this", 4), Welcomed::Late);
        assert_eq!(start.welcomed("another", 5), Welcomed::Late);
        assert_eq!(start.welcomed("before", 2), Welcomed::Late);
        assert_eq!(start.epoch(), Some(5));
        assert!(start.is_unknown(5));
        assert_eq!(start.welcomed("this", 4), Welcomed::Late, "nor while it greets again");
        assert_eq!((start.epoch(), start.newest()), (None, 5));
        assert_eq!(start.welcomed("this", 6), Welcomed::Registered(6));
    }

    #[test]
    fn an_earlier_start_of_its_own_is_no_rival() {
        let mut start = registered(5);
        assert_eq!(start.welcomed("before", 6), Welcomed::Outlived);
        assert_eq!((start.epoch(), start.newest()), (None, 6));
        assert_eq!(start.welcomed("this", 5), Welcomed::Late);
        assert_eq!(start.welcomed("this", 7), Welcomed::Registered(7));
        assert_eq!(start.welcomed("another", 8), Welcomed::Superseded);
        assert_eq!(start.epoch(), Some(7), "it goes on until it has made way");
        assert_eq!(start.welcomed("before", 9), Welcomed::Superseded, "and takes nothing back");
        assert!(!start.is_unknown(7));
    }

    #[test]
    fn it_greets_again_only_for_the_epoch_that_it_has() {
        let mut start = registered(5);
        assert!(!start.is_unknown(4), "of before");
        assert!(start.is_unknown(5));
        assert!(!start.is_unknown(5), "it greets already");
        assert_eq!(start.welcomed("this", 5), Welcomed::Registered(5));
    }
}
