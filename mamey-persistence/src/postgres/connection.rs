//! The connections to the server: opened when needed, then kept and lent out.

use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sqlx::postgres::{PgArguments, PgConnectOptions, PgConnection, PgRow};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Postgres};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::PostgresOptions;
use crate::common::lock::lock;

/// A connection that rested longer is asked whether it still works before it is used.
const IDLE_TRUSTED: Duration = Duration::from_secs(5);

/// How much longer than the limit of a statement an answer may take. A server that ended the
/// statement says so well before; one that is paused, or cut off in silence, never does.
const ANSWER_GRACE: Duration = Duration::from_secs(5);

/// Lends connections, a bounded number at once.
///
/// The pool of sqlx asks each connection that comes back whether it still works, which costs a
/// round trip; here only one that rested for long is asked.
pub(super) struct Connections {
    options: PgConnectOptions,
    limits: Limits,
    /// Whether statements stay prepared. If not, no statement may have a name: behind a PgBouncer
    /// it would meet the same name of another client.
    keeps_statements: bool,
    /// What opens the transaction around each call, where a session is nobody's own.
    opens_call: Option<String>,
    free: Arc<Semaphore>,
    idle: Mutex<Vec<(PgConnection, Instant)>>,
}

struct Limits {
    acquire: Duration,
    connect: Duration,
    answer: Duration,
}

/// A connection that is lent out. Dropped in the middle of a statement, it is closed.
pub(super) struct Lent<'c> {
    connections: &'c Connections,
    pub(super) connection: PgConnection,
    _permit: SemaphorePermit<'c>,
}

/// A connection inside a transaction that somebody else works with. Dropped, it is closed, and the
/// server undoes the transaction.
pub(super) struct Open {
    connections: Arc<Connections>,
    pub(super) connection: PgConnection,
    _permit: OwnedSemaphorePermit,
}

impl Connections {
    pub(super) fn new(connect: PgConnectOptions, options: &PostgresOptions) -> Self {
        let limits = Limits {
            acquire: options.acquire_timeout,
            connect: options.connect_timeout,
            answer: options.statement_timeout + ANSWER_GRACE,
        };
        let timeout_ms = options.statement_timeout.as_millis();
        Self {
            options: connect,
            limits,
            keeps_statements: options.statements_cached_max > 0,
            opens_call: options
                .pgbouncer
                .then(|| format!("BEGIN; SET LOCAL statement_timeout = {timeout_ms}")),
            free: Arc::new(Semaphore::new(options.connections_max as usize)),
            idle: Mutex::default(),
        }
    }

    /// All rows.
    pub(super) async fn fetch_all(
        &self,
        query: Query<'_, Postgres, PgArguments>,
    ) -> Result<Vec<PgRow>, sqlx::Error> {
        let query = query.persistent(self.keeps_statements);
        let mut lent = self.lend().await?;
        let rows = self.in_time(async {
            lent.open().await?;
            let rows = query.fetch_all(&mut lent.connection).await?;
            lent.commit().await?;
            Ok(rows)
        });
        let rows = rows.await;
        lent.settle(rows).await
    }

    /// The first row, if any.
    pub(super) async fn fetch_optional(
        &self,
        query: Query<'_, Postgres, PgArguments>,
    ) -> Result<Option<PgRow>, sqlx::Error> {
        let query = query.persistent(self.keeps_statements);
        let mut lent = self.lend().await?;
        let row = self.in_time(async {
            lent.open().await?;
            let row = query.fetch_optional(&mut lent.connection).await?;
            lent.commit().await?;
            Ok(row)
        });
        let row = row.await;
        lent.settle(row).await
    }

    /// The one row.
    pub(super) async fn fetch_one(
        &self,
        query: Query<'_, Postgres, PgArguments>,
    ) -> Result<PgRow, sqlx::Error> {
        self.fetch_optional(query).await?.ok_or(sqlx::Error::RowNotFound)
    }

    /// How many rows a statement changed.
    pub(super) async fn execute(
        &self,
        query: Query<'_, Postgres, PgArguments>,
    ) -> Result<u64, sqlx::Error> {
        let query = query.persistent(self.keeps_statements);
        let mut lent = self.lend().await?;
        let done = self.in_time(async {
            lent.open().await?;
            let done = query.execute(&mut lent.connection).await?;
            lent.commit().await?;
            Ok(done.rows_affected())
        });
        let done = done.await;
        lent.settle(done).await
    }

