//! What a compute host does for each operation, as a list of named steps.
//!
//! A plan is data: it is stored with the operation and replayed by step index after a crash, so a
//! newer daemon can finish what an older one began ([`PLAN_VERSION`]). Each step is run as
//! `probe -> apply -> probe` (invariant I3) and may therefore be repeated.

use crate::operation::OperationKind;
use crate::state::VmState;
use crate::text_enum;

/// Version of the meaning of [`Step`]; raised when a plan or a step changes incompatibly.
pub const PLAN_VERSION: u32 = 1;

text_enum!(
    /// One idempotent step on a compute host.
    Step {
        /// Bring the image into the host's cache.
        PrepareImage = "prepare_image",
        /// Make the server's own disk as an overlay of the cached image.
        BuildDisk = "build_disk",
        /// Write the config drive.
        BuildConfigDrive = "build_config_drive",
        /// Define the domain from the server's data.
        DefineDomain = "define_domain",
        /// Start the defined domain.
        StartDomain = "start_domain",
        /// Ask the guest to power off and wait for it, as long as the grace period lasts.
        ShutDownGuest = "shut_down_guest",
        /// End the guest process if there still is one.
        PowerOff = "power_off",
        /// Remove the definition.
        UndefineDomain = "undefine_domain",
        /// Remove the server's files.
        RemoveFiles = "remove_files",
        /// Stop the CPUs.
        SuspendCpus = "suspend_cpus",
        /// Let the CPUs go on.
        ResumeCpus = "resume_cpus",
        /// Set the guest's clock, as far as the guest helps.
        SyncClock = "sync_clock",
        /// Write the manifest that announces a save.
        OpenSave = "open_save",
        /// Write memory to a file of ours and end the guest process.
        SaveMemory = "save_memory",
        /// Make the file durable, digest it, and declare it valid.
        CommitSave = "commit_save",
        /// Check the saved memory and that the disks have not changed since.
        VerifySave = "verify_save",
        /// Announce the restore in the manifest.
        OpenRestore = "open_restore",
        /// Bring the memory back with the CPUs stopped.
        RestoreMemory = "restore_memory",
        /// Declare the saved memory used up, before any CPU runs.
        ConsumeSave = "consume_save",
        /// Remove the file of a guest that is known to run.
        RemoveSave = "remove_save",
        /// Declare saved memory unusable because the user chose to boot without it.
        RetireSave = "retire_save",
        /// Make the rescue disk.
        BuildRescueDisk = "build_rescue_disk",
        /// Write the rescue config drive.
        BuildRescueConfigDrive = "build_rescue_config_drive",
        /// Keep the current definition for unrescue.
        StashDefinition = "stash_definition",
        /// Define the domain with the rescue disk first.
        DefineRescueDomain = "define_rescue_domain",
        /// Put the stashed definition back.
        RestoreDefinition = "restore_definition",
        /// Remove rescue disk, rescue config drive and stash.
        RemoveRescueFiles = "remove_rescue_files",
    }
);

/// The steps of an operation.
///
/// The order carries the promises: a rescue builds everything that can fail before it touches the
/// guest (I9); a resume consumes the save before a CPU runs and removes it only after (I8); a hard
/// reboot retires saved memory before the disks can change (I8). Start and HARD reboot define the
/// guest with its own disks, which ends a half-done rescue as well: they clear what it left.
#[must_use]
pub const fn plan(kind: OperationKind) -> &'static [Step] {
    match kind {
        OperationKind::Create => &[
            Step::PrepareImage,
            Step::BuildDisk,
            Step::BuildConfigDrive,
            Step::DefineDomain,
            Step::StartDomain,
        ],
        OperationKind::Delete => &[Step::PowerOff, Step::UndefineDomain, Step::RemoveFiles],
        OperationKind::Pause => &[Step::SuspendCpus],
        OperationKind::Unpause => &[Step::ResumeCpus, Step::SyncClock],
        OperationKind::Suspend => &[Step::OpenSave, Step::SaveMemory, Step::CommitSave],
        OperationKind::Resume => &[
            Step::VerifySave,
            Step::OpenRestore,
            Step::RestoreMemory,
            Step::ConsumeSave,
            Step::ResumeCpus,
            Step::RemoveSave,
            Step::SyncClock,
        ],
        OperationKind::Rescue => &[
            Step::PrepareImage,
            Step::BuildRescueDisk,
            Step::BuildRescueConfigDrive,
            Step::StashDefinition,
            Step::ShutDownGuest,
            Step::PowerOff,
            Step::DefineRescueDomain,
            Step::StartDomain,
        ],
        OperationKind::Unrescue => {
            &[Step::PowerOff, Step::RestoreDefinition, Step::StartDomain, Step::RemoveRescueFiles]
        }
        OperationKind::Stop => &[Step::ShutDownGuest, Step::PowerOff],
        OperationKind::Start => &[Step::DefineDomain, Step::StartDomain, Step::RemoveRescueFiles],
        OperationKind::RebootSoft => &[Step::ShutDownGuest, Step::PowerOff, Step::StartDomain],
        OperationKind::RebootHard => &[
            Step::PowerOff,
            Step::RetireSave,
            Step::DefineDomain,
            Step::StartDomain,
            Step::RemoveSave,
            Step::RemoveRescueFiles,
        ],
    }
}

/// The steps of an operation on a server in this state.
///
/// A start of a rescued server, which only the restart of its host causes, boots the rescue definition
/// that is there; everything else is the same in every state.
#[must_use]
pub const fn plan_from(kind: OperationKind, prior: VmState) -> &'static [Step] {
    if matches!((kind, prior), (OperationKind::Start, VmState::Rescued)) {
        return &[Step::StartDomain];
    }
    plan(kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn before(kind: OperationKind, first: Step, second: Step) -> bool {
        let position = |step| plan(kind).iter().position(|s| *s == step).unwrap();
        position(first) < position(second)
    }

    #[test]
    fn i8_memory_is_consumed_before_a_cpu_runs_and_removed_after() {
        use OperationKind::{RebootHard, Resume, Suspend};
        assert!(before(Suspend, Step::OpenSave, Step::SaveMemory));
        assert!(before(Resume, Step::VerifySave, Step::RestoreMemory));
        assert!(before(Resume, Step::ConsumeSave, Step::ResumeCpus));
        assert!(before(Resume, Step::ResumeCpus, Step::RemoveSave));
        assert!(before(RebootHard, Step::RetireSave, Step::StartDomain));
        assert!(before(RebootHard, Step::StartDomain, Step::RemoveSave));
    }

    #[test]
    fn a_rescue_system_is_started_again_without_its_definition_being_changed() {
        for kind in OperationKind::ALL {
            for prior in VmState::ALL {
                let again = (*kind, *prior) == (OperationKind::Start, VmState::Rescued);
                let expected = if again { &[Step::StartDomain] } else { plan(*kind) };
                assert_eq!(plan_from(*kind, *prior), expected, "{kind} {prior}");
            }
        }
    }

    #[test]
    fn i9_rescue_touches_the_guest_only_when_nothing_else_can_fail() {
        use OperationKind::{Rescue, Unrescue};
        for step in [Step::PrepareImage, Step::BuildRescueDisk, Step::StashDefinition] {
            assert!(before(Rescue, step, Step::ShutDownGuest));
        }
        assert!(before(Unrescue, Step::RestoreDefinition, Step::RemoveRescueFiles));
        assert!(before(Unrescue, Step::StartDomain, Step::RemoveRescueFiles));
    }
}
