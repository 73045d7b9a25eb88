//! All keys of the configuration, and how else each of them can be said.

use std::fmt;

/// What stands behind a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A text.
    Text,
    /// `true` or `false`.
    Flag,
    /// A whole number.
    Number,
    /// A number with or without decimals.
    Decimal,
    /// Texts; in a variable separated by blanks.
    List,
}

/// One key.
#[derive(Debug)]
pub struct Key {
    /// Table and name, as in `api.listen`; keys outside of tables have no dot.
    pub path: &'static str,
    /// What stands behind it.
    pub kind: Kind,
    /// Variable that overrides the file.
    pub variable: &'static str,
    /// Option that overrides both.
    pub option: Option<&'static str>,
}

impl Key {
    /// The table, empty for none, and the name in it.
    #[must_use]
    pub fn place(&self) -> (&'static str, &'static str) {
        self.path.rsplit_once('.').unwrap_or(("", self.path))
    }

    /// Whether the value may hold a password and is never shown.
    #[must_use]
    pub fn is_secret(&self) -> bool {
        matches!(self.path, "database.url" | "bus.urls" | "notifications.url")
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.path)
    }
}

/// One that only file and variable have.
const fn key(path: &'static str, kind: Kind, variable: &'static str) -> Key {
    Key { path, kind, variable, option: None }
}

/// One that has an option, too, which reads its variable itself.
const fn optional(
    path: &'static str,
    kind: Kind,
    variable: &'static str,
    option: &'static str,
) -> Key {
    Key { path, kind, variable, option: Some(option) }
}

use Kind::{Decimal, Flag, List, Number, Text};

