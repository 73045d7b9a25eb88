//! Reading the file: who may read it, what is in it, and where.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use toml::de::DeTable;

use super::error::{Mistake, without_secret};
use super::keys::{self, KEYS};
use super::secrets::holds_password;
use super::{Config, ConfigError, Loaded, Origin};

/// A configuration is small; anything larger is something else.
const MAX_BYTES: u64 = 1 << 20;
/// What others may not do with what holds a secret.
const OTHERS: u32 = 0o007;

/// A small file of text, and its mode.
pub(super) fn text(path: &Path) -> Result<(String, u32), ConfigError> {
    let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.permissions().mode();
    let mut text = String::new();
    file.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > MAX_BYTES {
        let what = format!("it is larger than {MAX_BYTES} bytes; name another file");
        return Err(ConfigError::File { path: path.to_owned(), what });
    }
    Ok((text, mode))
}

/// Refuses a file with a secret that everybody on this machine can read.
pub(super) fn private(path: &Path, mode: u32) -> Result<(), ConfigError> {
    if mode & OTHERS == 0 {
        return Ok(());
    }
    let mode = mode & 0o777;
    let what = format!(
        "it holds a secret and its mode {mode:03o} lets everybody on this machine at it\n  \
         to fix it: chmod o= {}",
        path.display()
    );
    Err(ConfigError::File { path: path.to_owned(), what })
}

/// The configuration in a file.
pub(super) fn read(path: &Path) -> Result<Loaded, ConfigError> {
    let (text, mode) = text(path)?;
    let loaded = parse(path, &text)?;
    let Config { database, bus, notifications, .. } = &loaded.config;
    let mut secrets = bus.urls.iter().chain(&database.url).chain(&notifications.url);
    if secrets.any(|secret| holds_password(secret.reveal())) {
        private(path, mode)?;
    }
    Ok(loaded)
}

/// The configuration in a text that stands in `path`.
pub(super) fn parse(path: &Path, text: &str) -> Result<Loaded, ConfigError> {
    let mistake =
        |error: toml::de::Error| ConfigError::Mistake(Box::new(found(path, text, &error)));
    let config = toml::from_str::<Config>(text).map_err(mistake)?;
    let said = toml::from_str(text).map_err(mistake)?;
    let origins = origins(path, text).map_err(mistake)?;
    Ok(Loaded { config, file: Some(path.to_owned()), said, origins })
}

/// The line of each key.
fn origins(path: &Path, text: &str) -> Result<BTreeMap<String, Origin>, toml::de::Error> {
    let mut origins = BTreeMap::new();
    let mut note = |key: String, at: usize| {
        origins.insert(key, Origin::Line(path.to_owned(), position(text, at).0));
    };
    for (name, value) in DeTable::parse(text)?.get_ref() {
        match value.get_ref().as_table() {
            Some(table) => {
                for key in table.keys() {
                    let path = format!("{}.{}", name.get_ref(), key.get_ref());
                    note(path, key.span().start);
                }
            }
            None => note(name.get_ref().to_string(), name.span().start),
        }
    }
    Ok(origins)
}

/// Line and column in characters of a byte, both from 1.
fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at.min(text.len())).unwrap_or(text);
    let line = before.rsplit('\n').next().unwrap_or_default();
    (before.matches('\n').count() + 1, line.chars().count() + 1)
}

/// What a parser stumbled over.
fn found(path: &Path, text: &str, error: &toml::de::Error) -> Mistake {
    let span = error.span().unwrap_or(0..0);
    let (line, column) = position(text, span.start);
    let whole = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    let secret = is_secret(text, line);
    let token = text.get(span).unwrap_or_default();
    let (mut what, mut fix) = (
        without_secret(error.message(), secret),
        "compare it with the example that `reprieved config example` prints".to_owned(),
    );
    if error.message().starts_with("unknown field") {
        what = format!("there is no key or table `{token}` here");
        if let Some(known) = meant(text, line, token) {
            fix = format!("did you mean `{known}`? `reprieved config example` has all of them");
        }
    }
    let text = if secret { hidden(whole) } else { whole.to_owned() };
    Mistake { path: path.to_owned(), line, column, what, text, fix }
}

/// Whether the value in this line may hold a password: one of a key that may, or anything that looks
/// like an address.
fn is_secret(text: &str, line: usize) -> bool {
    let lines: Vec<&str> = text.lines().take(line).collect();
    let last = lines.last().copied().unwrap_or_default();
    if last.contains("://") || last.contains('@') {
        return true;
    }
    // A list goes on over lines.
    let named = |line: &&&str| line.contains('=');
    let name = lines.iter().rev().find(named).and_then(|line| line.split('=').next());
    let names = KEYS.iter().filter(|key| key.is_secret()).map(|key| key.place().1);
    name.is_some_and(|name| names.into_iter().any(|secret| secret == name.trim()))
}

/// A line up to its first quotation mark or equals sign.
fn hidden(line: &str) -> String {
    let end = line.find(['"', '\'', '=']).unwrap_or(0);
    format!("{}…", line.get(..end).unwrap_or_default())
}

/// The key or table that was probably meant in this line.
fn meant(text: &str, line: usize, wrong: &str) -> Option<&'static str> {
    let is_header = |line: &&str| line.trim_start().starts_with('[');
    let mut before = text.lines().take(line).collect::<Vec<_>>().into_iter().rev().peekable();
    let in_header = before.peek().is_some_and(is_header);
    let header = before.find(is_header).unwrap_or_default();
    let table = header.trim().trim_start_matches('[').split(']').next().unwrap_or_default().trim();
    let tables = KEYS.iter().map(|key| key.place().0);
    if in_header {
        return keys::meant(wrong, tables);
    }
    keys::meant(
        wrong,
        KEYS.iter().map(|key| key.place()).filter(|(of, _)| *of == table).map(|(_, name)| name),
    )
}
