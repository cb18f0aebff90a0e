//! Remembers which messages were received and which replies were given.

use std::time::Duration;

use async_trait::async_trait;
use mamey_core::Result;
use mamey_core::clock::Timestamp;
use mamey_core::message::MessageIdentity;
use mamey_core::store::{CommitOutcome, Fingerprint, InboxStore, KnownReply, SavedReply};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::commit::script::{Expect, Script};
use super::commit::transaction::Transaction;
use super::commit::work::{Stop, Work};
use super::query::values::key;
use super::store::SqliteStore;

const RECEIVE: &str = "\
INSERT INTO mamey_inbox (context, id, received_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING";

const SAVE_REPLY: &str = "\
INSERT INTO mamey_replies (context, command, key, fingerprint, body, saved_at)
VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT DO NOTHING";

const WAS_RECEIVED: &str = "SELECT count(*) FROM mamey_inbox WHERE context = ? AND id = ?";

const RECEIVED_COUNT: &str = "SELECT count(*) FROM mamey_inbox WHERE context = ?";

const SAVED_REPLY: &str =
    "SELECT fingerprint, body FROM mamey_replies WHERE context = ? AND command = ? AND key = ?";

/// A message that is still parked or a dead letter must stay known, however old it is.
const EXPIRE_INBOX: &str = "\
DELETE FROM mamey_inbox WHERE context = ? AND id IN (
  SELECT id FROM mamey_inbox AS old
  WHERE context = ? AND received_at < ?
    AND NOT EXISTS (SELECT 1 FROM mamey_parked AS parked
      WHERE parked.context = old.context AND parked.id = old.id)
    AND NOT EXISTS (SELECT 1 FROM mamey_dead_letters AS dead
      WHERE dead.context = old.context AND dead.id = old.id)
  LIMIT ?)";

const EXPIRE_REPLIES: &str = "\
DELETE FROM mamey_replies WHERE context = ? AND (command, key) IN (
  SELECT command, key FROM mamey_replies WHERE context = ? AND saved_at < ? LIMIT ?)";

/// The most entries of a kind that one transaction deletes, so that commits do not wait long.
const EXPIRED_PER_STEP_MAX: u32 = 5000;

#[async_trait]
impl InboxStore for SqliteStore {
    async fn was_received(&self, message: MessageIdentity) -> Result<bool> {
        let count = sqlx::query(WAS_RECEIVED).bind(self.context()).bind(key(message));
        Ok(self.number(count).await? > 0)
    }

    async fn received_count(&self) -> Result<u64> {
        self.count(RECEIVED_COUNT).await
    }

    async fn saved_reply(&self, command: &str, key: &str) -> Result<Option<KnownReply>> {
        let saved = sqlx::query(SAVED_REPLY).bind(self.context()).bind(command).bind(key);
        let row = self.database.readers.fetch_optional(saved).await;
        let columns = |row: SqliteRow| Ok((row.try_get(0)?, row.try_get(1)?));
        let saved = row.and_then(|row| row.map(columns).transpose());
        let known = |(fingerprint, body): (Vec<u8>, Vec<u8>)| {
            Ok(KnownReply::new(Fingerprint::from_bytes(&fingerprint)?, body.into()))
        };
        saved.map_err(|cause| self.database.error(cause))?.map(known).transpose()
    }

    async fn expire_inbox(&self, window: Duration) -> Result<u64> {
        let before = self.database.clock.now().minus(window);
        let mut forgotten = 0;
        loop {
            let context = self.context().to_owned();
            let step = self.database.submit(Expire { context, before }).await?;
            if step == 0 {
                return Ok(forgotten);
            }
            forgotten += step;
        }
    }
}

/// Marks a message as received; the unit is a duplicate if the mark exists.
pub(super) fn receive(
    script: &mut Script,
    context: &str,
    message: MessageIdentity,
    now: Timestamp,
) {
    script
        .statement(RECEIVE, Expect::Change(Ok(CommitOutcome::Duplicate)))
        .bind(context)
        .bind(key(message))
        .bind(now.as_micros());
}

/// Remembers a reply; the unit is a duplicate if its key is taken.
pub(super) fn save_reply(script: &mut Script, context: &str, reply: &SavedReply, now: Timestamp) {
    script
        .statement(SAVE_REPLY, Expect::Change(Ok(CommitOutcome::Duplicate)))
        .bind(context)
        .bind(reply.command)
        .bind(reply.key.as_str())
        .bind(reply.fingerprint.as_bytes().as_slice())
        .bind(reply.body.as_ref())
        .bind(now.as_micros());
}

/// Deletes marks and replies from before a time, a bounded number of each.
struct Expire {
    context: String,
    before: Timestamp,
}

#[async_trait]
impl Work for Expire {
    type Output = u64;

    async fn run(&mut self, transaction: &mut Transaction<'_>) -> Result<u64, Stop<u64>> {
        let mut script = Script::default();
        for sql in [EXPIRE_INBOX, EXPIRE_REPLIES] {
            script
                .statement(sql, Expect::Anything)
                .bind(self.context.as_str())
                .bind(self.context.as_str())
                .bind(self.before.as_micros())
                .bind(i64::from(EXPIRED_PER_STEP_MAX));
        }
        Ok(script.run(transaction).await?.changes)
    }
}
