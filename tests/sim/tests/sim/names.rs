//! Two agents with one name, when nothing else goes wrong: who stops, who stays, and that no guest
//! notices.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result};
use reprieve_core::{InstanceId, PowerState};
use reprieve_outside::simulation::finish;

use crate::hosts::{Host, Likeness, Slot};
use crate::world::World;

/// Long enough for the newer one to register and for the older one to end what it does.
const SETTLED: Duration = Duration::from_secs(40);

/// Lets the first host have one twin after the other.
pub fn settle(world: &mut World) -> Result<()> {
    shut_out(world)?;
    takes_over(world)
}

fn first(world: &World) -> Result<&Host> {
    world.hosts.first().context("there is no host")
}

/// Guests whose CPUs run, and the epoch of the host that the control plane knows.
fn now(world: &mut World) -> Result<(BTreeSet<InstanceId>, i64)> {
    let store = world.store()?;
    let machine = first(world)?.machine();
    let runs = |id: &InstanceId| {
        machine.fake.truth(*id).is_some_and(|truth| truth.power == PowerState::Running)
    };
    let running = machine.fake.known().into_iter().filter(runs).collect();
    let host = finish(store.host(&machine.name))?.context("the host is unknown")?;
    Ok((running, host.epoch))
}

fn must(world: &World, rule: bool, what: &str) {
    if !rule {
        world.story.broken(format_args!("two agents of one name: {what}"));
    }
}

/// On the same files the newer one cannot start while the older one lives.
fn shut_out(world: &mut World) -> Result<()> {
    let (running, epoch) = now(world)?;
    let superseded = first(world)?.post.superseded;
    world.add_twin(0, Likeness::SameFiles)?;
    world.run_for(SETTLED)?;
    let twin = first(world)?.twin.as_ref().map_or(0, |(_, post)| post.shut_out);
    must(world, twin > 0, "the second one on the same files was not shut out");
    let host = first(world)?;
    let stays = matches!(host.post.slot, Slot::Up(_)) && host.post.superseded == superseded;
    must(world, stays, "the first one did not stay");
    world.remove_twin(0)?;
    let after = now(world)?;
    must(world, after == (running, epoch), "a guest or the control plane noticed it");
    Ok(())
}

/// On another machine the newer one takes the name, and the older one stops and leaves its guests
/// alone; when an operator has put it right, they are what they were.
fn takes_over(world: &mut World) -> Result<()> {
    let (running, epoch) = now(world)?;
    let superseded = first(world)?.post.superseded;
    world.add_twin(0, Likeness::OwnMachine)?;
    world.run_for(SETTLED)?;
    let host = first(world)?;
    let made_way = host.post.waits() && host.post.superseded > superseded;
    must(world, made_way, "the older one did not stop and say why");
    let twin = host.twin.as_ref().map(|(_, post)| &post.slot);
    must(world, matches!(twin, Some(Slot::Up(_))), "the newer one did not stay");
    let taken = now(world)?;
    must(world, taken.0 == running, "a guest ended with the older one");
    must(world, taken.1 > epoch, "the newer one was not registered");
    world.remove_twin(0)?;
    world.run_for(SETTLED)?;
    let host = first(world)?;
    must(world, matches!(host.post.slot, Slot::Up(_)), "the first one did not come back");
    let back = now(world)?;
    must(world, back.0 == running, "a guest ended while its agent was away");
    must(world, back.1 > taken.1, "the first one was not registered again");
    Ok(())
}
