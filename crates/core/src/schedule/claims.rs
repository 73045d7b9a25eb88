//! What servers were promised of their hosts, and what is left.
//!
//! A server claims the vCPUs, memory and disk of its flavor from the moment its creation is
//! recorded until it is deleted, whatever it does meanwhile: a stopped server can always be started
//! again. The one exception is a policy: the memory of a suspended server, which no process holds,
//! may be lent to others ([`ClaimPolicy::release_suspended_memory`]), unless it was suspended because
//! its host goes down; its owner then has to find room when it is resumed ([`claims_again`]).
//!
//! How much may be promised is counted as in Nova: (total - reserved) x allocation ratio, and one
//! server never gets more than the host really has.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer};

use crate::operation::OperationKind;
use crate::state::VmState;

/// Largest allocation ratio; more is a mistake.
const MAX_RATIO: u32 = 1000;
/// Parts of one in which ratios are kept.
const PARTS: u32 = 1000;

/// How often a resource may be promised: an allocation ratio, exact to thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ratio(u32);

impl Ratio {
    /// No more than there is.
    pub const ONE: Self = Self(PARTS);

    /// `number` times what there is.
    #[must_use]
    pub const fn times(number: u32) -> Self {
        Self(number.saturating_mul(PARTS))
    }

    /// A decimal number above 0, at most 1000; digits after the third are dropped.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(fraction) {
            return None;
        }
        let whole: u32 = whole.parse().ok().filter(|whole| *whole <= MAX_RATIO)?;
        let thousandths: u32 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
        let parts = whole.checked_mul(PARTS)?.checked_add(thousandths)?;
        (1..=MAX_RATIO * PARTS).contains(&parts).then_some(Self(parts))
    }

    /// What may be promised of `total`.
    #[must_use]
    pub fn of(self, total: u64) -> u64 {
        let promised = u128::from(total) * u128::from(self.0) / u128::from(PARTS);
        u64::try_from(promised).unwrap_or(u64::MAX)
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}.{:03}", self.0 / PARTS, self.0 % PARTS);
        let short = text.trim_end_matches('0');
        f.write_str(short)?;
        f.write_str(if short.ends_with('.') { "0" } else { "" })
    }
}

impl<'de> Deserialize<'de> for Ratio {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = f64::deserialize(deserializer)?;
        // A negative number, NaN or infinity is no such text either.
        Self::parse(&number.to_string()).ok_or_else(|| {
            serde::de::Error::custom(format!("a ratio is above 0 and at most {MAX_RATIO}"))
        })
    }
}

/// An allocation ratio for each resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ratios {
    /// Of logical CPUs.
    pub vcpus: Ratio,
    /// Of memory.
    pub memory: Ratio,
    /// Of disk.
    pub disk: Ratio,
}

/// Nova's `initial_cpu_allocation_ratio`, `initial_ram_allocation_ratio` and
/// `initial_disk_allocation_ratio`.
impl Default for Ratios {
    fn default() -> Self {
        Self { vcpus: Ratio::times(4), memory: Ratio::ONE, disk: Ratio::ONE }
    }
}

impl Ratios {
    /// The ratios of a host in aggregates with this metadata (`cpu_allocation_ratio`,
    /// `ram_allocation_ratio`, `disk_allocation_ratio`). Of several the lowest holds, as in Nova; a
    /// value that is no ratio counts as not set.
    #[must_use]
    pub fn in_aggregates<'a>(
        self,
        aggregates: impl Iterator<Item = &'a BTreeMap<String, String>> + Clone,
    ) -> Self {
        let of = |key: &str, usual: Ratio| {
            let said = aggregates.clone().filter_map(|metadata| metadata.get(key));
            said.filter_map(|text| Ratio::parse(text.trim())).min().unwrap_or(usual)
        };
        Self {
            vcpus: of("cpu_allocation_ratio", self.vcpus),
            memory: of("ram_allocation_ratio", self.memory),
            disk: of("disk_allocation_ratio", self.disk),
        }
    }
}

/// How hosts are filled, the same for all of an installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClaimPolicy {
    /// Allocation ratios of hosts for which no aggregate says others.
    pub ratios: Ratios,
    /// Memory of each host, in MiB, that is the host's own (Nova's `reserved_host_memory_mb`).
    pub reserved_memory_mib: u64,
    /// Whether suspended servers lend their memory to others.
    pub release_suspended_memory: bool,
}

impl Default for ClaimPolicy {
    fn default() -> Self {
        let ratios = Ratios::default();
        Self { ratios, reserved_memory_mib: 512, release_suspended_memory: false }
    }
}

/// Whether a server in this state has lent its memory to others. One whose memory is `held` has not:
/// with an operation on it, because what a resume claimed stays claimed while it is under way; or
/// suspended for its host, because it is to go on when its host does.
#[must_use]
pub const fn releases_memory(policy: &ClaimPolicy, state: VmState, held: bool) -> bool {
    match state {
        VmState::Suspended => policy.release_suspended_memory && !held,
        VmState::Building
        | VmState::Active
        | VmState::Paused
        | VmState::Stopped
        | VmState::Rescued
        | VmState::Error
        | VmState::Deleted => false,
    }
}

