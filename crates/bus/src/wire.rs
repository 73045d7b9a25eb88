//! How messages look on a wire, whatever the transport: JSON with a version in front.
//!
//! ```json
//! {"version": 1, "kind": "command", "body": {"command": "cancel", …}}
//! ```
//!
//! The version is raised when a message changes so that an older reader would misunderstand it. A
//! reader refuses what is newer than itself and what it cannot read, and never guesses; fields that
//! it does not know are no reason.

use reprieve_core::message::{Command, HostRequest, HostResponse, Report};
use reprieve_core::ports::BusError;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Version of the messages that this program writes, and the newest that it reads.
pub(crate) const VERSION: u32 = 1;

/// Bytes of the longest message that is sent: far above any honest one, and far below what a broker
/// takes (128 MiB with RabbitMQ's defaults).
pub(crate) const MAX_BYTES: usize = 8 << 20;

/// Characters of the longest reason that is given for refusing a message.
const MAX_REASON: usize = 200;

/// What is sent over a bus.
pub(crate) trait Message: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// What kind of message it is, on the wire.
    const KIND: &'static str;
}

impl Message for Command {
    const KIND: &'static str = "command";
}

impl Message for Report {
    const KIND: &'static str = "report";
}

impl Message for HostRequest {
    const KIND: &'static str = "request";
}

impl Message for HostResponse {
    const KIND: &'static str = "response";
}

#[derive(Serialize)]
struct Outgoing<'a, M> {
    version: u32,
    kind: &'a str,
    body: &'a M,
}

/// Read first: a body of a newer version need not make sense to this one.
#[derive(Deserialize)]
struct Head {
    version: u32,
    kind: String,
}

#[derive(Deserialize)]
struct Incoming<M> {
    body: M,
}

/// The message as text. `topic` is for the error.
pub(crate) fn write<M: Message>(topic: &str, message: &M) -> Result<String, BusError> {
    let outgoing = Outgoing { version: VERSION, kind: M::KIND, body: message };
    let text = serde_json::to_string(&outgoing).map_err(|error| unreadable(topic, &error))?;
    if text.len() > MAX_BYTES {
        let (topic, bytes) = (topic.to_owned(), text.len());
        return Err(BusError::TooLarge { topic, bytes, limit: MAX_BYTES });
    }
    Ok(text)
}

/// The message in a text. `topic` is for the error, which never repeats the text.
pub(crate) fn read<M: Message>(topic: &str, text: &[u8]) -> Result<M, BusError> {
    let head: Head = serde_json::from_slice(text).map_err(|error| unreadable(topic, &error))?;
    if head.version > VERSION {
        let version = head.version;
        let why = format!("it is of version {version}, this program reads up to {VERSION}");
        return Err(unreadable(topic, &why));
    }
    if head.kind != M::KIND {
        let kind = head.kind.chars().take(32).collect::<String>();
        return Err(unreadable(topic, &format!("it is a {kind:?}, not a {}", M::KIND)));
    }
    let incoming: Incoming<M> =
        serde_json::from_slice(text).map_err(|error| unreadable(topic, &error))?;
    Ok(incoming.body)
}

/// The reason may quote what was in the message, so it is cut.
fn unreadable(topic: &str, why: &dyn std::fmt::Display) -> BusError {
    let message = why.to_string().chars().take(MAX_REASON).collect();
    BusError::Unreadable { topic: topic.to_owned(), message }
}

#[cfg(test)]
mod tests {
    use reprieve_core::{InstanceId, OperationId};

    use super::*;

    fn cancel() -> Command {
        Command::Cancel { operation_id: OperationId::random(), instance_id: InstanceId::random() }
    }

    fn reason(text: &str) -> String {
        read::<Command>("here", text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn a_message_comes_back_as_it_was() {
        let sent = cancel();
        let text = write("here", &sent).unwrap();
        assert!(text.starts_with(r#"{"version":1,"kind":"command","body":{"#), "{text}");
        assert_eq!(read::<Command>("here", text.as_bytes()).unwrap(), sent);
    }

    #[test]
    fn unknown_fields_are_passed_over() {
        let sent = cancel();
        let text = write("here", &sent).unwrap().replacen('{', r#"{"sent_by":"x","#, 1);
        assert_eq!(read::<Command>("here", text.as_bytes()).unwrap(), sent);
    }

    #[test]
    fn what_cannot_be_understood_is_refused_with_its_reason() {
        let text = write("here", &cancel()).unwrap();
        let newer = text.replacen(r#""version":1"#, r#""version":2"#, 1);
        assert!(reason(&newer).contains("version 2, this program reads up to 1"));
        let other = text.replacen("command", "report", 1);
        assert!(reason(&other).contains(r#"it is a "report", not a command"#));
        let unknown = text.replacen(r#""command":"cancel""#, r#""command":"teleport""#, 1);
        assert!(reason(&unknown).contains("teleport"), "{}", reason(&unknown));
        assert!(reason("not JSON").contains("a message on here cannot be read"));
        assert!(read::<Command>("here", b"\xff\xfe").is_err());
        let long = text.replacen("cancel", &"x".repeat(10_000), 1);
        assert!(reason(&long).len() < 300, "{}", reason(&long));
    }

    #[test]
    fn a_message_may_not_be_too_long() {
        let answer = HostResponse::ConsoleLog { text: "x".repeat(MAX_BYTES) };
        let refused = write("here", &answer).unwrap_err();
        assert!(matches!(refused, BusError::TooLarge { limit: MAX_BYTES, .. }), "{refused}");
    }
}
