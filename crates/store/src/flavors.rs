//! Flavors.

use std::collections::BTreeMap;

use reprieve_core::ProjectId;

use crate::record::FlavorRecord;
use crate::{Store, StoreError};

/// A flavor to record.
#[derive(Debug, Clone, PartialEq)]
pub struct NewFlavor {
    /// `id` in the API.
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
    /// Historical factor.
    pub rxtx_factor: f64,
    /// Whether every project may use it.
    pub is_public: bool,
    /// Description.
    pub description: Option<String>,
}

/// Which flavors.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FlavorQuery {
    /// Only those that this project may use; `None` = all.
    pub visible_to: Option<ProjectId>,
    /// Public, not public, or both.
    pub is_public: Option<bool>,
    /// At least so much memory, MiB.
    pub min_memory_mib: Option<u64>,
    /// At least so much root disk, GiB.
    pub min_root_gib: Option<u64>,
    /// Flavor id after which to begin.
    pub marker: Option<String>,
    /// At most so many; `None` = all.
    pub limit: Option<u32>,
}

impl Store {
    /// Records a flavor.
    ///
    /// # Errors
    /// [`StoreError::Exists`] with `what` = `flavor name` or `flavor id`.
    pub async fn create_flavor(&self, _new: NewFlavor) -> Result<FlavorRecord, StoreError> {
        Err(StoreError::BadQuery("unfinished".into()))
    }

    /// One flavor by its id.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Corrupt`].
    pub async fn flavor(&self, _flavor_id: &str) -> Result<Option<FlavorRecord>, StoreError> {
        Err(StoreError::BadQuery("unfinished".into()))
    }

    /// Flavors by id.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when the marker does not exist.
    pub async fn flavors(&self, _query: &FlavorQuery) -> Result<Vec<FlavorRecord>, StoreError> {
        Err(StoreError::BadQuery("unfinished".into()))
    }

    /// Changes the description.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn describe_flavor(
        &self,
        _flavor_id: &str,
        _description: Option<String>,
    ) -> Result<FlavorRecord, StoreError> {
        Err(StoreError::BadQuery("unfinished".into()))
    }

    /// Replaces the extra specs.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn set_flavor_specs(
        &self,
        _flavor_id: &str,
        _specs: BTreeMap<String, String>,
    ) -> Result<FlavorRecord, StoreError> {
        Err(StoreError::BadQuery("unfinished".into()))
    }

    /// Replaces the projects that may use it.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn set_flavor_access(
        &self,
        _flavor_id: &str,
        _projects: Vec<ProjectId>,
    ) -> Result<FlavorRecord, StoreError> {
        Err(StoreError::BadQuery("unfinished".into()))
    }

    /// Removes a flavor; servers keep their snapshot of it.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn delete_flavor(&self, _flavor_id: &str) -> Result<(), StoreError> {
        Err(StoreError::BadQuery("unfinished".into()))
    }
}
