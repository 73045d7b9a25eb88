//! Whether a file of saved memory is whole, from its own structure.
//!
//! ```text
//! header 92 bytes | domain XML, NUL, padding, cookie: data_len bytes | QEMU's migration stream
//! ```
//! libvirt writes the magic `LibvirtQemudPart` first and `LibvirtQemudSave` when all is written
//! (src/qemu/qemu_saveimage.h). The header does not know how long the stream is, but the stream of
//! QEMU ends with a description of itself with a length of its own (docs/devel/migration.rst), so a
//! stream that was cut off shows. This says nothing about damage inside: that is what the digest in
//! the manifest is for.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use reprieve_core::InstanceId;

use crate::xml;

const MAGIC: &[u8; 16] = b"LibvirtQemudSave";
const HEADER_BYTES: usize = 92;
/// Version of the header that is known; it has been 2 since 2010.
const VERSION: u32 = 2;
/// Value of the header's `compressed` for a plain stream of QEMU.
const FORMAT_RAW: u32 = 0;
/// First bytes of QEMU's stream.
const STREAM_MAGIC: &[u8; 4] = b"QEVM";
/// `QEMU_VM_EOF`, `QEMU_VM_VMDESCRIPTION`: what comes before the length of the description.
const DESCRIPTION_MARK: [u8; 2] = [0x00, 0x06];
/// Longest description that is looked for; one of a guest with three disks has 20-40 KiB.
const MAX_DESCRIPTION: usize = 4 * 1024 * 1024;
/// Largest XML and cookie that are believed.
const MAX_DATA: u32 = 64 * 1024 * 1024;

/// Whether the file is a complete save of the domain with this UUID.
///
/// # Errors
/// When it cannot be read. A missing file is not complete.
pub(super) fn is_complete(path: &Path, id: InstanceId) -> io::Result<bool> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let length = file.metadata()?.len();
    let mut header = [0_u8; HEADER_BYTES];
    match file.read_exact(&mut header) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
        Err(error) => return Err(error),
    }
    let Some(header) = Header::parse(&header) else { return Ok(false) };
    let stream = HEADER_BYTES as u64 + u64::from(header.data_len);
    if stream + STREAM_MAGIC.len() as u64 > length {
        return Ok(false);
    }
    if read_id(&mut file, header.data_len)? != Some(id) {
        return Ok(false);
    }
    if header.format != FORMAT_RAW {
        // Compressed, or a format of a newer libvirt: its end is not ours to read.
        return Ok(true);
    }
    let mut magic = [0_u8; STREAM_MAGIC.len()];
    file.seek(SeekFrom::Start(stream))?;
    file.read_exact(&mut magic)?;
    if &magic != STREAM_MAGIC {
        return Ok(false);
    }
    ends_with_description(&mut file, stream, length)
}

struct Header {
    data_len: u32,
    format: u32,
}

impl Header {
    /// `None` when it is not the header of a complete save.
    fn parse(bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        let number = |at: usize| {
            let field = bytes.get(at..at + 4)?;
            Some(u32::from_ne_bytes(field.try_into().ok()?))
        };
        let (version, data_len, format) = (number(16)?, number(20)?, number(28)?);
        let whole = bytes.starts_with(MAGIC) && version == VERSION && data_len <= MAX_DATA;
        whole.then_some(Self { data_len, format })
    }
}

/// The UUID in the XML after the header.
fn read_id(file: &mut File, data_len: u32) -> io::Result<Option<InstanceId>> {
    let mut data = Vec::new();
    file.seek(SeekFrom::Start(HEADER_BYTES as u64))?;
    file.take(u64::from(data_len)).read_to_end(&mut data)?;
    let xml = data.split(|byte| *byte == 0).next().unwrap_or_default();
    let summary = std::str::from_utf8(xml).ok().and_then(|xml| xml::read_domain(xml).ok());
    Ok(summary.map(|summary| summary.id))
}

/// Whether the last thing in the file is a description of the stream that ends with the file.
fn ends_with_description(file: &mut File, stream: u64, length: u64) -> io::Result<bool> {
    let tail_bytes = (length - stream).min(MAX_DESCRIPTION as u64);
    file.seek(SeekFrom::Start(length - tail_bytes))?;
    let mut tail = Vec::with_capacity(usize::try_from(tail_bytes).unwrap_or_default());
    file.take(tail_bytes).read_to_end(&mut tail)?;
    // Search from the end: the description is short against what comes before it.
    let mut searched = tail.len();
    while let Some(at) = tail
        .get(..searched)
        .and_then(|part| part.windows(2).rposition(|pair| pair == DESCRIPTION_MARK))
    {
        let (length, description) =
            tail.get(at + 2..).unwrap_or_default().split_at_checked(4).unwrap_or_default();
        let length = length.try_into().map(u32::from_be_bytes);
        if length.is_ok_and(|length| length as usize == description.len()) {
            return Ok(description.starts_with(b"{") && description.ends_with(b"}"));
        }
        searched = at + 1;
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "4959e6df-2841-492a-9a3d-ea6e9ab6bfcb";

    fn save(magic: &[u8; 16], format: u32, stream: &[u8]) -> Vec<u8> {
        let mut data = format!("<domain><uuid>{ID}</uuid></domain>").into_bytes();
        data.extend([0; 32]);
        let mut file = magic.to_vec();
        for number in [VERSION, u32::try_from(data.len()).unwrap(), 1, format, 0] {
            file.extend(number.to_ne_bytes());
        }
        file.resize(HEADER_BYTES, 0);
        [file.as_slice(), &data, stream].concat()
    }

    fn stream(description: &[u8]) -> Vec<u8> {
        let length = u32::try_from(description.len()).unwrap().to_be_bytes();
        [
            b"QEVM\0\0\0\x03 memory \0\x06\0\0\0\x01 more",
            &DESCRIPTION_MARK[..],
            &length,
            description,
        ]
        .concat()
    }

    fn complete(bytes: &[u8]) -> bool {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("save");
        std::fs::write(&file, bytes).unwrap();
        is_complete(&file, ID.parse().unwrap()).unwrap()
    }

    #[test]
    fn no_prefix_of_a_save_is_complete() {
        let whole = save(MAGIC, FORMAT_RAW, &stream(br#"{"devices": [], "page_size": 4096}"#));
        assert!(complete(&whole));
        for end in 0..whole.len() {
            assert!(!complete(&whole[..end]), "{end} of {} bytes", whole.len());
        }
        assert!(!complete(&[whole.as_slice(), b"}"].concat()));
    }

    #[test]
    fn headers_that_do_not_fit_are_refused() {
        let stream = stream(b"{}");
        assert!(!complete(&save(b"LibvirtQemudPart", FORMAT_RAW, &stream)));
        assert!(!complete(&save(MAGIC, FORMAT_RAW, b"QEVM")));
        assert!(!complete(&save(MAGIC, FORMAT_RAW, b"other stream than qemu's")));
        // Compressed: only the header and the server can be checked.
        assert!(complete(&save(MAGIC, 3, b"\x28\xb5\x2f\xfd")));
        let mut huge = save(MAGIC, FORMAT_RAW, &stream);
        huge[20..24].copy_from_slice(&u32::MAX.to_ne_bytes());
        assert!(!complete(&huge));
    }

    #[test]
    fn a_directory_is_an_error_and_not_a_save() {
        let dir = tempfile::tempdir().unwrap();
        assert!(is_complete(dir.path(), ID.parse().unwrap()).is_err());
        assert!(!is_complete(&dir.path().join("missing"), ID.parse().unwrap()).unwrap());
    }
}
