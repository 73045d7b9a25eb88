//! Listing servers: filters, order, pages.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use reprieve_core::{
    HostName, ImageId, InstanceId, PowerState, ProjectId, TaskState, Timestamp, UserId, VmState,
};

use regex::Regex;
use sea_orm::sea_query::{Expr, ExprTrait as _, NullOrdering, SimpleExpr};
use sea_orm::{
    ColumnTrait as _, Condition, EntityTrait as _, Order, QueryFilter as _, QueryOrder as _,
    QuerySelect as _, Select,
};

use crate::column_filter::ColumnFilter;
use crate::convert::{instance_id, instance_record};
use crate::entity::instance::{self, Column};
use crate::record::InstanceRecord;
use crate::{Store, StoreError, pattern};

/// Rows read at a time when conditions are checked that the database cannot check.
const BATCH: u64 = 1000;
/// Rows named in one statement; databases bound the number of values.
const AT_ONCE: usize = 500;

/// A value of the `status` filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApiStatus {
    /// ACTIVE.
    Active,
    /// BUILD.
    Build,
    /// REBOOT.
    Reboot,
    /// `HARD_REBOOT`.
    HardReboot,
    /// SHUTOFF.
    Shutoff,
    /// PAUSED.
    Paused,
    /// SUSPENDED.
    Suspended,
    /// RESCUE.
    Rescue,
    /// ERROR.
    Error,
    /// DELETED.
    Deleted,
    /// A status of Nova that no server has here: matches nothing.
    Never,
}

impl ApiStatus {
    /// From the query parameter, in any case; `None`: no such status.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text.to_ascii_uppercase().as_str() {
            "ACTIVE" => Some(Self::Active),
            "BUILD" => Some(Self::Build),
            "REBOOT" => Some(Self::Reboot),
            "HARD_REBOOT" => Some(Self::HardReboot),
            "SHUTOFF" => Some(Self::Shutoff),
            "PAUSED" => Some(Self::Paused),
            "SUSPENDED" => Some(Self::Suspended),
            "RESCUE" => Some(Self::Rescue),
            "ERROR" => Some(Self::Error),
            "DELETED" => Some(Self::Deleted),
            "PASSWORD" | "REBUILD" | "MIGRATING" | "RESIZE" | "VERIFY_RESIZE" | "REVERT_RESIZE"
            | "SOFT_DELETED" | "SHELVED" | "SHELVED_OFFLOADED" => Some(Self::Never),
            _ => None,
        }
    }
}

/// Which servers with respect to deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Deleted {
    /// Only those that exist.
    #[default]
    Exclude,
    /// Only those that are gone.
    Only,
    /// Both (`changes-since`).
    Include,
}

/// Conditions, all of which must hold. `None` and empty lists do not filter.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct InstanceFilter {
    /// Owner; `None` = all projects.
    pub project_id: Option<ProjectId>,
    /// Creator.
    pub user_id: Option<UserId>,
    /// Deletion.
    pub deleted: Deleted,
    /// Identifiers, any of.
    pub ids: Vec<InstanceId>,
    /// Statuses, any of.
    pub statuses: Vec<ApiStatus>,
    /// `vm_state`s, any of.
    pub vm_states: Vec<VmState>,
    /// `task_state`s, any of; `None` inside = idle.
    pub task_states: Vec<Option<TaskState>>,
    /// Power state.
    pub power_state: Option<PowerState>,
    /// Regular expression that the display name has to match somewhere, as in Nova.
    pub name: Option<String>,
    /// Regular expression for the guest's host name.
    pub hostname: Option<String>,
    /// Exact description.
    pub description: Option<String>,
    /// Image.
    pub image: Option<ImageId>,
    /// Flavor id.
    pub flavor_id: Option<String>,
    /// Host.
    pub host: Option<HostName>,
    /// Key pair name.
    pub key_name: Option<String>,
    /// Availability zone.
    pub availability_zone: Option<String>,
    /// Reservation.
    pub reservation_id: Option<String>,
    /// Config drive.
    pub config_drive: Option<bool>,
    /// Locked or not.
    pub locked: Option<bool>,
    /// Changed at or after.
    pub changes_since: Option<Timestamp>,
    /// Changed at or before.
    pub changes_before: Option<Timestamp>,
    /// All of these tags.
    pub tags: Vec<String>,
    /// Any of these tags.
    pub tags_any: Vec<String>,
    /// Not all of these tags.
    pub not_tags: Vec<String>,
    /// None of these tags.
    pub not_tags_any: Vec<String>,
    /// Metadata that must be present.
    pub metadata: BTreeMap<String, String>,
    /// Other columns.
    pub columns: ColumnFilter,
}

