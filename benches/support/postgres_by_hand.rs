//! What a careful user writes without Mamey: sqlx, a pool, tables for outbox and inbox.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use sqlx::postgres::{PgPool, PgPoolOptions};
use time::OffsetDateTime;
use uuid::Uuid;

const TABLES: &str = "\
CREATE SCHEMA hand;
CREATE TABLE hand.accounts (id uuid PRIMARY KEY, version bigint NOT NULL, data jsonb NOT NULL);
CREATE TABLE hand.outbox (
    sequence bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id uuid NOT NULL, type text NOT NULL, key text NOT NULL, sent_at bigint NOT NULL,
    payload jsonb NOT NULL);
CREATE TABLE hand.inbox (id uuid PRIMARY KEY, received_at bigint NOT NULL)";

const ADD: &str = "INSERT INTO hand.accounts (id, version, data) VALUES ($1, 1, $2)";
const LOAD: &str = "SELECT version, data FROM hand.accounts WHERE id = $1";
const ACCEPT: &str =
    "INSERT INTO hand.inbox (id, received_at) VALUES ($1, $2) ON CONFLICT DO NOTHING";
const SAVE: &str =
    "UPDATE hand.accounts SET version = version + 1, data = $3 WHERE id = $1 AND version = $2";
const ENQUEUE: &str =
    "INSERT INTO hand.outbox (id, type, key, sent_at, payload) VALUES ($1, $2, $3, $4, $5)";

/// The whole commit in one statement; each part depends on the one before.
const COMMIT: &str = "\
WITH saved AS (
  UPDATE hand.accounts SET version = version + 1, data = $3
  WHERE id = $1 AND version = $2 RETURNING id
), accepted AS (
  INSERT INTO hand.inbox (id, received_at) SELECT $4, $5 FROM saved
  ON CONFLICT DO NOTHING RETURNING id
)
INSERT INTO hand.outbox (id, type, key, sent_at, payload)
SELECT $6, $7, $8, $5, $9 FROM accepted";

#[derive(Serialize, Deserialize)]
struct Account {
    id: Uuid,
    owner: String,
    balance_cents: i64,
}

#[derive(Clone)]
pub(crate) struct ByHand(pub(crate) PgPool);

impl ByHand {
    pub(crate) async fn open(
        url: &str,
        connections_max: u32,
        accounts: &[Uuid],
    ) -> Result<Self, sqlx::Error> {
        // Without a ping before each use, which would cost one more round trip.
        let pool = PgPoolOptions::new()
            .max_connections(connections_max)
            .test_before_acquire(false)
            .connect(url)
            .await?;
        sqlx::raw_sql(TABLES).execute(&pool).await?;
        for id in accounts {
            let account = Account { id: *id, owner: super::OWNER.to_owned(), balance_cents: 0 };
            sqlx::query(ADD).bind(id).bind(to_json(&account)?).execute(&pool).await?;
        }
        Ok(Self(pool))
    }

    /// Loads, saves, publishes and marks the message as received, in a transaction.
    pub(crate) async fn in_transaction(&self, id: Uuid, message: Uuid) -> Result<(), sqlx::Error> {
        let now = OffsetDateTime::now_utc().unix_timestamp();
        let mut transaction = self.0.begin().await?;
        let (version, data): (i64, Json) =
            sqlx::query_as(LOAD).bind(id).fetch_one(&mut *transaction).await?;
        let data = changed(data)?;
        let accepted =
            sqlx::query(ACCEPT).bind(message).bind(now).execute(&mut *transaction).await?;
        let saved =
            sqlx::query(SAVE).bind(id).bind(version).bind(data).execute(&mut *transaction).await?;
        if accepted.rows_affected() + saved.rows_affected() != 2 {
            return Err(sqlx::Error::RowNotFound);
        }
        sqlx::query(ENQUEUE)
            .bind(Uuid::now_v7())
            .bind("bank.deposited")
            .bind(id.to_string())
            .bind(now)
            .bind(deposited(id))
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await
    }

    /// Loads, then does the rest in one statement.
    pub(crate) async fn in_one_statement(
        &self,
        id: Uuid,
        message: Uuid,
    ) -> Result<(), sqlx::Error> {
        let mut connection = self.0.acquire().await?;
        let (version, data): (i64, Json) =
            sqlx::query_as(LOAD).bind(id).fetch_one(&mut *connection).await?;
        let done = sqlx::query(COMMIT)
            .bind(id)
            .bind(version)
            .bind(changed(data)?)
            .bind(message)
            .bind(OffsetDateTime::now_utc().unix_timestamp())
            .bind(Uuid::now_v7())
            .bind("bank.deposited")
            .bind(id.to_string())
            .bind(deposited(id))
            .execute(&mut *connection)
            .await?;
        if done.rows_affected() == 1 { Ok(()) } else { Err(sqlx::Error::RowNotFound) }
    }

    pub(crate) async fn load(&self, id: Uuid) -> Result<(), sqlx::Error> {
        let (_, data): (i64, Json) = sqlx::query_as(LOAD).bind(id).fetch_one(&self.0).await?;
        let _account: Account =
            serde_json::from_value(data).map_err(|cause| sqlx::Error::Decode(cause.into()))?;
        Ok(())
    }
}

fn changed(data: Json) -> Result<Json, sqlx::Error> {
    let mut account: Account =
        serde_json::from_value(data).map_err(|cause| sqlx::Error::Decode(cause.into()))?;
    account.balance_cents += super::AMOUNT_CENTS;
    to_json(&account)
}

fn deposited(account: Uuid) -> Json {
    serde_json::json!({ "account": account, "amount_cents": super::AMOUNT_CENTS })
}

fn to_json<T: Serialize>(value: &T) -> Result<Json, sqlx::Error> {
    serde_json::to_value(value).map_err(|cause| sqlx::Error::Encode(cause.into()))
}
