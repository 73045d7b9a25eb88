//! Writes the domain XML. Shape: what Nova 26 writes for the same server, minus what it does not need.

use std::io;
use std::path::Path;

use quick_xml::Writer;
use quick_xml::events::BytesText;
use reprieve_core::OperationId;
use reprieve_core::spec::InstanceSpec;

use super::disks::{Bus, Device, DiskDevice};
use super::{DomainHost, DomainType, NAMESPACE, XmlError};

/// Longest text of a tenant that goes into a definition, in characters.
const MAX_TEXT: usize = 255;

/// Everything that decides a definition.
pub(super) struct Domain<'a> {
    pub(super) spec: &'a InstanceSpec,
    pub(super) rescue: bool,
    pub(super) boot_order: bool,
    pub(super) console_log: &'a Path,
    pub(super) guest_agent: bool,
    pub(super) machine: &'a str,
    pub(super) disks: &'a [DiskDevice],
    pub(super) memory_kib: u64,
    pub(super) tag: OperationId,
    pub(super) host: &'a DomainHost,
}

pub(super) type Out = Writer<Vec<u8>>;

/// A tenant's text with what XML cannot hold replaced, and cut to [`MAX_TEXT`].
pub(super) fn clean(text: &str) -> String {
    let valid = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
    let replace = |c| if valid(c) { c } else { '\u{fffd}' };
    text.chars().take(MAX_TEXT).map(replace).collect()
}

/// A path as XML can hold it, unchanged.
pub(super) fn path_text(path: &Path) -> Result<&str, XmlError> {
    path.to_str()
        .filter(|text| {
            !text.chars().any(|c| c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}'))
        })
        .ok_or_else(|| XmlError::Path(path.to_owned()))
}

pub(super) fn domain(domain: &Domain<'_>) -> Result<String, XmlError> {
    let sources =
        domain.disks.iter().map(|disk| path_text(&disk.source)).collect::<Result<Vec<_>, _>>()?;
    let paths = Paths {
        emulator: path_text(&domain.host.emulator)?,
        console_log: path_text(domain.console_log)?,
        sources,
    };
    let mut out = Writer::new_with_indent(Vec::with_capacity(4096), b' ', 2);
    write(&mut out, domain, &paths).map_err(XmlError::Write)?;
    finish(out)
}

/// The text of a written document.
pub(super) fn finish(out: Out) -> Result<String, XmlError> {
    String::from_utf8(out.into_inner())
        .map_err(|error| XmlError::Write(io::Error::new(io::ErrorKind::InvalidData, error)))
}

struct Paths<'a> {
    emulator: &'a str,
    console_log: &'a str,
    sources: Vec<&'a str>,
}

pub(super) fn text(out: &mut Out, name: &str, value: &str) -> io::Result<()> {
    out.create_element(name).write_text_content(BytesText::new(value)).map(drop)
}

pub(super) fn empty(out: &mut Out, name: &str, attributes: &[(&str, &str)]) -> io::Result<()> {
    out.create_element(name).with_attributes(attributes.iter().copied()).write_empty().map(drop)
}

fn write(out: &mut Out, domain: &Domain<'_>, paths: &Paths<'_>) -> io::Result<()> {
    let kind = domain.host.domain_type.as_str();
    out.create_element("domain").with_attribute(("type", kind)).write_inner_content(|out| {
        let memory = domain.memory_kib.to_string();
        text(out, "name", &domain.spec.domain_name())?;
        text(out, "uuid", &domain.spec.id.to_string())?;
        metadata(out, domain)?;
        for name in ["memory", "currentMemory"] {
            out.create_element(name)
                .with_attribute(("unit", "KiB"))
                .write_text_content(BytesText::new(&memory))?;
        }
        out.create_element("vcpu")
            .with_attribute(("placement", "static"))
            .write_text_content(BytesText::new(&domain.spec.flavor.vcpus.to_string()))?;
        sysinfo(out, domain.spec)?;
        boot(out, domain)?;
        out.create_element("features").write_inner_content(|out| {
            empty(out, "acpi", &[])?;
            empty(out, "apic", &[])?;
            empty(out, "vmcoreinfo", &[("state", "on")])
        })?;
        cpu(out, domain)?;
        clock(out, domain.host.domain_type)?;
        text(out, "on_poweroff", "destroy")?;
        text(out, "on_reboot", "restart")?;
        text(out, "on_crash", "destroy")?;
        out.create_element("devices").write_inner_content(|out| devices(out, domain, paths))?;
        Ok(())
    })?;
    Ok(())
}

