//! What the reports of the hosts make of operations and servers.
//!
//! Four fences, each at the place it protects: a report of an old epoch of its host is ignored; one
//! about an operation is ignored when a newer one about it was applied; one about a guest likewise
//! (invariant I4), and a host's sign of life. So reports may be repeated and may overtake each other.
//!
//! Reports that come together are read for, decided and written together ([`UnitOfWork`]).

use reprieve_core::conclude::{Observation, Synced, after_failure, after_success_seen, power_sync};
use reprieve_core::message::{HostInfo, OperationResult, Report, ReportBody, StepDone, StepEvent};
use reprieve_core::notification::{Cause, Ending};
use reprieve_core::plan::plan_from;
use reprieve_core::reboot::{AfterReboot, after_reboot};
use reprieve_core::{Fault, InstanceId, OperationId, OperationKind, Step, VmState};

use super::end::{self, Outcome};
use super::unit::Work;
use super::{Scope, UnitOfWork, reboot};
use crate::convert::to_json;
use crate::notifications::Note;
use crate::record::{FaultRecord, InstanceRecord, OperationRecord, OperationState};
use crate::{Store, StoreError};

/// How an operation ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    /// The operation before it ended.
    pub operation: OperationRecord,
    /// How.
    pub result: OperationResult,
    /// State of the server from now on.
    pub vm_state: VmState,
    /// The operation that may go on now.
    pub successor: Option<OperationId>,
}

/// What a report did.
#[derive(Debug, Clone, PartialEq)]
pub enum ApplyOutcome {
    /// Nothing: old, repeated, or about something unknown. Says why.
    Ignored(&'static str),
    /// The host gave a sign of life.
    Alive,
    /// A start of the host gave a sign of life that another one was registered after.
    Outdated {
        /// The start that counts.
        boot_id: String,
        /// Its epoch.
        epoch: i64,
    },
    /// The tables are older than the start that gave a sign of life, or know nothing of its host, or it
    /// does not know of servers that it has.
    Unacquainted {
        /// Its epoch.
        epoch: i64,
        /// Whether its host is in the tables. If not, it was lost, or removed while it lived.
        registered: bool,
    },
    /// The host has the operation.
    Accepted(Box<OperationRecord>),
    /// Something happened to a step of the operation.
    Progressed(Box<OperationRecord>),
    /// The host refused the operation as it was sent; it will be sent again.
    Rejected(Box<OperationRecord>),
    /// The operation ended.
    Ended(Box<Ended>),
    /// A guest was seen outside of any operation.
    Observed {
        /// Its server.
        instance_id: InstanceId,
        /// State before.
        from: VmState,
        /// State from now on.
        to: VmState,
        /// What somebody has to know.
        alarm: Option<&'static str>,
        /// The operation that brings its guest back after a restart of its host.
        restart: Option<OperationId>,
    },
}

/// One report on its way into the tables.
struct Applying<'a, 'u> {
    unit: &'a mut UnitOfWork<'u>,
    report: &'a Report,
}

impl Store {
    /// Applies reports in one transaction, durable if any of them ends an operation. Says for each
    /// what it did. A greeting is answered by [`Store::register_host`] and ignored here.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Corrupt`]; nothing of the batch was applied then.
    pub async fn apply(&self, reports: &[Report]) -> Result<Vec<ApplyOutcome>, StoreError> {
        let now = self.now();
        let ends = |report: &Report| matches!(report.body, ReportBody::Finished { .. });
        let tx = if reports.iter().any(ends) {
            self.begin_beside().await?
        } else {
            self.begin_lazy_beside().await?
        };
        let mut unit = UnitOfWork::begin(&tx, &scope(reports), now).await?;
        let mut outcomes = Vec::with_capacity(reports.len());
        for report in reports {
            outcomes.push(Applying { unit: &mut unit, report }.apply()?);
        }
        unit.write().await?;
        tx.commit().await?;
        Ok(outcomes)
    }
}

/// Everything that reports are about.
fn scope(reports: &[Report]) -> Scope {
    let mut scope = Scope::default();
    for report in reports {
        scope.senders.insert(report.host.to_string());
        match &report.body {
            ReportBody::Hello { .. } => {}
            ReportBody::Heartbeat { host, .. } => {
                scope.hosts.insert(report.host.to_string());
                let unknown = host.iter().flat_map(|host| &host.unknown_guests);
                scope.servers.extend(unknown.take(HostInfo::MAX_UNKNOWN_GUESTS).map(|one| one.id));
            }
            ReportBody::Accepted { operation_id }
            | ReportBody::Step { operation_id, .. }
            | ReportBody::Finished { operation_id, .. }
            | ReportBody::Rejected { operation_id, .. } => {
                scope.operations.insert(*operation_id);
            }
            ReportBody::Observed { instance_id, .. } => {
                scope.servers.insert(*instance_id);
            }
        }
    }
    scope
}

impl Applying<'_, '_> {
    fn apply(&mut self) -> Result<ApplyOutcome, StoreError> {
        let report = self.report;
        let Some(epoch) = self.unit.epoch(&report.host) else {
            return Ok(self.of_no_host());
        };
        if epoch != report.epoch {
            return Ok(self.of_another_epoch());
        }
        match &report.body {
            ReportBody::Hello { .. } => Ok(ApplyOutcome::Ignored("a greeting is no report")),
            ReportBody::Heartbeat { host: info, problem } => {
                self.heartbeat(info.as_ref(), problem.clone())
            }
            ReportBody::Accepted { operation_id } => self.accepted(*operation_id),
            ReportBody::Step { operation_id, index, step, event, detail } => {
                self.step(*operation_id, (*index, *step), *event, detail)
            }
            ReportBody::Finished { operation_id, result, seen, done, .. } => {
                self.finished(*operation_id, (result, *seen), done)
            }
            ReportBody::Rejected { operation_id, .. } => Ok(self.rejected(*operation_id)),
            ReportBody::Observed { instance_id, seen } => self.observed(*instance_id, seen),
        }
    }

