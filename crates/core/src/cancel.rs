//! Whether an operation may be cancelled by somebody who does not want it any more.
//!
//! A cancellation never loses memory or a disk. What guarantees that is the host: it stops an
//! operation between two steps only where [`may_stop_before`] says so, and undoes what is private to
//! it. What is here besides refuses early, with a text that helps, what could no longer be stopped or
//! would leave less than it began with. The reported step may be behind the host's; a request that is
//! granted for that reason comes too late there and the operation succeeds.
//!
//! ```text
//! not with a host yet ──▶ ends now; the server stays as it was
//! with its host       ──▶ asked to stop at its next safe point ──▶ cancelled | succeeded | failed
//! past its last safe point, or of a kind without one ──▶ refused
//! ```

use crate::operation::OperationKind;
use crate::plan::{Step, plan};

/// Where an operation is in its life, as far as cancelling is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It waits for another operation on its server to end.
    Waiting,
    /// Recorded, and never handed to its host.
    Unsent,
    /// Handed to its host, which was last heard of at this step, if at all.
    Sent(Option<Step>),
    /// Being stopped already.
    Stopping,
    /// Over.
    Ended,
}

/// How an operation is cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancellation {
    /// Here and now: no host knows of it.
    Now,
    /// By its host, which is asked to stop.
    Ask,
    /// It is being stopped already.
    UnderWay,
}

/// Why an operation cannot be cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotCancellable {
    /// It is over.
    #[error("it has ended already")]
    Ended,
    /// It has not begun.
    #[error("it waits for another operation of its server, and cannot be told to stop before")]
    Waiting,
    /// Only the database was changed.
    #[error("it was done at once")]
    AtOnce,
    /// Create.
    #[error("delete the server instead: that stops its creation")]
    DeleteInstead,
    /// Delete.
    #[error("what is deleted already cannot be brought back")]
    Destroys,
    /// A SOFT reboot.
    #[error("ask for a HARD reboot instead: it takes the place of this one")]
    HardInstead,
    /// It has no point at which it could stop and leave the server as it was.
    #[error("{} is over in moments and cannot be stopped half-way", .0.action())]
    Indivisible(OperationKind),
    /// It is past its last safe point.
    #[error("it is past the point where it can be stopped: {}", .0.way_back())]
    TooLate(Late),
}

/// What is past its last safe point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Late {
    /// Suspend.
    Suspend,
    /// Resume.
    Resume,
    /// Rescue.
    Rescue,
    /// Stop.
    Stop,
}

impl Late {
    /// What to do instead.
    const fn way_back(self) -> &'static str {
        match self {
            Self::Suspend => "the memory is saved; resume the server when this has ended",
            Self::Resume => "the memory is back; suspend the server again when this has ended",
            Self::Rescue => "the guest is shutting down; unrescue the server when this has ended",
            Self::Stop => "the guest is off; start the server when this has ended",
        }
    }
}

/// Decides whether an operation may be cancelled, and how. `kind` is `None` for what the database
/// alone does.
///
/// # Errors
/// [`NotCancellable`], which the API answers with 409 and its text.
pub fn cancel(kind: Option<OperationKind>, stage: Stage) -> Result<Cancellation, NotCancellable> {
    let reached = match stage {
        Stage::Ended => return Err(NotCancellable::Ended),
        Stage::Waiting => return Err(NotCancellable::Waiting),
        Stage::Stopping => return Ok(Cancellation::UnderWay),
        Stage::Unsent => None,
        Stage::Sent(reached) => Some(reached),
    };
    let kind = kind.ok_or(NotCancellable::AtOnce)?;
    let last_safe = match kind {
        OperationKind::Create => return Err(NotCancellable::DeleteInstead),
        OperationKind::Delete => return Err(NotCancellable::Destroys),
        OperationKind::Suspend => Some((Step::SaveMemory, Late::Suspend)),
        OperationKind::Resume => Some((Step::RestoreMemory, Late::Resume)),
        OperationKind::Rescue => Some((Step::StashDefinition, Late::Rescue)),
        OperationKind::Stop => Some((Step::ShutDownGuest, Late::Stop)),
        OperationKind::Pause
        | OperationKind::Unpause
        | OperationKind::Unrescue
        | OperationKind::Start
        | OperationKind::RebootSoft
        | OperationKind::RebootHard => None,
    };
    let Some(reached) = reached else { return Ok(Cancellation::Now) };
    if kind == OperationKind::RebootSoft {
        return Err(NotCancellable::HardInstead);
    }
    let (last_safe, late) = last_safe.ok_or(NotCancellable::Indivisible(kind))?;
    let at = |step| plan(kind).iter().position(|planned| *planned == step);
    match reached.map(at) {
        None => Ok(Cancellation::Ask),
        Some(reached) if reached <= at(last_safe) => Ok(Cancellation::Ask),
        Some(_) => Err(NotCancellable::TooLate(late)),
    }
}

