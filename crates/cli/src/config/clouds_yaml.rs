//! clouds.yaml and secure.yaml, searched for where openstacksdk searches, plus the file that a
//! daemon on this machine wrote for itself.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::layer::{AuthSection, Layer};
use super::{ConfigError, Environment};

/// A configuration file is small; anything larger is something else.
const MAX_BYTES: u64 = 1 << 20;

/// The cloud that reprieved writes.
const OWN_CLOUD: &str = "reprieve";

#[derive(Default, Deserialize)]
#[serde(default)]
struct Document {
    clouds: BTreeMap<String, Entry>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: AuthSection,
    auth_type: Option<String>,
    region_name: Option<String>,
    interface: Option<String>,
    endpoint_type: Option<String>,
    cacert: Option<String>,
    verify: Option<bool>,
}

impl Entry {
    fn into_layer(self) -> Layer {
        Layer {
            auth_type: self.auth_type,
            region: self.region_name,
            interface: self.interface.or(self.endpoint_type),
            cacert: self.cacert,
            verify: self.verify,
            ..self.auth.into_layer()
        }
    }
}

/// A clouds.yaml that was found and read.
pub struct CloudsFile {
    /// Where it is.
    pub path: PathBuf,
    clouds: BTreeMap<String, Entry>,
}

impl CloudsFile {
    fn known(&self) -> String {
        let names: Vec<&str> = self.clouds.keys().map(String::as_str).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    }

    /// One cloud, completed by secure.yaml.
    pub fn cloud(&self, name: &str, env: &Environment) -> Result<Layer, ConfigError> {
        let entry = self.clouds.get(name).ok_or_else(|| ConfigError::UnknownCloud {
            name: name.to_owned(),
            searched: self.path.display().to_string(),
            known: self.known(),
        })?;
        let secret = secure_file(env)?.and_then(|mut clouds| clouds.remove(name));
        Ok(secret.unwrap_or_default().into_layer().over(entry.clone().into_layer()))
    }

    /// The cloud to take when none was named.
    pub fn default_cloud(&self) -> Result<String, ConfigError> {
        if self.clouds.contains_key(OWN_CLOUD) {
            return Ok(OWN_CLOUD.to_owned());
        }
        let mut names = self.clouds.keys();
        match (names.next(), names.next()) {
            (Some(only), None) => Ok(only.clone()),
            (None, _) => Err(ConfigError::Nothing),
            (Some(_), Some(_)) => {
                Err(ConfigError::Undecided { path: self.path.clone(), known: self.known() })
            }
        }
    }
}

fn candidates(env: &Environment, stem: &str) -> Vec<PathBuf> {
    let in_dir = |dir: PathBuf| ["yaml", "yml"].map(|ending| dir.join(format!("{stem}.{ending}")));
    env.config_dirs().into_iter().flat_map(in_dir).collect()
}

/// The places that are searched, for a message.
pub fn search_path(env: &Environment) -> String {
    let own = env.data_dir().map(|dir| dir.join("clouds.yaml"));
    let places = candidates(env, "clouds").into_iter().filter(|path| !path.ends_with("clouds.yml"));
    let places: Vec<String> = places.chain(own).map(|path| path.display().to_string()).collect();
    places.join(", ")
}

/// The first clouds.yaml there is.
///
/// # Errors
/// When a file is there and cannot be read or understood.
pub fn find(env: &Environment) -> Result<Option<CloudsFile>, ConfigError> {
    if let Some(path) = env.get("OS_CLIENT_CONFIG_FILE").map(PathBuf::from) {
        // Named by the user: that it is missing is a mistake, not a reason to look elsewhere.
        return match read(&path)? {
            Some(clouds) => Ok(Some(CloudsFile { path, clouds })),
            None => {
                Err(ConfigError::Unreadable { path, source: std::io::ErrorKind::NotFound.into() })
            }
        };
    }
    let own = env.data_dir().map(|dir| dir.join("clouds.yaml"));
    for path in candidates(env, "clouds").into_iter().chain(own) {
        if let Some(clouds) = read(&path)? {
            return Ok(Some(CloudsFile { path, clouds }));
        }
    }
    Ok(None)
}

fn secure_file(env: &Environment) -> Result<Option<BTreeMap<String, Entry>>, ConfigError> {
    let named = env.get("OS_CLIENT_SECURE_FILE").map(PathBuf::from);
    for path in named.into_iter().chain(candidates(env, "secure")) {
        if let Some(clouds) = read(&path)? {
            return Ok(Some(clouds));
        }
    }
    Ok(None)
}

fn read(path: &Path) -> Result<Option<BTreeMap<String, Entry>>, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
    let malformed = |reason: String| ConfigError::Malformed { path: path.to_owned(), reason };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error)
            if matches!(
                error.kind(),
                std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(unreadable(error)),
    };
    let mut text = String::new();
    let length = file.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(unreadable)?;
    if length as u64 > MAX_BYTES {
        return Err(malformed(format!("it is larger than {MAX_BYTES} bytes")));
    }
    if text.trim().is_empty() {
        return Ok(Some(BTreeMap::new()));
    }
    // Where, but not what: the parser quotes the text around, and that may be a password.
    let document: Document = serde_saphyr::from_str(&text).map_err(|error| {
        malformed(error.location().map_or_else(
            || "it is not a mapping with 'clouds'".to_owned(),
            |at| format!("look at line {}, column {}", at.line(), at.column()),
        ))
    })?;
    Ok(Some(document.clouds))
}
