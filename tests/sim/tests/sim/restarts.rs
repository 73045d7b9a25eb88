//! A host whose machine is restarted when nothing else goes wrong: what each of its servers is then, and
//! that what was suspended for the restart goes on where it was.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use reprieve_core::reboot::RebootPolicy;
use reprieve_core::{InstanceId, OperationKind, PowerState, VmState};
use reprieve_store::InstanceRecord;

use crate::hosts::Host;
use crate::judge::Memory;
use crate::machine::{Machine, Restart};
use crate::run::{SCANS, carried_out};
use crate::users::Wish;
use crate::world::World;

/// How long a machine takes to restart.
const TAKES: Duration = Duration::from_secs(20);

/// Longer than a suspend takes when nothing goes wrong, and no longer than what libvirt writes may take
/// to its disk.
const SUSPENDED: Duration = Duration::from_secs(10);

/// A server, and what was done with it before.
struct Case {
    id: InstanceId,
    policy: RebootPolicy,
    /// What its user did with it; otherwise it runs when its host is about to be restarted.
    by_user: Option<OperationKind>,
}

/// Lets the host with the most servers be restarted on purpose.
pub fn settle(world: &mut World) -> Result<()> {
    let Some((index, cases)) = busiest(world)? else { return Ok(()) };
    let Some(host) = world.hosts.get(index) else { return Ok(()) };
    let (name, machine) = (host.machine().name.clone(), host.machine().clone());
    for case in &cases {
        match case.by_user {
            Some(OperationKind::Rescue) => world.ask(Wish::Rescue(case.id, true)),
            Some(kind) => world.ask(Wish::Run(case.id, kind)),
            None => true,
        };
    }
    carried_out(world)?;
    world.ask(Wish::SuspendHost(name.clone()));
    world.run_for(SUSPENDED)?;
    must(world, &cases, "before its host's restart", |case, server| {
        server.vm_state == before(case.by_user)
    })?;
    world.restart_machine(index, Restart::PowerLoss, TAKES);
    world.run_for(SCANS)?;
    carried_out(world)?;
    let judge = world.judge.clone();
    let saved = |id: InstanceId| judge.saved(id);
    must(world, &cases, "after its host's restart", |case, server| {
        is_as_decided(case, server, (&machine, saved(case.id)))
    })?;
    world.ask(Wish::ResumeHost(name));
    carried_out(world)?;
    must(world, &cases, "after what was suspended for its host was resumed", |case, server| {
        case.by_user.is_some() || goes_on(server, &machine, saved(case.id))
    })?;
    // And once more, when nobody knows of it before.
    world.restart_machine(index, Restart::PowerLoss, TAKES);
    world.run_for(SCANS)?;
    carried_out(world)?;
    must(world, &cases, "after its host lost its power", |case, server| match case.by_user {
        Some(_) => true,
        None if case.policy == RebootPolicy::Leave => server.vm_state == VmState::Stopped,
        None => runs(server, &machine),
    })
}

/// The host with the most servers that run, and these.
fn busiest(world: &mut World) -> Result<Option<(usize, Vec<Case>)>> {
    let servers = world.servers()?;
    let on = |host: &Host| -> Vec<Case> {
        let runs = |server: &&Arc<InstanceRecord>| {
            server.vm_state == VmState::Active && !world.judge.is_aside(server.id)
        };
        let here =
            |server: &&Arc<InstanceRecord>| server.host.as_ref() == Some(&host.machine().name);
        let here = servers.iter().filter(runs).filter(here);
        // Two are left to be suspended for the host, if there are so many.
        let done = [None, Some(OperationKind::Suspend), None, Some(OperationKind::Pause)];
        let done = done.into_iter().chain([Some(OperationKind::Rescue)]);
        let done = done.chain(std::iter::repeat(None));
        let case = |(server, by_user): (&Arc<InstanceRecord>, _)| {
            let policy = host.after_reboot.for_server(&server.metadata);
            Case { id: server.id, policy, by_user }
        };
        here.zip(done).map(case).collect()
    };
    let all = world.hosts.iter().map(on).enumerate();
    Ok(all.max_by_key(|(_, cases)| cases.len()).filter(|(_, cases)| !cases.is_empty()))
}

const fn before(by_user: Option<OperationKind>) -> VmState {
    match by_user {
        Some(OperationKind::Pause) => VmState::Paused,
        Some(OperationKind::Rescue) => VmState::Rescued,
        Some(_) | None => VmState::Suspended,
    }
}

/// The table of `core::reboot`.
fn is_as_decided(
    case: &Case,
    server: &InstanceRecord,
    (machine, saved): (&Machine, Option<Memory>),
) -> bool {
    let runs = is_running(server, machine);
    match (case.by_user, case.policy) {
        (Some(OperationKind::Pause), _) => server.vm_state == VmState::Stopped,
        (Some(OperationKind::Rescue), policy) => {
            server.vm_state == VmState::Rescued && runs == (policy != RebootPolicy::Leave)
        }
        (Some(_), _) | (None, RebootPolicy::Leave | RebootPolicy::Start) => {
            server.vm_state == VmState::Suspended && !runs
        }
        (None, RebootPolicy::Resume) => goes_on(server, machine, saved),
    }
}

fn is_running(server: &InstanceRecord, machine: &Machine) -> bool {
    machine.fake.truth(server.id).is_some_and(|one| one.power == PowerState::Running)
}

/// It runs, and its server says so.
fn runs(server: &InstanceRecord, machine: &Machine) -> bool {
    server.vm_state == VmState::Active && is_running(server, machine)
}

/// It runs with the memory that was saved.
fn goes_on(server: &InstanceRecord, machine: &Machine, saved: Option<Memory>) -> bool {
    let now = machine.fake.memory(server.id);
    let same = |(now, saved): (Memory, Memory)| now.0 == saved.0 && now.1 > saved.1;
    server.vm_state == VmState::Active && now.zip(saved).is_some_and(same)
}

fn must(
    world: &mut World,
    cases: &[Case],
    when: &str,
    rule: impl Fn(&Case, &InstanceRecord) -> bool,
) -> Result<()> {
    let servers = world.servers()?;
    for case in cases {
        let name = world.story.name("s", case.id.uuid());
        let server = servers.iter().find(|server| server.id == case.id);
        if !server.is_some_and(|server| rule(case, server)) {
            let (was, policy) = (case.by_user, case.policy);
            let state = server.map(|server| server.vm_state);
            world.story.broken(format_args!(
                "{name}, {was:?} by its user, policy {policy}, is {state:?} {when}"
            ));
        }
    }
    Ok(())
}
