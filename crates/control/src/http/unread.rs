//! Request bodies that nobody read to their end: of requests that were refused before, or without
//! looking at what they bring.
//!
//! A connection can carry the next request only behind the last byte of this one. What is left is
//! read away if it is little and comes soon; otherwise the answer says that the connection ends, so
//! that no client sends another request into it. Invariants: requests without a body cost one look;
//! nothing of what is read away is kept; no answer waits longer than [`DEADLINE`].

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use futures_util::{Stream, StreamExt as _};
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

/// The most that is read away, in bytes. Reading more costs more than a new connection.
const LIMIT: u64 = 64 * 1024;
/// How long reading it away may take. Usually all of it is there already.
const DEADLINE: Duration = Duration::from_secs(1);

/// Where the body of a request comes back to when its handler is done with it.
#[derive(Debug)]
pub struct Watch {
    back: oneshot::Receiver<Rest>,
    /// The client sends its body only when somebody begins to read it.
    waits_for_go: bool,
}

/// What came back of a body that was not read to its end.
#[derive(Debug)]
enum Rest {
    /// There may be more.
    Unread(BodyDataStream),
    /// The connection broke, or the body was no body.
    Broken,
}

/// The request with a body that comes back; `None` when it has none.
pub fn watch(request: Request) -> (Request, Option<Watch>) {
    if request.body().is_end_stream() {
        return (request, None);
    }
    let (sender, back) = oneshot::channel();
    let waits_for_go = request.headers().contains_key(header::EXPECT);
    let request = request.map(|body| {
        let inner = Some(body.into_data_stream());
        Body::from_stream(Watched { inner, back: Some(sender) })
    });
    (request, Some(Watch { back, waits_for_go }))
}

/// Reads away what is left of the body, or says in the answer that the connection ends.
pub async fn settle(watch: Watch, response: &mut Response) {
    let Watch { mut back, waits_for_go } = watch;
    let reusable = match back.try_recv() {
        Err(TryRecvError::Closed) => true,
        // Whoever has it may never read on.
        Err(TryRecvError::Empty) | Ok(Rest::Broken) => false,
        Ok(Rest::Unread(rest)) => !waits_for_go && read_away(rest).await,
    };
    if !reusable {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
}

/// Whether the end was reached. A body that does not say how long it is may have none.
async fn read_away(mut rest: BodyDataStream) -> bool {
    if HttpBody::size_hint(&rest).upper().is_none_or(|left| left > LIMIT) {
        return false;
    }
    let reading = async {
        loop {
            match rest.next().await {
                Some(Ok(_)) => {}
                Some(Err(_)) => return false,
                None => return true,
            }
        }
    };
    tokio::time::timeout(DEADLINE, reading).await.unwrap_or(false)
}

/// A body that is sent back when it is dropped before its end.
struct Watched {
    /// `None` after its end.
    inner: Option<BodyDataStream>,
    back: Option<oneshot::Sender<Rest>>,
}

impl Stream for Watched {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(inner) = &mut self.inner else { return Poll::Ready(None) };
        let polled = inner.poll_next_unpin(cx);
        match &polled {
            Poll::Pending | Poll::Ready(Some(Ok(_))) => {}
            Poll::Ready(None) => self.inner = None,
            Poll::Ready(Some(Err(_))) => {
                self.inner = None;
                self.send_back(Rest::Broken);
            }
        }
        polled
    }
}

impl Watched {
    fn send_back(&mut self, rest: Rest) {
        if let Some(back) = self.back.take() {
            // Nobody waits for it when the client has gone.
            let _ = back.send(rest);
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // A body of known length ends with its last byte, whether or not somebody asked for more.
        if let Some(inner) = self.inner.take().filter(|inner| !inner.is_end_stream()) {
            self.send_back(Rest::Unread(inner));
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    fn request(body: Body) -> (Request, Watch) {
        let (request, watch) = watch(Request::new(body));
        (request, watch.unwrap())
    }

    async fn settled(watch: Watch) -> bool {
        let mut response = Response::new(Body::empty());
        settle(watch, &mut response).await;
        !response.headers().contains_key(header::CONNECTION)
    }

    #[tokio::test]
    async fn requests_without_a_body_are_left_alone() {
        assert!(watch(Request::new(Body::empty())).1.is_none());
    }

    #[tokio::test]
    async fn little_is_read_away() {
        for (length, reusable) in [(1, true), (64 * 1024, true), (64 * 1024 + 1, false)] {
            let (request, watch) = request(Body::from(vec![0; length]));
            drop(request);
            assert_eq!(settled(watch).await, reusable, "{length}");
        }
    }

    #[tokio::test]
    async fn what_was_read_is_done_with() {
        let (request, watch) = request(Body::from(vec![7; 1 << 20]));
        let bytes = axum::body::to_bytes(request.into_body(), usize::MAX).await.unwrap();
        assert_eq!(bytes, vec![7; 1 << 20]);
        assert!(settled(watch).await);
    }

    #[tokio::test]
    async fn what_somebody_keeps_ends_the_connection() {
        let (request, watch) = request(Body::from("kept"));
        assert!(!settled(watch).await);
        drop(request);
    }

    #[tokio::test]
    async fn bodies_of_unknown_length_and_broken_ones_end_the_connection() {
        let endless = stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(b"x")));
        let (endless, watch) = request(Body::from_stream(endless));
        drop(endless);
        assert!(!settled(watch).await);
        let error = std::io::Error::other("reset");
        let broken = stream::iter([Ok(Bytes::from_static(b"x")), Err(error)]);
        let (broken, watch) = request(Body::from_stream(broken));
        assert!(axum::body::to_bytes(broken.into_body(), 10).await.is_err());
        assert!(!settled(watch).await);
    }

    #[tokio::test]
    async fn a_client_that_waits_for_its_go_is_not_told_to_send() {
        let mut request = Request::new(Body::from("little"));
        let go = HeaderValue::from_static("100-continue");
        request.headers_mut().insert(header::EXPECT, go);
        let (request, watch) = watch(request);
        drop(request);
        assert!(!settled(watch.unwrap()).await);
    }
}
