//! Tokens of remote consoles end with their time and with their server.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod common;

use std::time::Duration;

use common::Fixture;
use reprieve_core::conclude::Observation;
use reprieve_core::console::{ConsoleEndpoint, ConsoleKind};
use reprieve_core::{Clock as _, InstanceId, OperationKind};
use reprieve_store::{ConsoleTokenRecord, StoreError, TOKENS_OF_SERVER};

const TTL: Duration = Duration::from_secs(600);

fn token(f: &Fixture, hash: &str, instance: InstanceId) -> ConsoleTokenRecord {
    ConsoleTokenRecord {
        hash: hash.to_owned(),
        instance,
        kind: ConsoleKind::SpiceDirect,
        endpoint: ConsoleEndpoint {
            host: "node1".into(),
            port: 5900,
            tls_port: Some(65535),
            path: Some(instance.to_string()),
        },
        expires_at: f.clock.now().plus(TTL),
    }
}

#[tokio::test]
async fn tokens_are_found_until_they_end() {
    let f = Fixture::new().await;
    let server = f.active().await.id;
    let made = token(&f, "a", server);
    f.store.create_console_token(made.clone()).await.unwrap();
    assert_eq!(f.store.console_token("a").await.unwrap(), Some(made));
    assert_eq!(f.store.console_token("b").await.unwrap(), None);
    let bare = ConsoleEndpoint { tls_port: None, path: None, ..token(&f, "", server).endpoint };
    let bare = ConsoleTokenRecord { endpoint: bare, ..token(&f, "b", server) };
    f.store.create_console_token(bare.clone()).await.unwrap();
    assert_eq!(f.store.console_token("b").await.unwrap(), Some(bare));
    f.clock.advance(TTL);
    assert_eq!(f.store.console_token("a").await.unwrap(), None);
    // The next one clears the place of those that have ended, so the hash is free again.
    f.store.create_console_token(token(&f, "c", server)).await.unwrap();
    f.store.create_console_token(token(&f, "a", server)).await.unwrap();
}

#[tokio::test]
async fn a_server_has_a_bounded_number_of_them() {
    let f = Fixture::new().await;
    let (server, other) = (f.active().await.id, f.active().await.id);
    f.store.create_console_token(token(&f, "other", other)).await.unwrap();
    for number in 0..TOKENS_OF_SERVER + 2 {
        f.store.create_console_token(token(&f, &number.to_string(), server)).await.unwrap();
    }
    for (hash, there) in [("0", false), ("1", false), ("2", true), ("65", true), ("other", true)] {
        assert_eq!(f.store.console_token(hash).await.unwrap().is_some(), there, "{hash}");
    }
}

#[tokio::test]
async fn tokens_go_with_their_server() {
    let f = Fixture::new().await;
    let (server, other) = (f.active().await.id, f.active().await.id);
    f.store.create_console_token(token(&f, "a", server)).await.unwrap();
    f.store.create_console_token(token(&f, "b", other)).await.unwrap();
    f.done(server, OperationKind::Delete, Observation::NOTHING).await;
    assert_eq!(f.store.console_token("a").await.unwrap(), None);
    assert!(f.store.console_token("b").await.unwrap().is_some());
    for gone in [server, InstanceId::random()] {
        let refused = f.store.create_console_token(token(&f, "c", gone)).await.unwrap_err();
        assert!(matches!(refused, StoreError::NotFound { what: "server", .. }), "{refused}");
    }
}
