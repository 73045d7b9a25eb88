//! Flavors.

use std::collections::BTreeMap;

use reprieve_core::ProjectId;
use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _,
};

use crate::convert::{flavor_record, to_i64, to_json};
use crate::entity::flavor;
use crate::record::FlavorRecord;
use crate::{Store, StoreError, WriteTx, pattern};

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
    /// Regular expression that is found in the name.
    pub name: Option<String>,
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
    pub async fn create_flavor(&self, new: NewFlavor) -> Result<FlavorRecord, StoreError> {
        let tx = self.begin().await?;
        let taken = flavor::Entity::find()
            .filter(flavor::Column::Name.eq(new.name.as_str()))
            .one(&*tx)
            .await
            .map_err(StoreError::db("look for a flavor of that name"))?;
        if taken.is_some() {
            return Err(StoreError::Exists { what: "flavor name", id: new.name });
        }
        if find(&*tx, &new.flavor_id).await?.is_some() {
            return Err(StoreError::Exists { what: "flavor id", id: new.flavor_id });
        }
        let row = flavor::Model {
            vcpus: i64::from(new.vcpus),
            memory_mib: to_i64(new.memory_mib),
            root_gib: to_i64(new.root_gib),
            ephemeral_gib: to_i64(new.ephemeral_gib),
            swap_mib: to_i64(new.swap_mib),
            rxtx_factor: new.rxtx_factor,
            is_public: new.is_public,
            description: new.description,
            extra_specs: "{}".to_owned(),
            access: "[]".to_owned(),
            created_at: self.now().micros(),
            updated_at: None,
            name: new.name,
            flavor_id: new.flavor_id,
        };
        insert(&tx, row.clone()).await?;
        tx.commit().await?;
        flavor_record(row)
    }

    /// One flavor by its id.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Corrupt`].
    pub async fn flavor(&self, flavor_id: &str) -> Result<Option<FlavorRecord>, StoreError> {
        find(self.reader(), flavor_id).await?.map(flavor_record).transpose()
    }

    /// Flavors by id.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when the marker does not exist, [`StoreError::BadQuery`] when the
    /// regular expression is unusable.
    pub async fn flavors(&self, query: &FlavorQuery) -> Result<Vec<FlavorRecord>, StoreError> {
        let name = query.name.as_deref().map(pattern::compile).transpose()?;
        let mut select = flavor::Entity::find().order_by_asc(flavor::Column::FlavorId);
        if let Some(marker) = &query.marker {
            if find(self.reader(), marker).await?.is_none() {
                return Err(StoreError::NotFound { what: "flavor", id: marker.clone() });
            }
            select = select.filter(flavor::Column::FlavorId.gt(marker.as_str()));
        }
        if let Some(is_public) = query.is_public {
            select = select.filter(flavor::Column::IsPublic.eq(is_public));
        }
        if let Some(memory) = query.min_memory_mib {
            select = select.filter(flavor::Column::MemoryMib.gte(to_i64(memory)));
        }
        if let Some(root) = query.min_root_gib {
            select = select.filter(flavor::Column::RootGib.gte(to_i64(root)));
        }
        let rows = select.all(self.reader()).await.map_err(StoreError::db("list the flavors"))?;
        // There are few flavors; who may use them is a list in the row. A row that cannot be read
        // stays, so that it becomes the error.
        let limit = query.limit.map_or(usize::MAX, |limit| limit as usize);
        rows.into_iter()
            .map(flavor_record)
            .filter(|flavor| {
                flavor.as_ref().map_or(true, |flavor| {
                    query.visible_to.as_ref().is_none_or(|project| flavor.visible_to(project))
                        && name.as_ref().is_none_or(|name| name.is_match(&flavor.name))
                })
            })
            .take(limit)
            .collect()
    }

    /// Changes the description.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn describe_flavor(
        &self,
        flavor_id: &str,
        description: Option<String>,
    ) -> Result<FlavorRecord, StoreError> {
        self.set_flavor(flavor_id, flavor::Column::Description, Expr::value(description)).await
    }

    /// Replaces the extra specs.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn set_flavor_specs(
        &self,
        flavor_id: &str,
        specs: BTreeMap<String, String>,
    ) -> Result<FlavorRecord, StoreError> {
        let specs = Expr::value(to_json(&specs)?);
        self.set_flavor(flavor_id, flavor::Column::ExtraSpecs, specs).await
    }

    /// Replaces the projects that may use it.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn set_flavor_access(
        &self,
        flavor_id: &str,
        projects: Vec<ProjectId>,
    ) -> Result<FlavorRecord, StoreError> {
        let projects = Expr::value(to_json(&projects)?);
        self.set_flavor(flavor_id, flavor::Column::Access, projects).await
    }

    async fn set_flavor(
        &self,
        flavor_id: &str,
        column: flavor::Column,
        value: Expr,
    ) -> Result<FlavorRecord, StoreError> {
        let tx = self.begin().await?;
        flavor::Entity::update_many()
            .col_expr(column, value)
            .col_expr(flavor::Column::UpdatedAt, Expr::value(self.now().micros()))
            .filter(flavor::Column::FlavorId.eq(flavor_id))
            .exec(&*tx)
            .await
            .map_err(StoreError::db("change a flavor"))?;
        let row = find(&*tx, flavor_id).await?.ok_or_else(|| missing(flavor_id))?;
        tx.commit().await?;
        flavor_record(row)
    }

    /// Removes a flavor; servers keep their snapshot of it.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn delete_flavor(&self, flavor_id: &str) -> Result<(), StoreError> {
        let tx = self.begin().await?;
        let gone = flavor::Entity::delete_many()
            .filter(flavor::Column::FlavorId.eq(flavor_id))
            .exec(&*tx)
            .await
            .map_err(StoreError::db("remove a flavor"))?;
        if gone.rows_affected == 0 {
            return Err(missing(flavor_id));
        }
        tx.commit().await
    }
}

fn missing(flavor_id: &str) -> StoreError {
    StoreError::NotFound { what: "flavor", id: flavor_id.to_owned() }
}

async fn find<C: sea_orm::ConnectionTrait>(
    connection: &C,
    flavor_id: &str,
) -> Result<Option<flavor::Model>, StoreError> {
    flavor::Entity::find_by_id(flavor_id.to_owned())
        .one(connection)
        .await
        .map_err(StoreError::db("read a flavor"))
}

async fn insert(tx: &WriteTx, row: flavor::Model) -> Result<(), StoreError> {
    let active = flavor::ActiveModel {
        flavor_id: Set(row.flavor_id),
        name: Set(row.name),
        vcpus: Set(row.vcpus),
        memory_mib: Set(row.memory_mib),
        root_gib: Set(row.root_gib),
        ephemeral_gib: Set(row.ephemeral_gib),
        swap_mib: Set(row.swap_mib),
        rxtx_factor: Set(row.rxtx_factor),
        is_public: Set(row.is_public),
        description: Set(row.description),
        extra_specs: Set(row.extra_specs),
        access: Set(row.access),
        created_at: Set(row.created_at),
        updated_at: Set(row.updated_at),
    };
    flavor::Entity::insert(active)
        .exec_without_returning(&**tx)
        .await
        .map_err(StoreError::db("record a flavor"))?;
    Ok(())
}
