//! Limits that somebody has set, what is used of them, and the check inside of transactions.
//!
//! What holds for a user of a project: the limit set for that user, else that of the project, else
//! that of the class `default`, else the resource's own.

use std::collections::BTreeMap;

use reprieve_core::quota::{Account, Amount, Limits, OverQuota, Resource, grant};
use reprieve_core::{ProjectId, UserId};
use sea_orm::sea_query::OnConflict;
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, ConnectionTrait, EntityTrait as _, PaginatorTrait as _,
    QueryFilter as _, QuerySelect as _,
};

use crate::db::Dialect;
use crate::entity::{instance, keypair, quota, quota_class, server_group};
use crate::hosts::sums;
use crate::{Store, StoreError, Usage, WriteTx};

/// The class whose limits hold wherever nothing else is set.
const DEFAULT_CLASS: &str = "default";
/// `user_id` of limits that hold for a whole project.
const WHOLE_PROJECT: &str = "";
/// What servers take; a limit on any of these makes a user's servers count by themselves.
const OF_SERVERS: [Resource; 3] = [Resource::Cores, Resource::Instances, Resource::Ram];

/// What a project, or a user within one, has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QuotaUse {
    /// Servers.
    pub servers: Usage,
    /// Server groups.
    pub server_groups: i64,
    /// Key pairs; users have them, projects do not.
    pub key_pairs: i64,
}

impl QuotaUse {
    /// How much of a resource there is. Resources that are counted per server or per group have no
    /// such sum.
    #[must_use]
    pub const fn of(&self, resource: Resource) -> i64 {
        match resource {
            Resource::Cores => self.servers.vcpus,
            Resource::Instances => self.servers.instances,
            Resource::Ram => self.servers.memory_mib,
            Resource::ServerGroups => self.server_groups,
            Resource::KeyPairs => self.key_pairs,
            Resource::FixedIps
            | Resource::FloatingIps
            | Resource::SecurityGroupRules
            | Resource::SecurityGroups
            | Resource::InjectedFileContentBytes
            | Resource::InjectedFilePathBytes
            | Resource::InjectedFiles
            | Resource::MetadataItems
            | Resource::ServerGroupMembers => 0,
        }
    }
}

impl Store {
    /// The limits that hold for a project, or for a user within it.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Corrupt`].
    pub async fn quota_limits(
        &self,
        project: &ProjectId,
        user: Option<&UserId>,
    ) -> Result<Limits, StoreError> {
        limits(self.reader(), project, user).await
    }

    /// The limits of a class; those of `default` hold wherever nothing else is set.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Corrupt`].
    pub async fn class_limits(&self, class: &str) -> Result<Limits, StoreError> {
        class_limits(self.reader(), class).await
    }

    /// The limits that hold wherever nothing else is set.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Corrupt`].
    pub async fn default_limits(&self) -> Result<Limits, StoreError> {
        class_limits(self.reader(), DEFAULT_CLASS).await
    }

    /// The sum of what the users of a project were promised by limits of their own.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Corrupt`].
    pub async fn limits_of_users(
        &self,
        project: &ProjectId,
    ) -> Result<BTreeMap<Resource, i64>, StoreError> {
        let rows = quota::Entity::find()
            .filter(quota::Column::ProjectId.eq(project.as_str()))
            .filter(quota::Column::UserId.ne(WHOLE_PROJECT))
            .all(self.reader())
            .await
            .map_err(StoreError::db("read the quotas of the users of a project"))?;
        let mut sums: BTreeMap<Resource, i64> = BTreeMap::new();
        for row in rows {
            let sum = sums.entry(resource(&row.resource, &row.project_id)?).or_default();
            *sum = sum.saturating_add(row.hard_limit.max(0));
        }
        Ok(sums)
    }

