//! What has to be true: a little on the way, everything at rest.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use reprieve_core::conclude::SavedMemory;
use reprieve_core::ports::InstancePaths;
use reprieve_core::reboot::{RebootPolicy, Revival};
use reprieve_core::{
    HostName, InstanceId, OperationId, OperationKind, PowerReason, PowerState, VmState,
};
use reprieve_hypervisor::saved_memory::{SaveState, SaveStore};
use reprieve_outside::simulation::finish;
use reprieve_store::{InstanceRecord, OperationQuery, OperationRecord, OperationState};

use crate::hosts::Host;
use crate::machine::Machine;
use crate::world::World;

/// More operations than there are.
const MANY: u64 = 100_000;

/// What was seen at the last look, which decides what may be seen at the next.
#[derive(Default)]
pub struct Seen {
    /// Own disks: file and size.
    disks: BTreeMap<InstanceId, (u64, u64)>,
    /// The newest report that changed a server: epoch and sequence.
    reports: BTreeMap<InstanceId, (i64, i64)>,
    /// What was begun by itself after restarts.
    revivals: BTreeSet<OperationId>,
    /// Hosts to which no new servers may come, with those that were there.
    closed: BTreeMap<HostName, BTreeSet<InstanceId>>,
    /// Saved memory that was damaged: its file, and what was in it then.
    damaged: BTreeMap<InstanceId, (PathBuf, Vec<u8>)>,
}

impl Seen {
    /// Saved memory was damaged, and is this from now on.
    pub fn damaged(&mut self, id: InstanceId, file: PathBuf, content: Vec<u8>) {
        self.damaged.insert(id, (file, content));
    }

    /// Whether the saved memory of a server is damaged.
    pub fn is_damaged(&self, id: InstanceId) -> bool {
        self.damaged.contains_key(&id)
    }

    /// New servers may come to a host.
    pub fn open(&mut self, host: &HostName) {
        self.closed.remove(host);
    }

    /// No new servers may come to a host, on which these are.
    pub fn close(&mut self, host: HostName, here: BTreeSet<InstanceId>) {
        self.closed.insert(host, here);
    }
}

/// What may never be seen, whatever goes on.
pub fn on_the_way(world: &mut World, servers: &[Arc<InstanceRecord>]) -> Result<()> {
    // One that is pending may wait for the one that it supersedes.
    let begun = [OperationState::Dispatched, OperationState::Running, OperationState::Cancelling];
    let query = OperationQuery { states: begun.to_vec(), limit: MANY, ..OperationQuery::default() };
    let mut under_way: BTreeMap<InstanceId, u32> = BTreeMap::new();
    for operation in finish(world.store()?.operations(&query))? {
        *under_way.entry(operation.instance_id).or_default() += 1;
    }
    for (id, count) in under_way.into_iter().filter(|(_, count)| *count > 1) {
        let server = world.story.name("s", id.uuid());
        world
            .story
            .broken(format_args!("I1: {count} operations of {server} are under way at once"));
    }
    for server in servers {
        if server.active.is_some() != server.task_state.is_some() {
            broken(world, server, "I5: task_state and active operation do not agree");
        }
    }
    reports(world, servers);
    closed_hosts(world, servers);
    saved_memory(world, servers);
    disks(world, servers);
    Ok(())
}

/// What changed a server is newer each time.
fn reports(world: &mut World, servers: &[Arc<InstanceRecord>]) {
    for server in servers {
        let now = (server.obs_epoch, server.obs_seq);
        let before = world.seen.reports.insert(server.id, now).unwrap_or(now);
        if now < before {
            let what = format!("I4: report {now:?} was applied after {before:?}");
            broken(world, server, &what);
        }
    }
}

/// A host that takes no new servers gets none.
fn closed_hosts(world: &mut World, servers: &[Arc<InstanceRecord>]) {
    for server in servers {
        let came = server.host.as_ref().and_then(|host| world.seen.closed.get_mut(host));
        if came.is_some_and(|here| here.insert(server.id)) {
            broken(world, server, "it came to a host after that had been closed to new servers");
        }
    }
}

/// Saved memory is there as long as nobody has used it or given it up: whole, or as damaged as it is.
fn saved_memory(world: &mut World, servers: &[Arc<InstanceRecord>]) {
    let damaged = std::mem::take(&mut world.seen.damaged);
    for (id, (file, content)) in damaged {
        let server = servers.iter().find(|server| server.id == id);
        if world.judge.is_given_up(id) || server.is_none() {
            world.judge.forget_damage(id);
        } else if std::fs::read(&file).is_ok_and(|now| now == content) {
            world.seen.damaged.insert(id, (file, content));
        } else if let Some(server) = server {
            broken(world, server, "I8: its damaged memory was not kept as it was");
        }
    }
    for server in servers {
        let rests = server.vm_state == VmState::Suspended && server.active.is_none();
        if !rests || world.judge.is_aside(server.id) || world.seen.is_damaged(server.id) {
            continue;
        }
        let Some(machine) = machine_of(world, server.host.as_ref()) else { continue };
        let paths = InstancePaths::new(&machine.instances(), server.id);
        let saved = finish(SaveStore::new(paths).status());
        if !matches!(saved, Ok(SavedMemory::Valid)) {
            broken(world, server, &format!("I8: it is suspended, and its memory is {saved:?}"));
        }
    }
}

