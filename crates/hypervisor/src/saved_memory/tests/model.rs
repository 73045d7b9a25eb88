//! Random histories of one server, with a kill -9 anywhere, against a model of what its guest's memory
//! is and where.

use std::fs;

use proptest::prelude::*;
use reprieve_core::ports::DomainState;
use reprieve_core::{OperationId, PowerState};

use super::super::SaveState;
use super::{GO_ON, Server, guest};
use crate::durable::kill;

/// One thing that happens in a random history.
#[derive(Debug, Clone, Copy)]
enum Event {
    Open,
    Save,
    SaveHalf,
    Commit,
    AbandonSave,
    OpenRestore,
    Restore,
    AbandonRestore,
    Consume,
    RunCpus,
    PowerOff,
    Boot,
    Retire,
    Remove,
    NewOperation,
}

const EVENTS: [Event; 15] = [
    Event::Open,
    Event::Save,
    Event::SaveHalf,
    Event::Commit,
    Event::AbandonSave,
    Event::OpenRestore,
    Event::Restore,
    Event::AbandonRestore,
    Event::Consume,
    Event::RunCpus,
    Event::PowerOff,
    Event::Boot,
    Event::Retire,
    Event::Remove,
    Event::NewOperation,
];

/// A server with a guest that counts: what is in memory, and what of it is on disk only.
struct Model {
    server: Server,
    operation: OperationId,
    power: PowerState,
    /// The guest's memory.
    memory: u64,
    next_memory: u64,
    /// Memory of a guest that is gone, which exists only in a complete file, and by which operation.
    only_on_disk: Option<(u64, OperationId)>,
    /// Memory states that were continued by a CPU.
    lived: Vec<u64>,
}

impl Model {
    fn new() -> Self {
        Self {
            server: Server::new(),
            operation: OperationId::random(),
            power: PowerState::Running,
            memory: 1,
            next_memory: 2,
            only_on_disk: None,
            lived: Vec::new(),
        }
    }

    fn guest(&self) -> DomainState {
        guest(self.power)
    }

    /// The guest's CPUs run: memory changes, and so does the disk.
    fn live(&mut self) {
        self.power = PowerState::Running;
        self.lived.push(self.memory);
        self.memory = self.next_memory;
        self.next_memory += 1;
        self.server.write_disk(format!("disk {}", self.memory).as_bytes());
    }

    fn save(&mut self, complete: bool) {
        let announced = self.server.store.manifest().ok().flatten().is_some_and(|manifest| {
            manifest.state == SaveState::Saving && manifest.saved_by == self.operation
        });
        if !announced || self.power != PowerState::Running {
            return;
        }
        // The hypervisor's file is the newest of all.
        let file = self.server.store.part_file(self.operation);
        let disk = fs::metadata(self.server.paths.disk()).unwrap().modified().unwrap();
        let text = if complete { self.memory.to_string() } else { "half".to_owned() };
        fs::write(&file, text).unwrap();
        fs::File::options().write(true).open(&file).unwrap().set_modified(disk).unwrap();
        if complete {
            self.only_on_disk = Some((self.memory, self.operation));
            self.power = PowerState::Shutdown;
        }
    }

    fn restore(&mut self) {
        if self.power.has_process() {
            return;
        }
        let Ok(file) = self.server.store.restorable(self.operation) else { return };
        let text = fs::read_to_string(file).unwrap();
        self.memory = text.parse().expect("only complete data is restorable");
        assert!(!self.lived.contains(&self.memory), "memory {} lives twice", self.memory);
        self.power = PowerState::Paused;
    }

