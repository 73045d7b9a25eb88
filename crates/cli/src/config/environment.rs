//! What of the process's surroundings decides about configuration, as plain data, so that tests
//! need not change the process.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// Variables, directories and rights of the process.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// Environment variables that are valid UTF-8 and not empty.
    pub variables: BTreeMap<String, String>,
    /// Where the process was started.
    pub current_dir: PathBuf,
    /// Where the administrator of the machine keeps configuration for all users.
    pub system_dir: PathBuf,
    /// Whether it runs as root, like a daemon that was started without configuration.
    pub is_root: bool,
}

impl Environment {
    /// Of this process.
    pub fn of_process() -> Self {
        Self {
            variables: std::env::vars_os()
                .filter_map(|(key, value)| {
                    Some((key.into_string().ok()?, value.into_string().ok()?))
                })
                .filter(|(_, value)| !value.is_empty())
                .collect(),
            current_dir: std::env::current_dir().unwrap_or_default(),
            system_dir: PathBuf::from("/etc/openstack"),
            is_root: rustix::process::geteuid().is_root(),
        }
    }

    /// A variable; an empty one counts as unset.
    pub fn get(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        self.variables.get(name).map(PathBuf::from)
    }

    /// Where the openstack clients of this user keep their configuration.
    pub fn config_dirs(&self) -> Vec<PathBuf> {
        let mut dirs = vec![self.current_dir.clone()];
        let home = self.path("HOME").map(|home| home.join(".config"));
        for base in [self.path("XDG_CONFIG_HOME"), home].into_iter().flatten() {
            let dir = base.join("openstack");
            if !dirs.contains(&dir) {
                dirs.push(dir);
            }
        }
        dirs.push(self.system_dir.clone());
        dirs
    }

    /// The data directory of a daemon that this user started without flags.
    pub fn data_dir(&self) -> Option<PathBuf> {
        if let Some(dir) = self.path("REPRIEVE_DATA_DIR") {
            return Some(dir);
        }
        if self.is_root {
            return Some(PathBuf::from("/var/lib/reprieve"));
        }
        let share = self.path("HOME").map(|home| home.join(".local/share"));
        self.path("XDG_DATA_HOME").or(share).map(|base| base.join("reprieve"))
    }
}
