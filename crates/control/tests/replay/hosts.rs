//! The two hosts of the recorded cloud: what they offered, and what they told of their guests.

use std::collections::BTreeMap;
use std::sync::Mutex;

use async_trait::async_trait;
use reprieve_core::PowerState;
use reprieve_core::message::{HostInfo, HostRequest, HostResponse};
use reprieve_core::ports::RequestHandler;
use reprieve_core::stats::{CpuStats, DiskStats, GuestStats};
use serde_json::Value;

use crate::recording::Recording;

/// What each host offered, in the order in which they came. Numbers were shown until 2.87, what
/// uptime(1) said only since.
pub fn offered(recordings: &BTreeMap<String, Recording>) -> Vec<(String, HostInfo)> {
    let shown = |version: &str| {
        let name = format!("admin/os-hypervisors_detail_mv{version}");
        recordings[&name].answer["hypervisors"].as_array().unwrap()
    };
    let both = shown("2.1").iter().zip(shown("2.93"));
    both.map(|(numbers, newest)| (text(&numbers["service"]["host"]), info(numbers, newest)))
        .collect()
}

fn info(numbers: &Value, newest: &Value) -> HostInfo {
    let number = |name: &str| numbers[name].as_u64().unwrap();
    HostInfo {
        hypervisor_hostname: text(&numbers["hypervisor_hostname"]),
        hypervisor_type: text(&numbers["hypervisor_type"]),
        hypervisor_version: number("hypervisor_version"),
        vcpus: number("vcpus").try_into().unwrap(),
        memory_mib: number("memory_mb"),
        disk_gib: number("local_gb"),
        disk_free_gib: number("disk_available_least"),
        kvm: false,
        cpu_info: text(&numbers["cpu_info"]),
        host_ip: text(&numbers["host_ip"]),
        uptime: newest["uptime"].as_str().unwrap_or_default().to_owned(),
        agent_version: String::new(),
        unknown_guests: Vec::new(),
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// The host `vm`, asked about its guests.
pub struct Guests {
    console: Mutex<String>,
    diagnostics: Mutex<HostResponse>,
}

impl Guests {
    pub fn new() -> Self {
        let nothing = HostResponse::NotRunning { power: PowerState::NoState };
        Self { console: Mutex::default(), diagnostics: Mutex::new(nothing) }
    }

    /// From now on guests have written to their consoles what this recording shows.
    pub fn write(&self, recording: &Recording) {
        *self.console.lock().unwrap() = text(&recording.answer["output"]);
    }

    /// From now on guests do what this recording shows.
    pub fn act(&self, recording: &Recording) {
        *self.diagnostics.lock().unwrap() = diagnostics(&recording.answer);
    }
}

#[async_trait]
impl RequestHandler for Guests {
    async fn answer(&self, question: HostRequest) -> HostResponse {
        match question {
            HostRequest::ConsoleLog { .. } => {
                HostResponse::ConsoleLog { text: self.console.lock().unwrap().clone() }
            }
            HostRequest::Diagnostics { .. } => self.diagnostics.lock().unwrap().clone(),
            HostRequest::CacheImages { .. } => HostResponse::Noted,
            // The recorded cloud had serial consoles and displays switched off.
            HostRequest::Console { .. } => HostResponse::NoConsole,
        }
    }
}

/// What a host says so that this is answered. The memory is that of the flavor: Nova showed none.
fn diagnostics(answer: &Value) -> HostResponse {
    if let Some(refusal) = answer["conflictingRequest"]["message"].as_str() {
        let power = match refusal.rsplit(' ').next() {
            Some("paused") => PowerState::Paused,
            Some("shutdown") => PowerState::Shutdown,
            _ => panic!("which power state is it? {refusal}"),
        };
        return HostResponse::NotRunning { power };
    }
    let list = |name: &str| answer[name].as_array().unwrap().iter();
    let number = |value: &Value| value.as_u64().unwrap();
    let disk = |disk: &Value| DiskStats {
        read_bytes: number(&disk["read_bytes"]),
        read_requests: number(&disk["read_requests"]),
        write_bytes: number(&disk["write_bytes"]),
        write_requests: number(&disk["write_requests"]),
        ..DiskStats::default()
    };
    let cpu = |cpu: &Value| CpuStats {
        id: number(&cpu["id"]).try_into().unwrap(),
        time_ns: number(&cpu["time"]),
    };
    HostResponse::Diagnostics {
        stats: GuestStats {
            hypervisor: text(&answer["hypervisor"]),
            memory_max_kib: 256 * 1024,
            memory_kib: 256 * 1024,
            memory: BTreeMap::new(),
            cpus: list("cpu_details").map(cpu).collect(),
            disks: list("disk_details").map(disk).collect(),
        },
    }
}
