//! A server as the newest microversion shows it (spec/api.md section 7.3). What older versions show
//! is in the table of [`super::changes`].

use std::collections::BTreeMap;

use reprieve_core::{ImageId, InstanceId};
use serde::Serialize;
use serde_json::{Map, Value};

use super::super::super::links::Link;

/// A field that some callers or versions do not see; it is left out then.
pub type Shown<T> = Option<T>;

/// `GET /servers`: id, name, links.
#[derive(Debug, Serialize)]
pub struct Summary<'a> {
    pub id: InstanceId,
    pub name: &'a str,
    pub links: [Link; 2],
}

/// A server in full.
#[derive(Debug, Serialize)]
pub struct Server<'a> {
    pub id: InstanceId,
    pub name: &'a str,
    pub status: &'static str,
    pub tenant_id: &'a str,
    pub user_id: &'a str,
    pub metadata: &'a BTreeMap<String, String>,
    #[serde(rename = "hostId")]
    pub host_id: String,
    pub image: ImageOrNone<'a>,
    pub flavor: Flavor<'a>,
    pub created: String,
    pub updated: String,
    pub addresses: Nothing,
    #[serde(rename = "accessIPv4")]
    pub access_ip_v4: &'a str,
    #[serde(rename = "accessIPv6")]
    pub access_ip_v6: &'a str,
    pub links: [Link; 2],
    #[serde(rename = "OS-DCF:diskConfig")]
    pub disk_config: &'static str,
    /// Only some statuses have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Shown<u8>,
    /// Only some statuses have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Shown<Fault<'a>>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub extended: Shown<Extended<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_status: Shown<&'static str>,
    #[serde(rename = "OS-EXT-SRV-ATTR:hostname", skip_serializing_if = "Option::is_none")]
    pub hostname: Shown<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locked: Shown<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locked_reason: Shown<Option<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Shown<Option<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Shown<&'a [String]>,
    /// No image here has certificates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trusted_image_certificates: Shown<Option<Nothing>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pinned_availability_zone: Shown<Option<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduler_hints: Shown<Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_groups: Shown<Vec<String>>,
}

/// What used to be extensions: power and task, zone, times, devices.
#[derive(Debug, Serialize)]
pub struct Extended<'a> {
    #[serde(rename = "OS-EXT-AZ:availability_zone")]
    pub availability_zone: &'a str,
    /// `"True"` or empty.
    pub config_drive: &'static str,
    pub key_name: Option<&'a str>,
    #[serde(rename = "OS-SRV-USG:launched_at")]
    pub launched_at: Option<String>,
    #[serde(rename = "OS-SRV-USG:terminated_at")]
    pub terminated_at: Option<String>,
    #[serde(flatten)]
    pub attributes: Shown<Attributes<'a>>,
    #[serde(rename = "OS-EXT-STS:task_state")]
    pub task_state: Option<&'static str>,
    #[serde(rename = "OS-EXT-STS:vm_state")]
    pub vm_state: &'static str,
    #[serde(rename = "OS-EXT-STS:power_state")]
    pub power_state: i32,
    #[serde(rename = "os-extended-volumes:volumes_attached")]
    pub volumes_attached: [Nothing; 0],
}

/// Where and as what it runs: for administrators.
#[derive(Debug, Serialize)]
pub struct Attributes<'a> {
    #[serde(rename = "OS-EXT-SRV-ATTR:host")]
    pub host: Option<&'a str>,
    #[serde(rename = "OS-EXT-SRV-ATTR:instance_name")]
    pub instance_name: String,
    #[serde(rename = "OS-EXT-SRV-ATTR:hypervisor_hostname")]
    pub hypervisor_hostname: Option<&'a str>,
    #[serde(flatten)]
    pub request: Shown<AsRequested<'a>>,
}

/// What the request that made it said.
#[derive(Debug, Serialize)]
pub struct AsRequested<'a> {
    #[serde(rename = "OS-EXT-SRV-ATTR:reservation_id")]
    pub reservation_id: &'a str,
    #[serde(rename = "OS-EXT-SRV-ATTR:launch_index")]
    pub launch_index: u32,
    #[serde(rename = "OS-EXT-SRV-ATTR:kernel_id")]
    pub kernel_id: &'static str,
    #[serde(rename = "OS-EXT-SRV-ATTR:ramdisk_id")]
    pub ramdisk_id: &'static str,
    #[serde(rename = "OS-EXT-SRV-ATTR:root_device_name")]
    pub root_device_name: Option<&'static str>,
    #[serde(rename = "OS-EXT-SRV-ATTR:user_data")]
    pub user_data: Option<&'a str>,
}

/// The image, or an empty text.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum ImageOrNone<'a> {
    /// Made from an image.
    Image(Image<'a>),
    /// Without one.
    None(&'static str),
}

/// The image that a server was made from.
#[derive(Debug, Serialize)]
pub struct Image<'a> {
    pub id: ImageId,
    pub links: [Link; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub properties: Shown<&'a BTreeMap<String, String>>,
}

/// The flavor of a server.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Flavor<'a> {
    /// As it was when the server was made.
    Snapshot(FlavorSnapshot<'a>),
    /// Where it is, if it still is.
    Reference { id: &'a str, links: [Link; 1] },
}

/// A flavor as it was.
#[derive(Debug, Serialize)]
pub struct FlavorSnapshot<'a> {
    pub vcpus: u32,
    pub ram: u64,
    pub disk: u64,
    pub ephemeral: u64,
    pub swap: u64,
    pub original_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extra_specs: Shown<&'a BTreeMap<String, String>>,
}

/// What went wrong last.
#[derive(Debug, Serialize)]
pub struct Fault<'a> {
    pub code: u16,
    pub created: String,
    pub message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Shown<&'a str>,
}

/// `{}`.
#[derive(Debug, Default, Serialize)]
pub struct Nothing {}
