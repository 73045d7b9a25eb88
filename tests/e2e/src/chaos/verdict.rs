//! What has to be true when everything that was killed is back, and the looking.
//!
//! [`judge`] is told what the API says of the operation and where the server was found, and says
//! whether these go together. It knows nothing of the service but what is promised to its users.
//! Whether the guest, its memory and its disk are what they should be is for [`Subject::check`].

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use reprieve_core::OperationKind;
use reprieve_core::reboot::{ACTION as HOST_REBOOT, RebootPolicy};
use serde_json::{Value, json};
use uuid::Uuid;

use super::arena::Arena;
use super::report::{Harm, Outcome};
use super::strike::{Rest, Strike, boots, to};
use super::subject::{Memory, Noted, Subject, is_gone, is_gone_soon};
use crate::cloud::{Answer, Service};
use crate::lab::{OPERATION, SOON};
use crate::virt;
use crate::wait::Deadline;

/// A broken rule.
#[derive(Debug)]
pub struct Breach(pub Harm, pub anyhow::Error);

impl From<anyhow::Error> for Breach {
    fn from(error: anyhow::Error) -> Self {
        Self(Harm::Lost, error)
    }
}

/// What was there before the blow.
pub(super) struct Before {
    /// QEMU of the neighbours, and how far they had come.
    neighbours: HashMap<Uuid, (Option<u32>, Noted)>,
    /// Request ids of all actions.
    known: HashMap<Uuid, HashSet<String>>,
    /// How far the one that is hit had come.
    noted: Option<Noted>,
}

/// Where a server is while nothing is being done to it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Found {
    Gone,
    Rests(Rest),
    /// With its fault.
    Error(String),
}

/// What the API tells of what happened to a server since the blow.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Told {
    /// The operation that was asked for.
    operation: Option<Record>,
    /// That its guest ended with its host.
    host_reboot: bool,
}

/// What the API knows of an operation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Record {
    request_id: String,
    action: String,
    result: Option<String>,
    said: String,
}

/// What goes together.
#[derive(Debug, PartialEq, Eq)]
struct Verdict {
    ended: Ended,
    memory: Memory,
}

#[derive(Debug, PartialEq, Eq)]
enum Ended {
    Done,
    Undone,
    /// With its reason.
    Failed(String),
}

/// What becomes of a server whose host lost its power while nothing was being done to it, and
/// whether its owner has to be told that something was lost. Where there is a guest, it booted.
const fn after_power_loss(rest: Rest, policy: RebootPolicy) -> (Rest, bool) {
    match (rest, policy) {
        (Rest::Active, RebootPolicy::Leave) | (Rest::Paused, _) => (Rest::Stopped, true),
        (Rest::Active, RebootPolicy::Start | RebootPolicy::Resume) => (Rest::Active, true),
        (Rest::Rescued | Rest::RescuedOff, RebootPolicy::Leave) => (Rest::RescuedOff, true),
        (Rest::Rescued | Rest::RescuedOff, RebootPolicy::Start | RebootPolicy::Resume) => {
            (Rest::Rescued, true)
        }
        (Rest::Suspended | Rest::Stopped, _) => (rest, false),
    }
}

/// Name of an operation's instance action.
const fn action(kind: OperationKind) -> &'static str {
    match kind {
        OperationKind::RebootSoft | OperationKind::RebootHard => "reboot",
        OperationKind::Create
        | OperationKind::Delete
        | OperationKind::Pause
        | OperationKind::Unpause
        | OperationKind::Suspend
        | OperationKind::Resume
        | OperationKind::Rescue
        | OperationKind::Unrescue
        | OperationKind::Stop
        | OperationKind::Start => kind.as_str(),
    }
}

/// Whether what is told and what was found go together; if not, what is wrong.
fn judge(
    strike: &Strike,
    found: &Found,
    told: &Told,
    accepted: bool,
) -> Result<Verdict, (Harm, String)> {
    let seen = || format!("{}, accepted: {accepted}; found {found:?}, {told:?}", strike.kind);
    let lost = |why: &str| Err((Harm::Lost, format!("{why}: {}", seen())));
    match (found, &told.operation) {
        (Found::Gone, _) => match strike.kind {
            OperationKind::Delete => Ok(Verdict { ended: Ended::Done, memory: Memory::Kept }),
            _ => lost("the server is not there any more"),
        },
        (_, None) if accepted => lost("the API knows nothing of what it accepted"),
        (_, None) => not_begun(strike, found, told).map_or_else(|| lost("not begun"), Ok),
        (_, Some(record)) => match record.result.as_deref() {
            None => Err((Harm::Stuck, format!("the action has no result: {}", seen()))),
            Some("Success") => {
                succeeded(strike, found, told).map_or_else(|| lost("a success that is none"), Ok)
            }
            Some(_) if record.said.is_empty() => lost("it failed without a reason"),
            Some(_) => failed(strike, found, told, &record.said)
                .map_or_else(|| lost("more than the operation failed"), Ok),
        },
    }
}

