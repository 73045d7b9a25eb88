//! The own image service, for compute hosts that are other processes than it: any of the api
//! processes gives them the data of an image when they show that they hold the sealing key.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reprieve_core::ports::{ImageSource, ImageSourceError};
use reprieve_core::spec::ImageSpec;
use reprieve_core::{Clock, SealingKey};
use tokio::time::timeout;

use super::download::{self, Problem};
use super::http::{self, ExternalError, Http, bad, secret_header};
use crate::http::hosts;

/// Name in messages.
const IMAGES: &str = "the image service";
/// How long a ticket is good for: more than a request needs to arrive and clocks differ, less than
/// one that leaked into some proxy's log is of use.
const TICKET: Duration = Duration::from_secs(600);

/// The api processes of this installation.
pub struct OwnImages {
    http: Http,
    /// Where they are, without trailing slashes.
    urls: Vec<String>,
    key: SealingKey,
    clock: Arc<dyn Clock>,
}

impl OwnImages {
    /// The api processes at `urls`, asked in turn until one has the data.
    ///
    /// # Errors
    /// [`ExternalError::Url`].
    pub fn new(
        http: Http,
        urls: &[String],
        key: SealingKey,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ExternalError> {
        let urls = urls.iter().map(|url| http::base(url)).collect::<Result<_, _>>()?;
        Ok(Self { http, urls, key, clock })
    }

    async fn download(&self, url: &str, image: &ImageSpec, file: &Path) -> Result<(), Problem> {
        let ticket = self.key.ticket(image.id, self.clock.now().plus(TICKET)).ok();
        let ticket = ticket.as_deref().and_then(secret_header);
        let ticket = ticket.ok_or_else(|| bad(IMAGES, "no ticket could be made for it"))?;
        let request = self.http.get(&format!("{url}{}", hosts::image_path(image.id)));
        let head = timeout(self.http.idle_limit, request.header(hosts::TICKET, ticket).send());
        let response = head.await.map_err(|_| bad(IMAGES, "it did not begin in time"))?;
        let response = response.map_err(http::unreachable(IMAGES))?;
        download::save(IMAGES, response, (image.size_bytes, self.http.idle_limit), file).await
    }
}

#[async_trait]
impl ImageSource for OwnImages {
    /// What was written is verified by who asked for it: size, SHA-512 and format.
    async fn fetch(&self, image: &ImageSpec, file: &Path) -> Result<(), ImageSourceError> {
        let mut why = ImageSourceError::NotFound(image.id);
        for url in &self.urls {
            let problem = match self.download(url, image, file).await {
                Ok(()) => return Ok(()),
                Err(problem) => problem.of(image.id),
            };
            tracing::warn!(image = %image.id, api = url, error = %problem, "image not fetched here");
            why = problem;
        }
        Err(why)
    }
}
