//! What the host is like: found out once per start, in the background, after the first connection.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reprieve_core::ports::HypervisorError;
use rustix::fs::{Mode, OFlags};
use tokio::sync::watch;

use super::sys::{self, Connection};
use super::{Inner, kvm};
use crate::xml::{DiskCache, DomainHost, DomainType, read_capabilities, read_host_cpu};

/// How long a call waits for the facts: longer than the test guest may take.
const PATIENCE: Duration = Duration::from_secs(40);

/// The machine type whose newest version guests get.
const MACHINE: &str = "pc";

/// First QEMU and libvirt with `freePageReporting`.
const FREE_PAGE_REPORTING: (u64, u64) = (5_001_000, 6_009_000);

/// What does not change while the daemon runs.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    pub(super) hostname: String,
    pub(super) cpu_info: String,
    pub(super) host: DomainHost,
}

#[derive(Debug, Clone)]
enum Known {
    NotYet,
    /// The host answered, with an error or something that cannot be understood.
    Failed(String),
    /// The connection broke before the host had answered, which says nothing about the host.
    Lost(String),
    Yes(Arc<Facts>),
}

impl Known {
    /// What an error of libvirt says about the host, on a connection that is `alive` afterwards.
    fn by_error(error: &sys::Error, alive: bool) -> Self {
        if alive && error.kind != sys::Kind::Connection {
            Self::Failed(error.to_string())
        } else {
            Self::Lost(error.to_string())
        }
    }
}

/// The facts, once they are known.
pub(super) struct FactsCell {
    known: watch::Sender<Known>,
    looking: AtomicBool,
}

impl FactsCell {
    pub(super) fn new() -> Self {
        Self { known: watch::Sender::new(Known::NotYet), looking: AtomicBool::new(false) }
    }
}

impl Inner {
    /// The facts; waits for them while they are being found out.
    pub(super) async fn facts(self: &Arc<Self>) -> Result<Arc<Facts>, HypervisorError> {
        const CALL: &str = "probe of the host";
        if !matches!(*self.facts.known.borrow(), Known::Yes(_)) {
            self.link.get().map_err(|message| self.unavailable(message))?;
            look(self);
        }
        let mut known = self.facts.known.subscribe();
        let settled = known.wait_for(|known| !matches!(known, Known::NotYet));
        match tokio::time::timeout(PATIENCE, settled).await {
            Ok(Ok(known)) => match &*known {
                Known::Yes(facts) => Ok(Arc::clone(facts)),
                Known::Failed(message) => {
                    Err(HypervisorError::Failed { call: CALL, message: message.clone() })
                }
                // Whoever asks again asks a new connection.
                Known::Lost(message) => Err(self.unavailable(message.clone())),
                Known::NotYet => Err(self.unavailable("the host is still unknown".to_owned())),
            },
            Ok(Err(_)) => Err(self.unavailable("the connection was closed here".to_owned())),
            Err(_) => Err(HypervisorError::Timeout { call: CALL, seconds: PATIENCE.as_secs() }),
        }
    }
}

/// Finds the facts out in the background, unless they are known or somebody does.
pub(super) fn look(inner: &Arc<Inner>) {
    if matches!(*inner.facts.known.borrow(), Known::Yes(_))
        || inner.facts.looking.swap(true, Ordering::AcqRel)
    {
        return;
    }
    // An earlier failure is no answer to those who wait from now on.
    inner.facts.known.send_replace(Known::NotYet);
    let looker = Arc::clone(inner);
    let spawned = std::thread::Builder::new().name("libvirt-facts".to_owned()).spawn(move || {
        let link = looker.link.get().map_err(Known::Lost);
        let known = match link.and_then(|link| find(&looker, &link)) {
            Ok(facts) => Known::Yes(Arc::new(facts)),
            Err(unknown) => unknown,
        };
        match &known {
            Known::NotYet | Known::Yes(_) => {}
            Known::Failed(error) => tracing::warn!(error, "the host cannot be probed"),
            Known::Lost(error) => tracing::info!(error, "the probe of the host was interrupted"),
        }
        looker.facts.known.send_replace(known);
        looker.facts.looking.store(false, Ordering::Release);
    });
    if let Err(error) = spawned {
        inner.facts.looking.store(false, Ordering::Release);
        inner.facts.known.send_replace(Known::Failed(error.to_string()));
    }
}

