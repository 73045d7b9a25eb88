//! Users, projects, roles, credentials, tokens and the catalog in the database.
//!
//! Tokens are never trusted by themselves: [`Store::token`] reads the token together with whatever
//! its validity depends on in one statement, so nothing has to be revoked when a user or project is
//! disabled or a role is taken away.

mod assignments;
mod catalog;
mod credentials;
mod entity;
mod record;
mod tokens;

use reprieve_core::{ProjectId, Timestamp, UserId};
use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, ConnectionTrait, DbErr, EntityTrait as _,
    PaginatorTrait as _, QueryFilter as _, QueryOrder as _, SqlErr,
};

pub use credentials::NewCredential;
use entity::{project, role, token, user};
pub use record::{
    AssignmentFilter, AssignmentRecord, CredentialFacts, CredentialRecord, EndpointRecord,
    PasswordHash, ProjectRecord, RegionRecord, RoleRecord, ServiceRecord, TokenRecord, TokenView,
    UserRecord,
};

use crate::{Store, StoreError};

/// The first user with everything it needs.
#[derive(Debug, Clone)]
pub struct FirstUser {
    /// The user.
    pub user: UserRecord,
    /// Its password.
    pub password: PasswordHash,
    /// Its project.
    pub project: ProjectRecord,
    /// All roles; the user gets the first.
    pub roles: Vec<RoleRecord>,
}

impl Store {
    /// Creates the first user, its project, the roles and the assignment, unless a user exists.
    ///
    /// # Errors
    /// [`StoreError::Database`]; nothing was created then.
    pub async fn create_first_user(&self, first: FirstUser) -> Result<bool, StoreError> {
        let tx = self.begin().await?;
        let users =
            user::Entity::find().count(&*tx).await.map_err(StoreError::db("count users"))?;
        if users > 0 {
            return Ok(false);
        }
        let (user_id, project_id) = (first.user.id.clone(), first.project.id.clone());
        insert_project(&*tx, first.project).await?;
        insert_user(&*tx, first.user, Some(first.password)).await?;
        let mut granted = None;
        for role in first.roles {
            granted.get_or_insert_with(|| role.id.clone());
            insert_role(&*tx, role).await?;
        }
        if let Some(role) = granted {
            assignments::insert(&*tx, &user_id, &project_id, &role).await?;
        }
        tx.commit().await?;
        Ok(true)
    }

