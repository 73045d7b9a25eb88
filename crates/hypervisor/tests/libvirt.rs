//! The hypervisor port on a real libvirtd with real QEMU guests, whose firmware finds nothing to
//! boot: enough to start, pause, save, restore and stop, and up in a second.
//!
//! `make test` makes sure that a libvirtd answers. Where none does, these tests fail and say so.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::io::Write as _;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use reprieve_core::console::DomainConsole;
use reprieve_core::ports::{Hypervisor as _, HypervisorError, HypervisorEvent};
use reprieve_core::{InstanceId, OperationId, PowerReason, PowerState};
use reprieve_hypervisor::libvirt::sys::Connection;
use reprieve_hypervisor::libvirt::{Libvirt, kvm};
use reprieve_hypervisor::xml::{DomainType, read_domain};
use support::{Guest, config, connected, disconnected, next_change, relay::Relay, state, virsh};

#[tokio::test]
async fn a_guest_lives_from_definition_to_removal() {
    let guest = Guest::defined().await;
    let (hypervisor, id) = (&guest.hypervisor, guest.id);
    let defined = state(&guest).await;
    assert_eq!((defined.power, defined.persistent), (PowerState::Shutdown, true));
    assert_eq!((defined.tag, defined.rescue, defined.job), (Some(guest.tag), false, false));

    assert_eq!(hypervisor.consoles(id).await.unwrap(), []);
    hypervisor.start(id).await.unwrap();
    let consoles = hypervisor.consoles(id).await.unwrap();
    let [DomainConsole::SerialPty(terminal)] = consoles.as_slice() else { panic!("{consoles:?}") };
    assert_eq!(terminal.display().to_string(), virsh(&["ttyconsole", &id.to_string()]).trim());
    let started = state(&guest).await;
    assert_eq!((started.power, started.reason), (PowerState::Running, PowerReason::Booted));
    assert_eq!((started.tag, started.persistent, started.job), (Some(guest.tag), true, false));
    assert!(hypervisor.list().await.unwrap().contains(&(id, started)));

    let stats = hypervisor.stats(id).await.unwrap();
    assert_eq!((stats.hypervisor.as_str(), stats.cpus.len()), ("qemu", 1));
    assert_eq!((stats.memory_max_kib, stats.memory_kib), (64 * 1024, 64 * 1024));
    assert!(stats.memory.contains_key("rss"), "{stats:?}");
    assert!(stats.disks.iter().any(|disk| disk.device == "vda"), "{stats:?}");

    hypervisor.suspend_cpus(id).await.unwrap();
    let paused = state(&guest).await;
    assert_eq!((paused.power, paused.reason), (PowerState::Paused, PowerReason::User));
    hypervisor.resume_cpus(id).await.unwrap();
    let resumed = state(&guest).await;
    assert_eq!((resumed.power, resumed.reason), (PowerState::Running, PowerReason::Unpaused));
    assert!(!hypervisor.sync_clock(id).await.unwrap(), "this guest has no agent");

    hypervisor.destroy(id).await.unwrap();
    let off = state(&guest).await;
    assert_eq!((off.power, off.reason), (PowerState::Shutdown, PowerReason::Destroyed));
    assert_eq!(hypervisor.consoles(id).await.unwrap(), []);
    hypervisor.undefine(id).await.unwrap();
    assert_eq!(hypervisor.domain(id).await.unwrap(), None);
    assert!(guest.paths.disk().exists(), "files are not ours to remove");
}

#[tokio::test]
async fn what_virsh_does_is_seen_at_once() {
    let guest = Guest::running().await;
    let mut events = guest.hypervisor.events();
    assert_eq!(events.next().await, Some(HypervisorEvent::Connected));
    for command in ["suspend", "resume", "destroy"] {
        virsh(&[command, &guest.id.to_string()]);
        // How long virsh itself takes is not ours.
        let done = Instant::now();
        next_change(&mut events, guest.id).await;
        // A busy machine takes its time; the agents' next look comes after a minute.
        assert!(done.elapsed() < Duration::from_secs(15), "{command}: {:?}", done.elapsed());
    }
    assert_eq!(state(&guest).await.power, PowerState::Shutdown);
}

