//! Creating servers: resolve what the request names, choose a host, record.

use std::collections::BTreeMap;

use rand::seq::IndexedRandom as _;
use reprieve_core::policy::rules;
use reprieve_core::quota::{self, Amount};
use reprieve_core::schedule::{NoHost, Target};
use reprieve_core::spec::{ImageSpec, InjectedFile};
use reprieve_core::{ImageId, InstanceId, ServerGroupId};
use reprieve_store::{
    DiskConfig, FlavorRecord, InstanceRecord, NewInstance, SchedulerHints, Situation, StoreError,
};

use super::super::images::{self, ImageError, ImageRecord};
use super::super::secret::Password;
use super::super::{AppError, Call, flavors, quotas};
use super::destination::Destination;
use super::group;
use super::schedule::{self, Search};

/// Most servers of one request, however many a quota allows.
const MAX_COUNT: u32 = 1000;
/// How often the servers that quotas allow are counted while others use them up.
const ATTEMPTS: u32 = 10;
/// Longest label of a host name.
const HOSTNAME: usize = 63;
const GIB: u64 = 1 << 30;

/// A validated request for servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewServer {
    /// Display name; several servers get `-1`, `-2`, …
    pub name: String,
    /// Description.
    pub description: Option<String>,
    /// Host name of the guest; `None` = made from the name.
    pub hostname: Option<String>,
    /// Image.
    pub image: ImageId,
    /// Flavor id.
    pub flavor_id: String,
    /// Key pair of the caller.
    pub key_name: Option<String>,
    /// Metadata.
    pub metadata: BTreeMap<String, String>,
    /// Tags.
    pub tags: Vec<String>,
    /// User data, base64 as given.
    pub user_data: Option<String>,
    /// Administrator password; `None` = generate one.
    pub admin_password: Option<Password>,
    /// Config drive; `None` = with one, because nothing else could tell the guest its data.
    pub config_drive: Option<bool>,
    /// Availability zone.
    pub availability_zone: Option<String>,
    /// Host named in the availability zone (administrators).
    pub forced: Target,
    /// Host named by itself (administrators, 2.74).
    pub requested: Target,
    /// At least so many.
    pub min_count: u32,
    /// At most so many.
    pub max_count: u32,
    /// Disk configuration.
    pub disk_config: Option<DiskConfig>,
    /// `accessIPv4`.
    pub access_ip_v4: Option<String>,
    /// `accessIPv6`.
    pub access_ip_v6: Option<String>,
    /// Scheduler hints; `group` names a server group.
    pub scheduler_hints: SchedulerHints,
    /// Files for the config drive.
    pub injected_files: Vec<InjectedFile>,
}

/// What was recorded.
#[derive(Debug)]
pub struct CreatedServers {
    /// `r-xxxxxxxx`.
    pub reservation_id: String,
    /// Password of all of them, shown this once.
    pub admin_password: Password,
    /// The servers; at least one.
    pub servers: Vec<InstanceRecord>,
}

/// Everything that the servers of one request share.
struct Resolved {
    flavor: FlavorRecord,
    image: ImageSpec,
    public_keys: BTreeMap<String, String>,
    destination: Destination,
    password: Password,
    reservation_id: String,
}

/// Accepts the request: as many servers as quotas allow, if these are enough. Servers for which no
/// host can be found are recorded in ERROR, as Nova does.
///
/// # Errors
/// [`AppError::BadRequest`] when flavor, image, key, zone, host or group cannot be used,
/// [`AppError::Forbidden`] when the flavor has no disk and the caller may not use such,
/// [`AppError::QuotaExceeded`].
pub async fn create(call: &Call<'_>, mut new: NewServer) -> Result<CreatedServers, AppError> {
    check_contents(call, &new).await?;
    let given = new.admin_password.take();
    let shared = resolve(call, &new, given).await?;
    let servers = record(call, &new, &shared).await?;
    call.control.wake_dispatcher.notify_one();
    for server in &servers {
        let host = server.host.as_ref().map(|host| host.as_str());
        let operation = server.active.map(|(id, _)| id.to_string());
        tracing::info!(
            request_id = call.request_id.as_str(), server = %server.id, operation, host,
            "create accepted: {} with {} and image {}",
            server.domain_name(), shared.flavor.name, shared.image.id
        );
        if let Some(fault) = &server.fault {
            let reason = fault.fault.message.as_str();
            tracing::warn!(
                target: "reprieve::conductor", request_id = call.request_id.as_str(),
                server = %server.id, reason, "no valid host for flavor {}", shared.flavor.name
            );
        }
    }
    let Resolved { reservation_id, password, .. } = shared;
    Ok(CreatedServers { reservation_id, admin_password: password, servers })
}

