//! The connections that read beside the writer: opened when needed, then kept and lent out.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use futures_util::TryStreamExt;
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqliteConnection, SqliteRow};
use sqlx::{ConnectOptions, Connection, Sqlite};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::settings::reading;
use crate::common::lock::lock;
use crate::sqlite::options::SqliteOptions;

/// How long a read waits for a free connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);

/// Lends connections to reads, a bounded number at once.
///
/// The pool of sqlx pings each connection that is returned, which costs a trip to its thread. A
/// connection to a file breaks only when a read fails, and after a failed read it is not kept.
pub(crate) struct Readers {
    options: SqliteConnectOptions,
    connections_max: u32,
    free: Semaphore,
    idle: Mutex<Vec<SqliteConnection>>,
}

/// A connection that is lent out. If it is dropped during a read, it is closed.
struct Lent<'r> {
    readers: &'r Readers,
    connection: SqliteConnection,
    _permit: SemaphorePermit<'r>,
}

impl Readers {
    pub(crate) fn new(path: &Path, options: &SqliteOptions) -> Self {
        let connections_max = options.read_connections.max(1);
        Self {
            options: reading(path),
            connections_max,
            free: Semaphore::new(connections_max as usize),
            idle: Mutex::default(),
        }
    }

    /// All rows.
    pub(crate) async fn fetch_all(
        &self,
        query: Query<'_, Sqlite, SqliteArguments>,
    ) -> Result<Vec<SqliteRow>, sqlx::Error> {
        let mut lent = self.lend().await?;
        let rows = query.fetch_all(&mut lent.connection).await?;
        lent.give_back();
        Ok(rows)
    }

    /// Hands over the rows one after the other, until `take` breaks off. A few more are read ahead.
    pub(crate) async fn for_each(
        &self,
        query: Query<'_, Sqlite, SqliteArguments>,
        mut take: impl FnMut(SqliteRow) -> Result<ControlFlow<()>, sqlx::Error> + Send,
    ) -> Result<(), sqlx::Error> {
        let mut lent = self.lend().await?;
        let mut rows = query.fetch(&mut lent.connection);
        while let Some(row) = rows.try_next().await? {
            if take(row)?.is_break() {
                break;
            }
        }
        drop(rows);
        lent.give_back();
        Ok(())
    }

    /// The first row, if any.
    pub(crate) async fn fetch_optional(
        &self,
        query: Query<'_, Sqlite, SqliteArguments>,
    ) -> Result<Option<SqliteRow>, sqlx::Error> {
        let mut lent = self.lend().await?;
        let row = query.fetch_optional(&mut lent.connection).await?;
        lent.give_back();
        Ok(row)
    }

    /// The first row.
    pub(crate) async fn fetch_one(
        &self,
        query: Query<'_, Sqlite, SqliteArguments>,
    ) -> Result<SqliteRow, sqlx::Error> {
        self.fetch_optional(query).await?.ok_or(sqlx::Error::RowNotFound)
    }

    /// Waits for the reads that run, closes all connections, and lends no more.
    pub(crate) async fn close(&self) {
        // It fails only when the readers are closed already.
        let _all = self.free.acquire_many(self.connections_max).await;
        self.free.close();
        let idle = std::mem::take(&mut *lock(&self.idle));
        for connection in idle {
            if let Err(cause) = connection.close().await {
                tracing::warn!(%cause, "closing a reading connection failed");
            }
        }
    }

    async fn lend(&self) -> Result<Lent<'_>, sqlx::Error> {
        let permit = timeout(ACQUIRE_TIMEOUT, self.free.acquire())
            .await
            .map_err(|_| sqlx::Error::PoolTimedOut)?
            .map_err(|_| sqlx::Error::PoolClosed)?;
        let idle = lock(&self.idle).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => self.options.connect().await?,
        };
        Ok(Lent { readers: self, connection, _permit: permit })
    }
}

impl Lent<'_> {
    /// Keeps the connection for the next read. The permit is dropped last, so that the next read
    /// finds the connection.
    fn give_back(self) {
        let Self { readers, connection, _permit } = self;
        lock(&readers.idle).push(connection);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one_reader(folder: &tempfile::TempDir) -> Readers {
        let options = SqliteOptions::default().with_read_connections(1);
        let path = folder.path().join("a.db");
        std::fs::File::create(&path).unwrap();
        Readers::new(&path, &options)
    }

    async fn answers(readers: &Readers) -> bool {
        readers.fetch_one(sqlx::query("SELECT 1")).await.is_ok()
    }

    #[tokio::test]
    async fn a_connection_is_kept_after_a_read_and_closed_after_one_that_failed() {
        let folder = tempfile::tempdir().unwrap();
        let readers = one_reader(&folder);
        assert!(answers(&readers).await);
        assert_eq!(lock(&readers.idle).len(), 1);
        assert!(readers.fetch_all(sqlx::query("nonsense")).await.is_err());
        assert!(lock(&readers.idle).is_empty());
        let endless =
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n";
        let given_up = readers.fetch_all(sqlx::query(endless));
        assert!(timeout(Duration::from_millis(20), given_up).await.is_err());
        assert!(answers(&readers).await, "the permit did not come back");
    }

    #[tokio::test]
    async fn closing_waits_for_reads_and_lends_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let readers = one_reader(&folder);
        let lent = readers.lend().await.unwrap();
        let closing = readers.close();
        let finish = async {
            tokio::task::yield_now().await;
            assert!(!readers.free.is_closed(), "it closed under a read");
            lent.give_back();
        };
        tokio::join!(closing, finish);
        let refused = readers.fetch_one(sqlx::query("SELECT 1")).await;
        assert!(matches!(refused, Err(sqlx::Error::PoolClosed)));
        assert!(lock(&readers.idle).is_empty());
        readers.close().await;
    }
}
