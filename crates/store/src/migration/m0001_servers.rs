//! Servers, operations, hosts, flavors and key pairs.

use super::Part::{All, On};
use super::Step;
use crate::db::Dialect;

/// Counters that only grow: numbers of servers and key pairs are never given out twice.
const COUNTERS: &[&str] = &[
    "CREATE TABLE counters (
        name TEXT(64) NOT NULL PRIMARY KEY,
        value BIGINT NOT NULL)",
    "INSERT INTO counters (name, value) VALUES ('instance', 0), ('keypair', 0)",
];

const HOSTS: &[&str] = &["CREATE TABLE hosts (
        name TEXT(255) NOT NULL PRIMARY KEY,
        epoch BIGINT NOT NULL,
        boot_id TEXT NOT NULL,
        last_seq BIGINT NOT NULL,
        info TEXT,
        problem TEXT,
        enabled BOOLEAN NOT NULL,
        created_at BIGINT NOT NULL,
        last_seen BIGINT NOT NULL)"];

/// The last three CHECKs are invariant I5 (`task_state` is set exactly while an operation is
/// unfinished) and the meaning of `deleted_at`.
const INSTANCES: &[&str] = &[
    "CREATE TABLE instances (
        id TEXT(36) NOT NULL PRIMARY KEY,
        number BIGINT NOT NULL UNIQUE,
        project_id TEXT(255) NOT NULL,
        user_id TEXT NOT NULL,
        name TEXT(255) NOT NULL,
        description TEXT,
        hostname TEXT NOT NULL,
        image TEXT,
        image_id TEXT,
        flavor TEXT NOT NULL,
        flavor_id TEXT NOT NULL,
        vcpus BIGINT NOT NULL,
        memory_mib BIGINT NOT NULL,
        root_gib BIGINT NOT NULL,
        metadata TEXT NOT NULL,
        tags TEXT NOT NULL,
        key_name TEXT,
        public_keys TEXT NOT NULL,
        user_data TEXT,
        admin_password TEXT,
        config_drive BOOLEAN NOT NULL,
        availability_zone TEXT NOT NULL,
        host TEXT(255),
        vm_state TEXT(32) NOT NULL CHECK (vm_state IN ('building', 'active', 'paused', 'suspended',
            'stopped', 'rescued', 'error', 'deleted')),
        task_state TEXT CHECK (task_state IN ('scheduling', 'spawning', 'pausing', 'unpausing',
            'suspending', 'resuming', 'powering-off', 'powering-on', 'rebooting',
            'reboot_started', 'rebooting_hard', 'reboot_started_hard', 'rescuing', 'unrescuing',
            'deleting')),
        active_op TEXT,
        active_kind TEXT,
        power_state INTEGER NOT NULL CHECK (power_state IN (0, 1, 3, 4, 6, 7)),
        power_reason TEXT NOT NULL,
        progress INTEGER NOT NULL CHECK (progress BETWEEN 0 AND 100),
        locked_by TEXT CHECK (locked_by IN ('owner', 'admin')),
        locked_reason TEXT,
        fault TEXT,
        launched_at BIGINT,
        terminated_at BIGINT,
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL,
        deleted_at BIGINT,
        generation BIGINT NOT NULL,
        obs_epoch BIGINT NOT NULL,
        obs_seq BIGINT NOT NULL,
        reservation_id TEXT NOT NULL,
        launch_index BIGINT NOT NULL,
        disk_config TEXT NOT NULL CHECK (disk_config IN ('AUTO', 'MANUAL')),
        access_ip_v4 TEXT,
        access_ip_v6 TEXT,
        rescue_stashed BOOLEAN NOT NULL,
        CHECK ((task_state IS NULL) = (active_op IS NULL)),
        CHECK ((active_op IS NULL) = (active_kind IS NULL)),
        CHECK ((deleted_at IS NOT NULL) = (vm_state = 'deleted')))",
    "CREATE INDEX ix_instances_project ON instances (project_id, created_at, id)",
    "CREATE INDEX ix_instances_created ON instances (created_at, id)",
    "CREATE INDEX ix_instances_host ON instances (host)",
    "CREATE INDEX ix_instances_updated ON instances (updated_at)",
    "CREATE INDEX ix_instances_name ON instances (name)",
];

