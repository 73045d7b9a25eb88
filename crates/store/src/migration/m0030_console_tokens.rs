//! Tokens with which somebody may look at a server's console for a while.

use super::Part::All;
use super::Step;

const STATEMENTS: &[&str] = &[
    "CREATE TABLE console_tokens (
        hash TEXT(128) NOT NULL PRIMARY KEY,
        instance_id TEXT(36) NOT NULL,
        kind TEXT NOT NULL,
        host TEXT NOT NULL,
        port BIGINT NOT NULL,
        tls_port BIGINT,
        access_path TEXT,
        expires_at BIGINT NOT NULL)",
    "CREATE INDEX ix_console_tokens_instance ON console_tokens (instance_id, expires_at)",
    "CREATE INDEX ix_console_tokens_expired ON console_tokens (expires_at)",
];

/// The step.
pub(super) const STEP: Step = Step::new("m0030_console_tokens", &[All(STATEMENTS)]);
