//! A Keystone and a Glance instead of the own services: whatever they do, a request is answered
//! with what is true, or with 503.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper of a test fails the test"
)]

#[path = "../services/harness.rs"]
#[allow(dead_code, reason = "shared with the tests of the own services")]
mod harness;
mod images;
mod log;
mod standin;
mod tokens;

use std::sync::Arc;
use std::time::Duration;

use harness::{Cloud, control};
use reprieve_control::app::flavors;
use reprieve_control::app::identity::Identity;
use reprieve_control::external::{Glance, Http, Keystone, ServiceSession, ServiceUser};
use reprieve_control::http;
use standin::{PASSWORD, StandIn};

/// For an exchange.
const LIMIT: Duration = Duration::from_secs(10);
/// The same where it is waited for.
const SHORT: Duration = Duration::from_secs(2);

/// A control plane that uses the stand-in.
pub struct Site {
    /// The control plane.
    pub cloud: Cloud,
    /// Keystone and Glance.
    pub standin: StandIn,
    /// Way to the images.
    pub glance: Arc<Glance>,
}

impl Site {
    /// Nothing was asked yet.
    pub async fn start() -> Self {
        Self::with(PASSWORD, LIMIT).await
    }

    /// Whoever does not answer is given up soon.
    pub async fn impatient() -> Self {
        Self::with(PASSWORD, SHORT).await
    }

    /// The service user has another password than Keystone knows.
    pub async fn with_password(password: &str) -> Self {
        Self::with(password, LIMIT).await
    }

    async fn with(password: &str, limit: Duration) -> Self {
        log::keep();
        let standin = StandIn::start().await;
        let dir = tempfile::tempdir().unwrap();
        let clock = harness::TestClock::at(standin::beginning());
        let clock = Arc::new(clock);
        let mut control = control(dir.path(), clock.clone()).await;
        let user = format!("{{username: nova, password: {password}, project_name: service}}");
        let user = ServiceUser::parse(&user).unwrap();
        let http = Http::new(None).unwrap().with_limits(limit, limit);
        let url = format!("{}/identity", standin.url);
        let session = ServiceSession::new(http, &url, user, clock.clone()).unwrap();
        let session = Arc::new(session);
        let url = format!("{}/image/", standin.url);
        let glance = Arc::new(Glance::new(Arc::clone(&session), &url).unwrap());
        let inner = Arc::get_mut(&mut control).unwrap();
        inner.identity = Identity::with(Arc::new(Keystone::new(session)));
        inner.images = glance.clone();
        flavors::ensure_defaults(&control.store).await.unwrap();
        let router = http::router(control.clone());
        let cloud = Cloud { control, clock, router, dir, password: String::new() };
        Self { cloud, standin, glance }
    }
}
