//! `reprieve flavor …`

use serde_json::{Map, Value, json};

use super::{Batch, Context, resolve};
use crate::args::OutputArgs;
use crate::args::flavor::{CreateArgs, FlavorCommand};
use crate::client::compute::{self, Pages};
use crate::client::{Service, Session, encode, query};
use crate::error::Failure;
use crate::output::Cell;

pub async fn run(context: &mut Context, command: FlavorCommand) -> Result<(), Failure> {
    let session = context.session().await?;
    match command {
        FlavorCommand::Create(args) => create(context, &session, &args).await,
        FlavorCommand::List { all, long, output } => {
            list(context, &session, (all, long), &output).await
        }
        FlavorCommand::Show { flavor, output } => {
            let found = resolve::flavor(&session, &flavor).await?;
            context.out.record(&output, fields(found))
        }
        FlavorCommand::Delete { flavors } => {
            let mut batch = Batch::new(flavors.len());
            for flavor in &flavors {
                batch.add(delete(&session, flavor).await);
            }
            batch.end()
        }
    }
}

async fn delete(session: &Session, given: &str) -> Result<(), Failure> {
    let id = resolve::id_of(&resolve::flavor(session, given).await?);
    session.delete(Service::Compute, &format!("/flavors/{}", encode(&id))).await?;
    Ok(())
}

async fn create(
    context: &mut Context,
    session: &Session,
    args: &CreateArgs,
) -> Result<(), Failure> {
    let mut flavor = json!({
        "name": args.name,
        "ram": args.ram,
        "disk": args.disk,
        "vcpus": args.vcpus,
        "swap": args.swap,
        "OS-FLV-EXT-DATA:ephemeral": args.ephemeral,
        "os-flavor-access:is_public": !args.private,
    });
    if let Some(object) = flavor.as_object_mut() {
        if args.id != "auto" {
            object.insert("id".to_owned(), args.id.clone().into());
        }
        if let Some(text) = &args.description {
            object.insert("description".to_owned(), text.clone().into());
        }
    }
    let answer = session.post(Service::Compute, "/flavors", &json!({ "flavor": flavor })).await?;
    let mut created = compute::inner(session, answer, "flavor")?;
    if !args.properties.is_empty() {
        let specs: Map<String, Value> = args
            .properties
            .iter()
            .map(|(key, value)| (key.clone(), value.clone().into()))
            .collect();
        let id = resolve::id_of(&created);
        let path = format!("/flavors/{}/os-extra_specs", encode(&id));
        session.post(Service::Compute, &path, &json!({ "extra_specs": specs })).await?;
        created.insert("extra_specs".to_owned(), Value::Object(specs));
    }
    context.out.record(&args.output, fields(created))
}

/// The fields of a flavor under the openstack client's names, in alphabetical order.
fn fields(mut flavor: Map<String, Value>) -> Vec<(String, Cell)> {
    flavor.remove("links");
    if let Some(specs) = flavor.remove("extra_specs") {
        flavor.insert("properties".to_owned(), specs);
    }
    let mut fields: Vec<(String, Cell)> =
        flavor.into_iter().map(|(key, value)| (key, value.into())).collect();
    fields.sort_by(|one, other| one.0.cmp(&other.0));
    fields
}

async fn list(
    context: &mut Context,
    session: &Session,
    (all, long): (bool, bool),
    output: &OutputArgs,
) -> Result<(), Failure> {
    let filter = if all { query(&[("is_public", "None".to_owned())]) } else { String::new() };
    let request = Pages { path: "/flavors/detail", query: filter, key: "flavors", limit: None };
    let flavors = compute::pages(session, &request).await?;
    let mut columns = vec![
        ("ID", "id"),
        ("Name", "name"),
        ("RAM", "ram"),
        ("Disk", "disk"),
        ("Ephemeral", "OS-FLV-EXT-DATA:ephemeral"),
        ("VCPUs", "vcpus"),
        ("Is Public", "os-flavor-access:is_public"),
    ];
    if long {
        columns.extend([("Swap", "swap"), ("Properties", "extra_specs")]);
    }
    let row = |flavor: &Value| columns.iter().map(|(_, key)| Cell::of(flavor, key)).collect();
    let rows = flavors.iter().map(row).collect();
    let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    context.out.list(output, &names, rows)
}
