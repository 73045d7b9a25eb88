//! Application credentials: made, used, and ended with whatever they hang on.

use reprieve_control::app::identity::validate;
use serde_json::{Value, json};

use crate::harness::{Cloud, backends, password_auth, text};

/// A user with a role in a project of its own, and a token of it.
struct User {
    token: String,
    id: String,
    project: String,
}

impl User {
    async fn new(cloud: &Cloud, name: &str, role: &str) -> Self {
        let token = cloud.user(name, role).await;
        let auth = validate(&cloud.control, &token).await.unwrap();
        Self { token, id: auth.user_id.to_string(), project: auth.project_id.to_string() }
    }

    fn path(&self) -> String {
        format!("/identity/v3/users/{}/application_credentials", self.id)
    }

    async fn make(&self, cloud: &Cloud, credential: Value) -> Value {
        let body = json!({ "application_credential": credential });
        let made = cloud.call(&self.token, "POST", &self.path(), body).await.expect(201);
        made.json()["application_credential"].clone()
    }
}

fn by_id(credential: &Value) -> Value {
    json!({"identity": {
        "methods": ["application_credential"],
        "application_credential": {"id": credential["id"], "secret": credential["secret"]},
    }})
}

async fn log_in(cloud: &Cloud, credential: &Value) -> String {
    let reply = cloud.login(by_id(credential)).await.expect(201);
    reply.header("x-subject-token").to_owned()
}

/// Path of the grant of a role to a user in a project.
async fn grant(cloud: &Cloud, user: &User, role: &str) -> String {
    let admin = cloud.admin().await;
    let roles = cloud.get(&admin, &format!("/identity/v3/roles?name={role}")).await.json();
    let role = text(&roles["roles"][0]["id"]).to_owned();
    format!("/identity/v3/projects/{}/users/{}/roles/{role}", user.project, user.id)
}

const ME: &str = "/identity/v3/auth/projects";

#[tokio::test]
async fn a_credential_logs_in_by_id_and_by_name() {
    let cloud = Cloud::start().await;
    let alice = User::new(&cloud, "alice", "member").await;
    let made = alice
        .make(
            &cloud,
            json!({
                "name": "ci", "description": "for the pipeline", "secret": null, "roles": [],
                "expires_at": null, "unrestricted": false, "access_rules": [],
            }),
        )
        .await;
    let secret = text(&made["secret"]).to_owned();
    assert_eq!(secret.len(), 86);
    assert_eq!(made["project_id"], alice.project);
    assert_eq!(made["user_id"], alice.id);
    assert_eq!(made["description"], "for the pipeline");
    assert_eq!((&made["unrestricted"], &made["expires_at"]), (&json!(false), &Value::Null));
    let roles: Vec<&str> =
        made["roles"].as_array().unwrap().iter().map(|role| text(&role["name"])).collect();
    assert_eq!(roles, ["member", "reader"]);

    let reply = cloud.login(by_id(&made)).await.expect(201);
    let token = &reply.json()["token"];
    assert_eq!(token["methods"], json!(["application_credential"]));
    assert_eq!(token["project"]["id"], alice.project);
    assert_eq!(
        token["application_credential"],
        json!({"id": made["id"], "name": "ci", "restricted": true})
    );
    assert_eq!(token["catalog"].as_array().unwrap().len(), 3);
    let auth = validate(&cloud.control, reply.header("x-subject-token")).await.unwrap();
    assert_eq!(auth.roles, ["member", "reader"]);

    for user in [json!({"id": alice.id}), json!({"name": "alice", "domain": {"id": "default"}})] {
        let auth = json!({"identity": {
            "methods": ["application_credential"],
            "application_credential": {"name": "ci", "user": user, "secret": secret},
        }});
        let reply = cloud.login(auth).await.expect(201);
        assert_eq!(reply.json()["token"]["project"]["name"], "alice");
    }
    let shown = cloud.get(&alice.token, &format!("{}/{}", alice.path(), text(&made["id"]))).await;
    let shown = shown.expect(200).json()["application_credential"].clone();
    assert!(shown.get("secret").is_none());
    assert_eq!(shown["roles"], made["roles"]);
    let listed = cloud.get(&alice.token, &alice.path()).await.expect(200).json();
    assert_eq!(listed["application_credentials"], json!([shown]));
    let none = cloud.get(&alice.token, &format!("{}?name=other", alice.path())).await.json();
    assert_eq!(none["application_credentials"], json!([]));
}