#[tokio::test]
async fn memory_is_saved_and_comes_back_paused_and_the_file_stays() {
    let guest = Guest::running().await;
    let (hypervisor, id) = (&guest.hypervisor, guest.id);
    let file = guest.paths.dir.join("memory.part");
    hypervisor.save_memory(id, &file).await.unwrap();
    let saved = state(&guest).await;
    assert_eq!((saved.power, saved.reason), (PowerState::Shutdown, PowerReason::Saved));
    assert!(hypervisor.save_is_complete(id, &file).await.unwrap());

    hypervisor.restore_memory(id, &file).await.unwrap();
    let restored = state(&guest).await;
    assert_eq!((restored.power, restored.reason), (PowerState::Paused, PowerReason::Restored));
    assert_eq!((restored.tag, restored.persistent), (Some(guest.tag), true));
    assert!(!restored.job);
    hypervisor.resume_cpus(id).await.unwrap();
    assert_eq!(state(&guest).await.power, PowerState::Running);
    assert!(hypervisor.save_is_complete(id, &file).await.unwrap());
}

#[tokio::test]
async fn a_running_restore_can_be_looked_at_and_shows_as_a_job() {
    let guest = Guest::running_with(1024).await;
    let (hypervisor, id) = (&guest.hypervisor, guest.id);
    let file = guest.paths.dir.join("memory.part");
    hypervisor.save_memory(id, &file).await.unwrap();
    let saved = std::fs::read(&file).unwrap();
    let (first, rest) = saved.split_at(saved.len() / 2);
    let path = support::make_pipe(&guest.paths.dir.join("pipe"));
    let from = path.to_str().unwrap().to_owned();
    let restore = std::thread::spawn(move || {
        Connection::open(&support::uri()).unwrap().restore_paused(&from)
    });
    let mut pipe = std::fs::File::options().write(true).open(&path).unwrap();
    pipe.write_all(first).unwrap();
    let mut seen = state(&guest).await;
    while seen.power == PowerState::Shutdown {
        seen = state(&guest).await;
    }
    assert_eq!((seen.power, seen.reason), (PowerState::Paused, PowerReason::StartingUp));
    assert!(seen.job);
    pipe.write_all(rest).unwrap();
    drop(pipe);
    restore.join().unwrap().unwrap();
    let restored = state(&guest).await;
    assert_eq!((restored.reason, restored.job), (PowerReason::Restored, false));
}

#[tokio::test]
async fn an_incomplete_save_is_told_from_a_complete_one() {
    let guest = Guest::running().await;
    let (hypervisor, id) = (&guest.hypervisor, guest.id);
    let file = guest.paths.dir.join("memory.part");
    hypervisor.save_memory(id, &file).await.unwrap();
    let whole = std::fs::read(&file).unwrap();
    assert!(!hypervisor.save_is_complete(InstanceId::random(), &file).await.unwrap());

    let damaged = guest.paths.dir.join("damaged");
    let mut part = whole.clone();
    part[..16].copy_from_slice(b"LibvirtQemudPart");
    let half = &whole[..whole.len() / 2];
    let without_last_byte = &whole[..whole.len() - 1];
    let header_only = &whole[..92];
    let longer = [&whole[..], b"x"].concat();
    for bytes in [&part, half, without_last_byte, header_only, &longer, &[][..], &[0; 4096]] {
        std::fs::write(&damaged, bytes).unwrap();
        let complete = hypervisor.save_is_complete(id, &damaged).await.unwrap();
        assert!(!complete, "{} bytes of {} look complete", bytes.len(), whole.len());
    }
    let missing = guest.paths.dir.join("missing");
    assert!(!hypervisor.save_is_complete(id, &missing).await.unwrap());
    // The file of another server is refused before libvirt would bring that server back.
    let other = hypervisor.restore_memory(InstanceId::random(), &file).await.unwrap_err();
    assert!(other.to_string().contains("does not hold the memory"), "{other}");
    assert_eq!(state(&guest).await.power, PowerState::Shutdown);
}

