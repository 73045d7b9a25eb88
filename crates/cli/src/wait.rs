//! Waiting until an operation on a server is over, and judging how it ended.
//!
//! ```text
//! poll -> judge -> Going    -> back off (50 ms … 1 s), poll again
//!               -> Reached  -> done
//!               -> Missed   -> failure, with the fault or the event's result as the reason
//! ```
//! A service that cannot be reached for a moment (it restarts) does not end the wait: the guest
//! does not depend on it either.

use std::time::{Duration, Instant};

use reprieve_core::OperationKind;
use reprieve_core::conclude::after_success;
use reprieve_core::state::{VmState, status};
use serde_json::{Map, Value};

use crate::client::compute::{self, Server};
use crate::client::{ClientError, Session};
use crate::error::Failure;
use crate::progress::Spinner;

/// First and longest time between two polls.
const FIRST_DELAY: Duration = Duration::from_millis(50);
const LONGEST_DELAY: Duration = Duration::from_secs(1);

/// How long a service may be away before waiting is given up.
const ABSENCE_LIMIT: Duration = Duration::from_secs(30);

/// What the service itself may take beyond an operation's deadline to say so.
const GRACE: Duration = Duration::from_secs(60);

/// One operation to be waited for.
#[derive(Debug, Clone)]
pub struct Goal {
    /// What was begun.
    pub kind: OperationKind,
    /// On which server.
    pub id: String,
    /// Its name, for people.
    pub name: String,
    /// The request that began it.
    pub request_id: Option<String>,
    /// How long to wait; `None`: as long as the operation may take.
    pub limit: Option<Duration>,
}

/// How it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Not over.
    Going,
    /// Over, and as wanted.
    Reached,
    /// Over, and not as wanted.
    Missed,
}

/// Judges a server (`None`: it is gone) against the operation that was begun on it.
pub fn judge(kind: OperationKind, server: Option<&Server>) -> Verdict {
    let wanted = after_success(kind);
    let Some(server) = server else {
        return if wanted == VmState::Deleted { Verdict::Reached } else { Verdict::Missed };
    };
    let has = |state: VmState| server.status == status(state, None);
    if server.task_state.is_some() {
        return Verdict::Going;
    }
    if has(wanted) {
        return Verdict::Reached;
    }
    match kind {
        // Between two of its own steps a server in BUILD may be without a task.
        OperationKind::Create if has(VmState::Building) => Verdict::Going,
        // Delete is accepted before its task shows, and ERROR may be where it began.
        OperationKind::Delete if !has(VmState::Error) => Verdict::Going,
        OperationKind::Create
        | OperationKind::Delete
        | OperationKind::Pause
        | OperationKind::Unpause
        | OperationKind::Suspend
        | OperationKind::Resume
        | OperationKind::Rescue
        | OperationKind::Unrescue
        | OperationKind::Stop
        | OperationKind::Start
        | OperationKind::RebootSoft
        | OperationKind::RebootHard => Verdict::Missed,
    }
}

/// Times between polls: short at first, as a pause takes milliseconds, then longer.
pub struct BackOff(Duration);

impl BackOff {
    /// From the start.
    pub const fn new() -> Self {
        Self(FIRST_DELAY)
    }

    /// The next one.
    pub fn next(&mut self) -> Duration {
        let now = self.0;
        self.0 = (now * 3 / 2).min(LONGEST_DELAY);
        now
    }
}

