//! How connections to the file are made.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mamey_core::Result;
use sqlx::ConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};

use crate::sqlite::error::store_error;
use crate::sqlite::options::SqliteOptions;

/// How long SQLite waits for a lock that another program holds on the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How many prepared statements each connection keeps.
const STATEMENTS_CACHED_MAX: usize = 256;

/// SQLite's page size in bytes, for turning the limit of the file into pages.
const PAGE_BYTES: u64 = 4096;

/// How the writer connects.
pub(crate) fn writing(path: &Path, options: &SqliteOptions) -> SqliteConnectOptions {
    let synchronous =
        if options.synchronous_full { SqliteSynchronous::Full } else { SqliteSynchronous::Normal };
    let connect = common(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(synchronous);
    match options.file_bytes_max {
        Some(bytes) => {
            let pages = (bytes / PAGE_BYTES).max(1).to_string();
            connect.pragma("page_size", PAGE_BYTES.to_string()).pragma("max_page_count", pages)
        }
        None => connect,
    }
}

/// Opens the writing connection, and names the file on failure.
pub(crate) async fn connect(
    path: &Path,
    options: &SqliteConnectOptions,
) -> Result<SqliteConnection> {
    options.connect().await.map_err(|cause| store_error(path, Arc::new(cause)))
}

/// How a connection that reads beside the writer connects.
pub(crate) fn reading(path: &Path) -> SqliteConnectOptions {
    common(path).read_only(true)
}

/// What all connections to the file have in common.
pub(super) fn common(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(BUSY_TIMEOUT)
        .statement_cache_capacity(STATEMENTS_CACHED_MAX)
        .disable_statement_logging()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_writer_waits_for_the_disk_unless_told_otherwise() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        for (synchronous_full, level) in [(true, 2), (false, 1)] {
            let options = SqliteOptions::default().with_synchronous_full(synchronous_full);
            let mut connection = connect(&path, &writing(&path, &options)).await.unwrap();
            let synchronous: i64 =
                sqlx::query_scalar("PRAGMA synchronous").fetch_one(&mut connection).await.unwrap();
            let journal: String =
                sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut connection).await.unwrap();
            assert_eq!((synchronous, journal.as_str()), (level, "wal"));
        }
        assert!(SqliteOptions::default().synchronous_full);
    }
}
