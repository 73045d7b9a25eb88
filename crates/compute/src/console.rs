//! The way from a proxy to the serial consoles of this host's guests.
//!
//! A guest's serial port is a pseudo-terminal of the host, which QEMU also logs to a file; nothing
//! about that changes when somebody looks. A proxy connects over TCP and says what Nova's proxies say
//! where a console has an internal access path:
//!
//! ```text
//! proxy                                            host
//! CONNECT <server's uuid> HTTP/1.1
//! X-Reprieve-Ticket: <ticket>
//!                                    ───────────▶
//!                                    ◀───────────  HTTP/1.1 200 OK, then the console's bytes
//!                                    ◀───────────  HTTP/1.1 401, 404, 409 or 503, and the end
//! ```
//!
//! Invariants:
//! - Nobody gets further than the first lines without a ticket for just this server, which only
//!   holders of the installation's sealing key can make. What is not said within [`GREETING`] and
//!   [`MAX_HEAD`] bytes is not listened to, and no more than [`GREETERS`] are listened to at a time.
//! - A serial port has one reader: a second proxy is refused, it never takes bytes from the first.
//! - A proxy that takes nothing for [`STALL`] loses the console. While a terminal is open and nobody
//!   reads it, QEMU lets the guest's serial port wait, and logs nothing (docs/findings.md).
//! - Only a pseudo-terminal is ever opened, whatever the definition says.
//! - No bytes of a console, and no ticket, are logged.

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reprieve_core::console::DomainConsole;
use reprieve_core::ports::{Hypervisor, HypervisorError};
use reprieve_core::{Clock, InstanceId, SealingKey};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::WriteHalf;
use tokio::net::unix::pipe;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

/// How long a proxy has to say what it wants.
const GREETING: Duration = Duration::from_secs(10);
/// Longest text with which it says so, in bytes.
const MAX_HEAD: usize = 4096;
/// Proxies that are listened to at a time.
const GREETERS: usize = 64;
/// How long a proxy may take nothing of what a guest says.
const STALL: Duration = Duration::from_secs(5);
/// How much is carried at once, in bytes: what a terminal holds.
const PIECE: usize = 4096;
/// Wait after an error of the listener, so that a lack of file descriptors is no busy loop.
const AFTER_ERROR: Duration = Duration::from_millis(200);
/// Where the kernel has pseudo-terminals.
const PSEUDO_TERMINALS: &str = "/dev/pts";

/// Where proxies find the consoles of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsoleAddress {
    /// Name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl ConsoleAddress {
    /// Of a listener at `listening`, which proxies know as `host` if that is said.
    #[must_use]
    pub fn new(listening: SocketAddr, host: Option<&str>) -> Self {
        let host = host.map_or_else(|| listening.ip().to_string(), str::to_owned);
        Self { host, port: listening.port() }
    }

    /// The address to tell of something that listens at `address`: one that means all addresses is
    /// reached as this host is.
    #[must_use]
    pub fn reached(&self, address: &str) -> String {
        let everywhere = address.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified());
        if everywhere { self.host.clone() } else { address.to_owned() }
    }
}

/// What serves consoles.
pub struct ConsoleServer {
    /// Knows the pseudo-terminals.
    pub hypervisor: Arc<dyn Hypervisor>,
    /// Tells the time that tickets are good for.
    pub clock: Arc<dyn Clock>,
    /// Key of tickets.
    pub sealing_key: SealingKey,
}

/// What all connections share.
struct Shared {
    server: ConsoleServer,
    greeters: Semaphore,
    /// Servers whose console somebody has.
    taken: Mutex<HashSet<InstanceId>>,
}

/// Why a proxy does not get a console.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    /// It did not say what it wants, or shows no ticket for that.
    #[error("401 Unauthorized")]
    Unauthorized,
    /// The guest has no such console now.
    #[error("404 Not Found")]
    NoConsole,
    /// Somebody else has it.
    #[error("409 Conflict")]
    Taken,
    /// The hypervisor does not say, or the terminal cannot be opened.
    #[error("503 Service Unavailable")]
    Unavailable(#[from] Unavailable),
}

