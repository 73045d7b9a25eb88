//! Conditions on the times of an image. They see whole seconds, because that is what the API shows:
//! an image is equal to the time that a client was told.

use reprieve_core::Timestamp;
use sea_orm::{ColumnTrait as _, Condition};

use super::entity::image::Column;

/// One second, in the unit of the time columns.
const SECOND: i64 = 1_000_000;

/// A time of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageTime {
    /// When it was described first.
    CreatedAt,
    /// When it changed last.
    UpdatedAt,
}

/// How a time has to be to another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeComparison {
    /// The same.
    Equal,
    /// Another one.
    NotEqual,
    /// Later.
    After,
    /// Later or the same.
    NotBefore,
    /// Earlier.
    Before,
    /// Earlier or the same.
    NotAfter,
}

/// One condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeCondition {
    /// Which time.
    pub column: ImageTime,
    /// How it has to be.
    pub comparison: TimeComparison,
    /// To this time.
    pub time: Timestamp,
}

impl TimeCondition {
    pub(super) fn condition(self) -> Condition {
        let column = match self.column {
            ImageTime::CreatedAt => Column::CreatedAt,
            ImageTime::UpdatedAt => Column::UpdatedAt,
        };
        // The first whole second that is not before the time, and the first one behind it. No whole
        // second is equal to a time with a fraction, and then both are the same.
        let fraction = self.time.micros().rem_euclid(SECOND);
        let floor = self.time.micros().saturating_sub(fraction);
        let behind = floor.saturating_add(SECOND);
        let first = if fraction == 0 { floor } else { behind };
        match self.comparison {
            TimeComparison::Equal => Condition::all().add(column.gte(first)).add(column.lt(behind)),
            TimeComparison::NotEqual => {
                Condition::any().add(column.lt(first)).add(column.gte(behind))
            }
            TimeComparison::After => Condition::all().add(column.gte(behind)),
            TimeComparison::NotBefore => Condition::all().add(column.gte(first)),
            TimeComparison::Before => Condition::all().add(column.lt(first)),
            TimeComparison::NotAfter => Condition::all().add(column.lt(behind)),
        }
    }
}
