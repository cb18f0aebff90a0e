//! The store on one SQLite file: the embedded default, durable without a server.

mod backfill;
mod collection;
mod commit;
mod connection;
mod document;
mod error;
mod filter;
mod inbox;
mod lease;
mod migrate;
mod outbox;
mod parking;
mod readers;
mod script;
mod table;
mod writer;

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use mamey_core::capabilities::StoreCapabilities;
use mamey_core::clock::{Clock, SystemClock};
use mamey_core::criteria::Collection;
use mamey_core::message::ContextName;
use mamey_core::store::{Database, Schema, Store};
use mamey_core::{Error, Result, ResultExt};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

use self::collection::Prepare;
use self::error::store_error;
use self::readers::Readers;
use self::table::Table;
use self::writer::{Counters, Job, Work, Writer, job};
use crate::common::declared::{DOCUMENT_BYTES_MAX, Declared};
use crate::common::errors::closed;
use crate::common::lock::lock;
use crate::common::wakeup::Listeners;

/// How an SQLite file is used.
#[derive(Clone)]
pub struct SqliteOptions {
    /// Where the time of leases and receipts comes from; the machine's clock by default.
    pub clock: Arc<dyn Clock>,
    /// Whether each commit reaches the disk before it is answered, which is the default. Without,
    /// a power failure may lose the last commits, but never a part of one.
    pub synchronous_full: bool,
    /// The most units of work that share a transaction; 128 by default.
    pub batch_units_max: usize,
    /// The most units of work that wait for the writer; 1024 by default. Further callers wait.
    pub queued_units_max: usize,
    /// How many connections read beside the writer; 4 by default.
    pub read_connections: u32,
    /// The largest size of the file in bytes; unlimited by default. Commits beyond fail as on a
    /// full disk.
    pub file_bytes_max: Option<u64>,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            synchronous_full: true,
            batch_units_max: 128,
            queued_units_max: 1024,
            read_connections: 4,
            file_bytes_max: None,
        }
    }
}

impl fmt::Debug for SqliteOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteOptions")
            .field("synchronous_full", &self.synchronous_full)
            .field("batch_units_max", &self.batch_units_max)
            .field("queued_units_max", &self.queued_units_max)
            .field("read_connections", &self.read_connections)
            .field("file_bytes_max", &self.file_bytes_max)
            .finish_non_exhaustive()
    }
}

/// How much the writer did since the file was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SqliteStats {
    /// Transactions begun.
    pub transactions: u64,
    /// Units of work and other writes in them.
    pub units: u64,
}

/// A database in one SQLite file, used by one process at a time.
///
/// One task writes: it groups the units that are ready into one transaction, each with its own
/// outcome, and answers after the commit. Reads run beside it. Clones share the file; close it with
/// [`Database::close`], so that begun commits finish while the runtime still runs.
#[derive(Clone)]
pub struct SqliteDatabase {
    shared: Arc<Shared>,
}

struct Shared {
    path: PathBuf,
    clock: Arc<dyn Clock>,
    readers: Readers,
    queue: Mutex<Option<mpsc::Sender<Box<dyn Job>>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    file_lock: Mutex<Option<Arc<File>>>,
    counters: Arc<Counters>,
    listeners: Mutex<HashMap<ContextName, Arc<Listeners>>>,
}

/// One context's share of the file, as one open of it sees it.
struct SqliteStore {
    database: Arc<Shared>,
    declared: Declared,
    tables: HashMap<&'static str, Arc<Table>>,
    listeners: Arc<Listeners>,
    outbox_changed: Arc<Notify>,
}

/// Whether a path or URL names a file that could be opened.
pub(crate) fn check_url(path_or_url: &str) -> Result<()> {
    connection::path_of(path_or_url).map(drop)
}

