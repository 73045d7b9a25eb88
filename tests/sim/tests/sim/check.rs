//! What has to be true: a little on the way, everything at rest.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;

use anyhow::Result;
use reprieve_core::conclude::SavedMemory;
use reprieve_core::ports::InstancePaths;
use reprieve_core::{HostName, InstanceId, OperationKind, PowerReason, PowerState, VmState};
use reprieve_hypervisor::saved_memory::SaveStore;
use reprieve_outside::simulation::finish;
use reprieve_store::{InstanceRecord, OperationQuery, OperationRecord, OperationState};

use crate::machine::Machine;
use crate::world::World;

/// More operations than there are.
const MANY: u64 = 100_000;

/// Own disks as they were seen last: file and size.
pub type Disks = BTreeMap<InstanceId, (u64, u64)>;

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
    disks(world, servers);
    Ok(())
}

/// Own disks are never made anew, cut short or lost.
fn disks(world: &mut World, servers: &[Arc<InstanceRecord>]) {
    for server in servers.iter().filter(|server| server.launched_at.is_some()) {
        let deleting = server.active.is_some_and(|(_, kind)| kind == OperationKind::Delete);
        let Some(machine) = machine_of(world, server.host.as_ref()) else { continue };
        let file = InstancePaths::new(&machine.instances(), server.id).disk();
        let now = std::fs::metadata(&file).ok().map(|found| (found.ino(), found.len()));
        match (world.disks.get(&server.id).copied(), now) {
            (_, None) if deleting => {}
            (_, None) => broken(world, server, "I9: its disk is gone"),
            (Some((file, size)), Some(now)) if now.0 != file || now.1 < size => {
                broken(world, server, "I9: its disk was replaced");
            }
            (_, Some(now)) => {
                world.disks.insert(server.id, now);
            }
        }
    }
}

/// What is true when nothing happens any more.
pub fn at_rest(world: &mut World) -> Result<()> {
    let servers = world.servers()?;
    on_the_way(world, &servers)?;
    let query = OperationQuery { limit: MANY, ..OperationQuery::default() };
    for operation in finish(world.store()?.operations(&query))? {
        if !operation.state.is_terminal() {
            stuck(world, &operation);
        }
    }
    for server in &servers {
        if let Some(task) = server.task_state {
            broken(
                world,
                server,
                &format!("I5: it is in task_state {task} although nothing is done"),
            );
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

/// The server's state and its guest agree.
fn agrees(world: &World, server: &InstanceRecord) {
    let Some(machine) = machine_of(world, server.host.as_ref()) else {
        if server.vm_state != VmState::Error {
            broken(world, server, "it has no host");
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
        VmState::Active => power == PowerState::Running && !rescue && saved != SavedMemory::Valid,
        VmState::Paused => power == PowerState::Paused && !rescue,
        VmState::Suspended => !power.has_process() && saved == SavedMemory::Valid,
        VmState::Stopped => !power.has_process() && saved != SavedMemory::Valid && !stashed,
        // A guest that ends while it is rescued stays in that state, as in Nova.
        VmState::Rescued => rescue && stashed,
        VmState::Error => {
            if server.fault.is_none() {
                broken(world, server, "it is in ERROR without a fault");
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
            "it is {} but its guest is {power:?} ({reason:?}, rescue {rescue}), saved {saved:?}, \
             stash {stashed}",
            server.vm_state
        );
        broken(world, server, &what);
    }
}

/// No guest and no directory without a server.
fn leftovers(world: &World, servers: &[Arc<InstanceRecord>]) {
    for host in &world.hosts {
        let machine = &host.machine;
        let here = |id: InstanceId| {
            let at = |server: &&Arc<InstanceRecord>| server.id == id;
            servers
                .iter()
                .find(at)
                .is_some_and(|server| server.host.as_ref() == Some(&machine.name))
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

fn machine_of(world: &World, host: Option<&HostName>) -> Option<Machine> {
    let machines = world.hosts.iter().map(|host| &host.machine);
    let mut here = machines.filter(|machine| Some(&machine.name) == host);
    here.next().cloned()
}

fn broken(world: &World, server: &InstanceRecord, what: &str) {
    world.story.broken(format_args!("{}: {what}", world.story.name("s", server.id.uuid())));
}