/// `active_key` is invariant I1: the server's id while the operation is the active one, else NULL.
/// NULLs do not collide, so one unique column does it on every database.
const OPERATIONS: &[&str] = &[
    "CREATE TABLE operations (
        id TEXT(36) NOT NULL PRIMARY KEY,
        instance_id TEXT(36) NOT NULL REFERENCES instances (id),
        kind TEXT(32) CHECK (kind IN ('create', 'delete', 'pause', 'unpause', 'suspend', 'resume',
            'rescue', 'unrescue', 'stop', 'start', 'reboot-soft', 'reboot-hard')),
        action TEXT NOT NULL,
        event TEXT,
        state TEXT(32) NOT NULL CHECK (state IN ('pending', 'dispatched', 'running', 'cancelling',
            'succeeded', 'failed', 'cancelled')),
        active_key TEXT(36) UNIQUE,
        after_op TEXT(36),
        request_id TEXT NOT NULL,
        user_id TEXT NOT NULL,
        project_id TEXT NOT NULL,
        host TEXT(255),
        generation BIGINT NOT NULL,
        prior TEXT NOT NULL,
        plan_version BIGINT NOT NULL,
        step BIGINT,
        step_name TEXT,
        progress INTEGER NOT NULL CHECK (progress BETWEEN 0 AND 100),
        attempt BIGINT NOT NULL,
        args TEXT NOT NULL,
        deadline_at BIGINT,
        error TEXT,
        needs_attention BOOLEAN NOT NULL,
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL,
        started_at BIGINT,
        finished_at BIGINT,
        report_epoch BIGINT NOT NULL,
        report_seq BIGINT NOT NULL,
        CHECK (active_key IS NULL OR active_key = instance_id),
        CHECK (active_key IS NULL OR finished_at IS NULL),
        CHECK ((finished_at IS NOT NULL) = (state IN ('succeeded', 'failed', 'cancelled'))))",
    "CREATE INDEX ix_operations_instance ON operations (instance_id, created_at)",
    "CREATE INDEX ix_operations_after ON operations (after_op)",
    "CREATE INDEX ix_operations_open ON operations (finished_at, deadline_at)",
    "CREATE TABLE op_events (
        op_id TEXT(36) NOT NULL REFERENCES operations (id),
        seq BIGINT NOT NULL,
        step TEXT NOT NULL,
        what TEXT NOT NULL CHECK (what IN ('started', 'done', 'retrying', 'failed')),
        at BIGINT NOT NULL,
        detail TEXT NOT NULL,
        PRIMARY KEY (op_id, seq))",
    "CREATE TABLE outbox (
        op_id TEXT(36) NOT NULL PRIMARY KEY REFERENCES operations (id),
        host TEXT(255) NOT NULL,
        work TEXT NOT NULL CHECK (work IN ('run', 'cancel')),
        attempt BIGINT NOT NULL,
        next_send_at BIGINT NOT NULL,
        created_at BIGINT NOT NULL)",
    "CREATE INDEX ix_outbox_due ON outbox (next_send_at)",
];

const FLAVORS_AND_KEYS: &[&str] = &[
    "CREATE TABLE flavors (
        flavor_id TEXT(255) NOT NULL PRIMARY KEY,
        name TEXT(255) NOT NULL UNIQUE,
        vcpus BIGINT NOT NULL CHECK (vcpus > 0),
        memory_mib BIGINT NOT NULL CHECK (memory_mib > 0),
        root_gib BIGINT NOT NULL,
        ephemeral_gib BIGINT NOT NULL,
        swap_mib BIGINT NOT NULL,
        rxtx_factor DOUBLE PRECISION NOT NULL,
        is_public BOOLEAN NOT NULL,
        description TEXT,
        extra_specs TEXT NOT NULL,
        access TEXT NOT NULL,
        created_at BIGINT NOT NULL,
        updated_at BIGINT)",
    "CREATE TABLE keypairs (
        user_id TEXT(255) NOT NULL,
        name TEXT(255) NOT NULL,
        number BIGINT NOT NULL UNIQUE,
        kind TEXT NOT NULL CHECK (kind IN ('ssh', 'x509')),
        public_key TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        created_at BIGINT NOT NULL,
        PRIMARY KEY (user_id, name))",
];

/// Rows to lock where there are no locks of transactions by name (`locks`): two, and twice 128. And an
/// index without which whoever removes a host's rows would lock those of other hosts on its way.
const ON_MARIADB: &[&str] = &[
    "CREATE TABLE locks (number BIGINT NOT NULL PRIMARY KEY)",
    "INSERT INTO locks (number)
        WITH RECURSIVE n (number) AS
            (SELECT 0 UNION ALL SELECT number + 1 FROM n WHERE number < 257)
        SELECT number FROM n",
    "CREATE INDEX ix_outbox_host ON outbox (host)",
];

/// The step.
pub(super) const STEP: Step = Step::new(
    "m0001_servers",
    &[
        All(COUNTERS),
        All(HOSTS),
        All(INSTANCES),
        All(OPERATIONS),
        All(FLAVORS_AND_KEYS),
        On(&[Dialect::MariaDb], ON_MARIADB),
    ],
);
