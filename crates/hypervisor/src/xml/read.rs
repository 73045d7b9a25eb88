//! Reads XML that came back from libvirt. Bounded in size and nodes, and without entities: what is
//! read may have been edited by anybody with virsh.

use std::path::PathBuf;

use reprieve_core::console::{ConsoleProtocol, DomainConsole};
use reprieve_core::{InstanceId, OperationId};
use roxmltree::{Document, Node, ParsingOptions};

use super::{MAX_XML_BYTES, NAMESPACE, XmlError};

/// Most nodes that are read.
const MAX_NODES: u32 = 50_000;

/// A disk in a definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskSummary {
    /// File, if it is one.
    pub source: Option<PathBuf>,
    /// `disk`, `cdrom`, …
    pub device: String,
    /// `vda`.
    pub target: String,
    /// `virtio`.
    pub bus: String,
}

/// What our metadata element says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetadataSummary {
    /// The operation that wrote the definition; `None` when it is no id.
    pub tag: Option<OperationId>,
    /// Whether it is a rescue definition.
    pub rescue: bool,
}

/// What matters of a definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainSummary {
    /// UUID.
    pub id: InstanceId,
    /// Name.
    pub name: String,
    /// Our metadata; `None`: not a domain of ours.
    pub metadata: Option<MetadataSummary>,
    /// Disks in the order of the definition.
    pub disks: Vec<DiskSummary>,
}

impl DomainSummary {
    /// Whether a disk is a rescue disk, whatever the metadata says.
    #[must_use]
    pub fn has_rescue_disk(&self) -> bool {
        self.disks
            .iter()
            .filter_map(|disk| disk.source.as_deref()?.file_name())
            .any(|name| name == "disk.rescue")
    }
}

/// What the hypervisor offers for domains of a type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainCapabilities {
    /// QEMU.
    pub emulator: PathBuf,
    /// The versioned machine type.
    pub machine: String,
}

/// The CPU of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostCpu {
    /// `x86_64`.
    pub arch: String,
    /// Model, if libvirt knows it.
    pub model: Option<String>,
    /// Vendor, if libvirt knows it.
    pub vendor: Option<String>,
    /// NUMA cells.
    pub cells: usize,
    /// Sockets of a cell.
    pub sockets: u32,
    /// Cores of a socket.
    pub cores: u32,
    /// Threads of a core.
    pub threads: u32,
    /// Features.
    pub features: Vec<String>,
}

fn parse(xml: &str) -> Result<Document<'_>, XmlError> {
    if xml.len() > MAX_XML_BYTES {
        return Err(XmlError::TooLong(xml.len()));
    }
    let options =
        ParsingOptions { allow_dtd: false, nodes_limit: MAX_NODES, ..ParsingOptions::default() };
    Document::parse_with_options(xml, options).map_err(XmlError::Syntax)
}

fn child<'a, 'i>(node: Node<'a, 'i>, name: &str) -> Option<Node<'a, 'i>> {
    node.children().find(|child| child.has_tag_name(name))
}

fn child_text<'a>(node: Node<'a, '_>, name: &str) -> Option<&'a str> {
    child(node, name).and_then(|child| child.text()).map(str::trim)
}

/// Reads a definition.
///
/// # Errors
/// When it is too long, no XML, or no domain with a UUID.
pub fn read_domain(xml: &str) -> Result<DomainSummary, XmlError> {
    let document = parse(xml)?;
    let root = document.root_element();
    if !root.has_tag_name("domain") {
        return Err(XmlError::Missing("domain element"));
    }
    let id = child_text(root, "uuid").and_then(|text| text.parse().ok());
    let metadata = child(root, "metadata")
        .and_then(|node| node.children().find(|node| node.has_tag_name((NAMESPACE, "instance"))));
    let disks = child(root, "devices")
        .into_iter()
        .flat_map(|devices| devices.children())
        .filter(|node| node.has_tag_name("disk"))
        .map(disk)
        .collect();
    Ok(DomainSummary {
        id: id.ok_or(XmlError::Missing("domain uuid"))?,
        name: child_text(root, "name").unwrap_or_default().to_owned(),
        metadata: metadata.map(summarise),
        disks,
    })
}

fn disk(node: Node<'_, '_>) -> DiskSummary {
    let target = |name| {
        child(node, "target")
            .and_then(|target| target.attribute(name))
            .unwrap_or_default()
            .to_owned()
    };
    DiskSummary {
        source: child(node, "source").and_then(|node| node.attribute("file")).map(PathBuf::from),
        device: node.attribute("device").unwrap_or("disk").to_owned(),
        target: target("dev"),
        bus: target("bus"),
    }
}

