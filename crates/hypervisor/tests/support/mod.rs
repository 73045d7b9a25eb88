//! Guests that clean up after themselves, and ways to act behind the hypervisor's back.

pub mod relay;

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use reprieve_core::ports::{
    DomainState, DomainVariant, Hypervisor as _, HypervisorEvent, InstancePaths,
};
use reprieve_core::spec::{
    DiskFormat, FlavorSpec, GuestMetadata, ImageSpec, InstanceSpec, RescueMode,
};
use reprieve_core::{ImageId, InstanceId, OperationId};
use reprieve_hypervisor::libvirt::sys::Connection;
use reprieve_hypervisor::libvirt::{Libvirt, LibvirtConfig};
use reprieve_hypervisor::xml::{DiskCache, DomainHost, DomainType, domain_xml};
use tempfile::TempDir;

/// Longest wait for anything. Only reached when something is broken.
const PATIENCE: Duration = Duration::from_secs(60);

pub fn uri() -> String {
    std::env::var("REPRIEVE_LIBVIRT_URI").unwrap_or_else(|_| "qemu:///system".to_owned())
}

/// A directory that QEMU can reach whichever user it runs as.
pub fn tempdir() -> TempDir {
    let dir = tempfile::Builder::new().prefix("reprieve-libvirt-").tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

pub fn config(uri: &str, instances_dir: &Path) -> LibvirtConfig {
    LibvirtConfig {
        uri: uri.to_owned(),
        instances_dir: instances_dir.to_owned(),
        domain_type: Some(DomainType::Qemu),
    }
}

/// Waits until the connection is there; fails with what is missing.
pub async fn connected(events: &mut BoxStream<'static, HypervisorEvent>) {
    let mut last = None;
    let found = tokio::time::timeout(PATIENCE, async {
        while let Some(event) = events.next().await {
            if event == HypervisorEvent::Connected {
                return;
            }
            last = Some(event);
        }
    });
    assert!(
        found.await.is_ok(),
        "no libvirtd at {}: {last:?}; run scripts/libvirtd.sh start, or set REPRIEVE_LIBVIRT_URI",
        uri()
    );
}

/// Waits until the connection is lost. Guests of other tests on the same libvirtd may change before.
pub async fn disconnected(events: &mut BoxStream<'static, HypervisorEvent>) {
    let found = tokio::time::timeout(PATIENCE, async {
        while !matches!(events.next().await, Some(HypervisorEvent::Disconnected(_))) {}
    });
    assert!(found.await.is_ok(), "the connection is still there");
}

/// Waits for the next sign that the domain changed.
pub async fn next_change(events: &mut BoxStream<'static, HypervisorEvent>, id: InstanceId) {
    let found = tokio::time::timeout(PATIENCE, async {
        while events.next().await != Some(HypervisorEvent::Changed(id)) {}
    });
    assert!(found.await.is_ok(), "no event for {id}");
}

pub fn try_virsh(args: &[&str]) -> Result<String, String> {
    let output = Command::new("virsh").args(["-c", &uri()]).args(args).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

pub fn virsh(args: &[&str]) -> String {
    try_virsh(args).unwrap_or_else(|error| panic!("virsh {args:?}: {error}"))
}

pub fn image(properties: &[(&str, &str)]) -> ImageSpec {
    ImageSpec {
        id: ImageId::random(),
        name: "tiny".to_owned(),
        format: DiskFormat::Qcow2,
        size_bytes: 1 << 20,
        sha512: "0".repeat(128),
        properties: properties.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
    }
}

pub fn legacy_rescue() -> DomainVariant {
    DomainVariant::Rescue { mode: RescueMode::Legacy, image: image(&[]) }
}

fn spec(id: InstanceId) -> InstanceSpec {
    InstanceSpec {
        id,
        // From the random id, so that tests that run at the same time do not share a name.
        number: u32::from_ne_bytes(id.uuid().as_bytes()[..4].try_into().unwrap()),
        name: "a test's <guest> & \"friends\" \u{1}".to_owned(),
        project_id: "project".into(),
        user_id: "user".into(),
        flavor: FlavorSpec {
            name: "m1.<tiny>".to_owned(),
            vcpus: 1,
            memory_mib: 64,
            root_gib: 0,
            extra_specs: BTreeMap::new(),
        },
        image: image(&[]),
        config_drive: false,
        metadata: GuestMetadata {
            hostname: "guest".to_owned(),
            public_keys: BTreeMap::new(),
            meta: BTreeMap::new(),
            user_data: None,
            admin_password: None,
            availability_zone: "nova".to_owned(),
        },
    }
}

/// A domain of a test. Destroyed and undefined when dropped, also when the test panicked.
pub struct Guest {
    pub hypervisor: Libvirt,
    pub id: InstanceId,
    pub tag: OperationId,
    pub spec: InstanceSpec,
    pub paths: InstancePaths,
    _dir: TempDir,
}

impl Guest {
    pub async fn defined() -> Self {
        Self::defined_with(64).await
    }

    async fn defined_with(memory_mib: u64) -> Self {
        let dir = tempdir();
        let hypervisor = Libvirt::start(config(&uri(), dir.path()));
        connected(&mut hypervisor.events()).await;
        let id = InstanceId::random();
        let paths = InstancePaths::new(dir.path(), id);
        std::fs::create_dir(&paths.dir).unwrap();
        let mut spec = spec(id);
        spec.flavor.memory_mib = memory_mib;
        let guest = Self { hypervisor, id, tag: OperationId::random(), spec, paths, _dir: dir };
        make_disk(&guest.paths.disk());
        guest.hypervisor.define(&guest.spec, &DomainVariant::Normal, guest.tag).await.unwrap();
        guest
    }

    pub async fn running() -> Self {
        Self::running_with(64).await
    }

    pub async fn running_with(memory_mib: u64) -> Self {
        let guest = Self::defined_with(memory_mib).await;
        guest.hypervisor.start(guest.id).await.unwrap();
        guest
    }

    pub fn make_rescue_disk(&self) {
        make_disk(&self.paths.rescue_disk());
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // Not through the hypervisor under test; and a panic in here would hide the first one.
        let Ok(connection) = Connection::open(&uri()) else { return };
        let Ok(domain) = connection.domain(self.id.uuid()) else { return };
        let _ = domain.destroy();
        let _ = try_virsh(&["managedsave-remove", &self.id.to_string()]);
        let _ = domain.undefine();
    }
}

fn make_disk(path: &Path) {
    let made = Command::new("qemu-img")
        .args(["create", "-q", "-f", "qcow2", path.to_str().unwrap(), "1M"])
        .status()
        .unwrap();
    assert!(made.success());
}

pub async fn state(guest: &Guest) -> DomainState {
    guest.hypervisor.domain(guest.id).await.unwrap().unwrap()
}

/// Every kind of definition that images can ask for, with a name for messages.
pub fn all_definitions(guest: &Guest) -> Vec<(String, String)> {
    let host = DomainHost {
        domain_type: DomainType::Qemu,
        emulator: "/usr/bin/qemu-system-x86_64".into(),
        machine: "pc".to_owned(),
        cache: DiskCache::None,
        free_page_reporting: true,
    };
    let tag = OperationId::random();
    let mut found = Vec::new();
    let mut add = |what: String, spec: &InstanceSpec, variant: &DomainVariant| {
        let xml = domain_xml(spec, variant, &guest.paths, tag, &host).unwrap();
        found.push((what, xml));
    };
    for machine in ["pc", "q35"] {
        for bus in ["virtio", "scsi", "ide", "sata", "usb"] {
            if (machine, bus) == ("q35", "ide") {
                continue;
            }
            let hardware = [
                ("hw_machine_type", machine),
                ("hw_disk_bus", bus),
                ("hw_qemu_guest_agent", "yes"),
            ];
            let mut spec = guest.spec.clone();
            spec.config_drive = true;
            spec.image = image(&hardware);
            add(format!("{machine} {bus}"), &spec, &DomainVariant::Normal);
            let legacy =
                DomainVariant::Rescue { mode: RescueMode::Legacy, image: image(&hardware) };
            add(format!("legacy rescue {machine} {bus}"), &spec, &legacy);
            for (device, rescue_bus) in [("disk", bus), ("cdrom", "sata"), ("cdrom", "scsi")] {
                let image = image(&[("hw_rescue_device", device), ("hw_rescue_bus", rescue_bus)]);
                let mode = RescueMode::of_image(&image.properties);
                let what = format!("stable rescue {machine} {bus} {device} {rescue_bus}");
                add(what, &spec, &DomainVariant::Rescue { mode, image });
            }
        }
    }
    found
}

/// A named pipe that is open for reading, and never read.
pub struct Pipe {
    pub path: PathBuf,
    _reader: File,
}

pub fn make_pipe(path: &Path) -> PathBuf {
    let made = Command::new("mkfifo").arg(path).status().unwrap();
    assert!(made.success());
    path.to_owned()
}

impl Pipe {
    pub fn new(path: &Path) -> Self {
        let path = make_pipe(path);
        // For writing too, so that opening does not wait for a writer.
        let reader = File::options().read(true).write(true).open(&path).unwrap();
        Self { path, _reader: reader }
    }
}
