//! The first administrator, and the files that tell a client how to log in as it.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use reprieve_core::ids::hex_id;
use reprieve_core::{ProjectId, UserId};
use reprieve_store::StoreError;
use reprieve_store::identity::{FirstUser, ProjectRecord, RoleRecord, UserRecord};

use super::now;
use super::password::{PasswordError, random_text};
use crate::Control;
use crate::app::secret::Password;
use crate::auth::Role;

/// Name of the first user, of its project and of its role.
const ADMIN: &str = "admin";

/// What [`bootstrap`] found or did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// First start: the administrator was created and the files written.
    Created,
    /// All was there; the address in the files was brought up to date if necessary.
    Kept,
    /// There are users but no clouds.yaml, and passwords cannot be read back: if the administrator's
    /// is not known, it has to be reset ([`reset_admin_password`]).
    PasswordUnknown,
}

/// Where the files are and what happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bootstrapped {
    /// What happened.
    pub outcome: Outcome,
    /// For OpenStack clients and `reprieve`: `OS_CLIENT_CONFIG_FILE`, cloud `reprieve`.
    pub clouds: PathBuf,
    /// For shells.
    pub openrc: PathBuf,
}

/// Why the first start failed.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// A file could not be read or written.
    #[error("{path} could not be written or read; check that the directory exists and is writable")]
    File {
        /// File.
        path: PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// No password could be made.
    #[error("no password could be made for the administrator")]
    Password(#[from] PasswordError),
    /// The database failed.
    #[error("the administrator could not be created")]
    Store(#[from] StoreError),
    /// Writing did not end in time or was cut off by the end of the process.
    #[error("writing the client configuration was interrupted")]
    Interrupted,
}

/// Makes sure that an administrator exists and that `data_dir` says how to log in.
///
/// The files are written before the database: a crash in between leaves files with a password of
/// nobody, which the next start replaces, never an administrator whose password is lost.
///
/// # Errors
/// [`BootstrapError`].
pub async fn bootstrap(control: &Control, data_dir: &Path) -> Result<Bootstrapped, BootstrapError> {
    let files = Files::in_dir(control, data_dir);
    let has_users = !control.store.users(None).await?.is_empty();
    let outcome = if has_users {
        files.refresh().await?
    } else {
        let password = new_password()?;
        let hash = control.identity.passwords.stretch(password.clone()).await?;
        files.write(&password).await?;
        let (user, project, roles) = (admin_user(control), admin_project(control), all_roles());
        let first = FirstUser { user, password: hash, project, roles };
        if control.store.create_first_user(first).await? {
            Outcome::Created
        } else {
            // Another process on the same database was faster; its password is the one that counts.
            files.remove().await?;
            Outcome::PasswordUnknown
        }
    };
    Ok(Bootstrapped { outcome, clouds: files.clouds, openrc: files.openrc })
}

/// Gives the user `admin` a new password, writes the files, and makes sure that it is enabled and
/// administrator of the project `admin`.
///
/// # Errors
/// [`BootstrapError`].
pub async fn reset_admin_password(
    control: &Control,
    data_dir: &Path,
) -> Result<Bootstrapped, BootstrapError> {
    let files = Files::in_dir(control, data_dir);
    let password = new_password()?;
    let hash = control.identity.passwords.stretch(password.clone()).await?;
    let store = &control.store;
    let project = match store.project_by_name(ADMIN).await? {
        Some(project) => ProjectRecord { enabled: true, ..project },
        None => {
            store.create_project(admin_project(control)).await?;
            admin_project_of(store.project_by_name(ADMIN).await?)?
        }
    };
    store.update_project(&project).await?;
    for role in all_roles() {
        match store.create_role(role).await {
            Ok(()) | Err(StoreError::Exists { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let user = match store.user_by_name(ADMIN).await? {
        Some(user) => {
            let user = UserRecord { enabled: true, ..user };
            store.update_user(&user, Some(hash)).await?;
            user
        }
        None => {
            let user = admin_user(control);
            store.create_user(user.clone(), Some(hash)).await?;
            user
        }
    };
    for role in store.roles(Some(ADMIN)).await? {
        store.assign_role(&user.id, &project.id, &role.id).await?;
    }
    control.identity.cache.clear();
    files.write(&password).await?;
    Ok(Bootstrapped { outcome: Outcome::Created, clouds: files.clouds, openrc: files.openrc })
}

fn admin_project_of(found: Option<ProjectRecord>) -> Result<ProjectRecord, StoreError> {
    found.ok_or_else(|| StoreError::NotFound { what: "project", id: ADMIN.to_owned() })
}

fn new_password() -> Result<Password, PasswordError> {
    Ok(Password::from(random_text::<18>()?))
}

fn admin_user(control: &Control) -> UserRecord {
    UserRecord {
        id: UserId::from(hex_id()),
        name: ADMIN.to_owned(),
        enabled: true,
        default_project: None,
        description: Some("Administrator, created at the first start".to_owned()),
        email: None,
        created_at: now(control),
    }
}

fn admin_project(control: &Control) -> ProjectRecord {
    ProjectRecord {
        id: ProjectId::from(hex_id()),
        name: ADMIN.to_owned(),
        enabled: true,
        description: "Project of the administrator, created at the first start".to_owned(),
        created_at: now(control),
    }
}

fn all_roles() -> Vec<RoleRecord> {
    [Role::Admin, Role::Manager, Role::Member, Role::Reader]
        .map(|role| RoleRecord { id: hex_id(), name: role.as_str().to_owned(), description: None })
        .into()
}

/// The two files, and what stands in them besides the password.
struct Files {
    clouds: PathBuf,
    openrc: PathBuf,
    auth_url: String,
    region: String,
}

impl Files {
    fn in_dir(control: &Control, data_dir: &Path) -> Self {
        Self {
            clouds: data_dir.join("clouds.yaml"),
            openrc: data_dir.join("openrc"),
            auth_url: format!("{}/identity/v3", control.settings.public_url),
            region: control.settings.region.clone(),
        }
    }

    async fn write(&self, password: &Password) -> Result<(), BootstrapError> {
        let clouds = format!(
            "# Written by reprieved: export OS_CLIENT_CONFIG_FILE={path} OS_CLOUD=reprieve\n\
             clouds:\n  reprieve:\n    auth:\n      auth_url: {url}\n      username: {ADMIN}\n      \
             password: '{password}'\n      project_name: {ADMIN}\n      \
             user_domain_name: Default\n      project_domain_name: Default\n    \
             region_name: {region}\n    interface: public\n    identity_api_version: 3\n",
            path = self.clouds.display(),
            url = self.auth_url,
            password = password.reveal(),
            region = self.region,
        );
        let openrc = format!(
            "# Written by reprieved: use with `. openrc`\n\
             export OS_AUTH_URL={url}\nexport OS_USERNAME={ADMIN}\nexport OS_PASSWORD='{password}'\n\
             export OS_PROJECT_NAME={ADMIN}\nexport OS_USER_DOMAIN_NAME=Default\n\
             export OS_PROJECT_DOMAIN_NAME=Default\nexport OS_REGION_NAME={region}\n\
             export OS_INTERFACE=public\nexport OS_IDENTITY_API_VERSION=3\n",
            url = self.auth_url,
            password = password.reveal(),
            region = self.region,
        );
        replace(self.clouds.clone(), clouds).await?;
        replace(self.openrc.clone(), openrc).await
    }

    /// Brings the address up to date and keeps everything else, also what somebody added.
    async fn refresh(&self) -> Result<Outcome, BootstrapError> {
        let Some(clouds) = read(&self.clouds).await? else { return Ok(Outcome::PasswordUnknown) };
        if let Some(fresh) = refreshed_clouds(&clouds, &self.auth_url) {
            replace(self.clouds.clone(), fresh).await?;
        }
        if let Some(openrc) = read(&self.openrc).await?
            && let Some(fresh) = with_value(&openrc, "export OS_AUTH_URL=", &self.auth_url)
        {
            replace(self.openrc.clone(), fresh).await?;
        }
        Ok(Outcome::Kept)
    }

    async fn remove(&self) -> Result<(), BootstrapError> {
        for path in [&self.clouds, &self.openrc] {
            match tokio::fs::remove_file(path).await {
                Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                    return Err(BootstrapError::File { path: path.clone(), source });
                }
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }
}

/// The text with the `auth_url` of cloud `reprieve` set; `None` when nothing has to change.
fn refreshed_clouds(text: &str, url: &str) -> Option<String> {
    let (before, own) = text.split_once("\n  reprieve:\n")?;
    // The next cloud begins at the same depth.
    let end = own
        .match_indices("\n  ")
        .map(|(at, _)| at)
        .find(|at| own.get(at + 3..).is_some_and(|rest| !rest.starts_with([' ', '#', '\n'])));
    let (own, after) = own.split_at(end.unwrap_or(own.len()));
    let fresh = with_value(own, "      auth_url: ", url)?;
    Some(format!("{before}\n  reprieve:\n{fresh}{after}"))
}

/// The text with the rest of the line that begins with `key` set; `None` when nothing has to change.
fn with_value(text: &str, key: &str, value: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with(key))?;
    let wanted = format!("{key}{value}");
    if line == wanted {
        return None;
    }
    let lines = text.split('\n').map(|each| if each == line { wanted.as_str() } else { each });
    Some(lines.collect::<Vec<_>>().join("\n"))
}

async fn read(path: &Path) -> Result<Option<String>, BootstrapError> {
    match tokio::fs::read_to_string(path).await {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(BootstrapError::File { path: path.to_owned(), source }),
    }
}

/// Writes a file that only its owner may read, so that it is there whole or not at all.
async fn replace(path: PathBuf, text: String) -> Result<(), BootstrapError> {
    let work = tokio::task::spawn_blocking(move || {
        replace_blocking(&path, &text).map_err(|source| BootstrapError::File { path, source })
    });
    work.await.map_err(|_| BootstrapError::Interrupted)?
}

fn replace_blocking(path: &Path, text: &str) -> std::io::Result<()> {
    let temporary = path.with_extension("new");
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    match path.parent() {
        Some(dir) => std::fs::File::open(dir)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_address_of_our_cloud_changes() {
        let text = "clouds:\n  other:\n    auth:\n      auth_url: http://o/v3\n  reprieve:\n    auth:\n      \
                    auth_url: http://old/identity/v3\n      password: 'x'\n  third:\n    auth:\n      \
                    auth_url: http://t/v3\n";
        let fresh = refreshed_clouds(text, "http://new/identity/v3").unwrap();
        assert_eq!(fresh, text.replace("http://old/", "http://new/"));
        assert_eq!(refreshed_clouds(&fresh, "http://new/identity/v3"), None);
        assert_eq!(refreshed_clouds("clouds: {}\n", "http://new"), None);
    }
}
