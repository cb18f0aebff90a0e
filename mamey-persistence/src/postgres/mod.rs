//! The store on PostgreSQL: shared by all instances, one schema a context.

mod commit;
mod connection;
mod document;
mod error;
mod inbox;
mod lease;
mod options;
mod outbox;
mod parking;
mod query;
mod schema;
mod transaction;
mod wakeup;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use mamey_core::capabilities::StoreCapabilities;
use mamey_core::clock::Clock;
use mamey_core::criteria::Collection;
use mamey_core::store::{Database, Schema, Store};
use mamey_core::{Error, Result, ResultExt, redact_url};
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;

use self::commit::committer::{Committer, Counters, UNITS_WAITING_MAX};
use self::commit::functions::Functions;
use self::connection::Connections;
use self::error::store_error;
pub use self::options::PostgresOptions;
use self::schema::Wanted;
use self::schema::migrate::in_schema;
use self::schema::table::Table;
pub use self::transaction::{
    Enlisted, PostgresContext, PostgresError, PostgresTransaction, enlist,
};
use self::wakeup::Wakeup;
use crate::common::declared::{DOCUMENT_BYTES_MAX, Declared};
use crate::common::errors::closed;

/// How much was committed since the database was connected to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PostgresStats {
    /// Calls to the server, each a transaction of its own; those sent again count again.
    pub calls: u64,
    /// Units of work in them.
    pub units: u64,
}

/// A database on a PostgreSQL server, which any number of instances share.
///
/// Each context has a schema of its own, named as the context. Clones share the connections; close
/// it with [`Database::close`].
#[derive(Clone)]
pub struct PostgresDatabase {
    shared: Arc<Shared>,
}

struct Shared {
    /// The URL without secrets.
    place: String,
    clock: Option<Arc<dyn Clock>>,
    connections: Arc<Connections>,
    connections_max: u32,
    /// Bounds the units that are handed over and not yet answered.
    units: Arc<Semaphore>,
    counters: Counters,
    wakeup: Arc<Wakeup>,
    /// The wake-up's, once a context is open.
    tasks: tokio::sync::Mutex<Option<JoinSet<()>>>,
}

/// Why the preparation of a context stopped.
enum Stop {
    /// What it declares does not go with what is stored.
    Refuse(Error),
    /// The database failed.
    Fail(sqlx::Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Refuse(error)
    }
}

impl From<sqlx::Error> for Stop {
    fn from(cause: sqlx::Error) -> Self {
        Self::Fail(cause)
    }
}

/// One context's share of the database, as one open of it sees it.
struct PostgresStore {
    database: Arc<Shared>,
    declared: Declared,
    /// The quoted name of the context's schema.
    schema: String,
    /// By name, in the order in which all units lock.
    tables: Vec<Table>,
    committer: Arc<Committer>,
    outbox_changed: Arc<Notify>,
}

/// Whether a URL can be read.
pub(crate) fn check_url(url: &str) -> Result<()> {
    PostgresOptions::default().read(url).map(drop)
}

impl PostgresDatabase {
    /// Connects to the database of a URL such as `postgres://user:password@host:5432/database`.
    ///
    /// Behind `?` it takes the usual parameters of PostgreSQL (`sslmode`, `sslrootcert`, `sslcert`,
    /// `sslkey`, `application_name`, …) and those of [`PostgresOptions`]: `connections_max`,
    /// `acquire_timeout_ms`, `connect_timeout_ms`, `statement_timeout_ms`,
    /// `statements_cached_max`, `listen`, `pgbouncer`. What the URL leaves out, such as the
    /// password, comes from PostgreSQL's usual variables (`PGPASSWORD`, `PGSSLMODE`,
    /// `PGSSLROOTCERT`, …) and from `~/.pgpass`.
    ///
    /// # Errors
    /// `Misconfigured` for a URL that cannot be read or says what is not known, a wrong password, a
    /// certificate that does not hold or a database that does not exist; `Unavailable` when the
    /// server is out of reach.
    pub async fn connect(url: &str, options: PostgresOptions) -> Result<Self> {
        let place = redact_url(url);
        let (options, connect) = options.read(url)?;
        let shared = Shared {
            place,
            connections: Arc::new(Connections::new(connect, &options)),
            connections_max: options.connections_max,
            wakeup: Arc::new(Wakeup::new(options.listen)),
            tasks: tokio::sync::Mutex::default(),
            clock: options.clock,
            units: Arc::new(Semaphore::new(UNITS_WAITING_MAX as usize)),
            counters: Counters::default(),
        };
        let lent = shared.connections.lend().await.map_err(|cause| shared.error(cause))?;
        lent.give_back();
        Ok(Self { shared: Arc::new(shared) })
    }

