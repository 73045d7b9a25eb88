//! What a running guest uses, as its hypervisor counts it: for diagnostics.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What one virtual CPU uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuStats {
    /// Number within the guest.
    pub id: u32,
    /// Time it ran, in nanoseconds.
    pub time_ns: u64,
}

/// What one disk did.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DiskStats {
    /// Name of its target: `vda`.
    pub device: String,
    /// Reads.
    pub read_requests: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Writes.
    pub write_requests: u64,
    /// Bytes written.
    pub write_bytes: u64,
}

/// What a guest uses.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct GuestStats {
    /// `kvm` or `qemu`.
    pub hypervisor: String,
    /// Memory that it may have, in KiB.
    pub memory_max_kib: u64,
    /// Memory that it has, in KiB.
    pub memory_kib: u64,
    /// What its balloon says, as the hypervisor names it (`rss`, `swap_in`, …), mostly in KiB.
    pub memory: BTreeMap<String, u64>,
    /// Virtual CPUs.
    pub cpus: Vec<CpuStats>,
    /// Disks, in the order of its definition.
    pub disks: Vec<DiskStats>,
}
