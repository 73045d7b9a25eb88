//! What the reports of the hosts make of operations and servers.
//!
//! Three fences, each at the place it protects: a report of an old epoch of its host is ignored; one
//! about an operation is ignored when a newer one about it was applied; one about a guest likewise
//! (invariant I4). So reports may be repeated and may overtake each other.

use std::collections::HashMap;

use reprieve_core::conclude::{Observation, power_sync};
use reprieve_core::message::{HostInfo, OperationResult, Report, ReportBody, StepEvent};
use reprieve_core::notification::Cause;
use reprieve_core::plan::plan_from;
use reprieve_core::reboot::{AfterReboot, after_reboot};
use reprieve_core::{
    Fault, HostName, InstanceId, OperationId, OperationKind, Step, Timestamp, VmState,
};
use sea_orm::sea_query::{Expr, ExprTrait as _};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, EntityTrait as _, QueryFilter as _, QuerySelect as _,
};

use super::end::{self, Outcome};
use super::{find, outbox, reboot};
use crate::convert::{operation_record, to_json};
use crate::entity::instance::Column;
use crate::entity::{host, operation, step};
use crate::instances::{self, execute, touch};
use crate::notifications::Note;
use crate::record::{FaultRecord, InstanceRecord, OperationRecord, OperationState};
use crate::{Store, StoreError, WriteTx, hosts, locks};

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
        /// The operation that starts its guest again after a restart of its host.
        restart: Option<OperationId>,
    },
}

/// One report on its way into the tables.
struct Applying<'a> {
    tx: &'a WriteTx,
    report: &'a Report,
    now: Timestamp,
}

/// The hosts that a batch of reports is from, read once and written back once.
#[derive(Default)]
struct Hosts {
    known: HashMap<HostName, Option<host::Model>>,
}

impl Hosts {
    async fn get(
        &mut self,
        tx: &WriteTx,
        name: &HostName,
    ) -> Result<Option<&mut host::Model>, StoreError> {
        if !self.known.contains_key(name) {
            let found = hosts::find(&**tx, name).await?;
            self.known.insert(name.clone(), found);
        }
        Ok(self.known.get_mut(name).and_then(Option::as_mut))
    }

    /// Any report is a sign of life; a heartbeat also says what the host offers.
    async fn write(self, tx: &WriteTx) -> Result<(), StoreError> {
        for row in self.known.into_values().flatten() {
            host::Entity::update_many()
                .filter(host::Column::Name.eq(row.name))
                .filter(host::Column::Epoch.eq(row.epoch))
                .col_expr(host::Column::LastSeen, Expr::value(row.last_seen))
                .col_expr(host::Column::LastSeq, Expr::value(row.last_seq))
                .col_expr(host::Column::Info, Expr::value(row.info))
                .col_expr(host::Column::Problem, Expr::value(row.problem))
                .exec(&**tx)
                .await
                .map_err(StoreError::db("note a sign of life"))?;
        }
        Ok(())
    }
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
        locks::of_reports(&tx, reports).await?;
        let mut hosts = Hosts::default();
        let mut outcomes = Vec::with_capacity(reports.len());
        for report in reports {
            outcomes.push(Applying { tx: &tx, report, now }.apply(&mut hosts).await?);
        }
        hosts.write(&tx).await?;
        tx.commit().await?;
        Ok(outcomes)
    }
}

