//! Lists of images.

use reprieve_store::SortDirection;
pub use reprieve_store::images::{
    ImageFilter, ImageSortKey, ImageTime, MemberFilter, TimeComparison, TimeCondition,
    VisibilityFilter,
};
use reprieve_store::images::{ImageQuery, Viewer};

use reprieve_core::ImageId;

use super::backend::require_own;
use super::{ImageError, ImageRecord};
use crate::Control;
use crate::auth::AuthContext;

/// Most images on a page.
pub const MAX_PAGE: u64 = 1000;

/// One page, as a client asks for it.
#[derive(Debug, Clone)]
pub struct Page {
    /// Which visibilities.
    pub visibility: VisibilityFilter,
    /// Which images shared by others.
    pub members: MemberFilter,
    /// What they must have.
    pub filter: ImageFilter,
    /// Order.
    pub sort: Vec<(ImageSortKey, SortDirection)>,
    /// Begin behind this image.
    pub marker: Option<ImageId>,
    /// Most images; at most [`MAX_PAGE`] count.
    pub limit: u64,
}

/// Images that the caller may see.
///
/// # Errors
/// [`ImageError::Invalid`] when the marker does not exist or must not be known,
/// [`ImageError::Refused`] when they are another service's.
pub async fn list(
    control: &Control,
    auth: &AuthContext,
    page: Page,
) -> Result<Vec<ImageRecord>, ImageError> {
    require_own(control)?;
    if let Some(marker) = page.marker {
        super::get(control, auth, marker).await.map_err(|error| match error {
            ImageError::NotFound(_) => {
                ImageError::Invalid(format!("Marker {marker} could not be found."))
            }
            other => other,
        })?;
    }
    let query = ImageQuery {
        viewer: Viewer { project: auth.project_id.clone(), is_admin: auth.is_admin() },
        visibility: page.visibility,
        members: page.members,
        filter: page.filter,
        sort: page.sort,
        marker: page.marker,
        limit: page.limit.min(MAX_PAGE),
    };
    Ok(control.store.images(&query).await?)
}
