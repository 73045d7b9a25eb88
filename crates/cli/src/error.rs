//! How a command fails: the text for a person and the exit status for a script.

use std::path::PathBuf;

use crate::client::ClientError;
use crate::config::ConfigError;
use crate::trace::TraceError;

/// Exit statuses, as documented in `reprieve --help`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// Refused or failed.
    Failed = 1,
    /// Wrong usage or configuration.
    Usage = 2,
    /// Not found.
    NotFound = 3,
    /// Authentication failed.
    Auth = 4,
    /// The service cannot be reached.
    Unreachable = 5,
    /// Stopped by Ctrl-C, as shells number it.
    Interrupted = 130,
}

/// Why a command did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A service, or the way to it.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Logs.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// Wrong usage that the grammar cannot see.
    #[error("{0}")]
    Usage(String),
    /// A refusal, with what is possible instead.
    #[error("{source}")]
    Refused {
        /// The refusal.
        source: ClientError,
        /// What is possible.
        advice: String,
    },
    /// No such thing.
    #[error("there is no {what} '{name}'")]
    NotFound {
        /// `server`, `image` …
        what: &'static str,
        /// What was given.
        name: String,
    },
    /// Several such things.
    #[error("several {what}s are named '{name}'; use an id: {}", ids.join(", "))]
    Ambiguous {
        /// `server`, `image` …
        what: &'static str,
        /// What was given.
        name: String,
        /// All that fit.
        ids: Vec<String>,
    },
    /// The operation was accepted and went wrong, or was not over in time.
    #[error("{0}")]
    Operation(String),
    /// A file of this machine.
    #[error("cannot {action} {}", path.display())]
    File {
        /// `read`, `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// stdout.
    #[error("cannot write the result")]
    Output(#[from] std::io::Error),
    /// Several things were asked for, some went wrong and were reported already.
    #[error("{failed} of {all} failed")]
    Several {
        /// How many went wrong.
        failed: usize,
        /// Of how many.
        all: usize,
        /// Status of the first.
        exit: Exit,
    },
    /// Ctrl-C.
    #[error("interrupted; what the service has begun goes on")]
    Interrupted,
}

impl Failure {
    /// Whether the reader of our output went away, which is no failure of ours.
    pub fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == std::io::ErrorKind::BrokenPipe)
    }

    /// The status for the caller.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Config(_) | Self::Usage(_) | Self::Ambiguous { .. } => Exit::Usage,
            Self::Client(error) | Self::Refused { source: error, .. } => client_exit(error),
            Self::NotFound { .. } => Exit::NotFound,
            Self::Trace(error) => error.exit(),
            Self::Operation(_) | Self::File { .. } | Self::Output(_) => Exit::Failed,
            Self::Several { exit, .. } => *exit,
            Self::Interrupted => Exit::Interrupted,
        }
    }

    /// What to do about it, when there is something to say.
    pub fn advice(&self) -> Option<String> {
        match self {
            Self::Refused { advice, .. } => Some(advice.clone()),
            Self::Client(error) => client_advice(error),
            Self::Config(_)
            | Self::Trace(_)
            | Self::Usage(_)
            | Self::NotFound { .. }
            | Self::Ambiguous { .. }
            | Self::Operation(_)
            | Self::File { .. }
            | Self::Output(_)
            | Self::Several { .. }
            | Self::Interrupted => None,
        }
    }

    /// The text with all its causes, safe to print on a terminal.
    pub fn text(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            let more = error.to_string();
            if !text.ends_with(&more) {
                text = format!("{text}: {more}");
            }
            cause = error.source();
        }
        crate::output::printable(&text)
    }
}

fn client_exit(error: &ClientError) -> Exit {
    match error {
        ClientError::Unreachable { .. }
        | ClientError::TimedOut { .. }
        | ClientError::Stalled { .. }
        | ClientError::Broken { .. }
        | ClientError::NoService { .. } => Exit::Unreachable,
        ClientError::Unauthorized { .. } => Exit::Auth,
        ClientError::Rejected(rejection) => match rejection.status {
            401 => Exit::Auth,
            404 => Exit::NotFound,
            _ => Exit::Failed,
        },
        ClientError::BadAnswer { .. }
        | ClientError::Local { .. }
        | ClientError::File { .. }
        | ClientError::Damaged { .. } => Exit::Failed,
    }
}

fn client_advice(error: &ClientError) -> Option<String> {
    match error {
        ClientError::Unreachable { reason, .. } if reason.contains("certificate") => Some(
            "if the service has a certificate of its own, give the file that says so: --os-cacert \
             (or cacert in clouds.yaml)"
                .to_owned(),
        ),
        ClientError::Unreachable { url, .. } => {
            Some(format!("is reprieved running at {url}? Or is it the wrong cloud (--os-cloud)?"))
        }
        ClientError::Unauthorized { .. } => Some(
            "check user, password, project and their domains in that place; a reprieved writes \
             its own into clouds.yaml of its data directory (root reads /var/lib/reprieve)"
                .to_owned(),
        ),
        ClientError::Rejected(rejection) => match (rejection.status, &rejection.request_id) {
            (403, _) if rejection.message.starts_with("Quota exceeded") => Some(
                "delete what is not needed any more, or ask an administrator for a larger quota"
                    .to_owned(),
            ),
            (403, _) => Some("your roles in this project do not allow it".to_owned()),
            (500.., Some(id)) => Some(format!("'reprieve trace {id}' shows what happened")),
            _ => None,
        },
        ClientError::TimedOut { .. }
        | ClientError::Stalled { .. }
        | ClientError::Broken { .. }
        | ClientError::BadAnswer { .. }
        | ClientError::NoService { .. }
        | ClientError::Local { .. }
        | ClientError::File { .. }
        | ClientError::Damaged { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{Rejection, Service};

    #[test]
    fn statuses_of_services_become_exit_statuses() {
        let exit = |status| {
            let rejection = Rejection::new(Service::Compute, status, b"");
            Failure::from(ClientError::Rejected(rejection)).exit()
        };
        for (status, expected) in [
            (400, Exit::Failed),
            (401, Exit::Auth),
            (403, Exit::Failed),
            (404, Exit::NotFound),
            (409, Exit::Failed),
            (500, Exit::Failed),
        ] {
            assert_eq!(exit(status), expected, "{status}");
        }
    }

    #[test]
    fn causes_are_part_of_the_text() {
        let failure = Failure::File {
            action: "read",
            path: "/x".into(),
            source: std::io::ErrorKind::PermissionDenied.into(),
        };
        assert_eq!(failure.text(), "cannot read /x: permission denied");
        assert_eq!(Failure::Usage("a\u{1b}[31mb".into()).text(), "a\\x1b[31mb");
    }
}