/// Whether an operation on a server that has lent its memory needs it back.
#[must_use]
pub const fn claims_again(kind: OperationKind) -> bool {
    match kind {
        OperationKind::Resume | OperationKind::RebootHard => true,
        // None of these but delete is admitted for a suspended server; a deletion runs no guest.
        OperationKind::Create
        | OperationKind::Delete
        | OperationKind::Pause
        | OperationKind::Unpause
        | OperationKind::Suspend
        | OperationKind::Rescue
        | OperationKind::Unrescue
        | OperationKind::Stop
        | OperationKind::Start
        | OperationKind::RebootSoft => false,
    }
}

/// Of a server, a host, or of several servers together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amounts {
    /// Virtual CPUs.
    pub vcpus: u64,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Disk in GiB.
    pub disk_gib: u64,
}

impl Amounts {
    fn plus(self, other: Self) -> Self {
        Self {
            vcpus: self.vcpus.saturating_add(other.vcpus),
            memory_mib: self.memory_mib.saturating_add(other.memory_mib),
            disk_gib: self.disk_gib.saturating_add(other.disk_gib),
        }
    }
}

/// What is short on a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shortage {
    /// Its name with its unit: `vCPUs`, `MiB of memory`, `GiB of disk`.
    pub what: &'static str,
    /// Needed.
    pub need: u64,
    /// On the host at all, or, if that would do, what is left.
    pub have: u64,
    /// Whether `have` is what is left.
    pub left: bool,
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, need, have, left } = self;
        let left = if *left { " left" } else { "" };
        write!(f, "the flavor needs {need} {what}, the host has {have}{left}")
    }
}

/// What a host has, and what it has promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// What there is.
    pub total: Amounts,
    /// Memory in MiB that is the host's own.
    pub reserved_memory_mib: u64,
    /// How often it may be promised.
    pub ratios: Ratios,
    /// What was promised already.
    pub claimed: Amounts,
}

impl Offer {
    /// What may be promised in all.
    #[must_use]
    pub fn limit(&self) -> Amounts {
        let memory = self.total.memory_mib.saturating_sub(self.reserved_memory_mib);
        Amounts {
            vcpus: self.ratios.vcpus.of(self.total.vcpus),
            memory_mib: self.ratios.memory.of(memory),
            disk_gib: self.ratios.disk.of(self.total.disk_gib),
        }
    }

    /// Why there is no room for one more server of this size, if so.
    #[must_use]
    pub fn shortage(&self, one: Amounts) -> Option<Shortage> {
        let (total, limit, claimed) = (self.total, self.limit(), self.claimed);
        short("vCPUs", one.vcpus, (total.vcpus, limit.vcpus, claimed.vcpus))
            .or_else(|| {
                let host = (total.memory_mib, limit.memory_mib, claimed.memory_mib);
                short("MiB of memory", one.memory_mib, host)
            })
            .or_else(|| {
                let host = (total.disk_gib, limit.disk_gib, claimed.disk_gib);
                short("GiB of disk", one.disk_gib, host)
            })
    }

    /// Promises it.
    pub fn claim(&mut self, one: Amounts) {
        self.claimed = self.claimed.plus(one);
    }

    /// Memory in MiB that nobody was promised, below 0 when more was promised than there is. What
    /// Nova weighs hosts by.
    #[must_use]
    pub fn free_memory_mib(&self) -> i128 {
        let used = i128::from(self.claimed.memory_mib) + i128::from(self.reserved_memory_mib);
        i128::from(self.total.memory_mib) - used
    }
}

