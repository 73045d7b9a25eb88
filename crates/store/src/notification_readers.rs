//! How far notifications were passed on, where that has to outlast a process.
//!
//! A reader has a name and one holder at a time, the process that reads for it. A holder that is not
//! heard of for [`HOLD`] loses the place to whoever asks next. Clocks of processes may differ; then a
//! place may change hands early, and some notifications are passed on twice, none is left out: the
//! number is raised only by the holder, only after it has passed on what is before.

use std::time::Duration;

use sea_orm::sea_query::OnConflict;
use sea_orm::{ActiveValue::Set, ColumnTrait as _, EntityTrait as _, QueryFilter as _};

use crate::convert::micros;
use crate::entity::notification_reader::{self, Column};
use crate::{Store, StoreError};

/// How long a place is kept for a holder that says nothing.
pub const HOLD: Duration = Duration::from_secs(30);

impl Store {
    /// Takes or keeps the place of a reader: the number of the last change that was passed on, or
    /// `None` while another process has the place. A reader that is new begins with what is
    /// committed from now on.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn hold_notification_reader(
        &self,
        name: &str,
        holder: &str,
    ) -> Result<Option<i64>, StoreError> {
        let newest = self.notification_range().await?.map_or(0, |(_, newest)| newest);
        let now = self.now().micros();
        let held_until = now.saturating_add(micros(HOLD));
        let tx = self.begin_lazy().await?;
        let known = notification_reader::Entity::find_by_id(name)
            .one(&*tx)
            .await
            .map_err(StoreError::db("look for a reader of notifications"))?;
        let passed = match &known {
            Some(row) if row.holder != holder && row.held_until > now => return Ok(None),
            Some(row) => row.passed,
            None => newest,
        };
        let row = notification_reader::ActiveModel {
            name: Set(name.to_owned()),
            passed: Set(passed),
            holder: Set(holder.to_owned()),
            held_until: Set(held_until),
        };
        let mut again = OnConflict::column(Column::Name);
        again.update_columns([Column::Holder, Column::HeldUntil]);
        notification_reader::Entity::insert(row)
            .on_conflict(again)
            .exec_without_returning(&*tx)
            .await
            .map_err(StoreError::db("hold the place of a reader of notifications"))?;
        tx.commit().await?;
        Ok(Some(passed))
    }

    /// Gives the place up, if this holder has it.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn leave_notification_reader(
        &self,
        name: &str,
        holder: &str,
    ) -> Result<(), StoreError> {
        let row = notification_reader::ActiveModel { held_until: Set(0), ..Default::default() };
        self.change_notification_reader(name, holder, row).await
    }

    /// Says that everything up to `number` was passed on; nothing when another has the place by now.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn passed_notifications(
        &self,
        name: &str,
        holder: &str,
        number: i64,
    ) -> Result<(), StoreError> {
        let held_until = self.now().micros().saturating_add(micros(HOLD));
        let row = notification_reader::ActiveModel {
            passed: Set(number),
            held_until: Set(held_until),
            ..Default::default()
        };
        self.change_notification_reader(name, holder, row).await
    }

    async fn change_notification_reader(
        &self,
        name: &str,
        holder: &str,
        row: notification_reader::ActiveModel,
    ) -> Result<(), StoreError> {
        let tx = self.begin_lazy().await?;
        notification_reader::Entity::update_many()
            .set(row)
            .filter(Column::Name.eq(name))
            .filter(Column::Holder.eq(holder))
            .exec(&*tx)
            .await
            .map_err(StoreError::db("note how far notifications were passed on"))?;
        tx.commit().await
    }
}
