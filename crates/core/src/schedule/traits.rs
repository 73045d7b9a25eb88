//! What images and flavors ask of the kind of a host.
//!
//! Images as Nova's `ImagePropertiesFilter` reads them: `hw_architecture`, `img_hv_type`,
//! `hw_vm_mode`, with their older names. Flavors by scoped extra specs: `capabilities:…` as
//! `ComputeCapabilitiesFilter` has it, and `aggregate_instance_extra_specs:…` against the metadata of
//! the host's aggregates. Extra specs of other scopes, and those without, ask nothing of a host here.
//!
//! Both are written by tenants or operators and may be anything; what cannot be read is not met. What
//! a host does not say about itself keeps no image away.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::message::HostInfo;

/// Scope of what is compared with the host.
const CAPABILITIES: &str = "capabilities:";
/// Scope of what is compared with the metadata of its aggregates.
const AGGREGATES: &str = "aggregate_instance_extra_specs:";

/// What kind of machine a host is.
#[derive(Debug, Clone, PartialEq)]
pub struct Machine<'a> {
    info: &'a HostInfo,
    cpu: Value,
}

impl<'a> Machine<'a> {
    /// As the host says.
    #[must_use]
    pub fn of(info: &'a HostInfo) -> Self {
        let cpu = serde_json::from_str(&info.cpu_info).unwrap_or_default();
        Self { info, cpu }
    }

    fn architecture(&self) -> Option<&str> {
        self.cpu.get("arch").and_then(Value::as_str)
    }

    /// What stands behind `capabilities:` and these words.
    fn capability(&self, path: &str) -> Option<String> {
        let text = |value: &Value| match value {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(flag) => Some(flag.to_string()),
            Value::Array(_) => Some(value.to_string()),
            Value::Null | Value::Object(_) => None,
        };
        match path.split_once(':') {
            Some(("cpu_info", rest)) => {
                rest.split(':').try_fold(&self.cpu, |value, word| value.get(word)).and_then(text)
            }
            Some(_) => None,
            None => match path {
                "hypervisor_type" => Some(self.info.hypervisor_type.clone()),
                "hypervisor_version" => Some(self.info.hypervisor_version.to_string()),
                "hypervisor_hostname" => Some(self.info.hypervisor_hostname.clone()),
                "vcpus_total" => Some(self.info.vcpus.to_string()),
                _ => None,
            },
        }
    }
}

/// The image property that a host does not have, with what it asks for.
#[must_use]
pub fn lacking_for_image<'p>(
    machine: &Machine<'_>,
    properties: &'p BTreeMap<String, String>,
) -> Option<(&'static str, &'p str)> {
    let asked = |names: [&'static str; 2]| {
        names.into_iter().find_map(|name| Some((name, properties.get(name)?.as_str())))
    };
    let unmet = |names, met: &dyn Fn(&str) -> bool| asked(names).filter(|(_, text)| !met(text));
    unmet(["hw_architecture", "architecture"], &|wanted| {
        machine.architecture().is_none_or(|has| runs(has, wanted))
    })
    .or_else(|| {
        unmet(["img_hv_type", "hypervisor_type"], &|wanted| match wanted.to_lowercase().as_str() {
            // libvirt's QEMU emulates on every host.
            "qemu" => true,
            "kvm" => machine.info.kvm,
            _ => false,
        })
    })
    .or_else(|| {
        // "hv" is what hvm was called once.
        unmet(["hw_vm_mode", "vm_mode"], &|wanted| {
            matches!(wanted.to_lowercase().as_str(), "hvm" | "hv")
        })
    })
}

/// Whether a host of one architecture runs guests of another: 32 bits on 64 of the same family.
fn runs(has: &str, wanted: &str) -> bool {
    let (has, wanted) = (canonical(has), canonical(wanted));
    has == wanted || (has == "x86_64" && wanted == "i686")
}

