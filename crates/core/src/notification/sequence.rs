//! Which messages a change gives, and in which order.

use serde_json::Value;

use super::payload::{self, BlockDevices};
use super::{Cause, Change, Ending, Initiator, Priority, Snapshot};
use crate::ids::ImageId;
use crate::operation::OperationKind;
use crate::time::Timestamp;

/// A message without its ids.
pub(super) struct Draft {
    pub(super) publisher_id: String,
    pub(super) event_type: String,
    pub(super) priority: Priority,
    pub(super) payload: Value,
}

/// Part of an operation's life.
#[derive(Debug, Clone, Copy)]
enum Phase {
    Start,
    End,
    Error,
}

impl Phase {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::End => "end",
            Self::Error => "error",
        }
    }

    const fn priority(self) -> Priority {
        match self {
            Self::Start | Self::End => Priority::Info,
            Self::Error => Priority::Error,
        }
    }
}

/// Who says it.
#[derive(Debug, Clone, Copy)]
enum Publisher {
    Api,
    Compute,
}

/// The messages of a change.
pub(super) fn of(change: &Change, at: Timestamp, api_host: &str) -> Vec<Draft> {
    let mut writer = Writer { change, at, api_host, drafts: Vec::with_capacity(4) };
    match &change.cause {
        Cause::Accepted(_) | Cause::Updated => writer.update(Publisher::Api),
        Cause::Begun { kind, rescue_image } => writer.begun(*kind, *rescue_image),
        Cause::Ended { kind, ending, rescue_image } => writer.ended(*kind, ending, *rescue_image),
        Cause::DeletedUnhosted => writer.deleted_unhosted(),
        Cause::Locked => writer.lock("lock"),
        Cause::Unlocked => writer.lock("unlock"),
        Cause::StateReset { stopped } => writer.reset(*stopped),
        Cause::Observed => writer.update(Publisher::Compute),
    }
    writer.drafts
}

struct Writer<'a> {
    change: &'a Change,
    at: Timestamp,
    api_host: &'a str,
    drafts: Vec<Draft>,
}

