//! What the first bytes of an untrusted disk image say it is.
//!
//! Tenants choose every byte of an image, and a hypervisor that believes the wrong format hands out
//! files of its host: a "raw" image that begins with a QCOW2 header naming `/etc/shadow` as its
//! backing file is the classic. So the format is declared, verified here from the bytes at upload
//! and again on each host, and always passed on explicitly, never probed.
//!
//! Pure: slice in, result out. Nothing is allocated from a length found in the data, every offset is
//! checked before use, and no input makes it panic (property tests below).
//!
//! Accepted: raw data without the signature of another format; ISO 9660; QCOW2 that stands alone (no
//! backing file, no external data file, not encrypted, no internal snapshots, closed cleanly, no
//! feature this version does not know). [`Qcow2Header`] also reads the overlays that a host makes
//! itself, for which a backing file is the point.

use crate::spec::DiskFormat;

/// How much of the beginning of the data [`inspect`] has to see (all of it when it is shorter).
pub const WINDOW_BYTES: usize = 64 * 1024;

/// Largest virtual disk that is accepted: 16 TiB, the limit of an ext4 file.
pub const MAX_VIRTUAL_BYTES: u64 = 16 << 40;

/// Where an ISO 9660 volume descriptor begins.
const ISO_DESCRIPTOR_OFFSET: usize = 32 * 1024;
const QCOW2_MAGIC: &[u8] = b"QFI\xfb";
/// Limits that QEMU itself puts on a QCOW2 file's tables.
const MAX_L1_BYTES: u64 = 32 << 20;
const MAX_REFCOUNT_TABLE_BYTES: u64 = 8 << 20;
const MAX_BACKING_NAME: u64 = 1023;

/// What an accepted image is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageFacts {
    /// Format, as declared and verified.
    pub format: DiskFormat,
    /// Size of the disk that a guest sees, in bytes.
    pub virtual_size: u64,
}

/// Why image data is refused. Written for the person who uploaded it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageFormatError {
    /// No data.
    #[error("the image is empty")]
    Empty,
    /// The caller gave too little of the data; not the image's fault.
    #[error("{needed} bytes of the image are needed to recognise it, but only {given} were given")]
    WindowTooSmall {
        /// Bytes needed.
        needed: usize,
        /// Bytes given.
        given: usize,
    },
    /// A virtual disk of absurd size.
    #[error(
        "the image's virtual size of {0} bytes is larger than the limit of {MAX_VIRTUAL_BYTES}"
    )]
    TooLarge(u64),
    /// The content is of another format than was declared.
    #[error(
        "the image was declared as {declared} but its content is {found}: declare the format it \
         has, or convert it with qemu-img"
    )]
    Disguised {
        /// Format that was declared.
        declared: DiskFormat,
        /// What was found.
        found: &'static str,
    },
    /// The signature of the declared format is missing.
    #[error("the image was declared as {0} but does not have the signature of that format")]
    NoSignature(DiskFormat),
    /// Neither version 2 nor 3.
    #[error("the image is qcow2 of version {0}; versions 2 and 3 are supported")]
    Qcow2Version(u32),
    /// It reads from another file.
    #[error("the image has a backing file, which is not allowed: flatten it with qemu-img convert")]
    BackingFile,
    /// Its data is in another file.
    #[error("the image keeps its data in an external file, which is not allowed")]
    ExternalDataFile,
    /// Encrypted.
    #[error("the image is encrypted, which is not supported")]
    Encrypted,
    /// Internal snapshots.
    #[error("the image has {0} internal snapshots, which is not supported: use qemu-img convert")]
    Snapshots(u32),
    /// Was in use when it was copied.
    #[error(
        "the image was not closed cleanly or is marked corrupt: repair it with qemu-img check -r all"
    )]
    NotClean,
    /// Features that this version does not know.
    #[error("the image needs qcow2 features that are not supported (bits {0:#x})")]
    UnknownFeatures(u64),
    /// A field that contradicts the format or the size of the file.
    #[error("the image is not a valid qcow2 file: {0}")]
    Invalid(&'static str),
}

