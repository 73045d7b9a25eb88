//! The message bus with everything that a network may do to messages.
//!
//! Behind it are queues as a broker keeps them ([`crate::queue`]). In front of these each message is
//! lost, doubled, delayed and overtaken by others, as chance has it, and hosts are cut off for a while.
//! The sender hears of a loss or does not.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use reprieve_bus::InProcessBus;
use reprieve_core::HostName;
use reprieve_core::message::{Command, HostRequest, HostResponse, Report, ReportBody};
use reprieve_core::ports::{Bus, BusConnection, BusError, RequestHandler, Subscription};

use crate::chance::Chance;
use crate::clock::Now;
use crate::judge::Judge;
use crate::queue::Queue;
use crate::story::Story;

/// The bus. Clones are the same one.
#[derive(Clone)]
pub struct Network {
    reports: Queue<Report>,
    /// Only questions and their answers.
    questions: InProcessBus,
    now: Now,
    story: Story,
    judge: Judge,
    /// Which start of an agent this is for; 0: none.
    agent: u64,
    state: Arc<Mutex<State>>,
}

struct State {
    chance: Chance,
    calm: bool,
    /// Nobody reaches it.
    down: bool,
    /// Hosts that are cut off.
    cut_off: BTreeSet<HostName>,
    commands: BTreeMap<HostName, Queue<Command>>,
    under_way: BTreeMap<(Duration, u64), Message>,
    next_number: u64,
}

#[derive(Clone)]
enum Message {
    Command(HostName, Box<Command>),
    Report(Box<Report>),
}

impl Message {
    fn host(&self) -> &HostName {
        match self {
            Self::Command(host, _) => host,
            Self::Report(report) => &report.host,
        }
    }
}

/// What becomes of a message.
enum Fate {
    /// The sender is told that it was not taken.
    Refused,
    /// Nobody ever hears of it.
    Lost,
    /// It arrives so many times, each after its own time.
    Arrives(Vec<Duration>),
}

impl Network {
    /// One without faults, until [`Self::set_calm`] says otherwise.
    pub fn new(seed: u64, now: &Now, story: &Story, judge: &Judge) -> Self {
        let state = State {
            chance: Chance::new(seed, "network"),
            calm: true,
            down: false,
            cut_off: BTreeSet::new(),
            commands: BTreeMap::new(),
            under_way: BTreeMap::new(),
            next_number: 0,
        };
        let (now, story, judge) = (now.clone(), story.clone(), judge.clone());
        let state = Arc::new(Mutex::new(state));
        let (reports, questions) = (Queue::default(), InProcessBus::new());
        Self { reports, questions, now, story, judge, agent: 0, state }
    }

