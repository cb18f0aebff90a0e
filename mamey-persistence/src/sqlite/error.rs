//! Says what a failure of SQLite means: whether it refuses one unit, and whether to retry.

use std::path::Path;
use std::sync::Arc;

use mamey_core::{Error, ErrorKind, Retry};

use crate::common::errors::closed;

/// Primary result codes of SQLite; see <https://sqlite.org/rescode.html>.
const BUSY: u32 = 5;
const READONLY: u32 = 8;
const IOERR: u32 = 10;
const CORRUPT: u32 = 11;
const FULL: u32 = 13;
const CANTOPEN: u32 = 14;
const CONSTRAINT: u32 = 19;
const NOTADB: u32 = 26;

/// The low byte of an extended result code is the primary one.
const PRIMARY_MASK: u32 = 0xff;

/// The message of SQLite when a check of a script fails.
const FAILED_CHECK: &str = "NOT NULL constraint failed: mamey_checks.failed";

/// The column whose value is taken, and its collection.
pub(super) struct Taken {
    pub(super) collection: String,
    pub(super) column: String,
}

/// The column whose value is taken, if that is the failure.
pub(super) fn unique_violation(cause: &sqlx::Error) -> Option<Taken> {
    let database = cause.as_database_error()?;
    if primary_code(cause) != Some(CONSTRAINT) {
        return None;
    }
    // SQLite names the columns as `<table>.<column>`, and our tables are `<context>.<collection>`.
    let columns = database.message().strip_prefix("UNIQUE constraint failed: ")?;
    let (table, column) = columns.split(", ").next()?.rsplit_once('.')?;
    let (_, collection) = table.split_once('.')?;
    Some(Taken { collection: collection.to_owned(), column: column.to_owned() })
}

/// Whether a check of a script has failed.
pub(super) fn is_failed_check(cause: &sqlx::Error) -> bool {
    cause.as_database_error().is_some_and(|cause| cause.message() == FAILED_CHECK)
}

/// The failure as one of ours, naming the file.
pub(super) fn store_error(path: &Path, cause: Arc<sqlx::Error>) -> Error {
    let file = path.display();
    let (kind, message) = match primary_code(&cause) {
        Some(FULL) => (
            ErrorKind::Unavailable,
            format!("no room to write {file}: free disk space or raise `file_bytes_max`"),
        ),
        Some(BUSY) => (ErrorKind::Unavailable, format!("{file} is locked by another program")),
        Some(IOERR) => (ErrorKind::Unavailable, format!("{file} cannot be read or written")),
        Some(CORRUPT) => {
            (ErrorKind::Other, format!("{file} is damaged: stop the service and restore a copy"))
        }
        Some(NOTADB) => return may_be_fixed(not_a_database(path)).with_source(cause),
        Some(READONLY | CANTOPEN) => (
            ErrorKind::Misconfigured,
            format!(
                "{file} cannot be opened for writing: check the permissions of it and its folder"
            ),
        ),
        _ if matches!(*cause, sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed) => {
            return closed().with_source(cause);
        }
        _ if matches!(*cause, sqlx::Error::PoolTimedOut) => (
            ErrorKind::Unavailable,
            format!("no reading connection to {file} became free: raise `read_connections`"),
        ),
        _ => (ErrorKind::Other, format!("{file}: {cause}")),
    };
    may_be_fixed(Error::new(kind, message)).with_source(cause)
}

/// Missing permissions, or a process without free file handles, say nothing about the work: it
/// waits until a person has fixed that, and must not be given up.
fn may_be_fixed(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Misconfigured => error.with_retry(Retry::Later),
        _ => error,
    }
}

/// The error for a file that SQLite did not write.
pub(super) fn not_a_database(path: &Path) -> Error {
    Error::misconfigured(format!(
        "{} is not an SQLite file: name another path, or move the file away",
        path.display()
    ))
}

fn primary_code(cause: &sqlx::Error) -> Option<u32> {
    let code = cause.as_database_error()?.code()?;
    code.parse::<u32>().ok().map(|code| code & PRIMARY_MASK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_may_fix_while_it_runs_is_retried() {
        let error = may_be_fixed(not_a_database(Path::new("a.db")));
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Misconfigured, Retry::Later));
    }
}
