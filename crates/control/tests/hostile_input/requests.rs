//! Requests with hostile bodies to a service that has examples of good ones.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::Request;
use proptest::prelude::*;
use reprieve_control::http;
use serde_json::Value;
use tower::ServiceExt as _;

use crate::json::{Names, any_json, changes, damage, for_all};
use crate::support::{Ask, Cloud};

/// A request that is good, or would be if the service had it.
#[derive(Debug, Clone)]
pub struct Example {
    /// Method.
    pub method: &'static str,
    /// Path.
    pub path: String,
    /// `Content-Type`.
    pub media_type: &'static str,
    /// Body; `#` stands for a number.
    pub body: Value,
}

impl Example {
    /// Its body with a number that no other has in the place of `#`: most names may be given once.
    fn unique(&self, number: &AtomicUsize) -> Value {
        let number = number.fetch_add(1, Ordering::Relaxed).to_string();
        serde_json::from_str(&self.body.to_string().replace('#', &number)).unwrap()
    }
}

/// What a service is.
pub struct Service {
    /// Examples of everything that takes a body.
    pub examples: Vec<Example>,
    /// Names in its bodies.
    pub keys: Names,
    /// Texts that mean something to it.
    pub texts: Names,
    /// `OpenStack-API-Version`, if it has versions.
    pub version: &'static str,
    /// Whether 501 is an answer: what it is that is not offered.
    pub not_all_offered: bool,
    /// Token of somebody who is neither the administrator nor the member.
    pub third: String,
    /// Whether an answer is a refusal in its form.
    pub is_fault: fn(&Value) -> bool,
}

/// Media types that are not the right one, or not even media types.
const MEDIA_TYPES: &[&str] = &[
    "",
    "application/json",
    "application/json; charset=utf-16",
    "text/plain",
    "text/html",
    "application/octet-stream",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "a/b;;;=",
    "/",
];

/// Sends changed and damaged examples, and any JSON, from everybody.
pub fn no_body_breaks(cloud: &Cloud, service: &Service, cases: u32) {
    let (keys, texts) = (service.keys, service.texts);
    let wrapped = (prop::sample::select(keys), any_json(keys, texts));
    let other = prop_oneof![
        any_json(keys, texts),
        wrapped.prop_map(|(key, value)| serde_json::json!({ key: value })),
    ];
    let (admin, member, third) = (&cloud.admin, &cloud.member, &service.third);
    // Mostly those who get far.
    let tokens = [admin, admin, admin, admin, member, member, third, "", "no-such-token"];
    let tokens = tokens.map(str::to_owned).to_vec();
    let number = AtomicUsize::new(0);
    let number = &number;
    let strategy = (
        prop::sample::select(service.examples.clone()),
        changes(keys, texts),
        prop::option::weighted(0.1, other),
        damage(),
        prop::option::weighted(0.1, prop::sample::select(MEDIA_TYPES)),
        prop::sample::select(tokens),
    );
    for_all(cases, &strategy, |(example, changes, other, damage, media_type, token)| async move {
        let value = other.unwrap_or_else(|| changes.apply(&example.unique(number)));
        let body = damage.apply(&value);
        let shown = String::from_utf8_lossy(&body).chars().take(2000).collect::<String>();
        let ask = Ask {
            method: example.method,
            path: &example.path,
            token: &token,
            headers: vec![
                ("content-type", media_type.unwrap_or(example.media_type)),
                ("openstack-api-version", service.version),
            ],
            body: Some(body),
        };
        let reply = cloud.ask(&ask).await;
        let said =
            format!("{} {} {shown}: {} {}", example.method, example.path, reply.status, reply.body);
        let refused = service.not_all_offered && reply.status == 501;
        prop_assert!(reply.status < 500 || refused, "{}", said);
        prop_assert!(reply.status < 400 || (service.is_fault)(&reply.body), "{}", said);
        Ok(())
    });
}

/// Every example is good for somebody; otherwise it proves little when it is changed.
pub async fn examples_are_good(cloud: &Cloud, service: &Service, refused: &[&str]) {
    let number = AtomicUsize::new(0);
    for example in &service.examples {
        let mut answers = Vec::new();
        for token in [&cloud.admin, &cloud.member, &service.third] {
            let ask = Ask {
                method: example.method,
                path: &example.path,
                token,
                headers: vec![
                    ("content-type", example.media_type),
                    ("openstack-api-version", service.version),
                ],
                body: Some(example.unique(&number).to_string().into_bytes()),
            };
            let reply = cloud.ask(&ask).await;
            answers.push((reply.status, reply.body));
        }
        let shown = format!("{} {}", example.method, example.path);
        let good = answers.iter().any(|(status, _)| *status < 300);
        let wanted = !refused.iter().any(|end| example.path.ends_with(end));
        assert_eq!(good, wanted, "{shown}: {answers:?}");
    }
}

