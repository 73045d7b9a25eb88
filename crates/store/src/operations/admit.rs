//! Admission: decide and record in one transaction.

use std::collections::BTreeMap;

use reprieve_core::notification::Cause;
use reprieve_core::schedule::{ClaimPolicy, releases_memory};
use reprieve_core::{
    Admission, Denied, HostName, InstanceId, OperationId, OperationKind, Timestamp, admit,
};
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _};

use super::outbox::Entry;
use super::{
    Admitted, HandOver, NewOperation, OperationRow, PendingCommand, PendingWork, Scope, UnitOfWork,
    end,
};
use crate::claims::claim_again;
use crate::convert::host_record;
use crate::entity::host;
use crate::notifications::Note;
use crate::record::{InstanceRecord, OperationRecord, OperationState};
use crate::{Store, StoreError, WriteTx};

/// Epochs of the hosts that can be handed something now.
type Awake = BTreeMap<HostName, i64>;

impl Store {
    /// Decides and records operations of different servers in one transaction: operations, servers,
    /// outbox. Says for each what was decided.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Raced`]; nothing was recorded then.
    pub(super) async fn admit_all(
        &self,
        wanted: &[NewOperation],
    ) -> Result<Vec<Result<Admitted, StoreError>>, StoreError> {
        let now = self.now();
        let tx = self.begin_beside().await?;
        match decide_all(&tx, wanted, (self.claim_policy(), now)).await {
            Ok(decided) => tx.commit().await.map(|()| decided),
            Err(error) => {
                // Left to itself the servers' locks would outlive the answer, and hold up others.
                tx.roll_back().await;
                Err(error)
            }
        }
    }
}

/// Decides and writes down what was decided.
async fn decide_all(
    tx: &WriteTx,
    wanted: &[NewOperation],
    (claims, now): (ClaimPolicy, Timestamp),
) -> Result<Vec<Result<Admitted, StoreError>>, StoreError> {
    let scope = Scope::servers(wanted.iter().map(|new| new.instance_id));
    let mut unit = UnitOfWork::begin(tx, &scope, now).await?;
    let hosts = wanted.iter().filter(|new| new.hand_over == HandOver::Caller);
    let hosts = hosts.filter_map(|new| unit.server(new.instance_id)?.host.clone());
    let awake = awake(tx, hosts.collect(), now).await?;
    let mut decided = Vec::with_capacity(wanted.len());
    for new in wanted {
        let lent = unit
            .server(new.instance_id)
            .is_some_and(|server| releases_memory(&claims, server.vm_state, server.holds_memory()));
        if lent {
            // What others were just promised counts, too.
            unit.write().await?;
        }
        decided.push(match decide(&mut unit, new, claims, &awake).await {
            Ok(admitted) => Ok(admitted),
            Err(error) if concerns_one(&error) => Err(error),
            Err(error) => return Err(error),
        });
    }
    unit.write().await?;
    Ok(decided)
}

/// Whether an error is an answer to whoever asked, and the transaction is as good as before.
const fn concerns_one(error: &StoreError) -> bool {
    match error {
        StoreError::Denied(_) | StoreError::Refused(_) | StoreError::NotFound { .. } => true,
        StoreError::Database { .. }
        | StoreError::Open { .. }
        | StoreError::Connect { .. }
        | StoreError::Unsuitable { .. }
        | StoreError::Corrupt { .. }
        | StoreError::Exists { .. }
        | StoreError::Raced(_)
        | StoreError::OverQuota(_)
        | StoreError::QuotaReached(_)
        | StoreError::BadQuery(_) => false,
    }
}

/// Decides one. Whatever fails, fails before anything is changed.
async fn decide(
    unit: &mut UnitOfWork<'_>,
    new: &NewOperation,
    claims: ClaimPolicy,
    awake: &Awake,
) -> Result<Admitted, StoreError> {
    let instance = unit.existing(new.instance_id)?.clone();
    new.condition.check(&instance)?;
    let admission = admit(&instance.subject(), new.kind, new.caller)?;
    claim_again(unit.tx(), &instance, new.kind, claims).await?;
    let superseded = match admission {
        Admission::AlreadyUnderWay => {
            return Ok(Admitted { admission, instance, operation: None, command: None });
        }
        Admission::Start => None,
        Admission::Supersede(_) => supersede(unit, new.instance_id),
    };
    let epoch = match (new.hand_over, &instance.host, superseded) {
        (HandOver::Caller, Some(host), None) => awake.get(host).copied(),
        (HandOver::Caller | HandOver::Dispatcher, _, _) => None,
    };
    carry_out(unit, new, (admission, instance), (epoch, superseded))
}

