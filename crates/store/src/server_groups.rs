//! Server groups. Their members are the servers that name them and are not deleted.

use std::collections::BTreeMap;

use reprieve_core::group::GroupPolicy;
use reprieve_core::quota::Resource;
use reprieve_core::{HostName, InstanceId, ProjectId, ServerGroupId, Timestamp, UserId};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, ConnectionTrait, EntityTrait as _, QueryFilter as _,
    QueryOrder as _, QuerySelect as _,
};

use crate::entity::{instance, server_group};
use crate::{Store, StoreError, WriteTx, instances, quotas};

/// A group to record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewServerGroup {
    /// Owner.
    pub project_id: ProjectId,
    /// Creator.
    pub user_id: UserId,
    /// Name; several may be called the same.
    pub name: String,
    /// Policy.
    pub policy: GroupPolicy,
    /// Most members on one host, for anti-affinity.
    pub max_per_host: Option<u32>,
}

/// A server group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerGroupRecord {
    /// Identifier.
    pub id: ServerGroupId,
    /// Owner.
    pub project_id: ProjectId,
    /// Creator.
    pub user_id: UserId,
    /// Name.
    pub name: String,
    /// Policy.
    pub policy: GroupPolicy,
    /// Most members on one host, for anti-affinity.
    pub max_per_host: Option<u32>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Its servers, oldest first.
    pub members: Vec<GroupMember>,
}

/// A server in a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMember {
    /// The server.
    pub id: InstanceId,
    /// Who made it.
    pub user_id: UserId,
    /// Where it is; `None` when no host was found.
    pub host: Option<HostName>,
}

impl Store {
    /// Records a server group.
    ///
    /// # Errors
    /// [`StoreError::QuotaReached`].
    pub async fn create_server_group(
        &self,
        new: NewServerGroup,
    ) -> Result<ServerGroupRecord, StoreError> {
        let tx = self.begin().await?;
        let resource = Resource::ServerGroups;
        for user in [None, Some(&new.user_id)] {
            let there_are = quotas::groups_of(&*tx, &new.project_id, user).await?;
            quotas::check_one_more(&*tx, (&new.project_id, user), resource, there_are).await?;
        }
        let record = ServerGroupRecord {
            id: ServerGroupId::random(),
            project_id: new.project_id,
            user_id: new.user_id,
            name: new.name,
            policy: new.policy,
            max_per_host: new.max_per_host,
            created_at: self.now(),
            members: Vec::new(),
        };
        let row = server_group::ActiveModel {
            id: Set(record.id.to_string()),
            project_id: Set(record.project_id.to_string()),
            user_id: Set(record.user_id.to_string()),
            name: Set(record.name.clone()),
            policy: Set(record.policy.as_str().to_owned()),
            max_per_host: Set(record.max_per_host.map(i64::from)),
            created_at: Set(record.created_at.micros()),
        };
        server_group::Entity::insert(row)
            .exec_without_returning(&*tx)
            .await
            .map_err(StoreError::db("record a server group"))?;
        tx.commit().await?;
        Ok(record)
    }

    /// One group.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Corrupt`].
    pub async fn server_group(
        &self,
        id: ServerGroupId,
    ) -> Result<Option<ServerGroupRecord>, StoreError> {
        find(self.reader(), id).await
    }

    /// The groups of a project, or all; oldest first.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Corrupt`].
    pub async fn server_groups(
        &self,
        project: Option<&ProjectId>,
    ) -> Result<Vec<ServerGroupRecord>, StoreError> {
        let mut select = server_group::Entity::find()
            .order_by_asc(server_group::Column::CreatedAt)
            .order_by_asc(server_group::Column::Id);
        if let Some(project) = project {
            select = select.filter(server_group::Column::ProjectId.eq(project.as_str()));
        }
        let rows =
            select.all(self.reader()).await.map_err(StoreError::db("list the server groups"))?;
        let mut members = members(self.reader(), None).await?;
        rows.into_iter()
            .map(|row| {
                let own = members.remove(&row.id).unwrap_or_default();
                record(row, own)
            })
            .collect()
    }

    /// Removes a group; its servers stay.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn delete_server_group(&self, id: ServerGroupId) -> Result<(), StoreError> {
        let tx = self.begin().await?;
        // The database takes the group out of its members' rows.
        instances::revised()
            .filter(instance::Column::ServerGroup.eq(id.to_string()))
            .exec(&*tx)
            .await
            .map_err(StoreError::db("take a server group from its members"))?;
        let gone = server_group::Entity::delete_many()
            .filter(server_group::Column::Id.eq(id.to_string()))
            .exec(&*tx)
            .await
            .map_err(StoreError::db("remove a server group"))?;
        if gone.rows_affected == 0 {
            return Err(missing(id));
        }
        tx.commit().await
    }
}

