//! The load of a round: sends its transfers, and repeats each until it is answered.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::domain::accounts::{Transfer, Transferred};
use crate::fleet::Fleet;
use crate::journal::Journal;
use crate::protocol::{Answer, Order};

/// How many transfers are in flight at a time.
const CALLERS: usize = 12;

/// The pause before a transfer without an answer is sent again under its key.
const AGAIN_AFTER: Duration = Duration::from_millis(20);

/// What was answered.
pub(crate) type Answered = BTreeMap<String, Transferred>;

/// What all callers share.
struct Load {
    fleet: Arc<Fleet>,
    journal: Journal,
    queue: Mutex<VecDeque<Transfer>>,
    answered: Mutex<Answered>,
    turn: AtomicUsize,
    count: watch::Sender<u64>,
    patience: Duration,
}

/// Sends the transfers. Ends when all are answered, or when none was answered for `patience`. `count`
/// is how many are answered so far.
pub(crate) async fn run(
    fleet: &Arc<Fleet>,
    journal: &Journal,
    transfers: Vec<Transfer>,
    count: watch::Sender<u64>,
    patience: Duration,
) -> Answered {
    let load = Arc::new(Load {
        fleet: Arc::clone(fleet),
        journal: journal.clone(),
        queue: Mutex::new(transfers.into()),
        answered: Mutex::default(),
        turn: AtomicUsize::new(0),
        count,
        patience,
    });
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let load = Arc::clone(&load);
        callers.spawn(async move { load.call().await });
    }
    while callers.join_next().await.is_some() {}
    let answered = load.answered.lock().unwrap_or_else(PoisonError::into_inner);
    answered.clone()
}

impl Load {
    async fn call(&self) {
        while let Some(transfer) = self.next() {
            let Some(transferred) = self.until_answered(&transfer).await else { return };
            self.note(&transfer, transferred);
            let mut answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
            answered.insert(transfer.key, transferred);
            self.count.send_modify(|count| *count += 1);
        }
    }

    fn next(&self) -> Option<Transfer> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// `None` when no transfer at all was answered for too long.
    async fn until_answered(&self, transfer: &Transfer) -> Option<Transferred> {
        let mut seen = *self.count.borrow();
        let mut give_up = Instant::now() + self.patience;
        while Instant::now() < give_up {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed);
            let order = Order::Transfer(transfer.clone());
            match self.fleet.command(&transfer.key, order, turn).await {
                Some(Answer::Done { transferred: Some(transferred), .. }) => {
                    return Some(transferred);
                }
                Some(Answer::Failed { error, .. }) => {
                    let line = format!("transfer {} has failed: {error}", transfer.key);
                    self.journal.note(&transfer.from, line);
                }
                _ => {}
            }
            let count = *self.count.borrow();
            if count != seen {
                (seen, give_up) = (count, Instant::now() + self.patience);
            }
            sleep(AGAIN_AFTER).await;
        }
        None
    }

    fn note(&self, transfer: &Transfer, transferred: Transferred) {
        let Transferred { from_sequence, to_sequence } = transferred;
        let key = &transfer.key;
        self.journal.note(&transfer.from, format!("transfer {key} is {from_sequence} here"));
        self.journal.note(&transfer.to, format!("transfer {key} is {to_sequence} here"));
    }
}
