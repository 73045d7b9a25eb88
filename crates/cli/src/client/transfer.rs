//! Image data on their way up and down: streamed with constant memory, with a limit on standstill
//! instead of one on the whole, and with a checksum over what really went through.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use reqwest::{Body, Method, Response};
use sha2::{Digest as _, Sha512};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio_util::io::ReaderStream;

use super::http::{Place, request_id};
use super::{ClientError, Rejection, Service, Session, encode};
use crate::progress::Bytes;

/// How long nothing may move.
const STALL_LIMIT: Duration = Duration::from_secs(60);

/// Bytes read at once.
const CHUNK: usize = 1 << 20;

/// Where the data of an upload come from.
pub struct Source {
    /// The data.
    pub reader: Box<dyn AsyncRead + Send + Unpin>,
    /// How many bytes, when that is known.
    pub length: Option<u64>,
    /// For messages.
    pub name: String,
}

/// Uploads the data of an image and returns their SHA-512 in hexadecimal digits.
///
/// # Errors
/// [`ClientError::Stalled`] when nothing moved for a minute; whatever the service says against it.
pub async fn upload(
    session: &Session,
    id: &str,
    source: Source,
    bar: &Bytes,
) -> Result<String, ClientError> {
    let path = format!("/images/{}/file", encode(id));
    let place = session.place(Service::Image);
    let moved = Arc::new(AtomicU64::new(0));
    let hash = Arc::new(Mutex::new(Sha512::new()));
    // A file that cannot be read ends the body; the cause must not be lost in reqwest's error.
    let broken: Arc<Mutex<Option<std::io::Error>>> = Arc::default();
    let stream = {
        let (moved, hash, broken, bar) =
            (Arc::clone(&moved), Arc::clone(&hash), Arc::clone(&broken), bar.clone());
        ReaderStream::with_capacity(source.reader, CHUNK).map(move |chunk| match chunk {
            Ok(chunk) => {
                moved.fetch_add(chunk.len() as u64, Ordering::Relaxed);
                hash.lock().unwrap_or_else(PoisonError::into_inner).update(&chunk);
                bar.advance(chunk.len() as u64);
                Ok(chunk)
            }
            Err(error) => {
                let kind = error.kind();
                *broken.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                Err(std::io::Error::from(kind))
            }
        })
    };
    let mut request = session
        .streamed(Service::Image, Method::PUT, &path)?
        .header("content-type", "application/octet-stream")
        .body(Body::wrap_stream(stream));
    if let Some(length) = source.length {
        request = request.header("content-length", length);
    }
    let response = match watched(request.send(), &moved, STALL_LIMIT).await {
        Some(Ok(response)) => response,
        Some(Err(error)) => {
            let cause = broken.lock().unwrap_or_else(PoisonError::into_inner).take();
            return Err(cause.map_or_else(
                || place.failure(&error),
                |cause| ClientError::File { action: "read", path: source.name, source: cause },
            ));
        }
        None => return Err(place.stalled(STALL_LIMIT)),
    };
    accepted(response, &place).await?;
    let digest = hash.lock().unwrap_or_else(PoisonError::into_inner).clone().finalize();
    Ok(hex(&digest))
}

/// Drives `future` as long as the counter moves; `None` when it stood still for the limit.
async fn watched<F: Future>(future: F, moved: &AtomicU64, limit: Duration) -> Option<F::Output> {
    tokio::pin!(future);
    let mut seen = moved.load(Ordering::Relaxed);
    loop {
        if let Ok(output) = tokio::time::timeout(limit, &mut future).await {
            return Some(output);
        }
        let now = moved.load(Ordering::Relaxed);
        if now == seen {
            return None;
        }
        seen = now;
    }
}

/// The answer, unless it is a refusal.
async fn accepted(mut response: Response, place: &Place) -> Result<Response, ClientError> {
    const MAX_REFUSAL: usize = 64 << 10;
    if response.status().is_success() {
        return Ok(response);
    }
    let (status, id) = (response.status().as_u16(), request_id(response.headers()));
    let mut body = Vec::new();
    while let Some(chunk) = next(&mut response, place).await? {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_REFUSAL {
            break;
        }
    }
    let mut rejection = Rejection::new(Service::Image, status, &body);
    rejection.request_id = id;
    Err(ClientError::Rejected(rejection))
}

