//! Key pairs (spec/api.md section 10.2).

use axum::extract::Path;
use axum::http::StatusCode;
use reprieve_core::UserId;
use reprieve_store::KeypairRecord;
use serde_json::{Map, Value, json};

use super::call::ApiCall;
use super::fault::{Answer, ApiFault, empty_answer, json_answer};
use super::paging;
use super::schema::keypairs as schema;
use super::versioned::{answers, queries, rules};
use crate::app::keypairs::{self, NewKey};

/// `GET /os-keypairs`.
pub async fn index(call: ApiCall) -> Answer {
    call.check_query(&schema::LIST)?;
    let mut found = keypairs::list(&call.app(), user(&call)).await?;
    let mut next = None;
    if call.shows(&answers::KEYPAIRS, "keypairs_links") {
        let full;
        (found, full) = paging::cut(found, call.paged(&call.query), |key| key.name.clone())?;
        next = found
            .last()
            .filter(|_| full)
            .map(|last| call.links.next("os-keypairs", &call.query, &last.name));
    }
    let shown: Vec<Value> = found
        .iter()
        .map(|key| json!({"keypair": call.as_asked(&answers::KEYPAIR, &(), summary(key).into())}))
        .collect();
    let mut body = json!({"keypairs": shown});
    if let (Some(links), Some(fields)) = (next, body.as_object_mut()) {
        fields.insert("keypairs_links".to_owned(), links);
    }
    Ok(json_answer(StatusCode::OK, &body))
}

/// `GET /os-keypairs/{name}`.
pub async fn show(call: ApiCall, Path(name): Path<String>) -> Answer {
    call.check_query(&schema::SHOW)?;
    let key = keypairs::get(&call.app(), &name, user(&call)).await?;
    let mut fields = summary(&key);
    let mut insert = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    insert("user_id", key.user_id.as_str().into());
    insert("created_at", key.created_at.micros_naive().into());
    insert("deleted", false.into());
    insert("deleted_at", Value::Null);
    insert("id", key.number.into());
    insert("updated_at", Value::Null);
    let shown = call.as_asked(&answers::KEYPAIR, &(), fields.into());
    Ok(json_answer(StatusCode::OK, &json!({"keypair": shown})))
}

/// `POST /os-keypairs`.
pub async fn create(call: ApiCall) -> Answer {
    let body = call.body(&schema::CREATE)?;
    let text = |name: &str| body.get("keypair")?.get(name)?.as_str().map(str::to_owned);
    let checked = call.applies(rules::KEYPAIR_NAMES_ARE_PLAIN);
    if checked && !text("name").is_some_and(|name| is_plain(&name)) {
        let text = "Keypair data is invalid: Keypair name contains unsafe characters";
        return Err(ApiFault::bad_request(text));
    }
    let kind = text("type").unwrap_or_else(|| "ssh".to_owned());
    if kind != "ssh" {
        let text = format!("Keypair data is invalid: type {kind} is not supported, use ssh");
        return Err(ApiFault::bad_request(text));
    }
    let new = NewKey {
        name: text("name").unwrap_or_default(),
        public_key: text("public_key"),
        kind,
        user_id: text("user_id").map(UserId::from),
    };
    let created = keypairs::create(&call.app(), new).await?;
    let mut fields = summary(&created.keypair);
    fields.insert("user_id".to_owned(), created.keypair.user_id.as_str().into());
    if let Some(private) = &created.private_key {
        fields.insert("private_key".to_owned(), private.reveal().into());
    }
    let shown = call.as_asked(&answers::KEYPAIR, &(), fields.into());
    let status = call.value(&answers::KEYPAIR_CREATED);
    Ok(json_answer(status, &json!({"keypair": shown})))
}

/// Whether a name has only what it may have where the schema does not say so.
fn is_plain(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b" _-".contains(&byte))
}

/// `DELETE /os-keypairs/{name}`.
pub async fn delete(call: ApiCall, Path(name): Path<String>) -> Answer {
    call.check_query(&schema::SHOW)?;
    keypairs::delete(&call.app(), &name, user(&call)).await?;
    Ok(empty_answer(call.value(&answers::KEYPAIR_DELETED)))
}

/// Whose keys.
fn user(call: &ApiCall) -> Option<UserId> {
    call.counting(&queries::KEYPAIRS).get("user_id").map(UserId::from)
}

fn summary(key: &KeypairRecord) -> Map<String, Value> {
    let mut fields = Map::new();
    let mut insert = |name: &str, value: &str| fields.insert(name.to_owned(), value.into());
    insert("name", &key.name);
    insert("public_key", &key.public_key);
    insert("fingerprint", &key.fingerprint);
    insert("type", &key.kind);
    fields
}