/// A body of 1 MiB is read, a longer one is refused, announced or not.
pub async fn bodies_are_bounded(cloud: &Cloud, example: &Example, is_fault: fn(&Value) -> bool) {
    const LIMIT: usize = 1 << 20;
    let ask = |body: Vec<u8>| Ask {
        method: example.method,
        path: &example.path,
        token: &cloud.admin,
        headers: vec![("content-type", example.media_type)],
        body: Some(body),
    };
    for (length, status) in [(LIMIT, 400), (LIMIT + 1, 413)] {
        let reply = cloud.ask(&ask(vec![b' '; length])).await;
        assert_eq!(reply.status, status, "{length}");
        assert!(is_fault(&reply.body), "{}", reply.body);
    }
    let pieces = (0..2000).map(|_| Ok::<_, std::io::Error>(Bytes::from(vec![b' '; 1024])));
    let endless = Body::from_stream(futures_util::stream::iter(pieces));
    assert_eq!(send(cloud, example, endless).await, 413);
    let broken = futures_util::stream::iter([
        Ok(Bytes::from_static(b"{")),
        Err(std::io::Error::other("the connection broke")),
    ]);
    assert_eq!(send(cloud, example, Body::from_stream(broken)).await, 400);
}

/// Who sends nothing more is told so after half a minute. Time begins to fly when the body is waited
/// for: before that the database is asked, which lives in real time.
pub async fn a_body_that_stops_is_given_up(cloud: &Cloud, example: &Example) {
    let (tell, waited_for) = tokio::sync::oneshot::channel();
    let mut tell = Some(tell);
    let silent = futures_util::stream::poll_fn(move |_| {
        tell.take().map(|tell| tell.send(()));
        std::task::Poll::<Option<Result<Bytes, std::io::Error>>>::Pending
    });
    let too_late = async {
        waited_for.await.unwrap();
        tokio::time::pause();
        tokio::time::sleep(Duration::from_secs(60)).await;
    };
    tokio::select! {
        biased;
        status = send(cloud, example, Body::from_stream(silent)) => assert_eq!(status, 408),
        () = too_late => panic!("still waiting"),
    }
}

/// Sends a body in pieces; the status of the answer.
async fn send(cloud: &Cloud, example: &Example, body: Body) -> u16 {
    let request = Request::builder()
        .method(example.method)
        .uri(&example.path)
        .header("x-auth-token", &cloud.admin)
        .header("content-type", example.media_type)
        .body(body)
        .unwrap();
    let router = http::router(std::sync::Arc::clone(&cloud.control));
    router.oneshot(request).await.unwrap().status().as_u16()
}

/// Asks for lists with any parameters, and with very many.
pub fn no_query_breaks(cloud: &Cloud, paths: Names, (names, values): (Names, Names)) {
    let name = prop_oneof![
        4 => prop::sample::select(names).prop_map(str::to_owned),
        1 => "[a-z%]{0,6}",
    ];
    let value = prop_oneof![
        prop::sample::select(values).prop_map(|text| text.replace(' ', "+")),
        prop::sample::select(vec![
            "",
            "1",
            "-1",
            "0",
            "true",
            "None",
            "%ff",
            "%00",
            "%2525",
            "99999999999999999999",
            "gt:2020-01-01",
            "gt:",
            ":",
            "in:",
            "in:,,",
            "in:%22",
            "(",
            "a,b",
            "%F0%9F%98%80",
        ])
        .prop_map(str::to_owned),
        "[ -~&&[^ #&=<>\"`{}|^\\\\]]{0,12}",
    ];
    let query = prop_oneof![
        9 => prop::collection::vec((name, value), 0..5).prop_map(|pairs| {
            let pairs = pairs.into_iter().map(|(name, value)| format!("{name}={value}"));
            pairs.collect::<Vec<_>>().join("&")
        }),
        1 => (prop::sample::select(names), 100_usize..6000).prop_map(|(name, count)| {
            let mut query = vec![format!("{name}=a"); count].join("&");
            query.truncate(60_000);
            query
        }),
        1 => (prop::sample::select(names), 1_usize..60_000)
            .prop_map(|(name, length)| format!("{name}={}", "a,".repeat(length / 2))),
    ];
    let strategy = (prop::sample::select(paths), query, any::<bool>());
    for_all(400, &strategy, |(path, query, admin)| async move {
        let path = format!("{path}?{query}");
        if path.parse::<axum::http::Uri>().is_err() {
            return Ok(());
        }
        let token = if admin { &cloud.admin } else { &cloud.member };
        let reply = cloud.ask(&Ask { method: "GET", path: &path, token, ..Ask::default() }).await;
        let shown: String = path.chars().take(500).collect();
        prop_assert!(reply.status < 500, "{}: {} {}", shown, reply.status, reply.body);
        Ok(())
    });
}
