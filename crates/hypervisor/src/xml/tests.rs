use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;
use reprieve_core::InstanceId;
use reprieve_core::spec::{DiskFormat, FlavorSpec, GuestMetadata, ImageSpec, RescueDevice};

use super::*;

const DIR: &str = "/var/lib/nova/instances";
const ID: &str = "4959e6df-2841-492a-9a3d-ea6e9ab6bfcb";

fn host() -> DomainHost {
    DomainHost {
        domain_type: DomainType::Qemu,
        emulator: "/usr/bin/qemu-system-x86_64".into(),
        machine: "pc-i440fx-7.2".to_owned(),
        cache: DiskCache::None,
        free_page_reporting: true,
    }
}

fn image(properties: &[(&str, &str)]) -> ImageSpec {
    ImageSpec {
        id: reprieve_core::ImageId::random(),
        name: "tiny".to_owned(),
        format: DiskFormat::Qcow2,
        size_bytes: 1,
        sha512: String::new(),
        properties: properties.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
    }
}

/// The server of the recorded walk through a real Nova.
fn walk() -> InstanceSpec {
    InstanceSpec {
        id: ID.parse().unwrap(),
        number: 0x14,
        name: "walk".to_owned(),
        project_id: "1c48c6ec0e674f7dbc7ec18f1b29c47e".into(),
        user_id: "ba54d4b455b44034bba120293e934a94".into(),
        flavor: FlavorSpec {
            name: "tiny".to_owned(),
            vcpus: 1,
            memory_mib: 256,
            root_gib: 1,
            extra_specs: BTreeMap::new(),
        },
        image: image(&[]),
        config_drive: true,
        metadata: GuestMetadata {
            hostname: "walk".to_owned(),
            public_keys: BTreeMap::new(),
            meta: BTreeMap::new(),
            user_data: None,
            admin_password: None,
            availability_zone: "nova".to_owned(),
        },
    }
}

fn write(spec: &InstanceSpec, variant: &DomainVariant) -> Result<String, XmlError> {
    let paths = InstancePaths::new(Path::new(DIR), spec.id);
    domain_xml(spec, variant, &paths, OperationId::random(), &host())
}

fn legacy(properties: &[(&str, &str)]) -> DomainVariant {
    DomainVariant::Rescue { mode: RescueMode::Legacy, image: image(properties) }
}

fn stable(device: &str, bus: Option<&str>) -> DomainVariant {
    let mode = RescueMode::Stable(RescueDevice {
        device: device.to_owned(),
        bus: bus.map(ToOwned::to_owned),
    });
    DomainVariant::Rescue { mode, image: image(&[]) }
}

/// `file target bus` of each disk.
fn disks(xml: &str) -> Vec<String> {
    let name = |disk: &DiskSummary| {
        let file = disk.source.as_deref().unwrap().file_name().unwrap().to_str().unwrap();
        format!("{file} {} {} {}", disk.device, disk.target, disk.bus)
    };
    read_domain(xml).unwrap().disks.iter().map(name).collect()
}

/// All elements with their attributes and texts, by path, so that the order of siblings with
/// different names does not matter.
fn facts(xml: &str) -> Vec<String> {
    let document = roxmltree::Document::parse(xml).unwrap();
    let mut found: Vec<String> = document
        .descendants()
        .filter(roxmltree::Node::is_element)
        .map(|node| {
            let path: Vec<_> = node
                .ancestors()
                .filter(roxmltree::Node::is_element)
                .map(|node| node.tag_name().name())
                .collect();
            let mut attributes: Vec<_> =
                node.attributes().map(|a| format!("{}={}", a.name(), a.value())).collect();
            attributes.sort();
            let text = node.text().unwrap_or_default().trim();
            format!("{} [{}] {text}", path.join("<"), attributes.join(" "))
        })
        .collect();
    found.sort();
    found
}

/// Everything of the recorded definition (recorded from Nova 26.2, libvirt's own additions left
/// out) is in ours, apart from names and namespaces of the product.
#[test]
fn the_shape_is_the_recorded_one() {
    let ours = facts(&write(&walk(), &DomainVariant::Normal).unwrap());
    let recorded = facts(include_str!("recorded/active.xml"));
    let missing: Vec<_> = recorded.iter().filter(|fact| !ours.contains(fact)).collect();
    assert!(missing.is_empty(), "{missing:#?}\n{ours:#?}");
}

