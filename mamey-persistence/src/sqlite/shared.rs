//! What all contexts in one file share: connections, the writer, listeners and counters.

use std::collections::HashMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use mamey_core::clock::Clock;
use mamey_core::message::ContextName;
use mamey_core::store::StoreId;
use mamey_core::{Error, Result};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tokio::sync::{RwLock, mpsc, oneshot};
use tokio::task::JoinHandle;

use super::builds::Builds;
use super::commit::work::{Job, Work, job};
use super::commit::writer::Writer;
use super::connection::readers::Readers;
use super::error::store_error;
use super::options::SqliteOptions;
use super::stats::Counters;
use crate::common::errors::closed;
use crate::common::lock::lock;
use crate::common::wakeup::Listeners;

/// Where the writer's answer arrives.
pub(super) type Answer<T> = oneshot::Receiver<Result<T>>;

/// One open file.
pub(super) struct Shared {
    pub(super) path: PathBuf,
    pub(super) identity: StoreId,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) readers: Readers,
    pub(super) counters: Arc<Counters>,
    pub(super) builds: RwLock<Builds>,
    queue: Mutex<Option<mpsc::Sender<Box<dyn Job>>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    file_lock: Mutex<Option<Arc<File>>>,
    listeners: Mutex<HashMap<ContextName, Arc<Listeners>>>,
}

impl Shared {
    /// Starts the writer on its first connection.
    pub(super) fn start(
        (path, identity): (PathBuf, StoreId),
        options: SqliteOptions,
        (writing, first): (SqliteConnectOptions, SqliteConnection),
        file_lock: Arc<File>,
    ) -> Self {
        let counters = Arc::new(Counters::default());
        let readers = Readers::new(&path, &options);
        let (queue, jobs) = mpsc::channel(options.queued_units_max.max(1));
        let writer = Writer {
            path: path.clone(),
            options: writing,
            connection: Some(first),
            batch_units_max: options.batch_units_max.max(1),
            counters: Arc::clone(&counters),
            _file_lock: Arc::clone(&file_lock),
        };
        Self {
            path,
            identity,
            clock: options.clock,
            readers,
            queue: Mutex::new(Some(queue)),
            writer: Mutex::new(Some(tokio::spawn(writer.run(jobs)))),
            file_lock: Mutex::new(Some(file_lock)),
            counters,
            builds: RwLock::default(),
            listeners: Mutex::default(),
        }
    }

    /// Hands work to the writer and waits for its answer.
    ///
    /// # Cancellation
    /// Once it is in the queue, the work runs even if nobody waits for the answer.
    pub(super) async fn submit<W: Work>(&self, work: W) -> Result<W::Output> {
        answered(self.enqueue(work).await?).await
    }

    /// Hands work to the writer, whose answer [`answered`] waits for.
    pub(super) async fn enqueue<W: Work>(&self, work: W) -> Result<Answer<W::Output>> {
        let queue = lock(&self.queue).clone().ok_or_else(closed)?;
        let (job, answer) = job(work);
        queue.send(job).await.map_err(|_| closed())?;
        Ok(answer)
    }

    pub(super) async fn close(&self) {
        // The connection that closes last merges the log into the file, and a reader cannot write.
        self.readers.close().await;
        drop(lock(&self.queue).take());
        let writer = lock(&self.writer).take();
        if let Some(writer) = writer
            && let Err(cause) = writer.await
        {
            tracing::error!(%cause, "the writer of {} failed", self.path.display());
        }
        drop(lock(&self.file_lock).take());
    }

    /// Who waits for new outbox records of a context.
    pub(super) fn listeners(&self, context: ContextName) -> Arc<Listeners> {
        let mut listeners = lock(&self.listeners);
        Arc::clone(listeners.entry(context).or_default())
    }

    /// The failure as one of ours, naming the file.
    pub(super) fn error(&self, cause: sqlx::Error) -> Error {
        store_error(&self.path, Arc::new(cause))
    }
}

/// Waits for the writer's answer.
pub(super) async fn answered<T>(answer: Answer<T>) -> Result<T> {
    let silent = |_| Err(Error::unavailable("the writer ended before it answered"));
    answer.await.unwrap_or_else(silent)
}
