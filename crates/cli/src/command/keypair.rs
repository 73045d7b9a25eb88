//! `reprieve keypair …`

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use ssh_key::{Algorithm, LineEnding, PrivateKey, rand_core::OsRng};

use super::{Batch, Context};
use crate::args::OutputArgs;
use crate::args::keypair::KeypairCommand;
use crate::client::{ClientError, Service, Session, compute, encode};
use crate::error::Failure;
use crate::output::Cell;

pub async fn run(context: &mut Context, command: KeypairCommand) -> Result<(), Failure> {
    let session = context.session().await?;
    match command {
        KeypairCommand::Create { name, public_key: Some(file), private_key: _, output } => {
            let text = std::fs::read_to_string(&file).map_err(|source| Failure::File {
                action: "read",
                path: file,
                source,
            })?;
            let created = register(&session, &name, text.trim()).await?;
            context.out.record(&output, fields(&created))
        }
        KeypairCommand::Create { name, public_key: None, private_key, output } => {
            generate(context, &session, New { name, private_key, output }).await
        }
        KeypairCommand::List(output) => list(context, &session, &output).await,
        KeypairCommand::Show { name, public_key, output } => {
            let found = show(&session, &name).await?;
            if public_key {
                let key = found.get("public_key").and_then(Value::as_str).unwrap_or_default();
                writeln!(context.out.writer(), "{}", crate::output::printable(key.trim_end()))?;
                return Ok(());
            }
            context.out.record(&output, fields(&found))
        }
        KeypairCommand::Delete { names } => {
            let mut batch = Batch::new(names.len());
            for name in &names {
                let outcome = session.delete(Service::Compute, &path(name)).await;
                batch.add(outcome.map_err(|error| not_found(error, name)));
            }
            batch.end()
        }
    }
}

fn path(name: &str) -> String {
    format!("/os-keypairs/{}", encode(name))
}

fn not_found(error: ClientError, name: &str) -> Failure {
    if error.status() == Some(404) {
        Failure::NotFound { what: "keypair", name: name.to_owned() }
    } else {
        error.into()
    }
}

async fn show(session: &Session, name: &str) -> Result<Value, Failure> {
    let outcome = session.get::<Value>(Service::Compute, &path(name)).await;
    let value = outcome.map_err(|error| not_found(error, name))?;
    Ok(compute::inner(session, value, "keypair")?.into())
}

async fn register(session: &Session, name: &str, public_key: &str) -> Result<Value, Failure> {
    let body = json!({ "keypair": { "name": name, "type": "ssh", "public_key": public_key } });
    let answer = session.post(Service::Compute, "/os-keypairs", &body).await?;
    Ok(compute::inner(session, answer, "keypair")?.into())
}

struct New {
    name: String,
    private_key: Option<PathBuf>,
    output: OutputArgs,
}

/// Makes a pair here, so that the private half never travels (and microversion 2.92 forbids it).
async fn generate(context: &mut Context, session: &Session, new: New) -> Result<(), Failure> {
    let failed = |error: ssh_key::Error| Failure::Operation(format!("cannot make a key: {error}"));
    let mut key = PrivateKey::random(&mut OsRng, Algorithm::Ed25519).map_err(failed)?;
    key.set_comment(&new.name);
    let private = key.to_openssh(LineEnding::LF).map_err(failed)?;
    let public = key.public_key().to_openssh().map_err(failed)?;
    // The file comes first: a registered key whose private half is lost helps nobody.
    if let Some(file) = &new.private_key {
        write_private(file, &private)?;
    }
    match register(session, &new.name, &public).await {
        Ok(created) if new.private_key.is_some() => {
            context.out.record(&new.output, fields(&created))
        }
        Ok(_) => {
            write!(context.out.writer(), "{}", private.as_str())?;
            Ok(())
        }
        Err(failure) => {
            if let Some(file) = &new.private_key {
                // Ours, made a moment ago, and of no use to anybody.
                let _ = std::fs::remove_file(file);
            }
            Err(failure)
        }
    }
}

fn write_private(file: &Path, text: &str) -> Result<(), Failure> {
    let failed = |source| Failure::File { action: "write", path: file.to_owned(), source };
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let mut opened = options.open(file).map_err(failed)?;
    opened.write_all(text.as_bytes()).map_err(failed)?;
    opened.sync_all().map_err(failed)
}

fn fields(keypair: &Value) -> Vec<(String, Cell)> {
    ["created_at", "fingerprint", "id", "name", "type", "user_id"]
        .into_iter()
        .filter(|key| keypair.get(key).is_some())
        .map(|key| (key.to_owned(), Cell::of(keypair, key)))
        .collect()
}

async fn list(
    context: &mut Context,
    session: &Session,
    output: &OutputArgs,
) -> Result<(), Failure> {
    // Pages of keypairs are continued by name, not id; nobody has more than a page of them.
    let value: Value = session.get(Service::Compute, "/os-keypairs").await?;
    let keypairs = compute::items(session, value, "keypairs")?;
    let row = |item: &Value| {
        let keypair = item.get("keypair").unwrap_or(item);
        ["name", "fingerprint", "type"].map(|key| Cell::of(keypair, key)).to_vec()
    };
    let rows = keypairs.iter().map(row).collect();
    context.out.list(output, &["Name", "Fingerprint", "Type"], rows)
}
