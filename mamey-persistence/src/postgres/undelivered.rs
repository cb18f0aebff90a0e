//! Keeps messages that were given up before they were published, in the order in which they were.

use async_trait::async_trait;
use mamey_core::Result;
use mamey_core::store::{
    RecordId, UNDELIVERED_PAGE_BYTES_MAX, UndeliveredMessage, UndeliveredStore,
    check_undelivered_page,
};
use sqlx::Row;
use sqlx::postgres::PgConnection;

use super::commit::locks::{in_order, key_lock};
use super::query::bind::{PgQuery, column};
use super::query::values::unescape;
use super::schema::statement::execute;
use super::store::PostgresStore;
use crate::sql::outbox::undelivered;
use crate::sql::rows::stored;

const LIST: &str = "\
SELECT sequence, id, reason, attempts, first_failed, last_failed, failure, metadata,
  CASE WHEN sum(octet_length(payload)) OVER so_far <= $3 OR row_number() OVER so_far = 1
    THEN payload END
FROM (
  SELECT * FROM mamey._undelivered
  WHERE given_up > coalesce((SELECT min(given_up) FROM mamey._undelivered
    WHERE sequence = $1 AND id = $2), 0)
  ORDER BY given_up LIMIT $4
) AS page WINDOW so_far AS (ROWS UNBOUNDED PRECEDING)";

/// Of two calls at the same moment, one waits, and then finds nothing.
const LOCK: &str = "\
SELECT key FROM mamey._undelivered
WHERE (sequence, id) IN (SELECT * FROM unnest($1::bigint[], $2::uuid[]))
ORDER BY given_up FOR UPDATE";

/// As for a commit that sends: the sequences of a key follow the order of its commits.
const LOCK_KEYS: &str = "SELECT pg_advisory_xact_lock(number) FROM unnest($1::bigint[]) AS number";

/// Sends them again in the order in which they were sent.
const REPLAY: &str = "\
WITH deleted AS (
  DELETE FROM mamey._undelivered
  WHERE (sequence, id) IN (SELECT * FROM unnest($1::bigint[], $2::uuid[])) RETURNING *
)
INSERT INTO mamey._outbox (id, slot, key, sent_at, metadata, payload)
SELECT id, slot, key, sent_at, metadata, payload FROM deleted ORDER BY sequence";

const DISCARD: &str = "\
DELETE FROM mamey._undelivered
WHERE (sequence, id) IN (SELECT * FROM unnest($1::bigint[], $2::uuid[]))";

const COUNT: &str = "SELECT count(*) FROM mamey._undelivered";

#[async_trait]
impl UndeliveredStore for PostgresStore {
    async fn undelivered(
        &self,
        after: Option<RecordId>,
        limit: u32,
    ) -> Result<Vec<UndeliveredMessage>> {
        check_undelivered_page(limit as usize)?;
        let listed = self
            .query(LIST)
            .bind(after.map(|id| stored(id.sequence)))
            .bind(after.map(|id| id.message.as_uuid()))
            .bind(stored(UNDELIVERED_PAGE_BYTES_MAX as u64))
            .bind(i64::from(limit));
        let rows = self.database.connections.fetch_all(listed).await;
        rows.and_then(|rows| undelivered(&rows)).map_err(|cause| self.database.error(cause))
    }

    async fn replay_undelivered(&self, ids: &[RecordId]) -> Result<u64> {
        check_undelivered_page(ids.len())?;
        let lent = self.database.connections.lend().await;
        let mut lent = lent.map_err(|cause| self.database.error(cause))?;
        // On an error the connection is dropped, and the server rolls its transaction back.
        let replayed = self.replay(&mut lent.connection, ids);
        let replayed = self.database.connections.in_time(replayed).await;
        let replayed = replayed.map_err(|cause| self.database.error(cause))?;
        lent.give_back();
        if replayed > 0 {
            self.committer.listeners().notify();
        }
        Ok(replayed)
    }

    async fn discard_undelivered(&self, ids: &[RecordId]) -> Result<u64> {
        check_undelivered_page(ids.len())?;
        let discarded = self.database.connections.execute(self.about(DISCARD, ids)).await;
        discarded.map_err(|cause| self.database.error(cause))
    }

    async fn undelivered_count(&self) -> Result<u64> {
        self.number(self.query(COUNT)).await
    }
}

impl PostgresStore {
    async fn replay(
        &self,
        connection: &mut PgConnection,
        ids: &[RecordId],
    ) -> Result<u64, sqlx::Error> {
        execute(connection, self.database.connections.begin_sql().to_owned()).await?;
        let locked = self.about(LOCK, ids).fetch_all(&mut *connection).await?;
        let keys = locked.iter().map(|row| row.try_get::<Option<String>, _>(0));
        let keys = keys.collect::<Result<Vec<_>, _>>()?;
        let keys = keys.into_iter().flatten().map(unescape);
        let locks = in_order(keys.map(|key| key_lock(&self.tables.schema, &key)));
        self.query(LOCK_KEYS).bind(locks).execute(&mut *connection).await?;
        let replayed = self.about(REPLAY, ids).execute(&mut *connection).await?.rows_affected();
        execute(connection, "COMMIT".to_owned()).await?;
        Ok(replayed)
    }

    /// A statement about these messages.
    fn about(&self, sql: &str, ids: &[RecordId]) -> PgQuery<'static> {
        self.query(sql)
            .bind(column(ids, |id| stored(id.sequence)))
            .bind(column(ids, |id| id.message.as_uuid()))
    }
}
