//! `reprieve server rescue`

use std::collections::BTreeMap;
use std::time::Instant;

use reprieve_core::OperationKind;
use serde_json::{Map, Value, json};

use super::super::{Context, resolve};
use super::action;
use crate::args::server::RescueArgs;
use crate::client::compute::{self, Server};
use crate::client::{Session, image};
use crate::error::Failure;
use crate::hints;

pub async fn run(context: &mut Context, args: &RescueArgs) -> Result<(), Failure> {
    let session = context.session().await?.with_deadline(args.deadline.deadline);
    let begun = Instant::now();
    let server = resolve::server(&session, &args.server).await?;
    let image = match &args.image {
        Some(given) => Some(resolve::image(&session, given).await?),
        None => None,
    };
    let mut rescue = Map::new();
    if let Some(image) = &image {
        rescue.insert("rescue_image_ref".to_owned(), resolve::id_of(image).into());
    }
    if let Some(password) = &args.password {
        rescue.insert("adminPass".to_owned(), password.clone().into());
    }
    let accepted = match compute::act(&session, &server.id, &json!({ "rescue": rescue })).await {
        Ok(accepted) => accepted,
        Err(error) => return Err(action::explained(&session, &server.id, error).await),
    };
    // The password exists in this answer and nowhere else: it comes before anything can fail.
    if let Some(password) = accepted.body.get("adminPass") {
        let fields = vec![("adminPass".to_owned(), password.clone().into())];
        context.out.record(&args.output, fields)?;
        context.out.flush()?;
    }
    let goal = action::goal(OperationKind::Rescue, &server, &accepted, args.wait);
    action::conclude(context, &session, &goal, (args.wait.wait, begun)).await?;
    context.note(&disks(&session, &server, image).await);
    context.note(&format!("when it is repaired: reprieve server unrescue {}", goal.name));
    Ok(())
}

/// Which disk is which, by the image that is booted.
async fn disks(session: &Session, server: &Server, image: Option<Map<String, Value>>) -> String {
    let image = match (image, server.image_id()) {
        (Some(image), _) => Some(image),
        (None, Some(id)) => image::show(session, id).await.ok(),
        (None, None) => None,
    }
    .unwrap_or_default();
    let name = image.get("name").and_then(Value::as_str).unwrap_or("the server's own image");
    let properties: BTreeMap<String, String> = image
        .iter()
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect();
    format!("in the guest {}", hints::rescue_disks(&properties, name))
}
