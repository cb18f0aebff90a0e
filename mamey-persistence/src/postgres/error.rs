//! Says what a failure of PostgreSQL means: whom it concerns, and whether it may pass.

use std::sync::Arc;

use mamey_core::{Error, ErrorKind, Retry};

use crate::common::errors::closed;

/// See <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
const UNIQUE_VIOLATION: &str = "23505";
const SERIALIZATION_FAILURE: &str = "40001";
const DEADLOCK_DETECTED: &str = "40P01";
const LOCK_NOT_AVAILABLE: &str = "55P03";
const QUERY_CANCELED: &str = "57014";
pub(super) const PERMISSION_DENIED: &str = "42501";
const NO_SUCH_DATABASE: &str = "3D000";
const TOO_LARGE: &str = "54000";
const DISK_FULL: &str = "53100";
const TOO_MANY_CONNECTIONS: &str = "53300";
const PROTOCOL_VIOLATION: &str = "08P01";
const NO_SUCH_STATEMENT: &str = "26000";
const STATEMENT_EXISTS: &str = "42P05";

const INSECURE: &str = "no secure connection: check `sslmode`, `sslrootcert` and the server's \
    certificate";

const BEHIND_PGBOUNCER: &str = "behind a PgBouncer add `pgbouncer=true` to the URL";

/// The code of a failure that the server reported.
pub(super) fn code(cause: &sqlx::Error) -> Option<String> {
    cause.as_database_error()?.code().map(|code| code.into_owned())
}

/// The table and the constraint that a taken value violates.
pub(super) fn unique_violation(cause: &sqlx::Error) -> Option<(String, String)> {
    let database = cause.as_database_error()?;
    if database.code()? != UNIQUE_VIOLATION {
        return None;
    }
    Some((database.table()?.to_owned(), database.constraint()?.to_owned()))
}

/// Whether the server chose this transaction as the one to run again.
pub(super) fn runs_again(cause: &sqlx::Error) -> bool {
    code(cause).is_some_and(|code| code == SERIALIZATION_FAILURE || code == DEADLOCK_DETECTED)
}

/// Whether another transaction held what this one needed for too long.
pub(super) fn lock_is_held(cause: &sqlx::Error) -> bool {
    code(cause).is_some_and(|code| code == LOCK_NOT_AVAILABLE || code == DEADLOCK_DETECTED)
}

/// Whether the connection broke, so that nobody knows how far the statement came.
pub(super) fn is_broken(cause: &sqlx::Error) -> bool {
    match cause {
        sqlx::Error::Database(database) => {
            database.code().is_some_and(|code| code.starts_with("08") || code.starts_with("57P"))
        }
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) => true,
        _ => false,
    }
}

/// The failure as one of ours, naming the database by its redacted URL.
pub(super) fn store_error(place: &str, cause: impl Into<Arc<sqlx::Error>>) -> Error {
    let cause = cause.into();
    let (kind, advice) = match code(&cause).as_deref() {
        // What PgBouncer says of a setting that it does not hand on when a session begins.
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
            // The handshake's refusals, such as an unknown authority, come as bad data.
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
    let error = Error::new(kind, format!("{place}: {advice}: {cause}"));
    let error = match kind {
        // A person can mend it while the work waits, so the work must not be given up.
        ErrorKind::Misconfigured => error.with_retry(Retry::Later),
        ErrorKind::LimitExceeded => error.with_retry(Retry::Never),
        _ => error,
    };
    error.with_source(cause)
}

fn kind_of_code(code: &str) -> (ErrorKind, &'static str) {
    match code {
        SERIALIZATION_FAILURE | DEADLOCK_DETECTED => {
            (ErrorKind::Conflict, "another transaction was in the way")
        }
        QUERY_CANCELED => (ErrorKind::TimedOut, "the statement took too long"),
        PERMISSION_DENIED => (ErrorKind::Misconfigured, "grant the user what it lacks"),
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
