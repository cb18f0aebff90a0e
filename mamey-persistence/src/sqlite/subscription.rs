//! Remembers what the builds of a context declare of messages.

use async_trait::async_trait;
use mamey_core::Result;
use mamey_core::clock::Timestamp;
use mamey_core::message::{ContextName, Envelope};
use mamey_core::store::{
    AWAITED_FOR, Declaration, Origin, Outcome, Receipt, Subscriber, Subscription, SubscriptionStore,
};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::commit::receipt::record;
use super::commit::script::{Expect, Script};
use super::commit::transaction::Transaction;
use super::commit::work::{Stop, Work};
use super::store::SqliteStore;
use crate::common::errors::no_context;
use crate::sql::rows::{declared, to_json};

/// A pause that is longer begins a new time. A clock that went back shortens none.
const DECLARE_HANDLED: &str = "\
INSERT INTO mamey_subscriptions AS known (context, name, handled_since, handled_at, in_process)
VALUES (?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET
  handled_since = CASE WHEN excluded.handled_at - known.handled_at <= ?
    THEN known.handled_since ELSE excluded.handled_since END,
  handled_at = max(coalesce(known.handled_at, excluded.handled_at), excluded.handled_at),
  in_process = excluded.in_process";

const DECLARE_IGNORED: &str = "\
INSERT INTO mamey_subscriptions AS known (context, name, ignored_since, ignored_at, in_process)
VALUES (?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET
  ignored_since = CASE WHEN excluded.ignored_at - known.ignored_at <= ?
    THEN known.ignored_since ELSE excluded.ignored_since END,
  ignored_at = max(coalesce(known.ignored_at, excluded.ignored_at), excluded.ignored_at)";

const SUBSCRIPTIONS: &str = "\
SELECT name, ?1 - handled_since, ?1 - handled_at, ?1 - ignored_since, ?1 - ignored_at
FROM mamey_subscriptions WHERE context = ?2 AND name IN (SELECT value FROM json_each(?3))";

const SUBSCRIBERS: &str = "\
SELECT name, ?1 - handled_since, ?1 - handled_at, ?1 - ignored_since, ?1 - ignored_at, context
FROM mamey_subscriptions WHERE in_process";

const HAS_CONTEXT: &str = "SELECT 1 FROM mamey_subscriptions WHERE context = ? LIMIT 1";

#[async_trait]
impl SubscriptionStore for SqliteStore {
    async fn declare_subscriptions(&self, declaration: &Declaration) -> Result<()> {
        let (context, now) = (self.context().to_owned(), self.database.clock.now());
        let declaration = declaration.clone();
        self.database.submit(Declare { context, declaration, now }).await
    }

    async fn subscriptions(&self, names: &[&str]) -> Result<Vec<Subscription>> {
        let asked = sqlx::query(SUBSCRIPTIONS)
            .bind(self.database.clock.now().as_micros())
            .bind(self.context())
            .bind(to_json(&names)?);
        let rows = self.database.readers.fetch_all(asked).await;
        rows.and_then(|rows| rows.iter().map(read).collect())
            .map_err(|cause| self.database.error(cause))
    }

    async fn subscribers(&self) -> Result<Vec<Subscriber>> {
        let asked = sqlx::query(SUBSCRIBERS).bind(self.database.clock.now().as_micros());
        let rows = self.database.readers.fetch_all(asked).await;
        rows.and_then(|rows| rows.iter().map(subscriber).collect())
            .map_err(|cause| self.database.error(cause))
    }

    async fn park_for(&self, to: &ContextName, envelope: &Envelope) -> Result<()> {
        let receipt = Receipt::new(envelope.clone(), Origin::Delivery, Outcome::waiting());
        let (context, now) = (to.as_str(), self.database.clock.now());
        let mut script = Script::default();
        script.statement(HAS_CONTEXT, Expect::Row(Err(no_context(to)))).bind(context);
        record(&mut script, context, &receipt, now)?;
        self.database.submit(ParkFor(script)).await.map(drop)
    }
}

fn subscriber(row: &SqliteRow) -> Result<Subscriber, sqlx::Error> {
    let context = row.try_get::<String, _>(5)?;
    let context = ContextName::new(&context).map_err(|cause| sqlx::Error::Decode(cause.into()))?;
    Ok(Subscriber::new(context, read(row)?))
}

/// Parks a message for another context, unless that one has received it.
struct ParkFor(Script);

#[async_trait]
impl Work for ParkFor {
    type Output = ();

    async fn run(&mut self, transaction: &mut Transaction<'_>) -> Result<(), Stop<()>> {
        match std::mem::take(&mut self.0).run(transaction).await?.refusal {
            None => Ok(()),
            Some(Ok(_)) => Err(Stop::Undo(())),
            Some(Err(error)) => Err(Stop::Refuse(error)),
        }
    }
}

fn read(row: &SqliteRow) -> Result<Subscription, sqlx::Error> {
    Ok(Subscription::new(row.try_get::<String, _>(0)?)
        .with_handled(declared(row.try_get(1)?, row.try_get(2)?))
        .with_ignored(declared(row.try_get(3)?, row.try_get(4)?)))
}

/// Records a declaration.
struct Declare {
    context: String,
    declaration: Declaration,
    now: Timestamp,
}

#[async_trait]
impl Work for Declare {
    type Output = ();

    async fn run(&mut self, transaction: &mut Transaction<'_>) -> Result<(), Stop<()>> {
        let mut script = Script::default();
        let Declaration { handles, ignores, .. } = &self.declaration;
        let in_process = self.declaration.in_process;
        let handled = (DECLARE_HANDLED, handles, in_process);
        // What is only ignored reaches nobody.
        for (sql, names, in_process) in [handled, (DECLARE_IGNORED, ignores, false)] {
            for name in names {
                script
                    .statement(sql, Expect::Anything)
                    .bind(self.context.as_str())
                    .bind(*name)
                    .bind(self.now.as_micros())
                    .bind(self.now.as_micros())
                    .bind(i64::from(in_process))
                    .bind(i64::try_from(AWAITED_FOR.as_micros()).unwrap_or(i64::MAX));
            }
        }
        script.run(transaction).await?;
        Ok(())
    }
}
