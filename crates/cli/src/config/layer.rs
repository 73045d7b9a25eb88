//! One source of settings, and how a stronger source lies over a weaker one.

use serde::Deserialize;

use super::{Domain, Environment, Named};
use crate::args::CloudArgs;

/// What one source says; `None` where it says nothing. Has no `Debug`: it holds secrets.
#[derive(Clone, Default)]
pub struct Layer {
    pub auth_url: Option<String>,
    pub auth_type: Option<String>,
    pub username: Option<String>,
    pub user_id: Option<String>,
    pub password: Option<String>,
    pub token: Option<String>,
    pub credential_id: Option<String>,
    pub credential_name: Option<String>,
    pub credential_secret: Option<String>,
    pub project_name: Option<String>,
    pub project_id: Option<String>,
    pub user_domain_name: Option<String>,
    pub user_domain_id: Option<String>,
    pub project_domain_name: Option<String>,
    pub project_domain_id: Option<String>,
    pub default_domain: Option<String>,
    pub region: Option<String>,
    pub interface: Option<String>,
    pub cacert: Option<String>,
    pub verify: Option<bool>,
}

/// The `auth` mapping of a cloud in clouds.yaml. Unknown keys are those of other auth types.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub struct AuthSection {
    auth_url: Option<String>,
    username: Option<String>,
    user_id: Option<String>,
    password: Option<String>,
    token: Option<String>,
    application_credential_id: Option<String>,
    application_credential_name: Option<String>,
    application_credential_secret: Option<String>,
    project_name: Option<String>,
    project_id: Option<String>,
    tenant_name: Option<String>,
    tenant_id: Option<String>,
    user_domain_name: Option<String>,
    user_domain_id: Option<String>,
    project_domain_name: Option<String>,
    project_domain_id: Option<String>,
    domain_name: Option<String>,
    domain_id: Option<String>,
}

impl AuthSection {
    /// As a layer; a plain `domain_*` stands for both domains.
    pub fn into_layer(self) -> Layer {
        Layer {
            auth_url: self.auth_url,
            username: self.username,
            user_id: self.user_id,
            password: self.password,
            token: self.token,
            credential_id: self.application_credential_id,
            credential_name: self.application_credential_name,
            credential_secret: self.application_credential_secret,
            project_name: self.project_name.or(self.tenant_name),
            project_id: self.project_id.or(self.tenant_id),
            user_domain_name: self.user_domain_name.or(self.domain_name.clone()),
            user_domain_id: self.user_domain_id.or(self.domain_id.clone()),
            project_domain_name: self.project_domain_name.or(self.domain_name),
            project_domain_id: self.project_domain_id.or(self.domain_id),
            ..Layer::default()
        }
    }
}

impl Layer {
    /// The options.
    pub fn from_options(options: &CloudArgs) -> Self {
        let CloudArgs {
            os_cloud: _,
            os_auth_url,
            os_username,
            os_password,
            os_project_name,
            os_project_id,
            os_user_domain_name,
            os_project_domain_name,
            os_region_name,
            os_token,
            os_application_credential_id,
            os_application_credential_name,
            os_application_credential_secret,
            os_interface,
            os_cacert,
            insecure,
        } = options.clone();
        Self {
            auth_url: os_auth_url,
            username: os_username,
            password: os_password,
            token: os_token,
            credential_id: os_application_credential_id,
            credential_name: os_application_credential_name,
            credential_secret: os_application_credential_secret,
            project_name: os_project_name,
            project_id: os_project_id,
            user_domain_name: os_user_domain_name,
            project_domain_name: os_project_domain_name,
            region: os_region_name,
            interface: os_interface,
            cacert: os_cacert,
            verify: insecure.then_some(false),
            ..Self::default()
        }
    }

