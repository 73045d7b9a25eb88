//! Steps on a server's files: image, own disk, config drive, removal.

use reprieve_core::spec::ImageSpec;
use reprieve_hypervisor::config_drive::{ConfigDrive, ConfigDriveError};
use reprieve_hypervisor::files::{FilesError, InstanceFiles};
use reprieve_hypervisor::image_cache::{CachedImage, ImageCacheError};

use super::{StepContext, StepFailure, domain, power};

impl From<FilesError> for StepFailure {
    fn from(error: FilesError) -> Self {
        let code = match &error {
            FilesError::FlavorTooSmall { .. } => 400,
            FilesError::ForeignDisk { .. } | FilesError::QemuImg { .. } | FilesError::Io { .. } => {
                500
            }
        };
        Self { code, ..Self::caused_by(&error) }
    }
}

impl From<ImageCacheError> for StepFailure {
    fn from(error: ImageCacheError) -> Self {
        Self::caused_by(&error)
    }
}

impl From<ConfigDriveError> for StepFailure {
    fn from(error: ConfigDriveError) -> Self {
        Self::caused_by(&error)
    }
}

/// Files of the server.
pub(super) fn of(context: &StepContext<'_>) -> InstanceFiles {
    InstanceFiles::new(context.paths.clone())
}

/// The image that this operation builds from: the rescue's if there is one, else the server's own.
pub(super) fn wanted_image<'a>(context: &'a StepContext<'_>) -> &'a ImageSpec {
    context.command.args.rescue_image.as_ref().unwrap_or(&context.command.spec.image)
}

/// The image in this host's cache.
pub(super) async fn cached(context: &StepContext<'_>) -> Result<CachedImage, StepFailure> {
    let host = context.host;
    Ok(host.cache.ensure(wanted_image(context), host.images.as_ref()).await?)
}

/// Brings the image into the cache.
pub(super) async fn prepare_image(context: &StepContext<'_>) -> Result<String, StepFailure> {
    let image = cached(context).await?;
    let (id, size) = (wanted_image(context).id, image.virtual_size);
    Ok(format!("image {id} is cached; its disk has {size} bytes"))
}

/// Makes the own disk. A disk that is there is never replaced.
pub(super) async fn build_disk(context: &StepContext<'_>) -> Result<String, StepFailure> {
    let files = of(context);
    let base = cached(context).await?;
    files.create_dir().await?;
    if !files.disk_is_built(&base).await? {
        files.build_disk(&base, context.command.spec.flavor.root_gib).await?;
    }
    Ok(format!("{} is built", context.paths.disk().display()))
}

/// Writes the config drive, if the server has one.
pub(super) async fn build_config_drive(context: &StepContext<'_>) -> Result<String, StepFailure> {
    let spec = &context.command.spec;
    if !spec.config_drive {
        return Ok("the server has no config drive".to_owned());
    }
    let password = spec.metadata.admin_password.as_ref();
    let drive = ConfigDrive::new(spec, password, &context.host.sealing_key)?
        .with_files(&context.command.args.injected_files);
    let file = context.paths.config_drive();
    if !drive.is_written(&file).await? {
        drive.write(&file).await?;
    }
    Ok(format!("{} is written", file.display()))
}

/// Removes everything of a server whose guest and definition are gone. A definition that is back, because
/// the machine lost its power before libvirt's disk had its removal, is removed once more.
pub(super) async fn remove_files(context: &StepContext<'_>) -> Result<String, StepFailure> {
    let mut domain = context.settled_domain().await?;
    if domain.as_ref().is_some_and(|domain| !domain.power.has_process()) {
        domain::undefine(context).await?;
        // Somebody may have started it meanwhile.
        domain = context.settled_domain().await?;
    }
    if domain.is_some() {
        return Err(StepFailure::failed(
            "the server's files are not removed while the hypervisor still has its domain",
        ));
    }
    let files = of(context);
    if !files.is_removed().await? {
        files.remove_all().await?;
    }
    Ok("the server's files are gone".to_owned())
}

/// Whether nothing is left of the files of a server.
pub(super) async fn are_removed(context: &StepContext<'_>) -> Result<bool, StepFailure> {
    Ok(of(context).is_removed().await?)
}

/// A server that could not be created has nothing that anybody could want back.
pub(super) async fn undo_create(context: &StepContext<'_>) -> Result<(), StepFailure> {
    power::power_off(context).await?;
    domain::undefine(context).await?;
    remove_files(context).await?;
    Ok(())
}
