//! Commits units of work that are ready together in one call, each with its own outcome.

use std::collections::hash_map::{Entry, HashMap};
use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use mamey_core::{Error, Result};
use sqlx::postgres::PgConnection;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::batch::{Batch, Outcome};
use super::functions::Calls;
use super::work::{Claim, Hold, Size, Work};
use crate::common::errors::closed;
use crate::common::lock::lock;
use crate::common::wakeup::Listeners;
use crate::postgres::Shared;
use crate::postgres::connection::Open;
use crate::postgres::error::runs_again;

/// How many units of all contexts wait for their commit at a time; whoever has one more waits.
pub(crate) const UNITS_WAITING_MAX: u32 = 1024;

/// How many calls of one context are under way at a time. The next one fills while these sync.
const BATCHES_IN_FLIGHT_MAX: usize = 2;

/// The most units that share a call.
const UNITS_PER_BATCH_MAX: usize = 64;

/// The most documents and messages of units that share a call.
const ITEMS_PER_BATCH_MAX: usize = 1024;

/// The most bytes of documents and messages of units that share a call: 1 MiB.
const BYTES_PER_BATCH_MAX: usize = 1024 * 1024;

/// How often a call is sent again that the server ended because it and another were in each
/// other's way. Nothing of it was kept, so the same units may go again.
const RETRIES_MAX: u32 = 5;

/// The commits of one open of a context.
///
/// A unit that finds a call free goes at once. Those that come while all are under way go together
/// with the next. Units that have something in common never meet in a call nor in two at a time,
/// and go in the order in which they came.
pub(crate) struct Committer {
    database: Arc<Shared>,
    /// The quoted name of the context's schema.
    schema: String,
    calls: Calls,
    listeners: Arc<Listeners>,
    state: Mutex<State>,
}

/// How much was committed, to see how well units group.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) calls: AtomicU64,
    pub(crate) units: AtomicU64,
}

/// What the database made of a unit; the cause is shared by all units of a lost call.
type Answer = Result<Outcome, Arc<sqlx::Error>>;

#[derive(Default)]
struct State {
    waiting: VecDeque<Ticket>,
    /// What the units under way claim, and how many they are.
    claimed: HashMap<u64, (Hold, usize)>,
    batches: usize,
}

struct Ticket {
    work: Arc<Work>,
    reply: oneshot::Sender<Answer>,
    _permit: OwnedSemaphorePermit,
}

impl Committer {
    pub(crate) fn new(
        database: Arc<Shared>,
        schema: String,
        calls: Calls,
        listeners: Arc<Listeners>,
    ) -> Arc<Self> {
        let state = Mutex::default();
        Arc::new(Self { database, schema, calls, listeners, state })
    }

    /// Hands the unit over and waits for its outcome. A caller that leaves before it is handed
    /// over takes it along; one that leaves later does not stop it.
    pub(crate) async fn commit(self: &Arc<Self>, work: Arc<Work>) -> Result<Answer> {
        let permit = Arc::clone(&self.database.units).acquire_owned().await;
        let (reply, answer) = oneshot::channel();
        let ticket = Ticket { work, reply, _permit: permit.map_err(|_| closed())? };
        lock(&self.state).waiting.push_back(ticket);
        self.start_batches();
        answer.await.map_err(|_| Error::unavailable("the commit was cut off"))
    }

    /// Commits the transaction that a handler opened, with its unit in it.
    pub(crate) async fn commit_open(
        self: &Arc<Self>,
        transaction: Open,
        work: Arc<Work>,
    ) -> Result<Answer> {
        let committer = Arc::clone(self);
        // A task of its own, so that a caller who leaves does not stop what was handed over.
        let ended = tokio::spawn(async move { committer.end(transaction, &work).await });
        ended.await.map_err(|_| Error::unavailable("the commit was cut off"))
    }

    async fn end(&self, mut transaction: Open, work: &Arc<Work>) -> Answer {
        let answer = match self.join(&mut transaction.connection, work).await {
            Ok(outcome @ Outcome::Committed { .. }) => {
                transaction.end("COMMIT").await.map(|()| outcome)
            }
            Ok(refused) => transaction.end("ROLLBACK").await.map(|()| refused),
            Err(cause) => Err(cause),
        };
        // After a lost connection too: the commit may have arrived.
        if !work.unit.outbox.is_empty() {
            self.listeners.notify();
        }
        answer.map_err(Arc::new)
    }

    /// Does what the unit asks for inside a transaction that somebody else ends.
    pub(crate) async fn join(
        &self,
        connection: &mut PgConnection,
        work: &Arc<Work>,
    ) -> Result<Outcome, sqlx::Error> {
        let batch = Batch::new(std::slice::from_ref(work));
        let connections = &self.database.connections;
        let call = batch.call(&self.calls, &self.schema, self.database.now());
        let call = call.persistent(connections.keeps_statements()).fetch_one(connection);
        let outcomes = batch.outcomes(&connections.in_time(call).await?)?;
        outcomes.into_iter().next().ok_or(sqlx::Error::RowNotFound)
    }

    /// Who is told of new messages.
    pub(crate) fn listeners(&self) -> &Arc<Listeners> {
        &self.listeners
    }

    fn start_batches(self: &Arc<Self>) {
        loop {
            let Some(batch) = lock(&self.state).next_batch() else {
                return;
            };
            tokio::spawn(Arc::clone(self).run(batch));
        }
    }

