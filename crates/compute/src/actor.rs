//! One task per server: the only one that touches its guest.
//!
//! Operations of a server are run one after the other in the order of their acceptance. Between
//! them the actor reports what it sees, when something changed. Nobody else on this host calls the
//! hypervisor for this server, so two operations can never mix (a suspend of a guest that is being
//! paused, for instance).

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use reprieve_core::conclude::Observation;
use reprieve_core::message::{OperationResult, ReportBody};
use reprieve_core::{InstanceId, OperationId, OperationKind};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, info, info_span, warn};

use crate::agent::until;
use crate::executor::{self, Stops, Verdict};
use crate::host::Host;
use crate::ledger::{Ended, Unfinished};
use crate::steps::{self, Jobs};

/// Operations that may wait for one server. The control plane admits one at a time, so this is
/// only ever filled by a restart.
const MAILBOX: usize = 16;

/// What an actor is asked to do, one after the other.
#[derive(Debug)]
enum Job {
    /// An operation that is in the ledger.
    Run(Box<Unfinished>),
    /// To say again how one ended.
    Tell(OperationId, OperationKind, Box<Ended>),
}

/// Handle of an actor. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ActorHandle {
    mailbox: mpsc::Sender<Job>,
    look: Arc<Notify>,
    report_anew: Arc<AtomicBool>,
    cancels: Arc<Mutex<HashMap<OperationId, CancellationToken>>>,
}

impl ActorHandle {
    /// Starts the actor of `instance`; it ends when the last handle is gone, when the server has
    /// been deleted, or at shutdown between two steps. `abandon` ends it wherever it is.
    pub fn spawn(
        host: Arc<Host>,
        instance: InstanceId,
        (shutdown, abandon): (CancellationToken, CancellationToken),
        tasks: &tokio_util::task::TaskTracker,
    ) -> Self {
        let (mailbox, waiting) = mpsc::channel(MAILBOX);
        let handle = Self {
            mailbox,
            look: Arc::new(Notify::new()),
            report_anew: Arc::default(),
            cancels: Arc::default(),
        };
        let actor = Actor {
            host,
            instance,
            shutdown,
            waiting,
            look: Arc::clone(&handle.look),
            report_anew: Arc::clone(&handle.report_anew),
            cancels: Arc::clone(&handle.cancels),
            last_seen: None,
        };
        tasks.spawn(until(abandon, actor.run()));
        handle
    }

    /// Queues an operation that is in the ledger. Returns `false` when the actor has ended.
    pub async fn run(&self, job: Unfinished) -> bool {
        let id = job.command.operation_id;
        lock(&self.cancels).insert(id, CancellationToken::new());
        let queued = self.mailbox.send(Job::Run(Box::new(job))).await.is_ok();
        if !queued {
            lock(&self.cancels).remove(&id);
        }
        queued
    }

    /// Whether it has this operation, waiting or being run.
    pub fn has(&self, operation: OperationId) -> bool {
        lock(&self.cancels).contains_key(&operation)
    }

    /// Asks the actor to say again how an operation ended. One that is too busy for it is asked again
    /// by the control plane.
    pub fn tell(&self, operation: OperationId, kind: OperationKind, ended: Ended) {
        if self.mailbox.try_send(Job::Tell(operation, kind, Box::new(ended))).is_err() {
            debug!(%operation, "its actor is busy or has ended; its end is told when asked again");
        }
    }

    /// Asks an operation to stop at its next safe point. Unknown ones are over already.
    pub fn cancel(&self, operation: OperationId) {
        if let Some(token) = lock(&self.cancels).get(&operation) {
            token.cancel();
        }
    }

    /// Asks the actor to look at its guest and to report a change. Several requests become one look.
    pub fn look(&self) {
        self.look.notify_one();
    }

    /// Asks the actor to look at its guest and to report what it sees even if it is not new.
    pub fn look_anew(&self) {
        self.report_anew.store(true, Ordering::Relaxed);
        self.look.notify_one();
    }

    /// Whether the actor takes no operations any more.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.mailbox.is_closed()
    }
}

struct Actor {
    host: Arc<Host>,
    instance: InstanceId,
    shutdown: CancellationToken,
    waiting: mpsc::Receiver<Job>,
    look: Arc<Notify>,
    report_anew: Arc<AtomicBool>,
    cancels: Arc<Mutex<HashMap<OperationId, CancellationToken>>>,
    last_seen: Option<Observation>,
}

