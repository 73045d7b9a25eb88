//! `reprieve trace`: one request through the logs of all roles, as one timeline.
//!
//! The files are streamed. Lines within a file are almost in order (threads may overtake each
//! other by a little), so a bounded window sorts them; memory does not grow with the files.
//!
//! ```text
//! reprieve-api.log ──────┐
//! reprieve-conductor.log ┼─ lines with the id ─ merge by time ─ window ─ print
//! reprieve-compute.log ──┘
//! ```

mod line;
mod merge;

use std::fs::File;
use std::io::{BufReader, Write};
use std::path::{Path, PathBuf};

use crate::args::{Format, TraceArgs};
use crate::config::Environment;
use crate::error::{Exit, Failure};
use crate::output::printable;
use line::Entry;
use merge::{Merge, Source};

/// The roles of a daemon, in the order in which a request visits them.
const ROLES: [&str; 3] = ["api", "conductor", "compute"];

/// Rotated files that are read: `reprieve-api.log.1` … `.9`.
const ROTATED: u32 = 9;

/// Why there is no timeline.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// Nobody can say where the logs are.
    #[error("the directory of the logs is unknown: give --log-dir or set REPRIEVE_LOG_DIR")]
    NoDirectory,
    /// No log files there.
    #[error("{} has no reprieve-{{api,conductor,compute}}.log: give --log-dir", path.display())]
    NoLogs {
        /// Where they were looked for.
        path: PathBuf,
    },
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The request left no line.
    #[error("no line of {} has '{id}'", path.display())]
    NotFound {
        /// Where it was looked for.
        path: PathBuf,
        /// What was looked for.
        id: String,
    },
    /// Would fit nearly every line.
    #[error("'{id}' is no request id")]
    NoId {
        /// What was given.
        id: String,
    },
}

impl TraceError {
    /// Exit status.
    pub const fn exit(&self) -> Exit {
        match self {
            Self::NoDirectory | Self::NoLogs { .. } | Self::NoId { .. } => Exit::Usage,
            Self::Unreadable { .. } => Exit::Failed,
            Self::NotFound { .. } => Exit::NotFound,
        }
    }
}

/// Prints the timeline of one request.
///
/// # Errors
/// [`TraceError`], or stdout is closed.
pub fn run(args: &TraceArgs, env: &Environment, out: &mut dyn Write) -> Result<(), Failure> {
    let id = args.request_id.trim();
    if id.len() < 8 || !id.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
        return Err(TraceError::NoId { id: id.to_owned() }.into());
    }
    let directory = args.log_dir.clone().or_else(|| env.data_dir().map(|dir| dir.join("log")));
    let directory = directory.ok_or(TraceError::NoDirectory)?;
    let mut merge = Merge::new(sources(&directory, id)?);
    let mut printer = Printer { format: args.format, first: None };
    while let Some(entry) = merge.next()? {
        printer.print(&entry, out)?;
    }
    printer.end(out)?;
    if printer.first.is_none() {
        return Err(TraceError::NotFound { path: directory, id: id.to_owned() }.into());
    }
    Ok(())
}

/// One source for each role; rotated files come before the one that is written to.
fn sources(directory: &Path, id: &str) -> Result<Vec<Source>, TraceError> {
    let mut sources = Vec::new();
    for role in ROLES {
        let current = directory.join(format!("reprieve-{role}.log"));
        let older = (1..=ROTATED).rev().map(|n| directory.join(format!("reprieve-{role}.log.{n}")));
        let mut files = Vec::new();
        for path in older.chain([current]) {
            match File::open(&path) {
                Ok(file) => files.push((path, BufReader::new(file))),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(source) => return Err(TraceError::Unreadable { path, source }),
            }
        }
        if !files.is_empty() {
            sources.push(Source::new(role, files, id));
        }
    }
    if sources.is_empty() {
        return Err(TraceError::NoLogs { path: directory.to_owned() });
    }
    Ok(sources)
}

/// Prints entries one by one.
struct Printer {
    format: Format,
    /// Time of the first entry, microseconds.
    first: Option<i64>,
}

impl Printer {
    fn print(&mut self, entry: &Entry, out: &mut dyn Write) -> std::io::Result<()> {
        let is_first = self.first.is_none();
        let since = entry.micros - *self.first.get_or_insert(entry.micros);
        #[expect(clippy::cast_precision_loss, reason = "milliseconds of one request")]
        let millis = since as f64 / 1000.0;
        match self.format {
            Format::Table => {
                if is_first {
                    writeln!(out, "{}", entry.timestamp)?;
                }
                let (role, level) = (entry.role, &entry.level);
                let text = printable(&entry.text);
                writeln!(out, "{millis:>+10.3} ms  {role:<9}  {level:<5}  {text}")
            }
            Format::Value => writeln!(out, "{}", printable(&entry.raw)),
            Format::Json => {
                write!(out, "{}", if is_first { "[\n" } else { ",\n" })?;
                let object = serde_json::json!({
                    "time": entry.timestamp,
                    "relative_ms": millis,
                    "role": entry.role,
                    "level": entry.level,
                    "text": entry.text,
                });
                write!(out, "  {object}")
            }
        }
    }

    fn end(&self, out: &mut dyn Write) -> std::io::Result<()> {
        match (self.format, self.first) {
            (Format::Json, Some(_)) => writeln!(out, "\n]"),
            (Format::Json, None) => writeln!(out, "[]"),
            (Format::Table | Format::Value, _) => Ok(()),
        }
    }
}
