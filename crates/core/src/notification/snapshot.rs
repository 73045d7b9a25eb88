//! What of a server goes into notifications. Stored as JSON, so fields may be added but not changed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::{HostName, ImageId, InstanceId, ProjectId, UserId};
use crate::state::{PowerState, TaskState, VmState};
use crate::time::Timestamp;

/// A server as it was committed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Identifier.
    pub id: InstanceId,
    /// Number in `instance-%08x`.
    pub number: u32,
    /// Owner.
    pub project_id: ProjectId,
    /// Creator.
    pub user_id: UserId,
    /// `r-xxxxxxxx`.
    pub reservation_id: String,
    /// Description.
    pub description: Option<String>,
    /// Host name of the guest.
    pub hostname: String,
    /// Host.
    pub host: Option<HostName>,
    /// Availability zone.
    pub availability_zone: String,
    /// Flavor.
    pub flavor: FlavorFacts,
    /// Image.
    pub image_id: Option<ImageId>,
    /// Key pair.
    pub key_name: Option<String>,
    /// Its public key; told when the server is created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
    /// Metadata.
    pub metadata: BTreeMap<String, String>,
    /// Tags.
    pub tags: Vec<String>,
    /// Whether it is locked.
    pub locked: bool,
    /// Reason given for the lock.
    pub locked_reason: Option<String>,
    /// `AUTO` or `MANUAL`.
    pub auto_disk_config: String,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it was deleted.
    pub terminated_at: Option<Timestamp>,
    /// Set when it is gone.
    pub deleted_at: Option<Timestamp>,
    /// What changes.
    pub state: State,
}

impl Snapshot {
    /// The same server in the state it was in before.
    pub(super) fn with(&self, state: &State) -> Self {
        Self { state: state.clone(), terminated_at: None, deleted_at: None, ..self.clone() }
    }
}

/// What of a server changes with operations, and its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Display name.
    pub name: String,
    /// Stable state.
    pub vm_state: VmState,
    /// What is being done to it.
    pub task_state: Option<TaskState>,
    /// Power state as last seen.
    pub power_state: PowerState,
    /// Percent of the running operation.
    pub progress: u8,
    /// When the guest first ran.
    pub launched_at: Option<Timestamp>,
    /// Last change of the row.
    pub updated_at: Timestamp,
}

/// The flavor as it was when the server was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlavorFacts {
    /// `id` of the flavor in the API.
    pub flavor_id: String,
    /// Name.
    pub name: String,
    /// Virtual CPUs.
    pub vcpus: u32,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Root disk in GiB.
    pub root_gib: u64,
    /// Ephemeral disk in GiB.
    pub ephemeral_gib: u64,
    /// Swap in MiB.
    pub swap_mib: u64,
    /// Extra specs.
    pub extra_specs: BTreeMap<String, String>,
}
