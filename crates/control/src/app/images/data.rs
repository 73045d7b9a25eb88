//! The images' data: written once while it is verified, then only read.
//!
//! An upload runs in a task of its own, so it always ends properly, also when the client goes away.
//! It writes to `<id>-<upload>.part`, which it keeps locked: a locked part belongs to a living
//! upload, of whatever process; an unlocked one is rubbish. A crash leaves at most an image in
//! `saving` and files, which [`recover`] puts right at the next start.
//!
//! ```text
//! create + lock part ─▶ queued→saving ─▶ receive ─▶ verify, sync ─▶ rename, sync dir ─▶ saving→active
//!         any failure: remove part and file, saving→queued
//! ```

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use md5::{Digest as _, Md5};
use reprieve_core::spec::DiskFormat;
use reprieve_core::{ImageId, image_format};
use sha2::Sha512;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tracing::Instrument as _;

use super::{ImageData, ImageError, ImageRecord, ImageStatus, data_path, get, get_for_change};
use crate::Control;
use crate::auth::AuthContext;

/// How long a client may send nothing.
const STALL: Duration = Duration::from_secs(60);
/// Pieces between the connection and the disk.
const IN_FLIGHT: usize = 8;

/// Data on its way in.
pub struct Upload<S> {
    /// Its length, if the client said.
    pub length: Option<u64>,
    /// The data.
    pub pieces: S,
}

/// Receives, verifies and keeps the data of an image.
///
/// # Errors
/// [`ImageError::Conflict`] unless the image is queued, [`ImageError::Format`] for data that is not
/// what it was declared to be, [`ImageError::TooLarge`], [`ImageError::StorageFull`],
/// [`ImageError::BrokenOff`]: the image is queued again after these. [`ImageError::Gone`] when it
/// was deleted meanwhile.
pub async fn upload<S, E>(
    control: &Arc<Control>,
    auth: &AuthContext,
    id: ImageId,
    upload: Upload<S>,
) -> Result<(), ImageError>
where
    S: Stream<Item = Result<Bytes, E>> + Send + Unpin + 'static,
    E: std::fmt::Display + Send,
{
    let image = get_for_change(control, auth, id).await?;
    let format = declared(&image)?;
    let limit = control.settings.max_image_bytes;
    if upload.length.is_some_and(|length| length > limit) {
        return Err(ImageError::TooLarge(limit));
    }
    let (control, span) = (control.clone(), tracing::Span::current());
    let task = async move { receive(&control, id, format, upload).await }.instrument(span);
    tokio::spawn(task).await.map_err(|_| ImageError::Interrupted)?
}

/// The format of an image that is ready for its data.
fn declared(image: &ImageRecord) -> Result<DiskFormat, ImageError> {
    match image.status {
        ImageStatus::Queued => {}
        ImageStatus::Saving | ImageStatus::Active | ImageStatus::Deactivated => {
            return Err(conflict(image.status.as_str()));
        }
    }
    match (image.disk_format, image.container_format) {
        (Some(format), Some(_)) => Ok(format),
        (None, _) | (_, None) => Err(ImageError::Invalid(
            "Properties disk_format, container_format must be set prior to saving data.".to_owned(),
        )),
    }
}

fn conflict(status: &str) -> ImageError {
    ImageError::Conflict(format!("Image status transition from {status} to saving is not allowed"))
}

/// Where the pieces of one upload go.
struct Place {
    dir: PathBuf,
    part: PathBuf,
    whole: PathBuf,
}

impl Place {
    fn new(dir: &Path, id: ImageId, upload: &str) -> Self {
        Self {
            dir: dir.to_owned(),
            part: dir.join(format!("{id}-{upload}.part")),
            whole: data_path(dir, id),
        }
    }
}

async fn receive<S, E>(
    control: &Control,
    id: ImageId,
    format: DiskFormat,
    upload: Upload<S>,
) -> Result<(), ImageError>
where
    S: Stream<Item = Result<Bytes, E>> + Send + Unpin,
    E: std::fmt::Display + Send,
{
    let key = reprieve_core::ids::hex_id();
    let place = Arc::new(Place::new(&control.settings.image_dir, id, &key));
    let creating = place.clone();
    let file = blocking(move || create_part(&creating)).await?;
    let mut begun = false;
    let result = async {
        begun = control.store.begin_upload(id, &key).await?;
        if !begun {
            return Err(conflict("another state"));
        }
        let wanted = Wanted { format, limit: control.settings.max_image_bytes };
        let received = write(file, &place, wanted, upload).await?;
        let settling = place.clone();
        let data = blocking(move || settle(received, wanted, &settling)).await?;
        finish(control, id, &key, &data).await
    }
    .await;
    if let Err(error) = &result {
        tracing::info!(target: "reprieve::api", image_id = %id, %error, "upload refused");
        undo(control, id, (begun, &key), (&place, error)).await;
    }
    result
}

