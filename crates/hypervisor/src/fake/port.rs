//! The `Hypervisor` port on the simulated domains, with the faults in front of and behind each call.

use std::path::Path;

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use reprieve_core::console::DomainConsole;
use reprieve_core::message::HostInfo;
use reprieve_core::ports::{
    DomainPower, DomainState, DomainVariant, Hypervisor, HypervisorError, HypervisorEvent,
    InstancePaths, JobProgress,
};
use reprieve_core::spec::InstanceSpec;
use reprieve_core::stats::GuestStats;
use reprieve_core::{InstanceId, OperationId};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::oneshot;

use super::guest::{self, Definition, Domain, Job};
use super::{Call, FakeHypervisor, Fault, Moment, SaveDefect, State};

type Result<T> = std::result::Result<T, HypervisorError>;

/// What is left of a fault after a call's beginning.
enum Behind {
    Nothing,
    LoseAnswer(HypervisorError),
    Crash(oneshot::Sender<()>),
}

impl FakeHypervisor {
    /// Before the effect: record, die, fail, wait.
    async fn enter(&self, call: Call, id: Option<InstanceId>) -> Result<Behind> {
        let (fault, disconnected) = {
            let mut state = self.state();
            state.calls.push((call, id));
            let position = state.faults.iter().position(|(aim, _)| *aim == call);
            (position.map(|at| state.faults.remove(at).1), state.disconnected.clone())
        };
        let behind = match fault {
            Some(Fault::Crash(Moment::Before, reached)) => die(reached).await,
            Some(Fault::Fail(error)) => return Err(error),
            Some(Fault::Crash(Moment::After, reached)) => Behind::Crash(reached),
            Some(Fault::LoseAnswer(error)) => Behind::LoseAnswer(error),
            None => Behind::Nothing,
        };
        match disconnected {
            Some(message) => {
                Err(HypervisorError::Unavailable { uri: "fake:///".to_owned(), message })
            }
            None => Ok(behind),
        }
    }

    /// After the effect.
    async fn leave<T>(&self, behind: Behind, result: Result<T>) -> Result<T> {
        match behind {
            Behind::Nothing => result,
            Behind::LoseAnswer(error) => Err(error),
            Behind::Crash(reached) => die(reached).await,
        }
    }

    /// As long as the test says that this call takes.
    async fn wait(&self, call: Call) {
        let (held, delay) = {
            let mut state = self.state();
            let position = state.held.iter().position(|(aim, _)| *aim == call);
            (position.map(|at| state.held.remove(at).1), state.delays.get(&call).copied())
        };
        if let Some(held) = held {
            // Dropping the sender releases as well.
            let _ = held.await;
        }
        if let Some(delay) = delay {
            tokio::time::sleep(delay).await;
        }
    }

    async fn simple<T>(
        &self,
        call: Call,
        id: Option<InstanceId>,
        effect: impl FnOnce(&mut State) -> Result<T>,
    ) -> Result<T> {
        let behind = self.enter(call, id).await?;
        self.wait(call).await;
        let result = effect(&mut self.state());
        if let Some(id) = id
            && result.is_ok()
            && Call::EFFECTS.contains(&call)
        {
            self.emit(HypervisorEvent::Changed(id));
        }
        self.leave(behind, result).await
    }

    /// A call on an existing domain.
    async fn on_domain<T>(
        &self,
        call: Call,
        id: InstanceId,
        effect: impl FnOnce(&mut Domain) -> Result<T>,
    ) -> Result<T> {
        self.simple(call, Some(id), |state| {
            let domain = state.domains.get_mut(&id).ok_or(HypervisorError::NoDomain(id))?;
            let result = effect(domain);
            if domain.is_gone() {
                state.forget(id);
            }
            result
        })
        .await
    }

