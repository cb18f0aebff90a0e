//! Translates failures of PostgreSQL into errors of ours, which say whether to try again.

use std::sync::Arc;

use mamey_core::{Error, ErrorKind, Result, Retry};

use crate::common::errors::closed;

/// See <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
const UNIQUE_VIOLATION: &str = "23505";
const SERIALIZATION_FAILURE: &str = "40001";
const DEADLOCK_DETECTED: &str = "40P01";
const LOCK_NOT_AVAILABLE: &str = "55P03";
const QUERY_CANCELED: &str = "57014";
pub(crate) const PERMISSION_DENIED: &str = "42501";
const NO_SUCH_DATABASE: &str = "3D000";
const TOO_LARGE: &str = "54000";
const DISK_FULL: &str = "53100";
const TOO_MANY_CONNECTIONS: &str = "53300";
const READ_ONLY_TRANSACTION: &str = "25006";
const PROTOCOL_VIOLATION: &str = "08P01";
const NO_SUCH_STATEMENT: &str = "26000";
const STATEMENT_EXISTS: &str = "42P05";

const INSECURE: &str = "no secure connection: check `sslmode`, `sslrootcert` and the server's \
    certificate";

/// Raised by the functions that commit.
const OTHER_ISOLATION: &str = "MA011";

const BEHIND_PGBOUNCER: &str = "behind a PgBouncer add `pgbouncer=true` to the URL";

/// Turns the failure of a handler's own statement into an [`Error`], which says whether to try again.
///
/// ```no_run
/// use mamey::persistence::PostgresResultExt;
///
/// async fn visits(connection: &mut sqlx::PgConnection, page: &str) -> mamey::Result<i64> {
///     sqlx::query_scalar("SELECT visits FROM pages WHERE name = $1")
///         .bind(page)
///         .fetch_one(connection)
///         .await
///         .store_error()
/// }
/// ```
pub trait PostgresResultExt<T> {
    /// The same result, with a failure as an [`Error`]: `AlreadyExists` for a taken value,
    /// `NotFound` for a row that should be there, `Conflict` for a deadlock and for what another
    /// transaction holds, `Unavailable` for a server out of reach.
    ///
    /// # Errors
    /// When the statement failed.
    fn store_error(self) -> Result<T>;
}

impl<T> PostgresResultExt<T> for Result<T, sqlx::Error> {
    fn store_error(self) -> Result<T> {
        self.map_err(|cause| {
            if let Some((table, constraint)) = unique_violation(&cause) {
                let message = format!("a row of `{table}` already has this value (`{constraint}`)");
                return Error::already_exists(message).with_source(cause);
            }
            if matches!(cause, sqlx::Error::RowNotFound) {
                return Error::not_found("the statement found no row").with_source(cause);
            }
            store_error("PostgreSQL", cause)
        })
    }
}

/// Why several statements in a row stopped.
pub(crate) enum Stop {
    /// We refuse to go on: what a context declares does not fit what is stored.
    Refuse(Error),
    /// The database failed.
    Fail(sqlx::Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Refuse(error)
    }
}

impl From<sqlx::Error> for Stop {
    fn from(cause: sqlx::Error) -> Self {
        Self::Fail(cause)
    }
}

/// The code of a failure that the server reported.
pub(crate) fn code(cause: &sqlx::Error) -> Option<String> {
    cause.as_database_error()?.code().map(|code| code.into_owned())
}

/// The table and the constraint that refused a value because another row has it.
pub(crate) fn unique_violation(cause: &sqlx::Error) -> Option<(String, String)> {
    let database = cause.as_database_error()?;
    if database.code()? != UNIQUE_VIOLATION {
        return None;
    }
    Some((database.table()?.to_owned(), database.constraint()?.to_owned()))
}

/// Whether the server ended this transaction in favour of another, so that it may run again.
pub(crate) fn may_run_again(cause: &sqlx::Error) -> bool {
    code(cause).is_some_and(|code| code == SERIALIZATION_FAILURE || code == DEADLOCK_DETECTED)
}

/// Whether another transaction held what this one needed for too long.
pub(crate) fn is_held(cause: &sqlx::Error) -> bool {
    code(cause).is_some_and(|code| code == LOCK_NOT_AVAILABLE)
}

/// Whether the server ended the statement because it took too long.
pub(crate) fn took_too_long(cause: &sqlx::Error) -> bool {
    code(cause).is_some_and(|code| code == QUERY_CANCELED)
}

