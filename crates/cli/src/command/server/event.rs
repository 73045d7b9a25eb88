//! `reprieve server event …`

use serde_json::Value;

use super::super::{Context, resolve};
use crate::args::OutputArgs;
use crate::client::{Session, compute};
use crate::error::Failure;
use crate::output::Cell;

/// What to list.
pub struct Listing {
    pub server: String,
    pub long: bool,
    pub output: OutputArgs,
}

/// What to show.
pub struct Shown {
    pub server: String,
    pub request_id: String,
    pub output: OutputArgs,
}

/// A deleted server has no name any more, but its events are still there under its id.
async fn server_id(session: &Session, given: &str) -> Result<String, Failure> {
    match resolve::server(session, given).await {
        Ok(server) => Ok(server.id),
        Err(Failure::NotFound { .. }) if compute::is_id(given) => Ok(given.to_owned()),
        Err(failure) => Err(failure),
    }
}

fn not_found<T>(
    outcome: Result<T, crate::client::ClientError>,
    what: &'static str,
    name: &str,
) -> Result<T, Failure> {
    outcome.map_err(|error| match error.status() {
        Some(404) => Failure::NotFound { what, name: name.to_owned() },
        _ => error.into(),
    })
}

pub async fn list(context: &mut Context, listing: Listing) -> Result<(), Failure> {
    let session = context.session().await?;
    let id = server_id(&session, &listing.server).await?;
    let events = not_found(compute::events(&session, &id).await, "server", &listing.server)?;
    let mut columns = vec![
        ("Request ID", "request_id"),
        ("Server ID", "instance_uuid"),
        ("Action", "action"),
        ("Start Time", "start_time"),
    ];
    if listing.long {
        columns.extend([
            ("Message", "message"),
            ("Project ID", "project_id"),
            ("User ID", "user_id"),
            ("Updated At", "updated_at"),
        ]);
    }
    let row = |event: &Value| columns.iter().map(|(_, key)| Cell::of(event, key)).collect();
    let rows = events.iter().map(row).collect();
    let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    context.out.list(&listing.output, &names, rows)
}

pub async fn show(context: &mut Context, shown: Shown) -> Result<(), Failure> {
    let session = context.session().await?;
    let id = server_id(&session, &shown.server).await?;
    let event = compute::event(&session, &id, &shown.request_id).await;
    let event = not_found(event, "event", &shown.request_id)?;
    let mut fields: Vec<(String, Cell)> = event
        .into_iter()
        .filter(|(key, _)| key != "links")
        .map(|(key, value)| {
            let cell = if key == "events" { steps(value) } else { value.into() };
            (key, cell)
        })
        .collect();
    fields.sort_by(|one, other| one.0.cmp(&other.0));
    context.out.record(&shown.output, fields)
}

/// One line for each step: what, when, how it ended.
fn steps(value: Value) -> Cell {
    let line = |step: &Value| {
        let text = |key: &str| step.get(key).and_then(Value::as_str);
        let result = text("result").unwrap_or("under way");
        let details = text("details").filter(|_| result == "Error");
        let details = details.map(|text| format!(": {text}")).unwrap_or_default();
        format!(
            "{} {} .. {} {result}{details}",
            text("event").unwrap_or_default(),
            text("start_time").unwrap_or_default(),
            text("finish_time").unwrap_or_default(),
        )
    };
    let lines: Vec<String> = value.as_array().into_iter().flatten().map(line).collect();
    Cell::with_text(value, lines.join("\n"))
}
