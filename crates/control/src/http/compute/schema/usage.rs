//! Schemas of usage reports.

use serde_json::{Value, json};

use super::{Family, types};

/// `GET /os-simple-tenant-usage`.
pub static LIST: Family = Family::new(&[40, 75], list);
/// `GET /os-simple-tenant-usage/{project}`.
pub static SHOW: Family = Family::new(&[40, 75], show);

/// All of them, for the test that compiles every schema.
#[cfg(test)]
pub static ALL: &[&Family] = &[&LIST, &SHOW];

fn list(minor: u16) -> Value {
    query(minor, &["start", "end", "detailed"])
}

fn show(minor: u16) -> Value {
    query(minor, &["start", "end"])
}

fn query(minor: u16, names: &[&str]) -> Value {
    let mut properties = json!({});
    for name in names {
        let text = types::repeated(json!({"type": "string"}));
        properties = types::merged(properties, json!({*name: text}));
    }
    if minor >= 40 {
        properties = types::merged(properties, types::paging());
    }
    types::query(properties, minor >= 75)
}
