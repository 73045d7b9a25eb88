//! Answers as tables of fields: each has a name, a schema, and how to get it. Both the answers and
//! their description are made from them.

use reprieve_core::Timestamp;
use reprieve_core::message::{HostInfo, StepEvent};
use reprieve_store::{HostState, OperationRecord, OperationState, StepRecord};
use serde_json::{Map, Value, json};

use crate::app::hosts::Carrying;

/// How much somebody may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// Everything.
    Admin,
    /// What the owner of a server may know.
    Owner,
}

/// One field of an answer about a `T`.
pub struct Field<T> {
    /// Name.
    pub name: &'static str,
    /// What it means.
    pub about: &'static str,
    /// JSON schema of its value.
    pub schema: fn() -> Value,
    /// Its value.
    pub value: fn(&T, Sight) -> Value,
}

/// The fields of `item`.
pub fn show<T>(fields: &[Field<T>], item: &T, sight: Sight) -> Map<String, Value> {
    fields.iter().map(|field| (field.name.to_owned(), (field.value)(item, sight))).collect()
}

/// The schema of what [`show`] makes.
pub fn schema<T>(about: &str, fields: &[Field<T>]) -> Value {
    let properties: Map<String, Value> = fields
        .iter()
        .map(|field| {
            let mut schema = (field.schema)();
            if let Some(fields) = schema.as_object_mut() {
                fields.insert("description".to_owned(), field.about.into());
            }
            (field.name.to_owned(), schema)
        })
        .collect();
    let names: Vec<&str> = fields.iter().map(|field| field.name).collect();
    json!({
        "type": "object",
        "description": about,
        "required": names,
        "properties": properties,
        "additionalProperties": false,
    })
}

/// A text.
pub fn text() -> Value {
    json!({"type": "string"})
}

/// A text, or nothing.
fn text_or_null() -> Value {
    json!({"type": ["string", "null"]})
}

/// A UUID.
pub fn uuid() -> Value {
    json!({"type": "string", "format": "uuid"})
}

fn uuid_or_null() -> Value {
    json!({"type": ["string", "null"], "format": "uuid"})
}

fn time() -> Value {
    json!({"type": "string", "format": "date-time"})
}

fn time_or_null() -> Value {
    json!({"type": ["string", "null"], "format": "date-time"})
}

fn count() -> Value {
    json!({"type": "integer", "minimum": 0})
}

/// State of an operation.
pub fn operation_state() -> Value {
    json!({"type": "string", "enum": [
        "pending", "dispatched", "running", "cancelling", "succeeded", "failed", "cancelled",
    ]})
}

fn instant(time: Option<Timestamp>) -> Value {
    time.map(Timestamp::micros_z).into()
}

macro_rules! fields {
    ($($name:literal, $schema:expr, $about:literal, $value:expr;)+) => {
        &[$(Field { name: $name, about: $about, schema: $schema, value: $value }),+]
    };
}

