//! What went wrong with a server, in the form that the API shows as `fault`.

use serde::{Deserialize, Serialize};

/// A failure as the owner of the server may see it, plus details for administrators.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// HTTP-like class: 400 when the request was at fault, 500 when the service was
    /// (spec/states.md section 2.4).
    pub code: u16,
    /// At most 255 characters, safe to show to the owner.
    pub message: String,
    /// The whole chain of causes; shown to administrators, or to all when `code` is not 500.
    pub details: String,
}

impl Fault {
    /// Longest message that Nova's fault table holds.
    pub const MAX_MESSAGE: usize = 255;

    /// A fault with its message cut to [`Self::MAX_MESSAGE`] characters.
    #[must_use]
    pub fn new(code: u16, message: impl Into<String>, details: impl Into<String>) -> Self {
        let message: String = message.into();
        let message = message.chars().take(Self::MAX_MESSAGE).collect();
        Self { code, message, details: details.into() }
    }
}
