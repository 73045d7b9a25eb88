//! The port of the core, on libvirt.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use reprieve_core::console::DomainConsole;
use reprieve_core::message::HostInfo;
use reprieve_core::ports::{
    DomainPower, DomainState, DomainVariant, Hypervisor, HypervisorError, HypervisorEvent,
    InstancePaths, JobProgress,
};
use reprieve_core::spec::InstanceSpec;
use reprieve_core::stats::GuestStats;
use reprieve_core::{InstanceId, OperationId};

use super::calls::{Call, Failure, Lane};
use super::sys::{self, Domain, Kind, Metadata};
use super::{Libvirt, machine, save_file, state, stats};
use crate::xml::{self, DiskCache, DomainType, NAMESPACE};

/// Deadline of calls that answer from memory or stop and start CPUs.
const SHORT: Duration = Duration::from_secs(10);
/// Deadline of a list of all domains, and of the end of a process: libvirt gives QEMU 15 s to end
/// after SIGTERM and as long after SIGKILL.
const MEDIUM: Duration = Duration::from_secs(60);
/// Deadline of definitions and starts.
const LONG: Duration = Duration::from_secs(120);
/// Deadline of what moves a guest's memory.
const MEMORY: Duration = Duration::from_secs(3600);

/// Guests above this size are saved past the page cache: 2-3 times as fast from 4 GiB on, slower
/// below 1 GiB (docs/findings.md).
const BYPASS_CACHE_KIB: u64 = 2 * 1024 * 1024;

const GIB: u64 = 1024 * 1024 * 1024;

const fn query(name: &'static str, id: InstanceId) -> Call {
    Call { name, lane: Lane::Query, deadline: SHORT, id: Some(id) }
}

const fn change(name: &'static str, deadline: Duration, id: InstanceId) -> Call {
    Call { name, lane: Lane::Change, deadline, id: Some(id) }
}

const fn long(name: &'static str, deadline: Duration, id: InstanceId) -> Call {
    Call { name, lane: Lane::Long, deadline, id: Some(id) }
}

impl Libvirt {
    /// Runs `work` on the domain of `call`.
    async fn on_domain<T: Send + 'static>(
        &self,
        call: Call,
        id: InstanceId,
        work: impl FnOnce(&Domain) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, HypervisorError> {
        self.inner.call(call, move |connection| work(&connection.domain(id.uuid())?)).await
    }
}

/// State of a domain in two to four calls of libvirt; `None` when it vanished meanwhile.
fn look(domain: &Domain) -> Result<Option<DomainState>, sys::Error> {
    look_with(domain, look_once)
}

/// Power of a domain in one or two calls of libvirt; `None` when it vanished meanwhile.
fn look_at_power(domain: &Domain) -> Result<Option<DomainPower>, sys::Error> {
    look_with(domain, |domain| Ok(power_once(domain)?.1))
}

fn look_with<T>(
    domain: &Domain,
    once: impl Fn(&Domain) -> Result<T, sys::Error>,
) -> Result<Option<T>, sys::Error> {
    match once(domain) {
        // It stopped between two of the calls: now it is off, which has fewer calls.
        Err(sys::Error { kind: Kind::InvalidState, .. }) => once(domain),
        found => found,
    }
    .map(Some)
    .or_else(|error| if error.kind == Kind::NoDomain { Ok(None) } else { Err(error) })
}

/// Whether a process runs the domain, and its power.
fn power_once(domain: &Domain) -> Result<(bool, DomainPower), sys::Error> {
    let raw = domain.state()?;
    let active = state::is_active(raw);
    // While a domain starts or is restored, asking for its job would wait until that has ended.
    let job = state::in_transition(raw) || (active && domain.job()?.is_some_and(|job| job.active));
    let (power, reason) = state::power(raw);
    Ok((active, DomainPower { power, reason: state::settled(power, reason, job), job }))
}

