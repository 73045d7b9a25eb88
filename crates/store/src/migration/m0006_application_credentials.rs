//! Application credentials, and services that are registered besides the daemon's own.

use super::Part::All;
use super::Step;

/// A credential ends with its user, project or last role, and its tokens end with it. Only the
/// stretched secret is stored.
const CREDENTIALS: &[&str] = &[
    "CREATE TABLE identity_application_credentials (
        id TEXT(64) NOT NULL PRIMARY KEY,
        user_id TEXT(64) NOT NULL REFERENCES identity_users (id) ON DELETE CASCADE,
        project_id TEXT(64) NOT NULL REFERENCES identity_projects (id) ON DELETE CASCADE,
        name TEXT(255) NOT NULL,
        secret_hash TEXT NOT NULL,
        description TEXT,
        unrestricted BOOLEAN NOT NULL,
        created_at BIGINT NOT NULL,
        expires_at BIGINT,
        UNIQUE (user_id, name))",
    "CREATE INDEX ix_identity_application_credentials_project
        ON identity_application_credentials (project_id)",
    "CREATE TABLE identity_application_credential_roles (
        credential_id TEXT(64) NOT NULL
            REFERENCES identity_application_credentials (id) ON DELETE CASCADE,
        role_id TEXT(64) NOT NULL REFERENCES identity_roles (id) ON DELETE CASCADE,
        PRIMARY KEY (credential_id, role_id))",
    "CREATE INDEX ix_identity_application_credential_roles_role
        ON identity_application_credential_roles (role_id)",
    "ALTER TABLE identity_tokens ADD COLUMN application_credential_id TEXT(64)
        REFERENCES identity_application_credentials (id) ON DELETE CASCADE",
    "CREATE INDEX ix_identity_tokens_application_credential
        ON identity_tokens (application_credential_id)",
];

/// An endpoint has no reference to its service, because that may be one of the daemon's own, which
/// have no row; the transaction that removes a service removes its endpoints.
const CATALOG: &[&str] = &[
    "CREATE TABLE identity_services (
        id TEXT(64) NOT NULL PRIMARY KEY,
        type TEXT NOT NULL,
        name TEXT,
        description TEXT,
        enabled BOOLEAN NOT NULL)",
    "CREATE TABLE identity_regions (
        id TEXT(255) NOT NULL PRIMARY KEY,
        description TEXT NOT NULL,
        parent_region_id TEXT)",
    "CREATE TABLE identity_endpoints (
        id TEXT(64) NOT NULL PRIMARY KEY,
        service_id TEXT(64) NOT NULL,
        interface TEXT NOT NULL CHECK (interface IN ('public', 'internal', 'admin')),
        region_id TEXT(255),
        url TEXT NOT NULL,
        enabled BOOLEAN NOT NULL)",
    "CREATE INDEX ix_identity_endpoints_service ON identity_endpoints (service_id)",
    "CREATE INDEX ix_identity_endpoints_region ON identity_endpoints (region_id)",
];

/// The step.
pub(super) const STEP: Step =
    Step::new("m0006_application_credentials", &[All(CREDENTIALS), All(CATALOG)]);
