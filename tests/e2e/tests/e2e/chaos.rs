//! A few of the runs of `make chaos`, always the same ones.

use anyhow::{Result, ensure};
use reprieve_core::OperationKind::{Delete, Pause, Rescue, Resume, Stop, Suspend, Unpause};
use reprieve_e2e::chaos::strike::{Choice, Rest};
use reprieve_e2e::chaos::subject::{Memory, Subject};
use reprieve_e2e::chaos::{self, Options, Place};
use reprieve_e2e::lab::{OPERATION, with_lab};
use reprieve_e2e::wait::Deadline;

#[test]
fn whatever_dies_every_operation_ends_in_the_truth() -> Result<()> {
    // Those that are over soon, once each with this seed: the budget is a minute and a half.
    let kinds = vec![Suspend, Resume, Pause, Unpause, Stop, Rescue, Delete];
    let choice = Choice { kinds, ..Choice::default() };
    let report =
        chaos::run(&Options { runs: 7, first: 0, seed: 13950, choice, ..Options::default() })?;
    assert!(report.is_clean(), "{}", report.table());
    Ok(())
}

/// Roles apart: the host loses its power in a suspend. Each further run costs half a minute; single
/// processes are killed in `cluster`.
#[test]
fn a_host_without_power_loses_nothing_that_was_saved() -> Result<()> {
    let kinds = vec![Suspend, Resume, Pause, Unpause, Rescue, Delete];
    let choice = Choice { kinds, ..Choice::of_cluster() };
    let options = Options { place: Place::Cluster, runs: 1, first: 0, seed: 411_754, choice };
    let report = chaos::run(&options)?;
    assert!(report.is_clean(), "{}", report.table());
    Ok(())
}

/// The check is worth something only if it fails when it should.
#[test]
fn a_cold_boot_does_not_pass_for_kept_memory() -> Result<()> {
    with_lab(|lab| {
        let id = lab.create(&lab.tiny("sabotage")?)?;
        lab.cloud.rests(id, "ACTIVE", Deadline::seconds(OPERATION))?;
        let mut subject = Subject::of_new(lab, id)?;
        subject.check(lab, Rest::Active, Memory::Kept)?;
        for command in ["destroy", "start"] {
            ensure!(lab.virt.virsh(&[command, &id.to_string()])?.ok(), "virsh {command}");
        }
        let seen = subject.check(lab, Rest::Active, Memory::Kept);
        ensure!(
            seen.is_err_and(|why| format!("{why:#}").contains("its memory is lost")),
            "unnoticed"
        );
        subject.check(lab, Rest::Active, Memory::Fresh)
    })
}
