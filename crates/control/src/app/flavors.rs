//! Flavors: sizes of servers.

use reprieve_core::policy::rules;
use reprieve_store::{FlavorQuery, FlavorRecord, NewFlavor, Store, StoreError};

use super::{AppError, Call};

/// Records Nova's classic sizes if there is no flavor at all, so that a first server can be made
/// without setting anything up.
///
/// # Errors
/// [`StoreError`].
pub async fn ensure_defaults(store: &Store) -> Result<(), StoreError> {
    if !store.flavors(&FlavorQuery { limit: Some(1), ..FlavorQuery::default() }).await?.is_empty() {
        return Ok(());
    }
    let sizes = [
        ("1", "m1.tiny", 1, 512, 1),
        ("2", "m1.small", 1, 2048, 20),
        ("3", "m1.medium", 2, 4096, 40),
        ("4", "m1.large", 4, 8192, 80),
        ("5", "m1.xlarge", 8, 16384, 160),
    ];
    for (flavor_id, name, vcpus, memory_mib, root_gib) in sizes {
        let new = NewFlavor {
            flavor_id: flavor_id.into(),
            name: name.into(),
            vcpus,
            memory_mib,
            root_gib,
            ephemeral_gib: 0,
            swap_mib: 0,
            rxtx_factor: 1.0,
            is_public: true,
            description: None,
        };
        match store.create_flavor(new).await {
            Ok(_) | Err(StoreError::Exists { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// 404 in Nova's words.
#[must_use]
pub fn not_found(flavor_id: &str) -> AppError {
    AppError::NotFound(format!("Flavor {flavor_id} could not be found."))
}

/// A flavor that the caller may see.
///
/// # Errors
/// [`AppError::NotFound`] also for flavors that are not for the caller's project.
pub async fn get(call: &Call<'_>, flavor_id: &str) -> Result<FlavorRecord, AppError> {
    let flavor = call.control.store.flavor(flavor_id).await?.ok_or_else(|| not_found(flavor_id))?;
    if call.is_admin() || flavor.visible_to(&call.auth.project_id) {
        Ok(flavor)
    } else {
        Err(not_found(flavor_id))
    }
}

/// Flavors that the caller may see. `query.is_public` counts for administrators only; others get
/// the public ones and those that were opened to their project.
///
/// # Errors
/// [`AppError::BadRequest`] for an unknown marker.
pub async fn list(call: &Call<'_>, mut query: FlavorQuery) -> Result<Vec<FlavorRecord>, AppError> {
    if !call.is_admin() {
        query.visible_to = Some(call.auth.project_id.clone());
        query.is_public = None;
    }
    call.control.store.flavors(&query).await.map_err(|error| match error {
        StoreError::NotFound { id, .. } => AppError::BadRequest(format!("marker [{id}] not found")),
        other => other.into(),
    })
}

/// Records a flavor.
///
/// # Errors
/// [`AppError::Forbidden`]; [`AppError::Conflict`] when name or id are taken.
pub async fn create(call: &Call<'_>, new: NewFlavor) -> Result<FlavorRecord, AppError> {
    call.require_own(rules::FLAVOR_CREATE)?;
    call.control.store.create_flavor(new).await.map_err(|error| match error {
        StoreError::Exists { what: "flavor name", id } => {
            AppError::Conflict(format!("Flavor with name {id} already exists."))
        }
        StoreError::Exists { id, .. } => {
            AppError::Conflict(format!("Flavor with ID {id} already exists."))
        }
        other => other.into(),
    })
}

/// Changes the description.
///
/// # Errors
/// [`AppError::Forbidden`], [`AppError::NotFound`].
pub async fn describe(
    call: &Call<'_>,
    flavor_id: &str,
    description: Option<String>,
) -> Result<FlavorRecord, AppError> {
    call.require_own(rules::FLAVOR_UPDATE)?;
    let changed = call.control.store.describe_flavor(flavor_id, description).await;
    changed.map_err(|error| missing(error, flavor_id))
}

/// Removes a flavor. Servers keep what they were made with.
///
/// # Errors
/// [`AppError::Forbidden`], [`AppError::NotFound`].
pub async fn delete(call: &Call<'_>, flavor_id: &str) -> Result<(), AppError> {
    call.require_own(rules::FLAVOR_DELETE)?;
    let deleted = call.control.store.delete_flavor(flavor_id).await;
    deleted.map_err(|error| missing(error, flavor_id))
}

fn missing(error: StoreError, flavor_id: &str) -> AppError {
    match error {
        StoreError::NotFound { .. } => not_found(flavor_id),
        other => other.into(),
    }
}
