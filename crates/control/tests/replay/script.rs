//! What happened while Nova was recorded, in its order.
//!
//! A scenario begins with an empty cloud (two flavors, two images, one host) and is told in
//! chapters, each of which continues where the one before ended.

use crate::stage::Step::{self, Ask, Console, Make, Replay, Settle};
use crate::stage::Who::{Admin, Member, Reader};

/// All scenarios.
pub const SCENARIOS: &[&[&[Step]]] = &[
    &[
        DISCOVERY,
        KEYPAIRS,
        FIRST_SERVER,
        MORE_SERVERS,
        ACTIVE,
        PAUSED,
        SUSPENDED,
        STOPPED,
        RESCUED,
        MORE_RESCUES,
        REBOOT,
        ERROR,
        NO_HOST,
        LOCKS,
        UNKNOWN,
        BODIES,
        REFUSED,
        LISTS,
        RACE,
        HOSTS,
        REST,
        GONE,
    ],
    &[RESERVATIONS],
];

/// `rec-1`, with which most was done.
const ACTION: &str = "servers/b8e2b8c2-b090-4a6d-b0f5-19d7d885328f/action";

const DISCOVERY: &[Step] = &[
    // The cloud of the recordings got this flavor later.
    Ask(Admin, "DELETE", "flavors/99", ""),
    Replay(
        Member,
        &[
            "discovery/root",
            "discovery/v2.1_slash",
            "discovery/v2.1_noslash",
            "discovery/v2_slash",
            "discovery/v3_unknown",
            "discovery/nonsense",
            "discovery/v2.1_slash_with_token",
            "discovery/root_post",
            "discovery/v2.1_unknown_resource",
            "discovery/v2_legacy_servers",
        ],
    ),
    Replay(Admin, &["discovery/v2.1_projectid_in_url", "discovery/v2.1_wrong_projectid_in_url"]),
    Replay(Member, &["list/empty_servers_mv2.1", "list/empty_servers_detail_mv2.93"]),
];

const KEYPAIRS: &[Step] = &[Replay(
    Member,
    &[
        "keypairs/create_generated_mv2.1",
        "keypairs/create_generated_mv2.93_refused",
        "keypairs/create_import_mv2.93",
        "keypairs/create_duplicate",
        "keypairs/create_bad_key",
        "keypairs/create_bad_name",
        "keypairs/list_mv2.1",
        "keypairs/show_mv2.1",
        "keypairs/list_mv2.10",
        "keypairs/show_mv2.10",
        "keypairs/list_mv2.93",
        "keypairs/list_limit1",
        "keypairs/show_missing",
    ],
)];

const FIRST_SERVER: &[Step] = &[
    Replay(Member, &["create/server_mv2.93", "show/BUILD_early_mv2.93"]),
    Settle,
    Replay(
        Member,
        &[
            "show/ACTIVE_mv2.1",
            "show/ACTIVE_mv2.42",
            "show/ACTIVE_mv2.60",
            "show/ACTIVE_mv2.87",
            "show/ACTIVE_mv2.93",
        ],
    ),
    Replay(Admin, &["show/ACTIVE_mv2.93_admin"]),
    Replay(
        Member,
        &["instance_actions/after_create_list", "instance_actions/after_create_show_create"],
    ),
    Replay(Admin, &["instance_actions/after_create_show_create_admin"]),
    Replay(
        Member,
        &[
            "instance_actions/after_create_show_create_mv2.1",
            "list/servers_mv2.1",
            "list/servers_mv2.42",
            "list/servers_mv2.60",
            "list/detail_mv2.60",
            "list/servers_mv2.87",
            "list/detail_mv2.87",
            "list/servers_mv2.93",
            "list/detail_mv2.93",
        ],
    ),
    Replay(Admin, &["list/detail_alltenants_admin"]),
    Replay(Member, &["list/detail_alltenants_member_403"]),
];

