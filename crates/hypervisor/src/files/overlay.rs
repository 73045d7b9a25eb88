//! Whether a disk is the one that would be built from an image, judged by its header.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use reprieve_core::image_format::{Qcow2Header, WINDOW_BYTES};

use super::qemu_img::backing_format;
use crate::durable;
use crate::image_cache::CachedImage;

/// `None`: there is no disk. `Some(Err)`: there is one that was not made from `base`, and why.
///
/// A disk that a guest has written to passes as well: what names its base does not change.
pub(super) fn check(
    path: &Path,
    base: &CachedImage,
) -> durable::Result<Option<Result<(), String>>> {
    let Some((head, size)) = durable::read_head(path, WINDOW_BYTES as u64)? else {
        return Ok(None);
    };
    Ok(Some(check_overlay(&head, size, base)))
}

fn check_overlay(head: &[u8], size: u64, base: &CachedImage) -> Result<(), String> {
    let header = Qcow2Header::parse(head, size).map_err(|e| e.to_string())?;
    let show = |name: &Option<Vec<u8>>| match name {
        Some(name) => String::from_utf8_lossy(name).into_owned(),
        None => "none".to_owned(),
    };
    if header.backing_file.as_deref() != Some(base.path.as_os_str().as_bytes()) {
        let (found, wanted) = (show(&header.backing_file), base.path.display());
        return Err(format!("its backing file is {found}, not {wanted}"));
    }
    let format = backing_format(base.format);
    if header.backing_format.as_deref() != Some(format.as_bytes()) {
        let found = show(&header.backing_format);
        return Err(format!("the format of its backing file is {found}, not {format}"));
    }
    if header.virtual_size < base.virtual_size {
        let (has, needs) = (header.virtual_size, base.virtual_size);
        return Err(format!("it has {has} bytes, its image {needs}"));
    }
    if header.external_data || header.encrypted {
        return Err("it has an external data file or is encrypted".to_owned());
    }
    Ok(())
}
