//! Every endpoint, once: the router, the check of queries and the OpenAPI document are made of this.

use std::sync::Arc;

use axum::routing::{MethodRouter, get, post};
use serde_json::{Value, json};

use super::view::{operation_state, text, uuid};
use super::{events, hosts, openapi, operations, root};
use crate::Control;

/// Largest page of operations.
pub const MAX_LIMIT: u64 = 1000;

/// Where a parameter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the path.
    Path,
    /// In the query.
    Query,
    /// In a header.
    Header,
}

impl Place {
    /// As OpenAPI spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Query => "query",
            Self::Header => "header",
        }
    }
}

/// A parameter.
pub struct Parameter {
    /// Name.
    pub name: &'static str,
    /// Where it stands.
    pub place: Place,
    /// What it means.
    pub about: &'static str,
    /// JSON schema of its value.
    pub schema: fn() -> Value,
}

/// What an endpoint answers when all is well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Success {
    /// JSON of this schema, by its name in [`openapi::document`].
    Json(&'static str),
    /// The same, with 202: what was asked for is yet to be done.
    Accepted(&'static str),
    /// A stream of server-sent events.
    Events,
    /// Any JSON object.
    Document,
}

/// What an endpoint is asked with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// It only reads.
    Get,
    /// It changes something.
    Post,
}

impl Method {
    /// As OpenAPI spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Post => "post",
        }
    }
}

/// An endpoint.
pub struct Endpoint {
    /// Path below the API's; empty for the API itself.
    pub path: &'static str,
    /// What it is asked with.
    pub method: Method,
    /// Name of its link and of the operation in the OpenAPI document.
    pub name: &'static str,
    /// What it is.
    pub about: &'static str,
    /// Whether a token is needed.
    pub token: bool,
    /// Parameters.
    pub parameters: &'static [Parameter],
    /// Schema of the body, by its name in [`openapi::document`], if there may be one.
    pub body: Option<&'static str>,
    /// Answer.
    pub success: Success,
    /// Statuses of refusals besides those that every endpoint with a token has.
    pub refusals: &'static [u16],
    /// What answers.
    pub handler: fn() -> MethodRouter<Arc<Control>>,
}

impl Endpoint {
    /// Path for the router.
    pub const fn route(&self) -> &'static str {
        if self.path.is_empty() { "/" } else { self.path }
    }
}

fn texts() -> Value {
    json!({"type": "array", "items": {"type": "string"}})
}

fn states() -> Value {
    json!({"type": "array", "items": operation_state()})
}

fn limit() -> Value {
    json!({"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": 100})
}

const fn query(name: &'static str, schema: fn() -> Value, about: &'static str) -> Parameter {
    Parameter { name, place: Place::Query, about, schema }
}

const OPERATION_ID: Parameter =
    Parameter { name: "id", place: Place::Path, about: "The operation.", schema: uuid };

const HOST_NAME: Parameter =
    Parameter { name: "name", place: Place::Path, about: "The host.", schema: text };

/// Of the list of operations.
pub const LIST_PARAMETERS: &[Parameter] = &[
    query("server_id", uuid, "On this server."),
    query("state", states, "In one of these states; may be repeated."),
    query("action", text, "Of this name, as in the server's instance actions."),
    query(
        "project_id",
        text,
        "On servers of this project. Others than administrators always get \
                               those of their own.",
    ),
    query("marker", uuid, "Older than this one: the last of the page before."),
    query("limit", limit, "At most so many."),
];

/// Of the stream of events.
pub const EVENT_PARAMETERS: &[Parameter] = &[
    query(
        "server_id",
        || json!({"type": "array", "items": uuid()}),
        "About one of these servers; may be repeated.",
    ),
    query(
        "event_type",
        texts,
        "Of one of these types; may be repeated. `instance.pause.*` stands \
                                for everything that begins with `instance.pause.`.",
    ),
    query(
        "project_id",
        text,
        "About servers of this project. Others than administrators always \
                               get those of their own.",
    ),
    query("last_event_id", text, "As the header, which counts if there are both."),
    Parameter {
        name: "Last-Event-ID",
        place: Place::Header,
        about: "Id of the last event that was received: what came after it comes first.",
        schema: text,
    },
];

