//! Test programs that run on what is inside of one process, and the same on daemons.
//!
//! `REPRIEVE_TEST_BACKENDS` says what they use:
//!
//! | value | database | bus |
//! |---|---|---|
//! | not set | SQLite | channels |
//! | `distributed` | PostgreSQL | RabbitMQ |
//! | `distributed-mariadb` | MariaDB | RabbitMQ |

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::{Cluster, MariaDb};

/// What a test program uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Backends {
    Inside,
    Postgres,
    MariaDb,
}

/// # Panics
/// When it is none that there is: the tests would not run on what somebody wanted them to.
#[allow(clippy::panic, reason = "for tests")]
fn wanted() -> Backends {
    let Some(wanted) = std::env::var_os("REPRIEVE_TEST_BACKENDS") else { return Backends::Inside };
    match wanted.to_str() {
        Some("") => Backends::Inside,
        Some("distributed") => Backends::Postgres,
        Some("distributed-mariadb") => Backends::MariaDb,
        _ => panic!("REPRIEVE_TEST_BACKENDS={} is unknown", wanted.display()),
    }
}

/// Whether this program is to use daemons.
#[must_use]
pub fn distributed() -> bool {
    match wanted() {
        Backends::Inside => false,
        Backends::Postgres | Backends::MariaDb => true,
    }
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
    let backends = wanted();
    let name = name(dir);
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    let fresh = made.insert(name.clone());
    match backends {
        Backends::Inside => None,
        Backends::Postgres => {
            let cluster = Cluster::shared();
            if fresh {
                cluster.create(&name, "template0").expect("a database");
            }
            Some(cluster.url(&name))
        }
        Backends::MariaDb => {
            let server = MariaDb::shared();
            if fresh {
                server.create(&name).expect("a database");
            }
            Some(server.url(&name))
        }
    }
}

/// Everything in the database for this directory, as text. `None`: it is a file.
///
/// # Panics
/// When it cannot be read.
#[must_use]
#[allow(clippy::expect_used, reason = "for tests")]
pub fn dump_for(dir: &Path) -> Option<String> {
    match wanted() {
        Backends::Inside => None,
        Backends::Postgres => Some(Cluster::shared().dump(&name(dir)).expect("a dump")),
        Backends::MariaDb => Some(MariaDb::shared().dump(&name(dir)).expect("a dump")),
    }
}

fn name(dir: &Path) -> String {
    let name = dir.file_name().unwrap_or_default().as_bytes();
    name.iter().fold("d".to_owned(), |name, byte| format!("{name}{byte:02x}"))
}
