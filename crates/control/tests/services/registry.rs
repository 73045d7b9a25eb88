//! Services, endpoints and regions that are registered; and what Keystone and Glance have that is
//! not offered here.

use serde_json::{Value, json};

use crate::harness::{Cloud, text};

#[tokio::test]
async fn a_registered_service_is_in_the_catalog_until_it_is_deleted() {
    let cloud = Cloud::start().await;
    let admin = cloud.admin().await;
    let body = json!({"service": {"type": "object-store", "name": "swift", "description": "x"}});
    let made = cloud.call(&admin, "POST", "/identity/v3/services", body).await.expect(201).json();
    let service = text(&made["service"]["id"]).to_owned();
    assert_eq!(made["service"]["enabled"], true);
    let own = format!("/identity/v3/services/{service}");
    assert_eq!(cloud.get(&admin, &own).await.expect(200).json(), made);

    let body = json!({"region": {"id": "west", "description": "over there"}});
    let region = cloud.call(&admin, "POST", "/identity/v3/regions", body.clone()).await.expect(201);
    assert_eq!(region.json()["region"]["description"], "over there");
    cloud.call(&admin, "POST", "/identity/v3/regions", body).await.expect(409);
    let body = json!({"endpoint": {
        "service_id": service, "interface": "public", "region_id": "west",
        "url": "https://o.example/v1/AUTH_$(project_id)s", "enabled": true,
    }});
    let made = cloud.call(&admin, "POST", "/identity/v3/endpoints", body).await.expect(201).json();
    let endpoint = format!("/identity/v3/endpoints/{}", text(&made["endpoint"]["id"]));
    assert_eq!(made["endpoint"]["region"], "west");
    assert_eq!(cloud.get(&admin, &endpoint).await.expect(200).json(), made);
    let listed = cloud.get(&admin, "/identity/v3/endpoints?region_id=west").await.json();
    assert_eq!(listed["endpoints"], json!([made["endpoint"]]));

    let alice = cloud.user("alice", "reader").await;
    let swift = async || {
        let catalog = cloud.get(&alice, "/identity/v3/auth/catalog").await.expect(200).json();
        let catalog = catalog["catalog"].as_array().unwrap().clone();
        catalog.into_iter().find(|service| service["type"] == "object-store")
    };
    let entry = swift().await.unwrap();
    let url = text(&entry["endpoints"][0]["url"]).to_owned();
    let project = url.strip_prefix("https://o.example/v1/AUTH_").unwrap();
    assert_eq!(project.len(), 32);
    assert_eq!(entry["endpoints"][0]["region_id"], "west");

    let change = json!({"endpoint": {"url": "https://o2.example", "enabled": false}});
    let changed = cloud.call(&admin, "PATCH", &endpoint, change).await.expect(200).json();
    assert_eq!(changed["endpoint"]["url"], "https://o2.example");
    assert_eq!(swift().await.unwrap()["endpoints"], json!([]));
    let change = json!({"service": {"name": "swift2", "enabled": false}});
    let changed = cloud.call(&admin, "PATCH", &own, change).await.expect(200).json();
    assert_eq!(changed["service"]["name"], "swift2");
    assert_eq!(changed["service"]["type"], "object-store");
    assert_eq!(swift().await, None);

    let west = "/identity/v3/regions/west";
    cloud.call(&admin, "DELETE", west, Value::Null).await.expect(403);
    cloud.call(&admin, "DELETE", &own, Value::Null).await.expect(204);
    cloud.get(&admin, &own).await.expect(404);
    cloud.get(&admin, &endpoint).await.expect(404);
    cloud.call(&admin, "DELETE", west, Value::Null).await.expect(204);
    cloud.call(&admin, "DELETE", west, Value::Null).await.expect(404);
}

#[tokio::test]
async fn a_token_carries_what_was_registered_for_the_own_services_too() {
    let cloud = Cloud::start().await;
    let admin = cloud.admin().await;
    let services = cloud.get(&admin, "/identity/v3/services?type=compute").await.json();
    let body = json!({"endpoint": {
        "service_id": services["services"][0]["id"], "interface": "internal", "region": "north",
        "url": "http://10.0.0.1:8774/compute/v2.1",
    }});
    let made = cloud.call(&admin, "POST", "/identity/v3/endpoints", body).await.expect(201).json();
    cloud.get(&admin, "/identity/v3/regions/north").await.expect(200);
    let auth = crate::harness::password_auth("admin", &cloud.password, Some("admin"));
    let token = cloud.login(auth).await.expect(201).json();
    let compute = &token["token"]["catalog"][0];
    assert_eq!(compute["type"], "compute");
    assert_eq!(compute["endpoints"].as_array().unwrap().len(), 4);
    assert_eq!(compute["endpoints"][3]["region_id"], "north");
    let endpoint = format!("/identity/v3/endpoints/{}", text(&made["endpoint"]["id"]));
    cloud.call(&admin, "DELETE", &endpoint, Value::Null).await.expect(204);
}

