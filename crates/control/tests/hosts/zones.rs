//! Availability zones, and servers in them.

use serde_json::{Value, json};

use crate::support::{Cloud, HOST, ZONE};
use crate::{RECORDED, add_host, admin, create, fault, get, server, try_create};

/// Two hosts, each in a zone of its own.
async fn two_zones() -> Cloud {
    let cloud = Cloud::without_quotas().await;
    add_host(&cloud, "fake1").await;
    for (id, zone, host) in [(1, "az-vm", "vm"), (2, "az-fake1", "fake1")] {
        let body = json!({"aggregate": {"name": zone, "availability_zone": zone}});
        assert_eq!(admin(&cloud, "POST", "os-aggregates", (RECORDED, body)).await.status, 200);
        let path = format!("os-aggregates/{id}/action");
        let add = json!({"add_host": {"host": host}});
        assert_eq!(admin(&cloud, "POST", &path, (RECORDED, add)).await.status, 200);
    }
    cloud
}

#[tokio::test]
async fn are_available_while_a_host_is_enabled() {
    let cloud = two_zones().await;
    let body = json!({"host": "fake1", "binary": "nova-compute"});
    admin(&cloud, "PUT", "os-services/disable", ("2.1", body)).await;
    let (_, zones) = cloud.get("os-availability-zone", RECORDED).await;
    assert_eq!(zones["availabilityZoneInfo"][0]["zoneState"], json!({"available": false}));
    let detail = get(&cloud, "os-availability-zone/detail", RECORDED).await;
    assert_eq!(detail["availabilityZoneInfo"][0]["hosts"], Value::Null);
    let refused = try_create(&cloud, json!({"availability_zone": "az-fake1"})).await;
    assert_eq!(fault(&refused), (400, "The requested availability zone is not available"));
}

#[tokio::test]
async fn servers_are_placed_in_the_zone_they_ask_for() {
    let cloud = two_zones().await;
    for (zone, host) in [("az-fake1", "fake1"), ("az-vm", "vm")] {
        for _ in 0..2 {
            let id = create(&cloud, json!({"availability_zone": zone})).await;
            let record = cloud.control.store.instance(id).await.unwrap().unwrap();
            assert_eq!(record.host, Some(host.into()));
            assert_eq!(record.availability_zone, zone);
            let shown = server(&cloud, id).await;
            assert_eq!(shown["OS-EXT-AZ:availability_zone"], zone);
            assert_eq!(shown["pinned_availability_zone"], zone);
        }
    }
    let missing = try_create(&cloud, json!({"availability_zone": "mars"})).await;
    assert_eq!(fault(&missing), (400, "The requested availability zone is not available"));
}

/// A zone is shown before the host is known only if it was asked for.
#[tokio::test]
async fn a_server_shows_the_zone_of_its_host_once_it_has_one() {
    let cloud = Cloud::without_quotas().await;
    let id = create(&cloud, json!({})).await;
    let building = server(&cloud, id).await;
    assert_eq!(building["OS-EXT-AZ:availability_zone"], "");
    assert_eq!(building["pinned_availability_zone"], Value::Null);
    cloud.settle(id).await;
    assert_eq!(server(&cloud, id).await["OS-EXT-AZ:availability_zone"], ZONE);
    let failed = server(&cloud, create(&cloud, json!({"flavorRef": "99"})).await).await;
    assert_eq!(failed["OS-EXT-AZ:availability_zone"], "");
    assert_eq!(failed["hostId"], "");
    assert_eq!(failed["status"], "ERROR");
}

#[tokio::test]
async fn forced_hosts() {
    let cloud = two_zones().await;
    let host = async |zone: &str| {
        let id = create(&cloud, json!({"availability_zone": zone})).await;
        let record = cloud.control.store.instance(id).await.unwrap().unwrap();
        (record.vm_state.as_str(), record.host.map(|host| host.to_string()))
    };
    let on = |host: &str| ("building", Some(host.to_owned()));
    assert_eq!(host("nova:vmx").await, ("error", None), "an unknown host is found out later");
    // The zone in front of a host does not count.
    assert_eq!(host("az-vm:fake1").await, on("fake1"));
    assert_eq!(host("mars:vm").await, on("vm"));
    assert_eq!(host(":fake1").await, on("fake1"));
    assert_eq!(host("az-vm::fake1").await, on("fake1"));
    assert_eq!(host("az-vm:vm:vm").await, on("vm"));
    assert_eq!(host("az-vm:vm:fake1").await, ("error", None), "that node is of another host");
    let wrong = try_create(&cloud, json!({"availability_zone": "a:b:c:d"})).await;
    let text = "Invalid input received: Unable to parse availability_zone";
    assert_eq!(fault(&wrong), (400, text));
}

