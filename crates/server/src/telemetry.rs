//! Where log lines go: all of them to stderr, and each role's to a file of its own, as a Nova
//! deployment has them.
//!
//! | file | roles |
//! |---|---|
//! | `reprieve-api.log` | HTTP services: requests, identity, images |
//! | `reprieve-conductor.log` | store, dispatcher, reports |
//! | `reprieve-compute.log` | agent, steps, hypervisor |
//!
//! The audit trail, `reprieve-audit.log`, is none of these: it has no levels, and no filter keeps
//! anything out of it (`reprieve_control::http::audit`).
//!
//! The files are opened for appending and never truncated here; rotate them with `copytruncate`.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Mutex;

use anyhow::Context as _;
use tracing::Metadata;
use tracing_subscriber::filter::{EnvFilter, FilterFn};
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, fmt};

use crate::args::LogFormat;

/// The audit trail's file.
pub const AUDIT_FILE: &str = "reprieve-audit.log";

/// A part of the deployment with a log file of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Api,
    Conductor,
    Compute,
}

impl Role {
    const ALL: [Self; 3] = [Self::Api, Self::Conductor, Self::Compute];

    const fn file(self) -> &'static str {
        match self {
            Self::Api => "reprieve-api.log",
            Self::Conductor => "reprieve-conductor.log",
            Self::Compute => "reprieve-compute.log",
        }
    }

    /// The role that logs under `target` (a module path, or a name below `reprieve::`).
    fn of(target: &str) -> Self {
        const CONDUCTOR: [&str; 4] =
            ["reprieve::conductor", "reprieve_control::work", "reprieve_store", "reprieve_bus"];
        const COMPUTE: [&str; 3] = ["reprieve::compute", "reprieve_compute", "reprieve_hypervisor"];
        if CONDUCTOR.iter().any(|prefix| target.starts_with(prefix)) {
            Self::Conductor
        } else if COMPUTE.iter().any(|prefix| target.starts_with(prefix)) {
            Self::Compute
        } else {
            Self::Api
        }
    }
}

/// Installs the subscriber of this process.
///
/// # Errors
/// When a log file cannot be opened or `filter` cannot be understood.
pub fn install(log_dir: &Path, filter: &str, format: LogFormat) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(filter)
        .with_context(|| format!("'{filter}' is not a log filter; try info or debug"))?;
    let mut layers =
        vec![layer(format, BoxMakeWriter::new(io::stderr), io::stderr().is_terminal())];
    for role in Role::ALL {
        let writer = BoxMakeWriter::new(Mutex::new(open(&log_dir.join(role.file()))?));
        let of_role = move |metadata: &Metadata<'_>| Role::of(metadata.target()) == role;
        layers.push(layer(format, writer, false).with_filter(FilterFn::new(of_role)).boxed());
    }
    let subscriber = tracing_subscriber::registry().with(layers).with(filter);
    tracing::subscriber::set_global_default(subscriber).context("logging is set up already")
}

fn layer<S>(
    format: LogFormat,
    writer: BoxMakeWriter,
    colour: bool,
) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
{
    let layer = fmt::layer().with_writer(writer).with_ansi(colour);
    match format {
        LogFormat::Human => layer.boxed(),
        LogFormat::Json => layer.json().boxed(),
    }
}

/// Opens a log file for appending.
///
/// # Errors
/// When it cannot be opened or made.
pub fn open(path: &Path) -> anyhow::Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o640)
        .open(path)
        .with_context(|| format!("the log file {} cannot be opened", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_has_one_role() {
        assert_eq!(Role::of("reprieve::api"), Role::Api);
        assert_eq!(Role::of("reprieve_control::http::compute"), Role::Api);
        assert_eq!(Role::of("reprieve_control::work::dispatch"), Role::Conductor);
        assert_eq!(Role::of("reprieve_compute::actor"), Role::Compute);
        assert_eq!(Role::of("reprieve_hypervisor::libvirt"), Role::Compute);
        assert_eq!(Role::of("hyper"), Role::Api);
    }
}
