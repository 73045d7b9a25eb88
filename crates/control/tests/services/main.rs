//! The identity and the image service through the real router, on a real database and directory.

mod harness;
mod identity;
mod images;
mod uploads;
