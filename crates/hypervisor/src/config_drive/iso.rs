//! A tree of files as an ISO 9660 image with Rock Ridge and Joliet names and no time in it.
//!
//! The writer stamps the current time into volume descriptors and directory records. Two drives of
//! equal content would differ, so every time is overwritten afterwards with one constant.

use std::collections::BTreeSet;
use std::io::Cursor;

use hadris_iso::joliet::JolietLevel;
use hadris_iso::read::PathSeparator;
use hadris_iso::rrip::RripOptions;
use hadris_iso::write::options::{BaseIsoLevel, CreationFeatures, IsoFormatOptions};
use hadris_iso::write::{InputEntry, InputTree, IsoImageWriter};

const VOLUME_LABEL: &str = "config-2";
const SECTOR: usize = 2048;
const FIRST_DESCRIPTOR: usize = 16;

/// 2000-01-01 00:00:00 UTC in a directory record: years since 1900, month, day, hour, minute,
/// second, offset in quarters of an hour.
const RECORD_TIME: [u8; 7] = [100, 1, 1, 0, 0, 0, 0];
/// The same in a volume descriptor: digits, then the offset.
const DESCRIPTOR_TIME: &[u8; 17] = b"2000010100000000\0";

/// The image. The error is the writer's words.
pub(super) fn build(entries: Vec<InputEntry>) -> Result<Vec<u8>, String> {
    let options = IsoFormatOptions {
        volume_name: VOLUME_LABEL.to_owned(),
        system_id: None,
        volume_set_id: None,
        publisher_id: None,
        preparer_id: None,
        application_id: None,
        sector_size: SECTOR,
        features: CreationFeatures {
            filenames: BaseIsoLevel::Level2 { supports_lowercase: false, supports_rrip: true },
            joliet: Some(JolietLevel::Level3),
            rock_ridge: Some(RripOptions { preserve_timestamps: false, ..RripOptions::default() }),
            ..CreationFeatures::default()
        },
        path_separator: PathSeparator::ForwardSlash,
        // The label has lower-case letters and a hyphen, as everybody writes and expects it.
        strict_charset: false,
    };
    let tree = InputTree::new(PathSeparator::ForwardSlash, entries);
    let written = IsoImageWriter::create(Cursor::new(Vec::new()), tree, options);
    let mut image = written.map_err(|e| e.to_string())?.into_inner();
    image.resize(image.len().next_multiple_of(SECTOR), 0);
    fix_times(&mut image).ok_or("the writer made an image that cannot be read back")?;
    Ok(image)
}

/// `None`: a structure is not where ISO 9660 has it.
fn fix_times(image: &mut [u8]) -> Option<()> {
    const TERMINATOR: u8 = 255;
    const ROOT_RECORD: usize = 156;
    const TIMES: usize = 813;
    for sector in FIRST_DESCRIPTOR.. {
        let start = sector * SECTOR;
        match *image.get(start)? {
            TERMINATOR => return Some(()),
            // Primary and supplementary (Joliet) descriptors.
            1 | 2 => {
                fix_record(image, start + ROOT_RECORD)?;
                fix_directories(image, start + ROOT_RECORD)?;
                let times = image.get_mut(start + TIMES..start + TIMES + 4 * 17)?;
                for time in times.chunks_exact_mut(17) {
                    time.copy_from_slice(DESCRIPTOR_TIME);
                }
            }
            _ => {}
        }
    }
    None
}

/// Sets the time of all records in the directory that the record at `root` names, and below.
fn fix_directories(image: &mut [u8], root: usize) -> Option<()> {
    const FLAGS: usize = 25;
    const IS_DIRECTORY: u8 = 2;
    let mut seen = BTreeSet::new();
    let mut to_do = vec![extent(image, root)?];
    while let Some((start, length)) = to_do.pop() {
        if !seen.insert(start) {
            continue;
        }
        let mut at = start;
        while at < start.checked_add(length)? {
            let record = usize::from(*image.get(at)?);
            if record == 0 {
                // Records do not cross sectors; the rest of this one is empty.
                at = (at + 1).next_multiple_of(SECTOR);
                continue;
            }
            fix_record(image, at)?;
            if image.get(at + FLAGS)? & IS_DIRECTORY != 0 {
                to_do.push(extent(image, at)?);
            }
            at += record;
        }
    }
    Some(())
}

fn fix_record(image: &mut [u8], at: usize) -> Option<()> {
    const TIME: usize = 18;
    image.get_mut(at + TIME..at + TIME + 7)?.copy_from_slice(&RECORD_TIME);
    Some(())
}

/// Offset and length in bytes of what a directory record names.
fn extent(image: &[u8], record: usize) -> Option<(usize, usize)> {
    let number = |at: usize| {
        let bytes = image.get(record + at..)?.first_chunk::<4>()?;
        usize::try_from(u32::from_le_bytes(*bytes)).ok()
    };
    Some((number(2)?.checked_mul(SECTOR)?, number(10)?))
}
