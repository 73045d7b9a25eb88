//! Many servers, put into a database without anybody creating them: ACTIVE on hosts that need not be
//! there.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use reprieve_core::conclude::{Observation, SavedMemory};
use reprieve_core::message::{OperationResult, Report, ReportBody};
use reprieve_core::quota::{Resource, UNLIMITED};
use reprieve_core::spec::{DiskFormat, ImageSpec};
use reprieve_core::{
    Clock as _, HostName, ImageId, InstanceId, PowerReason, PowerState, ProjectId, RequestId,
    SystemClock, UserId,
};
use reprieve_store::{
    DiskConfig, FlavorSnapshot, InstanceRecord, NewAction, NewInstance, Placement, Store,
};
use serde_json::Value;

use crate::cloud::{Answer, Cloud, Credentials};

/// Project and user of the administrator.
///
/// # Errors
/// When the login is refused.
pub fn owner(cloud: &Cloud, credentials: &Credentials) -> Result<(ProjectId, UserId)> {
    let answer: Answer = cloud.issue_token(credentials)?.expect(201)?;
    let id = |what: &str| {
        let id = answer.body.pointer(&format!("/token/{what}/id")).and_then(Value::as_str);
        id.map(str::to_owned).with_context(|| format!("no {what} in a token"))
    };
    Ok((id("project")?.into(), id("user")?.into()))
}

/// Who owns them.
#[derive(Debug, Clone)]
pub struct Crowd {
    by: NewAction,
    made: usize,
}

impl Crowd {
    /// Of a user, in a project whose quotas are lifted.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn new(store: &Store, project: ProjectId, user: UserId) -> Result<Self> {
        let servers = [Resource::Instances, Resource::Cores, Resource::Ram];
        let limits = servers.map(|resource| (resource, UNLIMITED)).into();
        store.set_quota_limits(&project, None, &limits).await?;
        let by = NewAction { request_id: RequestId::random(), user_id: user, project_id: project };
        Ok(Self { by, made: 0 })
    }

    /// Puts `count` servers on a host, which is registered for that.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn fill(
        &mut self,
        store: &Store,
        host: &HostName,
        count: usize,
    ) -> Result<Vec<InstanceRecord>> {
        let epoch = store.register_host(host, "crowd").await?.epoch;
        let numbers = self.made..self.made + count;
        self.made += count;
        let new = numbers.map(|number| server(number, host, &self.by)).collect();
        let made = store.create_instances(new, &self.by).await?;
        let reports: Vec<Report> =
            (1..).zip(&made).filter_map(|(n, server)| built(host, (epoch, n), server)).collect();
        store.apply(&reports).await?;
        Ok(made)
    }
}

fn built(
    host: &HostName,
    (epoch, sequence): (i64, i64),
    server: &InstanceRecord,
) -> Option<Report> {
    let (operation_id, _) = server.active?;
    let seen = Observation {
        power: PowerState::Running,
        reason: PowerReason::Booted,
        rescue_stashed: false,
        saved: SavedMemory::None,
    };
    let result = OperationResult::Succeeded;
    let body = ReportBody::Finished {
        operation_id,
        instance_id: server.id,
        result,
        seen,
        done: Vec::new(),
    };
    Some(Report { host: host.clone(), epoch, sequence, at: SystemClock.now(), body })
}

fn server(number: usize, host: &HostName, by: &NewAction) -> NewInstance {
    let name = format!("server-{number:04}");
    NewInstance {
        id: InstanceId::random(),
        project_id: by.project_id.clone(),
        user_id: by.user_id.clone(),
        description: None,
        hostname: name.clone(),
        name,
        image: Some(ImageSpec {
            id: ImageId::random(),
            name: "tiny".to_owned(),
            format: DiskFormat::Qcow2,
            size_bytes: 15 << 20,
            sha512: "0".repeat(128),
            properties: BTreeMap::new(),
        }),
        flavor: FlavorSnapshot {
            flavor_id: "1".to_owned(),
            name: "m1.tiny".to_owned(),
            vcpus: 1,
            memory_mib: 512,
            root_gib: 1,
            ephemeral_gib: 0,
            swap_mib: 0,
            extra_specs: BTreeMap::new(),
        },
        metadata: BTreeMap::from([("role".to_owned(), "db".to_owned())]),
        tags: Vec::new(),
        key_name: None,
        public_keys: BTreeMap::new(),
        user_data: None,
        admin_password: None,
        config_drive: true,
        availability_zone: "nova".to_owned(),
        requested_zone: None,
        scheduled_on: host.clone(),
        placement: Placement::Host(host.clone()),
        reservation_id: "r-00000000".to_owned(),
        launch_index: 0,
        disk_config: DiskConfig::Manual,
        access_ip_v4: None,
        access_ip_v6: None,
        group: None,
        scheduler_hints: BTreeMap::new(),
        injected_files: Vec::new(),
    }
}
