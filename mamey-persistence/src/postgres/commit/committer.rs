//! Sends units of work to the database, those that are ready together in one call.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mamey_core::{Error, Result};
use sqlx::postgres::PgConnection;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::answer::UnitAnswer;
use super::call::Call;
use super::claims::{Claim, Size};
use super::functions::Calls;
use super::grouping::{Grouping, Next, Waiting};
use super::terms::Terms;
use super::work::Work;
use crate::common::lock::lock;
use crate::common::wakeup::Listeners;
use crate::postgres::connection::lending::LentTransaction;
use crate::postgres::connection::shares::Purpose;
use crate::postgres::error::{is_held, may_run_again, took_too_long};
use crate::postgres::shared::Shared;

/// How often a call is sent again that the server ended in favour of another transaction. Nothing of
/// it was kept, so the same units may go again.
const RETRIES_MAX: u32 = 5;

/// How long a call waits for each lock that another transaction holds. Past it its units go alone.
const LOCK_WAIT: Duration = Duration::from_millis(100);

/// The same for each of these units, which the others wait for meanwhile. Past it the unit waits outside
/// of the calls.
const ALONE_LOCK_WAIT: Duration = Duration::from_millis(20);

/// The commits of one open of a context.
pub(crate) struct Committer {
    pub(super) database: Arc<Shared>,
    /// The quoted name of the context's schema.
    schema: String,
    calls: Calls,
    /// For the transaction that a handler opened.
    calls_inside: Calls,
    listeners: Arc<Listeners>,
    pub(super) grouping: Mutex<Grouping<Ticket>>,
}

/// What the database did with a unit; the cause is shared by all units of a lost call.
pub(super) type Answer = Result<UnitAnswer, Arc<sqlx::Error>>;

/// A unit that waits for its answer.
pub(super) struct Ticket {
    pub(super) work: Arc<Work>,
    /// Until when it waits for what other transactions hold.
    pub(super) waits_until: Instant,
    reply: oneshot::Sender<Answer>,
    _permit: OwnedSemaphorePermit,
}

/// How a call is sent.
#[derive(Clone, Copy)]
pub(super) struct Way {
    pub(super) purpose: Purpose,
    /// How long it waits for a connection.
    pub(super) acquire: Duration,
    /// How long it waits for each lock that another transaction holds.
    pub(super) lock_wait: Duration,
}

impl Waiting for Ticket {
    fn claims(&self) -> &[Claim] {
        &self.work.claims
    }

    fn size(&self) -> Size {
        self.work.size
    }
}

impl Committer {
    pub(crate) fn new(
        database: Arc<Shared>,
        schema: String,
        calls: Calls,
        listeners: Arc<Listeners>,
    ) -> Arc<Self> {
        let grouping = Mutex::default();
        let calls_inside = calls.inside_marked();
        Arc::new(Self { database, schema, calls, calls_inside, listeners, grouping })
    }

    /// Hands the unit over and waits for its answer.
    ///
    /// # Cancellation
    /// Before the unit is handed over, dropping the future drops the unit; afterwards it does not
    /// stop the commit.
    pub(crate) async fn commit(self: &Arc<Self>, work: Arc<Work>) -> Result<Answer> {
        let permit = self.database.unit_permit().await?;
        let (reply, answer) = oneshot::channel();
        let waits_until = Instant::now() + self.database.connections.lock_timeout();
        let ticket = Ticket { work, waits_until, reply, _permit: permit };
        lock(&self.grouping).add(ticket);
        self.start_calls();
        answer.await.map_err(|_| interrupted())
    }

    /// Commits the transaction that a handler opened, with its unit in it.
    pub(crate) async fn commit_open(
        self: &Arc<Self>,
        transaction: LentTransaction,
        work: Arc<Work>,
    ) -> Result<Answer> {
        let committer = Arc::clone(self);
        // A task of its own, so that a caller who leaves does not stop what was handed over.
        let ended = tokio::spawn(async move { committer.end(transaction, &work).await });
        ended.await.map_err(|_| interrupted())
    }

    async fn end(&self, mut transaction: LentTransaction, work: &Arc<Work>) -> Answer {
        let connection = &mut transaction.connection;
        let answer = match self.call_in(connection, work, &self.calls_inside).await {
            // Dropped, the session is closed with whatever is open in it.
            Ok(None) => Ok(UnitAnswer::NotOpen),
            Ok(Some(answer @ UnitAnswer::Committed { .. })) => {
                transaction.end("COMMIT").await.map(|()| answer)
            }
            Ok(Some(refused)) => transaction.end("ROLLBACK").await.map(|()| refused),
            Err(cause) => Err(cause),
        };
        self.announce(std::slice::from_ref(work));
        answer.map_err(Arc::new)
    }

    /// Does what the unit asks for inside a transaction that somebody else ends.
    pub(crate) async fn join(
        &self,
        connection: &mut PgConnection,
        work: &Arc<Work>,
    ) -> Result<UnitAnswer, sqlx::Error> {
        let answer = self.call_in(connection, work, &self.calls).await?;
        answer.ok_or(sqlx::Error::RowNotFound)
    }

    async fn call_in(
        &self,
        connection: &mut PgConnection,
        work: &Arc<Work>,
        calls: &Calls,
    ) -> Result<Option<UnitAnswer>, sqlx::Error> {
        let connections = &self.database.connections;
        let call = Call::of(std::slice::from_ref(work));
        let query = call.query(calls, &self.terms(None));
        let query = query.persistent(connections.keeps_statements()).fetch_optional(connection);
        let Some(row) = connections.in_time(query).await? else {
            return Ok(None);
        };
        Ok(call.answers(&row)?.into_iter().next())
    }

