//! Quotas: how much a project, and a user within it, may have (spec/api.md sections 7.1 and 10.8).
//!
//! Limits and what is used come from the database; whether a request fits is decided here.

use std::collections::BTreeMap;
use std::fmt;

use crate::text_enum;

/// A limit of this value is none.
pub const UNLIMITED: i64 = -1;

text_enum!(
    /// What a quota limits. In alphabetical order, in which refusals name several of them.
    Resource {
        /// Virtual CPUs.
        Cores = "cores",
        /// Fixed addresses of the network service that Nova had. Kept, shown, and counted by nobody, as
        /// in Nova since; so are the other three of it.
        FixedIps = "fixed_ips",
        /// Floating addresses of it.
        FloatingIps = "floating_ips",
        /// Bytes of one injected file, as sent.
        InjectedFileContentBytes = "injected_file_content_bytes",
        /// Bytes of the path of one injected file.
        InjectedFilePathBytes = "injected_file_path_bytes",
        /// Injected files of one server.
        InjectedFiles = "injected_files",
        /// Servers.
        Instances = "instances",
        /// Key pairs of a user.
        KeyPairs = "key_pairs",
        /// Metadata items of one server.
        MetadataItems = "metadata_items",
        /// Memory in MiB.
        Ram = "ram",
        /// Rules of a security group of it.
        SecurityGroupRules = "security_group_rules",
        /// Security groups of it.
        SecurityGroups = "security_groups",
        /// Servers of a user in one server group.
        ServerGroupMembers = "server_group_members",
        /// Server groups.
        ServerGroups = "server_groups",
    }
);

impl Resource {
    /// The limit where nobody has set another one: Nova's.
    #[must_use]
    pub const fn default_limit(self) -> i64 {
        match self {
            Self::Cores => 20,
            Self::InjectedFileContentBytes => 10_240,
            Self::InjectedFilePathBytes => 255,
            Self::InjectedFiles => 5,
            Self::Instances | Self::ServerGroupMembers | Self::ServerGroups => 10,
            Self::KeyPairs => 100,
            Self::MetadataItems => 128,
            Self::Ram => 51_200,
            Self::FixedIps
            | Self::FloatingIps
            | Self::SecurityGroupRules
            | Self::SecurityGroups => UNLIMITED,
        }
    }
}

/// The limits that hold for somebody.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Limits(BTreeMap<Resource, i64>);

impl Limits {
    /// The limit of a resource; [`UNLIMITED`] if there is none.
    #[must_use]
    pub fn get(&self, resource: Resource) -> i64 {
        self.0.get(&resource).copied().unwrap_or_else(|| resource.default_limit())
    }

    /// Sets the limit of a resource.
    pub fn set(&mut self, resource: Resource, limit: i64) {
        self.0.insert(resource, limit);
    }

    /// Whether having `amount` of a resource in all keeps to its limit.
    #[must_use]
    pub fn allows(&self, resource: Resource, amount: i64) -> bool {
        let limit = self.get(resource);
        limit < 0 || amount <= limit
    }
}

/// What servers take, or one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Amount {
    /// Servers.
    pub instances: i64,
    /// Virtual CPUs.
    pub cores: i64,
    /// Memory in MiB.
    pub ram: i64,
}

impl Amount {
    /// Of every resource that servers take, in the order in which refusals name them.
    const fn parts(self) -> [(Resource, i64); 3] {
        [
            (Resource::Cores, self.cores),
            (Resource::Instances, self.instances),
            (Resource::Ram, self.ram),
        ]
    }
}

/// Somebody on whose account servers go: a project, or a user within one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Account {
    /// What there may be.
    pub limits: Limits,
    /// What there is.
    pub used: Amount,
}

/// A resource of which there would be too much.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Over {
    resource: Resource,
    requested: String,
    used: i64,
    limit: i64,
}

/// Servers that a quota does not allow. Displays as Nova words it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverQuota(Vec<Over>);

