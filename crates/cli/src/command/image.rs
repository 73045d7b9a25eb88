//! `reprieve image …`

use std::io::SeekFrom;
use std::path::Path;

use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

use super::{Batch, Context, resolve};
use crate::args::image::{CreateArgs, ImageCommand, ListArgs};
use crate::client::transfer::{self, Partial, Source};
use crate::client::{ClientError, Session, image};
use crate::error::Failure;
use crate::output::Cell;
use crate::progress::Bytes;

mod format;

pub async fn run(context: &mut Context, command: ImageCommand) -> Result<(), Failure> {
    match command {
        ImageCommand::Create(args) => create(context, &args).await,
        ImageCommand::List(args) => list(context, &args).await,
        ImageCommand::Show(args) => {
            let session = context.session().await?;
            let found = resolve::image(&session, &args.image).await?;
            context.out.record(&args.output, fields(found))
        }
        ImageCommand::Delete { images } => {
            let session = context.session().await?;
            let mut batch = Batch::new(images.len());
            for given in &images {
                batch.add(delete(&session, given).await);
            }
            batch.end()
        }
        ImageCommand::Save { image, file } => save(context, &image, file.as_deref()).await,
    }
}

async fn delete(session: &Session, given: &str) -> Result<(), Failure> {
    let id = resolve::id_of(&resolve::image(session, given).await?);
    Ok(image::delete(session, &id).await?)
}

async fn create(context: &mut Context, args: &CreateArgs) -> Result<(), Failure> {
    // Everything that can be wrong on this side is found before anything is created on the other.
    let opened = match &args.file {
        Some(file) => Some(open(context, file, args.disk_format.as_deref()).await?),
        None => None,
    };
    let format = opened.as_ref().map(|(_, format)| format.clone()).or(args.disk_format.clone());
    let session = context.session().await?;
    let created = image::create(&session, &body(args, format)).await?;
    let Some((source, _)) = opened else {
        return context.out.record(&args.output, fields(created));
    };
    let id = resolve::id_of(&created);
    let bar = Bytes::new(&format!("upload {}", args.name), source.length, context.shows_progress());
    let uploaded = transfer::upload(&session, &id, source, &bar).await;
    bar.finish();
    let outcome = match uploaded {
        Ok(sha512) => checked(&session, &id, &sha512).await,
        Err(error) => Err(error),
    };
    match outcome {
        Ok(stored) => context.out.record(&args.output, fields(stored)),
        Err(error) => {
            // An image without its data is of no use; the first error is the one to tell.
            if image::delete(&session, &id).await.is_err() {
                context.note(&format!("image {id} was left behind without its data"));
            }
            Err(error.into())
        }
    }
}

/// The image after the upload, if the service stored what was sent.
async fn checked(
    session: &Session,
    id: &str,
    sha512: &str,
) -> Result<Map<String, Value>, ClientError> {
    let stored = image::show(session, id).await?;
    match expected_sha512(&stored) {
        Some(known) if known != sha512 => Err(ClientError::Damaged {
            what: format!("the service stored {known}, {sha512} was sent"),
        }),
        Some(_) | None => Ok(stored),
    }
}

/// The SHA-512 that the service knows of an image.
fn expected_sha512(image: &Map<String, Value>) -> Option<&str> {
    let algorithm = image.get("os_hash_algo")?.as_str()?;
    let value = image.get("os_hash_value")?.as_str()?;
    (algorithm == "sha512").then_some(value)
}

/// Opens the data and decides their format.
async fn open(
    context: &Context,
    file: &Path,
    format: Option<&str>,
) -> Result<(Source, String), Failure> {
    let failed = |source| Failure::File { action: "read", path: file.to_owned(), source };
    if file == Path::new("-") {
        let format = format
            .ok_or_else(|| Failure::Usage("data from stdin need --disk-format".to_owned()))?;
        let reader = Box::new(tokio::io::stdin());
        let source = Source { reader, length: None, name: "stdin".to_owned() };
        return Ok((source, format.to_owned()));
    }
    let mut opened = tokio::fs::File::open(file).await.map_err(failed)?;
    let metadata = opened.metadata().await.map_err(failed)?;
    if metadata.is_dir() {
        return Err(failed(std::io::ErrorKind::IsADirectory.into()));
    }
    let format = match format {
        Some(format) => format.to_owned(),
        None => {
            let mut head = Vec::with_capacity(format::HEAD_BYTES);
            let limit = format::HEAD_BYTES as u64;
            (&mut opened).take(limit).read_to_end(&mut head).await.map_err(failed)?;
            opened.seek(SeekFrom::Start(0)).await.map_err(failed)?;
            let guess = format::recognise(&head)
                .map_err(|what| Failure::Usage(format!("{} is {what}", file.display())))?;
            context.note(&format!(
                "{} looks like {guess}: uploading it as --disk-format {guess}",
                file.display()
            ));
            guess.to_owned()
        }
    };
    let length = metadata.is_file().then_some(metadata.len());
    let name = file.display().to_string();
    Ok((Source { reader: Box::new(opened), length, name }, format))
}