/// The consoles of a running domain, as its live definition names them: of serial ports the first
/// behind a pseudo-terminal or listening, of displays those that QEMU listens for.
///
/// # Errors
/// When it is too long or no XML.
pub fn read_consoles(xml: &str) -> Result<Vec<DomainConsole>, XmlError> {
    let document = parse(xml)?;
    let Some(devices) = child(document.root_element(), "devices") else { return Ok(Vec::new()) };
    let serial = devices.children().filter(|node| node.has_tag_name("serial")).find_map(serial);
    let displays = devices.children().filter(|node| node.has_tag_name("graphics"));
    Ok(serial.into_iter().chain(displays.filter_map(display)).collect())
}

fn serial(node: Node<'_, '_>) -> Option<DomainConsole> {
    let sources = || node.children().filter(|child| child.has_tag_name("source"));
    match node.attribute("type")? {
        // The path is there only while a process has it open.
        "pty" => {
            let path = sources().find_map(|source| source.attribute("path"))?;
            Some(DomainConsole::SerialPty(PathBuf::from(path)))
        }
        "tcp" => {
            let bound = sources().find(|source| source.attribute("mode") == Some("bind"))?;
            Some(DomainConsole::Listening {
                protocol: ConsoleProtocol::Serial,
                address: bound.attribute("host")?.to_owned(),
                port: port(bound.attribute("service")),
                tls_port: None,
            })
        }
        _ => None,
    }
}

fn display(node: Node<'_, '_>) -> Option<DomainConsole> {
    let protocol = match node.attribute("type")? {
        "vnc" => ConsoleProtocol::Vnc,
        "spice" => ConsoleProtocol::Spice,
        _ => return None,
    };
    let (port, tls_port) = (port(node.attribute("port")), port(node.attribute("tlsPort")));
    port.or(tls_port)?;
    let address = node.attribute("listen")?.to_owned();
    Some(DomainConsole::Listening { protocol, address, port, tls_port })
}

/// A port that is open; -1 is libvirt's for none yet.
fn port(text: Option<&str>) -> Option<u16> {
    text?.parse().ok().filter(|port| *port > 0)
}

/// Reads our metadata element as `virDomainGetMetadata` returns it: without its namespace.
///
/// # Errors
/// When it is too long or no XML.
pub fn read_metadata(xml: &str) -> Result<MetadataSummary, XmlError> {
    parse(xml).map(|document| summarise(document.root_element()))
}

fn summarise(instance: Node<'_, '_>) -> MetadataSummary {
    let named = |name| instance.children().find(move |node| node.tag_name().name() == name);
    MetadataSummary {
        tag: named("operation")
            .and_then(|node| node.attribute("id"))
            .and_then(|text| text.parse().ok()),
        rescue: named("rescue").is_some(),
    }
}

/// Reads what `virConnectGetDomainCapabilities` returned.
///
/// # Errors
/// When it is too long, no XML, or names no emulator and machine.
pub fn read_capabilities(xml: &str) -> Result<DomainCapabilities, XmlError> {
    let document = parse(xml)?;
    let root = document.root_element();
    Ok(DomainCapabilities {
        emulator: child_text(root, "path")
            .map(PathBuf::from)
            .ok_or(XmlError::Missing("emulator path"))?,
        machine: child_text(root, "machine")
            .map(str::to_owned)
            .ok_or(XmlError::Missing("machine type"))?,
    })
}

/// Reads the host's CPU from what `virConnectGetCapabilities` returned.
///
/// # Errors
/// When it is too long, no XML, or describes no CPU.
pub fn read_host_cpu(xml: &str) -> Result<HostCpu, XmlError> {
    let document = parse(xml)?;
    let host = child(document.root_element(), "host").ok_or(XmlError::Missing("host element"))?;
    let cpu = child(host, "cpu").ok_or(XmlError::Missing("host cpu"))?;
    let text = |name| child_text(cpu, name).map(str::to_owned);
    let number = |name| {
        let topology = child(cpu, "topology");
        topology.and_then(|node| node.attribute(name)?.parse().ok()).unwrap_or(1)
    };
    let cells = child(host, "topology").and_then(|node| child(node, "cells"));
    let cells = cells.map_or(1, |cells| {
        cells.children().filter(|node| node.has_tag_name("cell")).count().max(1)
    });
    let features = cpu.children().filter(|node| node.has_tag_name("feature"));
    Ok(HostCpu {
        arch: text("arch").ok_or(XmlError::Missing("host architecture"))?,
        model: text("model"),
        vendor: text("vendor"),
        cells,
        sockets: number("sockets"),
        cores: number("cores"),
        threads: number("threads"),
        features: features.filter_map(|node| node.attribute("name")).map(str::to_owned).collect(),
    })
}
