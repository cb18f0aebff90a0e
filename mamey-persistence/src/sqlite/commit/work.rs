//! Work for the writer: what runs in a transaction, and how its answer comes back.

use async_trait::async_trait;
use mamey_core::{Error, Result};
use tokio::sync::oneshot;

use super::transaction::Transaction;

/// Something to do inside a transaction.
#[async_trait]
pub(crate) trait Work: Send + 'static {
    /// The answer.
    type Output: Send + 'static;

    /// Runs the statements; the writer commits them.
    async fn run(
        &mut self,
        transaction: &mut Transaction<'_>,
    ) -> Result<Self::Output, Stop<Self::Output>>;

    /// Called once the answer is durable.
    fn committed(&self) {}
}

/// Why work is not kept.
pub(crate) enum Stop<T> {
    /// The answer stands, and nothing is stored.
    Undo(T),
    /// The work is refused; other work in the transaction goes on.
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
pub(crate) trait Job: Send {
    /// Runs the work, and says whether its changes are kept.
    async fn run(&mut self, transaction: &mut Transaction<'_>) -> Result<Kept, sqlx::Error>;

    /// Answers the caller after the transaction; with `lost` when the transaction failed.
    fn answer(self: Box<Self>, lost: Option<Error>);
}

/// Whether the changes of a unit stay in the transaction.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    Yes,
    No,
}

/// Work ready for the queue, and where its answer arrives.
pub(crate) fn job<W: Work>(work: W) -> (Box<dyn Job>, oneshot::Receiver<Result<W::Output>>) {
    let (reply, answer) = oneshot::channel();
    let ticket = Ticket { work, answer: None, kept: Kept::No, reply };
    (Box::new(ticket), answer)
}

/// Work with its answer, until the transaction has ended.
struct Ticket<W: Work> {
    work: W,
    answer: Option<Result<W::Output>>,
    kept: Kept,
    reply: oneshot::Sender<Result<W::Output>>,
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

    fn answer(self: Box<Self>, lost: Option<Error>) {
        if lost.is_none() && self.kept == Kept::Yes {
            self.work.committed();
        }
        let unfinished = || Error::unavailable("the transaction ended before this work");
        let answer = match (lost, self.answer) {
            (Some(error), _) => Err(error),
            (None, answer) => answer.unwrap_or_else(|| Err(unfinished())),
        };
        // The caller may no longer wait; the work is committed nevertheless.
        let _not_awaited = self.reply.send(answer);
    }
}
