//! `reprieve token …`

use serde_json::Value;

use super::Context;
use crate::args::TokenCommand;
use crate::error::Failure;

pub async fn run(context: &mut Context, command: TokenCommand) -> Result<(), Failure> {
    let TokenCommand::Issue(output) = command;
    let token = context.session().await?.token();
    let id = |owner: Option<&crate::client::Owner>| {
        owner.map_or(Value::Null, |owner| owner.id.as_str().into())
    };
    let fields = vec![
        ("expires".to_owned(), token.body.expires_at.clone().into()),
        // The one command whose purpose is to show the token.
        ("id".to_owned(), token.secret.expose().into()),
        ("project_id".to_owned(), id(token.body.project.as_ref()).into()),
        ("user_id".to_owned(), id(token.body.user.as_ref()).into()),
    ];
    context.out.record(&output, fields)
}