/// Nova made the two servers of one request and the one after it at once, and they got their
/// numbers crosswise. Here they are made one by one; the request for two has its own scenario.
const MORE_SERVERS: &[Step] = &[
    Replay(Member, &["create/server_mv2.1_no_networks_key"]),
    Make(
        Member,
        r#"{"server": {"name": "multi-1", "imageRef": "3770e010-6cdc-4db6-a78b-a7add665bb8b",
            "flavorRef": "1", "networks": "none", "availability_zone": "az-fake1"}}"#,
        "d70df21d-9c69-4f56-935a-1a6adc55ded1",
    ),
    Make(
        Member,
        r#"{"server": {"name": "hn", "imageRef": "3770e010-6cdc-4db6-a78b-a7add665bb8b",
            "flavorRef": "1", "networks": "none", "availability_zone": "az-fake1",
            "hostname": "my-host"}}"#,
        "91f7d69f-c224-4484-820e-a4056a91571d",
    ),
    Make(
        Member,
        r#"{"server": {"name": "multi-2", "imageRef": "3770e010-6cdc-4db6-a78b-a7add665bb8b",
            "flavorRef": "1", "networks": "none", "availability_zone": "az-fake1"}}"#,
        "3a655de5-fee8-4f16-95a3-12a0290af47b",
    ),
    Replay(
        Member,
        &[
            "create/tags_mv2.93",
            "errors/create_empty_name",
            "errors/create_long_name",
            "errors/create_bad_flavor",
            "errors/create_missing_image",
            "errors/create_malformed_image",
            "errors/create_no_image",
            "errors/create_no_networks_2.37",
            "errors/create_bad_keypair",
            "errors/create_extra_prop",
            "errors/create_bad_networks",
            "errors/create_bad_metadata",
            "errors/create_bad_user_data",
            "errors/create_host_as_member",
            "errors/create_big_metadata",
        ],
    ),
    Settle,
];

const ACTIVE: &[Step] = &[
    Console("console/full"),
    Replay(
        Member,
        &[
            "errors/409/ACTIVE_unpause",
            "errors/409/ACTIVE_resume",
            "errors/409/ACTIVE_unrescue",
            "errors/409/ACTIVE_revertResize",
            "errors/409/ACTIVE_restore",
            "console/full",
            "console/length5",
            "console/bad_length",
            "console/null_body",
        ],
    ),
];

const PAUSED: &[Step] = &[
    Replay(Member, &["actions/pause"]),
    Settle,
    Replay(
        Member,
        &[
            "show/PAUSED_mv2.1",
            "show/PAUSED_mv2.42",
            "show/PAUSED_mv2.60",
            "show/PAUSED_mv2.87",
            "show/PAUSED_mv2.93",
        ],
    ),
    Replay(Admin, &["show/PAUSED_mv2.93_admin"]),
    Replay(
        Member,
        &[
            "instance_actions/after_pause_list",
            "instance_actions/after_pause_show_pause",
            "errors/409/PAUSED_pause",
            "errors/409/PAUSED_suspend",
            "errors/409/PAUSED_rescue",
            "errors/409/PAUSED_unrescue",
            "errors/409/PAUSED_os-start",
            "errors/409/PAUSED_os-stop",
            "errors/409/PAUSED_reboot_soft",
            "errors/409/PAUSED_confirmResize",
            "errors/409/PAUSED_resize",
            "errors/409/PAUSED_rebuild",
            "errors/409/PAUSED_unshelve",
            "errors/409/PAUSED_restore",
            "actions/unpause",
        ],
    ),
    Replay(Admin, &["show/transient_after_unpause"]),
    Settle,
    Replay(
        Member,
        &["instance_actions/after_unpause_list", "instance_actions/after_unpause_show_unpause"],
    ),
    Replay(Admin, &["instance_actions/after_unpause_show_unpause_admin"]),
    Replay(Member, &["instance_actions/after_unpause_show_unpause_mv2.1"]),
];