/// Begins an operation that nobody asked for: the host of the server was restarted, and
/// [`after_reboot`] wants it.
///
/// [`after_reboot`]: reprieve_core::reboot::after_reboot
pub(super) fn begin_by_itself(
    unit: &mut UnitOfWork<'_>,
    new: &NewOperation,
) -> Result<Admitted, StoreError> {
    let instance = unit.existing(new.instance_id)?.clone();
    carry_out(unit, new, (Admission::Start, instance), (None, None))
}

/// Does what was decided.
fn carry_out(
    unit: &mut UnitOfWork<'_>,
    new: &NewOperation,
    (admission, before): (Admission, InstanceRecord),
    (epoch, superseded): (Option<i64>, Option<OperationId>),
) -> Result<Admitted, StoreError> {
    let operation = record(unit, new, (&before, epoch), superseded)?;
    let instance = unit.server(new.instance_id).ok_or(StoreError::Raced(before.id))?.clone();
    let cause = match operation.finished_at {
        None => Cause::Accepted(new.kind),
        Some(_) => Cause::DeletedUnhosted,
    };
    let (by, now) = (new.by.initiator(), unit.now());
    unit.note(Note { before: Some(&before), after: &instance, cause, by, now })?;
    let command = epoch.map(|host_epoch| {
        let (operation, instance) = (operation.clone(), instance.clone());
        let work = PendingWork::Run;
        Box::new(PendingCommand { work, operation, instance, host_epoch, attempt: 1 })
    });
    Ok(Admitted { admission, instance, operation: Some(operation), command })
}

/// Clears the way for another operation. `Some`: the active one has to be stopped first, and the
/// new one waits for it. `None`: nothing had reached a host yet, the way is free.
fn supersede(unit: &mut UnitOfWork<'_>, instance: InstanceId) -> Option<OperationId> {
    let found = unit.unfinished(instance);
    if let Some(waiting) = found.waiting {
        end::cancel(unit, waiting.id);
    }
    let active = found.active?;
    if active.state == OperationState::Pending {
        end::cancel(unit, active.id);
        return None;
    }
    end::stop(unit, &active);
    Some(active.id)
}

/// Which of these hosts can be handed something now. Read, not locked: the command says for which start
/// of its host it is meant.
async fn awake(tx: &WriteTx, hosts: Vec<HostName>, now: Timestamp) -> Result<Awake, StoreError> {
    if hosts.is_empty() {
        return Ok(Awake::new());
    }
    let rows = host::Entity::find()
        .filter(host::Column::Name.is_in(hosts.iter().map(HostName::as_str)))
        .all(&**tx)
        .await
        .map_err(StoreError::db("read the hosts of servers"))?;
    let mut awake = Awake::new();
    for row in rows {
        let epoch = row.epoch;
        let host = host_record(row)?;
        if host.is_alive(now) {
            awake.insert(host.name, epoch);
        }
    }
    Ok(awake)
}

fn record(
    unit: &mut UnitOfWork<'_>,
    new: &NewOperation,
    (instance, handed_over): (&InstanceRecord, Option<i64>),
    superseded: Option<OperationId>,
) -> Result<OperationRecord, StoreError> {
    let (id, now) = (OperationId::random(), unit.now());
    let generation = instance.generation.saturating_add(1);
    let mut row = OperationRow::new(id, new.kind, instance, &new.by, now);
    row.with(new.args.clone(), generation);
    if let Some(deadline) = new.deadline {
        row.expire_after(deadline);
    }
    let Some(host) = &instance.host else {
        return done_here(unit, new.kind, instance, row);
    };
    unit.change(instance.id, |server| {
        server.generation = generation;
        server.task_state = Some(new.kind.task_state());
        (server.active, server.progress) = (Some((id, new.kind)), 0);
    });
    if let Some(other) = superseded {
        row.wait_for(other);
        return unit.record(row);
    }
    row.activate();
    if handed_over.is_some() {
        row.hand_over();
        unit.post(id, Entry::handed_over(host.clone()));
    } else {
        unit.post(id, Entry::run(host.clone()));
    }
    unit.record(row)
}

/// Deletes a server that no host knows of. Nothing else is admitted for one: it never ran.
fn done_here(
    unit: &mut UnitOfWork<'_>,
    kind: OperationKind,
    instance: &InstanceRecord,
    mut row: OperationRow,
) -> Result<OperationRecord, StoreError> {
    if kind != OperationKind::Delete {
        let (action, id) = (kind.action(), instance.id);
        return Err(Denied::NeverLaunched { action, id }.into());
    }
    unit.change(instance.id, |server| {
        server.generation = server.generation.saturating_add(1);
        end::delete(server);
    });
    row.finish(OperationState::Succeeded, None, unit.now());
    unit.record(row)
}
