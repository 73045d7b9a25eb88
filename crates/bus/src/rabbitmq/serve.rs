//! Answering requests.

use std::sync::Arc;
use std::time::Duration;

use lapin::types::ShortString;
use reprieve_core::message::{HostRequest, HostResponse};
use reprieve_core::ports::{BusError, RequestHandler};
use tokio::task::{AbortHandle, JoinSet};

use super::feed::{Feed, Taken};
use super::link::{Link, Publishing};
use super::publisher::{Lifetime, Parcel};
use crate::wire;

/// How long an answer is of use to somebody who may have stopped waiting.
const USEFUL: Duration = Duration::from_secs(30);
/// What people call the way back.
const TOPIC: &str = "answers";

/// Serves until dropped.
pub(super) struct Serving {
    task: AbortHandle,
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Answers what comes, several at a time: as many as the broker hands over unacknowledged.
pub(super) fn serve(
    mut feed: Feed<HostRequest>,
    publishing: Link<Publishing>,
    handler: Arc<dyn RequestHandler>,
) -> Serving {
    let task = tokio::spawn(async move {
        let mut answering = JoinSet::new();
        while let Some(taken) = feed.take().await {
            while answering.try_join_next().is_some() {}
            answering.spawn(answer(taken, publishing.clone(), Arc::clone(&handler)));
        }
    });
    Serving { task: task.abort_handle() }
}

async fn answer(
    mut taken: Taken<HostRequest>,
    publishing: Link<Publishing>,
    handler: Arc<dyn RequestHandler>,
) {
    let reply = taken.reply.take();
    let response = handler.answer(taken.message.clone()).await;
    if let Some((to, question)) = reply
        && let Err(error) = send(&publishing, to, question, &response).await
    {
        // Who asked has its own deadline and asks again if it matters.
        tracing::debug!(%error, "an answer did not get out");
    }
    taken.done().await;
}

async fn send(
    publishing: &Link<Publishing>,
    to: ShortString,
    question: ShortString,
    response: &HostResponse,
) -> Result<(), BusError> {
    let text = wire::write(TOPIC, response).or_else(|error| {
        wire::write(TOPIC, &HostResponse::Failed { message: error.to_string() })
    })?;
    let parcel = Parcel::to(to, TOPIC.to_owned(), text.into_bytes(), Lifetime::For(USEFUL));
    publishing.publish(parcel.with(|properties| properties.with_correlation_id(question))).await
}
