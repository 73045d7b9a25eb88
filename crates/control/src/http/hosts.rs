//! What compute hosts get over HTTP: the data of images, when they run apart from the image service.
//!
//! A host shows a ticket that only holders of the installation's sealing key can make
//! ([`reprieve_core::SealingKey::ticket`]). It needs no user, no token and no policy: whether a server
//! may be made from an image was decided when it was asked for. Nothing here is for tenants.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use reprieve_core::ImageId;
use tokio_util::io::ReaderStream;

use crate::Control;
use crate::app::images;

/// Route of an image's data.
pub const IMAGE: &str = "/reprieve/hosts/images/{image}";
/// Header with the ticket.
pub const TICKET: HeaderName = HeaderName::from_static("x-reprieve-ticket");
/// How much is read from the disk at once.
const PIECE: usize = 256 * 1024;

/// [`IMAGE`] of this one.
pub(crate) fn image_path(image: ImageId) -> String {
    IMAGE.replace("{image}", &image.to_string())
}

/// `GET /reprieve/hosts/images/{image}`: all of its data.
pub async fn image(
    State(control): State<Arc<Control>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    let ticket = headers.get(TICKET).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let refused = (StatusCode::UNAUTHORIZED, "This is for compute hosts of this installation.\n");
    let Ok(id) = id.parse::<ImageId>() else { return refused.into_response() };
    if !control.sealing_key.accepts(id, ticket, control.clock.now()) {
        return refused.into_response();
    }
    match images::download_for_host(&control, id).await {
        Ok(Some(download)) => {
            let body = Body::from_stream(ReaderStream::with_capacity(download.file, PIECE));
            let mut response = body.into_response();
            let headers = response.headers_mut();
            let octets = HeaderValue::from_static("application/octet-stream");
            headers.insert(header::CONTENT_TYPE, octets);
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(download.data.size));
            response
        }
        Ok(None) => (StatusCode::NOT_FOUND, "There is no such image here.\n").into_response(),
        Err(error) => {
            let error = super::causes(&error);
            tracing::error!(target: "reprieve::api", image_id = %id, error, "image data unreadable");
            let text = "The image data could not be read.\n";
            (StatusCode::INTERNAL_SERVER_ERROR, text).into_response()
        }
    }
}
