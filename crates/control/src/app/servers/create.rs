//! Creating servers: resolve what the request names, choose a host, record.

use std::collections::BTreeMap;

use reprieve_core::ImageId;
use reprieve_store::{DiskConfig, InstanceRecord};

use super::super::secret::Password;
use super::super::{AppError, Call};

/// A validated request for servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewServer {
    /// Display name; several servers get `-1`, `-2`, …
    pub name: String,
    /// Description.
    pub description: Option<String>,
    /// Host name of the guest; `None` = made from the name.
    pub hostname: Option<String>,
    /// Image.
    pub image: ImageId,
    /// Flavor id.
    pub flavor_id: String,
    /// Key pair of the caller.
    pub key_name: Option<String>,
    /// Metadata.
    pub metadata: BTreeMap<String, String>,
    /// Tags.
    pub tags: Vec<String>,
    /// User data, base64 as given.
    pub user_data: Option<String>,
    /// Administrator password; `None` = generate one.
    pub admin_password: Option<Password>,
    /// Config drive; `None` = with one, because nothing else could tell the guest its data.
    pub config_drive: Option<bool>,
    /// Availability zone; `zone:host` names a host (administrators).
    pub availability_zone: Option<String>,
    /// Host by name (administrators, 2.74).
    pub host: Option<String>,
    /// At least so many.
    pub min_count: u32,
    /// At most so many.
    pub max_count: u32,
    /// Disk configuration.
    pub disk_config: Option<DiskConfig>,
    /// `accessIPv4`.
    pub access_ip_v4: Option<String>,
    /// `accessIPv6`.
    pub access_ip_v6: Option<String>,
}

/// What was recorded.
#[derive(Debug)]
pub struct CreatedServers {
    /// `r-xxxxxxxx`.
    pub reservation_id: String,
    /// Password of all of them, shown this once.
    pub admin_password: Password,
    /// The servers; at least one.
    pub servers: Vec<InstanceRecord>,
}

/// Accepts the request. Servers for which no host can be found are recorded in ERROR, as Nova does.
///
/// # Errors
/// [`AppError::BadRequest`] when flavor, image or key cannot be used, [`AppError::Forbidden`] when a
/// host is named by somebody who may not, [`AppError::QuotaExceeded`] for too much metadata.
pub async fn create(_call: &Call<'_>, _new: NewServer) -> Result<CreatedServers, AppError> {
    Err(AppError::BadRequest("unfinished".into()))
}
