//! Remote consoles: a URL with a token, for whoever may look at a guest (spec/api.md section 14).
//!
//! The host is asked where the console is, so that nobody gets a token for one that there is not.
//! The token's text is in the answer and nowhere else: the database has its hash, and no log line has
//! either. A token says nothing about who uses it.

use std::fmt;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reprieve_core::console::{ConsoleEndpoint, ConsoleKind, ConsoleProtocol, NoConsole, askable};
use reprieve_core::message::{HostRequest, HostResponse};
use reprieve_core::{PowerState, TaskState, VmState};
use reprieve_store::{ConsoleTokenRecord, InstanceRecord, StoreError};

use super::super::identity::random_text;
use super::super::{AppError, Call};

/// How long a host may take to ask its hypervisor.
const DEADLINE: Duration = Duration::from_secs(15);
/// Longest token that is looked up; ours have 43 characters.
const MAX_TOKEN_BYTES: usize = 255;
/// What `urlencode` of Python leaves as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Where proxies are found by clients, and how long a token is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsoleSettings {
    /// How long a token is good (`[consoleauth] token_ttl`).
    pub token_ttl: Duration,
    /// noVNC (`[vnc] novncproxy_base_url`).
    pub novnc_base_url: String,
    /// Serial consoles (`[serial_console] base_url`).
    pub serial_base_url: String,
    /// SPICE in a browser (`[spice] html5proxy_base_url`).
    pub spice_html5_base_url: String,
    /// SPICE without one (`[spice] spice_direct_proxy_base_url`).
    pub spice_direct_base_url: String,
}

impl Default for ConsoleSettings {
    /// As Nova's.
    fn default() -> Self {
        Self {
            token_ttl: Duration::from_secs(600),
            novnc_base_url: "http://127.0.0.1:6080/vnc_auto.html".to_owned(),
            serial_base_url: "ws://127.0.0.1:6083/".to_owned(),
            spice_html5_base_url: "http://127.0.0.1:6082/spice_auto.html".to_owned(),
            spice_direct_base_url: "http://127.0.0.1:13002/nova".to_owned(),
        }
    }
}

/// A URL that is as good as a password while it is good.
#[derive(Clone)]
pub struct ConsoleUrl(String);

impl ConsoleUrl {
    /// The URL, for the one answer that shows it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ConsoleUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[console url]")
    }
}

impl ConsoleSettings {
    /// The URL of a console of a kind, `None` for one that no proxy shows.
    fn url(&self, kind: ConsoleKind, token: &str) -> Option<ConsoleUrl> {
        let base = match kind {
            ConsoleKind::Novnc => return Some(ConsoleUrl(novnc_url(&self.novnc_base_url, token))),
            ConsoleKind::Serial => &self.serial_base_url,
            ConsoleKind::SpiceHtml5 => &self.spice_html5_base_url,
            ConsoleKind::SpiceDirect => &self.spice_direct_base_url,
            ConsoleKind::Xvpvnc | ConsoleKind::RdpHtml5 | ConsoleKind::Webmks => return None,
        };
        Some(ConsoleUrl(format!("{base}?token={token}")))
    }
}

/// noVNC takes the token from the parameter `path`, to which one that is there already is the beginning.
fn novnc_url(base: &str, token: &str) -> String {
    let encode = |text: &str| utf8_percent_encode(text, PLAIN).to_string();
    let (page, query) = base.split_once('?').unwrap_or((base, ""));
    let (mut path, mut others) = (String::new(), Vec::new());
    for part in query.split('&').filter(|part| !part.is_empty()) {
        match part.strip_prefix("path=") {
            Some(given) => {
                path = percent_encoding::percent_decode_str(given).decode_utf8_lossy().into_owned();
            }
            None => others.push(part.to_owned()),
        }
    }
    others.push(format!("path={}", encode(&format!("{path}?token={token}"))));
    format!("{page}?{}", others.join("&"))
}

impl From<NoConsole> for AppError {
    fn from(error: NoConsole) -> Self {
        Self::BadRequest(error.to_string())
    }
}

