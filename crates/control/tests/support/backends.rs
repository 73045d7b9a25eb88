//! The database and the bus of a test: within this process, or daemons of the tests' own (see
//! `reprieve_test_daemons::backends`).

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::path::Path;
use std::sync::Arc;

use reprieve_bus::{InProcessBus, RabbitBus, RabbitConfig};
use reprieve_core::ports::Bus;
use reprieve_store::Location;
use reprieve_test_daemons::{Broker, backends};

/// The database of a test that keeps its files in this directory.
pub fn database(dir: &Path) -> Location {
    match backends::database_for(dir) {
        Some(url) => Location::parse(&url),
        None => Location::File(dir.join("reprieve.db")),
    }
}

/// All bytes of that database, as far as they were written.
pub fn everything_in(dir: &Path) -> Vec<u8> {
    if let Some(dump) = backends::dump_for(dir) {
        return dump.into_bytes();
    }
    let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let is_its =
        |file: &Path| file.file_name().unwrap().to_string_lossy().starts_with("reprieve.db");
    let bytes = files.filter(|file| is_its(file)).map(|file| std::fs::read(file).unwrap());
    let bytes: Vec<u8> = bytes.flatten().collect();
    assert!(!bytes.is_empty(), "there is a database");
    bytes
}

/// A bus that nobody else is on.
pub fn bus() -> Arc<dyn Bus> {
    if backends::distributed() {
        let mut config = RabbitConfig::new(Broker::shared().url());
        config.prefix = format!("t{}", uuid::Uuid::new_v4().simple());
        Arc::new(RabbitBus::new(config).unwrap())
    } else {
        Arc::new(InProcessBus::new())
    }
}
