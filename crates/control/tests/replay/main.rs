//! Answers of a real Nova (26.2, microversions up to 2.93), replayed against our router.
//!
//! `tests/recordings` holds the requests and the answers as they were recorded. A script sends the
//! requests again, in the recorded order, so that every one finds the state that Nova was in; what
//! happened between them is in the script, too. Status, headers and the whole body are compared,
//! value by value. What is deliberately different is listed in `differences.toml`, with the
//! reason. The test fails when a recording is not replayed, and when a difference is listed that is
//! none.
// A test awaits a helper that awaits the whole control plane: its future is some 130 types deep.
#![recursion_limit = "256"]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says by panicking what is wrong"
)]

mod clock;
mod compare;
mod differences;
mod hosts;
mod recording;
mod script;
mod stage;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeSet;

use differences::Differences;
use stage::Stage;

#[tokio::test]
async fn every_recording_is_answered_as_nova_did() {
    let recordings = recording::all();
    let mut differences = Differences::read();
    let mut failures = Vec::new();
    let mut replayed = BTreeSet::new();
    for chapters in script::SCENARIOS {
        let mut stage = Stage::new(&recordings).await;
        stage.play(chapters, &mut differences).await;
        failures.append(&mut stage.failures);
        replayed.append(&mut stage.replayed);
    }
    let forgotten = recordings.keys().filter(|name| !replayed.contains(*name));
    failures.extend(forgotten.map(|name| format!("{name} is not replayed")));
    failures.extend(differences.outdated());
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}
