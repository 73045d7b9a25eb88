//! Public keys of users.

use reprieve_core::quota::Resource;
use reprieve_core::{ProjectId, UserId};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _,
};

use crate::convert::keypair_record;
use crate::db::next_number;
use crate::entity::keypair;
use crate::record::KeypairRecord;
use crate::{Store, StoreError, quotas};

/// A key pair to record. The private key is never stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKeypair {
    /// Owner.
    pub user_id: UserId,
    /// Name.
    pub name: String,
    /// `ssh`.
    pub kind: String,
    /// OpenSSH public key.
    pub public_key: String,
    /// Fingerprint.
    pub fingerprint: String,
}

impl Store {
    /// Records a key pair. How many a user may have is a quota of `project`.
    ///
    /// # Errors
    /// [`StoreError::QuotaReached`], [`StoreError::Exists`].
    pub async fn create_keypair(
        &self,
        new: NewKeypair,
        project: &ProjectId,
    ) -> Result<KeypairRecord, StoreError> {
        let tx = self.begin().await?;
        let there_are = quotas::key_pairs_of(&*tx, &new.user_id).await?;
        let owner = (project, Some(&new.user_id));
        quotas::check_one_more(&*tx, owner, Resource::KeyPairs, there_are).await?;
        if find(&*tx, &new.user_id, &new.name).await?.is_some() {
            return Err(StoreError::Exists { what: "key pair", id: new.name });
        }
        let record = KeypairRecord {
            number: next_number(&*tx, "keypair", 1).await?,
            user_id: new.user_id,
            name: new.name,
            kind: new.kind,
            public_key: new.public_key,
            fingerprint: new.fingerprint,
            created_at: self.now(),
        };
        let row = keypair::ActiveModel {
            user_id: Set(record.user_id.to_string()),
            name: Set(record.name.clone()),
            number: Set(record.number),
            kind: Set(record.kind.clone()),
            public_key: Set(record.public_key.clone()),
            fingerprint: Set(record.fingerprint.clone()),
            created_at: Set(record.created_at.micros()),
        };
        keypair::Entity::insert(row)
            .exec_without_returning(&*tx)
            .await
            .map_err(StoreError::db("record a key pair"))?;
        tx.commit().await?;
        Ok(record)
    }

    /// One key pair.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn keypair(
        &self,
        user: &UserId,
        name: &str,
    ) -> Result<Option<KeypairRecord>, StoreError> {
        Ok(find(self.reader(), user, name).await?.map(keypair_record))
    }

    /// Key pairs of a user by name.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn keypairs(&self, user: &UserId) -> Result<Vec<KeypairRecord>, StoreError> {
        let rows = keypair::Entity::find()
            .filter(keypair::Column::UserId.eq(user.as_str()))
            .order_by_asc(keypair::Column::Name)
            .all(self.reader())
            .await
            .map_err(StoreError::db("list the key pairs"))?;
        Ok(rows.into_iter().map(keypair_record).collect())
    }

    /// Removes a key pair.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn delete_keypair(&self, user: &UserId, name: &str) -> Result<(), StoreError> {
        let tx = self.begin().await?;
        let gone = keypair::Entity::delete_many()
            .filter(keypair::Column::UserId.eq(user.as_str()))
            .filter(keypair::Column::Name.eq(name))
            .exec(&*tx)
            .await
            .map_err(StoreError::db("remove a key pair"))?;
        if gone.rows_affected == 0 {
            return Err(StoreError::NotFound { what: "key pair", id: name.to_owned() });
        }
        tx.commit().await
    }
}

async fn find<C: sea_orm::ConnectionTrait>(
    connection: &C,
    user: &UserId,
    name: &str,
) -> Result<Option<keypair::Model>, StoreError> {
    keypair::Entity::find_by_id((user.to_string(), name.to_owned()))
        .one(connection)
        .await
        .map_err(StoreError::db("read a key pair"))
}
