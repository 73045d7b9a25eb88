//! libvirt's statistics of a domain in the words of the core.

use std::collections::BTreeMap;

use reprieve_core::stats::{CpuStats, DiskStats, GuestStats};

use super::sys::Statistic;
use crate::xml::DomainType;

/// Disks that are looked for at most; guests have three.
const MAX_DISKS: u64 = 256;

/// What of `found` diagnostics show.
pub(super) fn gather(domain_type: DomainType, found: Vec<(String, Statistic)>) -> GuestStats {
    let found: BTreeMap<String, Statistic> = found.into_iter().collect();
    let number = |name: &str| match found.get(name) {
        Some(Statistic::Number(number)) => Some(*number),
        Some(Statistic::Text(_)) | None => None,
    };
    let disk = |index: u64| DiskStats {
        device: match found.get(&format!("block.{index}.name")) {
            Some(Statistic::Text(name)) => name.clone(),
            Some(Statistic::Number(_)) | None => format!("disk{index}"),
        },
        read_requests: number(&format!("block.{index}.rd.reqs")).unwrap_or_default(),
        read_bytes: number(&format!("block.{index}.rd.bytes")).unwrap_or_default(),
        write_requests: number(&format!("block.{index}.wr.reqs")).unwrap_or_default(),
        write_bytes: number(&format!("block.{index}.wr.bytes")).unwrap_or_default(),
    };
    let mut cpus: Vec<CpuStats> = found.iter().filter_map(cpu).collect();
    cpus.sort_by_key(|cpu| cpu.id);
    GuestStats {
        hypervisor: domain_type.as_str().to_owned(),
        memory_max_kib: number("balloon.maximum").unwrap_or_default(),
        memory_kib: number("balloon.current").unwrap_or_default(),
        memory: found.iter().filter_map(memory).collect(),
        cpus,
        disks: (0..number("block.count").unwrap_or_default().min(MAX_DISKS)).map(disk).collect(),
    }
}

/// `vcpu.0.time`.
fn cpu((name, value): (&String, &Statistic)) -> Option<CpuStats> {
    let id = name.strip_prefix("vcpu.")?.strip_suffix(".time")?.parse().ok()?;
    match value {
        Statistic::Number(time_ns) => Some(CpuStats { id, time_ns: *time_ns }),
        Statistic::Text(_) => None,
    }
}

/// `balloon.*` under the names of `virDomainMemoryStats`, which Nova shows.
fn memory((name, value): (&String, &Statistic)) -> Option<(String, u64)> {
    let name = match name.strip_prefix("balloon.")? {
        "maximum" => return None,
        "current" => "actual".to_owned(),
        other => other.replace('-', "_"),
    };
    match value {
        Statistic::Number(number) => Some((name, *number)),
        Statistic::Text(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_libvirt_become_fields() {
        let number = |name: &str, value: u64| (name.to_owned(), Statistic::Number(value));
        let found = vec![
            number("vcpu.current", 11),
            number("vcpu.10.time", 7),
            number("vcpu.2.time", 5),
            number("vcpu.2.wait", 1),
            number("balloon.maximum", 2048),
            number("balloon.current", 1024),
            number("balloon.last-update", 3),
            number("block.count", 2),
            ("block.0.name".to_owned(), Statistic::Text("vda".to_owned())),
            number("block.0.rd.reqs", 1),
            number("block.0.rd.bytes", 2),
            number("block.0.wr.reqs", 3),
            number("block.0.wr.bytes", 4),
        ];
        let stats = gather(DomainType::Qemu, found);
        assert_eq!(stats.hypervisor, "qemu");
        assert_eq!((stats.memory_max_kib, stats.memory_kib), (2048, 1024));
        let cpus: Vec<(u32, u64)> = stats.cpus.iter().map(|cpu| (cpu.id, cpu.time_ns)).collect();
        assert_eq!(cpus, [(2, 5), (10, 7)]);
        let expected = BTreeMap::from([("actual".to_owned(), 1024), ("last_update".to_owned(), 3)]);
        assert_eq!(stats.memory, expected);
        let [first, second] = stats.disks.as_slice() else { panic!("{:?}", stats.disks) };
        assert_eq!((first.device.as_str(), first.read_requests, first.read_bytes), ("vda", 1, 2));
        assert_eq!((first.write_requests, first.write_bytes), (3, 4));
        assert_eq!(second.device, "disk1");
        assert_eq!(gather(DomainType::Kvm, Vec::new()).disks, []);
    }
}
