//! A domain.

use std::ffi::{c_int, c_uint};
use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};

use uuid::Uuid;
use virt_sys as sys;

use super::{Error, Kind, c_string, check, take_string};

/// State and reason as libvirt numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawState {
    /// `virDomainState`.
    pub state: u32,
    /// `virDomain…Reason` of that state.
    pub reason: u32,
}

/// What `virDomainGetJobInfo` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobInfo {
    /// Whether a job runs now.
    pub active: bool,
    /// Bytes handled.
    pub processed: u64,
    /// Bytes in all.
    pub total: u64,
}

/// Which definition to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metadata {
    /// Of the running domain, or the persistent one when it does not run.
    Current,
    /// The persistent one.
    Persistent,
}

/// A reference to a domain. Does not keep the domain itself from vanishing.
#[derive(Debug)]
pub struct Domain {
    ptr: NonNull<sys::_virDomain>,
}

// SAFETY: libvirt's objects are locked and counted inside and may be used from any thread.
unsafe impl Send for Domain {}

impl Domain {
    /// Takes over a reference that libvirt returned.
    pub(super) fn own(call: &'static str, ptr: sys::virDomainPtr) -> Result<Self, Error> {
        NonNull::new(ptr).map(|ptr| Self { ptr }).ok_or_else(|| Error::last(call))
    }

    pub(super) const fn as_ptr(&self) -> sys::virDomainPtr {
        self.ptr.as_ptr()
    }

    /// Its UUID. Asks nobody.
    ///
    /// # Errors
    /// libvirt's; not seen in practice.
    pub fn uuid(&self) -> Result<Uuid, Error> {
        let mut uuid = [0_u8; 16];
        // SAFETY: a valid domain and the 16 bytes of `VIR_UUID_BUFLEN`.
        let result = unsafe { sys::virDomainGetUUID(self.as_ptr(), uuid.as_mut_ptr()) };
        check("virDomainGetUUID", result).map(|_| Uuid::from_bytes(uuid))
    }

    /// State and reason.
    ///
    /// # Errors
    /// libvirt's.
    pub fn state(&self) -> Result<RawState, Error> {
        let (mut state, mut reason): (c_int, c_int) = (0, 0);
        // SAFETY: a valid domain and places for the answers.
        let result =
            unsafe { sys::virDomainGetState(self.as_ptr(), &raw mut state, &raw mut reason, 0) };
        check("virDomainGetState", result)?;
        let number = |value| u32::try_from(value).unwrap_or_default();
        Ok(RawState { state: number(state), reason: number(reason) })
    }

    /// Whether a persistent definition exists.
    ///
    /// # Errors
    /// libvirt's.
    pub fn is_persistent(&self) -> Result<bool, Error> {
        // SAFETY: a valid domain.
        let result = unsafe { sys::virDomainIsPersistent(self.as_ptr()) };
        check("virDomainIsPersistent", result).map(|result| result == 1)
    }