    /// A user.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn user(&self, id: &UserId) -> Result<Option<UserRecord>, StoreError> {
        let row = user::Entity::find_by_id(id.as_str()).one(self.reader()).await;
        Ok(row.map_err(StoreError::db("read a user"))?.map(UserRecord::from))
    }

    /// The user of that name.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn user_by_name(&self, name: &str) -> Result<Option<UserRecord>, StoreError> {
        let row = user::Entity::find().filter(user::Column::Name.eq(name)).one(self.reader()).await;
        Ok(row.map_err(StoreError::db("read a user"))?.map(UserRecord::from))
    }

    /// All users, or the one of that name, by name.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn users(&self, name: Option<&str>) -> Result<Vec<UserRecord>, StoreError> {
        let mut query = user::Entity::find().order_by_asc(user::Column::Name);
        if let Some(name) = name {
            query = query.filter(user::Column::Name.eq(name));
        }
        let rows = query.all(self.reader()).await.map_err(StoreError::db("list users"))?;
        Ok(rows.into_iter().map(UserRecord::from).collect())
    }

    /// The hash of a user's password; `None` when the user has none or does not exist.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn password_hash(&self, id: &UserId) -> Result<Option<PasswordHash>, StoreError> {
        let row = user::Entity::find_by_id(id.as_str()).one(self.reader()).await;
        let row = row.map_err(StoreError::db("read a password hash"))?;
        Ok(row.and_then(|row| row.password_hash).map(PasswordHash))
    }

    /// Records a user.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when the name is taken.
    pub async fn create_user(
        &self,
        user: UserRecord,
        password: Option<PasswordHash>,
    ) -> Result<(), StoreError> {
        let tx = self.begin().await?;
        insert_user(&*tx, user, password).await?;
        tx.commit().await
    }

    /// Overwrites a user. A new password, and disabling, end all tokens of the user; disabling also
    /// ends its application credentials, as in Keystone.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Exists`] when the name is taken.
    pub async fn update_user(
        &self,
        user: &UserRecord,
        password: Option<PasswordHash>,
    ) -> Result<(), StoreError> {
        let tx = self.begin().await?;
        let model = user::ActiveModel {
            name: Set(user.name.clone()),
            enabled: Set(user.enabled),
            default_project_id: Set(user.default_project.as_ref().map(ToString::to_string)),
            description: Set(user.description.clone()),
            email: Set(user.email.clone()),
            ..Default::default()
        };
        let mut update = user::Entity::update_many().set(model);
        if let Some(PasswordHash(hash)) = &password {
            update = update.col_expr(user::Column::PasswordHash, Expr::value(hash.as_str()));
        }
        let done = update.filter(user::Column::Id.eq(user.id.as_str())).exec(&*tx).await;
        let done = done.map_err(taken("update a user", "user", &user.name))?;
        if done.rows_affected == 0 {
            return Err(not_found("user", user.id.as_str()));
        }
        if password.is_some() || !user.enabled {
            token::Entity::delete_many()
                .filter(token::Column::UserId.eq(user.id.as_str()))
                .exec(&*tx)
                .await
                .map_err(StoreError::db("end a user's tokens"))?;
        }
        if !user.enabled {
            credentials::end_of_user(&*tx, &user.id).await?;
        }
        tx.commit().await
    }

    /// Removes a user with its tokens and assignments.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn delete_user(&self, id: &UserId) -> Result<(), StoreError> {
        let tx = self.begin().await?;
        let done = user::Entity::delete_by_id(id.as_str()).exec(&*tx).await;
        if done.map_err(StoreError::db("delete a user"))?.rows_affected == 0 {
            return Err(not_found("user", id.as_str()));
        }
        tx.commit().await
    }

    /// A project.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn project(&self, id: &ProjectId) -> Result<Option<ProjectRecord>, StoreError> {
        let row = project::Entity::find_by_id(id.as_str()).one(self.reader()).await;
        Ok(row.map_err(StoreError::db("read a project"))?.map(ProjectRecord::from))
    }

    /// The project of that name.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn project_by_name(&self, name: &str) -> Result<Option<ProjectRecord>, StoreError> {
        let query = project::Entity::find().filter(project::Column::Name.eq(name));
        let row = query.one(self.reader()).await.map_err(StoreError::db("read a project"))?;
        Ok(row.map(ProjectRecord::from))
    }

    /// All projects, or the one of that name, by name.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn projects(&self, name: Option<&str>) -> Result<Vec<ProjectRecord>, StoreError> {
        let mut query = project::Entity::find().order_by_asc(project::Column::Name);
        if let Some(name) = name {
            query = query.filter(project::Column::Name.eq(name));
        }
        let rows = query.all(self.reader()).await.map_err(StoreError::db("list projects"))?;
        Ok(rows.into_iter().map(ProjectRecord::from).collect())
    }

    /// Records a project.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when the name is taken.
    pub async fn create_project(&self, project: ProjectRecord) -> Result<(), StoreError> {
        let tx = self.begin().await?;
        insert_project(&*tx, project).await?;
        tx.commit().await
    }

    /// Overwrites a project. Disabling ends the tokens scoped to it.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Exists`] when the name is taken.
    pub async fn update_project(&self, project: &ProjectRecord) -> Result<(), StoreError> {
        let tx = self.begin().await?;
        let model = project::ActiveModel {
            name: Set(project.name.clone()),
            enabled: Set(project.enabled),
            description: Set(project.description.clone()),
            ..Default::default()
        };
        let done = project::Entity::update_many()
            .set(model)
            .filter(project::Column::Id.eq(project.id.as_str()))
            .exec(&*tx)
            .await
            .map_err(taken("update a project", "project", &project.name))?;
        if done.rows_affected == 0 {
            return Err(not_found("project", project.id.as_str()));
        }
        if !project.enabled {
            token::Entity::delete_many()
                .filter(token::Column::ProjectId.eq(project.id.as_str()))
                .exec(&*tx)
                .await
                .map_err(StoreError::db("end a project's tokens"))?;
        }
        tx.commit().await
    }

    /// Removes a project with the tokens scoped to it and its assignments. What belongs to it in
    /// other services stays.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn delete_project(&self, id: &ProjectId) -> Result<(), StoreError> {
        let tx = self.begin().await?;
        let done = project::Entity::delete_by_id(id.as_str()).exec(&*tx).await;
        if done.map_err(StoreError::db("delete a project"))?.rows_affected == 0 {
            return Err(not_found("project", id.as_str()));
        }
        tx.commit().await
    }

    /// A role.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn role(&self, id: &str) -> Result<Option<RoleRecord>, StoreError> {
        let row = role::Entity::find_by_id(id).one(self.reader()).await;
        Ok(row.map_err(StoreError::db("read a role"))?.map(RoleRecord::from))
    }

    /// All roles, or the one of that name, by name.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn roles(&self, name: Option<&str>) -> Result<Vec<RoleRecord>, StoreError> {
        let mut query = role::Entity::find().order_by_asc(role::Column::Name);
        if let Some(name) = name {
            query = query.filter(role::Column::Name.eq(name));
        }
        let rows = query.all(self.reader()).await.map_err(StoreError::db("list roles"))?;
        Ok(rows.into_iter().map(RoleRecord::from).collect())
    }

    /// Records a role.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when the name is taken.
    pub async fn create_role(&self, role: RoleRecord) -> Result<(), StoreError> {
        let tx = self.begin().await?;
        insert_role(&*tx, role).await?;
        tx.commit().await
    }

    /// Overwrites a role.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Exists`] when the name is taken.
    pub async fn update_role(&self, role: &RoleRecord) -> Result<(), StoreError> {
        let tx = self.begin().await?;
        let model = role::ActiveModel {
            name: Set(role.name.clone()),
            description: Set(role.description.clone()),
            ..Default::default()
        };
        let done = role::Entity::update_many()
            .set(model)
            .filter(role::Column::Id.eq(role.id.as_str()))
            .exec(&*tx)
            .await
            .map_err(taken("update a role", "role", &role.name))?;
        if done.rows_affected == 0 {
            return Err(not_found("role", &role.id));
        }
        tx.commit().await
    }

    /// Removes a role with its assignments, and the application credentials of those who had it, in
    /// the projects where they had it.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn delete_role(&self, id: &str) -> Result<(), StoreError> {
        let tx = self.begin().await?;
        credentials::end_of_role(&*tx, id).await?;
        let done = role::Entity::delete_by_id(id).exec(&*tx).await;
        if done.map_err(StoreError::db("delete a role"))?.rows_affected == 0 {
            return Err(not_found("role", id));
        }
        tx.commit().await
    }
}