/// What a request may bring along for each server.
async fn check_contents(call: &Call<'_>, new: &NewServer) -> Result<(), AppError> {
    let (project, user) = (&call.auth.project_id, &call.auth.user_id);
    let limits = call.control.store.quota_limits(project, Some(user)).await?;
    quotas::check_items(&limits, new.metadata.len())?;
    super::check_metadata(new.metadata.iter())?;
    let sizes: Vec<(usize, usize)> =
        new.injected_files.iter().map(|file| (file.path.len(), file.contents.len())).collect();
    quota::check_files(&limits, &sizes)
        .map_err(|refused| AppError::QuotaExceeded(refused.to_string()))?;
    if !new.injected_files.is_empty() && new.config_drive == Some(false) {
        let text = "Files can be injected (personality) through a config drive only.";
        return Err(AppError::BadRequest(text.to_owned()));
    }
    Ok(())
}

/// Records the servers. What was counted for them before may have changed until the transaction looks;
/// then it is counted again. Their hosts are chosen there and then.
async fn record(
    call: &Call<'_>,
    new: &NewServer,
    shared: &Resolved,
) -> Result<Vec<InstanceRecord>, AppError> {
    let mut attempt = 1;
    loop {
        let group = group::joining(call, &new.scheduler_hints).await?;
        let count = granted(call, new, &shared.flavor).await?;
        let rows = (0..count).map(|index| row(call, new, shared, (index, count, group)));
        let rows = rows.collect::<Result<Vec<_>, _>>()?;
        let search = Search {
            destination: &shared.destination,
            default_zone: &call.control.settings.availability_zone,
            now: call.control.clock.now(),
        };
        let choose = |situation: &Situation, servers: &mut [NewInstance]| {
            schedule::place(situation, &search, servers);
        };
        match call.control.store.create_chosen(rows, &call.action(), choose).await {
            Ok(servers) => return Ok(servers),
            Err(StoreError::OverQuota(_)) if attempt < ATTEMPTS => attempt += 1,
            Err(StoreError::NotFound { id, .. }) => return Err(group::not_found(&id)),
            Err(error) => return Err(error.into()),
        }
    }
}

/// How many servers the quotas allow: at least `min_count`, at most `max_count`.
async fn granted(call: &Call<'_>, new: &NewServer, flavor: &FlavorRecord) -> Result<u32, AppError> {
    let (project, user) = (&call.auth.project_id, &call.auth.user_id);
    let accounts = call.control.store.server_accounts(project, user).await?;
    let one = Amount {
        instances: 1,
        cores: i64::from(flavor.vcpus),
        ram: i64::try_from(flavor.memory_mib).unwrap_or(i64::MAX),
    };
    let min = new.min_count.max(1);
    let granted = quota::grant(&accounts, one, (min, new.max_count.max(min)))
        .map_err(|over| AppError::QuotaExceeded(over.to_string()))?;
    if min > MAX_COUNT {
        return Err(AppError::BadRequest(format!("min_count must be <= {MAX_COUNT}")));
    }
    Ok(granted.min(MAX_COUNT))
}

async fn resolve(
    call: &Call<'_>,
    new: &NewServer,
    password: Option<Password>,
) -> Result<Resolved, AppError> {
    let flavor = flavors::get(call, &new.flavor_id).await.map_err(|error| match error {
        AppError::NotFound(text) => AppError::BadRequest(text),
        other => other,
    })?;
    let image = image(call, new.image, &flavor).await?;
    let mut public_keys = BTreeMap::new();
    if let Some(name) = &new.key_name {
        let key = call.control.store.keypair(&call.auth.user_id, name).await?;
        let key =
            key.ok_or_else(|| AppError::BadRequest("Invalid key_name provided.".to_owned()))?;
        public_keys.insert(key.name, key.public_key);
    }
    Ok(Resolved {
        flavor,
        image,
        public_keys,
        destination: Destination::of(call, new).await?,
        password: password.unwrap_or_else(Password::generate),
        reservation_id: reservation_id(),
    })
}

/// The image, if it can be booted with the flavor.
async fn image(call: &Call<'_>, id: ImageId, flavor: &FlavorRecord) -> Result<ImageSpec, AppError> {
    let image = match images::get(call.control, call.auth, id).await {
        Ok(image) => image,
        Err(ImageError::NotFound(_)) => {
            return Err(AppError::BadRequest("Can not find requested image".to_owned()));
        }
        Err(error) => return Err(AppError::image("reading an image", error)),
    };
    let spec =
        image.spec().ok_or_else(|| AppError::BadRequest(format!("Image {id} is not active.")))?;
    fits(&image, flavor)?;
    may_be_without_disk(call, flavor)?;
    Ok(spec)
}

