//! `GET /servers/{id}/diagnostics` (spec/states.md section 4.20): as libvirt counts it before 2.48,
//! in a form of its own since.

use axum::extract::Path;
use axum::http::StatusCode;
use reprieve_core::stats::{CpuStats, DiskStats, GuestStats};
use reprieve_store::InstanceRecord;
use serde_json::{Map, Value, json};

use super::super::call::ApiCall;
use super::super::fault::{Answer, json_answer};
use super::super::policy;
use super::super::versioned::answers;
use crate::app::servers;

const KIB_PER_MIB: u64 = 1024;

/// `GET /servers/{id}/diagnostics`.
pub async fn show(call: ApiCall, Path(id): Path<String>) -> Answer {
    let server = call.server(&id, policy::DIAGNOSTICS).await?;
    let stats = servers::diagnostics(&call.app(), server.id).await?;
    let newest = form(&server, &stats, seconds_up(&call, &server));
    Ok(json_answer(StatusCode::OK, &call.as_asked(&answers::DIAGNOSTICS, &stats, newest)))
}

/// Since the guest was last started by an operation, as Nova counts it.
fn seconds_up(call: &ApiCall, server: &InstanceRecord) -> i64 {
    let now = call.control.clock.now().micros();
    let since = server.launched_at.map_or(now, |launched| launched.micros());
    now.saturating_sub(since).max(0) / 1_000_000
}

/// The newest form. Guests have no network interfaces; what the hypervisor does not count is null or -1.
fn form(server: &InstanceRecord, stats: &GuestStats, uptime: i64) -> Value {
    let disk = |disk: &DiskStats| {
        json!({
            "read_bytes": disk.read_bytes,
            "read_requests": disk.read_requests,
            "write_bytes": disk.write_bytes,
            "write_requests": disk.write_requests,
            "errors_count": -1,
        })
    };
    let cpu = |cpu: &CpuStats| json!({"id": cpu.id, "time": cpu.time_ns, "utilisation": null});
    json!({
        "state": "running",
        "driver": "libvirt",
        "hypervisor": stats.hypervisor,
        "hypervisor_os": "linux",
        "uptime": uptime,
        "config_drive": server.config_drive,
        "num_cpus": stats.cpus.len(),
        "num_nics": 0,
        "num_disks": stats.disks.len(),
        "disk_details": stats.disks.iter().map(disk).collect::<Vec<_>>(),
        "cpu_details": stats.cpus.iter().map(cpu).collect::<Vec<_>>(),
        "nic_details": [],
        "memory_details": {
            "maximum": stats.memory_max_kib / KIB_PER_MIB,
            "used": stats.memory_kib / KIB_PER_MIB,
        },
    })
}

/// The form of old versions: `cpu0_time`, `vda_read`, `memory`, `memory-rss`, ….
pub fn free(stats: &GuestStats) -> Value {
    let mut shown = Map::new();
    let mut insert = |name: String, value: Value| shown.insert(name, value);
    for cpu in &stats.cpus {
        insert(format!("cpu{}_time", cpu.id), json!(cpu.time_ns));
    }
    for disk in &stats.disks {
        let device = &disk.device;
        insert(format!("{device}_read_req"), json!(disk.read_requests));
        insert(format!("{device}_read"), json!(disk.read_bytes));
        insert(format!("{device}_write_req"), json!(disk.write_requests));
        insert(format!("{device}_write"), json!(disk.write_bytes));
        insert(format!("{device}_errors"), json!(-1));
    }
    insert("memory".to_owned(), json!(stats.memory_max_kib));
    for (name, value) in &stats.memory {
        insert(format!("memory-{name}"), json!(value));
    }
    Value::Object(shown)
}
