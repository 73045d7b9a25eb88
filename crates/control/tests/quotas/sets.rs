//! `/os-quota-sets`, `/os-quota-class-sets` and `/limits`.

use serde_json::{Value, json};

use crate::support::{Cloud, PROJECT, USER};
use crate::{admin, create, fault, member, set_quota};

fn path(rest: &str) -> String {
    format!("os-quota-sets/{PROJECT}{rest}")
}

/// As recorded from Nova, except for the limits that were lifted there.
#[tokio::test]
async fn quota_sets_have_novas_fields_and_defaults() {
    let cloud = Cloud::new().await;
    let newest = json!({
        "id": PROJECT, "cores": 20, "instances": 10, "key_pairs": 100, "metadata_items": 128,
        "ram": 51200, "server_group_members": 10, "server_groups": 10,
    });
    assert_eq!(cloud.get(&path(""), "2.93").await, (200, json!({"quota_set": newest})));
    assert_eq!(cloud.get(&path("/defaults"), "2.93").await, (200, json!({"quota_set": newest})));
    let oldest = json!({"quota_set": {
        "id": PROJECT, "cores": 20, "fixed_ips": -1, "floating_ips": -1,
        "injected_file_content_bytes": 10240, "injected_file_path_bytes": 255,
        "injected_files": 5, "instances": 10, "key_pairs": 100, "metadata_items": 128,
        "ram": 51200, "security_group_rules": -1, "security_groups": -1,
        "server_group_members": 10, "server_groups": 10,
    }});
    assert_eq!(cloud.get(&path(""), "2.1").await, (200, oldest));
    let (_, middle) = cloud.get(&path(""), "2.56").await;
    assert_eq!(middle["quota_set"]["injected_files"], 5);
    assert_eq!(middle["quota_set"]["fixed_ips"], Value::Null);
}

#[tokio::test]
async fn administrators_set_quotas_and_take_them_back() {
    let cloud = Cloud::new().await;
    let body = json!({"quota_set": {"instances": "3", "cores": -1, "ram": 1024}});
    let reply = admin(&cloud, "PUT", &path(""), ("2.93", body)).await;
    assert_eq!(reply.status, 200);
    assert_eq!(
        reply.body,
        json!({"quota_set": {
            "cores": -1, "instances": 3, "key_pairs": 100, "metadata_items": 128, "ram": 1024,
            "server_group_members": 10, "server_groups": 10,
        }})
    );
    let (_, shown) = cloud.get(&path(""), "2.93").await;
    assert_eq!(shown["quota_set"]["instances"], 3);
    let (_, defaults) = cloud.get(&path("/defaults"), "2.93").await;
    assert_eq!(defaults["quota_set"]["instances"], 10);
    // Those of networks are kept while there were some.
    let networks = json!({"quota_set": {"fixed_ips": 7, "networks": 3, "security_groups": "8"}});
    let reply = admin(&cloud, "PUT", &path(""), ("2.35", networks.clone())).await;
    let set = &reply.body["quota_set"];
    assert_eq!((reply.status, &set["fixed_ips"], &set["networks"]), (200, &json!(7), &Value::Null));
    let (_, shown) = cloud.get(&path(""), "2.35").await;
    assert_eq!(shown["quota_set"]["security_groups"], 8);
    let (_, limits) = cloud.get("limits", "2.35").await;
    let absolute = &limits["limits"]["absolute"];
    assert_eq!(absolute["maxSecurityGroups"], 8);
    assert_eq!(
        (&absolute["maxSecurityGroupRules"], &absolute["maxTotalFloatingIps"]),
        (&json!(-1), &json!(-1))
    );
    let (_, detail) = cloud.get(&path("/detail"), "2.35").await;
    let fixed = json!({"limit": 7, "in_use": 0, "reserved": 0});
    assert_eq!(detail["quota_set"]["fixed_ips"], fixed);
    assert_eq!(admin(&cloud, "PUT", &path(""), ("2.36", networks)).await.status, 400);

    let reply = admin(&cloud, "DELETE", &path(""), ("2.93", Value::Null)).await;
    assert_eq!((reply.status, reply.body), (202, json!("")));
    assert_eq!(reply.headers["content-type"], "application/json");
    let (_, shown) = cloud.get(&path(""), "2.93").await;
    assert_eq!(shown["quota_set"]["instances"], 10);
}

#[tokio::test]
async fn details_say_what_is_in_use() {
    let cloud = Cloud::new().await;
    create(&cloud, &json!({"max_count": 2})).await;
    let group = json!({"server_group": {"name": "g", "policy": "affinity"}});
    assert_eq!(member(&cloud, "POST", "os-server-groups", ("2.64", group)).await.status, 200);
    let (status, detail) = cloud.get(&path("/detail"), "2.93").await;
    assert_eq!(status, 200);
    let set = &detail["quota_set"];
    assert_eq!(set["instances"], json!({"limit": 10, "in_use": 2, "reserved": 0}));
    assert_eq!(set["cores"], json!({"limit": 20, "in_use": 2, "reserved": 0}));
    assert_eq!(set["ram"], json!({"limit": 51200, "in_use": 512, "reserved": 0}));
    assert_eq!(set["server_groups"], json!({"limit": 10, "in_use": 1, "reserved": 0}));
    assert_eq!(set["key_pairs"], json!({"limit": 100, "in_use": 0, "reserved": 0}));
    let nobody = path("/detail?user_id=nobody");
    let (_, detail) = cloud.get(&nobody, "2.93").await;
    assert_eq!(detail["quota_set"]["instances"]["in_use"], 0);
}