    /// How much was committed so far.
    #[must_use]
    pub fn stats(&self) -> PostgresStats {
        let counters = &self.shared.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        PostgresStats { calls: read(&counters.calls), units: read(&counters.units) }
    }

    /// The SQL that would bring this database to what a context needs, for an administrator to run
    /// where the service's own role may only read and write rows. Empty when nothing is missing;
    /// nothing is changed.
    ///
    /// # Errors
    /// As [`Database::open`].
    pub async fn migration_sql(&self, schema: &Schema) -> Result<String> {
        let declared = Declared::new(schema)?;
        let name = format!("\"{}\"", schema.context);
        let tables = tables_of(&declared, &name);
        let functions = Functions::new(&name, &tables);
        let wanted = Wanted::new(&schema.context, &name, &tables, &functions);
        self.shared.missing_sql(&wanted).await
    }
}

impl fmt::Debug for PostgresDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgresDatabase({})", self.shared.place)
    }
}

#[async_trait]
impl Database for PostgresDatabase {
    async fn open(&self, schema: &Schema) -> Result<Arc<dyn Store>> {
        let declared = Declared::new(schema)?;
        let context = schema.context.clone();
        let schema = format!("\"{context}\"");
        let tables = tables_of(&declared, &schema);
        let functions = Functions::new(&schema, &tables);
        self.shared
            .prepare(&Wanted::new(&context, &schema, &tables, &functions))
            .await
            .with_context(|| format!("opening context `{context}`"))?;
        let outbox_changed = Arc::new(Notify::new());
        let listeners = self.shared.wakeup.listeners(context);
        listeners.add(&outbox_changed);
        let (database, calls) = (Arc::clone(&self.shared), functions.calls(&schema));
        let committer = Committer::new(database, schema.clone(), calls, listeners);
        let store = PostgresStore {
            database: Arc::clone(&self.shared),
            declared,
            schema,
            tables,
            committer,
            outbox_changed,
        };
        store.make_inbox_days().await?;
        store.database.start_wakeup().await;
        Ok(Arc::new(store))
    }

    fn describe(&self) -> String {
        self.shared.place.clone()
    }

    async fn close(&self) {
        // All of them come back once every unit that was handed over has its outcome.
        let none_waits = self.shared.units.acquire_many(UNITS_WAITING_MAX).await;
        self.shared.units.close();
        drop(none_waits);
        let tasks = self.shared.tasks.lock().await.take();
        if let Some(mut tasks) = tasks {
            tasks.shutdown().await;
        }
        self.shared.connections.close(self.shared.connections_max).await;
    }
}

#[async_trait]
impl Store for PostgresStore {
    fn capabilities(&self) -> StoreCapabilities {
        StoreCapabilities {
            name: "postgres",
            durable: true,
            shared: true,
            document_bytes_max: DOCUMENT_BYTES_MAX,
        }
    }

    async fn ping(&self) -> Result<()> {
        let asked = self.database.connections.fetch_one(sqlx::query("SELECT 1")).await;
        asked.map(drop).map_err(|cause| self.database.error(cause))
    }
}

impl PostgresStore {
    /// A statement about this context's schema.
    fn query(&self, sql: &'static str) -> Query<'static, sqlx::Postgres, PgArguments> {
        sqlx::query(AssertSqlSafe(in_schema(&self.schema, sql)))
            .persistent(self.database.connections.keeps_statements())
    }

    /// The collection's table, and its place among all.
    fn table(&self, collection: &'static Collection) -> Result<(usize, &Table)> {
        self.declared.check(collection)?;
        let name = |table: &Table| table.collection.name;
        let place = self.tables.binary_search_by_key(&collection.name, name).ok();
        let table = place.and_then(|place| Some((place, self.tables.get(place)?)));
        // `check` has just found it, so this error cannot show.
        table.ok_or_else(closed)
    }
}

impl Shared {
    /// The time in microseconds to hand to a statement: none, unless a test gives one.
    fn now(&self) -> Option<i64> {
        self.clock.as_ref().map(|clock| clock.now().as_micros())
    }

    async fn start_wakeup(&self) {
        let mut tasks = self.tasks.lock().await;
        if tasks.is_none() {
            *tasks = Some(self.wakeup.start(&self.connections).await);
        }
    }

    fn error(&self, cause: impl Into<Arc<sqlx::Error>>) -> Error {
        store_error(&self.place, cause)
    }
}

/// In the order in which all units lock.
fn tables_of(declared: &Declared, schema: &str) -> Vec<Table> {
    let tables = declared.collections.values().map(|collection| Table::new(schema, collection));
    let mut tables: Vec<_> = tables.collect();
    tables.sort_by_key(|table| table.collection.name);
    tables
}
