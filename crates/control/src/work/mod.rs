//! Background work of the conductor role: what was decided is carried out, what happened is recorded.
//!
//! ```text
//! outbox ─▶ dispatch ─▶ bus ─▶ compute
//!    app ─▶ hand_over ─┘
//! tables ◀─ reports  ◀─ bus ◀─
//! ```

pub mod dispatch;
mod hand_over;
pub mod reports;

pub use hand_over::HandOvers;
