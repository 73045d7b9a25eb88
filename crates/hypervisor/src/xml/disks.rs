//! Which disks a domain has, in which order, on which bus and under which name.
//!
//! ```text
//! normal          disk           vda   | config drive  hda
//! legacy rescue   disk.rescue    vda   | disk          vdb  | rescue config drive  hda
//! stable rescue   disk           vda   | config drive  hda  | disk.rescue  vdb, boots first
//! ```
//! Source: spec/rescue.md section 5.

use std::collections::BTreeMap;
use std::path::PathBuf;

use reprieve_core::ports::{DomainVariant, InstancePaths};
use reprieve_core::spec::{ImageSpec, InstanceSpec, RescueDevice, RescueMode};

use super::{DomainHost, XmlError};

/// What a guest sees a disk as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    /// Hard disk.
    Disk,
    /// CD-ROM drive.
    Cdrom,
    /// Floppy drive.
    Floppy,
}

impl Device {
    /// libvirt's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disk => "disk",
            Self::Cdrom => "cdrom",
            Self::Floppy => "floppy",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        // `lun` needs a block device of the host, which disks in files are not.
        [Self::Disk, Self::Cdrom, Self::Floppy].into_iter().find(|device| device.as_str() == text)
    }
}

/// How a disk is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bus {
    /// virtio-blk.
    Virtio,
    /// virtio-scsi.
    Scsi,
    /// IDE.
    Ide,
    /// SATA (AHCI).
    Sata,
    /// USB storage.
    Usb,
    /// Floppy controller.
    Fdc,
}

impl Bus {
    const ALL: [Self; 6] = [Self::Virtio, Self::Scsi, Self::Ide, Self::Sata, Self::Usb, Self::Fdc];

    /// libvirt's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Virtio => "virtio",
            Self::Scsi => "scsi",
            Self::Ide => "ide",
            Self::Sata => "sata",
            Self::Usb => "usb",
            Self::Fdc => "fdc",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|bus| bus.as_str() == text)
    }

    /// Begin of the names of its disks. Names are unique in a domain, so buses with the same
    /// prefix share one sequence.
    const fn prefix(self) -> &'static str {
        match self {
            Self::Virtio => "vd",
            Self::Scsi | Self::Sata | Self::Usb => "sd",
            Self::Ide => "hd",
            Self::Fdc => "fd",
        }
    }

    /// Whether QEMU has such a device on this bus and this machine.
    const fn carries(self, device: Device, chassis: Chassis) -> bool {
        match self {
            Self::Virtio => matches!(device, Device::Disk),
            Self::Scsi | Self::Sata | Self::Usb => matches!(device, Device::Disk | Device::Cdrom),
            Self::Ide => {
                matches!(device, Device::Disk | Device::Cdrom) && matches!(chassis, Chassis::I440fx)
            }
            Self::Fdc => matches!(device, Device::Floppy),
        }
    }
}

/// Format of the data of a disk file of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileFormat {
    /// Overlay.
    Qcow2,
    /// Config drive.
    Raw,
}

impl FileFormat {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Qcow2 => "qcow2",
            Self::Raw => "raw",
        }
    }
}

/// One disk of a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskDevice {
    /// What the guest sees.
    pub device: Device,
    pub(super) format: FileFormat,
    /// File.
    pub source: PathBuf,
    /// Bus.
    pub bus: Bus,
    /// Name: `vda`.
    pub target: String,
    /// Serial number that the guest sees (at most 20 characters, virtio-blk's limit).
    pub serial: Option<String>,
    /// Whether the firmware tries it first, whatever the order.
    pub boot_first: bool,
}

/// Family of the machine, which decides the buses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chassis {
    /// PCI; has IDE.
    I440fx,
    /// PCI Express; has SATA instead.
    Q35,
}

/// What an image's properties ask of the hardware.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hardware {
    pub(super) machine: String,
    pub(super) guest_agent: bool,
    chassis: Chassis,
    disk_bus: Bus,
    cdrom_bus: Bus,
    virt: &'static str,
}

impl Hardware {
    pub(super) fn of(
        properties: &BTreeMap<String, String>,
        host: &DomainHost,
    ) -> Result<Self, XmlError> {
        match properties.get("hw_firmware_type").map(String::as_str) {
            None | Some("bios") => {}
            Some(other) => return Err(unsupported("hw_firmware_type", other, "bios")),
        }
        let machine = machine(properties, host)?;
        let chassis = if machine.contains("q35") { Chassis::Q35 } else { Chassis::I440fx };
        let cdrom_default = match chassis {
            Chassis::I440fx => Bus::Ide,
            Chassis::Q35 => Bus::Sata,
        };
        Ok(Self {
            machine,
            chassis,
            disk_bus: bus_property(properties, "hw_disk_bus", Device::Disk, chassis)?
                .unwrap_or(Bus::Virtio),
            cdrom_bus: bus_property(properties, "hw_cdrom_bus", Device::Cdrom, chassis)?
                .unwrap_or(cdrom_default),
            guest_agent: reprieve_core::spec::has_guest_agent(properties),
            virt: host.domain_type.as_str(),
        })
    }
}

fn unsupported(property: &'static str, value: &str, supported: &'static str) -> XmlError {
    XmlError::Property { property, value: super::write::clean(value), supported }
}

