//! What is wrong with a configuration: where, what, and what to do.

use std::fmt;
use std::path::PathBuf;

/// Who said something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A line of the file, from 1.
    Line(PathBuf, usize),
    /// A variable.
    Variable(&'static str),
    /// An option, or its variable.
    Option {
        /// Option.
        option: &'static str,
        /// Its variable.
        variable: &'static str,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Option { option, variable } => write!(f, "{option} ({variable})"),
        }
    }
}

/// One thing that is wrong with values that can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Who said the value; `None` when it is missing.
    pub origin: Option<Origin>,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub fix: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(origin) = &self.origin {
            write!(f, "{origin}: ")?;
        }
        write!(f, "{}\n  to fix it: {}", self.what, self.fix)
    }
}

/// A place in the file and what is wrong there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The file.
    pub path: PathBuf,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub what: String,
    /// The line, without what may be secret.
    pub text: String,
    /// What to do.
    pub fix: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, line, column, what, text, fix } = self;
        let mark = " ".repeat(column.saturating_sub(1));
        write!(f, "{}:{line}:{column}: {what}\n  | {text}\n  | {mark}^", path.display())?;
        write!(f, "\n  to fix it: {fix}")
    }
}

/// Why there is no configuration to start with.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file of it cannot be read.
    #[error("{} cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file of it is not what it has to be.
    #[error("{}: {what}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        what: String,
    },
    /// Something in the file.
    #[error("{0}")]
    Mistake(Box<Mistake>),
    /// A value from elsewhere.
    #[error("{origin}: {message}\n  to fix it: see {key} in `reprieved config example`")]
    Override {
        /// Who said it.
        origin: Origin,
        /// Key.
        key: &'static str,
        /// What is wrong.
        message: String,
    },
    /// What does not fit together.
    #[error("{}", list(.0))]
    Problems(Vec<Problem>),
}

fn list(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// A parser's message, which quotes what it met, without that if it may be secret.
pub(super) fn without_secret(message: &str, secret: bool) -> String {
    let message = message.trim();
    let quoted = message.find("string \"").zip(message.rfind("\","));
    match quoted {
        Some((from, to)) if secret && from < to => {
            let (before, after) = (message.get(..from), message.get(to + 1..));
            format!("{}a text{}", before.unwrap_or_default(), after.unwrap_or_default())
        }
        _ if secret && message.contains("://") => "it is not what it has to be".to_owned(),
        _ => message.to_owned(),
    }
}