const SUSPENDED: &[Step] = &[
    Replay(Member, &["actions/suspend"]),
    Replay(Admin, &["show/transient_after_suspend"]),
    Settle,
    Replay(
        Member,
        &[
            "show/SUSPENDED_mv2.1",
            "show/SUSPENDED_mv2.42",
            "show/SUSPENDED_mv2.87",
            "show/SUSPENDED_mv2.93",
        ],
    ),
    Replay(Admin, &["show/SUSPENDED_mv2.93_admin"]),
    Replay(
        Member,
        &["instance_actions/after_suspend_list", "instance_actions/after_suspend_show_suspend"],
    ),
    Replay(Admin, &["instance_actions/after_suspend_show_suspend_admin"]),
    Replay(
        Member,
        &[
            "errors/409/SUSPENDED_unpause",
            "errors/409/SUSPENDED_suspend",
            "errors/409/SUSPENDED_unrescue",
            "errors/409/SUSPENDED_reboot_soft",
            "errors/409/SUSPENDED_resize",
            "errors/409/SUSPENDED_rebuild",
            "errors/409/SUSPENDED_confirmResize",
            "errors/409/SUSPENDED_unshelve",
            "console/SUSPENDED",
            "actions/resume",
        ],
    ),
    Replay(Admin, &["show/transient_after_resume"]),
    Settle,
    Replay(Member, &["instance_actions/after_resume_show_resume"]),
    Replay(Admin, &["instance_actions/after_resume_show_resume_admin"]),
    Replay(Member, &["instance_actions/after_resume_show_resume_mv2.1"]),
];