/// What becomes of a server in `rest` by the blow alone.
fn after(strike: &Strike, rest: Rest) -> (Rest, bool) {
    match strike.victim.ends_guests() {
        true => after_power_loss(rest, strike.policy),
        false => (rest, false),
    }
}

/// Of an operation that was killed before it was accepted nothing has come but the blow itself.
fn not_begun(strike: &Strike, found: &Found, told: &Told) -> Option<Verdict> {
    let (rest, lost) = after(strike, strike.prior?);
    let as_expected = *found == Found::Rests(rest) && told.host_reboot == lost;
    let memory = if lost { Memory::Fresh } else { Memory::Kept };
    as_expected.then_some(Verdict { ended: Ended::Undone, memory })
}

/// An operation that succeeded leads where it promises, and a loss of power that came after that
/// leads on from there.
fn succeeded(strike: &Strike, found: &Found, told: &Told) -> Option<Verdict> {
    let (Found::Rests(rest), Some(reached)) = (found, to(strike.kind)) else { return None };
    let memory = match boots(strike.kind) {
        _ if told.host_reboot && (*rest, true) == after(strike, reached) => Memory::Fresh,
        _ if told.host_reboot || *rest != reached => return None,
        true => Memory::Fresh,
        false => Memory::Kept,
    };
    Some(Verdict { ended: Ended::Done, memory })
}

/// An operation that failed leaves a server that is what it says. Only a loss of power is a reason to
/// lose a guest, which then is told; a new server may come to nothing.
fn failed(strike: &Strike, found: &Found, told: &Told, said: &str) -> Option<Verdict> {
    let (kind, power_loss) = (strike.kind, strike.victim.ends_guests());
    match found {
        Found::Gone => None,
        Found::Rests(rest) => {
            let memory = match (told.host_reboot, boots(kind)) {
                (true, _) => Memory::Fresh,
                (false, true) => Memory::Either,
                (false, false) => Memory::Kept,
            };
            let ended = match Some(*rest) == strike.prior {
                true => Ended::Undone,
                false => Ended::Failed(said.to_owned()),
            };
            Some(Verdict { ended, memory })
        }
        Found::Error(fault) => {
            let may_be = !fault.is_empty() && (power_loss || kind == OperationKind::Create);
            let ended = Ended::Failed(fault.clone());
            may_be.then_some(Verdict { ended, memory: Memory::Fresh })
        }
    }
}

impl Arena {
    /// Notes what is there before the blow.
    pub(super) fn before(&mut self, subject: Option<&mut Subject>) -> Result<Before> {
        let mut before = Before { neighbours: HashMap::new(), known: HashMap::new(), noted: None };
        for subject in &mut self.subjects {
            subject.note_beat()?;
            let seen = (virt::qemu_pid(subject.id)?, subject.noted());
            before.neighbours.insert(subject.id, seen);
        }
        if let Some(subject) = subject {
            subject.note_beat()?;
            before.noted = Some(subject.noted());
            before.known.insert(subject.id, self.request_ids(subject.id)?);
        }
        for subject in &self.subjects {
            before.known.insert(subject.id, self.request_ids(subject.id)?);
        }
        Ok(before)
    }

    /// Judges the one that was hit, then the others.
    pub(super) fn judge(
        &mut self,
        strike: &Strike,
        subject: Option<Subject>,
        before: &Before,
        answer: Option<&Answer>,
    ) -> Result<Outcome, Breach> {
        let neighbours = std::mem::take(&mut self.subjects);
        let outcome = match subject {
            None => self.created(strike, answer),
            Some(subject) => self.changed(strike, subject, before, answer),
        };
        let mut broken = None;
        for mut neighbour in neighbours {
            let id = neighbour.id;
            match self.neighbour(strike, &mut neighbour, before) {
                Ok(()) => self.subjects.push(neighbour),
                Err(error) => {
                    self.give_up(id);
                    broken = Some(error.context(format!("neighbour {id}")));
                }
            }
        }
        match broken {
            Some(error) if outcome.is_ok() => Err(error.into()),
            Some(_) | None => outcome,
        }
    }

