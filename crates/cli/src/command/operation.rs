//! `reprieve operation …`

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Batch, Context, resolve};
use crate::args::WaitArgs;
use crate::args::operation::{ListArgs, OperationCommand, State};
use crate::client::native::{self, Operation};
use crate::client::{Session, compute};
use crate::error::Failure;
use crate::output::Cell;
use crate::progress::Spinner;
use crate::wait;

/// How long a host gets to stop something, unless the user says otherwise: aborting the save of a
/// large guest takes a while.
const STOP_LIMIT: Duration = Duration::from_secs(300);

pub async fn run(context: &mut Context, command: OperationCommand) -> Result<(), Failure> {
    let session = context.session().await?;
    match command {
        OperationCommand::List(args) => list(context, &session, &args).await,
        OperationCommand::Show { id, output } => {
            let operation = native::operation(&session, &id).await?;
            let field = |(key, value): (String, Value)| {
                let cell = match key.as_str() {
                    "steps" => steps(value),
                    "error" => error(value),
                    _ => value.into(),
                };
                (key, cell)
            };
            context.out.record(&output, operation.into_iter().map(field).collect())
        }
        OperationCommand::Cancel { ids, wait } => cancel(context, &session, &ids, wait).await,
    }
}

async fn list(context: &mut Context, session: &Session, args: &ListArgs) -> Result<(), Failure> {
    let mut filters = Vec::new();
    if let Some(server) = &args.server {
        filters.push(("server_id", server_id(session, server).await?));
    }
    let states = if args.active { State::ACTIVE.as_slice() } else { &args.states };
    filters.extend(states.iter().map(|state| ("state", state.as_str().to_owned())));
    filters.extend(args.action.iter().map(|action| ("action", action.clone())));
    filters.extend(args.project.iter().map(|project| ("project_id", project.clone())));
    let found = native::operations(session, &filters, args.limit as usize).await?;
    let mut columns = vec![
        ("ID", "id"),
        ("Action", "action"),
        ("Server ID", "server_id"),
        ("State", "state"),
        ("Step", "step_name"),
        ("Progress", "progress"),
        ("Host", "host"),
        ("Created At", "created_at"),
    ];
    if args.long {
        columns.extend([
            ("Finished At", "finished_at"),
            ("Request ID", "request_id"),
            ("User ID", "user_id"),
            ("Project ID", "project_id"),
            ("Error", "error"),
        ]);
    }
    let cell = |operation: &Value, key: &str| match key {
        "error" => error(operation.get(key).cloned().unwrap_or_default()),
        // Until it has begun, what keeps it from it says more.
        "step_name" => match operation.get("waiting").and_then(Value::as_str) {
            Some(waiting) => Cell::with_text(Value::Null, waiting.to_owned()),
            None => Cell::of(operation, key),
        },
        _ => Cell::of(operation, key),
    };
    let row = |operation: &Value| columns.iter().map(|(_, key)| cell(operation, key)).collect();
    let rows = found.iter().map(row).collect();
    let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    context.out.list(&args.output, &names, rows)
}

/// A deleted server has no name any more, but its operations are still there under its id.
async fn server_id(session: &Session, given: &str) -> Result<String, Failure> {
    match resolve::server(session, given).await {
        Ok(server) => Ok(server.id),
        Err(Failure::NotFound { .. }) if compute::is_id(given) => Ok(given.to_owned()),
        Err(failure) => Err(failure),
    }
}

/// One line for each thing that happened to a step.
fn steps(value: Value) -> Cell {
    let line = |step: &Value| {
        let text = |key: &str| step.get(key).and_then(Value::as_str).unwrap_or_default();
        let detail = step.get("detail").and_then(Value::as_str);
        let detail = detail.map(|detail| format!(": {detail}")).unwrap_or_default();
        format!("{} {} {}{detail}", text("at"), text("step"), text("event"))
    };
    let lines: Vec<String> = value.as_array().into_iter().flatten().map(line).collect();
    Cell::with_text(value, lines.join("\n"))
}

/// The message of an error.
fn error(value: Value) -> Cell {
    match value.get("message").and_then(Value::as_str).map(str::to_owned) {
        Some(message) => Cell::with_text(value, message),
        None => value.into(),
    }
}

/// Asks for all of them to be stopped before the first is waited for.
async fn cancel(
    context: &Context,
    session: &Session,
    ids: &[String],
    wait: WaitArgs,
) -> Result<(), Failure> {
    let mut batch = Batch::new(ids.len());
    let mut stopping = Vec::new();
    for id in ids {
        let begun = Instant::now();
        let asked = native::cancel(session, id).await;
        stopping.extend(batch.add(asked).map(|operation| (id, operation, begun)));
    }
    for (id, operation, begun) in stopping {
        batch.add(conclude(context, session, (id, operation, begun), wait).await);
    }
    batch.end()
}

async fn conclude(
    context: &Context,
    session: &Session,
    (id, operation, begun): (&str, Operation, Instant),
    wait: WaitArgs,
) -> Result<(), Failure> {
    let ended = match outcome(&operation) {
        None if wait.wait => until_ended(context, session, id, wait).await?,
        None => {
            context.note(&format!("{id}: {} is being stopped", operation.action));
            return Ok(());
        }
        Some(_) => operation,
    };
    match outcome(&ended) {
        Some(Outcome::Cancelled) => {
            let took = wait::elapsed(begun);
            context.note(&format!("{id}: {} cancelled after {took}", ended.action));
            Ok(())
        }
        Some(Outcome::Succeeded) => Err(Failure::Operation(format!(
            "{} was not cancelled: it was done before it could be stopped",
            ended.action
        ))),
        Some(Outcome::Failed) | None => {
            let reason = ended.error.map(|error| format!(": {}", error.message));
            Err(Failure::Operation(format!(
                "{} was not cancelled, it failed{}",
                ended.action,
                reason.unwrap_or_default()
            )))
        }
    }
}

/// How an operation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Cancelled,
    Succeeded,
    Failed,
}

/// `None` while it goes on.
fn outcome(operation: &Operation) -> Option<Outcome> {
    match operation.state.as_str() {
        "cancelled" => Some(Outcome::Cancelled),
        "succeeded" => Some(Outcome::Succeeded),
        "failed" => Some(Outcome::Failed),
        _ => None,
    }
}

async fn until_ended(
    context: &Context,
    session: &Session,
    id: &str,
    wait: WaitArgs,
) -> Result<Operation, Failure> {
    let limit = wait.limit().unwrap_or(STOP_LIMIT);
    let spinner = Spinner::new(context.shows_progress());
    let look = async || {
        let operation = native::state(session, id).await?;
        if outcome(&operation).is_some() {
            return Ok(Some(operation));
        }
        let step = operation.step_name.as_deref().unwrap_or("begin");
        let text = format!("{id}: stopping {} at {step}", operation.action);
        spinner.show(text, operation.progress);
        Ok(None)
    };
    wait::poll(&spinner, (id, limit), look).await?.ok_or_else(|| {
        let seconds = limit.as_secs();
        Failure::Operation(format!(
            "{id} is not stopped after {seconds} s; its host is still asked"
        ))
    })
}