/// saving → active. When the database fails in between, what it says afterwards counts.
async fn finish(
    control: &Control,
    id: ImageId,
    key: &str,
    data: &ImageData,
) -> Result<(), ImageError> {
    match control.store.finish_upload(id, key, data).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(ImageError::Gone(id)),
        Err(error) => match control.store.image(id).await {
            Ok(Some(image)) if image.data.as_ref() == Some(data) => Ok(()),
            Ok(_) | Err(_) => Err(error.into()),
        },
    }
}

/// Puts a failed upload right. What fails here is put right at the next start.
async fn undo(
    control: &Control,
    id: ImageId,
    (begun, key): (bool, &str),
    (place, error): (&Place, &ImageError),
) {
    let undone = async {
        remove(&place.part).await?;
        match error {
            // The file came after the deletion; unless somebody reused the id, it is nobody's.
            ImageError::Gone(_) if control.store.image(id).await?.is_none() => {
                remove(&place.whole).await?;
            }
            // Not ours any more, or nobody knows whether it became active.
            ImageError::Gone(_) | ImageError::Store(_) => {}
            _ if begun => {
                control.store.abort_upload(id, key).await?;
            }
            _ => {}
        }
        Ok::<(), ImageError>(())
    };
    if let Err(error) = undone.await {
        tracing::warn!(target: "reprieve::api", image_id = %id, %error, "upload left behind");
    }
}

/// What the data has to be.
#[derive(Clone, Copy)]
struct Wanted {
    format: DiskFormat,
    limit: u64,
}

/// All data is in the part file, not verified and not durable.
struct Received {
    file: File,
    head: Vec<u8>,
    size: u64,
    md5: String,
    sha512: String,
}

/// Takes the pieces from the connection and lets a thread write and hash them. Returns only when
/// the thread has ended.
async fn write<S, E>(
    file: File,
    place: &Arc<Place>,
    wanted: Wanted,
    mut upload: Upload<S>,
) -> Result<Received, ImageError>
where
    S: Stream<Item = Result<Bytes, E>> + Send + Unpin,
    E: std::fmt::Display + Send,
{
    let (sender, pieces) = mpsc::channel(IN_FLIGHT);
    let path = place.part.clone();
    let writer = tokio::task::spawn_blocking(move || -> Result<Received, ImageError> {
        let mut writer = Writer::new(file);
        writer.run(pieces, wanted.limit).map_err(|error| error.at(&path))?;
        Ok(writer.end())
    });
    let mut broken = None;
    loop {
        match timeout(STALL, upload.pieces.next()).await {
            Ok(None) => break,
            Ok(Some(Ok(piece))) => {
                // The writer ended early; it says below why.
                if sender.send(piece).await.is_err() {
                    break;
                }
            }
            Ok(Some(Err(error))) => {
                broken = Some(error.to_string());
                break;
            }
            Err(_) => {
                broken = Some(format!("nothing came for {} seconds", STALL.as_secs()));
                break;
            }
        }
    }
    drop(sender);
    let received = writer.await.map_err(|_| ImageError::Interrupted)??;
    match (broken, upload.length) {
        (Some(reason), _) => Err(ImageError::BrokenOff(reason)),
        (None, Some(length)) if length != received.size => Err(ImageError::BrokenOff(format!(
            "{length} bytes were announced, {} came",
            received.size
        ))),
        (None, _) => Ok(received),
    }
}

/// Writes and hashes; lives on a thread that may block.
struct Writer {
    file: File,
    head: Vec<u8>,
    size: u64,
    md5: Md5,
    sha512: Sha512,
}

enum WriteError {
    Io(io::Error),
    TooLarge(u64),
}

impl WriteError {
    fn at(self, path: &Path) -> ImageError {
        match self {
            Self::TooLarge(limit) => ImageError::TooLarge(limit),
            Self::Io(source) => file_error(path)(source),
        }
    }
}

impl Writer {
    fn new(file: File) -> Self {
        Self { file, head: Vec::new(), size: 0, md5: Md5::new(), sha512: Sha512::new() }
    }

    fn run(&mut self, mut pieces: mpsc::Receiver<Bytes>, limit: u64) -> Result<(), WriteError> {
        while let Some(piece) = pieces.blocking_recv() {
            self.size = self.size.saturating_add(piece.len() as u64);
            if self.size > limit {
                return Err(WriteError::TooLarge(limit));
            }
            let missing = image_format::WINDOW_BYTES.saturating_sub(self.head.len());
            self.head.extend(piece.iter().take(missing));
            self.file.write_all(&piece).map_err(WriteError::Io)?;
            self.md5.update(&piece);
            self.sha512.update(&piece);
        }
        Ok(())
    }

    fn end(self) -> Received {
        Received {
            file: self.file,
            head: self.head,
            size: self.size,
            md5: hex(&self.md5.finalize()),
            sha512: hex(&self.sha512.finalize()),
        }
    }
}

