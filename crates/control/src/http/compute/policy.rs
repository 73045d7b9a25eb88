//! Rules by name, as the handlers use them: `call.server(&id, policy::PAUSE)`.
//!
//! Names and defaults are in `reprieve_core::policy::rules`; what is asked about them goes through
//! [`Call`](crate::app::Call), so that an operator's policy file counts everywhere.

pub use reprieve_core::policy::rules::*;