type Result<T> = std::result::Result<T, ImageFormatError>;

/// Verifies that data beginning with `head` and `size` bytes long is of the format `declared`, and
/// returns its virtual size. `head` holds at least [`WINDOW_BYTES`] or all of the data.
///
/// # Errors
/// [`ImageFormatError`], whose text tells the owner of the image what to do.
pub fn inspect(declared: DiskFormat, head: &[u8], size: u64) -> Result<ImageFacts> {
    let whole = usize::try_from(size).unwrap_or(usize::MAX);
    let needed = WINDOW_BYTES.min(whole);
    if size == 0 {
        return Err(ImageFormatError::Empty);
    }
    if head.len() < needed {
        return Err(ImageFormatError::WindowTooSmall { needed, given: head.len() });
    }
    // Bytes behind the end of the data are not the image's.
    let head = head.get(..whole.min(head.len())).unwrap_or(head);
    let virtual_size = match declared {
        DiskFormat::Raw => {
            refuse_disguise(declared, head)?;
            size
        }
        DiskFormat::Iso => {
            refuse_disguise(declared, head)?;
            if !is_iso(head) {
                return Err(ImageFormatError::NoSignature(declared));
            }
            size
        }
        DiskFormat::Qcow2 => {
            if !head.starts_with(QCOW2_MAGIC) {
                refuse_disguise(declared, head)?;
                return Err(ImageFormatError::NoSignature(declared));
            }
            let header = Qcow2Header::parse(head, size)?;
            header.require_standalone()?;
            header.virtual_size
        }
    };
    if virtual_size > MAX_VIRTUAL_BYTES {
        return Err(ImageFormatError::TooLarge(virtual_size));
    }
    Ok(ImageFacts { format: declared, virtual_size })
}

fn refuse_disguise(declared: DiskFormat, head: &[u8]) -> Result<()> {
    match signature(head) {
        Some(found) => Err(ImageFormatError::Disguised { declared, found }),
        None => Ok(()),
    }
}

/// Formats that QEMU would recognise by the beginning of the data, other than raw and ISO 9660.
/// Formats recognised by the end of the data (fixed VHD, DMG) are harmless as long as the format is
/// passed on explicitly: their content is what a raw reading of it shows.
fn signature(head: &[u8]) -> Option<&'static str> {
    const AT_START: &[(&[u8], &str)] = &[
        (QCOW2_MAGIC, "qcow or qcow2"),
        (b"QED\0", "qed"),
        (b"KDMV", "vmdk"),
        (b"COWD", "vmdk"),
        (b"vhdxfile", "vhdx"),
        (b"conectix", "vhd"),
        (b"LUKS\xba\xbe", "luks"),
        (b"WithoutFreeSpace", "parallels"),
        (b"WithouFreSpacExt", "parallels"),
        (b"Bochs Virtual HD Image", "bochs"),
        (b"OOOM", "user-mode-linux copy-on-write"),
        (b"#!/bin/sh\n#V2.0 Format\n", "cloop"),
    ];
    const VDI_OFFSET: usize = 64;
    const VDI_MAGIC: &[u8] = &[0x7f, 0x10, 0xda, 0xbe];
    if let Some((_, name)) = AT_START.iter().find(|(magic, _)| head.starts_with(magic)) {
        return Some(name);
    }
    if head.get(VDI_OFFSET..).is_some_and(|rest| rest.starts_with(VDI_MAGIC)) {
        return Some("vdi");
    }
    is_vmdk_descriptor(head).then_some("vmdk")
}

