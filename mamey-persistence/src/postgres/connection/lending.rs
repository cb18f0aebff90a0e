//! Lends connections: for one statement, for several, or for a transaction that a handler opens.

use std::ops::ControlFlow;
use std::sync::Arc;

use futures_util::TryStreamExt;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Connection};
use tokio::sync::{OwnedSemaphorePermit, SemaphorePermit};
use tokio::time::timeout;

use super::{ANSWER_GRACE, Connections, session};
use crate::postgres::error::{is_broken, only_reads};
use crate::postgres::query::bind::PgQuery;

/// A connection that is lent out. Dropped in the middle of a statement, it is closed.
pub(crate) struct Lent<'c> {
    connections: &'c Connections,
    pub(crate) connection: PgConnection,
    _permit: SemaphorePermit<'c>,
}

/// A connection inside a transaction that a handler works with. Dropped, it is closed, and the
/// server rolls the transaction back.
pub(crate) struct LentTransaction {
    connections: Arc<Connections>,
    pub(crate) connection: PgConnection,
    _permit: OwnedSemaphorePermit,
}

impl Connections {
    /// All rows.
    pub(crate) async fn fetch_all(&self, query: PgQuery<'_>) -> Result<Vec<PgRow>, sqlx::Error> {
        self.rows(query.persistent(self.keeps_statements())).await
    }

    /// All rows, of a statement that is planned for what its tables hold now. A plan that is kept may be
    /// from the time when they were empty.
    pub(crate) async fn fetch_all_planned_anew(
        &self,
        query: PgQuery<'_>,
    ) -> Result<Vec<PgRow>, sqlx::Error> {
        self.rows(query.persistent(false)).await
    }

    async fn rows(&self, query: PgQuery<'_>) -> Result<Vec<PgRow>, sqlx::Error> {
        let mut lent = self.lend().await?;
        let rows = self.in_time(async {
            lent.begin_call().await?;
            let rows = query.fetch_all(&mut lent.connection).await?;
            lent.commit_call().await?;
            Ok(rows)
        });
        let rows = rows.await;
        lent.end_call(rows).await
    }

    /// Hands over the rows one after the other, as they arrive. When `take` breaks off, the
    /// connection is closed, which makes the server stop sending.
    pub(crate) async fn for_each(
        &self,
        query: PgQuery<'_>,
        mut take: impl FnMut(PgRow) -> Result<ControlFlow<()>, sqlx::Error> + Send,
    ) -> Result<(), sqlx::Error> {
        let query = query.persistent(self.keeps_statements());
        let mut lent = self.lend().await?;
        let read = self.in_time(async {
            lent.begin_call().await?;
            let mut rows = query.fetch(&mut lent.connection);
            while let Some(row) = rows.try_next().await? {
                if take(row)?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            drop(rows);
            lent.commit_call().await?;
            Ok(ControlFlow::Continue(()))
        });
        match read.await {
            Ok(ControlFlow::Break(())) => Ok(()),
            read => lent.end_call(read.map(drop)).await,
        }
    }

    /// The first row, if any.
    pub(crate) async fn fetch_optional(
        &self,
        query: PgQuery<'_>,
    ) -> Result<Option<PgRow>, sqlx::Error> {
        let query = query.persistent(self.keeps_statements());
        let mut lent = self.lend().await?;
        let row = self.in_time(async {
            lent.begin_call().await?;
            let row = query.fetch_optional(&mut lent.connection).await?;
            lent.commit_call().await?;
            Ok(row)
        });
        let row = row.await;
        lent.end_call(row).await
    }

    /// The one row.
    pub(crate) async fn fetch_one(&self, query: PgQuery<'_>) -> Result<PgRow, sqlx::Error> {
        self.fetch_optional(query).await?.ok_or(sqlx::Error::RowNotFound)
    }

    /// How many rows a statement changed.
    pub(crate) async fn execute(&self, query: PgQuery<'_>) -> Result<u64, sqlx::Error> {
        let query = query.persistent(self.keeps_statements());
        let mut lent = self.lend().await?;
        let done = self.in_time(async {
            lent.begin_call().await?;
            let done = query.execute(&mut lent.connection).await?;
            lent.commit_call().await?;
            Ok(done.rows_affected())
        });
        let done = done.await;
        lent.end_call(done).await
    }

    /// A connection for several statements, until it is given back or dropped.
    pub(crate) async fn lend(&self) -> Result<Lent<'_>, sqlx::Error> {
        let permit = self.permit().await?;
        let connection = self.take().await?;
        Ok(Lent { connections: self, connection, _permit: permit })
    }

