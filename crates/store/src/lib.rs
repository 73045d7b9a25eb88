//! The control plane's database.
//!
//! Owns the schema and every statement that touches it. Callers see records and typed outcomes,
//! never SQL. SQLite, PostgreSQL or MariaDB: one query builder, text ids, microsecond integers, text
//! enums with CHECK constraints, JSON as text. Where they differ: how connections are made and what
//! they call the same thing (`db`), what limits the schema has (`migration`), what is locked (`locks`),
//! and how changes are numbered (`notifications`).
//!
//! Invariants kept here, by the database where it can:
//! - I1: `operations.active_key` is unique, so a server has at most one active operation.
//! - I4: a report changes a server only if its (epoch, sequence) is newer than the last one that did.
//! - I5: a CHECK ties `instances.task_state` to `instances.active_op`: both set or both NULL.
//!
//! ```text
//! operations.state
//!   pending ──claim──▶ dispatched ──accepted──▶ running ──finished──▶ succeeded | failed
//!      │                   │                      │
//!      │                   └──────────────────────┴─ stop ──▶ cancelling ──▶ cancelled | succeeded
//!      └─ not wanted any more ──▶ cancelled                                           | failed
//! ```

mod aggregates;
mod claims;
mod column_filter;
mod console_tokens;
mod convert;
pub mod error;
mod flavors;
mod hosts;
pub mod identity;
pub mod images;
mod instance_cache;
mod instance_query;
mod instances;
mod keypairs;
mod locks;
mod migration;
mod notification_readers;
mod notifications;
mod operations;
mod pattern;
mod quotas;
pub mod record;
mod rows;
mod server_groups;
mod server_usage;
mod vitals;

mod db;
mod entity;

pub use aggregates::{AggregateError, AggregateRecord, AggregateUpdate, NewAggregate, ZONE};
pub use claims::{HostUsage, Situation};
pub use column_filter::ColumnFilter;
pub use console_tokens::{ConsoleTokenRecord, TOKENS_OF_SERVER};
pub use db::{Location, Reader, Statements, Store, Transaction, WriteTx};
pub use error::StoreError;
pub use flavors::{FlavorQuery, NewFlavor};
pub use hosts::{Greeting, HostRemoval, HostUpdate, Registration, Usage};
pub use instance_query::{
    ApiStatus, Deleted, InstanceFilter, InstancePage, InstanceQuery, SortDirection, SortKey,
};
pub use instances::{InstanceUpdate, NewInstance, Placement};
pub use keypairs::NewKeypair;
pub use notifications::{NotificationQuery, NotificationRecord};
pub use operations::{
    Admitted, ApplyOutcome, CancelOutcome, Condition, Ended, HandOver, NewAction, NewOperation,
    OperationQuery, PendingCommand, PendingWork, Refusal,
};
pub use quotas::QuotaUse;
pub use record::{
    DiskConfig, EventResult, FaultRecord, FlavorRecord, FlavorSnapshot, HostRecord, HostState,
    InstanceRecord, KeypairRecord, OperationEvent, OperationRecord, OperationState, SchedulerHints,
    StepRecord,
};
pub use server_groups::{GroupMember, NewServerGroup, ServerGroupRecord};
pub use server_usage::UsageQuery;
pub use vitals::{Backlog, HostLoad, Unfinished, Unread, Vitals};