fn metadata(out: &mut Out, domain: &Domain<'_>) -> io::Result<()> {
    let spec = domain.spec;
    out.create_element("metadata").write_inner_content(|out| {
        out.create_element("reprieve:instance")
            .with_attribute(("xmlns:reprieve", NAMESPACE))
            .write_inner_content(|out| {
                text(out, "reprieve:name", &clean(&spec.name))?;
                let flavor = clean(&spec.flavor.name);
                out.create_element("reprieve:flavor")
                    .with_attribute(("name", flavor.as_str()))
                    .write_inner_content(|out| {
                        text(out, "reprieve:memory", &spec.flavor.memory_mib.to_string())?;
                        text(out, "reprieve:disk", &spec.flavor.root_gib.to_string())?;
                        text(out, "reprieve:vcpus", &spec.flavor.vcpus.to_string())
                    })?;
                out.create_element("reprieve:owner").write_inner_content(|out| {
                    let (user, project) =
                        (clean(spec.user_id.as_str()), clean(spec.project_id.as_str()));
                    empty(out, "reprieve:user", &[("uuid", &user)])?;
                    empty(out, "reprieve:project", &[("uuid", &project)])
                })?;
                empty(out, "reprieve:operation", &[("id", &domain.tag.to_string())])?;
                if domain.rescue { empty(out, "reprieve:rescue", &[]) } else { Ok(()) }
            })?;
        Ok(())
    })?;
    Ok(())
}

fn sysinfo(out: &mut Out, spec: &InstanceSpec) -> io::Result<()> {
    let id = spec.id.to_string();
    // cloud-init recognises OpenStack by this product name.
    let entries = [
        ("manufacturer", "Reprieve"),
        ("product", "OpenStack Nova"),
        ("version", env!("CARGO_PKG_VERSION")),
        ("serial", id.as_str()),
        ("uuid", id.as_str()),
        ("family", "Virtual Machine"),
    ];
    out.create_element("sysinfo").with_attribute(("type", "smbios")).write_inner_content(
        |out| {
            out.create_element("system").write_inner_content(|out| {
                for (name, value) in entries {
                    out.create_element("entry")
                        .with_attribute(("name", name))
                        .write_text_content(BytesText::new(value))?;
                }
                Ok(())
            })?;
            Ok(())
        },
    )?;
    Ok(())
}

fn boot(out: &mut Out, domain: &Domain<'_>) -> io::Result<()> {
    out.create_element("os").write_inner_content(|out| {
        out.create_element("type")
            .with_attributes([("arch", "x86_64"), ("machine", domain.machine)])
            .write_text_content(BytesText::new("hvm"))?;
        // libvirt accepts either this or an order of the disks.
        if !domain.boot_order {
            empty(out, "boot", &[("dev", "hd")])?;
        }
        empty(out, "smbios", &[("mode", "sysinfo")])
    })?;
    Ok(())
}

/// A model that libvirt can write into a save and find again: never `host-passthrough`, whose
/// saved memory no other host and no upgraded kernel is promised to take back.
fn cpu(out: &mut Out, domain: &Domain<'_>) -> io::Result<()> {
    let vcpus = domain.spec.flavor.vcpus.to_string();
    let topology = |out: &mut Out| {
        empty(
            out,
            "topology",
            &[("sockets", &vcpus), ("dies", "1"), ("cores", "1"), ("threads", "1")],
        )
    };
    match domain.host.domain_type {
        DomainType::Kvm => out
            .create_element("cpu")
            .with_attributes([("mode", "host-model"), ("check", "partial")])
            .write_inner_content(topology)?,
        DomainType::Qemu => out
            .create_element("cpu")
            .with_attributes([("mode", "custom"), ("match", "exact"), ("check", "none")])
            .write_inner_content(|out| {
                out.create_element("model")
                    .with_attribute(("fallback", "forbid"))
                    .write_text_content(BytesText::new("qemu64"))?;
                topology(out)
            })?,
    };
    Ok(())
}

