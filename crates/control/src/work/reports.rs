//! Takes reports of the compute hosts from the bus and applies them.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::Control;

/// Runs until `shutdown` is cancelled.
pub async fn run(_control: Arc<Control>, shutdown: CancellationToken) {
    shutdown.cancelled().await;
}