    /// Sets limits of a project, or of a user within it; the others stay.
    ///
    /// # Errors
    /// [`StoreError::Database`]; nothing was changed then.
    pub async fn set_quota_limits(
        &self,
        project: &ProjectId,
        user: Option<&UserId>,
        limits: &BTreeMap<Resource, i64>,
    ) -> Result<(), StoreError> {
        let user = user.map_or(WHOLE_PROJECT, UserId::as_str);
        let tx = self.begin().await?;
        for (resource, limit) in limits {
            let row = quota::ActiveModel {
                project_id: Set(project.to_string()),
                user_id: Set(user.to_owned()),
                resource: Set(resource.as_str().to_owned()),
                hard_limit: Set(*limit),
            };
            let key = [quota::Column::ProjectId, quota::Column::UserId, quota::Column::Resource];
            quota::Entity::insert(row)
                .on_conflict(
                    OnConflict::columns(key).update_column(quota::Column::HardLimit).to_owned(),
                )
                .exec_without_returning(&*tx)
                .await
                .map_err(StoreError::db("set a quota"))?;
        }
        tx.commit().await
    }

    /// Forgets all limits of a project and its users, or those of one user.
    ///
    /// # Errors
    /// [`StoreError::Database`]; nothing was changed then.
    pub async fn clear_quota_limits(
        &self,
        project: &ProjectId,
        user: Option<&UserId>,
    ) -> Result<(), StoreError> {
        let tx = self.begin().await?;
        let mut delete =
            quota::Entity::delete_many().filter(quota::Column::ProjectId.eq(project.as_str()));
        if let Some(user) = user {
            delete = delete.filter(quota::Column::UserId.eq(user.as_str()));
        }
        delete.exec(&*tx).await.map_err(StoreError::db("remove quotas"))?;
        tx.commit().await
    }

    /// Sets limits of a class; the others stay.
    ///
    /// # Errors
    /// [`StoreError::Database`]; nothing was changed then.
    pub async fn set_class_limits(
        &self,
        class: &str,
        limits: &BTreeMap<Resource, i64>,
    ) -> Result<(), StoreError> {
        let tx = self.begin().await?;
        for (resource, limit) in limits {
            let row = quota_class::ActiveModel {
                name: Set(class.to_owned()),
                resource: Set(resource.as_str().to_owned()),
                hard_limit: Set(*limit),
            };
            let key = [quota_class::Column::Name, quota_class::Column::Resource];
            let mut update = OnConflict::columns(key);
            update.update_column(quota_class::Column::HardLimit);
            quota_class::Entity::insert(row)
                .on_conflict(update)
                .exec_without_returning(&*tx)
                .await
                .map_err(StoreError::db("set a quota of a class"))?;
        }
        tx.commit().await
    }

    /// What a project has, or a user within it.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn quota_use(
        &self,
        project: &ProjectId,
        user: Option<&UserId>,
    ) -> Result<QuotaUse, StoreError> {
        let reader = self.reader();
        let key_pairs = match user {
            Some(user) => key_pairs_of(reader, user).await?,
            None => 0,
        };
        Ok(QuotaUse {
            servers: servers_of(reader, project, user).await?,
            server_groups: groups_of(reader, project, user).await?,
            key_pairs,
        })
    }

    /// The accounts on which new servers of a user in a project go, as they are now. Only what a
    /// transaction finds is binding.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Corrupt`].
    pub async fn server_accounts(
        &self,
        project: &ProjectId,
        user: &UserId,
    ) -> Result<Vec<Account>, StoreError> {
        accounts(self.reader(), project, user).await
    }
}

/// Refuses servers that are too many, inside of the transaction that records them: requests that run
/// side by side cannot exceed a quota together.
pub(crate) async fn check_servers(
    tx: &WriteTx,
    (project, user): (&ProjectId, &UserId),
    one: Amount,
    count: u32,
) -> Result<(), StoreError> {
    let accounts = accounts(&**tx, project, user).await?;
    grant(&accounts, one, (count, count)).map(drop).map_err(|over: OverQuota| over.into())
}

/// Refuses one more of a resource of which there are `amount` already.
pub(crate) async fn check_one_more<C: ConnectionTrait>(
    connection: &C,
    (project, user): (&ProjectId, Option<&UserId>),
    resource: Resource,
    amount: i64,
) -> Result<(), StoreError> {
    let limits = limits(connection, project, user).await?;
    if limits.allows(resource, amount.saturating_add(1)) {
        Ok(())
    } else {
        Err(StoreError::QuotaReached(resource))
    }
}