    /// Nothing is changed by a report of another epoch.
    fn of_another_epoch(&mut self) -> ApplyOutcome {
        let beats = matches!(self.report.body, ReportBody::Heartbeat { .. });
        match self.unit.host(&self.report.host) {
            Some(host) if beats && self.report.epoch < host.epoch => {
                ApplyOutcome::Outdated { boot_id: host.boot_id.clone(), epoch: host.epoch }
            }
            Some(_) if beats => {
                ApplyOutcome::Unacquainted { epoch: self.report.epoch, registered: true }
            }
            Some(_) | None => ApplyOutcome::Ignored("it is of another epoch of its host"),
        }
    }

    /// Nothing is changed by a report of a host that is not in the tables.
    fn of_no_host(&self) -> ApplyOutcome {
        match self.report.body {
            ReportBody::Heartbeat { .. } => {
                ApplyOutcome::Unacquainted { epoch: self.report.epoch, registered: false }
            }
            ReportBody::Hello { .. }
            | ReportBody::Accepted { .. }
            | ReportBody::Step { .. }
            | ReportBody::Finished { .. }
            | ReportBody::Rejected { .. }
            | ReportBody::Observed { .. } => ApplyOutcome::Ignored("its host never said hello"),
        }
    }

    /// Whether the host has servers that it does not know of: they were not in the tables when it
    /// greeted.
    fn knows_too_little(&self, info: &HostInfo) -> bool {
        info.unknown_guests.iter().any(|guest| {
            let server = self.unit.server(guest.id);
            server.is_some_and(|server| {
                server.deleted_at.is_none() && server.host.as_ref() == Some(&self.report.host)
            })
        })
    }

    /// The sign of life of a host, and what it offers, which is kept while its hypervisor cannot be
    /// reached.
    fn heartbeat(
        &mut self,
        info: Option<&HostInfo>,
        problem: Option<String>,
    ) -> Result<ApplyOutcome, StoreError> {
        let (report, now) = (self.report, self.unit.now());
        let unacquainted = info.is_some_and(|info| self.knows_too_little(info));
        let Some(host) = self.unit.host(&report.host) else {
            return Ok(ApplyOutcome::Ignored("its host never said hello"));
        };
        if report.sequence <= host.last_seq {
            return Ok(ApplyOutcome::Ignored("a newer sign of life of its host was applied"));
        }
        (host.last_seen, host.last_seq) = (now.micros(), report.sequence);
        host.problem = problem.map(|problem| problem.replace('\0', "\u{fffd}"));
        if let Some(info) = info {
            host.info = Some(to_json(info)?);
        }
        Ok(if unacquainted {
            ApplyOutcome::Unacquainted { epoch: report.epoch, registered: true }
        } else {
            ApplyOutcome::Alive
        })
    }

