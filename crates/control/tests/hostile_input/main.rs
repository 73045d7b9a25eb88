//! Whatever a client sends, the answer is an answer: in the form of the service's refusals, never a
//! 500, and the process goes on.
// A test awaits a helper that awaits the whole control plane: its future is some 130 types deep.
#![recursion_limit = "256"]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says by panicking what is wrong"
)]

mod compute;
mod identity;
mod images;
mod json;
mod requests;
#[path = "../support/mod.rs"]
mod support;
