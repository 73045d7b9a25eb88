//! Users, projects, roles, tokens, catalog, first start.

use std::os::unix::fs::PermissionsExt as _;

use reprieve_control::app::identity::{
    AuthError, Outcome, bootstrap, reset_admin_password, validate,
};
use serde_json::{Value, json};

use crate::harness::{Cloud, backends, control, password_auth, password_in, request, text};

const TOKENS: &str = "/identity/v3/auth/tokens";

#[tokio::test]
async fn discovery_needs_no_token() {
    let cloud = Cloud::start().await;
    for path in ["/identity", "/identity/"] {
        let root = cloud.get("", path).await.expect(300);
        assert_eq!(root.json()["versions"]["values"][0]["status"], "stable");
        let href = &root.json()["versions"]["values"][0]["links"][0]["href"];
        assert_eq!(href, "http://cloud:8774/identity/v3/");
        assert_eq!(root.header("location"), "http://cloud:8774/identity/v3/");
    }
    for path in ["/identity/v3", "/identity/v3/"] {
        let version = cloud.get("", path).await.expect(200).json();
        assert_eq!(version["version"]["id"], "v3.14");
        assert_eq!(version["version"]["media-types"][0]["base"], "application/json");
    }
    cloud.get("", "/identity/v3/nothing").await.expect(404);
    let wrong = cloud.call("", "DELETE", "/identity/v3/users", Value::Null).await.expect(405);
    assert_eq!(wrong.json()["error"]["title"], "Method Not Allowed");
}

#[tokio::test]
async fn a_password_gives_a_token_with_project_roles_and_catalog() {
    let cloud = Cloud::start().await;
    let reply =
        cloud.login(password_auth("admin", &cloud.password, Some("admin"))).await.expect(201);
    assert_eq!(reply.header("vary"), "X-Auth-Token");
    let token = &reply.json()["token"];
    assert_eq!(token["methods"], json!(["password"]));
    assert_eq!(token["user"]["name"], "admin");
    assert_eq!(token["user"]["domain"], json!({"id": "default", "name": "Default"}));
    assert_eq!(token["project"]["name"], "admin");
    assert_eq!(token["is_domain"], false);
    assert_eq!(token["issued_at"].as_str().unwrap().len(), "2026-08-21T10:15:40.000000Z".len());
    let roles: Vec<&str> =
        token["roles"].as_array().unwrap().iter().map(|r| text(&r["name"])).collect();
    assert_eq!(roles, ["admin", "manager", "member", "reader"]);
    let urls: Vec<(&str, &str)> = token["catalog"]
        .as_array()
        .unwrap()
        .iter()
        .map(|service| (text(&service["type"]), text(&service["endpoints"][0]["url"])))
        .collect();
    assert_eq!(
        urls,
        [
            ("compute", "http://cloud:8774/compute/v2.1"),
            ("identity", "http://cloud:8774/identity"),
            ("image", "http://cloud:8774/image"),
        ]
    );
    for service in token["catalog"].as_array().unwrap() {
        let interfaces: Vec<&str> = service["endpoints"]
            .as_array()
            .unwrap()
            .iter()
            .map(|endpoint| text(&endpoint["interface"]))
            .collect();
        assert_eq!(interfaces, ["public", "internal", "admin"]);
        assert_eq!(service["endpoints"][0]["region_id"], "RegionOne");
    }
    let auth = validate(&cloud.control, reply.header("x-subject-token")).await.unwrap();
    assert!(auth.is_admin());
    assert_eq!(auth.project_name, "admin");
}

