//! Servers: creation, reading, changes that need no compute host.

use std::collections::BTreeMap;
use std::sync::Arc;

use reprieve_core::message::OperationArgs;
use reprieve_core::notification::{Cause, Ending};
use reprieve_core::quota::Amount;
use reprieve_core::spec::{ImageSpec, InjectedFile};
use reprieve_core::{
    Fault, HostName, InstanceId, Lock, OperationId, OperationKind, PowerReason, PowerState,
    ProjectId, Sealed, ServerGroupId, Timestamp, UserId, VmState,
};
use sea_orm::sea_query::{Expr, ExprTrait as _};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, EntityTrait as _, QueryFilter as _, QuerySelect as _,
    UpdateMany,
};

use crate::convert::{instance_record, to_i64, to_json};
use crate::db::next_number;
use crate::entity::instance::{self, Column};
use crate::notifications::Note;
use crate::operations::{NewAction, OperationRow, Scope, UnitOfWork, end, outbox};
use crate::record::{
    DiskConfig, FaultRecord, FlavorSnapshot, InstanceRecord, OperationState, SchedulerHints,
};
use crate::{Situation, Store, StoreError, WriteTx, claims, locks, quotas, server_groups};

/// Event of a create that found no host, as Nova names it.
const SCHEDULING_EVENT: &str = "conductor_schedule_and_build_instances";

/// Where a new server goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placement {
    /// To this host.
    Host(HostName),
    /// Nowhere: it is recorded in ERROR with this fault.
    Nowhere(Fault),
}

/// A server to record.
#[derive(Debug, Clone)]
pub struct NewInstance {
    /// Identifier.
    pub id: InstanceId,
    /// Owner.
    pub project_id: ProjectId,
    /// Creator.
    pub user_id: UserId,
    /// Display name.
    pub name: String,
    /// Description.
    pub description: Option<String>,
    /// Host name of the guest.
    pub hostname: String,
    /// Image.
    pub image: Option<ImageSpec>,
    /// Flavor.
    pub flavor: FlavorSnapshot,
    /// Metadata.
    pub metadata: BTreeMap<String, String>,
    /// Tags.
    pub tags: Vec<String>,
    /// Key pair.
    pub key_name: Option<String>,
    /// Public keys by name.
    pub public_keys: BTreeMap<String, String>,
    /// User data, base64.
    pub user_data: Option<String>,
    /// Administrator password.
    pub admin_password: Option<Sealed>,
    /// Whether it gets a config drive.
    pub config_drive: bool,
    /// Availability zone: of its host; what was asked for without one.
    pub availability_zone: String,
    /// Availability zone that was asked for.
    pub requested_zone: Option<String>,
    /// Host. Who lets it be chosen says here what becomes of the server if that is forgotten.
    pub placement: Placement,
    /// Where the host was chosen.
    pub scheduled_on: HostName,
    /// `r-xxxxxxxx`.
    pub reservation_id: String,
    /// Index within the request.
    pub launch_index: u32,
    /// Disk configuration.
    pub disk_config: DiskConfig,
    /// `accessIPv4`.
    pub access_ip_v4: Option<String>,
    /// `accessIPv6`.
    pub access_ip_v6: Option<String>,
    /// Group it joins; the same for all servers of a request.
    pub group: Option<ServerGroupId>,
    /// Scheduler hints as given.
    pub scheduler_hints: SchedulerHints,
    /// Files for its config drive.
    pub injected_files: Vec<InjectedFile>,
}

/// What `PUT /servers/{id}`, the metadata and the tag calls change; `None` leaves as is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InstanceUpdate {
    /// Display name.
    pub name: Option<String>,
    /// Description; `Some(None)` removes it.
    pub description: Option<Option<String>>,
    /// Host name.
    pub hostname: Option<String>,
    /// Whole metadata.
    pub metadata: Option<BTreeMap<String, String>>,
    /// All tags.
    pub tags: Option<Vec<String>>,
    /// Disk configuration.
    pub disk_config: Option<DiskConfig>,
    /// `accessIPv4`; `Some(None)` removes it.
    pub access_ip_v4: Option<Option<String>>,
    /// `accessIPv6`; `Some(None)` removes it.
    pub access_ip_v6: Option<Option<String>>,
    /// Availability zone that the server is kept in; `Some(None)` lets it go.
    pub requested_zone: Option<Option<String>>,
}

