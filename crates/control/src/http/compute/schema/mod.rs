//! Validation of bodies and queries with Nova's JSON Schemas and Nova's texts (spec/api.md
//! section 5).
//!
//! Everything that knows the crate `jsonschema` is here. Its errors come in an order of its own and
//! with words of its own; this module picks the error that Python's validator meets first (schema
//! keywords in the order they are written) and words it as Python does.
//!
//! Nova's additions to JSON Schema: `minimum` and `maximum` also hold for numbers in strings, and
//! there are formats of its own ([`formats`]).

pub mod aggregates;
pub mod extra_specs;
pub mod flavors;
pub mod foreign;
mod formats;
pub mod groups;
pub mod hosts;
pub mod keypairs;
pub mod python;
pub mod quotas;
pub mod servers;
pub mod small;
pub mod types;
pub mod usage;

use std::sync::OnceLock;

use jsonschema::error::ValidationErrorKind;
use jsonschema::paths::{Location, LocationSegment};
use jsonschema::{ValidationError, Validator};
use serde_json::Value;

use super::fault::ApiFault;
use super::microversion::Microversion;
use python::{join, repr, repr_str};

/// A schema that changes with the microversion. Compiled when it is first needed.
pub struct Family {
    /// Minor versions at which it changes.
    steps: &'static [u16],
    /// The schema as of a minor version.
    source: fn(u16) -> Value,
    compiled: OnceLock<Vec<OnceLock<Schema>>>,
}

impl Family {
    /// A schema that changes at `steps` (ascending) and is made by `source`.
    #[must_use]
    pub const fn new(steps: &'static [u16], source: fn(u16) -> Value) -> Self {
        Self { steps, source, compiled: OnceLock::new() }
    }

    /// As it is at `version`; `None` never happens.
    fn compiled_at(&self, version: Microversion) -> Option<&Schema> {
        let passed = self.steps.iter().filter(|step| version.since(**step)).count();
        let minor = passed.checked_sub(1).and_then(|last| self.steps.get(last)).copied();
        let slots =
            self.compiled.get_or_init(|| (0..=self.steps.len()).map(|_| OnceLock::new()).collect());
        let slot = slots.get(passed)?;
        Some(slot.get_or_init(|| Schema::new((self.source)(minor.unwrap_or(1)))))
    }

    /// As it is at `version`.
    ///
    /// # Errors
    /// 500, which only a mistake in this module could cause.
    pub fn at(&self, version: Microversion) -> Result<&Schema, ApiFault> {
        self.compiled_at(version).ok_or_else(ApiFault::internal)
    }
}

/// A compiled schema, together with its source, which orders the errors.
pub struct Schema {
    source: Value,
    compiled: Result<Validator, String>,
}

/// Whether the text of an error speaks of a field of the body or of a query parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subject {
    Body,
    Query,
}

impl Schema {
    /// Compiles `source`. A schema of ours that does not compile refuses everything with a 500;
    /// tests compile all of them.
    #[must_use]
    pub fn new(source: Value) -> Self {
        let compiled = formats::options().build(&source).map_err(|error| error.to_string());
        Self { source, compiled }
    }

    /// Checks a request body.
    ///
    /// # Errors
    /// 400 with Nova's text.
    pub fn check_body(&self, body: &Value) -> Result<(), ApiFault> {
        self.check(body, Subject::Body)
    }

    /// Checks a query: an object of name → list of values.
    ///
    /// # Errors
    /// 400 with Nova's text.
    pub fn check_query(&self, query: &Value) -> Result<(), ApiFault> {
        self.check(query, Subject::Query)
    }

    /// Removes what `additionalProperties: false` forbids, then checks: the mode of `/v2`.
    ///
    /// # Errors
    /// 400 with Nova's text.
    pub fn check_body_leniently(&self, body: &mut Value) -> Result<(), ApiFault> {
        let validator = self.validator()?;
        let unexpected: Vec<(String, Vec<String>)> = validator
            .iter_errors(body)
            .filter_map(|error| match error.kind() {
                ValidationErrorKind::AdditionalProperties { unexpected } => {
                    Some((error.instance_path().as_str().to_owned(), unexpected.clone()))
                }
                _ => None,
            })
            .collect();
        for (pointer, names) in unexpected {
            let Some(object) = body.pointer_mut(&pointer).and_then(Value::as_object_mut) else {
                continue;
            };
            object.retain(|name, _| !names.contains(name));
        }
        self.check_body(body)
    }

