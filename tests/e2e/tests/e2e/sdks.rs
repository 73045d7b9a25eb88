//! The libraries that programs use, against real servers: unmodified openstacksdk and
//! python-novaclient, driven for every call that they have. What they call and what they expect is in
//! `tests/e2e/clients`; here is only that it came true, and that nothing was left behind.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use reprieve_e2e::cloud::Service;
use reprieve_e2e::lab::{Lab, with_lab};
use serde_json::Value;

/// Seconds for all calls of a library: most answer at once, but some boot an emulated guest.
const ALL_CALLS: u64 = 3600;

/// Runs a driver on servers of image `tiny` and takes its word for what was answered.
fn every_call(lab: &Lab, driver: &str, library: &str) -> Result<()> {
    let images = ["tiny", "tiny-rescue"];
    for image in images {
        lab.image(image)?;
    }
    let [image, rescue] = images;
    // What init of both images prints once a second as soon as it has booted.
    let options = ["--image", image, "--rescue-image", rescue, "--booted", "HEARTBEAT "];
    let output = lab.driver(driver)?.args(options).within(ALL_CALLS).ok()?;
    let last = output.stdout.lines().last().unwrap_or_default();
    let end = format!(" calls of {library} answered as they should");
    let calls: usize = last
        .strip_suffix(&end)
        .with_context(|| format!("it ended with '{last}'"))?
        .parse()
        .with_context(|| format!("'{last}' has no number"))?;
    ensure!(calls > 100, "only {calls} different calls");
    nothing_is_left(lab)
}

/// A driver removes what it made, and so does the daemon.
fn nothing_is_left(lab: &Lab) -> Result<()> {
    let servers = lab.cloud.get(Service::Compute, "/servers?all_tenants=1")?;
    assert_eq!(servers["servers"], Value::Array(Vec::new()));
    let directory = lab.daemon.data().join("instances");
    let entries = fs::read_dir(&directory).with_context(|| format!("{}", directory.display()))?;
    let left: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
    ensure!(left.is_empty(), "files of servers that are gone: {left:?}");
    Ok(())
}

#[test]
fn every_call_of_openstacksdk() -> Result<()> {
    with_lab(|lab| every_call(lab, "sdk", "openstacksdk"))
}

#[test]
fn every_call_of_python_novaclient() -> Result<()> {
    with_lab(|lab| every_call(lab, "nova", "python-novaclient"))
}
