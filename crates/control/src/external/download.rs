//! The data of an image, from another service into a file.

use std::path::Path;
use std::time::Duration;

use reprieve_core::ImageId;
use reprieve_core::ports::ImageSourceError;
use reqwest::{Response, StatusCode};
use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;

use super::http::{self, ExternalError, bad};

/// Why the data of an image is not here.
pub(super) enum Problem {
    Gone,
    Service(ExternalError),
    File(std::io::Error),
}

impl From<ExternalError> for Problem {
    fn from(error: ExternalError) -> Self {
        Self::Service(error)
    }
}

impl From<std::io::Error> for Problem {
    fn from(error: std::io::Error) -> Self {
        Self::File(error)
    }
}

impl Problem {
    /// For who asked for the image.
    pub(super) fn of(self, image: ImageId) -> ImageSourceError {
        let message = match self {
            Self::Gone => return ImageSourceError::NotFound(image),
            Self::Service(error) => crate::http::causes(&error),
            Self::File(error) => error.to_string(),
        };
        ImageSourceError::Unreadable { image, message }
    }
}

/// Writes what a service answers, which has to be `size` bytes and may pause for at most `idle`, into
/// a new file. Nothing is left of it when that fails.
pub(super) async fn save(
    service: &'static str,
    response: Response,
    (size, idle): (u64, Duration),
    file: &Path,
) -> Result<(), Problem> {
    match response.status() {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND => return Err(Problem::Gone),
        status => return Err(ExternalError::Refused { service, status }.into()),
    }
    let mut options = tokio::fs::OpenOptions::new();
    let target = options.write(true).create_new(true).mode(0o600).open(file).await?;
    let written = write(service, response, target, (size, idle)).await;
    if written.is_err() {
        // What is there of it is of no use. That it cannot be removed is no other problem: it is
        // looked for before the next try.
        let _ = tokio::fs::remove_file(file).await;
    }
    written
}

/// Writes exactly `size` bytes, or fails.
async fn write(
    service: &'static str,
    mut response: Response,
    mut target: tokio::fs::File,
    (size, idle): (u64, Duration),
) -> Result<(), Problem> {
    let mut written: u64 = 0;
    loop {
        let piece = timeout(idle, response.chunk()).await;
        let piece = piece.map_err(|_| bad(service, "the image's data stopped coming"))?;
        let Some(piece) = piece.map_err(http::unreachable(service))? else { break };
        written = written.saturating_add(piece.len() as u64);
        if written > size {
            return Err(bad(service, "the image is longer than announced").into());
        }
        target.write_all(&piece).await?;
    }
    target.flush().await?;
    if written < size {
        return Err(bad(service, "the image's data ended early").into());
    }
    Ok(())
}
