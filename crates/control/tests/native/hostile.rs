//! Whatever stands in a path, a query or a header: an answer, and never a failure of ours.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use proptest::prelude::*;
use tower::ServiceExt as _;

use crate::support::Cloud;

fn query() -> impl Strategy<Value = String> {
    let names = ["server_id", "state", "action", "limit", "marker", "project_id", "event_type"];
    let name = prop_oneof![
        8 => prop::sample::select(names.to_vec()).prop_map(str::to_owned),
        1 => Just("last_event_id".to_owned()),
        1 => "[a-z%&=+]{0,8}",
    ];
    let value = prop_oneof![
        "[0-9]{1,30}",
        "[0-9]{1,20}-[0-9]{1,20}",
        "(%[0-9a-f]{2}){0,8}",
        "[ -~&&[^ #\"<>\\\\^`{|}]]{0,40}",
        Just("succeeded".to_owned()),
    ];
    prop::collection::vec((name, value), 0..6).prop_map(|pairs| {
        let pairs: Vec<String> = pairs.iter().map(|(n, v)| format!("{n}={v}")).collect();
        pairs.join("&")
    })
}

#[test]
fn no_query_makes_us_fail() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let cloud = runtime.block_on(Cloud::new());
    cloud.control.notifications.streams.open();
    let paths = prop::sample::select(vec!["operations", "operations/x", "events", ""]);
    let last = "[ -~]{0,30}";
    let config = ProptestConfig { cases: 256, ..ProptestConfig::default() };
    proptest!(config, |(path in paths, query in query(), last in last)| {
        let uri = format!("/reprieve/v1/{path}?{query}");
        let request = Request::get(&uri)
            .header("x-auth-token", &cloud.member)
            .header("last-event-id", &last)
            .body(Body::empty());
        // What is no URI does not reach us.
        let Ok(request) = request else { return Ok(()) };
        let answered = runtime.block_on(cloud.router.clone().oneshot(request)).unwrap();
        let status = answered.status();
        prop_assert!(
            matches!(status, StatusCode::OK | StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND),
            "{} for {}", status, uri
        );
    });
}