#[tokio::test]
async fn somebody_elses_managed_save_is_not_restored_and_goes_with_the_definition() {
    let guest = Guest::running().await;
    let (hypervisor, id) = (&guest.hypervisor, guest.id);
    virsh(&["managedsave", &id.to_string()]);
    let start = hypervisor.start(id).await.unwrap_err();
    assert!(matches!(start, HypervisorError::InvalidState { call: "start", .. }), "{start}");
    assert!(start.to_string().contains("virsh managedsave-remove"));
    assert!(virsh(&["dominfo", &id.to_string()]).contains("Managed save:   yes"));
    hypervisor.undefine(id).await.unwrap();
    assert_eq!(hypervisor.domain(id).await.unwrap(), None);
}

#[tokio::test]
async fn a_rescue_definition_replaces_the_own_one_and_back() {
    let guest = Guest::defined().await;
    let (hypervisor, id) = (&guest.hypervisor, guest.id);
    let own = hypervisor.definition(id).await.unwrap();
    let tag = OperationId::random();
    guest.make_rescue_disk();
    hypervisor.define(&guest.spec, &support::legacy_rescue(), tag).await.unwrap();
    hypervisor.start(id).await.unwrap();
    let rescued = state(&guest).await;
    assert!(rescued.rescue && rescued.tag == Some(tag), "{rescued:?}");
    let disks = read_domain(&hypervisor.definition(id).await.unwrap()).unwrap().disks;
    let seen: Vec<_> = disks
        .iter()
        .map(|disk| (disk.target.as_str(), disk.source.as_deref().unwrap().file_name().unwrap()))
        .collect();
    assert_eq!(seen, [("vda", "disk.rescue".as_ref()), ("vdb", "disk".as_ref())]);

    hypervisor.destroy(id).await.unwrap();
    let stranger = hypervisor.define_xml(InstanceId::random(), &own).await.unwrap_err();
    assert!(stranger.to_string().contains("is of server"), "{stranger}");
    hypervisor.define_xml(id, &own).await.unwrap();
    let back = state(&guest).await;
    assert_eq!((back.rescue, back.tag), (false, Some(guest.tag)));
    assert_eq!(hypervisor.definition(id).await.unwrap(), own);
}

#[tokio::test]
async fn every_definition_that_is_written_is_valid_to_libvirt() {
    let guest = Guest::defined().await;
    for (what, xml) in support::all_definitions(&guest) {
        let file = guest.paths.dir.join("candidate.xml");
        std::fs::write(&file, &xml).unwrap();
        let defined = support::try_virsh(&["define", "--validate", file.to_str().unwrap()]);
        assert!(defined.is_ok(), "{what}: {defined:?}\n{xml}");
        let ours = guest.hypervisor.list().await.unwrap();
        assert!(ours.iter().any(|(id, _)| *id == guest.id), "{what} is not recognised as ours");
    }
}

#[tokio::test]
async fn impossible_calls_say_why() {
    let guest = Guest::running().await;
    let (hypervisor, id) = (&guest.hypervisor, guest.id);
    let nobody = InstanceId::random();
    assert_eq!(hypervisor.domain(nobody).await.unwrap(), None);
    assert_eq!(hypervisor.start(nobody).await, Err(HypervisorError::NoDomain(nobody)));
    assert_eq!(hypervisor.definition(nobody).await, Err(HypervisorError::NoDomain(nobody)));
    for result in [hypervisor.resume_cpus(id).await, hypervisor.start(id).await] {
        let error = result.unwrap_err();
        assert!(matches!(error, HypervisorError::InvalidState { .. }), "{error}");
    }
    assert_eq!(hypervisor.job_progress(id).await.unwrap(), None);
    assert!(hypervisor.abort_job(id).await.is_err(), "there is no job");
    hypervisor.destroy(id).await.unwrap();
    let again = hypervisor.destroy(id).await.unwrap_err();
    assert!(matches!(again, HypervisorError::InvalidState { .. }), "{again}");
}

