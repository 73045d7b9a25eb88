//! Rows to records and back. A value that cannot be read is an error that names its place.

use std::fmt::Display;
use std::str::FromStr;

use reprieve_core::reboot::RebootPolicy;
use reprieve_core::{
    InstanceId, Lock, OperationId, OperationKind, PowerReason, PowerState, Step, TaskState,
    Timestamp, VmState,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::StoreError;
use crate::aggregates::AggregateRecord;
use crate::entity::{aggregate, flavor, host, instance, keypair, operation, step};
use crate::record::{
    DiskConfig, FlavorRecord, HostRecord, InstanceRecord, KeypairRecord, OperationRecord,
    OperationState, StepRecord,
};

/// One row being read.
struct Reading<'a> {
    table: &'static str,
    row: &'a str,
}

impl Reading<'_> {
    fn corrupt(&self, column: &'static str, message: impl Display) -> StoreError {
        let (table, row) = (self.table, self.row.to_owned());
        StoreError::Corrupt { table, column, row, message: message.to_string() }
    }

    fn json<T: DeserializeOwned>(&self, column: &'static str, text: &str) -> Result<T, StoreError> {
        serde_json::from_str(text).map_err(|error| self.corrupt(column, error))
    }

    fn id<T: FromStr<Err: Display>>(
        &self,
        column: &'static str,
        text: &str,
    ) -> Result<T, StoreError> {
        text.parse().map_err(|error| self.corrupt(column, error))
    }

    fn word<T>(
        &self,
        column: &'static str,
        text: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<T, StoreError> {
        parse(text).ok_or_else(|| self.corrupt(column, format_args!("unknown value '{text}'")))
    }

    fn number<T, N>(&self, column: &'static str, number: N) -> Result<T, StoreError>
    where
        T: TryFrom<N, Error: Display>,
    {
        T::try_from(number).map_err(|error| self.corrupt(column, error))
    }
}

/// Something as the text of a JSON column.
pub(crate) fn to_json<T: Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Corrupt {
        table: "a new row",
        column: "json",
        row: String::new(),
        message: error.to_string(),
    })
}

