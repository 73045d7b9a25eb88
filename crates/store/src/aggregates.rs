//! Host aggregates: named groups of hosts with metadata. One whose metadata names an availability
//! zone makes its hosts that zone.
//!
//! Two rules hold at every commit: a host is in at most one zone, and no host with servers changes
//! its zone, because the servers' rows name it.

use std::collections::{BTreeMap, BTreeSet};

use reprieve_core::{HostName, Timestamp};
use sea_orm::{ActiveValue::Set, EntityTrait as _, QueryOrder as _};
use uuid::Uuid;

use crate::convert::{aggregate_record, to_json};
use crate::db::next_number;
use crate::entity::aggregate;
use crate::{Store, StoreError, WriteTx, hosts, locks};

/// Metadata that makes an aggregate an availability zone.
pub const ZONE: &str = "availability_zone";

/// An aggregate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AggregateRecord {
    /// `id` in the API.
    pub number: i64,
    /// `uuid` in the API.
    pub uuid: Uuid,
    /// Name, unique.
    pub name: String,
    /// Hosts, in the order in which they were added.
    pub hosts: Vec<HostName>,
    /// Metadata.
    pub metadata: BTreeMap<String, String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Last change of name or metadata.
    pub updated_at: Option<Timestamp>,
}

impl AggregateRecord {
    /// Availability zone of its hosts, if it makes one.
    #[must_use]
    pub fn zone(&self) -> Option<&str> {
        self.metadata.get(ZONE).map(String::as_str)
    }
}

/// An aggregate to record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAggregate {
    /// Name.
    pub name: String,
    /// Availability zone.
    pub zone: Option<String>,
}

/// A change of an aggregate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AggregateUpdate {
    /// Of its name and metadata.
    Values {
        /// Name.
        name: Option<String>,
        /// Metadata to set; `None` removes the key.
        metadata: BTreeMap<String, Option<String>>,
    },
    /// Takes a host in.
    AddHost(HostName),
    /// Lets a host go.
    RemoveHost(HostName),
}

/// Why an aggregate was not changed; nothing was written then.
#[derive(Debug, thiserror::Error)]
pub enum AggregateError {
    /// There is no such aggregate.
    #[error("aggregate {0} does not exist")]
    Unknown(i64),
    /// Another one is called so.
    #[error("there is an aggregate {0} already")]
    NameTaken(String),
    /// No host of this name ever registered.
    #[error("there is no host {0}")]
    UnknownHost(HostName),
    /// The host is in it already.
    #[error("it has host {0} already")]
    HasHost(HostName),
    /// The host is not in it.
    #[error("it does not have host {0}")]
    HasNotHost(HostName),
    /// It has hosts and cannot be removed.
    #[error("it has hosts")]
    NotEmpty,
    /// Its zone would be called "".
    #[error("aggregate {0} would be a zone without a name")]
    NamelessZone(String),
    /// A host would be in this zone and in others.
    #[error("a host is in other zones already: {0:?}")]
    OtherZones(Vec<String>),
    /// A host with servers would change its zone.
    #[error("a host has servers, which stay in their zone")]
    ZoneInUse,
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// All aggregates, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Corrupt`].
    pub async fn aggregates(&self) -> Result<Vec<AggregateRecord>, StoreError> {
        all(self.reader()).await
    }

    /// One aggregate.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Corrupt`].
    pub async fn aggregate(&self, number: i64) -> Result<Option<AggregateRecord>, StoreError> {
        let row = aggregate::Entity::find_by_id(number)
            .one(self.reader())
            .await
            .map_err(StoreError::db("read an aggregate"))?;
        row.map(aggregate_record).transpose()
    }

    /// Records an aggregate without hosts.
    ///
    /// # Errors
    /// [`AggregateError::NameTaken`], [`AggregateError::Store`].
    pub async fn create_aggregate(
        &self,
        new: NewAggregate,
    ) -> Result<AggregateRecord, AggregateError> {
        let tx = self.begin().await?;
        if all(&*tx).await?.iter().any(|one| one.name == new.name) {
            return Err(AggregateError::NameTaken(new.name));
        }
        let record = AggregateRecord {
            number: next_number(&*tx, "aggregate", 1).await?,
            uuid: Uuid::new_v4(),
            name: new.name,
            hosts: Vec::new(),
            metadata: new.zone.map(|zone| (ZONE.to_owned(), zone)).into_iter().collect(),
            created_at: self.now(),
            updated_at: None,
        };
        aggregate::Entity::insert(row(&record)?)
            .exec_without_returning(&*tx)
            .await
            .map_err(StoreError::db("record an aggregate"))?;
        tx.commit().await?;
        Ok(record)
    }

    /// Changes an aggregate. `default_zone` is the one of hosts that are in no other.
    ///
    /// # Errors
    /// [`AggregateError`], except [`AggregateError::NotEmpty`].
    pub async fn update_aggregate(
        &self,
        number: i64,
        change: AggregateUpdate,
        default_zone: &str,
    ) -> Result<AggregateRecord, AggregateError> {
        let tx = self.begin().await?;
        // Nobody is given a host whose zone changes.
        locks::claims(&tx).await?;
        if let AggregateUpdate::AddHost(host) = &change {
            require_host(&tx, host).await?;
        }
        let before = all(&*tx).await?;
        let subject = before.iter().find(|one| one.number == number);
        let mut changed = subject.cloned().ok_or(AggregateError::Unknown(number))?;
        match change {
            AggregateUpdate::Values { name, metadata } => {
                set_values(&mut changed, name, metadata, &before)?;
                changed.updated_at = Some(self.now());
            }
            AggregateUpdate::AddHost(host) if changed.hosts.contains(&host) => {
                return Err(AggregateError::HasHost(host));
            }
            AggregateUpdate::AddHost(host) => changed.hosts.push(host),
            AggregateUpdate::RemoveHost(host) => {
                if !changed.hosts.contains(&host) {
                    require_host(&tx, &host).await?;
                    return Err(AggregateError::HasNotHost(host));
                }
                changed.hosts.retain(|kept| *kept != host);
            }
        }
        check_zones(&tx, &before, &changed, default_zone).await?;
        write(&tx, &changed).await?;
        tx.commit().await?;
        Ok(changed)
    }

