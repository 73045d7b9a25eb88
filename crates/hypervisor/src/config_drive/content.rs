//! What stands on the drive, in the words of Nova's metadata.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hadris_iso::write::{InputEntry, InputMetadata};
use reprieve_core::spec::{InjectedFile, InstanceSpec};
use serde_json::{Map, Value, json};

use super::ConfigDriveError;

/// Metadata versions: `latest`, and the newest one that cloud-init looks for by name.
const VERSIONS: [&str; 2] = ["2018-08-27", "latest"];
/// Directory of the injected files, next to the versions.
const CONTENT: &str = "content";
/// Only the guest's root reads what may hold a password.
const FILE_MODE: u32 = 0o400;
const DIR_MODE: u32 = 0o555;

/// The whole tree, in a fixed order.
pub(super) fn tree(
    spec: &InstanceSpec,
    admin_password: Option<&str>,
    injected: &[InjectedFile],
) -> Result<Vec<InputEntry>, ConfigDriveError> {
    let user_data = user_data(spec)?;
    let meta_data = pretty(&meta_data(spec, admin_password, injected))?;
    let network_data = pretty(&json!({ "links": [], "networks": [], "services": [] }))?;
    let vendor_data = pretty(&json!({}))?;
    let version = |name: &str| {
        let mut files = vec![
            file("meta_data.json", &meta_data),
            file("network_data.json", &network_data),
            file("vendor_data.json", &vendor_data),
        ];
        files.extend(user_data.as_ref().map(|data| file("user_data", data)));
        directory(name, files)
    };
    let ec2 = file("meta-data.json", &pretty(&ec2_meta_data(spec))?);
    let mut openstack: Vec<InputEntry> = VERSIONS.iter().map(|name| version(name)).collect();
    if !injected.is_empty() {
        openstack.push(directory(CONTENT, contents(injected)?));
    }
    Ok(vec![
        directory("ec2", vec![directory("latest", vec![ec2])]),
        directory("openstack", openstack),
    ])
}

/// Injected files under numbers; the metadata says where the guest puts them.
fn contents(injected: &[InjectedFile]) -> Result<Vec<InputEntry>, ConfigDriveError> {
    let entry = |(index, one): (usize, &InjectedFile)| {
        let text: String = one.contents.split_ascii_whitespace().collect();
        let invalid = |_| ConfigDriveError::InjectedFile(one.path.clone());
        Ok(file(&number(index), &BASE64.decode(text).map_err(invalid)?))
    };
    injected.iter().enumerate().map(entry).collect()
}

/// Name of the injected file with this index.
fn number(index: usize) -> String {
    format!("{index:04}")
}

fn meta_data(
    spec: &InstanceSpec,
    admin_password: Option<&str>,
    injected: &[InjectedFile],
) -> Value {
    let metadata = &spec.metadata;
    let mut fields = Map::new();
    let mut put = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    put("uuid", json!(spec.id));
    if !metadata.meta.is_empty() {
        put("meta", json!(metadata.meta));
    }
    if !injected.is_empty() {
        let place = |(index, one): (usize, &InjectedFile)| {
            let content_path = format!("/{CONTENT}/{}", number(index));
            json!({ "path": one.path, "content_path": content_path })
        };
        put("files", injected.iter().enumerate().map(place).collect());
    }
    if let Some(password) = admin_password {
        put("admin_pass", json!(password));
    }
    if !metadata.public_keys.is_empty() {
        put("public_keys", json!(metadata.public_keys));
        let keys: Vec<Value> = metadata
            .public_keys
            .iter()
            .map(|(name, data)| json!({ "name": name, "type": "ssh", "data": data }))
            .collect();
        put("keys", Value::Array(keys));
    }
    put("hostname", json!(metadata.hostname));
    put("name", json!(spec.name));
    put("launch_index", json!(0));
    put("availability_zone", json!(metadata.availability_zone));
    put("project_id", json!(spec.project_id));
    put("devices", json!([]));
    Value::Object(fields)
}

/// The few fields that guests without OpenStack support look at.
fn ec2_meta_data(spec: &InstanceSpec) -> Value {
    json!({
        "instance-id": format!("i-{:08x}", spec.number),
        "hostname": spec.metadata.hostname,
        "local-hostname": spec.metadata.hostname,
        "placement": { "availability-zone": spec.metadata.availability_zone },
    })
}

/// The user data as the guest gets it: decoded.
fn user_data(spec: &InstanceSpec) -> Result<Option<Vec<u8>>, ConfigDriveError> {
    let Some(text) = &spec.metadata.user_data else { return Ok(None) };
    // Clients wrap lines as MIME does.
    let text: String = text.split_ascii_whitespace().collect();
    BASE64.decode(text).map(Some).map_err(|_| ConfigDriveError::UserData)
}

fn pretty(value: &Value) -> Result<Vec<u8>, ConfigDriveError> {
    serde_json::to_vec_pretty(value).map_err(|e| ConfigDriveError::Build(e.to_string()))
}

fn file(name: &str, content: &[u8]) -> InputEntry {
    InputEntry::file(name, content).with_metadata(owned_by_root(FILE_MODE))
}

fn directory(name: &str, children: Vec<InputEntry>) -> InputEntry {
    InputEntry::directory(name, children).with_metadata(owned_by_root(DIR_MODE))
}

fn owned_by_root(mode: u32) -> InputMetadata {
    InputMetadata { mode: Some(mode), uid: Some(0), gid: Some(0), ..InputMetadata::default() }
}
