//! The servers of one database: which of them to connect to, and as whom.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mamey_core::connection::{CredentialSource, Credentials};
use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use tokio::time::timeout;

const ONLY_READS: &str =
    "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean";

/// The servers that a URL names, tried in turn, beginning with the one that answered last.
pub(crate) struct Servers {
    each: Vec<PgConnectOptions>,
    /// Whether a server is asked if it can be written to before it is used.
    must_write: bool,
    credentials: Option<Arc<dyn CredentialSource>>,
    /// How long one server is tried.
    limit: Duration,
    last: AtomicUsize,
}

impl Servers {
    /// Of several servers, only one that can be written to is used.
    pub(crate) fn new(
        each: Vec<PgConnectOptions>,
        must_write: bool,
        credentials: Option<Arc<dyn CredentialSource>>,
        limit: Duration,
    ) -> Self {
        let must_write = must_write || each.len() > 1;
        Self { each, must_write, credentials, limit, last: AtomicUsize::default() }
    }

    /// A new connection to the first server that can be used.
    pub(crate) async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
        let login = self.login().await?;
        let began = self.last.load(Ordering::Relaxed);
        let mut first_failure = None;
        for step in 0..self.each.len() {
            let at = (began + step) % self.each.len();
            let Some(options) = self.each.get(at) else { break };
            match self.connect_to(&with_login(options, &login)).await {
                Ok(connection) => {
                    self.last.store(at, Ordering::Relaxed);
                    return Ok(connection);
                }
                Err(cause) => {
                    if self.each.len() > 1 {
                        tracing::warn!(host = options.get_host(), %cause, "cannot use this server");
                    }
                    first_failure.get_or_insert(cause);
                }
            }
        }
        Err(first_failure.unwrap_or(sqlx::Error::PoolClosed))
    }

    /// How to connect to the server that answered last, for a driver that connects itself.
    pub(crate) async fn current(&self) -> Result<PgConnectOptions, sqlx::Error> {
        let login = self.login().await?;
        let options = self.each.get(self.last.load(Ordering::Relaxed));
        options.map(|options| with_login(options, &login)).ok_or(sqlx::Error::PoolClosed)
    }

    async fn login(&self) -> Result<Credentials, sqlx::Error> {
        let Some(source) = &self.credentials else {
            return Ok(Credentials::default());
        };
        let asked = timeout(self.limit, source.credentials()).await;
        let login = asked.map_err(|_| timed_out("password", self.limit))?;
        // As for a server that is out of reach: what gives passwords is there again later.
        login.map_err(|error| sqlx::Error::Io(io::Error::other(error)))
    }

    async fn connect_to(&self, options: &PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
        let connected = timeout(self.limit, self.open(options)).await;
        connected.unwrap_or_else(|_| Err(timed_out("connection", self.limit)))
    }

    async fn open(&self, options: &PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
        let mut connection = options.connect().await?;
        if self.must_write {
            let asked = sqlx::query_scalar(ONLY_READS).persistent(false);
            if asked.fetch_one(&mut connection).await? {
                let only_reads = "it can only be read; it may have become a standby";
                return Err(sqlx::Error::Io(io::Error::other(only_reads)));
            }
        }
        Ok(connection)
    }
}

fn with_login(options: &PgConnectOptions, login: &Credentials) -> PgConnectOptions {
    let mut options = options.clone();
    if let Some(user) = &login.user {
        options = options.username(user);
    }
    if let Some(password) = &login.password {
        options = options.password(password);
    }
    options
}

/// The error for a server that does not respond: the connection counts as broken.
pub(super) fn timed_out(what: &str, waited: Duration) -> sqlx::Error {
    let message = format!("no {what} within {} ms", waited.as_millis());
    sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, message))
}
