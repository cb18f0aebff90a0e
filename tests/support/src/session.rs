//! A session of a test's own on a PostgreSQL, beside whatever is tested there.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Connection, Decode, Postgres, Row, Type};
use tokio::time::timeout;

use crate::wait::until;

/// The longest that anything of a session may take.
const PATIENCE: Duration = Duration::from_secs(60);

const WAITING_FOR_LOCKS: &str = "\
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock'";

/// A session that does what no store would. What fails, or takes too long, fails the test.
pub struct Session(PgConnection);

impl Session {
    /// A session with the database of a URL.
    ///
    /// # Panics
    ///
    /// When there is none.
    pub async fn of(url: &str) -> Self {
        Self(PgConnection::connect(url).await.expect("the server takes one session more"))
    }

    /// Runs any number of statements.
    ///
    /// # Panics
    ///
    /// When one fails.
    pub async fn run(&mut self, sql: &str) {
        let run = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut self.0);
        in_time(sql, run).await;
    }

    /// The first column of all rows.
    ///
    /// # Panics
    ///
    /// When the statement fails, or gives another type.
    pub async fn all<T>(&mut self, sql: &str) -> Vec<T>
    where
        T: for<'r> Decode<'r, Postgres> + Type<Postgres>,
    {
        let rows = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(&mut self.0);
        let first = |row: &PgRow| row.try_get_unchecked(0).expect("the first column");
        in_time(sql, rows).await.iter().map(first).collect()
    }

    /// The first column of the one row.
    ///
    /// # Panics
    ///
    /// As [`Session::all`], and when there is no row.
    pub async fn one<T>(&mut self, sql: &str) -> T
    where
        T: for<'r> Decode<'r, Postgres> + Type<Postgres>,
    {
        self.all(sql).await.pop().expect("one row")
    }

    /// Waits until the one value of a query is true.
    ///
    /// # Panics
    ///
    /// When it does not become true, and as [`Session::one`].
    pub async fn until(&mut self, sql: &str) {
        let wait = async || self.one::<bool>(sql).await;
        until(&format!("it is true: {sql}"), PATIENCE, wait).await;
    }

    /// Waits until so many sessions of the database wait for a lock.
    ///
    /// # Panics
    ///
    /// When they do not.
    pub async fn until_waiting(&mut self, sessions: i64) {
        let wait = async || self.one::<i64>(WAITING_FOR_LOCKS).await >= sessions;
        until("sessions wait for a lock", PATIENCE, wait).await;
    }
}

impl Deref for Session {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.0
    }
}

impl DerefMut for Session {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.0
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Session")
    }
}

async fn in_time<T>(sql: &str, answer: impl Future<Output = Result<T, sqlx::Error>>) -> T {
    let answer = timeout(PATIENCE, answer).await;
    let answer = answer.unwrap_or_else(|_| panic!("no answer in time to: {sql}"));
    answer.unwrap_or_else(|error| panic!("{error} of: {sql}"))
}
