//! Passes on what was committed: reads noted changes in their order, makes notifications of them and
//! gives them to an emitter.
//!
//! Nothing waits for this: the changes are in the database, and when an emitter is slow or its broker
//! is down they pile up there, bounded by [`KEEP`]. What was dropped is counted and the emitter is
//! told. When nobody listens, nothing is made. A broker is told of each change at least once, also
//! over restarts and when several processes pass on to it.

use std::sync::Arc;
use std::time::Duration;

use reprieve_core::notification::{Notification, notifications};
use reprieve_core::ports::Emitter;
use reprieve_store::{NotificationQuery, NotificationRecord, Store, StoreError};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::dispatch::chain;
use crate::Control;

/// Target of this role's log lines.
const LOG: &str = "reprieve::conductor";
/// Changes that are kept for clients that come back and for brokers that are down.
pub const KEEP: u32 = 10_000;
/// How often old changes are dropped.
const TRIM: Duration = Duration::from_secs(10);
/// How often changes are looked for when nobody rings, as another process may write them.
const SCAN: Duration = Duration::from_secs(2);
/// Changes read at a time.
const BATCH: u64 = 100;
/// Longest that an emitter may take for a batch.
const EMIT: Duration = Duration::from_secs(30);
/// Pause before a failed emitter is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// Runs until `shutdown` is cancelled; then the streams of this process end, too.
pub async fn run(control: Arc<Control>, shutdown: CancellationToken) {
    let streams = Arc::clone(&control.notifications.streams);
    let mut relay = Relay::new(&control.store, streams.as_ref(), &control.notifications.api_host);
    while let Err(error) = relay.look().await {
        if pause(&error, &shutdown).await {
            return;
        }
    }
    streams.open();
    tokio::join!(relay.run(&shutdown), trim(&control.store, &shutdown));
    streams.close();
}

/// Passes on to a broker until `shutdown` is cancelled. How far it came is in the database under the
/// name `reader`, so that a restart goes on from there and one of several processes does it.
pub async fn run_kept(
    control: Arc<Control>,
    emitter: Arc<dyn Emitter>,
    reader: &'static str,
    shutdown: CancellationToken,
) {
    let holder = format!("{} {}", control.settings.host, Uuid::new_v4());
    let api_host = &control.notifications.api_host;
    let relay = Relay::kept(&control.store, emitter.as_ref(), api_host, (reader, &holder));
    relay.run(&shutdown).await;
}

/// Waits a little after an error; says whether the process is ending.
async fn pause(error: &str, shutdown: &CancellationToken) -> bool {
    tracing::warn!(target: LOG, error, "notifications wait");
    tokio::time::timeout(AGAIN, shutdown.cancelled()).await.is_ok()
}

async fn trim(store: &Store, shutdown: &CancellationToken) {
    let mut due = interval(TRIM);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = due.tick() => {}
        }
        match store.trim_notifications(KEEP).await {
            Ok(0) => {}
            Ok(dropped) => tracing::debug!(target: LOG, dropped, "old notifications dropped"),
            Err(error) => {
                let error = chain(&error);
                tracing::error!(target: LOG, error, "old notifications cannot be dropped");
            }
        }
    }
}

/// The way from the database to one emitter.
pub struct Relay<'a> {
    store: &'a Store,
    emitter: &'a dyn Emitter,
    api_host: &'a str,
    /// Number of the last change that was passed on or left out.
    passed: i64,
    memory: Memory<'a>,
}

/// Where a relay remembers how far it has come.
enum Memory<'a> {
    /// Nowhere: what was committed while nobody listened concerns nobody.
    Process,
    /// In the database.
    Kept {
        /// Name of the place.
        reader: &'a str,
        /// Name of this relay.
        holder: &'a str,
        /// Whether this relay has the place, as far as it knows.
        held: bool,
    },
}

impl<'a> Relay<'a> {
    /// Begins with the oldest change, or after [`Self::look`] with what is committed from then on.
    #[must_use]
    pub fn new(store: &'a Store, emitter: &'a dyn Emitter, api_host: &'a str) -> Self {
        Self { store, emitter, api_host, passed: 0, memory: Memory::Process }
    }

    /// Goes on where the last one came to that had this place. Does nothing while another has it.
    #[must_use]
    pub fn kept(
        store: &'a Store,
        emitter: &'a dyn Emitter,
        api_host: &'a str,
        (reader, holder): (&'a str, &'a str),
    ) -> Self {
        let memory = Memory::Kept { reader, holder, held: false };
        Self { store, emitter, api_host, passed: 0, memory }
    }

