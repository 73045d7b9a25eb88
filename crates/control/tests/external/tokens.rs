//! Tokens that Keystone issued.

use std::time::Instant;

use reprieve_control::app::identity::{AuthError, validate};
use serde_json::json;

use crate::standin::Trouble;
use crate::{SHORT, Site, log};

const FLAVORS: &str = "/compute/v2.1/flavors";

#[tokio::test]
async fn a_token_is_checked_once_and_believed_for_a_while() {
    let site = Site::start().await;
    site.standin.add_token("alices", "member", "aaaa");
    for _ in 0..3 {
        site.cloud.get("alices", FLAVORS).await.expect(200);
    }
    let auth = validate(&site.cloud.control, "alices").await.unwrap();
    assert_eq!((auth.project_id.as_str(), auth.user_name.as_str()), ("aaaa", "alice"));
    assert_eq!(auth.roles, ["member"]);
    assert_eq!(site.standin.asked(), (1, 1));
    site.cloud.clock.advance(31);
    site.cloud.get("alices", FLAVORS).await.expect(200);
    assert_eq!(site.standin.asked(), (1, 2));
    // Revoked: seen after the while.
    site.standin.known().tokens.clear();
    site.cloud.clock.advance(31);
    let refused = site.cloud.get("alices", FLAVORS).await.expect(401);
    let keystone = format!("Keystone uri=\"{}/identity/v3\"", site.standin.url);
    assert_eq!(refused.header("www-authenticate"), keystone);
}

#[tokio::test]
async fn the_own_services_are_off() {
    let site = Site::start().await;
    let elsewhere = site.cloud.get("", "/identity/v3/auth/tokens").await.expect(404).json();
    let message = elsewhere["error"]["message"].as_str().unwrap();
    assert!(message.contains(&format!("{}/identity/v3", site.standin.url)), "{message}");
    let elsewhere = site.cloud.get("", "/image/v2/images").await.expect(404).json();
    assert!(elsewhere["message"].as_str().unwrap().contains(&site.standin.url), "{elsewhere}");
    site.cloud.get("", "/compute/").await.expect(200);
}

#[tokio::test]
async fn a_token_ends_in_time_even_when_it_was_just_checked() {
    let site = Site::start().await;
    site.standin.add_token("alices", "member", "aaaa");
    site.standin.known().tokens.get_mut("alices").unwrap()["token"]["expires_at"] =
        json!("2026-08-21T10:15:50.000000Z");
    site.cloud.get("alices", FLAVORS).await.expect(200);
    site.cloud.clock.advance(10);
    site.cloud.get("alices", FLAVORS).await.expect(401);
}

#[tokio::test]
async fn tokens_without_a_project_reach_nothing() {
    let site = Site::start().await;
    site.standin.add_token("unscoped", "member", "aaaa");
    {
        let mut known = site.standin.known();
        let token = &mut known.tokens.get_mut("unscoped").unwrap()["token"];
        token.as_object_mut().unwrap().remove("project");
    }
    let checked = validate(&site.cloud.control, "unscoped").await;
    assert!(matches!(checked, Err(AuthError::NotScoped)));
    site.cloud.get("unscoped", FLAVORS).await.expect(403);
}

#[tokio::test]
async fn what_cannot_be_a_token_is_not_asked_about() {
    let site = Site::start().await;
    site.cloud.get(&"x".repeat(5000), FLAVORS).await.expect(401);
    site.cloud.get("a b", FLAVORS).await.expect(401);
    for token in ["", "a\nb", "ä"] {
        let checked = validate(&site.cloud.control, token).await;
        assert!(matches!(checked, Err(AuthError::Unauthenticated)), "{token:?}");
    }
    assert_eq!(site.standin.known().validations, 0);
}

#[tokio::test]
async fn the_service_token_is_renewed_when_it_ends_or_is_refused() {
    let site = Site::start().await;
    site.standin.add_token("alices", "member", "aaaa");
    site.cloud.get("alices", FLAVORS).await.expect(200);
    // Keystone was set up anew and knows the old one no more.
    site.standin.known().service_tokens.clear();
    site.cloud.clock.advance(31);
    site.cloud.get("alices", FLAVORS).await.expect(200);
    assert_eq!(site.standin.known().logins, 2);
    // A minute before its end it is replaced without being refused first.
    let validations = site.standin.known().validations;
    site.standin.known().service_expiry = "2026-08-21T12:15:40Z".to_owned();
    site.cloud.clock.advance(3540 - 30);
    site.cloud.get("alices", FLAVORS).await.expect(200);
    assert_eq!(site.standin.known().logins, 3);
    assert_eq!(site.standin.known().validations, validations + 1);
}

