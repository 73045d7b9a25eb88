//! The HTTP listener: accepts connections, says where requests come from, bounds how long a client
//! may dawdle, lets a client read the answer that ends its connection, and drains at shutdown.

mod lingering;
#[cfg(test)]
mod tests;

use std::time::Duration;

use axum::Router;
use axum::response::Response;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use reprieve_control::http::notes::ClientAddress;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use tracing::{debug, warn};

use lingering::{Ended, Lingering};

/// How long a client may take to send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long requests may go on after the shutdown was asked for.
const DRAIN: Duration = Duration::from_secs(5);
/// Pause after the system refused a connection, for instance because files ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves `router` on `listener` until `shutdown` is cancelled, then lets open requests finish for
/// a few seconds.
pub async fn serve(listener: TcpListener, router: Router, shutdown: CancellationToken) {
    let graceful = GracefulShutdown::new();
    loop {
        let (stream, from) = tokio::select! {
            biased; // stop accepting as soon as asked
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%error, "a connection was gone before it was served");
            continue;
        }
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
        let ended = Ended::default();
        let noting = ended.clone();
        let note = move |response: Response| {
            noting.note(response.headers());
            response
        };
        let service = ServiceExt::<Request<Incoming>>::map_response(router.clone(), note);
        let address = move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(ClientAddress(from));
            request
        };
        let service = ServiceExt::<Request<Incoming>>::map_request(service, address);
        let stream = TokioIo::new(Lingering::new(stream, ended));
        let connection = builder.serve_connection(stream, TowerToHyperService::new(service));
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                debug!(%error, "a connection ended early");
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(DRAIN, graceful.shutdown()).await.is_err() {
        warn!(after = ?DRAIN, "open requests were cut off");
    }
}
