//! The one writer: groups the work that is ready into one transaction, each with its own outcome.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use mamey_core::Error;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};
use tokio::sync::mpsc;

use super::transaction::{Opening, Transaction};
use super::work::{Job, Kept};
use crate::sqlite::error::store_error;
use crate::sqlite::stats::Counters;

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

/// Owns the only connection that writes.
pub(crate) struct Writer {
    pub(crate) path: PathBuf,
    pub(crate) options: SqliteConnectOptions,
    pub(crate) connection: Option<SqliteConnection>,
    pub(crate) batch_units_max: usize,
    pub(crate) counters: Arc<Counters>,
    /// Keeps other processes out until the last unit is written.
    pub(crate) _file_lock: Arc<File>,
}

impl Writer {
    /// Works until every sender of the queue is gone and the queue is empty.
    pub(crate) async fn run(mut self, mut queue: mpsc::Receiver<Box<dyn Job>>) {
        let mut batch = Vec::with_capacity(self.batch_units_max);
        // It takes what is ready; a lone unit never waits for others.
        while queue.recv_many(&mut batch, self.batch_units_max).await > 0 {
            let lost = self.transact(&mut batch).await.err();
            if lost.is_some() {
                self.disconnect().await;
            }
            for job in batch.drain(..) {
                job.answer(lost.as_ref().map(|lost| self.error(lost)));
            }
        }
        self.disconnect().await;
    }

    async fn transact(&mut self, batch: &mut [Box<dyn Job>]) -> Result<(), Arc<sqlx::Error>> {
        let number = self.counters.add_transaction(batch.len());
        let connection = self.connection().await?;
        transact(connection, batch, number).await.map_err(Arc::new)
    }

    /// After a failure the old connection's state is unknown, so it opens a new one.
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
    let (mut last, mut remaining) = (None, batch.len());
    for job in batch {
        remaining -= 1;
        if remaining == 0 {
            transaction.closing = Some(COMMIT);
        }
        let kept = job.run(&mut transaction).await?;
        // Work that ran no statement leaves the unit before it open, for the next.
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
