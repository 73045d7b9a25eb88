//! Merges the lines of several logs by time, in bounded memory.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read as _};
use std::path::PathBuf;
use std::vec::IntoIter;

use super::TraceError;
use super::line::{self, Entry};

/// Entries that are held back to be sorted.
const WINDOW: usize = 4096;

/// A longer line is cut: no line of ours is near that.
const MAX_LINE: u64 = 64 << 10;

/// The log of one role: its files from the oldest to the newest.
pub struct Source {
    role: &'static str,
    id: String,
    files: IntoIter<(PathBuf, BufReader<File>)>,
    current: Option<(PathBuf, BufReader<File>)>,
    previous: i64,
}

impl Source {
    /// Lines of `files` that contain `id`.
    pub fn new(role: &'static str, files: Vec<(PathBuf, BufReader<File>)>, id: &str) -> Self {
        let mut files = files.into_iter();
        let current = files.next();
        Self { role, id: id.to_owned(), files, current, previous: 0 }
    }

    fn next(&mut self) -> Result<Option<Entry>, TraceError> {
        while let Some((path, reader)) = &mut self.current {
            let line = read_line(reader)
                .map_err(|source| TraceError::Unreadable { path: path.clone(), source })?;
            match line {
                None => self.current = self.files.next(),
                Some(bytes) => {
                    let text = String::from_utf8_lossy(&bytes);
                    if contains_id(&text, &self.id) {
                        let entry =
                            line::parse(self.role, text.trim_end(), (&self.id, self.previous));
                        self.previous = entry.micros;
                        return Ok(Some(entry));
                    }
                }
            }
        }
        Ok(None)
    }
}

/// Reads a line, of which only the beginning is kept when it is too long.
fn read_line(reader: &mut BufReader<File>) -> std::io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    if reader.take(MAX_LINE).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.last() != Some(&b'\n') && line.len() as u64 == MAX_LINE {
        reader.skip_until(b'\n')?;
    }
    Ok(Some(line))
}

/// Whether the id stands there by itself, not as the beginning or end of a longer one.
fn contains_id(text: &str, id: &str) -> bool {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '-';
    text.match_indices(id).any(|(at, found)| {
        let before = text.get(..at).and_then(|head| head.chars().next_back());
        let after = text.get(at + found.len()..).and_then(|tail| tail.chars().next());
        !before.is_some_and(part) && !after.is_some_and(part)
    })
}

/// Order of equal times: the way of a request through the roles, then the order in the file.
type Key = (i64, usize, u64);

/// An entry in the window; compares by its key alone.
struct Waiting {
    key: Key,
    entry: Entry,
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}
impl Eq for Waiting {}
impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key.cmp(&other.key)
    }
}

/// The merged stream.
pub struct Merge {
    /// With the next entry of each.
    sources: Vec<(Source, Option<Entry>)>,
    started: bool,
    read: u64,
    window: BinaryHeap<Reverse<Waiting>>,
}

impl Merge {
    /// Of these logs.
    pub fn new(sources: Vec<Source>) -> Self {
        let sources = sources.into_iter().map(|source| (source, None)).collect();
        Self { sources, started: false, read: 0, window: BinaryHeap::new() }
    }

    /// The next entry in the order of time.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn next(&mut self) -> Result<Option<Entry>, TraceError> {
        if !self.started {
            self.started = true;
            for (source, head) in &mut self.sources {
                *head = source.next()?;
            }
        }
        while self.window.len() < WINDOW {
            let heads = self.sources.iter().enumerate();
            let times = heads.filter_map(|(i, (_, head))| Some((head.as_ref()?.micros, i)));
            let Some((_, earliest)) = times.min() else { break };
            let Some((source, head)) = self.sources.get_mut(earliest) else { break };
            if let Some(entry) = std::mem::replace(head, source.next()?) {
                let key = (entry.micros, earliest, self.read);
                self.read += 1;
                self.window.push(Reverse(Waiting { key, entry }));
            }
        }
        Ok(self.window.pop().map(|Reverse(waiting)| waiting.entry))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const ID: &str = "req-5b6c791d-5709-4f36-8fbe-c3e02869e35d";

    fn source(role: &'static str, dir: &std::path::Path, lines: &[String]) -> Source {
        let path = dir.join(role);
        File::create(&path).unwrap().write_all(lines.concat().as_bytes()).unwrap();
        Source::new(role, vec![(path.clone(), BufReader::new(File::open(&path).unwrap()))], ID)
    }

    fn at(micros: u32, text: &str) -> String {
        format!("2026-08-21T10:15:40.{micros:06}Z  INFO r: {text} request_id={ID}\n")
    }

    #[test]
    fn merges_by_time_and_sorts_what_overtook() {
        let dir = tempfile::tempdir().unwrap();
        let api =
            source("api", dir.path(), &[at(10, "a"), at(40, "d"), at(30, "c"), at(50, "same")]);
        let compute =
            source("compute", dir.path(), &[at(20, "b"), at(50, "then"), "noise\n".into()]);
        let mut merge = Merge::new(vec![api, compute]);
        let mut texts = Vec::new();
        while let Some(entry) = merge.next().unwrap() {
            texts.push(entry.text);
        }
        assert_eq!(texts, ["r: a", "r: b", "r: c", "r: d", "r: same", "r: then"]);
    }

    #[test]
    fn endless_lines_and_more_lines_than_the_window() {
        let dir = tempfile::tempdir().unwrap();
        let mut lines = vec![format!("{}\n", "x".repeat(300_000)), at(1, &"y".repeat(100_000))];
        lines.extend((0..WINDOW as u32 + 10).map(|n| at(n + 2, "z")));
        let mut merge = Merge::new(vec![source("api", dir.path(), &lines)]);
        let (mut count, mut last) = (0, 0);
        while let Some(entry) = merge.next().unwrap() {
            assert!(entry.micros >= last && entry.raw.len() <= MAX_LINE as usize);
            (count, last) = (count + 1, entry.micros);
        }
        // The cut line lost its id, as that came after the cut.
        assert_eq!(count, WINDOW + 10);
    }

    #[test]
    fn a_longer_id_is_another_id() {
        assert!(contains_id("x request_id=req-12345678 y", "req-12345678"));
        assert!(contains_id("\"req-12345678\"", "req-12345678"));
        assert!(!contains_id("req-12345678-9", "req-12345678"));
        assert!(!contains_id("xreq-12345678", "req-12345678"));
    }
}