/// Makes a token for a console of a guest.
///
/// # Errors
/// [`AppError::BadRequest`] when the guest has no such console now, which includes one that does not
/// run; [`AppError::Conflict`] when the server has no host or is being made or deleted, or its host
/// does not answer; [`AppError::NotFound`] when the server or its domain is not there.
pub async fn open_console(
    call: &Call<'_>,
    server: &InstanceRecord,
    (protocol, kind): (ConsoleProtocol, ConsoleKind),
) -> Result<ConsoleUrl, AppError> {
    let id = server.id;
    if protocol == ConsoleProtocol::Rdp {
        // Nova looks at no server for it.
        askable(protocol, kind)?;
    }
    if server.task_state == Some(TaskState::Deleting) {
        return Err(AppError::Conflict(format!(
            "Cannot 'get_{}_console' instance {id} while it is in task_state {}",
            protocol.as_str(),
            TaskState::Deleting.as_str()
        )));
    }
    askable(protocol, kind)?;
    let unavailable = || NoConsole::Unavailable(kind.as_str());
    let secret = random_text::<32>()
        .map_err(|error| AppError::Internal { what: "making a token", source: error.into() })?;
    let settings = &call.control.settings.consoles;
    let url = settings.url(kind, &secret).ok_or_else(unavailable)?;
    let endpoint = find(call, server, protocol).await?.ok_or_else(unavailable)?;
    let record = ConsoleTokenRecord {
        hash: hash_of(&secret),
        instance: id,
        kind,
        endpoint,
        expires_at: call.control.clock.now().plus(settings.token_ttl),
    };
    call.control.store.create_console_token(record).await.map_err(|error| match error {
        StoreError::NotFound { .. } => AppError::no_server(id),
        other => other.into(),
    })?;
    let (request_id, kind) = (call.request_id.as_str(), kind.as_str());
    tracing::info!(request_id, server = %id, kind, "token for a remote console");
    Ok(url)
}

/// Asks the host where a console is; `None`: the guest has none of this protocol.
async fn find(
    call: &Call<'_>,
    server: &InstanceRecord,
    protocol: ConsoleProtocol,
) -> Result<Option<ConsoleEndpoint>, AppError> {
    let id = server.id;
    let not_ready = || AppError::Conflict(format!("Instance {id} is not ready"));
    let host = server.host.as_ref().ok_or_else(not_ready)?;
    let silent = |why: &str| {
        let request_id = call.request_id.as_str();
        tracing::warn!(request_id, server = %id, host = host.as_str(), why, "no remote console");
        AppError::Conflict(format!("Compute service of {host} is unavailable at this time."))
    };
    let question = HostRequest::Console { instance_id: id, protocol };
    match call.control.bus.request(host, &question, DEADLINE).await {
        Ok(HostResponse::Console { endpoint }) => Ok(Some(endpoint)),
        Ok(HostResponse::NoConsole) => Ok(None),
        Ok(HostResponse::NotRunning { power: PowerState::NoState }) => match server.vm_state {
            VmState::Building => Err(not_ready()),
            // Its memory is saved; the domain comes back with it.
            VmState::Suspended => Ok(None),
            VmState::Active
            | VmState::Paused
            | VmState::Stopped
            | VmState::Rescued
            | VmState::Error
            | VmState::Deleted => Err(AppError::no_server(id)),
        },
        Ok(HostResponse::NotRunning { .. }) => Ok(None),
        Ok(HostResponse::Failed { message }) => Err(silent(&message)),
        Ok(
            HostResponse::ConsoleLog { .. }
            | HostResponse::Diagnostics { .. }
            | HostResponse::Noted,
        ) => Err(silent("it answered another question")),
        Err(error) => Err(silent(&error.to_string())),
    }
}

/// What a token leads to, while it is good.
///
/// # Errors
/// [`AppError::NotFound`].
pub async fn console_of(call: &Call<'_>, token: &str) -> Result<ConsoleTokenRecord, AppError> {
    let unknown = || AppError::NotFound("Token not found".to_owned());
    if token.is_empty() || token.len() > MAX_TOKEN_BYTES {
        return Err(unknown());
    }
    call.control.store.console_token(&hash_of(token)).await?.ok_or_else(unknown)
}

fn hash_of(token: &str) -> String {
    blake3::hash(token.as_bytes()).to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_have_novas_shapes() {
        let settings = ConsoleSettings::default();
        for (kind, expected) in [
            (ConsoleKind::Serial, Some("ws://127.0.0.1:6083/?token=t-_1")),
            (ConsoleKind::Novnc, Some("http://127.0.0.1:6080/vnc_auto.html?path=%3Ftoken%3Dt-_1")),
            (ConsoleKind::SpiceHtml5, Some("http://127.0.0.1:6082/spice_auto.html?token=t-_1")),
            (ConsoleKind::SpiceDirect, Some("http://127.0.0.1:13002/nova?token=t-_1")),
            (ConsoleKind::Xvpvnc, None),
            (ConsoleKind::RdpHtml5, None),
            (ConsoleKind::Webmks, None),
        ] {
            let url = settings.url(kind, "t-_1");
            assert_eq!(url.as_ref().map(ConsoleUrl::reveal), expected);
            assert!(!format!("{url:?}").contains("t-_1"));
        }
    }

    #[test]
    fn a_path_of_novnc_goes_before_the_token() {
        let url = novnc_url("https://h/vnc.html?autoconnect=1&path=a%2Fb", "t");
        assert_eq!(url, "https://h/vnc.html?autoconnect=1&path=a%2Fb%3Ftoken%3Dt");
        assert_eq!(novnc_url("https://h/vnc.html?", "t"), "https://h/vnc.html?path=%3Ftoken%3Dt");
    }
}