impl fmt::Display for OverQuota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list =
            |text: fn(&Over) -> String| self.0.iter().map(text).collect::<Vec<_>>().join(", ");
        let overs = list(|over| over.resource.to_string());
        let requested = list(|over| over.requested.clone());
        let used = list(|over| over.used.to_string());
        let limits = list(|over| over.limit.to_string());
        write!(
            f,
            "Quota exceeded for {overs}: Requested {requested}, but already used {used} of \
             {limits} {overs}"
        )
    }
}

impl std::error::Error for OverQuota {}

/// How many servers of the size `one` may be made when between `min` and `max` are wanted: as many
/// as every account allows.
///
/// # Errors
/// [`OverQuota`] when that is less than `min`.
pub fn grant(accounts: &[Account], one: Amount, (min, max): (u32, u32)) -> Result<u32, OverQuota> {
    let allowed = accounts
        .iter()
        .flat_map(|account| {
            one.parts().into_iter().zip(account.used.parts()).map(move |parts| (account, parts))
        })
        .filter_map(|(account, ((resource, size), (_, used)))| {
            let limit = account.limits.get(resource);
            // A negative limit is none, and of what a server does not take it cannot take too much.
            (limit >= 0).then(|| limit.saturating_sub(used).checked_div(size)).flatten()
        })
        .fold(i64::from(max), i64::min);
    match u32::try_from(allowed) {
        Ok(count) if count >= min => Ok(count),
        Ok(_) | Err(_) => Err(overs(accounts, one, (min, max))),
    }
}

fn overs(accounts: &[Account], one: Amount, (min, max): (u32, u32)) -> OverQuota {
    let over = |(resource, size): (Resource, i64)| {
        let requested = size.saturating_mul(max.into());
        accounts.iter().find_map(|account| {
            let used = account.used.parts().into_iter().find(|(of, _)| *of == resource)?.1;
            let exceeded = !account.limits.allows(resource, used.saturating_add(requested));
            exceeded.then(|| Over {
                resource,
                requested: match resource {
                    Resource::Instances if min != max => format!("{min}-{max}"),
                    _ => requested.to_string(),
                },
                used,
                limit: account.limits.get(resource),
            })
        })
    };
    OverQuota(one.parts().into_iter().filter_map(over).collect())
}

/// Why the files that a request brings for a server are refused, in Nova's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilesRefused {
    /// There are too many.
    #[error("Personality file limit exceeded")]
    Count,
    /// A path is too long.
    #[error("Personality file path exceeds maximum {0}")]
    Path(i64),
    /// A content is too long.
    #[error("Personality file content exceeds maximum {0}")]
    Content(i64),
}

