//! Addresses with passwords, and the sealing key: in a file of their own or in the configuration.

use std::fmt;
use std::path::Path;

use reprieve_bus::{Identity, NotificationTopic, QueueType, RabbitConfig};
use reprieve_core::SealingKey;
use reprieve_store::Location;
use serde::Deserialize;

use super::{ConfigError, Loaded, Queues, file};
use crate::data_dir::DataDir;

/// Bytes of a sealing key.
const KEY_BYTES: usize = 32;

/// A text that no message shows.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// For whoever is meant to have it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// Whether an address has a password.
pub(super) fn holds_password(url: &str) -> bool {
    let after = url.split_once("://").map_or(url, |(_, rest)| rest);
    let in_front = after.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'));
    in_front || after.contains("password=")
}

impl Loaded {
    /// Where the database is, a file in `data` unless something else was said.
    ///
    /// # Errors
    /// [`ConfigError`] when the file with the address cannot be used.
    pub fn database_url(&self) -> Result<Option<Location>, ConfigError> {
        let database = &self.config.database;
        let url = one(database.url.as_ref(), database.url_file.as_deref())?;
        Ok(url.map(|url| Location::parse(&url)))
    }

    /// How the broker is reached; `None` when messages stay within this process.
    ///
    /// # Errors
    /// [`ConfigError`] when a file cannot be used.
    pub fn broker(&self) -> Result<Option<RabbitConfig>, ConfigError> {
        let bus = &self.config.bus;
        let urls: Vec<String> = match &bus.urls_file {
            Some(path) => lines(path)?,
            None => bus.urls.iter().map(|url| url.reveal().to_owned()).collect(),
        };
        let Some(first) = urls.first() else { return Ok(None) };
        let pem = |path: &Path| file::text(path).map(|(text, _)| text.into_bytes());
        let identity = match (&bus.certificate_file, &bus.key_file) {
            (Some(certificate), Some(key)) => {
                let (text, mode) = file::text(key)?;
                file::private(key, mode)?;
                Some(Identity { certificate: pem(certificate)?, key: text.into_bytes() })
            }
            (None, _) | (_, None) => None,
        };
        let queue_type = match bus.queues {
            Queues::Classic => QueueType::Classic,
            Queues::Quorum => QueueType::Quorum,
        };
        Ok(Some(RabbitConfig {
            authority: bus.ca_file.as_deref().map(pem).transpose()?,
            identity,
            queue_type,
            prefix: bus.prefix.clone(),
            ..RabbitConfig { urls: urls.clone(), ..RabbitConfig::new(first) }
        }))
    }

    /// The broker that gets notifications, if there is one.
    ///
    /// # Errors
    /// [`ConfigError`] when the file with the address cannot be used.
    pub fn notified_broker(&self) -> Result<Option<RabbitConfig>, ConfigError> {
        let said = &self.config.notifications;
        let Some(url) = one(said.url.as_ref(), said.url_file.as_deref())? else { return Ok(None) };
        let topic = NotificationTopic {
            topic: said.topic.clone(),
            durable: said.durable,
            ..NotificationTopic::default()
        };
        Ok(Some(RabbitConfig { notifications: topic, ..RabbitConfig::new(url) }))
    }

    /// The key that this installation's daemons share, or this daemon's own in `data`.
    ///
    /// # Errors
    /// When it cannot be read, or made.
    pub fn sealing_key(&self, data: &DataDir) -> anyhow::Result<SealingKey> {
        match &self.config.sealing_key_file {
            Some(path) => Ok(shared_key(path)?),
            None => data.sealing_key(),
        }
    }
}

/// A key of 32 bytes that others cannot read.
pub(super) fn shared_key(path: &Path) -> Result<SealingKey, ConfigError> {
    use std::io::Read as _;
    use std::os::unix::fs::PermissionsExt as _;
    let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.permissions().mode();
    file::private(path, mode)?;
    let mut bytes = Vec::new();
    file.take(KEY_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    let bytes = <[u8; KEY_BYTES]>::try_from(bytes).map_err(|_| ConfigError::File {
        path: path.to_owned(),
        what: format!(
            "it is not a key of {KEY_BYTES} bytes\n  to fix it: make one (head -c {KEY_BYTES} \
             /dev/urandom) and give the same to every host"
        ),
    })?;
    Ok(SealingKey::new(bytes))
}

fn one(inline: Option<&Secret>, file: Option<&Path>) -> Result<Option<String>, ConfigError> {
    match (inline, file) {
        (_, Some(path)) => Ok(lines(path)?.into_iter().next()),
        (Some(secret), None) => Ok(Some(secret.reveal().to_owned())),
        (None, None) => Ok(None),
    }
}

/// The lines of a private file of addresses.
fn lines(path: &Path) -> Result<Vec<String>, ConfigError> {
    let (text, mode) = file::text(path)?;
    file::private(path, mode)?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let lines: Vec<String> = lines.map(str::to_owned).collect();
    if lines.is_empty() {
        let what = "there is no address in it\n  to fix it: write one in a line".to_owned();
        return Err(ConfigError::File { path: path.to_owned(), what });
    }
    Ok(lines)
}
