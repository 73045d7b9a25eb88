//! Application credentials: made by a user for a program, with some of the user's roles in one
//! project.
//!
//! Policy, as Keystone's: users manage their own, administrators may look at and delete those of
//! others. A token that was made from a credential manages none, unless the credential is
//! unrestricted: a stolen one must not be able to make itself permanent.

use reprieve_core::ids::hex_id;
use reprieve_core::{Timestamp, UserId};
use reprieve_store::StoreError;
use reprieve_store::identity::{CredentialRecord, NewCredential};

use super::manage::missing;
use super::password::random_text;
use super::{ManageError, Manager, now};
use crate::app::secret::Password;

/// Most credentials of a user: bounds what one user can store.
const MAX_CREDENTIALS: u64 = 200;
/// What Keystone says to a token of a restricted credential.
const RESTRICTED: &str = "Using method 'application_credential' is not allowed for managing \
                          additional application credentials.";

/// A role that a credential shall have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoleName {
    /// By id.
    Id(String),
    /// By name.
    Name(String),
}

/// What is asked for.
#[derive(Debug, Clone)]
pub struct CredentialRequest {
    /// Name.
    pub name: String,
    /// Secret; `None` = generate one.
    pub secret: Option<Password>,
    /// Free text.
    pub description: Option<String>,
    /// When it ends, if ever.
    pub expires_at: Option<Timestamp>,
    /// Roles; none given = all of the token's.
    pub roles: Vec<RoleName>,
    /// Whether its tokens may manage application credentials.
    pub unrestricted: bool,
}

type Result<T> = std::result::Result<T, ManageError>;

impl Manager<'_> {
    /// Application credentials of a user, or the one of that name.
    ///
    /// # Errors
    /// [`ManageError::Forbidden`] for somebody else's.
    pub async fn application_credentials(
        &self,
        user: &UserId,
        name: Option<&str>,
    ) -> Result<Vec<CredentialRecord>> {
        self.require_admin_or_self(user, "identity:list_application_credentials")?;
        Ok(self.control.store.application_credentials(user, name).await?)
    }

    /// One application credential of a user.
    ///
    /// # Errors
    /// [`ManageError::NotFound`], [`ManageError::Forbidden`] for somebody else's.
    pub async fn application_credential(
        &self,
        user: &UserId,
        id: &str,
    ) -> Result<CredentialRecord> {
        self.require_admin_or_self(user, "identity:get_application_credential")?;
        let found = self.control.store.application_credential(id).await?;
        found
            .filter(|credential| credential.user == *user)
            .ok_or_else(|| missing("Application Credential", id))
    }

    /// Makes an application credential for the token's user and project, and returns it with its
    /// secret, which is shown this once.
    ///
    /// # Errors
    /// [`ManageError::Forbidden`] for another user, with a token of a restricted credential, or
    /// without a project; [`ManageError::Invalid`] for roles that the token does not have or a past
    /// end; [`ManageError::Duplicate`]; [`ManageError::Refused`] when there are too many.
    pub async fn create_application_credential(
        &self,
        user: &UserId,
        request: CredentialRequest,
    ) -> Result<(CredentialRecord, Password)> {
        self.require_unrestricted()?;
        if *user != self.grant.user_id {
            return Err(ManageError::Forbidden("identity:create_application_credential"));
        }
        let Some(project) = &self.grant.project else {
            return Err(ManageError::Forbidden("identity:create_application_credential"));
        };
        let created_at = now(self.control);
        if request.expires_at.is_some_and(|end| end <= created_at) {
            return Err(ManageError::Invalid(
                "Invalid input for field 'expires_at': it must not lie in the past.".to_owned(),
            ));
        }
        let secret = match request.secret {
            Some(secret) => secret,
            None => Password::from(random_text::<64>()?),
        };
        let record = CredentialRecord {
            id: hex_id(),
            user: user.clone(),
            project: project.id.clone(),
            name: request.name,
            description: request.description,
            unrestricted: request.unrestricted,
            created_at,
            expires_at: request.expires_at,
            roles: self.held_roles(request.roles)?,
        };
        let hash = self.control.identity.passwords.stretch(secret.clone()).await?;
        let new = NewCredential { record: record.clone(), secret: hash, limit: MAX_CREDENTIALS };
        match self.control.store.create_application_credential(new).await {
            Ok(true) => Ok((record, secret)),
            Ok(false) => Err(ManageError::Refused(format!(
                "Unable to create additional application credentials, maximum of \
                 {MAX_CREDENTIALS} already exceeded for user."
            ))),
            // A role or the project was removed meanwhile.
            Err(StoreError::NotFound { what, id }) => {
                Err(invalid_credential(&format!("Could not find {what}: {id}.")))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes an application credential and ends its tokens.
    ///
    /// # Errors
    /// [`ManageError::NotFound`]; [`ManageError::Forbidden`] for somebody else's, or with a token of
    /// a restricted credential.
    pub async fn delete_application_credential(&self, user: &UserId, id: &str) -> Result<()> {
        self.require_unrestricted()?;
        self.require_admin_or_self(user, "identity:delete_application_credential")?;
        self.control.store.delete_application_credential(user, id).await?;
        self.changed();
        Ok(())
    }

    fn require_unrestricted(&self) -> Result<()> {
        match &self.grant.credential {
            Some(credential) if !credential.unrestricted => Err(ManageError::Refused(format!(
                "You are not authorized to perform the requested action: {RESTRICTED}"
            ))),
            Some(_) | None => Ok(()),
        }
    }

    /// The wanted roles, each of which the token must have itself.
    fn held_roles(&self, wanted: Vec<RoleName>) -> Result<Vec<(String, String)>> {
        let held = self.grant.project.as_ref().map_or(&[][..], |project| &project.roles);
        if wanted.is_empty() {
            return Ok(held.to_vec());
        }
        let mut roles: Vec<(String, String)> = Vec::new();
        for role in wanted {
            let found = held.iter().find(|(id, name)| match &role {
                RoleName::Id(wanted) => id == wanted,
                RoleName::Name(wanted) => name == wanted,
            });
            let found = found.ok_or_else(|| self.no_such_role(&role))?;
            if !roles.contains(found) {
                roles.push(found.clone());
            }
        }
        roles.sort_by(|one, other| one.1.cmp(&other.1));
        Ok(roles)
    }

    fn no_such_role(&self, role: &RoleName) -> ManageError {
        let (RoleName::Id(role) | RoleName::Name(role)) = role;
        let role: String = role.chars().take(64).collect();
        let user = &self.grant.user_id;
        invalid_credential(&format!(
            "Could not find role assignment with role: {role}, user or group: {user}, project, \
             domain, or system: {}.",
            self.grant.project.as_ref().map_or("", |project| project.id.as_str()),
        ))
    }
}

fn invalid_credential(detail: &str) -> ManageError {
    ManageError::Invalid(format!("Invalid application credential: {detail}"))
}
