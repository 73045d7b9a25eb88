//! What came with 2.97 to 2.104, on both sides of each version. The pinned zone of 2.104 is in
//! tests/hosts.

use reprieve_core::ImageId;
use reprieve_store::NewFlavor;
use serde_json::{Value, json};

use crate::support::{Cloud, IMAGE};
use crate::{message, refused};

const NO_RESOURCE: (u16, &str) = (404, "The resource could not be found.");

#[tokio::test]
async fn shares_since_2_97() {
    let cloud = Cloud::new().await;
    let id = cloud.active_server().await;
    let unknown = "11111111-1111-1111-1111-111111111111";
    let all = format!("servers/{id}/shares");
    let one = format!("{all}/{unknown}");
    let body = json!({"share": {"share_id": unknown}});
    for (method, path, body) in [
        ("GET", &all, Value::Null),
        ("POST", &all, body.clone()),
        ("GET", &one, Value::Null),
        ("DELETE", &one, Value::Null),
    ] {
        refused(&cloud, (method, path), (&cloud.member, "2.96", body), NO_RESOURCE).await;
    }
    assert_eq!(cloud.get(&all, "2.97").await, (200, json!({"shares": []})));
    let by = |body: Value| (cloud.member.as_str(), "2.97", body);
    let text = format!("Cannot 'create share' instance {id} while it is in vm_state active");
    refused(&cloud, ("POST", &all), by(body.clone()), (409, &text)).await;
    let malformed = cloud.compute("POST", &all, by(json!({"share": {"share_id": 1}}))).await;
    assert_eq!(malformed.status, 400);
    let missing = format!("Share {unknown} could not be found.");
    refused(&cloud, ("GET", &one), by(Value::Null), (404, &missing)).await;
    let text = format!("Cannot 'delete share' instance {id} while it is in vm_state active");
    refused(&cloud, ("DELETE", &one), by(Value::Null), (409, &text)).await;
    let stop = (cloud.member.as_str(), "2.1", json!({"os-stop": null}));
    assert_eq!(cloud.compute("POST", &format!("servers/{id}/action"), stop).await.status, 202);
    cloud.settle(id).await;
    refused(&cloud, ("POST", &all), by(body), (404, &missing)).await;
    refused(&cloud, ("DELETE", &one), by(Value::Null), (404, &missing)).await;
}

#[tokio::test]
async fn properties_of_the_image_since_2_98() {
    let cloud = Cloud::new().await;
    let image: ImageId = IMAGE.parse().unwrap();
    let properties = json!({"metadata": {"hw_rescue_bus": "virtio"}});
    let path = format!("images/{image}/metadata");
    let set = cloud.compute("POST", &path, (&cloud.admin, "2.1", properties)).await;
    assert_eq!(set.status, 200, "{}", set.body);
    let id = cloud.active_server().await;
    for (version, with) in [("2.97", false), ("2.98", true)] {
        let (_, shown) = cloud.get(&format!("servers/{id}"), version).await;
        let (_, listed) = cloud.get("servers/detail", version).await;
        for image in [&shown["server"]["image"], &listed["servers"][0]["image"]] {
            assert_eq!(image["id"], IMAGE);
            assert_eq!(image.get("properties").is_some(), with, "{version}: {image}");
        }
        if with {
            assert_eq!(shown["server"]["image"]["properties"]["hw_rescue_bus"], "virtio");
        }
    }
}

#[tokio::test]
async fn scheduler_hints_since_2_100() {
    let cloud = Cloud::new().await;
    let body = json!({
        "server": {"name": "s", "imageRef": IMAGE, "flavorRef": "1", "networks": "none"},
        "os:scheduler_hints": {"query": "[]", "mine": ["a"], "more": ["a", "b"]},
    });
    let made = cloud.compute("POST", "servers", (&cloud.member, "2.37", body)).await;
    assert_eq!(made.status, 202, "{}", made.body);
    let id = made.body["server"]["id"].as_str().unwrap();
    let hints = json!({"query": "[]", "mine": "a", "more": ["a", "b"]});
    for (version, expected) in [("2.99", None), ("2.100", Some(&hints))] {
        let (_, shown) = cloud.get(&format!("servers/{id}"), version).await;
        let (_, listed) = cloud.get("servers/detail", version).await;
        for server in [&shown["server"], &listed["servers"][0]] {
            assert_eq!(server.get("scheduler_hints"), expected, "{version}");
        }
    }
}

/// A flavor with everything that 2.102 does not have any more.
const FLAVOR: &str = "r1";