/// The user's own account, if there is one, before that of the project.
async fn accounts<C: ConnectionTrait>(
    connection: &C,
    project: &ProjectId,
    user: &UserId,
) -> Result<Vec<Account>, StoreError> {
    let mut accounts = Vec::with_capacity(2);
    let own = set_limits(connection, project, user.as_str()).await?;
    let owners: &[Option<&UserId>] =
        if own.iter().any(|(resource, _)| OF_SERVERS.contains(resource)) {
            &[Some(user), None]
        } else {
            &[None]
        };
    for owner in owners {
        let limits = limits(connection, project, *owner).await?;
        let used = servers_of(connection, project, *owner).await?;
        let used = Amount { instances: used.instances, cores: used.vcpus, ram: used.memory_mib };
        accounts.push(Account { limits, used });
    }
    Ok(accounts)
}

pub(crate) async fn limits<C: ConnectionTrait>(
    connection: &C,
    project: &ProjectId,
    user: Option<&UserId>,
) -> Result<Limits, StoreError> {
    let mut limits = class_limits(connection, DEFAULT_CLASS).await?;
    let owners = [Some(WHOLE_PROJECT), user.map(UserId::as_str)];
    for owner in owners.into_iter().flatten() {
        for (resource, limit) in set_limits(connection, project, owner).await? {
            limits.set(resource, limit);
        }
    }
    Ok(limits)
}

async fn set_limits<C: ConnectionTrait>(
    connection: &C,
    project: &ProjectId,
    user: &str,
) -> Result<Vec<(Resource, i64)>, StoreError> {
    let rows = quota::Entity::find()
        .filter(quota::Column::ProjectId.eq(project.as_str()))
        .filter(quota::Column::UserId.eq(user))
        .all(connection)
        .await
        .map_err(StoreError::db("read quotas"))?;
    rows.into_iter()
        .map(|row| Ok((resource(&row.resource, &row.project_id)?, row.hard_limit)))
        .collect()
}

async fn class_limits<C: ConnectionTrait>(
    connection: &C,
    class: &str,
) -> Result<Limits, StoreError> {
    let rows = quota_class::Entity::find()
        .filter(quota_class::Column::Name.eq(class))
        .all(connection)
        .await
        .map_err(StoreError::db("read the quotas of a class"))?;
    let mut limits = Limits::default();
    for row in rows {
        limits.set(resource(&row.resource, &row.name)?, row.hard_limit);
    }
    Ok(limits)
}

fn resource(text: &str, row: &str) -> Result<Resource, StoreError> {
    Resource::parse(text).ok_or_else(|| StoreError::Corrupt {
        table: "quotas",
        column: "resource",
        row: row.to_owned(),
        message: format!("unknown value '{text}'"),
    })
}

async fn servers_of<C: ConnectionTrait>(
    connection: &C,
    project: &ProjectId,
    user: Option<&UserId>,
) -> Result<Usage, StoreError> {
    let mut select = sums(instance::Entity::find().select_only(), Dialect::of(connection))
        .filter(instance::Column::DeletedAt.is_null())
        .filter(instance::Column::ProjectId.eq(project.as_str()));
    if let Some(user) = user {
        select = select.filter(instance::Column::UserId.eq(user.as_str()));
    }
    let usage = select
        .into_model::<Usage>()
        .one(connection)
        .await
        .map_err(StoreError::db("add up what counts for a quota"))?;
    Ok(usage.unwrap_or_default())
}

/// How many server groups a project has, or a user within it.
pub(crate) async fn groups_of<C: ConnectionTrait>(
    connection: &C,
    project: &ProjectId,
    user: Option<&UserId>,
) -> Result<i64, StoreError> {
    let mut select =
        server_group::Entity::find().filter(server_group::Column::ProjectId.eq(project.as_str()));
    if let Some(user) = user {
        select = select.filter(server_group::Column::UserId.eq(user.as_str()));
    }
    let count = select.count(connection).await.map_err(StoreError::db("count server groups"))?;
    Ok(i64::try_from(count).unwrap_or(i64::MAX))
}

/// How many key pairs a user has.
pub(crate) async fn key_pairs_of<C: ConnectionTrait>(
    connection: &C,
    user: &UserId,
) -> Result<i64, StoreError> {
    let count = keypair::Entity::find()
        .filter(keypair::Column::UserId.eq(user.as_str()))
        .count(connection)
        .await
        .map_err(StoreError::db("count key pairs"))?;
    Ok(i64::try_from(count).unwrap_or(i64::MAX))
}
