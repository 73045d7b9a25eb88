//! Services, endpoints and regions that were registered besides the daemon's own.

use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, EntityTrait as _, PaginatorTrait as _, QueryFilter as _,
    QueryOrder as _,
};

use super::entity::{endpoint, region, service};
use super::{EndpointRecord, RegionRecord, ServiceRecord, not_found, taken};
use crate::{Store, StoreError};

impl Store {
    /// All services, by type and id.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn services(&self) -> Result<Vec<ServiceRecord>, StoreError> {
        let query = service::Entity::find()
            .order_by_asc(service::Column::Kind)
            .order_by_asc(service::Column::Id);
        let rows = query.all(self.reader()).await.map_err(StoreError::db("list services"))?;
        Ok(rows.into_iter().map(ServiceRecord::from).collect())
    }

    /// Records a service.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when the id is taken.
    pub async fn create_service(&self, service: ServiceRecord) -> Result<(), StoreError> {
        let tx = self.begin().await?;
        let id = service.id.clone();
        let done = service::Entity::insert(service::ActiveModel::from(service))
            .exec_without_returning(&*tx)
            .await;
        done.map_err(taken("create a service", "service", &id))?;
        tx.commit().await
    }

    /// Overwrites a service.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn update_service(&self, service: ServiceRecord) -> Result<(), StoreError> {
        let tx = self.begin().await?;
        let id = service.id.clone();
        let done = service::Entity::update_many()
            .set(service::ActiveModel::from(service))
            .filter(service::Column::Id.eq(id.as_str()))
            .exec(&*tx)
            .await
            .map_err(StoreError::db("update a service"))?;
        if done.rows_affected == 0 {
            return Err(not_found("service", &id));
        }
        tx.commit().await
    }

    /// Removes a service with its endpoints.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn delete_service(&self, id: &str) -> Result<(), StoreError> {
        let tx = self.begin().await?;
        let done = service::Entity::delete_by_id(id).exec(&*tx).await;
        if done.map_err(StoreError::db("delete a service"))?.rows_affected == 0 {
            return Err(not_found("service", id));
        }
        endpoint::Entity::delete_many()
            .filter(endpoint::Column::ServiceId.eq(id))
            .exec(&*tx)
            .await
            .map_err(StoreError::db("delete a service's endpoints"))?;
        tx.commit().await
    }

    /// All endpoints, by service and id.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn endpoints(&self) -> Result<Vec<EndpointRecord>, StoreError> {
        let query = endpoint::Entity::find()
            .order_by_asc(endpoint::Column::ServiceId)
            .order_by_asc(endpoint::Column::Id);
        let rows = query.all(self.reader()).await.map_err(StoreError::db("list endpoints"))?;
        Ok(rows.into_iter().map(EndpointRecord::from).collect())
    }

    /// Records an endpoint.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when the id is taken.
    pub async fn create_endpoint(&self, endpoint: EndpointRecord) -> Result<(), StoreError> {
        let tx = self.begin().await?;
        let id = endpoint.id.clone();
        let done = endpoint::Entity::insert(endpoint::ActiveModel::from(endpoint))
            .exec_without_returning(&*tx)
            .await;
        done.map_err(taken("create an endpoint", "endpoint", &id))?;
        tx.commit().await
    }

    /// Overwrites an endpoint.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn update_endpoint(&self, endpoint: EndpointRecord) -> Result<(), StoreError> {
        let tx = self.begin().await?;
        let id = endpoint.id.clone();
        let done = endpoint::Entity::update_many()
            .set(endpoint::ActiveModel::from(endpoint))
            .filter(endpoint::Column::Id.eq(id.as_str()))
            .exec(&*tx)
            .await
            .map_err(StoreError::db("update an endpoint"))?;
        if done.rows_affected == 0 {
            return Err(not_found("endpoint", &id));
        }
        tx.commit().await
    }

    /// Removes an endpoint.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn delete_endpoint(&self, id: &str) -> Result<(), StoreError> {
        let tx = self.begin().await?;
        let done = endpoint::Entity::delete_by_id(id).exec(&*tx).await;
        if done.map_err(StoreError::db("delete an endpoint"))?.rows_affected == 0 {
            return Err(not_found("endpoint", id));
        }
        tx.commit().await
    }

    /// All regions, by id.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn regions(&self) -> Result<Vec<RegionRecord>, StoreError> {
        let query = region::Entity::find().order_by_asc(region::Column::Id);
        let rows = query.all(self.reader()).await.map_err(StoreError::db("list regions"))?;
        Ok(rows.into_iter().map(RegionRecord::from).collect())
    }

    /// Records a region.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when the id is taken.
    pub async fn create_region(&self, region: RegionRecord) -> Result<(), StoreError> {
        let tx = self.begin().await?;
        let id = region.id.clone();
        let done = region::Entity::insert(region::ActiveModel::from(region))
            .exec_without_returning(&*tx)
            .await;
        done.map_err(taken("create a region", "region", &id))?;
        tx.commit().await
    }

    /// Overwrites a region.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn update_region(&self, region: RegionRecord) -> Result<(), StoreError> {
        let tx = self.begin().await?;
        let id = region.id.clone();
        let done = region::Entity::update_many()
            .set(region::ActiveModel::from(region))
            .filter(region::Column::Id.eq(id.as_str()))
            .exec(&*tx)
            .await
            .map_err(StoreError::db("update a region"))?;
        if done.rows_affected == 0 {
            return Err(not_found("region", &id));
        }
        tx.commit().await
    }

    /// Removes a region; `false` when endpoints or other regions are in it.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn delete_region(&self, id: &str) -> Result<bool, StoreError> {
        let tx = self.begin().await?;
        let endpoints = endpoint::Entity::find().filter(endpoint::Column::RegionId.eq(id));
        let children = region::Entity::find().filter(region::Column::ParentRegionId.eq(id));
        let used = endpoints.count(&*tx).await.map_err(StoreError::db("count endpoints"))?
            + children.count(&*tx).await.map_err(StoreError::db("count regions"))?;
        if used > 0 {
            return Ok(false);
        }
        let done = region::Entity::delete_by_id(id).exec(&*tx).await;
        if done.map_err(StoreError::db("delete a region"))?.rows_affected == 0 {
            return Err(not_found("region", id));
        }
        tx.commit().await?;
        Ok(true)
    }
}

