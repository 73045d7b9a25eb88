//! Use cases: authorise, decide, record. No HTTP and no SQL.

pub mod identity;
pub mod images;
