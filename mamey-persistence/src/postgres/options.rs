//! How a PostgreSQL database is used, as a program sets it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use mamey_core::clock::Clock;
use mamey_core::connection::CredentialSource;

/// How a PostgreSQL database is used. A parameter of the URL overrides the field of its name.
///
/// ```no_run
/// use std::time::Duration;
///
/// use mamey::persistence::{PostgresDatabase, PostgresOptions};
///
/// # async fn connect() -> mamey::Result<()> {
/// let options = PostgresOptions::default()
///     .with_connections_max(20)
///     .with_statement_timeout(Duration::from_secs(5));
/// let url = "postgres://shop:secret@db.internal/shop?sslmode=verify-full";
/// let database = PostgresDatabase::connect(url, options).await?;
/// # drop(database);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct PostgresOptions {
    /// The most connections of this instance; 12 by default. Further calls wait. The wake-up
    /// between instances has two more, unless `listen` is off.
    ///
    /// One in ten, at least one, is kept for each of three kinds of work: reads; leases; and the short
    /// calls of commits and of the relay, with what it reads and deletes. All others are common: whoever
    /// asks first has them. The transactions that handlers open by `cx.postgres()` have only these; of
    /// them, one in ten of all at most, at least one, serves units of work that wait for what another
    /// transaction holds. So no kind of work keeps another from working. Of fewer than six connections,
    /// leases use those that are kept for short calls, of fewer than three, reads do too, and one
    /// connection alone serves all.
    pub connections_max: u32,
    /// How long a call waits for a free connection; 10 seconds by default.
    pub acquire_timeout: Duration,
    /// How long connecting may take; 10 seconds by default.
    pub connect_timeout: Duration,
    /// How long one statement may take before the server ends it; 30 seconds by default. After 5
    /// seconds more without any answer the connection counts as broken.
    pub statement_timeout: Duration,
    /// How long a unit of work, or a statement of a handler's own, waits for a row, a key or a value
    /// that another transaction holds; 5 seconds by default. The unit is then a `Conflict`, which is
    /// retried later; units beside it are not held up.
    pub lock_timeout: Duration,
    /// The name of the sessions on the server, unless the URL sets one; `mamey` by default.
    pub application_name: String,
    /// How many prepared statements each connection keeps; 100 by default, 0 for none.
    pub statements_cached_max: usize,
    /// Whether instances wake each other by NOTIFY and LISTEN when messages are committed; on by
    /// default. Without it each instance finds the messages of others when it polls.
    pub listen: bool,
    /// Whether the URL leads to a PgBouncer that pools by transaction; off by default.
    ///
    /// A session then belongs to no client: no statement stays prepared, nothing is set when a
    /// session begins, there is no wake-up between instances, and each call needs a transaction
    /// around it, which costs three more round trips.
    pub pgbouncer: bool,
    /// The time of leases and receipts; by default the database's own clock, which all instances
    /// share. Only tests set another.
    pub clock: Option<Arc<dyn Clock>>,
    pub(crate) credentials: Option<Arc<dyn CredentialSource>>,
}

impl PostgresOptions {
    /// The most connections of this instance.
    #[must_use]
    pub const fn with_connections_max(mut self, connections: u32) -> Self {
        self.connections_max = connections;
        self
    }

    /// How long a call waits for a free connection.
    #[must_use]
    pub const fn with_acquire_timeout(mut self, limit: Duration) -> Self {
        self.acquire_timeout = limit;
        self
    }

    /// How long connecting may take.
    #[must_use]
    pub const fn with_connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// How long one statement may take.
    #[must_use]
    pub const fn with_statement_timeout(mut self, limit: Duration) -> Self {
        self.statement_timeout = limit;
        self
    }

    /// How long to wait for what another transaction holds.
    #[must_use]
    pub const fn with_lock_timeout(mut self, limit: Duration) -> Self {
        self.lock_timeout = limit;
        self
    }

    /// The name of the sessions on the server.
    #[must_use]
    pub fn with_application_name(mut self, name: impl Into<String>) -> Self {
        self.application_name = name.into();
        self
    }

    /// How many prepared statements each connection keeps.
    #[must_use]
    pub const fn with_statements_cached_max(mut self, statements: usize) -> Self {
        self.statements_cached_max = statements;
        self
    }

    /// Whether instances wake each other.
    #[must_use]
    pub const fn with_listen(mut self, listen: bool) -> Self {
        self.listen = listen;
        self
    }

    /// Asks for user and password each time a connection is made. `password_file` of the URL
    /// replaces it; by default they are those in the URL.
    #[must_use]
    pub fn with_credentials(mut self, source: impl CredentialSource) -> Self {
        self.credentials = Some(Arc::new(source));
        self
    }

    /// Whether the URL leads to a PgBouncer that pools by transaction.
    #[must_use]
    pub const fn with_pgbouncer(mut self, pgbouncer: bool) -> Self {
        self.pgbouncer = pgbouncer;
        self
    }

    /// The time of leases and receipts, for a test.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self {
            connections_max: 12,
            acquire_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(10),
            statement_timeout: Duration::from_secs(30),
            lock_timeout: Duration::from_secs(5),
            application_name: "mamey".to_owned(),
            statements_cached_max: 100,
            listen: true,
            pgbouncer: false,
            clock: None,
            credentials: None,
        }
    }
}

impl fmt::Debug for PostgresOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresOptions")
            .field("connections_max", &self.connections_max)
            .field("acquire_timeout", &self.acquire_timeout)
            .field("connect_timeout", &self.connect_timeout)
            .field("statement_timeout", &self.statement_timeout)
            .field("lock_timeout", &self.lock_timeout)
            .field("application_name", &self.application_name)
            .field("statements_cached_max", &self.statements_cached_max)
            .field("listen", &self.listen)
            .field("pgbouncer", &self.pgbouncer)
            .finish_non_exhaustive()
    }
}