#[tokio::test]
async fn the_own_services_are_facts_and_others_are_checked() {
    let cloud = Cloud::start().await;
    let admin = cloud.admin().await;
    let alice = cloud.user("alice", "manager").await;
    let services = cloud.get(&admin, "/identity/v3/services").await.json();
    let endpoints = cloud.get(&admin, "/identity/v3/endpoints").await.json();
    let own = [
        format!("/identity/v3/services/{}", text(&services["services"][0]["id"])),
        format!("/identity/v3/endpoints/{}", text(&endpoints["endpoints"][0]["id"])),
        "/identity/v3/regions/RegionOne".to_owned(),
    ];
    for (path, kind) in own.iter().zip(["service", "endpoint", "region"]) {
        for token in [&admin, &alice] {
            cloud.call(token, "PATCH", path, json!({ kind: {} })).await.expect(403);
            cloud.call(token, "DELETE", path, Value::Null).await.expect(403);
        }
        let collection = path.rsplit_once('/').unwrap().0;
        cloud
            .call(&admin, "PATCH", &format!("{collection}/x"), json!({ kind: {} }))
            .await
            .expect(404);
    }
    let service = services["services"][0]["id"].clone();
    let good = json!({
        "service_id": service, "interface": "public", "url": "http://x", "region_id": "RegionOne",
    });
    let post = async |token: &str, body: Value, status: u16| {
        let body = json!({ "endpoint": body });
        cloud.call(token, "POST", "/identity/v3/endpoints", body).await.expect(status)
    };
    post(&alice, good.clone(), 403).await;
    post(&admin, good.clone(), 201).await;
    for (key, value) in [
        ("service_id", json!("nothing")),
        ("service_id", json!(null)),
        ("interface", json!("private")),
        ("url", json!("gopher://x")),
        ("url", json!("http://x/$(admin_token)s")),
        ("region_id", json!("nowhere")),
        ("region", json!(7)),
        ("enabled", json!("perhaps")),
    ] {
        let mut bad = good.clone();
        bad[key] = value;
        post(&admin, bad, 400).await;
    }
    for bad in
        [json!({}), json!({"type": ""}), json!({"type": 1}), json!({"type": "x".repeat(256)})]
    {
        let body = json!({ "service": bad });
        cloud.call(&admin, "POST", "/identity/v3/services", body).await.expect(400);
    }
    let body = json!({"service": {"type": "x"}});
    cloud.call(&alice, "POST", "/identity/v3/services", body).await.expect(403);
    let regions = "/identity/v3/regions";
    let body = json!({"region": {"id": "RegionOne"}});
    cloud.call(&admin, "POST", regions, body).await.expect(409);
    let body = json!({"region": {"id": "a", "parent_region_id": "RegionOne"}});
    cloud.call(&admin, "POST", regions, body).await.expect(201);
    let body = json!({"region": {"parent_region_id": "a"}});
    cloud.call(&admin, "PUT", &format!("{regions}/b"), body).await.expect(201);
    let circle = json!({"region": {"parent_region_id": "b"}});
    cloud.call(&admin, "PATCH", &format!("{regions}/a"), circle).await.expect(400);
    cloud.call(&admin, "DELETE", &format!("{regions}/a"), Value::Null).await.expect(403);
    let below = cloud.get(&admin, &format!("{regions}?parent_region_id=a")).await.json();
    assert_eq!(below["regions"][0]["id"], "b");
}

