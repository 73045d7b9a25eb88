//! The bus, on every transport: what all promise (`contract`), and what each promises by itself.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test stops at the first surprise"
)]

mod contract;
mod faults;
mod in_process;
mod notifications;
mod rabbitmq;
mod support;
