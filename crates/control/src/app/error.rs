//! Why a use case was refused or failed, in the words that the API answers with.

use reprieve_core::ports::BusError;
use reprieve_core::quota::Resource;
use reprieve_core::sealed::SealError;
use reprieve_core::{Denied, InstanceId};
use reprieve_store::StoreError;

use super::identity::AuthError;
use super::images::ImageError;

/// A refused or failed use case of the compute service. Displays as the text for the client, except
/// [`AppError::Internal`], whose text and causes are for the log.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// 404.
    #[error("{0}")]
    NotFound(String),
    /// 400.
    #[error("{0}")]
    BadRequest(String),
    /// 403.
    #[error("{0}")]
    Forbidden(String),
    /// 403: a quota would be exceeded.
    #[error("{0}")]
    QuotaExceeded(String),
    /// 409.
    #[error("{0}")]
    Conflict(String),
    /// 409: the state machine says no.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// 503: a service that is needed is down. Its cause is for the log, not for the client.
    #[error("{what} failed because another service cannot be reached; try again")]
    Unavailable {
        /// What was attempted.
        what: &'static str,
        /// Cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// 500. Its causes are for the log, not for the client.
    #[error("{what} failed")]
    Internal {
        /// What was attempted.
        what: &'static str,
        /// Cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl AppError {
    /// 404 for a server that does not exist or that the caller must not know of.
    #[must_use]
    pub fn no_server(id: InstanceId) -> Self {
        Self::NotFound(format!("Instance {id} could not be found."))
    }

    /// 403 in Nova's words for a policy rule.
    #[must_use]
    pub fn policy(rule: &str) -> Self {
        Self::Forbidden(format!("Policy doesn't allow {rule} to be performed."))
    }

    /// An image that could not be looked at, for another reason than that it is not there.
    #[must_use]
    pub fn image(what: &'static str, error: ImageError) -> Self {
        match error {
            ImageError::Unavailable(source) => Self::Unavailable { what, source },
            other => Self::Internal { what, source: Box::new(other) },
        }
    }

    /// 500 with its cause.
    pub fn internal<E>(what: &'static str) -> impl FnOnce(E) -> Self
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        move |source| Self::Internal { what, source: Box::new(source) }
    }
}

impl From<StoreError> for AppError {
    /// Outcomes that a client can do something about keep their meaning; callers that have better
    /// words for them match on [`StoreError`] first.
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Denied(denied) => Self::Denied(denied),
            StoreError::Refused(source) => match source.downcast::<Self>() {
                Ok(refusal) => *refusal,
                Err(source) => Self::Internal { what: "a condition of an operation", source },
            },
            StoreError::Raced(_) | StoreError::Exists { .. } => Self::Conflict(error.to_string()),
            StoreError::OverQuota(over) => Self::QuotaExceeded(over.to_string()),
            StoreError::QuotaReached(resource) => Self::QuotaExceeded(too_many(resource)),
            StoreError::NotFound { .. } => Self::NotFound(error.to_string()),
            StoreError::BadQuery(text) => Self::BadRequest(text),
            StoreError::Database { .. }
            | StoreError::Open { .. }
            | StoreError::Connect { .. }
            | StoreError::Unsuitable { .. }
            | StoreError::Corrupt { .. } => {
                Self::Internal { what: "a database call", source: Box::new(error) }
            }
        }
    }
}

/// Nova's words for a quota that is used up.
fn too_many(resource: Resource) -> String {
    match resource {
        Resource::KeyPairs => "Quota exceeded, too many key pairs.".to_owned(),
        Resource::ServerGroups => "Quota exceeded, too many server groups.".to_owned(),
        Resource::ServerGroupMembers => "Quota exceeded, too many servers in group".to_owned(),
        Resource::Cores
        | Resource::InjectedFileContentBytes
        | Resource::InjectedFilePathBytes
        | Resource::InjectedFiles
        | Resource::Instances
        | Resource::MetadataItems
        | Resource::Ram
        | Resource::FixedIps
        | Resource::FloatingIps
        | Resource::SecurityGroupRules
        | Resource::SecurityGroups => format!("Quota exceeded for {resource}."),
    }
}

impl From<AuthError> for AppError {
    /// Of a question to the identity service about something else than the caller's token.
    fn from(error: AuthError) -> Self {
        let what = "a question to the identity service";
        match error {
            AuthError::Unavailable(source) => Self::Unavailable { what, source },
            AuthError::Store(error) => error.into(),
            AuthError::Unauthenticated | AuthError::NotScoped => {
                Self::Internal { what, source: Box::new(error) }
            }
        }
    }
}

impl From<BusError> for AppError {
    fn from(error: BusError) -> Self {
        Self::Internal { what: "a message to a compute host", source: Box::new(error) }
    }
}

impl From<SealError> for AppError {
    fn from(error: SealError) -> Self {
        Self::Internal { what: "sealing a secret", source: Box::new(error) }
    }
}
