//! Background work of the conductor role: what was decided is carried out, what happened is recorded.
//!
//! ```text
//! outbox ─▶ dispatch ─▶ bus ─▶ compute
//!    app ─▶ hand_over ─┘
//! tables ◀─ reports  ◀─ bus ◀─
//! changes ─▶ notify ─▶ streams ─▶ http
//! ```

pub mod dispatch;
mod hand_over;
pub mod notify;
mod patience;
pub mod reports;
pub mod streams;

use std::sync::Arc;
use std::time::Duration;

pub use hand_over::HandOvers;
pub use patience::Patience;

/// How notifications leave this process.
pub struct Notifications {
    /// Name under which the API publishes: `nova-api:<host>`.
    pub api_host: String,
    /// Streams of connected clients.
    pub streams: Arc<streams::Streams>,
    /// How often a quiet stream shows that it is alive and looks whether its token still is.
    pub keepalive: Duration,
}

impl Notifications {
    /// Published under the name of this host.
    #[must_use]
    pub fn of(api_host: impl Into<String>) -> Self {
        let keepalive = Duration::from_secs(10);
        Self { api_host: api_host.into(), streams: Arc::default(), keepalive }
    }
}