async fn cloud_with_flavor() -> Cloud {
    let cloud = Cloud::new().await;
    let new = NewFlavor {
        flavor_id: FLAVOR.into(),
        name: "ci.tiny".into(),
        vcpus: 1,
        memory_mib: 256,
        root_gib: 1,
        ephemeral_gib: 0,
        swap_mib: 0,
        rxtx_factor: 1.5,
        is_public: true,
        description: None,
    };
    cloud.control.store.create_flavor(new).await.unwrap();
    cloud
}

#[tokio::test]
async fn flavors_lost_two_fields_with_2_102() {
    let cloud = cloud_with_flavor().await;
    let path = format!("flavors/{FLAVOR}");
    for (version, there) in [("2.101", true), ("2.102", false)] {
        let (_, shown) = cloud.get(&path, version).await;
        let (_, listed) = cloud.get("flavors/detail?minRam=256", version).await;
        let listed = listed["flavors"].as_array().unwrap();
        let listed = listed.iter().find(|flavor| flavor["id"] == FLAVOR).unwrap();
        for flavor in [&shown["flavor"], listed] {
            let factor = there.then(|| json!(1.5));
            assert_eq!(flavor.get("rxtx_factor"), factor.as_ref(), "{version}");
            let disabled = there.then(|| json!(false));
            assert_eq!(flavor.get("OS-FLV-DISABLED:disabled"), disabled.as_ref(), "{version}");
        }
    }
    let create = |version, id: &str| {
        let flavor = json!({
            "name": id, "id": id, "ram": 1, "vcpus": 1, "disk": 0, "rxtx_factor": 2.0,
        });
        (cloud.admin.as_str(), version, json!({"flavor": flavor}))
    };
    assert_eq!(cloud.compute("POST", "flavors", create("2.101", "a")).await.status, 200);
    let refusal = cloud.compute("POST", "flavors", create("2.102", "b")).await;
    assert_eq!(refusal.status, 400);
    assert!(message(&refusal).ends_with("('rxtx_factor' was unexpected)"), "{}", refusal.body);
    for path in ["flavors", "flavors/detail"] {
        let sorted = format!("{path}?sort_key=rxtx_factor");
        assert_eq!(cloud.get(&sorted, "2.101").await.0, 200);
        assert_eq!(cloud.get(&sorted, "2.102").await.0, 400);
    }
}

#[tokio::test]
async fn flavors_are_found_by_name_since_2_102() {
    let cloud = cloud_with_flavor().await;
    let names = async |version, query: &str| -> Vec<String> {
        let (status, listed) = cloud.get(&format!("flavors?{query}"), version).await;
        assert_eq!(status, 200, "{query}: {listed}");
        let listed = listed["flavors"].as_array().unwrap().iter();
        listed.map(|flavor| flavor["name"].as_str().unwrap().to_owned()).collect()
    };
    // A regular expression that is found anywhere, as in lists of servers.
    assert_eq!(names("2.102", "name=tiny").await, ["tiny", "tiny2", "ci.tiny"]);
    assert_eq!(names("2.102", "name=^tiny").await, ["tiny", "tiny2"]);
    assert_eq!(names("2.102", "name=^tiny$").await, ["tiny"]);
    assert_eq!(names("2.102", "name=nothing").await, [""; 0]);
    // Before that it is no parameter: ignored, and an error since 2.75.
    assert_eq!(names("2.74", "name=tiny").await.len(), 4);
    assert_eq!(cloud.get("flavors?name=tiny", "2.101").await.0, 400);
    let by = (cloud.member.as_str(), "2.102", Value::Null);
    let text = "Invalid regular expression '('.";
    refused(&cloud, ("GET", "flavors?name=("), by, (400, text)).await;
}

#[tokio::test]
async fn volumes_boot_is_gone_with_2_103() {
    let cloud = Cloud::new().await;
    let id = cloud.active_server().await;
    let one = format!("os-volumes_boot/{id}");
    let new = json!({"server": {
        "name": "s", "imageRef": IMAGE, "flavorRef": "1", "networks": "none",
    }});
    let name = json!({"server": {"name": "renamed"}});
    for (method, path, body, status) in [
        ("GET", "os-volumes_boot", Value::Null, 200),
        ("GET", "os-volumes_boot/detail", Value::Null, 200),
        ("POST", "os-volumes_boot", new, 202),
        ("GET", &one, Value::Null, 200),
        ("PUT", &one, name, 200),
        ("DELETE", &one, Value::Null, 204),
    ] {
        let gone = (cloud.member.as_str(), "2.103", body.clone());
        refused(&cloud, (method, path), gone, NO_RESOURCE).await;
        let reply = cloud.compute(method, path, (&cloud.member, "2.102", body)).await;
        assert_eq!(reply.status, status, "{method} {path}: {}", reply.body);
    }
}
