//! Requests that come at the same time are admitted together.
//!
//! A commit waits for the disk, and what notes changes commits one after the other
//! (`notifications`), so one transaction for each request would admit as many in a second as the disk
//! can flush. Whoever finds nobody at it starts a task that admits everything that waits, until
//! nothing does. A request that comes alone is admitted alone, at once.
//!
//! The task is not the request's: whoever goes away meanwhile does not take others with it.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

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

    /// Adds one; `true` when the caller has to start the task.
    fn push(&self, asked: Asked) -> bool {
        let mut state = self.state();
        state.waiting.push_back(asked);
        !std::mem::replace(&mut state.running, true)
    }

    /// What is admitted next: not more than one operation of a server, in the order in which they
    /// were asked for. `None` ends the task.
    fn next(&self) -> Option<Vec<Asked>> {
        let mut state = self.state();
        let (mut batch, mut later, mut servers) = (Vec::new(), VecDeque::new(), HashSet::new());
        while let Some(asked) = state.waiting.pop_front() {
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
    /// has no room for memory that a suspended server has lent to others;
    /// [`StoreError::NotFound`] when there is no such server or it is deleted;
    /// [`StoreError::Raced`] when it changes all the time.
    pub async fn admit(&self, new: NewOperation) -> Result<Admitted, StoreError> {
        let (answer, answered) = oneshot::channel();
        if self.admissions().push(Asked { new, answer }) {
            let store = self.clone();
            tokio::spawn(async move {
                while let Some(batch) = store.admissions().next() {
                    store.admit_batch(batch).await;
                }
            });
        }
        answered.await.unwrap_or_else(|_| {
            let source = sea_orm::DbErr::Custom("the process is ending".to_owned());
            Err(StoreError::Database { what: "admit an operation", source })
        })
    }

    async fn admit_batch(&self, batch: Vec<Asked>) {
        let (wanted, answers): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|asked| (asked.new, asked.answer)).unzip();
        if wanted.len() > 1
            && let Ok(decided) = self.admit_all(&wanted).await
        {
            for (answer, decided) in answers.into_iter().zip(decided) {
                // Whoever asked may be gone; the operation is recorded all the same.
                answer.send(decided).ok();
            }
            return;
        }
        // What fails for all may be the fault of one.
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

#[cfg(test)]
mod tests {
    use reprieve_core::message::OperationArgs;
    use reprieve_core::{Caller, InstanceId, OperationKind, RequestId};

    use super::super::{HandOver, NewAction};
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
            caller: Caller { is_admin: false },
            by,
            hand_over: HandOver::Caller,
        };
        Asked { new, answer: oneshot::channel().0 }
    }

    fn servers(batch: Option<Vec<Asked>>) -> Vec<InstanceId> {
        batch.into_iter().flatten().map(|asked| asked.new.instance_id).collect()
    }

    #[test]
    fn the_first_starts_the_task_and_the_last_ends_it() {
        let admissions = Admissions::default();
        let [a, b] = [InstanceId::random(), InstanceId::random()];
        assert!(admissions.push(asked(a)));
        assert!(!admissions.push(asked(b)), "somebody is at it");
        assert_eq!(servers(admissions.next()), [a, b]);
        assert!(!admissions.push(asked(a)), "somebody still is");
        assert_eq!(servers(admissions.next()), [a]);
        assert!(admissions.next().is_none());
        assert!(admissions.push(asked(a)), "nobody is");
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
