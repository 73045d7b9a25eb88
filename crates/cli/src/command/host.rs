//! `reprieve host …`

use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use super::Context;
use crate::args::host::{DrainArgs, EnableArgs, HostCommand};
use crate::args::{OutputArgs, WaitArgs};
use crate::client::Session;
use crate::client::native::{self, OfAll};
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
        HostCommand::Enable(args) if args.resume => {
            enable_and_resume(context, &session, &args).await
        }
        HostCommand::Enable(args) if args.wait.wait => {
            Err(Failure::Usage("--wait waits for what --resume resumes; give both".to_owned()))
        }
        HostCommand::Enable(args) => enable(context, &session, (&args.host, &args.output)).await,
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

async fn enable_and_resume(
    context: &mut Context,
    session: &Session,
    args: &EnableArgs,
) -> Result<(), Failure> {
    let name = args.host.as_str();
    native::enable(session, name).await?;
    context.note(&format!("{name}: new servers may come again"));
    if args.wait.wait {
        // What is still being suspended is resumed as well.
        let now = wait_until_quiet(context, session, (name, &args.wait)).await?;
        if now.get("enabled").and_then(Value::as_bool) == Some(false) {
            let text = format!("{name} was drained again meanwhile; its servers are not resumed");
            return Err(Failure::Operation(text));
        }
    }
    let mut host = ask_all(context, session, (name, OfAll::Resume)).await?;
    if args.wait.wait {
        host = wait_until_quiet(context, session, (name, &args.wait)).await?;
    }
    let left = count(&host, "suspended_for_host");
    context.out.record(&args.output, fields(host))?;
    if args.wait.wait && left > 0 {
        let text = format!(
            "{name}: {left} that were suspended for it are not resumed; 'reprieve operation list' \
             shows why"
        );
        return Err(Failure::Operation(text));
    }
    Ok(())
}

async fn drain(context: &mut Context, session: &Session, args: &DrainArgs) -> Result<(), Failure> {
    let name = args.host.as_str();
    let mut host = native::drain(session, name, args.reason.as_deref()).await?;
    if args.suspend {
        host = ask_all(context, session, (name, OfAll::Suspend)).await?;
    }
    if args.wait.wait {
        host = wait_until_quiet(context, session, (name, &args.wait)).await?;
    }
    let servers = match count(&host, "servers") {
        0 => "no server is there".to_owned(),
        1 => "1 server is still there".to_owned(),
        servers => format!("{servers} servers are still there"),
    };
    context.note(&format!("{name}: no new servers come; {servers}"));
    let endangered = endangered(&host);
    context.out.record(&args.output, fields(host))?;
    match endangered {
        Some(what) if args.suspend && args.wait.wait => Err(Failure::Operation(format!(
            "{name}: a restart of the machine would still end {what}"
        ))),
        Some(_) | None => Ok(()),
    }
}

/// What a restart of the machine would still take, if anything. A server that is being built may have
/// its guest in a moment.
fn endangered(host: &Map<String, Value>) -> Option<String> {
    let states = host.get("servers_by_state").and_then(Value::as_object);
    let states = states.into_iter().flatten();
    let states: Vec<_> =
        states.filter_map(|(state, count)| Some((state, count.as_i64()?))).collect();
    let built: i64 =
        states.iter().filter(|(state, _)| *state == "building").map(|(_, count)| count).sum();
    let guests = match count(host, "guests") + built {
        0 => return None,
        1 => "1 guest with its memory".to_owned(),
        guests => format!("{guests} guests with their memory"),
    };
    let states: Vec<_> = states.iter().map(|(state, count)| format!("{count} {state}")).collect();
    Some(format!("{guests}; servers there: {}", states.join(", ")))
}

/// Asks for it, and says for how many servers it was accepted and for which not. Returns the host.
async fn ask_all(
    context: &mut Context,
    session: &Session,
    (name, what): (&str, OfAll),
) -> Result<Map<String, Value>, Failure> {
    let asked = native::of_all(session, name, what).await?;
    let done = match what {
        OfAll::Suspend => "suspended",
        OfAll::Resume => "resumed",
    };
    let servers = match asked.accepted {
        0 => "no server is to be".to_owned(),
        1 => "1 server is being".to_owned(),
        servers => format!("{servers} servers are being"),
    };
    context.note(&format!("{name}: {servers} {done}"));
    for (server, why) in asked.refused {
        context.note(&format!("{name}: {server} is not {done}: {why}"));
    }
    Ok(asked.host)
}

/// Waits until no operation is under way on a host. Returns the host.
async fn wait_until_quiet(
    context: &mut Context,
    session: &Session,
    (name, wait): (&str, &WaitArgs),
) -> Result<Map<String, Value>, Failure> {
    let (begun, limit) = (Instant::now(), wait.limit().unwrap_or(DRAIN_LIMIT));
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
    let host = quiet.ok_or_else(|| {
        let seconds = limit.as_secs();
        Failure::Operation(format!(
            "operations on {name} are not over after {seconds} s; 'reprieve operation list --active' \
             shows them"
        ))
    })?;
    let took = wait::elapsed(begun);
    context.note(&format!("{name}: nothing is under way after {took}"));
    Ok(host)
}

fn count(host: &Map<String, Value>, key: &str) -> i64 {
    host.get(key).and_then(Value::as_i64).unwrap_or_default()
}