#[tokio::test]
async fn a_refused_service_user_is_503_and_does_not_hammer_keystone() {
    let site = Site::start().await;
    site.standin.add_token("alices", "member", "aaaa");
    site.standin.known().locked_out = true;
    for _ in 0..5 {
        let refused = site.cloud.get("alices", FLAVORS).await.expect(503);
        assert_eq!(refused.header("retry-after"), "1");
        assert!(refused.json()["serviceUnavailable"]["message"].is_string());
    }
    assert_eq!(site.standin.known().logins, 1);
    site.standin.known().locked_out = false;
    site.cloud.clock.advance(16);
    site.cloud.get("alices", FLAVORS).await.expect(200);

    // Its token is accepted, but it may not validate others.
    site.standin.known().trouble = Some(Trouble::Status(403));
    site.cloud.clock.advance(31);
    site.cloud.get("alices", FLAVORS).await.expect(503);
    // Refused again with a fresh token: no third try.
    let logins = site.standin.known().logins;
    site.standin.known().trouble = Some(Trouble::Status(401));
    site.cloud.get("alices", FLAVORS).await.expect(503);
    assert_eq!(site.standin.known().logins, logins + 1);
}

#[tokio::test]
async fn a_keystone_that_fails_is_503_never_401_and_never_500() {
    let site = Site::start().await;
    site.standin.add_token("alices", "member", "aaaa");
    site.cloud.get("alices", FLAVORS).await.expect(200);
    let mut incomplete = site.standin.known().tokens["alices"].clone();
    incomplete["token"].as_object_mut().unwrap().remove("roles");
    for trouble in [
        Trouble::Status(500),
        Trouble::Status(503),
        Trouble::Status(204),
        Trouble::Status(302),
        Trouble::Status(429),
        Trouble::Nonsense(String::new()),
        Trouble::Nonsense("<html>".to_owned()),
        Trouble::Nonsense("[]".to_owned()),
        Trouble::Nonsense("{\"token\": {}}".to_owned()),
        Trouble::Nonsense("{\"token\": {\"user\": 7, \"project\": []}}".to_owned()),
        Trouble::Nonsense(incomplete.to_string()),
        Trouble::Nonsense("[".repeat(100_000)),
        Trouble::Nonsense(" ".repeat(2 << 20)),
    ] {
        site.standin.known().trouble = Some(trouble.clone());
        site.cloud.clock.advance(31);
        let reply = site.cloud.get("alices", FLAVORS).await;
        assert_eq!(reply.status.as_u16(), 503, "{trouble:?}");
        assert_eq!(reply.header("retry-after"), "1");
    }
    site.standin.known().trouble = None;
    site.cloud.get("alices", FLAVORS).await.expect(200);
}

#[tokio::test]
async fn a_slow_keystone_is_given_up_and_a_dead_one_noticed() {
    let site = Site::impatient().await;
    site.standin.add_token("alices", "member", "aaaa");
    site.cloud.get("alices", FLAVORS).await.expect(200);
    site.standin.known().trouble = Some(Trouble::Silence);
    site.cloud.clock.advance(31);
    let begun = Instant::now();
    site.cloud.get("alices", FLAVORS).await.expect(503);
    assert!(begun.elapsed() < 20 * SHORT, "{:?}", begun.elapsed());
    let Site { cloud, standin, glance: _glance } = site;
    drop(standin);
    cloud.get("alices", FLAVORS).await.expect(503);
}

#[tokio::test]
async fn no_secret_is_logged_whatever_happens() {
    let site = Site::impatient().await;
    site.standin.add_token("alices-own-token", "member", "aaaa");
    site.cloud.get("alices-own-token", FLAVORS).await.expect(200);
    for trouble in [
        Trouble::Status(500),
        Trouble::Status(401),
        Trouble::Nonsense("{\"token\": \"alices-own-token\"}".to_owned()),
        Trouble::Silence,
    ] {
        site.standin.known().trouble = Some(trouble);
        site.cloud.clock.advance(31);
        site.cloud.get("alices-own-token", FLAVORS).await.expect(503);
    }
    let wrong = Site::with_password("another-secret-word").await;
    wrong.cloud.get("alices-own-token", FLAVORS).await.expect(503);
    let logged = log::so_far();
    assert!(logged.contains("Keystone answered 500"), "{logged}");
    assert!(logged.contains("Keystone refused the service user"), "{logged}");
    for secret in [crate::PASSWORD, "another-secret-word", "alices-own-token", "service-token-1"] {
        assert!(!logged.contains(secret), "{secret} was logged");
    }
}

#[tokio::test]
async fn quotas_are_for_projects_that_keystone_knows() {
    let site = Site::impatient().await;
    site.standin.add_token("admins", "admin", "aaaa");
    let put = async |project: &str, status: u16| {
        let path = format!("/compute/v2.1/os-quota-sets/{project}");
        let body = json!({"quota_set": {"instances": 3}});
        site.cloud.call("admins", "PUT", &path, body).await.expect(status);
    };
    put("bbbb", 200).await;
    for unknown in ["cccc", "bb%2Fbb", "%2E%2E%2Fx", "a%3Fb"] {
        put(unknown, 400).await;
    }
    site.standin.known().service_tokens.clear();
    put("bbbb", 200).await;
    // Nova takes a project that it may not look at for one.
    site.standin.known().project_trouble = Some(Trouble::Status(403));
    put("cccc", 200).await;
    for trouble in [Trouble::Status(500), Trouble::Silence] {
        site.standin.known().project_trouble = Some(trouble);
        put("bbbb", 503).await;
    }
}
