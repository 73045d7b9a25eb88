//! A reader of the event stream.

use std::time::Duration;

use axum::Router;
use axum::body::{Body, BodyDataStream};
use axum::http::Request;
use futures_util::StreamExt as _;
use serde_json::Value;
use tower::ServiceExt as _;

/// Longest that anything here may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// What came, between two empty lines.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Event {
    pub id: Option<String>,
    /// Empty for signs of life.
    pub name: String,
    pub data: Value,
}

pub struct Reader {
    body: BodyDataStream,
    buffer: String,
    /// Id to come back with.
    pub last: String,
}

impl Reader {
    /// Opens a stream and reads its first words.
    pub async fn open(router: &Router, token: &str, query: &str, last: Option<&str>) -> Self {
        let mut request = Request::get(format!("/reprieve/v1/events?{query}"));
        request = request.header("x-auth-token", token);
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let request = request.body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status().as_u16(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let body = response.into_body().into_data_stream();
        let mut reader = Self { body, buffer: String::new(), last: String::new() };
        let first = reader.any().await.unwrap();
        assert_eq!((first.name.as_str(), first.id.is_some()), ("", true));
        reader
    }

    /// The next thing of any kind; `None` at the end.
    pub async fn any(&mut self) -> Option<Event> {
        tokio::time::timeout(PATIENCE, self.read()).await.expect("nothing came")
    }

    async fn read(&mut self) -> Option<Event> {
        loop {
            if let Some((text, rest)) = self.buffer.split_once("\n\n") {
                let event = parse(text);
                self.buffer = rest.to_owned();
                if let Some(id) = &event.id {
                    self.last = id.clone();
                }
                return Some(event);
            }
            let bytes = self.body.next().await?.unwrap();
            self.buffer.push_str(std::str::from_utf8(&bytes).unwrap());
        }
    }

    /// The next event; `None` at the end.
    pub async fn event(&mut self) -> Option<Event> {
        loop {
            match self.any().await {
                Some(event) if event.name.is_empty() => {}
                other => return other,
            }
        }
    }

    /// Waits for a sign of life, so everything that was there has been read.
    pub async fn quiet(&mut self) {
        let event = self.any().await.unwrap();
        assert_eq!(event.name, "", "{event:?}");
    }

    /// Names of so many events.
    pub async fn names(&mut self, count: usize) -> Vec<String> {
        let mut names = Vec::new();
        while names.len() < count {
            let event = self.event().await.unwrap();
            names.push(event.name.trim_start_matches("instance.").to_owned());
        }
        names
    }
}

fn parse(text: &str) -> Event {
    let mut event = Event::default();
    for line in text.lines() {
        match line.split_once(": ") {
            Some(("id", id)) => event.id = Some(id.to_owned()),
            Some(("event", name)) => event.name = name.to_owned(),
            Some(("data", data)) => event.data = serde_json::from_str(data).unwrap(),
            Some(("retry", _)) | Some(("", _)) => {}
            other => panic!("{other:?} in {text}"),
        }
    }
    event
}