#[test]
fn disks_are_where_nova_puts_them() {
    let spec = walk();
    let normal = write(&spec, &DomainVariant::Normal).unwrap();
    assert_eq!(disks(&normal), ["disk disk vda virtio", "disk.config cdrom hda ide"]);
    let rescue = write(&spec, &legacy(&[])).unwrap();
    assert_eq!(
        disks(&rescue),
        ["disk.rescue disk vda virtio", "disk disk vdb virtio", "disk.config.rescue cdrom hda ide"]
    );
    let rescue = write(&spec, &stable("disk", Some("virtio"))).unwrap();
    assert_eq!(
        disks(&rescue),
        ["disk disk vda virtio", "disk.config cdrom hda ide", "disk.rescue disk vdb virtio"]
    );
    let without = InstanceSpec { config_drive: false, ..spec };
    let rescue = write(&without, &legacy(&[])).unwrap();
    assert_eq!(disks(&rescue), ["disk.rescue disk vda virtio", "disk disk vdb virtio"]);
    let rescue = write(&without, &stable("cdrom", None)).unwrap();
    assert_eq!(disks(&rescue), ["disk disk vda virtio", "disk.rescue cdrom hda ide"]);
}

#[test]
fn the_bus_of_a_legacy_rescue_is_the_rescue_images() {
    let spec = InstanceSpec { image: image(&[("hw_disk_bus", "scsi")]), ..walk() };
    let rescue = write(&spec, &legacy(&[("hw_disk_bus", "ide")])).unwrap();
    assert_eq!(
        disks(&rescue),
        ["disk.rescue disk hda ide", "disk disk hdb ide", "disk.config.rescue cdrom hdc ide"]
    );
    let rescue = write(&spec, &stable("disk", Some("usb"))).unwrap();
    assert_eq!(
        disks(&rescue),
        ["disk disk sda scsi", "disk.config cdrom hda ide", "disk.rescue disk sdb usb"]
    );
    assert!(rescue.contains(r#"model="virtio-scsi""#) && rescue.contains(r#"model="qemu-xhci""#));
}

#[test]
fn boot_order_only_in_a_stable_rescue_and_only_the_rescue_disk() {
    let order = |xml: &str| {
        let document = roxmltree::Document::parse(xml).unwrap();
        let boots: Vec<_> = document
            .descendants()
            .filter(|node| node.has_tag_name("boot"))
            .map(|node| {
                let parent = node.parent().unwrap();
                let target = parent.children().find(|child| child.has_tag_name("target"));
                target.map_or("os", |target| target.attribute("dev").unwrap()).to_owned()
            })
            .collect();
        boots
    };
    let spec = walk();
    assert_eq!(order(&write(&spec, &DomainVariant::Normal).unwrap()), ["os"]);
    assert_eq!(order(&write(&spec, &legacy(&[])).unwrap()), ["os"]);
    assert_eq!(order(&write(&spec, &stable("disk", Some("virtio"))).unwrap()), ["vdb"]);
}

#[test]
fn formats_are_explicit_and_own_disks_carry_the_servers_serial() {
    let xml = write(&walk(), &legacy(&[])).unwrap();
    let document = roxmltree::Document::parse(&xml).unwrap();
    let formats: Vec<_> = document
        .descendants()
        .filter(|node| node.has_tag_name("driver"))
        .map(|node| (node.attribute("type").unwrap(), node.attribute("cache").unwrap()))
        .collect();
    assert_eq!(formats, [("qcow2", "none"), ("qcow2", "none"), ("raw", "none")]);
    let serials: Vec<_> = document
        .descendants()
        .filter(|node| node.has_tag_name("serial") && node.text().is_some_and(|t| t.contains('-')))
        .filter_map(|node| node.text())
        .collect();
    assert_eq!(serials, ["reprieve-rescue", "4959e6df-2841-492a-9"]);
}

#[test]
fn refusals_have_the_texts_of_the_specification() {
    let refusal = |device, bus| write(&walk(), &stable(device, bus)).unwrap_err().to_string();
    assert_eq!(refusal("fs", None), "Requested rescue device 'fs' is not supported");
    assert_eq!(refusal("lun", None), "Requested rescue device 'lun' is not supported");
    assert_eq!(
        refusal("disk", Some("xen")),
        "Requested rescue bus 'xen' is not supported by the 'qemu' virt driver"
    );
    assert!(refusal("cdrom", Some("virtio")).contains("does not support the rescue device"));
    for (property, value) in [
        ("hw_disk_bus", "fdc"),
        ("hw_disk_bus", "\"/><evil/>"),
        ("hw_machine_type", "none"),
        ("hw_machine_type", "pc-i440fx-\"x"),
        ("hw_firmware_type", "uefi"),
    ] {
        let spec = InstanceSpec { image: image(&[(property, value)]), ..walk() };
        let error = write(&spec, &DomainVariant::Normal).unwrap_err();
        assert!(error.to_string().starts_with(&format!("image property {property}=")), "{error}");
    }
}

#[test]
fn impossible_sizes_and_paths_are_refused() {
    for (vcpus, memory_mib) in [(0, 1), (1, 0), (1, u64::MAX)] {
        let mut spec = walk();
        (spec.flavor.vcpus, spec.flavor.memory_mib) = (vcpus, memory_mib);
        let error = write(&spec, &DomainVariant::Normal).unwrap_err();
        assert!(matches!(error, XmlError::Size(_)), "{error}");
    }
    let paths = InstancePaths::new(Path::new("/a\nb"), walk().id);
    let tag = OperationId::random();
    let error = domain_xml(&walk(), &DomainVariant::Normal, &paths, tag, &host()).unwrap_err();
    assert!(matches!(error, XmlError::Path(_)), "{error}");
}

#[test]
fn kvm_guests_get_a_cpu_that_can_be_saved() {
    let host = DomainHost {
        domain_type: DomainType::Kvm,
        cache: DiskCache::Writeback,
        free_page_reporting: false,
        ..host()
    };
    let paths = InstancePaths::new(Path::new(DIR), walk().id);
    let tag = OperationId::random();
    let xml = domain_xml(&walk(), &DomainVariant::Normal, &paths, tag, &host).unwrap();
    assert!(xml.contains(r#"<domain type="kvm">"#) && xml.contains(r#"mode="host-model""#));
    assert!(!xml.contains("passthrough") && !xml.contains("freePageReporting"));
    assert!(xml.contains(r#"cache="writeback""#));
}

#[test]
fn metadata_says_who_wrote_the_definition() {
    let tag = OperationId::random();
    let paths = InstancePaths::new(Path::new(DIR), walk().id);
    for (variant, rescue) in [(DomainVariant::Normal, false), (legacy(&[]), true)] {
        let xml = domain_xml(&walk(), &variant, &paths, tag, &host()).unwrap();
        let summary = read_domain(&xml).unwrap();
        assert_eq!(summary.metadata, Some(MetadataSummary { tag: Some(tag), rescue }));
        assert_eq!((summary.has_rescue_disk(), summary.id), (rescue, walk().id));
        assert_eq!(summary.name, "instance-00000014");
    }
    // As virDomainGetMetadata returns it, and as nobody should write it.
    let bare = format!("<instance><operation id='{tag}'/></instance>");
    assert_eq!(read_metadata(&bare).unwrap(), MetadataSummary { tag: Some(tag), rescue: false });
    assert_eq!(read_metadata("<instance><operation id='x'/></instance>").unwrap().tag, None);
}

#[test]
fn hostile_xml_is_refused() {
    let bomb = "<!DOCTYPE d [<!ENTITY a 'aaaa'>]><domain><uuid>&a;</uuid></domain>";
    assert!(matches!(read_domain(bomb), Err(XmlError::Syntax(_))));
    let long = format!("<domain>{}</domain>", " ".repeat(MAX_XML_BYTES));
    assert!(matches!(read_domain(&long), Err(XmlError::TooLong(_))));
    let wide = format!("<domain>{}</domain>", "<a/>".repeat(60_000));
    assert!(matches!(read_domain(&wide), Err(XmlError::Syntax(_))));
    let deep = "<a>".repeat(100_000);
    assert!(read_domain(&deep).is_err());
    for text in ["", "<domain/>", "<domain><uuid>x</uuid></domain>", "<other/>"] {
        assert!(read_domain(text).is_err(), "{text}");
    }
}

#[test]
fn foreign_metadata_is_not_ours() {
    let xml = format!(
        "<domain><uuid>{ID}</uuid><metadata><instance xmlns='http://other'><operation/></instance>\
         </metadata></domain>"
    );
    assert_eq!(read_domain(&xml).unwrap().metadata, None);
}

#[test]
fn capabilities_name_the_machine() {
    let xml = "<domainCapabilities><path>/q</path><machine>pc-i440fx-7.2</machine><cpu>\
               <mode name='host-model'><model fallback='forbid'>EPYC</model></mode></cpu>\
               </domainCapabilities>";
    let found = read_capabilities(xml).unwrap();
    assert_eq!(found.machine, "pc-i440fx-7.2");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever a tenant calls its server, the definition stays the same apart from the name.
    #[test]
    fn names_cannot_change_the_definition(name in "\\PC*|.*|[<&\"'>\\]\u{0}-\u{1f}]{0,400}") {
        let plain = write(&walk(), &DomainVariant::Normal).unwrap();
        let mut spec = walk();
        spec.flavor.name.clone_from(&name);
        spec.name = name;
        let xml = write(&spec, &DomainVariant::Normal).unwrap();
        let (ours, expected) = (read_domain(&xml).unwrap(), read_domain(&plain).unwrap());
        prop_assert_eq!(ours.disks, expected.disks);
        prop_assert_eq!(ours.id, expected.id);
        prop_assert_eq!(facts(&xml).len(), facts(&plain).len());
    }

    /// The reader never panics.
    #[test]
    fn any_text_can_be_read_or_refused(text in ".*") {
        let _ = read_domain(&text);
        let _ = read_metadata(&text);
        let _ = read_capabilities(&text);
    }
}

#[test]
fn the_probe_guest_is_escaped_too() {
    let id = InstanceId::random().uuid();
    let xml = probe_xml(id, DomainType::Kvm, "pc", Path::new("/a<&b/rom")).unwrap();
    assert!(xml.contains("/a&lt;&amp;b/rom"));
    assert!(read_domain(&xml).is_ok_and(|summary| summary.metadata.is_none()));
}

#[test]
fn consoles_of_a_running_domain() {
    use reprieve_core::console::{ConsoleProtocol, DomainConsole};
    let read = |devices: &str| {
        read_consoles(&format!("<domain id='1'><devices>{devices}</devices></domain>")).unwrap()
    };
    let pty = DomainConsole::SerialPty("/dev/pts/7".into());
    let serial = "<serial type='pty'><source path='/dev/pts/7'/><log file='/l'/></serial>";
    assert_eq!(read(serial).as_slice(), std::slice::from_ref(&pty));
    // The console element repeats the first serial port; one that is off has no path.
    assert_eq!(
        read("<console type='pty' tty='/dev/pts/7'><source path='/dev/pts/7'/></console>"),
        []
    );
    assert_eq!(read("<serial type='pty'><log file='/l'/></serial>"), []);
    assert_eq!(read("<serial type='file'><source path='/l'/></serial>"), []);
    let listening = |protocol, port, tls_port| DomainConsole::Listening {
        protocol,
        address: "127.0.0.1".to_owned(),
        port,
        tls_port,
    };
    let tcp = "<serial type='tcp'><source mode='bind' host='127.0.0.1' service='10000'/></serial>";
    let (vnc, spice) = (ConsoleProtocol::Vnc, ConsoleProtocol::Spice);
    assert_eq!(read(tcp), [listening(ConsoleProtocol::Serial, Some(10000), None)]);
    let displays = "<graphics type='vnc' port='5900' autoport='yes' listen='127.0.0.1'/>\
                    <graphics type='spice' port='-1' tlsPort='5901' listen='127.0.0.1'/>\
                    <graphics type='vnc' port='-1' listen='127.0.0.1'/>\
                    <graphics type='egl-headless'/>";
    assert_eq!(
        read(&format!("{displays}{serial}")),
        [pty, listening(vnc, Some(5900), None), listening(spice, None, Some(5901))]
    );
    assert_eq!(read_consoles("<domain/>").unwrap(), []);
    assert!(read_consoles("<domain>").is_err());
}
