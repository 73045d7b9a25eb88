//! A few of the runs of `make chaos`, always the same ones.

use anyhow::Result;
use reprieve_core::OperationKind::{Delete, Pause, Rescue, Resume, Stop, Suspend, Unpause};
use reprieve_e2e::chaos::strike::Choice;
use reprieve_e2e::chaos::{self, Options};

#[test]
fn whatever_dies_every_operation_ends_in_the_truth() -> Result<()> {
    // Those that are over soon: the budget of this test is a minute and a half.
    let kinds = vec![Suspend, Resume, Pause, Unpause, Stop, Rescue, Delete];
    let choice = Choice { kinds, ..Choice::default() };
    let report = chaos::run(&Options { runs: 7, first: 0, seed: 26, choice })?;
    assert!(report.is_clean(), "{}", report.table());
    Ok(())
}
