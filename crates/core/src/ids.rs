//! Typed identifiers. A bare `Uuid` or `String` never crosses a module boundary.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A text that is not the identifier it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not a valid {what}")]
pub struct InvalidId {
    /// The kind of identifier that was expected.
    pub what: &'static str,
    /// What was given.
    pub text: String,
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $new:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A fresh identifier.
            #[must_use]
            pub fn random() -> Self {
                Self(Uuid::$new())
            }

            /// The UUID itself.
            #[must_use]
            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            /// Accepts the spellings that Nova's `is_uuid_like` accepts: with or without hyphens,
            /// any case.
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Uuid::try_parse(text)
                    .map(Self)
                    .map_err(|_| InvalidId { what: $what, text: text.chars().take(64).collect() })
            }
        }
    };
}

uuid_id!(
    /// A server. The libvirt domain carries the same UUID.
    InstanceId, "server id", new_v4
);
uuid_id!(
    /// An image of the image service.
    ImageId, "image id", new_v4
);
uuid_id!(
    /// One operation on one server; sorts by the time it was accepted (UUID version 7).
    OperationId, "operation id", now_v7
);
uuid_id!(
    /// A server group.
    ServerGroupId, "server group id", new_v4
);

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The text itself.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id!(
    /// A project of the identity service: 32 lower-case hexadecimal digits in Keystone.
    ProjectId
);
text_id!(
    /// A user of the identity service.
    UserId
);
text_id!(
    /// A compute host, as in `OS-EXT-SRV-ATTR:host`.
    HostName
);
text_id!(
    /// `req-<uuid>`: follows one API request through every log line it causes.
    RequestId
);

impl RequestId {
    /// A fresh request id in Nova's form.
    #[must_use]
    pub fn random() -> Self {
        Self(format!("req-{}", Uuid::new_v4().hyphenated()))
    }
}

/// 32 hexadecimal digits, the form Keystone gives to projects, users and roles.
#[must_use]
pub fn hex_id() -> String {
    Uuid::new_v4().simple().to_string()
}
