//! What a role needs, and what fits together. Nothing is opened but the files that are named.

use std::net::IpAddr;
use std::path::Path;

use reprieve_store::Location;
use tracing_subscriber::filter::EnvFilter;

use super::{ConfigError, Loaded, Problem, Role, secrets};
use crate::policy_file;

/// Most items that a page may be allowed to have: what is kept of a page in memory stays bounded.
const MAX_PAGE: u32 = 10_000;
/// Longest that a token of a console may be good, in seconds: a day.
const MAX_TOKEN_TTL: u32 = 86_400;

/// Longest name, in characters, as Keystone and Nova have it.
const LONGEST_NAME: usize = 255;

/// Collects what is wrong.
struct Findings<'a> {
    loaded: &'a Loaded,
    problems: Vec<Problem>,
}

impl Findings<'_> {
    /// The value of `key` is wrong.
    fn wrong(&mut self, key: &str, what: impl Into<String>, fix: impl Into<String>) {
        let origin = self.loaded.origin(key).cloned();
        self.problems.push(Problem { origin, what: what.into(), fix: fix.into() });
    }

    /// `key` has to be set and is not.
    fn missing(&mut self, role: Role, key: &str, fix: &str) {
        let place = match &self.loaded.file {
            Some(path) => format!("in {}", path.display()),
            None => format!("in {}", super::USUAL_FILE),
        };
        let what = format!("{key} is missing, which the role {} needs", role.name());
        self.problems.push(Problem { origin: None, what, fix: format!("{fix}, {place}") });
    }

    /// Both of two keys are set that exclude each other.
    fn either(&mut self, (one, other): (&str, &str)) {
        if self.loaded.origin(one).is_some() && self.loaded.origin(other).is_some() {
            self.wrong(other, format!("{one} is set, too"), format!("remove {one} or {other}"));
        }
    }

    /// `key` is set and `needed`, which belongs to it, is not.
    fn together(&mut self, key: &str, (needed, option): (&str, &str)) {
        if self.loaded.origin(key).is_some() && self.loaded.origin(needed).is_none() {
            let what = format!("{key} is set without {needed}");
            self.wrong(key, what, format!("set {needed} (or {option}), or remove {key}"));
        }
    }

    /// A service's address.
    fn url(&mut self, key: &str, url: &str) {
        let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
        let plain = |rest: &str| !rest.is_empty() && !rest.contains(['@', '?', '#', ' ']);
        if !rest.is_some_and(plain) {
            let what = format!("{key} is not the http or https URL of a service");
            self.wrong(key, what, "write it as in http://cloud.example:8774");
        }
    }

    /// Something that has to be there.
    fn exists(&mut self, key: &str, path: Option<&Path>) {
        if let Some(path) = path.filter(|path| !path.exists()) {
            let what = format!("{key}: {} does not exist", path.display());
            self.wrong(key, what, "make it, or name another one");
        }
    }
}

impl Loaded {
    /// Whether a process of this role can start with it.
    ///
    /// # Errors
    /// [`ConfigError`], with everything that is wrong.
    pub fn check(&self, role: Role) -> Result<(), ConfigError> {
        let mut findings = Findings { loaded: self, problems: Vec::new() };
        findings.consistent();
        findings.files();
        match role {
            Role::AllInOne => findings.libvirt(),
            Role::Api => {
                findings.shared(role);
                findings.database(role);
                if self.config.api.public_url.is_none() {
                    let fix = "set public_url below [api] to where clients find all api processes";
                    findings.missing(role, "api.public_url", fix);
                }
            }
            Role::Conductor => {
                findings.shared(role);
                findings.database(role);
            }
            Role::Compute => {
                findings.shared(role);
                findings.libvirt();
                if self.config.images.urls.is_empty() && self.config.images.glance_url.is_none() {
                    let fix = "set urls below [images] to the api processes, or glance_url";
                    findings.missing(role, "images.urls", fix);
                }
            }
        }
        if !findings.problems.is_empty() {
            return Err(ConfigError::Problems(findings.problems));
        }
        self.contents(role)
    }

    /// What the clients of database and broker say about their settings, whether the key is one, and
    /// whether the policy can be used.
    fn contents(&self, role: Role) -> Result<(), ConfigError> {
        match role {
            Role::AllInOne | Role::Api | Role::Conductor => self.readable_database()?,
            // It has nothing to do with the database, and may have no right to read where that is.
            Role::Compute => {}
        }
        let fix = "write an address as in amqp://USER:PASSWORD@HOST:5672/%2f";
        if let Some(config) = self.broker()? {
            let urls = self.config.bus.urls_file.is_none();
            let key = if urls { "bus.urls" } else { "bus.urls_file" };
            config.check().map_err(|error| self.problem(key, error.to_string(), fix))?;
        }
        if let Some(config) = self.notified_broker()? {
            config
                .check()
                .map_err(|error| self.problem("notifications.url", error.to_string(), fix))?;
        }
        if let Some(path) = &self.config.sealing_key_file {
            secrets::shared_key(path)?;
        }
        if let Some(path) = &self.config.api.policy_file {
            let fix = "correct the rule, or name another file";
            let read = policy_file::read(Some(path), path);
            read.map_err(|error| self.problem("api.policy_file", format!("{error:#}"), fix))?;
        }
        Ok(())
    }

