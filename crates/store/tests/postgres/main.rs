//! Everything that is tested on SQLite, on PostgreSQL: the same files, in a program of another name,
//! which is how `common` knows. And what only a database for several processes promises.

#![allow(
    clippy::duplicate_mod,
    reason = "on SQLite each of the files is a program, which brings what it shares with others"
)]

#[path = "../cancel.rs"]
mod cancel;
#[path = "../claims.rs"]
mod claims;
#[path = "../console_tokens.rs"]
mod console_tokens;
#[path = "../deadlines.rs"]
mod deadlines;
#[path = "../host_reboot.rs"]
mod host_reboot;
#[path = "../hosts.rs"]
mod hosts;
#[path = "../instance_cache.rs"]
mod instance_cache;
#[path = "../listing.rs"]
mod listing;
#[path = "../notifications.rs"]
mod notifications;
#[path = "../operation_list.rs"]
mod operation_list;
#[path = "../operations.rs"]
mod operations;
#[path = "../quotas.rs"]
mod quotas;
#[path = "../refusals.rs"]
mod refusals;
#[path = "../reports.rs"]
mod reports;
#[path = "../small_tables.rs"]
mod small_tables;
#[path = "../together.rs"]
mod together;
#[path = "../vitals.rs"]
mod vitals;

mod server;
