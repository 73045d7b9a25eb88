//! The service catalog: three services, one region, the same address inside and outside.

/// A service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Service {
    /// Type that clients look for.
    pub kind: &'static str,
    /// Name; OpenStack's project names, which scripts match on.
    pub name: &'static str,
    /// One line about it.
    pub description: &'static str,
    /// Below the base of all URLs.
    pub path: &'static str,
}

/// All services.
pub const SERVICES: &[Service] = &[
    Service {
        kind: "compute",
        name: "nova",
        description: "Reprieve compute service",
        path: "/compute/v2.1",
    },
    Service {
        kind: "identity",
        name: "keystone",
        description: "Reprieve identity service",
        path: "/identity",
    },
    Service {
        kind: "image",
        name: "glance",
        description: "Reprieve image service",
        path: "/image",
    },
];

/// Interfaces of each service.
pub const INTERFACES: [&str; 3] = ["public", "internal", "admin"];

impl Service {
    /// The same id on every machine and after every restart.
    #[must_use]
    pub fn id(&self) -> String {
        fixed_id(self.kind.as_bytes())
    }

    /// Id of an endpoint of the service.
    #[must_use]
    pub fn endpoint_id(&self, interface: &str) -> String {
        fixed_id(format!("{}/{interface}", self.kind).as_bytes())
    }

    /// URL below `base`, which has no trailing slash.
    #[must_use]
    pub fn url(&self, base: &str) -> String {
        format!("{base}{}", self.path)
    }
}

fn fixed_id(name: &[u8]) -> String {
    blake3::hash(name).to_hex().chars().take(32).collect()
}
