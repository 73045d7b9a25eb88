//! What one reader of the event stream gets.
//!
//! ```text
//! changes in the database ──▶ caught up ──▶ subscribed ──▶ what is passed on from now on
//! ```
//!
//! A reader subscribes when it has read everything, reads once more, and from then on leaves out
//! what it has seen already, so nothing is missing and nothing comes twice. It holds one page of
//! events at most; a reader that does not keep up with what is passed on is told so as its last
//! event. The token is looked at before each event, and whenever it has been quiet for a while.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::unfold;
use reprieve_core::notification::{Notification, NotificationId};
use reprieve_core::{InstanceId, ProjectId};
use reprieve_store::{NotificationQuery, StoreError};
use serde_json::{Value, json};
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::view::Sight;
use super::{may_look, sight};
use crate::Control;
use crate::app::identity::{self, AuthError};
use crate::auth::AuthContext;
use crate::http::reply::causes;
use crate::work::notify;
use crate::work::streams::{Passed, Place};

/// Changes read from the database at a time.
const PAGE: u64 = 50;
/// How long a client may wait before it comes back, in milliseconds.
const RETRY: u32 = 3000;

/// Which events a reader wants. Empty means all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// About these servers.
    pub servers: Vec<InstanceId>,
    /// Of these types; a `*` at the end stands for anything.
    pub event_types: Vec<String>,
    /// Of this project.
    pub project: Option<ProjectId>,
}

impl Filter {
    fn wants(&self, event: &Notification) -> bool {
        let matches = |wanted: &String| match wanted.strip_suffix('*') {
            Some(beginning) => event.event_type.starts_with(beginning),
            None => *wanted == event.event_type,
        };
        (self.servers.is_empty() || self.servers.contains(&event.server))
            && (self.event_types.is_empty() || self.event_types.iter().any(matches))
            && self.project.as_ref().is_none_or(|project| *project == event.project)
    }
}

/// Why a stream ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The token expired, was revoked, or its user lost the role.
    Token,
    /// The reader did not keep up.
    TooSlow,
    /// The process ends.
    Shutdown,
    /// The database failed.
    Failure,
}

impl End {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::TooSlow => "too_slow",
            Self::Shutdown => "shutdown",
            Self::Failure => "failure",
        }
    }
}

/// One reader.
pub struct Feed {
    control: Arc<Control>,
    token: String,
    filter: Filter,
    /// Everything up to here was sent or is not for this reader.
    sent: NotificationId,
    live: Option<Receiver<Passed>>,
    caught_up: bool,
    out: VecDeque<Bytes>,
    quiet: Interval,
    over: bool,
    _place: Place,
}

