//! The identity service.

use serde_json::{Value, json};

use crate::json::Names;
use crate::requests::{self, Example, Service};
use crate::support::{Ask, Cloud, PROJECT, USER};

const JSON: &str = "application/json";
const PASSWORD: &str = "a password of a test";
/// A user who changes passwords.
const THIRD: &str = "7417417417417417417417417417417f";

const KEYS: Names = &[
    "auth",
    "identity",
    "methods",
    "password",
    "user",
    "name",
    "id",
    "domain",
    "domain_id",
    "token",
    "application_credential",
    "secret",
    "scope",
    "project",
    "unscoped",
    "system",
    "OS-TRUST:trust",
    "original_password",
    "enabled",
    "description",
    "email",
    "default_project_id",
    "is_domain",
    "parent_id",
    "role",
    "roles",
    "unrestricted",
    "expires_at",
    "access_rules",
    "service",
    "service_id",
    "type",
    "endpoint",
    "interface",
    "region",
    "region_id",
    "url",
    "parent_region_id",
    "options",
    "tags",
];

const TEXTS: Names = &[
    "default",
    "Default",
    "admin",
    "demo",
    "member",
    "token",
    "totp",
    "unscoped",
    "public",
    PROJECT,
    USER,
    PASSWORD,
    "http://o/$(tenant_id)s",
    "http://o/%(admin_token)s",
    "RegionOne",
    "2030-01-31T12:00:00Z",
];

/// `{"error": {"code": …, "message": …, "title": …}}`.
fn is_fault(body: &Value) -> bool {
    let error = &body["error"];
    error["code"].is_u64() && error["message"].is_string() && error["title"].is_string()
}

/// Something that exists and that may be changed at will: its id.
async fn made(cloud: &Cloud, path: &str, body: Value) -> String {
    let ask = Ask {
        method: "POST",
        path: &format!("/identity/v3/{path}"),
        token: &cloud.admin,
        headers: vec![("content-type", JSON)],
        body: Some(body.to_string().into_bytes()),
    };
    let reply = cloud.ask(&ask).await;
    assert_eq!(reply.status, 201, "{}", reply.body);
    let one = reply.body.as_object().unwrap().values().next().unwrap();
    one["id"].as_str().unwrap().to_owned()
}

/// A good request.
fn example(method: &'static str, path: &str, body: Value) -> Example {
    Example { method, path: format!("/identity/v3/{path}"), media_type: JSON, body }
}

async fn service(cloud: &Cloud) -> Service {
    let third = cloud.add_user(THIRD, "third", "member").await;
    let refused = REFUSED.iter().map(|(method, path)| {
        example(method, path, json!({"group": {"name": "g"}, "domain": {"name": "d"}}))
    });
    let examples =
        [tokens(cloud), of_people(cloud).await, of_the_catalog(cloud).await, refused.collect()];
    Service {
        examples: examples.concat(),
        keys: KEYS,
        texts: TEXTS,
        version: "",
        not_all_offered: false,
        third,
        is_fault,
    }
}

/// Users, projects, roles, application credentials.
async fn of_people(cloud: &Cloud) -> Vec<Example> {
    let user = made(cloud, "users", json!({"user": {"name": "u", "password": PASSWORD}})).await;
    let project = made(cloud, "projects", json!({"project": {"name": "p"}})).await;
    let role = made(cloud, "roles", json!({"role": {"name": "r"}})).await;
    let person = json!({"user": {
        "name": "somebody #", "password": PASSWORD, "enabled": true, "email": "a@b.example",
        "description": "new", "default_project_id": PROJECT, "domain_id": "default",
    }});
    let changed = json!({"user": {"description": "new", "email": null}});
    let passwords =
        json!({"user": {"original_password": PASSWORD, "password": "another of a test"}});
    let described = json!({"project": {
        "name": "another #", "description": "d", "enabled": true, "is_domain": false,
        "parent_id": "default", "domain_id": "default", "tags": [], "options": {},
    }});
    let credential = json!({"application_credential": {
        "name": "c #", "secret": "a secret of a test", "description": "d", "unrestricted": false,
        "expires_at": "2090-01-31T12:00:00Z", "roles": [{"name": "member"}], "access_rules": [],
    }});
    let cook = json!({"role": {"name": "cook #", "description": "cooks"}});
    let granted = format!("projects/{project}/users/{user}/roles/{role}");
    vec![
        example("POST", "users", person),
        example("PATCH", &format!("users/{user}"), changed),
        example("POST", &format!("users/{THIRD}/password"), passwords),
        example("POST", "projects", described),
        example("PATCH", &format!("projects/{project}"), json!({"project": {"description": "d"}})),
        example("POST", "roles", cook),
        example("PATCH", &format!("roles/{role}"), json!({"role": {"description": null}})),
        example("PUT", &granted, json!({})),
        example("POST", &format!("users/{USER}/application_credentials"), credential),
    ]
}