    /// The part of a save that nobody has to wait for.
    async fn save_job(self, id: InstanceId, job: Job, file: std::path::PathBuf) -> Result<()> {
        let aborted = tokio::select! {
            () = job.abort.notified() => true,
            () = self.wait(Call::SaveMemory) => false,
        };
        let result = {
            let mut state = self.state();
            let defect = state.save_defect.take_if(|_| !aborted);
            let domain = state.domains.get_mut(&id).ok_or(HypervisorError::NoDomain(id))?;
            if aborted {
                domain.abandon_save();
                Err(guest::failed("save_memory", "operation aborted: canceled by client"))
            } else {
                let result = domain.finish_save(&file, defect != Some(SaveDefect::Incomplete));
                if domain.is_gone() {
                    state.forget(id);
                }
                result.and_then(|()| match defect {
                    Some(SaveDefect::FlippedBit) => {
                        guest::flip_bit(&file).map_err(|e| guest::failed("save_memory", e))
                    }
                    Some(SaveDefect::Incomplete) | None => Ok(()),
                })
            }
        };
        self.emit(HypervisorEvent::Changed(id));
        result
    }
}

/// The caller hears nothing any more.
async fn die<T>(reached: oneshot::Sender<()>) -> T {
    // The test may have stopped listening.
    let _ = reached.send(());
    std::future::pending().await
}

#[async_trait]
impl Hypervisor for FakeHypervisor {
    async fn host(&self) -> Result<HostInfo> {
        self.simple(Call::Host, None, |_| {
            Ok(HostInfo {
                hypervisor_hostname: "fake".to_owned(),
                hypervisor_type: "QEMU".to_owned(),
                hypervisor_version: 7_002_000,
                vcpus: 8,
                memory_mib: 16 * 1024,
                disk_gib: 100,
                disk_free_gib: 100,
                kvm: false,
                cpu_info: "{}".to_owned(),
                host_ip: "127.0.0.1".to_owned(),
                uptime: String::new(),
                agent_version: String::new(),
                unknown_guests: Vec::new(),
            })
        })
        .await
    }