/// Asks again and again until `look` has found something; `None` when that takes longer than
/// `limit`. A service that is away for a moment is asked again, too.
///
/// # Errors
/// What `look` says, and that the service stays away.
pub async fn poll<T>(
    spinner: &Spinner,
    (name, limit): (&str, Duration),
    mut look: impl AsyncFnMut() -> Result<Option<T>, ClientError>,
) -> Result<Option<T>, Failure> {
    let begun = Instant::now();
    let mut delays = BackOff::new();
    let mut absent_since: Option<Instant> = None;
    loop {
        match look().await {
            Ok(Some(found)) => return Ok(Some(found)),
            Ok(None) => absent_since = None,
            Err(error) if error.is_passing() => {
                let since = *absent_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= ABSENCE_LIMIT {
                    return Err(error.into());
                }
                spinner.show(format!("{name}: the service does not answer, trying again"), None);
            }
            Err(error) => return Err(error.into()),
        }
        let left = limit.saturating_sub(begun.elapsed());
        if left.is_zero() {
            return Ok(None);
        }
        // The pause between two questions to a service that offers nothing else to wait on.
        tokio::time::sleep(delays.next().min(left)).await;
    }
}

/// Waits until the goal is reached; the last state of the server, `None` when it is gone.
///
/// # Errors
/// [`Failure::Operation`] when it ended otherwise or took too long.
pub async fn until(
    session: &Session,
    goal: &Goal,
    visible: bool,
) -> Result<Option<Server>, Failure> {
    let limit = goal.limit.unwrap_or_else(|| goal.kind.deadline() + GRACE);
    let spinner = Spinner::new(visible);
    spinner.show(format!("{}: {}", goal.name, goal.kind.action()), None);
    let look = async || {
        let server = match compute::state(session, &goal.id).await {
            Ok(server) => Some(server),
            Err(error) if error.status() == Some(404) => None,
            Err(error) => return Err(error),
        };
        Ok(match judge(goal.kind, server.as_ref()) {
            Verdict::Going => {
                show(&spinner, goal, server.as_ref());
                None
            }
            Verdict::Reached => Some((true, server)),
            Verdict::Missed => Some((false, server)),
        })
    };
    match poll(&spinner, (&goal.name, limit), look).await? {
        Some((true, server)) => finish(session, goal, server).await,
        Some((false, server)) => Err(missed(session, goal, server.as_ref()).await),
        None => Err(Failure::Operation(format!(
            "{} of {} is not over after {} s; it goes on in the service",
            goal.kind.action(),
            goal.name,
            limit.as_secs()
        ))),
    }
}

fn show(spinner: &Spinner, goal: &Goal, server: Option<&Server>) {
    let Some(server) = server else { return };
    let task = server.task_state.as_deref().unwrap_or(&server.status);
    spinner.show(format!("{}: {task}", goal.name), server.progress);
}

/// A reboot ends in the state it began in: only its event tells whether it happened.
async fn finish(
    session: &Session,
    goal: &Goal,
    server: Option<Server>,
) -> Result<Option<Server>, Failure> {
    let is_reboot = matches!(goal.kind, OperationKind::RebootSoft | OperationKind::RebootHard);
    if is_reboot && let Some(reason) = reason_of_event(session, goal).await {
        return Err(Failure::Operation(format!("{} failed: {reason}", title(goal))));
    }
    Ok(server)
}

fn title(goal: &Goal) -> String {
    format!("{} of {}", goal.kind.action(), goal.name)
}

/// Says how it ended and why, as far as the service tells.
async fn missed(session: &Session, goal: &Goal, server: Option<&Server>) -> Failure {
    let state = server.map_or("gone", |server| server.status.as_str());
    let fault = server.and_then(|server| server.fault.as_ref()).map(|fault| fault.message.clone());
    let reason = match fault.filter(|text| !text.is_empty()) {
        Some(text) => Some(text),
        None => reason_of_event(session, goal).await,
    };
    let reason = reason.map(|text| format!(": {text}")).unwrap_or_default();
    let trace = goal.request_id.as_ref();
    let trace = trace.map(|id| format!(" ('reprieve trace {id}')")).unwrap_or_default();
    Failure::Operation(format!("{} failed, it is {state}{reason}{trace}", title(goal)))
}

/// Why the event of our request failed; `None` when it did not, or nothing is known.
async fn reason_of_event(session: &Session, goal: &Goal) -> Option<String> {
    let request_id = goal.request_id.as_ref()?;
    let event = compute::event(session, &goal.id, request_id).await;
    failure_of(&event.ok()?)
}