impl From<service::Model> for ServiceRecord {
    fn from(row: service::Model) -> Self {
        let service::Model { id, kind, name, description, enabled } = row;
        Self { id, kind, name, description, enabled }
    }
}

impl From<ServiceRecord> for service::ActiveModel {
    fn from(record: ServiceRecord) -> Self {
        Self {
            id: Set(record.id),
            kind: Set(record.kind),
            name: Set(record.name),
            description: Set(record.description),
            enabled: Set(record.enabled),
        }
    }
}

impl From<endpoint::Model> for EndpointRecord {
    fn from(row: endpoint::Model) -> Self {
        let endpoint::Model { id, service_id, interface, region_id, url, enabled } = row;
        Self { id, service: service_id, interface, region: region_id, url, enabled }
    }
}

impl From<EndpointRecord> for endpoint::ActiveModel {
    fn from(record: EndpointRecord) -> Self {
        Self {
            id: Set(record.id),
            service_id: Set(record.service),
            interface: Set(record.interface),
            region_id: Set(record.region),
            url: Set(record.url),
            enabled: Set(record.enabled),
        }
    }
}

impl From<region::Model> for RegionRecord {
    fn from(row: region::Model) -> Self {
        Self { id: row.id, description: row.description, parent: row.parent_region_id }
    }
}

impl From<RegionRecord> for region::ActiveModel {
    fn from(record: RegionRecord) -> Self {
        Self {
            id: Set(record.id),
            description: Set(record.description),
            parent_region_id: Set(record.parent),
        }
    }
}
