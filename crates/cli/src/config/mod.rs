//! Which cloud to talk to, as whom: options, environment and clouds.yaml put together.
//!
//! Invariant: credentials of two sources are never mixed in a way that would send the password of
//! one cloud to another. A cloud that was named comes from clouds.yaml and options alone;
//! `OS_AUTH_URL` in the environment makes the environment the source; only when neither is there
//! do single variables override the default cloud of clouds.yaml.

mod clouds_yaml;
mod environment;
mod layer;

use std::fmt;
use std::path::PathBuf;

use crate::args::CloudArgs;

pub use environment::Environment;
use layer::Layer;

/// A text that no message may show.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text, for the wire.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// Something that has a name within a domain, or an id of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// By id.
    Id(String),
    /// By name, in a domain.
    Name {
        /// Name.
        name: String,
        /// Domain.
        domain: Domain,
    },
}

/// A domain of the identity service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Domain {
    /// By id.
    Id(String),
    /// By name.
    Name(String),
}

/// How to authenticate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// User and password.
    Password {
        /// User.
        user: Named,
        /// Password.
        password: Secret,
    },
    /// An application credential, which says for which project.
    ApplicationCredential {
        /// Which one.
        credential: CredentialName,
        /// Its secret.
        secret: Secret,
    },
    /// A token that exists already.
    Token(Secret),
}

/// Names an application credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialName {
    /// By id.
    Id(String),
    /// By name, of a user.
    Name {
        /// Name.
        name: String,
        /// User.
        user: Named,
    },
}

/// A cloud, ready to be talked to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cloud {
    /// Where this comes from, for messages: `cloud 'reprieve' of /var/lib/reprieve/clouds.yaml`.
    pub origin: String,
    /// Base of the identity service, without trailing slash, ending in `/v3`.
    pub auth_url: String,
    /// Credentials.
    pub credentials: Credentials,
    /// Project of the token; a token that exists keeps its own when this is missing.
    pub project: Option<Named>,
    /// Region of the services.
    pub region: Option<String>,
    /// Interface of the services.
    pub interface: String,
    /// Certificates to trust besides the system's.
    pub cacert: Option<PathBuf>,
    /// Whether certificates are checked.
    pub verify: bool,
}

impl Cloud {
    /// The user or application credential, for messages.
    pub fn user(&self) -> &str {
        match &self.credentials {
            Credentials::Password {
                user: Named::Id(text) | Named::Name { name: text, .. },
                ..
            } => text,
            Credentials::ApplicationCredential {
                credential: CredentialName::Id(text) | CredentialName::Name { name: text, .. },
                ..
            } => text,
            Credentials::Token(_) => "of the given token",
        }
    }
}

/// Why there is no cloud to talk to.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Nothing says where to go.
    #[error(
        "no cloud is configured: start reprieved on this machine (it writes clouds.yaml), or set \
         OS_CLOUD, or OS_AUTH_URL with OS_USERNAME, OS_PASSWORD and OS_PROJECT_NAME"
    )]
    Nothing,
    /// Something needed is missing.
    #[error("{origin} has no {what}: set {option} or {variable}")]
    Missing {
        /// Source that was used.
        origin: String,
        /// What is missing.
        what: &'static str,
        /// Option that says it.
        option: &'static str,
        /// Variable that says it.
        variable: &'static str,
    },
    /// The file was asked for and cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("{} is not a valid clouds.yaml: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where and why.
        reason: String,
    },
    /// No cloud of that name.
    #[error("there is no cloud '{name}' in {searched}; there is: {known}")]
    UnknownCloud {
        /// Name that was asked for.
        name: String,
        /// File.
        searched: String,
        /// Names in it.
        known: String,
    },
    /// Several clouds and no reason to take one.
    #[error("{} has several clouds, choose one with --os-cloud or OS_CLOUD: {known}", path.display())]
    Undecided {
        /// The file.
        path: PathBuf,
        /// Names in it.
        known: String,
    },
    /// A cloud that authenticates in another way.
    #[error(
        "{origin} has auth_type '{auth_type}'; known are password, token and \
             v3applicationcredential"
    )]
    AuthType {
        /// Source.
        origin: String,
        /// What it says.
        auth_type: String,
    },
    /// Not a URL.
    #[error("{origin} has auth_url '{url}', which is not an http or https URL")]
    AuthUrl {
        /// Source.
        origin: String,
        /// What it says.
        url: String,
    },
}