#[tokio::test]
async fn limits_lie_between_what_is_used_and_what_there_may_be() {
    let cloud = Cloud::new().await;
    create(&cloud, &json!({"max_count": 3})).await;
    let put = async |path: &str, quotas: Value| {
        admin(&cloud, "PUT", path, ("2.93", json!({"quota_set": quotas}))).await
    };
    let refused = put(&path(""), json!({"instances": 2})).await;
    assert_eq!(
        fault(&refused, "badRequest", 400),
        "Quota limit 2 for instances must be greater than or equal to already used and reserved 3."
    );
    // All or nothing.
    let refused = put(&path(""), json!({"key_pairs": 5, "instances": 2})).await;
    assert_eq!(refused.status, 400);
    assert_eq!(cloud.get(&path(""), "2.93").await.1["quota_set"]["key_pairs"], 100);
    let forced = put(&path(""), json!({"instances": 2, "force": "true"})).await;
    assert_eq!((forced.status, &forced.body["quota_set"]["instances"]), (200, &json!(2)));

    let of_user = path(&format!("?user_id={USER}"));
    let refused = put(&of_user, json!({"ram": 51201})).await;
    assert_eq!(
        fault(&refused, "badRequest", 400),
        "Quota limit 51201 for ram must be less than or equal to 51200."
    );
    assert_eq!(put(&of_user, json!({"ram": 40000})).await.body["quota_set"]["ram"], 40000);
    assert_eq!(cloud.get(&of_user, "2.93").await.1["quota_set"]["ram"], 40000);
    assert_eq!(cloud.get(&path(""), "2.93").await.1["quota_set"]["ram"], 51200);
    // The project cannot have less than what its users were promised.
    let refused = put(&path(""), json!({"ram": 30000})).await;
    assert!(fault(&refused, "badRequest", 400).ends_with("already used and reserved 40000."));
    let cleared = admin(&cloud, "DELETE", &of_user, ("2.93", Value::Null)).await;
    assert_eq!(cleared.status, 202);
    assert_eq!(cloud.get(&of_user, "2.93").await.1["quota_set"]["ram"], 51200);
}

#[tokio::test]
async fn nonsense_is_refused_as_nova_refuses_it() {
    let cloud = Cloud::new().await;
    for (version, quotas, text) in [
        (
            "2.93",
            json!({"instances": -2}),
            "Invalid input for field/attribute instances. Value: -2. -2 is less than the minimum \
             of -1",
        ),
        (
            "2.93",
            json!({"instances": "99999999999999999999999999999999999999999999"}),
            "Invalid input for field/attribute instances. Value: \
             99999999999999999999999999999999999999999999. \
             99999999999999999999999999999999999999999999 is greater than the maximum of 2147483647",
        ),
        (
            "2.57",
            json!({"injected_files": 1}),
            "Invalid input for field/attribute quota_set. Value: {'injected_files': 1}. Additional \
             properties are not allowed ('injected_files' was unexpected)",
        ),
    ] {
        let body = json!({"quota_set": quotas});
        let refused = admin(&cloud, "PUT", &path(""), (version, body)).await;
        assert_eq!(fault(&refused, "badRequest", 400), text);
    }
    let unknown = "os-quota-sets/00000000000000000000000000000000";
    for (method, path, body) in [
        ("GET", unknown.to_owned(), Value::Null),
        ("GET", format!("{unknown}/detail"), Value::Null),
        ("PUT", unknown.to_owned(), json!({"quota_set": {}})),
    ] {
        let refused = admin(&cloud, method, &path, ("2.93", body)).await;
        assert_eq!(
            fault(&refused, "badRequest", 400),
            "Project ID 00000000000000000000000000000000 is not a valid project."
        );
    }
    // Unknown parameters are an error from 2.75.
    assert_eq!(cloud.get(&path("?x=1"), "2.74").await.0, 200);
    let (status, body) = cloud.get(&path("?x=1"), "2.75").await;
    assert_eq!(status, 400);
    assert_eq!(
        body["badRequest"]["message"],
        "Additional properties are not allowed ('x' was unexpected)"
    );
}

