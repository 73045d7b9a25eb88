//! Images in the database: descriptions, properties, tags, members. The data itself is in files.
//!
//! ```text
//! status  queued ──begin_upload──▶ saving ──finish_upload──▶ active ◀──set_image_active──▶ deactivated
//!            ▲                       │
//!            └──────abort_upload─────┘
//! ```
//!
//! Every arrow is one compare-and-swap; an upload proves with its id that the image still waits for
//! it. A CHECK ties the data's columns to the status.

mod entity;
mod list;
mod members;
mod record;
mod times;

use std::collections::BTreeMap;

use reprieve_core::spec::DiskFormat;
use reprieve_core::{ImageId, ProjectId, Timestamp};
use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, ConnectionTrait, DbErr, EntityTrait as _, QueryFilter as _,
    QueryOrder as _, SqlErr,
};

use entity::{image, property, tag};
pub use list::{ImageFilter, ImageQuery, ImageSortKey, MemberFilter, Viewer, VisibilityFilter};
pub use record::{
    ContainerFormat, ImageData, ImageRecord, ImageStatus, MemberRecord, MemberStatus, Visibility,
};
pub use times::{ImageTime, TimeComparison, TimeCondition};

use crate::{Store, StoreError};

/// Most ids in one IN list; SQLite allows 32,766 variables, PostgreSQL's driver 65,535.
const CHUNK: usize = 500;

impl Store {
    /// One image.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Corrupt`].
    pub async fn image(&self, id: ImageId) -> Result<Option<ImageRecord>, StoreError> {
        let row = image::Entity::find_by_id(id.to_string()).one(self.reader()).await;
        let rows = row.map_err(StoreError::db("read an image"))?.into_iter().collect();
        Ok(complete(self.reader(), rows).await?.pop())
    }

    /// Records an image without data.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when the id is taken.
    pub async fn create_image(&self, new: &ImageRecord) -> Result<(), StoreError> {
        let tx = self.begin().await?;
        let model = image::ActiveModel {
            id: Set(new.id.to_string()),
            status: Set(ImageStatus::Queued.as_str().to_owned()),
            created_at: Set(new.created_at.micros()),
            ..description(new)
        };
        image::Entity::insert(model)
            .exec_without_returning(&*tx)
            .await
            .map_err(taken("image", &new.id.to_string()))?;
        insert_details(&*tx, new).await?;
        tx.commit().await
    }