    /// The operation, if the report is news about it.
    fn operation(&self, id: OperationId) -> Result<OperationRecord, ApplyOutcome> {
        let (report, ignored) = (self.report, ApplyOutcome::Ignored);
        let work = self.unit.operation(id).ok_or(ignored("its operation is unknown"))?;
        if work.record.finished_at.is_some() {
            return Err(ignored("its operation has ended"));
        }
        if (report.epoch, report.sequence) <= work.report {
            return Err(ignored("a newer report about its operation was applied"));
        }
        if !work.active || work.record.host.as_ref() != Some(&report.host) {
            return Err(ignored("its operation is not with its host"));
        }
        Ok(work.record.clone())
    }

    fn accepted(&mut self, id: OperationId) -> Result<ApplyOutcome, StoreError> {
        let operation = match self.operation(id) {
            Ok(operation) => operation,
            Err(ignored) => return Ok(ignored),
        };
        self.heard(id);
        self.begun(&operation)?;
        Ok(ApplyOutcome::Accepted(Box::new(operation)))
    }

    /// The operation is with its host: it runs, and need not be sent again.
    fn heard(&mut self, id: OperationId) {
        let (now, report) = (self.unit.now(), self.report);
        self.unit.change_operation(id, |work| {
            work.record.state = match work.record.state {
                OperationState::Cancelling => OperationState::Cancelling,
                OperationState::Pending
                | OperationState::Dispatched
                | OperationState::Running
                | OperationState::Succeeded
                | OperationState::Failed
                | OperationState::Cancelled => OperationState::Running,
            };
            work.record.started_at.get_or_insert(now);
            work.report = (report.epoch, report.sequence);
        });
    }

    /// `operation` as it was before.
    fn begun(&mut self, operation: &OperationRecord) -> Result<(), StoreError> {
        self.unit.taken(operation.id);
        let Some(kind) = operation.kind.filter(|_| operation.started_at.is_none()) else {
            return Ok(());
        };
        let found = self.unit.server(operation.instance_id).cloned();
        let Some(before) = found else { return Ok(()) };
        let task = kind.started_task_state();
        if task != kind.task_state() && before.active.is_some_and(|(id, _)| id == operation.id) {
            self.unit.change(before.id, |server| server.task_state = Some(task));
        }
        self.note_begun(operation, kind, &before)
    }

    /// Notes that a host has begun with an operation.
    fn note_begun(
        &self,
        operation: &OperationRecord,
        kind: OperationKind,
        before: &InstanceRecord,
    ) -> Result<(), StoreError> {
        let Some(after) = self.unit.server(before.id) else { return Ok(()) };
        let cause = Cause::Begun { kind, rescue_image: operation.rescue_image(before) };
        let (by, now) = (operation.initiator(), self.unit.now());
        self.unit.note(Note { before: Some(before), after, cause, by, now })
    }

    fn step(
        &mut self,
        id: OperationId,
        (index, step): (u32, Step),
        event: StepEvent,
        detail: &str,
    ) -> Result<ApplyOutcome, StoreError> {
        let operation = match self.operation(id) {
            Ok(operation) => operation,
            Err(ignored) => return Ok(ignored),
        };
        self.heard(id);
        self.reached(&operation, (index, step), event);
        self.begun(&operation)?;
        self.unit.tell(id, (step, event), (self.report.at, detail));
        Ok(ApplyOutcome::Progressed(Box::new(operation)))
    }

    /// How far the operation got.
    fn reached(&mut self, operation: &OperationRecord, at: (u32, Step), event: StepEvent) {
        let plan = operation.kind.map(|kind| plan_from(kind, operation.prior));
        let steps = plan.map_or(1, |plan| plan.len().max(1));
        let (index, step) = at;
        let done = index as usize + usize::from(event == StepEvent::Done);
        let progress = u8::try_from(Ord::min(done.saturating_mul(100) / steps, 100)).unwrap_or(100);
        self.unit.change_operation(operation.id, |work| {
            (work.record.step, work.record.step_name) = (Some(index), Some(step));
            work.record.progress = progress;
        });
    }

