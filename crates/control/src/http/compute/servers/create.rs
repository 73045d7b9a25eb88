//! `POST /servers` (spec/api.md section 7.1).
//!
//! There is no volume and no network service: what would need one is refused with a text that says
//! so, instead of being dropped.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use reprieve_core::ImageId;
use reprieve_core::spec::InjectedFile;
use reprieve_store::{DiskConfig, SchedulerHints};
use serde_json::{Value, json};

use super::super::call::ApiCall;
use super::super::fault::{Answer, ApiFault, json_answer};
use super::super::policy;
use super::super::schema::types::{as_integer, is_true};
use super::super::schema::{python, servers as schema};
use super::super::versioned::rules;
use crate::app::secret::Password;
use crate::app::servers::{self, CreatedServers, NewServer, Target};

/// `POST /servers`.
pub async fn create(call: ApiCall) -> Answer {
    let body = call.body(&schema::CREATE)?;
    call.authorize(policy::SERVERS_CREATE)?;
    call.without_deadline()?;
    let server = body.get("server").unwrap_or(&Value::Null);
    refuse_unsupported(server)?;
    let new = NewServer { scheduler_hints: hints(&body), ..request(&call, server)? };
    let created = servers::create(&call.app(), new).await?;
    Ok(answer(&call, &created, server))
}

fn answer(call: &ApiCall, created: &CreatedServers, asked: &Value) -> Response {
    if asked.get("return_reservation_id").is_some_and(is_true) {
        let body = json!({"reservation_id": created.reservation_id});
        return json_answer(StatusCode::ACCEPTED, &body);
    }
    let Some(first) = created.servers.first() else {
        return json_answer(StatusCode::ACCEPTED, &json!({}));
    };
    let path = format!("servers/{}", first.id);
    // Nova repeats what was asked for; there is no network service that would know of any.
    let groups = asked.get("security_groups").cloned();
    let body = json!({"server": {
        "id": first.id,
        "links": call.links.both(&path),
        "OS-DCF:diskConfig": first.disk_config.as_str(),
        "security_groups": groups.unwrap_or_else(|| json!([{"name": "default"}])),
        "adminPass": created.admin_password.reveal(),
    }});
    let mut response = json_answer(StatusCode::ACCEPTED, &body);
    if let Ok(location) = HeaderValue::from_str(&call.links.versioned(&path)) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response.extensions_mut().insert(first.id);
    response
}

/// What the request asks for and nobody here could do.
fn refuse_unsupported(server: &Value) -> Result<(), ApiFault> {
    let filled = |name: &str| match server.get(name) {
        None | Some(Value::Null) => false,
        Some(Value::Array(items)) => !items.is_empty(),
        Some(_) => true,
    };
    let refusal = if filled("trusted_image_certificates") {
        "Image signature verification (trusted_image_certificates) is not supported."
    } else if matches!(server.get("networks"), Some(Value::Array(list)) if !list.is_empty()) {
        "Networks cannot be attached, because there is no network service. Leave networks out, or \
         use 'none' or 'auto'."
    } else {
        return Ok(());
    };
    Err(ApiFault::bad_request(refusal))
}

