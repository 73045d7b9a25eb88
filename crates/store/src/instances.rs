//! Servers: creation, reading, changes that need no compute host.

use std::collections::BTreeMap;

use reprieve_core::spec::ImageSpec;
use reprieve_core::{Fault, HostName, InstanceId, Lock, ProjectId, Sealed, UserId, VmState};

use crate::operations::NewAction;
use crate::record::{DiskConfig, FlavorSnapshot, InstanceRecord};
use crate::{Store, StoreError};

/// Where a new server goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placement {
    /// To this host.
    Host(HostName),
    /// Nowhere: it is recorded in ERROR with this fault.
    Nowhere(Fault),
}

/// A server to record.
#[derive(Debug, Clone)]
pub struct NewInstance {
    /// Identifier.
    pub id: InstanceId,
    /// Owner.
    pub project_id: ProjectId,
    /// Creator.
    pub user_id: UserId,
    /// Display name.
    pub name: String,
    /// Description.
    pub description: Option<String>,
    /// Host name of the guest.
    pub hostname: String,
    /// Image.
    pub image: Option<ImageSpec>,
    /// Flavor.
    pub flavor: FlavorSnapshot,
    /// Metadata.
    pub metadata: BTreeMap<String, String>,
    /// Tags.
    pub tags: Vec<String>,
    /// Key pair.
    pub key_name: Option<String>,
    /// Public keys by name.
    pub public_keys: BTreeMap<String, String>,
    /// User data, base64.
    pub user_data: Option<String>,
    /// Administrator password.
    pub admin_password: Option<Sealed>,
    /// Whether it gets a config drive.
    pub config_drive: bool,
    /// Availability zone.
    pub availability_zone: String,
    /// Host.
    pub placement: Placement,
    /// `r-xxxxxxxx`.
    pub reservation_id: String,
    /// Index within the request.
    pub launch_index: u32,
    /// Disk configuration.
    pub disk_config: DiskConfig,
    /// `accessIPv4`.
    pub access_ip_v4: Option<String>,
    /// `accessIPv6`.
    pub access_ip_v6: Option<String>,
}

/// What `PUT /servers/{id}`, the metadata and the tag calls change; `None` leaves as is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InstanceUpdate {
    /// Display name.
    pub name: Option<String>,
    /// Description; `Some(None)` removes it.
    pub description: Option<Option<String>>,
    /// Host name.
    pub hostname: Option<String>,
    /// Whole metadata.
    pub metadata: Option<BTreeMap<String, String>>,
    /// All tags.
    pub tags: Option<Vec<String>>,
    /// Disk configuration.
    pub disk_config: Option<DiskConfig>,
    /// `accessIPv4`; `Some(None)` removes it.
    pub access_ip_v4: Option<Option<String>>,
    /// `accessIPv6`; `Some(None)` removes it.
    pub access_ip_v6: Option<Option<String>>,
}

impl Store {
    /// Records new servers with their create operations and outbox rows, in one transaction.
    ///
    /// # Errors
    /// [`StoreError::Database`]; nothing was recorded then.
    pub async fn create_instances(
        &self,
        _new: Vec<NewInstance>,
        _by: &NewAction,
    ) -> Result<Vec<InstanceRecord>, StoreError> {
        Err(StoreError::BadQuery("unfinished".into()))
    }

    /// One server, also a deleted one (see [`InstanceRecord::deleted_at`]).
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Corrupt`].
    pub async fn instance(&self, _id: InstanceId) -> Result<Option<InstanceRecord>, StoreError> {
        Err(StoreError::BadQuery("unfinished".into()))
    }

    /// Changes what needs no compute host.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there is no such server or it is deleted.
    pub async fn update_instance(
        &self,
        _id: InstanceId,
        _change: InstanceUpdate,
    ) -> Result<InstanceRecord, StoreError> {
        Err(StoreError::BadQuery("unfinished".into()))
    }

    /// Locks or unlocks and records the instance action `lock` or `unlock`.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there is no such server or it is deleted.
    pub async fn set_lock(
        &self,
        _id: InstanceId,
        _lock: Lock,
        _reason: Option<String>,
        _by: &NewAction,
    ) -> Result<(), StoreError> {
        Err(StoreError::BadQuery("unfinished".into()))
    }

    /// Sets `vm_state` to ACTIVE or ERROR, ends whatever operation is active as cancelled, and
    /// records the instance action `resetState`.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there is no such server or it is deleted.
    pub async fn reset_state(
        &self,
        _id: InstanceId,
        _state: VmState,
        _by: &NewAction,
    ) -> Result<(), StoreError> {
        Err(StoreError::BadQuery("unfinished".into()))
    }
}
