//! From an empty cloud to servers that run.

use crate::stage::Step::{self, Ask, Console, Guest, Make, Replay, Settle, SettleAt};
use crate::stage::Who::{Admin, Member};

/// Each of the two hosts is in a zone of its own.
pub const ZONES: &[Step] = &[
    Ask(
        Admin,
        "POST",
        "os-aggregates",
        r#"{"aggregate": {"name": "az-vm", "availability_zone": "az-vm"}}"#,
    ),
    Ask(Admin, "POST", "os-aggregates/1/action", r#"{"add_host": {"host": "vm"}}"#),
    Ask(
        Admin,
        "POST",
        "os-aggregates",
        r#"{"aggregate": {"name": "az-fake1", "availability_zone": "az-fake1"}}"#,
    ),
    Ask(Admin, "POST", "os-aggregates/2/action", r#"{"add_host": {"host": "fake1"}}"#),
];

pub const DISCOVERY: &[Step] = &[
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

pub const KEYPAIRS: &[Step] = &[Replay(
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

pub const FIRST_SERVER: &[Step] = &[
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
pub const MORE_SERVERS: &[Step] = &[
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
    // When each of them began to run is known from what they are said to have used.
    SettleAt("2026-11-22T20:13:30Z", &["91f7d69f-c224-4484-820e-a4056a91571d"]),
    SettleAt("2026-11-22T20:13:31Z", &["d70df21d-9c69-4f56-935a-1a6adc55ded1"]),
    SettleAt(
        "2026-11-22T20:13:32Z",
        &[
            "3a655de5-fee8-4f16-95a3-12a0290af47b",
            "f8737937-fbfa-4195-b794-da9b0055923b",
            "ffb4293f-a0b7-44f1-ba9e-45b52175ac31",
        ],
    ),
    SettleAt("2026-11-22T20:13:35Z", &["6619d258-15f6-41d1-81a9-579e01908dde"]),
];

pub const ACTIVE: &[Step] = &[
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
    Guest("misc/diagnostics_ACTIVE_mv2.93"),
    Replay(Admin, &["misc/diagnostics_ACTIVE_mv2.93"]),
];

pub const RESERVATIONS: &[Step] = &[Replay(Member, &["create/multi_return_reservation_id"])];
