//! Statistics of a domain: pairs of a name and a value, whichever the driver has.

use std::ffi::CStr;
use std::ptr;

use virt_sys as sys;

use super::{Domain, Error, check};

/// A value of a statistic. Signed ones, fractions and truth values are not asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Statistic {
    /// A count or a size.
    Number(u64),
    /// A name.
    Text(String),
}

/// An array of records that libvirt made for us.
struct Records(*mut sys::virDomainStatsRecordPtr);

impl Drop for Records {
    fn drop(&mut self) {
        // SAFETY: made by virDomainListGetStats (or null, which it takes), freed once.
        unsafe { sys::virDomainStatsRecordListFree(self.0) };
    }
}

impl Domain {
    /// CPUs, memory and disks (`vcpu.*`, `balloon.*`, `block.*`) as libvirt names them. What a
    /// running job keeps libvirt from asking QEMU is left out.
    ///
    /// # Errors
    /// libvirt's.
    pub fn statistics(&self) -> Result<Vec<(String, Statistic)>, Error> {
        const CALL: &str = "virDomainListGetStats";
        let kinds = sys::VIR_DOMAIN_STATS_VCPU
            | sys::VIR_DOMAIN_STATS_BALLOON
            | sys::VIR_DOMAIN_STATS_BLOCK;
        let flags = sys::VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT;
        let mut domains = [self.as_ptr(), ptr::null_mut()];
        let mut list: *mut sys::virDomainStatsRecordPtr = ptr::null_mut();
        // SAFETY: a list of valid domains that ends with null, and a place for the array.
        let count = unsafe {
            sys::virDomainListGetStats(domains.as_mut_ptr(), kinds, &raw mut list, flags)
        };
        let records = Records(list);
        let count = usize::try_from(check(CALL, count)?).unwrap_or_default();
        let mut found = Vec::new();
        for index in 0..count {
            // SAFETY: the array has `count` pointers to records that live as long as `records`.
            let record = unsafe { &**records.0.add(index) };
            let length = usize::try_from(record.nparams).unwrap_or_default();
            if record.params.is_null() {
                continue;
            }
            // SAFETY: not null, `nparams` entries, and they live as long as `records`.
            let params = unsafe { std::slice::from_raw_parts(record.params, length) };
            found.extend(params.iter().filter_map(read));
        }
        Ok(found)
    }
}

fn read(param: &sys::virTypedParameter) -> Option<(String, Statistic)> {
    let name: Vec<u8> = param
        .field
        .iter()
        .take_while(|byte| **byte != 0)
        .flat_map(|byte| byte.to_ne_bytes())
        .collect();
    let value = match u32::try_from(param.type_).ok()? {
        // SAFETY: the type says which member of the union was written.
        sys::VIR_TYPED_PARAM_UINT => Statistic::Number(u64::from(unsafe { param.value.ui })),
        // SAFETY: as above.
        sys::VIR_TYPED_PARAM_ULLONG => Statistic::Number(unsafe { param.value.ul }),
        sys::VIR_TYPED_PARAM_STRING => {
            // SAFETY: as above.
            let text = ptr::NonNull::new(unsafe { param.value.s })?;
            // SAFETY: not null, and a NUL-terminated string that belongs to the record.
            let text = unsafe { CStr::from_ptr(text.as_ptr()) };
            Statistic::Text(text.to_string_lossy().into_owned())
        }
        _ => return None,
    };
    Some((String::from_utf8_lossy(&name).into_owned(), value))
}
