//! The image service: what disks are made from.
//!
//! Owns the images' descriptions (in the database) and their data (one file per image, named by its
//! id, below the image directory). Data is written once, verified while it arrives, and never
//! changes afterwards: a host may cache it for ever under its checksum.
//!
//! ```text
//!            upload accepted            verified, renamed, synced
//!   queued ───────────────────▶ saving ───────────────────────────▶ active ◀──▶ deactivated
//!     ▲                           │ refused, broken off, crashed
//!     └───────────────────────────┘
//! ```
//!
//! With a Glance that is there already (`crate::external`) only [`get`] is used, and asks there; the
//! rest is refused, but what Nova's old image resource passes on ([`ExternalImages`]).

mod access;
mod backend;
mod data;
mod edit;
mod error;
pub mod members;
mod query;

use std::path::{Path, PathBuf};

use reprieve_core::ImageId;
pub use reprieve_store::images::{
    ContainerFormat, ImageData, ImageRecord, ImageStatus, MemberRecord, MemberStatus, Visibility,
};

pub use access::{get, get_for_change};
pub use backend::{BuiltIn, ExternalImages, ImageBackend};
pub use data::{Download, Upload, download, download_for_host, recover, upload};
pub use edit::{
    Edit, MAX_NAME, MAX_PROPERTIES, MAX_PROPERTY_BYTES, create, delete, set_active, update,
};
pub use error::ImageError;
pub use query::{
    ImageFilter, ImageSortKey, ImageTime, MAX_PAGE, MemberFilter, Page, TimeComparison,
    TimeCondition, VisibilityFilter, list,
};

/// Where the data of an image is: `<image directory>/<id>`.
#[must_use]
pub fn data_path(image_dir: &Path, id: ImageId) -> PathBuf {
    image_dir.join(id.to_string())
}
