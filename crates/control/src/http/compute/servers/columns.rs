//! Filters on single columns of a server, which have to be equal (spec/api.md section 7.2).

use reprieve_core::Timestamp;
use reprieve_store::{ColumnFilter, DiskConfig};

use super::list::truth;

/// The device of the disk that a server with a host boots from.
const ROOT_DEVICE: &str = "/dev/vda";

/// Adds the condition; false: nothing can match it. `None`: `name` is no such column.
pub(super) fn condition(columns: &mut ColumnFilter, name: &str, value: &str) -> Option<bool> {
    let text = || Some(value.to_owned());
    let time = || Timestamp::parse_iso(value);
    let number = || value.trim().parse::<i64>().ok();
    let possible = match name {
        "created_at" => set(&mut columns.created_at, time()),
        "launched_at" => set(&mut columns.launched_at, time()),
        "terminated_at" => set(&mut columns.terminated_at, time()),
        "progress" => set(&mut columns.progress, number()),
        "launch_index" => set(&mut columns.launch_index, number()),
        "locked_by" => set(&mut columns.locked_by, text()),
        "access_ip_v4" => set(&mut columns.access_ip_v4, text()),
        "access_ip_v6" => set(&mut columns.access_ip_v6, text()),
        "auto_disk_config" => set(&mut columns.disk_config, disk_config(value)),
        // Servers boot from their own disks: there are no kernels and ramdisks beside them.
        "kernel_id" | "ramdisk_id" => value.is_empty(),
        "root_device_name" => {
            columns.with_host = true;
            value == ROOT_DEVICE
        }
        _ => return None,
    };
    Some(possible)
}

/// As the API shows it, which is what openstacksdk sends, or as the truth value that the column
/// holds. Nova's schema lets any text pass here, so what is neither is not refused.
fn disk_config(value: &str) -> Option<DiskConfig> {
    let shown = DiskConfig::parse(value);
    shown.or_else(|| {
        truth(value).ok().map(|auto| if auto { DiskConfig::Auto } else { DiskConfig::Manual })
    })
}

/// False when the value is not of the column's type, so that no server has it.
fn set<T>(column: &mut Option<T>, value: Option<T>) -> bool {
    *column = value;
    column.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(name: &str, value: &str) -> (Option<bool>, ColumnFilter) {
        let mut columns = ColumnFilter::default();
        let possible = condition(&mut columns, name, value);
        (possible, columns)
    }

    #[test]
    fn values_have_the_type_of_their_column() {
        let (possible, columns) = apply("launched_at", "2026-11-22T20:13:22Z");
        assert_eq!(possible, Some(true));
        assert_eq!(columns.launched_at, Timestamp::parse_iso("2026-11-22T20:13:22Z"));
        assert_eq!(apply("progress", "40").1.progress, Some(40));
        for (value, config) in [
            ("True", DiskConfig::Auto),
            ("AUTO", DiskConfig::Auto),
            ("0", DiskConfig::Manual),
            ("MANUAL", DiskConfig::Manual),
        ] {
            assert_eq!(apply("auto_disk_config", value).1.disk_config, Some(config), "{value}");
        }
        for (name, value) in [
            ("created_at", "yesterday"),
            ("progress", "much"),
            ("kernel_id", "k"),
            ("root_device_name", "/dev/sda"),
            ("auto_disk_config", "maybe"),
        ] {
            assert_eq!(apply(name, value).0, Some(false), "{name}={value}");
        }
        assert_eq!(apply("ramdisk_id", "").0, Some(true));
        assert_eq!(apply("name", "x").0, None);
    }
}
