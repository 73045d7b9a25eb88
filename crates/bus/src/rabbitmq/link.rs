//! A connection that is made again whenever it ends.
//!
//! ```text
//!            connected, prepared
//!   Away ─────────────────────────▶ Up(session)
//!    ▲  ◀──── ended, or given up ────┘
//!    └─ pause, next address             any ──close──▶ Closed
//! ```
//!
//! One task owns this; everybody else sees the state through a watch. What was prepared on a session
//! is never mended: when it fails, all of the session ends, and the next one declares everything
//! anew. That is slower than mending and has one path instead of many. Subscriptions, of which there
//! are several on one session, open another channel for themselves.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::{Connection, Event};
use reprieve_core::ports::BusError;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::config::Settings;
use super::connect::{ConnectError, Line};
pub(super) use super::publisher::Publishing;

/// A session that lasted so long was a good one: the next pause is short.
const GOOD: Duration = Duration::from_secs(3);
/// How long preparing a fresh connection may take.
const PREPARE: Duration = Duration::from_secs(10);
/// How long a sender waits for a connection that is being made.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a connection may take to end in good order.
const GOODBYE: Duration = Duration::from_secs(2);

/// What a connection is for, and what is made on it when it is there.
pub(super) trait Purpose: Sized + Send + Sync + 'static {
    /// For people.
    const NAME: &'static str;

    /// Declares and opens what is needed.
    fn prepare(
        connection: &Connection,
        settings: &Settings,
    ) -> impl Future<Output = lapin::Result<Self>> + Send;
}

/// Consuming: every subscription opens a channel of its own, so there is nothing to prepare.
pub(super) struct Consuming;

impl Purpose for Consuming {
    const NAME: &'static str = "consuming";

    async fn prepare(_: &Connection, _: &Settings) -> lapin::Result<Self> {
        Ok(Self)
    }
}

/// A connection that stands, with what was prepared on it.
pub(super) struct Session<P> {
    pub(super) prepared: P,
    pub(super) line: Line,
    failed: CancellationToken,
}

impl<P> Session<P> {
    /// Ends it, because a part of it does not work any more. Another one is made.
    pub(super) fn give_up(&self) {
        self.failed.cancel();
    }

    /// Returns when it has ended or was given up; says why.
    async fn ended(&self) -> String {
        let mut events = self.line.connection.events_listener();
        loop {
            // Looked at after listening has begun, so that no end is missed.
            if !self.line.connection.status().connected() {
                return "it ended".to_owned();
            }
            let event = tokio::select! {
                event = events.next() => event,
                () = self.failed.cancelled() => return "a part of it failed".to_owned(),
            };
            match event {
                None => return "it ended".to_owned(),
                // Channels report their errors here, too; who uses them decides about those.
                Some(Event::Error(error)) if !self.line.connection.status().connected() => {
                    return error.to_string();
                }
                Some(Event::ConnectionBlocked(reason)) => {
                    tracing::warn!(reason, "the message broker takes no messages for now");
                }
                Some(Event::ConnectionUnblocked) => {
                    tracing::info!("the message broker takes messages again");
                }
                Some(_) => {}
            }
        }
    }
}

/// Whether there is a connection.
enum State<P> {
    Away(String),
    Up(Arc<Session<P>>),
    Closed,
}

impl<P> Clone for State<P> {
    fn clone(&self) -> Self {
        match self {
            Self::Away(why) => Self::Away(why.clone()),
            Self::Up(session) => Self::Up(Arc::clone(session)),
            Self::Closed => Self::Closed,
        }
    }
}

/// A handle to the connection. Cheap to clone.
pub(super) struct Link<P> {
    state: watch::Receiver<State<P>>,
}

impl<P> Clone for Link<P> {
    fn clone(&self) -> Self {
        Self { state: self.state.clone() }
    }
}