fn body(args: &CreateArgs, format: Option<String>) -> Value {
    let mut body = json!({ "name": args.name, "container_format": args.container_format });
    let optional: [(&str, Option<Value>); 6] = [
        ("id", args.id.clone().map(Into::into)),
        ("disk_format", format.map(Into::into)),
        ("visibility", args.visibility().map(Into::into)),
        ("min_disk", args.min_disk.map(Into::into)),
        ("min_ram", args.min_ram.map(Into::into)),
        ("protected", args.protected.then_some(Value::Bool(true))),
    ];
    if let Some(object) = body.as_object_mut() {
        for (key, value) in optional {
            if let Some(value) = value {
                object.insert(key.to_owned(), value);
            }
        }
        if !args.tags.is_empty() {
            object.insert("tags".to_owned(), args.tags.clone().into());
        }
        for (key, value) in &args.properties {
            object.insert(key.clone(), value.clone().into());
        }
    }
    body
}

async fn save(context: &mut Context, given: &str, file: Option<&Path>) -> Result<(), Failure> {
    if file.is_none() && context.out.is_terminal() {
        let message = "image data would flood the terminal: use --file, or redirect stdout";
        return Err(Failure::Usage(message.to_owned()));
    }
    let session = context.session().await?;
    let found = resolve::image(&session, given).await?;
    let id = resolve::id_of(&found);
    let size = found.get("size").and_then(Value::as_u64);
    let bar = Bytes::new(&format!("download {given}"), size, context.shows_progress());
    let sha512 = match file {
        Some(target) => {
            let (partial, mut data) = Partial::create(target).await?;
            let sha512 = transfer::download(&session, &id, &mut data, &bar).await?;
            verify(&found, &sha512)?;
            partial.commit(data).await?;
            sha512
        }
        None => {
            let streamed = transfer::download(&session, &id, &mut tokio::io::stdout(), &bar).await;
            streamed.map_err(|error| match error {
                ClientError::File { source, .. } => Failure::Output(source),
                other => other.into(),
            })?
        }
    };
    bar.finish();
    verify(&found, &sha512)
}

fn verify(image: &Map<String, Value>, sha512: &str) -> Result<(), Failure> {
    match expected_sha512(image) {
        Some(known) if known != sha512 => Err(Failure::Client(ClientError::Damaged {
            what: format!("their SHA-512 is {sha512}, the service says {known}"),
        })),
        Some(_) | None => Ok(()),
    }
}

/// Keys of an image that are its own; all others are properties.
const OWN_KEYS: [&str; 24] = [
    "checksum",
    "container_format",
    "created_at",
    "direct_url",
    "disk_format",
    "file",
    "id",
    "locations",
    "min_disk",
    "min_ram",
    "name",
    "os_hash_algo",
    "os_hash_value",
    "os_hidden",
    "owner",
    "protected",
    "schema",
    "self",
    "size",
    "status",
    "tags",
    "updated_at",
    "virtual_size",
    "visibility",
];

/// The fields of an image as the openstack client shows them: properties in one field.
fn fields(image: Map<String, Value>) -> Vec<(String, Cell)> {
    let mut properties = Map::new();
    let mut fields: Vec<(String, Cell)> = Vec::new();
    for (key, value) in image {
        if matches!(key.as_str(), "self" | "file" | "schema" | "direct_url" | "locations") {
            continue;
        }
        if OWN_KEYS.contains(&key.as_str()) && !key.starts_with("os_h") {
            fields.push((key, value.into()));
        } else {
            properties.insert(key, value);
        }
    }
    fields.push(("properties".to_owned(), Value::Object(properties).into()));
    fields.sort_by(|one, other| one.0.cmp(&other.0));
    fields
}

async fn list(context: &mut Context, args: &ListArgs) -> Result<(), Failure> {
    let session = context.session().await?;
    let filters = [("name", &args.name), ("status", &args.status)];
    let filters: Vec<(&str, String)> =
        filters.into_iter().filter_map(|(key, value)| Some((key, value.clone()?))).collect();
    let images = image::list(&session, &filters).await?;
    let mut columns = vec![("ID", "id"), ("Name", "name")];
    if args.long {
        columns.extend([
            ("Disk Format", "disk_format"),
            ("Container Format", "container_format"),
            ("Size", "size"),
            ("Checksum", "checksum"),
        ]);
    }
    columns.push(("Status", "status"));
    if args.long {
        columns.extend([
            ("Visibility", "visibility"),
            ("Protected", "protected"),
            ("Project", "owner"),
            ("Tags", "tags"),
        ]);
    }
    let row = |image: &Value| columns.iter().map(|(_, key)| Cell::of(image, key)).collect();
    let rows = images.iter().map(row).collect();
    let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    context.out.list(&args.output, &names, rows)
}