fn clock(out: &mut Out, kind: DomainType) -> io::Result<()> {
    let timers: &[[(&str, &str); 2]] = match kind {
        DomainType::Kvm => &[
            [("name", "pit"), ("tickpolicy", "delay")],
            [("name", "rtc"), ("tickpolicy", "catchup")],
            [("name", "hpet"), ("present", "no")],
        ],
        // These policies are KVM's; an emulated guest keeps QEMU's defaults, as under Nova.
        DomainType::Qemu => &[],
    };
    if timers.is_empty() {
        return empty(out, "clock", &[("offset", "utc")]);
    }
    out.create_element("clock").with_attribute(("offset", "utc")).write_inner_content(|out| {
        for timer in timers {
            empty(out, "timer", timer)?;
        }
        Ok(())
    })?;
    Ok(())
}

fn devices(out: &mut Out, domain: &Domain<'_>, paths: &Paths<'_>) -> io::Result<()> {
    text(out, "emulator", paths.emulator)?;
    for (disk, source) in domain.disks.iter().zip(&paths.sources) {
        write_disk(out, disk, source, domain.host.cache.as_str())?;
    }
    let has = |bus| domain.disks.iter().any(|disk| disk.bus == bus);
    if has(Bus::Scsi) {
        empty(out, "controller", &[("type", "scsi"), ("index", "0"), ("model", "virtio-scsi")])?;
    }
    let usb = if has(Bus::Usb) { "qemu-xhci" } else { "none" };
    empty(out, "controller", &[("type", "usb"), ("index", "0"), ("model", usb)])?;
    for (element, target) in [
        ("serial", [("type", "isa-serial"), ("port", "0")]),
        ("console", [("type", "serial"), ("port", "0")]),
    ] {
        out.create_element(element).with_attribute(("type", "pty")).write_inner_content(|out| {
            empty(out, "log", &[("file", paths.console_log), ("append", "off")])?;
            empty(out, "target", &target)
        })?;
    }
    if domain.guest_agent {
        out.create_element("channel").with_attribute(("type", "unix")).write_inner_content(
            |out| empty(out, "target", &[("type", "virtio"), ("name", "org.qemu.guest_agent.0")]),
        )?;
    }
    let mut balloon = out.create_element("memballoon").with_attribute(("model", "virtio"));
    if domain.host.free_page_reporting {
        balloon = balloon.with_attribute(("freePageReporting", "on"));
    }
    balloon.write_inner_content(|out| empty(out, "stats", &[("period", "10")]))?;
    out.create_element("rng").with_attribute(("model", "virtio")).write_inner_content(|out| {
        out.create_element("backend")
            .with_attribute(("model", "random"))
            .write_text_content(BytesText::new("/dev/urandom"))?;
        Ok(())
    })?;
    Ok(())
}

fn write_disk(out: &mut Out, disk: &DiskDevice, source: &str, cache: &str) -> io::Result<()> {
    let device = disk.device.as_str();
    out.create_element("disk")
        .with_attributes([("type", "file"), ("device", device)])
        .write_inner_content(|out| {
            let format = disk.format.as_str();
            empty(out, "driver", &[("name", "qemu"), ("type", format), ("cache", cache)])?;
            empty(out, "source", &[("file", source)])?;
            empty(out, "target", &[("dev", &disk.target), ("bus", disk.bus.as_str())])?;
            if let Some(serial) = &disk.serial {
                text(out, "serial", serial)?;
            }
            if disk.boot_first {
                empty(out, "boot", &[("order", "1")])?;
            }
            if matches!(disk.device, Device::Cdrom) { empty(out, "readonly", &[]) } else { Ok(()) }
        })?;
    Ok(())
}
