//! From what a person calls a thing to its id.

use serde_json::{Map, Value};

use crate::client::compute::{self, Pages, Server};
use crate::client::{ClientError, Service, Session, encode, image, query};
use crate::error::Failure;

/// A server by id or exact name.
///
/// # Errors
/// [`Failure::NotFound`], [`Failure::Ambiguous`].
pub async fn server(session: &Session, given: &str) -> Result<Server, Failure> {
    // A server may be named like the id of another: the id wins, as in Nova's own clients.
    if compute::is_id(given)
        && let Some(server) = found(compute::state(session, given).await)?
    {
        return Ok(server);
    }
    let id = only("server", given, compute::named(session, given).await?)?;
    Ok(compute::state(session, &id).await?)
}

/// An image by id or exact name.
///
/// # Errors
/// [`Failure::NotFound`], [`Failure::Ambiguous`].
pub async fn image(session: &Session, given: &str) -> Result<Map<String, Value>, Failure> {
    if compute::is_id(given)
        && let Some(image) = found(image::show(session, given).await)?
    {
        return Ok(image);
    }
    let listed = image::list(session, &[("name", given.to_owned())]).await?;
    let same = |image: &&Value| image.get("name").and_then(Value::as_str) == Some(given);
    let mut matching: Vec<Value> = listed.iter().filter(same).cloned().collect();
    only("image", given, ids(&matching))?;
    match matching.pop() {
        Some(Value::Object(image)) => Ok(image),
        _ => Err(Failure::NotFound { what: "image", name: given.to_owned() }),
    }
}

/// A flavor by id or exact name.
///
/// # Errors
/// [`Failure::NotFound`], [`Failure::Ambiguous`].
pub async fn flavor(session: &Session, given: &str) -> Result<Map<String, Value>, Failure> {
    let path = format!("/flavors/{}", encode(given));
    let value = found(session.get::<Value>(Service::Compute, &path).await)?;
    if let Some(value) = value {
        return Ok(compute::inner(session, value, "flavor")?);
    }
    let filter = query(&[("is_public", "None".to_owned())]);
    let all = Pages { path: "/flavors/detail", query: filter, key: "flavors", limit: None };
    let listed = compute::pages(session, &all).await?;
    let same = |flavor: &&Value| flavor.get("name").and_then(Value::as_str) == Some(given);
    let mut matching: Vec<Value> = listed.iter().filter(same).cloned().collect();
    only("flavor", given, ids(&matching))?;
    match matching.pop() {
        Some(Value::Object(flavor)) => Ok(flavor),
        _ => Err(Failure::NotFound { what: "flavor", name: given.to_owned() }),
    }
}

/// The id in an object.
pub fn id_of(object: &Map<String, Value>) -> String {
    object.get("id").and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn ids(things: &[Value]) -> Vec<String> {
    things.iter().filter_map(|thing| thing.get("id")?.as_str().map(str::to_owned)).collect()
}

/// Services answer 400 or 403 instead of 404 to some texts that cannot be an id.
fn found<T>(outcome: Result<T, ClientError>) -> Result<Option<T>, ClientError> {
    match outcome {
        Ok(thing) => Ok(Some(thing)),
        Err(error) if matches!(error.status(), Some(400 | 403 | 404)) => Ok(None),
        Err(error) => Err(error),
    }
}

fn only(what: &'static str, given: &str, mut ids: Vec<String>) -> Result<String, Failure> {
    let name = given.to_owned();
    match ids.len() {
        0 => Err(Failure::NotFound { what, name }),
        1 => Ok(ids.swap_remove(0)),
        _ => Err(Failure::Ambiguous { what, name, ids }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_none_several() {
        assert_eq!(only("server", "x", vec!["1".into()]).unwrap(), "1");
        let none = only("server", "x", vec![]).unwrap_err();
        assert_eq!(none.text(), "there is no server 'x'");
        let several = only("image", "x", vec!["1".into(), "2".into()]).unwrap_err();
        assert_eq!(several.text(), "several images are named 'x'; use an id: 1, 2");
    }
}
