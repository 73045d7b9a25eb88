//! Users, projects, roles, credentials, tokens and the catalog as the rest of the control plane sees them.

use std::fmt;

use reprieve_core::{ProjectId, Timestamp, UserId};

/// A stretched password in the PHC text form. Not a password, but still kept out of logs.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(pub String);

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

/// A user. The password's hash is not part of it; see `Store::password_hash`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserRecord {
    /// Identifier, 32 hexadecimal digits.
    pub id: UserId,
    /// Name, unique.
    pub name: String,
    /// Whether the user may log in.
    pub enabled: bool,
    /// Project that a login without scope gets.
    pub default_project: Option<ProjectId>,
    /// Free text.
    pub description: Option<String>,
    /// Address.
    pub email: Option<String>,
    /// When it was created.
    pub created_at: Timestamp,
}

/// A project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectRecord {
    /// Identifier, 32 hexadecimal digits.
    pub id: ProjectId,
    /// Name, unique.
    pub name: String,
    /// Whether tokens can be scoped to it.
    pub enabled: bool,
    /// Free text.
    pub description: String,
    /// When it was created.
    pub created_at: Timestamp,
}

/// A role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleRecord {
    /// Identifier, 32 hexadecimal digits.
    pub id: String,
    /// Name, unique.
    pub name: String,
    /// Free text.
    pub description: Option<String>,
}

/// A user's role in a project, with the names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssignmentRecord {
    /// User.
    pub user: UserId,
    /// Its name.
    pub user_name: String,
    /// Project.
    pub project: ProjectId,
    /// Its name.
    pub project_name: String,
    /// Role.
    pub role: String,
    /// Its name.
    pub role_name: String,
}

/// Which assignments; what is `None` does not matter.
#[derive(Debug, Clone, Default)]
pub struct AssignmentFilter {
    /// Of this user.
    pub user: Option<UserId>,
    /// In this project.
    pub project: Option<ProjectId>,
    /// Of this role.
    pub role: Option<String>,
}

/// A token as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRecord {
    /// Hash of the token's text, hexadecimal.
    pub hash: String,
    /// Whose it is.
    pub user: UserId,
    /// Project it is scoped to.
    pub project: Option<ProjectId>,
    /// How the user authenticated, comma separated.
    pub methods: String,
    /// Identifies the token in audits without giving it away.
    pub audit_id: String,
    /// Of the first token in a chain of rescoped ones.
    pub parent_audit_id: Option<String>,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
    /// Application credential it was made from, and ends with.
    pub application_credential: Option<String>,
}

/// A stored token together with everything its validity depends on, read at one instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenView {
    /// The token.
    pub token: TokenRecord,
    /// Name of its user.
    pub user_name: String,
    /// Whether the user is enabled.
    pub user_enabled: bool,
    /// Its project's name and whether it is enabled.
    pub project: Option<(String, bool)>,
    /// Roles (id, name) that the user has in the project now, by name; of a token that was made
    /// from an application credential only those that the credential has, too.
    pub roles: Vec<(String, String)>,
    /// The application credential it was made from.
    pub credential: Option<CredentialFacts>,
}

/// What of an application credential matters for its tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialFacts {
    /// Name.
    pub name: String,
    /// Whether its tokens may manage application credentials.
    pub unrestricted: bool,
    /// When it ends, if ever.
    pub expires_at: Option<Timestamp>,
}

/// An application credential. The hash of its secret is not part of it; see
/// `Store::application_credential_secret`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialRecord {
    /// Identifier, 32 hexadecimal digits.
    pub id: String,
    /// Whose it is.
    pub user: UserId,
    /// Project its tokens are scoped to.
    pub project: ProjectId,
    /// Name, unique for the user.
    pub name: String,
    /// Free text.
    pub description: Option<String>,
    /// Whether its tokens may manage application credentials.
    pub unrestricted: bool,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it ends, if ever.
    pub expires_at: Option<Timestamp>,
    /// Roles (id, name), by name.
    pub roles: Vec<(String, String)>,
}

/// A service in the catalog that somebody registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceRecord {
    /// Identifier, 32 hexadecimal digits.
    pub id: String,
    /// Type that clients look for.
    pub kind: String,
    /// Name.
    pub name: Option<String>,
    /// Free text.
    pub description: Option<String>,
    /// Whether the catalog has it.
    pub enabled: bool,
}

/// An endpoint that somebody registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointRecord {
    /// Identifier, 32 hexadecimal digits.
    pub id: String,
    /// Service, registered or the daemon's own.
    pub service: String,
    /// `public`, `internal` or `admin`.
    pub interface: String,
    /// Region.
    pub region: Option<String>,
    /// URL, possibly with `$(project_id)s`.
    pub url: String,
    /// Whether the catalog has it.
    pub enabled: bool,
}

/// A region that somebody registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegionRecord {
    /// Identifier, chosen by who registered it.
    pub id: String,
    /// Free text.
    pub description: String,
    /// Region it is part of.
    pub parent: Option<String>,
}
