//! Which servers there were in a period, for reports of what projects used.

use reprieve_core::{InstanceId, ProjectId, Timestamp};
use sea_orm::{
    ColumnTrait as _, Condition, EntityTrait as _, QueryFilter as _, QueryOrder as _,
    QuerySelect as _,
};

use crate::convert::instance_record;
use crate::entity::instance::{self, Column};
use crate::record::InstanceRecord;
use crate::{Store, StoreError};

/// Servers of a period.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageQuery {
    /// Begin.
    pub begin: Timestamp,
    /// End.
    pub end: Timestamp,
    /// Of this project; `None` = of all.
    pub project_id: Option<ProjectId>,
    /// Server after which to begin.
    pub marker: Option<InstanceId>,
    /// At most so many.
    pub limit: u64,
}

impl Store {
    /// Servers that were there at some time of the period, also deleted ones, by project and id.
    /// Those that never ran are not among them.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when the marker does not exist.
    pub async fn servers_in_period(
        &self,
        query: &UsageQuery,
    ) -> Result<Vec<InstanceRecord>, StoreError> {
        let still_there = Condition::any()
            .add(Column::TerminatedAt.is_null())
            .add(Column::TerminatedAt.gt(query.begin.micros()));
        let mut select = instance::Entity::find()
            .filter(Column::LaunchedAt.lt(query.end.micros()))
            .filter(still_there)
            .order_by_asc(Column::ProjectId)
            .order_by_asc(Column::Id)
            .limit(query.limit);
        if let Some(project) = &query.project_id {
            select = select.filter(Column::ProjectId.eq(project.as_str()));
        }
        if let Some(marker) = query.marker {
            let last = crate::instances::find(self.reader(), marker).await?;
            let last = last
                .ok_or_else(|| StoreError::NotFound { what: "server", id: marker.to_string() })?;
            let project = last.project_id.as_str();
            let same = Condition::all()
                .add(Column::ProjectId.eq(project))
                .add(Column::Id.gt(marker.to_string()));
            let later = Condition::any().add(Column::ProjectId.gt(project)).add(same);
            select = select.filter(later);
        }
        let rows = select
            .all(self.reader())
            .await
            .map_err(StoreError::db("list the servers of a period"))?;
        rows.into_iter().map(instance_record).collect()
    }
}