#[tokio::test]
async fn refused_logins_all_look_the_same() {
    let cloud = Cloud::start().await;
    cloud.user("alice", "member").await;
    let wrong_domain = json!({
        "identity": {"methods": ["password"], "password": {"user": {
            "name": "alice", "domain": {"id": "other"}, "password": "secret"}}},
    });
    let domain_scope = {
        let mut auth = password_auth("alice", "secret", None);
        auth["scope"] = json!({"domain": {"id": "default"}});
        auth
    };
    for auth in [
        password_auth("alice", "wrong", Some("alice")),
        password_auth("nobody", "secret", Some("alice")),
        password_auth("alice", "secret", Some("admin")),
        password_auth("alice", "secret", Some("nothing")),
        wrong_domain,
        domain_scope,
        json!({"identity": {"methods": ["token"], "token": {"id": "nonsense"}}}),
        json!({"identity": {"methods": ["oauth1"]}}),
        json!({"identity": {"methods": ["password", "totp"]}}),
    ] {
        let reply = cloud.login(auth.clone()).await.expect(401);
        assert_eq!(
            reply.json(),
            json!({"error": {
                "code": 401,
                "message": "The request you have made requires authentication.",
                "title": "Unauthorized",
            }}),
            "{auth}"
        );
        assert_eq!(reply.header("www-authenticate"), "Keystone uri=\"http://cloud:8774/identity\"");
    }
}

#[tokio::test]
async fn malformed_logins_are_bad_requests() {
    let cloud = Cloud::start().await;
    for auth in [
        json!({}),
        json!({"identity": []}),
        json!({"identity": {"methods": []}}),
        json!({"identity": {"methods": ["password"]}}),
        json!({"identity": {"methods": ["password"], "password": {"user": {"password": "x"}}}}),
        json!({"identity": {"methods": ["password"], "password": {"user": {"name": "x", "password": "x"}}}}),
        json!({"identity": {"methods": ["password"], "password": {"user": {"id": 1, "password": "x"}}}}),
        json!({"identity": {"methods": ["token"], "token": {"id": "x"}}, "scope": 3}),
    ] {
        let reply = cloud.login(auth.clone()).await.expect(400);
        assert_eq!(reply.json()["error"]["title"], "Bad Request", "{auth}");
    }
    let deep = "[".repeat(100_000);
    for body in ["", "{", "[]", "null", "{\"auth\": 1}", deep.as_str()] {
        let body = axum::body::Body::from(body.to_owned());
        cloud.send(request("", "POST", TOKENS, "application/json", body)).await.expect(400);
    }
    let huge = axum::body::Body::from(vec![b' '; (1 << 20) + 1]);
    cloud.send(request("", "POST", TOKENS, "application/json", huge)).await.expect(413);
}

#[tokio::test]
async fn tokens_can_be_shown_rescoped_and_revoked() {
    let cloud = Cloud::start().await;
    let admin = cloud.admin().await;
    let alice = cloud.user("alice", "member").await;

    let shown = cloud.send(subject("GET", &admin, &alice)).await.expect(200);
    assert_eq!(shown.json()["token"]["user"]["name"], "alice");
    assert_eq!(shown.header("x-subject-token"), alice);
    let head = cloud.send(subject("HEAD", &admin, &alice)).await.expect(200);
    assert!(head.body.is_empty());
    cloud.send(subject("GET", &alice, &alice)).await.expect(200);
    cloud.send(subject("GET", &alice, &admin)).await.expect(403);
    cloud.send(subject("GET", &admin, "unknown")).await.expect(404);
    cloud.get(&admin, TOKENS).await.expect(400);

    let rescope = json!({
        "identity": {"methods": ["token"], "token": {"id": alice}},
        "scope": {"project": {"name": "alice", "domain": {"id": "default"}}},
    });
    cloud.clock.advance(60);
    let second = cloud.login(rescope.clone()).await.expect(201);
    let (first, token) = (shown.json(), second.json());
    assert_eq!(token["token"]["methods"], json!(["password", "token"]));
    assert_eq!(token["token"]["expires_at"], first["token"]["expires_at"], "no longer life");
    assert_eq!(token["token"]["audit_ids"][1], first["token"]["audit_ids"][0]);

    cloud.send(subject("DELETE", &alice, &alice)).await.expect(204);
    cloud.get(&alice, "/identity/v3/auth/projects").await.expect(401);
    cloud.send(subject("DELETE", &admin, &alice)).await.expect(404);
    cloud.login(rescope).await.expect(401);
    let other = second.header("x-subject-token");
    cloud.get(other, "/identity/v3/auth/projects").await.expect(200);
}