/// Whether a resource of a host is short. Nothing needed is never short, however much too much was
/// promised before.
fn short(
    what: &'static str,
    need: u64,
    (total, limit, claimed): (u64, u64, u64),
) -> Option<Shortage> {
    if need == 0 {
        return None;
    }
    if need > total {
        return Some(Shortage { what, need, have: total, left: false });
    }
    let have = limit.saturating_sub(claimed);
    (need > have).then_some(Shortage { what, need, have, left: true })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ratios_are_read_and_shown() {
        for (text, parts, shown) in [
            ("1", 1000, "1.0"),
            ("4.0", 4000, "4.0"),
            ("1.5", 1500, "1.5"),
            ("0.9995", 999, "0.999"),
            ("0.001", 1, "0.001"),
            ("1000", 1_000_000, "1000.0"),
        ] {
            let ratio = Ratio::parse(text).unwrap();
            assert_eq!((ratio.0, ratio.to_string().as_str()), (parts, shown), "{text}");
        }
        for text in ["", ".", ".5", "0", "0.0", "0.0001", "-1", "1e3", "inf", "NaN", "1001", "1 "] {
            assert_eq!(Ratio::parse(text), None, "{text}");
        }
        assert_eq!(Ratio::parse("1.5").unwrap().of(3), 4);
        assert_eq!(Ratio::times(1000).of(u64::MAX), u64::MAX);
        assert!(serde_json::from_str::<Ratio>("-1.0").is_err());
        assert_eq!(serde_json::from_str::<Ratio>("16").unwrap(), Ratio::times(16));
    }

    #[test]
    fn the_lowest_ratio_of_aggregates_holds() {
        let metadata = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        let aggregates = [
            metadata(&[("cpu_allocation_ratio", "16.0"), ("ram_allocation_ratio", "many")]),
            metadata(&[("cpu_allocation_ratio", " 2 "), ("disk_allocation_ratio", "1.5")]),
            metadata(&[]),
        ];
        let ratios = Ratios::default().in_aggregates(aggregates.iter());
        let disk = Ratio::parse("1.5").unwrap();
        assert_eq!(ratios, Ratios { vcpus: Ratio::times(2), memory: Ratio::ONE, disk });
        assert_eq!(Ratios::default().in_aggregates([].iter()), Ratios::default());
    }

    #[test]
    fn only_an_idle_suspended_server_lends_its_memory_and_only_by_policy() {
        let lending = ClaimPolicy { release_suspended_memory: true, ..ClaimPolicy::default() };
        for state in VmState::ALL {
            for busy in [false, true] {
                assert!(!releases_memory(&ClaimPolicy::default(), *state, busy));
                let expected = *state == VmState::Suspended && !busy;
                assert_eq!(releases_memory(&lending, *state, busy), expected, "{state} {busy}");
            }
        }
    }

    /// Whatever runs a guest that was suspended needs its memory.
    #[test]
    fn whatever_ends_a_suspension_with_a_guest_claims_again() {
        use crate::admit::{Caller, Lock, Subject, admit};
        use crate::conclude::after_success;
        for kind in OperationKind::ALL {
            let subject = Subject {
                id: crate::ids::InstanceId::random(),
                vm_state: VmState::Suspended,
                active: None,
                launched: true,
                lock: Lock::Unlocked,
                rescue_stashed: false,
            };
            let possible = admit(&subject, *kind, Caller { is_admin: true }).is_ok();
            let runs = possible && after_success(*kind) != VmState::Deleted;
            assert_eq!(claims_again(*kind), runs, "{kind}");
        }
    }

    #[test]
    fn shortages_say_what_there_is() {
        let total = Amounts { vcpus: 4, memory_mib: 8192, disk_gib: 100 };
        let claimed = Amounts { vcpus: 15, memory_mib: 7000, disk_gib: 100 };
        let ratios = Ratios::default();
        let offer = Offer { total, reserved_memory_mib: 512, ratios, claimed };
        let said = |one| offer.shortage(one).map(|shortage| shortage.to_string());
        let one = Amounts { vcpus: 1, memory_mib: 680, disk_gib: 0 };
        assert_eq!(said(one), None);
        let more = Amounts { vcpus: 8, ..one };
        assert_eq!(said(more).unwrap(), "the flavor needs 8 vCPUs, the host has 4");
        let more = Amounts { vcpus: 2, ..one };
        assert_eq!(said(more).unwrap(), "the flavor needs 2 vCPUs, the host has 1 left");
        let more = Amounts { memory_mib: 681, ..one };
        let text = "the flavor needs 681 MiB of memory, the host has 680 left";
        assert_eq!(said(more).unwrap(), text);
        let more = Amounts { disk_gib: 1, ..one };
        assert_eq!(said(more).unwrap(), "the flavor needs 1 GiB of disk, the host has 0 left");
        assert_eq!(offer.free_memory_mib(), 680);
    }

    proptest! {
        /// What was promised server by server never exceeds the limit.
        #[test]
        fn claims_stay_within_the_limit(
            total in (0_u64..200, 0_u64..100_000, 0_u64..5000),
            parts in (1_u32..20_000, 1_u32..20_000, 1_u32..20_000),
            reserved in 0_u64..2000,
            sizes in prop::collection::vec((0_u64..16, 0_u64..9000, 0_u64..90), 0..200),
        ) {
            let total = Amounts { vcpus: total.0, memory_mib: total.1, disk_gib: total.2 };
            let ratios =
                Ratios { vcpus: Ratio(parts.0), memory: Ratio(parts.1), disk: Ratio(parts.2) };
            let claimed = Amounts::default();
            let mut offer = Offer { total, reserved_memory_mib: reserved, ratios, claimed };
            for (vcpus, memory_mib, disk_gib) in sizes {
                let one = Amounts { vcpus, memory_mib, disk_gib };
                if offer.shortage(one).is_none() {
                    offer.claim(one);
                }
                let limit = offer.limit();
                prop_assert!(offer.claimed.vcpus <= limit.vcpus);
                prop_assert!(offer.claimed.memory_mib <= limit.memory_mib);
                prop_assert!(offer.claimed.disk_gib <= limit.disk_gib);
            }
        }
    }
}