    /// Removes an aggregate that has no hosts.
    ///
    /// # Errors
    /// [`AggregateError::Unknown`], [`AggregateError::NotEmpty`], [`AggregateError::Store`].
    pub async fn delete_aggregate(&self, number: i64) -> Result<(), AggregateError> {
        let tx = self.begin().await?;
        let known = all(&*tx).await?;
        let subject = known.iter().find(|one| one.number == number);
        if !subject.ok_or(AggregateError::Unknown(number))?.hosts.is_empty() {
            return Err(AggregateError::NotEmpty);
        }
        aggregate::Entity::delete_by_id(number)
            .exec(&*tx)
            .await
            .map_err(StoreError::db("remove an aggregate"))?;
        Ok(tx.commit().await?)
    }
}

fn set_values(
    aggregate: &mut AggregateRecord,
    name: Option<String>,
    metadata: BTreeMap<String, Option<String>>,
    all: &[AggregateRecord],
) -> Result<(), AggregateError> {
    if let Some(name) = name {
        if all.iter().any(|other| other.name == name && other.number != aggregate.number) {
            return Err(AggregateError::NameTaken(name));
        }
        aggregate.name = name;
    }
    for (key, value) in metadata {
        match value {
            Some(value) if key == ZONE && value.is_empty() => {
                return Err(AggregateError::NamelessZone(aggregate.name.clone()));
            }
            Some(value) => aggregate.metadata.insert(key, value),
            None => aggregate.metadata.remove(&key),
        };
    }
    Ok(())
}

/// The zones that aggregates put a host into.
fn zones<'a>(
    aggregates: impl Iterator<Item = &'a AggregateRecord>,
    host: &HostName,
) -> BTreeSet<&'a str> {
    aggregates.filter(|one| one.hosts.contains(host)).filter_map(AggregateRecord::zone).collect()
}

/// Refuses a change after which one of the rules of this module would not hold.
async fn check_zones(
    tx: &WriteTx,
    before: &[AggregateRecord],
    changed: &AggregateRecord,
    default_zone: &str,
) -> Result<(), AggregateError> {
    let after: Vec<&AggregateRecord> =
        before.iter().map(|one| if one.number == changed.number { changed } else { one }).collect();
    let hosts = before
        .iter()
        .filter(|one| one.number == changed.number)
        .chain([changed])
        .flat_map(|one| &one.hosts);
    for host in hosts.collect::<BTreeSet<_>>() {
        let now = zones(after.iter().copied(), host);
        if now.len() > 1 {
            let others = now.into_iter().filter(|zone| Some(*zone) != changed.zone());
            return Err(AggregateError::OtherZones(others.map(str::to_owned).collect()));
        }
        let zone =
            |zones: BTreeSet<&str>| zones.first().copied().unwrap_or(default_zone).to_owned();
        if zone(zones(before.iter(), host)) != zone(now)
            && !hosts::instances_on(&**tx, host).await?.is_empty()
        {
            return Err(AggregateError::ZoneInUse);
        }
    }
    Ok(())
}

async fn require_host(tx: &WriteTx, host: &HostName) -> Result<(), AggregateError> {
    match hosts::find(&**tx, host).await? {
        Some(_) => Ok(()),
        None => Err(AggregateError::UnknownHost(host.clone())),
    }
}

/// Takes a host out of all aggregates.
pub(crate) async fn forget_host(
    tx: &WriteTx,
    host: &HostName,
    now: Timestamp,
) -> Result<(), StoreError> {
    for mut aggregate in all(&**tx).await? {
        if aggregate.hosts.contains(host) {
            aggregate.hosts.retain(|kept| kept != host);
            aggregate.updated_at = Some(now);
            write(tx, &aggregate).await?;
        }
    }
    Ok(())
}

/// All aggregates, oldest first.
pub(crate) async fn all<C: sea_orm::ConnectionTrait>(
    connection: &C,
) -> Result<Vec<AggregateRecord>, StoreError> {
    let rows = aggregate::Entity::find()
        .order_by_asc(aggregate::Column::Number)
        .all(connection)
        .await
        .map_err(StoreError::db("list the aggregates"))?;
    rows.into_iter().map(aggregate_record).collect()
}

fn row(record: &AggregateRecord) -> Result<aggregate::ActiveModel, StoreError> {
    Ok(aggregate::ActiveModel {
        number: Set(record.number),
        uuid: Set(record.uuid.to_string()),
        name: Set(record.name.clone()),
        hosts: Set(to_json(&record.hosts)?),
        metadata: Set(to_json(&record.metadata)?),
        created_at: Set(record.created_at.micros()),
        updated_at: Set(record.updated_at.map(Timestamp::micros)),
    })
}

async fn write(tx: &WriteTx, record: &AggregateRecord) -> Result<(), StoreError> {
    aggregate::Entity::update(row(record)?)
        .exec_without_returning(&**tx)
        .await
        .map_err(StoreError::db("change an aggregate"))?;
    Ok(())
}
