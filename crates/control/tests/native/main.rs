//! Our own API, on the real router.
// A test awaits a helper that awaits the whole control plane: its future is some 130 types deep.
#![recursion_limit = "256"]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(dead_code, reason = "the support is shared with other tests")]

mod audit;
mod cancel;
mod events;
mod hostile;
mod hosts;
mod metrics;
mod operations;
mod reader;
#[path = "../support/mod.rs"]
mod support;
