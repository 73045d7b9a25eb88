//! The one way out: reports of this host, numbered and in order.
//!
//! A single task gives each report its sequence number and hands it to the bus, so that no later
//! report can overtake an earlier one (invariant I4). While the bus is away it keeps trying; what
//! does not fit into the queue makes the actors wait, which never stops a guest.

use std::sync::Arc;
use std::time::Duration;

use reprieve_core::message::{Report, ReportBody};
use reprieve_core::ports::Bus;
use reprieve_core::{Clock, HostName};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

const QUEUE: usize = 1024;
const FIRST_RETRY: Duration = Duration::from_millis(200);
const LONGEST_RETRY: Duration = Duration::from_secs(10);

/// Handle for whoever has something to report. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Reporter {
    queue: mpsc::Sender<ReportBody>,
}

impl Reporter {
    /// A reporter and the task that has to be run for it.
    #[must_use]
    pub fn new(
        host: HostName,
        bus: Arc<dyn Bus>,
        clock: Arc<dyn Clock>,
        epoch: watch::Receiver<Option<i64>>,
    ) -> (Self, ReporterTask) {
        let (queue, waiting) = mpsc::channel(QUEUE);
        (Self { queue }, ReporterTask { host, bus, clock, epoch, waiting })
    }

    /// Queues a report. Waits while the queue is full; after shutdown it does nothing.
    pub async fn send(&self, body: ReportBody) {
        if self.queue.send(body).await.is_err() {
            debug!("a report was made after the reporter had ended");
        }
    }
}

/// The task behind [`Reporter`].
pub struct ReporterTask {
    host: HostName,
    bus: Arc<dyn Bus>,
    clock: Arc<dyn Clock>,
    epoch: watch::Receiver<Option<i64>>,
    waiting: mpsc::Receiver<ReportBody>,
}

impl ReporterTask {
    /// Sends reports until every [`Reporter`] is gone or `shutdown` is cancelled.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut current = 0;
        let mut sequence = 0;
        loop {
            let body = tokio::select! {
                biased; // what is queued goes out before the task ends
                body = self.waiting.recv() => body,
                () = shutdown.cancelled() => None,
            };
            let Some(body) = body else { return };
            let Some(epoch) = self.epoch(&shutdown).await else { return };
            if epoch != current {
                (current, sequence) = (epoch, 0);
            }
            sequence += 1;
            let at = self.clock.now();
            let report = Report { host: self.host.clone(), epoch, sequence, at, body };
            if !self.deliver(&report, &shutdown).await {
                return;
            }
        }
    }

    async fn epoch(&mut self, shutdown: &CancellationToken) -> Option<i64> {
        tokio::select! {
            epoch = self.epoch.wait_for(Option::is_some) => epoch.ok().and_then(|epoch| *epoch),
            () = shutdown.cancelled() => None,
        }
    }

    async fn deliver(&self, report: &Report, shutdown: &CancellationToken) -> bool {
        let mut pause = FIRST_RETRY;
        loop {
            let Err(error) = self.bus.report(report).await else { return true };
            warn!(%error, retry_in = ?pause, "a report could not be sent");
            tokio::select! {
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(LONGEST_RETRY),
                () = shutdown.cancelled() => return false,
            }
        }
    }
}
