//! Reading request bodies without trusting whoever sends them: bounded in size and in time.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

/// Largest body of a compute request, in bytes: oslo.middleware's default, which Nova keeps.
pub const COMPUTE_LIMIT: usize = 114_688;
/// Largest JSON body of the other services, in bytes.
pub const JSON_LIMIT: usize = 1 << 20;
/// How long a client may take to send a JSON body. 112 KiB in this time is 4 KiB/s.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Why a body could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Longer than allowed: 413.
    #[error("the request body is too large")]
    TooLarge,
    /// Not complete in time: 408.
    #[error("the request body did not arrive in time")]
    TooSlow,
    /// The connection broke or the encoding is wrong: 400.
    #[error("the request body could not be read")]
    Broken,
}

/// Whether the body says in advance that it is longer than `limit` bytes.
#[must_use]
pub fn announces_more_than(headers: &HeaderMap, limit: usize) -> bool {
    headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse::<u64>().ok())
        .is_some_and(|length| length > limit as u64)
}

/// Reads a body of at most `limit` bytes within [`DEADLINE`].
///
/// # Errors
/// [`BodyError`].
pub async fn read(body: Body, limit: usize) -> Result<Bytes, BodyError> {
    let collected = tokio::time::timeout(DEADLINE, Limited::new(body, limit).collect()).await;
    match collected {
        Err(_) => Err(BodyError::TooSlow),
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(BodyError::TooLarge),
        Ok(Err(_)) => Err(BodyError::Broken),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn reads_up_to_the_limit() {
        assert_eq!(read(Body::from("12345678"), 8).await.unwrap().len(), 8);
        assert_eq!(read(Body::from("123456789"), 8).await, Err(BodyError::TooLarge));
    }

    #[tokio::test(start_paused = true)]
    async fn gives_up_on_a_body_that_never_ends() {
        let silent = futures_util::stream::pending::<Result<Bytes, std::io::Error>>();
        assert_eq!(read(Body::from_stream(silent), 8).await, Err(BodyError::TooSlow));
    }
}
