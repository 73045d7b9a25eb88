//! Data in and out, streamed with constant memory.

use std::io::SeekFrom;

use axum::body::Body;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio_util::io::ReaderStream;

use super::fault::{Answer, Fault};
use super::{Caller, image_id, input, no_content};
use crate::app::images::{self, Upload};

/// How much is read from the disk at once.
const PIECE: usize = 256 * 1024;
const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");

pub async fn upload(
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let id = image_id(&id)?;
    input::require_octets(headers.get(header::CONTENT_TYPE))?;
    let length = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse().ok());
    let upload = Upload { length, pieces: body.into_data_stream() };
    images::upload(&caller.control, &caller.auth, id, upload).await?;
    Ok(no_content())
}

pub async fn download(caller: Caller, Path(id): Path<String>, headers: HeaderMap) -> Answer {
    let id = image_id(&id)?;
    let Some(download) = images::download(&caller.control, &caller.auth, id).await? else {
        return Ok(no_content());
    };
    let size = download.data.size;
    let range = match headers.get(header::RANGE).and_then(|value| value.to_str().ok()) {
        Some(text) => parse_range(text, size)?,
        None => None,
    };
    let (status, first, length) = match range {
        Some((first, last)) => (StatusCode::PARTIAL_CONTENT, first, last - first + 1),
        None => (StatusCode::OK, 0, size),
    };
    let mut file = download.file;
    file.seek(SeekFrom::Start(first)).await.map_err(|error| {
        tracing::error!(target: "reprieve::api", image_id = %id, %error, "image data unreadable");
        Fault::new(StatusCode::INTERNAL_SERVER_ERROR, "The image data could not be read.")
    })?;
    let body = Body::from_stream(ReaderStream::with_capacity(file.take(length), PIECE));
    let mut response = (status, body).into_response();
    add_headers(&mut response, length);
    let headers = response.headers_mut();
    match range {
        Some((first, last)) => {
            let value = format!("bytes {first}-{last}/{size}");
            headers.extend(HeaderValue::try_from(value).ok().map(|v| (header::CONTENT_RANGE, v)));
        }
        // The checksum is the whole image's.
        None => {
            let value = HeaderValue::try_from(download.data.md5);
            headers.extend(value.ok().map(|value| (CONTENT_MD5, value)));
        }
    }
    Ok(response)
}

fn add_headers(response: &mut Response, length: u64) {
    let headers = response.headers_mut();
    let octets = HeaderValue::from_static("application/octet-stream");
    headers.insert(header::CONTENT_TYPE, octets);
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
}

/// First and last byte of a single range; `None` for what is no byte range, which is ignored.
fn parse_range(text: &str, size: u64) -> Result<Option<(u64, u64)>, Fault> {
    let Some((first, last)) = text.strip_prefix("bytes=").and_then(|range| range.split_once('-'))
    else {
        return Ok(None);
    };
    let range = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => (first, last.min(size.saturating_sub(1))),
        (Ok(first), Err(_)) if last.is_empty() => (first, size.saturating_sub(1)),
        (Err(_), Ok(count)) if first.is_empty() && count > 0 => {
            (size.saturating_sub(count), size.saturating_sub(1))
        }
        _ => return Ok(None),
    };
    if range.0 < size {
        return Ok(Some(range));
    }
    let fault = Fault::new(StatusCode::RANGE_NOT_SATISFIABLE, "The range is outside of the image.");
    let value = format!("bytes */{size}");
    Err(match HeaderValue::try_from(value) {
        Ok(value) => fault.with_header(header::CONTENT_RANGE, value),
        Err(_) => fault,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let range = |text| parse_range(text, 100).unwrap();
        assert_eq!(range("bytes=0-9"), Some((0, 9)));
        assert_eq!(range("bytes=90-"), Some((90, 99)));
        assert_eq!(range("bytes=90-1000"), Some((90, 99)));
        assert_eq!(range("bytes=-10"), Some((90, 99)));
        assert_eq!(range("bytes=-1000"), Some((0, 99)));
        for ignored in ["bytes=5-2", "bytes=a-b", "bytes=0-1,3-4", "lines=0-1", "bytes=-0", ""] {
            assert_eq!(range(ignored), None, "{ignored}");
        }
        assert!(parse_range("bytes=100-", 100).is_err());
        assert!(parse_range("bytes=0-", 0).is_err());
    }
}
