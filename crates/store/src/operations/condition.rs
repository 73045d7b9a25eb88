//! What callers want to be true of a server before an operation of it is admitted.

use std::fmt;
use std::sync::Arc;

use crate::StoreError;
use crate::record::InstanceRecord;

/// What has to be true of a server besides what the state machine says: whose it is, and whether the
/// caller may do that. It is decided in the transaction of the admission, so the server need not be
/// read before, and cannot have changed since.
#[derive(Clone, Default)]
pub struct Condition(Option<Arc<Check>>);

/// Says no with a reason of the caller's own.
type Check = dyn Fn(&InstanceRecord) -> Result<(), Refusal> + Send + Sync;

/// Why a [`Condition`] does not hold; the caller's own error.
pub type Refusal = Box<dyn std::error::Error + Send + Sync>;

impl Condition {
    /// One that is to be checked.
    pub fn new<F>(check: F) -> Self
    where
        F: Fn(&InstanceRecord) -> Result<(), Refusal> + Send + Sync + 'static,
    {
        Self(Some(Arc::new(check)))
    }

    /// Checks it.
    pub(super) fn check(&self, server: &InstanceRecord) -> Result<(), StoreError> {
        self.0.as_ref().map_or(Ok(()), |check| check(server)).map_err(StoreError::Refused)
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Condition" } else { "None" })
    }
}
