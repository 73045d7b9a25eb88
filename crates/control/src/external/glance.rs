//! Images of a Glance that is there already: their descriptions for the control plane, their data
//! for compute hosts.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reprieve_core::ports::{ImageSource, ImageSourceError};
use reprieve_core::spec::{DiskFormat, ImageSpec};
use reprieve_core::{ImageId, ProjectId, Timestamp};
use reqwest::{Response, StatusCode};
use serde_json::Value;
use tokio::time::timeout;

use super::download::{self, Problem};
use super::http::{self, ExternalError, X_AUTH_TOKEN, bad};
use super::service_user::ServiceSession;
use crate::Control;
use crate::app::images::{
    ContainerFormat, ExternalImages, ImageBackend, ImageData, ImageError, ImageRecord, ImageStatus,
    MemberStatus, Visibility,
};

/// Name in messages.
pub(super) const GLANCE: &str = "Glance";
/// Members of an image that are not its properties.
const ATTRIBUTES: &[&str] = &[
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
];

/// A Glance.
pub struct Glance {
    session: Arc<ServiceSession>,
    /// Without `/v2`.
    base: String,
}

impl Glance {
    /// The Glance at `url`, asked in the name of the session's service user.
    ///
    /// # Errors
    /// [`ExternalError::Url`].
    pub fn new(session: Arc<ServiceSession>, url: &str) -> Result<Self, ExternalError> {
        let base = http::base(url)?;
        let base = base.strip_suffix("/v2").unwrap_or(&base).to_owned();
        Ok(Self { session, base })
    }

    pub(super) fn session(&self) -> &ServiceSession {
        &self.session
    }

    /// URL of `path` in the API that we speak.
    pub(super) fn url(&self, path: &str) -> String {
        format!("{}/v2/{path}", self.base)
    }

    /// GET as the service user, whose token is renewed once. `limit` bounds the whole exchange.
    async fn get(&self, path: &str, limit: Option<Duration>) -> Result<Response, ExternalError> {
        let url = self.url(path);
        let mut service = self.session.token().await?;
        for last in [false, true] {
            let request = self.session.http().get(&url);
            let mut request = request.header(X_AUTH_TOKEN, service.header.clone());
            if let Some(limit) = limit {
                request = request.timeout(limit);
            }
            let head = timeout(self.session.http().idle_limit, request.send()).await;
            let response = head.map_err(|_| bad(GLANCE, "it did not begin in time"))?;
            let response = response.map_err(http::unreachable(GLANCE))?;
            if response.status() != StatusCode::UNAUTHORIZED {
                return Ok(response);
            }
            if !last {
                service = self.session.instead_of(&service).await?;
            }
        }
        Err(ExternalError::ServiceUser)
    }

    /// The JSON at `path`, if there is something.
    async fn find(&self, path: &str) -> Result<Option<Value>, ExternalError> {
        let response = self.get(path, Some(self.session.http().total_limit)).await?;
        match response.status() {
            StatusCode::OK => http::json(GLANCE, response).await.map(Some),
            StatusCode::NOT_FOUND => Ok(None),
            status => Err(ExternalError::Refused { service: GLANCE, status }),
        }
    }

    /// Fetches the data of an image into a new file.
    async fn download(&self, image: &ImageSpec, file: &Path) -> Result<(), Problem> {
        let response = self.get(&format!("images/{}/file", image.id), None).await?;
        let limit = self.session.http().idle_limit;
        download::save(GLANCE, response, (image.size_bytes, limit), file).await
    }
}

fn unavailable(error: ExternalError) -> ImageError {
    ImageError::Unavailable(Box::new(error))
}

#[async_trait]
impl ImageBackend for Glance {
    async fn image(
        &self,
        _control: &Control,
        id: ImageId,
    ) -> Result<Option<ImageRecord>, ImageError> {
        let found = self.find(&format!("images/{id}")).await.map_err(unavailable)?;
        found.map(|image| read(id, &image).map_err(unavailable)).transpose()
    }

