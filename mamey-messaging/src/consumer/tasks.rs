//! The tasks of a consumer: deliveries, retries, and looks for parked messages that are due.

use std::sync::Arc;
use std::time::Duration;

use mamey_core::Result;
use mamey_core::message::{Lane, Partition};
use mamey_core::store::{InstanceId, Origin, Outcome, ParkedMessage, Receipt, Store, UnitOfWork};
use mamey_core::transport::Delivery;
use tokio::task::JoinSet;

use super::due::{Due, LookFor};
use super::gate::GATE;
use super::intake::Taken;
use super::lanes::LaneId;
use super::outcome::ConsumeOutcome;
use super::worker::{Known, Worker};
use crate::guard::guarded;

/// The pause before a message that this build cannot read is looked at again.
const UNREADABLE_PAUSE: Duration = Duration::from_secs(60);

pub(super) struct Tasks {
    worker: Arc<Worker>,
    store: Arc<dyn Store>,
    running: JoinSet<Done>,
}

/// How a task ended.
pub(super) enum Done {
    Delivered(Box<Delivered>),
    Retried(Box<Retried>),
    Looked(Result<Look>),
}

/// A delivery that was processed.
pub(super) struct Delivered {
    pub(super) id: LaneId,
    pub(super) lane: Option<Lane>,
    pub(super) intake: u64,
    pub(super) partition: Partition,
    pub(super) outcome: ConsumeOutcome,
    /// The delivery, if it is to be returned to the transport.
    pub(super) returned: Option<Delivery>,
}

/// A parked message that was retried.
pub(super) struct Retried {
    pub(super) message: ParkedMessage,
    pub(super) partition: Partition,
    pub(super) outcome: ConsumeOutcome,
}

/// What a look for parked messages found.
pub(super) struct Look {
    /// Those whose attempts have begun; then those that are to run alone, or not to run.
    pub(super) due: Vec<Due>,
    /// Those that were due and cannot be read.
    pub(super) unreadable: Vec<ParkedMessage>,
    pub(super) next_due_in: Option<Duration>,
    /// How many messages are parked, if they were counted: that costs, so not every look does it.
    pub(super) parked: Option<u64>,
}

impl Tasks {
    pub(super) fn new(worker: Worker, store: Arc<dyn Store>) -> Self {
        Self { worker: Arc::new(worker), store, running: JoinSet::new() }
    }

    pub(super) fn deliver(&mut self, id: LaneId, lane: Option<Lane>, taken: Taken, known: Known) {
        let Taken { intake, partition, delivery, room } = taken;
        let worker = Arc::clone(&self.worker);
        self.running.spawn(async move {
            let (outcome, returned) = worker.deliver(delivery, known).await;
            drop(room);
            let delivered = Delivered { id, lane, intake, partition, outcome, returned };
            Done::Delivered(Box::new(delivered))
        });
    }

    pub(super) fn retry(&mut self, due: Due, partition: Partition) {
        let (Due { message, entered }, worker) = (due, Arc::clone(&self.worker));
        self.running.spawn(async move {
            let outcome = worker.retry(&message).await;
            drop(entered);
            Done::Retried(Box::new(Retried { message, partition, outcome }))
        });
    }

    /// Looks for due messages and begins attempts at them, and counts all parked ones if `count` says so.
    pub(super) fn look(&mut self, partitions: Vec<Partition>, wanted: LookFor, count: bool) {
        let (store, holder) = (Arc::clone(&self.store), self.worker.holder);
        self.running.spawn(async move {
            let look = look(store.as_ref(), &partitions, (holder, wanted), count);
            Done::Looked(guarded(look).await)
        });
    }

    /// The next task that ends; `None` while none runs.
    pub(super) async fn next(&mut self) -> Option<Done> {
        loop {
            match self.running.join_next().await? {
                Ok(done) => return Some(done),
                // Panics are caught within the tasks and nothing aborts them.
                Err(cause) => {
                    tracing::error!(%cause, "a task of the consumer ended without a result");
                }
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.running.len()
    }

    /// Cuts off what runs.
    pub(super) async fn shutdown(&mut self) {
        self.running.shutdown().await;
    }
}

async fn look(
    store: &dyn Store,
    partitions: &[Partition],
    (holder, wanted): (InstanceId, LookFor),
    count: bool,
) -> Result<Look> {
    let due = store.due_parked(partitions, wanted.limit).await?;
    let (unreadable, due): (Vec<_>, Vec<_>) =
        due.into_iter().partition(|message| message.unreadable.is_some());
    for message in &unreadable {
        postpone(store, message).await?;
    }
    let (to_begin, others) = wanted.choose(due);
    let mut due = begin(store, holder, to_begin).await?;
    due.extend(others.into_iter().map(|message| Due { message, entered: None }));
    let next_due_in = store.next_due_in(partitions).await?;
    let parked = match count {
        true => Some(store.parked_count().await?),
        false => None,
    };
    Ok(Look { due, unreadable, next_due_in, parked })
}

/// Records that attempts begin, in one call for all, and returns those that may. Not while another
/// handler runs alone: if that one ended the process, it would count for these too.
async fn begin(
    store: &dyn Store,
    holder: InstanceId,
    to_begin: Vec<ParkedMessage>,
) -> Result<Vec<Due>> {
    if to_begin.is_empty() {
        return Ok(Vec::new());
    }
    let entered = GATE.enter_together(to_begin.len()).await;
    let messages: Vec<_> = to_begin.iter().map(|message| message.identity).collect();
    let begun = store.begin_parked(holder, &messages).await?;
    let all = to_begin.into_iter().zip(entered);
    let may_run = all.filter(|(message, _)| begun.contains(&message.identity));
    Ok(may_run.map(|(message, entered)| Due { message, entered: Some(entered) }).collect())
}

/// Looks at a message later that this build cannot read, without counting an attempt: it waits for a
/// build that can, and others are due meanwhile.
async fn postpone(store: &dyn Store, message: &ParkedMessage) -> Result<()> {
    let ParkedMessage { identity, envelope, attempts, failure, aborts, .. } = message.clone();
    let aborts = aborts.saturating_add(u32::from(message.abandoned));
    let outcome = Outcome::Park { delay: UNREADABLE_PAUSE, attempts, failure };
    let receipt = Receipt::of(identity, envelope, Origin::Parked, outcome).with_aborts(aborts);
    store.commit(UnitOfWork::default().with_receipt(receipt)).await.map(drop)
}