/// A VMDK descriptor is a text file that names other files. QEMU skips comment and empty lines
/// before the line `version=1`, `2` or `3`.
fn is_vmdk_descriptor(head: &[u8]) -> bool {
    const LOOK_AT: usize = 4096;
    let start = head.get(..LOOK_AT).unwrap_or(head);
    start
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .find(|line| !line.is_empty() && !line.starts_with(b"#"))
        .is_some_and(|line| line.starts_with(b"version="))
        && start.first() == Some(&b'#')
}

fn is_iso(head: &[u8]) -> bool {
    // Type of the first volume descriptor, identifier, version.
    head.get(ISO_DESCRIPTOR_OFFSET..)
        .is_some_and(|rest| rest.get(1..7).is_some_and(|text| text == b"CD001\x01"))
}

/// The header of a QCOW2 file, checked against the size of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Qcow2Header {
    /// 2 or 3.
    pub version: u32,
    /// Size of the virtual disk in bytes.
    pub virtual_size: u64,
    /// log2 of the cluster size.
    pub cluster_bits: u32,
    /// Name of the backing file as it stands in the header.
    pub backing_file: Option<Vec<u8>>,
    /// Format of the backing file, when the header says it.
    pub backing_format: Option<Vec<u8>>,
    /// Whether the data is in another file.
    pub external_data: bool,
    /// Whether it is encrypted.
    pub encrypted: bool,
    /// Number of internal snapshots.
    pub snapshots: u32,
    /// Whether it was not closed cleanly or is marked corrupt.
    pub not_clean: bool,
}

/// Bits of the incompatible features.
mod feature {
    pub const DIRTY: u64 = 1;
    pub const CORRUPT: u64 = 1 << 1;
    pub const EXTERNAL_DATA: u64 = 1 << 2;
    pub const COMPRESSION_TYPE: u64 = 1 << 3;
    pub const EXTENDED_L2: u64 = 1 << 4;
    pub const KNOWN: u64 = DIRTY | CORRUPT | EXTERNAL_DATA | COMPRESSION_TYPE | EXTENDED_L2;
}

/// Types of header extensions.
mod extension {
    pub const END: u32 = 0;
    pub const BACKING_FORMAT: u32 = 0xe279_2aca;
    pub const ENCRYPTION: u32 = 0x0537_be77;
    pub const EXTERNAL_DATA: u32 = 0x4441_5441;
}

impl Qcow2Header {
    /// Reads the header at the beginning of `head`, of a file of `size` bytes.
    ///
    /// # Errors
    /// [`ImageFormatError`] when it is not a QCOW2 header that this version understands completely.
    pub fn parse(head: &[u8], size: u64) -> Result<Self> {
        if !head.starts_with(QCOW2_MAGIC) {
            return Err(ImageFormatError::NoSignature(DiskFormat::Qcow2));
        }
        let fields = Fields(head);
        let version = fields.u32(4)?;
        if version != 2 && version != 3 {
            return Err(ImageFormatError::Qcow2Version(version));
        }
        let cluster_bits = fields.u32(20)?;
        if !(9..=21).contains(&cluster_bits) {
            return Err(ImageFormatError::Invalid("its cluster size is out of range"));
        }
        let virtual_size = fields.u64(24)?;
        if virtual_size == 0 {
            return Err(ImageFormatError::Invalid("its virtual size is 0"));
        }
        if virtual_size > MAX_VIRTUAL_BYTES {
            return Err(ImageFormatError::TooLarge(virtual_size));
        }
        let features = if version == 3 { fields.u64(72)? } else { 0 };
        if features & !feature::KNOWN != 0 {
            return Err(ImageFormatError::UnknownFeatures(features & !feature::KNOWN));
        }
        let layout = Layout { virtual_size, cluster_bits, features, size };
        layout.check_tables(&fields)?;
        let header_length = layout.header_length(&fields, version)?;
        layout.check_compression(&fields, header_length)?;
        let backing = layout.backing_name(&fields)?;
        let extensions =
            Extensions::walk(head, header_length, layout.extension_end(&fields, head)?)?;
        Ok(Self {
            version,
            virtual_size,
            cluster_bits,
            backing_file: backing.map(<[u8]>::to_vec),
            backing_format: extensions.backing_format.map(<[u8]>::to_vec),
            external_data: features & feature::EXTERNAL_DATA != 0 || extensions.external_data,
            encrypted: fields.u32(32)? != 0 || extensions.encryption,
            snapshots: fields.u32(60)?,
            not_clean: features & (feature::DIRTY | feature::CORRUPT) != 0,
        })
    }

