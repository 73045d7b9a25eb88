//! A Keystone and a Glance that are there already, used instead of the own identity and image
//! services.
//!
//! ```text
//! request ─▶ Keystone::grant ── cache (30 s) ──▶ valid
//!                 │ not there                       ▲
//!                 ▼                                 │ 200
//!        GET /v3/auth/tokens, as the service user ──┤ 404 → 401 for the client
//!                 │ 401                             │ down, slow, nonsense → 503
//!                 └── new token of the service user, once
//! ```
//!
//! The service user needs a role that may validate tokens and see all images (admin, in Keystone's
//! and Glance's default policies). Whether a caller may use an image is decided here, by the same
//! rules as for own images. Nothing that a server needs later is fetched in the caller's name, so a
//! long operation does not end with the caller's token.
//!
//! Only what users do with images themselves, through Nova's old image resource, goes to Glance with
//! their own token.
//!
//! [`OwnImages`] is the way of a compute host to the own image service when that is another process.
//!
//! Secrets (tokens, the service user's password) are in headers and bodies only, never in an error
//! or a log line.

mod download;
mod glance;
mod http;
mod keystone;
mod own_images;
mod service_user;
mod user_images;

pub use glance::Glance;
pub use http::{ExternalError, Http};
pub use keystone::Keystone;
pub use own_images::OwnImages;
pub use service_user::{ServiceSession, ServiceUser, ServiceUserError};
