//! Host aggregates (administrators).

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use reprieve_core::message::HostRequest;
use reprieve_core::{HostName, ImageId};
use reprieve_store::{AggregateError, AggregateRecord, AggregateUpdate, NewAggregate};

use super::hosts::no_host;
use super::{AppError, Call};

/// How long a host may take to say that it will fetch images.
const HINT_DEADLINE: Duration = Duration::from_secs(5);

/// What was tried, which decides on the words of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attempt {
    AddHost,
    RemoveHost,
    Update,
    UpdateMetadata,
    Delete,
}

/// One aggregate.
///
/// # Errors
/// [`AppError::NotFound`].
pub async fn get(call: &Call<'_>, number: i64) -> Result<AggregateRecord, AppError> {
    let found = call.control.store.aggregate(number).await?;
    found.ok_or_else(|| unknown(number))
}

/// Makes an aggregate without hosts.
///
/// # Errors
/// [`AppError::Conflict`] when the name is taken.
pub async fn create(call: &Call<'_>, new: NewAggregate) -> Result<AggregateRecord, AppError> {
    let made = call.control.store.create_aggregate(new).await;
    made.map_err(|error| refusal(0, Attempt::Update, error))
}

/// Changes name and availability zone; `Some(None)` makes it no zone any more.
///
/// # Errors
/// [`AppError::NotFound`], [`AppError::Conflict`] when the name is taken, [`AppError::BadRequest`]
/// when its hosts cannot change their zone.
pub async fn update(
    call: &Call<'_>,
    number: i64,
    name: Option<String>,
    zone: Option<Option<String>>,
) -> Result<AggregateRecord, AppError> {
    let metadata = zone.map(|zone| (reprieve_store::ZONE.to_owned(), zone));
    let values = AggregateUpdate::Values { name, metadata: metadata.into_iter().collect() };
    change(call, number, Attempt::Update, values).await
}

/// Sets metadata; `None` removes a key.
///
/// # Errors
/// [`AppError::NotFound`], [`AppError::BadRequest`] when its hosts cannot change their zone.
pub async fn set_metadata(
    call: &Call<'_>,
    number: i64,
    metadata: BTreeMap<String, Option<String>>,
) -> Result<AggregateRecord, AppError> {
    let values = AggregateUpdate::Values { name: None, metadata };
    change(call, number, Attempt::UpdateMetadata, values).await
}

/// Takes a host in.
///
/// # Errors
/// [`AppError::NotFound`] when there is no such aggregate or host, [`AppError::Conflict`] when it is
/// in it already or cannot change its zone.
pub async fn add_host(
    call: &Call<'_>,
    number: i64,
    host: HostName,
) -> Result<AggregateRecord, AppError> {
    change(call, number, Attempt::AddHost, AggregateUpdate::AddHost(host)).await
}

/// Lets a host go.
///
/// # Errors
/// [`AppError::NotFound`] when it is not in it, [`AppError::Conflict`] when it cannot change its
/// zone.
pub async fn remove_host(
    call: &Call<'_>,
    number: i64,
    host: HostName,
) -> Result<AggregateRecord, AppError> {
    change(call, number, Attempt::RemoveHost, AggregateUpdate::RemoveHost(host)).await
}

async fn change(
    call: &Call<'_>,
    number: i64,
    attempt: Attempt,
    update: AggregateUpdate,
) -> Result<AggregateRecord, AppError> {
    let default = &call.control.settings.availability_zone;
    let changed = call.control.store.update_aggregate(number, update, default).await;
    changed.map_err(|error| refusal(number, attempt, error))
}

/// Removes an aggregate without hosts.
///
/// # Errors
/// [`AppError::NotFound`], [`AppError::BadRequest`] while it has hosts.
pub async fn delete(call: &Call<'_>, number: i64) -> Result<(), AppError> {
    let removed = call.control.store.delete_aggregate(number).await;
    removed.map_err(|error| refusal(number, Attempt::Delete, error))
}

/// Tells the hosts of an aggregate that they will need these images. Hosts that cannot be reached
/// now fetch them when they need them.
///
/// # Errors
/// [`AppError::NotFound`] for the aggregate, [`AppError::BadRequest`] for an image that does not
/// exist or has no data.
pub async fn cache_images(call: &Call<'_>, number: i64, ids: Vec<ImageId>) -> Result<(), AppError> {
    let aggregate = get(call, number).await?;
    let mut images = Vec::with_capacity(ids.len());
    for id in ids {
        let image = call.control.images.image(call.control, id).await;
        let image = image.map_err(|error| AppError::image("reading an image", error))?;
        let image = image.and_then(|image| image.spec());
        let missing = || AppError::BadRequest(format!("Image {id} could not be found."));
        images.push(image.ok_or_else(missing)?);
    }
    let hint = HostRequest::CacheImages { images };
    let told = aggregate.hosts.iter().map(|host| async {
        if let Err(error) = call.control.bus.request(host, &hint, HINT_DEADLINE).await {
            let request_id = call.request_id.as_str();
            tracing::warn!(request_id, host = host.as_str(), %error, "images not announced");
        }
    });
    join_all(told).await;
    Ok(())
}

fn unknown(number: i64) -> AppError {
    AppError::NotFound(format!("Aggregate {number} could not be found."))
}

/// A refusal in Nova's words and with Nova's code.
fn refusal(number: i64, attempt: Attempt, error: AggregateError) -> AppError {
    let reason = match error {
        AggregateError::Store(error) => return error.into(),
        AggregateError::Unknown(number) => return unknown(number),
        AggregateError::NameTaken(name) => {
            return AppError::Conflict(format!("Aggregate {name} already exists."));
        }
        AggregateError::UnknownHost(host) => return no_host(host.as_str()),
        AggregateError::HasHost(host) => {
            return AppError::Conflict(format!("Aggregate {number} already has host {host}."));
        }
        AggregateError::HasNotHost(host) => {
            return AppError::NotFound(format!("Aggregate {number} has no host {host}."));
        }
        AggregateError::NotEmpty => "Host aggregate is not empty".to_owned(),
        AggregateError::NamelessZone(name) => {
            format!("Aggregate {name} does not support empty named availability zone")
        }
        AggregateError::OtherZones(zones) => {
            let zones: Vec<String> = zones.iter().map(|zone| format!("'{zone}'")).collect();
            format!("One or more hosts already in availability zone(s) [{}]", zones.join(", "))
        }
        AggregateError::ZoneInUse => "One or more hosts contain instances in this zone".to_owned(),
    };
    let text = |what: &str| format!("Cannot {what} aggregate {number}. Reason: {reason}.");
    match attempt {
        Attempt::AddHost => AppError::Conflict(text("add host to")),
        Attempt::RemoveHost => AppError::Conflict(text("remove host from")),
        Attempt::Update => AppError::BadRequest(text("update")),
        Attempt::UpdateMetadata => AppError::BadRequest(text("update metadata of")),
        // Nova has no other words for this one.
        Attempt::Delete => AppError::BadRequest(text("remove host from")),
    }
}
