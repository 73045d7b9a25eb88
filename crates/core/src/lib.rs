//! The pure heart of Reprieve.
//!
//! Owns the vocabulary (ids, states, operations, messages), every decision that can be made from
//! data alone (`admit`, `plan`, `conclude`, `power_sync`), and the ports through which the other
//! crates reach the world. Nothing here does I/O, blocks, or knows SQL, HTTP or XML, so every rule
//! can be tested exhaustively.
//!
//! ```text
//! request -> admit(state, kind) -> Denied (409) | Admitted{task_state}
//!                                     | plan(kind) -> [Step]   sent to the compute host
//! report  -> conclude(kind, prior state, result) -> next state
//! new servers + hosts -> schedule::choose -> host | NoHost
//! observation without an operation -> power_sync(state, observation) -> next state
//! the first observation after its host was restarted -> after_reboot(policy, state) -> next state
//! committed change -> notification::notifications(change) -> what others are told
//! ```

pub mod admit;
pub mod cancel;
pub mod conclude;
pub mod console;
pub mod fault;
pub mod foreign;
pub mod group;
pub mod ids;
pub mod image_format;
pub mod message;
pub mod notification;
pub mod operation;
pub mod plan;
pub mod policy;
pub mod ports;
pub mod quota;
pub mod reboot;
pub mod schedule;
pub mod sealed;
pub mod spec;
pub mod state;
pub mod stats;
pub mod time;

pub use admit::{Admission, Caller, Denied, Lock, Subject, admit};
pub use fault::Fault;
pub use ids::{
    HostName, ImageId, InstanceId, OperationId, ProjectId, RequestId, ServerGroupId, UserId,
};
pub use operation::OperationKind;
pub use plan::Step;
pub use sealed::{Sealed, SealingKey};
pub use state::{PowerReason, PowerState, TaskState, VmState};
pub use time::{Clock, SystemClock, Timestamp};