    /// A connection of the caller's own, until it is given back or dropped.
    pub(super) async fn lend(&self) -> Result<Lent<'_>, sqlx::Error> {
        let permit = timeout(self.limits.acquire, self.free.acquire())
            .await
            .map_err(|_| sqlx::Error::PoolTimedOut)?
            .map_err(|_| sqlx::Error::PoolClosed)?;
        let connection = self.any().await?;
        Ok(Lent { connections: self, connection, _permit: permit })
    }

    /// A connection inside a new transaction.
    pub(super) async fn begin(self: &Arc<Self>) -> Result<Open, sqlx::Error> {
        let permit = timeout(self.limits.acquire, Arc::clone(&self.free).acquire_owned())
            .await
            .map_err(|_| sqlx::Error::PoolTimedOut)?
            .map_err(|_| sqlx::Error::PoolClosed)?;
        let mut connection = self.any().await?;
        let sql = self.opens_call.as_deref().unwrap_or("BEGIN");
        self.in_time(sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection)).await?;
        Ok(Open { connections: Arc::clone(self), connection, _permit: permit })
    }

    async fn any(&self) -> Result<PgConnection, sqlx::Error> {
        match self.rested().await {
            Some(connection) => Ok(connection),
            None => self.connect().await,
        }
    }

    /// A connection that is not counted and not lent: its owner keeps it.
    pub(super) async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
        let connected = timeout(self.limits.connect, self.options.connect()).await;
        connected.unwrap_or_else(|_| Err(silent("connection", self.limits.connect)))
    }

    /// How to connect, for who makes connections in another way.
    pub(super) fn options(&self) -> &PgConnectOptions {
        &self.options
    }

    /// How long connecting may take.
    pub(super) fn connect_timeout(&self) -> Duration {
        self.limits.connect
    }

    /// Waits for an answer no longer than a server that lives would take.
    pub(super) async fn in_time<T, E: From<sqlx::Error>>(
        &self,
        answer: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let answered = timeout(self.limits.answer, answer).await;
        answered.unwrap_or_else(|_| Err(silent("answer", self.limits.answer).into()))
    }

    /// Whether a statement may stay prepared; see [`Query::persistent`].
    pub(super) fn keeps_statements(&self) -> bool {
        self.keeps_statements
    }

    /// Whether a session stays with the connection from one transaction to the next.
    pub(super) fn keeps_sessions(&self) -> bool {
        self.opens_call.is_none()
    }

    /// Ends all connections once those that are lent out are back.
    pub(super) async fn close(&self, connections_max: u32) {
        let all = self.free.acquire_many(connections_max.max(1)).await;
        self.free.close();
        drop(all);
        let idle = std::mem::take(&mut *lock(&self.idle));
        for (connection, _) in idle {
            let goodbye = timeout(self.limits.connect, connection.close()).await;
            if !matches!(goodbye, Ok(Ok(()))) {
                tracing::debug!("a connection did not end in peace");
            }
        }
    }

    async fn rested(&self) -> Option<PgConnection> {
        loop {
            let (mut connection, since) = lock(&self.idle).pop()?;
            if since.elapsed() < IDLE_TRUSTED {
                return Some(connection);
            }
            let answer = timeout(self.limits.connect, connection.ping()).await;
            if matches!(answer, Ok(Ok(()))) {
                return Some(connection);
            }
        }
    }
}

impl Open {
    /// Whether it came from these connections.
    pub(super) fn is_of(&self, connections: &Arc<Connections>) -> bool {
        Arc::ptr_eq(&self.connections, connections)
    }

    /// Ends the transaction by `COMMIT` or `ROLLBACK`.
    pub(super) async fn end(mut self, by: &'static str) -> Result<(), sqlx::Error> {
        let ended = sqlx::raw_sql(by).execute(&mut self.connection);
        self.connections.in_time(ended).await?;
        lock(&self.connections.idle).push((self.connection, Instant::now()));
        Ok(())
    }
}

impl Lent<'_> {
    /// Keeps the connection for the next call. It must be outside of a transaction.
    pub(super) fn give_back(self) {
        lock(&self.connections.idle).push((self.connection, Instant::now()));
    }

    /// Begins the transaction of one call, where a call needs one.
    async fn open(&mut self) -> Result<(), sqlx::Error> {
        let Some(sql) = &self.connections.opens_call else {
            return Ok(());
        };
        sqlx::raw_sql(AssertSqlSafe(sql.as_str())).execute(&mut self.connection).await.map(drop)
    }

    async fn commit(&mut self) -> Result<(), sqlx::Error> {
        if self.connections.opens_call.is_none() {
            return Ok(());
        }
        sqlx::raw_sql("COMMIT").execute(&mut self.connection).await.map(drop)
    }

    /// Keeps the connection unless the call broke it.
    async fn settle<T>(mut self, result: Result<T, sqlx::Error>) -> Result<T, sqlx::Error> {
        match &result {
            Ok(_) => self.give_back(),
            Err(cause) if super::error::is_broken(cause) => {
                // What rested beside it was most likely lost in the same way, and each loss costs a
                // call: new connections are cheaper.
                lock(&self.connections.idle).clear();
            }
            Err(sqlx::Error::Database(_)) if self.connections.opens_call.is_none() => {
                self.give_back();
            }
            Err(sqlx::Error::Database(_)) => {
                let undo = sqlx::raw_sql("ROLLBACK").execute(&mut self.connection);
                if matches!(timeout(ANSWER_GRACE, undo).await, Ok(Ok(_))) {
                    self.give_back();
                }
            }
            Err(_) => {}
        }
        result
    }
}

/// What the caller sees of a server that says nothing: the connection counts as broken.
fn silent(what: &str, waited: Duration) -> sqlx::Error {
    let message = format!("no {what} within {} ms", waited.as_millis());
    sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, message))
}