impl<P: Purpose> Link<P> {
    /// Begins to connect, and goes on until `stop` is cancelled.
    pub(super) fn new(settings: Arc<Settings>, stop: CancellationToken) -> Self {
        let (sender, state) = watch::channel(State::Away("not connected yet".to_owned()));
        tokio::spawn(async move {
            supervise(&settings, &sender, &stop).await;
            sender.send_replace(State::Closed);
        });
        Self { state }
    }

    /// The session, for somebody who has other things to do than to wait for one.
    pub(super) async fn session(&self) -> Result<Arc<Session<P>>, BusError> {
        match timeout(PATIENCE, self.up()).await {
            Ok(Some(session)) => Ok(session),
            Ok(None) => Err(closed()),
            Err(_) => Err(BusError::Unavailable(match &*self.state.borrow() {
                State::Away(why) => why.clone(),
                State::Up(_) => "it has just come back".to_owned(),
                State::Closed => return Err(closed()),
            })),
        }
    }

    /// The session as soon as there is one; `None` when there will be none any more.
    pub(super) async fn up(&self) -> Option<Arc<Session<P>>> {
        let mut state = self.state.clone();
        let there = |state: &State<P>| match state {
            State::Away(_) => false,
            State::Up(_) | State::Closed => true,
        };
        // The sender is gone when the runtime is ending.
        match &*state.wait_for(there).await.ok()? {
            State::Up(session) => Some(Arc::clone(session)),
            State::Away(_) | State::Closed => None,
        }
    }

    /// Whether there is a session now.
    pub(super) fn is_up(&self) -> bool {
        match &*self.state.borrow() {
            State::Up(_) => true,
            State::Away(_) | State::Closed => false,
        }
    }

    /// Returns when the link was closed and its connection has ended.
    pub(super) async fn ended(&self) {
        let mut state = self.state.clone();
        // An error says that the sender is gone, which is as good.
        state.wait_for(|state| matches!(state, State::Closed)).await.ok();
    }
}

fn closed() -> BusError {
    BusError::Unavailable("it was closed".to_owned())
}

/// Connects, watches, and connects again, until it is told to stop.
async fn supervise<P: Purpose>(
    settings: &Settings,
    state: &watch::Sender<State<P>>,
    stop: &CancellationToken,
) {
    let mut backoff = Backoff::new();
    let mut addresses = settings.addresses.iter().cycle();
    loop {
        let Some(uri) = addresses.next() else { return };
        let broker = format!("{}:{}", uri.authority.host, uri.authority.port);
        let opening = open::<P>(uri.clone(), settings);
        let opened = tokio::select! {
            opened = opening => opened,
            () = stop.cancelled() => return,
        };
        let why = match opened {
            Ok(session) => {
                tracing::info!(broker, "connected to the message broker for {}", P::NAME);
                let since = Instant::now();
                let session = Arc::new(session);
                state.send_replace(State::Up(Arc::clone(&session)));
                let why = tokio::select! {
                    why = session.ended() => why,
                    () = stop.cancelled() => return bid_farewell(&session).await,
                };
                if since.elapsed() >= GOOD {
                    backoff.reset();
                }
                why
            }
            Err(error) => error.to_string(),
        };
        let pause = backoff.pause();
        tracing::warn!(
            broker, why, retry_in = ?pause, "no connection to the message broker for {}", P::NAME
        );
        state.send_replace(State::Away(why));
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return,
        }
    }
}

async fn open<P: Purpose>(
    uri: lapin::uri::AMQPUri,
    settings: &Settings,
) -> Result<Session<P>, ConnectError> {
    let line = Line::open(uri, settings.tls.clone(), P::NAME).await?;
    let preparing = P::prepare(&line.connection, settings);
    let prepared = timeout(PREPARE, preparing).await.map_err(|_| ConnectError::Silent)??;
    Ok(Session { prepared, line, failed: CancellationToken::new() })
}

/// Lets acknowledgements that are on their way arrive.
async fn bid_farewell<P>(session: &Session<P>) {
    let goodbye = session.line.connection.close(200, "OK".into());
    match timeout(GOODBYE, goodbye).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "the connection had ended already"),
        Err(_) => tracing::debug!("the broker did not answer to goodbye"),
    }
}
