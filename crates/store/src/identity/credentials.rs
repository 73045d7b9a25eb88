//! Application credentials: what a program logs in with instead of a user's password.

use std::collections::HashMap;

use reprieve_core::{ProjectId, Timestamp, UserId};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, ConnectionTrait, EntityTrait as _, FromQueryResult,
    PaginatorTrait as _, QueryFilter as _, QueryOrder as _, SqlErr,
};

use super::entity::{application_credential, credential_role};
use super::{CredentialRecord, PasswordHash, not_found, taken};
use crate::db::statement;
use crate::{Store, StoreError};

/// A credential to record.
#[derive(Debug, Clone)]
pub struct NewCredential {
    /// What is known of it; of its roles only the ids count.
    pub record: CredentialRecord,
    /// Its stretched secret.
    pub secret: PasswordHash,
    /// Most credentials that a user may have.
    pub limit: u64,
}

#[derive(FromQueryResult)]
struct RoleRow {
    credential_id: String,
    role_id: String,
    role_name: String,
}

impl Store {
    /// Records an application credential; `false` when the user has too many already.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when the user has one of that name, [`StoreError::NotFound`] when user,
    /// project or a role is gone.
    pub async fn create_application_credential(
        &self,
        new: NewCredential,
    ) -> Result<bool, StoreError> {
        let NewCredential { record, secret: PasswordHash(secret), limit } = new;
        let tx = self.begin().await?;
        let present = application_credential::Entity::find()
            .filter(application_credential::Column::UserId.eq(record.user.as_str()))
            .count(&*tx)
            .await
            .map_err(StoreError::db("count application credentials"))?;
        if present >= limit {
            return Ok(false);
        }
        let model = application_credential::ActiveModel {
            id: Set(record.id.clone()),
            user_id: Set(record.user.to_string()),
            project_id: Set(record.project.to_string()),
            name: Set(record.name.clone()),
            secret_hash: Set(secret),
            description: Set(record.description),
            unrestricted: Set(record.unrestricted),
            created_at: Set(record.created_at.micros()),
            expires_at: Set(record.expires_at.map(Timestamp::micros)),
        };
        application_credential::Entity::insert(model).exec_without_returning(&*tx).await.map_err(
            |error| match error.sql_err() {
                Some(SqlErr::ForeignKeyConstraintViolation(_)) => {
                    not_found("user or project of the credential", record.user.as_str())
                }
                _ => taken(
                    "create an application credential",
                    "application_credential",
                    &record.name,
                )(error),
            },
        )?;
        for (role, _) in record.roles {
            let model = credential_role::ActiveModel {
                credential_id: Set(record.id.clone()),
                role_id: Set(role.clone()),
            };
            credential_role::Entity::insert(model).exec_without_returning(&*tx).await.map_err(
                |error| match error.sql_err() {
                    Some(SqlErr::ForeignKeyConstraintViolation(_)) => not_found("role", &role),
                    _ => StoreError::db("give a credential a role")(error),
                },
            )?;
        }
        tx.commit().await?;
        Ok(true)
    }