/// Own disks are never made anew, cut short or lost.
fn disks(world: &mut World, servers: &[Arc<InstanceRecord>]) {
    for server in servers.iter().filter(|server| server.launched_at.is_some()) {
        let deleting = server.active.is_some_and(|(_, kind)| kind == OperationKind::Delete);
        let Some(machine) = machine_of(world, server.host.as_ref()) else { continue };
        let file = InstancePaths::new(&machine.instances(), server.id).disk();
        let now = std::fs::metadata(&file).ok().map(|found| (found.ino(), found.len()));
        match (world.seen.disks.get(&server.id).copied(), now) {
            (_, None) if deleting => {}
            // Another one of this name has made it.
            (None, None) if world.judge.is_aside(server.id) => {}
            (_, None) => broken(world, server, "I9: its disk is gone"),
            (Some((file, size)), Some(now)) if now.0 != file || now.1 < size => {
                broken(world, server, "I9: its disk was replaced");
            }
            (_, Some(now)) => {
                world.seen.disks.insert(server.id, now);
            }
        }
    }
}

/// What is true when nothing happens any more.
pub fn at_rest(world: &mut World) -> Result<()> {
    let servers = world.servers()?;
    on_the_way(world, &servers)?;
    let query = OperationQuery { limit: MANY, ..OperationQuery::default() };
    let operations = finish(world.store()?.operations(&query))?;
    for operation in operations.iter().filter(|operation| !operation.state.is_terminal()) {
        stuck(world, operation);
    }
    for server in &servers {
        revivals(world, server, &operations);
        if let Some(task) = server.task_state {
            broken(
                world,
                server,
                &format!("I5: it is in task_state {task} although nothing is done"),
            );
            continue;
        }
        if world.judge.is_aside(server.id) {
            world.story.count("servers set aside");
            continue;
        }
        agrees(world, server);
    }
    leftovers(world, &servers);
    Ok(())
}

fn stuck(world: &World, operation: &OperationRecord) {
    let story = &world.story;
    let name = story.name("o", operation.id.uuid());
    let server = story.name("s", operation.instance_id.uuid());
    let (action, state, step) = (&operation.action, operation.state, operation.step_name);
    story.broken(format_args!(
        "I5: {name}, {action} of {server}, is stuck in {state:?} at {step:?}"
    ));
}

/// A guest is brought back after a restart of its host where that is wanted, and nowhere else.
fn revivals(world: &mut World, server: &InstanceRecord, operations: &[OperationRecord]) {
    if server.host_reboot.is_some() && !world.judge.is_aside(server.id) {
        broken(world, server, "nobody has decided what its host's restart means for it");
    }
    let mut hosts = world.hosts.iter();
    let host = hosts.find(|host| server.host.as_ref() == Some(&host.machine().name));
    let Some(host) = host else { return };
    let policy = host.after_reboot.for_server(&server.metadata);
    let (mut revived, restarts) = (0, host.restarts);
    let its = operations.iter().filter(|operation| operation.instance_id == server.id);
    let mut its: Vec<_> = its.collect();
    its.sort_by_key(|operation| operation.generation);
    let mut suspended_for_host = false;
    for operation in its {
        // Without a kind it was done when it was asked for, or tells that something was lost.
        let Some(kind) = operation.kind else { continue };
        if kind == OperationKind::Suspend {
            suspended_for_host = operation.args.for_host;
        }
        if world.replies.is_of_somebody(&operation.request_id) {
            continue;
        }
        let mut ways = [Revival::Start, Revival::Resume].into_iter();
        let wanted = match ways.find(|way| way.kind() == kind) {
            Some(Revival::Start) => policy != RebootPolicy::Leave,
            Some(Revival::Resume) => policy == RebootPolicy::Resume && suspended_for_host,
            None => false,
        };
        if !wanted {
            let what = format!("{} by itself, policy {policy}", operation.action);
            broken(world, server, &what);
        }
        revived += 1;
        if world.seen.revivals.insert(operation.id) {
            world.story.count("guests brought back after a restart");
        }
    }
    if revived > restarts {
        let what = format!("it was brought back {revived} times after {restarts} restarts");
        broken(world, server, &what);
    }
}

