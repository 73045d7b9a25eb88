//! Listing servers: filters, order, pages.

use std::collections::BTreeMap;

use reprieve_core::{
    HostName, ImageId, InstanceId, PowerState, ProjectId, TaskState, Timestamp, UserId, VmState,
};

use crate::record::InstanceRecord;
use crate::{Store, StoreError};

/// A value of the `status` filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApiStatus {
    /// ACTIVE.
    Active,
    /// BUILD.
    Build,
    /// REBOOT.
    Reboot,
    /// `HARD_REBOOT`.
    HardReboot,
    /// SHUTOFF.
    Shutoff,
    /// PAUSED.
    Paused,
    /// SUSPENDED.
    Suspended,
    /// RESCUE.
    Rescue,
    /// ERROR.
    Error,
    /// DELETED.
    Deleted,
    /// A status of Nova that no server has here: matches nothing.
    Never,
}

impl ApiStatus {
    /// From the query parameter, in any case; `None`: no such status.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text.to_ascii_uppercase().as_str() {
            "ACTIVE" => Some(Self::Active),
            "BUILD" => Some(Self::Build),
            "REBOOT" => Some(Self::Reboot),
            "HARD_REBOOT" => Some(Self::HardReboot),
            "SHUTOFF" => Some(Self::Shutoff),
            "PAUSED" => Some(Self::Paused),
            "SUSPENDED" => Some(Self::Suspended),
            "RESCUE" => Some(Self::Rescue),
            "ERROR" => Some(Self::Error),
            "DELETED" => Some(Self::Deleted),
            "PASSWORD" | "REBUILD" | "MIGRATING" | "RESIZE" | "VERIFY_RESIZE" | "REVERT_RESIZE"
            | "SOFT_DELETED" | "SHELVED" | "SHELVED_OFFLOADED" => Some(Self::Never),
            _ => None,
        }
    }
}

/// Which servers with respect to deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Deleted {
    /// Only those that exist.
    #[default]
    Exclude,
    /// Only those that are gone.
    Only,
    /// Both (`changes-since`).
    Include,
}

/// Conditions, all of which must hold. `None` and empty lists do not filter.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct InstanceFilter {
    /// Owner; `None` = all projects.
    pub project_id: Option<ProjectId>,
    /// Creator.
    pub user_id: Option<UserId>,
    /// Deletion.
    pub deleted: Deleted,
    /// Identifiers, any of.
    pub ids: Vec<InstanceId>,
    /// Statuses, any of.
    pub statuses: Vec<ApiStatus>,
    /// `vm_state`s, any of.
    pub vm_states: Vec<VmState>,
    /// `task_state`s, any of; `None` inside = idle.
    pub task_states: Vec<Option<TaskState>>,
    /// Power state.
    pub power_state: Option<PowerState>,
    /// Regular expression that the display name has to match somewhere, as in Nova.
    pub name: Option<String>,
    /// Regular expression for the guest's host name.
    pub hostname: Option<String>,
    /// Exact description.
    pub description: Option<String>,
    /// Image.
    pub image: Option<ImageId>,
    /// Flavor id.
    pub flavor_id: Option<String>,
    /// Host.
    pub host: Option<HostName>,
    /// Key pair name.
    pub key_name: Option<String>,
    /// Availability zone.
    pub availability_zone: Option<String>,
    /// Reservation.
    pub reservation_id: Option<String>,
    /// Config drive.
    pub config_drive: Option<bool>,
    /// Locked or not.
    pub locked: Option<bool>,
    /// Changed at or after.
    pub changes_since: Option<Timestamp>,
    /// Changed at or before.
    pub changes_before: Option<Timestamp>,
    /// All of these tags.
    pub tags: Vec<String>,
    /// Any of these tags.
    pub tags_any: Vec<String>,
    /// Not all of these tags.
    pub not_tags: Vec<String>,
    /// None of these tags.
    pub not_tags_any: Vec<String>,
    /// Metadata that must be present.
    pub metadata: BTreeMap<String, String>,
}

