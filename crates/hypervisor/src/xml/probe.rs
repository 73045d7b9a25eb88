//! The guest that finds out whether KVM works.

use std::io;
use std::path::Path;

use quick_xml::Writer;
use quick_xml::events::BytesText;
use uuid::Uuid;

use super::write::{Out, empty, finish, path_text, text};
use super::{DomainType, XmlError};

/// A domain without disks whose firmware is `rom`, with the CPU model of real guests and a panic
/// device to report success with.
///
/// # Errors
/// When the path cannot be written as XML.
pub fn probe_xml(
    id: Uuid,
    kind: DomainType,
    machine: &str,
    rom: &Path,
) -> Result<String, XmlError> {
    let rom = path_text(rom)?;
    let mut out = Writer::new(Vec::with_capacity(1024));
    write(&mut out, id, kind, machine, rom).map_err(XmlError::Write)?;
    finish(out)
}

fn write(out: &mut Out, id: Uuid, kind: DomainType, machine: &str, rom: &str) -> io::Result<()> {
    let id = id.hyphenated().to_string();
    out.create_element("domain").with_attribute(("type", kind.as_str())).write_inner_content(
        |out| {
            let mut name = String::from("reprieve-probe-");
            name.push_str(&id);
            text(out, "name", &name)?;
            text(out, "uuid", &id)?;
            out.create_element("memory")
                .with_attribute(("unit", "MiB"))
                .write_text_content(BytesText::new("16"))?;
            out.create_element("os").write_inner_content(|out| {
                out.create_element("type")
                    .with_attributes([("arch", "x86_64"), ("machine", machine)])
                    .write_text_content(BytesText::new("hvm"))?;
                out.create_element("loader")
                    .with_attributes([("readonly", "yes"), ("type", "rom")])
                    .write_text_content(BytesText::new(rom))?;
                Ok(())
            })?;
            if kind == DomainType::Kvm {
                empty(out, "cpu", &[("mode", "host-model"), ("check", "partial")])?;
            }
            // A triple fault resets the machine: that must end it, not start it again.
            text(out, "on_reboot", "destroy")?;
            text(out, "on_crash", "preserve")?;
            out.create_element("devices").write_inner_content(|out| {
                empty(out, "controller", &[("type", "usb"), ("index", "0"), ("model", "none")])?;
                empty(out, "memballoon", &[("model", "none")])?;
                empty(out, "panic", &[("model", "isa")])
            })?;
            Ok(())
        },
    )?;
    Ok(())
}
