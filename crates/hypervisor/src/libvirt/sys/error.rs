//! Errors of libvirt as values.

use std::ffi::CStr;

use virt_sys as sys;

/// What kind of error it is, as far as Reprieve treats kinds differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// There is no such domain.
    NoDomain,
    /// The domain has no metadata of ours.
    NoMetadata,
    /// The call is impossible in the domain's state.
    InvalidState,
    /// The connection could not be made, or broke.
    Connection,
    /// This driver does not have the call.
    Unsupported,
    /// The guest has no agent, or it does not answer.
    NoAgent,
    /// Anything else.
    Other,
}

/// An error of one call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{call}: {message}")]
pub struct Error {
    /// Name of the C function.
    pub call: &'static str,
    /// Kind.
    pub kind: Kind,
    /// libvirt's words.
    pub message: String,
}

impl Error {
    /// The error of the last failed call of this thread.
    pub(super) fn last(call: &'static str) -> Self {
        // SAFETY: returns null or a pointer into thread-local storage that stays valid until this
        // thread calls libvirt again, which it does not before the reference ends below.
        let error = unsafe { sys::virGetLastError().as_ref() };
        let Some(error) = error else {
            return Self::own(call, "failed without an error");
        };
        let message = if error.message.is_null() {
            "failed without a message".to_owned()
        } else {
            // SAFETY: not null, and a NUL-terminated string that belongs to the error above.
            unsafe { CStr::from_ptr(error.message) }.to_string_lossy().into_owned()
        };
        Self { call, kind: kind(error.code, error.domain), message }
    }

    /// An error of ours, before libvirt was called.
    pub(super) fn own(call: &'static str, message: &str) -> Self {
        Self { call, kind: Kind::Other, message: message.to_owned() }
    }
}

fn kind(code: i32, domain: i32) -> Kind {
    let Ok(code) = u32::try_from(code) else { return Kind::Other };
    match code {
        sys::VIR_ERR_NO_DOMAIN => Kind::NoDomain,
        sys::VIR_ERR_NO_DOMAIN_METADATA => Kind::NoMetadata,
        sys::VIR_ERR_OPERATION_INVALID => Kind::InvalidState,
        sys::VIR_ERR_NO_CONNECT
        | sys::VIR_ERR_INVALID_CONN
        | sys::VIR_ERR_RPC
        | sys::VIR_ERR_AUTH_FAILED
        | sys::VIR_ERR_AUTH_CANCELLED
        | sys::VIR_ERR_AUTH_UNAVAILABLE => Kind::Connection,
        // The client's side of the protocol says "internal error: client socket is closed" and
        // "Cannot write data: Broken pipe" with these codes.
        sys::VIR_ERR_INTERNAL_ERROR | sys::VIR_ERR_SYSTEM_ERROR
            if u32::try_from(domain)
                .is_ok_and(|domain| matches!(domain, sys::VIR_FROM_RPC | sys::VIR_FROM_REMOTE)) =>
        {
            Kind::Connection
        }
        sys::VIR_ERR_NO_SUPPORT
        | sys::VIR_ERR_OPERATION_UNSUPPORTED
        | sys::VIR_ERR_ARGUMENT_UNSUPPORTED => Kind::Unsupported,
        sys::VIR_ERR_AGENT_UNRESPONSIVE | sys::VIR_ERR_AGENT_UNSYNCED => Kind::NoAgent,
        _ => Kind::Other,
    }
}
