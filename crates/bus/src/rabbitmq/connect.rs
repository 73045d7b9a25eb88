//! One connection to the broker: name, TCP, TLS, AMQP.
//!
//! The client library drives a connection on a thread of its own, which ends with the connection. It
//! has no deadline for a peer that takes the connection and then says nothing, so this keeps a
//! second handle of the socket and shuts it down: when the deadline has passed, and when the
//! connection is no longer wanted.

use std::net::{Shutdown, TcpStream as StdTcpStream};
use std::os::fd::AsFd as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lapin::tcp::RustlsConnector;
use lapin::uri::{AMQPAuthority, AMQPScheme, AMQPUri};
use lapin::{AsyncTcpStream, Connection, ConnectionProperties};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

/// How long name, TCP and TLS may take together.
const REACH: Duration = Duration::from_secs(6);
/// How long all of it may take, with what AMQP adds.
const CONNECT: Duration = Duration::from_secs(10);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    /// The broker or the way to it said no.
    #[error("{0}")]
    Refused(#[from] lapin::Error),
    /// Nothing was said.
    #[error("the broker did not answer within {} s", CONNECT.as_secs())]
    Silent,
}

/// A connection whose socket is shut down with it.
pub(super) struct Line {
    pub(super) connection: Connection,
    socket: Socket,
}

impl Line {
    /// Connects to the address; `purpose` is what the broker's operator sees.
    pub(super) async fn open(
        uri: AMQPUri,
        tls: Option<Arc<RustlsConnector>>,
        purpose: &str,
    ) -> Result<Self, ConnectError> {
        let socket = Socket::default();
        let name = format!("reprieve {purpose}");
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        let runtime = lapin::runtime::default_runtime()?;
        let handle = socket.clone();
        let connecting = Connection::connector(
            uri,
            runtime,
            async move |uri, runtime| {
                let reached = timeout(REACH, async {
                    let AMQPAuthority { host, port, .. } = &uri.authority;
                    let addresses: Vec<_> = lookup_host((host.as_str(), *port)).await?.collect();
                    let stream = AsyncTcpStream::connect(&runtime, addresses).await?;
                    if let AsyncTcpStream::Plain(plain) = &stream {
                        handle.keep(plain.get_ref())?;
                    }
                    match (&uri.scheme, &tls) {
                        (AMQPScheme::AMQP, _) => Ok(stream),
                        (AMQPScheme::AMQPS, Some(tls)) => stream.into_rustls(tls, host).await,
                        (AMQPScheme::AMQPS, None) => {
                            Err(std::io::Error::other("TLS is not set up"))
                        }
                    }
                });
                let silent = |_| std::io::Error::from(std::io::ErrorKind::TimedOut);
                Ok(reached.await.map_err(silent)??)
            },
            properties,
        );
        // Boxed because it is far larger than everything around it.
        match timeout(CONNECT, Box::pin(connecting)).await {
            Ok(Ok(connection)) => Ok(Self { connection, socket }),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => {
                socket.shut_down();
                Err(ConnectError::Silent)
            }
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.socket.shut_down();
    }
}

/// A second handle of a connection's socket, once there is one.
#[derive(Clone, Default)]
struct Socket(Arc<Mutex<Option<StdTcpStream>>>);

impl Socket {
    fn keep(&self, stream: &TcpStream) -> std::io::Result<()> {
        // Messages are small and somebody waits for each.
        stream.set_nodelay(true)?;
        let handle = stream.as_fd().try_clone_to_owned()?;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(handle.into());
        Ok(())
    }

    /// Whoever reads from it learns that it has ended.
    fn shut_down(&self) {
        let socket = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Err(error)) = socket.map(|socket| socket.shutdown(Shutdown::Both)) {
            // Mostly because the other side was first.
            tracing::trace!(%error, "a socket was not shut down");
        }
    }
}