    /// Runs until `shutdown` is cancelled.
    pub async fn run(mut self, shutdown: &CancellationToken) {
        self.pass_on_until(shutdown).await;
        self.leave().await;
    }

    /// Gives the kept place up, so that the next one need not wait until it is free.
    pub async fn leave(&mut self) {
        let Memory::Kept { reader, holder, held } = &mut self.memory else { return };
        *held = false;
        if let Err(error) = self.store.leave_notification_reader(reader, holder).await {
            let error = chain(&error);
            tracing::debug!(target: LOG, error, "the place of a reader was not given up");
        }
    }

    async fn pass_on_until(&mut self, shutdown: &CancellationToken) {
        let mut bell = self.store.notification_bell();
        let mut scan = interval(SCAN);
        scan.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let passed = tokio::select! {
                biased; // an emitter that hangs does not keep the process
                () = shutdown.cancelled() => return,
                passed = self.pass_on() => passed,
            };
            if let Err(error) = passed {
                if pause(&error, shutdown).await {
                    return;
                }
                continue;
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                rung = bell.changed() => if rung.is_err() { return },
                _ = scan.tick() => if let Err(error) = self.look().await {
                    tracing::warn!(target: LOG, error, "notifications cannot be read");
                },
            }
        }
    }

    /// Finds out where to begin.
    ///
    /// Without an audience everything is left out that is there: nobody listened when it was
    /// committed. It may be too little, so that an audience gets what it has seen already, but never
    /// too much. A kept place is taken, or kept.
    ///
    /// # Errors
    /// Why it could not be read, for the log.
    pub async fn look(&mut self) -> Result<(), String> {
        if let Memory::Kept { reader, holder, held } = &mut self.memory {
            let place = self.store.hold_notification_reader(reader, holder).await;
            let place = place.map_err(|error| chain(&error))?;
            if let Some(passed) = place.filter(|_| !*held) {
                self.passed = passed;
            }
            *held = place.is_some();
            return Ok(());
        }
        let range = self.store.notification_range().await.map_err(|error| chain(&error))?;
        // Whoever comes from here on reads for itself what was there just now.
        if !self.emitter.has_audience() {
            self.passed = range.map_or(0, |(_, newest)| newest);
        }
        Ok(())
    }

    /// Passes on everything that is there, if anybody listens.
    ///
    /// # Errors
    /// Why the rest has to wait, for the log.
    pub async fn pass_on(&mut self) -> Result<(), String> {
        let read = |error: StoreError| chain(&error);
        while self.may_pass() {
            let passed = self.passed;
            let query = NotificationQuery { after: passed, project: None, limit: BATCH };
            let records = self.store.notifications(&query).await.map_err(read)?;
            let Some(last) = records.last().map(|record| record.number) else { return Ok(()) };
            let (made, missed) = make(&records, passed, self.api_host);
            if missed > 0 {
                tracing::warn!(target: LOG, missed, "notifications were dropped unread");
                self.emitter.missed(missed).await;
                // Not again when what follows has to be tried again.
                let first = records.first().map(|record| record.number.saturating_sub(1));
                self.passed = first.unwrap_or(passed);
            }
            let emitted = tokio::time::timeout(EMIT, self.emitter.emit(&made)).await;
            let late = |_| format!("they were not taken within {} s", EMIT.as_secs());
            emitted.map_err(late)?.map_err(|error| error.to_string())?;
            self.passed = last;
            if let Memory::Kept { reader, holder, .. } = self.memory {
                let kept = self.store.passed_notifications(reader, holder, last).await;
                kept.map_err(read)?;
            }
        }
        Ok(())
    }

    /// Whether there is somebody to pass anything on to, and no other relay that does it.
    fn may_pass(&self) -> bool {
        let held = match self.memory {
            Memory::Process => true,
            Memory::Kept { held, .. } => held,
        };
        held && self.emitter.has_audience()
    }
}

/// The notifications of a batch, and how many changes are missing before or in it.
fn make(
    records: &[NotificationRecord],
    passed: i64,
    api_host: &str,
) -> (Vec<Arc<Notification>>, u64) {
    let first = records.first().map_or(passed, |record| record.number.saturating_sub(1));
    let unreadable = records.iter().filter(|record| record.change.is_none()).count();
    let missed = u64::try_from(first.saturating_sub(passed)).unwrap_or(0) + unreadable as u64;
    let made = records.iter().flat_map(|record| of(record, api_host)).map(Arc::new);
    (made.collect(), missed)
}

/// The notifications of one change.
#[must_use]
pub fn of(record: &NotificationRecord, api_host: &str) -> Vec<Notification> {
    let change = record.change.as_ref();
    change
        .map_or_else(Vec::new, |change| notifications(change, (record.number, record.at), api_host))
}
