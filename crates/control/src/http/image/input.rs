//! Reading descriptions and patches: bounded, typed, every member either an attribute that may be
//! set or a property with a text.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use reprieve_core::spec::DiskFormat;
use reprieve_core::{ImageId, ProjectId};
use serde_json::{Map, Value};

use super::fault::Fault;
use super::view::BASE_ATTRIBUTES;
use crate::app::images::{ContainerFormat, Edit, MAX_NAME, Visibility};
use crate::http::body;

/// Media type of patches in the form of RFC 6902.
const PATCH_TYPE: &str = "application/openstack-images-v2.1-json-patch";
/// Media type of patches in the older form.
const OLD_PATCH_TYPE: &str = "application/openstack-images-v2.0-json-patch";
/// Both, for clients that sent neither.
const PATCH_TYPES: &str = "application/openstack-images-v2.0-json-patch, \
                           application/openstack-images-v2.1-json-patch";
/// Names of properties that begin so belong to the service.
const RESERVED_PROPERTIES: &str = "os_glance_";
/// Most operations in a patch.
const MAX_OPERATIONS: usize = 1024;

/// Reads a JSON body.
pub async fn json(body: Body) -> Result<Value, Fault> {
    let bytes = body::read(body, body::JSON_LIMIT).await?;
    serde_json::from_slice(&bytes)
        .map_err(|_| Fault::bad_request("The body is not valid JSON or nested too deeply."))
}

/// Reads a new image: its id, if the client chose one, and its description.
pub fn new_image(body: Value) -> Result<(Option<ImageId>, Vec<Edit>), Fault> {
    let Value::Object(mut members) = body else {
        return Err(Fault::bad_request("The body must be a JSON object."));
    };
    let id = match members.remove("id") {
        None => None,
        Some(Value::String(text)) => {
            Some(text.parse().map_err(|_| invalid("id", "must be a UUID"))?)
        }
        Some(_) => return Err(invalid("id", "must be a UUID")),
    };
    Ok((id, edits(members)?))
}

fn edits(members: Map<String, Value>) -> Result<Vec<Edit>, Fault> {
    members.into_iter().map(|(name, value)| set(&name, value, Edit::SetProperty)).collect()
}

/// How a patch writes its operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatchForm {
    /// `{"op": "replace", "path": "/name", "value": …}`
    Rfc6902,
    /// `{"replace": "/name", "value": …}`, the fourth draft of that RFC.
    Draft4,
}

/// The form of a patch by its media type.
pub fn patch_form(media_type: Option<&HeaderValue>) -> Result<PatchForm, Fault> {
    let given = media_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let given = given.split(';').next().unwrap_or_default().trim();
    if given.eq_ignore_ascii_case(PATCH_TYPE) {
        return Ok(PatchForm::Rfc6902);
    }
    if given.eq_ignore_ascii_case(OLD_PATCH_TYPE) {
        return Ok(PatchForm::Draft4);
    }
    let types = HeaderValue::from_static(PATCH_TYPES);
    Err(Fault::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, format!("Use the media type {PATCH_TYPE}."))
        .with_header(HeaderName::from_static("accept-patch"), types))
}

/// Reads a patch: add, replace and remove of whole members.
pub fn patch(form: PatchForm, body: Value) -> Result<Vec<Edit>, Fault> {
    let Value::Array(operations) = body else {
        return Err(Fault::bad_request("Request body must be a JSON array of operation objects."));
    };
    if operations.len() > MAX_OPERATIONS {
        return Err(Fault::bad_request(format!(
            "At most {MAX_OPERATIONS} operations are allowed."
        )));
    }
    operations.into_iter().map(|one| operation(form, one)).collect()
}

fn operation(form: PatchForm, operation: Value) -> Result<Edit, Fault> {
    let Value::Object(mut operation) = operation else {
        return Err(Fault::bad_request("Operations must be JSON objects."));
    };
    let (op, path) = match form {
        PatchForm::Rfc6902 => op_and_path(&mut operation)?,
        PatchForm::Draft4 => old_op_and_path(&mut operation)?,
    };
    let value = operation.remove("value");
    let name = member(&path)?;
    match (op.as_str(), value) {
        ("add", Some(value)) => set(&name, value, Edit::SetProperty),
        ("replace", Some(value)) => set(&name, value, Edit::ReplaceProperty),
        ("add" | "replace", None) => Err(Fault::bad_request(format!(
            "Operation \"{op}\" requires a member named \"value\"."
        ))),
        ("remove", _) if BASE_ATTRIBUTES.contains(&name.as_str()) => {
            Err(Fault::forbidden(format!("Property {name} may not be removed.")))
        }
        ("remove", _) => Ok(Edit::RemoveProperty(name)),
        _ => Err(Fault::bad_request("Operations must be 'add', 'replace' or 'remove'.")),
    }
}

fn op_and_path(operation: &mut Map<String, Value>) -> Result<(String, String), Fault> {
    match (operation.remove("op"), operation.remove("path")) {
        (Some(Value::String(op)), Some(Value::String(path))) => Ok((op, path)),
        _ => Err(Fault::bad_request("Operations must have the texts 'op' and 'path'.")),
    }
}

/// In the older form the operation is the name of the member that holds the path.
fn old_op_and_path(operation: &mut Map<String, Value>) -> Result<(String, String), Fault> {
    let mut found = ["add", "replace", "remove"]
        .into_iter()
        .filter_map(|op| Some((op.to_owned(), operation.remove(op)?)));
    match (found.next(), found.next()) {
        (Some((op, Value::String(path))), None) => Ok((op, path)),
        _ => Err(Fault::bad_request(
            "Operations must have exactly one of the texts 'add', 'replace' and 'remove'.",
        )),
    }
}

