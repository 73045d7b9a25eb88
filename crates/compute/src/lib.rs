//! The compute agent: owns the reality of one host.
//!
//! It receives operations from the control plane, makes each of them durable in its own ledger,
//! runs their steps on the hypervisor and on the instance's files, and reports what came of it. It
//! does not know the control plane's database.
//!
//! ```text
//! bus -> inbox (fence, ledger fsync, ack) -> actor (one per server) -> executor -> steps
//!                                                     |                               |
//!        reporter (one, ordered) <--------------------+        hypervisor, files, saved memory
//! proxy -> console (ticket) -> pseudo-terminal of a guest
//! ```
//!
//! Invariants kept here: I2 (the ledger row is durable before the first effect), I3 (every step is
//! probe, apply, probe), I6 (an unknown outcome ends the operation with `needs_attention`), I7 (the
//! agent never touches a guest without an operation), I8 and I9 (see [`steps`]).

pub mod actor;
pub mod agent;
pub mod console;
pub mod deleted;
pub mod executor;
pub mod host;
pub mod ledger;
pub mod metrics;
pub mod registration;
pub mod reporter;
pub mod steps;
mod unknown;

pub use agent::{Agent, AgentConfig, AgentError};