/// All endpoints.
pub const ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        path: "",
        method: Method::Get,
        name: "root",
        about: "What this API has.",
        token: false,
        parameters: &[],
        body: None,
        success: Success::Json("Root"),
        refusals: &[],
        handler: || get(root),
    },
    Endpoint {
        path: "/openapi.json",
        method: Method::Get,
        name: "openapi",
        about: "This document.",
        token: false,
        parameters: &[],
        body: None,
        success: Success::Document,
        refusals: &[],
        handler: || get(openapi::serve),
    },
    Endpoint {
        path: "/operations",
        method: Method::Get,
        name: "operations",
        about: "Operations, newest first, also those on deleted servers.",
        token: true,
        parameters: LIST_PARAMETERS,
        body: None,
        success: Success::Json("OperationList"),
        refusals: &[400],
        handler: || get(operations::index),
    },
    Endpoint {
        path: "/operations/{id}",
        method: Method::Get,
        name: "operation",
        about: "One operation with the audit of its steps.",
        token: true,
        parameters: &[OPERATION_ID],
        body: None,
        success: Success::Json("OperationDetail"),
        refusals: &[400, 404],
        handler: || get(operations::one),
    },
    Endpoint {
        path: "/operations/{id}/cancel",
        method: Method::Post,
        name: "cancel",
        about: "Stops an operation that is not wanted any more.\n\nOne that no host has got ends at \
                once. Any other is `cancelling` until its host has stopped it, which it does only \
                where neither memory nor a disk is lost; it may succeed before. What cannot be \
                stopped is refused with 409, which says what to do instead. Whoever may ask for an \
                operation may cancel it.",
        token: true,
        parameters: &[OPERATION_ID],
        body: None,
        success: Success::Json("OperationDetail"),
        refusals: &[400, 404, 409],
        handler: || post(operations::cancel),
    },
    Endpoint {
        path: "/hosts",
        method: Method::Get,
        name: "hosts",
        about: "Compute hosts with what they carry, by name; for administrators.",
        token: true,
        parameters: &[],
        body: None,
        success: Success::Json("HostList"),
        refusals: &[400],
        handler: || get(hosts::index),
    },
    Endpoint {
        path: "/hosts/{name}",
        method: Method::Get,
        name: "host",
        about: "One compute host with what it carries; for administrators.",
        token: true,
        parameters: &[HOST_NAME],
        body: None,
        success: Success::Json("HostDetail"),
        refusals: &[400, 404],
        handler: || get(hosts::one),
    },
    Endpoint {
        path: "/hosts/{name}/drain",
        method: Method::Post,
        name: "drain",
        about: "Lets no new servers come to a host; for administrators.\n\nServers that are there \
                stay, and operations on them go on. The answer says what is there.",
        token: true,
        parameters: &[HOST_NAME],
        body: Some("Drain"),
        success: Success::Json("HostDetail"),
        refusals: &[400, 404, 408, 413],
        handler: || post(hosts::drain),
    },
    Endpoint {
        path: "/hosts/{name}/enable",
        method: Method::Post,
        name: "enable",
        about: "Lets new servers come to a host again; for administrators.",
        token: true,
        parameters: &[HOST_NAME],
        body: None,
        success: Success::Json("HostDetail"),
        refusals: &[400, 404],
        handler: || post(hosts::enable),
    },
    Endpoint {
        path: "/hosts/{name}/suspend",
        method: Method::Post,
        name: "suspend",
        about: "Suspends the servers of a host that are ACTIVE, because it goes down; for \
                administrators.\n\nThey are resumed by `resume`, or when the machine was restarted \
                and the policy of host or server says so. What users suspended is not. Servers that \
                are PAUSED or in RESCUE stay what they are.",
        token: true,
        parameters: &[HOST_NAME],
        body: None,
        success: Success::Accepted("HostAsked"),
        refusals: &[400, 404],
        handler: || post(hosts::suspend),
    },
    Endpoint {
        path: "/hosts/{name}/resume",
        method: Method::Post,
        name: "resume",
        about: "Resumes the servers of a host that were suspended because it went down; for \
                administrators.\n\nThe host has to be enabled.",
        token: true,
        parameters: &[HOST_NAME],
        body: None,
        success: Success::Accepted("HostAsked"),
        refusals: &[400, 404, 409],
        handler: || post(hosts::resume),
    },
    Endpoint {
        path: "/events",
        method: Method::Get,
        name: "events",
        about: "Nova's versioned instance notifications, as server-sent events, as soon as what \
                they tell is committed.\n\nThe data of an event is one notification, its name the \
                notification's event_type, its id grows with time. `stream.gap` says that events \
                are missing here, `stream.end` why the stream ends: `token`, `too_slow`, \
                `shutdown` or `failure`. Comments keep the connection alive.",
        token: true,
        parameters: EVENT_PARAMETERS,
        body: None,
        success: Success::Events,
        refusals: &[400, 429],
        handler: || get(events::stream),
    },
];