#[tokio::test]
async fn logins_that_are_refused_say_nothing() {
    let cloud = Cloud::start().await;
    let alice = User::new(&cloud, "alice", "member").await;
    let made = alice.make(&cloud, json!({"name": "ci", "secret": "given"})).await;
    assert_eq!(made["secret"], "given");
    let login = |credential: Value| {
        json!({"identity": {
            "methods": ["application_credential"], "application_credential": credential,
        }})
    };
    let bob = json!({"name": "bob", "domain": {"id": "default"}});
    for credential in [
        json!({"id": made["id"], "secret": "wrong"}),
        json!({"id": "nothing", "secret": "given"}),
        json!({"name": "ci", "user": bob, "secret": "given"}),
        json!({"name": "other", "user": {"id": alice.id}, "secret": "given"}),
        json!({"id": made["id"], "secret": "x".repeat(5000)}),
    ] {
        let refused = cloud.login(login(credential.clone())).await.expect(401).json();
        let message = &refused["error"]["message"];
        assert_eq!(message, "The request you have made requires authentication.", "{credential}");
    }
    let mut scoped = by_id(&made);
    scoped["scope"] = json!({"project": {"id": alice.project}});
    let refused = cloud.login(scoped).await.expect(401).json();
    assert!(text(&refused["error"]["message"]).ends_with("cannot request a scope."), "{refused}");
    for malformed in [
        json!({}),
        json!({"id": made["id"]}),
        json!({"secret": "given"}),
        json!({"name": "ci", "secret": "given"}),
        json!({"id": 1, "secret": "given"}),
        json!({"id": made["id"], "secret": 1}),
    ] {
        cloud.login(login(malformed)).await.expect(400);
    }
}

#[tokio::test]
async fn a_credential_has_some_of_the_roles() {
    let cloud = Cloud::start().await;
    let alice = User::new(&cloud, "alice", "manager").await;
    let reader = alice.make(&cloud, json!({"name": "r", "roles": [{"name": "reader"}]})).await;
    let token = log_in(&cloud, &reader).await;
    assert_eq!(validate(&cloud.control, &token).await.unwrap().roles, ["reader"]);
    let image = json!({"name": "x"});
    cloud.call(&token, "POST", "/image/v2/images", image).await.expect(403);

    let refuse = async |credential: Value, status: u16| {
        let body = json!({ "application_credential": credential });
        let refused = cloud.call(&alice.token, "POST", &alice.path(), body).await.expect(status);
        text(&refused.json()["error"]["message"]).to_owned()
    };
    let admin = refuse(json!({"name": "a", "roles": [{"name": "admin"}]}), 400).await;
    assert!(admin.starts_with("Invalid application credential: Could not find role assignment"));
    for (credential, status) in [
        (json!({"name": "r"}), 409),
        (json!({}), 400),
        (json!({"name": ""}), 400),
        (json!({"name": "x".repeat(256)}), 400),
        (json!({"name": "x", "roles": "member"}), 400),
        (json!({"name": "x", "roles": [{}]}), 400),
        (json!({"name": "x", "secret": ""}), 400),
        (json!({"name": "x", "secret": "x".repeat(1025)}), 400),
        (json!({"name": "x", "expires_at": "tomorrow"}), 400),
        (json!({"name": "x", "expires_at": "2001-01-01T00:00:00"}), 400),
        (json!({"name": "x", "unrestricted": "perhaps"}), 400),
        (json!({"name": "x", "access_rules": [{"path": "/v2.1/servers"}]}), 400),
    ] {
        refuse(credential, status).await;
    }
}

