//! A connection to a hypervisor.

use std::ffi::{c_int, c_ulong};
use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};

use uuid::Uuid;
use virt_sys as sys;

use super::events::{self, Sink};
use super::{Domain, Error, c_string, check, take_string};

/// What `virNodeGetInfo` says of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeInfo {
    /// Memory in KiB.
    pub memory_kib: u64,
    /// Logical CPUs that are online.
    pub cpus: u32,
}

/// An open connection. Its calls may come from many threads at once.
#[derive(Debug)]
pub struct Connection {
    ptr: NonNull<sys::_virConnect>,
    /// Id of the registered lifecycle callback.
    lifecycle: Option<c_int>,
    /// Whether a close callback is registered.
    close: bool,
}

// SAFETY: libvirt documents virConnectPtr as usable from several threads at once (its objects are
// locked and counted inside), and the other fields are plain data.
unsafe impl Send for Connection {}
// SAFETY: as above.
unsafe impl Sync for Connection {}

impl Connection {
    /// Connects, starting the event loop of the process if needed. Never asks for credentials.
    ///
    /// # Errors
    /// libvirt's, for example when no libvirtd listens.
    pub fn open(uri: &str) -> Result<Self, Error> {
        const CALL: &str = "virConnectOpen";
        events::run()?;
        let uri = c_string(CALL, uri)?;
        // SAFETY: a valid C string that outlives the call.
        let ptr = unsafe { sys::virConnectOpen(uri.as_ptr()) };
        let ptr = NonNull::new(ptr).ok_or_else(|| Error::last(CALL))?;
        Ok(Self { ptr, lifecycle: None, close: false })
    }

    pub(super) const fn as_ptr(&self) -> sys::virConnectPtr {
        self.ptr.as_ptr()
    }

    /// Lets the event loop send keepalive messages each `interval` seconds; after `count` without
    /// an answer the connection is closed. `Ok(false)`: the other side has no keepalive.
    ///
    /// # Errors
    /// libvirt's.
    pub fn keep_alive(&self, interval: i32, count: u32) -> Result<bool, Error> {
        // SAFETY: an open connection.
        let result = unsafe { sys::virConnectSetKeepAlive(self.as_ptr(), interval, count) };
        check("virConnectSetKeepAlive", result).map(|result| result == 0)
    }

    /// Sends the lifecycle events of all domains to `sink`. Once per connection.
    ///
    /// # Errors
    /// libvirt's.
    pub fn watch_domains(&mut self, sink: &Sink) -> Result<(), Error> {
        let opaque = events::into_opaque(sink);
        // SAFETY: an open connection; a null domain means all; the callback has the type that the
        // event id asks for; `opaque` lives until libvirt calls `free_opaque`.
        let id = unsafe {
            sys::virConnectDomainEventRegisterAny(
                self.as_ptr(),
                ptr::null_mut(),
                events::LIFECYCLE as c_int,
                events::generic_lifecycle(),
                opaque,
                Some(events::free_opaque),
            )
        };
        match check("virConnectDomainEventRegisterAny", id) {
            Ok(id) => {
                self.lifecycle = Some(id);
                Ok(())
            }
            Err(error) => {
                events::refused(opaque);
                Err(error)
            }
        }
    }

    /// Sends the end of the connection to `sink`. Once per connection. Drivers without a daemon
    /// (`test:///default`) do not have it.
    ///
    /// # Errors
    /// libvirt's.
    pub fn watch_close(&mut self, sink: &Sink) -> Result<(), Error> {
        let opaque = events::into_opaque(sink);
        // SAFETY: an open connection; `opaque` lives until libvirt calls `free_opaque`.
        let result = unsafe {
            sys::virConnectRegisterCloseCallback(
                self.as_ptr(),
                Some(events::on_close),
                opaque,
                Some(events::free_opaque),
            )
        };
        match check("virConnectRegisterCloseCallback", result) {
            Ok(_) => {
                self.close = true;
                Ok(())
            }
            Err(error) => {
                events::refused(opaque);
                Err(error)
            }
        }
    }