impl Store {
    /// Records new servers of one size, project, user and group, where they say, with their create
    /// operations and outbox rows, in one transaction. Whether their hosts have room is not asked.
    ///
    /// # Errors
    /// [`StoreError::OverQuota`], [`StoreError::QuotaReached`] for the members of a group,
    /// [`StoreError::NotFound`] when the group is gone; nothing was recorded then.
    pub async fn create_instances(
        &self,
        new: Vec<NewInstance>,
        by: &NewAction,
    ) -> Result<Vec<InstanceRecord>, StoreError> {
        Box::pin(self.create_chosen(new, by, |_, _| {})).await
    }

    /// Like [`Self::create_instances`], on hosts that `choose` writes into the servers, from what is
    /// so until they are recorded: nobody else claims anything of a host meanwhile, and nobody joins
    /// their group.
    ///
    /// # Errors
    /// As [`Self::create_instances`].
    pub async fn create_chosen(
        &self,
        mut new: Vec<NewInstance>,
        by: &NewAction,
        choose: impl FnOnce(&Situation, &mut [NewInstance]) + Send,
    ) -> Result<Vec<InstanceRecord>, StoreError> {
        let now = self.now();
        let tx = self.begin_beside().await?;
        let allowed = check_quotas(&tx, &new).await;
        if let Err(error) = allowed {
            // Left to itself the lock of the quota would outlive the answer, and hold up others.
            tx.roll_back().await;
            return Err(error);
        }
        let group = new.first().and_then(|first| first.group);
        let situation = claims::situation(&tx, group, self.claim_policy()).await?;
        choose(&situation, &mut new);
        let count = i64::try_from(new.len()).unwrap_or(i64::MAX);
        let mut number = next_number(&*tx, "instance", count).await?.saturating_sub(count);
        let mut records = Vec::with_capacity(new.len());
        for server in new {
            number = number.saturating_add(1);
            records.push(record_new(&tx, server, number, by, now).await?);
        }
        tx.commit().await?;
        Ok(records)
    }