    /// Whether the address of the database can be one.
    fn readable_database(&self) -> Result<(), ConfigError> {
        let Some(location) = self.database_url()? else { return Ok(()) };
        let file = self.config.database.url_file.is_some();
        let key = if file { "database.url_file" } else { "database.url" };
        let fix = "write it as in postgresql://USER:PASSWORD@HOST/DATABASE or mysql://…";
        let wrong = |why| self.problem(key, format!("{key} ({location}): {why}"), fix);
        location.check().map_err(wrong)
    }

    /// One thing that is wrong with a value.
    fn problem(&self, key: &str, what: String, fix: &str) -> ConfigError {
        let (origin, fix) = (self.origin(key).cloned(), fix.to_owned());
        ConfigError::Problems(vec![Problem { origin, what, fix }])
    }
}

impl Findings<'_> {
    fn consistent(&mut self) {
        let config = &self.loaded.config;
        self.either(("database.url", "database.url_file"));
        self.either(("bus.urls", "bus.urls_file"));
        self.either(("notifications.url", "notifications.url_file"));
        self.either(("images.urls", "images.glance_url"));
        let credentials = ("keystone.credentials_file", "--keystone-credentials");
        self.together("keystone.url", credentials);
        self.together("keystone.credentials_file", ("keystone.url", "--keystone-url"));
        self.together("images.glance_url", ("keystone.url", "--keystone-url"));
        self.together("bus.certificate_file", ("bus.key_file", "REPRIEVE_BUS_KEY_FILE"));
        self.together("bus.key_file", ("bus.certificate_file", "REPRIEVE_BUS_CERTIFICATE_FILE"));
        let notified = ["notifications.url", "notifications.url_file"];
        for key in notified.into_iter().filter(|key| self.loaded.origin(key).is_some()) {
            if !config.notifications.enabled {
                let what = format!("{key} is set and notifications are switched off");
                self.wrong(key, what, "remove it, or --no-notifications and enabled = false");
            }
        }
        let urls = [
            ("api.public_url", &config.api.public_url),
            ("api.compute_link_prefix", &config.api.compute_link_prefix),
            ("api.glance_link_prefix", &config.api.glance_link_prefix),
            ("images.glance_url", &config.images.glance_url),
            ("keystone.url", &config.keystone.url),
        ];
        for (key, url) in urls {
            if let Some(url) = url {
                self.url(key, url);
            }
        }
        for url in &config.images.urls {
            self.url("images.urls", url);
        }
        if !(1..=MAX_PAGE).contains(&config.api.max_limit) {
            let what = format!("api.max_limit is not between 1 and {MAX_PAGE}");
            self.wrong("api.max_limit", what, "take 1000, as Nova does");
        }
        if config.images.max_bytes == 0 && config.images.glance_url.is_none() {
            let fix = "take the size of the largest image in bytes, or remove it for 1 TiB";
            self.wrong("images.max_bytes", "images.max_bytes lets no image be uploaded", fix);
        }
        self.consoles();
        self.names();
        if let Err(error) = EnvFilter::try_new(&config.log.filter) {
            let what = format!("log.filter is no filter: {error}");
            self.wrong("log.filter", what, "try info, or warn,reprieve_compute=debug");
        }
        if config.api.metrics_listen == Some(config.api.listen) {
            let what = "api.metrics_listen is where the HTTP services listen";
            let fix = "choose another port, or remove it: administrators get /metrics there anyway";
            self.wrong("api.metrics_listen", what, fix);
        }
    }

    fn names(&mut self) {
        let config = &self.loaded.config;
        if config.host.as_ref().is_some_and(|host| !is_host_name(host)) {
            let fix = "take 1 to 255 letters, digits, '.', '-' and '_'";
            self.wrong("host", "host is not a name of a host", fix);
        }
        for (key, name, default) in [
            ("api.region", &config.api.region, "RegionOne"),
            ("api.availability_zone", &config.api.availability_zone, "nova"),
            ("notifications.topic", &config.notifications.topic, "versioned_notifications"),
        ] {
            if !is_name(name) {
                let fix = format!("take 1 to {LONGEST_NAME} characters, as in {default}");
                self.wrong(key, format!("{key} is not a name"), fix);
            }
        }
        // AZ:HOST:NODE is how a server is asked for on one host.
        if config.api.availability_zone.contains(':') {
            let what = "api.availability_zone has a ':' in it, behind which Nova's API has a host";
            self.wrong("api.availability_zone", what, "take a name without it");
        }
    }

    /// An address may be an alias, which libvirt's configuration explains.
    fn libvirt(&mut self) {
        let Some(uri) = &self.loaded.config.compute.libvirt_uri else { return };
        let scheme = uri.split_once("://").map(|(scheme, _)| scheme);
        let of_qemu = |scheme: &str| scheme == "qemu" || scheme.starts_with("qemu+");
        if uri.trim().is_empty() || !scheme.is_none_or(of_qemu) {
            let what = "compute.libvirt_uri is not an address of libvirt's QEMU driver";
            self.wrong("compute.libvirt_uri", what, "write it as in qemu:///system");
        }
    }

    fn consoles(&mut self) {
        let (config, compute) = (&self.loaded.config.consoles, &self.loaded.config.compute);
        if !(1..=MAX_TOKEN_TTL).contains(&config.token_ttl) {
            let what = format!("consoles.token_ttl is not between 1 and {MAX_TOKEN_TTL} seconds");
            self.wrong("consoles.token_ttl", what, "take 600, as Nova does");
        }
        for (key, url, schemes) in [
            ("consoles.serial_base_url", &config.serial_base_url, ["ws://", "wss://"]),
            ("consoles.novnc_base_url", &config.novnc_base_url, ["http://", "https://"]),
            (
                "consoles.spice_html5_base_url",
                &config.spice_html5_base_url,
                ["http://", "https://"],
            ),
            (
                "consoles.spice_direct_base_url",
                &config.spice_direct_base_url,
                ["http://", "https://"],
            ),
        ] {
            let rest = schemes.iter().find_map(|scheme| url.strip_prefix(scheme));
            // noVNC has parameters of its own; the token comes behind them.
            let query = key == "consoles.novnc_base_url";
            let plain = |rest: &str| {
                !rest.is_empty()
                    && !rest.contains(['@', '#', ' '])
                    && (query || !rest.contains('?'))
            };
            if !rest.is_some_and(plain) {
                let [one, other] = schemes;
                let what = format!("{key} is not a URL to which a token can be added");
                self.wrong(key, what, format!("write it with {one} or {other}, a host and a path"));
            }
        }
        match &compute.console_host {
            Some(host) if !is_host_name(host) && host.parse::<IpAddr>().is_err() => {
                let fix = "take a name, or an address without a port";
                self.wrong("compute.console_host", "compute.console_host is no host", fix);
            }
            None if compute.console_listen.ip().is_unspecified() => {
                let what =
                    "compute.console_listen means all addresses, which no proxy can connect to";
                let fix = "set console_host below [compute] to the one that proxies reach";
                self.wrong("compute.console_listen", what, fix);
            }
            Some(_) | None => {}
        }
    }

    fn files(&mut self) {
        let config = &self.loaded.config;
        for (key, path, is_made) in [
            ("data_dir", &config.data_dir, true),
            ("images.directory", &config.images.directory, false),
        ] {
            let Some(path) = path else { continue };
            if path.as_os_str().is_empty() || (path.exists() && !path.is_dir()) {
                let what = format!("{key}: '{}' is not a directory", path.display());
                self.wrong(key, what, "name another one");
            } else if !is_made {
                self.exists(key, Some(path));
            }
        }
        for (key, path) in [
            ("sealing_key_file", &config.sealing_key_file),
            ("database.url_file", &config.database.url_file),
            ("bus.urls_file", &config.bus.urls_file),
            ("bus.ca_file", &config.bus.ca_file),
            ("bus.certificate_file", &config.bus.certificate_file),
            ("bus.key_file", &config.bus.key_file),
            ("api.policy_file", &config.api.policy_file),
            ("keystone.credentials_file", &config.keystone.credentials_file),
            ("keystone.ca_file", &config.keystone.ca_file),
            ("notifications.url_file", &config.notifications.url_file),
        ] {
            self.exists(key, path.as_deref());
        }
    }

    /// What several processes need to find each other.
    fn shared(&mut self, role: Role) {
        let config = &self.loaded.config;
        if config.bus.urls.is_empty() && config.bus.urls_file.is_none() {
            let fix = "set urls or urls_file below [bus] to RabbitMQ";
            self.missing(role, "bus.urls", fix);
        }
        if config.sealing_key_file.is_none() {
            let fix = "set sealing_key_file to a key of 32 bytes that all hosts share";
            self.missing(role, "sealing_key_file", fix);
        }
    }

    fn database(&mut self, role: Role) {
        let config = &self.loaded.config.database;
        let Some(url) = &config.url else {
            if config.url_file.is_none() {
                let fix = "set url or url_file below [database] to PostgreSQL or MariaDB";
                self.missing(role, "database.url", fix);
            }
            return;
        };
        match Location::parse(url.reveal()) {
            Location::Postgres(_) | Location::MariaDb(_) => {}
            Location::File(_) => {
                let what = "database.url is no server, and a file is for one process";
                let fix = "write it as in postgresql://USER:PASSWORD@HOST/DATABASE or mysql://…";
                self.wrong("database.url", what, fix);
            }
        }
    }
}

/// What clients and brokers can show: some characters, none of which is for a terminal.
fn is_name(text: &str) -> bool {
    let length = text.chars().count();
    let blank = text.trim().is_empty() || text.trim() != text;
    (1..=LONGEST_NAME).contains(&length) && !blank && !text.chars().any(char::is_control)
}

fn is_host_name(text: &str) -> bool {
    let usual = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    (1..=255).contains(&text.len()) && text.bytes().all(usual)
}