/// Whether a host may stop `kind` when this step comes next, without looking at the guest. Not where
/// the guest may be gone already and only the steps ahead make usable what it held: a save that was
/// begun is brought to its end, or aborted by the step itself, which sees that the guest runs; a guest
/// whose memory is back gets its CPUs.
#[must_use]
pub const fn may_stop_before(kind: OperationKind, next: Step) -> bool {
    match kind {
        OperationKind::Suspend => !matches!(next, Step::SaveMemory | Step::CommitSave),
        OperationKind::Resume => !matches!(
            next,
            Step::ConsumeSave | Step::ResumeCpus | Step::RemoveSave | Step::SyncClock
        ),
        OperationKind::Create
        | OperationKind::Delete
        | OperationKind::Pause
        | OperationKind::Unpause
        | OperationKind::Rescue
        | OperationKind::Unrescue
        | OperationKind::Stop
        | OperationKind::Start
        | OperationKind::RebootSoft
        | OperationKind::RebootHard => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use OperationKind as K;

    /// Steps at which an operation may still be cancelled when its host was last heard of there.
    fn safe(kind: K) -> Vec<Step> {
        let granted = |step: &Step| cancel(Some(kind), Stage::Sent(Some(*step))).is_ok();
        plan(kind).iter().copied().filter(granted).collect()
    }

    #[test]
    fn safe_points() {
        use Step as S;
        assert_eq!(safe(K::Suspend), [S::OpenSave, S::SaveMemory]);
        assert_eq!(safe(K::Resume), [S::VerifySave, S::OpenRestore, S::RestoreMemory]);
        let before =
            [S::PrepareImage, S::BuildRescueDisk, S::BuildRescueConfigDrive, S::StashDefinition];
        assert_eq!(safe(K::Rescue), before);
        assert_eq!(safe(K::Stop), [S::ShutDownGuest]);
        let others = [K::Create, K::Delete, K::Pause, K::Unpause, K::Unrescue, K::Start];
        for kind in others.into_iter().chain([K::RebootSoft, K::RebootHard]) {
            assert_eq!(safe(kind), [], "{kind}");
        }
    }

    #[test]
    fn every_kind_at_every_stage() {
        for kind in K::ALL.iter().copied() {
            let cancel = |stage| cancel(Some(kind), stage);
            assert_eq!(cancel(Stage::Ended), Err(NotCancellable::Ended), "{kind}");
            assert_eq!(cancel(Stage::Waiting), Err(NotCancellable::Waiting), "{kind}");
            assert_eq!(cancel(Stage::Stopping), Ok(Cancellation::UnderWay), "{kind}");
            let unsent = match kind {
                K::Create => Err(NotCancellable::DeleteInstead),
                K::Delete => Err(NotCancellable::Destroys),
                _ => Ok(Cancellation::Now),
            };
            assert_eq!(cancel(Stage::Unsent), unsent, "{kind}");
            let has_safe_points = !safe(kind).is_empty();
            assert_eq!(cancel(Stage::Sent(None)).is_ok(), has_safe_points, "{kind}");
        }
        assert_eq!(cancel(None, Stage::Unsent), Err(NotCancellable::AtOnce));
        assert_eq!(cancel(None, Stage::Ended), Err(NotCancellable::Ended));
    }

    /// A guest whose process has ended for a save is never left without the save being declared.
    #[test]
    fn a_host_does_not_stop_between_the_end_of_a_guest_and_its_save() {
        let stops = |kind| -> Vec<Step> {
            plan(kind).iter().copied().filter(|step| !may_stop_before(kind, *step)).collect()
        };
        assert_eq!(stops(K::Suspend), [Step::SaveMemory, Step::CommitSave]);
        let resume = [Step::ConsumeSave, Step::ResumeCpus, Step::RemoveSave, Step::SyncClock];
        assert_eq!(stops(K::Resume), resume);
        for kind in K::ALL.iter().copied().filter(|kind| !matches!(kind, K::Suspend | K::Resume)) {
            assert_eq!(stops(kind), [], "{kind}");
        }
    }

    #[test]
    fn refusals_say_what_to_do() {
        let late = cancel(Some(K::Suspend), Stage::Sent(Some(Step::CommitSave))).unwrap_err();
        assert!(late.to_string().contains("resume the server"), "{late}");
        let pause = cancel(Some(K::Pause), Stage::Sent(None)).unwrap_err();
        assert!(pause.to_string().starts_with("pause is over in moments"), "{pause}");
    }
}