    /// Refuses everything through which the file could read from elsewhere.
    ///
    /// # Errors
    /// [`ImageFormatError`] naming what is not allowed.
    pub fn require_standalone(&self) -> Result<()> {
        if self.backing_file.is_some() || self.backing_format.is_some() {
            return Err(ImageFormatError::BackingFile);
        }
        if self.external_data {
            return Err(ImageFormatError::ExternalDataFile);
        }
        if self.encrypted {
            return Err(ImageFormatError::Encrypted);
        }
        if self.snapshots != 0 {
            return Err(ImageFormatError::Snapshots(self.snapshots));
        }
        if self.not_clean {
            return Err(ImageFormatError::NotClean);
        }
        Ok(())
    }
}

/// Big-endian fields at fixed places.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn bytes<const N: usize>(&self, offset: usize) -> Result<[u8; N]> {
        self.0
            .get(offset..)
            .and_then(|rest| rest.first_chunk::<N>())
            .copied()
            .ok_or(ImageFormatError::Invalid("its header is cut off"))
    }

    fn u8(&self, offset: usize) -> Result<u8> {
        Ok(u8::from_be_bytes(self.bytes(offset)?))
    }

    fn u32(&self, offset: usize) -> Result<u32> {
        Ok(u32::from_be_bytes(self.bytes(offset)?))
    }

    fn u64(&self, offset: usize) -> Result<u64> {
        Ok(u64::from_be_bytes(self.bytes(offset)?))
    }
}

/// What the other fields are checked against.
struct Layout {
    virtual_size: u64,
    cluster_bits: u32,
    features: u64,
    size: u64,
}

impl Layout {
    const fn cluster_size(&self) -> u64 {
        1 << self.cluster_bits
    }

    /// A table lies in the file, begins at a cluster, and does not cover the header.
    fn check_table(&self, offset: u64, bytes: u64, problem: &'static str) -> Result<()> {
        // The last cluster of a file may be cut short.
        let end_of_file = self.size.next_multiple_of(self.cluster_size());
        let inside = offset.checked_add(bytes).is_some_and(|end| end <= end_of_file);
        let aligned = offset.is_multiple_of(self.cluster_size());
        if inside && aligned && offset >= self.cluster_size() && offset < self.size {
            Ok(())
        } else {
            Err(ImageFormatError::Invalid(problem))
        }
    }

    fn check_tables(&self, fields: &Fields<'_>) -> Result<()> {
        let l2_entry = if self.features & feature::EXTENDED_L2 != 0 { 16 } else { 8 };
        let per_l1_entry = self.cluster_size() * (self.cluster_size() / l2_entry);
        let l1_entries = u64::from(fields.u32(36)?);
        if l1_entries < self.virtual_size.div_ceil(per_l1_entry) {
            return Err(ImageFormatError::Invalid("its L1 table is too small for its size"));
        }
        if l1_entries * 8 > MAX_L1_BYTES {
            return Err(ImageFormatError::Invalid("its L1 table is too large"));
        }
        self.check_table(fields.u64(40)?, l1_entries * 8, "its L1 table is not within the file")?;
        let refcount_bytes = u64::from(fields.u32(56)?) * self.cluster_size();
        if refcount_bytes == 0 || refcount_bytes > MAX_REFCOUNT_TABLE_BYTES {
            return Err(ImageFormatError::Invalid("its refcount table has an impossible size"));
        }
        self.check_table(
            fields.u64(48)?,
            refcount_bytes,
            "its refcount table is not within the file",
        )
    }

