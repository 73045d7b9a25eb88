//! The control plane: its database and what is in it, its processes, and who uses it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use reprieve_control::app::identity::Identity;
use reprieve_control::app::images::{
    BuiltIn, ContainerFormat, ImageData, ImageRecord, ImageStatus, Visibility,
};
use reprieve_control::app::servers::ConsoleSettings;
use reprieve_control::auth::AuthContext;
use reprieve_control::http::ApiSettings;
use reprieve_control::work::{HandOvers, Notifications, Patience, dispatch, notify, reports};
use reprieve_control::{Control, Settings};
use reprieve_core::policy::Policy;
use reprieve_core::spec::DiskFormat;
use reprieve_core::{Clock, ImageId, SealingKey};
use reprieve_outside::simulation::finish;
use reprieve_store::{NewFlavor, Store};
use sha2::{Digest as _, Sha512};
use tokio::sync::Notify;

use crate::clock::MachineClock;
use crate::network::Network;
use crate::process::Process;

/// Flavor of all servers.
pub const FLAVOR: &str = "1";
/// Bytes of an image.
const IMAGE: usize = 64 << 10;

/// What survives the control plane's processes, and what they are made with.
pub struct Cloud {
    root: PathBuf,
    network: Network,
    policy: Policy,
    /// The control plane's clock.
    pub clock: MachineClock,
    /// Image of all servers.
    pub image: ImageId,
    /// Image of some rescues.
    pub rescue_image: ImageId,
}

/// Which parts a process of the control plane has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Both.
    All,
    /// Takes requests.
    Api,
    /// Sends commands and applies reports.
    Conductor,
}

/// The key of sealed secrets.
pub fn sealing_key() -> SealingKey {
    SealingKey::new([7; 32])
}

impl Cloud {
    /// Makes the database and the images.
    pub fn new(root: &Path, network: &Network, clock: MachineClock) -> Result<Self> {
        let cloud = Self {
            root: root.to_owned(),
            network: network.clone(),
            policy: Policy::load([])?,
            clock,
            image: ImageId::random(),
            rescue_image: ImageId::random(),
        };
        std::fs::create_dir_all(cloud.images())?;
        let store = cloud.open()?;
        let flavor = NewFlavor {
            flavor_id: FLAVOR.into(),
            name: "tiny".into(),
            vcpus: 1,
            memory_mib: 64,
            root_gib: 1,
            ephemeral_gib: 0,
            swap_mib: 0,
            rxtx_factor: 1.0,
            is_public: true,
            description: None,
        };
        finish(store.create_flavor(flavor))?;
        cloud.add_image(&store, cloud.image, 1)?;
        cloud.add_image(&store, cloud.rescue_image, 2)?;
        finish(store.close())?;
        Ok(cloud)
    }

    /// Where images are.
    pub fn images(&self) -> PathBuf {
        self.root.join("images")
    }

    /// Opens the database.
    pub fn open(&self) -> Result<Store> {
        let file = self.root.join("reprieve.db");
        let clock: Arc<dyn Clock> = Arc::new(self.clock.clone());
        finish(Store::open_with_clock(file.as_path(), clock)).context("cannot open the database")
    }

    fn add_image(&self, store: &Store, id: ImageId, content: u8) -> Result<()> {
        let data = vec![content; IMAGE];
        std::fs::write(self.images().join(id.to_string()), &data)?;
        let now = self.clock.now();
        let image = ImageRecord {
            id,
            name: Some("tiny".into()),
            status: ImageStatus::Queued,
            visibility: Visibility::Public,
            owner: None,
            disk_format: Some(DiskFormat::Raw),
            container_format: Some(ContainerFormat::Bare),
            data: None,
            min_disk: 0,
            min_ram: 0,
            protected: false,
            hidden: false,
            properties: Default::default(),
            tags: Default::default(),
            created_at: now,
            updated_at: now,
        };
        finish(store.create_image(&image))?;
        ensure!(finish(store.begin_upload(id, "upload"))?, "the image is not queued");
        let sha512 = Sha512::digest(&data).iter().map(|byte| format!("{byte:02x}")).collect();
        let size = IMAGE as u64;
        let data = ImageData { size, virtual_size: size, md5: "0".repeat(32), sha512 };
        ensure!(finish(store.finish_upload(id, "upload", &data))?, "the image is not there");
        Ok(())
    }

    /// Starts a process of the control plane on the open database.
    pub fn start(&self, part: Part, store: &Store) -> Result<(Process, Arc<Control>)> {
        let mut process = Process::start()?;
        let control = Arc::new(self.control(store.apart()));
        let stop = process.shutdown();
        let own = || (Arc::clone(&control), stop.clone());
        let (api, conductor) = match part {
            Part::All => (true, true),
            Part::Api => (true, false),
            Part::Conductor => (false, true),
        };
        if api {
            let (control, stop) = own();
            process.add(notify::run(control, stop));
        }
        if conductor {
            let (control, stop) = own();
            process.add(dispatch::run(control, stop));
            let (control, stop) = own();
            process.add(reports::run(control, stop));
        } else {
            let (control, stop) = own();
            process.add(dispatch::run_recorded(control, stop));
        }
        Ok((process, control))
    }

    fn control(&self, store: Store) -> Control {
        Control {
            store,
            bus: Arc::new(self.network.clone()),
            clock: Arc::new(self.clock.clone()),
            sealing_key: sealing_key(),
            settings: Settings {
                public_url: "http://127.0.0.1:8774".into(),
                region: "RegionOne".into(),
                image_dir: self.images(),
                host: "control".into(),
                availability_zone: "nova".into(),
                max_image_bytes: 1 << 30,
                policy: self.policy.clone(),
                consoles: ConsoleSettings::default(),
                api: ApiSettings::default(),
            },
            identity: Identity::new(),
            images: Arc::new(BuiltIn),
            wake_dispatcher: Notify::new(),
            hand_overs: HandOvers::default(),
            patience: Patience::default(),
            notifications: Notifications::of("control"),
            metrics: Arc::default(),
            audit: Arc::default(),
        }
    }
}

/// A user with this role in the only project.
pub fn user(role: &str) -> AuthContext {
    AuthContext {
        user_id: "u".into(),
        user_name: "u".into(),
        project_id: "p".into(),
        project_name: "p".into(),
        roles: vec![role.to_owned()],
    }
}