impl Writer<'_> {
    fn push(&mut self, by: Publisher, name: &str, priority: Priority, payload: Value) {
        let publisher_id = match (by, &self.change.after.host) {
            (Publisher::Api, _) => format!("nova-api:{}", self.api_host),
            (Publisher::Compute, Some(host)) => format!("nova-compute:{host}"),
            // A server that no host took is the scheduling's.
            (Publisher::Compute, None) => format!("nova-conductor:{}", self.api_host),
        };
        let event_type = format!("instance.{name}");
        self.drafts.push(Draft { publisher_id, event_type, priority, payload });
    }

    fn update(&mut self, by: Publisher) {
        let payload = payload::update(self.change, self.at);
        self.push(by, "update", Priority::Info, payload);
    }

    /// An update, if there is anything to tell.
    fn update_if_changed(&mut self, by: Publisher) {
        let new = &self.change.after.state;
        let same = self.change.before.as_ref().is_some_and(|old| {
            old.vm_state == new.vm_state
                && old.task_state == new.task_state
                && old.power_state == new.power_state
        });
        if !same {
            self.update(by);
        }
    }

    /// The server as it was before the change.
    fn before(&self) -> Snapshot {
        let after = &self.change.after;
        self.change.before.as_ref().map_or_else(|| after.clone(), |before| after.with(before))
    }

    fn begun(&mut self, kind: OperationKind, rescue_image: Option<ImageId>) {
        let before = self.before();
        let story = Story { kind, rescue_image, by: self.change.by.as_ref() };
        self.push(
            Publisher::Compute,
            &story.event(Phase::Start),
            Priority::Info,
            story.payload(&before, None),
        );
        if kind == OperationKind::Delete {
            self.shutdown(Publisher::Compute, Phase::Start, &before);
        }
        self.update_if_changed(Publisher::Compute);
    }

    fn ended(&mut self, kind: OperationKind, ending: &Ending, rescue_image: Option<ImageId>) {
        let (phase, fault) = match ending {
            Ending::Succeeded => (Phase::End, None),
            Ending::Failed(fault) => (Phase::Error, Some(payload::failed(kind, fault))),
            Ending::Cancelled => (Phase::Error, Some(payload::stopped(kind))),
        };
        if matches!(ending, Ending::Succeeded) {
            self.before_the_end(kind);
        }
        self.update_if_changed(Publisher::Compute);
        let story = Story { kind, rescue_image, by: self.change.by.as_ref() };
        let payload = story.payload(&self.change.after, fault);
        self.push(Publisher::Compute, &story.event(phase), phase.priority(), payload);
    }

    /// What Nova says between the start of an operation and its end.
    fn before_the_end(&mut self, kind: OperationKind) {
        match kind {
            OperationKind::Delete => {
                let before = self.before();
                self.shutdown(Publisher::Compute, Phase::End, &before);
            }
            OperationKind::Rescue => {
                let payload = payload::exists(&self.before(), self.change.by.as_ref(), self.at);
                self.push(Publisher::Compute, "exists", Priority::Info, payload);
            }
            OperationKind::Create
            | OperationKind::Pause
            | OperationKind::Unpause
            | OperationKind::Suspend
            | OperationKind::Resume
            | OperationKind::Unrescue
            | OperationKind::Stop
            | OperationKind::Start
            | OperationKind::RebootSoft
            | OperationKind::RebootHard => {}
        }
    }

    fn shutdown(&mut self, by: Publisher, phase: Phase, server: &Snapshot) {
        let name = format!("shutdown.{}", phase.as_str());
        let payload = payload::action(server, self.change.by.as_ref(), BlockDevices::None, None);
        self.push(by, &name, phase.priority(), payload);
    }

    /// All in one transaction, so all in one change.
    fn deleted_unhosted(&mut self) {
        let before = self.before();
        let by = self.change.by.as_ref();
        let story = Story { kind: OperationKind::Delete, rescue_image: None, by };
        let start = story.payload(&before, None);
        let end = story.payload(&self.change.after, None);
        self.push(Publisher::Api, "delete.start", Priority::Info, start);
        self.shutdown(Publisher::Api, Phase::Start, &before);
        self.shutdown(Publisher::Api, Phase::End, &before);
        self.update(Publisher::Api);
        self.push(Publisher::Api, "delete.end", Priority::Info, end);
    }

    fn lock(&mut self, name: &str) {
        self.update(Publisher::Api);
        let (server, by) = (&self.change.after, self.change.by.as_ref());
        let payload = payload::action(server, by, BlockDevices::Unknown, None);
        self.push(Publisher::Api, name, Priority::Info, payload);
    }

    fn reset(&mut self, stopped: Option<OperationKind>) {
        self.update(Publisher::Api);
        if let Some(kind) = stopped {
            let story = Story { kind, rescue_image: None, by: self.change.by.as_ref() };
            let payload = story.payload(&self.change.after, Some(payload::stopped(kind)));
            self.push(Publisher::Api, &story.event(Phase::Error), Priority::Error, payload);
        }
    }
}

/// An operation as it is told.
struct Story<'a> {
    kind: OperationKind,
    rescue_image: Option<ImageId>,
    by: Option<&'a Initiator>,
}

impl Story<'_> {
    fn event(&self, phase: Phase) -> String {
        let action = match self.kind {
            OperationKind::Stop => "power_off",
            OperationKind::Start => "power_on",
            OperationKind::Create
            | OperationKind::Delete
            | OperationKind::Pause
            | OperationKind::Unpause
            | OperationKind::Suspend
            | OperationKind::Resume
            | OperationKind::Rescue
            | OperationKind::Unrescue
            | OperationKind::RebootSoft
            | OperationKind::RebootHard => self.kind.action(),
        };
        format!("{action}.{}", phase.as_str())
    }

    fn payload(&self, server: &Snapshot, fault: Option<Value>) -> Value {
        let devices = match self.kind {
            OperationKind::Create => return payload::create(server, self.by, fault),
            OperationKind::Rescue => {
                return payload::rescue(server, self.by, self.rescue_image, fault);
            }
            OperationKind::Delete
            | OperationKind::Resume
            | OperationKind::RebootSoft
            | OperationKind::RebootHard => BlockDevices::None,
            OperationKind::Pause
            | OperationKind::Unpause
            | OperationKind::Suspend
            | OperationKind::Unrescue
            | OperationKind::Stop
            | OperationKind::Start => BlockDevices::Unknown,
        };
        payload::action(server, self.by, devices, fault)
    }
}
