//! The connections to the server: opened when needed, kept while idle, and given a limited time.

pub(crate) mod lending;
pub(crate) mod servers;
pub(crate) mod session;
pub(crate) mod shares;
pub(crate) mod url;

use std::future::Future;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use sqlx::Connection;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use tokio::time::timeout;

use crate::common::lock::lock;
use crate::postgres::options::PostgresOptions;
use servers::{Servers, timed_out};
use shares::{Permit, Purpose, Shares};

/// How long an idle connection may take to answer a ping. One that a firewall forgot never does.
const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// A connection that was idle for longer is pinged before it is used.
const IDLE_TRUSTED: Duration = Duration::from_secs(5);

/// How much longer than the limit of a statement an answer may take. A server that ended the
/// statement answers well before; one that is paused or unreachable never does.
pub(crate) const ANSWER_GRACE: Duration = Duration::from_secs(5);

/// The connections of one instance, a bounded number at once.
///
/// The pool of sqlx pings each connection that is returned, which costs a round trip; here only one
/// that was idle for long is pinged.
pub(crate) struct Connections {
    servers: Servers,
    limits: Limits,
    /// Whether statements stay prepared. If not, no statement may have a name: behind a PgBouncer
    /// another client may use the same name on the same session.
    keeps_statements: bool,
    /// The SQL that opens the transaction around each call, where a session may change between
    /// transactions.
    begin_call: Option<String>,
    shares: Shares,
    idle: Mutex<Vec<(PgConnection, Instant)>>,
}

struct Limits {
    acquire: Duration,
    lock: Duration,
    connect: Duration,
    answer: Duration,
}

impl Connections {
    pub(crate) fn new(servers: Servers, options: &PostgresOptions) -> Self {
        let limits = Limits {
            acquire: options.acquire_timeout,
            lock: options.lock_timeout,
            connect: options.connect_timeout,
            answer: options.statement_timeout + ANSWER_GRACE,
        };
        let begin = || session::begin_with_settings(options);
        Self {
            servers,
            limits,
            keeps_statements: options.statements_cached_max > 0,
            begin_call: options.pgbouncer.then(begin),
            shares: Shares::new(options.connections_max.max(1)),
            idle: Mutex::default(),
        }
    }

    /// A new connection that is neither counted nor kept here: its owner keeps it.
    pub(crate) async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
        self.servers.connect().await
    }

    /// How to connect now, for a driver that makes its own connections.
    pub(crate) async fn current(&self) -> Result<PgConnectOptions, sqlx::Error> {
        self.servers.current().await
    }

    /// How long connecting may take.
    pub(crate) fn connect_timeout(&self) -> Duration {
        self.limits.connect
    }

    /// Waits for an answer no longer than a server that responds would take.
    pub(crate) async fn in_time<T, E: From<sqlx::Error>>(
        &self,
        answer: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let answered = timeout(self.limits.answer, answer).await;
        answered.unwrap_or_else(|_| Err(timed_out("answer", self.limits.answer).into()))
    }

    /// Whether a statement may stay prepared; see [`sqlx::query::Query::persistent`].
    pub(crate) fn keeps_statements(&self) -> bool {
        self.keeps_statements
    }

    /// Whether a session stays with the connection from one transaction to the next.
    pub(crate) fn keeps_sessions(&self) -> bool {
        self.begin_call.is_none()
    }

    /// The SQL that opens the transaction around each call, where a call needs one.
    pub(crate) fn begin_call(&self) -> Option<&str> {
        self.begin_call.as_deref()
    }

    /// The SQL that opens a transaction.
    pub(crate) fn begin_sql(&self) -> &str {
        self.begin_call().unwrap_or(session::BEGIN)
    }

    /// How long to wait for a connection.
    pub(crate) fn acquire_timeout(&self) -> Duration {
        self.limits.acquire
    }

    /// How long to wait for what other transactions hold.
    pub(crate) fn lock_timeout(&self) -> Duration {
        self.limits.lock
    }

    /// Waits for at most `limit` until one more connection may be used.
    async fn permit(&self, purpose: Purpose, limit: Duration) -> Result<Permit, sqlx::Error> {
        let permit = timeout(limit, self.shares.acquire(purpose)).await;
        permit.map_err(|_| sqlx::Error::PoolTimedOut)?.map_err(|_| sqlx::Error::PoolClosed)
    }

    /// An idle connection, or a new one. The caller must have a permit.
    async fn take(&self) -> Result<PgConnection, sqlx::Error> {
        match self.take_idle().await {
            Some(connection) => Ok(connection),
            None => self.connect().await,
        }
    }

    /// Keeps a connection for the next call. It must be outside of a transaction.
    pub(crate) fn keep(&self, connection: PgConnection) {
        lock(&self.idle).push((connection, Instant::now()));
    }

    /// Drops the idle connections.
    pub(crate) fn drop_idle(&self) {
        lock(&self.idle).clear();
    }

    /// Closes all connections once those in use are back.
    pub(crate) async fn close(&self) {
        self.shares.close().await;
        let idle = std::mem::take(&mut *lock(&self.idle));
        for (connection, _) in idle {
            let closed = timeout(self.limits.connect, connection.close()).await;
            if !matches!(closed, Ok(Ok(()))) {
                tracing::debug!("a connection failed to close cleanly");
            }
        }
    }

    async fn take_idle(&self) -> Option<PgConnection> {
        loop {
            let (mut connection, since) = lock(&self.idle).pop()?;
            if since.elapsed() < IDLE_TRUSTED {
                return Some(connection);
            }
            let limit = PING_TIMEOUT.min(self.limits.connect);
            let answer = timeout(limit, connection.ping()).await;
            if matches!(answer, Ok(Ok(()))) {
                return Some(connection);
            }
            // The others were idle for as long, and most likely have the same fate.
            self.drop_idle();
        }
    }
}
