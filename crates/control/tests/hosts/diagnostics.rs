//! `/servers/{id}/diagnostics`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use reprieve_core::PowerState;
use reprieve_core::message::{HostRequest, HostResponse};
use reprieve_core::ports::RequestHandler;
use reprieve_core::stats::{CpuStats, DiskStats, GuestStats};
use serde_json::{Value, json};

use crate::support::Cloud;
use crate::{RECORDED, admin, create, get, refused};

/// A host that always says what it was last told to.
struct Saying(Mutex<HostResponse>);

impl Saying {
    fn now(answer: HostResponse) -> Arc<Self> {
        Arc::new(Self(Mutex::new(answer)))
    }

    fn says_from_now_on(&self, answer: HostResponse) {
        *self.0.lock().unwrap() = answer;
    }
}

#[async_trait]
impl RequestHandler for Saying {
    async fn answer(&self, request: HostRequest) -> HostResponse {
        assert!(matches!(request, HostRequest::Diagnostics { .. }), "{request:?}");
        self.0.lock().unwrap().clone()
    }
}

/// What a host counted.
fn stats() -> GuestStats {
    let disk = |device: &str, read_bytes, read_requests| DiskStats {
        device: device.into(),
        read_bytes,
        read_requests,
        ..DiskStats::default()
    };
    GuestStats {
        hypervisor: "qemu".into(),
        memory_max_kib: 256 * 1024,
        memory_kib: 256 * 1024,
        memory: BTreeMap::from([("actual".into(), 262_144), ("rss".into(), 180_000)]),
        cpus: vec![CpuStats { id: 0, time_ns: 4_860_000_000 }],
        disks: vec![disk("vda", 15_840_256, 965), disk("hda", 2048, 1)],
    }
}

#[tokio::test]
async fn have_the_names_of_the_hypervisor_until_2_47() {
    let cloud = Cloud::without_quotas().await;
    let id = cloud.active_server().await;
    let path = format!("servers/{id}/diagnostics");
    let answer = Saying::now(HostResponse::Diagnostics { stats: stats() });
    let _serving = cloud.control.bus.serve(&"vm".into(), answer).await.unwrap();
    assert_eq!(
        get(&cloud, &path, "2.47").await,
        json!({
            "cpu0_time": 4_860_000_000_u64,
            "vda_read_req": 965, "vda_read": 15_840_256, "vda_write_req": 0, "vda_write": 0,
            "vda_errors": -1,
            "hda_read_req": 1, "hda_read": 2048, "hda_write_req": 0, "hda_write": 0,
            "hda_errors": -1,
            "memory": 262_144, "memory-actual": 262_144, "memory-rss": 180_000,
        })
    );
}

#[tokio::test]
async fn of_others_are_refused() {
    let cloud = Cloud::without_quotas().await;
    let id = cloud.active_server().await;
    let path = format!("servers/{id}/diagnostics");
    // A broker gives the questions for a host to one server of them at a time, so it stays the same.
    let host = Saying::now(HostResponse::NotRunning { power: PowerState::NoState });
    let _serving = cloud.control.bus.serve(&"vm".into(), host.clone()).await.unwrap();
    let text = format!("Cannot 'get_diagnostics' instance {id} while it is in power state pending");
    refused(&cloud, "GET", &path, (RECORDED, Value::Null, 409, &text)).await;
    let failed = HostResponse::Failed { message: "libvirt is away".into() };
    for answer in [failed, HostResponse::NoConsole] {
        host.says_from_now_on(answer);
        let text = "Compute service of vm is unavailable at this time.";
        refused(&cloud, "GET", &path, (RECORDED, Value::Null, 409, text)).await;
    }
    let nowhere = create(&cloud, json!({"flavorRef": "99"})).await;
    let text = format!("Instance {nowhere} is not ready");
    let path = format!("servers/{nowhere}/diagnostics");
    refused(&cloud, "GET", &path, (RECORDED, Value::Null, 409, &text)).await;
    let missing = "servers/11111111-1111-1111-1111-111111111111/diagnostics";
    assert_eq!(admin(&cloud, "GET", missing, (RECORDED, Value::Null)).await.status, 404);
}