/// Puts options, environment and clouds.yaml together.
///
/// # Errors
/// [`ConfigError`], whose text says what to set.
pub fn resolve(options: &CloudArgs, env: &Environment) -> Result<Cloud, ConfigError> {
    let given = Layer::from_options(options);
    let name = options.os_cloud.clone().or_else(|| env.get("OS_CLOUD"));
    if let Some(name) = name {
        let file = clouds_yaml::find(env)?.ok_or_else(|| ConfigError::UnknownCloud {
            name: name.clone(),
            searched: clouds_yaml::search_path(env),
            known: "no clouds.yaml".to_owned(),
        })?;
        let origin = format!("cloud '{name}' of {}", file.path.display());
        return build(given.over(file.cloud(&name, env)?), origin);
    }
    let variables = Layer::from_environment(env);
    if given.auth_url.is_some() || variables.auth_url.is_some() {
        let origin = if variables.auth_url.is_some() && given.auth_url.is_none() {
            "the OS_* environment"
        } else {
            "--os-auth-url"
        };
        return build(given.over(variables), origin.to_owned());
    }
    let file = clouds_yaml::find(env)?.ok_or(ConfigError::Nothing)?;
    let name = file.default_cloud()?;
    let origin = format!("cloud '{name}' of {}", file.path.display());
    build(given.over(variables).over(file.cloud(&name, env)?), origin)
}

fn build(layer: Layer, origin: String) -> Result<Cloud, ConfigError> {
    let missing = |what, option, variable| ConfigError::Missing {
        origin: origin.clone(),
        what,
        option,
        variable,
    };
    let url = layer.auth_url.clone();
    let url = url.ok_or_else(|| missing("auth_url", "--os-auth-url", "OS_AUTH_URL"))?;
    let auth_url = identity_base(&url)
        .ok_or_else(|| ConfigError::AuthUrl { origin: origin.clone(), url: url.clone() })?;
    let credentials = credentials(&layer, &origin)?;
    // An application credential has its project; asking for one is refused.
    let bound = matches!(credentials, Credentials::ApplicationCredential { .. });
    let project = layer.project().filter(|_| !bound);
    if project.is_none() && matches!(credentials, Credentials::Password { .. }) {
        return Err(missing("project", "--os-project-name", "OS_PROJECT_NAME"));
    }
    Ok(Cloud {
        auth_url,
        credentials,
        project,
        region: layer.region,
        interface: layer.interface.map_or_else(|| "public".to_owned(), plain_interface),
        cacert: layer.cacert.map(PathBuf::from),
        verify: layer.verify.unwrap_or(true),
        origin,
    })
}

fn credentials(layer: &Layer, origin: &str) -> Result<Credentials, ConfigError> {
    let missing = |what, option, variable| ConfigError::Missing {
        origin: origin.to_owned(),
        what,
        option,
        variable,
    };
    let user = || layer.user().ok_or_else(|| missing("user", "--os-username", "OS_USERNAME"));
    let by_credential = match layer.auth_type.as_deref() {
        None => layer.credential_id.is_some() || layer.credential_name.is_some(),
        Some("password" | "v3password" | "token" | "v3token") => false,
        Some("v3applicationcredential") => true,
        Some(auth_type) => {
            let (origin, auth_type) = (origin.to_owned(), auth_type.to_owned());
            return Err(ConfigError::AuthType { origin, auth_type });
        }
    };
    if by_credential {
        let secret = layer.credential_secret.clone().ok_or_else(|| {
            missing(
                "application credential's secret",
                "--os-application-credential-secret",
                "OS_APPLICATION_CREDENTIAL_SECRET",
            )
        })?;
        let credential = match (layer.credential_id.clone(), layer.credential_name.clone()) {
            (Some(id), _) => CredentialName::Id(id),
            (None, Some(name)) => CredentialName::Name { name, user: user()? },
            (None, None) => {
                return Err(missing(
                    "application credential",
                    "--os-application-credential-id",
                    "OS_APPLICATION_CREDENTIAL_ID",
                ));
            }
        };
        return Ok(Credentials::ApplicationCredential { credential, secret: secret.into() });
    }
    match (layer.token.clone(), layer.password.clone()) {
        (Some(token), _) => Ok(Credentials::Token(token.into())),
        (None, Some(password)) => {
            Ok(Credentials::Password { user: user()?, password: password.into() })
        }
        (None, None) => Err(missing("password", "--os-password", "OS_PASSWORD")),
    }
}

/// `http://h/identity` and `http://h/identity/v3/` both mean `http://h/identity/v3`.
fn identity_base(url: &str) -> Option<String> {
    let parsed = reqwest::Url::parse(url).ok()?;
    if !matches!(parsed.scheme(), "http" | "https") || parsed.host_str().is_none() {
        return None;
    }
    let base = url.trim().trim_end_matches('/');
    Some(if base.ends_with("/v3") { base.to_owned() } else { format!("{base}/v3") })
}

/// `publicURL` is an old spelling of `public`.
fn plain_interface(text: String) -> String {
    text.strip_suffix("URL").map_or(text.clone(), str::to_owned)
}

#[cfg(test)]
mod tests;
