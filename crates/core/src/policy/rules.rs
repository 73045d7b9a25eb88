//! Every rule of Nova, with its default check.
//!
//! The defaults are those of Nova since 2023 (`enforce_new_defaults`): changing something needs the
//! role member in its project, looking needs reader, moving servers needs manager, administrators
//! may do everything. A rule whose resource is not here is in the table all the same, so that a
//! policy file written for Nova is understood.

/// A rule: its name in refusals and policy files, and its check where no file says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    name: &'static str,
    check: &'static str,
}

impl Rule {
    /// Name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.name
    }

    /// Check of Nova's defaults.
    #[must_use]
    pub const fn default_check(self) -> &'static str {
        self.check
    }
}

const ANYONE: &str = "@";
const NOBODY: &str = "!";
const READER: &str = "rule:project_reader_or_admin";
const MEMBER: &str = "rule:project_member_or_admin";
const MANAGER: &str = "rule:project_manager_or_admin";
const ADMIN: &str = "rule:context_is_admin";
const OWN: &str = "(rule:context_is_admin) or user_id:%(user_id)s";
const SERVICE: &str = "rule:service_or_admin";

macro_rules! rules {
    ($($(#[$doc:meta])* $constant:ident = $name:literal, $check:expr;)+) => {
        $($(#[$doc])* pub const $constant: Rule = Rule { name: $name, check: $check };)+

        /// Every rule.
        pub const ALL: &[Rule] = &[$($constant),+];
    };
}

rules! {
    // What the other rules are made of.
    /// Who is an administrator, for whom projects and locks are no borders.
    CONTEXT_IS_ADMIN = "context_is_admin", "role:admin";
    /// An administrator, under the name that old policy files use.
    ADMIN_API = "admin_api", "is_admin:True";
    /// Anybody of the project or an administrator, as in old policy files.
    ADMIN_OR_OWNER = "admin_or_owner", "is_admin:True or project_id:%(project_id)s";
    /// Manager in the project.
    PROJECT_MANAGER = "project_manager_api", "role:manager and project_id:%(project_id)s";
    /// Member in the project.
    PROJECT_MEMBER = "project_member_api", "role:member and project_id:%(project_id)s";
    /// Reader in the project.
    PROJECT_READER = "project_reader_api", "role:reader and project_id:%(project_id)s";
    /// Manager in the project, or administrator.
    MANAGER_OR_ADMIN = "project_manager_or_admin",
        "rule:project_manager_api or rule:context_is_admin";
    /// Member in the project, or administrator.
    MEMBER_OR_ADMIN = "project_member_or_admin",
        "rule:project_member_api or rule:context_is_admin";
    /// Reader in the project, or administrator.
    READER_OR_ADMIN = "project_reader_or_admin",
        "rule:project_reader_api or rule:context_is_admin";
    /// Another service.
    SERVICE_API = "service_api", "role:service";
    /// Another service, or an administrator.
    SERVICE_OR_ADMIN = "service_or_admin", "rule:service_api or rule:context_is_admin";

    // Servers.
    /// List servers.
    SERVERS_INDEX = "os_compute_api:servers:index", READER;
    /// List servers with details.
    SERVERS_DETAIL = "os_compute_api:servers:detail", READER;
    /// List servers of all projects.
    SERVERS_INDEX_ALL = "os_compute_api:servers:index:get_all_tenants", ADMIN;
    /// List servers of all projects with details.
    SERVERS_DETAIL_ALL = "os_compute_api:servers:detail:get_all_tenants", ADMIN;
    /// All filters in a list of servers.
    SERVERS_ALL_FILTERS = "os_compute_api:servers:allow_all_filters", ADMIN;
    /// Show a server.
    SERVERS_SHOW = "os_compute_api:servers:show", READER;
    /// Extra specs of a server's flavor.
    SERVERS_FLAVOR_SPECS = "os_compute_api:servers:show:flavor-extra-specs", READER;
    /// Host status of a server.
    SERVERS_HOST_STATUS = "os_compute_api:servers:show:host_status", ADMIN;
    /// Host status of a server, when it is UNKNOWN.
    SERVERS_HOST_STATUS_UNKNOWN = "os_compute_api:servers:show:host_status:unknown-only", ADMIN;
    /// Attributes of a server that say where it runs.
    EXTENDED_ATTRIBUTES = "os_compute_api:os-extended-server-attributes", ADMIN;
    /// Create a server.
    SERVERS_CREATE = "os_compute_api:servers:create", MEMBER;
    /// Create a server on a host named in the availability zone.
    SERVERS_FORCED_HOST = "os_compute_api:servers:create:forced_host", ADMIN;
    /// Create a server on a host named by `host` or `hypervisor_hostname`.
    SERVERS_REQUESTED_DESTINATION = "compute:servers:create:requested_destination", ADMIN;
    /// Create a server with volumes.
    SERVERS_CREATE_VOLUME = "os_compute_api:servers:create:attach_volume", MEMBER;
    /// Create a server with networks.
    SERVERS_CREATE_NETWORK = "os_compute_api:servers:create:attach_network", MEMBER;
    /// Create a server on an external network.
    SERVERS_EXTERNAL_NETWORK = "network:attach_external_network", ADMIN;
    /// Create a server with trusted image certificates.
    SERVERS_CREATE_CERTIFICATES = "os_compute_api:servers:create:trusted_certs", MEMBER;
    /// Create a server from an image with a flavor without disk.
    SERVERS_ZERO_DISK = "os_compute_api:servers:create:zero_disk_flavor", ADMIN;
    /// Change name and the like.
    SERVERS_UPDATE = "os_compute_api:servers:update", MEMBER;
    /// Delete.
    SERVERS_DELETE = "os_compute_api:servers:delete", MEMBER;
    /// Delete at once.
    FORCE_DELETE = "os_compute_api:os-deferred-delete:force", MEMBER;
    /// Restore a soft-deleted server.
    RESTORE = "os_compute_api:os-deferred-delete:restore", MEMBER;

    // Actions of servers.
    /// Boot.
    SERVERS_START = "os_compute_api:servers:start", MEMBER;
    /// Power off.
    SERVERS_STOP = "os_compute_api:servers:stop", MEMBER;
    /// Reboot.
    SERVERS_REBOOT = "os_compute_api:servers:reboot", MEMBER;
    /// Pause.
    PAUSE = "os_compute_api:os-pause-server:pause", MEMBER;
    /// Unpause.
    UNPAUSE = "os_compute_api:os-pause-server:unpause", MEMBER;
    /// Suspend.
    SUSPEND = "os_compute_api:os-suspend-server:suspend", MEMBER;
    /// Resume.
    RESUME = "os_compute_api:os-suspend-server:resume", MEMBER;
    /// Rescue.
    RESCUE = "os_compute_api:os-rescue", MEMBER;
    /// Unrescue.
    UNRESCUE = "os_compute_api:os-unrescue", MEMBER;
    /// Lock.
    LOCK = "os_compute_api:os-lock-server:lock", MEMBER;
    /// Unlock.
    UNLOCK = "os_compute_api:os-lock-server:unlock", MEMBER;
    /// Unlock what somebody else locked.
    UNLOCK_OVERRIDE = "os_compute_api:os-lock-server:unlock:unlock_override", ADMIN;
    /// Set the state by hand.
    RESET_STATE = "os_compute_api:os-admin-actions:reset_state", ADMIN;
    /// Write network information into a guest.
    INJECT_NETWORK_INFO = "os_compute_api:os-admin-actions:inject_network_info", ADMIN;
    /// Rebuild.
    REBUILD = "os_compute_api:servers:rebuild", MEMBER;
    /// Rebuild with trusted image certificates.
    REBUILD_CERTIFICATES = "os_compute_api:servers:rebuild:trusted_certs", MEMBER;
    /// Resize.
    RESIZE = "os_compute_api:servers:resize", MEMBER;
    /// Resize to another cell.
    RESIZE_CROSS_CELL = "compute:servers:resize:cross_cell", NOBODY;
    /// Confirm a resize.
    CONFIRM_RESIZE = "os_compute_api:servers:confirm_resize", MEMBER;
    /// Undo a resize.
    REVERT_RESIZE = "os_compute_api:servers:revert_resize", MEMBER;
    /// Migrate a stopped server.
    MIGRATE = "os_compute_api:os-migrate-server:migrate", MANAGER;
    /// Migrate a stopped server to a named host.
    MIGRATE_HOST = "os_compute_api:os-migrate-server:migrate:host", ADMIN;
    /// Migrate a running server.
    MIGRATE_LIVE = "os_compute_api:os-migrate-server:migrate_live", MANAGER;
    /// Migrate a running server to a named host.
    MIGRATE_LIVE_HOST = "os_compute_api:os-migrate-server:migrate_live:host", ADMIN;
    /// Evacuate.
    EVACUATE = "os_compute_api:os-evacuate", ADMIN;
    /// Make an image of a server.
    CREATE_IMAGE = "os_compute_api:servers:create_image", MEMBER;
    /// Make an image of a server on a volume.
    CREATE_IMAGE_VOLUME = "os_compute_api:servers:create_image:allow_volume_backed", MEMBER;
    /// Make a backup.
    CREATE_BACKUP = "os_compute_api:os-create-backup", MEMBER;
    /// Shelve.
    SHELVE = "os_compute_api:os-shelve:shelve", MEMBER;
    /// Unshelve.
    UNSHELVE = "os_compute_api:os-shelve:unshelve", MEMBER;
    /// Unshelve to a named host.
    UNSHELVE_HOST = "os_compute_api:os-shelve:unshelve_to_host", ADMIN;
    /// Take a shelved server off its host.
    SHELVE_OFFLOAD = "os_compute_api:os-shelve:shelve_offload", ADMIN;
    /// Change the administrator's password in a guest.
    ADMIN_PASSWORD = "os_compute_api:os-admin-password", MEMBER;
    /// Make a guest dump its memory.
    CRASH_DUMP = "os_compute_api:servers:trigger_crash_dump", MEMBER;
    /// Read the console log.
    CONSOLE_OUTPUT = "os_compute_api:os-console-output", MEMBER;
    /// Remote consoles.
    REMOTE_CONSOLES = "os_compute_api:os-remote-consoles", MEMBER;
    /// What a console token leads to.
    CONSOLE_TOKENS = "os_compute_api:os-console-auth-tokens", ADMIN;
    /// Add a fixed IP address.
    MULTINIC_ADD = "os_compute_api:os-multinic:add", MEMBER;
    /// Remove a fixed IP address.
    MULTINIC_REMOVE = "os_compute_api:os-multinic:remove", MEMBER;
    /// Add a floating IP address.
    FLOATING_IPS_ADD = "os_compute_api:os-floating-ips:add", MEMBER;
    /// Remove a floating IP address.
    FLOATING_IPS_REMOVE = "os_compute_api:os-floating-ips:remove", MEMBER;
    /// Security groups of a server.
    SECURITY_GROUPS_LIST = "os_compute_api:os-security-groups:list", READER;
    /// Add a security group to a server.
    SECURITY_GROUPS_ADD = "os_compute_api:os-security-groups:add", MEMBER;
    /// Remove a security group from a server.
    SECURITY_GROUPS_REMOVE = "os_compute_api:os-security-groups:remove", MEMBER;

    // What belongs to a server.
    /// Read metadata.
    METADATA_INDEX = "os_compute_api:server-metadata:index", READER;
    /// Read an item of metadata.
    METADATA_SHOW = "os_compute_api:server-metadata:show", READER;
    /// Add metadata.
    METADATA_CREATE = "os_compute_api:server-metadata:create", MEMBER;
    /// Replace metadata.
    METADATA_UPDATE_ALL = "os_compute_api:server-metadata:update_all", MEMBER;
    /// Set an item of metadata.
    METADATA_UPDATE = "os_compute_api:server-metadata:update", MEMBER;
    /// Remove an item of metadata.
    METADATA_DELETE = "os_compute_api:server-metadata:delete", MEMBER;
    /// Read tags.
    TAGS_INDEX = "os_compute_api:os-server-tags:index", READER;
    /// Look for a tag.
    TAGS_SHOW = "os_compute_api:os-server-tags:show", READER;
    /// Replace tags.
    TAGS_UPDATE_ALL = "os_compute_api:os-server-tags:update_all", MEMBER;
    /// Add a tag.
    TAGS_UPDATE = "os_compute_api:os-server-tags:update", MEMBER;
    /// Remove all tags.
    TAGS_DELETE_ALL = "os_compute_api:os-server-tags:delete_all", MEMBER;
    /// Remove a tag.
    TAGS_DELETE = "os_compute_api:os-server-tags:delete", MEMBER;
    /// Addresses of a server.
    IPS_INDEX = "os_compute_api:ips:index", READER;
    /// Addresses of a server in a network.
    IPS_SHOW = "os_compute_api:ips:show", READER;
    /// Ports of a server.
    INTERFACES = "os_compute_api:os-attach-interfaces:list", READER;
    /// One port of a server.
    INTERFACES_SHOW = "os_compute_api:os-attach-interfaces:show", READER;
    /// Attach a port.
    INTERFACES_CREATE = "os_compute_api:os-attach-interfaces:create", MEMBER;
    /// Detach a port.
    INTERFACES_DELETE = "os_compute_api:os-attach-interfaces:delete", MEMBER;
    /// Volumes of a server.
    VOLUMES = "os_compute_api:os-volumes-attachments:index", READER;
    /// One volume of a server.
    VOLUMES_SHOW = "os_compute_api:os-volumes-attachments:show", READER;
    /// Attach a volume.
    VOLUMES_CREATE = "os_compute_api:os-volumes-attachments:create", MEMBER;
    /// Change how a volume is attached.
    VOLUMES_UPDATE = "os_compute_api:os-volumes-attachments:update", MEMBER;
    /// Swap a volume for another.
    VOLUMES_SWAP = "os_compute_api:os-volumes-attachments:swap", ADMIN;
    /// Detach a volume.
    VOLUMES_DELETE = "os_compute_api:os-volumes-attachments:delete", MEMBER;
    /// Instance actions.
    ACTIONS_LIST = "os_compute_api:os-instance-actions:list", READER;
    /// One instance action.
    ACTIONS_SHOW = "os_compute_api:os-instance-actions:show", READER;
    /// Events of an instance action, in every microversion.
    ACTIONS_EVENTS = "os_compute_api:os-instance-actions:events", ADMIN;
    /// Details of an event.
    ACTIONS_DETAILS = "os_compute_api:os-instance-actions:events:details", ADMIN;
    /// Diagnostics of a guest.
    DIAGNOSTICS = "os_compute_api:os-server-diagnostics", ADMIN;
    /// Read the encrypted password of a guest.
    SERVER_PASSWORD_SHOW = "os_compute_api:os-server-password:show", READER;
    /// Forget the encrypted password of a guest.
    SERVER_PASSWORD_CLEAR = "os_compute_api:os-server-password:clear", MEMBER;
    /// CPU and memory layout of a guest.
    TOPOLOGY = "compute:server:topology:index", READER;
    /// CPU and memory layout of a guest on its host.
    TOPOLOGY_HOST = "compute:server:topology:host:index", ADMIN;
    /// Shares of a server.
    SHARES_INDEX = "os_compute_api:os-server-shares:index", READER;
    /// One share of a server.
    SHARES_SHOW = "os_compute_api:os-server-shares:show", READER;
    /// Attach a share.
    SHARES_CREATE = "os_compute_api:os-server-shares:create", MEMBER;
    /// Detach a share.
    SHARES_DELETE = "os_compute_api:os-server-shares:delete", MEMBER;
    /// Live migrations of a server.
    SERVER_MIGRATIONS = "os_compute_api:servers:migrations:index", MANAGER;
    /// Hosts of the live migrations of a server.
    SERVER_MIGRATIONS_HOST = "os_compute_api:servers:migrations:index:host", ADMIN;
    /// One live migration of a server.
    SERVER_MIGRATIONS_SHOW = "os_compute_api:servers:migrations:show", ADMIN;
    /// Force a live migration to its end.
    SERVER_MIGRATIONS_FORCE = "os_compute_api:servers:migrations:force_complete", MANAGER;
    /// Abort a live migration.
    SERVER_MIGRATIONS_ABORT = "os_compute_api:servers:migrations:delete", MANAGER;

    // Flavors.
    /// Create a flavor.
    FLAVOR_CREATE = "os_compute_api:os-flavor-manage:create", ADMIN;
    /// Change a flavor.
    FLAVOR_UPDATE = "os_compute_api:os-flavor-manage:update", ADMIN;
    /// Delete a flavor.
    FLAVOR_DELETE = "os_compute_api:os-flavor-manage:delete", ADMIN;
    /// Read extra specs.
    FLAVOR_SPECS_INDEX = "os_compute_api:os-flavor-extra-specs:index", READER;
    /// Read an extra spec.
    FLAVOR_SPECS_SHOW = "os_compute_api:os-flavor-extra-specs:show", READER;
    /// Add extra specs.
    FLAVOR_SPECS_CREATE = "os_compute_api:os-flavor-extra-specs:create", ADMIN;
    /// Change an extra spec.
    FLAVOR_SPECS_UPDATE = "os_compute_api:os-flavor-extra-specs:update", ADMIN;
    /// Remove an extra spec.
    FLAVOR_SPECS_DELETE = "os_compute_api:os-flavor-extra-specs:delete", ADMIN;
    /// Who may use a flavor.
    FLAVOR_ACCESS = "os_compute_api:os-flavor-access", ADMIN;
    /// Open a flavor to a project.
    FLAVOR_ACCESS_ADD = "os_compute_api:os-flavor-access:add_tenant_access", ADMIN;
    /// Close it again.
    FLAVOR_ACCESS_REMOVE = "os_compute_api:os-flavor-access:remove_tenant_access", ADMIN;

    // Key pairs.
    /// List key pairs.
    KEYPAIRS_INDEX = "os_compute_api:os-keypairs:index", OWN;
    /// Show a key pair.
    KEYPAIRS_SHOW = "os_compute_api:os-keypairs:show", OWN;
    /// Make or import a key pair.
    KEYPAIRS_CREATE = "os_compute_api:os-keypairs:create", OWN;
    /// Delete a key pair.
    KEYPAIRS_DELETE = "os_compute_api:os-keypairs:delete", OWN;

    // Hosts.
    /// Services.
    SERVICES = "os_compute_api:os-services:list", ADMIN;
    /// Enable, disable or force down a service.
    SERVICES_UPDATE = "os_compute_api:os-services:update", ADMIN;
    /// Forget a service.
    SERVICES_DELETE = "os_compute_api:os-services:delete", ADMIN;
    /// Hypervisors.
    HYPERVISORS = "os_compute_api:os-hypervisors:list", ADMIN;
    /// Hypervisors with details.
    HYPERVISORS_DETAIL = "os_compute_api:os-hypervisors:list-detail", ADMIN;
    /// One hypervisor.
    HYPERVISORS_SHOW = "os_compute_api:os-hypervisors:show", ADMIN;
    /// Sums over hypervisors.
    HYPERVISORS_STATISTICS = "os_compute_api:os-hypervisors:statistics", ADMIN;
    /// Uptime of a hypervisor.
    HYPERVISORS_UPTIME = "os_compute_api:os-hypervisors:uptime", ADMIN;
    /// Hypervisors by name.
    HYPERVISORS_SEARCH = "os_compute_api:os-hypervisors:search", ADMIN;
    /// Servers of hypervisors.
    HYPERVISORS_SERVERS = "os_compute_api:os-hypervisors:servers", ADMIN;
    /// Hosts.
    HOSTS_LIST = "os_compute_api:os-hosts:list", ADMIN;
    /// One host.
    HOSTS_SHOW = "os_compute_api:os-hosts:show", ADMIN;
    /// Change a host.
    HOSTS_UPDATE = "os_compute_api:os-hosts:update", ADMIN;
    /// Reboot a host.
    HOSTS_REBOOT = "os_compute_api:os-hosts:reboot", ADMIN;
    /// Shut a host down.
    HOSTS_SHUTDOWN = "os_compute_api:os-hosts:shutdown", ADMIN;
    /// Start a host.
    HOSTS_START = "os_compute_api:os-hosts:start", ADMIN;
    /// Bare metal nodes.
    BAREMETAL_LIST = "os_compute_api:os-baremetal-nodes:list", ADMIN;
    /// One bare metal node.
    BAREMETAL_SHOW = "os_compute_api:os-baremetal-nodes:show", ADMIN;
    /// Availability zones.
    ZONES = "os_compute_api:os-availability-zone:list", ANYONE;
    /// Availability zones with hosts.
    ZONES_DETAIL = "os_compute_api:os-availability-zone:detail", ADMIN;
    /// Host aggregates.
    AGGREGATES = "os_compute_api:os-aggregates:index", ADMIN;
    /// One host aggregate.
    AGGREGATES_SHOW = "os_compute_api:os-aggregates:show", ADMIN;
    /// Create a host aggregate.
    AGGREGATES_CREATE = "os_compute_api:os-aggregates:create", ADMIN;
    /// Change a host aggregate.
    AGGREGATES_UPDATE = "os_compute_api:os-aggregates:update", ADMIN;
    /// Delete a host aggregate.
    AGGREGATES_DELETE = "os_compute_api:os-aggregates:delete", ADMIN;
    /// Add a host to an aggregate.
    AGGREGATES_ADD_HOST = "os_compute_api:os-aggregates:add_host", ADMIN;
    /// Remove a host from an aggregate.
    AGGREGATES_REMOVE_HOST = "os_compute_api:os-aggregates:remove_host", ADMIN;
    /// Change metadata of an aggregate.
    AGGREGATES_SET_METADATA = "os_compute_api:os-aggregates:set_metadata", ADMIN;
    /// Fetch images to the hosts of an aggregate.
    AGGREGATES_IMAGES = "compute:aggregates:images", ADMIN;
    /// Migrations.
    MIGRATIONS = "os_compute_api:os-migrations:index", MANAGER;
    /// Migrations of all projects.
    MIGRATIONS_ALL = "os_compute_api:os-migrations:index:all_projects", ADMIN;
    /// Hosts of migrations.
    MIGRATIONS_HOST = "os_compute_api:os-migrations:index:host", ADMIN;
    /// Tell of an event that another service caused.
    EXTERNAL_EVENTS = "os_compute_api:os-server-external-events:create", SERVICE;
    /// Help the volume service with a snapshot.
    VOLUME_SNAPSHOTS_CREATE = "os_compute_api:os-assisted-volume-snapshots:create", SERVICE;
    /// Help the volume service to remove a snapshot.
    VOLUME_SNAPSHOTS_DELETE = "os_compute_api:os-assisted-volume-snapshots:delete", SERVICE;

    // Projects.
    /// Limits.
    LIMITS = "os_compute_api:limits", ANYONE;
    /// Limits of another project.
    LIMITS_OTHER = "os_compute_api:limits:other_project", ADMIN;
    /// Quotas.
    QUOTAS_SHOW = "os_compute_api:os-quota-sets:show", READER;
    /// Quotas with use.
    QUOTAS_DETAIL = "os_compute_api:os-quota-sets:detail", READER;
    /// Default quotas.
    QUOTAS_DEFAULTS = "os_compute_api:os-quota-sets:defaults", ANYONE;
    /// Change quotas.
    QUOTAS_UPDATE = "os_compute_api:os-quota-sets:update", ADMIN;
    /// Back to the default quotas.
    QUOTAS_DELETE = "os_compute_api:os-quota-sets:delete", ADMIN;
    /// Quotas of a class.
    QUOTA_CLASS_SHOW = "os_compute_api:os-quota-class-sets:show", ADMIN;
    /// Change quotas of a class.
    QUOTA_CLASS_UPDATE = "os_compute_api:os-quota-class-sets:update", ADMIN;
    /// Server groups.
    GROUPS = "os_compute_api:os-server-groups:index", READER;
    /// Server groups of all projects.
    GROUPS_ALL = "os_compute_api:os-server-groups:index:all_projects", ADMIN;
    /// One server group.
    GROUPS_SHOW = "os_compute_api:os-server-groups:show", READER;
    /// Create a server group.
    GROUPS_CREATE = "os_compute_api:os-server-groups:create", MEMBER;
    /// Delete a server group.
    GROUPS_DELETE = "os_compute_api:os-server-groups:delete", MEMBER;
    /// What a project used.
    USAGE_SHOW = "os_compute_api:os-simple-tenant-usage:show", READER;
    /// What all projects used.
    USAGE_LIST = "os_compute_api:os-simple-tenant-usage:list", ADMIN;
    /// Usage audits.
    USAGE_AUDIT_LIST = "os_compute_api:os-instance-usage-audit-log:list", ADMIN;
    /// One usage audit.
    USAGE_AUDIT_SHOW = "os_compute_api:os-instance-usage-audit-log:show", ADMIN;
    /// Extensions.
    EXTENSIONS = "os_compute_api:extensions", ANYONE;

    // Other services' things that Nova passes on in old microversions.
    /// Networks.
    NETWORKS_LIST = "os_compute_api:os-networks:list", READER;
    /// One network.
    NETWORKS_SHOW = "os_compute_api:os-networks:show", READER;
    /// Networks of a project.
    TENANT_NETWORKS_LIST = "os_compute_api:os-tenant-networks:list", READER;
    /// One network of a project.
    TENANT_NETWORKS_SHOW = "os_compute_api:os-tenant-networks:show", READER;
    /// Pools of floating IP addresses.
    FLOATING_IP_POOLS = "os_compute_api:os-floating-ip-pools", ANYONE;
    /// Floating IP addresses.
    FLOATING_IPS_LIST = "os_compute_api:os-floating-ips:list", READER;
    /// One floating IP address.
    FLOATING_IPS_SHOW = "os_compute_api:os-floating-ips:show", READER;
    /// Take a floating IP address.
    FLOATING_IPS_CREATE = "os_compute_api:os-floating-ips:create", MEMBER;
    /// Give a floating IP address back.
    FLOATING_IPS_DELETE = "os_compute_api:os-floating-ips:delete", MEMBER;
    /// Security groups.
    SECURITY_GROUPS_GET = "os_compute_api:os-security-groups:get", READER;
    /// One security group.
    SECURITY_GROUPS_SHOW = "os_compute_api:os-security-groups:show", READER;
    /// Create a security group.
    SECURITY_GROUPS_CREATE = "os_compute_api:os-security-groups:create", MEMBER;
    /// Change a security group.
    SECURITY_GROUPS_UPDATE = "os_compute_api:os-security-groups:update", MEMBER;
    /// Delete a security group.
    SECURITY_GROUPS_DELETE = "os_compute_api:os-security-groups:delete", MEMBER;
    /// Create a rule of a security group.
    SECURITY_RULES_CREATE = "os_compute_api:os-security-groups:rule:create", MEMBER;
    /// Delete a rule of a security group.
    SECURITY_RULES_DELETE = "os_compute_api:os-security-groups:rule:delete", MEMBER;
    /// Volumes.
    BLOCK_VOLUMES_LIST = "os_compute_api:os-volumes:list", READER;
    /// Volumes with details.
    BLOCK_VOLUMES_DETAIL = "os_compute_api:os-volumes:detail", READER;
    /// One volume.
    BLOCK_VOLUMES_SHOW = "os_compute_api:os-volumes:show", READER;
    /// Create a volume.
    BLOCK_VOLUMES_CREATE = "os_compute_api:os-volumes:create", MEMBER;
    /// Delete a volume.
    BLOCK_VOLUMES_DELETE = "os_compute_api:os-volumes:delete", MEMBER;
    /// Snapshots of volumes.
    BLOCK_SNAPSHOTS_LIST = "os_compute_api:os-volumes:snapshots:list", READER;
    /// Snapshots of volumes with details.
    BLOCK_SNAPSHOTS_DETAIL = "os_compute_api:os-volumes:snapshots:detail", READER;
    /// One snapshot of a volume.
    BLOCK_SNAPSHOTS_SHOW = "os_compute_api:os-volumes:snapshots:show", READER;
    /// Create a snapshot of a volume.
    BLOCK_SNAPSHOTS_CREATE = "os_compute_api:os-volumes:snapshots:create", MEMBER;
    /// Delete a snapshot of a volume.
    BLOCK_SNAPSHOTS_DELETE = "os_compute_api:os-volumes:snapshots:delete", MEMBER;
}
