//! `/os-hypervisors`.

use serde_json::{Value, json};

use crate::support::{CPU_INFO, Cloud};
use crate::{RECORDED, add_host, admin, create, fault, get, refused};

const PATH: &str = "os-hypervisors";

async fn id_of(cloud: &Cloud, name: &str) -> String {
    let list = get(cloud, PATH, RECORDED).await;
    let found = list["hypervisors"].as_array().unwrap().iter();
    let found = found.clone().find(|one| one["hypervisor_hostname"] == name).unwrap();
    found["id"].as_str().unwrap().to_owned()
}

/// The host is promised to a server that is being built, too, but does not run it yet.
#[tokio::test]
async fn servers_are_counted() {
    let cloud = Cloud::without_quotas().await;
    cloud.active_server().await;
    create(&cloud, json!({})).await;
    let shown = get(&cloud, "os-hypervisors/1", "2.28").await["hypervisor"].take();
    let counted = ["vcpus_used", "memory_mb_used", "local_gb_used", "current_workload"];
    // Two servers of 256 MiB, and 512 MiB that are the host's own.
    assert_eq!(counted.map(|name| shown[name].as_i64().unwrap()), [2, 1024, 2, 1]);
    assert_eq!(shown["running_vms"], 1);
    let sums =
        get(&cloud, "os-hypervisors/statistics", "2.28").await["hypervisor_statistics"].take();
    for name in counted.iter().chain(&["running_vms", "free_ram_mb", "free_disk_gb"]) {
        assert_eq!(sums[name], shown[name], "{name}");
    }
}

#[tokio::test]
async fn the_cpu_is_an_object_from_2_28() {
    let cloud = Cloud::without_quotas().await;
    let old = get(&cloud, "os-hypervisors/1", "2.27").await;
    assert_eq!(old["hypervisor"]["cpu_info"], CPU_INFO);
    let cpu: Value = serde_json::from_str(CPU_INFO).unwrap();
    assert_eq!(get(&cloud, "os-hypervisors/1", "2.28").await["hypervisor"]["cpu_info"], cpu);
}

#[tokio::test]
async fn servers_and_uptime_of_one() {
    let cloud = Cloud::without_quotas().await;
    let path = format!("{PATH}/{}", id_of(&cloud, "vm").await);
    let with = format!("{path}?with_servers=true");
    assert_eq!(get(&cloud, &with, RECORDED).await["hypervisor"]["servers"], json!([]));
    assert_eq!(get(&cloud, &with, "2.74").await["hypervisor"].get("servers"), None);
    let gone = admin(&cloud, "GET", &format!("{path}/uptime"), ("2.88", Value::Null)).await;
    assert_eq!(fault(&gone), (404, "The resource could not be found."));
}

#[tokio::test]
async fn hosts_that_are_down_have_no_uptime() {
    let cloud = Cloud::without_quotas().await;
    let id = id_of(&cloud, "vm").await;
    let body = json!({"host": "vm", "binary": "nova-compute", "forced_down": true});
    admin(&cloud, "PUT", "os-services/force-down", ("2.11", body)).await;
    let text = "Compute service of vm is unavailable at this time.";
    let path = format!("{PATH}/{id}/uptime");
    refused(&cloud, "GET", &path, ("2.87", Value::Null, 400, text)).await;
    let shown = get(&cloud, &format!("{PATH}/{id}"), RECORDED).await;
    assert_eq!(shown["hypervisor"]["uptime"], Value::Null);
    assert_eq!(shown["hypervisor"]["state"], "down");
    let body = json!({"host": "vm", "binary": "nova-compute", "disabled_reason": "old"});
    admin(&cloud, "PUT", "os-services/disable-log-reason", ("2.1", body)).await;
    let shown = get(&cloud, &format!("{PATH}/{id}"), RECORDED).await;
    assert_eq!(shown["hypervisor"]["status"], "disabled");
    assert_eq!(shown["hypervisor"]["service"]["disabled_reason"], "old");
}

