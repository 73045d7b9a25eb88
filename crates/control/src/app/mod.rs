//! Use cases: authorise, decide, record. No HTTP and no SQL.

mod error;
pub mod flavors;
pub mod identity;
pub mod images;
pub mod keypairs;
pub mod secret;
pub mod servers;

use reprieve_core::{Caller, RequestId};
use reprieve_store::NewAction;

use crate::Control;
use crate::auth::AuthContext;
pub use error::AppError;

/// One request: what it needs, who makes it, and its id, which follows it through every log line.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    /// Services.
    pub control: &'a Control,
    /// Who asks.
    pub auth: &'a AuthContext,
    /// Which request this is.
    pub request_id: &'a RequestId,
}

impl Call<'_> {
    /// What of the caller matters for admission.
    #[must_use]
    pub fn caller(&self) -> Caller {
        Caller { is_admin: self.auth.is_admin() }
    }

    /// Who asks, for the instance action.
    #[must_use]
    pub fn action(&self) -> NewAction {
        NewAction {
            request_id: self.request_id.clone(),
            user_id: self.auth.user_id.clone(),
            project_id: self.auth.project_id.clone(),
        }
    }
}
