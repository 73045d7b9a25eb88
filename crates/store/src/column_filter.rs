//! Conditions on single columns of a server that have to be equal.

use reprieve_core::Timestamp;
use sea_orm::{ColumnTrait as _, Condition};

use crate::entity::instance::Column;
use crate::record::DiskConfig;

/// One second, in the unit of the time columns.
const SECOND: i64 = 1_000_000;

/// Values that columns must have. `None` does not filter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ColumnFilter {
    /// When it was made, to the second.
    pub created_at: Option<Timestamp>,
    /// When its guest was last begun, to the second.
    pub launched_at: Option<Timestamp>,
    /// When it ended, to the second.
    pub terminated_at: Option<Timestamp>,
    /// Progress of what is being done to it.
    pub progress: Option<i64>,
    /// Index within its request.
    pub launch_index: Option<i64>,
    /// Who locked it: `owner` or `admin`.
    pub locked_by: Option<String>,
    /// `accessIPv4`.
    pub access_ip_v4: Option<String>,
    /// `accessIPv6`.
    pub access_ip_v6: Option<String>,
    /// Disk configuration.
    pub disk_config: Option<DiskConfig>,
    /// Only with a host.
    pub with_host: bool,
}

impl ColumnFilter {
    /// All of it.
    pub(crate) fn condition(&self) -> Condition {
        let within = |column: Column, time: Option<Timestamp>| {
            time.map(|time| {
                let from = time.micros();
                column.between(from, from.saturating_add(SECOND - 1))
            })
        };
        let number = |column: Column, value: Option<i64>| value.map(|value| column.eq(value));
        let text = |column: Column, value: &Option<String>| {
            value.as_ref().map(|value| column.eq(value.as_str()))
        };
        Condition::all()
            .add_option(within(Column::CreatedAt, self.created_at))
            .add_option(within(Column::LaunchedAt, self.launched_at))
            .add_option(within(Column::TerminatedAt, self.terminated_at))
            .add_option(number(Column::Progress, self.progress))
            .add_option(number(Column::LaunchIndex, self.launch_index))
            .add_option(text(Column::LockedBy, &self.locked_by))
            .add_option(text(Column::AccessIpV4, &self.access_ip_v4))
            .add_option(text(Column::AccessIpV6, &self.access_ip_v6))
            .add_option(self.disk_config.map(|config| Column::DiskConfig.eq(config.as_str())))
            .add_option(self.with_host.then(|| Column::Host.is_not_null()))
    }
}