#[tokio::test]
async fn pages() {
    let cloud = Cloud::without_quotas().await;
    add_host(&cloud, "fake1").await;
    let names = |body: &Value| -> Vec<String> {
        let list = body["hypervisors"].as_array().unwrap().iter();
        list.map(|one| one["hypervisor_hostname"].as_str().unwrap().to_owned()).collect()
    };
    let first = get(&cloud, "os-hypervisors/detail?limit=1", "2.33").await;
    assert_eq!(names(&first), ["vm"]);
    assert_eq!(
        first["hypervisors_links"],
        json!([{
            "rel": "next",
            "href": "http://127.0.0.1:8774/compute/v2.1/os-hypervisors/detail?limit=1&marker=1",
        }])
    );
    assert_eq!(names(&get(&cloud, "os-hypervisors?marker=1", "2.33").await), ["fake1"]);
    let marker = id_of(&cloud, "vm").await;
    let rest = get(&cloud, &format!("os-hypervisors?marker={marker}"), RECORDED).await;
    assert_eq!((names(&rest), rest.get("hypervisors_links")), (vec!["fake1".to_owned()], None));
    // Before there were pages, the parameters mean nothing.
    assert_eq!(names(&get(&cloud, "os-hypervisors?limit=1&marker=x", "2.32").await).len(), 2);

    assert_eq!(
        names(&get(&cloud, "os-hypervisors?hypervisor_hostname_pattern=FAKE", "2.53").await),
        ["fake1"]
    );
    let ignored = get(&cloud, "os-hypervisors?hypervisor_hostname_pattern=fake", "2.52").await;
    assert_eq!(names(&ignored).len(), 2);
    for (query, status, text) in [
        ("marker=x", 400, "marker [x] not found"),
        ("hypervisor_hostname_pattern=mars", 404, "No hypervisor matching 'mars' could be found."),
        (
            "hypervisor_hostname_pattern=vm&limit=1",
            400,
            "Paging over hypervisors with the hypervisor_hostname_pattern query parameter is not \
             supported.",
        ),
        ("x=1", 400, "Additional properties are not allowed ('x' was unexpected)"),
        (
            "with_servers=maybe",
            400,
            "Invalid input for query parameters with_servers. Value: maybe. 'maybe' is not one of \
             [True, 'True', 'TRUE', 'true', '1', 'ON', 'On', 'on', 'YES', 'Yes', 'yes', False, \
             'False', 'FALSE', 'false', '0', 'OFF', 'Off', 'off', 'NO', 'No', 'no']",
        ),
    ] {
        let path = format!("{PATH}?{query}");
        refused(&cloud, "GET", &path, (RECORDED, Value::Null, status, text)).await;
    }
}

#[tokio::test]
async fn are_found_by_name_until_2_52() {
    let cloud = Cloud::without_quotas().await;
    add_host(&cloud, "fake1").await;
    let brief =
        json!({"id": 2, "hypervisor_hostname": "fake1", "state": "up", "status": "enabled"});
    let found = get(&cloud, "os-hypervisors/ake/search", "2.1").await;
    assert_eq!(found, json!({"hypervisors": [brief]}));
    let found = get(&cloud, "os-hypervisors/ake/servers", "2.52").await;
    assert_eq!(found, json!({"hypervisors": [brief]}), "no servers, no key");
    let server = create(&cloud, json!({"host": "fake1"})).await;
    let found = get(&cloud, "os-hypervisors/ake/servers", "2.52").await;
    assert_eq!(found["hypervisors"][0]["servers"][0]["uuid"], json!(server));
    for tail in ["search", "servers"] {
        let path = format!("{PATH}/mars/{tail}");
        let text = "No hypervisor matching 'mars' could be found.";
        refused(&cloud, "GET", &path, ("2.52", Value::Null, 404, text)).await;
        let text = "The resource could not be found.";
        refused(&cloud, "GET", &path, ("2.53", Value::Null, 404, text)).await;
    }
    let text = "Hypervisor with ID '9' could not be found.";
    refused(&cloud, "GET", "os-hypervisors/9", ("2.52", Value::Null, 404, text)).await;
    refused(&cloud, "GET", "os-hypervisors/9", ("2.53", Value::Null, 400, "Invalid uuid 9")).await;
}