fn machine(properties: &BTreeMap<String, String>, host: &DomainHost) -> Result<String, XmlError> {
    let Some(asked) = properties.get("hw_machine_type") else { return Ok(host.machine.clone()) };
    let known = asked == "q35" || asked.starts_with("pc-i440fx-") || asked.starts_with("pc-q35-");
    let plain = asked.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'));
    if asked == "pc" {
        Ok(host.machine.clone())
    } else if known && plain && asked.len() <= 64 {
        Ok(asked.clone())
    } else {
        Err(unsupported("hw_machine_type", asked, "pc, q35 or a versioned name of these"))
    }
}

fn bus_property(
    properties: &BTreeMap<String, String>,
    property: &'static str,
    device: Device,
    chassis: Chassis,
) -> Result<Option<Bus>, XmlError> {
    let Some(value) = properties.get(property) else { return Ok(None) };
    let supported = match (device, chassis) {
        (Device::Disk, Chassis::I440fx) => "virtio, scsi, ide, sata or usb",
        (Device::Disk, Chassis::Q35) => "virtio, scsi, sata or usb",
        (_, Chassis::I440fx) => "ide, sata, scsi or usb",
        (_, Chassis::Q35) => "sata, scsi or usb",
    };
    Bus::parse(value)
        .filter(|bus| bus.carries(device, chassis))
        .map(Some)
        .ok_or_else(|| unsupported(property, value, supported))
}

/// The disks of `variant`, in the order of the definition.
pub(super) fn layout(
    spec: &InstanceSpec,
    variant: &DomainVariant,
    paths: &InstancePaths,
    hardware: &Hardware,
) -> Result<Vec<DiskDevice>, XmlError> {
    let mut disks = Layout { disks: Vec::with_capacity(3), hardware };
    let own_serial = spec.id.to_string().chars().take(20).collect::<String>();
    let own = |disks: &mut Layout<'_>| {
        disks.add(Device::Disk, hardware.disk_bus, paths.disk(), Some(own_serial.clone()));
    };
    match variant {
        DomainVariant::Normal => {
            own(&mut disks);
            if spec.config_drive {
                disks.add_config_drive(paths.config_drive());
            }
        }
        DomainVariant::Rescue { mode: RescueMode::Legacy, .. } => {
            disks.add_rescue(Device::Disk, hardware.disk_bus, paths);
            own(&mut disks);
            if spec.config_drive {
                disks.add_config_drive(paths.rescue_config_drive());
            }
        }
        DomainVariant::Rescue { mode: RescueMode::Stable(wanted), image } => {
            own(&mut disks);
            if spec.config_drive {
                disks.add_config_drive(paths.config_drive());
            }
            let (device, bus) = stable_device(wanted, image, hardware)?;
            disks.add_rescue(device, bus, paths);
            if let Some(rescue) = disks.disks.last_mut() {
                rescue.boot_first = true;
            }
        }
    }
    Ok(disks.disks)
}

/// Device and bus of the rescue disk in stable mode (spec/rescue.md section 5.2).
fn stable_device(
    wanted: &RescueDevice,
    image: &ImageSpec,
    hardware: &Hardware,
) -> Result<(Device, Bus), XmlError> {
    let device = Device::parse(&wanted.device)
        .ok_or_else(|| XmlError::RescueDevice(super::write::clean(&wanted.device)))?;
    let bus = match &wanted.bus {
        Some(text) => Bus::parse(text).ok_or_else(|| XmlError::RescueBus {
            bus: super::write::clean(text),
            virt: hardware.virt,
        })?,
        None => match device {
            Device::Disk => {
                bus_property(&image.properties, "hw_disk_bus", device, hardware.chassis)?
                    .unwrap_or(Bus::Virtio)
            }
            Device::Cdrom => hardware.cdrom_bus,
            Device::Floppy => Bus::Fdc,
        },
    };
    if bus.carries(device, hardware.chassis) {
        Ok((device, bus))
    } else {
        Err(XmlError::RescueCombination { bus: bus.as_str(), device: device.as_str() })
    }
}

struct Layout<'a> {
    disks: Vec<DiskDevice>,
    hardware: &'a Hardware,
}

impl Layout<'_> {
    fn add(&mut self, device: Device, bus: Bus, source: PathBuf, serial: Option<String>) {
        let target = self.next_target(bus);
        self.disks.push(DiskDevice {
            format: FileFormat::Qcow2,
            boot_first: false,
            device,
            source,
            bus,
            target,
            serial,
        });
    }

    fn add_rescue(&mut self, device: Device, bus: Bus, paths: &InstancePaths) {
        self.add(device, bus, paths.rescue_disk(), Some("reprieve-rescue".to_owned()));
    }

    fn add_config_drive(&mut self, source: PathBuf) {
        self.add(Device::Cdrom, self.hardware.cdrom_bus, source, None);
        if let Some(drive) = self.disks.last_mut() {
            drive.format = FileFormat::Raw;
        }
    }

    /// The next free name of the bus. A domain of ours has three disks at most.
    fn next_target(&self, bus: Bus) -> String {
        let prefix = bus.prefix();
        let mut target = String::from(prefix);
        let used = self.disks.iter().filter(|disk| disk.bus.prefix() == prefix).count();
        target.extend(('a'..='z').nth(used));
        target
    }
}
