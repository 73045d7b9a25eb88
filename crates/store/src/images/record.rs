//! Images as the rest of the control plane sees them.

use std::collections::{BTreeMap, BTreeSet};

use reprieve_core::spec::{DiskFormat, ImageSpec};
use reprieve_core::text_enum;
use reprieve_core::{ImageId, ProjectId, Timestamp};

text_enum!(
    /// Where an image is in its life.
    ImageStatus {
        /// Described, without data.
        Queued = "queued",
        /// Data is being uploaded.
        Saving = "saving",
        /// Data is there, verified, and will never change.
        Active = "active",
        /// Data is there, but only an administrator may read it.
        Deactivated = "deactivated",
    }
);

text_enum!(
    /// Who may see an image.
    Visibility {
        /// Everybody.
        Public = "public",
        /// The owner's project.
        Private = "private",
        /// The owner's project and the members it names.
        Shared = "shared",
        /// Everybody who knows its id; lists leave it out unless asked.
        Community = "community",
    }
);

text_enum!(
    /// What a project thinks of an image that was shared with it.
    MemberStatus {
        /// Not decided: visible, not listed.
        Pending = "pending",
        /// Listed like an own image.
        Accepted = "accepted",
        /// Not listed.
        Rejected = "rejected",
    }
);

text_enum!(
    /// What the disk image is wrapped in. Only bare images can be booted.
    ContainerFormat {
        /// Nothing.
        Bare = "bare",
    }
);

/// What is known of an image's data once it was uploaded and verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageData {
    /// Bytes of the file.
    pub size: u64,
    /// Bytes of the disk a guest sees.
    pub virtual_size: u64,
    /// MD5, 32 hexadecimal digits; for old clients only.
    pub md5: String,
    /// SHA-512, 128 hexadecimal digits.
    pub sha512: String,
}

/// An image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageRecord {
    /// Identifier; the name of the data's file.
    pub id: ImageId,
    /// Name; need not be unique.
    pub name: Option<String>,
    /// Status.
    pub status: ImageStatus,
    /// Visibility.
    pub visibility: Visibility,
    /// Project that owns it; an administrator may give it to nobody.
    pub owner: Option<ProjectId>,
    /// Format; set at the latest before the upload.
    pub disk_format: Option<DiskFormat>,
    /// Container; set at the latest before the upload.
    pub container_format: Option<ContainerFormat>,
    /// Present exactly when the status is `active` or `deactivated`.
    pub data: Option<ImageData>,
    /// Smallest root disk in GiB.
    pub min_disk: u32,
    /// Smallest memory in MiB.
    pub min_ram: u32,
    /// Cannot be deleted.
    pub protected: bool,
    /// Left out of lists.
    pub hidden: bool,
    /// Free properties (`hw_disk_bus`, `os_distro`, …).
    pub properties: BTreeMap<String, String>,
    /// Tags.
    pub tags: BTreeSet<String>,
    /// When it was described.
    pub created_at: Timestamp,
    /// Last change.
    pub updated_at: Timestamp,
}

impl ImageRecord {
    /// What a host needs to build a disk from it; `None` unless it is active.
    #[must_use]
    pub fn spec(&self) -> Option<ImageSpec> {
        let data = self.data.as_ref().filter(|_| self.status == ImageStatus::Active)?;
        Some(ImageSpec {
            id: self.id,
            name: self.name.clone().unwrap_or_default(),
            format: self.disk_format?,
            size_bytes: data.size,
            sha512: data.sha512.clone(),
            properties: self.properties.clone(),
        })
    }
}

/// A project that an image is shared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberRecord {
    /// The image.
    pub image: ImageId,
    /// The project.
    pub project: ProjectId,
    /// What it thinks of it.
    pub status: MemberStatus,
    /// When it was named.
    pub created_at: Timestamp,
    /// Last change.
    pub updated_at: Timestamp,
}
