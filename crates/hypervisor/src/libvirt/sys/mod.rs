//! The only unsafe code of Reprieve: a thin safe wrapper over the C calls of libvirt that we use.
//!
//! Invariants:
//! - A [`Connection`] or [`Domain`] value owns exactly one reference of libvirt's object and gives
//!   it back when dropped. Nothing here panics.
//! - Every error is copied out of libvirt's thread-local storage by the thread that made the call,
//!   before it makes another one. libvirt prints nothing to stderr.
//! - Callbacks of libvirt only pass plain data on; they never call libvirt and never block.
//! - The event loop is registered before the first connection is opened ([`events::run`]), because
//!   libvirt takes it over for good at that moment.
//!
//! Calls block as long as libvirt likes. Deadlines are the business of the caller.
#![allow(unsafe_code)]

mod connection;
mod domain;
mod error;
pub mod events;
mod stats;

pub use connection::{Connection, NodeInfo};
pub use domain::{Domain, JobInfo, Metadata, RawState};
pub use error::{Error, Kind};
pub use stats::Statistic;

use std::ffi::{CStr, CString, c_char};

/// A C string from Rust. libvirt's texts have no NUL; one inside is an error, not cut.
fn c_string(call: &'static str, text: &str) -> Result<CString, Error> {
    CString::new(text).map_err(|_| Error::own(call, "the argument contains a NUL character"))
}

/// Copies a string that libvirt allocated for us, and frees it.
fn take_string(call: &'static str, text: *mut c_char) -> Result<String, Error> {
    if text.is_null() {
        return Err(Error::last(call));
    }
    // SAFETY: not null, NUL-terminated and ours alone, as libvirt documents for each call that
    // `take_string` is used with.
    let copy = unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned();
    // SAFETY: libvirt allocated it with malloc and asks the caller to free it; it is not used again.
    unsafe { libc::free(text.cast()) };
    Ok(copy)
}

/// `Ok` unless the call returned a negative number.
fn check(call: &'static str, result: i32) -> Result<i32, Error> {
    if result < 0 { Err(Error::last(call)) } else { Ok(result) }
}

#[cfg(test)]
mod tests;