/// A column to sort by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SortKey {
    /// `created_at`, the default.
    CreatedAt,
    /// `updated_at`.
    UpdatedAt,
    /// `launched_at`.
    LaunchedAt,
    /// `terminated_at`.
    TerminatedAt,
    /// `display_name`.
    DisplayName,
    /// `display_description`.
    DisplayDescription,
    /// `uuid`.
    Uuid,
    /// `hostname`.
    Hostname,
    /// `host`, `node` (administrators).
    Host,
    /// `project_id`.
    ProjectId,
    /// `user_id`.
    UserId,
    /// `vm_state`.
    VmState,
    /// `task_state`.
    TaskState,
    /// `power_state`.
    PowerState,
    /// `availability_zone`.
    AvailabilityZone,
    /// `key_name`.
    KeyName,
    /// `image_ref`.
    ImageRef,
    /// `instance_type_id`.
    InstanceTypeId,
    /// `progress`.
    Progress,
    /// `launch_index`.
    LaunchIndex,
    /// `config_drive`.
    ConfigDrive,
    /// `locked_by`, `locked`.
    LockedBy,
    /// `access_ip_v4`.
    AccessIpV4,
    /// `access_ip_v6`.
    AccessIpV6,
    /// `auto_disk_config`.
    AutoDiskConfig,
    /// `kernel_id`, `ramdisk_id`, `root_device_name`: the same for every server here.
    Constant,
}

impl SortKey {
    /// From the query parameter; `None`: no such key.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "created_at" => Self::CreatedAt,
            "updated_at" => Self::UpdatedAt,
            "launched_at" => Self::LaunchedAt,
            "terminated_at" => Self::TerminatedAt,
            "display_name" => Self::DisplayName,
            "display_description" => Self::DisplayDescription,
            "uuid" => Self::Uuid,
            "hostname" => Self::Hostname,
            "host" | "node" => Self::Host,
            "project_id" => Self::ProjectId,
            "user_id" => Self::UserId,
            "vm_state" => Self::VmState,
            "task_state" => Self::TaskState,
            "power_state" => Self::PowerState,
            "availability_zone" => Self::AvailabilityZone,
            "key_name" => Self::KeyName,
            "image_ref" => Self::ImageRef,
            "instance_type_id" => Self::InstanceTypeId,
            "progress" => Self::Progress,
            "launch_index" => Self::LaunchIndex,
            "config_drive" => Self::ConfigDrive,
            "locked_by" | "locked" => Self::LockedBy,
            "access_ip_v4" => Self::AccessIpV4,
            "access_ip_v6" => Self::AccessIpV6,
            "auto_disk_config" => Self::AutoDiskConfig,
            "kernel_id" | "ramdisk_id" | "root_device_name" => Self::Constant,
            _ => return None,
        })
    }
}

/// Direction of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SortDirection {
    /// Smallest first.
    Ascending,
    /// Largest first.
    #[default]
    Descending,
}

/// A page of servers to read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct InstanceQuery {
    /// Conditions.
    pub filter: InstanceFilter,
    /// Order; empty = newest first. Ties are broken by time of creation and id.
    pub sort: Vec<(SortKey, SortDirection)>,
    /// Last server of the previous page.
    pub marker: Option<InstanceId>,
    /// At most so many.
    pub limit: u32,
}

/// A page of servers.
#[derive(Debug, Clone, PartialEq)]
pub struct InstancePage {
    /// Servers in order.
    pub instances: Vec<Arc<InstanceRecord>>,
    /// Whether there may be more behind the last one.
    pub full: bool,
}

/// What a row is recognised by.
type Seen = (InstanceId, i64);

