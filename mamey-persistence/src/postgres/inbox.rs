//! Remembers which messages were received and which replies were given, and forgets old ones.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mamey_core::Result;
use mamey_core::message::MessageIdentity;
use mamey_core::store::{Fingerprint, InboxStore, KnownReply};
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Row};
use tokio::time::sleep;

use super::connection::shares::Purpose;
use super::error::lock_is_held;
use super::query::values::{escape, micros};
use super::schema::statement::in_schema;
use super::store::PostgresStore;

const WAS_RECEIVED: &str = "SELECT count(*) FROM mamey._inbox WHERE id = $1";

const RECEIVED_COUNT: &str = "SELECT count(*) FROM mamey._inbox";

const SAVED_REPLY: &str =
    "SELECT fingerprint, body FROM mamey._replies WHERE command = $1 AND key = $2";

/// An identity holds its day, so whole days are dropped at once.
const FORGET_DAY: &str =
    "SELECT mamey._inbox_forget_day(mamey._now({clock}) - {window}, {kept_max})";

const MAKE_DAYS: &str = "SELECT mamey._inbox_ahead($1, $2)";

/// Identities that belong to no day. A message that is parked or a dead letter stays known, however old.
/// What another transaction holds is forgotten another time.
const EXPIRE_DEFAULT: &str = "\
DELETE FROM mamey._inbox_default WHERE id IN (
  SELECT id FROM mamey._inbox_default AS old
  WHERE received_at < (SELECT mamey._now($3) - $1)
    AND NOT EXISTS (SELECT 1 FROM mamey._parked AS parked WHERE parked.id = old.id)
    AND NOT EXISTS (SELECT 1 FROM mamey._dead_letters AS dead WHERE dead.id = old.id)
  ORDER BY received_at LIMIT $2 FOR UPDATE OF old SKIP LOCKED)";

/// The same for the other table of such identities.
const EXPIRE_BEYOND: &str = "\
DELETE FROM mamey._inbox_beyond WHERE id IN (
  SELECT id FROM mamey._inbox_beyond AS old
  WHERE received_at < (SELECT mamey._now($3) - $1)
    AND NOT EXISTS (SELECT 1 FROM mamey._parked AS parked WHERE parked.id = old.id)
    AND NOT EXISTS (SELECT 1 FROM mamey._dead_letters AS dead WHERE dead.id = old.id)
  ORDER BY received_at LIMIT $2 FOR UPDATE OF old SKIP LOCKED)";

const EXPIRE_REPLIES: &str = "\
DELETE FROM mamey._replies WHERE (command, key) IN (
  SELECT command, key FROM mamey._replies WHERE saved_at < (SELECT mamey._now($3) - $1)
  ORDER BY saved_at LIMIT $2 FOR UPDATE SKIP LOCKED)";

/// How many entries of a kind one transaction forgets, so that none takes long.
const EXPIRED_PER_STEP_MAX: u32 = 5000;

/// How many days ahead the inbox has tables. The retention job makes them each hour, and may fail for
/// that long before identities go to the default table.
const DAYS_AHEAD: i32 = 3;

/// The most messages of a day that may be parked or dead letters when the day is dropped. Moving them
/// takes about 50 ms for this many, in which no unit commits.
const WAITING_PER_DAY_MAX: u32 = 10_000;

/// How often making or dropping a day's table is tried while long transactions are in the way, and the
/// pause between two tries. No unit waits longer for a try than the function's own `lock_timeout`.
const DAY_TRIES_MAX: u32 = 5;
const DAY_RETRY_PAUSE: Duration = Duration::from_millis(200);

#[async_trait]
impl InboxStore for PostgresStore {
    async fn was_received(&self, message: MessageIdentity) -> Result<bool> {
        Ok(self.number(Purpose::Read, self.query(WAS_RECEIVED).bind(message.as_uuid())).await? > 0)
    }

    async fn received_count(&self) -> Result<u64> {
        self.number(Purpose::Read, self.query(RECEIVED_COUNT)).await
    }

