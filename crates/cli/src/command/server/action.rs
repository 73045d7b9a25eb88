//! Operations on servers that exist: ask, wait, say how it ended.

use std::time::Instant;

use reprieve_core::{OperationKind, VmState};
use serde_json::{Value, json};

use super::super::{Batch, Context, resolve};
use crate::args::WaitArgs;
use crate::args::server::{RebootArgs, TargetsArgs};
use crate::client::compute::{self, Accepted, Server};
use crate::client::{ClientError, Session};
use crate::error::Failure;
use crate::hints;
use crate::wait::{self, Goal};

/// The body of an action, `None` for what is no action in the API.
fn body(kind: OperationKind) -> Option<Value> {
    match kind {
        OperationKind::Pause => Some(json!({ "pause": null })),
        OperationKind::Unpause => Some(json!({ "unpause": null })),
        OperationKind::Suspend => Some(json!({ "suspend": null })),
        OperationKind::Resume => Some(json!({ "resume": null })),
        OperationKind::Rescue => Some(json!({ "rescue": {} })),
        OperationKind::Unrescue => Some(json!({ "unrescue": null })),
        OperationKind::Stop => Some(json!({ "os-stop": null })),
        OperationKind::Start => Some(json!({ "os-start": null })),
        OperationKind::RebootSoft => Some(json!({ "reboot": { "type": "SOFT" } })),
        OperationKind::RebootHard => Some(json!({ "reboot": { "type": "HARD" } })),
        OperationKind::Create | OperationKind::Delete => None,
    }
}

/// Adds to a refusal what is possible instead.
pub async fn explained(session: &Session, id: &str, error: ClientError) -> Failure {
    if error.status() != Some(409) {
        return error.into();
    }
    match compute::state(session, id).await {
        Ok(server) => Failure::Refused { source: error, advice: hints::after_conflict(&server) },
        Err(_) => error.into(),
    }
}

/// Begins an operation on one server.
async fn begin(
    session: &Session,
    kind: OperationKind,
    server: &Server,
) -> Result<Accepted, Failure> {
    let outcome = match body(kind) {
        Some(body) => compute::act(session, &server.id, &body).await,
        None => compute::delete(session, &server.id).await,
    };
    match outcome {
        Ok(accepted) => Ok(accepted),
        Err(error) => Err(explained(session, &server.id, error).await),
    }
}

/// A goal for an operation that was begun.
pub fn goal(kind: OperationKind, server: &Server, accepted: &Accepted, wait: WaitArgs) -> Goal {
    Goal {
        kind,
        id: server.id.clone(),
        name: if server.name.is_empty() { server.id.clone() } else { server.name.clone() },
        request_id: accepted.request_id.clone(),
        limit: wait.limit(),
    }
}

/// Waits and says how it ended, or says that it goes on.
pub async fn conclude(
    context: &Context,
    session: &Session,
    goal: &Goal,
    (wait, begun): (bool, Instant),
) -> Result<(), Failure> {
    if !wait {
        let id = goal.request_id.as_ref().map(|id| format!(" ({id})")).unwrap_or_default();
        context.note(&format!("{}: {} accepted{id}", goal.name, goal.kind.action()));
        return Ok(());
    }
    let server = wait::until(session, goal, context.shows_progress()).await?;
    let state = server.as_ref().map_or("deleted", |server| server.status.as_str());
    context.note(&format!("{}: {state} after {}", goal.name, wait::elapsed(begun)));
    Ok(())
}

/// `pause`, `delete` and all others that need nothing but the server. All are begun before the
/// first is waited for.
pub async fn run(
    context: &mut Context,
    kind: OperationKind,
    (args, deadline): (&TargetsArgs, Option<u32>),
) -> Result<(), Failure> {
    let session = context.session().await?.with_deadline(deadline);
    let mut batch = Batch::new(args.servers.len());
    let mut goals = Vec::new();
    for given in &args.servers {
        let begun = Instant::now();
        let outcome = async {
            let server = resolve::server(&session, given).await?;
            let accepted = begin(&session, kind, &server).await?;
            Ok(goal(kind, &server, &accepted, args.wait))
        };
        goals.extend(batch.add(outcome.await).map(|goal| (goal, begun)));
    }
    for (goal, begun) in goals {
        batch.add(conclude(context, &session, &goal, (args.wait.wait, begun)).await);
    }
    batch.end()
}

/// `reboot`. A hard reboot of a suspended server throws its memory away: that needs a yes.
pub async fn reboot(context: &mut Context, args: &RebootArgs) -> Result<(), Failure> {
    let session = context.session().await?.with_deadline(args.deadline.deadline);
    let kind = if args.hard { OperationKind::RebootHard } else { OperationKind::RebootSoft };
    let mut batch = Batch::new(args.servers.len());
    let mut goals = Vec::new();
    for given in &args.servers {
        let begun = Instant::now();
        let outcome = async {
            let server = resolve::server(&session, given).await?;
            if args.hard && !args.discard_memory {
                keep_memory(context, &server).await?;
            }
            let accepted = begin(&session, kind, &server).await?;
            Ok(goal(kind, &server, &accepted, args.wait))
        };
        goals.extend(batch.add(outcome.await).map(|goal| (goal, begun)));
    }
    for (goal, begun) in goals {
        batch.add(conclude(context, &session, &goal, (args.wait.wait, begun)).await);
    }
    batch.end()
}

async fn keep_memory(context: &Context, server: &Server) -> Result<(), Failure> {
    if server.vm_state() != Some(VmState::Suspended) {
        return Ok(());
    }
    let loss = format!(
        "{} is SUSPENDED: a hard reboot throws its saved memory away, with everything that was \
         not written to its disks.",
        server.name
    );
    let instead =
        format!("'reprieve server resume {}' keeps it; --discard-memory goes on", server.name);
    match context.confirms(&loss).await {
        Some(true) => Ok(()),
        Some(false) => Err(Failure::Usage(format!("nothing was done; {instead}"))),
        None => Err(Failure::Usage(format!("{loss} {instead}"))),
    }
}

/// Actions without an operation behind them: they are done when they are answered.
pub async fn plain(context: &mut Context, servers: &[String], body: &Value) -> Result<(), Failure> {
    let session = context.session().await?;
    let mut batch = Batch::new(servers.len());
    for given in servers {
        let outcome = async {
            let server = resolve::server(&session, given).await?;
            match compute::act(&session, &server.id, body).await {
                Ok(_) => Ok(()),
                Err(error) => Err(explained(&session, &server.id, error).await),
            }
        };
        batch.add(outcome.await);
    }
    batch.end()
}
