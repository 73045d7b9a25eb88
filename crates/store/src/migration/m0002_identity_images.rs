//! Tables of the identity and the image service.

use super::Part::All;
use super::Step;

/// Tokens hold no secret: `hash` is the BLAKE3 of what the client has. Names are unique because
/// there is one domain. Deleting a user or project takes its tokens and assignments along.
const IDENTITY: &[&str] = &[
    "CREATE TABLE identity_users (
        id TEXT(64) NOT NULL PRIMARY KEY,
        name TEXT(255) NOT NULL UNIQUE,
        enabled BOOLEAN NOT NULL,
        password_hash TEXT,
        default_project_id TEXT,
        description TEXT,
        email TEXT,
        created_at BIGINT NOT NULL)",
    "CREATE TABLE identity_projects (
        id TEXT(64) NOT NULL PRIMARY KEY,
        name TEXT(255) NOT NULL UNIQUE,
        enabled BOOLEAN NOT NULL,
        description TEXT NOT NULL,
        created_at BIGINT NOT NULL)",
    "CREATE TABLE identity_roles (
        id TEXT(64) NOT NULL PRIMARY KEY,
        name TEXT(255) NOT NULL UNIQUE,
        description TEXT)",
    "CREATE TABLE identity_assignments (
        user_id TEXT(64) NOT NULL REFERENCES identity_users (id) ON DELETE CASCADE,
        project_id TEXT(64) NOT NULL REFERENCES identity_projects (id) ON DELETE CASCADE,
        role_id TEXT(64) NOT NULL REFERENCES identity_roles (id) ON DELETE CASCADE,
        PRIMARY KEY (user_id, project_id, role_id))",
    "CREATE INDEX ix_identity_assignments_project ON identity_assignments (project_id)",
    "CREATE INDEX ix_identity_assignments_role ON identity_assignments (role_id)",
    "CREATE TABLE identity_tokens (
        hash TEXT(128) NOT NULL PRIMARY KEY,
        user_id TEXT(64) NOT NULL REFERENCES identity_users (id) ON DELETE CASCADE,
        project_id TEXT(64) REFERENCES identity_projects (id) ON DELETE CASCADE,
        methods TEXT NOT NULL,
        audit_id TEXT NOT NULL,
        parent_audit_id TEXT,
        issued_at BIGINT NOT NULL,
        expires_at BIGINT NOT NULL)",
    "CREATE INDEX ix_identity_tokens_user ON identity_tokens (user_id)",
    "CREATE INDEX ix_identity_tokens_project ON identity_tokens (project_id)",
    "CREATE INDEX ix_identity_tokens_expires ON identity_tokens (expires_at)",
];

/// The CHECK ties the data's columns to the status: what is known of the data is known completely,
/// and exactly while there is data.
const IMAGES: &[&str] = &[
    "CREATE TABLE images (
        id TEXT(36) NOT NULL PRIMARY KEY,
        name TEXT(255),
        status TEXT NOT NULL CHECK (status IN ('queued', 'saving', 'active', 'deactivated')),
        visibility TEXT NOT NULL
            CHECK (visibility IN ('public', 'private', 'shared', 'community')),
        owner TEXT(255),
        disk_format TEXT CHECK (disk_format IN ('raw', 'qcow2', 'iso')),
        container_format TEXT CHECK (container_format IN ('bare')),
        size BIGINT,
        virtual_size BIGINT,
        md5 TEXT,
        sha512 TEXT,
        upload_id TEXT,
        min_disk BIGINT NOT NULL,
        min_ram BIGINT NOT NULL,
        protected BOOLEAN NOT NULL,
        hidden BOOLEAN NOT NULL,
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL,
        CHECK ((status IN ('active', 'deactivated')) = (size IS NOT NULL)),
        CHECK ((size IS NULL) = (virtual_size IS NULL)),
        CHECK ((size IS NULL) = (md5 IS NULL)),
        CHECK ((size IS NULL) = (sha512 IS NULL)),
        CHECK ((status = 'saving') = (upload_id IS NOT NULL)))",
    "CREATE INDEX ix_images_created ON images (created_at, id)",
    "CREATE INDEX ix_images_name ON images (name)",
    "CREATE INDEX ix_images_owner ON images (owner)",
    "CREATE TABLE image_properties (
        image_id TEXT(36) NOT NULL REFERENCES images (id) ON DELETE CASCADE,
        name TEXT(255) NOT NULL,
        value TEXT NOT NULL,
        PRIMARY KEY (image_id, name))",
    "CREATE INDEX ix_image_properties_value ON image_properties (name, value /*M! (255) */)",
    "CREATE TABLE image_tags (
        image_id TEXT(36) NOT NULL REFERENCES images (id) ON DELETE CASCADE,
        tag TEXT(255) NOT NULL,
        PRIMARY KEY (image_id, tag))",
    "CREATE TABLE image_members (
        image_id TEXT(36) NOT NULL REFERENCES images (id) ON DELETE CASCADE,
        member_id TEXT(255) NOT NULL,
        status TEXT NOT NULL CHECK (status IN ('pending', 'accepted', 'rejected')),
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL,
        PRIMARY KEY (image_id, member_id))",
    "CREATE INDEX ix_image_members_member ON image_members (member_id)",
];

/// The step.
pub(super) const STEP: Step = Step::new("m0002_identity_images", &[All(IDENTITY), All(IMAGES)]);
