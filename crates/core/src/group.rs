//! Server groups: which of several servers may or should share a host (spec/api.md section 10.9).

use std::collections::BTreeMap;

use crate::ids::HostName;
use crate::text_enum;

text_enum!(
    /// What a group asks of the hosts of its members.
    GroupPolicy {
        /// All on one host.
        Affinity = "affinity",
        /// Each on a host of its own, or a few of them on each.
        AntiAffinity = "anti-affinity",
        /// On one host if that is possible.
        SoftAffinity = "soft-affinity",
        /// On different hosts if that is possible.
        SoftAntiAffinity = "soft-anti-affinity",
    }
);

impl GroupPolicy {
    /// Whether it is a wish that may be left unfulfilled.
    #[must_use]
    pub const fn is_soft(self) -> bool {
        match self {
            Self::Affinity | Self::AntiAffinity => false,
            Self::SoftAffinity | Self::SoftAntiAffinity => true,
        }
    }
}

/// A group while hosts are chosen for new members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seating {
    /// Policy.
    pub policy: GroupPolicy,
    /// Most members on one host with [`GroupPolicy::AntiAffinity`]; `None` = one.
    pub max_per_host: Option<u32>,
    /// Members on each host.
    pub members: BTreeMap<HostName, u32>,
}

impl Seating {
    fn on(&self, host: &HostName) -> u32 {
        self.members.get(host).copied().unwrap_or(0)
    }

    /// Whether the policy lets the next member be on `host`.
    #[must_use]
    pub fn admits(&self, host: &HostName) -> bool {
        match self.policy {
            GroupPolicy::Affinity => self.members.is_empty() || self.on(host) > 0,
            GroupPolicy::AntiAffinity => self.on(host) < self.max_per_host.unwrap_or(1).max(1),
            GroupPolicy::SoftAffinity | GroupPolicy::SoftAntiAffinity => true,
        }
    }

    /// How much the policy likes the next member to be on `host`; more is better.
    #[must_use]
    pub fn preference(&self, host: &HostName) -> i64 {
        let members = i64::from(self.on(host));
        match self.policy {
            GroupPolicy::SoftAffinity => members,
            GroupPolicy::SoftAntiAffinity => members.saturating_neg(),
            GroupPolicy::Affinity | GroupPolicy::AntiAffinity => 0,
        }
    }

    /// A member was placed on `host`.
    pub fn seat(&mut self, host: &HostName) {
        let members = self.members.entry(host.clone()).or_default();
        *members = members.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seating(policy: GroupPolicy, max_per_host: Option<u32>, on: &[&str]) -> Seating {
        let mut seating = Seating { policy, max_per_host, members: BTreeMap::new() };
        for host in on {
            seating.seat(&HostName::from(*host));
        }
        seating
    }

    #[test]
    fn hard_policies_admit_or_do_not() {
        use GroupPolicy as P;
        for (policy, max, on, admitted) in [
            (P::Affinity, None, &[] as &[_], [true, true]),
            (P::Affinity, None, &["a"], [true, false]),
            (P::AntiAffinity, None, &[], [true, true]),
            (P::AntiAffinity, None, &["a"], [false, true]),
            (P::AntiAffinity, Some(2), &["a"], [true, true]),
            (P::AntiAffinity, Some(2), &["a", "a", "b"], [false, true]),
            (P::SoftAffinity, None, &["a"], [true, true]),
            (P::SoftAntiAffinity, None, &["a", "b"], [true, true]),
        ] {
            let seating = seating(policy, max, on);
            let got = ["a", "b"].map(|host| seating.admits(&host.into()));
            assert_eq!(got, admitted, "{policy} {on:?}");
        }
    }

    #[test]
    fn soft_policies_prefer() {
        let (a, b) = (HostName::from("a"), HostName::from("b"));
        for (policy, a_is_better) in
            [(GroupPolicy::SoftAffinity, true), (GroupPolicy::SoftAntiAffinity, false)]
        {
            assert!(policy.is_soft());
            let seating = seating(policy, None, &["a"]);
            assert_eq!(seating.preference(&a) > seating.preference(&b), a_is_better, "{policy}");
        }
        for policy in [GroupPolicy::Affinity, GroupPolicy::AntiAffinity] {
            assert!(!policy.is_soft());
            assert_eq!(seating(policy, None, &["a"]).preference(&a), 0);
        }
    }
}