/// A size as the database keeps it. Sizes beyond `i64` cannot be validated input.
pub(crate) fn to_i64(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A duration in the database's unit of time.
pub(crate) fn micros(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// A stored time.
pub(crate) const fn time(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros)
}

/// The id of a server's row.
pub(crate) fn instance_id(text: &str) -> Result<InstanceId, StoreError> {
    Reading { table: "instances", row: text }.id("id", text)
}

/// The id of an operation's row.
pub(crate) fn operation_id(text: &str) -> Result<OperationId, StoreError> {
    Reading { table: "operations", row: text }.id("id", text)
}

/// The server of a row.
pub(crate) fn instance_record(row: instance::Model) -> Result<InstanceRecord, StoreError> {
    let read = Reading { table: "instances", row: &row.id };
    let active = match (&row.active_op, &row.active_kind) {
        (Some(op), Some(kind)) => Some((
            read.id::<OperationId>("active_op", op)?,
            read.word("active_kind", kind, OperationKind::parse)?,
        )),
        (None | Some(_), _) => None,
    };
    Ok(InstanceRecord {
        id: read.id::<InstanceId>("id", &row.id)?,
        number: read.number("number", row.number)?,
        image: row.image.as_deref().map(|text| read.json("image", text)).transpose()?,
        flavor: read.json("flavor", &row.flavor)?,
        metadata: read.json("metadata", &row.metadata)?,
        tags: read.json("tags", &row.tags)?,
        public_keys: read.json("public_keys", &row.public_keys)?,
        admin_password: row
            .admin_password
            .as_deref()
            .map(|text| read.json("admin_password", text))
            .transpose()?,
        vm_state: read.word("vm_state", &row.vm_state, VmState::parse)?,
        task_state: row
            .task_state
            .as_deref()
            .map(|text| read.word("task_state", text, TaskState::parse))
            .transpose()?,
        active,
        power_state: PowerState::from_number(row.power_state),
        power_reason: read.word("power_reason", &row.power_reason, PowerReason::parse)?,
        progress: read.number("progress", row.progress)?,
        lock: Lock::parse(row.locked_by.as_deref()),
        fault: row.fault.as_deref().map(|text| read.json("fault", text)).transpose()?,
        launch_index: read.number("launch_index", row.launch_index)?,
        disk_config: read.word("disk_config", &row.disk_config, DiskConfig::parse)?,
        launched_at: row.launched_at.map(time),
        terminated_at: row.terminated_at.map(time),
        created_at: time(row.created_at),
        updated_at: time(row.updated_at),
        deleted_at: row.deleted_at.map(time),
        host: row.host.map(Into::into),
        project_id: row.project_id.into(),
        user_id: row.user_id.into(),
        name: row.name,
        description: row.description,
        hostname: row.hostname,
        key_name: row.key_name,
        user_data: row.user_data,
        config_drive: row.config_drive,
        availability_zone: row.availability_zone,
        locked_reason: row.locked_reason,
        generation: row.generation,
        obs_epoch: row.obs_epoch,
        obs_seq: row.obs_seq,
        reservation_id: row.reservation_id,
        access_ip_v4: row.access_ip_v4,
        access_ip_v6: row.access_ip_v6,
        rescue_stashed: row.rescue_stashed,
        revision: row.revision,
        suspended_for_host: row.suspended_for_host,
        host_reboot: row
            .host_reboot
            .as_deref()
            .map(|text| read.word("host_reboot", text, RebootPolicy::parse))
            .transpose()?,
        requested_zone: row.requested_zone,
        server_group: row
            .server_group
            .as_deref()
            .map(|text| read.id("server_group", text))
            .transpose()?,
        scheduler_hints: row
            .scheduler_hints
            .as_deref()
            .map(|text| read.json("scheduler_hints", text))
            .transpose()?
            .unwrap_or_default(),
    })
}

/// The operation of a row.
pub(crate) fn operation_record(row: operation::Model) -> Result<OperationRecord, StoreError> {
    let read = Reading { table: "operations", row: &row.id };
    Ok(OperationRecord {
        id: read.id("id", &row.id)?,
        instance_id: read.id("instance_id", &row.instance_id)?,
        kind: row
            .kind
            .as_deref()
            .map(|text| read.word("kind", text, OperationKind::parse))
            .transpose()?,
        state: read.word("state", &row.state, OperationState::parse)?,
        prior: read.word("prior", &row.prior, VmState::parse)?,
        plan_version: read.number("plan_version", row.plan_version)?,
        step: row.step.map(|step| read.number("step", step)).transpose()?,
        step_name: row
            .step_name
            .as_deref()
            .map(|text| read.word("step_name", text, Step::parse))
            .transpose()?,
        progress: read.number("progress", row.progress)?,
        attempt: read.number("attempt", row.attempt)?,
        args: read.json("args", &row.args)?,
        after: row.after_op.as_deref().map(|text| read.id("after_op", text)).transpose()?,
        error: row.error.as_deref().map(|text| read.json("error", text)).transpose()?,
        deadline_at: row.deadline_at.map(time),
        created_at: time(row.created_at),
        updated_at: time(row.updated_at),
        started_at: row.started_at.map(time),
        finished_at: row.finished_at.map(time),
        action: row.action,
        event: row.event,
        request_id: row.request_id.into(),
        user_id: row.user_id.into(),
        project_id: row.project_id.into(),
        host: row.host.map(Into::into),
        generation: row.generation,
        needs_attention: row.needs_attention,
    })
}

/// The audit line of a row.
pub(crate) fn step_record(row: &step::Model) -> Result<StepRecord, StoreError> {
    let read = Reading { table: "op_events", row: &row.op_id };
    Ok(StepRecord {
        seq: row.seq,
        step: read.word("step", &row.step, Step::parse)?,
        event: read.json("what", &format!("\"{}\"", row.what))?,
        at: time(row.at),
        detail: row.detail.clone(),
    })
}

/// The host of a row.
pub(crate) fn host_record(row: host::Model) -> Result<HostRecord, StoreError> {
    let read = Reading { table: "hosts", row: &row.name };
    Ok(HostRecord {
        info: row.info.as_deref().map(|text| read.json("info", text)).transpose()?,
        epoch: row.epoch,
        problem: row.problem,
        enabled: row.enabled,
        disabled_reason: row.disabled_reason,
        forced_down: row.forced_down,
        number: row.number,
        changed_at: (row.changed_at > 0).then(|| time(row.changed_at)),
        created_at: time(row.created_at),
        last_seen: time(row.last_seen),
        name: row.name.into(),
    })
}

/// The aggregate of a row.
pub(crate) fn aggregate_record(row: aggregate::Model) -> Result<AggregateRecord, StoreError> {
    let read = Reading { table: "aggregates", row: &row.name };
    Ok(AggregateRecord {
        number: row.number,
        uuid: read.id("uuid", &row.uuid)?,
        hosts: read.json("hosts", &row.hosts)?,
        metadata: read.json("metadata", &row.metadata)?,
        created_at: time(row.created_at),
        updated_at: row.updated_at.map(time),
        name: row.name,
    })
}

/// The flavor of a row.
pub(crate) fn flavor_record(row: flavor::Model) -> Result<FlavorRecord, StoreError> {
    let read = Reading { table: "flavors", row: &row.flavor_id };
    Ok(FlavorRecord {
        vcpus: read.number("vcpus", row.vcpus)?,
        memory_mib: read.number("memory_mib", row.memory_mib)?,
        root_gib: read.number("root_gib", row.root_gib)?,
        ephemeral_gib: read.number("ephemeral_gib", row.ephemeral_gib)?,
        swap_mib: read.number("swap_mib", row.swap_mib)?,
        extra_specs: read.json("extra_specs", &row.extra_specs)?,
        access: read.json("access", &row.access)?,
        rxtx_factor: row.rxtx_factor,
        is_public: row.is_public,
        description: row.description,
        created_at: time(row.created_at),
        updated_at: row.updated_at.map(time),
        name: row.name,
        flavor_id: row.flavor_id,
    })
}

/// The key pair of a row.
pub(crate) fn keypair_record(row: keypair::Model) -> KeypairRecord {
    KeypairRecord {
        number: row.number,
        user_id: row.user_id.into(),
        name: row.name,
        kind: row.kind,
        public_key: row.public_key,
        fingerprint: row.fingerprint,
        created_at: time(row.created_at),
    }
}