#[tokio::test]
async fn a_stolen_credential_cannot_spread() {
    let cloud = Cloud::start().await;
    let alice = User::new(&cloud, "alice", "member").await;
    let restricted = alice.make(&cloud, json!({"name": "r"})).await;
    let token = log_in(&cloud, &restricted).await;
    let more = json!({"application_credential": {"name": "more"}});
    let refused = cloud.call(&token, "POST", &alice.path(), more.clone()).await.expect(403).json();
    assert!(text(&refused["error"]["message"]).contains("application_credential"), "{refused}");
    let own = format!("{}/{}", alice.path(), text(&restricted["id"]));
    cloud.call(&token, "DELETE", &own, Value::Null).await.expect(403);

    // A token made of its token reaches no further and ends with it.
    let exchange = |scope: Value| {
        let mut auth = json!({"identity": {"methods": ["token"], "token": {"id": token}}});
        if !scope.is_null() {
            auth["scope"] = scope;
        }
        auth
    };
    cloud.login(exchange(json!("unscoped"))).await.expect(401);
    let elsewhere = json!({"project": {"name": "admin", "domain": {"id": "default"}}});
    cloud.login(exchange(elsewhere)).await.expect(401);
    let again = cloud.login(exchange(Value::Null)).await.expect(201);
    assert_eq!(again.json()["token"]["application_credential"]["restricted"], true);
    assert_eq!(again.json()["token"]["methods"], json!(["application_credential", "token"]));
    let again = again.header("x-subject-token");
    cloud.call(again, "POST", &alice.path(), more.clone()).await.expect(403);
    cloud.call(&alice.token, "DELETE", &own, Value::Null).await.expect(204);
    cloud.get(&token, ME).await.expect(401);
    cloud.get(again, ME).await.expect(401);

    let unrestricted = alice.make(&cloud, json!({"name": "u", "unrestricted": true})).await;
    let token = log_in(&cloud, &unrestricted).await;
    cloud.call(&token, "POST", &alice.path(), more).await.expect(201);
}

#[tokio::test]
async fn only_the_user_makes_credentials_and_administrators_see_them() {
    let cloud = Cloud::start().await;
    let (alice, bob) =
        (User::new(&cloud, "alice", "member").await, User::new(&cloud, "bob", "member").await);
    let admin = cloud.admin().await;
    let made = alice.make(&cloud, json!({"name": "ci"})).await;
    let own = format!("{}/{}", alice.path(), text(&made["id"]));
    let body = json!({"application_credential": {"name": "x"}});
    for token in [&bob.token, &admin] {
        cloud.call(token, "POST", &alice.path(), body.clone()).await.expect(403);
    }
    for path in [&own, &alice.path()] {
        cloud.get(&bob.token, path).await.expect(403);
        cloud.get(&admin, path).await.expect(200);
        cloud.get("", path).await.expect(401);
    }
    cloud.call(&bob.token, "DELETE", &own, Value::Null).await.expect(403);
    // Not under another user's name either.
    let other = format!("{}/{}", bob.path(), text(&made["id"]));
    cloud.get(&bob.token, &other).await.expect(404);
    cloud.call(&bob.token, "DELETE", &other, Value::Null).await.expect(404);
    let unscoped = cloud.login(password_auth("alice", "secret", None)).await.expect(201);
    let unscoped = unscoped.header("x-subject-token");
    cloud.call(unscoped, "POST", &alice.path(), body).await.expect(403);
    cloud.call(&admin, "DELETE", &own, Value::Null).await.expect(204);
    let gone = cloud.get(&alice.token, &own).await.expect(404).json();
    let message = format!("Could not find Application Credential: {}.", text(&made["id"]));
    assert_eq!(gone["error"]["message"], message);
    let rules = format!("/identity/v3/users/{}/access_rules", alice.id);
    let rules = cloud.get(&alice.token, &rules).await.expect(200).json();
    assert_eq!(rules["access_rules"], json!([]));
}

