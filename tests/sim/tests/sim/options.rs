//! Arguments. Those of other test programs are ignored, because cargo gives all of them the same.

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// One seed in this process.
    Single(u64),
    /// The seeds that are always run.
    Fixed,
    /// Many seeds.
    Range {
        /// The first.
        from: u64,
        /// How many.
        seeds: u64,
    },
}

/// What to do, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// What.
    pub task: Task,
    /// Operations of each seed, at least.
    pub operations: u64,
    /// Tell the story while it happens.
    pub aloud: bool,
}

/// Operations of each seed unless something else is said.
pub const OPERATIONS: u64 = 200;

impl Options {
    /// Reads `--seeds N`, `--from S`, `--operations K`, `--one S` and `--story S`.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let (mut seeds, mut from, mut single) = (None, None, None);
        let (mut operations, mut aloud) = (OPERATIONS, false);
        while let Some(argument) = arguments.next() {
            let mut number = || {
                let value = arguments.next().unwrap_or_default();
                value.parse().map_err(|_| format!("{argument} takes a number, not '{value}'"))
            };
            match argument.as_str() {
                "--seeds" => seeds = Some(number()?),
                "--from" => from = Some(number()?),
                "--operations" => operations = number()?,
                "--one" => single = Some(number()?),
                "--story" => (single, aloud) = (Some(number()?), true),
                _ => {}
            }
        }
        let task = match (single, seeds, from) {
            (Some(seed), _, _) => Task::Single(seed),
            (None, None, None) => Task::Fixed,
            (None, seeds, from) => {
                Task::Range { from: from.unwrap_or(1), seeds: seeds.unwrap_or(1) }
            }
        };
        Ok(Self { task, operations, aloud })
    }
}
