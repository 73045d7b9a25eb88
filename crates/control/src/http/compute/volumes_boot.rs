//! `/os-volumes_boot`: another name for `/servers`, removed in 2.103.

use axum::extract::Path;

use super::call::ApiCall;
use super::fault::Answer;
use super::servers;

/// The last minor version that has the name.
const LAST: u16 = 102;

/// `GET /os-volumes_boot`.
pub async fn index(call: ApiCall) -> Answer {
    call.require_until(LAST)?;
    servers::index(call).await
}

/// `GET /os-volumes_boot/detail`.
pub async fn detail(call: ApiCall) -> Answer {
    call.require_until(LAST)?;
    servers::detail(call).await
}

/// `POST /os-volumes_boot`.
pub async fn create(call: ApiCall) -> Answer {
    call.require_until(LAST)?;
    servers::create(call).await
}

/// `GET /os-volumes_boot/{id}`.
pub async fn show(call: ApiCall, id: Path<String>) -> Answer {
    call.require_until(LAST)?;
    servers::show(call, id).await
}

/// `PUT /os-volumes_boot/{id}`.
pub async fn update(call: ApiCall, id: Path<String>) -> Answer {
    call.require_until(LAST)?;
    servers::update(call, id).await
}

/// `DELETE /os-volumes_boot/{id}`.
pub async fn delete(call: ApiCall, id: Path<String>) -> Answer {
    call.require_until(LAST)?;
    servers::delete(call, id).await
}
