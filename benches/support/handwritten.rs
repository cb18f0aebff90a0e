//! What a careful user writes without Mamey: one SQLite connection with sqlx, shared behind a lock.

use std::path::Path;

use serde::{Deserialize, Serialize};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection};
use time::OffsetDateTime;
use tokio::sync::Mutex;
use uuid::Uuid;

const TABLES: &str = "\
CREATE TABLE accounts (
    id   BLOB PRIMARY KEY NOT NULL,
    data TEXT NOT NULL
) STRICT;
CREATE TABLE outbox (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    id       BLOB NOT NULL,
    type     TEXT NOT NULL,
    key      TEXT NOT NULL,
    sent_at  INTEGER NOT NULL,
    payload  TEXT NOT NULL
) STRICT";

const ADD: &str = "INSERT INTO accounts (id, data) VALUES (?, ?)";
const LOAD: &str = "SELECT data FROM accounts WHERE id = ?";
const SAVE: &str = "UPDATE accounts SET data = ? WHERE id = ?";
const ENQUEUE: &str = "INSERT INTO outbox (id, type, key, sent_at, payload) VALUES (?, ?, ?, ?, ?)";

#[derive(Serialize, Deserialize)]
struct Account {
    id: Uuid,
    owner: String,
    balance_cents: i64,
}

#[derive(Serialize)]
struct Deposited {
    account: Uuid,
    amount_cents: i64,
}

/// The only writer of its file.
pub(crate) struct Handwritten(Mutex<SqliteConnection>);

impl Handwritten {
    /// Opens a new file as durable as Mamey's: WAL, and a sync with each commit.
    pub(crate) async fn open(path: &Path, accounts: &[Uuid]) -> Result<Self, sqlx::Error> {
        let mut connection = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .disable_statement_logging()
            .connect()
            .await?;
        sqlx::raw_sql(TABLES).execute(&mut connection).await?;
        let mut opening = connection.begin().await?;
        for id in accounts {
            let account = Account { id: *id, owner: super::OWNER.to_owned(), balance_cents: 0 };
            let data = to_json(&account)?;
            sqlx::query(ADD).bind(*id).bind(data).execute(&mut *opening).await?;
        }
        opening.commit().await?;
        Ok(Self(Mutex::new(connection)))
    }

    /// Loads one account, saves it with the amount added, and publishes one event.
    pub(crate) async fn deposit(&self, id: Uuid, amount_cents: i64) -> Result<i64, sqlx::Error> {
        let mut connection = self.0.lock().await;
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        let data: String = sqlx::query_scalar(LOAD).bind(id).fetch_one(&mut *transaction).await?;
        let mut account: Account =
            serde_json::from_str(&data).map_err(|cause| sqlx::Error::Decode(cause.into()))?;
        account.balance_cents += amount_cents;
        sqlx::query(SAVE).bind(to_json(&account)?).bind(id).execute(&mut *transaction).await?;
        let deposited = Deposited { account: id, amount_cents };
        sqlx::query(ENQUEUE)
            .bind(Uuid::now_v7())
            .bind("bank.deposited")
            .bind(id.to_string())
            .bind(OffsetDateTime::now_utc().unix_timestamp())
            .bind(to_json(&deposited)?)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(account.balance_cents)
    }

    /// How many events were published, and the durability of the file.
    pub(crate) async fn close(self) -> Result<(u64, String), sqlx::Error> {
        let mut connection = self.0.into_inner();
        let events: i64 =
            sqlx::query_scalar("SELECT count(*) FROM outbox").fetch_one(&mut connection).await?;
        let journal: String =
            sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut connection).await?;
        let synchronous: i64 =
            sqlx::query_scalar("PRAGMA synchronous").fetch_one(&mut connection).await?;
        connection.close().await?;
        let kept = format!("journal_mode={journal} synchronous={synchronous}");
        Ok((events.unsigned_abs(), kept))
    }
}

fn to_json<T: Serialize>(value: &T) -> Result<String, sqlx::Error> {
    serde_json::to_string(value).map_err(|cause| sqlx::Error::Encode(cause.into()))
}
