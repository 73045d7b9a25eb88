//! Identity and image services: the own ones, or a Keystone and a Glance that are there already.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use reprieve_control::app::identity::Identity;
use reprieve_control::app::images::{BuiltIn, ImageBackend};
use reprieve_control::external::{Glance, Http, Keystone, ServiceSession, ServiceUser};
use reprieve_core::Clock;
use reprieve_core::ports::ImageSource;
use reprieve_hypervisor::image_cache::LocalImageSource;
use tracing::{info, warn};

use crate::args::Args;
use crate::data_dir::DataDir;

/// Who checks tokens, who describes images, and where hosts get their data.
pub struct Backends {
    /// Checks tokens.
    pub identity: Identity,
    /// Describes images.
    pub images: Arc<dyn ImageBackend>,
    /// Gives hosts the data of images.
    pub source: Arc<dyn ImageSource>,
}

impl Backends {
    /// As the arguments say.
    ///
    /// # Errors
    /// When a file cannot be read or a URL is none. That a service does not answer is no error: it
    /// may start later than this daemon.
    pub async fn new(args: &Args, data: &DataDir, clock: &Arc<dyn Clock>) -> anyhow::Result<Self> {
        let (Some(url), Some(file)) = (&args.keystone_url, &args.keystone_credentials) else {
            return Ok(Self {
                identity: Identity::new(),
                images: Arc::new(BuiltIn),
                source: Arc::new(LocalImageSource::new(data.images())),
            });
        };
        let user = service_user(file)?;
        let ca = match &args.ca_file {
            Some(path) => Some(
                std::fs::read(path)
                    .with_context(|| format!("{} cannot be read", path.display()))?,
            ),
            None => None,
        };
        let http = Http::new(ca.as_deref())?;
        let session = Arc::new(ServiceSession::new(http, url, user, Arc::clone(clock))?);
        let keystone = Keystone::new(Arc::clone(&session));
        match keystone.check().await {
            Ok(()) => info!(keystone = %url, "tokens are checked by Keystone"),
            Err(error) => {
                let error = anyhow::Error::from(error);
                warn!(keystone = %url, "Keystone cannot be used yet: {error:#}");
            }
        }
        let (images, source) = images(args, data, session)?;
        Ok(Self { identity: Identity::with(Arc::new(keystone)), images, source })
    }
}

type Images = (Arc<dyn ImageBackend>, Arc<dyn ImageSource>);

fn images(args: &Args, data: &DataDir, session: Arc<ServiceSession>) -> anyhow::Result<Images> {
    let Some(url) = &args.glance_url else {
        return Ok((Arc::new(BuiltIn), Arc::new(LocalImageSource::new(data.images()))));
    };
    let glance = Arc::new(Glance::new(session, url)?);
    info!(glance = %url, "images come from Glance");
    Ok((Arc::clone(&glance) as Arc<dyn ImageBackend>, glance))
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
    use reprieve_core::SystemClock;

    use super::*;

    async fn backends(more: &[&str], root: &Path) -> anyhow::Result<Backends> {
        let data = DataDir::prepare(root)?;
        let args = Args::try_parse_from([&["reprieved"], more].concat())?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        Backends::new(&args, &data, &clock).await
    }

    #[tokio::test]
    async fn a_keystone_that_is_down_does_not_keep_the_daemon_from_starting() {
        let dir = tempfile::tempdir().unwrap();
        let own = backends(&[], dir.path()).await.unwrap();
        assert_eq!(own.identity.external_url(), None);
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
        assert_eq!(other.identity.external_url(), Some("http://127.0.0.1:1/identity/v3"));
        assert_eq!(other.images.external_url(), Some("http://127.0.0.1:1/image"));
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
