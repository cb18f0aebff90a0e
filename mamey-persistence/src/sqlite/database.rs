//! Opens an SQLite file and contexts in it.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use mamey_core::clock::Clock;
use mamey_core::connection::ConnectionUrl;
use mamey_core::criteria::Collection;
use mamey_core::store::{Database, Schema, Store};
use mamey_core::{Result, ResultExt};
use tokio::sync::Notify;

use super::connection::{file, settings};
use super::error::store_error;
use super::lease::forget_instances;
use super::options::SqliteOptions;
use super::schema::collection::Prepare;
use super::schema::migrate::{identity, migrate};
use super::shared::Shared;
use super::stats::SqliteStats;
use super::store::SqliteStore;
use crate::common::declared::Declared;

/// A database in one SQLite file, used by one process at a time.
///
/// One task writes: it groups the units that are ready into one transaction, each with its own
/// outcome, and answers after the commit. Reads run beside it. Clones share the file; close it with
/// [`Database::close`], so that commits that have begun finish while the runtime still runs.
///
/// ```
/// use mamey::persistence::{SqliteDatabase, SqliteOptions};
/// use mamey::store::Database;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> mamey::Result<()> {
/// # let folder = std::env::temp_dir().join(format!("mamey-doc-{}", std::process::id()));
/// # let path = folder.join("orders.db").display().to_string();
/// let database = SqliteDatabase::open(&path, SqliteOptions::default()).await?;
/// assert_eq!(database.stats().units, 0);
/// database.close().await;
/// # std::fs::remove_dir_all(folder).unwrap();
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SqliteDatabase {
    shared: Arc<Shared>,
}

/// Checks that a path or URL names a file, without opening it.
pub(crate) fn check(path_or_url: &str) -> Result<()> {
    file::path_of(path_or_url).map(drop)
}

/// Opens the file of a URL with the defaults.
pub(crate) async fn connect(
    url: ConnectionUrl,
    clock: Arc<dyn Clock>,
) -> Result<Arc<dyn Database>> {
    let options = SqliteOptions::default().with_clock(clock);
    Ok(Arc::new(SqliteDatabase::open(url.as_str(), options).await?))
}

impl SqliteDatabase {
    /// Opens a file, given as a path or as `sqlite:path`; creates it and its folder when absent.
    ///
    /// # Errors
    /// `Misconfigured` when the file is used by another process, belongs to another program, was
    /// written by a newer Mamey or cannot be written; `Unavailable` when the disk fails.
    pub async fn open(path_or_url: &str, options: SqliteOptions) -> Result<Self> {
        let path = file::path_of(path_or_url)?;
        let doing = || format!("opening the store {}", path.display());
        let file_lock = Arc::new(file::lock(&path).await.with_context(doing)?);
        file::check_owner(&path).await.with_context(doing)?;
        let writing = settings::writing(&path, &options);
        let mut first = settings::connect(&path, &writing).await.with_context(doing)?;
        migrate(&mut first, &path, options.clock.now()).await.with_context(doing)?;
        forget_instances(&mut first)
            .await
            .map_err(|cause| store_error(&path, Arc::new(cause)))
            .with_context(doing)?;
        let identity = identity(&mut first)
            .await
            .map_err(|cause| store_error(&path, Arc::new(cause)))
            .with_context(doing)?;
        let file = (path, identity);
        Ok(Self { shared: Arc::new(Shared::start(file, options, (writing, first), file_lock)) })
    }

    /// How much the writer did since the file was opened.
    #[must_use]
    pub fn stats(&self) -> SqliteStats {
        self.shared.counters.read()
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
        // What is committed meanwhile waits, and then knows the new columns.
        let mut builds = self.shared.builds.write().await;
        let mut open = builds.still_open(&context);
        let table = |(name, of): (&&'static str, &&'static Collection)| {
            (*name, Arc::new(open.table(&context, of)))
        };
        let tables: HashMap<_, _> = declared.collections.iter().map(table).collect();
        let prepare =
            Prepare { context: context.clone(), tables: tables.values().cloned().collect() };
        let doing = || format!("opening context `{context}`");
        self.shared.submit(prepare).await.with_context(doing)?;
        let build = Arc::new(());
        open.add(&context, declared.collections.values(), &build);
        builds.replace(open);
        drop(builds);
        let outbox_changed = Arc::new(Notify::new());
        let listeners = self.shared.listeners(context.clone());
        listeners.add(&outbox_changed);
        let database = Arc::clone(&self.shared);
        Ok(Arc::new(SqliteStore {
            database,
            declared,
            tables,
            listeners,
            outbox_changed,
            _build: build,
        }))
    }

    fn describe(&self) -> String {
        format!("sqlite:{}", self.shared.path.display())
    }

    async fn close(&self) {
        self.shared.close().await;
    }
}
