//! The servers that are hit: brought to where an operation begins, hit in the middle of it, and
//! looked at when everything that was killed is back.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use reprieve_core::OperationKind;
use serde_json::{Value, json};
use uuid::Uuid;

use super::evidence::{self, read_from};
use super::report::{Harm, Outcome};
use super::strike::{Moment, Rest, Role, Strike, boots, from, to};
use super::subject::{Memory, Subject, is_gone};
use crate::cloud::{Answer, Cloud, NewServer, Service};
use crate::lab::{Lab, OPERATION, Plan, SOON};
use crate::virt;
use crate::wait::Deadline;

/// Servers side by side, at least; those that are not hit are looked at, too.
const FEWEST: usize = 2;
/// At most: each guest costs a share of the machine.
const MOST: usize = 3;
/// What an operation may take that was not measured yet.
const UNKNOWN: Duration = Duration::from_secs(1);
/// How often the log is looked at for the end of a step.
const GLANCE: Duration = Duration::from_millis(1);

/// A lab and its servers.
pub struct Arena {
    lab: Lab,
    spec: NewServer,
    rescue_image: String,
    subjects: Vec<Subject>,
    /// How long each operation takes undisturbed.
    took: HashMap<OperationKind, Duration>,
    born: u32,
    /// Those that are there after all runs.
    servers: HashSet<Uuid>,
    /// When everything was back, and how long the operation took from then on.
    back: Instant,
    ended_after: Duration,
}