/// The facts, or why they are not known.
fn find(inner: &Inner, link: &Connection) -> Result<Facts, Known> {
    let unknown = |error: sys::Error| Known::by_error(&error, link.is_alive());
    let hostname = link.hostname().map_err(unknown)?;
    let emulated = link.domain_capabilities("qemu", MACHINE).map_err(unknown)?;
    let emulated =
        read_capabilities(&emulated).map_err(|error| Known::Failed(error.to_string()))?;
    let (uri, dir) = (&inner.config.uri, &inner.config.instances_dir);
    let kvm = match inner.config.domain_type {
        Some(_) => Ok(()),
        None => kvm::guest_runs(uri, dir, MACHINE, DomainType::Kvm),
    };
    // Asked after the probe of KVM: a libvirtd that died under it is not taken for a host without.
    let (qemu, libvirt) =
        (link.version().map_err(unknown)?, link.daemon_version().map_err(unknown)?);
    let domain_type = match (inner.config.domain_type, kvm) {
        (Some(configured), _) => configured,
        (None, Ok(())) => DomainType::Kvm,
        (None, Err(reason)) => {
            tracing::warn!(reason, "KVM does not work here: guests are emulated, and slow");
            DomainType::Qemu
        }
    };
    let capabilities = link.capabilities().map_err(|error| error.to_string());
    let cpu_info = capabilities.and_then(|xml| cpu_info(&xml)).unwrap_or_else(|error| {
        // Only for people to read: guests run without it.
        tracing::warn!(error, "the host's CPU cannot be described");
        "{}".to_owned()
    });
    let host = DomainHost {
        domain_type,
        emulator: emulated.emulator,
        machine: emulated.machine,
        cache: cache(&inner.config.instances_dir),
        free_page_reporting: qemu >= FREE_PAGE_REPORTING.0 && libvirt >= FREE_PAGE_REPORTING.1,
    };
    tracing::info!(
        kind = domain_type.as_str(),
        machine = host.machine,
        cache = host.cache.as_str(),
        "this is how guests run here"
    );
    Ok(Facts { hostname, cpu_info, host })
}

/// The host's CPU as Nova describes it, from libvirt's capabilities.
fn cpu_info(capabilities: &str) -> Result<String, String> {
    let cpu = read_host_cpu(capabilities).map_err(|error| error.to_string())?;
    let described = serde_json::json!({
        "arch": cpu.arch,
        "model": cpu.model,
        "vendor": cpu.vendor,
        "topology": {
            "cells": cpu.cells,
            "sockets": cpu.sockets,
            "cores": cpu.cores,
            "threads": cpu.threads,
        },
        "features": cpu.features,
    });
    Ok(described.to_string())
}

/// The cache mode that the file system of `dir` allows.
fn cache(dir: &Path) -> DiskCache {
    // Always the same name: what a killed daemon left is gone after the next probe.
    let file = dir.join(".o_direct");
    let flags =
        OFlags::CREATE | OFlags::NOFOLLOW | OFlags::WRONLY | OFlags::DIRECT | OFlags::CLOEXEC;
    let direct = rustix::fs::open(&file, flags, Mode::RUSR | Mode::WUSR);
    // Some file systems make the file and then refuse the flag; others refuse both.
    match std::fs::remove_file(&file) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => tracing::warn!(%error, file = %file.display(), "a probe file stays behind"),
    }
    match direct {
        Ok(_) => DiskCache::None,
        Err(error) => {
            tracing::info!(%error, dir = %dir.display(), "no O_DIRECT here: disks use the page cache");
            DiskCache::Writeback
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_is_described_as_nova_does() {
        let xml = "<capabilities><host><cpu><arch>x86_64</arch><model>kvm64</model>\
                   <vendor>AMD</vendor><topology sockets='1' dies='1' cores='2' threads='1'/>\
                   <feature name='pae'/><feature name='sse4.1'/></cpu>\
                   <topology><cells num='1'><cell id='0'/></cells></topology></host>\
                   </capabilities>";
        let described: serde_json::Value = serde_json::from_str(&cpu_info(xml).unwrap()).unwrap();
        assert_eq!(
            described,
            serde_json::json!({
                "arch": "x86_64", "model": "kvm64", "vendor": "AMD",
                "topology": {"cells": 1, "sockets": 1, "cores": 2, "threads": 1},
                "features": ["pae", "sse4.1"],
            })
        );
        assert!(cpu_info("<capabilities/>").is_err());
    }

    /// A libvirtd that is killed while the host is probed failed the operation that waited for the
    /// probe (chaos seed 3, run 40 of suspend and resume).
    #[test]
    fn a_connection_that_breaks_says_nothing_about_the_host() {
        let error = |kind| sys::Error { call: "virConnectGetVersion", kind, message: "e".into() };
        let by = |kind, alive| Known::by_error(&error(kind), alive);
        assert!(matches!(by(sys::Kind::Other, false), Known::Lost(_)));
        assert!(matches!(by(sys::Kind::Connection, true), Known::Lost(_)));
        assert!(matches!(by(sys::Kind::Other, true), Known::Failed(_)));
    }

    #[test]
    fn the_probe_of_the_cache_mode_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        cache(dir.path());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        assert_eq!(cache(&dir.path().join("missing")), DiskCache::Writeback);
    }
}