fn look_once(domain: &Domain) -> Result<DomainState, sys::Error> {
    let (active, DomainPower { power, reason, job }) = power_once(domain)?;
    // A domain that does not run exists only by its persistent definition.
    let persistent = !active || domain.is_persistent()?;
    let metadata = domain.metadata(NAMESPACE, Metadata::Current)?;
    // Anybody can write metadata with virsh; what cannot be read is not ours.
    let metadata = metadata.and_then(|text| xml::read_metadata(&text).ok());
    Ok(DomainState {
        power,
        reason,
        persistent,
        tag: metadata.and_then(|metadata| metadata.tag),
        rescue: metadata.is_some_and(|metadata| metadata.rescue),
        job,
    })
}

fn text_of<'a>(call: &'static str, file: &'a Path) -> Result<&'a str, HypervisorError> {
    file.to_str().ok_or_else(|| HypervisorError::Failed {
        call,
        message: format!("{} is not plain text", file.display()),
    })
}

/// Refuses a start that would lose a memory image that somebody else made.
fn refuse_managed_save(call: &'static str, domain: &Domain) -> Result<(), Failure> {
    if domain.has_managed_save()? {
        return Err(Failure::Refused(HypervisorError::InvalidState {
            call,
            message: "libvirt keeps a managed save of this domain, made outside of Reprieve; \
                      restore it with 'virsh start' or remove it with 'virsh managedsave-remove'"
                .to_owned(),
        }));
    }
    Ok(())
}

/// Makes a file that we own before libvirt's root-owned daemons would make it, so that we can read
/// it too. Fails silently: without it everything works for a daemon that runs as root.
fn own_file(path: &Path) {
    let opened = OpenOptions::new().append(true).create(true).mode(0o600).open(path);
    if let Err(error) = opened {
        tracing::debug!(%error, file = %path.display(), "file not made beforehand");
    }
}

#[async_trait]
impl Hypervisor for Libvirt {
    async fn host(&self) -> Result<HostInfo, HypervisorError> {
        let facts = self.inner.facts().await?;
        let dir = self.inner.config.instances_dir.clone();
        let call = Call { name: "host", lane: Lane::Query, deadline: SHORT, id: None };
        self.inner
            .call(call, move |connection| {
                let (node, version) = (connection.node_info()?, connection.version()?);
                let disk = rustix::fs::statvfs(&dir).map_err(|error| {
                    Failure::Refused(HypervisorError::Failed {
                        call: "host",
                        message: format!("{}: {error}", dir.display()),
                    })
                })?;
                Ok(HostInfo {
                    hypervisor_hostname: facts.hostname.clone(),
                    hypervisor_type: "QEMU".to_owned(),
                    hypervisor_version: version,
                    vcpus: node.cpus,
                    memory_mib: node.memory_kib / 1024,
                    disk_gib: disk.f_blocks.saturating_mul(disk.f_frsize) / GIB,
                    disk_free_gib: disk.f_bavail.saturating_mul(disk.f_frsize) / GIB,
                    kvm: facts.host.domain_type == DomainType::Kvm,
                    cpu_info: facts.cpu_info.clone(),
                    host_ip: machine::address(),
                    uptime: machine::uptime(),
                    agent_version: String::new(),
                    unknown_guests: Vec::new(),
                })
            })
            .await
    }

