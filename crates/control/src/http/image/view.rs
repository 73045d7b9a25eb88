//! Images and members as JSON, as Glance shows them.

use reprieve_core::ProjectId;
use reprieve_core::spec::DiskFormat;
use serde_json::{Map, Value, json};

use crate::app::images::{ContainerFormat, ImageRecord, MemberRecord};

/// Members of an image that have a meaning of their own; everything else is a property.
pub const BASE_ATTRIBUTES: &[&str] = &[
    "id",
    "name",
    "status",
    "visibility",
    "size",
    "virtual_size",
    "checksum",
    "os_hash_algo",
    "os_hash_value",
    "os_hidden",
    "created_at",
    "updated_at",
    "file",
    "self",
    "schema",
    "tags",
    "protected",
    "min_disk",
    "min_ram",
    "owner",
    "disk_format",
    "container_format",
    "locations",
    "direct_url",
    "stores",
    "deleted",
    "deleted_at",
    "is_public",
    "members",
];

/// An image. Properties stand beside the attributes and can never hide one.
pub fn image(image: &ImageRecord) -> Value {
    let id = image.id;
    let data = image.data.as_ref();
    let mut shown: Map<String, Value> = image
        .properties
        .iter()
        .map(|(name, value)| (name.clone(), value.as_str().into()))
        .collect();
    let attributes = json!({
        "id": id.to_string(),
        "name": image.name,
        "status": image.status.as_str(),
        "visibility": image.visibility.as_str(),
        "owner": image.owner.as_ref().map(ProjectId::as_str),
        "disk_format": image.disk_format.map(DiskFormat::as_str),
        "container_format": image.container_format.map(ContainerFormat::as_str),
        "size": data.map(|data| data.size),
        "virtual_size": data.map(|data| data.virtual_size),
        "checksum": data.map(|data| data.md5.as_str()),
        "os_hash_algo": data.map(|_| "sha512"),
        "os_hash_value": data.map(|data| data.sha512.as_str()),
        "os_hidden": image.hidden,
        "protected": image.protected,
        "min_disk": image.min_disk,
        "min_ram": image.min_ram,
        "tags": image.tags,
        "created_at": image.created_at.seconds_z(),
        "updated_at": image.updated_at.seconds_z(),
        "self": format!("/v2/images/{id}"),
        "file": format!("/v2/images/{id}/file"),
        "schema": "/v2/schemas/image",
    });
    if let Value::Object(attributes) = attributes {
        shown.extend(attributes);
    }
    Value::Object(shown)
}

/// A member.
pub fn member(member: &MemberRecord) -> Value {
    json!({
        "image_id": member.image.to_string(),
        "member_id": member.project.as_str(),
        "status": member.status.as_str(),
        "created_at": member.created_at.seconds_z(),
        "updated_at": member.updated_at.seconds_z(),
        "schema": "/v2/schemas/member",
    })
}
