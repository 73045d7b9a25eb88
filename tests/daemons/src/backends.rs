//! Test programs that run on what is inside of one process, and the same on daemons.
//!
//! `REPRIEVE_TEST_BACKENDS=distributed` lets them use PostgreSQL and RabbitMQ as a control plane of
//! several hosts does; without it they use SQLite and channels.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::Cluster;

/// Whether this program is to use daemons.
#[must_use]
pub fn distributed() -> bool {
    std::env::var_os("REPRIEVE_TEST_BACKENDS").is_some_and(|backends| backends == "distributed")
}

/// The address of a database instead of a file in this directory; the same for the same directory.
/// `None`: a file is wanted.
///
/// # Panics
/// When there is to be a database and it cannot be made: no test that asks for it can go on.
#[must_use]
#[allow(clippy::expect_used, reason = "for tests")]
pub fn database_for(dir: &Path) -> Option<String> {
    static MADE: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    if !distributed() {
        return None;
    }
    let name = name(dir);
    let cluster = Cluster::shared();
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    if made.insert(name.clone()) {
        cluster.create(&name, "template0").expect("a database");
    }
    Some(cluster.url(&name))
}

/// Everything in the database for this directory, as text. `None`: it is a file.
///
/// # Panics
/// When it cannot be read.
#[must_use]
#[allow(clippy::expect_used, reason = "for tests")]
pub fn dump_for(dir: &Path) -> Option<String> {
    distributed().then(|| Cluster::shared().dump(&name(dir)).expect("a dump"))
}

fn name(dir: &Path) -> String {
    let name = dir.file_name().unwrap_or_default().as_bytes();
    name.iter().fold("d".to_owned(), |name, byte| format!("{name}{byte:02x}"))
}