    fn validator(&self) -> Result<&Validator, ApiFault> {
        self.compiled.as_ref().map_err(|error| {
            tracing::error!(target: "reprieve::api", error, "a request schema does not compile");
            ApiFault::internal()
        })
    }

    fn check(&self, instance: &Value, subject: Subject) -> Result<(), ApiFault> {
        let validator = self.validator()?;
        if validator.is_valid(instance) {
            return Ok(());
        }
        let first = validator
            .iter_errors(instance)
            .min_by_key(|error| position(&self.source, error.schema_path()));
        match first {
            None => Ok(()),
            Some(error) => Err(ApiFault::bad_request(sentence(&self.source, &error, subject))),
        }
    }
}

/// Where in the written schema a keyword stands: comparing positions gives the order in which
/// Python would report errors.
fn position(schema: &Value, path: &Location) -> Vec<usize> {
    let mut place = Some(schema);
    let mut position = Vec::new();
    for segment in path {
        let (index, next) = match (place, segment) {
            (Some(Value::Object(fields)), LocationSegment::Property(name)) => {
                (fields.keys().position(|key| *key == name), fields.get(name.as_ref()))
            }
            (Some(Value::Array(items)), LocationSegment::Index(index)) => {
                (Some(index), items.get(index))
            }
            _ => (None, None),
        };
        position.push(index.unwrap_or(usize::MAX));
        place = next;
    }
    position
}

/// The whole text, with the place of the error unless it is the root.
fn sentence(schema: &Value, error: &ValidationError<'_>, subject: Subject) -> String {
    if let Some(text) = formats::sentence(error) {
        return text;
    }
    let message = message(schema, error);
    let segments: Vec<String> =
        error.instance_path().into_iter().map(|segment| segment.to_string()).collect();
    let (kind, place) = match subject {
        Subject::Body => ("field/attribute", segments.last()),
        Subject::Query => ("query parameters", segments.first()),
    };
    match place {
        None => message,
        Some(place) => {
            let value = python::str(error.instance());
            format!("Invalid input for {kind} {place}. Value: {value}. {message}")
        }
    }
}

/// What is wrong, in the words of Python's `jsonschema`.
fn message(schema: &Value, error: &ValidationError<'_>) -> String {
    use ValidationErrorKind as K;
    let path = error.schema_path().as_str();
    let value = repr(error.instance());
    match error.kind() {
        K::Type { .. } => format!("{value} is not of type {}", types_of(schema.pointer(path))),
        K::Required { property } => format!("{} is a required property", repr(property)),
        K::AdditionalProperties { unexpected } => {
            let parent = path.strip_suffix("/additionalProperties").unwrap_or(path);
            additional(schema.pointer(parent), unexpected)
        }
        K::AnyOf { .. } | K::OneOfNotValid { .. } => {
            format!("{value} is not valid under any of the given schemas")
        }
        K::OneOfMultipleValid { .. } => {
            format!("{value} is valid under more than one of the given schemas")
        }
        K::Enum { options } => format!("{value} is not one of {}", repr(options)),
        K::Constant { expected_value } => format!("{} was expected", repr(expected_value)),
        K::Pattern { pattern } => format!("{value} does not match {}", repr_str(pattern)),
        K::Format { format } => format!("{value} is not a {}", repr_str(format)),
        K::MinLength { .. } | K::MinItems { .. } => format!("{value} is too short"),
        K::MaxLength { .. } | K::MaxItems { .. } => format!("{value} is too long"),
        K::MinProperties { .. } => format!("{value} does not have enough properties"),
        K::MaxProperties { .. } => format!("{value} has too many properties"),
        K::UniqueItems => format!("{value} has non-unique elements"),
        K::FalseSchema => format!("False schema does not allow {value}"),
        K::Custom { message, .. } => message.clone(),
        // The schemas here use no other keyword.
        other => format!("{value} is not allowed by '{}'", other.keyword()),
    }
}

/// The types of a `type` keyword, in the order they are written.
fn types_of(keyword: Option<&Value>) -> String {
    match keyword {
        Some(Value::Array(types)) => join(types.iter().filter_map(Value::as_str)),
        Some(one) => repr(one),
        None => String::new(),
    }
}