#[tokio::test]
async fn it_ends_in_time() {
    let cloud = Cloud::start().await;
    let alice = User::new(&cloud, "alice", "member").await;
    // The clock of the tests began at 2026-08-21T10:15:40Z.
    let made = alice.make(&cloud, json!({"name": "ci", "expires_at": "2026-08-21T10:25:40"})).await;
    assert_eq!(made["expires_at"], "2026-08-21T10:25:40.000000");
    let reply = cloud.login(by_id(&made)).await.expect(201);
    assert_eq!(reply.json()["token"]["expires_at"], "2026-08-21T10:25:40.000000Z");
    cloud.get(reply.header("x-subject-token"), ME).await.expect(200);
    cloud.clock.advance(600);
    cloud.get(reply.header("x-subject-token"), ME).await.expect(401);
    cloud.login(by_id(&made)).await.expect(401);
}

#[tokio::test]
async fn what_a_credential_hangs_on_ends_it_at_once() {
    let cloud = Cloud::start().await;
    let admin = cloud.admin().await;

    let user = User::new(&cloud, "demoted", "member").await;
    let made = user.make(&cloud, json!({"name": "ci"})).await;
    let token = log_in(&cloud, &made).await;
    cloud.get(&token, ME).await.expect(200);
    let path = grant(&cloud, &user, "member").await;
    cloud.call(&admin, "DELETE", &path, Value::Null).await.expect(204);
    cloud.get(&token, ME).await.expect(401);
    // The role again is not the old credential again.
    cloud.call(&admin, "PUT", &path, Value::Null).await.expect(204);
    cloud.get(&token, ME).await.expect(401);
    cloud.login(by_id(&made)).await.expect(401);

    let user = User::new(&cloud, "disabled", "member").await;
    let made = user.make(&cloud, json!({"name": "ci"})).await;
    let token = log_in(&cloud, &made).await;
    let path = format!("/identity/v3/users/{}", user.id);
    for enabled in [false, true] {
        let change = json!({"user": {"enabled": enabled}});
        cloud.call(&admin, "PATCH", &path, change).await.expect(200);
        cloud.get(&token, ME).await.expect(401);
        cloud.login(by_id(&made)).await.expect(401);
    }

    let user = User::new(&cloud, "projectless", "member").await;
    let made = user.make(&cloud, json!({"name": "ci"})).await;
    let token = log_in(&cloud, &made).await;
    let path = format!("/identity/v3/projects/{}", user.project);
    cloud.call(&admin, "DELETE", &path, Value::Null).await.expect(204);
    cloud.get(&token, ME).await.expect(401);
    cloud.login(by_id(&made)).await.expect(401);

    let user = User::new(&cloud, "roleless", "member").await;
    let role = json!({"role": {"name": "operator"}});
    let role = cloud.call(&admin, "POST", "/identity/v3/roles", role).await.expect(201).json();
    let role = text(&role["role"]["id"]).to_owned();
    let path = grant(&cloud, &user, "operator").await;
    cloud.call(&admin, "PUT", &path, Value::Null).await.expect(204);
    let made = user.make(&cloud, json!({"name": "ci", "roles": [{"id": role}]})).await;
    let token = log_in(&cloud, &made).await;
    assert_eq!(validate(&cloud.control, &token).await.unwrap().roles, ["operator"]);
    let path = format!("/identity/v3/roles/{role}");
    cloud.call(&admin, "DELETE", &path, Value::Null).await.expect(204);
    cloud.get(&token, ME).await.expect(401);
    cloud.login(by_id(&made)).await.expect(401);

    let user = User::new(&cloud, "deleted", "member").await;
    let made = user.make(&cloud, json!({"name": "ci"})).await;
    let token = log_in(&cloud, &made).await;
    let path = format!("/identity/v3/users/{}", user.id);
    cloud.call(&admin, "DELETE", &path, Value::Null).await.expect(204);
    cloud.get(&token, ME).await.expect(401);
    cloud.login(by_id(&made)).await.expect(401);
}

#[tokio::test]
async fn the_secret_is_not_in_the_database() {
    let cloud = Cloud::start().await;
    let alice = User::new(&cloud, "alice", "member").await;
    let made = alice.make(&cloud, json!({"name": "ci"})).await;
    let secret = text(&made["secret"]).as_bytes();
    cloud.control.store.close().await.unwrap();
    let bytes = backends::everything_in(cloud.dir.path());
    assert!(!bytes.windows(secret.len()).any(|window| window == secret));
}