    /// One that nothing was asked of: it did not notice, or lost its host.
    fn neighbour(&self, strike: &Strike, subject: &mut Subject, before: &Before) -> Result<()> {
        let id = subject.id;
        let (pid, noted) = before.neighbours.get(&id).copied().context("it was not noted")?;
        if !strike.victim.ends_guests() {
            let now = virt::qemu_pid(id)?;
            anyhow::ensure!(now == pid, "it had QEMU {pid:?}, now {now:?}");
            return Ok(());
        }
        let expected = after_power_loss(subject.rest, strike.policy);
        let mut seen = String::new();
        let looked = Deadline::seconds(SOON).until("what follows a loss of power", || {
            let (found, told) = (self.found(id)?, self.told(id, before, None, None)?);
            seen = format!("expected {expected:?}; {found:?}, {told:?}");
            let (rest, lost) = expected;
            Ok((found == Found::Rests(rest) && told.host_reboot == lost).then_some(()))
        });
        looked.with_context(|| seen)?;
        self.check(subject, expected.0, Memory::Fresh, &noted)
    }

    /// [`Subject::check`], after which the console of one that was saved may lack its end.
    fn check(
        &self,
        subject: &mut Subject,
        rest: Rest,
        memory: Memory,
        noted: &Noted,
    ) -> Result<()> {
        subject.check(&*self.site, rest, memory)?;
        if rest == Rest::Suspended {
            subject.lost_console(noted);
        }
        Ok(())
    }

    /// What became of a create.
    fn created(&mut self, strike: &Strike, answer: Option<&Answer>) -> Result<Outcome, Breach> {
        let Some(id) = self.find(&format!("chaos-{}", self.born))? else {
            if answer.is_some() {
                return Err(anyhow!("an accepted server is not there").into());
            }
            return Ok(Outcome::Undone);
        };
        self.site.adopt(id);
        let before = Before { neighbours: HashMap::new(), known: HashMap::new(), noted: None };
        let (found, verdict) = self.verdict(strike, id, &before, answer)?;
        match (found, verdict.ended) {
            (Found::Rests(rest), Ended::Done) => {
                if rest == Rest::Stopped {
                    let start = json!({ "os-start": null });
                    self.site.cloud().perform(id, &start, "ACTIVE", OPERATION)?;
                }
                let subject = Subject::of_new(&*self.site, id)?;
                self.subjects.push(subject);
                Ok(Outcome::Done)
            }
            (Found::Error(fault), Ended::Failed(_)) => {
                self.give_up(id);
                Ok(Outcome::Failed(fault))
            }
            (found, ended) => Err(anyhow!("a new server is {found:?}, {ended:?}").into()),
        }
    }

    /// What became of an operation on a server.
    fn changed(
        &mut self,
        strike: &Strike,
        mut subject: Subject,
        before: &Before,
        answer: Option<&Answer>,
    ) -> Result<Outcome, Breach> {
        let id = subject.id;
        let (found, verdict) = self.verdict(strike, id, before, answer)?;
        match found {
            // A definition that came back with the power is removed again.
            Found::Gone if strike.victim.ends_guests() => is_gone_soon(&*self.site, id)?,
            Found::Gone => is_gone(&*self.site, id)?,
            Found::Rests(rest) => {
                let noted = if strike.victim.ends_guests() { before.noted } else { None };
                let noted = noted.unwrap_or_else(|| subject.noted());
                self.check(&mut subject, rest, verdict.memory, &noted)?;
                self.subjects.push(subject);
            }
            Found::Error(_) => {
                // The way out that its user has, and his disk is what it was.
                let subject = self.perform(OperationKind::RebootHard, subject)?;
                self.subjects.extend(subject);
            }
        }
        Ok(match verdict.ended {
            Ended::Done => Outcome::Done,
            Ended::Undone => Outcome::Undone,
            Ended::Failed(why) => Outcome::Failed(why),
        })
    }

    /// Waits for the end of what is done, and judges it. What follows a loss of power is told when
    /// the host is looked at, which may be a moment later.
    fn verdict(
        &mut self,
        strike: &Strike,
        id: Uuid,
        before: &Before,
        answer: Option<&Answer>,
    ) -> Result<(Found, Verdict), Breach> {
        self.settled(id).map_err(|error| Breach(Harm::Stuck, error))?;
        self.ended_after = self.back.elapsed();
        let patience = if strike.victim.ends_guests() { SOON } else { 0 };
        let deadline = Deadline::seconds(patience);
        loop {
            let found = self.found(id)?;
            let told = self.told(id, before, Some(strike.kind), answer)?;
            match judge(strike, &found, &told, answer.is_some()) {
                Ok(verdict) => return Ok((found, verdict)),
                Err((harm, why)) if deadline.passed() => return Err(Breach(harm, anyhow!(why))),
                Err(_) => std::thread::sleep(GLANCE),
            }
        }
    }