const STOPPED: &[Step] = &[
    Ask(Member, "POST", ACTION, r#"{"os-stop": null}"#),
    Replay(Admin, &["show/transient_after_os-stop"]),
    Settle,
    Replay(
        Member,
        &[
            "show/SHUTOFF_mv2.1",
            "show/SHUTOFF_mv2.42",
            "show/SHUTOFF_mv2.60",
            "show/SHUTOFF_mv2.87",
        ],
    ),
    Replay(Admin, &["show/SHUTOFF_mv2.93_admin"]),
    Replay(Member, &["instance_actions/after_stop_list", "instance_actions/after_stop_show_stop"]),
    Replay(Admin, &["instance_actions/after_stop_show_stop_admin"]),
    Replay(
        Member,
        &[
            "instance_actions/after_stop_show_stop_mv2.1",
            "errors/409/STOPPED_unpause",
            "errors/409/STOPPED_suspend",
            "errors/409/STOPPED_unrescue",
            "errors/409/STOPPED_os-stop",
            "errors/409/STOPPED_reboot_soft",
            "errors/409/STOPPED_confirmResize",
            "console/SHUTOFF",
        ],
    ),
    Ask(Member, "POST", ACTION, r#"{"rescue": null}"#),
    Replay(Admin, &["show/transient_after_rescue_null_body_from_SHUTOFF"]),
    Settle,
    Replay(Member, &["actions/unrescue_after_rescue_from_SHUTOFF"]),
    Replay(Admin, &["show/transient_after_unrescue_after_rescue_from_SHUTOFF"]),
    Settle,
    Replay(
        Member,
        &[
            "errors/rescue_image_missing",
            "errors/rescue_adminPass_int",
            "errors/rescue_adminPass_empty",
            "errors/rescue_string",
            "errors/rescue_list",
        ],
    ),
    Settle,
    Ask(Admin, "POST", ACTION, r#"{"unrescue": null}"#),
    Settle,
];

const RESCUED: &[Step] = &[
    Ask(Member, "POST", ACTION, r#"{"rescue": {}}"#),
    Replay(Admin, &["show/transient_after_rescue_empty_object"]),
    Settle,
    Replay(
        Member,
        &["show/RESCUE_mv2.1", "show/RESCUE_mv2.42", "show/RESCUE_mv2.87", "show/RESCUE_mv2.93"],
    ),
    Replay(Admin, &["show/RESCUE_mv2.93_admin"]),
    Replay(
        Member,
        &["instance_actions/after_rescue_list", "instance_actions/after_rescue_show_rescue"],
    ),
    Replay(Admin, &["instance_actions/after_rescue_show_rescue_admin"]),
    Console("console/RESCUE"),
    Replay(
        Member,
        &[
            "errors/409/RESCUED_pause",
            "errors/409/RESCUED_unpause",
            "errors/409/RESCUED_resume",
            "errors/409/RESCUED_os-stop",
            "errors/409/RESCUED_reboot_hard",
            "errors/409/RESCUED_createImage",
            "errors/409/RESCUED_resize",
            "errors/409/RESCUED_rebuild",
            "errors/409/RESCUED_shelve",
            "console/RESCUE",
            "actions/unrescue",
        ],
    ),
    Replay(Admin, &["show/transient_after_unrescue"]),
    Settle,
    Replay(Member, &["instance_actions/after_unrescue_list"]),
];

const MORE_RESCUES: &[Step] = &[
    Replay(Member, &["actions/rescue_adminPass"]),
    Replay(Admin, &["show/transient_after_rescue_adminPass"]),
    Settle,
    Replay(Member, &["actions/unrescue_2"]),
    Replay(Admin, &["show/transient_after_unrescue_2"]),
    Settle,
    Ask(
        Member,
        "POST",
        ACTION,
        r#"{"rescue": {"rescue_image_ref": "3770e010-6cdc-4db6-a78b-a7add665bb8b"}}"#,
    ),
    Replay(Admin, &["show/transient_after_rescue_image_ref"]),
    Settle,
    Replay(Member, &["actions/unrescue_3"]),
    Replay(Admin, &["show/transient_after_unrescue_3"]),
    Settle,
    Replay(Member, &["actions/rescue_stable_device_image_mv2.87"]),
    Replay(Admin, &["show/transient_after_rescue_stable_device_image_mv2.87"]),
    Settle,
    Ask(Member, "POST", ACTION, r#"{"unrescue": null}"#),
    Settle,
];

const REBOOT: &[Step] = &[
    Replay(Member, &["actions/os-stop_2"]),
    Replay(Admin, &["show/transient_after_os-stop_2"]),
    Settle,
    Replay(Member, &["actions/os-start"]),
    Replay(Admin, &["show/transient_after_os-start"]),
    Settle,
    Replay(
        Member,
        &["instance_actions/after_start_list", "instance_actions/after_start_show_start"],
    ),
    Replay(Admin, &["instance_actions/after_start_show_start_admin"]),
    Replay(Member, &["instance_actions/after_start_show_start_mv2.1", "actions/reboot_hard"]),
    Replay(Admin, &["show/transient_after_reboot_hard"]),
    Settle,
    Replay(Member, &["instance_actions/after_reboot_show_reboot"]),
    Replay(Admin, &["instance_actions/after_reboot_show_reboot_admin"]),
    Replay(Member, &["instance_actions/after_reboot_show_reboot_mv2.1"]),
];

const ERROR: &[Step] = &[
    Ask(Admin, "POST", ACTION, r#"{"os-resetState": {"state": "error"}}"#),
    Replay(
        Member,
        &[
            "show/ERROR_by_reset_mv2.42",
            "show/ERROR_by_reset_mv2.60",
            "show/ERROR_by_reset_mv2.87",
            "show/ERROR_by_reset_mv2.93",
        ],
    ),
    Replay(Admin, &["show/ERROR_by_reset_mv2.93_admin"]),
    Replay(
        Member,
        &[
            "errors/409/ERROR_unpause",
            "errors/409/ERROR_suspend",
            "errors/409/ERROR_resume",
            "errors/409/ERROR_unrescue",
            "errors/409/ERROR_os-start",
            "errors/409/ERROR_reboot_soft",
            "errors/409/ERROR_createImage",
            "errors/409/ERROR_shelve",
        ],
    ),
    Replay(Admin, &["actions/resetState_active"]),
];

const NO_HOST: &[Step] = &[
    Replay(Admin, &["flavors/create_huge"]),
    Replay(
        Member,
        &[
            "create/too_big_for_any_host",
            "show/ERROR_no_valid_host_mv2.1",
            "show/ERROR_no_valid_host_mv2.42",
            "show/ERROR_no_valid_host_mv2.87",
            "show/ERROR_no_valid_host_mv2.93",
        ],
    ),
    Replay(Admin, &["show/ERROR_no_valid_host_mv2.93_admin"]),
    Replay(
        Member,
        &[
            "instance_actions/after_failed_create_list",
            "instance_actions/after_failed_create_show_create",
            "instance_actions/after_failed_create_show_create_mv2.1",
            "errors/409/ERROR_never_scheduled_pause",
            "errors/409/ERROR_never_scheduled_rescue",
            "errors/409/ERROR_never_scheduled_os-start",
            "errors/409/ERROR_never_scheduled_os-stop",
            "actions/delete_ERROR",
        ],
    ),
    Settle,
];

const LOCKS: &[Step] = &[
    Replay(
        Member,
        &[
            "actions/lock_reason",
            "errors/locked_unpause",
            "errors/locked_suspend",
            "errors/locked_resume",
            "errors/locked_rescue",
            "errors/locked_unrescue",
            "errors/locked_os-stop",
            "errors/locked_reboot_hard",
            "errors/locked_delete",
            "actions/unlock",
        ],
    ),
    Replay(Admin, &["actions/lock_by_admin_mv2.1"]),
    Replay(Member, &["errors/locked_by_admin_pause", "errors/locked_by_admin_unlock_as_member"]),
    Replay(
        Admin,
        &[
            "actions/pause_locked_by_admin_as_admin",
            "show/transient_after_pause_locked_by_admin_as_admin",
        ],
    ),
    Settle,
    Replay(Admin, &["actions/unpause_locked_as_admin"]),
    Settle,
    Ask(Admin, "POST", ACTION, r#"{"unlock": null}"#),
];

const UNKNOWN: &[Step] = &[
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
            "flavorRef": "1", "networks": "none"}}"#,
        "e586bb80-fc36-4bc8-afe8-071fed7282ef",
    ),
    Replay(
        Member,
        &["errors/404/other_projects_server_show", "errors/404/other_projects_server_pause"],
    ),
    Settle,
    Ask(Admin, "DELETE", "servers/e586bb80-fc36-4bc8-afe8-071fed7282ef", ""),
    Settle,
];

const BODIES: &[Step] = &[
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
const UNPAUSE: &str = r#"{"unpause": null}"#;
const RESUME: &str = r#"{"resume": null}"#;

/// What the reader may not do here it could do in the recorded cloud, so the member does it.
const REFUSED: &[Step] = &[
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
    Settle,
    Ask(Admin, "POST", ACTION, r#"{"unrescue": null}"#),
    Settle,
    Replay(Reader, &["errors/403/reader_suspend"]),
    Ask(Member, "POST", ACTION, r#"{"suspend": null}"#),
    Settle,
    Ask(Admin, "POST", ACTION, RESUME),
    Settle,
];

const LISTS: &[Step] = &[Replay(
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

const RACE: &[Step] = &[
    Replay(Member, &["errors/409/race_first_suspend", "errors/409/task_state_suspending_rescue"]),
    Settle,
    Ask(Admin, "POST", ACTION, RESUME),
    Settle,
];

const HOSTS: &[Step] = &[Replay(
    Admin,
    &[
        "admin/os-services_mv2.1",
        "admin/os-hypervisors_statistics_mv2.93",
        "admin/os-services_mv2.93",
        "admin/os-hypervisors_404",
    ],
)];

const REST: &[Step] = &[
    Replay(
        Member,
        &[
            "misc/flavors_detail_mv2.1",
            "misc/flavors_1_mv2.1",
            "misc/flavors_1_os-extra_specs_mv2.1",
            "misc/os-quota-sets_PROJECT_mv2.1",
            "misc/os-server-groups_mv2.1",
            "misc/servers_ID_metadata_mv2.1",
            "misc/servers_ID_ips_mv2.1",
            "misc/servers_ID_os-interface_mv2.1",
            "misc/extensions_mv2.1",
            "misc/limits_mv2.93",
            "misc/flavors_mv2.93",
            "misc/flavors_detail_mv2.93",
            "misc/flavors_1_os-extra_specs_mv2.93",
            "misc/os-quota-sets_PROJECT_mv2.93",
            "misc/os-server-groups_mv2.93",
            "misc/servers_ID_tags_mv2.93",
            "misc/servers_ID_ips_mv2.93",
            "misc/servers_ID_os-volume_attachments_mv2.93",
            "misc/extensions_mv2.93",
            "flavors/404",
            "flavors/detail_limit1",
            "flavors/minRam",
            "flavors/minRam_bad",
        ],
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

const GONE: &[Step] = &[
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

const RESERVATIONS: &[Step] = &[Replay(Member, &["create/multi_return_reservation_id"])];
