//! Key pairs: how many, how called, of which kind.

use serde_json::{Value, json};

use crate::support::{Cloud, PROJECT, USER};
use crate::{admin, fault, member, set_quota};

const ED25519: &str = "ssh-ed25519 \
    AAAAC3NzaC1lZDI1NTE5AAAAIOwxDz0zXFz/yeUFVDFdGYpIom1FoBgqMm38jxgmvHdW me";

async fn post(cloud: &Cloud, version: &str, keypair: Value) -> crate::Reply {
    member(cloud, "POST", "os-keypairs", (version, json!({"keypair": keypair}))).await
}

/// As recorded: an RSA key in PEM, and the public key with a comment.
#[tokio::test]
async fn generated_keys_are_rsa() {
    let cloud = Cloud::new().await;
    let made = post(&cloud, "2.1", json!({"name": "kp1"})).await;
    assert_eq!(made.status, 200, "{}", made.body);
    let pair = &made.body["keypair"];
    let text = |name: &str| pair[name].as_str().unwrap();
    assert!(text("private_key").starts_with("-----BEGIN RSA PRIVATE KEY-----\nMII"));
    assert!(text("private_key").ends_with("-----END RSA PRIVATE KEY-----\n"));
    assert!(text("public_key").starts_with("ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQ"));
    assert_eq!((text("name"), text("user_id"), pair.as_object().unwrap().len()), ("kp1", USER, 5));
    let again = json!({"name": "kp2", "public_key": text("public_key")});
    let imported = post(&cloud, "2.93", again).await;
    assert_eq!(imported.body["keypair"]["fingerprint"], pair["fingerprint"]);
}

#[tokio::test]
async fn other_kinds_are_imported_or_refused() {
    let cloud = Cloud::new().await;
    let imported = post(&cloud, "2.93", json!({"name": "k", "public_key": ED25519})).await;
    assert_eq!((imported.status, &imported.body["keypair"]["type"]), (201, &json!("ssh")));
    let x509 = json!({"name": "x", "public_key": "-----BEGIN CERTIFICATE-----", "type": "x509"});
    let refused = post(&cloud, "2.93", x509).await;
    assert_eq!(
        fault(&refused, "badRequest", 400),
        "Keypair data is invalid: type x509 is not supported, use ssh"
    );
}

#[tokio::test]
async fn names_have_plain_characters() {
    let cloud = Cloud::new().await;
    let key = |name: &str| json!({"name": name, "public_key": ED25519});
    assert_eq!(post(&cloud, "2.1", key("my key_1-a")).await.status, 200);
    for name in ["a@b", "a.b", "a/b", "ä"] {
        let refused = post(&cloud, "2.91", key(name)).await;
        assert_eq!(
            fault(&refused, "badRequest", 400),
            "Keypair data is invalid: Keypair name contains unsafe characters"
        );
    }
    assert_eq!(post(&cloud, "2.92", key("a@b.c")).await.status, 201);
    assert_eq!(post(&cloud, "2.92", key("a/b")).await.status, 400);
}

#[tokio::test]
async fn there_are_as_many_as_the_quota_says() {
    let cloud = Cloud::new().await;
    set_quota(&cloud, json!({"key_pairs": 1})).await;
    let key = |name: &str| json!({"name": name, "public_key": ED25519});
    assert_eq!(post(&cloud, "2.93", key("a")).await.status, 201);
    let refused = post(&cloud, "2.93", key("b")).await;
    assert_eq!(fault(&refused, "forbidden", 403), "Quota exceeded, too many key pairs.");
    let detail = format!("os-quota-sets/{PROJECT}/detail?user_id={USER}");
    let detail = admin(&cloud, "GET", &detail, ("2.93", Value::Null)).await;
    assert_eq!(
        detail.body["quota_set"]["key_pairs"],
        json!({"limit": 1, "in_use": 1, "reserved": 0})
    );
}