    /// Where a server is, once API, libvirt and processes agree.
    fn found(&self, id: Uuid) -> Result<Found> {
        let mut seen = String::new();
        let path = format!("/servers/{id}");
        let looked = Deadline::seconds(SOON).until("agreement", || {
            let answer = self.site.cloud().send("GET", Service::Compute, &path, None)?;
            if answer.status == 404 {
                return Ok(Some(Found::Gone));
            }
            let server = answer.expect(200)?.body["server"].take();
            let text = |key: &str| server[key].as_str().unwrap_or_default().to_owned();
            let (status, task) = (text("status"), text("OS-EXT-STS:task_state"));
            let power_state = server["OS-EXT-STS:power_state"].as_i64().unwrap_or(-1);
            let domain = self.site.virt().state(id)?;
            let process = virt::qemu_pid(id)?.is_some();
            seen = format!(
                "the API says {status}, task '{task}', power_state {power_state}; libvirt says \
                 {domain:?}; QEMU runs: {process}"
            );
            if !task.is_empty() {
                return Ok(None);
            }
            if status == "ERROR" {
                let fault = server["fault"]["message"].as_str().unwrap_or_default();
                return Ok(Some(Found::Error(fault.to_owned())));
            }
            let rest = Rest::shown_as(&status, power_state).filter(|rest| {
                domain.as_deref() == Some(rest.domain()) && process == rest.has_process()
            });
            Ok(rest.map(Found::Rests))
        });
        looked.with_context(|| seen)
    }

    /// The server with this name, if there is one.
    pub(super) fn find(&self, name: &str) -> Result<Option<Uuid>> {
        let path = format!("/servers?name=^{name}$");
        let servers = self.site.cloud().get(Service::Compute, &path)?;
        let id = servers["servers"][0]["id"].as_str();
        id.map(|id| id.parse().context("no UUID")).transpose()
    }

    fn actions(&self, id: Uuid) -> Result<Vec<(String, String)>> {
        let path = format!("/servers/{id}/os-instance-actions");
        let answer = self.site.cloud().send("GET", Service::Compute, &path, None)?;
        if answer.status == 404 {
            return Ok(Vec::new());
        }
        let list = answer.expect(200)?.body;
        let actions = list["instanceActions"].as_array().cloned().unwrap_or_default();
        let text = |action: &Value, key: &str| action[key].as_str().map(str::to_owned);
        let named = |action: &Value| Some((text(action, "request_id")?, text(action, "action")?));
        actions.iter().map(|action| named(action).context("an action without a name")).collect()
    }

    fn request_ids(&self, id: Uuid) -> Result<HashSet<String>> {
        Ok(self.actions(id)?.into_iter().map(|(request_id, _)| request_id).collect())
    }

    /// What the API tells of a server since the blow, of `kind` above all.
    fn told(
        &self,
        id: Uuid,
        before: &Before,
        kind: Option<OperationKind>,
        answer: Option<&Answer>,
    ) -> Result<Told> {
        let mut told = Told::default();
        let known = before.known.get(&id);
        // The newest is the first: of several of one name the oldest was asked for.
        for (request_id, name) in self.actions(id)? {
            if known.is_some_and(|known| known.contains(&request_id)) {
                continue;
            }
            let asked_for = kind.is_some_and(|kind| action(kind) == name)
                && answer.is_none_or(|answer| answer.request_id == request_id);
            if asked_for {
                told.operation = Some(self.record(id, request_id, name)?);
            } else if name == HOST_REBOOT {
                let record = self.record(id, request_id, name)?;
                told.host_reboot |= record.result.as_deref() == Some("Error");
                anyhow::ensure!(!record.said.is_empty(), "lost with the host, without a word");
            }
        }
        Ok(told)
    }

    fn record(&self, id: Uuid, request_id: String, action: String) -> Result<Record> {
        let path = format!("/servers/{id}/os-instance-actions/{request_id}");
        let shown = self.site.cloud().get(Service::Compute, &path)?;
        // The newest event is the one of the host that did it.
        let events = shown["instanceAction"]["events"].as_array().cloned().unwrap_or_default();
        let event = events.first().unwrap_or(&Value::Null);
        let result = event["result"].as_str().map(str::to_owned);
        let details = event["details"].as_str().or(shown["instanceAction"]["message"].as_str());
        let said = details.unwrap_or_default().to_owned();
        Ok(Record { request_id, action, result, said })
    }
}

