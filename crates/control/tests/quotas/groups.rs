//! `/os-server-groups`, and servers that join a group.

use std::sync::Arc;

use reprieve_core::HostName;
use serde_json::{Value, json};

use crate::support::{Cloud, PROJECT, USER, host_info};
use crate::{admin, create, fault, member, server, set_quota};

async fn group(cloud: &Cloud, policy: &str, rules: Value) -> String {
    let body = json!({"server_group": {"name": "g", "policy": policy, "rules": rules}});
    let reply = member(cloud, "POST", "os-server-groups", ("2.96", body)).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    reply.body["server_group"]["id"].as_str().unwrap().to_owned()
}

fn hinted(group: &str) -> Value {
    let mut body = server(&json!({}));
    body["os:scheduler_hints"] = json!({"group": group});
    body
}

async fn join(cloud: &Cloud, group: &str) -> String {
    let reply = member(cloud, "POST", "servers", ("2.96", hinted(group))).await;
    assert_eq!(reply.status, 202, "{}", reply.body);
    reply.body["server"]["id"].as_str().unwrap().to_owned()
}

async fn status(cloud: &Cloud, id: &str) -> (Value, Value) {
    let (_, mut shown) = cloud.get(&format!("servers/{id}"), "2.96").await;
    (shown["server"]["status"].take(), shown["server"]["fault"]["message"].take())
}

/// Another compute host, which is up.
async fn second_host(cloud: &Cloud) {
    cloud.add_host("vm2", host_info("vm2")).await;
}

#[tokio::test]
async fn fields_per_version() {
    let cloud = Cloud::new().await;
    assert_eq!(cloud.get("os-server-groups", "2.93").await, (200, json!({"server_groups": []})));
    let id = group(&cloud, "anti-affinity", json!({"max_server_per_host": "3"})).await;
    let path = format!("os-server-groups/{id}");
    for (version, expected) in [
        (
            "2.1",
            json!({"id": id, "name": "g", "members": [], "policies": ["anti-affinity"],
                   "metadata": {}}),
        ),
        (
            "2.13",
            json!({"id": id, "name": "g", "members": [], "policies": ["anti-affinity"],
                   "metadata": {}, "project_id": PROJECT, "user_id": USER}),
        ),
        (
            "2.64",
            json!({"id": id, "name": "g", "members": [], "policy": "anti-affinity",
                   "rules": {"max_server_per_host": 3}, "project_id": PROJECT, "user_id": USER}),
        ),
    ] {
        let (status, body) = cloud.get(&path, version).await;
        assert_eq!((status, body), (200, json!({"server_group": expected})));
        let (status, body) = cloud.get("os-server-groups", version).await;
        assert_eq!((status, body), (200, json!({"server_groups": [expected]})));
    }
    let gone = member(&cloud, "DELETE", &path, ("2.93", Value::Null)).await;
    assert_eq!((gone.status, gone.body), (204, json!("")));
    for method in ["GET", "DELETE"] {
        let missing = member(&cloud, method, &path, ("2.93", Value::Null)).await;
        assert_eq!(
            fault(&missing, "itemNotFound", 404),
            format!("Instance group {id} could not be found.")
        );
    }
    let missing = member(&cloud, "GET", "os-server-groups/x", ("2.93", Value::Null)).await;
    assert_eq!(fault(&missing, "itemNotFound", 404), "Instance group x could not be found.");
}

