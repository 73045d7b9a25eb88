//! The words of the log, so that it tells an unpause from a resume.

use reprieve_core::OperationKind;

/// How the log names an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Words {
    /// At its start.
    pub doing: &'static str,
    /// At its end.
    pub done: &'static str,
}

/// The words for `kind`.
#[must_use]
pub const fn words(kind: OperationKind) -> Words {
    let (doing, done) = match kind {
        OperationKind::Create => ("Creating", "created"),
        OperationKind::Delete => ("Deleting", "deleted"),
        OperationKind::Pause => ("Pausing", "paused: CPUs stopped, memory stays in RAM"),
        OperationKind::Unpause => ("Unpausing", "unpaused: CPUs go on, memory never left RAM"),
        OperationKind::Suspend => ("Suspending", "suspended: memory is on disk, no guest process"),
        OperationKind::Resume => ("Resuming", "resumed: memory came back from disk"),
        OperationKind::Rescue => ("Rescuing", "rescued: booted from the rescue disk"),
        OperationKind::Unrescue => ("Unrescuing", "unrescued: booted from its own disk"),
        OperationKind::Stop => ("Powering off", "powered off"),
        OperationKind::Start => ("Powering on", "powered on"),
        OperationKind::RebootSoft => ("Rebooting", "rebooted"),
        OperationKind::RebootHard => ("Rebooting hard", "rebooted hard"),
    };
    Words { doing, done }
}