/// A column to sort by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SortKey {
    /// `created_at`, the default.
    CreatedAt,
    /// `updated_at`.
    UpdatedAt,
    /// `launched_at`.
    LaunchedAt,
    /// `terminated_at`.
    TerminatedAt,
    /// `display_name`.
    DisplayName,
    /// `display_description`.
    DisplayDescription,
    /// `uuid`.
    Uuid,
    /// `hostname`.
    Hostname,
    /// `host`, `node` (administrators).
    Host,
    /// `project_id`.
    ProjectId,
    /// `user_id`.
    UserId,
    /// `vm_state`.
    VmState,
    /// `task_state`.
    TaskState,
    /// `power_state`.
    PowerState,
    /// `availability_zone`.
    AvailabilityZone,
    /// `key_name`.
    KeyName,
    /// `image_ref`.
    ImageRef,
    /// `instance_type_id`.
    InstanceTypeId,
    /// `progress`.
    Progress,
    /// `launch_index`.
    LaunchIndex,
    /// `config_drive`.
    ConfigDrive,
    /// `locked_by`, `locked`.
    LockedBy,
    /// `access_ip_v4`.
    AccessIpV4,
    /// `access_ip_v6`.
    AccessIpV6,
    /// `auto_disk_config`.
    AutoDiskConfig,
    /// `kernel_id`, `ramdisk_id`, `root_device_name`: the same for every server here.
    Constant,
}

impl SortKey {
    /// From the query parameter; `None`: no such key.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "created_at" => Self::CreatedAt,
            "updated_at" => Self::UpdatedAt,
            "launched_at" => Self::LaunchedAt,
            "terminated_at" => Self::TerminatedAt,
            "display_name" => Self::DisplayName,
            "display_description" => Self::DisplayDescription,
            "uuid" => Self::Uuid,
            "hostname" => Self::Hostname,
            "host" | "node" => Self::Host,
            "project_id" => Self::ProjectId,
            "user_id" => Self::UserId,
            "vm_state" => Self::VmState,
            "task_state" => Self::TaskState,
            "power_state" => Self::PowerState,
            "availability_zone" => Self::AvailabilityZone,
            "key_name" => Self::KeyName,
            "image_ref" => Self::ImageRef,
            "instance_type_id" => Self::InstanceTypeId,
            "progress" => Self::Progress,
            "launch_index" => Self::LaunchIndex,
            "config_drive" => Self::ConfigDrive,
            "locked_by" | "locked" => Self::LockedBy,
            "access_ip_v4" => Self::AccessIpV4,
            "access_ip_v6" => Self::AccessIpV6,
            "auto_disk_config" => Self::AutoDiskConfig,
            "kernel_id" | "ramdisk_id" | "root_device_name" => Self::Constant,
            _ => return None,
        })
    }
}

/// Direction of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SortDirection {
    /// Smallest first.
    Ascending,
    /// Largest first.
    #[default]
    Descending,
}

/// A page of servers to read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct InstanceQuery {
    /// Conditions.
    pub filter: InstanceFilter,
    /// Order; empty = newest first. Ties are broken by time of creation and id.
    pub sort: Vec<(SortKey, SortDirection)>,
    /// Last server of the previous page.
    pub marker: Option<InstanceId>,
    /// At most so many.
    pub limit: u32,
}

/// A page of servers.
#[derive(Debug, Clone, PartialEq)]
pub struct InstancePage {
    /// Servers in order.
    pub instances: Vec<InstanceRecord>,
}

impl Store {
    /// One page of servers.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when the marker does not exist,
    /// [`StoreError::BadQuery`] when a regular expression is unusable.
    pub async fn instances(&self, _query: &InstanceQuery) -> Result<InstancePage, StoreError> {
        Err(StoreError::BadQuery("unfinished".into()))
    }
}
