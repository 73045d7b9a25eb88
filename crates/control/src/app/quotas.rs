//! Quotas: who may have how much.

use std::collections::BTreeMap;

use reprieve_core::quota::{Limits, Resource, UNLIMITED};
use reprieve_core::{ProjectId, UserId};

use super::{AppError, Call, identity};

/// Refuses a project that does not exist: a quota set by a wrong id would be of no effect.
///
/// # Errors
/// [`AppError::BadRequest`]; [`AppError::Unavailable`] when an external identity service is down.
pub async fn require_project(call: &Call<'_>, project: &ProjectId) -> Result<(), AppError> {
    if *project == call.auth.project_id || identity::has_project(call.control, project).await? {
        return Ok(());
    }
    Err(AppError::BadRequest(format!("Project ID {project} is not a valid project.")))
}

/// Sets limits of a project, or of a user within it, and says what holds then. Unless `force` is
/// set, a limit cannot be lower than what is used, and a user's not higher than the project's.
///
/// # Errors
/// [`AppError::BadRequest`].
pub async fn set(
    call: &Call<'_>,
    (project, user): (&ProjectId, Option<&UserId>),
    wanted: &[(Resource, i64)],
    force: bool,
) -> Result<Limits, AppError> {
    let store = &call.control.store;
    if !force {
        let used = store.quota_use(project, user).await?;
        let promised = match user {
            None => store.limits_of_users(project).await?,
            Some(_) => BTreeMap::new(),
        };
        let of_project = store.quota_limits(project, None).await?;
        for (resource, limit) in wanted {
            let promised = promised.get(resource).copied().unwrap_or(0);
            let maximum = if user.is_some() { of_project.get(*resource) } else { UNLIMITED };
            check(*resource, *limit, (used.of(*resource).max(promised), maximum))?;
        }
    }
    store.set_quota_limits(project, user, &wanted.iter().copied().collect()).await?;
    Ok(store.quota_limits(project, user).await?)
}

/// Whether a new limit lies between what is used and what there may be.
fn check(resource: Resource, limit: i64, (minimum, maximum): (i64, i64)) -> Result<(), AppError> {
    let infinite = |limit: i64| if limit < 0 { i64::MAX } else { limit };
    if infinite(limit) < infinite(minimum) {
        return Err(AppError::BadRequest(format!(
            "Quota limit {limit} for {resource} must be greater than or equal to already used and \
             reserved {minimum}."
        )));
    }
    if infinite(limit) > infinite(maximum) {
        return Err(AppError::BadRequest(format!(
            "Quota limit {limit} for {resource} must be less than or equal to {maximum}."
        )));
    }
    Ok(())
}

/// Refuses more metadata items than a server of the caller may have.
///
/// # Errors
/// [`AppError::QuotaExceeded`].
pub async fn check_metadata(
    call: &Call<'_>,
    project: &ProjectId,
    items: usize,
) -> Result<(), AppError> {
    let limits = call.control.store.quota_limits(project, Some(&call.auth.user_id)).await?;
    check_items(&limits, items)
}

/// Refuses more metadata items than `limits` allow.
pub(super) fn check_items(limits: &Limits, items: usize) -> Result<(), AppError> {
    let resource = Resource::MetadataItems;
    if limits.allows(resource, i64::try_from(items).unwrap_or(i64::MAX)) {
        return Ok(());
    }
    let limit = limits.get(resource);
    Err(AppError::QuotaExceeded(format!("Maximum number of metadata items exceeds {limit}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_limits_lie_between_what_is_used_and_what_there_may_be() {
        let check = |limit, minimum, maximum| {
            check(Resource::Cores, limit, (minimum, maximum)).map_err(|error| error.to_string())
        };
        assert_eq!(check(5, 5, -1), Ok(()));
        assert_eq!(check(-1, 5, -1), Ok(()));
        assert_eq!(check(0, 0, 0), Ok(()));
        assert_eq!(
            check(4, 5, -1).unwrap_err(),
            "Quota limit 4 for cores must be greater than or equal to already used and reserved 5."
        );
        for limit in [21, -1] {
            assert_eq!(
                check(limit, 5, 20).unwrap_err(),
                format!("Quota limit {limit} for cores must be less than or equal to 20.")
            );
        }
    }
}
