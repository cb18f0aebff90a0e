//! Remembers what the builds of a context declare of messages.

use std::time::Duration;

use async_trait::async_trait;
use mamey_core::Result;
use mamey_core::message::{ContextName, Envelope};
use mamey_core::store::{
    AWAITED_FOR, DECLARED_EVERY, Declaration, Origin, Outcome, Receipt, Subscriber, Subscription,
    SubscriptionStore,
};
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Row};

use super::commit::locks::lane_lock;
use super::commit::receipt::outcome;
use super::connection::shares::Purpose;
use super::query::values::{escape, micros};
use super::schema::statement::in_schema;
use super::schema::tables::quoted;
use super::store::PostgresStore;
use crate::sql::rows::declared;

/// What was declared so recently is not written again: many instances declare the same.
const FRESH: Duration = Duration::from_secs(DECLARED_EVERY.as_secs() / 2);

/// A pause that is longer than the limit begins a new time. A clock that went back shortens none. In
/// the order of names, so that no two instances wait for each other.
const DECLARE: &str = "\
INSERT INTO mamey._subscriptions AS known
  (name, handled_since, handled_at, ignored_since, ignored_at, in_process)
SELECT said.name, handled.at, handled.at, ignored.at, ignored.at, said.handles AND $6
FROM (SELECT mamey._now($3) AS now) AS moment,
  unnest($1::text[], $2::boolean[]) AS said (name, handles),
  LATERAL (SELECT CASE WHEN said.handles THEN moment.now END) AS handled (at),
  LATERAL (SELECT CASE WHEN NOT said.handles THEN moment.now END) AS ignored (at)
ORDER BY said.name
ON CONFLICT (name) DO UPDATE SET
  handled_since = CASE WHEN excluded.handled_at IS NULL
      OR excluded.handled_at - known.handled_at <= $4
    THEN known.handled_since ELSE excluded.handled_since END,
  handled_at = greatest(known.handled_at, excluded.handled_at),
  ignored_since = CASE WHEN excluded.ignored_at IS NULL
      OR excluded.ignored_at - known.ignored_at <= $4
    THEN known.ignored_since ELSE excluded.ignored_since END,
  ignored_at = greatest(known.ignored_at, excluded.ignored_at),
  in_process = CASE WHEN excluded.handled_at IS NULL
    THEN known.in_process ELSE excluded.in_process END
WHERE excluded.handled_at IS NOT NULL
    AND (known.handled_at IS NULL OR excluded.handled_at - known.handled_at > $5
      OR excluded.in_process <> known.in_process)
  OR excluded.ignored_at IS NOT NULL
    AND (known.ignored_at IS NULL OR excluded.ignored_at - known.ignored_at > $5)";

const SUBSCRIPTIONS: &str = "\
SELECT name, now - handled_since, now - handled_at, now - ignored_since, now - ignored_at
FROM mamey._subscriptions, (SELECT mamey._now($2) AS now) AS moment
WHERE name = ANY($1)";

const SUBSCRIBERS: &str = "\
SELECT message, handled_for, handled_ago, ignored_for, ignored_ago, context
FROM mamey._subscribers($1)";

/// In the schema of the context that the message is for.
const PARK_FOR: &str = "SELECT mamey._park_for($1, $2, $3, $4)";

#[async_trait]
impl SubscriptionStore for PostgresStore {
    async fn declare_subscriptions(&self, declaration: &Declaration) -> Result<()> {
        let Declaration { handles, ignores, in_process, .. } = declaration;
        let handled = handles.iter().map(|name| (*name, true));
        let (names, handles): (Vec<&str>, Vec<bool>) =
            handled.chain(ignores.iter().map(|name| (*name, false))).unzip();
        if names.is_empty() {
            return Ok(());
        }
        let declare = self
            .query(DECLARE)
            .bind(names)
            .bind(handles)
            .bind(self.database.now())
            .bind(micros(AWAITED_FOR))
            .bind(micros(FRESH))
            .bind(*in_process);
        let done = self.database.connections.execute(Purpose::Work, declare).await;
        done.map(drop).map_err(|cause| self.database.error(cause))
    }

    async fn subscriptions(&self, names: &[&str]) -> Result<Vec<Subscription>> {
        let asked = self.query(SUBSCRIPTIONS).bind(names).bind(self.database.now());
        let rows = self.database.connections.fetch_all(Purpose::Work, asked).await;
        rows.and_then(|rows| rows.iter().map(read).collect())
            .map_err(|cause| self.database.error(cause))
    }

    async fn subscribers(&self) -> Result<Vec<Subscriber>> {
        let asked = self.query(SUBSCRIBERS).bind(self.database.now());
        let rows = self.database.connections.fetch_all(Purpose::Work, asked).await;
        let rows = rows.map_err(|cause| self.database.error(cause))?;
        rows.iter().map(|row| subscriber(row).map_err(|cause| self.database.error(cause))).collect()
    }

    async fn park_for(&self, to: &ContextName, envelope: &Envelope) -> Result<()> {
        let receipt = Receipt::new(envelope.clone(), Origin::Delivery, Outcome::waiting());
        let schema = quoted(to);
        let lane = envelope.lane();
        let call = sqlx::query(AssertSqlSafe(in_schema(&schema, PARK_FOR)))
            .persistent(self.database.connections.keeps_statements())
            .bind(outcome(&receipt)?)
            .bind(envelope.payload.to_vec())
            .bind(lane.map(|lane| lane_lock(&schema, &escape(lane.as_str()))))
            .bind(self.database.now());
        let done = self.database.connections.execute(Purpose::Work, call).await;
        done.map(drop).map_err(|cause| self.database.error(cause))
    }
}

fn subscriber(row: &PgRow) -> Result<Subscriber, sqlx::Error> {
    let context = row.try_get::<String, _>(5)?;
    let context = ContextName::new(&context).map_err(|cause| sqlx::Error::Decode(cause.into()))?;
    Ok(Subscriber::new(context, read(row)?))
}

fn read(row: &PgRow) -> Result<Subscription, sqlx::Error> {
    Ok(Subscription::new(row.try_get::<String, _>(0)?)
        .with_handled(declared(row.try_get(1)?, row.try_get(2)?))
        .with_ignored(declared(row.try_get(3)?, row.try_get(4)?)))
}