    /// The same, as a start of an agent uses it.
    pub fn used_by(&self, agent: u64) -> Self {
        Self { agent, ..self.clone() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether messages just arrive, soon and once.
    pub fn set_calm(&self, calm: bool) {
        self.state().calm = calm;
    }

    /// The bus goes away or comes back.
    pub fn set_down(&self, down: bool) {
        self.state().down = down;
    }

    /// A host is cut off or reached again.
    pub fn cut_off(&self, host: &HostName, cut_off: bool) {
        if cut_off {
            self.state().cut_off.insert(host.clone());
        } else {
            self.state().cut_off.remove(host);
        }
    }

    fn commands_of(&self, host: &HostName) -> Queue<Command> {
        self.state().commands.entry(host.clone()).or_default().clone()
    }

    /// Whoever has the turn at the commands of a host, or at the reports, loses the connection and with
    /// it the turn.
    pub fn lose_turn(&self, host: Option<&HostName>) -> bool {
        match host {
            Some(host) => self.commands_of(host).lose_turn(),
            None => self.reports.lose_turn(),
        }
    }

    /// Lets everything arrive that is due.
    pub fn deliver(&self) {
        loop {
            let due = {
                let mut state = self.state();
                let Some(first) = state.under_way.first_entry() else { return };
                if first.key().0 > self.now.since_begin() {
                    return;
                }
                first.remove()
            };
            let arrived = match &due {
                Message::Command(host, command) => self.commands_of(host).push(command),
                Message::Report(report) => self.reports.push(report),
            };
            if let Err(error) = arrived {
                self.story.broken(format_args!("a message cannot be written: {error}"));
            }
        }
    }

    fn send(&self, message: Message, what: &str) -> Result<(), BusError> {
        let fate = self.fate(message.host());
        let host = message.host().clone();
        match fate {
            Fate::Refused => {
                self.story.tell(format_args!("bus {host}: {what} refused"));
                self.story.count("messages refused");
                Err(BusError::Unavailable("the simulated network is down".to_owned()))
            }
            Fate::Lost => {
                self.story.tell(format_args!("bus {host}: {what} lost"));
                self.story.count("messages lost");
                Ok(())
            }
            Fate::Arrives(times) => {
                if times.len() > 1 {
                    self.story.count("messages doubled");
                }
                let mut state = self.state();
                for after in times {
                    if after > Duration::from_secs(1) {
                        self.story.count("messages delayed");
                    }
                    self.story.tell(format_args!("bus {host}: {what} in {} ms", after.as_millis()));
                    let number = state.next_number;
                    state.next_number += 1;
                    let due = self.now.since_begin() + after;
                    state.under_way.insert((due, number), message.clone());
                }
                Ok(())
            }
        }
    }

    fn fate(&self, host: &HostName) -> Fate {
        let mut state = self.state();
        let reached = !state.down && !state.cut_off.contains(host);
        if state.calm {
            return if reached {
                Fate::Arrives(vec![Duration::from_millis(1)])
            } else {
                Fate::Refused
            };
        }
        if !reached {
            return if state.chance.permille(200) { Fate::Lost } else { Fate::Refused };
        }
        let chance = &mut state.chance;
        if chance.permille(20) {
            return Fate::Refused;
        }
        if chance.permille(20) {
            return Fate::Lost;
        }
        let mut times = vec![chance.mostly_short(120)];
        while chance.permille(40) && times.len() < 4 {
            times.push(chance.mostly_short(20_000));
        }
        if chance.permille(15) {
            times = vec![chance.mostly_short(60_000)];
        }
        Fate::Arrives(times)
    }
}

#[async_trait]
impl Bus for Network {
    async fn command(&self, host: &HostName, command: &Command) -> Result<(), BusError> {
        let what = match command {
            Command::Welcome { epoch, .. } => format!("welcome {epoch}"),
            Command::Greet { epoch } => format!("greet again after {epoch}"),
            Command::Run(run) => {
                self.judge.commanded(host, run);
                let operation = self.story.name("o", run.operation_id.uuid());
                let server = self.story.name("s", run.spec.id.uuid());
                format!("run {operation} {} {server}", run.kind)
            }
            Command::Cancel { operation_id, .. } => {
                format!("cancel {}", self.story.name("o", operation_id.uuid()))
            }
        };
        self.send(Message::Command(host.clone(), Box::new(command.clone())), &what)
    }

    async fn commands(&self, host: &HostName) -> Result<Box<dyn Subscription<Command>>, BusError> {
        Ok(Box::new(self.commands_of(host).consume()))
    }

    async fn report(&self, report: &Report) -> Result<(), BusError> {
        let operation = |id: reprieve_core::OperationId| self.story.name("o", id.uuid());
        if report.epoch > 0 {
            self.judge.speaks(self.agent, report.epoch);
        }
        let what = match &report.body {
            ReportBody::Hello { .. } => "hello".to_owned(),
            ReportBody::Heartbeat { .. } => "heartbeat".to_owned(),
            ReportBody::Accepted { operation_id } => {
                format!("accepted {}", operation(*operation_id))
            }
            ReportBody::Step { operation_id, step, event, .. } => {
                format!("{} {step} {event:?}", operation(*operation_id))
            }
            ReportBody::Finished { operation_id, result, seen, .. } => {
                self.judge.finished(report);
                format!("{} finished {result:?} {seen:?}", operation(*operation_id))
            }
            ReportBody::Rejected { operation_id, reason } => {
                format!("{} rejected: {reason}", operation(*operation_id))
            }
            ReportBody::Observed { instance_id, seen } => {
                format!("{} seen {seen:?}", self.story.name("s", instance_id.uuid()))
            }
        };
        let what = format!("{what} ({}.{})", report.epoch, report.sequence);
        self.send(Message::Report(Box::new(report.clone())), &what)
    }

    async fn reports(&self) -> Result<Box<dyn Subscription<Report>>, BusError> {
        Ok(Box::new(self.reports.consume()))
    }

    async fn request(
        &self,
        host: &HostName,
        request: &HostRequest,
        deadline: Duration,
    ) -> Result<HostResponse, BusError> {
        if let Fate::Refused | Fate::Lost = self.fate(host) {
            return Err(BusError::Unavailable("the simulated network is down".to_owned()));
        }
        self.questions.request(host, request, deadline).await
    }

    async fn serve(
        &self,
        host: &HostName,
        handler: Arc<dyn RequestHandler>,
    ) -> Result<Box<dyn Any + Send>, BusError> {
        self.questions.serve(host, handler).await
    }

    fn connections(&self) -> Vec<BusConnection> {
        self.questions.connections()
    }
}
