//! The fleet: all worker processes of a round, restarted when they end.

mod keeper;
mod process;
mod slot;

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use self::keeper::Keeper;
pub(crate) use self::process::Process;
use self::process::Thread;
pub(crate) use self::slot::Slot;
use self::slot::{END_MAX, Shared};
use crate::domain::CONTEXTS;
use crate::error::{Error, Result};
use crate::fault::context_that_passes;
use crate::journal::Journal;
use crate::place::Place;
use crate::protocol::{Answer, Order, Question, Told};

/// How long a worker may take to start.
const BEGIN_MAX: Duration = Duration::from_secs(60);

/// How long to wait for an answer before asking again, possibly another worker.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// All processes of a round.
pub(crate) struct Fleet {
    pub(crate) slots: Vec<Arc<Slot>>,
    keepers: Vec<JoinHandle<Result<()>>>,
    shared: Arc<Shared>,
    asks: AtomicU64,
}

/// What is particular to the processes of a round.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Orders<'a> {
    pub(crate) instances: usize,
    /// The slot (modulo those that pass it), the failpoint, and the pass at which it ends the process.
    pub(crate) crash_at: Option<(usize, &'a str, u32)>,
    pub(crate) broken_law: Option<&'a str>,
}

impl Orders<'_> {
    /// The number of the slot that gets the failpoint.
    fn crashing(&self, slots: &[Arc<Slot>]) -> Option<usize> {
        let (target, point, _) = self.crash_at?;
        let passes = |slot: &Slot| slot.hosts(context_that_passes(point));
        let passing: Vec<_> = (0..slots.len()).filter(|it| passes(&slots[*it])).collect();
        passing.get(target.checked_rem(passing.len())?).copied()
    }
}

impl Fleet {
    /// Starts the processes and waits until all of them work.
    pub(crate) async fn start(
        place: &Arc<Place>,
        journal: &Journal,
        ahead_ms: &Arc<AtomicI64>,
        orders: Orders<'_>,
    ) -> Result<Self> {
        let shared = Arc::new(Shared {
            journal: journal.clone(),
            place: Arc::clone(place),
            ahead_ms: Arc::clone(ahead_ms),
            last_restart: Mutex::default(),
            crashed: AtomicU64::new(0),
            stopping: watch::Sender::new(false),
        });
        let mut slots = Vec::new();
        for instance in 1..=orders.instances {
            for (name, hosts) in groups(place.is_distributed(), instance) {
                let (links, current) = (place.links().await?, watch::Sender::new(None));
                slots.push(Arc::new(Slot { name, hosts, links, current }));
            }
        }
        let crashing = orders.crashing(&slots);
        let keeper = |(number, slot): (usize, &Arc<Slot>)| {
            let crash_at = orders.crash_at.filter(|_| crashing == Some(number));
            let crash_at = crash_at.map(|(_, point, pass)| format!("{point}:{pass}"));
            let keeper = Keeper {
                slot: Arc::clone(slot),
                shared: Arc::clone(&shared),
                crash_at,
                broken_law: orders.broken_law.map(str::to_owned),
            };
            tokio::spawn(keeper.run())
        };
        let keepers = slots.iter().enumerate().map(keeper).collect();
        let fleet = Self { slots, keepers, shared, asks: AtomicU64::new(0) };
        fleet.all_ready().await?;
        Ok(fleet)
    }

    async fn all_ready(&self) -> Result<()> {
        for slot in &self.slots {
            let mut current = slot.current.subscribe();
            let ready = current.wait_for(Option::is_some);
            if !timeout(BEGIN_MAX, ready).await.is_ok_and(|ready| ready.is_ok()) {
                let folder = self.shared.place.folder().display();
                let name = &slot.name;
                return Err(Error::Worker(format!(
                    "worker {name} did not start; see {folder}/{name}.log"
                )));
            }
        }
        Ok(())
    }

    /// The slot with this number, modulo those there are.
    pub(crate) fn slot(&self, number: usize) -> Option<&Arc<Slot>> {
        self.slots.get(number.checked_rem(self.slots.len())?)
    }

    /// When a process was last ready again after one had ended.
    pub(crate) fn last_restart(&self) -> Option<Instant> {
        *self.shared.last_restart.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many processes ended at a failpoint.
    pub(crate) fn crashed(&self) -> u64 {
        self.shared.crashed.load(Ordering::SeqCst)
    }

    /// A running process that hosts the context; `turn` spreads the choice.
    fn working(&self, context: &str, turn: usize) -> Option<Arc<Process>> {
        let hosting = self.slots.iter().filter(|slot| slot.hosts(context));
        let working: Vec<_> = hosting.filter_map(|slot| slot.working()).collect();
        working.get(turn.checked_rem(working.len())?).cloned()
    }

    /// Sends a command to the accounts and awaits the answer, for some time.
    pub(crate) async fn command(&self, key: &str, order: Order, turn: usize) -> Option<Answer> {
        let process = self.working("accounts", turn)?;
        let answer = process.answer(Thread::Command(key.to_owned()), order);
        timeout(ANSWER_MAX, answer).await.ok().flatten()
    }

    /// Asks a process that hosts the context, and awaits the answer for at most `patience`.
    pub(crate) async fn ask(
        &self,
        context: &str,
        question: Question,
        patience: Duration,
    ) -> Option<Told> {
        let ask = self.asks.fetch_add(1, Ordering::SeqCst);
        let process = self.working(context, usize::try_from(ask).unwrap_or_default())?;
        let answer = process.answer(Thread::Question(ask), Order::Ask { ask, question });
        match timeout(patience, answer).await.ok().flatten()? {
            Answer::Told { told, .. } => Some(told),
            _ => None,
        }
    }

    /// Moves the clocks of all processes, and of those that are started later.
    pub(crate) fn jump(&self, by_ms: i64) {
        self.shared.ahead_ms.fetch_add(by_ms, Ordering::SeqCst);
        for process in self.slots.iter().filter_map(|slot| slot.working()) {
            process.order(Order::Jump { by_ms });
        }
    }

    /// Shuts all processes down; an error names one that failed to.
    pub(crate) async fn stop(mut self) -> Result<()> {
        self.shared.stopping.send_replace(true);
        for slot in &self.slots {
            if let Some(process) = slot.current.borrow().as_ref() {
                process.order(Order::Stop);
            }
        }
        for (keeper, slot) in self.keepers.iter_mut().zip(&self.slots) {
            let ended = timeout(END_MAX, &mut *keeper).await;
            let Ok(Ok(outcome)) = ended else {
                let folder = self.shared.place.folder().display();
                let name = &slot.name;
                return Err(Error::Worker(format!(
                    "worker {name} did not end within {END_MAX:?}; see {folder}/{name}.log"
                )));
            };
            outcome?;
        }
        Ok(())
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        // The processes end with their keepers.
        self.keepers.iter().for_each(JoinHandle::abort);
    }
}

/// The processes of one instance: one a context, or one for all of them.
fn groups(distributed: bool, instance: usize) -> Vec<(String, Vec<String>)> {
    let contexts = CONTEXTS.map(str::to_owned);
    if !distributed {
        return vec![(format!("all-{instance}"), contexts.to_vec())];
    }
    contexts.into_iter().map(|name| (format!("{name}-{instance}"), vec![name])).collect()
}
