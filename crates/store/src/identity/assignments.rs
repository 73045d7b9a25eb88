//! Who has which role where.

use reprieve_core::{ProjectId, UserId};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, ConnectionTrait, EntityTrait as _, FromQueryResult,
    QueryFilter as _, SqlErr, Value,
};

use super::entity::{assignment, project};
use super::{AssignmentFilter, AssignmentRecord, ProjectRecord, credentials, not_found};
use crate::db::statement;
use crate::{Store, StoreError};

#[derive(FromQueryResult)]
struct Row {
    user_id: String,
    user_name: String,
    project_id: String,
    project_name: String,
    role_id: String,
    role_name: String,
}

impl Store {
    /// Gives a user a role in a project; giving it twice is no error.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when user, project or role does not exist.
    pub async fn assign_role(
        &self,
        user: &UserId,
        project: &ProjectId,
        role: &str,
    ) -> Result<(), StoreError> {
        let tx = self.begin().await?;
        insert(&*tx, user, project, role).await?;
        tx.commit().await
    }

    /// Takes a role away, and with it the user's application credentials in the project, as in
    /// Keystone: whoever gets the role again later does not get old credentials back.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when the user does not have it.
    pub async fn unassign_role(
        &self,
        user: &UserId,
        project: &ProjectId,
        role: &str,
    ) -> Result<(), StoreError> {
        let tx = self.begin().await?;
        let done = assignment::Entity::delete_many()
            .filter(assignment::Column::UserId.eq(user.as_str()))
            .filter(assignment::Column::ProjectId.eq(project.as_str()))
            .filter(assignment::Column::RoleId.eq(role))
            .exec(&*tx)
            .await
            .map_err(StoreError::db("take a role away"))?;
        if done.rows_affected == 0 {
            return Err(not_found("role assignment", role));
        }
        credentials::end_of_assignment(&*tx, user, project).await?;
        tx.commit().await
    }

    /// Assignments with names, by user, project and role name.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn assignments(
        &self,
        filter: &AssignmentFilter,
    ) -> Result<Vec<AssignmentRecord>, StoreError> {
        let mut sql = String::from(
            "SELECT a.user_id AS user_id, u.name AS user_name, a.project_id AS project_id, \
             p.name AS project_name, a.role_id AS role_id, r.name AS role_name \
             FROM identity_assignments a \
             JOIN identity_users u ON u.id = a.user_id \
             JOIN identity_projects p ON p.id = a.project_id \
             JOIN identity_roles r ON r.id = a.role_id WHERE 1 = 1",
        );
        let mut values: Vec<Value> = Vec::new();
        let wanted = [
            (" AND a.user_id = $", filter.user.as_ref().map(UserId::as_str)),
            (" AND a.project_id = $", filter.project.as_ref().map(ProjectId::as_str)),
            (" AND a.role_id = $", filter.role.as_deref()),
        ];
        for (condition, value) in wanted {
            if let Some(value) = value {
                values.push(value.into());
                sql.push_str(condition);
                sql.push_str(&values.len().to_string());
            }
        }
        sql.push_str(" ORDER BY u.name, p.name, r.name");
        let db = self.reader();
        let statement = statement(db, &sql, values);
        let rows = Row::find_by_statement(statement).all(db).await;
        let rows = rows.map_err(StoreError::db("list role assignments"))?;
        Ok(rows.into_iter().map(AssignmentRecord::from).collect())
    }

    /// Enabled projects in which a user has a role, by name.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn projects_of_user(&self, user: &UserId) -> Result<Vec<ProjectRecord>, StoreError> {
        let db = self.reader();
        let statement = statement(
            db,
            "SELECT DISTINCT p.id, p.name, p.enabled, p.description, p.created_at \
             FROM identity_projects p JOIN identity_assignments a ON a.project_id = p.id \
             WHERE a.user_id = $1 ORDER BY p.name",
            [user.as_str().into()],
        );
        let rows = project::Model::find_by_statement(statement).all(db).await;
        let rows = rows.map_err(StoreError::db("list a user's projects"))?;
        Ok(rows.into_iter().map(ProjectRecord::from).collect())
    }
}

pub(super) async fn insert(
    tx: &impl ConnectionTrait,
    user: &UserId,
    project: &ProjectId,
    role: &str,
) -> Result<(), StoreError> {
    let model = assignment::ActiveModel {
        user_id: Set(user.to_string()),
        project_id: Set(project.to_string()),
        role_id: Set(role.to_owned()),
    };
    match assignment::Entity::insert(model).exec_without_returning(tx).await {
        Ok(_) => Ok(()),
        Err(error) => match error.sql_err() {
            Some(SqlErr::UniqueConstraintViolation(_)) => Ok(()),
            Some(SqlErr::ForeignKeyConstraintViolation(_)) => {
                Err(not_found("user, project or role of the assignment", role))
            }
            _ => Err(StoreError::db("give a role")(error)),
        },
    }
}

impl From<Row> for AssignmentRecord {
    fn from(row: Row) -> Self {
        Self {
            user: row.user_id.into(),
            user_name: row.user_name,
            project: row.project_id.into(),
            project_name: row.project_name,
            role: row.role_id,
            role_name: row.role_name,
        }
    }
}