/// The reason in an instance action whose result is `Error`.
fn failure_of(event: &Map<String, Value>) -> Option<String> {
    let steps =
        event.get("events").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let failed =
        steps.iter().find(|step| step.get("result").and_then(Value::as_str) == Some("Error"));
    let message = event.get("message").and_then(Value::as_str);
    if failed.is_none() && message != Some("Error") {
        return None;
    }
    let text = |key: &str| failed?.get(key)?.as_str().filter(|text| !text.is_empty());
    let said = text("details").or_else(|| text("traceback"));
    let said = said.or(message.filter(|text| *text != "Error"));
    Some(said.unwrap_or("the service gives no reason").trim().to_owned())
}

/// `1.20 s`, as in the line that ends a wait.
pub fn elapsed(since: Instant) -> String {
    format!("{:.2} s", since.elapsed().as_secs_f64())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn server(status: &str, task: Option<&str>) -> Server {
        serde_json::from_value(json!({"id": "x", "status": status, "OS-EXT-STS:task_state": task}))
            .unwrap()
    }

    #[test]
    fn every_operation_has_its_end() {
        for (kind, good, bad) in [
            (OperationKind::Pause, "PAUSED", "ACTIVE"),
            (OperationKind::Unpause, "ACTIVE", "PAUSED"),
            (OperationKind::Suspend, "SUSPENDED", "ACTIVE"),
            (OperationKind::Resume, "ACTIVE", "SUSPENDED"),
            (OperationKind::Rescue, "RESCUE", "ERROR"),
            (OperationKind::Unrescue, "ACTIVE", "RESCUE"),
            (OperationKind::Stop, "SHUTOFF", "ACTIVE"),
            (OperationKind::Start, "ACTIVE", "SHUTOFF"),
            (OperationKind::Create, "ACTIVE", "ERROR"),
        ] {
            let task = Some(kind.task_state().as_str());
            assert_eq!(judge(kind, Some(&server(bad, task))), Verdict::Going, "{kind}");
            assert_eq!(judge(kind, Some(&server(good, None))), Verdict::Reached, "{kind}");
            assert_eq!(judge(kind, Some(&server(bad, None))), Verdict::Missed, "{kind}");
            assert_eq!(judge(kind, None), Verdict::Missed, "{kind}");
        }
    }

    #[test]
    fn a_deleted_server_is_gone_or_says_so() {
        assert_eq!(judge(OperationKind::Delete, None), Verdict::Reached);
        let deleted = server("DELETED", None);
        assert_eq!(judge(OperationKind::Delete, Some(&deleted)), Verdict::Reached);
        let active = server("ACTIVE", None);
        assert_eq!(judge(OperationKind::Delete, Some(&active)), Verdict::Going);
        let error = server("ERROR", None);
        assert_eq!(judge(OperationKind::Delete, Some(&error)), Verdict::Missed);
    }

    #[test]
    fn back_off_grows_to_a_second() {
        let mut delays = BackOff::new();
        let times: Vec<u128> = (0..12).map(|_| delays.next().as_millis()).collect();
        assert_eq!(times.first(), Some(&50));
        assert!(times.windows(2).all(|pair| pair[0] <= pair[1]));
        assert_eq!(times.last(), Some(&1000));
    }

    #[test]
    fn reasons_in_events() {
        let event = |value: Value| value.as_object().cloned().unwrap();
        let good = event(json!({"message": null, "events": [{"result": "Success"}]}));
        assert_eq!(failure_of(&good), None);
        let bad = event(json!({"message": "Error", "events": [
            {"result": "Error", "details": "disk full", "traceback": "long"}]}));
        assert_eq!(failure_of(&bad).as_deref(), Some("disk full"));
        let silent = event(json!({"message": "Error", "events": []}));
        assert_eq!(failure_of(&silent).as_deref(), Some("the service gives no reason"));
    }
}