impl Feed {
    /// A reader that begins after `last`, or with what is committed from now on.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn new(
        control: Arc<Control>,
        token: String,
        (filter, last): (Filter, Option<NotificationId>),
        place: Place,
    ) -> Result<Self, StoreError> {
        let (oldest, newest) = control.store.notification_range().await?.unwrap_or((1, 0));
        let mut out = VecDeque::new();
        let sent = match last {
            None => NotificationId::end_of(newest),
            // Of another installation, or of a database that was lost.
            Some(last) if last.change > newest => {
                out.push_back(said("stream.gap", &json!({"missed": null})));
                NotificationId::end_of(newest)
            }
            Some(last) if last.change < oldest.saturating_sub(1) => {
                let missed = oldest.saturating_sub(1).saturating_sub(last.change);
                out.push_back(said("stream.gap", &json!({"missed": missed})));
                NotificationId::end_of(oldest.saturating_sub(1))
            }
            Some(last) => last,
        };
        out.push_front(Bytes::from(format!("retry: {RETRY}\nid: {sent}\n\n")));
        let mut quiet = interval(control.notifications.keepalive);
        quiet.set_missed_tick_behavior(MissedTickBehavior::Delay);
        quiet.reset();
        let (live, caught_up, over) = (None, false, false);
        let _place = place;
        Ok(Self { control, token, filter, sent, live, caught_up, out, quiet, over, _place })
    }

    /// The body of the answer.
    pub fn into_stream(self) -> impl Stream<Item = Result<Bytes, Infallible>> {
        unfold(self, async |mut feed| {
            let bytes = feed.next().await?;
            Some((Ok(bytes), feed))
        })
    }

    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(bytes) = self.out.pop_front() {
                return Some(bytes);
            }
            if self.over {
                return None;
            }
            if self.caught_up {
                self.follow().await;
            } else {
                self.catch_up().await;
            }
        }
    }

    fn end(&mut self, why: End, missed: Option<u64>) {
        self.out.push_back(said("stream.end", &json!({"reason": why.as_str(), "missed": missed})));
        self.over = true;
    }

    /// Who reads, if the token still lets anybody in. Otherwise the stream ends.
    async fn reader(&mut self) -> Option<AuthContext> {
        match identity::validate(&self.control, &self.token).await {
            Ok(auth) if may_look(&self.control, &auth) => return Some(auth),
            Ok(_) | Err(AuthError::Unauthenticated | AuthError::NotScoped) => {
                self.end(End::Token, None);
            }
            Err(error @ (AuthError::Store(_) | AuthError::Unavailable(_))) => {
                let error = causes(&error);
                tracing::error!(target: "reprieve::api", error, "a stream ends: no token checked");
                self.end(End::Failure, None);
            }
        }
        None
    }

    /// Reads a page from the database.
    async fn catch_up(&mut self) {
        let Some(auth) = self.reader().await else { return };
        let project = match sight(&self.control, &auth) {
            Sight::Admin => self.filter.project.clone(),
            Sight::Owner => Some(auth.project_id.clone()),
        };
        // The change that was sent last may not have been sent whole.
        let after = self.sent.change.saturating_sub(1);
        let query = NotificationQuery { after, project, limit: PAGE };
        let records = match self.control.store.notifications(&query).await {
            Ok(records) => records,
            Err(error) => {
                let error = causes(&error);
                tracing::error!(target: "reprieve::api", error, "a stream ends: no events read");
                return self.end(End::Failure, None);
            }
        };
        let control = Arc::clone(&self.control);
        for record in &records {
            for event in notify::of(record, &control.notifications.api_host) {
                self.offer(&event, &auth);
            }
            self.sent = self.sent.max(NotificationId::end_of(record.number));
        }
        if (records.len() as u64) < PAGE {
            self.subscribe();
        }
    }

    /// Everything was read: what follows is passed on. What was committed before is read once more.
    fn subscribe(&mut self) {
        if self.live.is_some() {
            self.caught_up = true;
            return;
        }
        self.live = self.control.notifications.streams.subscribe();
        if self.live.is_none() {
            self.end(End::Shutdown, None);
        }
    }

    /// Waits for what is passed on.
    async fn follow(&mut self) {
        let received = async {
            match &mut self.live {
                Some(live) => live.recv().await,
                None => pending().await,
            }
        };
        let received = tokio::select! {
            biased; // events before signs of life
            received = received => Some(received),
            _ = self.quiet.tick() => None,
        };
        let Some(auth) = self.reader().await else { return };
        match received {
            Some(Ok(Passed::Notification(event))) => {
                self.offer(&event, &auth);
                self.sent = self.sent.max(event.id);
                self.quiet.reset();
            }
            Some(Ok(Passed::Missed(missed))) => {
                self.out.push_back(said("stream.gap", &json!({"missed": missed})));
            }
            Some(Err(RecvError::Lagged(missed))) => self.end(End::TooSlow, Some(missed)),
            Some(Err(RecvError::Closed)) => self.end(End::Shutdown, None),
            // The id lets a client that saw nothing for long come back to the right place.
            None => self.out.push_back(Bytes::from(format!(": alive\nid: {}\n\n", self.sent))),
        }
    }

    /// Sends an event if it is new to this reader and for it.
    fn offer(&mut self, event: &Notification, auth: &AuthContext) {
        if event.id <= self.sent || !self.filter.wants(event) {
            return;
        }
        let message = match sight(&self.control, auth) {
            Sight::Admin => event.message(),
            Sight::Owner if event.project == auth.project_id => event.message_for_owner(),
            Sight::Owner => return,
        };
        let (id, name) = (event.id, &event.event_type);
        self.out.push_back(Bytes::from(format!("id: {id}\nevent: {name}\ndata: {message}\n\n")));
    }
}

/// Something that the stream says of itself.
fn said(name: &str, data: &Value) -> Bytes {
    Bytes::from(format!("event: {name}\ndata: {data}\n\n"))
}
