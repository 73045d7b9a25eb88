//! What is learnt about a request on its way through the services, for those around them: the route
//! that matched (metrics, audit), who asks and what for (audit).
//!
//! A service notes it where it knows it, so that it is known also when the handler fails or panics.
//! Only what this program has checked is noted: a route of its own, a validated token, an action that
//! it knows.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use axum::extract::MatchedPath;
use axum::http::Extensions;
use reprieve_core::{ProjectId, UserId};

use crate::app::identity::Grant;
use crate::auth::AuthContext;

/// Where a request came from: put into its extensions by the listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress(pub SocketAddr);

/// Who asks, as a valid token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who {
    /// User.
    pub user_id: UserId,
    /// Project, if the token has one.
    pub project_id: Option<ProjectId>,
    /// Names of the roles.
    pub roles: Vec<String>,
}

impl From<&AuthContext> for Who {
    fn from(auth: &AuthContext) -> Self {
        Self {
            user_id: auth.user_id.clone(),
            project_id: Some(auth.project_id.clone()),
            roles: auth.roles.clone(),
        }
    }
}

impl From<&Grant> for Who {
    fn from(grant: &Grant) -> Self {
        let roles = grant.project.iter().flat_map(|project| &project.roles);
        Self {
            user_id: grant.user_id.clone(),
            project_id: grant.project.as_ref().map(|project| project.id.clone()),
            roles: roles.map(|(_, name)| name.clone()).collect(),
        }
    }
}

/// The notes of one request. Clones are the same notes; what was noted first stays.
#[derive(Debug, Clone, Default)]
pub struct Notes(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    route: OnceLock<String>,
    who: OnceLock<Who>,
    action: OnceLock<String>,
}

impl Notes {
    /// Those of a request; of nobody's when it has none, as in tests of a part.
    #[must_use]
    pub fn of(extensions: &Extensions) -> Self {
        extensions.get::<Self>().cloned().unwrap_or_default()
    }

    /// Notes the route that matched, below `prefix`.
    pub fn matched(extensions: &Extensions, prefix: &str) {
        if let (Some(notes), Some(path)) =
            (extensions.get::<Self>(), extensions.get::<MatchedPath>())
        {
            notes.0.route.get_or_init(|| format!("{prefix}{}", path.as_str()));
        }
    }

    /// Notes who asks.
    pub fn asked_by(&self, who: impl Into<Who>) {
        self.0.who.get_or_init(|| who.into());
    }

    /// Notes what a request whose body names it asks for. Only names that are known.
    pub fn action(&self, name: &str) {
        self.0.action.get_or_init(|| name.to_owned());
    }

    /// The route that matched.
    #[must_use]
    pub fn route(&self) -> Option<&str> {
        self.0.route.get().map(String::as_str)
    }

    /// Who asks.
    #[must_use]
    pub fn who(&self) -> Option<&Who> {
        self.0.who.get()
    }

    /// What the body asks for.
    #[must_use]
    pub fn asked_action(&self) -> Option<&str> {
        self.0.action.get().map(String::as_str)
    }
}