#[tokio::test]
async fn what_is_not_offered_is_answered_as_keystone_would() {
    let cloud = Cloud::start().await;
    let admin = cloud.admin().await;
    let user = cloud.get(&admin, "/identity/v3/users?name=admin").await.json();
    let user = text(&user["users"][0]["id"]).to_owned();
    for (path, key) in [
        ("groups", "groups"),
        (&format!("users/{user}/groups"), "groups"),
        (&format!("domains/default/users/{user}/roles"), "roles"),
        (&format!("system/users/{user}/roles"), "roles"),
        ("OS-EP-FILTER/endpoints/x/projects", "projects"),
        ("OS-EP-FILTER/endpoint_groups", "endpoint_groups"),
    ] {
        let listed = cloud.get(&admin, &format!("/identity/v3/{path}")).await.expect(200).json();
        assert_eq!(listed[key], json!([]), "{path}");
    }
    for (method, path, status) in [
        ("POST", "groups", 403),
        ("GET", "groups/x", 404),
        ("DELETE", "groups/x", 404),
        ("PUT", "groups/x/users/y", 404),
        ("PUT", "domains/default/users/x/roles/y", 403),
        ("GET", "domains/default/users/x/roles/y", 404),
        ("PUT", "system/users/x/roles/y", 403),
        ("DELETE", "system/users/x/roles/y", 404),
        ("GET", "domains/other/users/x/roles", 404),
        ("POST", "domains", 403),
        ("PATCH", "domains/default", 403),
        ("GET", "users/x/groups", 404),
    ] {
        let path = format!("/identity/v3/{path}");
        let reply = cloud.call(&admin, method, &path, Value::Null).await.expect(status);
        assert_eq!(reply.json()["error"]["code"], status, "{method} {path}");
        cloud.call("", method, &path, Value::Null).await.expect(401);
    }
}

#[tokio::test]
async fn implied_roles_can_be_seen() {
    let cloud = Cloud::start().await;
    let admin = cloud.admin().await;
    cloud.user("alice", "member").await;
    let listed = cloud.get(&admin, "/identity/v3/role_inferences").await.expect(200).json();
    let chain: Vec<(&str, usize)> = listed["role_inferences"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (text(&one["prior_role"]["name"]), one["implies"].as_array().unwrap().len()))
        .collect();
    assert_eq!(chain, [("admin", 3), ("manager", 2), ("member", 1)]);
    let user = cloud.get(&admin, "/identity/v3/users?name=alice").await.json();
    let path = format!("/identity/v3/role_assignments?user.id={}", text(&user["users"][0]["id"]));
    let direct = cloud.get(&admin, &path).await.json();
    assert_eq!(direct["role_assignments"].as_array().unwrap().len(), 1);
    let path = format!("{path}&effective=True&include_names=True");
    let effective = cloud.get(&admin, &path).await.json();
    let names: Vec<&str> = effective["role_assignments"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| text(&one["role"]["name"]))
        .collect();
    assert_eq!(names, ["member", "reader"]);
}

#[tokio::test]
async fn what_glance_has_more_is_answered_clearly() {
    let cloud = Cloud::start().await;
    let admin = cloud.admin().await;
    let alice = cloud.user("alice", "member").await;
    let image = json!({"name": "x", "disk_format": "raw", "container_format": "bare"});
    let image = cloud.call(&alice, "POST", "/image/v2/images", image).await.expect(201).json();
    let own = format!("/image/v2/images/{}", text(&image["id"]));
    let import = json!({"method": {"name": "glance-direct"}});
    let refused = cloud.call(&alice, "POST", &format!("{own}/import"), import).await.expect(400);
    assert!(
        text(&refused.json()["message"]).contains("Unknown import method name 'glance-direct'")
    );
    for (token, method, path, status) in [
        (&alice, "PUT", format!("{own}/stage"), 403),
        (&alice, "GET", format!("{own}/tasks"), 200),
        (&alice, "GET", format!("{own}/locations"), 403),
        (&alice, "GET", "/image/v2/tasks".to_owned(), 403),
        (&admin, "GET", "/image/v2/tasks".to_owned(), 200),
        (&admin, "GET", "/image/v2/tasks/x".to_owned(), 404),
        (&admin, "POST", "/image/v2/tasks".to_owned(), 403),
        (&alice, "GET", "/image/v2/info/stores".to_owned(), 404),
        (&alice, "GET", "/image/v2/info/usage".to_owned(), 200),
        (&alice, "GET", "/image/v2/metadefs/namespaces".to_owned(), 200),
        (&alice, "GET", "/image/v2/metadefs/namespaces/a/objects".to_owned(), 404),
        (&alice, "POST", "/image/v2/metadefs/namespaces".to_owned(), 403),
        (&alice, "GET", "/image/v2/schemas/task".to_owned(), 200),
        (&alice, "GET", "/image/v2/schemas/nothing".to_owned(), 404),
    ] {
        let reply = cloud.call(token, method, &path, Value::Null).await.expect(status);
        assert!(reply.json().is_object(), "{method} {path}");
    }
}