fn additional(object: Option<&Value>, unexpected: &[String]) -> String {
    let single = unexpected.len() == 1;
    let patterns = object.and_then(|object| object.get("patternProperties")?.as_object());
    if let Some(patterns) = patterns {
        let mut names: Vec<&str> = unexpected.iter().map(String::as_str).collect();
        names.sort_unstable();
        let verb = if single { "does" } else { "do" };
        let patterns = join(patterns.keys().map(String::as_str));
        return format!("{} {verb} not match any of the regexes: {patterns}", join(names));
    }
    let verb = if single { "was" } else { "were" };
    let names = join(unexpected.iter().map(String::as_str));
    format!("Additional properties are not allowed ({names} {verb} unexpected)")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_schema_of_every_version_compiles() {
        let others = [aggregates::ALL, groups::ALL, hosts::ALL, quotas::ALL, usage::ALL].concat();
        let known = [flavors::ALL, foreign::ALL, keypairs::ALL, servers::ALL, small::ALL].concat();
        for family in known.into_iter().chain(others) {
            for minor in 1..=104 {
                let schema = family.at(Microversion::of(minor)).unwrap();
                if let Err(error) = &schema.compiled {
                    panic!("{error}: {}", schema.source);
                }
            }
        }
    }

    fn refusal(schema: Value, body: &Value) -> String {
        let schema = Schema::new(schema);
        schema.compiled.as_ref().unwrap();
        schema.check_body(body).unwrap_err().message().to_owned()
    }

    #[test]
    fn texts_are_pythons() {
        let field = |schema: Value| json!({"type": "object", "properties": {"f": schema}});
        for (schema, value, expected) in [
            (json!({"type": "string"}), json!(5), "Value: 5. 5 is not of type 'string'"),
            (
                json!({"type": ["object", "null"]}),
                json!("x"),
                "Value: x. 'x' is not of type 'object', 'null'",
            ),
            (json!({"enum": ["a", "b"]}), json!("c"), "Value: c. 'c' is not one of ['a', 'b']"),
            (json!({"minLength": 1}), json!(""), "Value: . '' is too short"),
            (json!({"maxItems": 1}), json!([1, 2]), "Value: [1, 2]. [1, 2] is too long"),
            (json!({"pattern": "^a$"}), json!("b"), "Value: b. 'b' does not match '^a$'"),
            (json!({"minimum": 1}), json!(0), "Value: 0. 0 is less than the minimum of 1"),
            (json!({"maximum": 1}), json!("2"), "Value: 2. 2 is greater than the maximum of 1"),
            (json!({"format": "uuid"}), json!("x"), "Value: x. 'x' is not a 'uuid'"),
            (
                json!({"anyOf": [{"type": "null"}, {"type": "integer"}]}),
                json!("x"),
                "Value: x. 'x' is not valid under any of the given schemas",
            ),
            (
                json!({"type": "object", "properties": {}, "additionalProperties": false}),
                json!({"x": 1, "y": true}),
                "Value: {'x': 1, 'y': True}. Additional properties are not allowed ('x', 'y' were \
                 unexpected)",
            ),
        ] {
            let expected = format!("Invalid input for field/attribute f. {expected}");
            assert_eq!(refusal(field(schema), &json!({"f": value})), expected);
        }
    }

    #[test]
    fn errors_at_the_root_have_no_place() {
        let schema = json!({"type": "object", "required": ["rescue"]});
        assert_eq!(refusal(schema.clone(), &json!({})), "'rescue' is a required property");
        assert_eq!(refusal(schema, &json!(null)), "None is not of type 'object'");
    }

    #[test]
    fn the_first_error_is_the_one_python_meets_first() {
        let schema = json!({
            "type": "object",
            "properties": {
                "b": {"maxLength": 1, "type": "string"},
                "a": {"type": "string"},
                "c": {},
            },
            "required": ["c"],
            "additionalProperties": false,
        });
        let refused = refusal(schema.clone(), &json!({"a": 1, "b": "long", "x": 1}));
        assert!(refused.contains("'long' is too long"), "{refused}");
        let refused = refusal(schema.clone(), &json!({"x": 1}));
        assert_eq!(refused, "'c' is a required property");
        let refused = refusal(schema, &json!({"c": 1, "x": 1}));
        assert_eq!(refused, "Additional properties are not allowed ('x' was unexpected)");
    }

    #[test]
    fn v2_drops_what_it_does_not_know() {
        let schema = Schema::new(json!({
            "type": "object",
            "properties": {"server": {
                "type": "object",
                "properties": {"name": {"type": "string"}},
                "additionalProperties": false,
            }},
            "additionalProperties": false,
        }));
        let mut body = json!({"server": {"name": "a", "x": 1}, "y": 2});
        schema.check_body_leniently(&mut body).unwrap();
        assert_eq!(body, json!({"server": {"name": "a"}}));
        assert!(schema.check_body_leniently(&mut json!({"server": {"name": 1}})).is_err());
    }
}