fn subject(method: &str, token: &str, subject: &str) -> axum::http::Request<axum::body::Body> {
    let body = axum::body::Body::empty();
    let mut request = request(token, method, TOKENS, "application/json", body);
    request.headers_mut().insert("x-subject-token", subject.parse().unwrap());
    request
}

#[tokio::test]
async fn tokens_end_and_are_removed() {
    let cloud = Cloud::start().await;
    let token = cloud.admin().await;
    cloud.clock.advance(4 * 3600 - 10);
    cloud.get(&token, "/identity/v3/auth/projects").await.expect(200);
    cloud.clock.advance(11);
    cloud.get(&token, "/identity/v3/auth/projects").await.expect(401);
    // Issuing tokens removes those that ended.
    cloud.admin().await;
    let now = reprieve_core::Clock::now(&*cloud.clock);
    assert_eq!(cloud.control.store.purge_tokens(now).await.unwrap(), 0);
}

#[tokio::test]
async fn what_a_token_depends_on_ends_it_at_once() {
    let cloud = Cloud::start().await;
    let admin = cloud.admin().await;
    let me = "/identity/v3/auth/projects";
    let find = async |kind: &str, name: &str| {
        let found = cloud.get(&admin, &format!("/identity/v3/{kind}?name={name}")).await.json();
        text(&found[kind][0]["id"]).to_owned()
    };

    let token = cloud.user("disabled", "member").await;
    cloud.get(&token, me).await.expect(200);
    let path = format!("/identity/v3/users/{}", find("users", "disabled").await);
    cloud.call(&admin, "PATCH", &path, json!({"user": {"enabled": false}})).await.expect(200);
    cloud.get(&token, me).await.expect(401);
    cloud.login(password_auth("disabled", "secret", None)).await.expect(401);
    cloud.call(&admin, "PATCH", &path, json!({"user": {"enabled": true}})).await.expect(200);
    cloud.get(&token, me).await.expect(401);
    cloud.token("disabled", "secret", "disabled").await;

    let token = cloud.user("closed", "member").await;
    cloud.get(&token, me).await.expect(200);
    let path = format!("/identity/v3/projects/{}", find("projects", "closed").await);
    cloud.call(&admin, "PATCH", &path, json!({"project": {"enabled": false}})).await.expect(200);
    cloud.get(&token, me).await.expect(401);
    cloud.login(password_auth("closed", "secret", Some("closed"))).await.expect(401);

    let token = cloud.user("demoted", "member").await;
    cloud.get(&token, me).await.expect(200);
    let grant = format!(
        "/identity/v3/projects/{}/users/{}/roles/{}",
        find("projects", "demoted").await,
        find("users", "demoted").await,
        find("roles", "member").await
    );
    cloud.call(&admin, "DELETE", &grant, Value::Null).await.expect(204);
    cloud.get(&token, me).await.expect(401);

    let token = cloud.user("deleted", "member").await;
    cloud.get(&token, me).await.expect(200);
    let path = format!("/identity/v3/users/{}", find("users", "deleted").await);
    cloud.call(&admin, "DELETE", &path, Value::Null).await.expect(204);
    cloud.get(&token, me).await.expect(401);

    let token = cloud.user("careful", "member").await;
    let path = format!("/identity/v3/users/{}/password", find("users", "careful").await);
    let change = |old: &str| json!({"user": {"original_password": old, "password": "fresh"}});
    cloud.call(&token, "POST", &path, change("wrong")).await.expect(401);
    cloud.call(&admin, "POST", &path, change("secret")).await.expect(403);
    cloud.call(&token, "POST", &path, change("secret")).await.expect(204);
    cloud.get(&token, me).await.expect(401);
    cloud.login(password_auth("careful", "secret", None)).await.expect(401);
    cloud.token("careful", "fresh", "careful").await;
}

