//! Describing images.

use axum::body::Body;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};

use super::fault::Answer;
use super::{Caller, image_id, input, json, no_content, view};
use crate::app::images::{self, Edit, MAX_NAME};

pub async fn create(caller: Caller, body: Body) -> Answer {
    let (id, edits) = input::new_image(input::json(body).await?)?;
    let image = images::create(&caller.control, &caller.auth, id, edits).await?;
    let mut response = json(StatusCode::CREATED, &view::image(&image));
    let location = format!("{}/image/v2/images/{}", caller.base, image.id);
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

pub async fn show(caller: Caller, Path(id): Path<String>) -> Answer {
    let image = images::get(&caller.control, &caller.auth, image_id(&id)?).await?;
    Ok(json(StatusCode::OK, &view::image(&image)))
}

pub async fn update(
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let id = image_id(&id)?;
    let form = input::patch_form(headers.get(header::CONTENT_TYPE))?;
    let edits = input::patch(form, input::json(body).await?)?;
    let image = images::update(&caller.control, &caller.auth, id, edits).await?;
    Ok(json(StatusCode::OK, &view::image(&image)))
}

pub async fn delete(caller: Caller, Path(id): Path<String>) -> Answer {
    images::delete(&caller.control, &caller.auth, image_id(&id)?).await?;
    Ok(no_content())
}

pub async fn deactivate(caller: Caller, Path(id): Path<String>) -> Answer {
    images::set_active(&caller.control, &caller.auth, image_id(&id)?, false).await?;
    Ok(no_content())
}

pub async fn reactivate(caller: Caller, Path(id): Path<String>) -> Answer {
    images::set_active(&caller.control, &caller.auth, image_id(&id)?, true).await?;
    Ok(no_content())
}

pub async fn add_tag(caller: Caller, Path((id, tag)): Path<(String, String)>) -> Answer {
    let edit = Edit::AddTag(input::text("tags", &tag, MAX_NAME)?);
    images::update(&caller.control, &caller.auth, image_id(&id)?, vec![edit]).await?;
    Ok(no_content())
}

pub async fn remove_tag(caller: Caller, Path((id, tag)): Path<(String, String)>) -> Answer {
    let edit = Edit::RemoveTag(tag);
    images::update(&caller.control, &caller.auth, image_id(&id)?, vec![edit]).await?;
    Ok(no_content())
}
