//! Which extra specs Nova knows, and what their values look like (2.86).
//!
//! A key without a namespace, or of a namespace that Nova does not know, may hold anything: it is
//! somebody's own. Within Nova's namespaces only Nova's keys are allowed. Nova keeps a list of the
//! traits that exist; here every name that could be a trait's is taken for one.

use std::sync::OnceLock;

use regex::Regex;

use super::super::fault::ApiFault;

/// What a value has to be.
#[derive(Debug, Clone, Copy)]
enum Form {
    Anything,
    Boolean,
    Integer,
    /// At least so much.
    AtLeast(i128),
    OneOf(&'static [&'static str]),
    /// Matches a regular expression as a whole.
    Like(&'static str),
}

const CPUS: &str = r"\^?\d+((-\d+)?(,\^?\d+(-\d+)?)?)*";
const TRAIT: &[&str] = &["required", "forbidden"];

/// Regular expression of the keys, and the form of their values. The first that fits counts.
const KNOWN: &[(&str, Form)] = &[
    ("hide_hypervisor_id", Form::Boolean),
    ("group_policy", Form::OneOf(&["isolate", "none"])),
    ("accel:device_profile", Form::Anything),
    ("aggregate_instance_extra_specs:.+", Form::Anything),
    (
        "capabilities:(id|uuid|service_id|host|vcpus|memory_mb|local_gb|vcpus_used|memory_mb_used|\
         local_gb_used|hypervisor_type|hypervisor_version|hypervisor_hostname|free_ram_mb|\
         free_disk_gb|current_workload|running_vms|disk_available_least|host_ip|mapped|\
         cpu_allocation_ratio|ram_allocation_ratio|disk_allocation_ratio|total_usable_ram_mb|\
         total_usable_disk_gb|disk_mb_used|free_disk_mb|vcpus_total|num_instances|num_io_ops|\
         failed_builds|aggregates|cell_uuid|updated)",
        Form::Anything,
    ),
    (
        "capabilities:(cpu_info|metrics|stats|numa_topology|supported_hv_specs|pci_device_pools|\
         nodename|pci_stats|supported_instances|limits|instances)(:[a-zA-Z0-9_]+)*",
        Form::Anything,
    ),
    ("hw:cpu_policy", Form::OneOf(&["dedicated", "shared", "mixed"])),
    ("hw:cpu_thread_policy", Form::OneOf(&["prefer", "isolate", "require"])),
    ("hw:emulator_threads_policy", Form::OneOf(&["isolate", "share"])),
    ("hw:(cpu_realtime_mask|cpu_dedicated_mask)", Form::Like(CPUS)),
    (r"hw:numa_cpus\.\d+", Form::Like(CPUS)),
    (r"hw:numa_mem\.\d+", Form::AtLeast(1)),
    ("hw:numa_nodes", Form::AtLeast(1)),
    ("hw:(max_)?cpu_(sockets|cores|threads)", Form::AtLeast(1)),
    ("hw:mem_page_size", Form::Like(r"(large|small|any|\d+([kKMGT]i?)?(b|bit|B)?)")),
    ("hw:pci_numa_affinity_policy", Form::OneOf(&["required", "preferred", "legacy", "socket"])),
    (
        "hw:(cpu_realtime|hide_hypervisor_id|boot_menu|mem_encryption|pmu|locked_memory|\
         vif_multiqueue_enabled|virtio_packed_ring|ephemeral_encryption)",
        Form::Boolean,
    ),
    ("hw:mem_encryption_model", Form::OneOf(&["amd-sev", "amd-sev-es"])),
    ("hw:ephemeral_encryption_format", Form::OneOf(&["luks"])),
    ("hw:maxphysaddr_mode", Form::OneOf(&["passthrough", "emulate"])),
    ("hw:(maxphysaddr_bits|serial_port_count|redirected_usb_ports)", Form::AtLeast(0)),
    ("hw:viommu_model", Form::OneOf(&["intel", "smmuv3", "virtio", "auto"])),
    ("hw:pmem", Form::Like("([a-zA-Z0-9_]+(,)?)+")),
    ("hw:tpm_model", Form::OneOf(&["tpm-tis", "tpm-crb"])),
    ("hw:tpm_version", Form::OneOf(&["1.2", "2.0"])),
    ("hw:(sound_model|usb_model)", Form::Anything),
    ("hw:watchdog_action", Form::OneOf(&["none", "pause", "poweroff", "reset", "disabled"])),
    ("hw_rng:allowed", Form::Boolean),
    ("hw_rng:rate_(bytes|period)", Form::AtLeast(0)),
    ("hw_video:ram_max_mb", Form::AtLeast(0)),
    ("os:secure_boot", Form::OneOf(&["disabled", "required"])),
    ("pci_passthrough:alias", Form::Like(r"[^:]+:\d+(?:\s*,\s*[^:]+:\d+)*")),
    ("quota:(cpu|memory|disk_io|vif)_(limit|reservation|shares_share)", Form::Integer),
    ("quota:(cpu|memory|disk_io|vif)_shares_level", Form::Anything),
    (
        "quota:(cpu_(shares|period|quota)|disk_(read|write|total)_(bytes|iops)_sec|\
         vif_(inbound|outbound)_(average|peak|burst))",
        Form::AtLeast(0),
    ),
    (
        "resources([a-zA-Z0-9_-]{1,64})?:(CUSTOM_[A-Z0-9_]+|VCPU|MEMORY_MB|DISK_GB|PCI_DEVICE|\
         SRIOV_NET_VF|NUMA_SOCKET|NUMA_CORE|NUMA_THREAD|NUMA_MEMORY_MB|IPV4_ADDRESS|VGPU|\
         VGPU_DISPLAY_HEAD|NET_BW_EGR_KILOBIT_PER_SEC|NET_BW_IGR_KILOBIT_PER_SEC|PCPU|\
         MEM_ENCRYPTION_CONTEXT|FPGA|PGPU|NET_PACKET_RATE_KILOPACKET_PER_SEC|\
         NET_PACKET_RATE_EGR_KILOPACKET_PER_SEC|NET_PACKET_RATE_IGR_KILOPACKET_PER_SEC)",
        Form::Integer,
    ),
    ("trait([a-zA-Z0-9_-]{1,64})?:[A-Z][A-Z0-9_]*", Form::OneOf(TRAIT)),
    ("vmware:(hw_version|storage_policy)", Form::Anything),
];

