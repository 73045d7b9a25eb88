//! Everything that is not about the state of a server, and its end.

use super::{ACTION, FIRST};
use crate::stage::Step::{self, Ask, Make, Replay, Settle, SettleAt};
use crate::stage::Who::{Admin, Member, Reader};

const UNPAUSE: &str = r#"{"unpause": null}"#;
const RESUME: &str = r#"{"resume": null}"#;

pub const UNKNOWN: &[Step] = &[
    Replay(
        Member,
        &[
            "errors/404/unknown_server_pause",
            "errors/404/unknown_server_unpause",
            "errors/404/unknown_server_suspend",
            "errors/404/unknown_server_resume",
            "errors/404/unknown_server_rescue",
            "errors/404/unknown_server_unrescue",
            "errors/404/unknown_server_os-stop",
            "errors/404/unknown_server_reboot_soft",
            "errors/404/unknown_server_reboot_hard",
            "errors/404/unknown_server_createImage",
            "errors/404/unknown_server_resize",
            "errors/404/unknown_server_confirmResize",
            "errors/404/unknown_server_revertResize",
            "errors/404/unknown_server_rebuild",
            "errors/404/unknown_server_shelve",
            "errors/404/unknown_server_unshelve",
            "errors/404/unknown_server_restore",
            "errors/404/unknown_server_changePassword",
            "errors/404/unknown_server_createBackup",
            "errors/404/show",
            "errors/404/show_malformed",
            "errors/404/delete",
            "errors/404/instance_actions",
        ],
    ),
    Make(
        Admin,
        r#"{"server": {"name": "other", "imageRef": "3770e010-6cdc-4db6-a78b-a7add665bb8b",
            "flavorRef": "1", "networks": "none", "availability_zone": "az-fake1"}}"#,
        "e586bb80-fc36-4bc8-afe8-071fed7282ef",
    ),
    Replay(
        Member,
        &["errors/404/other_projects_server_show", "errors/404/other_projects_server_pause"],
    ),
    Settle,
];