#[tokio::test]
async fn members_only_look_at_their_own() {
    let cloud = Cloud::new().await;
    let own = path("");
    for (method, path, body, rule) in [
        ("PUT", own.as_str(), json!({"quota_set": {}}), "os-quota-sets:update"),
        ("DELETE", own.as_str(), Value::Null, "os-quota-sets:delete"),
        ("GET", "os-quota-sets/another", Value::Null, "os-quota-sets:show"),
        ("GET", "os-quota-sets/another/detail", Value::Null, "os-quota-sets:detail"),
        ("GET", "os-quota-class-sets/default", Value::Null, "os-quota-class-sets:show"),
        (
            "PUT",
            "os-quota-class-sets/default",
            json!({"quota_class_set": {}}),
            "os-quota-class-sets:update",
        ),
        ("GET", "limits?tenant_id=another", Value::Null, "limits:other_project"),
    ] {
        let refused = member(&cloud, method, path, ("2.93", body)).await;
        assert_eq!(
            fault(&refused, "forbidden", 403),
            format!("Policy doesn't allow os_compute_api:{rule} to be performed.")
        );
    }
}

#[tokio::test]
async fn the_class_default_holds_where_nothing_else_is_set() {
    let cloud = Cloud::new().await;
    let class = "os-quota-class-sets/default";
    let put = json!({"quota_class_set": {"instances": 4, "server_groups": 2}});
    let reply = admin(&cloud, "PUT", class, ("2.93", put)).await;
    assert_eq!(reply.status, 200);
    assert_eq!(
        reply.body,
        json!({"quota_class_set": {
            "cores": 20, "instances": 4, "key_pairs": 100, "metadata_items": 128, "ram": 51200,
            "server_group_members": 10, "server_groups": 2,
        }})
    );
    let shown = admin(&cloud, "GET", class, ("2.50", Value::Null)).await;
    let set = &shown.body["quota_class_set"];
    assert_eq!((&set["id"], &set["server_groups"]), (&json!("default"), &json!(2)));
    assert_eq!((&set["injected_files"], &set["fixed_ips"]), (&json!(5), &Value::Null));
    let shown = admin(&cloud, "GET", class, ("2.49", Value::Null)).await;
    let set = &shown.body["quota_class_set"];
    assert_eq!((&set["fixed_ips"], &set["server_groups"]), (&json!(-1), &Value::Null));
    // Those of networks, while there were some.
    let put = json!({"quota_class_set": {"floating_ips": 5, "security_group_rules": "6"}});
    let reply = admin(&cloud, "PUT", class, ("2.49", put.clone())).await;
    let set = &reply.body["quota_class_set"];
    assert_eq!((&set["floating_ips"], &set["security_group_rules"]), (&json!(5), &json!(6)));
    let shown = admin(&cloud, "GET", class, ("2.1", Value::Null)).await;
    assert_eq!(
        shown.body["quota_class_set"],
        json!({
            "id": "default", "cores": 20, "fixed_ips": -1, "floating_ips": 5,
            "injected_file_content_bytes": 10240, "injected_file_path_bytes": 255,
            "injected_files": 5, "instances": 4, "key_pairs": 100, "metadata_items": 128,
            "ram": 51200, "security_group_rules": 6, "security_groups": -1,
        })
    );
    assert_eq!(admin(&cloud, "PUT", class, ("2.50", put)).await.status, 400);
    let other = admin(&cloud, "GET", "os-quota-class-sets/gold", ("2.93", Value::Null)).await;
    assert_eq!(other.body["quota_class_set"]["instances"], 10);

    assert_eq!(cloud.get(&path(""), "2.93").await.1["quota_set"]["instances"], 4);
    assert_eq!(cloud.get(&path("/defaults"), "2.93").await.1["quota_set"]["instances"], 4);
    assert_eq!(cloud.get("limits", "2.93").await.1["limits"]["absolute"]["maxTotalInstances"], 4);
}

#[tokio::test]
async fn limits_are_the_quotas_and_what_is_used() {
    let cloud = Cloud::new().await;
    create(&cloud, &json!({"max_count": 7})).await;
    let (status, own) = cloud.get("limits", "2.93").await;
    let absolute = &own["limits"]["absolute"];
    assert_eq!((status, &absolute["totalInstancesUsed"]), (200, &json!(7)));
    assert_eq!(absolute["maxTotalInstances"], 10);
    let of_other = format!("limits?tenant_id={PROJECT}");
    assert_eq!(admin(&cloud, "GET", &of_other, ("2.93", Value::Null)).await.body, own);
    set_quota(&cloud, json!({"metadata_items": 3})).await;
    let body = json!({"quota_set": {"injected_files": 2, "injected_file_content_bytes": 9}});
    assert_eq!(admin(&cloud, "PUT", &path(""), ("2.56", body)).await.status, 200);
    let (_, old) = cloud.get("limits", "2.1").await;
    let absolute = &old["limits"]["absolute"];
    for (name, value) in [
        ("maxServerMeta", 3),
        ("maxImageMeta", 3),
        ("maxPersonality", 2),
        ("maxPersonalitySize", 9),
        ("maxSecurityGroups", -1),
        ("totalFloatingIpsUsed", 0),
    ] {
        assert_eq!(absolute[name], value, "{name}");
    }
    assert_eq!(cloud.get("limits?x=1", "2.74").await.0, 200);
    assert_eq!(cloud.get("limits?x=1", "2.75").await.0, 400);
}