/// An operation.
pub const OPERATION: &[Field<OperationRecord>] = fields! {
    "id", uuid, "Identifier; sorts by the time it was accepted.",
        |one, _| one.id.to_string().into();
    "server_id", uuid, "Its server.", |one, _| one.instance_id.to_string().into();
    "action", text, "Name, as in the server's instance actions.", |one, _| one.action.clone().into();
    "kind", text_or_null, "What its host does; null when the database alone was changed.",
        |one, _| one.kind.map(reprieve_core::OperationKind::as_str).into();
    "state", operation_state, "Where it is in its life.", |one, _| one.state.as_str().into();
    "request_id", text, "The request that asked for it.",
        |one, _| one.request_id.as_str().into();
    "user_id", text, "Who asked.", |one, _| one.user_id.as_str().into();
    "project_id", text, "Project of who asked.", |one, _| one.project_id.as_str().into();
    "host", text_or_null, "Host that does it; administrators only.",
        |one, sight| hidden(one.host.as_ref().map(|host| host.as_str().to_owned()), sight);
    "progress", || json!({"type": "integer", "minimum": 0, "maximum": 100}),
        "Steps that are done, in percent.", |one, _| one.progress.into();
    "step", || json!({"type": ["integer", "null"], "minimum": 0}),
        "Number of the step it is at, from 0.", |one, _| one.step.into();
    "step_name", text_or_null, "Name of that step.",
        |one, _| one.step_name.map(reprieve_core::Step::as_str).into();
    "attempt", count, "How often it was handed to its host.", |one, _| one.attempt.into();
    "waiting", text_or_null, "What keeps it from beginning: `waiting for host`, which has not taken it \
        yet, or `waiting for operation`, the one of `waits_for`. Null once it has begun.",
        |one, _| waiting(one).into();
    "waits_for", uuid_or_null, "The operation that has to end before.",
        |one, _| one.after.map(|id| id.to_string()).into();
    "created_at", time, "When it was accepted.", |one, _| one.created_at.micros_z().into();
    "updated_at", time, "Last news of it.", |one, _| one.updated_at.micros_z().into();
    "started_at", time_or_null, "When its host began.", |one, _| instant(one.started_at);
    "finished_at", time_or_null, "When it ended.", |one, _| instant(one.finished_at);
    "deadline_at", time_or_null, "When its host is asked how far it is, or, if whoever asked for it set a deadline and no host \
        has taken it, when it ends.",
        |one, _| instant(one.deadline_at);
    "needs_attention", || json!({"type": "boolean"}),
        "Its outcome could not be established: a person has to look.",
        |one, _| one.needs_attention.into();
    "error", error_schema, "Why it failed.", error;
};

fn waiting(operation: &OperationRecord) -> Option<&'static str> {
    match operation.state {
        OperationState::Pending | OperationState::Dispatched | OperationState::Cancelling
            if operation.started_at.is_none() =>
        {
            let behind = operation.after.is_some();
            Some(if behind { "waiting for operation" } else { "waiting for host" })
        }
        OperationState::Pending
        | OperationState::Dispatched
        | OperationState::Running
        | OperationState::Cancelling
        | OperationState::Succeeded
        | OperationState::Failed
        | OperationState::Cancelled => None,
    }
}

fn error_schema() -> Value {
    json!({
        "type": ["object", "null"],
        "required": ["code", "message", "details"],
        "properties": {
            "code": {"type": "integer", "description": "As in the fault of a server."},
            "message": {"type": "string"},
            "details": {
                "type": ["string", "null"],
                "description": "The causes; of a 500 for administrators only.",
            },
        },
        "additionalProperties": false,
    })
}

fn error(operation: &OperationRecord, sight: Sight) -> Value {
    let Some(fault) = &operation.error else { return Value::Null };
    let details = Some(&fault.details).filter(|_| sight == Sight::Admin || fault.code != 500);
    json!({"code": fault.code, "message": fault.message, "details": details})
}

/// What only administrators may know.
fn hidden(value: Option<String>, sight: Sight) -> Value {
    value.filter(|_| sight == Sight::Admin).into()
}

/// One line of the audit of an operation.
pub const STEP: &[Field<StepRecord>] = fields! {
    "seq", count, "Order within the operation.", |one, _| one.seq.into();
    "step", text, "Name of the step.", |one, _| one.step.as_str().into();
    "event", || json!({"type": "string", "enum": ["started", "done", "retrying", "failed"]}),
        "What happened to it.", |one, _| event_name(one.event).into();
    "at", time, "When, by the clock of its host.", |one, _| one.at.micros_z().into();
    "detail", text_or_null, "In words; administrators only.",
        |one, sight| hidden(Some(one.detail.clone()).filter(|text| !text.is_empty()), sight);
};

const fn event_name(event: StepEvent) -> &'static str {
    match event {
        StepEvent::Started => "started",
        StepEvent::Done => "done",
        StepEvent::Retrying => "retrying",
        StepEvent::Failed => "failed",
    }
}

