//! Remembers which messages were received and which replies were given.

use async_trait::async_trait;
use bytes::Bytes;
use mamey_core::Result;
use mamey_core::clock::Timestamp;
use mamey_core::id::MessageId;
use mamey_core::store::{InboxStore, SavedReply};
use serde_json::{Value as Json, json};
use sqlx::Row;

use super::PostgresStore;
use super::commit::{Arguments, escaped};

const WAS_RECEIVED: &str = "SELECT count(*) FROM mamey._inbox WHERE id = $1";

const RECEIVED_COUNT: &str = "SELECT count(*) FROM mamey._inbox";

const SAVED_REPLY: &str = "SELECT body FROM mamey._replies WHERE command = $1 AND key = $2";

/// A message that still waits here must stay known, however old it is.
const EXPIRE_INBOX: &str = "\
DELETE FROM mamey._inbox WHERE id IN (
  SELECT id FROM mamey._inbox AS old
  WHERE received_at < $1
    AND NOT EXISTS (SELECT 1 FROM mamey._parked AS parked WHERE parked.id = old.id)
    AND NOT EXISTS (SELECT 1 FROM mamey._dead_letters AS dead WHERE dead.id = old.id)
  ORDER BY received_at LIMIT $2)";

const EXPIRE_REPLIES: &str = "\
DELETE FROM mamey._replies WHERE (command, key) IN (
  SELECT command, key FROM mamey._replies WHERE saved_at < $1 ORDER BY saved_at LIMIT $2)";

/// How many entries of a kind are forgotten at once, so that no transaction grows long.
const EXPIRED_PER_STEP_MAX: u32 = 5000;

#[async_trait]
impl InboxStore for PostgresStore {
    async fn was_received(&self, id: MessageId) -> Result<bool> {
        Ok(self.number(self.query(WAS_RECEIVED).bind(id.as_uuid())).await? > 0)
    }

    async fn received_count(&self) -> Result<u64> {
        self.number(self.query(RECEIVED_COUNT)).await
    }

    async fn saved_reply(&self, command: &str, key: &str) -> Result<Option<Bytes>> {
        let saved = self.query(SAVED_REPLY).bind(escaped(command)).bind(escaped(key));
        let row = self.database.connections.fetch_optional(saved).await;
        let body = row.and_then(|row| row.map(|row| row.try_get::<Vec<u8>, _>(0)).transpose());
        body.map(|body| body.map(Bytes::from)).map_err(|cause| self.database.error(cause))
    }

    async fn expire_inbox(&self, before: Timestamp) -> Result<u64> {
        let mut forgotten = 0;
        for sql in [EXPIRE_INBOX, EXPIRE_REPLIES] {
            loop {
                let step =
                    self.query(sql).bind(before.as_micros()).bind(i64::from(EXPIRED_PER_STEP_MAX));
                let step = self.database.connections.execute(step).await;
                let step = step.map_err(|cause| self.database.error(cause))?;
                if step == 0 {
                    break;
                }
                forgotten += step;
            }
        }
        Ok(forgotten)
    }
}

/// A reply to remember, as the commit's function takes it.
pub(super) fn reply(arguments: &mut Arguments, reply: &SavedReply) -> Json {
    json!({
        "command": escaped(reply.command),
        "key": escaped(&reply.key),
        "body": arguments.blob(&reply.body),
    })
}
