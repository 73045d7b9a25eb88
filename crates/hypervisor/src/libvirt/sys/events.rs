//! libvirt's event loop and the callbacks that it runs.

use std::ffi::{c_int, c_uint, c_void};
use std::ptr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use uuid::Uuid;
use virt_sys as sys;

use super::Error;

/// What libvirt tells us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// Something in the life of the domain with this UUID.
    Lifecycle(Uuid),
    /// The connection is gone.
    Closed(CloseReason),
}

/// Why a connection is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// I/O error.
    Error,
    /// libvirtd closed it: it ended.
    EndOfFile,
    /// libvirtd did not answer keepalive messages.
    KeepAlive,
    /// We closed it.
    Client,
}

impl CloseReason {
    /// In words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "i/o error on the connection",
            Self::EndOfFile => "libvirtd closed the connection",
            Self::KeepAlive => "libvirtd does not answer keepalive messages",
            Self::Client => "the connection was closed here",
        }
    }

    const fn of(reason: c_int) -> Self {
        #[allow(clippy::cast_sign_loss)]
        match reason as sys::virConnectCloseReason {
            sys::VIR_CONNECT_CLOSE_REASON_EOF => Self::EndOfFile,
            sys::VIR_CONNECT_CLOSE_REASON_KEEPALIVE => Self::KeepAlive,
            sys::VIR_CONNECT_CLOSE_REASON_CLIENT => Self::Client,
            _ => Self::Error,
        }
    }
}

/// Where notices go. Called on libvirt's event thread: has to return at once and must not panic.
pub type Sink = Arc<dyn Fn(Notice) + Send + Sync>;

/// How long the loop rests after libvirt could not wait for events, so that it does not spin.
const REST_AFTER_ERROR: Duration = Duration::from_millis(100);

/// Starts the event loop of this process, once. It runs until the process ends, because libvirt
/// cannot give the loop back.
///
/// # Errors
/// When libvirt cannot be initialised or the thread cannot be made; the same error again and again.
pub fn run() -> Result<(), Error> {
    static STARTED: OnceLock<Result<(), Error>> = OnceLock::new();
    STARTED.get_or_init(start).clone()
}

fn start() -> Result<(), Error> {
    // SAFETY: no arguments; may be called at any time, from any thread.
    super::check("virInitialize", unsafe { sys::virInitialize() })?;
    // SAFETY: the handler is a static function that ignores its arguments.
    unsafe { sys::virSetErrorFunc(ptr::null_mut(), Some(silent)) };
    // SAFETY: called once (guarded by `run`) and before the first connection is opened, as libvirt
    // demands, because `Connection::open` calls `run` first.
    super::check("virEventRegisterDefaultImpl", unsafe { sys::virEventRegisterDefaultImpl() })?;
    std::thread::Builder::new()
        .name("libvirt-events".to_owned())
        .spawn(turn)
        .map(drop)
        .map_err(|error| Error::own("virEventRunDefaultImpl", &error.to_string()))
}

fn turn() {
    loop {
        // SAFETY: the default implementation is registered, and only this thread runs it.
        if unsafe { sys::virEventRunDefaultImpl() } < 0 {
            tracing::warn!(error = %Error::last("virEventRunDefaultImpl"), "libvirt event loop");
            std::thread::park_timeout(REST_AFTER_ERROR);
        }
    }
}

/// Errors are read with `virGetLastError`; without a handler libvirt prints them too.
unsafe extern "C" fn silent(_data: *mut c_void, _error: sys::virErrorPtr) {}

/// Gives a sink to libvirt as the `opaque` pointer of a callback.
pub(super) fn into_opaque(sink: &Sink) -> *mut c_void {
    Box::into_raw(Box::new(Arc::clone(sink))).cast()
}

/// libvirt's `freecb`: takes back what [`into_opaque`] gave.
pub(super) unsafe extern "C" fn free_opaque(opaque: *mut c_void) {
    if !opaque.is_null() {
        // SAFETY: made by `into_opaque`, and libvirt calls this once, after the last callback.
        drop(unsafe { Box::from_raw(opaque.cast::<Sink>()) });
    }
}

/// Takes back a sink that libvirt refused: it does not call `freecb` then.
pub(super) fn refused(opaque: *mut c_void) {
    // SAFETY: the registration failed, so libvirt holds no copy of the pointer.
    unsafe { free_opaque(opaque) };
}

/// Callback for `VIR_DOMAIN_EVENT_ID_LIFECYCLE`.
pub(super) unsafe extern "C" fn on_lifecycle(
    _connection: sys::virConnectPtr,
    domain: sys::virDomainPtr,
    _event: c_int,
    _detail: c_int,
    opaque: *mut c_void,
) -> c_int {
    let mut uuid = [0_u8; 16];
    // SAFETY: libvirt keeps the domain alive during the callback; the buffer has the 16 bytes of
    // `VIR_UUID_BUFLEN`. The call reads the object only and does no RPC.
    if unsafe { sys::virDomainGetUUID(domain, uuid.as_mut_ptr()) } == 0 {
        notify(opaque, Notice::Lifecycle(Uuid::from_bytes(uuid)));
    }
    0
}

/// Callback for the end of a connection.
pub(super) unsafe extern "C" fn on_close(
    _connection: sys::virConnectPtr,
    reason: c_int,
    opaque: *mut c_void,
) {
    notify(opaque, Notice::Closed(CloseReason::of(reason)));
}

fn notify(opaque: *mut c_void, notice: Notice) {
    // SAFETY: made by `into_opaque`; libvirt frees it only after the last callback has returned.
    if let Some(sink) = unsafe { opaque.cast::<Sink>().as_ref() } {
        sink(notice);
    }
}

/// The type that `virConnectDomainEventRegisterAny` takes for callbacks of every kind.
pub(super) fn generic_lifecycle() -> sys::virConnectDomainEventGenericCallback {
    type Lifecycle = unsafe extern "C" fn(
        sys::virConnectPtr,
        sys::virDomainPtr,
        c_int,
        c_int,
        *mut c_void,
    ) -> c_int;
    type Generic = unsafe extern "C" fn(sys::virConnectPtr, sys::virDomainPtr, *mut c_void);
    // SAFETY: libvirt casts the pointer back to the type that belongs to the event id before it
    // calls it; this is what its macro VIR_DOMAIN_EVENT_CALLBACK does in C.
    let generic = unsafe { std::mem::transmute::<Lifecycle, Generic>(on_lifecycle) };
    Some(generic)
}

/// The event id that [`generic_lifecycle`] belongs to.
pub(super) const LIFECYCLE: c_uint = sys::VIR_DOMAIN_EVENT_ID_LIFECYCLE;