/// A host as it is now.
pub struct HostNow {
    /// The host and what it carries.
    pub carrying: Carrying,
    /// The time.
    pub now: Timestamp,
}

fn flag() -> Value {
    json!({"type": "boolean"})
}

fn host_state() -> Value {
    json!({"type": "string", "enum": HostState::ALL.map(HostState::as_str)})
}

/// A compute host.
pub const HOST: &[Field<HostNow>] = fields! {
    "name", text, "Name.", |one, _| one.carrying.host.name.as_str().into();
    "state", host_state, "`up`; `suspect`: a sign of life is overdue; `down`: silent for a minute, \
        without its hypervisor, or declared down.",
        |one, _| one.carrying.host.state(one.now).as_str().into();
    "last_seen", time, "Last sign of life.",
        |one, _| one.carrying.host.last_seen.micros_z().into();
    "lease_age", || json!({"type": "number", "minimum": 0}),
        "How long ago that was, in seconds.",
        |one, _| one.carrying.host.lease_age(one.now).as_secs_f64().into();
    "epoch", count, "Raised by each start of its agent.", |one, _| one.carrying.host.epoch.into();
    "enabled", flag, "Whether new servers may be placed on it.",
        |one, _| one.carrying.host.enabled.into();
    "disabled_reason", text_or_null, "Why not.",
        |one, _| one.carrying.host.disabled_reason.clone().into();
    "forced_down", flag, "An administrator knows that it is down.",
        |one, _| one.carrying.host.forced_down.into();
    "problem", text_or_null, "Why its hypervisor cannot be reached.",
        |one, _| one.carrying.host.problem.clone().into();
    "agent_version", text_or_null, "Version of its agent.", |one, _| {
        let version = one.carrying.host.info.as_ref().map(|info| info.agent_version.clone());
        version.filter(|version| !version.is_empty()).into()
    };
    "hypervisor", text_or_null, "Hypervisor and its version.",
        |one, _| one.carrying.host.info.as_ref().map(hypervisor).into();
    "kvm", || json!({"type": ["boolean", "null"]}), "Whether guests run on KVM.",
        |one, _| one.carrying.host.info.as_ref().map(|info| info.kvm).into();
    "servers", count, "Servers on it.",
        |one, _| one.carrying.load.servers.values().sum::<i64>().into();
    "servers_by_state", || json!({"type": "object", "additionalProperties": count()}),
        "How many of them are in each state, by its name in the server's `OS-EXT-STS:vm_state`.",
        |one, _| json!(one.carrying.load.servers);
    "guests", count, "How many of them have a guest, as last seen: one that runs, is paused, or stands still.",
        |one, _| one.carrying.load.guests.into();
    "suspended_for_host", count,
        "How many of them were suspended because it goes down, and go on when it is back.",
        |one, _| one.carrying.load.suspended_for_host.into();
    "active_operations", count, "Unfinished operations on it.",
        |one, _| one.carrying.load.operations.into();
    "unknown_guests", unknown_guests, "Guests on it that no server is known for. They are left alone.",
        |one, _| {
            let info = one.carrying.host.info.as_ref();
            let guests = info.map_or(&[][..], |info| &info.unknown_guests);
            guests.iter().map(|one| json!({"id": one.id, "power": one.power.word()})).collect()
        };
};

fn unknown_guests() -> Value {
    let id = json!({"type": "string", "format": "uuid"});
    let guest = json!({
        "type": "object",
        "properties": {"id": id, "power": {"type": "string"}},
        "required": ["id", "power"],
    });
    json!({"type": "array", "items": guest})
}

/// `QEMU 7.2.22`: libvirt packs three numbers into one.
fn hypervisor(info: &HostInfo) -> String {
    let (name, version) = (&info.hypervisor_type, info.hypervisor_version);
    format!("{name} {}.{}.{}", version / 1_000_000, version / 1000 % 1000, version % 1000)
}
