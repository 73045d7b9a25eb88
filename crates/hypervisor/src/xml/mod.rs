//! Domain XML: written from typed data, read back with bounds.
//!
//! Invariants:
//! - Everything goes through an XML writer that escapes; no text is pasted together. Characters that
//!   XML cannot hold are replaced, because a server's name is the tenant's.
//! - Formats of disks are explicit (`qcow2` or `raw`), so QEMU never guesses one from tenant data.
//! - The definition names the operation that wrote it (`<reprieve:operation id=…>`), so that
//!   reality identifies itself after a crash.
//! - A rescue definition differs from the normal one by its disks and its metadata only (legacy
//!   mode also takes the machine from the rescue image, spec/rescue.md section 4).

mod disks;
mod probe;
mod read;
mod write;

use std::path::PathBuf;

use reprieve_core::OperationId;
use reprieve_core::ports::{DomainVariant, InstancePaths};
use reprieve_core::spec::{InstanceSpec, RescueMode};

pub use disks::{Bus, Device, DiskDevice};
pub use probe::probe_xml;
pub use read::{
    DiskSummary, DomainCapabilities, DomainSummary, HostCpu, MetadataSummary, read_capabilities,
    read_consoles, read_domain, read_host_cpu, read_metadata,
};

/// Namespace of our element in a domain's `<metadata>`.
pub const NAMESPACE: &str = "https://reprieve.dev/xmlns/libvirt/1";

/// Longest XML that is read, in bytes. A domain with hundreds of devices has about 100 KiB.
pub const MAX_XML_BYTES: usize = 1024 * 1024;

/// How guests run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DomainType {
    /// On KVM.
    Kvm,
    /// Emulated (TCG).
    Qemu,
}

impl DomainType {
    /// libvirt's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Qemu => "qemu",
        }
    }
}

/// Cache mode of disks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskCache {
    /// O_DIRECT: needs a file system that has it.
    None,
    /// Through the page cache; the guest's flushes reach the disk.
    Writeback,
}

impl DiskCache {
    /// libvirt's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Writeback => "writeback",
        }
    }
}

/// What the definition needs to know of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainHost {
    /// How guests run.
    pub domain_type: DomainType,
    /// QEMU.
    pub emulator: PathBuf,
    /// The versioned machine type that `pc` means here, so that a definition means the same
    /// machine after an upgrade of QEMU.
    pub machine: String,
    /// Cache mode that the file system of the instances allows.
    pub cache: DiskCache,
    /// Whether the balloon can report freed pages: a save then leaves them out.
    pub free_page_reporting: bool,
}

/// Why there is no XML for a server, or none that can be read.
#[derive(Debug, thiserror::Error)]
pub enum XmlError {
    /// An image asks for something that does not exist here.
    #[error("image property {property}='{value}' is not supported; use {supported}")]
    Property {
        /// The property.
        property: &'static str,
        /// Its value.
        value: String,
        /// What there is.
        supported: &'static str,
    },
    /// `hw_rescue_device` (text of spec/rescue.md section 5.2).
    #[error("Requested rescue device '{0}' is not supported")]
    RescueDevice(String),
    /// `hw_rescue_bus` (text of spec/rescue.md section 5.2).
    #[error("Requested rescue bus '{bus}' is not supported by the '{virt}' virt driver")]
    RescueBus {
        /// The bus.
        bus: String,
        /// `kvm` or `qemu`.
        virt: &'static str,
    },
    /// `hw_rescue_bus` cannot carry `hw_rescue_device` on this machine.
    #[error("Requested rescue bus '{bus}' does not support the rescue device '{device}'")]
    RescueCombination {
        /// The bus.
        bus: &'static str,
        /// The device.
        device: &'static str,
    },
    /// The flavor has no CPU or no memory, or more than can be counted.
    #[error("flavor '{0}' has an impossible number of vcpus or amount of memory")]
    Size(String),
    /// A path that XML cannot hold.
    #[error("path {0:?} is not plain text; choose another instances directory")]
    Path(PathBuf),
    /// Writing failed.
    #[error("the domain xml could not be written")]
    Write(#[source] std::io::Error),
    /// Too long to read.
    #[error("the xml has {0} bytes, more than {MAX_XML_BYTES}")]
    TooLong(usize),
    /// Not XML.
    #[error("the xml cannot be read")]
    Syntax(#[source] roxmltree::Error),
    /// XML, but not what was expected.
    #[error("the xml has no {0}")]
    Missing(&'static str),
}

/// The definition of a server's domain.
///
/// # Errors
/// When an image property or the flavor asks for what this host does not have.
pub fn domain_xml(
    spec: &InstanceSpec,
    variant: &DomainVariant,
    paths: &InstancePaths,
    tag: OperationId,
    host: &DomainHost,
) -> Result<String, XmlError> {
    let properties = match variant {
        // Legacy rescue takes the rescue image's hardware (spec/rescue.md section 4, step 3).
        DomainVariant::Rescue { mode: RescueMode::Legacy, image } => &image.properties,
        DomainVariant::Normal | DomainVariant::Rescue { mode: RescueMode::Stable(_), .. } => {
            &spec.image.properties
        }
    };
    let memory_kib = spec.flavor.memory_mib.checked_mul(1024).filter(|kib| *kib > 0);
    let memory_kib = match (memory_kib, spec.flavor.vcpus) {
        (Some(kib), 1..) => kib,
        (_, _) => return Err(XmlError::Size(write::clean(&spec.flavor.name))),
    };
    let hardware = disks::Hardware::of(properties, host)?;
    let disks = disks::layout(spec, variant, paths, &hardware)?;
    write::domain(&write::Domain {
        spec,
        rescue: matches!(variant, DomainVariant::Rescue { .. }),
        boot_order: disks.iter().any(|disk| disk.boot_first),
        console_log: &paths.console_log(),
        guest_agent: hardware.guest_agent,
        machine: &hardware.machine,
        disks: &disks,
        memory_kib,
        tag,
        host,
    })
}

#[cfg(test)]
mod tests;
