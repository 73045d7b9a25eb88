//! Background work of the conductor role: what was decided is carried out, what happened is recorded.
//!
//! ```text
//! outbox ─▶ dispatch ─▶ bus ─▶ compute
//! tables ◀─ reports  ◀─ bus ◀─
//! ```

pub mod dispatch;
pub mod reports;
