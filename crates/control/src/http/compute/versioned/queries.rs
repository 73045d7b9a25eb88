//! Since when query parameters count, per resource. Those that always did are not listed.

use super::Parameters;

/// `GET /servers` and `/servers/detail`.
pub static SERVERS: Parameters = Parameters::new(&[("changes-before", 66)]);

/// Filters of these two that everybody may use. Others are for administrators, and do nothing for
/// anybody else.
pub static SERVER_FILTERS_FOR_EVERYBODY: Parameters = Parameters::new(&[
    ("reservation_id", 1),
    ("name", 1),
    ("status", 1),
    ("image", 1),
    ("flavor", 1),
    ("ip", 1),
    ("changes-since", 1),
    ("ip6", 5),
    ("tags", 26),
    ("tags-any", 26),
    ("not-tags", 26),
    ("not-tags-any", 26),
    ("changes-before", 66),
    ("locked", 73),
    ("availability_zone", 83),
    ("config_drive", 83),
    ("key_name", 83),
    ("created_at", 83),
    ("launched_at", 83),
    ("terminated_at", 83),
    ("power_state", 83),
    ("task_state", 83),
    ("vm_state", 83),
    ("progress", 83),
    ("user_id", 83),
    ("hostname", 90),
]);

/// `GET /servers/{id}/os-instance-actions`.
pub static ACTIONS: Parameters = Parameters::new(&[
    ("limit", 58),
    ("marker", 58),
    ("changes-since", 58),
    ("changes-before", 66),
]);

/// `GET /os-migrations`.
pub static MIGRATIONS: Parameters = Parameters::new(&[
    ("limit", 59),
    ("marker", 59),
    ("changes-since", 59),
    ("changes-before", 66),
    ("user_id", 80),
    ("project_id", 80),
]);

/// `GET /flavors` and `/flavors/detail`.
pub static FLAVORS: Parameters = Parameters::new(&[("name", 102)]);

/// `/os-keypairs` and `/os-keypairs/{name}`.
pub static KEYPAIRS: Parameters =
    Parameters::new(&[("user_id", 10), ("limit", 35), ("marker", 35)]);

/// `GET /os-hypervisors`, `/os-hypervisors/detail` and `/os-hypervisors/{id}`.
pub static HYPERVISORS: Parameters = Parameters::new(&[
    ("limit", 33),
    ("marker", 33),
    ("hypervisor_hostname_pattern", 53),
    ("with_servers", 53),
]);

/// `GET /os-simple-tenant-usage` and `/os-simple-tenant-usage/{project}`.
pub static USAGE: Parameters = Parameters::new(&[("limit", 40), ("marker", 40)]);

#[cfg(test)]
mod tests {
    use super::super::super::microversion::Microversion;
    use super::*;

    #[test]
    fn parameters_are_listed_once_in_versions_that_there_are() {
        for table in [
            &SERVERS,
            &SERVER_FILTERS_FOR_EVERYBODY,
            &ACTIONS,
            &MIGRATIONS,
            &FLAVORS,
            &KEYPAIRS,
            &HYPERVISORS,
            &USAGE,
        ] {
            let rows = table.rows();
            assert!(rows.is_sorted_by_key(|(_, since)| since), "{rows:?}");
            for (index, (name, since)) in rows.iter().enumerate() {
                assert!(*since >= 1 && Microversion::MAX.since(*since), "{name}");
                assert!(rows[..index].iter().all(|(other, _)| other != name), "{name}");
            }
        }
    }
}