/// All of them, by tables, in the order in which `reprieved config show` has them.
pub const KEYS: &[Key] = &[
    optional("host", Text, "REPRIEVE_HOST", "--host"),
    optional("data_dir", Text, "REPRIEVE_DATA_DIR", "--data-dir"),
    key("sealing_key_file", Text, "REPRIEVE_SEALING_KEY_FILE"),
    optional("log.filter", Text, "REPRIEVE_LOG", "--log"),
    optional("log.format", Text, "REPRIEVE_LOG_FORMAT", "--log-format"),
    key("log.audit", Flag, "REPRIEVE_LOG_AUDIT"),
    key("database.url", Text, "REPRIEVE_DATABASE_URL"),
    key("database.url_file", Text, "REPRIEVE_DATABASE_URL_FILE"),
    key("bus.urls", List, "REPRIEVE_BUS_URLS"),
    key("bus.urls_file", Text, "REPRIEVE_BUS_URLS_FILE"),
    key("bus.ca_file", Text, "REPRIEVE_BUS_CA_FILE"),
    key("bus.certificate_file", Text, "REPRIEVE_BUS_CERTIFICATE_FILE"),
    key("bus.key_file", Text, "REPRIEVE_BUS_KEY_FILE"),
    key("bus.queues", Text, "REPRIEVE_BUS_QUEUES"),
    key("bus.prefix", Text, "REPRIEVE_BUS_PREFIX"),
    optional("api.listen", Text, "REPRIEVE_LISTEN", "--listen"),
    optional("api.public_url", Text, "REPRIEVE_PUBLIC_URL", "--public-url"),
    key("api.region", Text, "REPRIEVE_REGION"),
    key("api.availability_zone", Text, "REPRIEVE_AVAILABILITY_ZONE"),
    optional("api.policy_file", Text, "REPRIEVE_POLICY_FILE", "--policy-file"),
    key("api.max_limit", Number, "REPRIEVE_MAX_LIMIT"),
    key("api.compute_link_prefix", Text, "REPRIEVE_COMPUTE_LINK_PREFIX"),
    key("api.glance_link_prefix", Text, "REPRIEVE_GLANCE_LINK_PREFIX"),
    key("api.metrics_listen", Text, "REPRIEVE_API_METRICS_LISTEN"),
    key("conductor.metrics_listen", Text, "REPRIEVE_CONDUCTOR_METRICS_LISTEN"),
    key("scheduler.cpu_allocation_ratio", Decimal, "REPRIEVE_CPU_ALLOCATION_RATIO"),
    key("scheduler.ram_allocation_ratio", Decimal, "REPRIEVE_RAM_ALLOCATION_RATIO"),
    key("scheduler.disk_allocation_ratio", Decimal, "REPRIEVE_DISK_ALLOCATION_RATIO"),
    key("scheduler.reserved_memory_mib", Number, "REPRIEVE_RESERVED_MEMORY_MIB"),
    key("scheduler.release_suspended_memory", Flag, "REPRIEVE_RELEASE_SUSPENDED_MEMORY"),
    key("images.directory", Text, "REPRIEVE_IMAGES_DIRECTORY"),
    key("images.max_bytes", Number, "REPRIEVE_IMAGES_MAX_BYTES"),
    key("images.urls", List, "REPRIEVE_IMAGES_URLS"),
    optional("images.glance_url", Text, "REPRIEVE_GLANCE_URL", "--glance-url"),
    optional("keystone.url", Text, "REPRIEVE_KEYSTONE_URL", "--keystone-url"),
    optional(
        "keystone.credentials_file",
        Text,
        "REPRIEVE_KEYSTONE_CREDENTIALS",
        "--keystone-credentials",
    ),
    optional("keystone.ca_file", Text, "REPRIEVE_CA_FILE", "--ca-file"),
    optional("compute.libvirt_uri", Text, "REPRIEVE_LIBVIRT_URI", "--libvirt-uri"),
    key("compute.console_listen", Text, "REPRIEVE_CONSOLE_LISTEN"),
    key("compute.console_host", Text, "REPRIEVE_CONSOLE_HOST"),
    key("compute.metrics_listen", Text, "REPRIEVE_COMPUTE_METRICS_LISTEN"),
    key("compute.after_host_reboot", Text, "REPRIEVE_AFTER_HOST_REBOOT"),
    key("consoles.token_ttl", Number, "REPRIEVE_CONSOLE_TOKEN_TTL"),
    key("consoles.serial_base_url", Text, "REPRIEVE_SERIAL_BASE_URL"),
    key("consoles.novnc_base_url", Text, "REPRIEVE_NOVNC_BASE_URL"),
    key("consoles.spice_html5_base_url", Text, "REPRIEVE_SPICE_HTML5_BASE_URL"),
    key("consoles.spice_direct_base_url", Text, "REPRIEVE_SPICE_DIRECT_BASE_URL"),
    optional("notifications.enabled", Flag, "REPRIEVE_NO_NOTIFICATIONS", "--no-notifications"),
    optional("notifications.url", Text, "REPRIEVE_NOTIFICATION_URL", "--notification-url"),
    key("notifications.url_file", Text, "REPRIEVE_NOTIFICATION_URL_FILE"),
    optional("notifications.topic", Text, "REPRIEVE_NOTIFICATION_TOPIC", "--notification-topic"),
    optional(
        "notifications.durable",
        Flag,
        "REPRIEVE_NOTIFICATIONS_DURABLE",
        "--notifications-durable",
    ),
];

/// The key of this path.
#[must_use]
pub fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// The name among `known` that somebody probably meant.
#[must_use]
pub fn meant<'a>(wrong: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let near = |name: &&str| distance(wrong, name) <= 1 + name.len() / 4;
    known.filter(near).min_by_key(|name| distance(wrong, name))
}

/// How many letters have to be changed, added or removed.
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.chars().count()).collect();
    for (above, letter) in one.chars().enumerate() {
        let mut next = vec![above + 1];
        for ((corner, up), theirs) in row.iter().zip(row.iter().skip(1)).zip(other.chars()) {
            let left = next.last().copied().unwrap_or_default();
            let changed = corner + usize::from(letter != theirs);
            next.push(changed.min(up + 1).min(left + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_meant() {
        let names = || KEYS.iter().map(|key| key.place().1);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(meant("lisen", names()), Some("listen"));
        assert_eq!(meant("publicurl", names()), Some("public_url"));
        assert_eq!(meant("colour", names()), None);
    }
}