    async fn is_member(
        &self,
        _control: &Control,
        image: ImageId,
        project: &ProjectId,
    ) -> Result<bool, ImageError> {
        // It comes from a valid token, but must not become another path.
        let safe = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if project.as_str().is_empty() || !project.as_str().bytes().all(safe) {
            return Ok(false);
        }
        let path = format!("images/{image}/members/{project}");
        let found = self.find(&path).await.map_err(unavailable)?;
        let status = found.as_ref().and_then(|member| member.get("status"));
        Ok(status.and_then(Value::as_str).and_then(MemberStatus::parse).is_some())
    }

    fn external_url(&self) -> Option<&str> {
        Some(&self.base)
    }

    fn external(&self) -> Option<&dyn ExternalImages> {
        Some(self)
    }
}

#[async_trait]
impl ImageSource for Glance {
    /// What was written is verified by who asked for it: size, SHA-512 and format.
    async fn fetch(&self, image: &ImageSpec, file: &Path) -> Result<(), ImageSourceError> {
        self.download(image, file).await.map_err(|problem| problem.of(image.id))
    }
}

/// An image as Glance describes it.
pub(super) fn read(id: ImageId, image: &Value) -> Result<ImageRecord, ExternalError> {
    let text = |name: &str| image.get(name).and_then(Value::as_str);
    let flag = |name: &str| image.get(name).and_then(Value::as_bool).unwrap_or(false);
    let number = |name: &str| image.get(name).and_then(Value::as_u64).unwrap_or(0);
    let time = |name: &str| text(name).and_then(Timestamp::parse_iso);
    let missing = |what: &str| bad(GLANCE, &format!("the image has no usable {what}"));
    let same = text("id").and_then(|text| text.parse::<ImageId>().ok()) == Some(id);
    if !same {
        return Err(missing("id"));
    }
    let data = data(image);
    let status = match text("status").ok_or_else(|| missing("status"))? {
        "active" if data.is_some() => ImageStatus::Active,
        "deactivated" if data.is_some() => ImageStatus::Deactivated,
        "saving" | "importing" | "uploading" => ImageStatus::Saving,
        // Without data that could be verified it is of no more use than one that has none.
        _ => ImageStatus::Queued,
    };
    let with_data = matches!(status, ImageStatus::Active | ImageStatus::Deactivated);
    let tags = image.get("tags").and_then(Value::as_array);
    Ok(ImageRecord {
        id,
        name: text("name").map(str::to_owned),
        status,
        visibility: text("visibility")
            .and_then(Visibility::parse)
            .ok_or_else(|| missing("visibility"))?,
        owner: text("owner").map(ProjectId::from),
        disk_format: text("disk_format").and_then(DiskFormat::parse),
        container_format: text("container_format").and_then(ContainerFormat::parse),
        data: data.filter(|_| with_data),
        min_disk: u32::try_from(number("min_disk")).unwrap_or(u32::MAX),
        min_ram: u32::try_from(number("min_ram")).unwrap_or(u32::MAX),
        protected: flag("protected"),
        hidden: flag("os_hidden"),
        properties: properties(image),
        tags: tags
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect::<BTreeSet<_>>(),
        created_at: time("created_at").ok_or_else(|| missing("created_at"))?,
        updated_at: time("updated_at").ok_or_else(|| missing("updated_at"))?,
    })
}

/// What is known of the data, if it can be verified.
fn data(image: &Value) -> Option<ImageData> {
    let text = |name: &str| image.get(name).and_then(Value::as_str);
    let number = |name: &str| image.get(name).and_then(Value::as_u64);
    let sha512 = text("os_hash_value").filter(|_| text("os_hash_algo") == Some("sha512"))?;
    if sha512.len() != 128 || !sha512.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let size = number("size")?;
    Some(ImageData {
        size,
        virtual_size: number("virtual_size").unwrap_or(size),
        md5: text("checksum").unwrap_or_default().to_owned(),
        sha512: sha512.to_ascii_lowercase(),
    })
}

fn properties(image: &Value) -> BTreeMap<String, String> {
    let members = image.as_object().into_iter().flatten();
    members
        .filter(|(name, _)| !ATTRIBUTES.contains(&name.as_str()))
        .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .collect()
}