type Request = (&'static str, String, Option<Value>);

/// What the API knows of an operation.
struct Record {
    request_id: String,
    result: Option<String>,
    said: String,
}

/// How a run is judged when a rule is broken.
struct Breach(Harm, anyhow::Error);

impl From<anyhow::Error> for Breach {
    fn from(error: anyhow::Error) -> Self {
        Self(Harm::Lost, error)
    }
}

impl Arena {
    /// With a libvirtd of its own.
    ///
    /// # Errors
    /// When the daemon does not serve or images are missing.
    pub fn open() -> Result<Self> {
        let lab = Lab::start(Plan { own_libvirtd: true, ..Plan::default() })?;
        let spec = lab.tiny("chaos")?;
        let rescue_image = lab.image("tiny-rescue")?;
        let (back, ended_after) = (Instant::now(), Duration::ZERO);
        let (subjects, took, born) = (Vec::new(), HashMap::new(), 0);
        Ok(Self {
            lab,
            spec,
            rescue_image,
            subjects,
            took,
            born,
            servers: HashSet::new(),
            back,
            ended_after,
        })
    }

    /// One run, to its end.
    ///
    /// # Errors
    /// When the machine cannot go on. A broken rule is an outcome.
    pub fn run(&mut self, seed: u64, strike: &Strike) -> Result<Outcome> {
        self.ended_after = Duration::ZERO;
        self.prepare(strike)?;
        let log_from = fs::metadata(self.lab.daemon.stderr_file())?.len();
        let subject = match strike.prior {
            Some(rest) => {
                let at = self.subjects.iter().position(|subject| subject.rest == rest);
                Some(self.subjects.swap_remove(at.context("nothing was prepared")?))
            }
            None => None,
        };
        let id = subject.as_ref().map(|subject| subject.id);
        let name = format!("chaos-{}", self.born);
        let judged = match self.hit(strike, subject, log_from) {
            Ok(outcome) => Ok(outcome),
            Err(Breach(harm, error)) => {
                let id = id.or_else(|| self.find(&name).ok().flatten());
                let evidence = evidence::keep(&self.lab, (seed, strike), id, log_from, &error)?;
                if let Some(id) = id {
                    self.give_up(id);
                }
                let seen = format!("{error:#}").replace('\n', " ");
                Ok(Outcome::Broken { harm, seen, evidence })
            }
        };
        self.born += u32::from(strike.kind == OperationKind::Create);
        judged
    }

    /// How long the last operation took from when everything was back.
    #[must_use]
    pub const fn ended_after(&self) -> Duration {
        self.ended_after
    }

    /// Keeps what the processes said before the runs could not go on.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep_logs(&self, seed: u64, strike: &Strike, error: &anyhow::Error) -> Result<PathBuf> {
        evidence::keep(&self.lab, (seed, strike), None, 0, error)
    }

    /// Brings all servers back to where they run, which proves that their memory is there, and ends
    /// everything.
    ///
    /// # Errors
    /// When one of them is not what it was.
    pub fn close(mut self) -> Result<()> {
        while let Some(subject) = self.subjects.pop() {
            let id = subject.id;
            self.bring(subject, Rest::Active)
                .with_context(|| format!("server {id} is lost after all runs"))?;
            self.servers.insert(id);
        }
        self.nothing_else_is_left()
    }

    /// Domains and files of nobody: what a kill left and the next start did not clear.
    fn nothing_else_is_left(&mut self) -> Result<()> {
        // The last blow may have hit what clears it.
        self.lab.daemon.stop()?;
        self.lab.daemon.start_again()?;
        self.lab.host_is_up()?;
        let mut seen = String::new();
        let looked = Deadline::seconds(SOON).until("an end of what nobody owns", || {
            let domains = self.lab.virt.domains()?;
            let domains = domains.iter().filter(|id| !self.servers.contains(id));
            let mut left: Vec<String> = domains.map(|id| format!("domain {id}")).collect();
            for entry in fs::read_dir(self.lab.instances())? {
                let name = entry?.file_name().to_string_lossy().into_owned();
                if !name.parse().is_ok_and(|id| self.servers.contains(&id)) {
                    left.push(name);
                }
            }
            seen = left.join(", ");
            Ok(left.is_empty().then_some(()))
        });
        looked.with_context(|| format!("left: {seen}"))
    }

    /// Sees to it that there is a server in the state where the operation begins, that there are
    /// neighbours, and that the duration of the operation is known.
    fn prepare(&mut self, strike: &Strike) -> Result<()> {
        self.lab.host_is_up()?;
        while self.subjects.len() < FEWEST {
            let subject = self.create()?;
            self.subjects.push(subject);
        }
        while self.subjects.len() > MOST {
            let subject = self.subjects.remove(0);
            self.perform(OperationKind::Delete, subject)?;
        }
        if matches!(strike.moment, Moment::At(_)) && !self.took.contains_key(&strike.kind) {
            self.measure(strike.kind)?;
        }
        if let Some(rest) = strike.prior {
            self.one_in(rest)?;
        }
        Ok(())
    }

    /// Performs an operation once, undisturbed.
    fn measure(&mut self, kind: OperationKind) -> Result<()> {
        let subject = match from(kind).first() {
            // The first servers were created here, so this is for a delete and all others.
            Some(rest) => {
                self.one_in(*rest)?;
                let at = self.subjects.iter().position(|subject| subject.rest == *rest);
                self.subjects.swap_remove(at.context("nothing was prepared")?)
            }
            None => return Ok(()),
        };
        let after = self.perform(kind, subject)?;
        self.subjects.extend(after);
        if self.subjects.len() < FEWEST {
            let subject = self.create()?;
            self.subjects.push(subject);
        }
        Ok(())
    }

    /// Brings a server to `rest`: one that is there, else one that runs, else any.
    fn one_in(&mut self, rest: Rest) -> Result<()> {
        if self.subjects.iter().any(|subject| subject.rest == rest) {
            return Ok(());
        }
        let runs = self.subjects.iter().position(|subject| subject.rest == Rest::Active);
        let subject = self.subjects.swap_remove(runs.unwrap_or(0));
        let subject = self.bring(subject, rest)?;
        self.subjects.push(subject);
        Ok(())
    }

    fn bring(&mut self, mut subject: Subject, rest: Rest) -> Result<Subject> {
        while subject.rest != rest {
            let kind = match (subject.rest, rest) {
                (Rest::Paused, _) => OperationKind::Unpause,
                (Rest::Suspended, _) => OperationKind::Resume,
                (Rest::Stopped, _) => OperationKind::Start,
                (Rest::Rescued, _) => OperationKind::Unrescue,
                (Rest::Active, Rest::Paused) => OperationKind::Pause,
                (Rest::Active, Rest::Suspended) => OperationKind::Suspend,
                (Rest::Active, Rest::Stopped) => OperationKind::Stop,
                (Rest::Active, Rest::Rescued) => OperationKind::Rescue,
                (Rest::Active, Rest::Active) => break,
            };
            let after = self.perform(kind, subject)?;
            subject = after.context("only a delete leaves nothing")?;
        }
        Ok(subject)
    }

    fn create(&mut self) -> Result<Subject> {
        let begun = Instant::now();
        let spec = NewServer { name: format!("chaos-{}", self.born), ..self.spec.clone() };
        self.born += 1;
        let id = self.lab.create(&spec)?;
        self.lab.cloud.rests(id, "ACTIVE", Deadline::seconds(OPERATION))?;
        self.took.insert(OperationKind::Create, begun.elapsed());
        Subject::of_new(&self.lab, id)
    }

    /// An operation that nothing disturbs; nothing is left of a server that is deleted.
    fn perform(&mut self, kind: OperationKind, mut subject: Subject) -> Result<Option<Subject>> {
        subject.note_beat()?;
        let begun = Instant::now();
        let answer = ask(&self.lab.cloud, &self.request(kind, Some(subject.id)))?;
        ensure!(matches!(answer.status, 200 | 202 | 204), "{kind}: {}", answer.body);
        let settled = self.settled(subject.id)?;
        self.took.insert(kind, begun.elapsed());
        match (to(kind), settled) {
            (None, None) => is_gone(&self.lab, subject.id).map(|()| None),
            (Some(rest), Some(_)) => {
                let memory = if boots(kind) { Memory::Fresh } else { Memory::Kept };
                subject.check(&self.lab, rest, memory).with_context(|| format!("after {kind}"))?;
                Ok(Some(subject))
            }
            (wanted, found) => bail!("{kind}, undisturbed: wanted {wanted:?}, found {found:?}"),
        }
    }

    /// What asks for an operation: method, path, body.
    fn request(&self, kind: OperationKind, id: Option<Uuid>) -> Request {
        let path = id.map(|id| format!("/servers/{id}")).unwrap_or_default();
        let action = |body: Value| ("POST", format!("{path}/action"), Some(body));
        match kind {
            OperationKind::Create => {
                let spec = NewServer { name: format!("chaos-{}", self.born), ..self.spec.clone() };
                ("POST", "/servers".to_owned(), Some(spec.body()))
            }
            OperationKind::Delete => ("DELETE", path, None),
            OperationKind::Pause => action(json!({ "pause": null })),
            OperationKind::Unpause => action(json!({ "unpause": null })),
            OperationKind::Suspend => action(json!({ "suspend": null })),
            OperationKind::Resume => action(json!({ "resume": null })),
            OperationKind::Rescue => {
                action(json!({ "rescue": { "rescue_image_ref": self.rescue_image } }))
            }
            OperationKind::Unrescue => action(json!({ "unrescue": null })),
            OperationKind::Stop => action(json!({ "os-stop": null })),
            OperationKind::Start => action(json!({ "os-start": null })),
            OperationKind::RebootSoft => action(json!({ "reboot": { "type": "SOFT" } })),
            OperationKind::RebootHard => action(json!({ "reboot": { "type": "HARD" } })),
        }
    }

    /// Waits until nothing is being done to a server; `None` when it is not there any more.
    fn settled(&self, id: Uuid) -> Result<Option<String>> {
        let mut seen = String::new();
        let path = format!("/servers/{id}");
        let settled = Deadline::seconds(OPERATION).until("end of what is done", || {
            let answer = self.lab.cloud.send("GET", Service::Compute, &path, None)?;
            if answer.status == 404 {
                return Ok(Some(None));
            }
            let server = answer.expect(200)?.body["server"].take();
            seen = server["OS-EXT-STS:task_state"].as_str().unwrap_or_default().to_owned();
            let status = server["status"].as_str().unwrap_or_default().to_owned();
            Ok(seen.is_empty().then_some(Some(status)))
        });
        settled.with_context(|| format!("task_state '{seen}'"))
    }

    /// The operation, the blow, and what is true afterwards.
    fn hit(
        &mut self,
        strike: &Strike,
        mut subject: Option<Subject>,
        log_from: u64,
    ) -> Result<Outcome, Breach> {
        let neighbours = self.neighbours()?;
        let known = match &mut subject {
            Some(subject) => {
                subject.note_beat()?;
                let records = self.records(subject.id)?;
                records.into_iter().map(|record| record.request_id).collect()
            }
            None => HashSet::new(),
        };
        let answered = self.strike(strike, subject.as_ref().map(|s| s.id), log_from)?;
        for (id, pid) in neighbours {
            let now = virt::qemu_pid(id)?;
            if now != pid {
                return Err(anyhow::anyhow!("neighbour {id} had QEMU {pid:?}, now {now:?}").into());
            }
        }
        match subject {
            None => self.created(answered.is_some()),
            Some(subject) => self.judge(strike, subject, &known, answered.is_some()),
        }
    }

    fn neighbours(&self) -> Result<Vec<(Uuid, Option<u32>)>> {
        let ids = self.subjects.iter().map(|subject| subject.id);
        ids.map(|id| Ok((id, virt::qemu_pid(id)?))).collect()
    }

    /// Asks for the operation, kills at the moment, and brings back what was killed. Returns the
    /// answer, if there was time for one.
    fn strike(
        &mut self,
        strike: &Strike,
        id: Option<Uuid>,
        log_from: u64,
    ) -> Result<Option<Answer>> {
        let took = self.took.get(&strike.kind).copied().unwrap_or(UNKNOWN);
        let log = self.lab.daemon.stderr_file();
        let request = self.request(strike.kind, id);
        let answered = std::thread::scope(|scope| {
            let (lab, cloud, request) = (&self.lab, &self.lab.cloud, &request);
            let asking = scope.spawn(move || ask(cloud, request));
            match strike.moment {
                // The moment itself, not a wait for anything.
                Moment::At(share) => std::thread::sleep(took.mul_f64(share)),
                Moment::After(step) => {
                    let mark = format!("step done step=\"{}\"", step.as_str());
                    until_said(&log, log_from, &mark, &asking)?;
                }
            }
            kill(lab, strike)?;
            let answered = asking.join().map_err(|_| anyhow::anyhow!("the request panicked"))?;
            anyhow::Ok(answered.ok())
        })?;
        if let Some(answer) = &answered {
            let expected = matches!(answer.status, 200 | 202 | 204);
            // A service that loses libvirtd between the request and its answer may say so.
            ensure!(expected || answer.status >= 500, "{}: {}", answer.asked, answer.body);
        }
        self.bring_back(strike)?;
        if let Some(share) = strike.again {
            std::thread::sleep(took.mul_f64(share));
            kill(&self.lab, strike)?;
            self.bring_back(strike)?;
        }
        self.back = Instant::now();
        Ok(answered.filter(|answer| answer.status < 300))
    }

    /// Starts what was killed, after as long as the run says.
    fn bring_back(&mut self, strike: &Strike) -> Result<()> {
        std::thread::sleep(strike.dead);
        let mut roles = strike.victim.roles.to_vec();
        if strike.last_first {
            roles.reverse();
        }
        for role in roles {
            match role {
                Role::Reprieved => drop(self.lab.daemon.start_again()?),
                Role::Libvirtd => libvirtd(&self.lab)?.start_again()?,
            }
        }
        Ok(())
    }

    /// What became of a create.
    fn created(&mut self, accepted: bool) -> Result<Outcome, Breach> {
        let Some(id) = self.find(&format!("chaos-{}", self.born))? else {
            if accepted {
                return Err(anyhow::anyhow!("an accepted server is not there").into());
            }
            return Ok(Outcome::Undone);
        };
        self.lab.adopt(id);
        let status = self.settled(id).map_err(|error| Breach(Harm::Stuck, error))?;
        self.ended_after = self.back.elapsed();
        match status.as_deref() {
            Some("ACTIVE") => {
                let subject = Subject::of_new(&self.lab, id)?;
                self.subjects.push(subject);
                Ok(Outcome::Done)
            }
            Some("ERROR") => {
                let fault = self.lab.cloud.server(id)?.fault().to_owned();
                if fault.is_empty() {
                    return Err(anyhow::anyhow!("ERROR without a fault").into());
                }
                self.give_up(id);
                Ok(Outcome::Failed(fault))
            }
            other => Err(anyhow::anyhow!("a new server is {other:?}").into()),
        }
    }

    /// The server with this name, if there is one.
    fn find(&self, name: &str) -> Result<Option<Uuid>> {
        let servers = self.lab.cloud.get(Service::Compute, &format!("/servers?name=^{name}$"))?;
        let id = servers["servers"][0]["id"].as_str();
        id.map(|id| id.parse().context("no UUID")).transpose()
    }

    /// What became of an operation on a server.
    fn judge(
        &mut self,
        strike: &Strike,
        mut subject: Subject,
        known: &HashSet<String>,
        accepted: bool,
    ) -> Result<Outcome, Breach> {
        let (kind, id) = (strike.kind, subject.id);
        let settled = self.settled(id).map_err(|error| Breach(Harm::Stuck, error))?;
        self.ended_after = self.back.elapsed();
        let Some(status) = settled else {
            is_gone(&self.lab, id)?;
            if kind == OperationKind::Delete {
                return Ok(Outcome::Done);
            }
            return Err(anyhow::anyhow!("the server is not there any more").into());
        };
        let records = self.records(id)?;
        let record = records.into_iter().find(|record| !known.contains(&record.request_id));
        let Some(record) = record else {
            if accepted {
                return Err(anyhow::anyhow!("the API knows nothing of what it accepted").into());
            }
            // Killed before it was accepted: nothing may have happened.
            subject.check(&self.lab, subject.rest, Memory::Kept)?;
            self.subjects.push(subject);
            return Ok(Outcome::Undone);
        };
        let found = Rest::of_status(&status);
        match record.result.as_deref() {
            Some("Success") => {
                if found != to(kind) {
                    return Err(anyhow::anyhow!("{kind} succeeded, the server is {status}").into());
                }
                let rest = found.context("a deleted server is there")?;
                let memory = if boots(kind) { Memory::Fresh } else { Memory::Kept };
                subject.check(&self.lab, rest, memory)?;
                self.subjects.push(subject);
                Ok(Outcome::Done)
            }
            Some(_) => self.failed(strike, subject, &status, &record),
            None => Err(Breach(Harm::Stuck, anyhow::anyhow!("the action has no result"))),
        }
    }

    /// An operation that says that it failed has to say why, and to leave a server that is what it
    /// says. Nothing that was killed here is a reason to lose memory.
    fn failed(
        &mut self,
        strike: &Strike,
        mut subject: Subject,
        status: &str,
        record: &Record,
    ) -> Result<Outcome, Breach> {
        if record.said.is_empty() {
            return Err(anyhow::anyhow!("it failed without a reason").into());
        }
        let Some(rest) = Rest::of_status(status) else {
            return Err(anyhow::anyhow!("the server is {status}: {}", record.said).into());
        };
        let memory = if boots(strike.kind) { Memory::Either } else { Memory::Kept };
        subject.check(&self.lab, rest, memory)?;
        self.subjects.push(subject);
        if Some(rest) == strike.prior {
            return Ok(Outcome::Undone);
        }
        Ok(Outcome::Failed(record.said.clone()))
    }

    fn records(&self, id: Uuid) -> Result<Vec<Record>> {
        let path = format!("/servers/{id}/os-instance-actions");
        let list = self.lab.cloud.get(Service::Compute, &path)?;
        let actions = list["instanceActions"].as_array().cloned().unwrap_or_default();
        let record = |action: &Value| {
            let request_id = action["request_id"].as_str().context("no request id")?.to_owned();
            let shown = self.lab.cloud.get(Service::Compute, &format!("{path}/{request_id}"))?;
            // The newest event is the one of the host that did it.
            let events = shown["instanceAction"]["events"].as_array().cloned().unwrap_or_default();
            let event = events.first().unwrap_or(&Value::Null);
            let result = event["result"].as_str().map(str::to_owned);
            let details = event["details"].as_str().or(shown["instanceAction"]["message"].as_str());
            Ok(Record { request_id, result, said: details.unwrap_or_default().to_owned() })
        };
        actions.iter().map(record).collect()
    }

    /// A server that broke a rule is not used again.
    fn give_up(&self, id: Uuid) {
        let path = format!("/servers/{id}");
        let deleted = self.lab.cloud.send("DELETE", Service::Compute, &path, None);
        let gone = deleted.and_then(|_| self.settled(id));
        if let Err(error) = gone {
            eprintln!("server {id} cannot be deleted: {error:#}");
        }
    }
}

