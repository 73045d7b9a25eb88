//! What others are told about a server: Nova's versioned instance notifications.
//!
//! A [`Change`] is what one transaction did to one server: the server as it was committed, the part
//! of its state that was different before, and why. It is stored in that very transaction, so a
//! notification never tells of something that did not happen, and it holds nothing secret: no
//! password, no user data. [`notifications`] turns a change into the messages Nova would send for
//! it, in Nova's order; the same change always gives the same messages, ids included, so they may
//! be made again by whoever passes them on.
//!
//! ```text
//! accepted ─▶ instance.update
//! begun    ─▶ instance.<action>.start            (delete: and shutdown.start)
//! ended    ─▶ instance.update, <action>.end      (delete: shutdown.end first; rescue: exists first)
//!          └▶ instance.update, <action>.error    when it failed or was stopped
//! ```
//!
//! Names, fields and versions are those of the recorded Nova (spec/messaging.md section 9). What is
//! different on purpose is listed with its reason in `tests/notifications.rs`.

mod payload;
mod sequence;
mod snapshot;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::fault::Fault;
use crate::ids::{ImageId, InstanceId, InvalidId, ProjectId, RequestId, UserId};
use crate::operation::OperationKind;
use crate::text_enum;
use crate::time::Timestamp;

pub use snapshot::{FlavorFacts, Snapshot, State};

/// What one transaction did to one server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Random; the ids of the messages are made from it.
    pub key: Uuid,
    /// What was different before; `None` when the server is new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<State>,
    /// The server as it was committed.
    pub after: Snapshot,
    /// Why.
    pub cause: Cause,
    /// Who asked; `None` when nobody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Initiator>,
}

/// Who asked for a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Initiator {
    /// Request.
    pub request_id: RequestId,
    /// User.
    pub user_id: UserId,
    /// Project of the user's token.
    pub project_id: ProjectId,
}

/// Why a server changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// An operation was accepted.
    Accepted(OperationKind),
    /// Its host has begun with it.
    Begun {
        /// The operation.
        kind: OperationKind,
        /// Image that a rescue was asked to use.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rescue_image: Option<ImageId>,
    },
    /// It has ended.
    Ended {
        /// The operation.
        kind: OperationKind,
        /// How.
        ending: Ending,
        /// Image that a rescue was asked to use.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rescue_image: Option<ImageId>,
    },
    /// It was deleted without a host having known of it.
    DeletedUnhosted,
    /// It was locked.
    Locked,
    /// It was unlocked.
    Unlocked,
    /// Name, description, metadata or tags were changed.
    Updated,
    /// Its state was set by hand.
    StateReset {
        /// The operation that was given up for it, when its host had begun with it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stopped: Option<OperationKind>,
    },
    /// Its guest was seen in another state outside of any operation.
    Observed,
}

/// How an operation ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// Done.
    Succeeded,
    /// Not done.
    Failed(Fault),
    /// Stopped before its effect.
    Cancelled,
}

/// Name of a notification that grows with time: the number of its change, then its place within it.
/// Spelled `17-2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NotificationId {
    /// Number of the change, from 1.
    pub change: i64,
    /// Place among the notifications of the change, from 0.
    pub place: u32,
}

impl NotificationId {
    /// After all notifications of a change.
    #[must_use]
    pub const fn end_of(change: i64) -> Self {
        Self { change, place: u32::MAX }
    }
}

impl fmt::Display for NotificationId {
    /// The end of a change is spelled without a place.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            u32::MAX => write!(f, "{}", self.change),
            place => write!(f, "{}-{place}", self.change),
        }
    }
}

impl FromStr for NotificationId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let parsed = match text.split_once('-') {
            None if digits(text) => text.parse().ok().map(Self::end_of),
            Some((change, place)) if digits(change) && digits(place) => change
                .parse()
                .ok()
                .zip(place.parse().ok())
                .map(|(change, place)| Self { change, place }),
            None | Some(_) => None,
        };
        let invalid =
            || InvalidId { what: "notification id", text: text.chars().take(64).collect() };
        parsed.ok_or_else(invalid)
    }
}

text_enum!(
    /// How loud a notification is; also the last part of the name of the queue it goes to.
    Priority {
        /// Something happened.
        Info = "INFO",
        /// Something went wrong.
        Error = "ERROR",
    }
);

/// One message.
#[derive(Debug, Clone, PartialEq)]
pub struct Notification {
    /// Name that grows with time.
    pub id: NotificationId,
    /// The server it is about.
    pub server: InstanceId,
    /// Owner of the server.
    pub project: ProjectId,
    /// When its change was committed.
    pub at: Timestamp,
    /// Unique, and the same however often the message is made.
    pub message_id: Uuid,
    /// `nova-compute:<host>` or `nova-api:<host>`.
    pub publisher_id: String,
    /// `instance.pause.end`.
    pub event_type: String,
    /// How loud.
    pub priority: Priority,
    /// A versioned object.
    pub payload: Value,
}

impl Notification {
    /// The message as it goes to operators.
    #[must_use]
    pub fn message(&self) -> Value {
        self.envelope(&self.publisher_id, self.payload.clone())
    }

    /// The message as the owner of the server may see it: without the names of hosts and without
    /// the causes of faults, as in the API.
    #[must_use]
    pub fn message_for_owner(&self) -> Value {
        let publisher = self.publisher_id.split(':').next().unwrap_or_default();
        let mut payload = self.payload.clone();
        if let Some(data) = payload.get_mut(payload::DATA).and_then(Value::as_object_mut) {
            for name in ["host", "node"] {
                data.insert(name.to_owned(), Value::Null);
            }
            let fault = data.get_mut("fault").and_then(|fault| fault.get_mut(payload::DATA));
            if let Some(fault) = fault.and_then(Value::as_object_mut) {
                fault.insert("traceback".to_owned(), Value::Null);
            }
        }
        self.envelope(publisher, payload)
    }

    fn envelope(&self, publisher_id: &str, payload: Value) -> Value {
        json!({
            "message_id": self.message_id.hyphenated().to_string(),
            "publisher_id": publisher_id,
            "event_type": self.event_type,
            "priority": self.priority.as_str(),
            "payload": payload,
            "timestamp": self.at.micros_spaced(),
        })
    }
}

/// The messages about a change that was committed as number `number` at `at`, in their order.
/// `api_host` is the name under which the API publishes.
#[must_use]
pub fn notifications(
    change: &Change,
    (number, at): (i64, Timestamp),
    api_host: &str,
) -> Vec<Notification> {
    let drafts = sequence::of(change, at, api_host);
    let named = (0..).zip(drafts).map(|(place, draft)| Notification {
        id: NotificationId { change: number, place },
        server: change.after.id,
        project: change.after.project_id.clone(),
        at,
        message_id: Uuid::from_u128(change.key.as_u128() ^ u128::from(place)),
        publisher_id: draft.publisher_id,
        event_type: draft.event_type,
        priority: draft.priority,
        payload: draft.payload,
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_grow_and_round_trip() {
        let spelled = ["3-0", "3-1", "3", "4-0", "10-0"];
        let ids: Vec<NotificationId> = spelled.iter().map(|text| text.parse().unwrap()).collect();
        assert!(ids.is_sorted());
        for (id, text) in ids.iter().zip(spelled) {
            assert_eq!(id.to_string(), text);
        }
        for bad in ["", "-", "1-", "-1", "+1", "1-x", "1-2-3", "99999999999999999999"] {
            assert!(bad.parse::<NotificationId>().is_err(), "{bad}");
        }
    }
}