/// The server's state and its guest agree.
fn agrees(world: &World, server: &InstanceRecord) {
    let Some(machine) = machine_of(world, server.host.as_ref()) else {
        if server.vm_state != VmState::Error {
            broken(world, server, "I6: it has no host");
        }
        return;
    };
    let truth = machine.fake.truth(server.id);
    let (power, reason, rescue) = match &truth {
        Some(truth) => (truth.power, truth.reason, truth.rescue),
        None => (PowerState::NoState, PowerReason::Unknown, false),
    };
    let paths = InstancePaths::new(&machine.instances(), server.id);
    let saved = finish(SaveStore::new(paths.clone()).status()).unwrap_or(SavedMemory::Unusable);
    let stashed = paths.stashed_definition().exists();
    let agreed = match server.vm_state {
        VmState::Building | VmState::Deleted => false,
        VmState::Active => {
            power == PowerState::Running && !rescue && !stashed && saved != SavedMemory::Valid
        }
        VmState::Paused => power == PowerState::Paused && !rescue,
        // How damaged it is shows when it is read.
        VmState::Suspended => !power.has_process() && saved == SavedMemory::Valid,
        VmState::Stopped => !power.has_process() && saved != SavedMemory::Valid && !stashed,
        // A guest that ends while it is rescued stays in that state, as in Nova.
        // After a loss of power the definition may be an older one. Nothing boots from that, so only of
        // a guest that runs it is certain what it was booted from.
        VmState::Rescued => {
            stashed && (rescue || (machine.has_lost_power() && !power.has_process()))
        }
        VmState::Error => {
            if server.fault.is_none() {
                broken(world, server, "I6: it is in ERROR without a fault");
            }
            world.story.count("servers in ERROR");
            world.story.tell(format_args!(
                "{} is in ERROR: {:?}",
                world.story.name("s", server.id.uuid()),
                server.fault.as_ref().map(|fault| &fault.fault.details)
            ));
            true
        }
    };
    if !agreed {
        let what = format!(
            "I6: it is {} but its guest is {power:?} ({reason:?}, rescue {rescue}), saved {saved:?}, \
             stash {stashed}",
            server.vm_state
        );
        broken(world, server, &what);
    }
}

/// No guest and no directory without a server.
fn leftovers(world: &World, servers: &[Arc<InstanceRecord>]) {
    for host in &world.hosts {
        let machine = host.machine();
        let here = |id: InstanceId| {
            let at = |server: &&Arc<InstanceRecord>| server.id == id;
            let its = |server: &Arc<InstanceRecord>| server.host.as_ref() == Some(&machine.name);
            servers.iter().find(at).is_some_and(its) || world.judge.is_aside(id)
        };
        for id in machine.fake.known() {
            if !here(id) {
                let server = world.story.name("s", id.uuid());
                world
                    .story
                    .broken(format_args!("{} has a guest of no server: {server}", machine.name));
            }
        }
        let Ok(entries) = std::fs::read_dir(machine.instances()) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if !name.parse().is_ok_and(here) {
                world.story.broken(format_args!("{} has files of no server: {name}", machine.name));
            }
        }
    }
}

/// Servers that were asked to go on run, those whose memory was kept with that memory.
pub fn brought_back(
    world: &mut World,
    wished: &[(Arc<InstanceRecord>, OperationKind)],
) -> Result<()> {
    let servers = world.servers()?;
    for (before, kind) in wished {
        let Some(server) = servers.iter().find(|server| server.id == before.id) else {
            broken(world, before, "it is gone");
            continue;
        };
        if server.vm_state != VmState::Active {
            let fault = server.fault.as_ref().map(|fault| fault.fault.details.as_str());
            let what = format!("{kind} did not bring it back: {}, {fault:?}", server.vm_state);
            broken(world, server, &what);
        }
    }
    Ok(())
}

/// Whether a save of this server never came to its end.
pub fn is_half_saved(world: &World, server: &InstanceRecord) -> bool {
    let Some(machine) = machine_of(world, server.host.as_ref()) else { return false };
    let saves = SaveStore::new(InstancePaths::new(&machine.instances(), server.id));
    let manifest = finish(saves.manifest()).ok().flatten();
    manifest.is_some_and(|manifest| manifest.state == SaveState::Saving)
}

/// A resume of damaged memory is refused, whatever else is tried: the guest stays off.
pub fn refused(world: &mut World, damaged: &[Arc<InstanceRecord>]) -> Result<()> {
    let servers = world.servers()?;
    for server in servers.iter().filter(|one| damaged.iter().any(|other| other.id == one.id)) {
        if !matches!(server.vm_state, VmState::Suspended | VmState::Error) {
            let what = format!("I8: it was resumed from damaged memory and is {}", server.vm_state);
            broken(world, server, &what);
        }
    }
    Ok(())
}

fn machine_of(world: &World, host: Option<&HostName>) -> Option<Machine> {
    let machines = world.hosts.iter().map(Host::machine);
    let mut here = machines.filter(|machine| Some(&machine.name) == host);
    here.next().cloned()
}

fn broken(world: &World, server: &InstanceRecord, what: &str) {
    world.story.broken(format_args!("{}: {what}", world.story.name("s", server.id.uuid())));
}