pub const BODIES: &[Step] = &[
    Replay(
        Member,
        &[
            "errors/400/action_unknown_action",
            "errors/400/action_empty_object",
            "errors/400/action_two_actions",
            "errors/400/action_json_string",
            "errors/400/action_json_null",
            "errors/body_tolerance/pause_object",
        ],
    ),
    Settle,
    Ask(Admin, "POST", ACTION, UNPAUSE),
    Settle,
    Replay(Member, &["errors/body_tolerance/pause_string"]),
    Settle,
    Ask(Admin, "POST", ACTION, UNPAUSE),
    Settle,
    Ask(Member, "POST", ACTION, r#"{"pause": {"a": 1}}"#),
    Settle,
    Ask(Admin, "POST", ACTION, UNPAUSE),
    Settle,
    Replay(
        Member,
        &[
            "errors/body_tolerance/unpause_string",
            "errors/body_tolerance/unpause_extra",
            "errors/body_tolerance/suspend_object",
        ],
    ),
    Settle,
    Ask(Admin, "POST", ACTION, RESUME),
    Settle,
    Replay(Member, &["errors/body_tolerance/suspend_string"]),
    Settle,
    Ask(Admin, "POST", ACTION, RESUME),
    Settle,
    Replay(Member, &["errors/body_tolerance/suspend_extra"]),
    Settle,
    Ask(Admin, "POST", ACTION, RESUME),
    Settle,
    Replay(
        Member,
        &[
            "errors/body_tolerance/resume_object",
            "errors/body_tolerance/resume_string",
            "errors/body_tolerance/resume_extra",
            "errors/body_tolerance/unrescue_object",
            "errors/body_tolerance/unrescue_string",
            "errors/body_tolerance/unrescue_extra",
            "errors/400/content_type_xml",
            "errors/400/content_type_text",
        ],
    ),
];

/// What the reader may not do here it could do in the recorded cloud, so the member does it.
pub const REFUSED: &[Step] = &[
    Replay(
        Member,
        &[
            "errors/accept_xml",
            "errors/401/no_token",
            "errors/401/no_token_action",
            "errors/403/member_os-hypervisors",
            "errors/403/member_os-services",
            "errors/403/member_os-aggregates",
            "errors/403/member_diagnostics",
            "errors/403/member_os-migrations",
            "errors/403/member_create_flavor",
        ],
    ),
    Replay(Reader, &["errors/403/reader_pause"]),
    Ask(Member, "POST", ACTION, r#"{"pause": null}"#),
    Settle,
    Ask(Admin, "POST", ACTION, UNPAUSE),
    Settle,
    Replay(Reader, &["errors/403/reader_rescue"]),
    Ask(Member, "POST", ACTION, r#"{"rescue": {}}"#),
    // From then on it is said to have run.
    SettleAt("2026-11-22T20:15:25Z", &[FIRST]),
    Ask(Admin, "POST", ACTION, r#"{"unrescue": null}"#),
    Settle,
    Replay(Reader, &["errors/403/reader_suspend"]),
    Ask(Member, "POST", ACTION, r#"{"suspend": null}"#),
    Settle,
    Ask(Admin, "POST", ACTION, RESUME),
    Settle,
];

pub const LISTS: &[Step] = &[Replay(
    Member,
    &[
        "errors/microversion_too_high",
        "errors/microversion_too_low",
        "errors/microversion_bad_format",
        "errors/microversion_major3",
        "errors/microversion_latest_ok",
        "errors/microversion_legacy_header",
        "errors/microversion_other_service",
        "list/filter_status_PAUSED",
        "list/filter_status_ACTIVE",
        "list/filter_status_bogus",
        "list/filter_name",
        "list/filter_limit1",
        "list/filter_limit_bad",
        "list/filter_limit_str",
        "list/filter_marker_bad",
        "list/filter_sort_bad",
        "list/filter_changes_since",
        "list/filter_changes_since_bad",
        "list/filter_unknown_param",
        "list/filter_image",
        "list/filter_flavor",
        "list/filter_deleted_member",
        "list/filter_vm_state",
        "list/filter_power_state",
        "list/filter_tags",
        "list/filter_locked",
        "list/filter_ip6",
        "list/filter_uuid",
        "list/servers_limit1_links",
        "errors/405_put_servers",
    ],
)];

/// Nova counts once a minute what its hosts do. What it showed afterwards, one server at work and all
/// of them running, fits the time in which this one was being suspended.
pub const RACE: &[Step] = &[
    Replay(Member, &["errors/409/race_first_suspend", "errors/409/task_state_suspending_rescue"]),
    Replay(
        Admin,
        &[
            "admin/os-hypervisors_mv2.1",
            "admin/os-hypervisors_detail_mv2.1",
            "admin/os-hypervisors_statistics_mv2.1",
            "admin/os-services_mv2.1",
            "admin/os-hypervisors_mv2.53",
            "admin/os-hypervisors_statistics_mv2.53",
            "admin/os-hypervisors_mv2.87",
            "admin/os-hypervisors_detail_mv2.87",
            "admin/os-hypervisors_statistics_mv2.87",
            "admin/os-hypervisors_mv2.93",
            "admin/os-hypervisors_detail_mv2.93",
            "admin/os-hypervisors_statistics_mv2.93",
            "admin/os-services_mv2.93",
            "admin/os-hypervisors_show",
            "admin/os-hypervisors_show_with_servers",
            "admin/os-hypervisors_uptime_mv2.87",
            "admin/os-hypervisors_404",
        ],
    ),
    Settle,
    Ask(Admin, "POST", ACTION, RESUME),
    Settle,
];

pub const SERVICES: &[Step] = &[Replay(
    Admin,
    &[
        "admin/os-services_disable",
        "admin/os-services_enable",
        "admin/os-services_force_down",
        "show/host_status_forced_down",
        "admin/os-services_force_up",
    ],
)];

pub const REST: &[Step] = &[
    Replay(
        Member,
        &[
            "misc/flavors_detail_mv2.1",
            "misc/flavors_1_mv2.1",
            "misc/flavors_1_os-extra_specs_mv2.1",
            "misc/os-availability-zone_mv2.1",
            "misc/os-quota-sets_PROJECT_mv2.1",
            "misc/os-server-groups_mv2.1",
            "misc/servers_ID_metadata_mv2.1",
            "misc/servers_ID_ips_mv2.1",
            "misc/servers_ID_os-interface_mv2.1",
            "misc/extensions_mv2.1",
            "misc/os-simple-tenant-usage_PROJECT_mv2.1",
            "misc/limits_mv2.93",
            "misc/flavors_mv2.93",
            "misc/flavors_detail_mv2.93",
            "misc/flavors_1_os-extra_specs_mv2.93",
            "misc/os-availability-zone_mv2.93",
            "misc/os-quota-sets_PROJECT_mv2.93",
            "misc/os-server-groups_mv2.93",
            "misc/servers_ID_tags_mv2.93",
            "misc/servers_ID_ips_mv2.93",
            "misc/servers_ID_os-volume_attachments_mv2.93",
            "misc/extensions_mv2.93",
            "misc/os-simple-tenant-usage_PROJECT_mv2.93",
        ],
    ),
    Replay(Admin, &["misc/os-availability-zone_detail", "admin/os-aggregates"]),
    Replay(
        Member,
        &["flavors/404", "flavors/detail_limit1", "flavors/minRam", "flavors/minRam_bad"],
    ),
    Replay(
        Admin,
        &["flavors/create", "flavors/create_dup_name", "flavors/create_bad", "flavors/delete_huge"],
    ),
    Ask(
        Member,
        "POST",
        "servers/b8e2b8c2-b090-4a6d-b0f5-19d7d885328f/metadata",
        r#"{"metadata": {"k2": "v2"}}"#,
    ),
    Replay(
        Member,
        &[
            "misc/metadata_delete",
            "misc/tag_put",
            "misc/server_update",
            "misc/remote_console_disabled",
            "keypairs/delete",
            "keypairs/delete_404",
        ],
    ),
];

pub const GONE: &[Step] = &[
    Replay(Member, &["actions/delete"]),
    Replay(Admin, &["show/transient_after_delete"]),
    Replay(
        Member,
        &[
            "errors/delete_twice_immediately",
            "errors/409/pause_while_deleting",
            "errors/404/delete_deleted",
        ],
    ),
    Settle,
    Replay(Member, &["list/changes_since_shows_deleted", "instance_actions/deleted_list"]),
];