impl Actor {
    async fn run(mut self) {
        loop {
            tokio::select! {
                biased; // an operation tells more than a look
                () = self.shutdown.cancelled() => return,
                job = self.waiting.recv() => {
                    let Some(job) = job else { return };
                    if !self.serve(job).await {
                        return;
                    }
                }
                () = self.look.notified() => self.observe().await,
            }
        }
    }

    /// Does what was asked; `false` when the daemon is stopping.
    async fn serve(&mut self, job: Job) -> bool {
        match job {
            Job::Run(job) => {
                let span = info_span!(
                    "operation",
                    operation = %job.command.operation_id,
                    request_id = %job.command.request_id,
                    server = %self.instance,
                );
                self.operate(&job).instrument(span).await
            }
            Job::Tell(operation, kind, ended) => {
                self.tell(operation, kind, *ended).await;
                true
            }
        }
    }

    /// Says again how an operation ended, with what its guest is now: since it ended the guest may
    /// have ended too, with its host for instance. Whoever asked asks again if that cannot be seen.
    async fn tell(&mut self, operation_id: OperationId, kind: OperationKind, ended: Ended) {
        let Ended { result, mut seen } = ended;
        if kind == OperationKind::Delete && result == OperationResult::Succeeded {
            self.waiting.close();
        } else {
            match steps::observe(&self.host, self.instance, Jobs::Wait).await {
                Ok(now) => seen = now,
                Err(failure) => {
                    let error = failure.message;
                    debug!(server = %self.instance, %error, "cannot look now, so no end is told");
                    return;
                }
            }
            self.last_seen = Some(seen);
        }
        let instance_id = self.instance;
        let body =
            ReportBody::Finished { operation_id, instance_id, result, seen, done: Vec::new() };
        self.host.reporter.send(body).await;
    }

    /// Runs one operation; `false` when the daemon is stopping.
    async fn operate(&mut self, job: &Unfinished) -> bool {
        let command = &job.command;
        let cancel = lock(&self.cancels).entry(command.operation_id).or_default().clone();
        let stops = Stops { cancel, shutdown: self.shutdown.clone() };
        let verb = steps::words(command.kind);
        info!(kind = command.kind.as_str(), from_step = job.next_step, "{}", verb.doing);
        let verdict = executor::run(&self.host, job, &stops).await;
        lock(&self.cancels).remove(&command.operation_id);
        let Verdict::Ended { ended, done } = verdict else {
            info!("interrupted by shutdown; it goes on after the restart");
            return false;
        };
        log_end(command.kind, &ended);
        self.last_seen = Some(ended.seen);
        let Ended { result, seen } = ended;
        if command.kind == OperationKind::Delete && result == OperationResult::Succeeded {
            // Nothing is left to look after. What is queued already is still answered.
            self.waiting.close();
        }
        let body = ReportBody::Finished {
            operation_id: command.operation_id,
            instance_id: self.instance,
            result,
            seen,
            done,
        };
        self.host.reporter.send(body).await;
        true
    }

    async fn observe(&mut self) {
        let anew = self.report_anew.swap(false, Ordering::Relaxed);
        match steps::observe(&self.host, self.instance, Jobs::Wait).await {
            Ok(seen) if self.last_seen == Some(seen) && !anew => {}
            Ok(seen) => {
                let server = self.instance;
                if self.last_seen != Some(seen) {
                    info!(
                        %server, power = seen.power.word(), reason = seen.reason.as_str(),
                        "guest observed"
                    );
                }
                self.last_seen = Some(seen);
                let body = ReportBody::Observed { instance_id: self.instance, seen };
                self.host.reporter.send(body).await;
            }
            // The next event, reconnection or scan looks again.
            Err(failure) => {
                debug!(server = %self.instance, error = %failure.message, "cannot look now");
            }
        }
    }
}

fn log_end(kind: OperationKind, ended: &Ended) {
    use reprieve_core::message::OperationResult as R;
    let done = steps::words(kind).done;
    let power = ended.seen.power.word();
    match &ended.result {
        R::Succeeded => info!(kind = kind.as_str(), power, "{done}"),
        R::Cancelled => info!(kind = kind.as_str(), power, "cancelled"),
        R::Failed { fault, needs_attention } => {
            warn!(kind = kind.as_str(), power, needs_attention, error = %fault.details, "failed: {}", fault.message);
        }
    }
}

/// A poisoned lock only means that another thread panicked between two map operations, each of
/// which leaves the map whole.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