/// The member that a JSON pointer of depth one names.
fn member(path: &str) -> Result<String, Fault> {
    let wrong = || {
        let path: String = path.chars().take(64).collect();
        Fault::bad_request(format!("Invalid JSON pointer for this resource: '{path}'"))
    };
    let name = path.strip_prefix('/').filter(|name| !name.is_empty()).ok_or_else(wrong)?;
    if name.contains('/') {
        return Err(wrong());
    }
    Ok(name.replace("~1", "/").replace("~0", "~"))
}

/// The edit that gives `name` a value; `property` makes it when the name is not an attribute.
fn set(
    name: &str,
    value: Value,
    property: impl FnOnce(String, String) -> Edit,
) -> Result<Edit, Fault> {
    Ok(match name {
        "name" => Edit::Name(nullable(name, value, MAX_NAME)?),
        "visibility" => {
            let text = nullable(name, value, MAX_NAME)?;
            let known = text.as_deref().and_then(Visibility::parse);
            Edit::Visibility(known.ok_or_else(|| {
                invalid(name, "must be one of public, private, shared, community")
            })?)
        }
        "owner" => Edit::Owner(nullable(name, value, MAX_NAME)?.map(ProjectId::from)),
        "disk_format" => {
            Edit::DiskFormat(format(name, value, DiskFormat::parse, "raw, qcow2, iso")?)
        }
        "container_format" => {
            Edit::ContainerFormat(format(name, value, ContainerFormat::parse, "bare")?)
        }
        "min_disk" => Edit::MinDisk(number(name, &value)?),
        "min_ram" => Edit::MinRam(number(name, &value)?),
        "protected" => Edit::Protected(flag(name, &value)?),
        "os_hidden" => Edit::Hidden(flag(name, &value)?),
        "tags" => Edit::Tags(tags(value)?),
        "id" | "status" | "size" | "virtual_size" | "checksum" | "os_hash_algo"
        | "os_hash_value" | "created_at" | "updated_at" | "file" | "self" | "schema"
        | "direct_url" | "stores" => {
            return Err(Fault::forbidden(format!("Attribute '{name}' is read-only.")));
        }
        _ if BASE_ATTRIBUTES.contains(&name) => {
            return Err(Fault::forbidden(format!("Attribute '{name}' is reserved.")));
        }
        _ if name.starts_with(RESERVED_PROPERTIES) => {
            return Err(Fault::forbidden(format!(
                "Properties that begin with '{RESERVED_PROPERTIES}' are reserved."
            )));
        }
        _ => {
            let name = text(name, name, MAX_NAME)?;
            match value {
                Value::String(value) if !value.contains('\0') => property(name, value),
                _ => return Err(invalid(&name, "must be a text")),
            }
        }
    })
}

fn format<T>(
    name: &str,
    value: Value,
    parse: impl FnOnce(&str) -> Option<T>,
    known: &str,
) -> Result<Option<T>, Fault> {
    let Some(text) = nullable(name, value, MAX_NAME)? else { return Ok(None) };
    match parse(&text) {
        Some(format) => Ok(Some(format)),
        None => Err(invalid(name, &format!("must be one of {known}"))),
    }
}

fn nullable(name: &str, value: Value, longest: usize) -> Result<Option<String>, Fault> {
    match value {
        Value::Null => Ok(None),
        Value::String(value) => Ok(Some(text(name, &value, longest)?)),
        _ => Err(invalid(name, "must be a text or null")),
    }
}

/// Whether a property cannot be called so, because something of the image is.
#[must_use]
pub fn is_reserved(name: &str) -> bool {
    BASE_ATTRIBUTES.contains(&name) || name.starts_with(RESERVED_PROPERTIES)
}

/// A tag in a URL or a body, a name of a property: short, and nothing that confuses terminals.
pub fn text(name: &str, value: &str, longest: usize) -> Result<String, Fault> {
    if value.chars().count() > longest || value.chars().any(char::is_control) {
        let rule = format!("must have at most {longest} characters and no control characters");
        return Err(invalid(name, &rule));
    }
    Ok(value.to_owned())
}

fn number(name: &str, value: &Value) -> Result<u32, Fault> {
    value
        .as_u64()
        .filter(|number| *number <= 2_147_483_647)
        .and_then(|number| u32::try_from(number).ok())
        .ok_or_else(|| invalid(name, "must be a number from 0 to 2147483647"))
}

fn flag(name: &str, value: &Value) -> Result<bool, Fault> {
    value.as_bool().ok_or_else(|| invalid(name, "must be true or false"))
}

fn tags(value: Value) -> Result<BTreeSet<String>, Fault> {
    let Value::Array(values) = value else {
        return Err(invalid("tags", "must be a list of texts"));
    };
    let tags = values.into_iter().map(|value| match value {
        Value::String(tag) => text("tags", &tag, MAX_NAME),
        _ => Err(invalid("tags", "must be a list of texts")),
    });
    tags.collect()
}

fn invalid(name: &str, rule: &str) -> Fault {
    let name: String = name.chars().take(64).collect();
    Fault::bad_request(format!("Provided object does not match schema 'image': {name} {rule}."))
}

/// Whether a body is image data.
pub fn require_octets(media_type: Option<&HeaderValue>) -> Result<(), Fault> {
    let given = media_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
    if given.split(';').next().unwrap_or_default().trim() == "application/octet-stream" {
        return Ok(());
    }
    let text = format!("Use the {} application/octet-stream.", header::CONTENT_TYPE);
    Err(Fault::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, text))
}