impl Store {
    /// One page of servers. Conditions on names, tags and metadata are checked here, because no two
    /// databases agree on regular expressions; everything else by the database. Of servers that did
    /// not change since they were last read only the revision is read.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when the marker does not exist,
    /// [`StoreError::BadQuery`] when a regular expression is unusable.
    pub async fn instances(&self, query: &InstanceQuery) -> Result<InstancePage, StoreError> {
        let residual = Residual::new(&query.filter)?;
        let order = full_order(&query.sort);
        let mut after = query.marker;
        let limit = query.limit as usize;
        let batch = if residual.is_empty() { u64::from(query.limit) } else { BATCH };
        let mut instances = Vec::new();
        let mut full = false;
        while !full {
            let rows = self.page(&query.filter, &order, (after, batch)).await?;
            after = rows.last().map(|(id, _)| *id);
            let records = self.records(&query.filter, &rows).await?;
            let found = records.into_iter().filter(|record| residual.matches(record));
            instances.extend(found);
            full = instances.len() >= limit || (residual.is_empty() && rows.len() as u64 == batch);
            if (rows.len() as u64) < batch {
                break;
            }
        }
        instances.truncate(limit);
        Ok(InstancePage { instances, full })
    }

    /// Ids and revisions of one page.
    async fn page(
        &self,
        filter: &InstanceFilter,
        order: &[(Column, SortDirection)],
        (after, limit): (Option<InstanceId>, u64),
    ) -> Result<Vec<Seen>, StoreError> {
        let after = match after {
            Some(id) => Some(self.marker(id).await?),
            None => None,
        };
        let select = instance::Entity::find().filter(condition(filter));
        let rows: Vec<(String, i64)> = ordered(select, order, after.as_ref())
            .select_only()
            .columns([Column::Id, Column::Revision])
            .limit(limit)
            .into_tuple()
            .all(self.reader())
            .await
            .map_err(StoreError::db("list the servers"))?;
        rows.iter().map(|(id, revision)| Ok((instance_id(id)?, *revision))).collect()
    }

    /// The records of rows, in their order. A server that changed since its row was read is as it is
    /// now; one to which the filter does not apply any more is left out.
    async fn records(
        &self,
        filter: &InstanceFilter,
        rows: &[Seen],
    ) -> Result<Vec<Arc<InstanceRecord>>, StoreError> {
        let known: Vec<_> =
            rows.iter().map(|(id, revision)| self.seen().get(*id, *revision)).collect();
        let unknown: Vec<InstanceId> = rows
            .iter()
            .zip(&known)
            .filter(|(_, record)| record.is_none())
            .map(|(row, _)| row.0)
            .collect();
        let mut read = HashMap::with_capacity(unknown.len());
        for ids in unknown.chunks(AT_ONCE) {
            let found = instance::Entity::find()
                .filter(condition(filter))
                .filter(Column::Id.is_in(ids.iter().map(ToString::to_string)))
                .all(self.reader())
                .await
                .map_err(StoreError::db("read servers"))?;
            for row in found {
                let record = Arc::new(instance_record(row)?);
                self.seen().put(&record);
                read.insert(record.id, record);
            }
        }
        let records = rows.iter().zip(known);
        Ok(records.filter_map(|((id, _), known)| known.or_else(|| read.remove(id))).collect())
    }

    async fn marker(&self, id: InstanceId) -> Result<instance::Model, StoreError> {
        instance::Entity::find_by_id(id.to_string())
            .one(self.reader())
            .await
            .map_err(StoreError::db("read the marker of a page"))?
            .ok_or_else(|| StoreError::NotFound { what: "marker", id: id.to_string() })
    }
}

