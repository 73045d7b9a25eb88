//! `reprieve server list`

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::super::{Context, resolve};
use super::show;
use crate::args::server::ListArgs;
use crate::client::compute::{self, Pages};
use crate::client::{Session, image, query};
use crate::error::Failure;
use crate::output::Cell;

/// Ids in one question for images; keeps the URL short.
const IDS_AT_ONCE: usize = 50;

pub async fn run(context: &mut Context, args: &ListArgs) -> Result<(), Failure> {
    let session = context.session().await?;
    let request = Pages {
        path: "/servers/detail",
        query: query(&filters(&session, args).await?),
        key: "servers",
        limit: args.limit.map(|limit| limit as usize),
    };
    let servers = compute::pages(&session, &request).await?;
    let names =
        if args.no_name_lookup { BTreeMap::new() } else { image_names(&session, &servers).await };
    let mut columns = vec!["ID", "Name", "Status"];
    if args.long {
        columns.extend(["Task State", "Power State"]);
    }
    columns.extend(["Networks", "Image"]);
    if args.long {
        columns.push("Image ID");
    }
    columns.push("Flavor");
    if args.long {
        columns.extend(["Availability Zone", "Host", "Properties"]);
    }
    let rows = servers.iter().map(|server| row(server, &columns, &names)).collect();
    context.out.list(&args.output, &columns, rows)
}

async fn filters(
    session: &Session,
    args: &ListArgs,
) -> Result<Vec<(&'static str, String)>, Failure> {
    let mut pairs = vec![("deleted", "False".to_owned())];
    if let Some(name) = &args.name {
        pairs.push(("name", name.clone()));
    }
    if let Some(status) = &args.status {
        pairs.push(("status", status.clone()));
    }
    if let Some(image) = &args.image {
        pairs.push(("image", resolve::id_of(&resolve::image(session, image).await?)));
    }
    if let Some(flavor) = &args.flavor {
        pairs.push(("flavor", resolve::id_of(&resolve::flavor(session, flavor).await?)));
    }
    if args.all_projects {
        pairs.push(("all_tenants", "True".to_owned()));
    }
    Ok(pairs)
}

fn image_id(server: &Value) -> Option<&str> {
    server.get("image")?.get("id")?.as_str()
}

/// Names of the images in use. A courtesy: without an answer the ids are shown.
async fn image_names(session: &Session, servers: &[Value]) -> BTreeMap<String, String> {
    let ids: BTreeSet<&str> = servers.iter().filter_map(image_id).collect();
    let ids: Vec<&str> = ids.into_iter().collect();
    let mut names = BTreeMap::new();
    for chunk in ids.chunks(IDS_AT_ONCE) {
        let filter = [("id", format!("in:{}", chunk.join(",")))];
        let Ok(images) = image::list(session, &filter).await else { break };
        for image in &images {
            let text = |key: &str| image.get(key).and_then(Value::as_str).map(str::to_owned);
            if let (Some(id), Some(name)) = (text("id"), text("name")) {
                names.insert(id, name);
            }
        }
    }
    names
}

fn row(server: &Value, columns: &[&str], names: &BTreeMap<String, String>) -> Vec<Cell> {
    let cell = |column: &&str| match *column {
        "ID" => Cell::of(server, "id"),
        "Name" => Cell::of(server, "name"),
        "Status" => Cell::of(server, "status"),
        "Task State" => Cell::of(server, "OS-EXT-STS:task_state"),
        "Power State" => {
            let number = server.get("OS-EXT-STS:power_state").and_then(Value::as_i64);
            let number = number.and_then(|number| i32::try_from(number).ok()).unwrap_or_default();
            Cell::with_text(number.into(), show::power_word(number).to_owned())
        }
        "Networks" => show::addresses(server.get("addresses").cloned().unwrap_or_default()),
        "Image" => match image_id(server) {
            Some(id) => names.get(id).map_or(id, String::as_str).into(),
            None => "N/A (booted from volume)".into(),
        },
        "Image ID" => image_id(server).map_or(Value::Null, Value::from).into(),
        "Flavor" => {
            let flavor = server.get("flavor");
            let name = flavor.and_then(|flavor| flavor.get("original_name").or(flavor.get("id")));
            name.cloned().unwrap_or_default().into()
        }
        "Availability Zone" => Cell::of(server, "OS-EXT-AZ:availability_zone"),
        "Host" => Cell::of(server, "OS-EXT-SRV-ATTR:host"),
        "Properties" => Cell::of(server, "metadata"),
        _ => Value::Null.into(),
    };
    columns.iter().map(cell).collect()
}
