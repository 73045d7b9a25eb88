//! The identity and the image service through the real router, on a real database and directory.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper of a test fails the test"
)]

mod credentials;
mod harness;
mod host_images;
mod identity;
mod images;
mod registry;
mod uploads;
