//! What is different between two records of the same row, for the columns that operations change.

use reprieve_core::Timestamp;
use sea_orm::sea_query::Value;

use super::unit::Work;
use crate::StoreError;
use crate::convert::to_json;
use crate::entity::{host, instance, operation};
use crate::record::InstanceRecord;

/// New values of the columns that changed.
pub(super) struct Changes<C> {
    values: Vec<(C, Value)>,
}

impl<C> Changes<C> {
    const fn none() -> Self {
        Self { values: Vec::new() }
    }

    fn note<T: PartialEq, V: Into<Value>>(
        &mut self,
        column: C,
        (before, after): (&T, &T),
        value: impl FnOnce(&T) -> V,
    ) {
        if before != after {
            self.values.push((column, value(after).into()));
        }
    }

    fn note_json<T: PartialEq + serde::Serialize>(
        &mut self,
        column: C,
        (before, after): (&Option<T>, &Option<T>),
    ) -> Result<(), StoreError> {
        if before != after {
            let text = after.as_ref().map(to_json).transpose()?;
            self.values.push((column, text.into()));
        }
        Ok(())
    }

    /// The values.
    pub(super) fn into_values(self) -> Vec<(C, Value)> {
        self.values
    }
}

fn micros(time: &Option<Timestamp>) -> Option<i64> {
    time.map(Timestamp::micros)
}

/// Of a server: everything but what it was made with, and what [`crate::InstanceUpdate`] changes.
pub(super) fn of_server(
    old: &InstanceRecord,
    new: &InstanceRecord,
) -> Result<Changes<instance::Column>, StoreError> {
    use instance::Column as C;
    let mut changes = Changes::none();
    changes.note(C::VmState, (&old.vm_state, &new.vm_state), |state| state.as_str());
    changes.note(C::TaskState, (&old.task_state, &new.task_state), |state| {
        state.map(|state| state.as_str())
    });
    let operation = |server: &InstanceRecord| server.active.map(|(id, _)| id);
    changes.note(C::ActiveOp, (&operation(old), &operation(new)), |id| id.map(|id| id.to_string()));
    let kind = |server: &InstanceRecord| server.active.map(|(_, kind)| kind);
    changes.note(C::ActiveKind, (&kind(old), &kind(new)), |kind| kind.map(|kind| kind.as_str()));
    changes.note(C::PowerState, (&old.power_state, &new.power_state), |power| power.number());
    changes.note(C::PowerReason, (&old.power_reason, &new.power_reason), |why| why.as_str());
    changes.note(C::Progress, (&old.progress, &new.progress), |percent| i32::from(*percent));
    changes.note(C::LaunchedAt, (&old.launched_at, &new.launched_at), micros);
    changes.note(C::TerminatedAt, (&old.terminated_at, &new.terminated_at), micros);
    changes.note(C::DeletedAt, (&old.deleted_at, &new.deleted_at), micros);
    changes.note(C::UpdatedAt, (&old.updated_at, &new.updated_at), |time| time.micros());
    changes.note(C::Generation, (&old.generation, &new.generation), |number| *number);
    changes.note(C::ObsEpoch, (&old.obs_epoch, &new.obs_epoch), |number| *number);
    changes.note(C::ObsSeq, (&old.obs_seq, &new.obs_seq), |number| *number);
    changes.note(C::RescueStashed, (&old.rescue_stashed, &new.rescue_stashed), |yes| *yes);
    changes.note(C::UserData, (&old.user_data, &new.user_data), Option::clone);
    changes.note(C::HostReboot, (&old.host_reboot, &new.host_reboot), |policy| {
        policy.map(|policy| policy.as_str())
    });
    let for_host = (&old.suspended_for_host, &new.suspended_for_host);
    changes.note(C::SuspendedForHost, for_host, |yes| *yes);
    changes.note(C::Revision, (&old.revision, &new.revision), |number| *number);
    changes.note_json(C::Fault, (&old.fault, &new.fault))?;
    changes.note_json(C::AdminPassword, (&old.admin_password, &new.admin_password))?;
    Ok(changes)
}

/// Of an operation: everything but who asked for what.
pub(super) fn of_operation(
    old: &Work,
    new: &Work,
) -> Result<Changes<operation::Column>, StoreError> {
    use operation::Column as C;
    let mut changes = Changes::none();
    let (o, n) = (&old.record, &new.record);
    changes.note(C::State, (&o.state, &n.state), |state| state.as_str());
    let key = |work: &Work| work.active.then(|| work.record.instance_id.to_string());
    changes.note(C::ActiveKey, (&key(old), &key(new)), Option::clone);
    changes.note(C::Prior, (&o.prior, &n.prior), |state| state.as_str());
    changes.note(C::Step, (&o.step, &n.step), |step| step.map(i64::from));
    changes.note(C::StepName, (&o.step_name, &n.step_name), |step| step.map(|step| step.as_str()));
    changes.note(C::Progress, (&o.progress, &n.progress), |percent| i32::from(*percent));
    changes.note(C::Attempt, (&o.attempt, &n.attempt), |count| i64::from(*count));
    changes.note(C::AfterOp, (&o.after, &n.after), |id| id.map(|id| id.to_string()));
    changes.note(C::DeadlineAt, (&o.deadline_at, &n.deadline_at), micros);
    changes.note(C::NeedsAttention, (&o.needs_attention, &n.needs_attention), |yes| *yes);
    changes.note(C::UpdatedAt, (&o.updated_at, &n.updated_at), |time| time.micros());
    changes.note(C::StartedAt, (&o.started_at, &n.started_at), micros);
    changes.note(C::FinishedAt, (&o.finished_at, &n.finished_at), micros);
    changes.note(C::ReportEpoch, (&old.report.0, &new.report.0), |number| *number);
    changes.note(C::ReportSeq, (&old.report.1, &new.report.1), |number| *number);
    changes.note_json(C::Error, (&o.error, &n.error))?;
    if o.args != n.args {
        changes.values.push((C::Args, to_json(&n.args)?.into()));
    }
    Ok(changes)
}

/// Of a host: what its reports tell.
pub(super) fn of_host(old: &host::Model, new: &host::Model) -> Changes<host::Column> {
    use host::Column as C;
    let mut changes = Changes::none();
    changes.note(C::LastSeen, (&old.last_seen, &new.last_seen), |time| *time);
    changes.note(C::LastSeq, (&old.last_seq, &new.last_seq), |number| *number);
    changes.note(C::Info, (&old.info, &new.info), Option::clone);
    changes.note(C::Problem, (&old.problem, &new.problem), Option::clone);
    changes
}
