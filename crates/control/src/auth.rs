//! Who is asking: what a valid token says.

use reprieve_core::policy::Credentials;
use reprieve_core::{ProjectId, UserId};

/// A role as Keystone's defaults name it. Each implies the next: admin ⊃ manager ⊃ member ⊃ reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// May look.
    Reader,
    /// May change servers.
    Member,
    /// May manage a project.
    Manager,
    /// May do everything.
    Admin,
}

impl Role {
    /// Name in the identity service.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Member => "member",
            Self::Manager => "manager",
            Self::Admin => "admin",
        }
    }

    /// Role of that name; other names grant nothing here.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "reader" => Some(Self::Reader),
            "member" => Some(Self::Member),
            "manager" => Some(Self::Manager),
            "admin" => Some(Self::Admin),
            _ => None,
        }
    }
}

/// A validated token, scoped to a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthContext {
    /// User.
    pub user_id: UserId,
    /// Name of the user.
    pub user_name: String,
    /// Project of the token.
    pub project_id: ProjectId,
    /// Name of the project.
    pub project_name: String,
    /// Roles in the project, as named in the token.
    pub roles: Vec<String>,
}

impl AuthContext {
    /// Whether the token carries `role` or one that implies it.
    #[must_use]
    pub fn has(&self, role: Role) -> bool {
        self.roles.iter().filter_map(|name| Role::parse(name)).any(|held| held >= role)
    }

    /// What the compute API's rules are asked about.
    #[must_use]
    pub fn credentials(&self) -> Credentials<'_> {
        let roles = self.roles.iter().map(String::as_str);
        Credentials::new(&self.user_id, &self.project_id, roles)
    }

    /// Whether the token is an administrator's, for identity and images. Who counts as one in the
    /// compute API is a rule: [`Call::is_admin`](crate::app::Call::is_admin).
    #[must_use]
    pub fn is_admin(&self) -> bool {
        self.has(Role::Admin)
    }
}
