//! `reprieve server create`

use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reprieve_core::OperationKind;
use serde_json::{Map, Value, json};

use super::super::{Context, resolve};
use super::{action, show};
use crate::args::server::CreateArgs;
use crate::client::compute::{self, Server};
use crate::client::{ClientError, Session};
use crate::error::Failure;

/// The API takes 65535 bytes of base64.
const MAX_USER_DATA: u64 = 65_535 / 4 * 3;

pub async fn run(context: &mut Context, args: &CreateArgs) -> Result<(), Failure> {
    let user_data = args.user_data.as_deref().map(read_user_data).transpose()?;
    let session = context.session().await?;
    let begun = Instant::now();
    let image = resolve::id_of(&resolve::image(&session, &args.image).await?);
    let flavor = resolve::id_of(&resolve::flavor(&session, &args.flavor).await?);
    let mut server = json!({
        "name": args.name,
        "imageRef": image,
        "flavorRef": flavor,
        "networks": args.nic.as_str(),
    });
    if let Some(object) = server.as_object_mut() {
        optional(args, user_data, object);
    }
    let accepted = compute::create(&session, &json!({ "server": server })).await?;
    let answer = accepted.body.get("server").cloned().unwrap_or_default();
    let id = answer.get("id").and_then(Value::as_str).ok_or_else(|| no_id(&session))?;
    if args.wait.wait {
        let named = Server { name: args.name.clone(), ..blank(id) };
        let goal = action::goal(OperationKind::Create, &named, &accepted, args.wait);
        action::conclude(context, &session, &goal, (true, begun)).await?;
    }
    let mut whole = compute::show(&session, id).await?;
    if let Some(password) = answer.get("adminPass") {
        whole.insert("adminPass".to_owned(), password.clone());
    }
    let fields = show::fields(&session, whole).await;
    context.out.record(&args.output, fields)
}

fn no_id(session: &Session) -> ClientError {
    session.place(crate::client::Service::Compute).bad_answer("the new server has no id".into())
}

fn blank(id: &str) -> Server {
    Server {
        id: id.to_owned(),
        name: String::new(),
        status: String::new(),
        vm_state: None,
        task_state: None,
        progress: None,
        fault: None,
        locked: false,
        locked_reason: None,
        launched_at: None,
        image: Value::Null,
    }
}

fn optional(args: &CreateArgs, user_data: Option<String>, server: &mut Map<String, Value>) {
    let given: [(&str, Option<Value>); 6] = [
        ("key_name", args.key_name.clone().map(Into::into)),
        ("user_data", user_data.map(Into::into)),
        ("config_drive", args.config_drive.then_some(Value::Bool(true))),
        ("description", args.description.clone().map(Into::into)),
        ("hostname", args.hostname.clone().map(Into::into)),
        ("availability_zone", args.availability_zone.clone().map(Into::into)),
    ];
    for (key, value) in given {
        if let Some(value) = value {
            server.insert(key.to_owned(), value);
        }
    }
    if !args.tags.is_empty() {
        server.insert("tags".to_owned(), args.tags.clone().into());
    }
    if !args.properties.is_empty() {
        let pairs = args.properties.iter().map(|(key, value)| (key.clone(), value.clone().into()));
        server.insert("metadata".to_owned(), Value::Object(pairs.collect()));
    }
}

fn read_user_data(file: &std::path::Path) -> Result<String, Failure> {
    let failed = |source| Failure::File { action: "read", path: file.to_owned(), source };
    let length = std::fs::metadata(file).map_err(failed)?.len();
    if length > MAX_USER_DATA {
        return Err(Failure::Usage(format!(
            "{} has {length} bytes, user data may have {MAX_USER_DATA}",
            file.display()
        )));
    }
    Ok(STANDARD.encode(std::fs::read(file).map_err(failed)?))
}
