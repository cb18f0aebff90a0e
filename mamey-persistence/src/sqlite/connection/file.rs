//! Finds, locks and checks the file.

use std::fs::{File, TryLockError};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mamey_core::{Error, Result};
use sqlx::{ConnectOptions, Connection};

use super::settings::common;
use crate::sqlite::error::{not_a_database, store_error};

/// How every SQLite file begins.
const HEADER: &[u8] = b"SQLite format 3\0";

/// Marks our files in their header: "MAME".
pub(crate) const APPLICATION_ID: i32 = 0x4d41_4d45;

/// How long to wait for the lock of a process that is just ending.
const LOCK_WAIT: Duration = Duration::from_millis(500);

/// How long to pause between two tries to lock.
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// The path in `sqlite:path`, `sqlite://path` or a bare path.
pub(crate) fn path_of(path_or_url: &str) -> Result<PathBuf> {
    let url = path_or_url.strip_prefix("sqlite:");
    let path = url.map_or(path_or_url, |rest| rest.strip_prefix("//").unwrap_or(rest));
    if path.is_empty() || path.contains(":memory:") {
        return Err(Error::misconfigured(
            "SQLite needs a file, such as `sqlite:data/service.db`; \
             use `memory:` for a store without a file",
        ));
    }
    if url.is_some() && path.contains('?') {
        return Err(Error::misconfigured(
            "a `sqlite:` URL takes no options after `?`: write the path alone",
        ));
    }
    Ok(PathBuf::from(path))
}

/// Creates the folder if it is missing, and locks the file against other processes until the lock
/// is dropped.
pub(crate) async fn lock(path: &Path) -> Result<File> {
    let unwritable = |cause| {
        Error::misconfigured(format!(
            "{} cannot be created: check the path and the permissions of its folder",
            path.display()
        ))
        .with_source(cause)
    };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(unwritable)?;
    }
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let file =
        File::options().create(true).truncate(false).write(true).open(name).map_err(unwritable)?;
    let mut waited = Duration::ZERO;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(cause)) => return Err(unwritable(cause)),
            Err(TryLockError::WouldBlock) if waited >= LOCK_WAIT => return Err(in_use(path)),
            Err(TryLockError::WouldBlock) => tokio::time::sleep(LOCK_PAUSE).await,
        }
        waited += LOCK_PAUSE;
    }
}

fn in_use(path: &Path) -> Error {
    Error::misconfigured(format!(
        "{} is in use by another process: stop it, give this one a file of its own, \
         or use a store that several processes share",
        path.display()
    ))
}

/// Refuses a file that is not ours, before anything is written to it.
pub(crate) async fn check_owner(path: &Path) -> Result<()> {
    if path.is_dir() || is_something_else(path) {
        return Err(not_a_database(path));
    }
    let owner = read_owner(path).await.map_err(|cause| store_error(path, Arc::new(cause)))?;
    match owner {
        (APPLICATION_ID, _) | (0, 0) => Ok(()),
        _ => Err(Error::misconfigured(format!(
            "{} belongs to another program: name another path",
            path.display()
        ))),
    }
}

/// Whether a file lacks the header of an SQLite file. SQLite itself treats a file of a few bytes as
/// an empty database and overwrites it. A file that cannot be read is left to SQLite to report.
fn is_something_else(path: &Path) -> bool {
    let mut begin = Vec::new();
    let read =
        File::open(path).and_then(|file| file.take(HEADER.len() as u64).read_to_end(&mut begin));
    read.is_ok_and(|bytes| bytes > 0) && begin != HEADER
}

/// The application id and the number of tables.
async fn read_owner(path: &Path) -> Result<(i32, i64), sqlx::Error> {
    let mut connection = common(path).create_if_missing(true).connect().await?;
    let id = sqlx::query_scalar("PRAGMA application_id").fetch_one(&mut connection).await?;
    let tables =
        sqlx::query_scalar("SELECT count(*) FROM sqlite_schema").fetch_one(&mut connection).await?;
    connection.close().await?;
    Ok((id, tables))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_and_bare_paths_name_the_same_file() {
        for text in ["sqlite:data/a.db", "sqlite://data/a.db", "data/a.db"] {
            assert_eq!(path_of(text).unwrap(), PathBuf::from("data/a.db"));
        }
        assert_eq!(path_of("sqlite:/a.db").unwrap(), PathBuf::from("/a.db"));
        for text in ["", "sqlite:", "sqlite::memory:", ":memory:", "sqlite:a.db?mode=rwc"] {
            assert!(path_of(text).is_err(), "{text}");
        }
    }
}