/// Between two looks at what is told.
const GLANCE: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chaos::strike::{Choice, OF_CLUSTER, Role};

    fn strike(kind: OperationKind, role: Role, policy: RebootPolicy) -> Strike {
        let victims = OF_CLUSTER.into_iter().filter(|victim| victim.roles == [role]).collect();
        let choice = Choice { kinds: vec![kind], victims };
        Strike { policy, ..Strike::draw(1, 1, &choice).unwrap() }
    }

    fn told(result: &str, said: &str, host_reboot: bool) -> Told {
        let result = (!result.is_empty()).then(|| result.to_owned());
        let record = Record { result, said: said.to_owned(), ..Record::default() };
        Told { operation: Some(record), host_reboot }
    }

    #[test]
    fn a_kill_is_no_reason_to_lose_anything() {
        use OperationKind::{Resume, Suspend};
        let suspend = strike(Suspend, Role::Compute, RebootPolicy::Leave);
        let resume = strike(Resume, Role::Compute, RebootPolicy::Leave);
        let rests = |rest| Found::Rests(rest);
        for (strike, found, said, wanted) in [
            (&suspend, rests(Rest::Suspended), told("Success", "", false), Some(Ended::Done)),
            (&suspend, rests(Rest::Active), told("Error", "why", false), Some(Ended::Undone)),
            (&suspend, rests(Rest::Active), told("Error", "", false), None),
            (&suspend, rests(Rest::Active), told("Success", "", false), None),
            (&suspend, rests(Rest::Suspended), told("", "", false), None),
            (&suspend, Found::Gone, told("Success", "", false), None),
            (&suspend, Found::Error("why".into()), told("Error", "why", false), None),
            (&suspend, rests(Rest::Active), Told::default(), None),
            (&resume, rests(Rest::Stopped), told("Success", "", true), None),
        ] {
            let verdict = judge(strike, &found, &said, true).ok().map(|verdict| verdict.ended);
            assert_eq!(verdict, wanted, "{found:?} {said:?}");
        }
        let untouched = judge(&suspend, &rests(Rest::Active), &Told::default(), false).unwrap();
        assert_eq!(untouched, Verdict { ended: Ended::Undone, memory: Memory::Kept });
        let endless = judge(&suspend, &rests(Rest::Suspended), &told("", "", false), true);
        assert!(matches!(endless, Err((Harm::Stuck, _))), "{endless:?}");
    }

    #[test]
    fn what_goes_with_the_power_is_told() {
        use OperationKind::{Pause, Resume, Suspend};
        use RebootPolicy::{Leave, Start};
        let rests = |rest| Found::Rests(rest);
        for (kind, policy, found, said, wanted) in [
            // Resumed after the loss: its memory is there. Before it: what went is told.
            (Resume, Leave, rests(Rest::Active), told("Success", "", false), Some(Memory::Kept)),
            (Resume, Leave, rests(Rest::Stopped), told("Success", "", true), Some(Memory::Fresh)),
            (Resume, Start, rests(Rest::Active), told("Success", "", true), Some(Memory::Fresh)),
            (Resume, Leave, rests(Rest::Stopped), told("Success", "", false), None),
            (Resume, Leave, rests(Rest::Active), told("Success", "", true), None),
            (Pause, Start, rests(Rest::Stopped), told("Success", "", true), Some(Memory::Fresh)),
            (Pause, Start, rests(Rest::Stopped), told("Success", "", false), None),
            (
                Suspend,
                Leave,
                rests(Rest::Suspended),
                told("Success", "", false),
                Some(Memory::Kept),
            ),
            (Suspend, Leave, rests(Rest::Suspended), told("Success", "", true), None),
            (Suspend, Leave, Found::Error("why".into()), told("Error", "why", false), {
                Some(Memory::Fresh)
            }),
            (Suspend, Leave, Found::Error(String::new()), told("Error", "why", false), None),
            (Suspend, Leave, Found::Error("why".into()), told("Success", "", false), None),
        ] {
            let strike = strike(kind, Role::Host, policy);
            let verdict = judge(&strike, &found, &said, true).ok().map(|verdict| verdict.memory);
            assert_eq!(verdict, wanted, "{kind} {policy} {found:?} {said:?}");
        }
        let suspend = strike(Suspend, Role::Host, Start);
        let alone = |host_reboot| Told { operation: None, host_reboot };
        let undone = Verdict { ended: Ended::Undone, memory: Memory::Fresh };
        assert_eq!(judge(&suspend, &rests(Rest::Active), &alone(true), false), Ok(undone));
        assert!(judge(&suspend, &rests(Rest::Active), &alone(false), false).is_err());
    }
}
