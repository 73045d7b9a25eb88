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
use std::path::PathBuf;

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
    #[error("{places} has no reprieve-{{api,conductor,compute}}.log: give --log-dir")]
    NoLogs {
        /// Where they were looked for.
        places: String,
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
    #[error("no line of {places} has '{id}'")]
    NotFound {
        /// Where it was looked for.
        places: String,
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
    let directories = match args.log_dir.as_slice() {
        [] => vec![default_directory(env).ok_or(TraceError::NoDirectory)?],
        given => given.to_vec(),
    };
    let mut merge = Merge::new(sources(&directories, id)?);
    let mut printer = Printer { format: args.format, first: None };
    while let Some(entry) = merge.next()? {
        printer.print(&entry, out)?;
    }
    printer.end(out)?;
    if printer.first.is_none() {
        let places = places(&directories);
        return Err(TraceError::NotFound { places, id: id.to_owned() }.into());
    }
    Ok(())
}

/// The logs beside the clouds.yaml that the user named, when a daemon keeps both there; else those of a
/// daemon that this user started.
fn default_directory(env: &Environment) -> Option<PathBuf> {
    let named = env.get("OS_CLIENT_CONFIG_FILE").map(PathBuf::from);
    let beside = named.and_then(|file| Some(file.parent()?.join("log")));
    let kept = beside.filter(|dir| dir.join("reprieve-api.log").is_file());
    kept.or_else(|| env.data_dir().map(|dir| dir.join("log")))
}

/// Directories for an error.
fn places(directories: &[PathBuf]) -> String {
    let names: Vec<String> = directories.iter().map(|path| path.display().to_string()).collect();
    names.join(", ")
}

/// One source for each role and directory; rotated files come before the one that is written to.
fn sources(directories: &[PathBuf], id: &str) -> Result<Vec<Source>, TraceError> {
    let mut sources = Vec::new();
    for (directory, role) in
        directories.iter().flat_map(|directory| ROLES.map(|role| (directory, role)))
    {
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
        return Err(TraceError::NoLogs { places: places(directories) });
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