    /// Overwrites the description of an image, unless it changed since `seen` (its `updated_at`
    /// then). `false`: it did, or it is gone; read it again.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn update_image(
        &self,
        new: &ImageRecord,
        seen: Timestamp,
    ) -> Result<bool, StoreError> {
        let tx = self.begin().await?;
        let id = new.id.to_string();
        let done = image::Entity::update_many()
            .set(description(new))
            .filter(image::Column::Id.eq(id.as_str()))
            .filter(image::Column::UpdatedAt.eq(seen.micros()))
            .filter(image::Column::Status.eq(new.status.as_str()))
            .exec(&*tx)
            .await
            .map_err(StoreError::db("update an image"))?;
        if done.rows_affected == 0 {
            return Ok(false);
        }
        property::Entity::delete_many()
            .filter(property::Column::ImageId.eq(id.as_str()))
            .exec(&*tx)
            .await
            .map_err(StoreError::db("replace an image's properties"))?;
        tag::Entity::delete_many()
            .filter(tag::Column::ImageId.eq(id.as_str()))
            .exec(&*tx)
            .await
            .map_err(StoreError::db("replace an image's tags"))?;
        insert_details(&*tx, new).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Removes an image; `false` when it is protected or gone.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn delete_image(&self, id: ImageId) -> Result<bool, StoreError> {
        let tx = self.begin().await?;
        let done = image::Entity::delete_many()
            .filter(image::Column::Id.eq(id.to_string()))
            .filter(image::Column::Protected.eq(false))
            .exec(&*tx)
            .await
            .map_err(StoreError::db("delete an image"))?;
        tx.commit().await?;
        Ok(done.rows_affected > 0)
    }

    /// queued → saving, for one upload; `false` when the image is in another state or gone.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn begin_upload(&self, id: ImageId, upload: &str) -> Result<bool, StoreError> {
        let model = image::ActiveModel {
            status: Set(ImageStatus::Saving.as_str().to_owned()),
            upload_id: Set(Some(upload.to_owned())),
            updated_at: Set(self.now().micros()),
            ..Default::default()
        };
        self.change_status(id, ImageStatus::Queued, None, model).await
    }

    /// saving → active, with what is known of the data; `false` when the image no longer waits for
    /// this upload.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn finish_upload(
        &self,
        id: ImageId,
        upload: &str,
        data: &ImageData,
    ) -> Result<bool, StoreError> {
        let model = image::ActiveModel {
            status: Set(ImageStatus::Active.as_str().to_owned()),
            upload_id: Set(None),
            size: Set(Some(signed(data.size))),
            virtual_size: Set(Some(signed(data.virtual_size))),
            md5: Set(Some(data.md5.clone())),
            sha512: Set(Some(data.sha512.clone())),
            updated_at: Set(self.now().micros()),
            ..Default::default()
        };
        self.change_status(id, ImageStatus::Saving, Some(upload), model).await
    }

    /// saving → queued; `false` when the image no longer waits for this upload.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn abort_upload(&self, id: ImageId, upload: &str) -> Result<bool, StoreError> {
        let model = image::ActiveModel {
            status: Set(ImageStatus::Queued.as_str().to_owned()),
            upload_id: Set(None),
            updated_at: Set(self.now().micros()),
            ..Default::default()
        };
        self.change_status(id, ImageStatus::Saving, Some(upload), model).await
    }

    /// deactivated → active, or back; `false` when the image is in neither state or gone. Asking for
    /// the state it is in is no error.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn set_image_active(&self, id: ImageId, active: bool) -> Result<bool, StoreError> {
        let status = if active { ImageStatus::Active } else { ImageStatus::Deactivated };
        let both = [ImageStatus::Active.as_str(), ImageStatus::Deactivated.as_str()];
        let tx = self.begin().await?;
        let done = image::Entity::update_many()
            .col_expr(image::Column::Status, Expr::value(status.as_str()))
            .col_expr(image::Column::UpdatedAt, Expr::value(self.now().micros()))
            .filter(image::Column::Id.eq(id.to_string()))
            .filter(image::Column::Status.is_in(both))
            .exec(&*tx)
            .await
            .map_err(StoreError::db("change an image's status"))?;
        tx.commit().await?;
        Ok(done.rows_affected > 0)
    }

    /// Images that wait for an upload, with the upload's id.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Corrupt`].
    pub async fn uploads(&self) -> Result<Vec<(ImageId, String)>, StoreError> {
        let rows = image::Entity::find()
            .filter(image::Column::Status.eq(ImageStatus::Saving.as_str()))
            .all(self.reader())
            .await
            .map_err(StoreError::db("list uploads"))?;
        let named =
            rows.into_iter().map(|row| Ok((parse_id(&row.id)?, row.upload_id.unwrap_or_default())));
        named.collect()
    }

    async fn change_status(
        &self,
        id: ImageId,
        from: ImageStatus,
        upload: Option<&str>,
        model: image::ActiveModel,
    ) -> Result<bool, StoreError> {
        let tx = self.begin().await?;
        let mut update = image::Entity::update_many()
            .set(model)
            .filter(image::Column::Id.eq(id.to_string()))
            .filter(image::Column::Status.eq(from.as_str()));
        if let Some(upload) = upload {
            update = update.filter(image::Column::UploadId.eq(upload));
        }
        let done = update.exec(&*tx).await;
        let done = done.map_err(StoreError::db("change an image's status"))?;
        tx.commit().await?;
        Ok(done.rows_affected > 0)
    }
}

/// The columns that users decide about.
fn description(image: &ImageRecord) -> image::ActiveModel {
    image::ActiveModel {
        name: Set(image.name.clone()),
        visibility: Set(image.visibility.as_str().to_owned()),
        owner: Set(image.owner.as_ref().map(ToString::to_string)),
        disk_format: Set(image.disk_format.map(|format| format.as_str().to_owned())),
        container_format: Set(image.container_format.map(|format| format.as_str().to_owned())),
        min_disk: Set(image.min_disk.into()),
        min_ram: Set(image.min_ram.into()),
        protected: Set(image.protected),
        hidden: Set(image.hidden),
        updated_at: Set(image.updated_at.micros()),
        ..Default::default()
    }
}

