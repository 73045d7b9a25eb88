//! What an operator says about the broker.

use std::fmt;
use std::sync::Arc;

use lapin::tcp::{RustlsConnector, RustlsConnectorConfig};
use lapin::uri::{AMQPScheme, AMQPUri};
use reprieve_core::notification::Priority;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::topology::Topology;

/// Seconds after which a silent peer counts as gone, unless the address says otherwise.
const HEARTBEAT: u16 = 10;
/// Bytes of a frame. The client reserves 32 of them for each direction of each connection.
const FRAME: u32 = 16 * 1024;

/// How the broker keeps the queues of commands and reports. Both survive its restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum QueueType {
    /// On one node.
    #[default]
    Classic,
    /// On a majority of the nodes of a cluster. For clusters of three or more.
    Quorum,
}

/// What a client shows to a broker that asks for a certificate, as PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// Certificate, followed by those of the authorities in between.
    pub certificate: Vec<u8>,
    /// Its private key.
    pub key: Vec<u8>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

/// Where notifications go. The defaults are Nova's, with which consumers declare the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotificationTopic {
    /// Topic exchange.
    pub exchange: String,
    /// First part of the routing keys and of the queues' names; the second is the priority.
    pub topic: String,
    /// Whether exchange and queues survive a restart of the broker (`amqp_durable_queues`). Has to
    /// be what consumers declare.
    pub durable: bool,
}

impl Default for NotificationTopic {
    fn default() -> Self {
        Self {
            exchange: "nova".to_owned(),
            topic: "versioned_notifications".to_owned(),
            durable: false,
        }
    }
}

impl NotificationTopic {
    /// Routing key and name of the queue.
    pub(super) fn key(&self, priority: Priority) -> String {
        format!("{}.{}", self.topic, priority.as_str().to_ascii_lowercase())
    }
}

/// How the broker is reached and used. The user has to be allowed to configure, write and read
/// `PREFIX\..*`, and to write to the default exchange (`amq\.default`).
#[derive(Clone, PartialEq, Eq)]
pub struct RabbitConfig {
    /// Addresses, tried in turn: `amqp://USER:PASSWORD@HOST:PORT/VHOST`, or `amqps:` for TLS. In
    /// the virtual host's name `/` is written `%2f`.
    pub urls: Vec<String>,
    /// Certificates (PEM) of the only authorities that may vouch for a broker reached by TLS.
    /// `None`: those that this machine trusts.
    pub authority: Option<Vec<u8>>,
    /// What to show to a broker that asks for a certificate.
    pub identity: Option<Identity>,
    /// How the broker keeps the queues. Cannot be changed while they exist.
    pub queue_type: QueueType,
    /// First part of the names of all queues, so that installations can share a virtual host.
    pub prefix: String,
    /// Messages that may wait for one host; what does not fit is sent again later. Fixed while the
    /// queue exists.
    pub command_limit: u32,
    /// Messages that may wait for the control plane. Fixed while the queue exists.
    pub report_limit: u32,
    /// Messages that the broker hands to one subscription before the first is acknowledged.
    pub prefetch: u16,
    /// Where notifications go, if they are sent.
    pub notifications: NotificationTopic,
}

impl RabbitConfig {
    /// With defaults for everything but the address.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            urls: vec![url.into()],
            authority: None,
            identity: None,
            queue_type: QueueType::default(),
            prefix: "reprieve".to_owned(),
            command_limit: 10_000,
            report_limit: 100_000,
            prefetch: 256,
            notifications: NotificationTopic::default(),
        }
    }

    /// Whether a bus can be made of it; connects to nothing.
    ///
    /// # Errors
    /// [`RabbitConfigError`].
    pub fn check(&self) -> Result<(), RabbitConfigError> {
        Settings::new(self.clone()).map(drop)
    }
}

/// Addresses hold passwords, so they are not shown.
impl fmt::Debug for RabbitConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RabbitConfig")
            .field("urls", &self.urls.len())
            .field("queue_type", &self.queue_type)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