    /// Where the header ends and its extensions begin.
    fn header_length(&self, fields: &Fields<'_>, version: u32) -> Result<u64> {
        if version == 2 {
            return Ok(72);
        }
        if fields.u32(96)? > 6 {
            return Err(ImageFormatError::Invalid("its refcounts are too wide"));
        }
        let length = u64::from(fields.u32(100)?);
        if length < 104 || length > self.cluster_size() || !length.is_multiple_of(8) {
            return Err(ImageFormatError::Invalid("its header has an impossible length"));
        }
        Ok(length)
    }

    fn check_compression(&self, fields: &Fields<'_>, header_length: u64) -> Result<()> {
        // Short headers mean 0 (zlib). 1 is zstd; the feature bit is set exactly when it is not 0.
        let kind = if header_length > 104 { fields.u8(104)? } else { 0 };
        let announced = self.features & feature::COMPRESSION_TYPE != 0;
        if kind > 1 || announced != (kind != 0) {
            return Err(ImageFormatError::Invalid("its compression type is unknown"));
        }
        Ok(())
    }

    /// The backing file's name, which lies within the first cluster.
    fn backing_name<'a>(&self, fields: &Fields<'a>) -> Result<Option<&'a [u8]>> {
        let (offset, length) = (fields.u64(8)?, u64::from(fields.u32(16)?));
        if offset == 0 {
            return Ok(None);
        }
        let within = offset.checked_add(length).filter(|end| *end <= self.cluster_size());
        let range = usize::try_from(offset).ok().zip(within.and_then(|end| end.try_into().ok()));
        range
            .filter(|_| length <= MAX_BACKING_NAME)
            .and_then(|(start, end)| fields.0.get(start..end))
            .map(Some)
            .ok_or(ImageFormatError::Invalid("its backing file's name is not within its header"))
    }

    /// Extensions end at the backing file's name or with the first cluster.
    fn extension_end(&self, fields: &Fields<'_>, head: &[u8]) -> Result<u64> {
        let backing = fields.u64(8)?;
        let end = if backing == 0 { self.cluster_size() } else { backing.min(self.cluster_size()) };
        Ok(end.min(head.len() as u64))
    }
}

#[derive(Default)]
struct Extensions<'a> {
    backing_format: Option<&'a [u8]>,
    external_data: bool,
    encryption: bool,
}

impl<'a> Extensions<'a> {
    /// Walks the list from `start` to its end mark or to `end`. Types that are not known here are
    /// compatible by definition and are stepped over.
    fn walk(head: &'a [u8], start: u64, end: u64) -> Result<Self> {
        const CUT: ImageFormatError =
            ImageFormatError::Invalid("its header extensions are cut off");
        let mut found = Self::default();
        let mut rest = usize::try_from(start)
            .ok()
            .zip(usize::try_from(end).ok())
            .and_then(|(start, end)| head.get(start..end))
            .ok_or(CUT)?;
        while !rest.is_empty() {
            let fields = Fields(rest);
            let (kind, length) = (fields.u32(0)?, fields.u32(4)? as usize);
            if kind == extension::END {
                break;
            }
            let content = rest.get(8..).and_then(|rest| rest.get(..length)).ok_or(CUT)?;
            match kind {
                extension::BACKING_FORMAT => found.backing_format = Some(content),
                extension::EXTERNAL_DATA => found.external_data = true,
                extension::ENCRYPTION => found.encryption = true,
                _ => {}
            }
            // Padded to a multiple of 8; the padding of the last one may be missing.
            let step = length.checked_next_multiple_of(8).and_then(|n| n.checked_add(8));
            rest = step.and_then(|step| rest.get(step..)).unwrap_or_default();
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests;
