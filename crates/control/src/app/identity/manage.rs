//! Users, projects, roles and who has which role where.
//!
//! Policy: administrators manage everything; users see themselves, their projects, and change their
//! own password. Every change empties the token cache after it was committed.

use reprieve_core::ids::hex_id;
use reprieve_core::{ProjectId, UserId};
use reprieve_store::StoreError;
use reprieve_store::identity::{
    AssignmentFilter, AssignmentRecord, ProjectRecord, RoleRecord, UserRecord,
};

use super::password::PasswordError;
use super::token::Grant;
use super::{AuthError, now, token};
use crate::Control;
use crate::app::secret::Password;

/// Why a request to the identity service was refused.
#[derive(Debug, thiserror::Error)]
pub enum ManageError {
    /// 403 in Keystone's words.
    #[error("You are not authorized to perform the requested action: {0}.")]
    Forbidden(&'static str),
    /// 404 in Keystone's words.
    #[error("Could not find {what}: {id}.")]
    NotFound {
        /// Kind of thing.
        what: &'static str,
        /// Its id.
        id: String,
    },
    /// 409 in Keystone's words.
    #[error(
        "Conflict occurred attempting to store {what} - Duplicate entry found with name {name}."
    )]
    Duplicate {
        /// Kind of thing.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// 403 in other words.
    #[error("{0}")]
    Refused(String),
    /// 400.
    #[error("{0}")]
    Invalid(String),
    /// 401: the original password is wrong.
    #[error("the request you have made requires authentication")]
    WrongPassword,
    /// Unusable or too many at once.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The database failed.
    #[error("the identity service's database failed")]
    Store(#[source] StoreError),
    /// The identity service is another one, which cannot be asked.
    #[error("the identity service could not be asked; try again")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<StoreError> for ManageError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound { what, id } => Self::NotFound { what, id },
            StoreError::Exists { what, id } => Self::Duplicate { what, name: id },
            StoreError::BadQuery(text) => Self::Invalid(text),
            other => Self::Store(other),
        }
    }
}

impl From<AuthError> for ManageError {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Unauthenticated | AuthError::NotScoped => Self::WrongPassword,
            AuthError::Store(error) => Self::Store(error),
            AuthError::Unavailable(error) => Self::Unavailable(error),
        }
    }
}

type Result<T> = std::result::Result<T, ManageError>;

/// The identity service as one caller may use it.
#[derive(Clone, Copy)]
pub struct Manager<'a> {
    /// Services.
    pub control: &'a Control,
    /// Who asks.
    pub grant: &'a Grant,
}

/// What of a user shall change; `None` leaves it.
#[derive(Debug, Clone, Default)]
pub struct UserChange {
    /// Name.
    pub name: Option<String>,
    /// Password.
    pub password: Option<Password>,
    /// Whether the user may log in.
    pub enabled: Option<bool>,
    /// Default project, or none.
    pub default_project: Option<Option<ProjectId>>,
    /// Free text, or none.
    pub description: Option<Option<String>>,
    /// Address, or none.
    pub email: Option<Option<String>>,
}

/// What of a project shall change; `None` leaves it.
#[derive(Debug, Clone, Default)]
pub struct ProjectChange {
    /// Name.
    pub name: Option<String>,
    /// Whether tokens can be scoped to it.
    pub enabled: Option<bool>,
    /// Free text.
    pub description: Option<String>,
}