async fn insert_user(
    tx: &impl ConnectionTrait,
    user: UserRecord,
    password: Option<PasswordHash>,
) -> Result<(), StoreError> {
    let model = user::ActiveModel {
        id: Set(user.id.to_string()),
        name: Set(user.name.clone()),
        enabled: Set(user.enabled),
        password_hash: Set(password.map(|PasswordHash(hash)| hash)),
        default_project_id: Set(user.default_project.map(|id| id.to_string())),
        description: Set(user.description),
        email: Set(user.email),
        created_at: Set(user.created_at.micros()),
    };
    let done = user::Entity::insert(model).exec_without_returning(tx).await;
    done.map(drop).map_err(taken("create a user", "user", &user.name))
}

async fn insert_project(
    tx: &impl ConnectionTrait,
    project: ProjectRecord,
) -> Result<(), StoreError> {
    let model = project::ActiveModel {
        id: Set(project.id.to_string()),
        name: Set(project.name.clone()),
        enabled: Set(project.enabled),
        description: Set(project.description),
        created_at: Set(project.created_at.micros()),
    };
    let done = project::Entity::insert(model).exec_without_returning(tx).await;
    done.map(drop).map_err(taken("create a project", "project", &project.name))
}

async fn insert_role(tx: &impl ConnectionTrait, role: RoleRecord) -> Result<(), StoreError> {
    let model = role::ActiveModel {
        id: Set(role.id),
        name: Set(role.name.clone()),
        description: Set(role.description),
    };
    let done = role::Entity::insert(model).exec_without_returning(tx).await;
    done.map(drop).map_err(taken("create a role", "role", &role.name))
}

/// A violated uniqueness is the caller's business, everything else the database's.
fn taken(doing: &'static str, what: &'static str, id: &str) -> impl FnOnce(DbErr) -> StoreError {
    let id = id.to_owned();
    move |error| match error.sql_err() {
        Some(SqlErr::UniqueConstraintViolation(_)) => StoreError::Exists { what, id },
        _ => StoreError::db(doing)(error),
    }
}

fn not_found(what: &'static str, id: &str) -> StoreError {
    StoreError::NotFound { what, id: id.to_owned() }
}

impl From<user::Model> for UserRecord {
    fn from(row: user::Model) -> Self {
        Self {
            id: row.id.into(),
            name: row.name,
            enabled: row.enabled,
            default_project: row.default_project_id.map(ProjectId::from),
            description: row.description,
            email: row.email,
            created_at: Timestamp::from_micros(row.created_at),
        }
    }
}

impl From<project::Model> for ProjectRecord {
    fn from(row: project::Model) -> Self {
        Self {
            id: row.id.into(),
            name: row.name,
            enabled: row.enabled,
            description: row.description,
            created_at: Timestamp::from_micros(row.created_at),
        }
    }
}

impl From<role::Model> for RoleRecord {
    fn from(row: role::Model) -> Self {
        Self { id: row.id, name: row.name, description: row.description }
    }
}
