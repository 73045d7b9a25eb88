//! Operations: admission, dispatch, and what the reports of the hosts make of them.

use reprieve_core::message::OperationArgs;
use reprieve_core::{
    Admission, Caller, InstanceId, OperationId, OperationKind, ProjectId, RequestId, UserId,
};

use crate::record::{InstanceRecord, OperationRecord, StepRecord};
use crate::{Store, StoreError};

/// Who does something, for the instance action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAction {
    /// Request.
    pub request_id: RequestId,
    /// Who asks.
    pub user_id: UserId,
    /// Project of who asks.
    pub project_id: ProjectId,
}

/// An operation to admit.
#[derive(Debug, Clone)]
pub struct NewOperation {
    /// Server.
    pub instance_id: InstanceId,
    /// Kind.
    pub kind: OperationKind,
    /// Arguments.
    pub args: OperationArgs,
    /// What of the caller matters for admission.
    pub caller: Caller,
    /// Who asks.
    pub by: NewAction,
}

/// Alias that reads well at call sites.
pub type Admit = NewOperation;

/// What admission did.
#[derive(Debug, Clone, PartialEq)]
pub struct Admitted {
    /// How.
    pub admission: Admission,
    /// The server afterwards.
    pub instance: InstanceRecord,
    /// The operation; `None` when the same was under way already.
    pub operation: Option<OperationRecord>,
}

/// What has to be sent to a host.
#[derive(Debug, Clone, PartialEq)]
pub enum PendingWork {
    /// Run the operation.
    Run,
    /// Cancel it.
    Cancel,
}

/// An outbox row with everything that its message is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct PendingCommand {
    /// What to send.
    pub work: PendingWork,
    /// The operation.
    pub operation: OperationRecord,
    /// Its server.
    pub instance: InstanceRecord,
    /// Current epoch of the host.
    pub host_epoch: i64,
    /// How often it was sent, this time included.
    pub attempt: u32,
}

/// What a report did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApplyOutcome {
    /// Old, repeated or from a fenced host: nothing was changed.
    Ignored(&'static str),
    /// Written; nothing else to do.
    Applied,
}

impl Store {
    /// Decides and records one operation in one transaction: operation, server, outbox.
    ///
    /// # Errors
    /// [`StoreError::Denied`] when the state machine says no, also after a lost race;
    /// [`StoreError::NotFound`] when there is no such server or it is deleted.
    pub async fn admit(&self, _new: NewOperation) -> Result<Admitted, StoreError> {
        Err(StoreError::BadQuery("unfinished".into()))
    }

    /// Instance actions of a server, newest first; also of a deleted one.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Corrupt`].
    pub async fn operations_of(
        &self,
        _id: InstanceId,
    ) -> Result<Vec<OperationRecord>, StoreError> {
        Err(StoreError::BadQuery("unfinished".into()))
    }

    /// One operation.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Corrupt`].
    pub async fn operation(
        &self,
        _id: OperationId,
    ) -> Result<Option<OperationRecord>, StoreError> {
        Err(StoreError::BadQuery("unfinished".into()))
    }

    /// The instance action that a request caused on a server.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Corrupt`].
    pub async fn operation_by_request(
        &self,
        _instance: InstanceId,
        _request: &RequestId,
    ) -> Result<Option<OperationRecord>, StoreError> {
        Err(StoreError::BadQuery("unfinished".into()))
    }

    /// Audit of an operation, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Corrupt`].
    pub async fn steps_of(&self, _id: OperationId) -> Result<Vec<StepRecord>, StoreError> {
        Err(StoreError::BadQuery("unfinished".into()))
    }
}
