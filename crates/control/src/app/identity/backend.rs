//! Who says whether a token is valid: this daemon, or a Keystone that is there already.

use std::sync::Arc;

use async_trait::async_trait;
use reprieve_core::ProjectId;

use super::{AuthError, Grant, token};
use crate::Control;

/// The identity service that tokens come from.
#[async_trait]
pub trait IdentityBackend: Send + Sync + 'static {
    /// What a token grants now.
    ///
    /// # Errors
    /// [`AuthError`], never `NotScoped`.
    async fn grant(&self, control: &Control, token: &str) -> Result<Arc<Grant>, AuthError>;

    /// Whether there is such a project.
    ///
    /// # Errors
    /// [`AuthError::Store`], [`AuthError::Unavailable`].
    async fn has_project(&self, control: &Control, project: &ProjectId) -> Result<bool, AuthError>;

    /// Where clients get tokens, ending in `/v3`, unless that is this daemon.
    fn external_url(&self) -> Option<&str>;
}

/// The identity service of this daemon.
#[derive(Debug, Clone, Copy, Default)]
pub struct BuiltIn;

#[async_trait]
impl IdentityBackend for BuiltIn {
    async fn grant(&self, control: &Control, token: &str) -> Result<Arc<Grant>, AuthError> {
        token::lookup(control, token).await
    }

    async fn has_project(&self, control: &Control, project: &ProjectId) -> Result<bool, AuthError> {
        Ok(control.store.project(project).await.map_err(AuthError::Store)?.is_some())
    }

    fn external_url(&self) -> Option<&str> {
        None
    }
}