#[tokio::test]
async fn bodies_per_version() {
    let cloud = Cloud::new().await;
    let post = async |version: &str, group: Value| {
        let body = json!({"server_group": group});
        member(&cloud, "POST", "os-server-groups", (version, body)).await
    };
    for (version, group) in [
        ("2.1", json!({"name": "g", "policies": ["affinity"]})),
        ("2.15", json!({"name": "g", "policies": ["soft-anti-affinity"]})),
        ("2.64", json!({"name": "g", "policy": "soft-affinity"})),
        ("2.64", json!({"name": "g", "policy": "affinity", "rules": {}})),
    ] {
        let made = post(version, group.clone()).await;
        assert_eq!(made.status, 200, "{group}");
        assert_eq!(made.body["server_group"]["members"], json!([]));
    }
    for (version, group) in [
        ("2.14", json!({"name": "g", "policies": ["soft-affinity"]})),
        ("2.15", json!({"name": "g", "policies": ["affinity", "anti-affinity"]})),
        ("2.15", json!({"name": "g", "policies": []})),
        ("2.15", json!({"name": "g", "policy": "affinity"})),
        ("2.64", json!({"name": "g", "policies": ["affinity"]})),
        ("2.64", json!({"name": "g", "policy": "legacy"})),
        (
            "2.64",
            json!({"name": "g", "policy": "anti-affinity", "rules": {"max_server_per_host": 0}}),
        ),
        ("2.64", json!({"name": " g", "policy": "affinity"})),
        ("2.64", json!({"policy": "affinity"})),
    ] {
        assert_eq!(post(version, group.clone()).await.status, 400, "{version} {group}");
    }
    let rules = json!({"name": "g", "policy": "affinity", "rules": {"max_server_per_host": 2}});
    assert_eq!(
        fault(&post("2.64", rules).await, "badRequest", 400),
        "Only anti-affinity policy supports rules."
    );
}

#[tokio::test]
async fn lists_have_offset_and_limit_and_projects() {
    let cloud = Cloud::new().await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(group(&cloud, "affinity", json!({})).await);
    }
    let body = json!({"server_group": {"name": "theirs", "policy": "affinity"}});
    let theirs = admin(&cloud, "POST", "os-server-groups", ("2.64", body)).await;
    let theirs = theirs.body["server_group"]["id"].as_str().unwrap().to_owned();
    let listed = |body: &Value| -> Vec<String> {
        let groups = body["server_groups"].as_array().unwrap().iter();
        groups.map(|group| group["id"].as_str().unwrap().to_owned()).collect()
    };
    let of_member = async |query: &str| {
        listed(&cloud.get(&format!("os-server-groups?{query}"), "2.64").await.1)
    };
    assert_eq!(of_member("").await, ids);
    assert_eq!(of_member("limit=2").await, ids[..2]);
    assert_eq!(of_member("limit=2&offset=1").await, ids[1..]);
    assert_eq!(of_member("offset=99999999999999999999999").await, [] as [String; 0]);
    assert_eq!(of_member("limit=0").await, ids, "no limit, as in Nova");
    assert_eq!(of_member("all_projects=1").await, ids, "ignored, as in Nova");
    assert_eq!(cloud.get("os-server-groups?limit=-1", "2.64").await.0, 400);
    assert_eq!(cloud.get("os-server-groups?x=1", "2.74").await.0, 200);
    assert_eq!(cloud.get("os-server-groups?x=1", "2.75").await.0, 400);
    let all = admin(&cloud, "GET", "os-server-groups?all_projects", ("2.64", Value::Null)).await;
    ids.push(theirs.clone());
    assert_eq!(listed(&all.body), ids);
}

/// To other projects a group is as if it did not exist; administrators have no borders.
#[tokio::test]
async fn groups_of_others_are_not_found() {
    let cloud = Cloud::new().await;
    let body = json!({"server_group": {"name": "theirs", "policy": "affinity"}});
    let theirs = admin(&cloud, "POST", "os-server-groups", ("2.64", body)).await;
    let theirs = theirs.body["server_group"]["id"].as_str().unwrap().to_owned();
    let unknown = "11111111-1111-1111-1111-111111111111";
    for method in ["GET", "DELETE"] {
        for id in [theirs.as_str(), unknown] {
            let path = format!("os-server-groups/{id}");
            let refused = member(&cloud, method, &path, ("2.64", Value::Null)).await;
            let text = format!("Instance group {id} could not be found.");
            assert_eq!(fault(&refused, "itemNotFound", 404), text, "{method}");
        }
    }
    let path = format!("os-server-groups/{theirs}");
    assert_eq!(admin(&cloud, "GET", &path, ("2.64", Value::Null)).await.status, 200);
    let ours = group(&cloud, "affinity", json!({})).await;
    for path in [path, format!("os-server-groups/{ours}")] {
        assert_eq!(admin(&cloud, "GET", &path, ("2.64", Value::Null)).await.status, 200);
        assert_eq!(admin(&cloud, "DELETE", &path, ("2.64", Value::Null)).await.status, 204);
        assert_eq!(admin(&cloud, "GET", &path, ("2.64", Value::Null)).await.status, 404);
    }
}

