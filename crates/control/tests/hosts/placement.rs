//! On which hosts new servers are placed, and what is said when there is none.

use reprieve_core::InstanceId;
use reprieve_core::message::HostInfo;
use reprieve_core::schedule::{ClaimPolicy, Ratio, Ratios};
use serde_json::{Value, json};

use crate::support::{Cloud, host_info};
use crate::{RECORDED, admin, create, fault, get, server};

/// A host with so much memory in MiB, and 512 MiB for itself.
async fn add(cloud: &Cloud, name: &str, memory_mib: u64) {
    cloud.add_host(name, HostInfo { memory_mib: memory_mib + 512, ..host_info(name) }).await;
}

async fn without_hosts() -> Cloud {
    let clock = std::sync::Arc::new(reprieve_core::SystemClock);
    let cloud = Cloud::without_hosts(&[], clock).await;
    cloud.lift_quotas().await;
    cloud
}

async fn host_of(cloud: &Cloud, id: InstanceId) -> Option<String> {
    let record = cloud.control.store.instance(id).await.unwrap().unwrap();
    record.host.map(|host| host.to_string())
}

async fn fault_of(cloud: &Cloud, id: InstanceId) -> String {
    let shown = server(cloud, id).await;
    assert_eq!(shown["status"], "ERROR");
    assert_eq!(shown["fault"]["code"], 500);
    let said = "No valid host was found. There are not enough hosts available.";
    assert_eq!(shown["fault"]["message"], said);
    shown["fault"]["details"].as_str().unwrap().to_owned()
}

/// An aggregate of these hosts with this metadata.
async fn aggregate(cloud: &Cloud, name: &str, hosts: &[&str], metadata: Value) {
    let body = json!({"aggregate": {"name": name}});
    let made = admin(cloud, "POST", "os-aggregates", (RECORDED, body)).await;
    let path = format!("os-aggregates/{}/action", made.body["aggregate"]["id"]);
    for host in hosts {
        let body = json!({"add_host": {"host": host}});
        assert_eq!(admin(cloud, "POST", &path, (RECORDED, body)).await.status, 200);
    }
    let body = json!({"set_metadata": {"metadata": metadata}});
    assert_eq!(admin(cloud, "POST", &path, (RECORDED, body)).await.status, 200);
}

#[tokio::test]
async fn servers_spread_until_hosts_are_full_and_deleted_ones_make_room() {
    let cloud = without_hosts().await;
    add(&cloud, "a", 512).await;
    add(&cloud, "b", 800).await;
    let mut on = Vec::new();
    let mut last = None;
    for _ in 0..5 {
        let id = create(&cloud, json!({})).await;
        on.push(host_of(&cloud, id).await.unwrap());
        cloud.settle(id).await;
        last = Some(id);
    }
    on.sort();
    assert_eq!(on, ["a", "a", "b", "b", "b"]);
    let none = create(&cloud, json!({})).await;
    assert_eq!(
        fault_of(&cloud, none).await,
        "a: the flavor needs 256 MiB of memory, the host has 0 left; \
         b: the flavor needs 256 MiB of memory, the host has 32 left"
    );
    // A stopped server keeps its place, a deleted one does not.
    let path = format!("servers/{}", last.unwrap());
    admin(&cloud, "POST", &format!("{path}/action"), ("2.96", json!({"os-stop": null}))).await;
    cloud.settle(last.unwrap()).await;
    let still = create(&cloud, json!({})).await;
    assert_eq!(host_of(&cloud, still).await, None);
    assert_eq!(admin(&cloud, "DELETE", &path, ("2.96", Value::Null)).await.status, 204);
    cloud.settle(last.unwrap()).await;
    let next = create(&cloud, json!({})).await;
    assert!(host_of(&cloud, next).await.is_some());
}

#[tokio::test]
async fn ratios_of_the_installation_and_of_aggregates() {
    let cloud = without_hosts().await;
    let ratios = Ratios { memory: Ratio::parse("1.5").unwrap(), ..Ratios::default() };
    cloud.control.store.claim_by(ClaimPolicy { ratios, ..ClaimPolicy::default() });
    add(&cloud, "a", 512).await;
    add(&cloud, "b", 512).await;
    aggregate(&cloud, "careful", &["b"], json!({"ram_allocation_ratio": "1.0"})).await;
    let mut on = Vec::new();
    for _ in 0..6 {
        let id = create(&cloud, json!({})).await;
        on.push(host_of(&cloud, id).await);
    }
    let count = |name: &str| on.iter().filter(|host| host.as_deref() == Some(name)).count();
    assert_eq!((count("a"), count("b")), (3, 2));
}

#[tokio::test]
async fn flavors_ask_for_metadata_of_aggregates() {
    let cloud = without_hosts().await;
    add(&cloud, "a", 4096).await;
    add(&cloud, "b", 1024).await;
    aggregate(&cloud, "fast", &["b"], json!({"ssd": "true"})).await;
    let specs = json!({"extra_specs": {"aggregate_instance_extra_specs:ssd": "true"}});
    let set = admin(&cloud, "POST", "flavors/1/os-extra_specs", (RECORDED, specs)).await;
    assert_eq!(set.status, 200, "{}", set.body);
    let id = create(&cloud, json!({})).await;
    assert_eq!(host_of(&cloud, id).await.as_deref(), Some("b"));
    let other = create(&cloud, json!({"flavorRef": "2"})).await;
    assert_eq!(host_of(&cloud, other).await.as_deref(), Some("a"));
}

#[tokio::test]
async fn a_suspended_server_whose_room_is_taken_is_told_so() {
    let cloud = without_hosts().await;
    let lend = ClaimPolicy { release_suspended_memory: true, ..ClaimPolicy::default() };
    cloud.control.store.claim_by(lend);
    add(&cloud, "a", 256).await;
    let sleeper = create(&cloud, json!({})).await;
    cloud.settle(sleeper).await;
    let path = format!("servers/{sleeper}/action");
    let act = async |body: Value| admin(&cloud, "POST", &path, ("2.96", body)).await;
    assert_eq!(act(json!({"suspend": null})).await.status, 202);
    cloud.settle(sleeper).await;
    let free = async || {
        let shown = get(&cloud, "os-hypervisors/1", "2.28").await;
        shown["hypervisor"]["free_ram_mb"].as_i64().unwrap()
    };
    assert_eq!(
        (server(&cloud, sleeper).await["status"].as_str(), free().await),
        (Some("SUSPENDED"), 256)
    );
    let guest = create(&cloud, json!({})).await;
    cloud.settle(guest).await;
    assert_eq!(free().await, 0);
    let refused = act(json!({"resume": null})).await;
    let text = format!(
        "Cannot 'resume' instance {sleeper}: there is no room on its host, which has 0 MiB of the \
         256 MiB of memory that it needs. Its saved memory is kept."
    );
    assert_eq!(fault(&refused), (409, text.as_str()));
    assert_eq!(server(&cloud, sleeper).await["status"], "SUSPENDED");
    admin(&cloud, "DELETE", &format!("servers/{guest}"), ("2.96", Value::Null)).await;
    cloud.settle(guest).await;
    assert_eq!(act(json!({"resume": null})).await.status, 202);
    cloud.settle(sleeper).await;
    assert_eq!(server(&cloud, sleeper).await["status"], "ACTIVE");
}