/// Namespaces of Nova's.
const NAMESPACES: &str = "accel|aggregate_instance_extra_specs|capabilities|hw|hw_rng|hw_video|os|\
                          pci_passthrough|quota|(resources|trait)([a-zA-Z0-9_-]{1,64})?|vmware";

/// Refuses an extra spec that Nova would not understand.
///
/// # Errors
/// 400.
pub fn check(name: &str, value: &str) -> Result<(), ApiFault> {
    if let Some((_, form)) = known().iter().find(|(known, _)| known.is_match(name)) {
        return form.check(value);
    }
    match name.split_once(':') {
        Some((namespace, _)) if is_like(NAMESPACES, namespace) => {
            Err(refused(&format!("extra spec '{name}' does not appear to be a valid extra spec.")))
        }
        _ => Ok(()),
    }
}

/// The table, compiled once.
fn known() -> &'static [(Regex, Form)] {
    static COMPILED: OnceLock<Vec<(Regex, Form)>> = OnceLock::new();
    COMPILED.get_or_init(|| {
        KNOWN.iter().filter_map(|(pattern, form)| Some((whole(pattern)?, *form))).collect()
    })
}

fn refused(why: &str) -> ApiFault {
    ApiFault::bad_request(format!("Validation failed; {why}"))
}

/// A regular expression that has to match a text as a whole. All of this module compile.
fn whole(pattern: &str) -> Option<Regex> {
    Regex::new(&format!("^(?:{pattern})$")).ok()
}

fn is_like(pattern: &str, text: &str) -> bool {
    whole(pattern).is_some_and(|pattern| pattern.is_match(text))
}

impl Form {
    fn check(self, value: &str) -> Result<(), ApiFault> {
        let number = || {
            let parsed = value.trim().replace('_', "").parse::<i128>();
            parsed.map_err(|_| refused(&format!("'{value}' is not a valid integer value.")))
        };
        match self {
            Self::Anything => Ok(()),
            Self::Boolean => match value.trim().to_ascii_lowercase().as_str() {
                "1" | "t" | "true" | "on" | "y" | "yes" | "0" | "f" | "false" | "off" | "n"
                | "no" => Ok(()),
                _ => Err(refused(&format!("'{value}' is not a valid boolean-like value."))),
            },
            Self::Integer => number().map(drop),
            Self::AtLeast(least) => match number()? {
                number if number >= least => Ok(()),
                number => {
                    let why = format!("'{number}' is less than the min value of '{least}'.");
                    Err(refused(&why))
                }
            },
            Self::OneOf(values) if values.contains(&value) => Ok(()),
            Self::OneOf(values) => {
                let values = values.join(", ");
                Err(refused(&format!("'{value}' is not one of: {values}.")))
            }
            Self::Like(pattern) if is_like(pattern, value) => Ok(()),
            Self::Like(pattern) => {
                Err(refused(&format!("'{value}' is not of the format '{pattern}'.")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_compile() {
        assert_eq!(known().len(), KNOWN.len());
        for (_, form) in KNOWN {
            if let Form::Like(pattern) = form {
                assert!(whole(pattern).is_some(), "{pattern}");
            }
        }
        assert!(whole(NAMESPACES).is_some());
    }

    #[test]
    fn what_nova_knows() {
        for (name, value) in [
            ("hw:cpu_policy", "dedicated"),
            ("hw:numa_cpus.0", "0-3,^2"),
            ("hw:numa_mem.12", "512"),
            ("hw:mem_page_size", "1GB"),
            ("hw:boot_menu", "Yes"),
            ("quota:disk_read_iops_sec", "0"),
            ("trait:HW_CPU_X86_AVX", "required"),
            ("trait_1:CUSTOM_GOLD", "forbidden"),
            ("resources2:VCPU", "1"),
            ("capabilities:cpu_info:features", "<in> aes"),
            ("pci_passthrough:alias", "a1:2, b:1"),
            // Not Nova's.
            ("colour", "blue"),
            ("acme:anything", "x"),
        ] {
            assert_eq!(check(name, value), Ok(()), "{name}={value}");
        }
    }

    #[test]
    fn refusals_are_novas() {
        for (name, value, why) in [
            (
                "hw:cpu_polciy",
                "x",
                "extra spec 'hw:cpu_polciy' does not appear to be a valid extra spec.",
            ),
            ("hw:cpu_policy", "own", "'own' is not one of: dedicated, shared, mixed."),
            ("hw:numa_nodes", "0", "'0' is less than the min value of '1'."),
            ("hw:numa_nodes", "many", "'many' is not a valid integer value."),
            ("hw_rng:allowed", "maybe", "'maybe' is not a valid boolean-like value."),
            ("hw:pmem", "a b", "'a b' is not of the format '([a-zA-Z0-9_]+(,)?)+'."),
            ("trait:HW", "wanted", "'wanted' is not one of: required, forbidden."),
        ] {
            let refused = check(name, value).unwrap_err();
            assert_eq!(refused.message(), format!("Validation failed; {why}"));
        }
    }
}