/// An operator may let somebody see the groups of all projects.
#[tokio::test]
async fn rules_may_open_groups_to_others() {
    let cloud =
        Cloud::with_policy(&[("os_compute_api:os-server-groups:show", "role:member")]).await;
    let body = json!({"server_group": {"name": "theirs", "policy": "affinity"}});
    let theirs = admin(&cloud, "POST", "os-server-groups", ("2.64", body)).await;
    let path = format!("os-server-groups/{}", theirs.body["server_group"]["id"].as_str().unwrap());
    assert_eq!(member(&cloud, "GET", &path, ("2.64", Value::Null)).await.status, 200);
    assert_eq!(member(&cloud, "DELETE", &path, ("2.64", Value::Null)).await.status, 404);
}

#[tokio::test]
async fn servers_join_and_leave() {
    let cloud = Cloud::new().await;
    let id = group(&cloud, "affinity", json!({})).await;
    let first = join(&cloud, &id).await;
    let second = join(&cloud, &id).await;
    let path = format!("os-server-groups/{id}");
    let members = async || cloud.get(&path, "2.64").await.1["server_group"]["members"].clone();
    assert_eq!(members().await, json!([first, second]));
    let server = format!("servers/{first}");
    let (_, shown) = cloud.get(&server, "2.71").await;
    assert_eq!(shown["server"]["server_groups"], json!([id]));
    let (_, shown) = cloud.get(&server, "2.70").await;
    assert_eq!(shown["server"].get("server_groups"), None);
    let (_, listed) = cloud.get("servers/detail", "2.71").await;
    assert_eq!(listed["servers"][0].get("server_groups"), None);
    let renamed = json!({"server": {"name": "n"}});
    let renamed = member(&cloud, "PUT", &server, ("2.71", renamed)).await;
    assert_eq!(renamed.body["server"]["server_groups"], json!([id]));
    assert_eq!(
        cloud.get("limits", "2.93").await.1["limits"]["absolute"]["totalServerGroupsUsed"],
        1
    );

    let first = first.parse().unwrap();
    cloud.settle(first).await;
    assert_eq!(member(&cloud, "DELETE", &server, ("2.93", Value::Null)).await.status, 204);
    cloud.settle(first).await;
    assert_eq!(members().await, json!([second]));
    assert_eq!(member(&cloud, "DELETE", &path, ("2.93", Value::Null)).await.status, 204);
    let (_, shown) = cloud.get(&format!("servers/{second}"), "2.71").await;
    assert_eq!(shown["server"]["server_groups"], json!([]));
}

#[tokio::test]
async fn only_a_group_of_ones_own_project_can_be_joined() {
    let cloud = Cloud::new().await;
    let body = json!({"server_group": {"name": "theirs", "policy": "affinity"}});
    let theirs = admin(&cloud, "POST", "os-server-groups", ("2.64", body)).await;
    let theirs = theirs.body["server_group"]["id"].as_str().unwrap();
    for id in [theirs, "11111111-1111-1111-1111-111111111111"] {
        let refused = member(&cloud, "POST", "servers", ("2.96", hinted(id))).await;
        assert_eq!(
            fault(&refused, "badRequest", 400),
            format!("Instance group {id} could not be found.")
        );
    }
    let refused = member(&cloud, "POST", "servers", ("2.96", hinted("x"))).await;
    assert_eq!(
        fault(&refused, "badRequest", 400),
        "Invalid input for field/attribute group. Value: x. 'x' is not a 'uuid'"
    );
}