    fn finished(
        &mut self,
        id: OperationId,
        (result, seen): (&OperationResult, Observation),
        done: &[StepDone],
    ) -> Result<ApplyOutcome, StoreError> {
        let operation = match self.operation(id) {
            Ok(operation) => operation,
            Err(ignored) => return self.finished_late(id, (result, &seen), ignored),
        };
        let Some(kind) = operation.kind else {
            return Ok(ApplyOutcome::Ignored("its operation is none of a host"));
        };
        if operation.started_at.is_none() {
            self.heard(id);
            self.begun(&operation)?;
        }
        for StepDone { index, step, at, detail } in done {
            self.reached(&operation, (*index, *step), StepEvent::Done);
            self.unit.tell(id, (*step, StepEvent::Done), (*at, detail));
        }
        let report = (self.report.epoch, self.report.sequence);
        let outcome = Outcome { result, seen, report, looked: true };
        let conclusion = end::conclude(self.unit, &operation, kind, &outcome)?;
        Ok(ApplyOutcome::Ended(Box::new(Ended {
            operation,
            result: result.clone(),
            vm_state: conclusion.vm_state,
            successor: conclusion.successor,
        })))
    }

    /// The host took an operation all the same that was given up because it had not said so. That it
    /// failed stays as it was told; but what became of the server is true, unless something newer was asked
    /// for or seen, and is what a restart of the host is followed up from.
    fn finished_late(
        &mut self,
        id: OperationId,
        (result, seen): (&OperationResult, &Observation),
        ignored: ApplyOutcome,
    ) -> Result<ApplyOutcome, StoreError> {
        let given_up =
            |work: &&Work| work.record.state == OperationState::Failed && work.report == (0, 0);
        let Some(work) = self.unit.operation(id).filter(given_up) else { return Ok(ignored) };
        let operation = work.record.clone();
        let server = self.unit.server(operation.instance_id).cloned();
        let newest = |server: &InstanceRecord| {
            server.deleted_at.is_none()
                && server.active.is_none()
                && server.generation == operation.generation
                && server.host.as_ref() == Some(&self.report.host)
                && (self.report.epoch, self.report.sequence) > (server.obs_epoch, server.obs_seq)
        };
        let (Some(kind), Some(server)) = (operation.kind, server.filter(newest)) else {
            return Ok(ignored);
        };
        let (prior, state) = (operation.prior, server.vm_state);
        let Some(synced) = ended_late(kind, (prior, state), result, seen) else {
            return Ok(ignored);
        };
        let (instance_id, from) = (server.id, server.vm_state);
        if synced.vm_state == VmState::Deleted {
            self.deleted_late(&server, kind)?;
            let (to, restart) = (synced.vm_state, None);
            return Ok(ApplyOutcome::Observed { instance_id, from, to, alarm: None, restart });
        }
        let report = (self.report.epoch, self.report.sequence);
        let outcome = Outcome { result, seen: *seen, report, looked: true };
        let overtaken = end::overtaken(&server, &operation, kind, &outcome);
        let synced = overtaken.map_or(synced, |after| after.synced);
        let Synced { vm_state: to, alarm } = synced;
        self.see(&server, (seen, &synced))?;
        let for_host = to == VmState::Suspended && operation.args.for_host;
        self.unit.change(instance_id, |row| row.suspended_for_host |= for_host);
        let after = || end::after_restart(&server, &operation, kind, (&outcome, to, for_host));
        let restart = match overtaken.or_else(after) {
            Some(after) => reboot::follow_up(self.unit, &server, &after)?,
            None => None,
        };
        Ok(ApplyOutcome::Observed { instance_id, from, to, alarm, restart })
    }

    /// A server is gone by a delete that had been given up.
    fn deleted_late(
        &mut self,
        server: &InstanceRecord,
        kind: OperationKind,
    ) -> Result<(), StoreError> {
        self.unit.forget(server.id);
        self.unit.change(server.id, end::delete);
        let Some(after) = self.unit.server(server.id) else { return Ok(()) };
        let (before, now) = (Some(server), self.unit.now());
        let cause = Cause::Ended { kind, ending: Ending::Succeeded, rescue_image: None };
        self.unit.note(Note { before, after, cause, by: None, now })
    }