/// Scheduler hints under the first of their names that is there.
fn hints(body: &Value) -> SchedulerHints {
    let names = ["os:scheduler_hints", "OS-SCH-HNT:scheduler_hints"];
    let hints = names.iter().find_map(|name| body.get(*name)?.as_object());
    hints.into_iter().flatten().map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Files for the guest (until 2.56).
fn injected_files(server: &Value) -> Result<Vec<InjectedFile>, ApiFault> {
    let files = server.get("personality").and_then(Value::as_array).into_iter().flatten();
    let file = |file: &Value| {
        let text = |name: &str| {
            let missing = || format!("Bad personality format: missing {name}");
            let found = file.get(name).and_then(Value::as_str);
            found.ok_or_else(|| ApiFault::bad_request(missing()))
        };
        let path = text("path")?.to_owned();
        Ok(InjectedFile { path, contents: base64("contents", text("contents")?)? })
    };
    files.map(file).collect()
}

fn request(call: &ApiCall, server: &Value) -> Result<NewServer, ApiFault> {
    let text = |name: &str| server.get(name).and_then(Value::as_str).map(str::to_owned);
    let name = text("name").unwrap_or_default();
    let (min_count, max_count) = counts(server)?;
    let (availability_zone, forced) = forced(call, server)?;
    let described = call.applies(rules::SERVERS_HAVE_DESCRIPTIONS);
    let description = if described { text("description") } else { Some(name.clone()) };
    Ok(NewServer {
        name,
        description,
        hostname: text("hostname"),
        image: image(server)?,
        flavor_id: flavor_id(server.get("flavorRef")),
        key_name: text("key_name"),
        metadata: text_map(server.get("metadata")),
        tags: text_list(server.get("tags")),
        user_data: user_data(server)?,
        admin_password: text("adminPass").map(Password::from),
        config_drive: server.get("config_drive").map(is_true),
        availability_zone,
        forced,
        requested: requested(call, server)?,
        min_count,
        max_count,
        disk_config: text("OS-DCF:diskConfig").as_deref().and_then(DiskConfig::parse),
        access_ip_v4: text("accessIPv4"),
        access_ip_v6: server.get("accessIPv6").and_then(ipv6),
        scheduler_hints: SchedulerHints::new(),
        injected_files: injected_files(server)?,
    })
}

/// A validated IPv6 address in its shortest form, which is the one that Nova keeps and shows.
pub(super) fn ipv6(value: &Value) -> Option<String> {
    let address: Ipv6Addr = value.as_str()?.parse().ok()?;
    Some(address.to_string())
}

/// A validated object of texts.
pub(super) fn text_map(value: Option<&Value>) -> BTreeMap<String, String> {
    let fields = value.and_then(Value::as_object).into_iter().flatten();
    fields.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

/// A validated list of texts, sorted, each once.
pub(super) fn text_list(value: Option<&Value>) -> Vec<String> {
    let items = value.and_then(Value::as_array).into_iter().flatten();
    let mut list: Vec<String> = items.filter_map(Value::as_str).map(str::to_owned).collect();
    list.sort();
    list.dedup();
    list
}

/// The last part of a URL, or the id itself.
fn flavor_id(value: Option<&Value>) -> String {
    let text = value.map(python::str).unwrap_or_default();
    text.rsplit('/').next().unwrap_or_default().to_owned()
}

fn counts(server: &Value) -> Result<(u32, u32), ApiFault> {
    let count = |name: &str| server.get(name).and_then(as_integer);
    let min = count("min_count").unwrap_or(1);
    let max = count("max_count").unwrap_or(min);
    if min > max {
        return Err(ApiFault::bad_request("min_count must be <= max_count"));
    }
    let bounded = |count: i64| u32::try_from(count).unwrap_or(u32::MAX);
    Ok((bounded(min), bounded(max)))
}

/// Zone and host of `zone[:host[:node]]`, if the caller may choose the host.
fn forced(call: &ApiCall, server: &Value) -> Result<(Option<String>, Target), ApiFault> {
    let Some(given) = server.get("availability_zone").and_then(Value::as_str) else {
        return Ok((None, Target::default()));
    };
    let (zone, target) = parse_zone(given)?;
    if target.is_named() {
        call.authorize(policy::SERVERS_FORCED_HOST)?;
    }
    Ok((zone, target))
}

fn parse_zone(given: &str) -> Result<(Option<String>, Target), ApiFault> {
    let mut parts = given.split(':').map(|part| (!part.is_empty()).then(|| part.to_owned()));
    let zone = parts.next().flatten();
    let target = Target { host: parts.next().flatten(), node: parts.next().flatten() };
    match parts.next() {
        None => Ok((zone, target)),
        Some(_) => {
            let text = "Invalid input received: Unable to parse availability_zone";
            Err(ApiFault::bad_request(text))
        }
    }
}

/// The host of `host` and `hypervisor_hostname` (2.74), if the caller may choose it.
fn requested(call: &ApiCall, server: &Value) -> Result<Target, ApiFault> {
    let text = |name: &str| server.get(name).and_then(Value::as_str).map(str::to_owned);
    let target = Target { host: text("host"), node: text("hypervisor_hostname") };
    if target.is_named() {
        call.authorize(policy::SERVERS_REQUESTED_DESTINATION)?;
    }
    Ok(target)
}

/// The image, from `imageRef` or from the one block device that the openstack client sends.
fn image(server: &Value) -> Result<ImageId, ApiFault> {
    let only_local = || {
        ApiFault::bad_request(
            "Volumes are not supported: block_device_mapping_v2 may only hold the image, as \
             source_type image, destination_type local, boot_index 0.",
        )
    };
    let parse = |text: &str| text.parse::<ImageId>().ok();
    let reference = server.get("imageRef").and_then(Value::as_str).and_then(parse);
    if server.get("block_device_mapping").is_some() {
        return Err(only_local());
    }
    let devices = server.get("block_device_mapping_v2").and_then(Value::as_array);
    let device = match devices.map(Vec::as_slice) {
        None | Some([]) => None,
        Some([device]) => Some(local_image(device).ok_or_else(only_local)?),
        Some(_) => return Err(only_local()),
    };
    match (reference, device) {
        (Some(reference), Some(device)) if reference != device => Err(ApiFault::bad_request(
            "The image of block_device_mapping_v2 is not the one of imageRef.",
        )),
        (Some(image), _) | (None, Some(image)) => Ok(image),
        (None, None) => Err(ApiFault::bad_request("Missing imageRef attribute")),
    }
}

/// The image of a block device that is a server's own root disk.
fn local_image(device: &Value) -> Option<ImageId> {
    let text = |name: &str| device.get(name).and_then(Value::as_str);
    let root = device.get("boot_index").and_then(as_integer) == Some(0);
    let local = matches!(text("destination_type"), Some("local"));
    let from_image = matches!(text("source_type"), Some("image"));
    if !(root && local && from_image) {
        return None;
    }
    text("uuid").or_else(|| text("image_id"))?.parse().ok()
}

fn user_data(server: &Value) -> Result<Option<String>, ApiFault> {
    let given = server.get("user_data").and_then(Value::as_str);
    given.map(|given| base64("user_data", given)).transpose()
}

/// A field in canonical base64. Like Python's decoder, characters that are no base64 are skipped; so
/// every guest and every host reads the same bytes.
fn base64(field: &str, given: &str) -> Result<String, ApiFault> {
    let digits: String = given
        .chars()
        .filter(|character| character.is_ascii_alphanumeric() || "+/=".contains(*character))
        .collect();
    match BASE64.decode(&digits) {
        Ok(bytes) => Ok(BASE64.encode(bytes)),
        Err(_) => Err(ApiFault::bad_request(format!(
            "Invalid input for field/attribute {field}. Value: {given}. {} is not a 'base64'",
            python::repr_str(given)
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMAGE: &str = "3770e010-6cdc-4db6-a78b-a7add665bb8b";

    fn device(source: &str, destination: &str, boot_index: &Value) -> Value {
        json!({
            "uuid": IMAGE, "source_type": source, "destination_type": destination,
            "boot_index": boot_index, "delete_on_termination": true,
        })
    }

    #[test]
    fn the_image_may_be_named_twice_but_only_as_one() {
        let local = device("image", "local", &json!(0));
        for server in [
            json!({"imageRef": IMAGE}),
            json!({"imageRef": IMAGE, "block_device_mapping_v2": []}),
            json!({"imageRef": IMAGE, "block_device_mapping_v2": [local]}),
            json!({"imageRef": "", "block_device_mapping_v2": [device("image", "local", &json!("0"))]}),
            json!({"block_device_mapping_v2": [local]}),
        ] {
            assert_eq!(image(&server).unwrap().to_string(), IMAGE, "{server}");
        }
        for server in [
            json!({"imageRef": IMAGE, "block_device_mapping_v2": [local, local]}),
            json!({"block_device_mapping_v2": [device("volume", "volume", &json!(0))]}),
            json!({"block_device_mapping_v2": [device("image", "volume", &json!(0))]}),
            json!({"block_device_mapping_v2": [device("image", "local", &json!(1))]}),
            json!({"imageRef": IMAGE, "block_device_mapping": []}),
        ] {
            assert!(image(&server).unwrap_err().message().starts_with("Volumes"), "{server}");
        }
        assert_eq!(image(&json!({})).unwrap_err().message(), "Missing imageRef attribute");
    }

    #[test]
    fn zones_may_name_hosts_and_nodes() {
        let parse = |text: &str| {
            let (zone, Target { host, node }) = parse_zone(text).unwrap();
            (zone.unwrap_or_default(), host.unwrap_or_default(), node.unwrap_or_default())
        };
        for (text, zone, host, node) in [
            ("z", "z", "", ""),
            ("z:h", "z", "h", ""),
            ("z:h:n", "z", "h", "n"),
            ("z::n", "z", "", "n"),
            (":h", "", "h", ""),
            ("", "", "", ""),
        ] {
            assert_eq!(parse(text), (zone.into(), host.into(), node.into()), "{text}");
        }
        assert_eq!(
            parse_zone("a:b:c:d").unwrap_err().message(),
            "Invalid input received: Unable to parse availability_zone"
        );
    }

    #[test]
    fn counts_are_bounded() {
        assert_eq!(counts(&json!({})).unwrap(), (1, 1));
        assert_eq!(counts(&json!({"min_count": "2"})).unwrap(), (2, 2));
        assert_eq!(counts(&json!({"min_count": 1, "max_count": 3})).unwrap(), (1, 3));
        assert!(counts(&json!({"min_count": 3, "max_count": 2})).is_err());
        let many = json!({"max_count": 9_999_999_999_999_i64});
        assert_eq!(counts(&many).unwrap(), (1, u32::MAX));
    }

    #[test]
    fn user_data_becomes_canonical() {
        let read = |text: &str| user_data(&json!({"user_data": text}));
        assert_eq!(read("aGFs\nbG8=").unwrap().as_deref(), Some("aGFsbG8="));
        assert_eq!(read("%%%").unwrap().as_deref(), Some(""));
        assert!(read("a").unwrap_err().message().ends_with("'a' is not a 'base64'"));
        assert_eq!(user_data(&json!({})).unwrap(), None);
    }

    #[test]
    fn files_have_a_path_and_contents() {
        let read = |file: Value| injected_files(&json!({"personality": [file]}));
        let file = read(json!({"path": "/a", "contents": "aG\nk="})).unwrap().remove(0);
        assert_eq!((file.path.as_str(), file.contents.as_str()), ("/a", "aGk="));
        let refusal = |file: Value| read(file).unwrap_err().message().to_owned();
        assert_eq!(refusal(json!({"path": "/a"})), "Bad personality format: missing contents");
        assert_eq!(refusal(json!({"contents": ""})), "Bad personality format: missing path");
        assert_eq!(
            refusal(json!({"path": "/a", "contents": "a"})),
            "Invalid input for field/attribute contents. Value: a. 'a' is not a 'base64'"
        );
        assert_eq!(injected_files(&json!({})).unwrap(), []);
    }

    #[test]
    fn hints_have_two_names() {
        assert_eq!(hints(&json!({"OS-SCH-HNT:scheduler_hints": {"a": "b"}}))["a"], "b");
        assert_eq!(hints(&json!({"os:scheduler_hints": {"a": ["b"]}}))["a"], json!(["b"]));
        assert!(hints(&json!({})).is_empty());
    }

    #[test]
    fn flavors_are_named_by_id_or_url() {
        assert_eq!(flavor_id(Some(&json!("1"))), "1");
        assert_eq!(flavor_id(Some(&json!(1))), "1");
        assert_eq!(flavor_id(Some(&json!("http://h/v2.1/flavors/m1"))), "m1");
    }

    #[test]
    fn ipv6_addresses_are_kept_in_their_shortest_form() {
        let long = json!("0000:0000:0000:0000:0000:babe:220.12.22.2");
        assert_eq!(ipv6(&long).as_deref(), Some("::babe:dc0c:1602"));
        assert_eq!(ipv6(&json!("FE80::1")).as_deref(), Some("fe80::1"));
        assert_eq!(ipv6(&Value::Null), None);
    }
}