/// Verifies the data and gives it its name, durably.
fn settle(received: Received, wanted: Wanted, place: &Place) -> Result<ImageData, ImageError> {
    let Received { file, head, size, md5, sha512 } = received;
    let facts = image_format::inspect(wanted.format, &head, size)?;
    file.sync_all().map_err(file_error(&place.part))?;
    std::fs::rename(&place.part, &place.whole).map_err(file_error(&place.whole))?;
    sync_dir(&place.dir)?;
    Ok(ImageData { size, virtual_size: facts.virtual_size, md5, sha512 })
}

fn create_part(place: &Place) -> Result<File, ImageError> {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700).create(&place.dir).map_err(file_error(&place.dir))?;
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let file = options.open(&place.part).map_err(file_error(&place.part))?;
    file.try_lock().map_err(|error| file_error(&place.part)(error.into()))?;
    Ok(file)
}

/// Data on its way out.
pub struct Download {
    /// Opened; deleting the image does not disturb it.
    pub file: tokio::fs::File,
    /// What is known of it.
    pub data: ImageData,
}

/// Opens the data of an image; `None` when there is none yet.
///
/// # Errors
/// [`ImageError::NotFound`], [`ImageError::Refused`] when it is deactivated.
pub async fn download(
    control: &Control,
    auth: &AuthContext,
    id: ImageId,
) -> Result<Option<Download>, ImageError> {
    let image = get(control, auth, id).await?;
    if image.status == ImageStatus::Deactivated && !auth.is_admin() {
        return Err(ImageError::Refused(format!("The requested image {id} has been deactivated.")));
    }
    let Some(data) = image.data else { return Ok(None) };
    open(control, id, data).await.map(Some)
}

/// Opens the data of an own image for a compute host, whoever may see it; `None` when there is none.
///
/// # Errors
/// [`ImageError::Store`], [`ImageError::File`].
pub async fn download_for_host(
    control: &Control,
    id: ImageId,
) -> Result<Option<Download>, ImageError> {
    if control.images.external_url().is_some() {
        return Ok(None);
    }
    match control.store.image(id).await?.and_then(|image| image.data) {
        Some(data) => open(control, id, data).await.map(Some),
        None => Ok(None),
    }
}

async fn open(control: &Control, id: ImageId, data: ImageData) -> Result<Download, ImageError> {
    let path = data_path(&control.settings.image_dir, id);
    let file = tokio::fs::File::open(&path).await.map_err(file_error(&path))?;
    Ok(Download { file, data })
}

/// Removes the data of an image that no longer exists.
pub(super) async fn remove_data(image_dir: &Path, id: ImageId) -> Result<(), ImageError> {
    remove(&data_path(image_dir, id)).await
}

/// Puts right what a crash left: uploads that nobody carries on, and files of no image. To be called
/// at the start. Returns how many images are queued again.
///
/// # Errors
/// [`ImageError::File`], [`ImageError::Store`].
pub async fn recover(control: &Control) -> Result<usize, ImageError> {
    let dir = control.settings.image_dir.clone();
    // Before the files are looked at, so that no upload that begins now is taken for an old one.
    let uploads = control.store.uploads().await?;
    let scanned = blocking(move || scan(&dir)).await?;
    let mut requeued = 0;
    for (id, key) in uploads {
        let part = format!("{id}-{key}.part");
        if !scanned.in_use.contains(&part) && control.store.abort_upload(id, &key).await? {
            remove_data(&control.settings.image_dir, id).await?;
            requeued += 1;
        }
    }
    for id in scanned.whole {
        if control.store.image(id).await?.is_none() {
            remove_data(&control.settings.image_dir, id).await?;
        }
    }
    Ok(requeued)
}

#[derive(Default)]
struct Scanned {
    /// Names of parts that a living upload holds.
    in_use: std::collections::HashSet<String>,
    /// Images with a data file.
    whole: Vec<ImageId>,
}

/// Looks at the directory and removes parts that nobody holds. Files of other names are not ours.
fn scan(dir: &Path) -> Result<Scanned, ImageError> {
    let mut scanned = Scanned::default();
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(scanned),
        Err(error) => return Err(file_error(dir)(error)),
    };
    for entry in entries {
        let name = entry.map_err(file_error(dir))?.file_name();
        let Some(name) = name.to_str() else { continue };
        let path = dir.join(name);
        if name.ends_with(".part") {
            let held = File::open(&path).is_ok_and(|file| file.try_lock().is_err());
            if held {
                scanned.in_use.insert(name.to_owned());
            } else {
                std::fs::remove_file(&path).map_err(file_error(&path))?;
            }
        } else if let Ok(id) = name.parse::<ImageId>()
            && id.to_string() == name
        {
            scanned.whole.push(id);
        }
    }
    Ok(scanned)
}

async fn remove(path: &Path) -> Result<(), ImageError> {
    match tokio::fs::remove_file(path).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(file_error(path)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn sync_dir(dir: &Path) -> Result<(), ImageError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(file_error(dir))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ImageError> + Send + 'static,
) -> Result<T, ImageError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| ImageError::Interrupted)?
}

fn file_error(path: &Path) -> impl FnOnce(io::Error) -> ImageError {
    let path = path.to_owned();
    move |source| match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ImageError::StorageFull,
        _ => ImageError::File { path, source },
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
