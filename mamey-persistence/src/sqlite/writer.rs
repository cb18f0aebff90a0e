//! The one writer: groups the work that is ready into one transaction, each with its own outcome.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use mamey_core::{Error, Result};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};
use tokio::sync::{mpsc, oneshot};

use super::error::store_error;
use super::script::{Opening, Transaction};

/// Opens a transaction for a lone unit, which needs no savepoint.
const BEGIN_ALONE: Opening = Opening { sql: "BEGIN IMMEDIATE;", statements: 1 };
/// Opens a transaction for several units.
const BEGIN: Opening = Opening { sql: "BEGIN IMMEDIATE; SAVEPOINT unit;", statements: 2 };
/// Keeps the unit before and opens the next.
const AFTER_KEPT: Opening = Opening { sql: "RELEASE unit; SAVEPOINT unit;", statements: 2 };
/// Undoes the unit before; its savepoint stays and serves the next.
const AFTER_UNDONE: Opening = Opening { sql: "ROLLBACK TO unit;", statements: 1 };

/// Keeps everything.
const COMMIT: &str = "COMMIT";

/// Something to do inside a transaction.
#[async_trait]
pub(super) trait Work: Send + 'static {
    /// The answer.
    type Output: Send + 'static;

    /// Does it.
    async fn run(
        &mut self,
        transaction: &mut Transaction<'_>,
    ) -> Result<Self::Output, Stop<Self::Output>>;

    /// Called once the answer is durable.
    fn committed(&self) {}
}

/// Why work is not kept.
pub(super) enum Stop<T> {
    /// The answer is that nothing is stored.
    Undo(T),
    /// The work cannot be done; others in the transaction are not concerned.
    Refuse(Error),
    /// The database failed: the whole transaction is lost.
    Fail(sqlx::Error),
}

impl<T> From<sqlx::Error> for Stop<T> {
    fn from(cause: sqlx::Error) -> Self {
        Self::Fail(cause)
    }
}

impl<T> From<Error> for Stop<T> {
    fn from(error: Error) -> Self {
        Self::Refuse(error)
    }
}

/// Work in the writer's queue.
#[async_trait]
pub(super) trait Job: Send {
    async fn run(&mut self, transaction: &mut Transaction<'_>) -> Result<Kept, sqlx::Error>;

    /// Answers, with the error when the transaction was lost.
    fn settle(self: Box<Self>, lost: Option<Error>);
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    Yes,
    No,
}

struct Ticket<W: Work> {
    work: W,
    answer: Option<Result<W::Output>>,
    kept: Kept,
    reply: oneshot::Sender<Result<W::Output>>,
}

/// Work ready for the queue, and where its answer will come.
pub(super) fn job<W: Work>(work: W) -> (Box<dyn Job>, oneshot::Receiver<Result<W::Output>>) {
    let (reply, answer) = oneshot::channel();
    let ticket = Ticket { work, answer: None, kept: Kept::No, reply };
    (Box::new(ticket), answer)
}

#[async_trait]
impl<W: Work> Job for Ticket<W> {
    async fn run(&mut self, transaction: &mut Transaction<'_>) -> Result<Kept, sqlx::Error> {
        let (answer, kept) = match self.work.run(transaction).await {
            Ok(answer) => (Ok(answer), Kept::Yes),
            Err(Stop::Undo(answer)) => (Ok(answer), Kept::No),
            Err(Stop::Refuse(error)) => (Err(error), Kept::No),
            Err(Stop::Fail(cause)) => return Err(cause),
        };
        (self.answer, self.kept) = (Some(answer), kept);
        Ok(kept)
    }

    fn settle(self: Box<Self>, lost: Option<Error>) {
        if lost.is_none() && self.kept == Kept::Yes {
            self.work.committed();
        }
        let unfinished = || Error::unavailable("the transaction ended before this work");
        let answer = match (lost, self.answer) {
            (Some(error), _) => Err(error),
            (None, answer) => answer.unwrap_or_else(|| Err(unfinished())),
        };
        // Who asked may have gone; the work stands all the same.
        let _asker_gone = self.reply.send(answer);
    }
}

/// How much the writer did, to see how well units group.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) transactions: AtomicU64,
    pub(super) units: AtomicU64,
}

/// Owns the only connection that writes.
pub(super) struct Writer {
    pub(super) path: PathBuf,
    pub(super) options: SqliteConnectOptions,
    pub(super) connection: Option<SqliteConnection>,
    pub(super) batch_units_max: usize,
    pub(super) counters: Arc<Counters>,
    /// Keeps other processes out until the last unit is written.
    pub(super) _file_lock: Arc<File>,
}

impl Writer {
    /// Works until every sender of the queue is gone and the queue is empty.
    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<Box<dyn Job>>) {
        let mut batch = Vec::with_capacity(self.batch_units_max);
        // It takes what is ready and waits for no company.
        while queue.recv_many(&mut batch, self.batch_units_max).await > 0 {
            let lost = self.transact(&mut batch).await.err();
            if lost.is_some() {
                self.disconnect().await;
            }
            for job in batch.drain(..) {
                job.settle(lost.as_ref().map(|lost| self.error(lost)));
            }
        }
        self.disconnect().await;
    }

    async fn transact(&mut self, batch: &mut [Box<dyn Job>]) -> Result<(), Arc<sqlx::Error>> {
        let number = 1 + self.counters.transactions.fetch_add(1, Ordering::Relaxed);
        self.counters.units.fetch_add(batch.len() as u64, Ordering::Relaxed);
        let connection = self.connection().await?;
        transact(connection, batch, number).await.map_err(Arc::new)
    }

    /// After a failure the connection's state is unknown, so it starts from a new one.
    async fn connection(&mut self) -> Result<&mut SqliteConnection, Arc<sqlx::Error>> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.options.connect().await.map_err(Arc::new)?,
        };
        Ok(self.connection.insert(connection))
    }

    async fn disconnect(&mut self) {
        if let Some(connection) = self.connection.take()
            && let Err(cause) = connection.close().await
        {
            tracing::warn!(%cause, "closing the writing connection failed");
        }
    }

    /// Every unit of a lost transaction gets an error of its own.
    fn error(&self, lost: &Arc<sqlx::Error>) -> Error {
        store_error(&self.path, Arc::clone(lost))
    }
}

async fn transact(
    connection: &mut SqliteConnection,
    batch: &mut [Box<dyn Job>],
    number: u64,
) -> Result<(), sqlx::Error> {
    let alone = batch.len() == 1;
    let opening = Some(if alone { BEGIN_ALONE } else { BEGIN });
    let mut transaction = Transaction::new(connection, opening, number);
    let (mut last, mut to_come) = (None, batch.len());
    for job in batch {
        to_come -= 1;
        if to_come == 0 {
            transaction.closing = Some(COMMIT);
        }
        let kept = job.run(&mut transaction).await?;
        // Work that said nothing to the database left the unit before it open, for the next.
        if transaction.opening.is_none() {
            last = Some(kept);
            transaction.opening = Some(match kept {
                Kept::Yes => AFTER_KEPT,
                Kept::No => AFTER_UNDONE,
            });
        }
    }
    if transaction.closed {
        return Ok(());
    }
    let end = match (last, alone) {
        (None, _) => return Ok(()),
        (Some(Kept::Yes), _) => COMMIT,
        (Some(Kept::No), true) => "ROLLBACK",
        (Some(Kept::No), false) => "ROLLBACK TO unit; COMMIT",
    };
    sqlx::raw_sql(end).execute(transaction.connection).await?;
    Ok(())
}
