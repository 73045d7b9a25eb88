//! What happened, line by line, with the simulated time and without ids. Two runs of one seed tell the
//! same story.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hasher as _};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use crate::clock::Now;

/// Length of an id with its hyphens.
const ID: usize = 36;
/// Digits of the shortest beginning of a checksum that is told.
const SHORT_CHECKSUM: usize = 12;

/// The story so far. Clones are the same story.
#[derive(Clone)]
pub struct Story {
    now: Now,
    told: Arc<Mutex<Told>>,
    aloud: bool,
    /// Where everything is, which is not the same in every run.
    root: Arc<str>,
}

#[derive(Default)]
struct Told {
    lines: Vec<String>,
    digest: DefaultHasher,
    names: BTreeMap<Uuid, String>,
    counts: BTreeMap<&'static str, u64>,
    broken: Vec<String>,
}

impl Story {
    /// Nothing has happened. `aloud`: every line goes to stderr at once.
    pub fn new(now: Now, aloud: bool, root: &Path) -> Self {
        Self { now, told: Arc::default(), aloud, root: root.to_string_lossy().into() }
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something happened.
    pub fn tell(&self, line: impl std::fmt::Display) {
        let mut text = String::new();
        let millis = self.now.since_begin().as_millis();
        // Writing to a String cannot fail.
        let _ = write!(text, "{:>6}.{:03} {line}", millis / 1000, millis % 1000);
        let text = self.without_ids(&text.replace(&*self.root, "ROOT"));
        let mut told = self.told();
        told.digest.write(text.as_bytes());
        if self.aloud {
            eprintln!("{text}");
        }
        told.lines.push(text);
    }

    /// It is counted under this name, too.
    pub fn count(&self, what: &'static str) {
        *self.told().counts.entry(what).or_default() += 1;
    }

    /// A rule was broken. Once is enough to fail the run.
    pub fn broken(&self, rule: impl std::fmt::Display) {
        self.tell(format_args!("BROKEN: {rule}"));
        self.told().broken.push(rule.to_string());
    }

    /// A short name that is the same in every run of a seed.
    pub fn name(&self, kind: &str, id: Uuid) -> String {
        let mut told = self.told();
        let next = told.names.len() + 1;
        told.names.entry(id).or_insert_with(|| format!("{kind}{next}")).clone()
    }

    /// Puts a name in place of each id, and a word in place of each checksum: what is summed up may hold
    /// the name of a directory.
    fn without_ids(&self, text: &str) -> String {
        let mut told = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(character) = rest.chars().next() {
            let id = rest.get(..ID).filter(|part| part.contains('-')).map(Uuid::try_parse);
            if let Some(Ok(id)) = id {
                told.push_str(&self.name("id", id));
                rest = rest.get(ID..).unwrap_or_default();
            } else if let Some(digits) = checksum(rest) {
                told.push_str("CHECKSUM");
                rest = rest.get(digits..).unwrap_or_default();
            } else {
                told.push(character);
                rest = rest.get(character.len_utf8()..).unwrap_or_default();
            }
        }
        told
    }

    /// How long it has been.
    pub fn now(&self) -> std::time::Duration {
        self.now.since_begin()
    }

    /// Everything that was counted.
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.told().counts.clone()
    }

    /// Rules that were broken.
    pub fn rules_broken(&self) -> Vec<String> {
        self.told().broken.clone()
    }

    /// The last lines.
    pub fn tail(&self, lines: usize) -> Vec<String> {
        let told = self.told();
        let skip = told.lines.len().saturating_sub(lines);
        told.lines.iter().skip(skip).cloned().collect()
    }

    /// A number that two stories share only if they are the same.
    pub fn digest(&self) -> u64 {
        self.told().digest.finish()
    }
}

/// How long the checksum is that a text begins with, whole or its beginning.
fn checksum(text: &str) -> Option<usize> {
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let digits = text.bytes().take_while(is_digit).count();
    let is_number = text.bytes().take(digits).all(|byte| byte.is_ascii_digit());
    (digits >= SHORT_CHECKSUM && !is_number).then_some(digits)
}
