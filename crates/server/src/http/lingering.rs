//! A connection that is closed so that the client can still read the last answer.
//!
//! Closing a socket while something that the client sent has not been read resets the connection,
//! and a reset takes away an answer that is still on its way. So after an answer that ends the
//! connection, what the client goes on sending is read and thrown away until it stops, for at most
//! [`LINGER`]. Invariants: nothing is kept of it; a connection that ends for another reason is closed
//! at once.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, header};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

/// How long a client may go on sending after it was told that the connection ends. Some clients read
/// the answer only when they have sent everything.
const LINGER: Duration = Duration::from_secs(30);
/// How much is thrown away at once, in bytes.
const PIECE: usize = 16 * 1024;

/// Whether the last answer ended the connection.
#[derive(Debug, Clone, Default)]
pub struct Ended(Arc<AtomicBool>);

impl Ended {
    /// Looks at an answer.
    pub fn note(&self, headers: &HeaderMap) {
        if headers.get(header::CONNECTION) == Some(&HeaderValue::from_static("close")) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

/// A connection.
#[derive(Debug)]
pub struct Lingering {
    stream: TcpStream,
    ended: Ended,
    closing: Closing,
}

/// How far closing has come.
#[derive(Debug)]
enum Closing {
    /// Not begun.
    Open,
    /// Everything is sent; what still comes is thrown away until then.
    Draining(Pin<Box<Sleep>>),
    /// Done.
    Closed,
}

impl Lingering {
    /// The connection, which lingers when `ended` says so.
    pub const fn new(stream: TcpStream, ended: Ended) -> Self {
        Self { stream, ended, closing: Closing::Open }
    }
}

/// Reads until the client stops.
fn throw_away(stream: &mut TcpStream, cx: &mut Context<'_>) -> Poll<()> {
    loop {
        let mut piece = [0; PIECE];
        let mut piece = ReadBuf::new(&mut piece);
        let read = ready!(Pin::new(&mut *stream).poll_read(cx, &mut piece));
        if read.is_err() || piece.filled().is_empty() {
            return Poll::Ready(());
        }
    }
}

impl AsyncRead for Lingering {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Lingering {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if matches!(this.closing, Closing::Open) {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
            this.closing = if this.ended.0.load(Ordering::Relaxed) {
                Closing::Draining(Box::pin(tokio::time::sleep(LINGER)))
            } else {
                Closing::Closed
            };
        }
        if let Closing::Draining(until) = &mut this.closing {
            if until.as_mut().poll(cx).is_pending() {
                ready!(throw_away(&mut this.stream, cx));
            }
            this.closing = Closing::Closed;
        }
        Poll::Ready(Ok(()))
    }
}