async fn insert_details(tx: &impl ConnectionTrait, image: &ImageRecord) -> Result<(), StoreError> {
    let id = image.id.to_string();
    let properties: Vec<_> = image
        .properties
        .iter()
        .map(|(name, value)| property::ActiveModel {
            image_id: Set(id.clone()),
            name: Set(name.clone()),
            value: Set(value.clone()),
        })
        .collect();
    if !properties.is_empty() {
        property::Entity::insert_many(properties)
            .exec_without_returning(tx)
            .await
            .map_err(StoreError::db("record an image's properties"))?;
    }
    let tags: Vec<_> = image
        .tags
        .iter()
        .map(|text| tag::ActiveModel { image_id: Set(id.clone()), tag: Set(text.clone()) })
        .collect();
    if !tags.is_empty() {
        tag::Entity::insert_many(tags)
            .exec_without_returning(tx)
            .await
            .map_err(StoreError::db("record an image's tags"))?;
    }
    Ok(())
}

/// Adds properties and tags to rows, keeping their order.
async fn complete(
    db: &impl ConnectionTrait,
    rows: Vec<image::Model>,
) -> Result<Vec<ImageRecord>, StoreError> {
    let mut images = rows.into_iter().map(record).collect::<Result<Vec<_>, _>>()?;
    for some in images.chunks_mut(CHUNK) {
        let ids: Vec<String> = some.iter().map(|image| image.id.to_string()).collect();
        let properties = property::Entity::find()
            .filter(property::Column::ImageId.is_in(ids.clone()))
            .all(db)
            .await
            .map_err(StoreError::db("read images' properties"))?;
        let tags = tag::Entity::find()
            .filter(tag::Column::ImageId.is_in(ids.clone()))
            .order_by_asc(tag::Column::Tag)
            .all(db)
            .await
            .map_err(StoreError::db("read images' tags"))?;
        let mut by_id: BTreeMap<String, &mut ImageRecord> = ids.into_iter().zip(some).collect();
        for property in properties {
            if let Some(image) = by_id.get_mut(&property.image_id) {
                image.properties.insert(property.name, property.value);
            }
        }
        for tag in tags {
            if let Some(image) = by_id.get_mut(&tag.image_id) {
                image.tags.insert(tag.tag);
            }
        }
    }
    Ok(images)
}

fn record(row: image::Model) -> Result<ImageRecord, StoreError> {
    let corrupt = |column: &'static str, value: &str| StoreError::Corrupt {
        table: "images",
        column,
        row: row.id.clone(),
        message: format!("unknown value '{value}'"),
    };
    let data = match (row.size, row.virtual_size, &row.md5, &row.sha512) {
        (Some(size), Some(virtual_size), Some(md5), Some(sha512)) => Some(ImageData {
            size: size.unsigned_abs(),
            virtual_size: virtual_size.unsigned_abs(),
            md5: md5.clone(),
            sha512: sha512.clone(),
        }),
        _ => None,
    };
    let disk_format = match row.disk_format.as_deref() {
        None => None,
        Some(text) => Some(DiskFormat::parse(text).ok_or_else(|| corrupt("disk_format", text))?),
    };
    let container_format = match row.container_format.as_deref() {
        None => None,
        Some(text) => {
            Some(ContainerFormat::parse(text).ok_or_else(|| corrupt("container_format", text))?)
        }
    };
    Ok(ImageRecord {
        id: parse_id(&row.id)?,
        status: ImageStatus::parse(&row.status).ok_or_else(|| corrupt("status", &row.status))?,
        visibility: Visibility::parse(&row.visibility)
            .ok_or_else(|| corrupt("visibility", &row.visibility))?,
        name: row.name,
        owner: row.owner.map(ProjectId::from),
        disk_format,
        container_format,
        data,
        min_disk: u32::try_from(row.min_disk).unwrap_or(u32::MAX),
        min_ram: u32::try_from(row.min_ram).unwrap_or(u32::MAX),
        protected: row.protected,
        hidden: row.hidden,
        properties: BTreeMap::new(),
        tags: std::collections::BTreeSet::new(),
        created_at: Timestamp::from_micros(row.created_at),
        updated_at: Timestamp::from_micros(row.updated_at),
    })
}

fn parse_id(text: &str) -> Result<ImageId, StoreError> {
    text.parse().map_err(|_| StoreError::Corrupt {
        table: "images",
        column: "id",
        row: text.to_owned(),
        message: "not a UUID".to_owned(),
    })
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A violated uniqueness is the caller's business, everything else the database's.
fn taken(what: &'static str, id: &str) -> impl FnOnce(DbErr) -> StoreError {
    let id = id.to_owned();
    move |error| match error.sql_err() {
        Some(SqlErr::UniqueConstraintViolation(_)) => StoreError::Exists { what, id },
        _ => StoreError::db("record an image")(error),
    }
}
