//! Services, endpoints and regions that an administrator registers, besides the daemon's own.
//!
//! The daemon's own services, their endpoints and the region of its settings are facts: they are in
//! every catalog, are never stored, and cannot be changed or deleted.

use reprieve_core::ids::hex_id;
use reprieve_store::identity::{EndpointRecord, RegionRecord, ServiceRecord};

use super::catalog::{INTERFACES, SERVICES};
use super::manage::missing;
use super::{ManageError, Manager};

/// Most registered services, endpoints or regions: bounds every catalog and so every token.
const MAX_REGISTERED: usize = 500;

/// What of a service shall change; `None` leaves it.
#[derive(Debug, Clone, Default)]
pub struct ServiceChange {
    /// Type.
    pub kind: Option<String>,
    /// Name, or none.
    pub name: Option<Option<String>>,
    /// Free text, or none.
    pub description: Option<Option<String>>,
    /// Whether the catalog has it.
    pub enabled: Option<bool>,
}

/// What of an endpoint shall change; `None` leaves it.
#[derive(Debug, Clone, Default)]
pub struct EndpointChange {
    /// Service.
    pub service: Option<String>,
    /// Interface.
    pub interface: Option<String>,
    /// Region, or none.
    pub region: Option<Option<String>>,
    /// URL.
    pub url: Option<String>,
    /// Whether the catalog has it.
    pub enabled: Option<bool>,
}

/// What of a region shall change; `None` leaves it.
#[derive(Debug, Clone, Default)]
pub struct RegionChange {
    /// Free text.
    pub description: Option<String>,
    /// Region it is part of, or none.
    pub parent: Option<Option<String>>,
}

type Result<T> = std::result::Result<T, ManageError>;