#[tokio::test]
async fn groups_and_members_keep_to_their_quotas() {
    let cloud = Cloud::new().await;
    set_quota(&cloud, json!({"server_groups": 1, "server_group_members": 2})).await;
    let id = group(&cloud, "affinity", json!({})).await;
    let body = json!({"server_group": {"name": "g", "policy": "affinity"}});
    let refused = member(&cloud, "POST", "os-server-groups", ("2.64", body)).await;
    assert_eq!(fault(&refused, "forbidden", 403), "Quota exceeded, too many server groups.");
    let mut three = hinted(&id);
    three["server"]["min_count"] = json!(3);
    let refused = member(&cloud, "POST", "servers", ("2.96", three)).await;
    assert_eq!(fault(&refused, "forbidden", 403), "Quota exceeded, too many servers in group");
    join(&cloud, &id).await;
    join(&cloud, &id).await;
    let refused = member(&cloud, "POST", "servers", ("2.96", hinted(&id))).await;
    assert_eq!(fault(&refused, "forbidden", 403), "Quota exceeded, too many servers in group");
    create(&cloud, &json!({})).await;
}

#[tokio::test]
async fn policies_choose_hosts() {
    let cloud = Cloud::new().await;
    let apart = group(&cloud, "anti-affinity", json!({})).await;
    let first = join(&cloud, &apart).await;
    assert_eq!(status(&cloud, &first).await.0, "BUILD");
    let second = join(&cloud, &apart).await;
    assert_eq!(
        status(&cloud, &second).await,
        (json!("ERROR"), json!("No valid host was found. There are not enough hosts available."))
    );
    let two = group(&cloud, "anti-affinity", json!({"max_server_per_host": 2})).await;
    let mut three = hinted(&two);
    three["server"]["min_count"] = json!(3);
    assert_eq!(member(&cloud, "POST", "servers", ("2.96", three)).await.status, 202);
    let (_, listed) = cloud.get("servers/detail?name=s-", "2.96").await;
    let servers = listed["servers"].as_array().unwrap();
    let failed = servers.iter().filter(|server| server["status"] == "ERROR").count();
    assert_eq!((servers.len(), failed), (3, 1));

    second_host(&cloud).await;
    let host = async |id: &str| {
        let id = id.parse().unwrap();
        cloud.control.store.instance(id).await.unwrap().unwrap().host.unwrap().to_string()
    };
    let third = join(&cloud, &apart).await;
    assert_eq!(host(&third).await, "vm2");
    let together = group(&cloud, "affinity", json!({})).await;
    let leader = join(&cloud, &together).await;
    let follower = join(&cloud, &together).await;
    assert_eq!(host(&leader).await, host(&follower).await);
}

/// Two requests at once for a group whose members must not meet, and two hosts: each gets its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn requests_side_by_side_keep_to_the_policy() {
    let cloud = Arc::new(Cloud::new().await);
    second_host(&cloud).await;
    let apart = group(&cloud, "anti-affinity", json!({})).await;
    let asking: Vec<_> = (0..4)
        .map(|_| {
            let (cloud, group) = (Arc::clone(&cloud), apart.clone());
            tokio::spawn(async move { join(&cloud, &group).await })
        })
        .collect();
    for one in asking {
        one.await.unwrap();
    }
    let id = apart.parse().unwrap();
    let group = cloud.control.store.server_group(id).await.unwrap().unwrap();
    let mut hosts: Vec<_> =
        group.members.iter().filter_map(|member| member.host.as_ref()).collect();
    hosts.sort();
    assert_eq!(hosts, [&HostName::from("vm"), &HostName::from("vm2")]);
    assert_eq!(group.members.len(), 4, "two of them in ERROR");
}