impl Applying<'_> {
    async fn apply(&self, hosts: &mut Hosts) -> Result<ApplyOutcome, StoreError> {
        let Some(host) = hosts.get(self.tx, &self.report.host).await? else {
            return Ok(ApplyOutcome::Ignored("its host never said hello"));
        };
        if host.epoch != self.report.epoch {
            return Ok(ApplyOutcome::Ignored("it is of another epoch of its host"));
        }
        let overtaken = self.report.sequence <= host.last_seq;
        host.last_seen = self.now.micros();
        host.last_seq = Ord::max(host.last_seq, self.report.sequence);
        match &self.report.body {
            ReportBody::Hello { .. } => Ok(ApplyOutcome::Ignored("a greeting is no report")),
            ReportBody::Heartbeat { .. } if overtaken => {
                Ok(ApplyOutcome::Ignored("a newer report of its host was applied"))
            }
            ReportBody::Heartbeat { host: info, problem } => {
                heartbeat(host, info.as_ref(), problem.clone())
            }
            ReportBody::Accepted { operation_id } => self.accepted(*operation_id).await,
            ReportBody::Step { operation_id, index, step, event, detail } => {
                self.step(*operation_id, (*index, *step), *event, detail).await
            }
            ReportBody::Finished { operation_id, result, seen, detail, .. } => {
                self.finished(*operation_id, (result, *seen), detail.as_deref()).await
            }
            ReportBody::Rejected { operation_id, .. } => self.rejected(*operation_id).await,
            ReportBody::Observed { instance_id, seen } => self.observed(*instance_id, seen).await,
        }
    }

    /// The operation, if the report is news about it.
    async fn operation(
        &self,
        id: OperationId,
    ) -> Result<Result<OperationRecord, ApplyOutcome>, StoreError> {
        let Some(row) = find(&**self.tx, id).await? else {
            return Ok(Err(ApplyOutcome::Ignored("its operation is unknown")));
        };
        if row.finished_at.is_some() {
            return Ok(Err(ApplyOutcome::Ignored("its operation has ended")));
        }
        if (self.report.epoch, self.report.sequence) <= (row.report_epoch, row.report_seq) {
            return Ok(Err(ApplyOutcome::Ignored(
                "a newer report about its operation was applied",
            )));
        }
        if row.active_key.is_none() || row.host.as_deref() != Some(self.report.host.as_str()) {
            return Ok(Err(ApplyOutcome::Ignored("its operation is not with its host")));
        }
        operation_record(row).map(Ok)
    }

    async fn accepted(&self, id: OperationId) -> Result<ApplyOutcome, StoreError> {
        let operation = match self.operation(id).await? {
            Ok(operation) => operation,
            Err(ignored) => return Ok(ignored),
        };
        let update = self.heard(&operation);
        update.exec(&**self.tx).await.map_err(StoreError::db("note an acceptance"))?;
        self.begun(&operation).await?;
        Ok(ApplyOutcome::Accepted(Box::new(operation)))
    }

    /// The operation is with its host: it runs, and need not be sent again.
    fn heard(&self, operation: &OperationRecord) -> sea_orm::UpdateMany<operation::Entity> {
        use operation::Column as Op;
        let state = match operation.state {
            OperationState::Cancelling => OperationState::Cancelling,
            OperationState::Pending
            | OperationState::Dispatched
            | OperationState::Running
            | OperationState::Succeeded
            | OperationState::Failed
            | OperationState::Cancelled => OperationState::Running,
        };
        let started = operation.started_at.unwrap_or(self.now);
        operation::Entity::update_many()
            .filter(Op::Id.eq(operation.id.to_string()))
            .col_expr(Op::State, Expr::value(state.as_str()))
            .col_expr(Op::StartedAt, Expr::value(started.micros()))
            .col_expr(Op::UpdatedAt, Expr::value(self.now.micros()))
            .col_expr(Op::ReportEpoch, Expr::value(self.report.epoch))
            .col_expr(Op::ReportSeq, Expr::value(self.report.sequence))
    }

    async fn begun(&self, operation: &OperationRecord) -> Result<(), StoreError> {
        outbox::remove(self.tx, operation.id, true).await?;
        let Some(kind) = operation.kind.filter(|_| operation.started_at.is_none()) else {
            return Ok(());
        };
        self.note_begun(operation, kind).await?;
        if kind.started_task_state() == kind.task_state() {
            return Ok(());
        }
        let update = touch(operation.instance_id, self.now)
            .filter(Column::ActiveOp.eq(operation.id.to_string()))
            .col_expr(Column::TaskState, Expr::value(kind.started_task_state().as_str()));
        execute(self.tx, update).await?;
        Ok(())
    }

    /// Notes that a host has begun with an operation. The server is read for it: a host begins
    /// while nobody waits for the answer.
    async fn note_begun(
        &self,
        operation: &OperationRecord,
        kind: OperationKind,
    ) -> Result<(), StoreError> {
        if !self.tx.notes_changes() {
            return Ok(());
        }
        let found = instances::find(&**self.tx, operation.instance_id).await?;
        let Some(server) = found else { return Ok(()) };
        let mut after = server.clone();
        if server.active.is_some_and(|(id, _)| id == operation.id) {
            after.task_state = Some(kind.started_task_state());
        }
        if after.task_state != server.task_state {
            after.updated_at = self.now;
        }
        let cause = Cause::Begun { kind, rescue_image: operation.rescue_image(&server) };
        let (before, by, now) = (Some(&server), operation.initiator(), self.now);
        self.tx.note(Note { before, after: &after, cause, by, now })
    }

    async fn step(
        &self,
        id: OperationId,
        (index, step): (u32, Step),
        event: StepEvent,
        detail: &str,
    ) -> Result<ApplyOutcome, StoreError> {
        let operation = match self.operation(id).await? {
            Ok(operation) => operation,
            Err(ignored) => return Ok(ignored),
        };
        use operation::Column as Op;
        let plan = operation.kind.map(|kind| plan_from(kind, operation.prior));
        let steps = plan.map_or(1, |plan| plan.len().max(1));
        let done = index as usize + usize::from(event == StepEvent::Done);
        let progress =
            i32::try_from(Ord::min(done.saturating_mul(100) / steps, 100)).unwrap_or(100);
        self.heard(&operation)
            .col_expr(Op::Step, Expr::value(i64::from(index)))
            .col_expr(Op::StepName, Expr::value(step.as_str()))
            .col_expr(Op::Progress, Expr::value(progress))
            .exec(&**self.tx)
            .await
            .map_err(StoreError::db("note a step"))?;
        self.begun(&operation).await?;
        self.note(id, step, event, detail).await?;
        Ok(ApplyOutcome::Progressed(Box::new(operation)))
    }

    /// A line in the audit of the operation.
    async fn note(
        &self,
        id: OperationId,
        step: Step,
        event: StepEvent,
        detail: &str,
    ) -> Result<(), StoreError> {
        let last: Option<Option<i64>> = step::Entity::find()
            .select_only()
            .expr(Expr::col(step::Column::Seq).max())
            .filter(step::Column::OpId.eq(id.to_string()))
            .into_tuple()
            .one(&**self.tx)
            .await
            .map_err(StoreError::db("read the audit of an operation"))?;
        let what = match event {
            StepEvent::Started => "started",
            StepEvent::Done => "done",
            StepEvent::Retrying => "retrying",
            StepEvent::Failed => "failed",
        };
        let row = step::ActiveModel {
            op_id: Set(id.to_string()),
            seq: Set(last.flatten().unwrap_or(0).saturating_add(1)),
            step: Set(step.as_str().to_owned()),
            what: Set(what.to_owned()),
            at: Set(self.report.at.micros()),
            // What a program on a host said may hold what PostgreSQL takes in no text.
            detail: Set(detail.replace('\0', "\u{fffd}")),
        };
        step::Entity::insert(row)
            .exec_without_returning(&**self.tx)
            .await
            .map_err(StoreError::db("write the audit of an operation"))?;
        Ok(())
    }

    async fn finished(
        &self,
        id: OperationId,
        (result, seen): (&OperationResult, Observation),
        detail: Option<&str>,
    ) -> Result<ApplyOutcome, StoreError> {
        let operation = match self.operation(id).await? {
            Ok(operation) => operation,
            Err(ignored) => return Ok(ignored),
        };
        let Some(kind) = operation.kind else {
            return Ok(ApplyOutcome::Ignored("its operation is none of a host"));
        };
        if operation.started_at.is_none() {
            let update = self.heard(&operation);
            update.exec(&**self.tx).await.map_err(StoreError::db("note an acceptance"))?;
            self.note_begun(&operation, kind).await?;
        }
        if let (Some(detail), Some(last)) = (detail, plan_from(kind, operation.prior).last()) {
            self.note(id, *last, StepEvent::Done, detail).await?;
        }
        let report = (self.report.epoch, self.report.sequence);
        let outcome = Outcome { result, seen, report, looked: true };
        let conclusion = end::conclude(self.tx, &operation, kind, (&outcome, self.now)).await?;
        Ok(ApplyOutcome::Ended(Box::new(Ended {
            operation,
            result: result.clone(),
            vm_state: conclusion.vm_state,
            successor: conclusion.successor,
        })))
    }

    /// The host refused what was sent, because it was meant for an earlier start of it. It stays in
    /// the outbox and goes out again with the current epoch.
    async fn rejected(&self, id: OperationId) -> Result<ApplyOutcome, StoreError> {
        Ok(match self.operation(id).await? {
            Ok(operation) => ApplyOutcome::Rejected(Box::new(operation)),
            Err(ignored) => ignored,
        })
    }

    async fn observed(
        &self,
        id: InstanceId,
        seen: &Observation,
    ) -> Result<ApplyOutcome, StoreError> {
        let Some(server) = instances::find(&**self.tx, id).await? else {
            return Ok(ApplyOutcome::Ignored("its server is unknown"));
        };
        if server.deleted_at.is_some() || server.host.as_ref() != Some(&self.report.host) {
            return Ok(ApplyOutcome::Ignored("its server is not on its host"));
        }
        if (self.report.epoch, self.report.sequence) <= (server.obs_epoch, server.obs_seq) {
            return Ok(ApplyOutcome::Ignored("a newer report about its server was applied"));
        }
        if server.active.is_some() {
            return Ok(ApplyOutcome::Ignored("an operation is under way and will say more"));
        }
        let after = match server.host_reboot {
            Some(policy) => {
                after_reboot(policy.for_server(&server.metadata), server.vm_state, seen)
            }
            None => {
                AfterReboot { synced: power_sync(server.vm_state, seen), lost: None, start: false }
            }
        };
        let synced = after.synced;
        let unchanged = synced.vm_state == server.vm_state
            && server.power_state == seen.power
            && server.power_reason == seen.reason
            && server.rescue_stashed == seen.rescue_stashed;
        let at = if unchanged { server.updated_at } else { self.now };
        let mut update = touch(id, at)
            .filter(Column::ActiveOp.is_null())
            .col_expr(Column::VmState, Expr::value(synced.vm_state.as_str()))
            .col_expr(Column::PowerState, Expr::value(seen.power.number()))
            .col_expr(Column::PowerReason, Expr::value(seen.reason.as_str()))
            .col_expr(Column::RescueStashed, Expr::value(seen.rescue_stashed))
            .col_expr(Column::ObsEpoch, Expr::value(self.report.epoch))
            .col_expr(Column::ObsSeq, Expr::value(self.report.sequence))
            .col_expr(Column::HostReboot, Expr::value(None::<String>));
        if let Some(alarm) = synced.alarm {
            let fault = FaultRecord { fault: Fault::new(500, alarm, alarm), created: self.now };
            update = update.col_expr(Column::Fault, Expr::value(to_json(&fault)?));
        }
        execute(self.tx, update).await?;
        if synced.vm_state != server.vm_state || seen.power != server.power_state {
            let after = InstanceRecord {
                vm_state: synced.vm_state,
                power_state: seen.power,
                updated_at: at,
                ..server.clone()
            };
            let (before, cause, now) = (Some(&server), Cause::Observed, self.now);
            self.tx.note(Note { before, after: &after, cause, by: None, now })?;
        }
        let restart = reboot::follow_up(self.tx, &server, &after, self.now).await?;
        let (from, to, alarm) = (server.vm_state, synced.vm_state, synced.alarm);
        Ok(ApplyOutcome::Observed { instance_id: id, from, to, alarm, restart })
    }
}

/// What the host offered is kept while its hypervisor cannot be reached.
fn heartbeat(
    host: &mut host::Model,
    info: Option<&HostInfo>,
    problem: Option<String>,
) -> Result<ApplyOutcome, StoreError> {
    host.problem = problem.map(|problem| problem.replace('\0', "\u{fffd}"));
    if let Some(info) = info {
        host.info = Some(to_json(info)?);
    }
    Ok(ApplyOutcome::Alive)
}
