//! Projects that an image is shared with.

use reprieve_core::{ImageId, ProjectId, Timestamp};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _, SqlErr,
};

use super::entity::member;
use super::{MemberRecord, MemberStatus, parse_id, taken};
use crate::{Store, StoreError};

impl Store {
    /// Whether and how an image is shared with a project.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Corrupt`].
    pub async fn image_member(
        &self,
        image: ImageId,
        project: &ProjectId,
    ) -> Result<Option<MemberRecord>, StoreError> {
        let key = (image.to_string(), project.to_string());
        let row = member::Entity::find_by_id(key).one(self.reader()).await;
        row.map_err(StoreError::db("read an image's member"))?.map(record).transpose()
    }

    /// All projects that an image is shared with.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Corrupt`].
    pub async fn image_members(&self, image: ImageId) -> Result<Vec<MemberRecord>, StoreError> {
        let rows = member::Entity::find()
            .filter(member::Column::ImageId.eq(image.to_string()))
            .order_by_asc(member::Column::MemberId)
            .all(self.reader())
            .await
            .map_err(StoreError::db("list an image's members"))?;
        rows.into_iter().map(record).collect()
    }

    /// Shares an image with a project.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when it is shared already, [`StoreError::NotFound`] when the image is
    /// gone.
    pub async fn add_image_member(&self, new: &MemberRecord) -> Result<(), StoreError> {
        let tx = self.begin().await?;
        let model = member::ActiveModel {
            image_id: Set(new.image.to_string()),
            member_id: Set(new.project.to_string()),
            status: Set(new.status.as_str().to_owned()),
            created_at: Set(new.created_at.micros()),
            updated_at: Set(new.updated_at.micros()),
        };
        let done = member::Entity::insert(model).exec_without_returning(&*tx).await;
        done.map_err(|error| match error.sql_err() {
            Some(SqlErr::ForeignKeyConstraintViolation(_)) => {
                StoreError::NotFound { what: "image", id: new.image.to_string() }
            }
            _ => taken("image member", new.project.as_str())(error),
        })?;
        tx.commit().await
    }

    /// Records what a project thinks of an image; `false` when it is not shared with it.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn set_image_member_status(
        &self,
        image: ImageId,
        project: &ProjectId,
        status: MemberStatus,
    ) -> Result<bool, StoreError> {
        let tx = self.begin().await?;
        let model = member::ActiveModel {
            status: Set(status.as_str().to_owned()),
            updated_at: Set(self.now().micros()),
            ..Default::default()
        };
        let done = member::Entity::update_many()
            .set(model)
            .filter(member::Column::ImageId.eq(image.to_string()))
            .filter(member::Column::MemberId.eq(project.as_str()))
            .exec(&*tx)
            .await
            .map_err(StoreError::db("update an image's member"))?;
        tx.commit().await?;
        Ok(done.rows_affected > 0)
    }

    /// Stops sharing an image with a project; `false` when it was not shared.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn remove_image_member(
        &self,
        image: ImageId,
        project: &ProjectId,
    ) -> Result<bool, StoreError> {
        let tx = self.begin().await?;
        let key = (image.to_string(), project.to_string());
        let done = member::Entity::delete_by_id(key).exec(&*tx).await;
        let done = done.map_err(StoreError::db("remove an image's member"))?;
        tx.commit().await?;
        Ok(done.rows_affected > 0)
    }
}

fn record(row: member::Model) -> Result<MemberRecord, StoreError> {
    let status = MemberStatus::parse(&row.status).ok_or_else(|| StoreError::Corrupt {
        table: "image_members",
        column: "status",
        row: row.image_id.clone(),
        message: format!("unknown value '{}'", row.status),
    })?;
    Ok(MemberRecord {
        image: parse_id(&row.image_id)?,
        project: row.member_id.into(),
        status,
        created_at: Timestamp::from_micros(row.created_at),
        updated_at: Timestamp::from_micros(row.updated_at),
    })
}