/// Why a console that is there cannot be used.
#[derive(Debug, thiserror::Error)]
enum Unavailable {
    #[error(transparent)]
    Hypervisor(#[from] HypervisorError),
    #[error("{} cannot be opened; may the daemon's user read and write it?", path.display())]
    Open { path: PathBuf, source: io::Error },
}

/// Serves consoles until `shutdown` is cancelled, which ends all connections.
pub async fn serve(listener: TcpListener, server: ConsoleServer, shutdown: CancellationToken) {
    let greeters = Semaphore::new(GREETERS);
    let shared = Arc::new(Shared { server, greeters, taken: Mutex::default() });
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, from)) => {
                let (shared, shutdown) = (Arc::clone(&shared), shutdown.clone());
                connections.spawn(async move {
                    tokio::select! {
                        () = shutdown.cancelled() => {}
                        () = attend(&shared, stream, from) => {}
                    }
                });
            }
            Err(error) => {
                warn!(%error, "a proxy of consoles could not be let in");
                tokio::time::sleep(AFTER_ERROR).await;
            }
        }
    }
    connections.close();
    connections.wait().await;
}

/// One connection, from its first byte to its last.
async fn attend(shared: &Shared, mut stream: TcpStream, from: SocketAddr) {
    let greeted = {
        let Ok(_place) = shared.greeters.try_acquire() else { return };
        match timeout(GREETING, greet(shared, &mut stream)).await {
            Ok(greeted) => greeted,
            Err(_) => Err(Refusal::Unauthorized),
        }
    };
    let outcome = match greeted {
        Ok(instance) => converse(shared, instance, &mut stream).await,
        Err(refusal) => Err(refusal),
    };
    if let Err(refusal) = outcome {
        log_refusal(&refusal, from);
        let text = format!("HTTP/1.1 {refusal}\r\nConnection: close\r\n\r\n");
        // One that is gone need not hear it.
        let _ = timeout(GREETING, stream.write_all(text.as_bytes())).await;
    }
}

fn log_refusal(refusal: &Refusal, from: SocketAddr) {
    let source = std::error::Error::source(refusal).map(tracing::field::display);
    info!(%from, %refusal, source, "no console for a proxy");
}

/// Reads what the proxy wants, and checks that it may.
async fn greet(shared: &Shared, stream: &mut TcpStream) -> Result<InstanceId, Refusal> {
    let head = read_head(stream).await.ok_or(Refusal::Unauthorized)?;
    let (instance, ticket) = understood(&head).ok_or(Refusal::Unauthorized)?;
    let server = &shared.server;
    if server.sealing_key.accepts_console(instance, ticket, server.clock.now()) {
        Ok(instance)
    } else {
        Err(Refusal::Unauthorized)
    }
}

/// The text until the empty line. Bytes are read one by one so that none behind it is lost; it is
/// short, and they come from the socket's buffer.
async fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= MAX_HEAD {
            return None;
        }
        head.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}

/// The server and the ticket in a greeting.
fn understood(head: &str) -> Option<(InstanceId, &str)> {
    let mut lines = head.split("\r\n");
    let mut words = lines.next()?.split(' ');
    let (Some("CONNECT"), Some(path), Some("HTTP/1.1"), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return None;
    };
    let ticket = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("x-reprieve-ticket").then(|| value.trim())
    });
    Some((path.parse().ok()?, ticket?))
}

/// The right to a console, given back when dropped.
struct Turn<'a> {
    taken: &'a Mutex<HashSet<InstanceId>>,
    instance: InstanceId,
}

impl<'a> Turn<'a> {
    fn take(taken: &'a Mutex<HashSet<InstanceId>>, instance: InstanceId) -> Option<Self> {
        let new = taken.lock().unwrap_or_else(PoisonError::into_inner).insert(instance);
        // Not then_some: a turn that is made is given back, also when it was not had.
        new.then(|| Self { taken, instance })
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.instance);
    }
}

/// Carries bytes both ways until either side ends.
async fn converse(
    shared: &Shared,
    instance: InstanceId,
    stream: &mut TcpStream,
) -> Result<(), Refusal> {
    let _turn = Turn::take(&shared.taken, instance).ok_or(Refusal::Taken)?;
    let (mut from_guest, mut to_guest) = open(shared, instance).await?;
    if stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.is_err() {
        return Ok(());
    }
    info!(server = %instance, "serial console opened");
    let (mut from_proxy, mut to_proxy) = stream.split();
    // An end is an error to neither: a terminal whose guest is gone says EIO.
    tokio::select! {
        () = show(&mut from_guest, &mut to_proxy) => {}
        _ = tokio::io::copy(&mut from_proxy, &mut to_guest) => {}
    }
    info!(server = %instance, "serial console closed");
    Ok(())
}

