//! Who may do what: Nova's default rules by name, as a table and one pure check.
//!
//! The defaults are those of Nova since 2023 (`enforce_new_defaults`): changing something needs the
//! role member in the server's project, looking needs reader, administrators may do everything.

use reprieve_core::ProjectId;

use super::fault::ApiFault;
use crate::auth::{AuthContext, Role};

/// What a rule asks of the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needs {
    /// A valid token.
    Anyone,
    /// Reader in the project, or administrator.
    Reader,
    /// Member in the project, or administrator.
    Member,
    /// Administrator.
    Admin,
}

/// A rule of Nova's policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Name in a refusal and in Nova's policy files.
    pub name: &'static str,
    needs: Needs,
}

macro_rules! rules {
    ($($(#[$doc:meta])* $constant:ident = $name:literal, $needs:ident;)+) => {
        $($(#[$doc])* pub const $constant: Rule =
            Rule { name: $name, needs: Needs::$needs };)+

        /// Every rule.
        #[cfg(test)]
        pub const ALL: &[Rule] = &[$($constant),+];
    };
}

rules! {
    /// List servers.
    SERVERS_INDEX = "os_compute_api:servers:index", Reader;
    /// List servers with details.
    SERVERS_DETAIL = "os_compute_api:servers:detail", Reader;
    /// All filters in a list of servers.
    SERVERS_ALL_FILTERS = "os_compute_api:servers:allow_all_filters", Admin;
    /// Show a server.
    SERVERS_SHOW = "os_compute_api:servers:show", Reader;
    /// Host status of a server.
    SERVERS_HOST_STATUS = "os_compute_api:servers:show:host_status", Admin;
    /// Attributes of a server that say where it runs.
    EXTENDED_ATTRIBUTES = "os_compute_api:os-extended-server-attributes", Admin;
    /// Create a server.
    SERVERS_CREATE = "os_compute_api:servers:create", Member;
    /// Create a server on a host named in the availability zone.
    SERVERS_FORCED_HOST = "os_compute_api:servers:create:forced_host", Admin;
    /// Create a server on a host named by `host` or `hypervisor_hostname`.
    SERVERS_REQUESTED_DESTINATION = "compute:servers:create:requested_destination", Admin;
    /// Change name and the like.
    SERVERS_UPDATE = "os_compute_api:servers:update", Member;
    /// Delete.
    SERVERS_DELETE = "os_compute_api:servers:delete", Member;
    /// Delete at once.
    FORCE_DELETE = "os_compute_api:os-deferred-delete:force", Member;
    /// Boot.
    SERVERS_START = "os_compute_api:servers:start", Member;
    /// Power off.
    SERVERS_STOP = "os_compute_api:servers:stop", Member;
    /// Reboot.
    SERVERS_REBOOT = "os_compute_api:servers:reboot", Member;
    /// Pause.
    PAUSE = "os_compute_api:os-pause-server:pause", Member;
    /// Unpause.
    UNPAUSE = "os_compute_api:os-pause-server:unpause", Member;
    /// Suspend.
    SUSPEND = "os_compute_api:os-suspend-server:suspend", Member;
    /// Resume.
    RESUME = "os_compute_api:os-suspend-server:resume", Member;
    /// Rescue.
    RESCUE = "os_compute_api:os-rescue", Member;
    /// Unrescue.
    UNRESCUE = "os_compute_api:os-unrescue", Member;
    /// Lock.
    LOCK = "os_compute_api:os-lock-server:lock", Member;
    /// Unlock.
    UNLOCK = "os_compute_api:os-lock-server:unlock", Member;
    /// Set the state by hand.
    RESET_STATE = "os_compute_api:os-admin-actions:reset_state", Admin;
    /// Read the console log.
    CONSOLE_OUTPUT = "os_compute_api:os-console-output", Member;
    /// Read metadata.
    METADATA_SHOW = "os_compute_api:server-metadata:index", Reader;
    /// Add metadata.
    METADATA_CREATE = "os_compute_api:server-metadata:create", Member;
    /// Replace metadata.
    METADATA_UPDATE = "os_compute_api:server-metadata:update_all", Member;
    /// Remove metadata.
    METADATA_DELETE = "os_compute_api:server-metadata:delete", Member;
    /// Read tags.
    TAGS_SHOW = "os_compute_api:os-server-tags:index", Reader;
    /// Replace tags.
    TAGS_UPDATE = "os_compute_api:os-server-tags:update_all", Member;
    /// Remove tags.
    TAGS_DELETE = "os_compute_api:os-server-tags:delete", Member;
    /// Addresses of a server.
    IPS = "os_compute_api:ips:index", Reader;
    /// Ports of a server.
    INTERFACES = "os_compute_api:os-attach-interfaces:list", Reader;
    /// Volumes of a server.
    VOLUMES = "os_compute_api:os-volumes-attachments:index", Reader;
    /// Instance actions.
    ACTIONS_LIST = "os_compute_api:os-instance-actions:list", Reader;
    /// One instance action.
    ACTIONS_SHOW = "os_compute_api:os-instance-actions:show", Reader;
    /// Events of an instance action, in every microversion.
    ACTIONS_EVENTS = "os_compute_api:os-instance-actions:events", Admin;
    /// Details of an event.
    ACTIONS_DETAILS = "os_compute_api:os-instance-actions:events:details", Admin;
    /// Create a flavor.
    FLAVOR_CREATE = "os_compute_api:os-flavor-manage:create", Admin;
    /// Change a flavor.
    FLAVOR_UPDATE = "os_compute_api:os-flavor-manage:update", Admin;
    /// Delete a flavor.
    FLAVOR_DELETE = "os_compute_api:os-flavor-manage:delete", Admin;
    /// Read extra specs.
    FLAVOR_SPECS_SHOW = "os_compute_api:os-flavor-extra-specs:index", Reader;
    /// Add extra specs.
    FLAVOR_SPECS_CREATE = "os_compute_api:os-flavor-extra-specs:create", Admin;
    /// Change an extra spec.
    FLAVOR_SPECS_UPDATE = "os_compute_api:os-flavor-extra-specs:update", Admin;
    /// Remove an extra spec.
    FLAVOR_SPECS_DELETE = "os_compute_api:os-flavor-extra-specs:delete", Admin;
    /// Who may use a flavor.
    FLAVOR_ACCESS = "os_compute_api:os-flavor-access", Admin;
    /// Open a flavor to a project.
    FLAVOR_ACCESS_ADD = "os_compute_api:os-flavor-access:add_tenant_access", Admin;
    /// Close it again.
    FLAVOR_ACCESS_REMOVE = "os_compute_api:os-flavor-access:remove_tenant_access", Admin;
    /// Services.
    SERVICES = "os_compute_api:os-services:list", Admin;
    /// Hypervisors.
    HYPERVISORS = "os_compute_api:os-hypervisors:list", Admin;
    /// Hypervisors with details.
    HYPERVISORS_DETAIL = "os_compute_api:os-hypervisors:list-detail", Admin;
    /// One hypervisor.
    HYPERVISORS_SHOW = "os_compute_api:os-hypervisors:show", Admin;
    /// Sums over hypervisors.
    HYPERVISORS_STATISTICS = "os_compute_api:os-hypervisors:statistics", Admin;
    /// Uptime of a hypervisor.
    HYPERVISORS_UPTIME = "os_compute_api:os-hypervisors:uptime", Admin;
    /// Availability zones.
    ZONES = "os_compute_api:os-availability-zone:list", Anyone;
    /// Availability zones with hosts.
    ZONES_DETAIL = "os_compute_api:os-availability-zone:detail", Admin;
    /// Host aggregates.
    AGGREGATES = "os_compute_api:os-aggregates:index", Admin;
    /// Migrations.
    MIGRATIONS = "os_compute_api:os-migrations:index", Admin;
    /// Limits.
    LIMITS = "os_compute_api:limits", Anyone;
    /// Limits of another project.
    LIMITS_OTHER = "os_compute_api:limits:other_project", Admin;
    /// Quotas.
    QUOTAS_SHOW = "os_compute_api:os-quota-sets:show", Reader;
    /// Quotas with use.
    QUOTAS_DETAIL = "os_compute_api:os-quota-sets:detail", Reader;
    /// Default quotas.
    QUOTAS_DEFAULTS = "os_compute_api:os-quota-sets:defaults", Anyone;
    /// Server groups.
    GROUPS = "os_compute_api:os-server-groups:index", Reader;
    /// Extensions.
    EXTENSIONS = "os_compute_api:extensions", Anyone;
    /// Diagnostics of a guest.
    DIAGNOSTICS = "os_compute_api:os-server-diagnostics", Admin;
    /// Remote consoles.
    REMOTE_CONSOLES = "os_compute_api:os-remote-consoles", Member;
}

/// Whether the caller may, about something of `project`.
#[must_use]
pub fn allows(auth: &AuthContext, rule: Rule, project: &ProjectId) -> bool {
    let inside = |role| auth.project_id == *project && auth.has(role);
    match rule.needs {
        Needs::Anyone => true,
        Needs::Reader => auth.is_admin() || inside(Role::Reader),
        Needs::Member => auth.is_admin() || inside(Role::Member),
        Needs::Admin => auth.is_admin(),
    }
}

/// Like [`allows`], as a refusal.
///
/// # Errors
/// 403 with the name of the rule.
pub fn check(auth: &AuthContext, rule: Rule, project: &ProjectId) -> Result<(), ApiFault> {
    if allows(auth, rule, project) { Ok(()) } else { Err(refusal(rule)) }
}

/// 403 with the name of the rule.
#[must_use]
pub fn refusal(rule: Rule) -> ApiFault {
    ApiFault::forbidden(format!("Policy doesn't allow {} to be performed.", rule.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(role: &str, project: &str) -> AuthContext {
        AuthContext {
            user_id: "u".into(),
            user_name: "u".into(),
            project_id: project.into(),
            project_name: project.into(),
            roles: vec![role.into()],
        }
    }

    #[test]
    fn roles_and_projects() {
        let mine = ProjectId::from("p1");
        for rule in ALL {
            let allowed = |role, project| allows(&caller(role, project), *rule, &mine);
            assert!(allowed("admin", "p2"), "{}", rule.name);
            let expected = match rule.needs {
                Needs::Anyone => [true, true, true],
                Needs::Reader => [true, true, false],
                Needs::Member => [false, true, false],
                Needs::Admin => [false, false, false],
            };
            let got = [allowed("reader", "p1"), allowed("member", "p1"), allowed("member", "p2")];
            assert_eq!(got, expected, "{}", rule.name);
            assert_eq!(allowed("cook", "p1"), rule.needs == Needs::Anyone);
        }
    }

    #[test]
    fn refusals_name_the_rule() {
        let fault = check(&caller("reader", "p1"), PAUSE, &"p1".into()).unwrap_err();
        assert_eq!(
            fault.message(),
            "Policy doesn't allow os_compute_api:os-pause-server:pause to be performed."
        );
    }
}
