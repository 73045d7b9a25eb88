//! `reprieve server show`, and the fields of a server as all commands print them.

use serde_json::{Map, Value};

use super::super::{Context, resolve};
use crate::args::server::ShowArgs;
use crate::client::{Session, compute, image};
use crate::error::Failure;
use crate::output::Cell;

pub async fn run(context: &mut Context, args: &ShowArgs) -> Result<(), Failure> {
    let session = context.session().await?;
    let id = if compute::is_id(&args.server) {
        args.server.clone()
    } else {
        resolve::server(&session, &args.server).await?.id
    };
    let whole = match compute::show(&session, &id).await {
        Ok(whole) => whole,
        Err(error) if error.status() == Some(404) => {
            // A name that looks like an id.
            let server = resolve::server(&session, &args.server).await?;
            compute::show(&session, &server.id).await?
        }
        Err(error) => return Err(error.into()),
    };
    let fields = fields(&session, whole).await;
    context.out.record(&args.output, fields)
}

/// The fields under the openstack client's names, in alphabetical order.
pub async fn fields(session: &Session, mut server: Map<String, Value>) -> Vec<(String, Cell)> {
    server.remove("links");
    for (from, to) in [
        ("metadata", "properties"),
        ("tenant_id", "project_id"),
        ("os-extended-volumes:volumes_attached", "volumes_attached"),
    ] {
        if let Some(value) = server.remove(from) {
            server.insert(to.to_owned(), value);
        }
    }
    // Absent in most states: a script that asks for a column must find it in all of them.
    for key in ["fault", "progress"] {
        server.entry(key).or_insert(Value::Null);
    }
    let image = match server.get("image") {
        Some(image) => Some(image_text(session, image).await),
        None => None,
    };
    let mut fields: Vec<(String, Cell)> = Vec::new();
    for (key, value) in server {
        let cell = match key.as_str() {
            "image" => image.clone().unwrap_or_default().into(),
            "flavor" => flavor(value),
            "addresses" => addresses(value),
            "OS-EXT-STS:power_state" => power(value),
            "fault" => fault(value),
            _ => value.into(),
        };
        fields.push((key, cell));
    }
    fields.sort_by(|one, other| one.0.cmp(&other.0));
    fields
}

/// `tiny (3770e010-…)`.
async fn image_text(session: &Session, image: &Value) -> String {
    let Some(id) = image.get("id").and_then(Value::as_str) else {
        return "N/A (booted from volume)".to_owned();
    };
    // The name is a courtesy: without an image service the id has to do.
    let found = image::show(session, id).await.ok();
    let name = found.as_ref().and_then(|image| image.get("name")?.as_str());
    name.map_or_else(|| id.to_owned(), |name| format!("{name} ({id})"))
}

/// Embedded flavor, since 2.47.
fn flavor(value: Value) -> Cell {
    let number = |key: &str| value.get(key).and_then(Value::as_u64).unwrap_or_default();
    let name = value.get("original_name").or_else(|| value.get("id")).and_then(Value::as_str);
    let text = match value.get("vcpus") {
        Some(_) => format!(
            "{} ({} vcpus, {} MB RAM, {} GB disk)",
            name.unwrap_or_default(),
            number("vcpus"),
            number("ram"),
            number("disk")
        ),
        None => name.unwrap_or_default().to_owned(),
    };
    Cell::with_text(value, text)
}

/// `net1=10.0.0.5, fd00::5`; JSON keeps the addresses by network.
pub fn addresses(value: Value) -> Cell {
    let of_network = |(label, list): (&String, &Value)| {
        let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
        let texts = list.iter().filter_map(|item| item.get("addr")?.as_str());
        (label.clone(), texts.map(str::to_owned).collect::<Vec<String>>())
    };
    let networks: Vec<(String, Vec<String>)> =
        value.as_object().into_iter().flatten().map(of_network).collect();
    let text = networks.iter().map(|(label, list)| format!("{label}={}", list.join(", ")));
    let text = text.collect::<Vec<_>>().join("; ");
    let json = networks.into_iter().map(|(label, list)| (label, list.into())).collect();
    Cell::with_text(Value::Object(json), text)
}

/// The word beside the number.
fn power(value: Value) -> Cell {
    let number = value.as_i64().and_then(|number| i32::try_from(number).ok()).unwrap_or_default();
    let text = power_word(number).to_owned();
    Cell::with_text(value, text)
}

/// `Running` and so on, as the openstack client writes it.
pub fn power_word(number: i32) -> &'static str {
    match reprieve_core::PowerState::from_number(number) {
        reprieve_core::PowerState::NoState => "NOSTATE",
        reprieve_core::PowerState::Running => "Running",
        reprieve_core::PowerState::Paused => "Paused",
        reprieve_core::PowerState::Shutdown => "Shutdown",
        reprieve_core::PowerState::Crashed => "Crashed",
        reprieve_core::PowerState::Suspended => "Suspended",
    }
}

/// Only the message; the details fill screens and are in the JSON.
fn fault(value: Value) -> Cell {
    if value.is_null() {
        return value.into();
    }
    let text = value.get("message").and_then(Value::as_str).unwrap_or_default().to_owned();
    Cell::with_text(value, text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn addresses_by_network() {
        let value = json!({"net1": [{"addr": "10.0.0.5", "version": 4}, {"addr": "fd00::5"}]});
        let cell = format!("{:?}", addresses(value));
        assert!(cell.contains("net1=10.0.0.5, fd00::5"), "{cell}");
        assert!(format!("{:?}", addresses(json!({}))).contains("Some(\"\")"));
    }

    #[test]
    fn flavors_old_and_new() {
        let new = json!({"original_name": "tiny", "vcpus": 1, "ram": 128, "disk": 1});
        assert!(format!("{:?}", flavor(new)).contains("tiny (1 vcpus, 128 MB RAM, 1 GB disk)"));
        assert!(format!("{:?}", flavor(json!({"id": "7"}))).contains("Some(\"7\")"));
    }
}