    async fn run(self: Arc<Self>, batch: Vec<Ticket>) {
        let works: Vec<_> = batch.iter().map(|ticket| Arc::clone(&ticket.work)).collect();
        let answers = self.commit_all(&works).await;
        // After a lost connection too: the commit may have arrived.
        if works.iter().any(|work| !work.unit.outbox.is_empty()) {
            self.listeners.notify();
        }
        lock(&self.state).finish(&works);
        self.start_batches();
        for (ticket, answer) in batch.into_iter().zip(answers) {
            // Who asked may have gone; the outcome stands all the same.
            let _asker_gone = ticket.reply.send(answer);
        }
    }

    /// When the database refuses a call for what one of its units holds, its halves go alone.
    async fn commit_all(&self, works: &[Arc<Work>]) -> Vec<Answer> {
        let mut answers = Vec::with_capacity(works.len());
        let mut to_do = vec![works];
        while let Some(works) = to_do.pop() {
            match self.call(works).await {
                Ok(outcomes) => answers.extend(outcomes.into_iter().map(Ok)),
                Err(cause) if works.len() > 1 && concerns_one(&cause) => {
                    let (first, second) = works.split_at(works.len() / 2);
                    to_do.extend([second, first]);
                }
                Err(cause) => {
                    let cause = Arc::new(cause);
                    answers.extend(works.iter().map(|_| Err(Arc::clone(&cause))));
                }
            }
        }
        answers
    }

    async fn call(&self, works: &[Arc<Work>]) -> Result<Vec<Outcome>, sqlx::Error> {
        let counters = &self.database.counters;
        counters.units.fetch_add(works.len() as u64, Ordering::Relaxed);
        let batch = Batch::new(works);
        let mut tries = 0;
        loop {
            counters.calls.fetch_add(1, Ordering::Relaxed);
            let call = batch.call(&self.calls, &self.schema, self.database.now());
            let call = call.persistent(self.database.connections.keeps_statements());
            match self.database.connections.fetch_one(call).await {
                Err(cause) if runs_again(&cause) && tries < RETRIES_MAX => tries += 1,
                answer => return answer.and_then(|row| batch.outcomes(&row)),
            }
        }
    }
}

/// Whether a refusal may be due to one unit, so that the others can go without it.
fn concerns_one(cause: &sqlx::Error) -> bool {
    match cause {
        sqlx::Error::Encode(_) => true,
        sqlx::Error::Database(refusal) => {
            // Unusable data, taken values, a transaction in the way, too large for an index.
            let class = refusal.code().and_then(|code| code.get(..2).map(str::to_owned));
            matches!(class.as_deref(), Some("22" | "23" | "40" | "54"))
        }
        _ => false,
    }
}

impl State {
    /// The units that may go now, in the order in which they came; `None` when there are none.
    fn next_batch(&mut self) -> Option<Vec<Ticket>> {
        if self.batches >= BATCHES_IN_FLIGHT_MAX || self.waiting.is_empty() {
            return None;
        }
        let mut forming = Forming::default();
        let mut left = VecDeque::new();
        while let Some(ticket) = self.waiting.pop_front() {
            if forming.is_full(ticket.work.size) {
                left.push_back(ticket);
                break;
            }
            if forming.may_join(&ticket.work.claims, &self.claimed) {
                forming.join(ticket);
            } else {
                forming.passed.extend(ticket.work.claims.iter().map(|claim| claim.what));
                left.push_back(ticket);
            }
        }
        // They keep their places before those that were not looked at.
        while let Some(ticket) = left.pop_back() {
            self.waiting.push_front(ticket);
        }
        if forming.batch.is_empty() {
            return None;
        }
        self.begin(&forming.batch);
        Some(forming.batch)
    }

    fn begin(&mut self, batch: &[Ticket]) {
        self.batches += 1;
        for claim in batch.iter().flat_map(|ticket| &ticket.work.claims) {
            self.claimed.entry(claim.what).or_insert((claim.hold, 0)).1 += 1;
        }
    }

    fn finish(&mut self, works: &[Arc<Work>]) {
        self.batches -= 1;
        for claim in works.iter().flat_map(|work| &work.claims) {
            if let Entry::Occupied(mut claimed) = self.claimed.entry(claim.what) {
                claimed.get_mut().1 -= 1;
                if claimed.get().1 == 0 {
                    claimed.remove();
                }
            }
        }
    }
}

/// A batch while it is put together.
#[derive(Default)]
struct Forming {
    batch: Vec<Ticket>,
    size: Size,
    claimed: HashMap<u64, Hold>,
    /// What is claimed by units that came earlier and have to wait: nobody overtakes them.
    passed: HashSet<u64>,
}

impl Forming {
    /// The first unit goes whatever its size.
    fn is_full(&self, next: Size) -> bool {
        !self.batch.is_empty()
            && (self.batch.len() >= UNITS_PER_BATCH_MAX
                || self.size.items + next.items > ITEMS_PER_BATCH_MAX
                || self.size.bytes + next.bytes > BYTES_PER_BATCH_MAX)
    }

    fn may_join(&self, claims: &[Claim], under_way: &HashMap<u64, (Hold, usize)>) -> bool {
        claims.iter().all(|claim| {
            let beside = under_way.get(&claim.what).map(|(hold, _)| *hold);
            let within = self.claimed.get(&claim.what).copied();
            let goes_beside = beside.is_none_or(|hold| hold == Hold::Shared && claim.hold == hold);
            let goes_within = within.is_none_or(|hold| hold != Hold::Alone && claim.hold == hold);
            goes_beside && goes_within && !self.passed.contains(&claim.what)
        })
    }

    fn join(&mut self, ticket: Ticket) {
        self.size.items += ticket.work.size.items;
        self.size.bytes += ticket.work.size.bytes;
        self.claimed.extend(ticket.work.claims.iter().map(|claim| (claim.what, claim.hold)));
        self.batch.push(ticket);
    }
}