/// Checks injected files, given as the lengths of path and content.
///
/// # Errors
/// [`FilesRefused`]; a long path is told before a long content.
pub fn check_files(limits: &Limits, files: &[(usize, usize)]) -> Result<(), FilesRefused> {
    let fits = |resource, amount: usize| {
        limits.allows(resource, i64::try_from(amount).unwrap_or(i64::MAX))
    };
    if !fits(Resource::InjectedFiles, files.len()) {
        return Err(FilesRefused::Count);
    }
    let longest = |of: fn(&(usize, usize)) -> usize| files.iter().map(of).max().unwrap_or(0);
    if !fits(Resource::InjectedFilePathBytes, longest(|file| file.0)) {
        return Err(FilesRefused::Path(limits.get(Resource::InjectedFilePathBytes)));
    }
    if !fits(Resource::InjectedFileContentBytes, longest(|file| file.1)) {
        return Err(FilesRefused::Content(limits.get(Resource::InjectedFileContentBytes)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Amount = Amount { instances: 1, cores: 2, ram: 1024 };

    fn account(used: Amount, limits: &[(Resource, i64)]) -> Account {
        let mut account = Account { used, ..Account::default() };
        for (resource, limit) in limits {
            account.limits.set(*resource, *limit);
        }
        account
    }

    fn refusal(accounts: &[Account], counts: (u32, u32)) -> String {
        grant(accounts, ONE, counts).unwrap_err().to_string()
    }

    #[test]
    fn as_many_as_fit_are_granted() {
        let fresh = [Account::default()];
        assert_eq!(grant(&fresh, ONE, (1, 1)), Ok(1));
        // Ten servers or twenty cores, whichever ends first.
        assert_eq!(grant(&fresh, ONE, (1, 1000)), Ok(10));
        assert_eq!(grant(&fresh, Amount { cores: 3, ..ONE }, (1, 1000)), Ok(6));
        assert_eq!(grant(&fresh, Amount { ram: 25_600, ..ONE }, (2, 3)), Ok(2));
        let unlimited = [account(
            Amount { instances: 5000, cores: 5000, ram: 1 << 40 },
            &[(Resource::Instances, -1), (Resource::Cores, -1), (Resource::Ram, -1)],
        )];
        assert_eq!(grant(&unlimited, ONE, (7, 9)), Ok(9));
        assert_eq!(grant(&[], ONE, (1, 3)), Ok(3));
        // What a server does not take is not asked for, however much there is of it.
        let full = [account(Amount { cores: 20, ..Amount::default() }, &[])];
        assert_eq!(grant(&full, Amount { cores: 0, ..ONE }, (1, 1)), Ok(1));
    }

    #[test]
    fn refusals_name_everything_that_is_too_much() {
        let full = [account(Amount { instances: 10, cores: 20, ram: 2048 }, &[])];
        assert_eq!(
            refusal(&full, (1, 1)),
            "Quota exceeded for cores, instances: Requested 2, 1, but already used 20, 10 of \
             20, 10 cores, instances"
        );
        let half = [account(Amount { instances: 5, cores: 5, ram: 0 }, &[(Resource::Cores, 100)])];
        assert_eq!(
            refusal(&half, (6, 8)),
            "Quota exceeded for instances: Requested 6-8, but already used 5 of 10 instances"
        );
        let ram = [account(Amount::default(), &[(Resource::Ram, 512)])];
        assert_eq!(
            refusal(&ram, (1, 1)),
            "Quota exceeded for ram: Requested 1024, but already used 0 of 512 ram"
        );
    }

    #[test]
    fn a_limit_below_what_is_used_allows_nothing_more() {
        let lowered =
            [account(Amount { instances: 4, ..Amount::default() }, &[(Resource::Instances, 2)])];
        assert_eq!(
            refusal(&lowered, (1, 1)),
            "Quota exceeded for instances: Requested 1, but already used 4 of 2 instances"
        );
        let none = [account(Amount::default(), &[(Resource::Instances, 0)])];
        assert!(grant(&none, ONE, (1, 1)).is_err());
    }

    #[test]
    fn the_tightest_account_decides() {
        let user =
            account(Amount { instances: 1, ..Amount::default() }, &[(Resource::Instances, 2)]);
        let project = account(Amount { instances: 3, ..Amount::default() }, &[]);
        let accounts = [user, project];
        assert_eq!(grant(&accounts, ONE, (1, 5)), Ok(1));
        assert_eq!(
            refusal(&accounts, (2, 2)),
            "Quota exceeded for instances: Requested 2, but already used 1 of 2 instances"
        );
    }

    #[test]
    fn files_are_counted_and_measured() {
        let limits = Limits::default();
        assert_eq!(check_files(&limits, &[(255, 10_240); 5]), Ok(()));
        assert_eq!(check_files(&limits, &[(1, 1); 6]), Err(FilesRefused::Count));
        let long = check_files(&limits, &[(1, 10_241), (256, 1)]).unwrap_err();
        assert_eq!(long.to_string(), "Personality file path exceeds maximum 255");
        let large = check_files(&limits, &[(1, 10_241)]).unwrap_err();
        assert_eq!(large.to_string(), "Personality file content exceeds maximum 10240");
        let mut none = Limits::default();
        none.set(Resource::InjectedFiles, 0);
        assert_eq!(check_files(&none, &[]), Ok(()));
        assert_eq!(check_files(&none, &[(1, 1)]), Err(FilesRefused::Count));
    }
}
