//! The connections to the server: opened when needed, then kept and lent out.

use std::str::FromStr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use mamey_core::{Error, Result, redact_url};
use sqlx::postgres::{PgArguments, PgConnectOptions, PgConnection, PgRow};
use sqlx::query::Query;
use sqlx::{ConnectOptions, Connection, Postgres};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::PostgresOptions;
use crate::listeners::lock;

/// How long a call waits for a free connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection that rested longer is asked whether it still works before it is used.
const IDLE_TRUSTED: Duration = Duration::from_secs(5);

/// Lends connections, a bounded number at once.
///
/// The pool of sqlx asks each connection that comes back whether it still works, which costs a
/// round trip; here only one that rested for long is asked.
pub(super) struct Connections {
    options: PgConnectOptions,
    free: Semaphore,
    idle: Mutex<Vec<(PgConnection, Instant)>>,
}

/// A connection that is lent out. Dropped in the middle of a statement, it is closed.
pub(super) struct Lent<'c> {
    connections: &'c Connections,
    pub(super) connection: PgConnection,
    _permit: SemaphorePermit<'c>,
}

/// Reads a URL and joins it with the options.
pub(super) fn options_of(url: &str, options: &PostgresOptions) -> Result<PgConnectOptions> {
    let unusable = |cause: sqlx::Error| {
        Error::misconfigured(format!("`{}` is not a PostgreSQL URL: {cause}", redact_url(url)))
    };
    let connect = PgConnectOptions::from_str(url).map_err(unusable)?;
    let connect = match connect.get_application_name() {
        Some(_) => connect,
        None => connect.application_name(&options.application_name),
    };
    let milliseconds = options.statement_timeout.as_millis().to_string();
    Ok(connect
        .options([("statement_timeout", milliseconds.as_str())])
        .statement_cache_capacity(options.statements_cached_max.max(1))
        .disable_statement_logging())
}

impl Connections {
    pub(super) fn new(options: PgConnectOptions, connections_max: u32) -> Self {
        let free = Semaphore::new(connections_max.max(1) as usize);
        Self { options, free, idle: Mutex::default() }
    }

    /// All rows.
    pub(super) async fn fetch_all(
        &self,
        query: Query<'_, Postgres, PgArguments>,
    ) -> Result<Vec<PgRow>, sqlx::Error> {
        let mut lent = self.lend().await?;
        let rows = query.fetch_all(&mut lent.connection).await;
        lent.give_back_unless_broken(rows)
    }

    /// The first row, if any.
    pub(super) async fn fetch_optional(
        &self,
        query: Query<'_, Postgres, PgArguments>,
    ) -> Result<Option<PgRow>, sqlx::Error> {
        let mut lent = self.lend().await?;
        let row = query.fetch_optional(&mut lent.connection).await;
        lent.give_back_unless_broken(row)
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
        let mut lent = self.lend().await?;
        let done = query.execute(&mut lent.connection).await;
        lent.give_back_unless_broken(done).map(|done| done.rows_affected())
    }

    /// A connection of the caller's own, until it is given back or dropped.
    pub(super) async fn lend(&self) -> Result<Lent<'_>, sqlx::Error> {
        let permit = timeout(ACQUIRE_TIMEOUT, self.free.acquire())
            .await
            .map_err(|_| sqlx::Error::PoolTimedOut)?
            .map_err(|_| sqlx::Error::PoolClosed)?;
        let connection = match self.rested().await {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        Ok(Lent { connections: self, connection, _permit: permit })
    }

    /// Ends all connections once those that are lent out are back.
    pub(super) async fn close(&self, connections_max: u32) {
        let all = self.free.acquire_many(connections_max.max(1)).await;
        self.free.close();
        drop(all);
        let idle = std::mem::take(&mut *lock(&self.idle));
        for (connection, _) in idle {
            if let Err(cause) = connection.close().await {
                tracing::debug!(%cause, "a connection did not end in peace");
            }
        }
    }

    async fn rested(&self) -> Option<PgConnection> {
        loop {
            let (mut connection, since) = lock(&self.idle).pop()?;
            if since.elapsed() < IDLE_TRUSTED {
                return Some(connection);
            }
            let answer = timeout(CONNECT_TIMEOUT, connection.ping()).await;
            if matches!(answer, Ok(Ok(()))) {
                return Some(connection);
            }
        }
    }

    async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
        let late = |_| sqlx::Error::Io(std::io::ErrorKind::TimedOut.into());
        timeout(CONNECT_TIMEOUT, self.options.connect()).await.map_err(late)?
    }
}

impl Lent<'_> {
    /// Keeps the connection for the next call. It must be outside of a transaction.
    pub(super) fn give_back(self) {
        lock(&self.connections.idle).push((self.connection, Instant::now()));
    }

    /// Keeps the connection unless a statement on its own broke it.
    pub(super) fn give_back_unless_broken<T>(
        self,
        result: Result<T, sqlx::Error>,
    ) -> Result<T, sqlx::Error> {
        if matches!(&result, Ok(_) | Err(sqlx::Error::Database(_)))
            && !result.as_ref().is_err_and(super::error::is_broken)
        {
            self.give_back();
        }
        result
    }
}