#[tokio::test]
async fn without_scope_the_default_project_counts() {
    let cloud = Cloud::start().await;
    let admin = cloud.admin().await;
    cloud.user("bob", "reader").await;
    let reply = cloud.login(password_auth("bob", "secret", None)).await.expect(201);
    let unscoped = reply.header("x-subject-token");
    assert!(reply.json()["token"].get("project").is_none());
    assert!(reply.json()["token"].get("catalog").is_none());
    assert!(matches!(validate(&cloud.control, unscoped).await, Err(AuthError::NotScoped)));
    let projects = cloud.get(unscoped, "/identity/v3/auth/projects").await.expect(200).json();
    assert_eq!(projects["projects"][0]["name"], "bob");
    cloud.get(unscoped, "/image/v2/images").await.expect(403);
    cloud.get(unscoped, "/identity/v3/auth/catalog").await.expect(403);

    let users = cloud.get(&admin, "/identity/v3/users?name=bob").await.json();
    let path = format!("/identity/v3/users/{}", text(&users["users"][0]["id"]));
    let default = json!({"user": {"default_project_id": projects["projects"][0]["id"]}});
    cloud.call(&admin, "PATCH", &path, default).await.expect(200);
    let reply = cloud.login(password_auth("bob", "secret", None)).await.expect(201);
    assert_eq!(reply.json()["token"]["project"]["name"], "bob");
    let mut unscoped = password_auth("bob", "secret", None);
    unscoped["scope"] = json!("unscoped");
    let reply = cloud.login(unscoped).await.expect(201);
    assert!(reply.json()["token"].get("project").is_none());
}

#[tokio::test]
async fn users_projects_and_roles_can_be_managed() {
    let cloud = Cloud::start().await;
    let admin = cloud.admin().await;
    for (one, many, extra) in [
        ("user", "users", json!({"email": "c@example.org", "description": "x"})),
        ("project", "projects", json!({"description": "x"})),
        ("role", "roles", json!({"description": "x"})),
    ] {
        let path = format!("/identity/v3/{many}");
        let mut body = json!({ one: {"name": "carol", "domain_id": "default"} });
        body[one].as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let made = cloud.call(&admin, "POST", &path, body.clone()).await.expect(201).json();
        assert_eq!(made[one]["description"], "x");
        let twice = cloud.call(&admin, "POST", &path, body).await.expect(409);
        assert_eq!(
            twice.json()["error"]["message"],
            format!(
                "Conflict occurred attempting to store {one} - Duplicate entry found with name carol."
            )
        );
        let own = format!("{path}/{}", text(&made[one]["id"]));
        assert_eq!(made[one]["links"]["self"], format!("http://cloud:8774{own}"));
        assert_eq!(cloud.get(&admin, &own).await.expect(200).json()[one]["name"], "carol");
        let listed = cloud.get(&admin, &format!("{path}?name=carol")).await.expect(200).json();
        assert_eq!(listed[many].as_array().unwrap().len(), 1);
        assert_eq!(listed["links"]["self"], format!("http://cloud:8774{path}"));
        let patch = json!({ one: {"name": "carla", "description": "y"} });
        let changed = cloud.call(&admin, "PATCH", &own, patch).await.expect(200).json();
        assert_eq!(changed[one]["name"], "carla");
        assert_eq!(changed[one]["description"], "y");
        assert_eq!(cloud.get(&admin, &own).await.json()[one]["name"], "carla");
        let taken = if one == "role" { "member" } else { "admin" };
        let patch = json!({ one: {"name": taken} });
        cloud.call(&admin, "PATCH", &own, patch).await.expect(409);
        for bad in
            [json!({}), json!({"name": ""}), json!({"name": 1}), json!({"name": "x".repeat(256)})]
        {
            cloud.call(&admin, "POST", &path, json!({ one: bad })).await.expect(400);
        }
        cloud.call(&admin, "DELETE", &own, Value::Null).await.expect(204);
        let gone = cloud.get(&admin, &own).await.expect(404);
        let message = format!("Could not find {one}: {}.", text(&made[one]["id"]));
        assert_eq!(gone.json()["error"]["message"], message);
    }
    let other = json!({"user": {"name": "x", "domain_id": "other"}});
    cloud.call(&admin, "POST", "/identity/v3/users", other).await.expect(404);
    let domain = json!({"project": {"name": "x", "is_domain": true}});
    cloud.call(&admin, "POST", "/identity/v3/projects", domain).await.expect(400);
}