/// A disk of no declared size is as large as the image wants, on whatever host. Every server here
/// boots from an image, so there is no volume that would make it harmless.
fn may_be_without_disk(call: &Call<'_>, flavor: &FlavorRecord) -> Result<(), AppError> {
    if flavor.root_gib > 0 || call.may_own(rules::SERVERS_ZERO_DISK) {
        return Ok(());
    }
    let text = "Only volume-backed servers are allowed for flavors with zero disk.";
    Err(AppError::Forbidden(text.to_owned()))
}

/// What the image asks of a flavor, as Nova checks it: its data and its minimums. Whether the disk
/// that a guest would see fits is found out on the host, which fails the build.
fn fits(image: &ImageRecord, flavor: &FlavorRecord) -> Result<(), AppError> {
    if u64::from(image.min_ram) > flavor.memory_mib {
        let text = "Flavor's memory is too small for requested image.";
        return Err(AppError::BadRequest(text.to_owned()));
    }
    if flavor.root_gib == 0 {
        return Ok(());
    }
    let disk = flavor.root_gib.saturating_mul(GIB);
    let needed = image.data.as_ref().map_or(0, |data| data.size);
    let minimum = u64::from(image.min_disk).saturating_mul(GIB);
    let refuse = |what: &str, bytes: u64| {
        Err(AppError::BadRequest(format!(
            "Flavor's disk is too small for requested image. Flavor disk is {disk} bytes, \
             {what} is {bytes} bytes."
        )))
    };
    if needed > disk {
        return refuse("image", needed);
    }
    if minimum > disk { refuse("minimum", minimum) } else { Ok(()) }
}

fn row(
    call: &Call<'_>,
    new: &NewServer,
    shared: &Resolved,
    (index, count, group): (u32, u32, Option<ServerGroupId>),
) -> Result<NewInstance, AppError> {
    let id = InstanceId::random();
    let number = index.saturating_add(1);
    let (name, hostname) = match (&new.hostname, count) {
        (given, 1) => (new.name.clone(), given.clone()),
        (given, _) => (
            format!("{}-{number}", new.name),
            given.as_ref().map(|hostname| format!("{hostname}-{number}")),
        ),
    };
    let secret = shared.password.reveal();
    let sealed = call.control.sealing_key.seal(id, secret)?;
    Ok(NewInstance {
        id,
        project_id: call.auth.project_id.clone(),
        user_id: call.auth.user_id.clone(),
        hostname: hostname.unwrap_or_else(|| hostname_of(&name, id)),
        name,
        description: new.description.clone(),
        image: Some(shared.image.clone()),
        flavor: shared.flavor.snapshot(),
        metadata: new.metadata.clone(),
        tags: new.tags.clone(),
        key_name: new.key_name.clone(),
        public_keys: shared.public_keys.clone(),
        user_data: new.user_data.clone(),
        admin_password: (!secret.is_empty()).then_some(sealed),
        config_drive: new.config_drive.unwrap_or(true),
        availability_zone: shared.destination.zone.clone().unwrap_or_default(),
        requested_zone: shared.destination.zone.clone(),
        placement: schedule::nowhere(&NoHost(Vec::new())),
        scheduled_on: call.control.settings.host.clone(),
        reservation_id: shared.reservation_id.clone(),
        launch_index: index,
        disk_config: new.disk_config.unwrap_or(DiskConfig::Manual),
        access_ip_v4: new.access_ip_v4.clone(),
        access_ip_v6: new.access_ip_v6.clone(),
        group,
        scheduler_hints: new.scheduler_hints.clone(),
        injected_files: new.injected_files.clone(),
    })
}

/// A host name made from a display name: letters, digits, `-`, `_` and `.`, in lower case.
fn hostname_of(name: &str, id: InstanceId) -> String {
    let kept: String = name
        .chars()
        .map(|character| if character == ' ' || character == '_' { '-' } else { character })
        .filter(|character| character.is_ascii_alphanumeric() || matches!(character, '-' | '.'))
        .take(HOSTNAME)
        .collect();
    let clean = kept.trim_matches(['-', '.']).to_ascii_lowercase();
    if clean.is_empty() { format!("server-{id}") } else { clean }
}

/// `r-` and eight characters, as Nova's.
fn reservation_id() -> String {
    const ALPHABET: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut rng = rand::rng();
    let text: String = std::iter::repeat_with(|| ALPHABET.choose(&mut rng))
        .take(8)
        .flatten()
        .map(|byte| char::from(*byte))
        .collect();
    format!("r-{text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_from_display_names() {
        let id = InstanceId::random();
        assert_eq!(hostname_of("Web Server_1", id), "web-server-1");
        assert_eq!(hostname_of("-.x.-", id), "x");
        assert_eq!(hostname_of("ä/日本", id), format!("server-{id}"));
        assert_eq!(hostname_of(&"a".repeat(200), id).len(), 63);
    }

    #[test]
    fn reservations_look_like_novas() {
        let id = reservation_id();
        assert_eq!(id.len(), 10);
        assert!(id.starts_with("r-"));
    }
}