async fn next(response: &mut Response, place: &Place) -> Result<Option<bytes::Bytes>, ClientError> {
    match tokio::time::timeout(STALL_LIMIT, response.chunk()).await {
        Ok(Ok(chunk)) => Ok(chunk),
        Ok(Err(error)) => Err(place.failure(&error)),
        Err(_) => Err(place.stalled(STALL_LIMIT)),
    }
}

/// Downloads the data of an image into `sink` and returns their SHA-512.
///
/// # Errors
/// Also when the connection ended before all announced bytes came.
pub async fn download(
    session: &Session,
    id: &str,
    sink: &mut (dyn AsyncWrite + Send + Unpin),
    bar: &Bytes,
) -> Result<String, ClientError> {
    let place = session.place(Service::Image);
    let request =
        session.streamed(Service::Image, Method::GET, &format!("/images/{}/file", encode(id)))?;
    let sent = tokio::time::timeout(STALL_LIMIT, request.send()).await;
    let response =
        sent.map_err(|_| place.stalled(STALL_LIMIT))?.map_err(|error| place.failure(&error))?;
    let mut response = accepted(response, &place).await?;
    if response.status().as_u16() == 204 {
        return Err(ClientError::Local { what: "the image has no data".to_owned() });
    }
    let mut hash = Sha512::new();
    let failed = |source| ClientError::File { action: "write", path: "the data".into(), source };
    while let Some(chunk) = next(&mut response, &place).await? {
        hash.update(&chunk);
        sink.write_all(&chunk).await.map_err(failed)?;
        bar.advance(chunk.len() as u64);
    }
    sink.flush().await.map_err(failed)?;
    Ok(hex(&hash.finalize()))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A file that takes its name only when it is complete, and vanishes otherwise.
pub struct Partial {
    target: PathBuf,
    temporary: PathBuf,
    done: bool,
}

impl Partial {
    /// Creates `.NAME.PID.part` beside the target.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub async fn create(target: &Path) -> Result<(Self, tokio::fs::File), ClientError> {
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let temporary = target.with_file_name(format!(".{name}.{}.part", std::process::id()));
        // `create_new`: in a directory of everybody the name could be somebody's symbolic link.
        let mut options = tokio::fs::OpenOptions::new();
        let opened = options.write(true).create_new(true).open(&temporary).await;
        let file = opened.map_err(|source| ClientError::File {
            action: "write",
            path: target.display().to_string(),
            source,
        })?;
        Ok((Self { target: target.to_owned(), temporary, done: false }, file))
    }

    /// Gives the complete file its name.
    ///
    /// # Errors
    /// When the disk is full or the rename is refused.
    pub async fn commit(mut self, file: tokio::fs::File) -> Result<(), ClientError> {
        let failed = |source| ClientError::File {
            action: "write",
            path: self.target.display().to_string(),
            source,
        };
        file.sync_all().await.map_err(failed)?;
        tokio::fs::rename(&self.temporary, &self.target).await.map_err(failed)?;
        self.done = true;
        Ok(())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.done {
            // Best effort: an incomplete download must not look like an image.
            let _ = std::fs::remove_file(&self.temporary);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Poll;
    use std::time::Instant;

    use super::*;

    #[tokio::test]
    async fn only_a_standstill_ends_a_transfer() {
        let limit = Duration::from_millis(20);
        let moved = AtomicU64::new(0);
        // Moves once, then never again: the first look sees it, the second gives up.
        let once = std::future::poll_fn(|_| {
            moved.store(1, Ordering::Relaxed);
            Poll::<()>::Pending
        });
        let begun = Instant::now();
        assert_eq!(watched(once, &moved, limit).await, None);
        assert!(begun.elapsed() >= limit * 2);
        assert_eq!(watched(async { 7 }, &moved, limit).await, Some(7));
    }

    #[test]
    fn digests_are_hexadecimal() {
        assert_eq!(hex(&[0, 0x1f, 0xff]), "001fff");
    }

    #[tokio::test]
    async fn an_incomplete_file_never_has_the_name() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("image");
        std::fs::write(&target, "old").unwrap();
        drop(Partial::create(&target).await.unwrap());
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "old");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        let (partial, mut file) = Partial::create(&target).await.unwrap();
        file.write_all(b"new").await.unwrap();
        partial.commit(file).await.unwrap();
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "new");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