    /// Our metadata element as XML; `None` when there is none.
    ///
    /// # Errors
    /// libvirt's.
    pub fn metadata(&self, namespace: &str, which: Metadata) -> Result<Option<String>, Error> {
        const CALL: &str = "virDomainGetMetadata";
        let namespace = c_string(CALL, namespace)?;
        let flags = match which {
            Metadata::Current => sys::VIR_DOMAIN_AFFECT_CURRENT,
            Metadata::Persistent => sys::VIR_DOMAIN_AFFECT_CONFIG,
        };
        // SAFETY: a valid domain and a valid C string; the returned string is ours.
        let text = unsafe {
            sys::virDomainGetMetadata(
                self.as_ptr(),
                sys::VIR_DOMAIN_METADATA_ELEMENT as c_int,
                namespace.as_ptr(),
                flags,
            )
        };
        match take_string(CALL, text) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind == Kind::NoMetadata => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The running job. `None`: this driver has no jobs.
    ///
    /// # Errors
    /// libvirt's.
    pub fn job(&self) -> Result<Option<JobInfo>, Error> {
        let mut info = MaybeUninit::<sys::_virDomainJobInfo>::zeroed();
        // SAFETY: a valid domain and a place for the answer.
        let result = unsafe { sys::virDomainGetJobInfo(self.as_ptr(), info.as_mut_ptr()) };
        match check("virDomainGetJobInfo", result) {
            Ok(_) => {}
            Err(error) if error.kind == Kind::Unsupported => return Ok(None),
            Err(error) => return Err(error),
        }
        // SAFETY: zeroed before, a struct of numbers only, filled by the successful call.
        let info = unsafe { info.assume_init() };
        Ok(Some(JobInfo {
            // Jobs of the past are not shown here. A save is called "completed" as soon as QEMU
            // has written everything, while libvirt still waits for its file to be complete.
            active: u32::try_from(info.type_) != Ok(sys::VIR_DOMAIN_JOB_NONE),
            processed: info.dataProcessed,
            total: info.dataTotal,
        }))
    }

    /// Largest memory that it may have, in KiB.
    ///
    /// # Errors
    /// libvirt's.
    pub fn max_memory_kib(&self) -> Result<u64, Error> {
        let mut info = MaybeUninit::<sys::_virDomainInfo>::zeroed();
        // SAFETY: a valid domain and a place for the answer.
        let result = unsafe { sys::virDomainGetInfo(self.as_ptr(), info.as_mut_ptr()) };
        check("virDomainGetInfo", result)?;
        // SAFETY: zeroed before, a struct of numbers only, filled by the successful call.
        Ok(unsafe { info.assume_init() }.maxMem)
    }

    /// The persistent definition with secrets, so that it can be defined again.
    ///
    /// # Errors
    /// libvirt's.
    pub fn persistent_xml(&self) -> Result<String, Error> {
        let flags = sys::VIR_DOMAIN_XML_INACTIVE | sys::VIR_DOMAIN_XML_SECURE;
        // SAFETY: a valid domain; the string is ours.
        let text = unsafe { sys::virDomainGetXMLDesc(self.as_ptr(), flags) };
        take_string("virDomainGetXMLDesc", text)
    }

    /// The definition as it is now, of the process if one runs, without secrets.
    ///
    /// # Errors
    /// libvirt's.
    pub fn current_xml(&self) -> Result<String, Error> {
        // SAFETY: a valid domain; the string is ours.
        let text = unsafe { sys::virDomainGetXMLDesc(self.as_ptr(), 0) };
        take_string("virDomainGetXMLDesc", text)
    }

    /// Whether libvirt keeps a managed save of it.
    ///
    /// # Errors
    /// libvirt's.
    pub fn has_managed_save(&self) -> Result<bool, Error> {
        // SAFETY: a valid domain.
        let result = unsafe { sys::virDomainHasManagedSaveImage(self.as_ptr(), 0) };
        check("virDomainHasManagedSaveImage", result).map(|result| result == 1)
    }

    /// Boots it. A managed save is **deleted**: look for one before.
    ///
    /// # Errors
    /// libvirt's.
    pub fn boot(&self) -> Result<(), Error> {
        let flags = sys::VIR_DOMAIN_START_FORCE_BOOT;
        // SAFETY: a valid domain.
        let result = unsafe { sys::virDomainCreateWithFlags(self.as_ptr(), flags) };
        check("virDomainCreateWithFlags", result).map(drop)
    }

    /// Stops the CPUs.
    ///
    /// # Errors
    /// libvirt's.
    pub fn suspend(&self) -> Result<(), Error> {
        // SAFETY: a valid domain.
        check("virDomainSuspend", unsafe { sys::virDomainSuspend(self.as_ptr()) }).map(drop)
    }

    /// Lets the CPUs go on.
    ///
    /// # Errors
    /// libvirt's.
    pub fn resume(&self) -> Result<(), Error> {
        // SAFETY: a valid domain.
        check("virDomainResume", unsafe { sys::virDomainResume(self.as_ptr()) }).map(drop)
    }

    /// Wakes a guest that put itself to sleep.
    ///
    /// # Errors
    /// libvirt's.
    pub fn wake(&self) -> Result<(), Error> {
        // SAFETY: a valid domain.
        check("virDomainPMWakeup", unsafe { sys::virDomainPMWakeup(self.as_ptr(), 0) }).map(drop)
    }

    /// Presses the ACPI power button.
    ///
    /// # Errors
    /// libvirt's.
    pub fn press_power_button(&self) -> Result<(), Error> {
        let flags = sys::VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN;
        // SAFETY: a valid domain.
        let result = unsafe { sys::virDomainShutdownFlags(self.as_ptr(), flags) };
        check("virDomainShutdownFlags", result).map(drop)
    }

    /// Ends the guest process.
    ///
    /// # Errors
    /// libvirt's.
    pub fn destroy(&self) -> Result<(), Error> {
        // SAFETY: a valid domain.
        let result = unsafe { sys::virDomainDestroyFlags(self.as_ptr(), 0) };
        check("virDomainDestroyFlags", result).map(drop)
    }

    /// Removes the definition, NVRAM, libvirt's notes about snapshots and checkpoints, and a managed
    /// save. What that save is worth goes with the server: nothing else undefines a domain, and without
    /// it whoever deletes a server could not, for a save that somebody made with `virsh` or that
    /// libvirt-guests made when the host was shut down.
    ///
    /// # Errors
    /// libvirt's.
    pub fn undefine(&self) -> Result<(), Error> {
        let flags: c_uint = sys::VIR_DOMAIN_UNDEFINE_NVRAM
            | sys::VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
            | sys::VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
            | sys::VIR_DOMAIN_UNDEFINE_MANAGED_SAVE;
        // SAFETY: a valid domain.
        let result = unsafe { sys::virDomainUndefineFlags(self.as_ptr(), flags) };
        check("virDomainUndefineFlags", result).map(drop)
    }

    /// Writes memory to `file` and ends the guest process.
    ///
    /// # Errors
    /// libvirt's.
    pub fn save(&self, file: &str, bypass_cache: bool) -> Result<(), Error> {
        const CALL: &str = "virDomainSaveFlags";
        let file = c_string(CALL, file)?;
        let flags = if bypass_cache { sys::VIR_DOMAIN_SAVE_BYPASS_CACHE } else { 0 };
        // SAFETY: a valid domain and valid C strings; null keeps the definition as it is.
        let result =
            unsafe { sys::virDomainSaveFlags(self.as_ptr(), file.as_ptr(), ptr::null(), flags) };
        check(CALL, result).map(drop)
    }

    /// Asks the running job to stop.
    ///
    /// # Errors
    /// libvirt's.
    pub fn abort_job(&self) -> Result<(), Error> {
        // SAFETY: a valid domain.
        check("virDomainAbortJob", unsafe { sys::virDomainAbortJob(self.as_ptr()) }).map(drop)
    }

    /// Sets the guest's clock through its agent.
    ///
    /// # Errors
    /// libvirt's.
    pub fn set_time(&self, seconds: i64, nanoseconds: u32) -> Result<(), Error> {
        // SAFETY: a valid domain.
        let result = unsafe { sys::virDomainSetTime(self.as_ptr(), seconds, nanoseconds, 0) };
        check("virDomainSetTime", result).map(drop)
    }
}

impl Drop for Domain {
    fn drop(&mut self) {
        // SAFETY: our reference, given back once.
        unsafe { sys::virDomainFree(self.as_ptr()) };
    }
}
