//! Tokens, looked up by the hash of their text.

use reprieve_core::Timestamp;
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, EntityTrait as _, FromQueryResult, QueryFilter as _,
};

use super::entity::token;
use super::{CredentialFacts, TokenRecord, TokenView};
use crate::db::statement;
use crate::{Store, StoreError};

/// One row per role; a token without roles gives one row without role. `g` is the role that was
/// granted, `r` it and what it implies: admin ⊃ manager ⊃ member ⊃ reader, as Keystone bootstraps
/// them. The table of roles is tiny, so the second join may scan it. A token of an application
/// credential has of these roles only the credential's.
const LOOKUP: &str = "SELECT DISTINCT t.hash, t.user_id, t.project_id, t.methods, t.audit_id, \
     t.parent_audit_id, t.issued_at, t.expires_at, u.name AS user_name, u.enabled AS user_enabled, \
     p.name AS project_name, p.enabled AS project_enabled, r.id AS role_id, r.name AS role_name, \
     t.application_credential_id, c.name AS credential_name, \
     c.unrestricted AS credential_unrestricted, c.expires_at AS credential_expires_at \
     FROM identity_tokens t \
     JOIN identity_users u ON u.id = t.user_id \
     LEFT JOIN identity_projects p ON p.id = t.project_id \
     LEFT JOIN identity_application_credentials c ON c.id = t.application_credential_id \
     LEFT JOIN identity_assignments a ON a.user_id = t.user_id AND a.project_id = t.project_id \
     LEFT JOIN identity_roles g ON g.id = a.role_id \
     LEFT JOIN identity_roles r ON (r.id = g.id \
        OR (g.name = 'admin' AND r.name IN ('manager', 'member', 'reader')) \
        OR (g.name = 'manager' AND r.name IN ('member', 'reader')) \
        OR (g.name = 'member' AND r.name = 'reader')) \
        AND (t.application_credential_id IS NULL OR r.id IN (SELECT x.role_id \
             FROM identity_application_credential_roles x \
             WHERE x.credential_id = t.application_credential_id)) \
     WHERE t.hash = $1 ORDER BY r.name";

#[derive(FromQueryResult)]
struct Row {
    hash: String,
    user_id: String,
    project_id: Option<String>,
    methods: String,
    audit_id: String,
    parent_audit_id: Option<String>,
    issued_at: i64,
    expires_at: i64,
    user_name: String,
    user_enabled: bool,
    project_name: Option<String>,
    project_enabled: Option<bool>,
    role_id: Option<String>,
    role_name: Option<String>,
    application_credential_id: Option<String>,
    credential_name: Option<String>,
    credential_unrestricted: Option<bool>,
    credential_expires_at: Option<i64>,
}

impl Store {
    /// A token with everything that decides whether it is valid. The caller decides.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn token(&self, hash: &str) -> Result<Option<TokenView>, StoreError> {
        let db = self.reader();
        let statement = statement(db, LOOKUP, [hash.into()]);
        let rows = Row::find_by_statement(statement).all(db).await;
        let mut view: Option<TokenView> = None;
        for mut row in rows.map_err(StoreError::db("look a token up"))? {
            let role = row.role_id.take().zip(row.role_name.take());
            view.get_or_insert_with(|| row.into_view()).roles.extend(role);
        }
        Ok(view)
    }

    /// Records a token. Not flushed to disk: a power cut costs a login, which is less than an
    /// fsync per login.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn create_token(&self, record: TokenRecord) -> Result<(), StoreError> {
        let tx = self.begin_lazy_beside().await?;
        let model = token::ActiveModel {
            hash: Set(record.hash),
            user_id: Set(record.user.to_string()),
            project_id: Set(record.project.map(|id| id.to_string())),
            methods: Set(record.methods),
            audit_id: Set(record.audit_id),
            parent_audit_id: Set(record.parent_audit_id),
            issued_at: Set(record.issued_at.micros()),
            expires_at: Set(record.expires_at.micros()),
            application_credential_id: Set(record.application_credential),
        };
        token::Entity::insert(model)
            .exec_without_returning(&*tx)
            .await
            .map_err(StoreError::db("record a token"))?;
        tx.commit().await
    }

    /// Ends a token; `false` when there is none with this hash.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn delete_token(&self, hash: &str) -> Result<bool, StoreError> {
        let tx = self.begin_beside().await?;
        let done = token::Entity::delete_by_id(hash).exec(&*tx).await;
        let done = done.map_err(StoreError::db("end a token"))?;
        tx.commit().await?;
        Ok(done.rows_affected > 0)
    }

    /// Removes tokens that ended before `now`; returns how many.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn purge_tokens(&self, now: Timestamp) -> Result<u64, StoreError> {
        let tx = self.begin_lazy().await?;
        let done = token::Entity::delete_many()
            .filter(token::Column::ExpiresAt.lte(now.micros()))
            .exec(&*tx)
            .await
            .map_err(StoreError::db("remove expired tokens"))?;
        tx.commit().await?;
        Ok(done.rows_affected)
    }
}

impl Row {
    fn into_view(self) -> TokenView {
        let facts = self.credential_name.zip(self.credential_unrestricted);
        TokenView {
            token: TokenRecord {
                hash: self.hash,
                user: self.user_id.into(),
                project: self.project_id.map(Into::into),
                methods: self.methods,
                audit_id: self.audit_id,
                parent_audit_id: self.parent_audit_id,
                issued_at: Timestamp::from_micros(self.issued_at),
                expires_at: Timestamp::from_micros(self.expires_at),
                application_credential: self.application_credential_id,
            },
            user_name: self.user_name,
            user_enabled: self.user_enabled,
            project: self.project_name.zip(self.project_enabled),
            roles: Vec::new(),
            credential: facts.map(|(name, unrestricted)| CredentialFacts {
                name,
                unrestricted,
                expires_at: self.credential_expires_at.map(Timestamp::from_micros),
            }),
        }
    }
}