#[tokio::test]
async fn only_administrators_manage() {
    let cloud = Cloud::start().await;
    let alice = cloud.user("alice", "manager").await;
    let me = validate(&cloud.control, &alice).await.unwrap();
    for path in ["users", "projects", "roles", "role_assignments"] {
        let path = format!("/identity/v3/{path}");
        let refused = cloud.get(&alice, &path).await.expect(403);
        let message = refused.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(
            message
                .starts_with("You are not authorized to perform the requested action: identity:")
        );
        cloud.get("", &path).await.expect(401);
        cloud.get("nonsense", &path).await.expect(401);
    }
    let user = format!("/identity/v3/users/{}", me.user_id);
    cloud.get(&alice, &user).await.expect(200);
    cloud.call(&alice, "PATCH", &user, json!({"user": {"name": "root"}})).await.expect(403);
    cloud.call(&alice, "DELETE", &user, Value::Null).await.expect(403);
    cloud.get(&alice, &format!("/identity/v3/projects/{}", me.project_id)).await.expect(200);
    let own = format!("/identity/v3/role_assignments?user.id={}&include_names=true", me.user_id);
    let own = cloud.get(&alice, &own).await.expect(200).json();
    assert_eq!(own["role_assignments"][0]["role"]["name"], "manager");
    assert_eq!(own["role_assignments"][0]["scope"]["project"]["name"], "alice");
    assert_eq!(own["role_assignments"][0]["user"]["domain"]["name"], "Default");
    cloud.get(&alice, "/identity/v3/services").await.expect(200);
    let projects = cloud.get(&alice, &format!("{user}/projects")).await.expect(200).json();
    assert_eq!(projects["projects"][0]["name"], "alice");
}

#[tokio::test]
async fn roles_are_given_and_taken() {
    let cloud = Cloud::start().await;
    let admin = cloud.admin().await;
    cloud.user("dave", "reader").await;
    let find = async |kind: &str, name: &str| {
        let found = cloud.get(&admin, &format!("/identity/v3/{kind}?name={name}")).await.json();
        text(&found[kind][0]["id"]).to_owned()
    };
    let (user, project) = (find("users", "dave").await, find("projects", "dave").await);
    let roles = format!("/identity/v3/projects/{project}/users/{user}/roles");
    let member = format!("{roles}/{}", find("roles", "member").await);
    cloud.get(&admin, &member).await.expect(404);
    cloud.call(&admin, "PUT", &member, Value::Null).await.expect(204);
    cloud.call(&admin, "PUT", &member, Value::Null).await.expect(204);
    cloud.get(&admin, &member).await.expect(204);
    cloud.call(&admin, "HEAD", &member, Value::Null).await.expect(204);
    let listed = cloud.get(&admin, &roles).await.expect(200).json();
    assert_eq!(listed["roles"].as_array().unwrap().len(), 2);
    cloud.call(&admin, "DELETE", &member, Value::Null).await.expect(204);
    cloud.call(&admin, "DELETE", &member, Value::Null).await.expect(404);
    cloud.call(&admin, "PUT", &format!("{roles}/nothing"), Value::Null).await.expect(404);
    let filtered = format!("/identity/v3/role_assignments?scope.project.id={project}");
    let listed = cloud.get(&admin, &filtered).await.expect(200).json();
    let assignment = &listed["role_assignments"][0];
    assert_eq!(assignment["user"], json!({"id": user}));
    assert_eq!(assignment["scope"], json!({"project": {"id": project}}));
}

