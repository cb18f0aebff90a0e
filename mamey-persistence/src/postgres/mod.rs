//! The store on PostgreSQL: shared by all instances, one schema a context.

mod backfill;
mod collection;
mod commit;
mod connection;
mod document;
mod envelope;
mod error;
mod filter;
mod inbox;
mod lease;
mod migrate;
mod outbox;
mod parking;
mod table;
mod text;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use mamey_core::capabilities::StoreCapabilities;
use mamey_core::clock::Clock;
use mamey_core::domain::Collection;
use mamey_core::message::ContextName;
use mamey_core::store::{Database, Schema, Store};
use mamey_core::{Error, Result, ResultExt, redact_url};
use sqlx::AssertSqlSafe;
use sqlx::postgres::{PgArguments, PgConnection};
use sqlx::query::Query;
use tokio::sync::Notify;

use self::collection::Stop;
use self::connection::Connections;
use self::error::store_error;
use self::migrate::{execute, in_schema};
use self::table::Table;
use crate::listeners::{Listeners, lock};
use crate::schema::{DOCUMENT_BYTES_MAX, Declared, closed};

/// How a PostgreSQL database is used.
#[derive(Clone)]
pub struct PostgresOptions {
    /// The most connections of this instance; 10 by default. Further calls wait.
    pub connections_max: u32,
    /// How long one statement may take before the server ends it; 30 seconds by default.
    pub statement_timeout: Duration,
    /// What the sessions are called on the server, unless the URL says so; `mamey` by default.
    pub application_name: String,
    /// How many prepared statements each connection keeps, at least 1; 100 by default. They need
    /// sessions of their own: a PgBouncer in between must pool by session.
    pub statements_cached_max: usize,
    /// Where the time of leases and receipts comes from: the database's own clock by default, which
    /// all instances share. Only a test gives another.
    pub clock: Option<Arc<dyn Clock>>,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self {
            connections_max: 10,
            statement_timeout: Duration::from_secs(30),
            application_name: "mamey".to_owned(),
            statements_cached_max: 100,
            clock: None,
        }
    }
}

impl fmt::Debug for PostgresOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresOptions")
            .field("connections_max", &self.connections_max)
            .field("statement_timeout", &self.statement_timeout)
            .field("application_name", &self.application_name)
            .field("statements_cached_max", &self.statements_cached_max)
            .finish_non_exhaustive()
    }
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
    connections: Connections,
    connections_max: u32,
    listeners: Mutex<HashMap<ContextName, Arc<Listeners>>>,
}

/// One context's share of the database, as one open of it sees it.
struct PostgresStore {
    database: Arc<Shared>,
    declared: Declared,
    /// The quoted name of the context's schema.
    schema: String,
    tables: HashMap<&'static str, Arc<Table>>,
    listeners: Arc<Listeners>,
    outbox_changed: Arc<Notify>,
}

impl PostgresDatabase {
    /// Connects to the database of a URL such as `postgres://user:password@host:5432/database`.
    ///
    /// # Errors
    /// `Misconfigured` for a URL that cannot be read, a wrong password or a database that does not
    /// exist; `Unavailable` when the server is out of reach.
    pub async fn connect(url: &str, options: PostgresOptions) -> Result<Self> {
        let place = redact_url(url);
        let connect = connection::options_of(url, &options)?;
        let connections_max = options.connections_max.max(1);
        let shared = Shared {
            place,
            clock: options.clock,
            connections: Connections::new(connect, connections_max),
            connections_max,
            listeners: Mutex::default(),
        };
        let lent = shared.connections.lend().await.map_err(|cause| shared.error(cause))?;
        lent.give_back();
        Ok(Self { shared: Arc::new(shared) })
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
        let tables: HashMap<_, _> = declared
            .collections
            .iter()
            .map(|(name, collection)| (*name, Arc::new(Table::new(&schema, collection))))
            .collect();
        self.shared
            .prepare(&context, &schema, &tables)
            .await
            .context(|| format!("opening context `{context}`"))?;
        let outbox_changed = Arc::new(Notify::new());
        let listeners = self.shared.listeners(context);
        listeners.add(&outbox_changed);
        let store = PostgresStore {
            database: Arc::clone(&self.shared),
            declared,
            schema,
            tables,
            listeners,
            outbox_changed,
        };
        store.make_inbox_days().await?;
        Ok(Arc::new(store))
    }

    fn describe(&self) -> String {
        self.shared.place.clone()
    }

    async fn close(&self) {
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
    }

    fn table(&self, collection: &'static Collection) -> Result<&Table> {
        self.declared.check(collection)?;
        let table = self.tables.get(collection.name).map(AsRef::as_ref);
        // `check` has just found it, so this error cannot show.
        table.ok_or_else(closed)
    }
}

impl Shared {
    /// Migrates a context's schema and its collections in one transaction.
    async fn prepare(
        &self,
        context: &ContextName,
        schema: &str,
        tables: &HashMap<&'static str, Arc<Table>>,
    ) -> Result<()> {
        let mut lent = self.connections.lend().await.map_err(|cause| self.error(cause))?;
        let connection = &mut lent.connection;
        // Dropped on an error, the connection takes its transaction with it.
        match prepare_all(connection, context, schema, tables).await {
            Ok(()) => lent.give_back(),
            Err(Stop::Refuse(error)) => return Err(error),
            Err(Stop::Fail(cause)) => return Err(self.error(cause)),
        }
        Ok(())
    }

    /// The time in microseconds to hand to a statement: none, unless a test gives one.
    fn now(&self) -> Option<i64> {
        self.clock.as_ref().map(|clock| clock.now().as_micros())
    }

    fn listeners(&self, context: ContextName) -> Arc<Listeners> {
        let mut listeners = lock(&self.listeners);
        Arc::clone(listeners.entry(context).or_default())
    }

    fn error(&self, cause: sqlx::Error) -> Error {
        store_error(&self.place, cause)
    }
}

async fn prepare_all(
    connection: &mut PgConnection,
    context: &ContextName,
    schema: &str,
    tables: &HashMap<&'static str, Arc<Table>>,
) -> Result<(), Stop> {
    execute(connection, "BEGIN; SET LOCAL statement_timeout = 0".to_owned()).await?;
    migrate::migrate(connection, context.as_str(), schema).await??;
    for table in tables.values() {
        collection::prepare(connection, schema, table).await?;
    }
    execute(connection, "COMMIT".to_owned()).await?;
    Ok(())
}