impl Manager<'_> {
    /// Registered services.
    ///
    /// # Errors
    /// [`ManageError::Store`].
    pub async fn services(&self) -> Result<Vec<ServiceRecord>> {
        Ok(self.control.store.services().await?)
    }

    /// Registers a service.
    ///
    /// # Errors
    /// [`ManageError::Forbidden`], [`ManageError::Refused`] when there are too many.
    pub async fn create_service(
        &self,
        kind: String,
        change: ServiceChange,
    ) -> Result<ServiceRecord> {
        self.require_admin("identity:create_service")?;
        bounded("services", self.services().await?.len())?;
        let service = ServiceRecord {
            id: hex_id(),
            kind,
            name: change.name.flatten(),
            description: change.description.flatten(),
            enabled: change.enabled.unwrap_or(true),
        };
        self.control.store.create_service(service.clone()).await?;
        Ok(service)
    }

    /// Changes a registered service.
    ///
    /// # Errors
    /// [`ManageError::NotFound`], [`ManageError::Refused`] for the daemon's own,
    /// [`ManageError::Forbidden`].
    pub async fn update_service(&self, id: &str, change: ServiceChange) -> Result<ServiceRecord> {
        self.require_admin("identity:update_service")?;
        let mut service = self.registered_service(id).await?;
        service.kind = change.kind.unwrap_or(service.kind);
        service.name = change.name.unwrap_or(service.name);
        service.description = change.description.unwrap_or(service.description);
        service.enabled = change.enabled.unwrap_or(service.enabled);
        self.control.store.update_service(service.clone()).await?;
        Ok(service)
    }

    /// Removes a registered service with its endpoints.
    ///
    /// # Errors
    /// [`ManageError::NotFound`], [`ManageError::Refused`] for the daemon's own,
    /// [`ManageError::Forbidden`].
    pub async fn delete_service(&self, id: &str) -> Result<()> {
        self.require_admin("identity:delete_service")?;
        self.registered_service(id).await?;
        Ok(self.control.store.delete_service(id).await?)
    }

    async fn registered_service(&self, id: &str) -> Result<ServiceRecord> {
        if is_own_service(id) {
            return Err(own("service", id));
        }
        let found = self.services().await?.into_iter().find(|service| service.id == id);
        found.ok_or_else(|| missing("service", id))
    }

    /// Registered endpoints.
    ///
    /// # Errors
    /// [`ManageError::Store`].
    pub async fn endpoints(&self) -> Result<Vec<EndpointRecord>> {
        Ok(self.control.store.endpoints().await?)
    }

    /// Registers an endpoint of a service, registered or the daemon's own.
    ///
    /// # Errors
    /// [`ManageError::Invalid`] when the service or region does not exist,
    /// [`ManageError::Forbidden`], [`ManageError::Refused`] when there are too many.
    pub async fn create_endpoint(&self, endpoint: EndpointRecord) -> Result<EndpointRecord> {
        self.require_admin("identity:create_endpoint")?;
        bounded("endpoints", self.endpoints().await?.len())?;
        let endpoint = EndpointRecord { id: hex_id(), ..endpoint };
        self.check_endpoint(&endpoint).await?;
        self.control.store.create_endpoint(endpoint.clone()).await?;
        Ok(endpoint)
    }

    /// Changes a registered endpoint.
    ///
    /// # Errors
    /// [`ManageError::NotFound`], [`ManageError::Refused`] for the daemon's own,
    /// [`ManageError::Invalid`] when the service or region does not exist,
    /// [`ManageError::Forbidden`].
    pub async fn update_endpoint(
        &self,
        id: &str,
        change: EndpointChange,
    ) -> Result<EndpointRecord> {
        self.require_admin("identity:update_endpoint")?;
        let mut endpoint = self.registered_endpoint(id).await?;
        endpoint.service = change.service.unwrap_or(endpoint.service);
        endpoint.interface = change.interface.unwrap_or(endpoint.interface);
        endpoint.region = change.region.unwrap_or(endpoint.region);
        endpoint.url = change.url.unwrap_or(endpoint.url);
        endpoint.enabled = change.enabled.unwrap_or(endpoint.enabled);
        self.check_endpoint(&endpoint).await?;
        self.control.store.update_endpoint(endpoint.clone()).await?;
        Ok(endpoint)
    }

    /// Removes a registered endpoint.
    ///
    /// # Errors
    /// [`ManageError::NotFound`], [`ManageError::Refused`] for the daemon's own,
    /// [`ManageError::Forbidden`].
    pub async fn delete_endpoint(&self, id: &str) -> Result<()> {
        self.require_admin("identity:delete_endpoint")?;
        self.registered_endpoint(id).await?;
        Ok(self.control.store.delete_endpoint(id).await?)
    }

    async fn registered_endpoint(&self, id: &str) -> Result<EndpointRecord> {
        if SERVICES
            .iter()
            .any(|service| INTERFACES.iter().any(|one| service.endpoint_id(one) == id))
        {
            return Err(own("endpoint", id));
        }
        let found = self.endpoints().await?.into_iter().find(|endpoint| endpoint.id == id);
        found.ok_or_else(|| missing("endpoint", id))
    }

    async fn check_endpoint(&self, endpoint: &EndpointRecord) -> Result<()> {
        let service = &endpoint.service;
        let known = is_own_service(service)
            || self.services().await?.iter().any(|registered| registered.id == *service);
        if !known {
            return Err(ManageError::Invalid(format!("Could not find service: {service}.")));
        }
        match &endpoint.region {
            Some(region) => self.check_region(region).await,
            None => Ok(()),
        }
    }

    /// Registered regions.
    ///
    /// # Errors
    /// [`ManageError::Store`].
    pub async fn regions(&self) -> Result<Vec<RegionRecord>> {
        Ok(self.control.store.regions().await?)
    }

    /// Registers a region; without an id it gets one.
    ///
    /// # Errors
    /// [`ManageError::Duplicate`], [`ManageError::Invalid`] when its parent does not exist,
    /// [`ManageError::Forbidden`], [`ManageError::Refused`] when there are too many.
    pub async fn create_region(
        &self,
        id: Option<String>,
        change: RegionChange,
    ) -> Result<RegionRecord> {
        self.require_admin("identity:create_region")?;
        bounded("regions", self.regions().await?.len())?;
        let region = RegionRecord {
            id: id.unwrap_or_else(hex_id),
            description: change.description.unwrap_or_default(),
            parent: change.parent.flatten(),
        };
        if region.id == self.control.settings.region {
            return Err(ManageError::Duplicate { what: "region", name: region.id });
        }
        if let Some(parent) = &region.parent {
            self.check_region(parent).await?;
        }
        self.control.store.create_region(region.clone()).await?;
        Ok(region)
    }

    /// Changes a registered region.
    ///
    /// # Errors
    /// [`ManageError::NotFound`], [`ManageError::Refused`] for the daemon's own,
    /// [`ManageError::Invalid`] when its parent does not exist or is itself or within it,
    /// [`ManageError::Forbidden`].
    pub async fn update_region(&self, id: &str, change: RegionChange) -> Result<RegionRecord> {
        self.require_admin("identity:update_region")?;
        let mut region = self.registered_region(id).await?;
        region.description = change.description.unwrap_or(region.description);
        region.parent = change.parent.unwrap_or(region.parent);
        if let Some(parent) = &region.parent {
            self.check_region(parent).await?;
            self.check_not_within(id, parent).await?;
        }
        self.control.store.update_region(region.clone()).await?;
        Ok(region)
    }

    /// Removes a registered region that nothing is in.
    ///
    /// # Errors
    /// [`ManageError::NotFound`], [`ManageError::Refused`] for the daemon's own or a used one,
    /// [`ManageError::Forbidden`].
    pub async fn delete_region(&self, id: &str) -> Result<()> {
        self.require_admin("identity:delete_region")?;
        self.registered_region(id).await?;
        if self.control.store.delete_region(id).await? {
            return Ok(());
        }
        Err(ManageError::Refused(format!(
            "Unable to delete region {id} because it or its child regions have associated endpoints."
        )))
    }

    async fn registered_region(&self, id: &str) -> Result<RegionRecord> {
        if id == self.control.settings.region {
            return Err(own("region", id));
        }
        let found = self.regions().await?.into_iter().find(|region| region.id == id);
        found.ok_or_else(|| missing("region", id))
    }

    async fn check_region(&self, id: &str) -> Result<()> {
        let known = id == self.control.settings.region
            || self.regions().await?.iter().any(|region| region.id == id);
        if known {
            return Ok(());
        }
        Err(ManageError::Invalid(format!("Could not find region: {id}.")))
    }

    async fn check_not_within(&self, id: &str, parent: &str) -> Result<()> {
        let regions = self.regions().await?;
        let mut above = Some(parent);
        // No way up is longer than there are regions.
        for _ in 0..=regions.len() {
            let Some(current) = above else { return Ok(()) };
            if current == id {
                break;
            }
            let region = regions.iter().find(|region| region.id == current);
            above = region.and_then(|region| region.parent.as_deref());
        }
        Err(ManageError::Invalid(format!("Region {id} cannot be within itself.")))
    }
}

fn is_own_service(id: &str) -> bool {
    SERVICES.iter().any(|service| service.id() == id)
}

fn own(what: &str, id: &str) -> ManageError {
    ManageError::Refused(format!(
        "The {what} {id} is this daemon's own: it cannot be changed or deleted."
    ))
}

fn bounded(what: &str, present: usize) -> Result<()> {
    if present < MAX_REGISTERED {
        return Ok(());
    }
    Err(ManageError::Refused(format!("At most {MAX_REGISTERED} {what} can be registered.")))
}
