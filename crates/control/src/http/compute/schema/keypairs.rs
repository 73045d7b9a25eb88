//! Schemas of key pairs.

use serde_json::{Value, json};

use super::{Family, formats, types};

/// `POST /os-keypairs`.
pub static CREATE: Family = Family::new(&[2, 10, 92], create);
/// `GET /os-keypairs`.
pub static LIST: Family = Family::new(&[10, 35, 75], list);
/// `GET` and `DELETE /os-keypairs/{name}`.
pub static SHOW: Family = Family::new(&[10, 75], show);

/// All of them, for the test that compiles every schema.
#[cfg(test)]
pub static ALL: &[&Family] = &[&CREATE, &LIST, &SHOW];

fn create(minor: u16) -> Value {
    let name = if minor >= 92 {
        json!({
            "type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[a-zA-Z0-9 _@.-]+$",
        })
    } else {
        json!({"type": "string", "minLength": 1, "maxLength": 255, "format": formats::NAME})
    };
    let mut keypair = json!({"name": name, "public_key": {"type": "string"}});
    if minor >= 2 {
        keypair =
            types::merged(keypair, json!({"type": {"type": "string", "enum": ["ssh", "x509"]}}));
    }
    if minor >= 10 {
        let user = json!({"type": "string", "minLength": 1, "maxLength": 255});
        keypair = types::merged(keypair, json!({"user_id": user}));
    }
    let required: &[&str] = if minor >= 92 { &["public_key", "name"] } else { &["name"] };
    types::object(json!({"keypair": types::object(keypair, required)}), &["keypair"])
}

fn list(minor: u16) -> Value {
    let mut properties = json!({});
    if minor >= 10 {
        properties = json!({"user_id": types::repeated(json!({"type": "string"}))});
    }
    if minor >= 35 {
        properties = types::merged(properties, types::paging());
    }
    types::query(properties, minor >= 75)
}

fn show(minor: u16) -> Value {
    let properties = if minor >= 10 {
        json!({"user_id": types::repeated(json!({"type": "string"}))})
    } else {
        json!({})
    };
    types::query(properties, minor >= 75)
}