    /// Whether the connection still works, as far as this side knows. Asks nobody.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        // SAFETY: an open connection.
        unsafe { sys::virConnectIsAlive(self.as_ptr()) == 1 }
    }

    /// Host name of the hypervisor's machine.
    ///
    /// # Errors
    /// libvirt's.
    pub fn hostname(&self) -> Result<String, Error> {
        // SAFETY: an open connection; the string is ours.
        let text = unsafe { sys::virConnectGetHostname(self.as_ptr()) };
        take_string("virConnectGetHostname", text)
    }

    /// Version of the hypervisor: 7.2.0 = 7002000.
    ///
    /// # Errors
    /// libvirt's.
    pub fn version(&self) -> Result<u64, Error> {
        let mut version: c_ulong = 0;
        // SAFETY: an open connection and a place for the answer.
        let result = unsafe { sys::virConnectGetVersion(self.as_ptr(), &raw mut version) };
        check("virConnectGetVersion", result).map(|_| version)
    }

    /// Version of the libvirt daemon: 9.0.0 = 9000000.
    ///
    /// # Errors
    /// libvirt's.
    pub fn daemon_version(&self) -> Result<u64, Error> {
        let mut version: c_ulong = 0;
        // SAFETY: an open connection and a place for the answer.
        let result = unsafe { sys::virConnectGetLibVersion(self.as_ptr(), &raw mut version) };
        check("virConnectGetLibVersion", result).map(|_| version)
    }

    /// CPUs and memory of the machine.
    ///
    /// # Errors
    /// libvirt's.
    pub fn node_info(&self) -> Result<NodeInfo, Error> {
        let mut info = MaybeUninit::<sys::_virNodeInfo>::zeroed();
        // SAFETY: an open connection and a place for the answer.
        let result = unsafe { sys::virNodeGetInfo(self.as_ptr(), info.as_mut_ptr()) };
        check("virNodeGetInfo", result)?;
        // SAFETY: zeroed before, a struct of numbers only, filled by the successful call.
        let info = unsafe { info.assume_init() };
        Ok(NodeInfo { memory_kib: info.memory, cpus: info.cpus })
    }

    /// What the machine has, as XML.
    ///
    /// # Errors
    /// libvirt's.
    pub fn capabilities(&self) -> Result<String, Error> {
        // SAFETY: an open connection; the string is ours.
        let text = unsafe { sys::virConnectGetCapabilities(self.as_ptr()) };
        take_string("virConnectGetCapabilities", text)
    }

    /// What domains of a type may have, as XML.
    ///
    /// # Errors
    /// libvirt's, for example when there is no such type or machine.
    pub fn domain_capabilities(&self, virt_type: &str, machine: &str) -> Result<String, Error> {
        const CALL: &str = "virConnectGetDomainCapabilities";
        let (virt_type, machine) = (c_string(CALL, virt_type)?, c_string(CALL, machine)?);
        // SAFETY: an open connection, valid C strings or null for "the default"; the string is ours.
        let text = unsafe {
            sys::virConnectGetDomainCapabilities(
                self.as_ptr(),
                ptr::null(),
                ptr::null(),
                machine.as_ptr(),
                virt_type.as_ptr(),
                0,
            )
        };
        take_string(CALL, text)
    }

    /// The domain with this UUID.
    ///
    /// # Errors
    /// libvirt's; [`super::Kind::NoDomain`] when there is none.
    pub fn domain(&self, uuid: Uuid) -> Result<Domain, Error> {
        // SAFETY: an open connection and the 16 bytes of a UUID; the reference is ours.
        let ptr = unsafe { sys::virDomainLookupByUUID(self.as_ptr(), uuid.as_bytes().as_ptr()) };
        Domain::own("virDomainLookupByUUID", ptr)
    }

    /// All domains, running or not.
    ///
    /// # Errors
    /// libvirt's.
    pub fn domains(&self) -> Result<Vec<Domain>, Error> {
        const CALL: &str = "virConnectListAllDomains";
        let mut list: *mut sys::virDomainPtr = ptr::null_mut();
        // SAFETY: an open connection and a place for the array.
        let count = unsafe { sys::virConnectListAllDomains(self.as_ptr(), &raw mut list, 0) };
        let count = usize::try_from(check(CALL, count)?).unwrap_or_default();
        let domains = (0..count)
            // SAFETY: the array has `count` entries, each a reference that is ours.
            .filter_map(|index| Domain::own(CALL, unsafe { *list.add(index) }).ok())
            .collect();
        // SAFETY: allocated by libvirt for us, not used again; the entries were taken over.
        unsafe { libc::free(list.cast()) };
        Ok(domains)
    }

    /// Defines a persistent domain, or replaces its definition.
    ///
    /// # Errors
    /// libvirt's.
    pub fn define(&self, xml: &str) -> Result<Domain, Error> {
        const CALL: &str = "virDomainDefineXMLFlags";
        let xml = c_string(CALL, xml)?;
        // SAFETY: an open connection and a valid C string; the reference is ours.
        let ptr = unsafe { sys::virDomainDefineXMLFlags(self.as_ptr(), xml.as_ptr(), 0) };
        Domain::own(CALL, ptr)
    }

    /// Starts a domain that has no persistent definition and ends with this connection.
    ///
    /// # Errors
    /// libvirt's.
    pub fn run_transient(&self, xml: &str) -> Result<Domain, Error> {
        const CALL: &str = "virDomainCreateXML";
        let xml = c_string(CALL, xml)?;
        let flags = sys::VIR_DOMAIN_START_AUTODESTROY;
        // SAFETY: an open connection and a valid C string; the reference is ours.
        let ptr = unsafe { sys::virDomainCreateXML(self.as_ptr(), xml.as_ptr(), flags) };
        Domain::own(CALL, ptr)
    }

    /// The domain XML inside a file of saved memory.
    ///
    /// # Errors
    /// libvirt's, for example when it is no such file.
    pub fn saved_definition(&self, file: &str) -> Result<String, Error> {
        const CALL: &str = "virDomainSaveImageGetXMLDesc";
        let file = c_string(CALL, file)?;
        // SAFETY: an open connection and a valid C string; the string is ours.
        let text = unsafe { sys::virDomainSaveImageGetXMLDesc(self.as_ptr(), file.as_ptr(), 0) };
        take_string(CALL, text)
    }

    /// Brings a domain back from a file of saved memory with its CPUs stopped. Keeps the file.
    ///
    /// # Errors
    /// libvirt's.
    pub fn restore_paused(&self, file: &str) -> Result<(), Error> {
        const CALL: &str = "virDomainRestoreFlags";
        let file = c_string(CALL, file)?;
        let flags = sys::VIR_DOMAIN_SAVE_PAUSED;
        // SAFETY: an open connection and valid C strings; null keeps the definition in the file.
        let result =
            unsafe { sys::virDomainRestoreFlags(self.as_ptr(), file.as_ptr(), ptr::null(), flags) };
        check(CALL, result).map(drop)
    }
}

impl Drop for Connection {
    /// May block on a libvirtd that does not answer, until keepalive gives up.
    fn drop(&mut self) {
        // Each registered callback holds a reference; without this the connection stays open.
        if let Some(id) = self.lifecycle {
            // SAFETY: an open connection and an id that it gave. A failure (the connection is
            // gone already) changes nothing for us.
            unsafe { sys::virConnectDomainEventDeregisterAny(self.as_ptr(), id) };
        }
        if self.close {
            // SAFETY: as above; the callback is the registered one.
            unsafe {
                sys::virConnectUnregisterCloseCallback(self.as_ptr(), Some(events::on_close))
            };
        }
        // SAFETY: our reference, given back once. What is left of the count does not matter.
        unsafe { sys::virConnectClose(self.as_ptr()) };
    }
}