fn ask(cloud: &Cloud, (method, path, body): &Request) -> Result<Answer> {
    cloud.send(method, Service::Compute, path, body.as_ref())
}

/// `kill -9` of the victim.
fn kill(lab: &Lab, strike: &Strike) -> Result<()> {
    for role in strike.victim.roles {
        match role {
            Role::Reprieved => lab.daemon.kill_now()?,
            Role::Libvirtd => libvirtd(lab)?.kill()?,
        }
    }
    Ok(())
}

fn libvirtd(lab: &Lab) -> Result<&crate::libvirtd::Libvirtd> {
    lab.libvirtd.as_ref().context("the lab has no libvirtd of its own")
}

/// Waits until the log says `mark`, or until the request was refused: then nothing will come.
fn until_said<T>(
    log: &Path,
    offset: u64,
    mark: &str,
    asking: &std::thread::ScopedJoinHandle<'_, T>,
) -> Result<()> {
    let (mut offset, mut seen) = (offset, Vec::new());
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(SOON) {
        let new = read_from(log, offset)?;
        offset += new.len() as u64;
        seen.extend(new);
        if String::from_utf8_lossy(&seen).contains(mark) {
            return Ok(());
        }
        std::thread::sleep(GLANCE);
    }
    let answered = asking.is_finished();
    bail!("the log did not say '{mark}' within {SOON} s; the request was answered: {answered}")
}