/// Whether another transaction was in the way, so that the same may be tried again.
pub(crate) fn lock_is_held(cause: &sqlx::Error) -> bool {
    code(cause).is_some_and(|code| code == LOCK_NOT_AVAILABLE || code == DEADLOCK_DETECTED)
}

/// Whether the connection broke, so that it is unknown whether the statement took effect.
pub(crate) fn is_broken(cause: &sqlx::Error) -> bool {
    match cause {
        sqlx::Error::Database(database) => {
            database.code().is_some_and(|code| code.starts_with("08") || code.starts_with("57P"))
        }
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) => true,
        _ => false,
    }
}

/// Whether the server no longer takes writes, as after a switch to another primary.
pub(crate) fn only_reads(cause: &sqlx::Error) -> bool {
    code(cause).is_some_and(|code| code == READ_ONLY_TRANSACTION)
}

/// The failure as an error of ours; `database` is the redacted URL.
pub(crate) fn store_error(database: &str, cause: impl Into<Arc<sqlx::Error>>) -> Error {
    let cause = cause.into();
    let (kind, advice) = match code(&cause).as_deref() {
        // PgBouncer refuses a setting that it does not pass on when a session begins.
        Some(PROTOCOL_VIOLATION) if cause.to_string().contains("startup parameter") => {
            (ErrorKind::Misconfigured, BEHIND_PGBOUNCER)
        }
        Some(code) => kind_of_code(code),
        None => match &*cause {
            sqlx::Error::PoolClosed => return closed().with_source(cause),
            sqlx::Error::PoolTimedOut => {
                (ErrorKind::Unavailable, "no connection became free: raise `connections_max`")
            }
            sqlx::Error::Tls(_) => (ErrorKind::Misconfigured, INSECURE),
            // A refused TLS handshake, such as an unknown authority, is reported as invalid data.
            sqlx::Error::Io(io) if io.kind() == std::io::ErrorKind::InvalidData => {
                (ErrorKind::Misconfigured, INSECURE)
            }
            sqlx::Error::Io(_) | sqlx::Error::Protocol(_) => {
                (ErrorKind::Unavailable, "out of reach")
            }
            sqlx::Error::Configuration(_) => (ErrorKind::Misconfigured, "not a usable URL"),
            _ => (ErrorKind::Other, "failed"),
        },
    };
    let error = Error::new(kind, format!("{database}: {advice}: {cause}"));
    let error = match kind {
        // A person can fix it while the work waits, so the work must not be given up.
        ErrorKind::Misconfigured => error.with_retry(Retry::Later),
        ErrorKind::LimitExceeded => error.with_retry(Retry::Never),
        // To run again at once would be to wait for the same again.
        ErrorKind::Conflict if is_held(&cause) => error.with_retry(Retry::Later),
        _ => error,
    };
    error.with_source(cause)
}

fn kind_of_code(code: &str) -> (ErrorKind, &'static str) {
    match code {
        SERIALIZATION_FAILURE | DEADLOCK_DETECTED => {
            (ErrorKind::Conflict, "another transaction was in the way")
        }
        LOCK_NOT_AVAILABLE => (ErrorKind::Conflict, "another transaction holds what this needs"),
        QUERY_CANCELED => (ErrorKind::TimedOut, "the statement took too long"),
        PERMISSION_DENIED => (ErrorKind::Misconfigured, "grant the user what it lacks"),
        OTHER_ISOLATION => (
            ErrorKind::Misconfigured,
            "begin the transaction that a unit joins with ISOLATION LEVEL READ COMMITTED",
        ),
        NO_SUCH_DATABASE => (ErrorKind::Misconfigured, "create the database, or name another"),
        DISK_FULL => (ErrorKind::Unavailable, "its disk is full"),
        TOO_MANY_CONNECTIONS => {
            (ErrorKind::Unavailable, "it has no connection left: lower `connections_max`")
        }
        NO_SUCH_STATEMENT | STATEMENT_EXISTS => (ErrorKind::Misconfigured, BEHIND_PGBOUNCER),
        TOO_LARGE => (ErrorKind::LimitExceeded, "larger than an index can hold"),
        code => match code.get(..2) {
            Some("08" | "53" | "57" | "25") => (ErrorKind::Unavailable, "refuses work for now"),
            Some("28") => (ErrorKind::Misconfigured, "check the user and its password"),
            Some("22") => (ErrorKind::Invalid, "cannot be stored"),
            _ => (ErrorKind::Other, "failed"),
        },
    }
}