/// What the database checks.
fn condition(filter: &InstanceFilter) -> Condition {
    let text = |column: Column, value: &Option<String>| {
        value.as_ref().map(|value| column.eq(value.as_str()))
    };
    let mut all = Condition::all()
        .add(filter.columns.condition())
        .add_option(filter.project_id.as_ref().map(|id| Column::ProjectId.eq(id.as_str())))
        .add_option(filter.user_id.as_ref().map(|id| Column::UserId.eq(id.as_str())))
        .add_option(filter.image.map(|id| Column::ImageId.eq(id.to_string())))
        .add_option(filter.host.as_ref().map(|host| Column::Host.eq(host.as_str())))
        .add_option(filter.power_state.map(|state| Column::PowerState.eq(state.number())))
        .add_option(filter.config_drive.map(|drive| Column::ConfigDrive.eq(drive)))
        .add_option(filter.changes_since.map(|at| Column::UpdatedAt.gte(at.micros())))
        .add_option(filter.changes_before.map(|at| Column::UpdatedAt.lte(at.micros())))
        .add_option(text(Column::Description, &filter.description))
        .add_option(text(Column::FlavorId, &filter.flavor_id))
        .add_option(text(Column::KeyName, &filter.key_name))
        .add_option(text(Column::AvailabilityZone, &filter.availability_zone))
        .add_option(text(Column::ReservationId, &filter.reservation_id));
    all = match filter.deleted {
        Deleted::Exclude => all.add(Column::DeletedAt.is_null()),
        Deleted::Only => all.add(Column::DeletedAt.is_not_null()),
        Deleted::Include => all,
    };
    all = match filter.locked {
        Some(true) => all.add(Column::LockedBy.is_not_null()),
        Some(false) => all.add(Column::LockedBy.is_null()),
        None => all,
    };
    if !filter.ids.is_empty() {
        all = all.add(Column::Id.is_in(filter.ids.iter().map(ToString::to_string)));
    }
    if !filter.vm_states.is_empty() {
        all = all.add(Column::VmState.is_in(filter.vm_states.iter().map(|state| state.as_str())));
    }
    if !filter.task_states.is_empty() {
        let mut any = Condition::any();
        for state in &filter.task_states {
            any = any.add(match state {
                Some(state) => Column::TaskState.eq(state.as_str()),
                None => Column::TaskState.is_null(),
            });
        }
        all = all.add(any);
    }
    if !filter.statuses.is_empty() {
        let any = filter.statuses.iter().fold(Condition::any(), |any, one| any.add(status(*one)));
        all = all.add(any);
    }
    all
}

const SOFT: [&str; 2] = [TaskState::Rebooting.as_str(), TaskState::RebootStarted.as_str()];
const HARD: [&str; 2] = [TaskState::RebootingHard.as_str(), TaskState::RebootStartedHard.as_str()];

/// The condition behind a status, the inverse of `reprieve_core::state::status`.
fn status(status: ApiStatus) -> Condition {
    let active = || Condition::all().add(Column::VmState.eq(VmState::Active.as_str()));
    let state = |state: VmState| Condition::all().add(Column::VmState.eq(state.as_str()));
    match status {
        ApiStatus::Active => active().add(
            Condition::any()
                .add(Column::TaskState.is_null())
                .add(Column::TaskState.is_not_in(SOFT.into_iter().chain(HARD))),
        ),
        ApiStatus::Reboot => active().add(Column::TaskState.is_in(SOFT)),
        ApiStatus::HardReboot => active().add(Column::TaskState.is_in(HARD)),
        ApiStatus::Build => state(VmState::Building),
        ApiStatus::Shutoff => state(VmState::Stopped),
        ApiStatus::Paused => state(VmState::Paused),
        ApiStatus::Suspended => state(VmState::Suspended),
        ApiStatus::Rescue => state(VmState::Rescued),
        ApiStatus::Error => state(VmState::Error),
        ApiStatus::Deleted => state(VmState::Deleted),
        ApiStatus::Never => Condition::all().add(Column::Id.is_null()),
    }
}

/// The order asked for, made total: newest first among equals, also among servers of one request.
fn full_order(sort: &[(SortKey, SortDirection)]) -> Vec<(Column, SortDirection)> {
    let last = sort.last().map_or(SortDirection::Descending, |(_, direction)| *direction);
    let asked = sort.iter().filter_map(|(key, direction)| Some((column(*key)?, *direction)));
    let mut order: Vec<(Column, SortDirection)> = Vec::new();
    // A column that is named again orders nothing any more, and databases bound their number.
    for (column, direction) in asked.chain([(Column::CreatedAt, last), (Column::Number, last)]) {
        if !order.iter().any(|(known, _)| *known as u32 == column as u32) {
            order.push((column, direction));
        }
    }
    order
}

