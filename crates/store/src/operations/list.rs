//! Listing operations across servers.

use reprieve_core::{InstanceId, OperationId, ProjectId};
use sea_orm::sea_query::JoinType;
use sea_orm::{
    ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _,
};

use crate::convert::operation_record;
use crate::entity::instance;
use crate::entity::operation::{self, Column};
use crate::record::{OperationRecord, OperationState};
use crate::{Store, StoreError};

/// Which operations to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OperationQuery {
    /// On servers of this project.
    pub project: Option<ProjectId>,
    /// On this server.
    pub instance: Option<InstanceId>,
    /// In one of these states; any when empty.
    pub states: Vec<OperationState>,
    /// Of this name, as in instance actions.
    pub action: Option<String>,
    /// Older than this one.
    pub marker: Option<OperationId>,
    /// At most so many.
    pub limit: u64,
}

impl Store {
    /// Operations, newest first; also those on deleted servers.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Corrupt`].
    pub async fn operations(
        &self,
        query: &OperationQuery,
    ) -> Result<Vec<OperationRecord>, StoreError> {
        // Ids begin with the time, so they are the order.
        let mut select = operation::Entity::find().order_by_desc(Column::Id).limit(query.limit);
        if let Some(project) = &query.project {
            let servers = operation::Entity::belongs_to(instance::Entity)
                .from(Column::InstanceId)
                .to(instance::Column::Id)
                .into();
            select = select
                .join(JoinType::InnerJoin, servers)
                .filter(instance::Column::ProjectId.eq(project.as_str()));
        }
        if let Some(id) = query.instance {
            select = select.filter(Column::InstanceId.eq(id.to_string()));
        }
        if !query.states.is_empty() {
            let states = query.states.iter().map(|state| state.as_str());
            select = select.filter(Column::State.is_in(states));
        }
        if let Some(action) = &query.action {
            select = select.filter(Column::Action.eq(action.as_str()));
        }
        if let Some(marker) = query.marker {
            select = select.filter(Column::Id.lt(marker.to_string()));
        }
        let rows = select.all(self.reader()).await;
        let rows = rows.map_err(StoreError::db("list operations"))?;
        rows.into_iter().map(operation_record).collect()
    }
}
