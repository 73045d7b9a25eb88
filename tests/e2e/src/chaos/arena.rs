//! The servers that are hit: brought to where an operation begins, and hit in the middle of it. What
//! is true when everything that was killed is back is for [`super::verdict`].

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use reprieve_core::OperationKind;
use serde_json::{Value, json};
use uuid::Uuid;

use super::evidence::{self, Begun, read_from};
use super::report::Outcome;
use super::site::Site;
use super::strike::{Moment, Rest, Strike, boots, from, to};
use super::subject::{Memory, Subject, is_gone};
use super::verdict::Breach;
use crate::cloud::{Answer, Cloud, NewServer, Service};
use crate::lab::{OPERATION, SOON};
use crate::places;
use crate::wait::Deadline;

/// Servers side by side, at least; those that are not hit are looked at, too.
const FEWEST: usize = 2;
/// At most: each guest costs a share of the machine.
const MOST: usize = 3;
/// What an operation may take that was not measured yet.
const UNKNOWN: Duration = Duration::from_secs(1);
/// How often the log is looked at for the end of a step.
const GLANCE: Duration = Duration::from_millis(1);

/// A site and its servers.
pub struct Arena {
    pub(super) site: Box<dyn Site>,
    spec: NewServer,
    rescue_image: String,
    pub(super) subjects: Vec<Subject>,
    /// How long each operation takes undisturbed.
    took: HashMap<OperationKind, Duration>,
    pub(super) born: u32,
    /// Those that are there after all runs.
    servers: HashSet<Uuid>,
    /// When everything was back, and how long the operation took from then on.
    pub(super) back: Instant,
    pub(super) ended_after: Duration,
}