/// A group that has to be there, inside of a transaction that has locked it.
///
/// # Errors
/// [`StoreError::NotFound`].
pub(crate) async fn existing(
    tx: &WriteTx,
    id: ServerGroupId,
) -> Result<ServerGroupRecord, StoreError> {
    find(&**tx, id).await?.ok_or_else(|| missing(id))
}

/// Lets `count` servers of a user join a group, inside of the transaction that records them.
///
/// # Errors
/// [`StoreError::NotFound`] when the group is gone, [`StoreError::QuotaReached`] when it would have
/// too many members.
pub(crate) async fn join(
    tx: &WriteTx,
    id: ServerGroupId,
    (project, user): (&ProjectId, &UserId),
    count: u32,
) -> Result<(), StoreError> {
    let group = existing(tx, id).await?;
    let own = group.members.iter().filter(|member| member.user_id == *user).count();
    let amount = i64::try_from(own).unwrap_or(i64::MAX).saturating_add(count.into());
    let limits = quotas::limits(&**tx, project, Some(user)).await?;
    if limits.allows(Resource::ServerGroupMembers, amount) {
        Ok(())
    } else {
        Err(StoreError::QuotaReached(Resource::ServerGroupMembers))
    }
}

fn missing(id: ServerGroupId) -> StoreError {
    StoreError::NotFound { what: "server group", id: id.to_string() }
}

async fn find<C: ConnectionTrait>(
    connection: &C,
    id: ServerGroupId,
) -> Result<Option<ServerGroupRecord>, StoreError> {
    let row = server_group::Entity::find_by_id(id.to_string())
        .one(connection)
        .await
        .map_err(StoreError::db("read a server group"))?;
    let Some(row) = row else { return Ok(None) };
    let own = members(connection, Some(id)).await?.remove(&row.id).unwrap_or_default();
    record(row, own).map(Some)
}

/// Members by group, of one group or of all.
async fn members<C: ConnectionTrait>(
    connection: &C,
    group: Option<ServerGroupId>,
) -> Result<BTreeMap<String, Vec<GroupMember>>, StoreError> {
    use instance::Column as C;
    let mut select = instance::Entity::find()
        .select_only()
        .columns([C::ServerGroup, C::Id, C::UserId, C::Host])
        .filter(C::DeletedAt.is_null())
        .order_by_asc(C::Number);
    select = match group {
        Some(id) => select.filter(C::ServerGroup.eq(id.to_string())),
        None => select.filter(C::ServerGroup.is_not_null()),
    };
    let rows: Vec<(String, String, String, Option<String>)> = select
        .into_tuple()
        .all(connection)
        .await
        .map_err(StoreError::db("list the members of server groups"))?;
    let mut members: BTreeMap<String, Vec<GroupMember>> = BTreeMap::new();
    for (group, id, user, host) in rows {
        let id = id.parse().map_err(|error| corrupt("id", &id, &error))?;
        let member = GroupMember { id, user_id: user.into(), host: host.map(Into::into) };
        members.entry(group).or_default().push(member);
    }
    Ok(members)
}

fn record(
    row: server_group::Model,
    members: Vec<GroupMember>,
) -> Result<ServerGroupRecord, StoreError> {
    let unknown = format!("unknown value '{}'", row.policy);
    let per_host = row.max_per_host.map(u32::try_from).transpose();
    Ok(ServerGroupRecord {
        id: row.id.parse().map_err(|error| corrupt("id", &row.id, &error))?,
        policy: GroupPolicy::parse(&row.policy)
            .ok_or_else(|| corrupt("policy", &row.id, &unknown))?,
        max_per_host: per_host.map_err(|error| corrupt("max_per_host", &row.id, &error))?,
        project_id: row.project_id.into(),
        user_id: row.user_id.into(),
        name: row.name,
        created_at: Timestamp::from_micros(row.created_at),
        members,
    })
}

fn corrupt(column: &'static str, row: &str, message: &dyn std::fmt::Display) -> StoreError {
    let (row, message) = (row.to_owned(), message.to_string());
    StoreError::Corrupt { table: "server_groups", column, row, message }
}
