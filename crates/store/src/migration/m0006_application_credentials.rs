//! Application credentials, and services that are registered besides the daemon's own.

use sea_orm::ConnectionTrait;
use sea_orm_migration::prelude::*;

/// Application credentials with their roles; services, endpoints and regions of the catalog.
#[derive(DeriveMigrationName)]
pub struct Migration;

/// A credential ends with its user, project or last role, and its tokens end with it. Only the
/// stretched secret is stored.
const CREDENTIALS: &[&str] = &[
    "CREATE TABLE identity_application_credentials (
        id TEXT NOT NULL PRIMARY KEY,
        user_id TEXT NOT NULL REFERENCES identity_users (id) ON DELETE CASCADE,
        project_id TEXT NOT NULL REFERENCES identity_projects (id) ON DELETE CASCADE,
        name TEXT NOT NULL,
        secret_hash TEXT NOT NULL,
        description TEXT,
        unrestricted BOOLEAN NOT NULL,
        created_at BIGINT NOT NULL,
        expires_at BIGINT,
        UNIQUE (user_id, name))",
    "CREATE INDEX ix_identity_application_credentials_project
        ON identity_application_credentials (project_id)",
    "CREATE TABLE identity_application_credential_roles (
        credential_id TEXT NOT NULL
            REFERENCES identity_application_credentials (id) ON DELETE CASCADE,
        role_id TEXT NOT NULL REFERENCES identity_roles (id) ON DELETE CASCADE,
        PRIMARY KEY (credential_id, role_id))",
    "CREATE INDEX ix_identity_application_credential_roles_role
        ON identity_application_credential_roles (role_id)",
    "ALTER TABLE identity_tokens ADD COLUMN application_credential_id TEXT
        REFERENCES identity_application_credentials (id) ON DELETE CASCADE",
    "CREATE INDEX ix_identity_tokens_application_credential
        ON identity_tokens (application_credential_id)",
];

/// An endpoint has no reference to its service, because that may be one of the daemon's own, which
/// have no row; the transaction that removes a service removes its endpoints.
const CATALOG: &[&str] = &[
    "CREATE TABLE identity_services (
        id TEXT NOT NULL PRIMARY KEY,
        type TEXT NOT NULL,
        name TEXT,
        description TEXT,
        enabled BOOLEAN NOT NULL)",
    "CREATE TABLE identity_regions (
        id TEXT NOT NULL PRIMARY KEY,
        description TEXT NOT NULL,
        parent_region_id TEXT)",
    "CREATE TABLE identity_endpoints (
        id TEXT NOT NULL PRIMARY KEY,
        service_id TEXT NOT NULL,
        interface TEXT NOT NULL CHECK (interface IN ('public', 'internal', 'admin')),
        region_id TEXT,
        url TEXT NOT NULL,
        enabled BOOLEAN NOT NULL)",
    "CREATE INDEX ix_identity_endpoints_service ON identity_endpoints (service_id)",
    "CREATE INDEX ix_identity_endpoints_region ON identity_endpoints (region_id)",
];

#[async_trait::async_trait]
#[allow(
    elided_lifetimes_in_paths,
    reason = "the trait's method elides it too and has to be matched"
)]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for statement in CREDENTIALS.iter().chain(CATALOG) {
            manager.get_connection().execute_unprepared(statement).await?;
        }
        Ok(())
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}