/// Carries what a guest says to a proxy, until either ends or the proxy does not take it.
async fn show(guest: &mut pipe::Receiver, proxy: &mut WriteHalf<'_>) {
    let mut piece = vec![0; PIECE];
    while let Ok(read @ 1..) = guest.read(&mut piece).await {
        let Some(said) = piece.get(..read) else { return };
        if !matches!(timeout(STALL, proxy.write_all(said)).await, Ok(Ok(()))) {
            return;
        }
    }
}

/// The terminal of a guest that runs.
async fn open(
    shared: &Shared,
    instance: InstanceId,
) -> Result<(pipe::Receiver, pipe::Sender), Refusal> {
    let consoles = match shared.server.hypervisor.consoles(instance).await {
        Ok(consoles) => consoles,
        Err(HypervisorError::NoDomain(_)) => return Err(Refusal::NoConsole),
        Err(error) => return Err(Unavailable::from(error).into()),
    };
    let path = consoles.into_iter().find_map(|console| match console {
        DomainConsole::SerialPty(path) => Some(path),
        DomainConsole::Listening { .. } => None,
    });
    let path = path.ok_or(Refusal::NoConsole)?;
    terminal(&path).map_err(|source| Unavailable::Open { path, source }.into())
}

/// Whether it is named as the kernel names pseudo-terminals.
fn is_terminal(path: &Path) -> bool {
    let number = path.file_name().and_then(|name| name.to_str());
    path.parent() == Some(Path::new(PSEUDO_TERMINALS))
        && number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// A pseudo-terminal's two directions. Opening it does not wait, and it does not become ours.
fn terminal(path: &Path) -> io::Result<(pipe::Receiver, pipe::Sender)> {
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
    let flags = i32::try_from(flags.bits()).map_err(io::Error::other)?;
    if !is_terminal(path) || !std::fs::symlink_metadata(path)?.file_type().is_char_device() {
        return Err(io::Error::other("it is no pseudo-terminal"));
    }
    let file = std::fs::OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)?;
    let again = file.try_clone()?;
    Ok((pipe::Receiver::from_file_unchecked(file)?, pipe::Sender::from_file_unchecked(again)?))
}

/// Whether the daemon may use a terminal, so that nobody is promised one that cannot be opened.
pub(crate) fn usable(path: &Path) -> bool {
    let access = rustix::fs::Access::READ_OK | rustix::fs::Access::WRITE_OK;
    is_terminal(path) && rustix::fs::access(path, access).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greetings_that_are_understood() {
        let id = InstanceId::random();
        let good = format!("CONNECT {id} HTTP/1.1\r\nHost: h\r\nx-reprieve-TICKET:  abc \r\n\r\n");
        assert_eq!(understood(&good), Some((id, "abc")));
        for bad in [
            String::new(),
            "\r\n\r\n".to_owned(),
            format!("CONNECT {id} HTTP/1.1\r\n\r\n"),
            format!("GET {id} HTTP/1.1\r\nX-Reprieve-Ticket: abc\r\n\r\n"),
            format!("CONNECT {id} HTTP/1.1 x\r\nX-Reprieve-Ticket: abc\r\n\r\n"),
            "CONNECT ../x HTTP/1.1\r\nX-Reprieve-Ticket: abc\r\n\r\n".to_owned(),
        ] {
            assert_eq!(understood(&bad), None, "{bad}");
        }
    }

    #[test]
    fn only_pseudo_terminals_are_opened() {
        for path in ["/etc/passwd", "/dev/null", "/dev/pts/../null", "/dev/pts/ptmx", "/dev/pts"] {
            assert!(!usable(Path::new(path)), "{path}");
            assert!(terminal(Path::new(path)).is_err(), "{path}");
        }
    }

    #[test]
    fn addresses_that_are_told() {
        let all = SocketAddr::from(([0, 0, 0, 0], 6084));
        let told = ConsoleAddress::new(all, Some("node1"));
        assert_eq!(told, ConsoleAddress { host: "node1".into(), port: 6084 });
        assert_eq!(told.reached("0.0.0.0"), "node1");
        assert_eq!(told.reached("::"), "node1");
        assert_eq!(told.reached("10.0.0.5"), "10.0.0.5");
        let one = SocketAddr::from(([127, 0, 0, 1], 7));
        assert_eq!(ConsoleAddress::new(one, None).host, "127.0.0.1");
    }
}
