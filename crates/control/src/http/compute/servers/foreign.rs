//! Actions that Nova has and this service does not: refused as Nova refuses them, and with 501 only
//! where Nova would go on (spec/states.md sections 2 to 4).

use axum::http::StatusCode;
use reprieve_core::HostName;
use reprieve_core::foreign::ForeignAction;
use reprieve_store::InstanceRecord;
use serde_json::Value;

use super::super::call::ApiCall;
use super::super::fault::{Answer, ApiFault};
use super::super::policy::{self, Rule};
use super::super::schema::foreign as schema;
use super::super::schema::types::is_true;
use super::super::versioned::{Versions, rules};
use crate::app::{AppError, servers};

/// Versions in which an action exists.
#[must_use]
pub const fn versions(action: ForeignAction) -> Versions {
    use ForeignAction as A;
    match action {
        A::AddFixedIp | A::RemoveFixedIp | A::AddFloatingIp | A::RemoveFloatingIp => {
            Versions::until(43)
        }
        A::TriggerCrashDump => Versions::since(17),
        A::Rebuild
        | A::Resize
        | A::ConfirmResize
        | A::RevertResize
        | A::Migrate
        | A::MigrateLive
        | A::Evacuate
        | A::CreateImage
        | A::CreateBackup
        | A::Shelve
        | A::ShelveOffload
        | A::Unshelve
        | A::Restore
        | A::ChangePassword
        | A::InjectNetworkInfo
        | A::AddSecurityGroup
        | A::RemoveSecurityGroup => Versions::ALWAYS,
    }
}

const fn rule(action: ForeignAction) -> Rule {
    use ForeignAction as A;
    match action {
        A::Rebuild => policy::REBUILD,
        A::Resize => policy::RESIZE,
        A::ConfirmResize => policy::CONFIRM_RESIZE,
        A::RevertResize => policy::REVERT_RESIZE,
        A::Migrate => policy::MIGRATE,
        A::MigrateLive => policy::MIGRATE_LIVE,
        A::Evacuate => policy::EVACUATE,
        A::CreateImage => policy::CREATE_IMAGE,
        A::CreateBackup => policy::CREATE_BACKUP,
        A::Shelve => policy::SHELVE,
        A::ShelveOffload => policy::SHELVE_OFFLOAD,
        A::Unshelve => policy::UNSHELVE,
        A::Restore => policy::RESTORE,
        A::ChangePassword => policy::ADMIN_PASSWORD,
        A::TriggerCrashDump => policy::CRASH_DUMP,
        A::InjectNetworkInfo => policy::INJECT_NETWORK_INFO,
        A::AddFixedIp => policy::MULTINIC_ADD,
        A::RemoveFixedIp => policy::MULTINIC_REMOVE,
        A::AddFloatingIp => policy::FLOATING_IPS_ADD,
        A::RemoveFloatingIp => policy::FLOATING_IPS_REMOVE,
        A::AddSecurityGroup => policy::SECURITY_GROUPS_ADD,
        A::RemoveSecurityGroup => policy::SECURITY_GROUPS_REMOVE,
    }
}

/// A rule that also has to hold because of something in the body.
fn further_rule(call: &ApiCall, action: ForeignAction, options: &Value) -> Option<Rule> {
    use ForeignAction as A;
    let given = |name: &str| options.get(name).is_some_and(|value| !value.is_null());
    let to_host = |rule: Versions| call.applies(rule) && given("host");
    match action {
        A::Rebuild => given("trusted_image_certificates").then_some(policy::REBUILD_CERTIFICATES),
        A::Migrate => to_host(rules::MIGRATIONS_NAME_HOSTS).then_some(policy::MIGRATE_HOST),
        A::MigrateLive => given("host").then_some(policy::MIGRATE_LIVE_HOST),
        A::Unshelve => to_host(rules::UNSHELVING_NAMES_HOSTS).then_some(policy::UNSHELVE_HOST),
        A::Resize
        | A::ConfirmResize
        | A::RevertResize
        | A::Evacuate
        | A::CreateImage
        | A::CreateBackup
        | A::Shelve
        | A::ShelveOffload
        | A::Restore
        | A::ChangePassword
        | A::TriggerCrashDump
        | A::InjectNetworkInfo
        | A::AddFixedIp
        | A::RemoveFixedIp
        | A::AddFloatingIp
        | A::RemoveFloatingIp
        | A::AddSecurityGroup
        | A::RemoveSecurityGroup => None,
    }
}

/// Refuses what Nova would refuse, and then what only Nova could do.
pub async fn refuse(call: &ApiCall, id: &str, action: ForeignAction) -> Answer {
    let body = match schema::of(action) {
        Some(family) => call.body(family)?,
        None => call.raw_body(),
    };
    let options = body.get(action.as_str()).unwrap_or(&Value::Null);
    let server = call.server(id, rule(action)).await?;
    if let Some(rule) = further_rule(call, action, options) {
        call.authorize_about(rule, &server)?;
    }
    if action == ForeignAction::Evacuate {
        check_evacuation(call, &server, options).await?;
    }
    servers::check_foreign(&call.app(), &server, action).await?;
    let text = format!("The action '{action}' is not supported.");
    Err(ApiFault::new(StatusCode::NOT_IMPLEMENTED, text))
}

/// What Nova checks of an evacuation before it looks at the server's state.
async fn check_evacuation(
    call: &ApiCall,
    server: &InstanceRecord,
    options: &Value,
) -> Result<(), ApiFault> {
    let truth = |name: &str| options.get(name).is_some_and(is_true);
    let target = options.get("host").and_then(Value::as_str).map(HostName::from);
    if truth("force") && target.is_none() {
        return Err(ApiFault::bad_request("Can't force to a non-provided destination"));
    }
    if truth("onSharedStorage") && options.get("adminPass").is_some() {
        return Err(ApiFault::bad_request("admin password can't be changed on existing disk"));
    }
    let Some(target) = target else { return Ok(()) };
    if call.control.store.host(&target).await.map_err(AppError::from)?.is_none() {
        return Err(ApiFault::not_found(format!("Compute host {target} not found.")));
    }
    if server.host.as_ref() == Some(&target) {
        return Err(ApiFault::bad_request("The target host can't be the same one."));
    }
    Ok(())
}