#[tokio::test]
async fn requested_hosts() {
    let cloud = two_zones().await;
    let id = create(&cloud, json!({"hypervisor_hostname": "fake1"})).await;
    let record = cloud.control.store.instance(id).await.unwrap().unwrap();
    assert_eq!(record.host, Some("fake1".into()));
    let id = create(&cloud, json!({"host": "vm", "hypervisor_hostname": "vm"})).await;
    let record = cloud.control.store.instance(id).await.unwrap().unwrap();
    assert_eq!(record.host, Some(HOST.into()));
    for (asked, name) in [
        (json!({"host": "x"}), "x"),
        (json!({"hypervisor_hostname": "y"}), "y"),
        (json!({"host": "vm", "hypervisor_hostname": "fake1"}), "vm"),
    ] {
        let text = format!("Compute host {name} could not be found.");
        let reply = try_create(&cloud, asked).await;
        assert_eq!(fault(&reply), (400, text.as_str()));
    }
    // In another zone than the one that was asked for, too.
    let id = create(&cloud, json!({"host": "vm", "availability_zone": "az-fake1"})).await;
    let text = server(&cloud, id).await["fault"]["details"].as_str().unwrap().to_owned();
    assert!(text.contains("vm: it is in zone az-vm, not in az-fake1"), "{text}");
}

/// Members name neither.
#[tokio::test]
async fn hosts_are_for_administrators() {
    let cloud = Cloud::without_quotas().await;
    for (field, value, rule) in [
        ("availability_zone", "az-vm:vm", "os_compute_api:servers:create:forced_host"),
        ("availability_zone", "az-vm::vm", "os_compute_api:servers:create:forced_host"),
        ("host", "vm", "compute:servers:create:requested_destination"),
        ("hypervisor_hostname", "vm", "compute:servers:create:requested_destination"),
    ] {
        let mut body = json!({"server": {
            "name": "s", "imageRef": crate::IMAGE, "flavorRef": "1", "networks": "none",
        }});
        body["server"][field] = json!(value);
        let reply = cloud.compute("POST", "servers", (&cloud.member, "2.74", body)).await;
        let text = format!("Policy doesn't allow {rule} to be performed.");
        assert_eq!(fault(&reply), (403, text.as_str()));
    }
}

/// 2.104: a server may be kept in the zone it is in, and let go.
#[tokio::test]
async fn servers_are_pinned_to_their_zone() {
    let cloud = Cloud::without_quotas().await;
    let id = cloud.active_server().await;
    let path = format!("servers/{id}");
    let pin = async |version, zone: Option<&str>| {
        let body = json!({"server": {"pinned_availability_zone": zone}});
        cloud.compute("PUT", &path, (&cloud.member, version, body)).await
    };
    let elsewhere = pin("2.104", Some("az-x")).await;
    let text = "Server can only be pinned to its current availability zone 'az-vm', but 'az-x' was \
                requested.";
    assert_eq!(fault(&elsewhere), (409, text));
    for zone in [Some("az-vm"), Some("az-vm"), None, None, Some("az-vm")] {
        let pinned = pin("2.104", zone).await;
        assert_eq!(
            (pinned.status, &pinned.body["server"]["pinned_availability_zone"]),
            (200, &json!(zone))
        );
        assert_eq!(server(&cloud, id).await["pinned_availability_zone"], json!(zone));
    }
    let moved = pin("2.104", Some("az-x")).await;
    let text = "Cannot change pinned availability zone directly. Unpin first by setting \
                pinned_availability_zone to null.";
    assert_eq!(fault(&moved), (409, text));
    let typed = json!({"server": {"pinned_availability_zone": 5}});
    let typed = cloud.compute("PUT", &path, (&cloud.member, "2.104", typed)).await;
    assert_eq!(typed.status, 400);
    let before = pin("2.103", None).await;
    let text = "Invalid input for field/attribute server. Value: {'pinned_availability_zone': \
                None}. Additional properties are not allowed ('pinned_availability_zone' was \
                unexpected)";
    assert_eq!(fault(&before), (400, text));
    assert_eq!(server(&cloud, id).await["pinned_availability_zone"], "az-vm");
}