#[tokio::test]
async fn a_running_save_shows_as_a_job_and_can_be_stopped() {
    // Enough untouched pages (9 bytes each) to fill every buffer between QEMU and the pipe.
    let guest = Guest::running_with(1024).await;
    let (hypervisor, id) = (&guest.hypervisor, guest.id);
    // Nobody reads the pipe, so the save cannot end by itself.
    let pipe = support::Pipe::new(&guest.paths.dir.join("pipe"));
    let saver = hypervisor.clone();
    let path = pipe.path.clone();
    let mut events = hypervisor.events();
    let save = tokio::spawn(async move { saver.save_memory(id, &path).await });
    while !state(&guest).await.job {
        // The save pauses the guest first, which is an event; until then there is nothing to see.
        next_change(&mut events, id).await;
    }
    assert_eq!(state(&guest).await.reason, PowerReason::Saving);
    assert!(hypervisor.job_progress(id).await.unwrap().is_some());
    hypervisor.abort_job(id).await.unwrap();
    // libvirt still waits for its helper to write to the pipe; a disk would not block it.
    drop(pipe);
    let error = save.await.unwrap().unwrap_err();
    assert!(matches!(error, HypervisorError::Failed { call: "save_memory", .. }), "{error}");
    let after = state(&guest).await;
    assert_eq!((after.power, after.job), (PowerState::Running, false));
}

/// libvirtd handles five requests of one connection at a time and then stops reading from it.
#[tokio::test]
async fn saves_that_hang_do_not_hold_up_anything_else() {
    const SAVES: usize = 5;
    let guests =
        futures_util::future::join_all((0..SAVES).map(|_| Guest::running_with(1024))).await;
    let hypervisor = guests[0].hypervisor.clone();
    let mut saves = Vec::new();
    let mut pipes = Vec::new();
    for guest in &guests {
        let pipe = support::Pipe::new(&guest.paths.dir.join("pipe"));
        let (saver, id, path) = (hypervisor.clone(), guest.id, pipe.path.clone());
        pipes.push(pipe);
        let mut events = hypervisor.events();
        saves.push(tokio::spawn(async move { saver.save_memory(id, &path).await }));
        while !state(guest).await.job {
            next_change(&mut events, id).await;
        }
    }
    let before = Instant::now();
    assert!(hypervisor.list().await.unwrap().len() >= SAVES);
    assert!(
        hypervisor.define(&guests[0].spec, &support::legacy_rescue(), guests[0].tag).await.is_ok()
    );
    for guest in &guests {
        hypervisor.abort_job(guest.id).await.unwrap();
    }
    assert!(before.elapsed() < Duration::from_secs(30), "{:?}", before.elapsed());
    drop(pipes);
    for save in saves {
        assert!(save.await.unwrap().is_err());
    }
}

#[tokio::test]
async fn without_libvirtd_calls_fail_at_once_and_the_connection_is_made_when_it_comes() {
    let dir = support::tempdir();
    let socket = dir.path().join("socket");
    let uri = format!("qemu+unix:///system?socket={}", socket.display());
    let hypervisor = Libvirt::start(config(&uri, dir.path()));
    let mut events = hypervisor.events();
    let first = events.next().await.unwrap();
    assert!(matches!(&first, HypervisorEvent::Disconnected(why) if why.contains("socket")));
    let before = Instant::now();
    let error = hypervisor.domain(InstanceId::random()).await.unwrap_err();
    assert!(before.elapsed() < Duration::from_secs(1), "{:?}", before.elapsed());
    assert!(matches!(&error, HypervisorError::Unavailable { uri: named, .. } if *named == uri));
    assert!(error.is_transient() && error.to_string().contains("is libvirtd running?"));
    assert!(hypervisor.host().await.unwrap_err().is_transient());

    // It comes, goes, and comes again.
    let relay = Relay::start(&socket);
    connected(&mut events).await;
    assert_eq!(hypervisor.domain(InstanceId::random()).await, Ok(None));
    drop(relay);
    disconnected(&mut events).await;
    assert!(hypervisor.list().await.unwrap_err().is_transient());
    let _relay = Relay::start(&socket);
    connected(&mut events).await;
    assert_eq!(hypervisor.domain(InstanceId::random()).await, Ok(None));
}

