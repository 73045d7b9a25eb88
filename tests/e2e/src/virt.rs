//! What libvirt and the kernel say about a guest, seen from outside: `virsh` and `/proc`.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use uuid::Uuid;

use crate::run::{Output, Run};

/// A disk of a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// `vda`.
    pub target: String,
    /// `virtio`.
    pub bus: String,
    /// Name of its file, without the directory.
    pub file: String,
    /// Order in which the firmware tries it.
    pub boot_order: Option<u32>,
}

/// One libvirt.
#[derive(Debug, Clone)]
pub struct Virt {
    /// Connection URI.
    pub uri: String,
}

impl Virt {
    /// Runs `virsh`.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn virsh(&self, args: &[&str]) -> Result<Output> {
        Run::new("virsh").args(["-q", "-c", &self.uri]).args(args).within(120).go()
    }

    fn say(&self, args: &[&str]) -> Result<String> {
        let output = self.virsh(args)?;
        if !output.ok() {
            bail!("virsh {}: {}", args.join(" "), output.stderr.trim());
        }
        Ok(output.stdout)
    }

    /// `running`, `paused`, `shut off`; `None` when there is no such domain.
    ///
    /// # Errors
    /// When libvirt does not answer.
    pub fn state(&self, id: Uuid) -> Result<Option<String>> {
        let output = self.virsh(&["domstate", &id.to_string()])?;
        if output.ok() {
            return Ok(Some(output.stdout.trim().to_owned()));
        }
        if output.stderr.contains("failed to get domain") {
            return Ok(None);
        }
        bail!("virsh domstate: {}", output.stderr.trim())
    }

    /// All domains that there are.
    ///
    /// # Errors
    /// When libvirt does not answer.
    pub fn domains(&self) -> Result<Vec<Uuid>> {
        let list = self.say(&["list", "--all", "--uuid"])?;
        let ids = list.split_whitespace().map(|id| id.parse().context("no UUID in virsh list"));
        ids.collect()
    }

    /// The definition: of the running guest, or the persistent one when it is off.
    ///
    /// # Errors
    /// When there is none.
    pub fn xml(&self, id: Uuid) -> Result<String> {
        self.say(&["dumpxml", &id.to_string()])
    }

    /// The definition that the next start uses.
    ///
    /// # Errors
    /// When there is none.
    pub fn inactive_xml(&self, id: Uuid) -> Result<String> {
        self.say(&["dumpxml", "--inactive", &id.to_string()])
    }

    /// The domain's line in `virsh list --all`.
    ///
    /// # Errors
    /// When there is no such domain.
    pub fn row(&self, id: Uuid) -> Result<String> {
        let name = self.say(&["domname", &id.to_string()])?;
        let name = name.trim();
        let list = self.say(&["list", "--all"])?;
        let row = list.lines().find(|line| line.split_whitespace().any(|word| word == name));
        row.map(str::to_owned).with_context(|| format!("virsh list --all does not show {name}"))
    }

    /// The disks as the definition of the running guest has them.
    ///
    /// # Errors
    /// When the definition cannot be read.
    pub fn disks(&self, id: Uuid) -> Result<Vec<Disk>> {
        disks_in(&self.xml(id)?)
    }

    /// The terminal of the guest's serial port.
    ///
    /// # Errors
    /// When it does not run.
    pub fn terminal(&self, id: Uuid) -> Result<PathBuf> {
        Ok(PathBuf::from(self.say(&["ttyconsole", &id.to_string()])?.trim()))
    }

    /// Stops the CPUs behind the back of the service.
    ///
    /// # Errors
    /// When libvirt refuses.
    pub fn suspend(&self, id: Uuid) -> Result<()> {
        self.say(&["suspend", &id.to_string()]).map(drop)
    }

    /// Lets the CPUs go on behind the back of the service.
    ///
    /// # Errors
    /// When libvirt refuses.
    pub fn resume(&self, id: Uuid) -> Result<()> {
        self.say(&["resume", &id.to_string()]).map(drop)
    }

    /// Removes whatever is left of a domain.
    ///
    /// # Errors
    /// When it is still there afterwards.
    pub fn remove(&self, id: Uuid) -> Result<()> {
        let name = id.to_string();
        let Some(state) = self.state(id)? else { return Ok(()) };
        if state != "shut off" {
            self.virsh(&["destroy", &name])?;
        }
        // One that has no definition is gone by now.
        self.virsh(&["undefine", "--managed-save", "--nvram", &name])?;
        match self.state(id)? {
            None => Ok(()),
            Some(state) => bail!("domain {id} cannot be removed; it is {state}"),
        }
    }
}

/// The disks in a definition.
///
/// # Errors
/// When it is no XML.
pub fn disks_in(xml: &str) -> Result<Vec<Disk>> {
    let document = roxmltree::Document::parse(xml).context("libvirt's XML cannot be read")?;
    let devices = document.root_element().children().filter(|node| node.has_tag_name("devices"));
    let disks = devices.flat_map(|node| node.children()).filter(|node| node.has_tag_name("disk"));
    let child = |disk: roxmltree::Node<'_, '_>, name: &str, attribute: &str| {
        let child = disk.children().find(|node| node.has_tag_name(name))?;
        child.attribute(attribute).map(str::to_owned)
    };
    let found = disks.map(|disk| {
        let file = child(disk, "source", "file").unwrap_or_default();
        Disk {
            target: child(disk, "target", "dev").unwrap_or_default(),
            bus: child(disk, "target", "bus").unwrap_or_default(),
            file: file.rsplit('/').next().unwrap_or_default().to_owned(),
            boot_order: child(disk, "boot", "order").and_then(|order| order.parse().ok()),
        }
    });
    Ok(found.collect())
}

/// The QEMU process of a guest, found by the UUID in its arguments.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn qemu_pid(id: Uuid) -> Result<Option<u32>> {
    let wanted = id.to_string();
    for entry in fs::read_dir("/proc").context("/proc cannot be read")? {
        let entry = entry.context("/proc cannot be read")?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // A process may end between the two.
        let Ok(arguments) = fs::read(entry.path().join("cmdline")) else { continue };
        let mut words = arguments.split(|byte| *byte == 0);
        let is_qemu = words.next().is_some_and(|word| {
            String::from_utf8_lossy(word).rsplit('/').next().is_some_and(|p| p.starts_with("qemu"))
        });
        if is_qemu && words.any(|word| word == wanted.as_bytes()) {
            return Ok(Some(pid));
        }
    }
    Ok(None)
}