/// Other names of architectures, as Nova knows them.
fn canonical(name: &str) -> String {
    let name = name.trim().to_lowercase();
    match name.as_str() {
        "i386" | "i486" | "i586" | "x86" => "i686".to_owned(),
        "amd64" => "x86_64".to_owned(),
        "arm64" => "aarch64".to_owned(),
        _ => name,
    }
}

/// The extra spec that a host does not meet, with what it asks for.
#[must_use]
pub fn lacking_for_flavor<'s>(
    machine: Option<&Machine<'_>>,
    aggregates: &[&BTreeMap<String, String>],
    extra_specs: &'s BTreeMap<String, String>,
) -> Option<(&'s str, &'s str)> {
    extra_specs
        .iter()
        .map(|(key, wanted)| (key.as_str(), wanted.as_str()))
        .find(|(key, wanted)| !meets(machine, aggregates, (key, wanted)))
}

fn meets(
    machine: Option<&Machine<'_>>,
    aggregates: &[&BTreeMap<String, String>],
    (key, wanted): (&str, &str),
) -> bool {
    if let Some(path) = key.strip_prefix(CAPABILITIES) {
        // A host that has just registered has not said yet what it is.
        let Some(machine) = machine else { return true };
        return machine.capability(path).is_some_and(|has| matches(&has, wanted));
    }
    let Some(key) = key.strip_prefix(AGGREGATES) else { return true };
    let values = aggregates.iter().filter_map(|metadata| metadata.get(key));
    values.flat_map(|values| values.split(',')).any(|value| matches(value.trim(), wanted))
}