    fn events(&self) -> BoxStream<'static, HypervisorEvent> {
        // Subscribed before the state is read: a change in between is seen twice, not missed.
        let events = self.events.subscribe();
        let now = stream::iter([self.connection()]);
        let later = stream::unfold(events, |mut events| async move {
            match events.recv().await {
                Ok(event) => Some((event, events)),
                // Events were missed: look at everything.
                Err(RecvError::Lagged(_)) => Some((HypervisorEvent::Connected, events)),
                Err(RecvError::Closed) => None,
            }
        });
        now.chain(later).boxed()
    }

    async fn list(&self) -> Result<Vec<(InstanceId, DomainState)>> {
        self.simple(Call::List, None, |state| {
            Ok(state.domains.iter().map(|(id, domain)| (*id, domain.state())).collect())
        })
        .await
    }

    async fn domain(&self, id: InstanceId) -> Result<Option<DomainState>> {
        self.simple(Call::Domain, Some(id), |state| Ok(state.domains.get(&id).map(Domain::state)))
            .await
    }

    async fn power(&self, id: InstanceId) -> Result<Option<DomainPower>> {
        Ok(self.domain(id).await?.map(|domain| domain.power()))
    }

    async fn define(
        &self,
        spec: &InstanceSpec,
        variant: &DomainVariant,
        tag: OperationId,
    ) -> Result<()> {
        let id = spec.id;
        let paths = InstancePaths::new(&self.instances, id);
        self.simple(Call::Define, Some(id), |state| {
            let domain = state.domain(id);
            domain.define(Definition::new(id, &paths, variant, tag));
            Ok(())
        })
        .await
    }

    async fn definition(&self, id: InstanceId) -> Result<String> {
        self.on_domain(Call::Definition, id, |domain| domain.persistent()?.to_xml()).await
    }

    async fn define_xml(&self, id: InstanceId, xml: &str) -> Result<()> {
        self.simple(Call::DefineXml, Some(id), |state| {
            let definition = Definition::from_xml(id, xml)?;
            state.domain(id).define(definition);
            Ok(())
        })
        .await
    }

    async fn start(&self, id: InstanceId) -> Result<()> {
        self.on_domain(Call::Start, id, Domain::start).await
    }

    async fn suspend_cpus(&self, id: InstanceId) -> Result<()> {
        self.on_domain(Call::SuspendCpus, id, Domain::suspend_cpus).await
    }

    async fn resume_cpus(&self, id: InstanceId) -> Result<()> {
        self.on_domain(Call::ResumeCpus, id, Domain::resume_cpus).await
    }

    async fn wake(&self, id: InstanceId) -> Result<()> {
        self.on_domain(Call::Wake, id, Domain::wake).await
    }

    async fn request_shutdown(&self, id: InstanceId) -> Result<()> {
        self.on_domain(Call::RequestShutdown, id, Domain::request_shutdown).await
    }

    async fn destroy(&self, id: InstanceId) -> Result<()> {
        self.on_domain(Call::Destroy, id, Domain::destroy).await
    }

    async fn undefine(&self, id: InstanceId) -> Result<()> {
        self.on_domain(Call::Undefine, id, Domain::undefine).await
    }

    async fn save_memory(&self, id: InstanceId, file: &Path) -> Result<()> {
        let behind = self.enter(Call::SaveMemory, Some(id)).await?;
        let begun = {
            let mut state = self.state();
            let domain = state.domains.get_mut(&id).ok_or(HypervisorError::NoDomain(id))?;
            domain.begin_save()
        };
        let job = match begun {
            Ok(job) => job,
            Err(e) => return self.leave(behind, Err(e)).await,
        };
        self.emit(HypervisorEvent::Changed(id));
        // A task of its own: it goes on when the caller is dropped.
        let task = tokio::spawn(self.clone().save_job(id, job, file.to_owned()));
        let result = task.await.unwrap_or_else(|e| Err(guest::failed("save_memory", e)));
        self.leave(behind, result).await
    }

    async fn save_is_complete(&self, id: InstanceId, file: &Path) -> Result<bool> {
        self.simple(Call::SaveIsComplete, Some(id), |_| Ok(guest::save_is_complete(file))).await
    }

    async fn restore_memory(&self, id: InstanceId, file: &Path) -> Result<()> {
        self.simple(Call::RestoreMemory, Some(id), |state| {
            let domain = state.domain(id);
            let result = domain.restore(file);
            if domain.is_gone() {
                state.forget(id);
            }
            result
        })
        .await
    }

    async fn abort_job(&self, id: InstanceId) -> Result<()> {
        self.on_domain(Call::AbortJob, id, |domain| match &domain.job {
            Some(job) => {
                job.abort.notify_one();
                Ok(())
            }
            None => Err(HypervisorError::InvalidState {
                call: Call::AbortJob.name(),
                message: "no job is active on the domain".to_owned(),
            }),
        })
        .await
    }

    async fn job_progress(&self, id: InstanceId) -> Result<Option<JobProgress>> {
        self.on_domain(Call::JobProgress, id, |domain| {
            Ok(domain.job.as_ref().map(|_| JobProgress { processed: 1, total: 2 }))
        })
        .await
    }

    async fn stats(&self, id: InstanceId) -> Result<GuestStats> {
        self.on_domain(Call::Stats, id, |domain| domain.stats()).await
    }

    async fn consoles(&self, id: InstanceId) -> Result<Vec<DomainConsole>> {
        self.simple(Call::Consoles, Some(id), |state| {
            let domain = state.domains.get(&id).ok_or(HypervisorError::NoDomain(id))?;
            let runs = domain.state().power.has_process();
            Ok(if runs { state.consoles.clone() } else { Vec::new() })
        })
        .await
    }

    async fn sync_clock(&self, id: InstanceId) -> Result<bool> {
        self.on_domain(Call::SyncClock, id, |domain| {
            Ok(domain.state().power == reprieve_core::PowerState::Running)
        })
        .await
    }
}
