//! What becomes of saved memory without anybody's doing: a bit of it flips while it rests, the end of its
//! file is lost, or it was never written to its end.

use anyhow::Result;
use reprieve_core::VmState;
use reprieve_core::ports::InstancePaths;
use reprieve_hypervisor::fake::SaveDefect;
use reprieve_hypervisor::saved_memory::{SaveState, SaveStore};
use reprieve_outside::simulation::finish;
use reprieve_store::InstanceRecord;

use crate::chance::Chance;
use crate::hosts::Host;
use crate::world::World;

/// Damages the saved memory of a server that is suspended and left alone.
pub fn at_rest(world: &mut World, chance: &mut Chance) -> Result<()> {
    let servers = world.servers()?;
    let resting = servers.iter().filter(|server| is_at_rest(world, server));
    let resting: Vec<_> = resting.collect();
    let Some(server) = chance.pick(&resting).copied() else { return Ok(()) };
    let mut machines = world.hosts.iter().map(Host::machine);
    let machine = machines.find(|machine| server.host.as_ref() == Some(&machine.name));
    let Some(machine) = machine else { return Ok(()) };
    let saves = SaveStore::new(InstancePaths::new(&machine.instances(), server.id));
    let Some(manifest) = finish(saves.manifest())? else { return Ok(()) };
    if manifest.state != SaveState::Saved {
        return Ok(());
    }
    let file = saves.data_file(manifest.saved_by);
    let mut content = std::fs::read(&file)?;
    let shortened = chance.permille(300);
    if shortened {
        content.truncate(content.len() / 2);
    } else if let Some(digit) = content.iter_mut().rev().find(|byte| byte.is_ascii_digit()) {
        *digit ^= 1;
    }
    std::fs::write(&file, &content)?;
    let name = world.story.name("s", server.id.uuid());
    let what = if shortened { "is cut short" } else { "has a wrong bit" };
    world.story.tell(format_args!("the saved memory of {name} {what}"));
    world.story.count("saved memory damaged");
    world.judge.damaged(server.id);
    world.seen.damaged(server.id, file, content);
    Ok(())
}

fn is_at_rest(world: &World, server: &InstanceRecord) -> bool {
    server.vm_state == VmState::Suspended
        && server.active.is_none()
        && !world.seen.is_damaged(server.id)
        && !world.judge.is_aside(server.id)
}

/// The next save on a host ends with a file that is not complete, and without a guest.
pub fn next_save(world: &World, host: usize) {
    let Some(host) = world.hosts.get(host) else { return };
    world.story.tell(format_args!("{}: the next save breaks", host.machine().name));
    world.story.count("saves that break");
    host.machine().fake.break_next_save(SaveDefect::Incomplete);
}