    /// The host refused what was sent, because it was meant for an earlier start of it. It stays in
    /// the outbox and goes out again with the current epoch.
    fn rejected(&self, id: OperationId) -> ApplyOutcome {
        match self.operation(id) {
            Ok(operation) => ApplyOutcome::Rejected(Box::new(operation)),
            Err(ignored) => ignored,
        }
    }

    fn observed(&mut self, id: InstanceId, seen: &Observation) -> Result<ApplyOutcome, StoreError> {
        let report = self.report;
        let Some(server) = self.unit.server(id).cloned() else {
            return Ok(ApplyOutcome::Ignored("its server is unknown"));
        };
        if server.deleted_at.is_some() || server.host.as_ref() != Some(&report.host) {
            return Ok(ApplyOutcome::Ignored("its server is not on its host"));
        }
        if (report.epoch, report.sequence) <= (server.obs_epoch, server.obs_seq) {
            return Ok(ApplyOutcome::Ignored("a newer report about its server was applied"));
        }
        if server.active.is_some() {
            return Ok(ApplyOutcome::Ignored("an operation is under way and will say more"));
        }
        let after = match server.host_reboot {
            Some(policy) => {
                after_reboot(policy.for_server(&server.metadata), server.before_reboot(), seen)
            }
            None => {
                let synced = power_sync(server.vm_state, seen);
                AfterReboot { synced, lost: None, revival: None }
            }
        };
        self.see(&server, (seen, &after.synced))?;
        let restart = reboot::follow_up(self.unit, &server, &after)?;
        let (from, to, alarm) = (server.vm_state, after.synced.vm_state, after.synced.alarm);
        Ok(ApplyOutcome::Observed { instance_id: id, from, to, alarm, restart })
    }

    /// What was seen of a guest is true of its server.
    fn see(
        &mut self,
        server: &InstanceRecord,
        (seen, synced): (&Observation, &Synced),
    ) -> Result<(), StoreError> {
        let (now, report) = (self.unit.now(), self.report);
        let unchanged = synced.vm_state == server.vm_state
            && server.power_state == seen.power
            && server.power_reason == seen.reason
            && server.rescue_stashed == seen.rescue_stashed;
        self.unit.change(server.id, |row| {
            if unchanged {
                row.updated_at = server.updated_at;
            }
            row.vm_state = synced.vm_state;
            (row.power_state, row.power_reason) = (seen.power, seen.reason);
            row.rescue_stashed = seen.rescue_stashed;
            (row.obs_epoch, row.obs_seq) = (report.epoch, report.sequence);
            row.host_reboot = None;
            row.suspended_for_host &= synced.vm_state == VmState::Suspended;
            if let Some(alarm) = synced.alarm {
                let fault = Fault::new(500, alarm, alarm);
                row.fault = Some(FaultRecord { fault, created: now });
            }
        });
        let Some(after) = self.unit.server(server.id) else { return Ok(()) };
        if synced.vm_state == server.vm_state && seen.power == server.power_state {
            return Ok(());
        }
        let (before, cause) = (Some(server), Cause::Observed);
        self.unit.note(Note { before, after, cause, by: None, now })
    }
}

/// What a server is by the end of an operation that had been given up; `None` where it stays what it is.
/// `prior` is what it was before the operation, `state` what it is now.
fn ended_late(
    kind: OperationKind,
    (prior, state): (VmState, VmState),
    result: &OperationResult,
    seen: &Observation,
) -> Option<Synced> {
    let quietly = |vm_state| Some(Synced { vm_state, alarm: None });
    match (kind, result) {
        // A user has been told ERROR, and deletes it.
        (OperationKind::Create, _)
        | (OperationKind::Delete, OperationResult::Failed { .. } | OperationResult::Cancelled) => {
            None
        }
        (_, OperationResult::Succeeded) => quietly(after_success_seen(kind, prior, seen)),
        (_, OperationResult::Failed { .. } | OperationResult::Cancelled) if state == prior => {
            quietly(after_failure(kind, prior, seen))
        }
        // What was seen since then counts more than what it was before.
        (_, OperationResult::Failed { .. } | OperationResult::Cancelled) => {
            Some(power_sync(state, seen))
        }
    }
}
