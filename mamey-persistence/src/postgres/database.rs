//! Connects to a PostgreSQL server and opens contexts on it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use async_trait::async_trait;
use mamey_core::clock::Clock;
use mamey_core::connection::ConnectionUrl;
use mamey_core::store::{Database, Schema, Store};
use mamey_core::{Result, ResultExt, redact_url};
use tokio::sync::Notify;

use super::commit::committer::Committer;
use super::commit::functions;
use super::connection::url;
use super::options::PostgresOptions;
use super::schema::plan::Wanted;
use super::schema::tables::Tables;
use super::schema::{missing_sql, prepare};
use super::shared::Shared;
use super::stats::PostgresStats;
use super::store::PostgresStore;

/// A database on a PostgreSQL server, which any number of instances share.
///
/// Each context has a schema of its own, named as the context. Clones share the connections; close
/// it with [`Database::close`].
///
/// ```no_run
/// use mamey::persistence::{PostgresDatabase, PostgresOptions};
/// use mamey::{Service, Settings};
///
/// # async fn run() -> mamey::Result<()> {
/// let options = PostgresOptions::default().with_connections_max(20);
/// let database = PostgresDatabase::connect("postgres://shop@db.internal/shop", options).await?;
/// Service::new(Settings::default()).store(database.clone()).run().await?;
/// println!("{} units in {} calls", database.stats().units, database.stats().calls);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct PostgresDatabase {
    shared: Arc<Shared>,
}

/// Checks that a URL can be read, without connecting.
pub(crate) fn check(url: &str) -> Result<()> {
    url::read(PostgresOptions::default(), url).map(drop)
}

/// Connects with the defaults. The time comes from the server, which all instances share.
pub(crate) async fn connect(
    url: ConnectionUrl,
    _clock: Arc<dyn Clock>,
) -> Result<Arc<dyn Database>> {
    Ok(Arc::new(PostgresDatabase::connect(url, PostgresOptions::default()).await?))
}

/// The SQL that the database of a URL lacks for some contexts.
pub(crate) async fn migration_sql(url: &str, schemas: &[Schema]) -> Result<String> {
    let options = PostgresOptions::default().with_listen(false);
    let database = PostgresDatabase::connect(url, options).await?;
    let mut sql = String::new();
    for schema in schemas {
        sql.push_str(&database.migration_sql(schema).await?);
    }
    database.close().await;
    Ok(sql)
}

impl PostgresDatabase {
    /// Connects to the database of a URL such as `postgres://user:password@host:5432/database`.
    ///
    /// Several hosts (`one:5432,two:5432`) are tried in turn until one can be written to. A folder
    /// as `host` holds a socket: `postgres://user:password@/database?host=/cloudsql/instance`.
    ///
    /// Behind `?` the URL takes the usual parameters of PostgreSQL (`sslmode`, `sslrootcert`,
    /// `sslcert`, `sslkey`, `application_name`, `target_session_attrs`, …) and those of
    /// [`PostgresOptions`]: `connections_max`, `acquire_timeout_ms`, `connect_timeout_ms`,
    /// `statement_timeout_ms`, `statements_cached_max`, `listen`, `pgbouncer`; and `password_file`,
    /// which is read again for each new connection. One warning names parameters that are not
    /// known; those that ask for a security which cannot be had are refused. What the URL leaves
    /// out, such as the password, comes from PostgreSQL's usual variables (`PGPASSWORD`,
    /// `PGSSLMODE`, `PGSSLROOTCERT`, …) and from `~/.pgpass`.
    ///
    /// # Errors
    /// `Misconfigured` for a URL that cannot be read, a wrong password, a certificate that cannot
    /// be verified or a database that does not exist; `Unavailable` when the server is out of
    /// reach.
    pub async fn connect(
        url: impl Into<ConnectionUrl>,
        mut options: PostgresOptions,
    ) -> Result<Self> {
        let url = url.into();
        if options.credentials.is_none() {
            options.credentials = url.credentials();
        }
        let (options, servers) = url::read(options, url.as_str())?;
        let shared = Shared::new(redact_url(url.as_str()), servers, options);
        let lent = shared.connections.lend().await.map_err(|cause| shared.error(cause))?;
        lent.give_back();
        Ok(Self { shared: Arc::new(shared) })
    }

    /// How much was committed so far.
    #[must_use]
    pub fn stats(&self) -> PostgresStats {
        self.shared.counters.read()
    }

    /// The SQL that would bring this database to what a context needs, for an administrator to run
    /// where the service's own role may only read and write rows. Empty when nothing is missing.
    /// The database is not changed.
    ///
    /// # Errors
    /// As [`Database::open`].
    pub async fn migration_sql(&self, schema: &Schema) -> Result<String> {
        let tables = Tables::new(schema)?;
        let (functions, _) = functions::of(&tables);
        let wanted = Wanted { tables: &tables, functions: &functions };
        missing_sql(&self.shared, &wanted).await
    }
}

impl fmt::Debug for PostgresDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgresDatabase({})", self.shared.url)
    }
}

#[async_trait]
impl Database for PostgresDatabase {
    async fn open(&self, schema: &Schema) -> Result<Arc<dyn Store>> {
        let tables = Tables::new(schema)?;
        let (functions, calls) = functions::of(&tables);
        prepare(&self.shared, &Wanted { tables: &tables, functions: &functions })
            .await
            .with_context(|| format!("opening context `{}`", schema.context))?;
        let identity = self.shared.identity(&tables.schema).await?;
        let outbox_changed = Arc::new(Notify::new());
        let listeners = self.shared.wakeup.listeners(schema.context.clone());
        listeners.add(&outbox_changed);
        let database = Arc::clone(&self.shared);
        let committer = Committer::new(database, tables.schema.clone(), calls, listeners);
        let database = Arc::clone(&self.shared);
        let completeness = Default::default();
        let touch_functions = functions.touch(&tables.schema).into();
        let store = PostgresStore {
            database,
            identity,
            tables,
            committer,
            outbox_changed,
            completeness,
            stalls: AtomicBool::default(),
            touch_functions,
        };
        store.make_inbox_days().await?;
        store.database.start_wakeup().await;
        Ok(Arc::new(store))
    }

    fn describe(&self) -> String {
        self.shared.url.clone()
    }

    async fn close(&self) {
        self.shared.close().await;
    }
}
