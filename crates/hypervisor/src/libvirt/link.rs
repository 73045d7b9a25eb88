//! The connection that events and queries use: made and remade by one supervisor thread.

use std::sync::{Arc, PoisonError, RwLock, mpsc};
use std::time::{Duration, Instant};

use reprieve_core::InstanceId;
use reprieve_core::ports::HypervisorEvent;
use tokio::sync::broadcast;

use super::sys::Connection;
use super::sys::events::{CloseReason, Notice, Sink};
use super::{Inner, facts};

/// First pause between two attempts to connect.
const FIRST_BACK_OFF: Duration = Duration::from_millis(250);
/// Longest pause.
const LAST_BACK_OFF: Duration = Duration::from_secs(5);
/// Seconds between keepalive messages.
const KEEPALIVE_SECONDS: i32 = 5;
/// Unanswered keepalive messages until the connection counts as lost.
const KEEPALIVE_COUNT: u32 = 5;

/// What the supervisor is told.
pub(super) enum Signal {
    /// The connection is gone.
    Closed(CloseReason),
    /// Nobody needs it any more.
    Stop,
}

enum Link {
    /// No attempt has ended yet.
    Unknown,
    Down(String),
    Up(Arc<Connection>),
}

/// The present connection.
pub(super) struct LinkCell(RwLock<Link>);

impl LinkCell {
    pub(super) const fn new() -> Self {
        Self(RwLock::new(Link::Unknown))
    }

    /// The connection, or why there is none.
    pub(super) fn get(&self) -> Result<Arc<Connection>, String> {
        match &*self.0.read().unwrap_or_else(PoisonError::into_inner) {
            Link::Unknown => Err("the first attempt to connect is under way".to_owned()),
            Link::Down(message) => Err(message.clone()),
            Link::Up(connection) => Ok(Arc::clone(connection)),
        }
    }

    /// The present state as an event.
    pub(super) fn as_event(&self) -> Option<HypervisorEvent> {
        match &*self.0.read().unwrap_or_else(PoisonError::into_inner) {
            Link::Unknown => None,
            Link::Down(message) => Some(HypervisorEvent::Disconnected(message.clone())),
            Link::Up(_) => Some(HypervisorEvent::Connected),
        }
    }

    fn set(&self, link: Link) {
        // The old connection is dropped after the lock: closing it may block.
        let _old = {
            let mut cell = self.0.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *cell, link)
        };
    }
}

/// Opens a connection that notices when the other side is gone.
pub(super) fn open(uri: &str) -> Result<Connection, super::sys::Error> {
    let connection = Connection::open(uri)?;
    // Drivers without a daemon have no keepalive and need none.
    if let Err(error) = connection.keep_alive(KEEPALIVE_SECONDS, KEEPALIVE_COUNT) {
        tracing::debug!(%error, uri, "no keepalive on this connection");
    }
    Ok(connection)
}

/// Starts the supervisor.
pub(super) fn supervise(inner: &Arc<Inner>) -> mpsc::Sender<Signal> {
    let (sender, receiver) = mpsc::channel();
    let supervisor = Supervisor {
        inner: Arc::clone(inner),
        sink: sink(inner.events.clone(), sender.clone()),
        signals: receiver,
    };
    let spawned =
        std::thread::Builder::new().name("libvirt-link".to_owned()).spawn(move || supervisor.run());
    if let Err(error) = spawned {
        let message = error.to_string();
        tracing::error!(%error, "no thread for the connection to libvirt");
        inner.link.set(Link::Down(message));
    }
    sender
}

/// Passes libvirt's notices on. Runs on libvirt's event thread and never blocks.
fn sink(events: broadcast::Sender<HypervisorEvent>, signals: mpsc::Sender<Signal>) -> Sink {
    // An error of either channel means that nobody listens, which is fine.
    Arc::new(move |notice| match notice {
        Notice::Lifecycle(uuid) => {
            let _ = events.send(HypervisorEvent::Changed(InstanceId::from(uuid)));
        }
        Notice::Closed(reason) => {
            let _ = signals.send(Signal::Closed(reason));
        }
    })
}

struct Supervisor {
    inner: Arc<Inner>,
    sink: Sink,
    signals: mpsc::Receiver<Signal>,
}

impl Supervisor {
    fn run(self) {
        let mut back_off = FIRST_BACK_OFF;
        loop {
            let since = Instant::now();
            let message = match self.connect() {
                Ok(()) => match self.signals.recv() {
                    Ok(Signal::Closed(reason)) => reason.as_str().to_owned(),
                    Ok(Signal::Stop) | Err(mpsc::RecvError) => return self.end(),
                },
                Err(message) => message,
            };
            self.down(message);
            // A connection that breaks as soon as it is made must not be remade in a loop.
            if since.elapsed() > LAST_BACK_OFF {
                back_off = FIRST_BACK_OFF;
            }
            if self.stopped_within(back_off) {
                return self.end();
            }
            back_off = (back_off * 2).min(LAST_BACK_OFF);
        }
    }

    /// Connects and says so.
    fn connect(&self) -> Result<(), String> {
        let inner = &self.inner;
        let mut connection = open(&inner.config.uri).map_err(|error| error.message)?;
        connection.watch_domains(&self.sink).map_err(|error| error.to_string())?;
        // Only `test:///default` has none; it cannot break either.
        if let Err(error) = connection.watch_close(&self.sink) {
            tracing::debug!(%error, "the end of this connection will not be announced");
        }
        inner.link.set(Link::Up(Arc::new(connection)));
        tracing::info!(uri = inner.config.uri, "connected to libvirt");
        let _ = inner.events.send(HypervisorEvent::Connected);
        facts::look(inner);
        Ok(())
    }

    /// Notes that there is no connection, and says so once per reason.
    fn down(&self, message: String) {
        let inner = &self.inner;
        inner.lanes.forget_idle();
        if inner.link.as_event() != Some(HypervisorEvent::Disconnected(message.clone())) {
            tracing::warn!(uri = inner.config.uri, reason = message, "no connection to libvirt");
            inner.link.set(Link::Down(message.clone()));
            let _ = inner.events.send(HypervisorEvent::Disconnected(message));
        }
    }

    /// Waits; true when told to stop.
    fn stopped_within(&self, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.signals.recv_timeout(left) {
                // A late word about the connection that is gone already.
                Ok(Signal::Closed(_)) => {}
                Ok(Signal::Stop) | Err(mpsc::RecvTimeoutError::Disconnected) => return true,
                Err(mpsc::RecvTimeoutError::Timeout) => return false,
            }
        }
    }

    /// Closes the connection.
    fn end(&self) {
        self.inner.lanes.forget_idle();
        self.inner.link.set(Link::Down("the connection was closed here".to_owned()));
    }
}
