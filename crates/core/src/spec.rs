//! Everything a compute host needs to know to build, define and start a guest.
//!
//! The control plane sends a whole [`InstanceSpec`] with every operation; the host keeps no copy it
//! would have to trust later.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::{ImageId, InstanceId, ProjectId, UserId};
use crate::sealed::Sealed;
use crate::text_enum;

text_enum!(
    /// Format of an image's data, checked when it was uploaded. Never guessed on a host.
    DiskFormat {
        /// Raw bytes.
        Raw = "raw",
        /// QCOW2 without backing file and without external data file.
        Qcow2 = "qcow2",
        /// ISO 9660.
        Iso = "iso",
    }
);

/// Size of a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlavorSpec {
    /// Name, for the domain's metadata.
    pub name: String,
    /// Virtual CPUs.
    pub vcpus: u32,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Root disk in GiB; 0 = as large as the image.
    pub root_gib: u64,
    /// Extra specs (`hw:…`).
    pub extra_specs: BTreeMap<String, String>,
}

/// An image to make a disk from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageSpec {
    /// Identifier in the image service.
    pub id: ImageId,
    /// Name, for messages.
    pub name: String,
    /// Format, checked at upload.
    pub format: DiskFormat,
    /// Size of the data in bytes.
    pub size_bytes: u64,
    /// SHA-512 of the data, 128 hexadecimal digits; the cache verifies it.
    pub sha512: String,
    /// Image properties (`hw_disk_bus`, `hw_rescue_device`, `os_shutdown_timeout`, …).
    pub properties: BTreeMap<String, String>,
}

/// Whether an image with these properties says that its guests run the QEMU guest agent
/// (`hw_qemu_guest_agent`, a boolean as oslo.utils reads it).
#[must_use]
pub fn has_guest_agent(properties: &BTreeMap<String, String>) -> bool {
    properties.get("hw_qemu_guest_agent").is_some_and(|text| {
        matches!(text.trim().to_ascii_lowercase().as_str(), "1" | "t" | "true" | "on" | "y" | "yes")
    })
}

/// What the guest can read about itself (OpenStack metadata, `openstack/latest/meta_data.json`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestMetadata {
    /// Host name of the guest.
    pub hostname: String,
    /// Key name → public key in OpenSSH format.
    pub public_keys: BTreeMap<String, String>,
    /// Metadata of the server.
    pub meta: BTreeMap<String, String>,
    /// User data, base64.
    pub user_data: Option<String>,
    /// Administrator password.
    pub admin_password: Option<Sealed>,
    /// Availability zone.
    pub availability_zone: String,
}

/// A file that a guest finds on its config drive (`personality`, until 2.56).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InjectedFile {
    /// Where the guest puts it.
    pub path: String,
    /// Content, base64.
    pub contents: String,
}

/// Contents may be secrets; the log shows where they go.
impl std::fmt::Debug for InjectedFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InjectedFile").field("path", &self.path).finish_non_exhaustive()
    }
}

/// A server as its host needs to know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceSpec {
    /// The server; the domain's UUID.
    pub id: InstanceId,
    /// Number in the domain's name `instance-%08x`.
    pub number: u32,
    /// Display name.
    pub name: String,
    /// Owner.
    pub project_id: ProjectId,
    /// Creator.
    pub user_id: UserId,
    /// Size.
    pub flavor: FlavorSpec,
    /// Image its root disk was made from.
    pub image: ImageSpec,
    /// Whether it has a config drive.
    pub config_drive: bool,
    /// What the config drive says.
    pub metadata: GuestMetadata,
}

impl InstanceSpec {
    /// Name of the libvirt domain.
    #[must_use]
    pub fn domain_name(&self) -> String {
        format!("instance-{:08x}", self.number)
    }
}

/// A device on a bus, asked for by an image's `hw_rescue_device` and `hw_rescue_bus`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RescueDevice {
    /// `disk`, `cdrom`, …
    pub device: String,
    /// `virtio`, `ide`, … ; `None` = the default of the device.
    pub bus: Option<String>,
}

/// How a rescue attaches its disk (spec/rescue.md section 5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RescueMode {
    /// Rescue disk first (`vda`), own disk second (`vdb`).
    Legacy,
    /// Own disks keep their places, the rescue disk comes last and boots first.
    Stable(RescueDevice),
}

impl RescueMode {
    /// Decided by the rescue image: stable as soon as one of the two properties is set.
    #[must_use]
    pub fn of_image(properties: &BTreeMap<String, String>) -> Self {
        let device = properties.get("hw_rescue_device");
        let bus = properties.get("hw_rescue_bus");
        if device.is_none() && bus.is_none() {
            return Self::Legacy;
        }
        Self::Stable(RescueDevice {
            device: device.cloned().unwrap_or_else(|| "disk".to_owned()),
            bus: bus.cloned(),
        })
    }
}
