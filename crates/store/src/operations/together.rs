//! Requests that come at the same time are admitted together.
//!
//! A commit waits for the disk, and what notes changes commits one after the other
//! (`notifications`), so one transaction for each request would admit as many in a second as the disk
//! can flush. Whoever finds nobody at it starts a task that admits everything that waits, until
//! nothing does. A request that comes alone is admitted alone, at once.
//!
//! The task is not the request's: whoever goes away meanwhile does not take others with it. If the task
//! itself ends early, by a panic or with its runtime, whoever still waits starts another one. What it was
//! at has then been committed or not, as by a kill, and is answered with an error.

use std::collections::{HashSet, VecDeque};
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};

use super::{Admitted, NewOperation};
use crate::{Store, StoreError};

/// Most operations in one transaction.
const BATCH: usize = 64;
/// How often a decision is made anew when the server changed under it. Happens only on databases
/// that let writers run side by side.
const ATTEMPTS: u32 = 5;

/// Admissions that wait for a transaction.
#[derive(Default)]
pub(crate) struct Admissions {
    state: Mutex<State>,
    /// Rung when a task ended although something waits.
    abandoned: Notify,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Asked>,
    /// Whether a task is at it.
    running: bool,
}

struct Asked {
    new: NewOperation,
    answer: oneshot::Sender<Result<Admitted, StoreError>>,
}

impl Admissions {
    /// A poisoned lock only means that another thread panicked between two whole changes.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds one.
    fn push(&self, asked: Asked) {
        self.state().waiting.push_back(asked);
    }

    /// Whether the caller has to start the task.
    fn claim(&self) -> bool {
        !std::mem::replace(&mut self.state().running, true)
    }

    /// What is admitted next: not more than one operation of a server, in the order in which they
    /// were asked for, and nothing that nobody waits for any more. `None` ends the task.
    fn next(&self) -> Option<Vec<Asked>> {
        let mut state = self.state();
        let (mut batch, mut later, mut servers) = (Vec::new(), VecDeque::new(), HashSet::new());
        while let Some(asked) = state.waiting.pop_front() {
            if asked.answer.is_closed() {
                continue;
            }
            if batch.len() < BATCH && servers.insert(asked.new.instance_id) {
                batch.push(asked);
            } else {
                later.push_back(asked);
            }
        }
        state.waiting = later;
        state.running = !batch.is_empty();
        state.running.then_some(batch)
    }
}

impl Store {
    /// Decides and records one operation in one transaction, which it may share with others:
    /// operation, server, outbox.
    ///
    /// A server without a host has nothing that would have to be destroyed, so its deletion ends
    /// here and now.
    ///
    /// # Errors
    /// [`StoreError::Denied`] when the state machine says no, also after a lost race, and when a host
    /// has no room for memory that a suspended server has lent to others; [`StoreError::Refused`] when
    /// its condition does not hold;
    /// [`StoreError::NotFound`] when there is no such server or it is deleted;
    /// [`StoreError::Raced`] when it changes all the time.
    pub async fn admit(&self, new: NewOperation) -> Result<Admitted, StoreError> {
        let (answer, mut answered) = oneshot::channel();
        self.admissions().push(Asked { new, answer });
        loop {
            let mut abandoned = pin!(self.admissions().abandoned.notified());
            // Listening before the look, so that no ring is missed.
            abandoned.as_mut().enable();
            if self.admissions().claim() {
                tokio::spawn(admit_waiting(Running { store: self.clone(), done: false }));
            }
            tokio::select! {
                answer = &mut answered => return answer.unwrap_or_else(|_| {
                    Err(unanswered(&"it was interrupted"))
                }),
                () = abandoned => {}
            }
        }
    }

    async fn admit_batch(&self, batch: Vec<Asked>) {
        let (wanted, answers): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|asked| (asked.new, asked.answer)).unzip();
        if wanted.len() > 1 {
            match self.admit_all(&wanted).await {
                Ok(decided) => {
                    for (answer, decided) in answers.into_iter().zip(decided) {
                        // Whoever asked may be gone; the operation is recorded all the same.
                        answer.send(decided).ok();
                    }
                    return;
                }
                // Asked again, what was committed without an answer would be refused as under way. And
                // each would wait for the database in its turn.
                Err(error) if error.is_silence() => {
                    for answer in answers {
                        answer.send(Err(unanswered(&error))).ok();
                    }
                    return;
                }
                // The fault of one of them, perhaps.
                Err(_) => {}
            }
        }
        for (answer, new) in answers.into_iter().zip(wanted) {
            answer.send(self.admit_one(new).await).ok();
        }
    }

    async fn admit_one(&self, new: NewOperation) -> Result<Admitted, StoreError> {
        let server = new.instance_id;
        let wanted = [new];
        let mut attempt = 1;
        loop {
            match self.admit_all(&wanted).await {
                Ok(mut decided) => return decided.pop().unwrap_or(Err(StoreError::Raced(server))),
                Err(StoreError::Raced(_)) if attempt < ATTEMPTS => attempt += 1,
                Err(error) if error.is_conflict() && attempt < ATTEMPTS => attempt += 1,
                Err(error) => return Err(error),
            }
        }
    }
}

