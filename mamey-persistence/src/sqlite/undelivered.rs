//! Keeps messages that were given up before they were published, in the order in which they were.

use std::sync::Arc;

use async_trait::async_trait;
use mamey_core::Result;
use mamey_core::store::{
    RecordId, UNDELIVERED_PAGE_BYTES_MAX, UndeliveredMessage, UndeliveredStore,
    check_undelivered_page,
};

use super::commit::script::{Expect, Script};
use super::commit::transaction::Transaction;
use super::commit::work::{Stop, Work};
use super::outbox::{hex, pairs};
use super::store::SqliteStore;
use crate::common::wakeup::Listeners;
use crate::sql::outbox::undelivered;
use crate::sql::rows::{stored, to_json};

/// Payloads are fetched by a second look at their rows: a window over them would copy all of them.
const LIST: &str = "\
SELECT record.sequence, record.id, reason, attempts, first_failed, last_failed, failure, metadata,
  CASE WHEN so_far <= ?4 OR place = 1 THEN payload END
FROM (
  SELECT given_up, row_number() OVER behind AS place, sum(bytes) OVER behind AS so_far
  FROM (
    SELECT given_up, length(payload) AS bytes FROM mamey_undelivered
    WHERE context = ?1 AND given_up > coalesce((
      SELECT given_up FROM mamey_undelivered
      WHERE context = ?1 AND sequence = ?2 AND hex(id) = ?3), 0)
    ORDER BY given_up LIMIT ?5)
  WINDOW behind AS (ORDER BY given_up ROWS UNBOUNDED PRECEDING)
) AS head CROSS JOIN mamey_undelivered AS record ON record.given_up = head.given_up
ORDER BY head.given_up";

/// Sends them again in the order in which they were sent.
const REPLAY: &str = "\
INSERT INTO mamey_outbox (context, id, slot, key, sent_at, metadata, payload)
SELECT record.context, record.id, record.slot, record.key, record.sent_at, record.metadata,
  record.payload
FROM json_each(?) AS asked
CROSS JOIN mamey_undelivered AS record
  ON record.context = ? AND record.sequence = asked.value ->> 0
WHERE hex(record.id) = asked.value ->> 1 ORDER BY record.sequence";

const DISCARD: &str = "\
DELETE FROM mamey_undelivered WHERE given_up IN (
  SELECT record.given_up FROM json_each(?) AS asked
  CROSS JOIN mamey_undelivered AS record
    ON record.context = ? AND record.sequence = asked.value ->> 0
  WHERE hex(record.id) = asked.value ->> 1)";

const COUNT: &str = "SELECT count(*) FROM mamey_undelivered WHERE context = ?";

#[async_trait]
impl UndeliveredStore for SqliteStore {
    async fn undelivered(
        &self,
        after: Option<RecordId>,
        limit: u32,
    ) -> Result<Vec<UndeliveredMessage>> {
        check_undelivered_page(limit as usize)?;
        let listed = sqlx::query(LIST)
            .bind(self.context())
            .bind(after.map(|id| stored(id.sequence)))
            .bind(after.map(hex))
            .bind(stored(UNDELIVERED_PAGE_BYTES_MAX as u64))
            .bind(i64::from(limit));
        let rows = self.database.readers.fetch_all(listed).await;
        rows.and_then(|rows| undelivered(&rows)).map_err(|cause| self.database.error(cause))
    }

    async fn replay_undelivered(&self, ids: &[RecordId]) -> Result<u64> {
        self.end_undelivered(ids, Some(Arc::clone(&self.listeners))).await
    }

    async fn discard_undelivered(&self, ids: &[RecordId]) -> Result<u64> {
        self.end_undelivered(ids, None).await
    }

    async fn undelivered_count(&self) -> Result<u64> {
        self.count(COUNT).await
    }
}

impl SqliteStore {
    async fn end_undelivered(
        &self,
        ids: &[RecordId],
        replays: Option<Arc<Listeners>>,
    ) -> Result<u64> {
        check_undelivered_page(ids.len())?;
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        ids.dedup();
        let (context, ids) = (self.context().to_owned(), to_json(&pairs(&ids))?);
        self.database.submit(EndUndelivered { context, ids, replays }).await
    }
}

/// Deletes undelivered messages, and sends them again when they are replayed.
struct EndUndelivered {
    context: String,
    ids: String,
    /// Who is notified when they are.
    replays: Option<Arc<Listeners>>,
}

#[async_trait]
impl Work for EndUndelivered {
    type Output = u64;

    async fn run(&mut self, transaction: &mut Transaction<'_>) -> Result<u64, Stop<u64>> {
        if self.replays.is_some() {
            self.run_one(transaction, REPLAY).await?;
        }
        self.run_one(transaction, DISCARD).await
    }

    fn committed(&self) {
        if let Some(listeners) = &self.replays {
            listeners.notify();
        }
    }
}

impl EndUndelivered {
    async fn run_one(
        &self,
        transaction: &mut Transaction<'_>,
        sql: &str,
    ) -> Result<u64, Stop<u64>> {
        let mut script = Script::default();
        script.statement(sql, Expect::Anything).bind(self.ids.as_str()).bind(&*self.context);
        Ok(script.run(transaction).await?.changes)
    }
}