    /// A connection inside a new transaction.
    pub(crate) async fn begin(self: &Arc<Self>) -> Result<LentTransaction, sqlx::Error> {
        let permit = self.owned_permit().await?;
        let mut connection = self.take().await?;
        let sql = format!("{}; {}", self.begin_sql(), session::MARK);
        self.in_time(begin(&mut connection, sql)).await?;
        Ok(LentTransaction { connections: Arc::clone(self), connection, _permit: permit })
    }
}

impl LentTransaction {
    /// Whether it came from these connections.
    pub(crate) fn is_of(&self, connections: &Arc<Connections>) -> bool {
        Arc::ptr_eq(&self.connections, connections)
    }

    /// Ends the transaction by `COMMIT` or `ROLLBACK`. Nobody waits until its session is cleaned up.
    pub(crate) async fn end(mut self, by: &'static str) -> Result<(), sqlx::Error> {
        let ended = sqlx::raw_sql(by).execute(&mut self.connection);
        self.connections.in_time(ended).await?;
        tokio::spawn(self.clean_up());
        Ok(())
    }

    /// What a handler has set or left in the session does not outlive it.
    async fn clean_up(mut self) {
        let reset = sqlx::raw_sql(session::RESET).execute(&mut self.connection);
        match timeout(ANSWER_GRACE, reset).await {
            Ok(Ok(_)) => self.connections.keep(self.connection),
            Ok(Err(cause)) => {
                tracing::debug!(%cause, "the session of a handler is closed: it cannot be cleaned up");
            }
            Err(_) => tracing::debug!("the session of a handler is closed: it does not answer"),
        }
    }
}

/// Opens a transaction that the driver counts, so that one which a handler begins inside of it is a
/// savepoint. The driver is not told of its end, and counts it from then on.
async fn begin(connection: &mut PgConnection, sql: String) -> Result<(), sqlx::Error> {
    if connection.is_in_transaction() {
        return sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.map(drop);
    }
    // Dropped, it would be rolled back.
    std::mem::forget(connection.begin_with(AssertSqlSafe(sql)).await?);
    Ok(())
}

impl Lent<'_> {
    /// Keeps the connection for the next call. It must be outside of a transaction.
    pub(crate) fn give_back(self) {
        self.connections.keep(self.connection);
    }

    async fn begin_call(&mut self) -> Result<(), sqlx::Error> {
        let Some(sql) = self.connections.begin_call() else {
            return Ok(());
        };
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut self.connection).await.map(drop)
    }

    async fn commit_call(&mut self) -> Result<(), sqlx::Error> {
        if self.connections.keeps_sessions() {
            return Ok(());
        }
        sqlx::raw_sql("COMMIT").execute(&mut self.connection).await.map(drop)
    }

    /// Keeps the connection unless the call broke it.
    async fn end_call<T>(mut self, result: Result<T, sqlx::Error>) -> Result<T, sqlx::Error> {
        match &result {
            Ok(_) => self.give_back(),
            // The idle connections most likely broke in the same way. Each would cost a call, which
            // is more than a new connection costs.
            Err(cause) if is_broken(cause) || only_reads(cause) => self.connections.drop_idle(),
            Err(sqlx::Error::Database(_)) if self.connections.keeps_sessions() => self.give_back(),
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