/// The database has not said what became of an admission.
fn unanswered(why: &dyn std::fmt::Display) -> StoreError {
    let source = sea_orm::DbErr::Conn(sea_orm::RuntimeErr::Internal(why.to_string()));
    StoreError::Database { what: "admit an operation", source }
}

/// A task that admits what waits, however it ends.
struct Running {
    store: Store,
    /// Nothing waited any more.
    done: bool,
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.done {
            let admissions = self.store.admissions();
            admissions.state().running = false;
            admissions.abandoned.notify_waiters();
        }
    }
}

async fn admit_waiting(mut running: Running) {
    while let Some(batch) = running.store.admissions().next() {
        running.store.admit_batch(batch).await;
    }
    running.done = true;
}

#[cfg(test)]
mod tests {
    use reprieve_core::message::OperationArgs;
    use reprieve_core::{Caller, InstanceId, OperationKind, RequestId};

    use super::super::{Condition, HandOver, NewAction};
    use super::*;

    fn asked(server: InstanceId) -> Asked {
        let by = NewAction {
            request_id: RequestId::random(),
            user_id: "u".to_owned().into(),
            project_id: "p".to_owned().into(),
        };
        let new = NewOperation {
            instance_id: server,
            kind: OperationKind::Pause,
            args: OperationArgs::default(),
            deadline: None,
            caller: Caller { is_admin: false },
            by,
            hand_over: HandOver::Caller,
            condition: Condition::default(),
        };
        let (answer, answered) = oneshot::channel();
        // Whoever asked waits to the end of the test.
        std::mem::forget(answered);
        Asked { new, answer }
    }

    fn servers(batch: Option<Vec<Asked>>) -> Vec<InstanceId> {
        batch.into_iter().flatten().map(|asked| asked.new.instance_id).collect()
    }

    #[test]
    fn the_first_starts_the_task_and_the_last_ends_it() {
        let admissions = Admissions::default();
        let [a, b] = [InstanceId::random(), InstanceId::random()];
        for server in [a, b] {
            admissions.push(asked(server));
        }
        assert!(admissions.claim());
        assert!(!admissions.claim(), "somebody is at it");
        assert_eq!(servers(admissions.next()), [a, b]);
        admissions.push(asked(a));
        assert!(!admissions.claim(), "somebody still is");
        assert_eq!(servers(admissions.next()), [a]);
        assert!(admissions.next().is_none());
        assert!(admissions.claim(), "nobody is");
    }

    #[test]
    fn nothing_is_admitted_for_somebody_who_has_gone() {
        let admissions = Admissions::default();
        let [a, b] = [InstanceId::random(), InstanceId::random()];
        let gone = Asked { answer: oneshot::channel().0, ..asked(a) };
        admissions.push(gone);
        admissions.push(asked(b));
        assert_eq!(servers(admissions.next()), [b]);
    }

    #[tokio::test]
    async fn what_a_task_leaves_another_one_takes() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path().join("reprieve.db").as_path()).await.unwrap();
        assert!(store.admissions().claim(), "somebody is at it");
        let waits = {
            let (store, new) = (store.clone(), asked(InstanceId::random()).new);
            tokio::spawn(async move { store.admit(new).await })
        };
        while store.admissions().state().waiting.is_empty() {
            tokio::task::yield_now().await;
        }
        drop(Running { store, done: false });
        let answer = waits.await.unwrap();
        assert!(matches!(answer, Err(StoreError::NotFound { what: "server", .. })), "{answer:?}");
    }

    #[test]
    fn operations_of_a_server_are_admitted_one_after_the_other() {
        let admissions = Admissions::default();
        let [a, b] = [InstanceId::random(), InstanceId::random()];
        for server in [a, a, b, a] {
            admissions.push(asked(server));
        }
        assert_eq!(servers(admissions.next()), [a, b]);
        assert_eq!(servers(admissions.next()), [a]);
        assert_eq!(servers(admissions.next()), [a]);
        assert!(admissions.next().is_none());
    }

    /// Each of them would wait for it as long as a connection may take, and hold up who comes later.
    #[tokio::test]
    async fn without_a_database_all_are_told_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path().join("reprieve.db").as_path()).await.unwrap();
        store.close().await.unwrap();
        let [a, b] = [(); 2].map(|()| store.admit(asked(InstanceId::random()).new));
        let (a, b) = tokio::join!(a, b);
        for answer in [a, b] {
            let error = answer.unwrap_err();
            assert!(error.is_silence() && error.is_transient(), "{error:?}");
        }
    }

    #[test]
    fn a_transaction_has_a_largest_size() {
        let admissions = Admissions::default();
        for _ in 0..=BATCH {
            admissions.push(asked(InstanceId::random()));
        }
        assert_eq!(admissions.next().map(|batch| batch.len()), Some(BATCH));
        assert_eq!(admissions.next().map(|batch| batch.len()), Some(1));
    }
}