/// Services, endpoints, regions.
async fn of_the_catalog(cloud: &Cloud) -> Vec<Example> {
    let service = json!({"service": {"type": "volumev3", "name": "cinder"}});
    let service = made(cloud, "services", service).await;
    let new = json!({"endpoint": {
        "service_id": service, "interface": "public", "url": "http://o/$(project_id)s",
        "region_id": "RegionOne", "enabled": true,
    }});
    let endpoint = made(cloud, "endpoints", new.clone()).await;
    let region = made(cloud, "regions", json!({"region": {"id": "elsewhere"}})).await;
    let registered = json!({"service": {
        "type": "object-store", "name": "swift #", "description": "d", "enabled": true,
    }});
    let moved =
        json!({"endpoint": {"url": "https://o/v3", "region": "new #", "interface": "admin"}});
    let further = json!({"region": {"description": "d", "parent_region_id": region}});
    let described = json!({"region": {"description": "d"}});
    vec![
        example("POST", "services", registered),
        example("PATCH", &format!("services/{service}"), json!({"service": {"enabled": false}})),
        example("POST", "endpoints", new),
        example("PATCH", &format!("endpoints/{endpoint}"), moved),
        example("POST", "regions", further),
        example("PUT", "regions/third", described.clone()),
        example("PATCH", &format!("regions/{region}"), described),
    ]
}

/// What is always refused.
const REFUSED: &[(&str, &str)] = &[
    ("POST", "domains"),
    ("PATCH", "domains/default"),
    ("POST", "groups"),
    ("PATCH", "groups/g"),
    ("PUT", "system/users/u/roles/r"),
    ("POST", "OS-EP-FILTER/endpoint_groups"),
    ("POST", "nowhere"),
    ("PUT", "users"),
];

/// All ways to log in.
fn tokens(cloud: &Cloud) -> Vec<Example> {
    let domain = json!({"id": "default"});
    let in_project = json!({"project": {"name": "demo", "domain": domain}});
    let password = json!({"user": {"name": "demo", "domain": domain, "password": PASSWORD}});
    let by_id = json!({"user": {"id": USER, "password": PASSWORD}});
    let bodies = [
        json!({"identity": {"methods": ["password"], "password": password}, "scope": in_project}),
        json!({"identity": {"methods": ["password"], "password": by_id}, "scope": "unscoped"}),
        json!({
            "identity": {"methods": ["token"], "token": {"id": cloud.member}},
            "scope": {"project": {"id": PROJECT}},
        }),
        json!({"identity": {
            "methods": ["application_credential"],
            "application_credential": {"id": "none", "secret": "none"},
        }}),
        json!({"identity": {
            "methods": ["application_credential"],
            "application_credential": {"name": "none", "user": {"id": USER}, "secret": "none"},
        }}),
    ];
    bodies.iter().map(|auth| example("POST", "auth/tokens", json!({ "auth": auth }))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_body_breaks_anything() {
    let cloud = Cloud::new().await;
    let service = service(&cloud).await;
    requests::no_body_breaks(&cloud, &service, 700);
    // Nobody has been locked out, and what was stored can be listed.
    for path in ["users", "projects", "roles", "services", "endpoints", "regions", "auth/catalog"] {
        let path = format!("/identity/v3/{path}");
        let ask = Ask { method: "GET", path: &path, token: &cloud.admin, ..Ask::default() };
        assert_eq!(cloud.ask(&ask).await.status, 200, "{path}");
    }
    assert!(!cloud.token("demo", PASSWORD, "demo").await.is_empty());
}

#[tokio::test]
async fn the_examples_are_good() {
    let cloud = Cloud::new().await;
    let mut service = service(&cloud).await;
    // Credentials that do not exist are there to be changed.
    service.examples.retain(|example| {
        example.body["auth"]["identity"]["methods"] != json!(["application_credential"])
    });
    let refused: Vec<&str> = REFUSED.iter().map(|(_, path)| *path).collect();
    let is_refused = |example: &Example| {
        let path = example.path.strip_prefix("/identity/v3/").unwrap();
        REFUSED.contains(&(example.method, path))
    };
    let always: Vec<Example> = service.examples.extract_if(.., |e| is_refused(e)).collect();
    requests::examples_are_good(&cloud, &service, &[]).await;
    service.examples = always;
    requests::examples_are_good(&cloud, &service, &refused).await;
}

fn new_project() -> Example {
    example("POST", "projects", json!({"project": {"name": "p"}}))
}

#[tokio::test]
async fn bodies_are_bounded() {
    let cloud = Cloud::new().await;
    requests::bodies_are_bounded(&cloud, &new_project(), is_fault).await;
}

#[tokio::test]
async fn a_body_that_never_ends_is_given_up() {
    let cloud = Cloud::new().await;
    requests::a_body_that_stops_is_given_up(&cloud, &new_project()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_query_breaks_anything() {
    let cloud = Cloud::new().await;
    let paths: Names = &[
        "/identity/v3/users",
        "/identity/v3/projects",
        "/identity/v3/roles",
        "/identity/v3/role_assignments",
        "/identity/v3/services",
        "/identity/v3/endpoints",
        "/identity/v3/regions",
        "/identity/v3/domains",
        "/identity/v3/groups",
        "/identity/v3/auth/tokens",
        "/identity/v3/auth/catalog",
        "/identity/v3/users/x/application_credentials",
        "/identity/v3/users/%00/projects",
        "/identity/v3/projects/%ff",
        "/identity/",
    ];
    let names: Names = &[
        "name",
        "enabled",
        "domain_id",
        "parent_id",
        "is_domain",
        "user.id",
        "scope.project.id",
        "scope.system",
        "role.id",
        "effective",
        "include_names",
        "type",
        "service_id",
        "interface",
        "region_id",
        "parent_region_id",
        "nocatalog",
        "limit",
        "marker",
    ];
    requests::no_query_breaks(&cloud, paths, (names, TEXTS));
}