/// Whether a value is what an extra spec asks for, in the words of oslo.utils' `specs_matcher`: an
/// operator and its operands, or the value itself.
fn matches(has: &str, wanted: &str) -> bool {
    let mut words = wanted.split_whitespace();
    let operator = words.next().unwrap_or_default();
    let operand = words.next().unwrap_or_default();
    let numbers = |met: fn(f64, f64) -> bool| match (has.parse(), operand.parse()) {
        (Ok(has), Ok(wanted)) => met(has, wanted),
        (Ok(_) | Err(_), _) => false,
    };
    let mut operands = wanted.split_whitespace().skip(1);
    match operator {
        // At least; Nova kept the sign that it once had.
        "=" | ">=" => numbers(|has, wanted| has >= wanted),
        "<=" => numbers(|has, wanted| has <= wanted),
        "==" => numbers(|has, wanted| has == wanted),
        "!=" => numbers(|has, wanted| has != wanted),
        "s==" => has == operand,
        "s!=" => has != operand,
        "s<" => has < operand,
        "s<=" => has <= operand,
        "s>" => has > operand,
        "s>=" => has >= operand,
        "<in>" => !operand.is_empty() && has.contains(operand),
        "<all-in>" => operands.all(|word| has.contains(word)),
        "<or>" => wanted.split("<or>").skip(1).any(|one| one.trim() == has),
        _ => has == wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(kvm: bool, cpu_info: &str) -> HostInfo {
        HostInfo {
            hypervisor_hostname: "h".to_owned(),
            hypervisor_type: "QEMU".to_owned(),
            hypervisor_version: 7_002_000,
            vcpus: 4,
            memory_mib: 1,
            disk_gib: 1,
            disk_free_gib: 1,
            kvm,
            cpu_info: cpu_info.to_owned(),
            host_ip: String::new(),
            uptime: String::new(),
            agent_version: String::new(),
            unknown_guests: Vec::new(),
        }
    }

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    const CPU: &str = r#"{"arch": "x86_64", "model": "Skylake", "vendor": "Intel",
        "topology": {"sockets": 2}, "features": ["aes", "avx2"]}"#;

    #[test]
    fn images_ask_for_architecture_type_and_mode() {
        let host = info(false, CPU);
        for (property, met) in [
            (("hw_architecture", "x86_64"), true),
            (("hw_architecture", "AMD64"), true),
            (("hw_architecture", "i586"), true),
            (("hw_architecture", "arm64"), false),
            (("architecture", "ppc64le"), false),
            (("img_hv_type", "QEMU"), true),
            (("img_hv_type", "kvm"), false),
            (("hypervisor_type", "vmware"), false),
            (("hw_vm_mode", "hvm"), true),
            (("vm_mode", "xen"), false),
            (("os_distro", "plan9"), true),
        ] {
            let properties = map(&[property]);
            let lacking = lacking_for_image(&Machine::of(&host), &properties);
            assert_eq!(lacking, (!met).then_some(property), "{property:?}");
        }
        let kvm = info(true, "");
        let asks = map(&[("img_hv_type", "kvm"), ("hw_architecture", "s390x")]);
        assert_eq!(lacking_for_image(&Machine::of(&kvm), &asks), None, "it does not say");
        // The newer name wins.
        let both = map(&[("hw_architecture", "x86_64"), ("architecture", "arm64")]);
        assert_eq!(lacking_for_image(&Machine::of(&host), &both), None);
        assert!(!runs("i686", "x86_64") && runs("aarch64", "arm64"));
    }

    #[test]
    fn flavors_ask_for_capabilities_and_metadata_of_aggregates() {
        let host = info(false, CPU);
        let machine = Machine::of(&host);
        let metadata = [map(&[("ssd", "true"), ("rack", "a, b")]), map(&[("rack", "c")])];
        let aggregates: Vec<_> = metadata.iter().collect();
        for (key, wanted, met) in [
            ("capabilities:hypervisor_type", "QEMU", true),
            ("capabilities:hypervisor_type", "s== ironic", false),
            ("capabilities:hypervisor_version", ">= 7000000", true),
            ("capabilities:hypervisor_version", "= 8000000", false),
            ("capabilities:hypervisor_hostname", "h", true),
            ("capabilities:vcpus_total", "== 4", true),
            ("capabilities:cpu_info:arch", "x86_64", true),
            ("capabilities:cpu_info:topology:sockets", ">= 2", true),
            ("capabilities:cpu_info:topology", "2", false),
            ("capabilities:cpu_info:features", "<in> avx2", true),
            ("capabilities:cpu_info:features", "<all-in> aes avx2", true),
            ("capabilities:cpu_info:features", "<all-in> aes avx512f", false),
            ("capabilities:nothing", "x", false),
            ("capabilities:a:b", "x", false),
            ("aggregate_instance_extra_specs:ssd", "true", true),
            ("aggregate_instance_extra_specs:ssd", "false", false),
            ("aggregate_instance_extra_specs:rack", "b", true),
            ("aggregate_instance_extra_specs:rack", "<or> x <or> c", true),
            ("aggregate_instance_extra_specs:rack", "<or> x <or> y", false),
            ("aggregate_instance_extra_specs:gpu", "1", false),
            ("hw:cpu_policy", "dedicated", true),
            ("trait:CUSTOM", "required", true),
            ("ssd", "false", true),
        ] {
            let specs = map(&[(key, wanted)]);
            let lacking = lacking_for_flavor(Some(&machine), &aggregates, &specs);
            assert_eq!(lacking, (!met).then_some((key, wanted)), "{key}={wanted}");
        }
        let specs = map(&[("capabilities:hypervisor_type", "xen")]);
        assert_eq!(lacking_for_flavor(None, &[], &specs), None, "it has not said yet");
    }

    #[test]
    fn operators() {
        for (has, wanted, met) in [
            ("5", "= 4", true),
            ("5", "<= 4", false),
            ("5", "== 5.0", true),
            ("5", "!= 5", false),
            ("x", ">= 1", false),
            ("5", ">=", false),
            ("b", "s< c", true),
            ("b", "s<= b", true),
            ("b", "s> b", false),
            ("b", "s>= b", true),
            ("b", "s!= b", false),
            ("abc", "<in> bc", true),
            ("abc", "<in>", false),
            ("two words", "two words", true),
            ("", "", true),
        ] {
            assert_eq!(matches(has, wanted), met, "{has} {wanted}");
        }
    }
}