    async fn saved_reply(&self, command: &str, key: &str) -> Result<Option<KnownReply>> {
        let saved = self
            .query(SAVED_REPLY)
            .bind(escape(command).into_owned())
            .bind(escape(key).into_owned());
        let row = self.database.connections.fetch_optional(Purpose::Read, saved).await;
        let columns = |row: PgRow| Ok((row.try_get(0)?, row.try_get(1)?));
        let saved = row.and_then(|row| row.map(columns).transpose());
        let known = |(fingerprint, body): (Vec<u8>, Vec<u8>)| {
            Ok(KnownReply::new(Fingerprint::from_bytes(&fingerprint)?, body.into()))
        };
        saved.map_err(|cause| self.database.error(cause))?.map(known).transpose()
    }

    async fn expire_inbox(&self, window: Duration) -> Result<u64> {
        self.touch_functions().await?;
        self.make_inbox_days().await?;
        let window = micros(window);
        let mut forgotten = self.forget_days(window).await?;
        for sql in [EXPIRE_DEFAULT, EXPIRE_BEYOND, EXPIRE_REPLIES] {
            loop {
                let step = self
                    .query(sql)
                    .bind(window)
                    .bind(i64::from(EXPIRED_PER_STEP_MAX))
                    .bind(self.database.now());
                let step = self.database.connections.execute(Purpose::Read, step).await;
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

impl PostgresStore {
    /// Keeps the functions that commit for this build, however many later builds there are.
    async fn touch_functions(&self) -> Result<()> {
        let touch = sqlx::query(AssertSqlSafe(Arc::clone(&self.touch_functions)))
            .persistent(self.database.connections.keeps_statements());
        let touched = self.database.connections.execute(Purpose::Read, touch).await;
        touched.map(drop).map_err(|cause| self.database.error(cause))
    }

    /// Makes the tables of the next days. Without them the default table takes the ids, so it does
    /// no harm when a transaction is in the way.
    pub(super) async fn make_inbox_days(&self) -> Result<()> {
        for _ in 0..DAY_TRIES_MAX {
            let make = self.query(MAKE_DAYS).bind(self.database.now()).bind(DAYS_AHEAD);
            match self.database.connections.execute(Purpose::Read, make).await {
                Ok(_) => return Ok(()),
                Err(cause) if lock_is_held(&cause) => sleep(DAY_RETRY_PAUSE).await,
                Err(cause) => return Err(self.database.error(cause)),
            }
        }
        tracing::info!(
            schema = self.tables.schema,
            "the inbox has no tables for the next days yet; the default table takes their messages"
        );
        Ok(())
    }

    /// The retention job for whole days: drops those that ended before, one transaction for each.
    async fn forget_days(&self, window: i64) -> Result<u64> {
        let mut forgotten = 0;
        let mut tries = 0;
        while tries < DAY_TRIES_MAX {
            match self.forget_day(window).await {
                Ok(Some(day)) => forgotten += day.unsigned_abs(),
                Ok(None) => return Ok(forgotten),
                Err(cause) if lock_is_held(&cause) => {
                    tries += 1;
                    sleep(DAY_RETRY_PAUSE).await;
                }
                Err(cause) => return Err(self.database.error(cause)),
            }
        }
        tracing::info!(
            schema = self.tables.schema,
            "an old day of the inbox is in use and stays for now"
        );
        Ok(forgotten)
    }

    /// The isolation level is set, because the function must see what committed while it waited.
    async fn forget_day(&self, window: i64) -> Result<Option<i64>, sqlx::Error> {
        let call = in_schema(&self.tables.schema, FORGET_DAY)
            .replace("{clock}", &self.database.now().map_or("NULL".to_owned(), |it| it.to_string()))
            .replace("{window}", &window.to_string())
            .replace("{kept_max}", &WAITING_PER_DAY_MAX.to_string());
        let sql = format!("BEGIN ISOLATION LEVEL READ COMMITTED; {call}; COMMIT");
        let mut lent = self.database.connections.lend(Purpose::Read).await?;
        // On an error the connection is dropped, and the server rolls its transaction back.
        let rows = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(&mut lent.connection).await?;
        lent.give_back();
        rows.first().map_or(Ok(None), |row| row.try_get(0))
    }
}
