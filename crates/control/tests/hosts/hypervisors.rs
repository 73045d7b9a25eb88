//! `/os-hypervisors`.

use serde_json::{Value, json};

use crate::support::{CPU_INFO, Cloud, UPTIME};
use crate::{RECORDED, add_host, admin, create, fault, get, refused};

const PATH: &str = "os-hypervisors";

async fn id_of(cloud: &Cloud, name: &str) -> String {
    let list = get(cloud, PATH, RECORDED).await;
    let found = list["hypervisors"].as_array().unwrap().iter();
    let found = found.clone().find(|one| one["hypervisor_hostname"] == name).unwrap();
    found["id"].as_str().unwrap().to_owned()
}

async fn service_of(cloud: &Cloud, host: &str, version: &str) -> Value {
    get(cloud, &format!("os-services?host={host}"), version).await["services"][0]["id"].clone()
}

/// Recorded: admin/os-hypervisors_mv2.1, _mv2.53, _mv2.87, _mv2.93.
#[tokio::test]
async fn are_listed_as_recorded() {
    let cloud = Cloud::without_quotas().await;
    add_host(&cloud, "fake1").await;
    let recorded = |id: Value, name: &str| json!({"id": id, "hypervisor_hostname": name, "state": "up", "status": "enabled"});
    let old = [recorded(json!(1), "vm"), recorded(json!(2), "fake1")];
    assert_eq!(get(&cloud, PATH, "2.1").await, json!({"hypervisors": old}));
    let new = [
        recorded(json!(id_of(&cloud, "vm").await), "vm"),
        recorded(json!(id_of(&cloud, "fake1").await), "fake1"),
    ];
    for version in ["2.53", "2.87", RECORDED] {
        assert_eq!(get(&cloud, PATH, version).await, json!({"hypervisors": new}), "{version}");
    }
}

/// Recorded: admin/os-hypervisors_detail_mv2.1, _mv2.87, and the sums of _statistics_mv2.53, _mv2.87.
#[tokio::test]
async fn numbers_are_shown_until_2_87() {
    let cloud = Cloud::without_quotas().await;
    let one = cloud.active_server().await;
    create(&cloud, json!({})).await;
    let view = |id: Value, service: Value, cpu: Value| {
        json!({
            "id": id, "hypervisor_hostname": "vm", "state": "up", "status": "enabled",
            "hypervisor_type": "QEMU", "hypervisor_version": 7_002_022, "host_ip": "127.0.0.1",
            "service": {"id": service, "host": "vm", "disabled_reason": null},
            "vcpus": 64, "memory_mb": 65536, "local_gb": 1000, "vcpus_used": 2,
            "memory_mb_used": 512, "local_gb_used": 2, "free_ram_mb": 65024, "free_disk_gb": 998,
            "current_workload": 1, "running_vms": 1, "disk_available_least": 900,
            "cpu_info": cpu,
        })
    };
    let cpu: Value = serde_json::from_str(CPU_INFO).unwrap();
    let old = view(json!(1), json!(1), json!(CPU_INFO));
    assert_eq!(get(&cloud, "os-hypervisors/detail", "2.27").await, json!({"hypervisors": [old]}));
    let ids = (json!(id_of(&cloud, "vm").await), service_of(&cloud, "vm", RECORDED).await);
    let new = view(ids.0, ids.1, cpu.clone());
    assert_eq!(get(&cloud, "os-hypervisors/detail", "2.87").await, json!({"hypervisors": [new]}));
    let object = get(&cloud, "os-hypervisors/1", "2.28").await;
    assert_eq!(object["hypervisor"]["cpu_info"], cpu);
    for version in ["2.1", "2.53", "2.87"] {
        let sums = json!({"hypervisor_statistics": {
            "count": 1, "vcpus": 64, "memory_mb": 65536, "local_gb": 1000, "vcpus_used": 2,
            "memory_mb_used": 512, "local_gb_used": 2, "free_ram_mb": 65024, "free_disk_gb": 998,
            "current_workload": 1, "running_vms": 1, "disk_available_least": 900,
        }});
        assert_eq!(get(&cloud, "os-hypervisors/statistics", version).await, sums);
    }
    assert_eq!(cloud.under_way(one).await, None);
}

/// Recorded: admin/os-hypervisors_detail_mv2.93, _show, _show_with_servers, _uptime_mv2.87.
#[tokio::test]
async fn one_is_shown_as_recorded() {
    let cloud = Cloud::without_quotas().await;
    let id = id_of(&cloud, "vm").await;
    let mut recorded = json!({
        "id": id, "hypervisor_hostname": "vm", "state": "up", "status": "enabled",
        "hypervisor_type": "QEMU", "hypervisor_version": 7_002_022, "host_ip": "127.0.0.1",
        "service": {
            "id": service_of(&cloud, "vm", RECORDED).await, "host": "vm", "disabled_reason": null,
        },
        "uptime": UPTIME,
    });
    let path = format!("{PATH}/{id}");
    assert_eq!(get(&cloud, &path, RECORDED).await, json!({"hypervisor": recorded}));
    let detail = get(&cloud, "os-hypervisors/detail", RECORDED).await;
    assert_eq!(detail, json!({"hypervisors": [recorded]}));

    let with = format!("{path}?with_servers=true");
    recorded["servers"] = json!([]);
    assert_eq!(get(&cloud, &with, "2.93").await, json!({"hypervisor": recorded}));
    assert_eq!(get(&cloud, &with, "2.74").await["hypervisor"].get("servers"), None);
    let server = cloud.active_server().await;
    let number = cloud.control.store.instance(server).await.unwrap().unwrap().number;
    recorded["servers"] = json!([{"name": format!("instance-{number:08x}"), "uuid": server}]);
    assert_eq!(get(&cloud, &with, RECORDED).await, json!({"hypervisor": recorded}));

    let uptime = get(&cloud, &format!("{path}/uptime"), "2.87").await;
    assert_eq!(
        uptime["hypervisor"],
        json!({
            "id": id, "hypervisor_hostname": "vm", "state": "up", "status": "enabled",
            "uptime": " 20:15:45 up 43 min,  0 user,  load average: 4.96, 3.05, 2.07\n",
        })
    );
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