    /// Who is notified of new messages.
    pub(crate) fn listeners(&self) -> &Arc<Listeners> {
        &self.listeners
    }

    /// How a call is to work; without `lock_wait` it waits for locks as long as its session does.
    fn terms(&self, lock_wait: Option<Duration>) -> Terms<'_> {
        Terms { schema: &self.schema, now: self.database.now(), lock_wait }
    }

    pub(super) fn start_calls(self: &Arc<Self>) {
        loop {
            let next = lock(&self.grouping).next();
            match next {
                None => return,
                Some(Next::Call(units)) => {
                    self.database.counters.add_units(units.len());
                    tokio::spawn(Arc::clone(self).run(units));
                }
                Some(Next::Alone(unit)) => {
                    self.database.counters.add_units(1);
                    tokio::spawn(Arc::clone(self).wait_alone(unit));
                }
            }
        }
    }

    async fn run(self: Arc<Self>, units: Vec<Ticket>) {
        let works: Vec<_> = units.iter().map(|ticket| Arc::clone(&ticket.work)).collect();
        let answers = self.commit_all(&works).await;
        self.announce(&works);
        let mut answered = Vec::with_capacity(units.len());
        {
            let mut grouping = lock(&self.grouping);
            grouping.end_call();
            for (ticket, answer) in units.into_iter().zip(answers) {
                let claims = &ticket.work.claims;
                match answer {
                    Some(answer) => {
                        grouping.release(claims);
                        answered.push((ticket, answer));
                    }
                    None => {
                        grouping.found_held(claims);
                        tokio::spawn(Arc::clone(&self).wait_alone(ticket));
                    }
                }
            }
        }
        self.start_calls();
        answered.into_iter().for_each(|(ticket, answer)| ticket.answer(answer));
    }

    /// Notifies the relays of new messages. After a lost connection too: the commit may have arrived.
    pub(super) fn announce(&self, works: &[Arc<Work>]) {
        if works.iter().any(|work| !work.unit.outbox.is_empty()) {
            self.listeners.notify();
        }
    }

    /// An answer for each unit, except for those that have to wait for another transaction.
    ///
    /// When the database refuses a call because of what one of its units holds, the call is split
    /// in halves until that unit is alone. When another transaction holds what one of them needs, or
    /// all took too long, each goes alone.
    async fn commit_all(&self, works: &[Arc<Work>]) -> Vec<Option<Answer>> {
        let mut answers = Vec::with_capacity(works.len());
        let mut to_do = vec![works];
        while let Some(works) = to_do.pop() {
            match self.send(works, self.in_call(LOCK_WAIT)).await {
                Ok(answered) => answers.extend(answered.into_iter().map(|it| Some(Ok(it)))),
                Err(cause) if works.len() > 1 && (is_held(&cause) || took_too_long(&cause)) => {
                    for work in works {
                        answers.push(self.commit_alone(work).await);
                    }
                }
                Err(cause) if is_held(&cause) => answers.push(None),
                Err(cause) if works.len() > 1 && concerns_one(&cause) => {
                    let (first, second) = works.split_at(works.len() / 2);
                    to_do.extend([second, first]);
                }
                Err(cause) => {
                    let cause = Arc::new(cause);
                    answers.extend(works.iter().map(|_| Some(Err(Arc::clone(&cause)))));
                }
            }
        }
        answers
    }

    async fn commit_alone(&self, work: &Arc<Work>) -> Option<Answer> {
        match self.send_one(work, self.in_call(ALONE_LOCK_WAIT)).await {
            Err(cause) if is_held(&cause) => None,
            answer => Some(answer.map_err(Arc::new)),
        }
    }

    fn in_call(&self, lock_wait: Duration) -> Way {
        let acquire = self.database.connections.acquire_timeout();
        Way { purpose: Purpose::Work, acquire, lock_wait }
    }

    /// Sends a unit alone.
    pub(super) async fn send_one(
        &self,
        work: &Arc<Work>,
        way: Way,
    ) -> Result<UnitAnswer, sqlx::Error> {
        let answers = self.send(std::slice::from_ref(work), way).await?;
        answers.into_iter().next().ok_or(sqlx::Error::RowNotFound)
    }

    async fn send(&self, works: &[Arc<Work>], way: Way) -> Result<Vec<UnitAnswer>, sqlx::Error> {
        let connections = &self.database.connections;
        let call = Call::of(works);
        let mut tries = 0;
        loop {
            let query = call.query(&self.calls, &self.terms(Some(way.lock_wait)));
            let lent = connections.lend_within(way.purpose, way.acquire).await?;
            self.database.counters.add_call();
            match lent.fetch_one(query).await {
                Err(cause) if may_run_again(&cause) && tries < RETRIES_MAX => tries += 1,
                answer => return answer.and_then(|row| call.answers(&row)),
            }
        }
    }
}

impl Ticket {
    pub(super) fn answer(self, answer: Answer) {
        // The caller may be gone; the answer holds all the same.
        let _caller_gone = self.reply.send(answer);
    }
}

/// Whether a refusal may be due to one unit, so that the others can go without it.
fn concerns_one(cause: &sqlx::Error) -> bool {
    match cause {
        sqlx::Error::Encode(_) => true,
        sqlx::Error::Database(refusal) => {
            // Unusable data, taken values, another transaction in the way, too large for an index.
            let class = refusal.code().and_then(|code| code.get(..2).map(str::to_owned));
            matches!(class.as_deref(), Some("22" | "23" | "40" | "54"))
        }
        _ => false,
    }
}

fn interrupted() -> Error {
    Error::unavailable("the commit was interrupted")
}
