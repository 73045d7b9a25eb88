//! `reprieve server …`

mod action;
mod create;
mod event;
mod list;
mod rescue;
mod show;

use reprieve_core::OperationKind;
use serde_json::{Value, json};

use super::{Context, resolve};
use crate::args::server::{ActionArgs, ConsoleCommand, EventCommand, ServerCommand};
use crate::client::compute;
use crate::error::Failure;

pub async fn run(context: &mut Context, command: ServerCommand) -> Result<(), Failure> {
    match command {
        ServerCommand::Create(args) => create::run(context, &args).await,
        ServerCommand::List(args) => list::run(context, &args).await,
        ServerCommand::Show(args) => show::run(context, &args).await,
        ServerCommand::Delete(args) => {
            action::run(context, OperationKind::Delete, (&args, None)).await
        }
        ServerCommand::Pause(args) => act(context, OperationKind::Pause, &args).await,
        ServerCommand::Unpause(args) => act(context, OperationKind::Unpause, &args).await,
        ServerCommand::Suspend(args) => act(context, OperationKind::Suspend, &args).await,
        ServerCommand::Resume(args) => act(context, OperationKind::Resume, &args).await,
        ServerCommand::Unrescue(args) => act(context, OperationKind::Unrescue, &args).await,
        ServerCommand::Start(args) => act(context, OperationKind::Start, &args).await,
        ServerCommand::Stop(args) => act(context, OperationKind::Stop, &args).await,
        ServerCommand::Rescue(args) => rescue::run(context, &args).await,
        ServerCommand::Reboot(args) => action::reboot(context, &args).await,
        ServerCommand::Lock(args) => {
            let reason = args.reason.as_ref();
            let body = reason.map_or(Value::Null, |text| json!({ "locked_reason": text }));
            action::plain(context, &args.servers, &json!({ "lock": body })).await
        }
        ServerCommand::Unlock(args) => {
            action::plain(context, &args.servers, &json!({ "unlock": null })).await
        }
        ServerCommand::Console(ConsoleCommand::Log { server, lines }) => {
            console(context, &server, lines).await
        }
        ServerCommand::Event(EventCommand::List { server, long, output }) => {
            event::list(context, event::Listing { server, long, output }).await
        }
        ServerCommand::Event(EventCommand::Show { server, request_id, output }) => {
            event::show(context, event::Shown { server, request_id, output }).await
        }
    }
}

async fn act(context: &mut Context, kind: OperationKind, args: &ActionArgs) -> Result<(), Failure> {
    action::run(context, kind, (&args.targets, args.deadline.deadline)).await
}

/// Prints the console log. A program gets the bytes; on a terminal the guest must not be able to
/// send escape sequences.
async fn console(context: &mut Context, given: &str, lines: Option<u32>) -> Result<(), Failure> {
    let session = context.session().await?;
    let server = resolve::server(&session, given).await?;
    let length = lines.map_or_else(|| json!({}), |lines| json!({ "length": lines }));
    let body = json!({ "os-getConsoleOutput": length });
    let answer = compute::act(&session, &server.id, &body).await?;
    let text = answer.body.get("output").and_then(Value::as_str).unwrap_or_default();
    if context.out.is_terminal() {
        let text = crate::output::printable(&text.replace('\r', ""));
        writeln!(context.out.writer(), "{}", text.trim_end_matches('\n'))?;
    } else {
        context.out.writer().write_all(text.as_bytes())?;
    }
    Ok(())
}