/// Why a configuration cannot be used. Never repeats an address, which may hold a password.
#[derive(Debug, thiserror::Error)]
pub enum RabbitConfigError {
    /// No address at all.
    #[error("the message broker has no address")]
    NoUrl,
    /// An address that is none.
    #[error("address {number} of the message broker cannot be read: {message}")]
    Url {
        /// Which, from 1.
        number: usize,
        /// What is wrong.
        message: String,
    },
    /// A number that must not be zero.
    #[error("{0} must not be zero")]
    Zero(&'static str),
    /// An exchange or topic of notifications that no broker takes.
    #[error("the exchange and the topic of notifications have 1 to 200 bytes")]
    Topic,
    /// The prefix leaves no room for the names of hosts, or has characters that make trouble.
    #[error("a prefix of queues has 1 to 64 letters, digits, '-', '_' or '.'")]
    Prefix,
    /// A certificate or key that is none.
    #[error("the broker's {what} cannot be read")]
    Pem {
        /// Which.
        what: &'static str,
        /// What is wrong.
        source: pem::Error,
    },
    /// Certificates that do not make a TLS client.
    #[error("TLS for the message broker cannot be set up")]
    Tls {
        /// What is wrong.
        source: std::io::Error,
    },
}

/// A configuration that was looked through.
pub(super) struct Settings {
    pub(super) addresses: Vec<AMQPUri>,
    pub(super) topology: Topology,
    pub(super) prefetch: u16,
    pub(super) notifications: NotificationTopic,
    /// Made once; `None` when no address asks for TLS.
    pub(super) tls: Option<Arc<RustlsConnector>>,
}

impl Settings {
    pub(super) fn new(config: RabbitConfig) -> Result<Self, RabbitConfigError> {
        let addresses =
            config.urls.iter().enumerate().map(address).collect::<Result<Vec<_>, _>>()?;
        if addresses.is_empty() {
            return Err(RabbitConfigError::NoUrl);
        }
        for (value, name) in [
            (u64::from(config.command_limit), "the limit of commands"),
            (u64::from(config.report_limit), "the limit of reports"),
            // AMQP reads this zero as "without limit".
            (u64::from(config.prefetch), "the prefetch"),
        ] {
            if value == 0 {
                return Err(RabbitConfigError::Zero(name));
            }
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if !(1..=64).contains(&config.prefix.len()) || !config.prefix.chars().all(plain) {
            return Err(RabbitConfigError::Prefix);
        }
        let NotificationTopic { exchange, topic, durable: _ } = &config.notifications;
        if [exchange, topic].iter().any(|name| !(1..=200).contains(&name.len())) {
            return Err(RabbitConfigError::Topic);
        }
        let encrypted = addresses.iter().any(|uri| uri.scheme == AMQPScheme::AMQPS);
        let tls = encrypted.then(|| connector(&config)).transpose()?.map(Arc::new);
        let topology = Topology {
            prefix: config.prefix,
            queue_type: config.queue_type,
            command_limit: config.command_limit,
            report_limit: config.report_limit,
        };
        let (prefetch, notifications) = (config.prefetch, config.notifications);
        Ok(Self { addresses, topology, prefetch, notifications, tls })
    }
}

fn address((index, url): (usize, &String)) -> Result<AMQPUri, RabbitConfigError> {
    // The parser's messages name the part that is wrong, not its content; a scheme is shown.
    let mut uri: AMQPUri =
        url.parse().map_err(|message| RabbitConfigError::Url { number: index + 1, message })?;
    uri.query.heartbeat.get_or_insert(HEARTBEAT);
    uri.query.frame_max.get_or_insert(FRAME);
    Ok(uri)
}

fn connector(config: &RabbitConfig) -> Result<RustlsConnector, RabbitConfigError> {
    let certificates = |what, bytes: &[u8]| {
        CertificateDer::pem_slice_iter(bytes)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|source| RabbitConfigError::Pem { what, source })
    };
    let roots = match &config.authority {
        Some(pem) => {
            let authority = certificates("authority", pem)?;
            RustlsConnectorConfig::default().with_parsable_certificates(authority)
        }
        None => RustlsConnectorConfig::new_with_platform_verifier(),
    };
    let connector = match &config.identity {
        Some(identity) => {
            let chain = certificates("certificate", &identity.certificate)?;
            let key = PrivateKeyDer::from_pem_slice(&identity.key)
                .map_err(|source| RabbitConfigError::Pem { what: "key", source })?;
            roots.connector_with_single_cert(chain, key)
        }
        None => roots.connector_with_no_client_auth(),
    };
    connector.map_err(|source| RabbitConfigError::Tls { source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut RabbitConfig)) -> String {
        let mut config = RabbitConfig::new("amqp://user:secret@broker:5672/%2f");
        change(&mut config);
        config.check().unwrap_err().to_string()
    }

    #[test]
    fn nonsense_is_refused_and_passwords_are_not_repeated() {
        assert!(refused(|config| config.urls.clear()).contains("no address"));
        assert!(refused(|config| config.prefetch = 0).contains("prefetch"));
        assert!(refused(|config| config.command_limit = 0).contains("commands"));
        assert!(refused(|config| config.prefix = "a b".to_owned()).contains("prefix"));
        assert!(refused(|config| config.prefix = "x".repeat(65)).contains("prefix"));
        for wrong in ["http://user:secret@broker/", "amqp://user:secret@bro ker/", "secret"] {
            let said = refused(|config| config.urls.push(wrong.to_owned()));
            assert!(said.starts_with("address 2 ") && !said.contains("secret"), "{said}");
        }
        let shown = format!("{:?}", RabbitConfig::new("amqp://user:secret@broker/"));
        assert!(!shown.contains("secret"), "{shown}");
    }

    #[test]
    fn certificates_that_are_none_are_refused() {
        let pem = |text: &str| Some(text.as_bytes().to_vec());
        let begun = "-----BEGIN CERTIFICATE-----\n%%%\n-----END CERTIFICATE-----\n";
        let said = refused(|config| {
            config.urls = vec!["amqps://user:secret@broker/".to_owned()];
            config.authority = pem(begun);
        });
        assert!(said.contains("authority"), "{said}");
    }
}