    /// An application credential.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn application_credential(
        &self,
        id: &str,
    ) -> Result<Option<CredentialRecord>, StoreError> {
        let row = application_credential::Entity::find_by_id(id).one(self.reader()).await;
        let row = row.map_err(StoreError::db("read an application credential"))?;
        Ok(self.with_roles(row.into_iter().collect()).await?.into_iter().next())
    }

    /// A user's application credentials, or the one of that name, by name.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn application_credentials(
        &self,
        user: &UserId,
        name: Option<&str>,
    ) -> Result<Vec<CredentialRecord>, StoreError> {
        let mut query = application_credential::Entity::find()
            .filter(application_credential::Column::UserId.eq(user.as_str()))
            .order_by_asc(application_credential::Column::Name);
        if let Some(name) = name {
            query = query.filter(application_credential::Column::Name.eq(name));
        }
        let rows = query.all(self.reader()).await;
        self.with_roles(rows.map_err(StoreError::db("list application credentials"))?).await
    }

    /// The stretched secret of an application credential; `None` when there is no such credential.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn application_credential_secret(
        &self,
        id: &str,
    ) -> Result<Option<PasswordHash>, StoreError> {
        let row = application_credential::Entity::find_by_id(id).one(self.reader()).await;
        let row = row.map_err(StoreError::db("read the hash of a secret"))?;
        Ok(row.map(|row| PasswordHash(row.secret_hash)))
    }

    /// Removes an application credential of a user, and its tokens.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn delete_application_credential(
        &self,
        user: &UserId,
        id: &str,
    ) -> Result<(), StoreError> {
        let tx = self.begin().await?;
        let done = application_credential::Entity::delete_by_id(id)
            .filter(application_credential::Column::UserId.eq(user.as_str()))
            .exec(&*tx)
            .await
            .map_err(StoreError::db("delete an application credential"))?;
        if done.rows_affected == 0 {
            return Err(not_found("Application Credential", id));
        }
        tx.commit().await
    }

    async fn with_roles(
        &self,
        rows: Vec<application_credential::Model>,
    ) -> Result<Vec<CredentialRecord>, StoreError> {
        let mut roles: HashMap<String, Vec<(String, String)>> = HashMap::new();
        for user in rows.iter().map(|row| row.user_id.as_str()).take(1) {
            // All rows are of one user.
            let db = self.reader();
            let statement = statement(
                db,
                "SELECT x.credential_id, x.role_id, r.name AS role_name \
                 FROM identity_application_credentials c \
                 JOIN identity_application_credential_roles x ON x.credential_id = c.id \
                 JOIN identity_roles r ON r.id = x.role_id WHERE c.user_id = $1 ORDER BY r.name",
                [user.into()],
            );
            let found = RoleRow::find_by_statement(statement).all(db).await;
            for row in found.map_err(StoreError::db("list the roles of a credential"))? {
                roles.entry(row.credential_id).or_default().push((row.role_id, row.role_name));
            }
        }
        Ok(rows.into_iter().map(|row| record(row, &mut roles)).collect())
    }
}

fn record(
    row: application_credential::Model,
    roles: &mut HashMap<String, Vec<(String, String)>>,
) -> CredentialRecord {
    CredentialRecord {
        roles: roles.remove(&row.id).unwrap_or_default(),
        id: row.id,
        user: row.user_id.into(),
        project: row.project_id.into(),
        name: row.name,
        description: row.description,
        unrestricted: row.unrestricted,
        created_at: Timestamp::from_micros(row.created_at),
        expires_at: row.expires_at.map(Timestamp::from_micros),
    }
}

/// Ends a user's credentials in a project.
pub(super) async fn end_of_assignment(
    tx: &impl ConnectionTrait,
    user: &UserId,
    project: &ProjectId,
) -> Result<(), StoreError> {
    application_credential::Entity::delete_many()
        .filter(application_credential::Column::UserId.eq(user.as_str()))
        .filter(application_credential::Column::ProjectId.eq(project.as_str()))
        .exec(tx)
        .await
        .map(drop)
        .map_err(StoreError::db("end a user's application credentials in a project"))
}

/// Ends all credentials of a user.
pub(super) async fn end_of_user(
    tx: &impl ConnectionTrait,
    user: &UserId,
) -> Result<(), StoreError> {
    application_credential::Entity::delete_many()
        .filter(application_credential::Column::UserId.eq(user.as_str()))
        .exec(tx)
        .await
        .map(drop)
        .map_err(StoreError::db("end a user's application credentials"))
}

/// Ends the credentials of everybody who has a role, where they have it.
pub(super) async fn end_of_role(tx: &impl ConnectionTrait, role: &str) -> Result<(), StoreError> {
    let statement = statement(
        tx,
        "DELETE FROM identity_application_credentials WHERE EXISTS (SELECT 1 \
         FROM identity_assignments a WHERE a.role_id = $1 \
         AND a.user_id = identity_application_credentials.user_id \
         AND a.project_id = identity_application_credentials.project_id)",
        [role.into()],
    );
    tx.execute_raw(statement)
        .await
        .map(drop)
        .map_err(StoreError::db("end the application credentials of a role"))
}