    fn events(&self) -> BoxStream<'static, HypervisorEvent> {
        self.event_stream()
    }

    async fn list(&self) -> Result<Vec<(InstanceId, DomainState)>, HypervisorError> {
        let call = Call { name: "list", lane: Lane::Query, deadline: MEDIUM, id: None };
        self.inner
            .call(call, |connection| {
                let mut found = Vec::new();
                for domain in connection.domains()? {
                    let ours = match domain.metadata(NAMESPACE, Metadata::Current) {
                        Ok(metadata) => metadata.is_some(),
                        Err(error) if error.kind == Kind::NoDomain => false,
                        Err(error) => return Err(error.into()),
                    };
                    if ours && let Some(state) = look(&domain)? {
                        found.push((InstanceId::from(domain.uuid()?), state));
                    }
                }
                Ok(found)
            })
            .await
    }

    async fn domain(&self, id: InstanceId) -> Result<Option<DomainState>, HypervisorError> {
        self.inner
            .call(query("domain", id), move |connection| match connection.domain(id.uuid()) {
                Ok(domain) => Ok(look(&domain)?),
                Err(error) if error.kind == Kind::NoDomain => Ok(None),
                Err(error) => Err(error.into()),
            })
            .await
    }

    async fn power(&self, id: InstanceId) -> Result<Option<DomainPower>, HypervisorError> {
        self.inner
            .call(query("power", id), move |connection| match connection.domain(id.uuid()) {
                Ok(domain) => Ok(look_at_power(&domain)?),
                Err(error) if error.kind == Kind::NoDomain => Ok(None),
                Err(error) => Err(error.into()),
            })
            .await
    }

    async fn define(
        &self,
        spec: &InstanceSpec,
        variant: &DomainVariant,
        tag: OperationId,
    ) -> Result<(), HypervisorError> {
        let facts = self.inner.facts().await?;
        let paths = InstancePaths::new(&self.inner.config.instances_dir, spec.id);
        let xml = xml::domain_xml(spec, variant, &paths, tag, &facts.host).map_err(|error| {
            HypervisorError::Failed { call: "define", message: error.to_string() }
        })?;
        self.inner
            .call(change("define", LONG, spec.id), move |connection| {
                own_file(&paths.console_log());
                connection.define(&xml)?;
                Ok(())
            })
            .await
    }

    async fn definition(&self, id: InstanceId) -> Result<String, HypervisorError> {
        self.on_domain(query("definition", id), id, |domain| Ok(domain.persistent_xml()?)).await
    }

    async fn define_xml(&self, id: InstanceId, xml: &str) -> Result<(), HypervisorError> {
        const CALL: &str = "define_xml";
        let failed = |message| HypervisorError::Failed { call: CALL, message };
        let summary = xml::read_domain(xml).map_err(|error| failed(error.to_string()))?;
        if summary.id != id {
            let message = format!("the definition is of server {}, not of {id}", summary.id);
            return Err(failed(message));
        }
        let xml = xml.to_owned();
        self.inner
            .call(change(CALL, LONG, id), move |connection| {
                connection.define(&xml)?;
                Ok(())
            })
            .await
    }

    async fn start(&self, id: InstanceId) -> Result<(), HypervisorError> {
        self.on_domain(long("start", LONG, id), id, |domain| {
            refuse_managed_save("start", domain)?;
            Ok(domain.boot()?)
        })
        .await
    }

    async fn suspend_cpus(&self, id: InstanceId) -> Result<(), HypervisorError> {
        self.on_domain(change("suspend_cpus", SHORT, id), id, |domain| Ok(domain.suspend()?)).await
    }

    async fn resume_cpus(&self, id: InstanceId) -> Result<(), HypervisorError> {
        self.on_domain(change("resume_cpus", SHORT, id), id, |domain| Ok(domain.resume()?)).await
    }

    async fn wake(&self, id: InstanceId) -> Result<(), HypervisorError> {
        self.on_domain(change("wake", SHORT, id), id, |domain| Ok(domain.wake()?)).await
    }

    async fn request_shutdown(&self, id: InstanceId) -> Result<(), HypervisorError> {
        self.on_domain(change("request_shutdown", SHORT, id), id, |domain| {
            Ok(domain.press_power_button()?)
        })
        .await
    }

    async fn destroy(&self, id: InstanceId) -> Result<(), HypervisorError> {
        self.on_domain(change("destroy", MEDIUM, id), id, |domain| Ok(domain.destroy()?)).await
    }

    async fn undefine(&self, id: InstanceId) -> Result<(), HypervisorError> {
        self.on_domain(change("undefine", SHORT, id), id, |domain| Ok(domain.undefine()?)).await
    }

    async fn save_memory(&self, id: InstanceId, file: &Path) -> Result<(), HypervisorError> {
        const CALL: &str = "save_memory";
        let direct = self.inner.facts().await?.host.cache == DiskCache::None;
        let file = text_of(CALL, file)?.to_owned();
        self.on_domain(long(CALL, MEMORY, id), id, move |domain| {
            let bypass_cache = direct && domain.max_memory_kib()? >= BYPASS_CACHE_KIB;
            own_file(Path::new(&file));
            Ok(domain.save(&file, bypass_cache)?)
        })
        .await
    }

    async fn save_is_complete(&self, id: InstanceId, file: &Path) -> Result<bool, HypervisorError> {
        const CALL: &str = "save_is_complete";
        let failed = |message| HypervisorError::Failed { call: CALL, message };
        let path = file.to_owned();
        let shown = file.display().to_string();
        tokio::task::spawn_blocking(move || save_file::is_complete(&path, id))
            .await
            .map_err(|error| failed(error.to_string()))?
            .map_err(|error| failed(format!("{shown}: {error}")))
    }

    async fn restore_memory(&self, id: InstanceId, file: &Path) -> Result<(), HypervisorError> {
        const CALL: &str = "restore_memory";
        let file = text_of(CALL, file)?.to_owned();
        self.inner
            .call(long(CALL, MEMORY, id), move |connection| {
                // The file decides which domain comes back.
                let xml = connection.saved_definition(&file)?;
                let of = xml::read_domain(&xml).map(|summary| summary.id);
                if !of.as_ref().is_ok_and(|of| *of == id) {
                    return Err(Failure::Refused(HypervisorError::Failed {
                        call: CALL,
                        message: format!("{file} does not hold the memory of server {id}"),
                    }));
                }
                Ok(connection.restore_paused(&file)?)
            })
            .await
    }

    async fn abort_job(&self, id: InstanceId) -> Result<(), HypervisorError> {
        self.on_domain(change("abort_job", SHORT, id), id, |domain| Ok(domain.abort_job()?)).await
    }

    async fn job_progress(&self, id: InstanceId) -> Result<Option<JobProgress>, HypervisorError> {
        self.on_domain(query("job_progress", id), id, |domain| {
            let job = match domain.job() {
                // A domain that does not run has none.
                Err(error) if error.kind == Kind::InvalidState => None,
                job => job?.filter(|job| job.active),
            };
            Ok(job.map(|job| JobProgress { processed: job.processed, total: job.total }))
        })
        .await
    }

    async fn stats(&self, id: InstanceId) -> Result<GuestStats, HypervisorError> {
        let domain_type = self.inner.facts().await?.host.domain_type;
        self.on_domain(query("stats", id), id, move |domain| {
            Ok(stats::gather(domain_type, domain.statistics()?))
        })
        .await
    }

    async fn consoles(&self, id: InstanceId) -> Result<Vec<DomainConsole>, HypervisorError> {
        const CALL: &str = "consoles";
        let xml = self.on_domain(query(CALL, id), id, |domain| Ok(domain.current_xml()?)).await?;
        xml::read_consoles(&xml)
            .map_err(|error| HypervisorError::Failed { call: CALL, message: error.to_string() })
    }

    async fn sync_clock(&self, id: InstanceId) -> Result<bool, HypervisorError> {
        self.on_domain(change("sync_clock", SHORT, id), id, |domain| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
            match domain.set_time(seconds, now.subsec_nanos()) {
                Ok(()) => Ok(true),
                Err(error) if matches!(error.kind, Kind::NoAgent | Kind::Unsupported) => Ok(false),
                Err(error) => Err(error.into()),
            }
        })
        .await
    }
}
