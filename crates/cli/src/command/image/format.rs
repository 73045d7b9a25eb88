//! The format of a disk image by its first bytes. Only a suggestion for the person who uploads it:
//! the service checks for itself.

/// Bytes that have to be looked at: ISO 9660 has its magic in the seventeenth sector.
pub const HEAD_BYTES: usize = 0x8006;

/// `qcow2`, `iso` or `raw`.
///
/// # Errors
/// What it is, and what to do, when it is something that must not be taken for a raw disk.
pub fn recognise(head: &[u8]) -> Result<&'static str, &'static str> {
    if head.starts_with(b"QFI\xfb") {
        return Ok("qcow2");
    }
    if head.get(0x8001..0x8006) == Some(b"CD001") {
        return Ok("iso");
    }
    let foreign: [(&[u8], &str); 7] = [
        (b"\x1f\x8b", "compressed with gzip: decompress it first"),
        (b"\xfd7zXZ\0", "compressed with xz: decompress it first"),
        (b"\x28\xb5\x2f\xfd", "compressed with zstd: decompress it first"),
        (b"BZh", "compressed with bzip2: decompress it first"),
        (b"KDMV", "a VMDK: convert it with 'qemu-img convert -O qcow2'"),
        (b"vhdxfile", "a VHDX: convert it with 'qemu-img convert -O qcow2'"),
        (b"conectix", "a VHD: convert it with 'qemu-img convert -O qcow2'"),
    ];
    if head.is_empty() {
        return Err("empty");
    }
    match foreign.iter().find(|(magic, _)| head.starts_with(magic)) {
        Some((_, what)) => Err(what),
        None => Ok("raw"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_by_magic() {
        assert_eq!(recognise(b"QFI\xfb\0\0\0\x03rest"), Ok("qcow2"));
        let mut iso = vec![0; HEAD_BYTES];
        iso[0x8001..].copy_from_slice(b"CD001");
        assert_eq!(recognise(&iso), Ok("iso"));
        assert_eq!(recognise(&[0xeb; 512]), Ok("raw"));
        assert!(recognise(b"\x1f\x8b\x08").unwrap_err().contains("gzip"));
        assert!(recognise(b"KDMV\x01").unwrap_err().contains("qemu-img"));
        assert_eq!(recognise(b""), Err("empty"));
    }
}