impl SqliteDatabase {
    /// Opens a file, given as a path or as `sqlite:path`; makes it and its folder when absent.
    ///
    /// # Errors
    /// `Misconfigured` when the file is used by another process, belongs to another program, was
    /// written by a newer Mamey or cannot be written; `Unavailable` when the disk fails.
    pub async fn open(path_or_url: &str, options: SqliteOptions) -> Result<Self> {
        let path = connection::path_of(path_or_url)?;
        let doing = || format!("opening the store {}", path.display());
        let file_lock = Arc::new(connection::lock(&path).await.with_context(doing)?);
        connection::check_owner(&path).await.with_context(doing)?;
        let writing = connection::writing(&path, &options);
        let mut first = connection::connect(&path, &writing).await.with_context(doing)?;
        migrate::migrate(&mut first, &path, options.clock.now()).await.with_context(doing)?;
        lease::forget_instances(&mut first)
            .await
            .map_err(|cause| store_error(&path, Arc::new(cause)))
            .with_context(doing)?;
        Ok(Self { shared: Arc::new(Shared::start(path, options, (writing, first), file_lock)) })
    }

    /// How much the writer did since the file was opened.
    #[must_use]
    pub fn stats(&self) -> SqliteStats {
        let counters = &self.shared.counters;
        SqliteStats {
            transactions: counters.transactions.load(Ordering::Relaxed),
            units: counters.units.load(Ordering::Relaxed),
        }
    }
}

impl fmt::Debug for SqliteDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SqliteDatabase({})", self.shared.path.display())
    }
}

#[async_trait]
impl Database for SqliteDatabase {
    async fn open(&self, schema: &Schema) -> Result<Arc<dyn Store>> {
        let declared = Declared::new(schema)?;
        let context = schema.context.clone();
        let tables: HashMap<_, _> = declared
            .collections
            .iter()
            .map(|(name, collection)| (*name, Arc::new(Table::new(&context, collection))))
            .collect();
        let prepare =
            Prepare { context: context.clone(), tables: tables.values().cloned().collect() };
        self.shared
            .submit(prepare)
            .await
            .with_context(|| format!("opening context `{context}`"))?;
        let outbox_changed = Arc::new(Notify::new());
        let listeners = self.shared.listeners(context);
        listeners.add(&outbox_changed);
        Ok(Arc::new(SqliteStore {
            database: Arc::clone(&self.shared),
            declared,
            tables,
            listeners,
            outbox_changed,
        }))
    }

    fn describe(&self) -> String {
        format!("sqlite:{}", self.shared.path.display())
    }

    async fn close(&self) {
        self.shared.close().await;
    }
}

#[async_trait]
impl Store for SqliteStore {
    fn capabilities(&self) -> StoreCapabilities {
        StoreCapabilities {
            name: "sqlite",
            durable: true,
            shared: false,
            document_bytes_max: DOCUMENT_BYTES_MAX,
        }
    }

    async fn ping(&self) -> Result<()> {
        let asked = self.database.readers.fetch_one(sqlx::query("SELECT 1")).await;
        asked.map(drop).map_err(|cause| self.database.error(cause))
    }
}

impl SqliteStore {
    fn context(&self) -> &str {
        self.declared.context.as_str()
    }

    fn table(&self, collection: &'static Collection) -> Result<&Table> {
        self.declared.check(collection)?;
        let table = self.tables.get(collection.name).map(AsRef::as_ref);
        // `check` has just found it, so this error cannot show.
        table.ok_or_else(closed)
    }
}

impl Shared {
    fn start(
        path: PathBuf,
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
            clock: options.clock,
            readers,
            queue: Mutex::new(Some(queue)),
            writer: Mutex::new(Some(tokio::spawn(writer.run(jobs)))),
            file_lock: Mutex::new(Some(file_lock)),
            counters,
            listeners: Mutex::default(),
        }
    }

    /// Hands work to the writer and waits for its answer.
    ///
    /// # Cancellation
    /// Once the queue has it, it runs whether or not anybody waits.
    async fn submit<W: Work>(&self, work: W) -> Result<W::Output> {
        let queue = lock(&self.queue).clone().ok_or_else(closed)?;
        let (job, answer) = job(work);
        queue.send(job).await.map_err(|_| closed())?;
        drop(queue);
        let silent = |_| Err(Error::unavailable("the writer ended before it answered"));
        answer.await.unwrap_or_else(silent)
    }

    async fn close(&self) {
        // The connection that closes last folds the log into the file, which a reader cannot.
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

    fn listeners(&self, context: ContextName) -> Arc<Listeners> {
        let mut listeners = lock(&self.listeners);
        Arc::clone(listeners.entry(context).or_default())
    }

    fn error(&self, cause: sqlx::Error) -> Error {
        store_error(&self.path, Arc::new(cause))
    }
}