    /// The `OS_*` variables.
    pub fn from_environment(env: &Environment) -> Self {
        let either = |one: &str, other: &str| env.get(one).or_else(|| env.get(other));
        Self {
            auth_url: env.get("OS_AUTH_URL"),
            auth_type: env.get("OS_AUTH_TYPE"),
            username: env.get("OS_USERNAME"),
            user_id: env.get("OS_USER_ID"),
            password: env.get("OS_PASSWORD"),
            token: env.get("OS_TOKEN"),
            credential_id: env.get("OS_APPLICATION_CREDENTIAL_ID"),
            credential_name: env.get("OS_APPLICATION_CREDENTIAL_NAME"),
            credential_secret: env.get("OS_APPLICATION_CREDENTIAL_SECRET"),
            project_name: either("OS_PROJECT_NAME", "OS_TENANT_NAME"),
            project_id: either("OS_PROJECT_ID", "OS_TENANT_ID"),
            user_domain_name: env.get("OS_USER_DOMAIN_NAME"),
            user_domain_id: env.get("OS_USER_DOMAIN_ID"),
            project_domain_name: env.get("OS_PROJECT_DOMAIN_NAME"),
            project_domain_id: env.get("OS_PROJECT_DOMAIN_ID"),
            default_domain: env.get("OS_DEFAULT_DOMAIN"),
            region: env.get("OS_REGION_NAME"),
            interface: either("OS_INTERFACE", "OS_ENDPOINT_TYPE"),
            cacert: env.get("OS_CACERT"),
            verify: env.get("OS_INSECURE").map(|text| !is_true(&text)),
        }
    }

    /// This layer over `lower`. What identifies one thing in two ways is taken from one layer
    /// only: a name above hides an id below, and one way to authenticate above hides the others
    /// below.
    pub fn over(self, lower: Self) -> Self {
        let user = self.username.is_some() || self.user_id.is_some();
        let project = self.project_name.is_some() || self.project_id.is_some();
        let user_domain = self.user_domain_name.is_some() || self.user_domain_id.is_some();
        let project_domain = self.project_domain_name.is_some() || self.project_domain_id.is_some();
        let (password, token) = (self.password.is_some(), self.token.is_some());
        let named = self.credential_id.is_some() || self.credential_name.is_some();
        let credential = named || self.credential_secret.is_some();
        let other = password || token;
        let unless = |hidden: bool, value: Option<String>| if hidden { None } else { value };
        Self {
            auth_url: self.auth_url.or(lower.auth_url),
            auth_type: self.auth_type.or(unless(other || credential, lower.auth_type)),
            username: self.username.or(unless(user, lower.username)),
            user_id: self.user_id.or(unless(user, lower.user_id)),
            password: self.password.or(unless(token || credential, lower.password)),
            token: self.token.or(unless(password || user || credential, lower.token)),
            credential_id: self.credential_id.or(unless(other || named, lower.credential_id)),
            credential_name: self.credential_name.or(unless(other || named, lower.credential_name)),
            credential_secret: self.credential_secret.or(unless(other, lower.credential_secret)),
            project_name: self.project_name.or(unless(project, lower.project_name)),
            project_id: self.project_id.or(unless(project, lower.project_id)),
            user_domain_name: self.user_domain_name.or(unless(user_domain, lower.user_domain_name)),
            user_domain_id: self.user_domain_id.or(unless(user_domain, lower.user_domain_id)),
            project_domain_name: self
                .project_domain_name
                .or(unless(project_domain, lower.project_domain_name)),
            project_domain_id: self
                .project_domain_id
                .or(unless(project_domain, lower.project_domain_id)),
            default_domain: self.default_domain.or(lower.default_domain),
            region: self.region.or(lower.region),
            interface: self.interface.or(lower.interface),
            cacert: self.cacert.or(lower.cacert),
            verify: self.verify.or(lower.verify),
        }
    }

    fn domain(&self, id: Option<&String>, name: Option<&String>) -> Domain {
        match (id, name) {
            (Some(id), _) => Domain::Id(id.clone()),
            (None, Some(name)) => Domain::Name(name.clone()),
            (None, None) => {
                Domain::Id(self.default_domain.clone().unwrap_or_else(|| "default".to_owned()))
            }
        }
    }

    /// The user, if one is named.
    pub fn user(&self) -> Option<Named> {
        let domain = self.domain(self.user_domain_id.as_ref(), self.user_domain_name.as_ref());
        named(self.user_id.as_ref(), self.username.as_ref(), domain)
    }

    /// The project, if one is named.
    pub fn project(&self) -> Option<Named> {
        let domain =
            self.domain(self.project_domain_id.as_ref(), self.project_domain_name.as_ref());
        named(self.project_id.as_ref(), self.project_name.as_ref(), domain)
    }
}

fn named(id: Option<&String>, name: Option<&String>, domain: Domain) -> Option<Named> {
    match (id, name) {
        (Some(id), _) => Some(Named::Id(id.clone())),
        (None, Some(name)) => Some(Named::Name { name: name.clone(), domain }),
        (None, None) => None,
    }
}

fn is_true(text: &str) -> bool {
    ["1", "true", "yes", "on"].contains(&text.to_ascii_lowercase().as_str())
}
