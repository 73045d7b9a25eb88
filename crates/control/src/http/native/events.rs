//! `GET /reprieve/v1/events`: notifications as server-sent events.

use std::str::FromStr;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use reprieve_core::notification::NotificationId;
use reprieve_core::{InstanceId, ProjectId};

use super::Caller;
use super::endpoints::EVENT_PARAMETERS;
use super::fault::{Answer, Fault};
use super::feed::{Feed, Filter};
use super::operations::unusable;

/// Most values of a filter.
const MAX_VALUES: usize = 100;

/// `GET /events`.
pub async fn stream(caller: Caller, headers: HeaderMap) -> Answer {
    caller.check_query(EVENT_PARAMETERS)?;
    let filter = Filter {
        servers: values(&caller, "server_id", |text| InstanceId::from_str(text).ok())?,
        event_types: values(&caller, "event_type", |text| Some(text.to_owned()))?,
        project: caller.query.get("project_id").map(ProjectId::from),
    };
    let from_header = headers.get("last-event-id").map(|value| value.to_str().unwrap_or("?"));
    let last = from_header.or_else(|| caller.query.get("last_event_id"));
    let last = last
        .map(|text| NotificationId::from_str(text).map_err(|_| unusable("Last-Event-ID", text)));
    let last = last.transpose()?;
    let place = caller.control.notifications.streams.enter(&caller.auth.project_id)?;
    let feed = Feed::new(caller.control, caller.token, (filter, last), place).await;
    let feed = feed.map_err(|error| {
        tracing::error!(target: "reprieve::api", %error, "no events can be read");
        Fault::unavailable("The events cannot be read. Try again.")
    })?;
    Ok(answer(Body::from_stream(feed.into_stream())))
}

fn answer(body: Body) -> Response {
    let mut response = (StatusCode::OK, body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

fn values<T>(
    caller: &Caller,
    name: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Vec<T>, Fault> {
    let parsed = caller.query.all(name).map(|text| parse(text).ok_or_else(|| unusable(name, text)));
    let values: Vec<T> = parsed.collect::<Result<_, _>>()?;
    if values.len() > MAX_VALUES {
        return Err(Fault::bad_request(format!("'{name}' may be given {MAX_VALUES} times.")));
    }
    Ok(values)
}