type Request = (&'static str, String, Option<Value>);

impl Arena {
    /// On this site, where nothing is yet.
    ///
    /// # Errors
    /// When images are missing or refused.
    pub fn on(site: Box<dyn Site>) -> Result<Self> {
        let cloud = site.cloud();
        let upload = |name: &str| cloud.upload(name, "qcow2", &places::image(name)?, &json!({}));
        let (image, rescue_image) = (upload("tiny")?, upload("tiny-rescue")?);
        let flavor = cloud.flavor("chaos", 128, 1)?;
        let spec = NewServer { name: "chaos".into(), image, flavor, ..NewServer::default() };
        let (back, ended_after) = (Instant::now(), Duration::ZERO);
        let (subjects, took, born) = (Vec::new(), HashMap::new(), 0);
        let servers = HashSet::new();
        Ok(Self { site, spec, rescue_image, subjects, took, born, servers, back, ended_after })
    }

    /// One run, to its end.
    ///
    /// # Errors
    /// When the machine cannot go on. A broken rule is an outcome.
    pub fn run(&mut self, seed: u64, strike: &Strike) -> Result<Outcome> {
        self.ended_after = Duration::ZERO;
        self.prepare(strike)?;
        let begun = Begun::of(&*self.site);
        let subject = match strike.prior {
            Some(rest) => {
                let at = self.subjects.iter().position(|subject| subject.rest == rest);
                Some(self.subjects.swap_remove(at.context("nothing was prepared")?))
            }
            None => None,
        };
        let id = subject.as_ref().map(|subject| subject.id);
        let name = format!("chaos-{}", self.born);
        let judged = match self.hit(strike, subject) {
            Ok(outcome) => Ok(outcome),
            Err(Breach(harm, error)) => {
                let id = id.or_else(|| self.find(&name).ok().flatten());
                let evidence = evidence::keep(&*self.site, (seed, strike), id, &begun, &error)?;
                if let Some(id) = id {
                    self.subjects.retain(|subject| subject.id != id);
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
        evidence::keep(&*self.site, (seed, strike), None, &Begun::default(), error)
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
        self.site.restart()?;
        self.site.host_is_up()?;
        let mut seen = String::new();
        let looked = Deadline::seconds(SOON).until("an end of what nobody owns", || {
            let domains = self.site.virt().domains()?;
            let domains = domains.iter().filter(|id| !self.servers.contains(id));
            let mut left: Vec<String> = domains.map(|id| format!("domain {id}")).collect();
            for entry in fs::read_dir(self.site.instances())? {
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
        self.site.host_is_up()?;
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
                (Rest::Rescued | Rest::RescuedOff, _) => OperationKind::Unrescue,
                (Rest::Active, Rest::Paused) => OperationKind::Pause,
                (Rest::Active, Rest::Suspended) => OperationKind::Suspend,
                (Rest::Active, Rest::Stopped) => OperationKind::Stop,
                (Rest::Active, Rest::Rescued) => OperationKind::Rescue,
                (Rest::Active, Rest::RescuedOff) => bail!("no operation leads there"),
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
        let id = self.site.cloud().create(&spec)?;
        self.site.adopt(id);
        self.site.cloud().rests(id, "ACTIVE", Deadline::seconds(OPERATION))?;
        self.took.insert(OperationKind::Create, begun.elapsed());
        Subject::of_new(&*self.site, id)
    }

    /// An operation that nothing disturbs; nothing is left of a server that is deleted.
    pub(super) fn perform(
        &mut self,
        kind: OperationKind,
        mut subject: Subject,
    ) -> Result<Option<Subject>> {
        subject.note_beat()?;
        let begun = Instant::now();
        let answer = ask(self.site.cloud(), &self.request(kind, Some(subject.id)))?;
        ensure!(matches!(answer.status, 200 | 202 | 204), "{kind}: {}", answer.body);
        let settled = self.settled(subject.id)?;
        self.took.insert(kind, begun.elapsed());
        match (to(kind), settled) {
            (None, None) => is_gone(&*self.site, subject.id).map(|()| None),
            (Some(rest), Some(_)) => {
                let memory = if boots(kind) { Memory::Fresh } else { Memory::Kept };
                let checked = subject.check(&*self.site, rest, memory);
                checked.with_context(|| format!("after {kind}"))?;
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
    pub(super) fn settled(&self, id: Uuid) -> Result<Option<String>> {
        let mut seen = String::new();
        let path = format!("/servers/{id}");
        let settled = Deadline::seconds(OPERATION).until("end of what is done", || {
            let answer = self.site.cloud().send("GET", Service::Compute, &path, None)?;
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
    fn hit(&mut self, strike: &Strike, mut subject: Option<Subject>) -> Result<Outcome, Breach> {
        let before = self.before(subject.as_mut())?;
        let answer = self.strike(strike, subject.as_ref().map(|subject| subject.id))?;
        self.judge(strike, subject, &before, answer.as_ref())
    }

    /// Asks for the operation, kills at the moment, and brings back what was killed. Returns the
    /// answer, if there was one that accepts it.
    fn strike(&mut self, strike: &Strike, id: Option<Uuid>) -> Result<Option<Answer>> {
        let took = self.took.get(&strike.kind).copied().unwrap_or(UNKNOWN);
        let log = self.site.steps();
        let log_from = fs::metadata(&log)?.len();
        let (cloud, request) = (self.site.asked().clone(), self.request(strike.kind, id));
        let asking = std::thread::spawn(move || ask(&cloud, &request));
        match strike.moment {
            // The moment itself, not a wait for anything.
            Moment::At(share) => std::thread::sleep(took.mul_f64(share)),
            Moment::After(step) => {
                let mark = format!("step done step=\"{}\"", step.as_str());
                until_said(&log, log_from, &mark)?;
            }
        }
        self.kill(strike)?;
        self.bring_back(strike)?;
        if let Some(share) = strike.again {
            std::thread::sleep(took.mul_f64(share));
            self.kill(strike)?;
            self.bring_back(strike)?;
        }
        self.site.serves()?;
        self.back = Instant::now();
        // One that had to wait for what was killed is answered when that is back, or cut off.
        let answer = asking.join().map_err(|_| anyhow::anyhow!("the request panicked"))?;
        let Ok(answer) = answer else { return Ok(None) };
        let expected = matches!(answer.status, 200 | 202 | 204);
        // A service that loses what it needs between the request and its answer may say so.
        ensure!(expected || answer.status >= 500, "{}: {}", answer.asked, answer.body);
        Ok(expected.then_some(answer))
    }

    /// `kill -9` of the victim.
    fn kill(&self, strike: &Strike) -> Result<()> {
        strike.victim.roles.iter().try_for_each(|role| self.site.kill(*role))
    }

    /// Starts what was killed, after as long as the run says.
    fn bring_back(&mut self, strike: &Strike) -> Result<()> {
        std::thread::sleep(strike.dead);
        let mut roles = strike.victim.roles.to_vec();
        if strike.last_first {
            roles.reverse();
        }
        roles.into_iter().try_for_each(|role| self.site.bring_back(role, strike.policy))
    }

    /// A server that broke a rule is not used again.
    pub(super) fn give_up(&self, id: Uuid) {
        let path = format!("/servers/{id}");
        let deleted = self.site.cloud().send("DELETE", Service::Compute, &path, None);
        let gone = deleted.and_then(|_| self.settled(id));
        if let Err(error) = gone {
            eprintln!("server {id} cannot be deleted: {error:#}");
        }
    }
}

fn ask(cloud: &Cloud, (method, path, body): &Request) -> Result<Answer> {
    cloud.send(method, Service::Compute, path, body.as_ref())
}

/// Waits until the log says `mark`. An operation that ends before that never says it: then the moment
/// is whenever it has not come for long.
fn until_said(log: &Path, mut offset: u64, mark: &str) -> Result<()> {
    let (mut seen, since) = (Vec::new(), Instant::now());
    while since.elapsed() < Duration::from_secs(SOON) {
        let new = read_from(log, offset)?;
        offset += new.len() as u64;
        seen.extend(new);
        if String::from_utf8_lossy(&seen).contains(mark) {
            break;
        }
        std::thread::sleep(GLANCE);
    }
    Ok(())
}
