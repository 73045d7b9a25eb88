//! One server through all its states.

use super::ACTION;
use crate::stage::Step::{self, Ask, Console, Guest, Replay, Settle};
use crate::stage::Who::{Admin, Member};

pub const PAUSED: &[Step] = &[
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
        ],
    ),
    Guest("misc/diagnostics_PAUSED"),
    Replay(Admin, &["misc/diagnostics_PAUSED"]),
    Replay(Member, &["actions/unpause"]),
    Replay(Admin, &["show/transient_after_unpause"]),
    Settle,
    Replay(
        Member,
        &["instance_actions/after_unpause_list", "instance_actions/after_unpause_show_unpause"],
    ),
    Replay(Admin, &["instance_actions/after_unpause_show_unpause_admin"]),
    Replay(Member, &["instance_actions/after_unpause_show_unpause_mv2.1"]),
];

pub const SUSPENDED: &[Step] = &[
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
        ],
    ),
    Guest("misc/diagnostics_SUSPENDED"),
    Replay(Admin, &["misc/diagnostics_SUSPENDED"]),
    Replay(Member, &["console/SUSPENDED", "actions/resume"]),
    Replay(Admin, &["show/transient_after_resume"]),
    Settle,
    Replay(Member, &["instance_actions/after_resume_show_resume"]),
    Replay(Admin, &["instance_actions/after_resume_show_resume_admin"]),
    Replay(Member, &["instance_actions/after_resume_show_resume_mv2.1"]),
];

pub const STOPPED: &[Step] = &[
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

pub const RESCUED: &[Step] = &[
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
        ],
    ),
    Guest("misc/diagnostics_RESCUE"),
    Replay(Admin, &["misc/diagnostics_RESCUE"]),
    Replay(Member, &["console/RESCUE", "actions/unrescue"]),
    Replay(Admin, &["show/transient_after_unrescue"]),
    Settle,
    Replay(Member, &["instance_actions/after_unrescue_list"]),
];

pub const MORE_RESCUES: &[Step] = &[
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

pub const REBOOT: &[Step] = &[
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

pub const ERROR: &[Step] = &[
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

pub const NO_HOST: &[Step] = &[
    Replay(Admin, &["create/no_valid_host"]),
    Ask(Admin, "DELETE", "servers/7a12b844-4e7a-4905-a536-76058af9e8d8", ""),
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

pub const LOCKS: &[Step] = &[
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