#[tokio::test]
async fn the_fixed_catalog_can_be_listed() {
    let cloud = Cloud::start().await;
    let admin = cloud.admin().await;
    let services = cloud.get(&admin, "/identity/v3/services").await.expect(200).json();
    assert_eq!(services["services"].as_array().unwrap().len(), 3);
    let endpoints = cloud.get(&admin, "/identity/v3/endpoints").await.expect(200).json();
    assert_eq!(endpoints["endpoints"].as_array().unwrap().len(), 9);
    for (one, many) in [("service", &services["services"]), ("endpoint", &endpoints["endpoints"])] {
        for item in many.as_array().unwrap() {
            let path = format!("/identity/v3/{one}s/{}", text(&item["id"]));
            assert_eq!(cloud.get(&admin, &path).await.expect(200).json()[one], *item);
        }
        cloud.get(&admin, &format!("/identity/v3/{one}s/nothing")).await.expect(404);
    }
    let image = cloud.get(&admin, "/identity/v3/services?type=image").await.json();
    assert_eq!(image["services"][0]["name"], "glance");
    let regions = cloud.get(&admin, "/identity/v3/regions").await.expect(200).json();
    assert_eq!(regions["regions"][0]["id"], "RegionOne");
    let domains = cloud.get(&admin, "/identity/v3/domains").await.expect(200).json();
    assert_eq!(domains["domains"][0]["name"], "Default");
    cloud.get(&admin, "/identity/v3/domains/default").await.expect(200);
    cloud.get(&admin, "/identity/v3/domains/other").await.expect(404);
    let catalog = cloud.get(&admin, "/identity/v3/auth/catalog").await.expect(200).json();
    assert_eq!(catalog["catalog"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn first_start_writes_files_that_only_the_owner_reads() {
    let cloud = Cloud::start().await;
    assert!(cloud.password.len() >= 20);
    for name in ["clouds.yaml", "openrc"] {
        let path = cloud.dir.path().join(name);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
        let written = std::fs::read_to_string(&path).unwrap();
        assert!(written.contains("http://127.0.0.1:8774/identity/v3"));
        assert!(written.contains(&cloud.password));
    }
    let names: Vec<_> = std::fs::read_dir(cloud.dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".new"))
        .collect();
    assert!(names.is_empty(), "{names:?}");
}

#[tokio::test]
async fn later_starts_keep_the_password_and_follow_the_address() {
    let cloud = Cloud::start().await;
    let again = bootstrap(&cloud.control, cloud.dir.path()).await.unwrap();
    assert_eq!(again.outcome, Outcome::Kept);

    let mut moved = control(cloud.dir.path(), cloud.clock.clone()).await;
    std::sync::Arc::get_mut(&mut moved).unwrap().settings.public_url = "http://10.0.0.9:1".into();
    let kept = bootstrap(&moved, cloud.dir.path()).await.unwrap();
    assert_eq!(kept.outcome, Outcome::Kept);
    let clouds = std::fs::read_to_string(&kept.clouds).unwrap();
    assert!(clouds.contains("auth_url: http://10.0.0.9:1/identity/v3\n"));
    assert_eq!(password_in(&clouds), cloud.password);
    let openrc = std::fs::read_to_string(&kept.openrc).unwrap();
    assert!(openrc.contains("export OS_AUTH_URL=http://10.0.0.9:1/identity/v3\n"));

    std::fs::remove_file(&kept.clouds).unwrap();
    let lost = bootstrap(&moved, cloud.dir.path()).await.unwrap();
    assert_eq!(lost.outcome, Outcome::PasswordUnknown);
    assert!(!lost.clouds.exists());
}

#[tokio::test]
async fn a_lost_administrator_can_be_brought_back() {
    let cloud = Cloud::start().await;
    let admin = cloud.admin().await;
    let me = validate(&cloud.control, &admin).await.unwrap();
    let path = format!("/identity/v3/users/{}", me.user_id);
    cloud.call(&admin, "PATCH", &path, json!({"user": {"enabled": false}})).await.expect(200);
    cloud.login(password_auth("admin", &cloud.password, Some("admin"))).await.expect(401);

    let reset = reset_admin_password(&cloud.control, cloud.dir.path()).await.unwrap();
    let password = password_in(&std::fs::read_to_string(reset.clouds).unwrap());
    assert_ne!(password, cloud.password);
    cloud.token("admin", &password, "admin").await;
    cloud.login(password_auth("admin", &cloud.password, Some("admin"))).await.expect(401);
}

#[tokio::test]
async fn secrets_are_not_in_the_database() {
    let cloud = Cloud::start().await;
    let token = cloud.admin().await;
    cloud.control.store.close().await.unwrap();
    let bytes = backends::everything_in(cloud.dir.path());
    for secret in [&token, &cloud.password] {
        assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()));
    }
}