impl Manager<'_> {
    pub(super) fn require_admin(&self, action: &'static str) -> Result<()> {
        if self.grant.is_admin() { Ok(()) } else { Err(ManageError::Forbidden(action)) }
    }

    pub(super) fn require_admin_or_self(&self, user: &UserId, action: &'static str) -> Result<()> {
        if *user == self.grant.user_id { Ok(()) } else { self.require_admin(action) }
    }

    pub(super) fn changed(&self) {
        self.control.identity.cache.clear();
    }

    /// Ends a token; its own or, for administrators, any.
    ///
    /// # Errors
    /// [`ManageError::NotFound`] when it is not valid, [`ManageError::Forbidden`].
    pub async fn revoke(&self, subject: &str) -> Result<()> {
        self.inspect(subject).await?;
        token::revoke(self.control, subject).await?;
        Ok(())
    }

    /// What another token grants; its own or, for administrators, any.
    ///
    /// # Errors
    /// [`ManageError::NotFound`] when it is not valid, [`ManageError::Forbidden`].
    pub async fn inspect(&self, subject: &str) -> Result<std::sync::Arc<Grant>> {
        let grant = match token::lookup(self.control, subject).await {
            Ok(grant) => grant,
            Err(error @ (AuthError::Store(_) | AuthError::Unavailable(_))) => {
                return Err(error.into());
            }
            Err(AuthError::Unauthenticated | AuthError::NotScoped) => {
                // The token itself is not repeated: it may be a mistyped good one.
                return Err(ManageError::NotFound { what: "token", id: "token".to_owned() });
            }
        };
        self.require_admin_or_self(&grant.user_id, "identity:validate_token")?;
        Ok(grant)
    }

    /// Users, or those of a name, by name.
    ///
    /// # Errors
    /// [`ManageError::Forbidden`].
    pub async fn users(&self, name: Option<&str>) -> Result<Vec<UserRecord>> {
        self.require_admin("identity:list_users")?;
        Ok(self.control.store.users(name).await?)
    }

    /// One user.
    ///
    /// # Errors
    /// [`ManageError::NotFound`], [`ManageError::Forbidden`].
    pub async fn user(&self, id: &UserId) -> Result<UserRecord> {
        self.require_admin_or_self(id, "identity:get_user")?;
        let user = self.control.store.user(id).await?;
        user.ok_or_else(|| missing("user", id.as_str()))
    }

    /// Creates a user.
    ///
    /// # Errors
    /// [`ManageError::Duplicate`], [`ManageError::Forbidden`], [`ManageError::Password`].
    pub async fn create_user(&self, name: String, rest: UserChange) -> Result<UserRecord> {
        self.require_admin("identity:create_user")?;
        let password = match rest.password {
            Some(password) => Some(self.control.identity.passwords.stretch(password).await?),
            None => None,
        };
        let user = UserRecord {
            id: UserId::from(hex_id()),
            name,
            enabled: rest.enabled.unwrap_or(true),
            default_project: rest.default_project.flatten(),
            description: rest.description.flatten(),
            email: rest.email.flatten(),
            created_at: now(self.control),
        };
        self.control.store.create_user(user.clone(), password).await?;
        Ok(user)
    }

    /// Changes a user.
    ///
    /// # Errors
    /// [`ManageError::NotFound`], [`ManageError::Duplicate`], [`ManageError::Forbidden`],
    /// [`ManageError::Password`].
    pub async fn update_user(&self, id: &UserId, change: UserChange) -> Result<UserRecord> {
        self.require_admin("identity:update_user")?;
        let mut user = self.user(id).await?;
        let password = match change.password {
            Some(password) => Some(self.control.identity.passwords.stretch(password).await?),
            None => None,
        };
        user.name = change.name.unwrap_or(user.name);
        user.enabled = change.enabled.unwrap_or(user.enabled);
        user.default_project = change.default_project.unwrap_or(user.default_project);
        user.description = change.description.unwrap_or(user.description);
        user.email = change.email.unwrap_or(user.email);
        self.control.store.update_user(&user, password).await?;
        self.changed();
        Ok(user)
    }

    /// A user's own change of password; ends all its tokens.
    ///
    /// # Errors
    /// [`ManageError::WrongPassword`], [`ManageError::Forbidden`] for somebody else's,
    /// [`ManageError::Password`].
    pub async fn change_password(
        &self,
        id: &UserId,
        original: Password,
        new: Password,
    ) -> Result<()> {
        if *id != self.grant.user_id {
            return Err(ManageError::Forbidden("identity:change_password"));
        }
        let user = self.user(id).await?;
        let hash = self.control.store.password_hash(id).await?;
        let passwords = &self.control.identity.passwords;
        if !passwords.matches(original, hash).await? {
            return Err(ManageError::WrongPassword);
        }
        let stretched = passwords.stretch(new).await?;
        self.control.store.update_user(&user, Some(stretched)).await?;
        self.changed();
        Ok(())
    }

    /// Deletes a user.
    ///
    /// # Errors
    /// [`ManageError::NotFound`], [`ManageError::Forbidden`].
    pub async fn delete_user(&self, id: &UserId) -> Result<()> {
        self.require_admin("identity:delete_user")?;
        self.control.store.delete_user(id).await?;
        self.changed();
        Ok(())
    }

    /// Projects, or those of a name, by name.
    ///
    /// # Errors
    /// [`ManageError::Forbidden`].
    pub async fn projects(&self, name: Option<&str>) -> Result<Vec<ProjectRecord>> {
        self.require_admin("identity:list_projects")?;
        Ok(self.control.store.projects(name).await?)
    }

    /// One project: any for administrators, their own for others.
    ///
    /// # Errors
    /// [`ManageError::NotFound`], [`ManageError::Forbidden`].
    pub async fn project(&self, id: &ProjectId) -> Result<ProjectRecord> {
        let own = self.grant.project.as_ref().is_some_and(|project| project.id == *id);
        if !own {
            self.require_admin("identity:get_project")?;
        }
        let project = self.control.store.project(id).await?;
        project.ok_or_else(|| missing("project", id.as_str()))
    }

    /// Projects in which a user has a role.
    ///
    /// # Errors
    /// [`ManageError::Forbidden`] for somebody else's.
    pub async fn projects_of(&self, user: &UserId) -> Result<Vec<ProjectRecord>> {
        self.require_admin_or_self(user, "identity:list_user_projects")?;
        Ok(self.control.store.projects_of_user(user).await?)
    }

    /// Creates a project.
    ///
    /// # Errors
    /// [`ManageError::Duplicate`], [`ManageError::Forbidden`].
    pub async fn create_project(&self, name: String, rest: ProjectChange) -> Result<ProjectRecord> {
        self.require_admin("identity:create_project")?;
        let project = ProjectRecord {
            id: ProjectId::from(hex_id()),
            name,
            enabled: rest.enabled.unwrap_or(true),
            description: rest.description.unwrap_or_default(),
            created_at: now(self.control),
        };
        self.control.store.create_project(project.clone()).await?;
        Ok(project)
    }

    /// Changes a project.
    ///
    /// # Errors
    /// [`ManageError::NotFound`], [`ManageError::Duplicate`], [`ManageError::Forbidden`].
    pub async fn update_project(
        &self,
        id: &ProjectId,
        change: ProjectChange,
    ) -> Result<ProjectRecord> {
        self.require_admin("identity:update_project")?;
        let mut project = self.project(id).await?;
        project.name = change.name.unwrap_or(project.name);
        project.enabled = change.enabled.unwrap_or(project.enabled);
        project.description = change.description.unwrap_or(project.description);
        self.control.store.update_project(&project).await?;
        self.changed();
        Ok(project)
    }

    /// Deletes a project. Servers and images that belong to it stay, for administrators only.
    ///
    /// # Errors
    /// [`ManageError::NotFound`], [`ManageError::Forbidden`].
    pub async fn delete_project(&self, id: &ProjectId) -> Result<()> {
        self.require_admin("identity:delete_project")?;
        self.control.store.delete_project(id).await?;
        self.changed();
        Ok(())
    }

    /// Roles, or those of a name, by name.
    ///
    /// # Errors
    /// [`ManageError::Forbidden`].
    pub async fn roles(&self, name: Option<&str>) -> Result<Vec<RoleRecord>> {
        self.require_admin("identity:list_roles")?;
        Ok(self.control.store.roles(name).await?)
    }

    /// One role.
    ///
    /// # Errors
    /// [`ManageError::NotFound`], [`ManageError::Forbidden`].
    pub async fn role(&self, id: &str) -> Result<RoleRecord> {
        self.require_admin("identity:get_role")?;
        self.control.store.role(id).await?.ok_or_else(|| missing("role", id))
    }

    /// Creates a role. Roles other than the four default ones grant nothing here.
    ///
    /// # Errors
    /// [`ManageError::Duplicate`], [`ManageError::Forbidden`].
    pub async fn create_role(
        &self,
        name: String,
        description: Option<String>,
    ) -> Result<RoleRecord> {
        self.require_admin("identity:create_role")?;
        let role = RoleRecord { id: hex_id(), name, description };
        self.control.store.create_role(role.clone()).await?;
        Ok(role)
    }

    /// Renames or describes a role. What a role grants hangs on its name.
    ///
    /// # Errors
    /// [`ManageError::NotFound`], [`ManageError::Duplicate`], [`ManageError::Forbidden`].
    pub async fn update_role(
        &self,
        id: &str,
        name: Option<String>,
        description: Option<Option<String>>,
    ) -> Result<RoleRecord> {
        self.require_admin("identity:update_role")?;
        let mut role = self.role(id).await?;
        role.name = name.unwrap_or(role.name);
        role.description = description.unwrap_or(role.description);
        self.control.store.update_role(&role).await?;
        self.changed();
        Ok(role)
    }

    /// Deletes a role.
    ///
    /// # Errors
    /// [`ManageError::NotFound`], [`ManageError::Forbidden`].
    pub async fn delete_role(&self, id: &str) -> Result<()> {
        self.require_admin("identity:delete_role")?;
        self.control.store.delete_role(id).await?;
        self.changed();
        Ok(())
    }

    /// Who has which role where; users may ask for their own.
    ///
    /// # Errors
    /// [`ManageError::Forbidden`].
    pub async fn assignments(&self, filter: &AssignmentFilter) -> Result<Vec<AssignmentRecord>> {
        match &filter.user {
            Some(user) => self.require_admin_or_self(user, "identity:list_role_assignments")?,
            None => self.require_admin("identity:list_role_assignments")?,
        }
        Ok(self.control.store.assignments(filter).await?)
    }

    /// Gives a role; giving it twice is no error.
    ///
    /// # Errors
    /// [`ManageError::NotFound`] for user, project or role, [`ManageError::Forbidden`].
    pub async fn assign(&self, user: &UserId, project: &ProjectId, role: &str) -> Result<()> {
        self.require_admin("identity:create_grant")?;
        self.user(user).await?;
        self.project(project).await?;
        self.role(role).await?;
        self.control.store.assign_role(user, project, role).await?;
        self.changed();
        Ok(())
    }

    /// Takes a role away.
    ///
    /// # Errors
    /// [`ManageError::NotFound`], [`ManageError::Forbidden`].
    pub async fn unassign(&self, user: &UserId, project: &ProjectId, role: &str) -> Result<()> {
        self.require_admin("identity:revoke_grant")?;
        self.control.store.unassign_role(user, project, role).await?;
        self.changed();
        Ok(())
    }
}

pub(super) fn missing(what: &'static str, id: &str) -> ManageError {
    ManageError::NotFound { what, id: id.chars().take(64).collect() }
}
