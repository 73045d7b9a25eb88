//! `reprieve host …`

use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use super::Context;
use crate::args::OutputArgs;
use crate::args::host::{DrainArgs, HostCommand};
use crate::client::{Session, native};
use crate::error::Failure;
use crate::output::Cell;
use crate::progress::Spinner;
use crate::wait;

/// How long operations on a drained host are waited for, unless the user says otherwise: as long as
/// the longest may take, and a minute.
const DRAIN_LIMIT: Duration = Duration::from_secs(3660);

pub async fn run(context: &mut Context, command: HostCommand) -> Result<(), Failure> {
    let session = context.session().await?;
    match command {
        HostCommand::List(output) => list(context, &session, &output).await,
        HostCommand::Show { host, output } => {
            let found = native::host(&session, &host).await?;
            context.out.record(&output, fields(found))
        }
        HostCommand::Drain(args) if args.undo => {
            enable(context, &session, (&args.host, &args.output)).await
        }
        HostCommand::Drain(args) => drain(context, &session, &args).await,
        HostCommand::Enable { host, output } => enable(context, &session, (&host, &output)).await,
    }
}

async fn list(
    context: &mut Context,
    session: &Session,
    output: &OutputArgs,
) -> Result<(), Failure> {
    const COLUMNS: [(&str, &str); 9] = [
        ("Name", "name"),
        ("State", "state"),
        ("Lease Age", "lease_age"),
        ("Agent", "agent_version"),
        ("Hypervisor", "hypervisor"),
        ("Servers", "servers"),
        ("Operations", "active_operations"),
        ("Enabled", "enabled"),
        ("Disabled Reason", "disabled_reason"),
    ];
    let row = |host: &Value| {
        let cell = |key| field(key, host.get(key).cloned().unwrap_or_default());
        COLUMNS.iter().map(|(_, key)| cell(key)).collect()
    };
    let rows = native::hosts(session).await?.iter().map(row).collect();
    context.out.list(output, &COLUMNS.map(|(name, _)| name), rows)
}

fn fields(host: Map<String, Value>) -> Vec<(String, Cell)> {
    host.into_iter()
        .map(|(key, value)| {
            let cell = field(&key, value);
            (key, cell)
        })
        .collect()
}

fn field(key: &str, value: Value) -> Cell {
    match (key, value.as_f64()) {
        ("lease_age", Some(seconds)) => Cell::with_text(value, format!("{seconds:.1} s")),
        _ => value.into(),
    }
}

async fn enable(
    context: &mut Context,
    session: &Session,
    (name, output): (&str, &OutputArgs),
) -> Result<(), Failure> {
    let host = native::enable(session, name).await?;
    context.note(&format!("{name}: new servers may come again"));
    context.out.record(output, fields(host))
}

async fn drain(context: &mut Context, session: &Session, args: &DrainArgs) -> Result<(), Failure> {
    let (name, begun) = (args.host.as_str(), Instant::now());
    let mut host = native::drain(session, name, args.reason.as_deref()).await?;
    if args.wait.wait {
        let limit = args.wait.limit().unwrap_or(DRAIN_LIMIT);
        let spinner = Spinner::new(context.shows_progress());
        let look = async || {
            let now = native::host_now(session, name).await?;
            let active = count(&now, "active_operations");
            if active == 0 {
                return Ok(Some(now));
            }
            spinner.show(format!("{name}: {active} operations under way"), None);
            Ok(None)
        };
        let quiet = wait::poll(&spinner, (name, limit), look).await?;
        host = quiet.ok_or_else(|| {
            let seconds = limit.as_secs();
            Failure::Operation(format!(
                "operations on {name} are not over after {seconds} s; it stays drained"
            ))
        })?;
        let took = wait::elapsed(begun);
        context.note(&format!("{name}: nothing is under way after {took}"));
    }
    let servers = match count(&host, "servers") {
        0 => "no server is there".to_owned(),
        1 => "1 server is still there".to_owned(),
        servers => format!("{servers} servers are still there"),
    };
    context.note(&format!("{name}: no new servers come; {servers}"));
    context.out.record(&args.output, fields(host))
}

fn count(host: &Map<String, Value>, key: &str) -> i64 {
    host.get(key).and_then(Value::as_i64).unwrap_or_default()
}
