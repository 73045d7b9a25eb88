//! In which versions a path has a method, and which of them take no query parameters. Wrapped
//! around handlers in [`routes`](super::super::routes), so that a handler is not asked where it
//! does not exist.

use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::MethodRouter;

use super::super::call::ApiCall;
use super::super::fault::ApiFault;
use super::super::schema::small::NO_QUERY;
use super::Versions;

/// Methods that exist since 2.`first`.
pub fn since(first: u16, methods: MethodRouter) -> MethodRouter {
    within(Versions::since(first), methods)
}

/// Methods that exist until 2.`last`.
pub fn until(last: u16, methods: MethodRouter) -> MethodRouter {
    within(Versions::until(last), methods)
}

/// Methods that exist in some versions; in others they are 404, whatever the request is like.
fn within(versions: Versions, methods: MethodRouter) -> MethodRouter {
    methods.route_layer(from_fn_with_state(versions, admit))
}

/// Methods without query parameters: any is ignored before 2.102, and an error since.
pub fn plain(methods: MethodRouter) -> MethodRouter {
    methods.route_layer(from_fn(refuse_parameters))
}

async fn admit(State(versions): State<Versions>, request: Request, next: Next) -> Response {
    let admitted = call_of(&request).and_then(|call| call.require(versions));
    go_on(admitted, request, next).await
}

async fn refuse_parameters(request: Request, next: Next) -> Response {
    let checked = call_of(&request).and_then(|call| call.check_query(&NO_QUERY));
    go_on(checked, request, next).await
}

/// What is known of the request. It is there: the routes are inside of what makes it.
fn call_of(request: &Request) -> Result<&ApiCall, ApiFault> {
    request.extensions().get::<ApiCall>().ok_or_else(ApiFault::internal)
}

async fn go_on(checked: Result<(), ApiFault>, request: Request, next: Next) -> Response {
    match checked {
        Ok(()) => next.run(request).await,
        Err(fault) => fault.into_response(),
    }
}