    /// One server, also a deleted one (see [`InstanceRecord::deleted_at`]).
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Corrupt`].
    pub async fn instance(&self, id: InstanceId) -> Result<Option<InstanceRecord>, StoreError> {
        // Without a record of any revision there is nothing that the answer could be compared with.
        if self.seen().knows(id) {
            let revision = instance::Entity::find_by_id(id.to_string())
                .select_only()
                .column(Column::Revision)
                .into_tuple::<i64>()
                .one(self.reader())
                .await
                .map_err(StoreError::db("read the revision of a server"))?;
            let Some(revision) = revision else { return Ok(None) };
            if let Some(seen) = self.seen().get(id, revision) {
                return Ok(Some(InstanceRecord::clone(&seen)));
            }
        }
        let found = find(self.reader(), id).await?.map(Arc::new);
        found.iter().for_each(|record| self.seen().put(record));
        Ok(found.as_deref().cloned())
    }

    /// Changes what needs no compute host.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there is no such server or it is deleted.
    pub async fn update_instance(
        &self,
        id: InstanceId,
        change: InstanceUpdate,
        by: &NewAction,
    ) -> Result<InstanceRecord, StoreError> {
        let now = self.now();
        let tx = self.begin_beside().await?;
        let before = existing(&tx, id).await?;
        let mut update = touch(id, now);
        if let Some(name) = change.name {
            update = update.col_expr(Column::Name, Expr::value(name));
        }
        if let Some(description) = change.description {
            update = update.col_expr(Column::Description, Expr::value(description));
        }
        if let Some(hostname) = change.hostname {
            update = update.col_expr(Column::Hostname, Expr::value(hostname));
        }
        if let Some(metadata) = change.metadata {
            update = update.col_expr(Column::Metadata, Expr::value(to_json(&metadata)?));
        }
        if let Some(mut tags) = change.tags {
            tags.sort();
            tags.dedup();
            update = update.col_expr(Column::Tags, Expr::value(to_json(&tags)?));
        }
        if let Some(disk_config) = change.disk_config {
            update = update.col_expr(Column::DiskConfig, Expr::value(disk_config.as_str()));
        }
        if let Some(address) = change.access_ip_v4 {
            update = update.col_expr(Column::AccessIpV4, Expr::value(address));
        }
        if let Some(address) = change.access_ip_v6 {
            update = update.col_expr(Column::AccessIpV6, Expr::value(address));
        }
        if let Some(zone) = change.requested_zone {
            update = update.col_expr(Column::RequestedZone, Expr::value(zone));
        }
        execute(&tx, update).await?;
        let record = existing(&tx, id).await?;
        tx.note(Note {
            before: Some(&before),
            after: &record,
            cause: Cause::Updated,
            by: by.initiator(),
            now,
        })?;
        tx.commit().await?;
        Ok(record)
    }

    /// Locks or unlocks and records the instance action `lock` or `unlock`.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there is no such server or it is deleted.
    pub async fn set_lock(
        &self,
        id: InstanceId,
        lock: Lock,
        reason: Option<String>,
        by: &NewAction,
    ) -> Result<(), StoreError> {
        let now = self.now();
        let tx = self.begin_beside().await?;
        let server = existing(&tx, id).await?;
        let update = touch(id, now)
            .col_expr(Column::LockedBy, Expr::value(lock.as_str()))
            .col_expr(Column::LockedReason, Expr::value(reason.clone()));
        execute(&tx, update).await?;
        let (action, event, cause) = match lock {
            Lock::Unlocked => ("unlock", "api_unlock", Cause::Unlocked),
            Lock::Owner | Lock::Admin => ("lock", "api_lock", Cause::Locked),
        };
        let after =
            InstanceRecord { lock, locked_reason: reason, updated_at: now, ..server.clone() };
        let (before, by_whom) = (Some(&server), by.initiator());
        tx.note(Note { before, after: &after, cause, by: by_whom, now })?;
        let row = OperationRow::done(&server, action, Some(event), by, now);
        row.insert(&tx).await?;
        tx.commit().await
    }

    /// Sets `vm_state` to ACTIVE or ERROR, ends whatever operation is unfinished as cancelled, and
    /// records the instance action `resetState`. Nothing is done on the host; what it still reports
    /// of the ended operation is ignored.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there is no such server or it is deleted.
    pub async fn reset_state(
        &self,
        id: InstanceId,
        state: VmState,
        by: &NewAction,
    ) -> Result<(), StoreError> {
        let now = self.now();
        let tx = self.begin_beside().await?;
        let mut unit = UnitOfWork::begin(&tx, &Scope::servers([id]), now).await?;
        let before = unit.existing(id)?.clone();
        let given_up = end::cancel_unfinished(&mut unit, id);
        unit.change(id, |server| {
            end::idle(server);
            server.vm_state = state;
            server.suspended_for_host = false;
            server.generation = server.generation.saturating_add(1);
        });
        let begun = given_up.active.filter(|operation| operation.started_at.is_some());
        let cause = Cause::StateReset { stopped: begun.and_then(|operation| operation.kind) };
        let (after, by_whom) = (unit.existing(id)?, by.initiator());
        unit.note(Note { before: Some(&before), after, cause, by: by_whom, now })?;
        unit.record(OperationRow::done(&before, "resetState", None, by, now))?;
        unit.write().await?;
        tx.commit().await
    }
}

/// Quotas and group of servers that are about to be recorded.
async fn check_quotas(tx: &WriteTx, new: &[NewInstance]) -> Result<(), StoreError> {
    let Some(first) = new.first() else { return Ok(()) };
    let owner = (&first.project_id, &first.user_id);
    let count = u32::try_from(new.len()).unwrap_or(u32::MAX);
    locks::quota(tx, owner.0).await?;
    if let Some(group) = first.group {
        locks::group(tx, group).await?;
    }
    let one = Amount {
        instances: 1,
        cores: i64::from(first.flavor.vcpus),
        ram: to_i64(first.flavor.memory_mib),
    };
    quotas::check_servers(tx, owner, one, count).await?;
    match first.group {
        Some(group) => server_groups::join(tx, group, owner, count).await,
        None => Ok(()),
    }
}

/// Records one server with its create operation; without a host both end at once.
async fn record_new(
    tx: &WriteTx,
    new: NewInstance,
    number: i64,
    by: &NewAction,
    now: Timestamp,
) -> Result<InstanceRecord, StoreError> {
    let operation = OperationId::random();
    let (host, fault) = match &new.placement {
        Placement::Host(host) => (Some(host.clone()), None),
        Placement::Nowhere(fault) => (None, Some(fault.clone())),
    };
    let (id, scheduled_on) = (new.id, new.scheduled_on.clone());
    let injected_files = new.injected_files.clone();
    let mut row = new_row(new, number, now)?;
    row.host = Set(host.as_ref().map(ToString::to_string));
    match &fault {
        None => {
            row.vm_state = Set(VmState::Building.as_str().to_owned());
            row.task_state = Set(Some(OperationKind::Create.task_state().as_str().to_owned()));
            row.active_op = Set(Some(operation.to_string()));
            row.active_kind = Set(Some(OperationKind::Create.as_str().to_owned()));
        }
        Some(fault) => {
            let fault = FaultRecord { fault: fault.clone(), created: now };
            row.vm_state = Set(VmState::Error.as_str().to_owned());
            row.fault = Set(Some(to_json(&fault)?));
            row.admin_password = Set(None);
        }
    }
    instance::Entity::insert(row)
        .exec_without_returning(&**tx)
        .await
        .map_err(StoreError::db("record a server"))?;
    let server = existing(tx, id).await?;
    let kind = OperationKind::Create;
    let cause = fault.clone().map_or(Cause::Accepted(kind), |fault| Cause::Ended {
        kind,
        ending: Ending::Failed(fault),
        rescue_image: None,
    });
    tx.note(Note { before: None, after: &server, cause, by: by.initiator(), now })?;
    let mut row = OperationRow::new(operation, kind, &server, by, now);
    match (host, fault) {
        (Some(host), _) => {
            let args = OperationArgs { injected_files, ..OperationArgs::default() };
            row.with(args, server.generation);
            row.activate();
            row.insert(tx).await?;
            outbox::add(tx, operation, &host, now).await?;
        }
        (None, fault) => {
            row.event = Some(SCHEDULING_EVENT.to_owned());
            row.on(scheduled_on);
            row.finish(OperationState::Failed, fault, now);
            row.insert(tx).await?;
        }
    }
    Ok(server)
}

fn new_row(
    new: NewInstance,
    number: i64,
    now: Timestamp,
) -> Result<instance::ActiveModel, StoreError> {
    let mut tags = new.tags;
    tags.sort();
    tags.dedup();
    Ok(instance::ActiveModel {
        id: Set(new.id.to_string()),
        number: Set(number),
        project_id: Set(new.project_id.to_string()),
        user_id: Set(new.user_id.to_string()),
        name: Set(new.name),
        description: Set(new.description),
        hostname: Set(new.hostname),
        image: Set(new.image.as_ref().map(to_json).transpose()?),
        image_id: Set(new.image.as_ref().map(|image| image.id.to_string())),
        flavor: Set(to_json(&new.flavor)?),
        vcpus: Set(i64::from(new.flavor.vcpus)),
        memory_mib: Set(to_i64(new.flavor.memory_mib)),
        root_gib: Set(to_i64(new.flavor.root_gib)),
        flavor_id: Set(new.flavor.flavor_id),
        metadata: Set(to_json(&new.metadata)?),
        tags: Set(to_json(&tags)?),
        key_name: Set(new.key_name),
        public_keys: Set(to_json(&new.public_keys)?),
        user_data: Set(new.user_data),
        admin_password: Set(new.admin_password.as_ref().map(to_json).transpose()?),
        config_drive: Set(new.config_drive),
        availability_zone: Set(new.availability_zone),
        host: Set(None),
        vm_state: Set(VmState::Building.as_str().to_owned()),
        task_state: Set(None),
        active_op: Set(None),
        active_kind: Set(None),
        power_state: Set(PowerState::NoState.number()),
        power_reason: Set(PowerReason::Unknown.as_str().to_owned()),
        progress: Set(0),
        locked_by: Set(None),
        locked_reason: Set(None),
        fault: Set(None),
        launched_at: Set(None),
        terminated_at: Set(None),
        created_at: Set(now.micros()),
        updated_at: Set(now.micros()),
        deleted_at: Set(None),
        generation: Set(1),
        obs_epoch: Set(0),
        obs_seq: Set(0),
        reservation_id: Set(new.reservation_id),
        launch_index: Set(i64::from(new.launch_index)),
        disk_config: Set(new.disk_config.as_str().to_owned()),
        access_ip_v4: Set(new.access_ip_v4),
        access_ip_v6: Set(new.access_ip_v6),
        rescue_stashed: Set(false),
        requested_zone: Set(new.requested_zone),
        server_group: Set(new.group.map(|group| group.to_string())),
        scheduler_hints: Set(hints(&new.scheduler_hints)?),
        revision: Set(1),
        host_reboot: Set(None),
        suspended_for_host: Set(false),
    })
}

/// Scheduler hints as the database keeps them; most servers have none.
fn hints(hints: &SchedulerHints) -> Result<Option<String>, StoreError> {
    (!hints.is_empty()).then(|| to_json(hints)).transpose()
}

/// One server, also a deleted one.
pub(crate) async fn find<C: sea_orm::ConnectionTrait>(
    connection: &C,
    id: InstanceId,
) -> Result<Option<InstanceRecord>, StoreError> {
    instance::Entity::find_by_id(id.to_string())
        .one(connection)
        .await
        .map_err(StoreError::db("read a server"))?
        .map(instance_record)
        .transpose()
}

/// One server that is not deleted, and that nobody else changes before the transaction ends.
pub(crate) async fn existing(tx: &WriteTx, id: InstanceId) -> Result<InstanceRecord, StoreError> {
    locks::server(tx, id).await?;
    find(&**tx, id)
        .await?
        .filter(|server| server.deleted_at.is_none())
        .ok_or_else(|| StoreError::NotFound { what: "server", id: id.to_string() })
}

/// An update of one server that also says when. Every change of a server begins here, because what
/// was read of it before is good until its revision is another one.
pub(crate) fn touch(id: InstanceId, now: Timestamp) -> UpdateMany<instance::Entity> {
    revised()
        .filter(Column::Id.eq(id.to_string()))
        .col_expr(Column::UpdatedAt, Expr::value(now.micros()))
}

/// A change of servers.
pub(crate) fn revised() -> UpdateMany<instance::Entity> {
    instance::Entity::update_many().col_expr(Column::Revision, Expr::col(Column::Revision).add(1))
}

/// Runs an update and says how many rows it changed.
pub(crate) async fn execute(
    tx: &WriteTx,
    update: UpdateMany<instance::Entity>,
) -> Result<u64, StoreError> {
    let done = update.exec(&**tx).await.map_err(StoreError::db("change a server"))?;
    Ok(done.rows_affected)
}