#[tokio::test]
async fn the_host_is_described_and_its_probe_leaves_nothing_behind() {
    let dir = support::tempdir();
    let hypervisor = Libvirt::start(reprieve_hypervisor::libvirt::LibvirtConfig {
        domain_type: None,
        ..config(&support::uri(), dir.path())
    });
    connected(&mut hypervisor.events()).await;
    let before = Instant::now();
    let host = hypervisor.host().await.unwrap();
    println!("probed in {:?}: {host:?}", before.elapsed());
    assert!(host.vcpus > 0 && host.memory_mib > 0 && host.disk_gib >= host.disk_free_gib);
    assert!(host.hypervisor_version > 4_000_000, "{}", host.hypervisor_version);
    assert_eq!(host.hypervisor_type, "QEMU");
    let cpu: serde_json::Value = serde_json::from_str(&host.cpu_info).unwrap();
    assert_eq!(cpu["arch"], "x86_64");
    assert!(cpu["topology"]["cores"].as_u64() > Some(0), "{cpu}");
    assert!(!cpu["features"].as_array().unwrap().is_empty(), "{cpu}");
    assert!(host.uptime.contains(" load average: "), "{}", host.uptime);
    assert!(host.host_ip.parse::<std::net::Ipv4Addr>().is_ok(), "{}", host.host_ip);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    // The second answer needs no probe.
    let mut times = Vec::new();
    for _ in 0..5 {
        let before = Instant::now();
        hypervisor.host().await.unwrap();
        times.push(before.elapsed());
    }
    assert!(times.iter().any(|time| *time < Duration::from_millis(500)), "{times:?}");
}

/// The test guest itself works: emulated, it reports success. What it says about KVM is the host's
/// business.
#[test]
fn the_guest_that_probes_kvm_reports_success_where_guests_run() {
    let dir = support::tempdir();
    let result = kvm::guest_runs(&support::uri(), dir.path(), "pc", DomainType::Qemu);
    assert_eq!(result, Ok(()));
    println!("KVM: {:?}", kvm::guest_runs(&support::uri(), dir.path(), "pc", DomainType::Kvm));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    // Others may probe at the same time: this is the guest of this directory.
    let id = kvm::guest_id(dir.path()).to_string();
    assert!(!virsh(&["list", "--all"]).contains(&id));
}

/// A libvirtd or a daemon that is killed during the probe leaves its guest and its file behind, and
/// each kill left one more (chaos seed 3, suspend and resume).
#[test]
fn a_probe_ends_what_a_killed_one_left() {
    let dir = support::tempdir();
    let id = kvm::guest_id(dir.path());
    assert_eq!(id, kvm::guest_id(dir.path()));
    assert_ne!(id, kvm::guest_id(&dir.path().join("other")));
    let xml = dir.path().join("left.xml");
    let left = format!(
        "<domain type='qemu'><name>reprieve-probe-{id}</name><uuid>{id}</uuid>\
         <memory unit='MiB'>16</memory><os><type>hvm</type></os></domain>"
    );
    std::fs::write(&xml, left).unwrap();
    virsh(&["create", xml.to_str().unwrap()]);
    std::fs::remove_file(&xml).unwrap();
    std::fs::write(dir.path().join(".kvm-probe.rom"), "left").unwrap();
    assert_eq!(kvm::guest_runs(&support::uri(), dir.path(), "pc", DomainType::Qemu), Ok(()));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    assert!(!virsh(&["list", "--all"]).contains(&id.to_string()));
}

/// Medians are 1-3 ms on an idle machine. The bound notices a change of kind (a process or a
/// connection per call), not noise: of many, one at least is quick on a busy machine, too.
#[tokio::test]
async fn pausing_and_looking_take_milliseconds() {
    let guest = Guest::running().await;
    let (hypervisor, id) = (&guest.hypervisor, guest.id);
    let (mut look, mut pause, mut unpause) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..30 {
        for (times, what) in [(&mut pause, true), (&mut unpause, false)] {
            let before = Instant::now();
            if what {
                hypervisor.suspend_cpus(id).await.unwrap();
            } else {
                hypervisor.resume_cpus(id).await.unwrap();
            }
            times.push(before.elapsed());
            let before = Instant::now();
            state(&guest).await;
            look.push(before.elapsed());
        }
    }
    for (what, mut times) in [("domain", look), ("suspend_cpus", pause), ("resume_cpus", unpause)] {
        times.sort_unstable();
        let median = times[times.len() / 2];
        println!("{what}: min {:?}, median {median:?}, max {:?}", times[0], times[times.len() - 1]);
        assert!(times[0] < Duration::from_millis(25), "{what}: {:?}", times[0]);
    }
}