const fn column(key: SortKey) -> Option<Column> {
    Some(match key {
        SortKey::CreatedAt => Column::CreatedAt,
        SortKey::UpdatedAt => Column::UpdatedAt,
        SortKey::LaunchedAt => Column::LaunchedAt,
        SortKey::TerminatedAt => Column::TerminatedAt,
        SortKey::DisplayName => Column::Name,
        SortKey::DisplayDescription => Column::Description,
        SortKey::Uuid => Column::Id,
        SortKey::Hostname => Column::Hostname,
        SortKey::Host => Column::Host,
        SortKey::ProjectId => Column::ProjectId,
        SortKey::UserId => Column::UserId,
        SortKey::VmState => Column::VmState,
        SortKey::TaskState => Column::TaskState,
        SortKey::PowerState => Column::PowerState,
        SortKey::AvailabilityZone => Column::AvailabilityZone,
        SortKey::KeyName => Column::KeyName,
        SortKey::ImageRef => Column::ImageId,
        SortKey::InstanceTypeId => Column::FlavorId,
        SortKey::Progress => Column::Progress,
        SortKey::LaunchIndex => Column::LaunchIndex,
        SortKey::ConfigDrive => Column::ConfigDrive,
        SortKey::LockedBy => Column::LockedBy,
        SortKey::AccessIpV4 => Column::AccessIpV4,
        SortKey::AccessIpV6 => Column::AccessIpV6,
        SortKey::AutoDiskConfig => Column::DiskConfig,
        SortKey::Constant => return None,
    })
}

/// Orders, and begins behind `after`. NULL is the smallest value, said explicitly because databases
/// differ.
fn ordered(
    mut select: Select<instance::Entity>,
    order: &[(Column, SortDirection)],
    after: Option<&instance::Model>,
) -> Select<instance::Entity> {
    for (column, direction) in order {
        let (order, nulls) = match direction {
            SortDirection::Ascending => (Order::Asc, NullOrdering::First),
            SortDirection::Descending => (Order::Desc, NullOrdering::Last),
        };
        select = select.order_by_with_nulls(*column, order, nulls);
    }
    match after {
        Some(row) => select.filter(behind(order, row)),
        None => select,
    }
}

/// `(a, b, c)` behind the row: `a` behind, or `a` equal and `b` behind, or …
fn behind(order: &[(Column, SortDirection)], row: &instance::Model) -> Condition {
    use sea_orm::ModelTrait as _;
    let mut any = Condition::any();
    let mut equal = Condition::all();
    for (column, direction) in order {
        let value = row.get(*column);
        let is_null = value == value.as_null();
        let strictly: Option<SimpleExpr> = match (direction, is_null) {
            (SortDirection::Ascending, true) => Some(column.is_not_null()),
            (SortDirection::Ascending, false) => Some(column.gt(value.clone())),
            // Nothing is smaller than NULL.
            (SortDirection::Descending, true) => None,
            (SortDirection::Descending, false) => {
                Some(Expr::col(*column).lt(value.clone()).or(column.is_null()))
            }
        };
        if let Some(strictly) = strictly {
            any = any.add(equal.clone().add(strictly));
        }
        equal = equal.add(if is_null { column.is_null() } else { column.eq(value) });
    }
    any
}

/// What the database does not check.
struct Residual<'a> {
    name: Option<Regex>,
    hostname: Option<Regex>,
    filter: &'a InstanceFilter,
}

impl<'a> Residual<'a> {
    fn new(filter: &'a InstanceFilter) -> Result<Self, StoreError> {
        let compile = |text: &String| pattern::compile(text);
        Ok(Self {
            name: filter.name.as_ref().map(compile).transpose()?,
            hostname: filter.hostname.as_ref().map(compile).transpose()?,
            filter,
        })
    }

    fn is_empty(&self) -> bool {
        self.name.is_none()
            && self.hostname.is_none()
            && self.filter.tags.is_empty()
            && self.filter.tags_any.is_empty()
            && self.filter.not_tags.is_empty()
            && self.filter.not_tags_any.is_empty()
            && self.filter.metadata.is_empty()
    }

    fn matches(&self, server: &InstanceRecord) -> bool {
        let filter = self.filter;
        let has = |tag: &String| server.tags.contains(tag);
        self.name.as_ref().is_none_or(|name| name.is_match(&server.name))
            && self.hostname.as_ref().is_none_or(|name| name.is_match(&server.hostname))
            && filter.tags.iter().all(has)
            && (filter.tags_any.is_empty() || filter.tags_any.iter().any(has))
            && (filter.not_tags.is_empty() || !filter.not_tags.iter().all(has))
            && !filter.not_tags_any.iter().any(has)
            && filter.metadata.iter().all(|(key, value)| server.metadata.get(key) == Some(value))
    }
}
