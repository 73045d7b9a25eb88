//! Reading what clients send: bounded, typed, and unknown members ignored as in Keystone.

use axum::body::Body;
use serde_json::{Map, Value};

use super::fault::Fault;
use crate::app::identity::{DOMAIN_ID, DOMAIN_NAME};
use crate::app::secret::Password;
use crate::http::body;

/// Longest name of a user or role; Keystone's limit.
pub const MAX_NAME: usize = 255;
/// Longest name of a project; Keystone's limit.
pub const MAX_PROJECT_NAME: usize = 64;
/// Longest free text, in bytes.
const MAX_TEXT: usize = 16 * 1024;

/// A JSON object with the place it stands at, for messages.
pub struct Object {
    place: &'static str,
    members: Map<String, Value>,
}

/// Reads the body and returns its member `name`, which must be an object.
pub async fn object(body: Body, name: &'static str) -> Result<Object, Fault> {
    let bytes = body::read(body, body::JSON_LIMIT).await?;
    let parsed: Value = serde_json::from_slice(&bytes).map_err(|_| {
        Fault::bad_request("The request body is not valid JSON or nested too deeply.")
    })?;
    match parsed {
        Value::Object(mut members) => match members.remove(name) {
            Some(Value::Object(members)) => Ok(Object { place: name, members }),
            _ => Err(Fault::expected(name, "the request body")),
        },
        _ => Err(Fault::expected("an object", "the request body")),
    }
}

impl Object {
    /// A member that is an object.
    pub fn object(&mut self, name: &'static str) -> Result<Option<Self>, Fault> {
        match self.members.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Object(members)) => Ok(Some(Self { place: name, members })),
            Some(_) => Err(Fault::expected(name, self.place)),
        }
    }

    /// A member that must be an object.
    pub fn required_object(&mut self, name: &'static str) -> Result<Self, Fault> {
        self.object(name)?.ok_or_else(|| Fault::expected(name, self.place))
    }

    /// Whether there is such a member.
    pub fn has(&self, name: &str) -> bool {
        self.members.contains_key(name)
    }

    /// Takes a member out, whatever it is.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        self.members.remove(name)
    }

    /// Puts an object back.
    pub fn put(&mut self, name: &str, members: Map<String, Value>) {
        self.members.insert(name.to_owned(), Value::Object(members));
    }

    /// A text.
    pub fn text(&mut self, name: &'static str) -> Result<Option<String>, Fault> {
        match self.members.remove(name) {
            None => Ok(None),
            Some(Value::String(text)) if text.len() <= MAX_TEXT => Ok(Some(text)),
            Some(_) => Err(invalid(name, &format!("a text of at most {MAX_TEXT} bytes"))),
        }
    }

    /// A text that must be there.
    pub fn required_text(&mut self, name: &'static str) -> Result<String, Fault> {
        self.text(name)?.ok_or_else(|| Fault::expected(name, self.place))
    }

    /// A text or null; null takes the value away.
    pub fn nullable_text(&mut self, name: &'static str) -> Result<Option<Option<String>>, Fault> {
        if self.members.get(name) == Some(&Value::Null) {
            self.members.remove(name);
            return Ok(Some(None));
        }
        Ok(self.text(name)?.map(Some))
    }

    /// A name of 1 to `longest` characters, not only white space.
    pub fn name(&mut self, longest: usize) -> Result<Option<String>, Fault> {
        match self.text("name")? {
            None => Ok(None),
            Some(name) if name.trim().is_empty() || name.chars().count() > longest => {
                Err(invalid("name", &format!("1 to {longest} characters")))
            }
            Some(name) if name.chars().any(char::is_control) => {
                Err(invalid("name", "a text without control characters"))
            }
            Some(name) => Ok(Some(name)),
        }
    }

    /// A truth value; Keystone also accepts the usual texts.
    pub fn flag(&mut self, name: &'static str) -> Result<Option<bool>, Fault> {
        match self.members.remove(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(Value::String(text)) => match text.to_ascii_lowercase().as_str() {
                "true" | "1" | "yes" | "on" => Ok(Some(true)),
                "false" | "0" | "no" | "off" => Ok(Some(false)),
                _ => Err(invalid(name, "a boolean")),
            },
            Some(_) => Err(invalid(name, "a boolean")),
        }
    }

    /// A truth value; null means none.
    pub fn nullable_flag(&mut self, name: &'static str) -> Result<Option<bool>, Fault> {
        if self.members.get(name) == Some(&Value::Null) {
            self.members.remove(name);
        }
        self.flag(name)
    }

    /// A text of 1 to `longest` characters without control characters.
    pub fn bounded_text(
        &mut self,
        name: &'static str,
        longest: usize,
    ) -> Result<Option<String>, Fault> {
        let text = self.text(name)?;
        let wrong = |text: &String| {
            text.is_empty() || text.chars().count() > longest || text.chars().any(char::is_control)
        };
        if text.as_ref().is_some_and(wrong) {
            return Err(invalid(name, &format!("1 to {longest} characters")));
        }
        Ok(text)
    }

    /// A password; null means none.
    pub fn password(&mut self, name: &'static str) -> Result<Option<Password>, Fault> {
        match self.members.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(Password::from(text))),
            Some(_) => Err(invalid(name, "a text")),
        }
    }

    /// Whether the object's `domain` (`{"id"}` or `{"name"}`) is the only one there is.
    pub fn in_default_domain(&mut self) -> Result<bool, Fault> {
        let mut domain = self.required_object("domain")?;
        if let Some(id) = domain.text("id")? {
            return Ok(id == DOMAIN_ID);
        }
        Ok(domain.required_text("name")? == DOMAIN_NAME)
    }

    /// Refuses a `domain_id` other than the only one.
    pub fn check_domain_id(&mut self) -> Result<(), Fault> {
        match self.nullable_text("domain_id")?.flatten() {
            Some(id) if id != DOMAIN_ID => Err(Fault::not_found("domain", &id)),
            Some(_) | None => Ok(()),
        }
    }
}

/// 400 for a member of the wrong kind.
pub fn invalid(name: &str, expected: &str) -> Fault {
    Fault::bad_request(format!("Invalid input for field '{name}': it must be {expected}."))
}
