//! Identity and image services: the own ones, or a Keystone and a Glance that are there already.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use reprieve_control::app::identity::Identity;
use reprieve_control::app::images::{BuiltIn, ImageBackend};
use reprieve_control::external::{Glance, Http, Keystone, OwnImages, ServiceSession, ServiceUser};
use reprieve_core::ports::ImageSource;
use reprieve_hypervisor::image_cache::LocalImageSource;
use tracing::{info, warn};

use crate::config::Role;
use crate::control::image_dir;
use crate::parts::Setup;

/// Who checks tokens and who describes images.
pub struct Services {
    /// Checks tokens.
    pub identity: Identity,
    /// Describes images.
    pub images: Arc<dyn ImageBackend>,
}

impl Services {
    /// The own ones.
    #[must_use]
    pub fn own() -> Self {
        Self { identity: Identity::new(), images: Arc::new(BuiltIn) }
    }
}

/// The services, and where hosts get the data of images.
pub struct Backends {
    /// For requests.
    pub services: Services,
    /// Gives hosts the data of images.
    pub source: Arc<dyn ImageSource>,
}

impl Backends {
    /// As the configuration says.
    ///
    /// # Errors
    /// When a file cannot be read or a URL is none. That a service does not answer is no error: it
    /// may start later than this daemon.
    pub async fn new(setup: &Setup) -> anyhow::Result<Self> {
        let config = &setup.loaded.config;
        let http = http(config.keystone.ca_file.as_deref());
        let own = |http| own_images(setup, http);
        let (Some(url), Some(file)) = (&config.keystone.url, &config.keystone.credentials_file)
        else {
            return Ok(Self { services: Services::own(), source: own(http)? });
        };
        let http = http?;
        let user = service_user(file)?;
        let clock = Arc::clone(&setup.clock);
        let session = Arc::new(ServiceSession::new(http.clone(), url, user, clock)?);
        let keystone = Keystone::new(Arc::clone(&session));
        match keystone.check().await {
            Ok(()) => info!(keystone = %url, "tokens are checked by Keystone"),
            Err(error) => {
                let error = anyhow::Error::from(error);
                warn!(keystone = %url, "Keystone cannot be used yet: {error:#}");
            }
        }
        let identity = Identity::with(Arc::new(keystone));
        let Some(url) = &config.images.glance_url else {
            let services = Services { identity, images: Arc::new(BuiltIn) };
            return Ok(Self { services, source: own(Ok(http))? });
        };
        let glance = Arc::new(Glance::new(session, url)?);
        info!(glance = %url, "images come from Glance");
        let images = Arc::clone(&glance) as Arc<dyn ImageBackend>;
        Ok(Self { services: Services { identity, images }, source: glance })
    }
}

/// Data of the own image service: over HTTP for a host of its own, else from its directory.
fn own_images(setup: &Setup, http: anyhow::Result<Http>) -> anyhow::Result<Arc<dyn ImageSource>> {
    match setup.role {
        Role::AllInOne | Role::Api | Role::Conductor => {
            Ok(Arc::new(LocalImageSource::new(image_dir(setup))))
        }
        Role::Compute => {
            let urls = &setup.loaded.config.images.urls;
            let (key, clock) = (setup.sealing_key.clone(), Arc::clone(&setup.clock));
            Ok(Arc::new(OwnImages::new(http?, urls, key, clock)?))
        }
    }
}

/// HTTP to other services.
fn http(ca: Option<&Path>) -> anyhow::Result<Http> {
    let read = |path: &Path| {
        std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))
    };
    Ok(Http::new(ca.map(read).transpose()?.as_deref())?)
}

fn service_user(file: &Path) -> anyhow::Result<ServiceUser> {
    let unreadable = || format!("the credentials in {} cannot be read", file.display());
    let text = std::fs::read_to_string(file).with_context(unreadable)?;
    let mode = std::fs::metadata(file).with_context(unreadable)?.permissions().mode();
    if mode & 0o007 != 0 {
        warn!(
            file = %file.display(),
            "everybody on this machine may read the service user's password; run chmod o= on it"
        );
    }
    ServiceUser::parse(&text)
        .with_context(|| format!("the credentials in {} cannot be used", file.display()))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::Args;
    use crate::config::Loaded;
    use crate::data_dir::DataDir;

    async fn backends(more: &[&str], root: &Path) -> anyhow::Result<Backends> {
        let data = DataDir::prepare(root)?;
        let args = Args::try_parse_from([&["reprieved"], more].concat())?;
        let loaded = Loaded::with(&args.options, &|_| None)?;
        loaded.check(Role::AllInOne)?;
        Backends::new(&Setup::new(loaded, data, Role::AllInOne)?).await
    }

    #[tokio::test]
    async fn a_keystone_that_is_down_does_not_keep_the_daemon_from_starting() {
        let dir = tempfile::tempdir().unwrap();
        let own = backends(&[], dir.path()).await.unwrap();
        assert_eq!(own.services.identity.external_url(), None);
        let file = dir.path().join("service.yaml");
        std::fs::write(&file, "{username: nova, password: x, project_name: service}").unwrap();
        let file = file.to_str().unwrap();
        let flags = [
            "--keystone-url",
            "http://127.0.0.1:1/identity",
            "--keystone-credentials",
            file,
            "--glance-url",
            "http://127.0.0.1:1/image",
        ];
        let other = backends(&flags, dir.path()).await.unwrap();
        assert_eq!(other.services.identity.external_url(), Some("http://127.0.0.1:1/identity/v3"));
        assert_eq!(other.services.images.external_url(), Some("http://127.0.0.1:1/image"));
    }

    #[tokio::test]
    async fn mistakes_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("service.yaml");
        std::fs::write(&file, "{username: nova, password: hunter2}").unwrap();
        let file = file.to_str().unwrap();
        let refused = async |flags: &[&str]| match backends(flags, dir.path()).await {
            Ok(_) => panic!("accepted"),
            Err(error) => format!("{error:#}"),
        };
        let incomplete =
            refused(&["--keystone-url", "http://k", "--keystone-credentials", file]).await;
        assert!(incomplete.contains("project_name"), "{incomplete}");
        assert!(!incomplete.contains("hunter2"));
        let missing = ["--keystone-url", "http://k", "--keystone-credentials", "/nonexistent"];
        assert!(refused(&missing).await.contains("/nonexistent"));
        assert!(refused(&["--keystone-url", "http://k"]).await.contains("--keystone-credentials"));
        assert!(refused(&["--glance-url", "http://g"]).await.contains("--keystone-url"));
    }
}