    fn step(&mut self, event: Event) {
        let (operation, guest) = (self.operation, self.guest());
        let store = self.server.store.clone();
        match event {
            Event::Open => {
                let _ = store.open(operation, &guest, self.server.plan());
            }
            Event::Save => self.save(true),
            Event::SaveHalf => self.save(false),
            // The step asks the hypervisor whether the file is complete and the guest gone.
            Event::Commit if !guest.power.has_process() && self.only_on_disk.is_some() => {
                let _ = store.commit(operation, &GO_ON);
            }
            Event::AbandonSave => {
                let _ = store.abandon_save(operation, &guest);
            }
            Event::OpenRestore => {
                let _ = store.open_restore(operation, Some(&guest));
            }
            Event::Restore => self.restore(),
            Event::AbandonRestore => {
                let _ = store.abandon_restore(operation, Some(&guest));
            }
            Event::Consume => {
                let _ = store.consume(operation, &guest);
            }
            // The step that lets CPUs run comes after `consume`.
            Event::RunCpus if self.power == PowerState::Paused => {
                let manifest = store.manifest().unwrap();
                if manifest.is_some_and(|manifest| manifest.state == SaveState::Consumed) {
                    self.only_on_disk = None;
                    self.live();
                }
            }
            Event::PowerOff => self.power = PowerState::Shutdown,
            Event::Boot if !guest.power.has_process() => {
                // A boot gives up saved memory first (`retire`) or is refused.
                let state = store.manifest().unwrap().map(|manifest| manifest.state);
                if matches!(state, None | Some(SaveState::Consumed | SaveState::Retired)) {
                    self.memory = self.next_memory;
                    self.next_memory += 1;
                    self.live();
                }
            }
            Event::Retire => {
                let _ = store.retire(operation);
            }
            Event::Remove if self.power == PowerState::Running => {
                let _ = store.remove();
            }
            Event::NewOperation => self.operation = OperationId::random(),
            Event::Commit | Event::RunCpus | Event::Boot | Event::Remove => {}
        }
    }

    /// What holds between any two lines of any history.
    fn check(&mut self) {
        let store = &self.server.store;
        let manifest = store.manifest().unwrap();
        if let Some(SaveState::Consumed | SaveState::Retired) = manifest.as_ref().map(|m| m.state) {
            // Given up by the user, or in the care of a process.
            self.only_on_disk = None;
        }
        if let Some((memory, saved_by)) = self.only_on_disk {
            let files = [store.part_file(saved_by), store.data_file(saved_by)];
            let kept = files.iter().find_map(|file| fs::read_to_string(file).ok());
            assert_eq!(kept, Some(memory.to_string()), "the memory of a guest was deleted");
        }
        if let Some(manifest) = manifest
            && let Ok(file) = store.verify(&GO_ON)
        {
            let memory: u64 = fs::read_to_string(file).unwrap().parse().unwrap();
            assert!(!self.lived.contains(&memory), "{memory} ran and could be restored again");
            assert!(matches!(manifest.state, SaveState::Saved | SaveState::Restoring));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// Random operations, with a kill -9 at a random file operation of some of them, followed by the
    /// repetition or by anything else.
    #[test]
    fn i8_holds_in_random_histories(
        history in prop::collection::vec(
            (prop::sample::select(&EVENTS[..]), prop::option::weighted(0.3, 0u32..14)),
            1..60,
        )
    ) {
        let mut model = Model::new();
        for (event, killed_after) in history {
            if let Some(operations) = killed_after {
                kill::after(operations);
            }
            model.step(event);
            kill::revive();
            model.check();
        }
    }

    /// The way that people take: suspend, resume, again and again, with a kill at each transition.
    #[test]
    fn i8_suspend_and_resume_always_come_through(kills in prop::collection::vec(0u32..14, 1..8)) {
        const WAY: [Event; 10] = [
            Event::NewOperation, Event::Open, Event::Save, Event::Commit,
            Event::NewOperation, Event::OpenRestore, Event::Restore, Event::Consume,
            Event::RunCpus, Event::Remove,
        ];
        let mut model = Model::new();
        for operations in kills {
            let before = model.memory;
            for event in WAY {
                match event {
                    Event::NewOperation => model.step(event),
                    _ => {
                        kill::after(operations);
                        model.step(event);
                        kill::revive();
                        model.check();
                        model.step(event);
                        model.check();
                    }
                }
            }
            prop_assert!(model.lived.contains(&before), "memory {} was lost", before);
            prop_assert_eq!(model.power, PowerState::Running);
            prop_assert!(model.server.files().iter().all(|name| !name.starts_with("memory-")));
        }
    }
}
