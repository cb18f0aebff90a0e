//! Who owns a file, who may open it, and which build made it.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use mamey_core::store::Database;
use mamey_core::{ErrorKind, Retry};
use mamey_persistence::SqliteOptions;

use crate::support::{Folder, add, assert_misconfigured, body, commit, notes, open};

#[tokio::test]
async fn contexts_may_be_opened_at_the_same_time_and_again() {
    let folder = Folder::new();
    for round in 0..3 {
        let database = folder.open().await;
        let stores = join_all((0..8).map(|_| notes(&database))).await;
        commit(&*stores[0], add(&format!("{round}"), "1")).await;
        for store in &stores {
            assert!(body(&**store, "0").await.is_some());
        }
        database.close().await;
    }
}

#[tokio::test]
async fn a_second_open_is_refused_until_the_first_is_closed() {
    let folder = Folder::new();
    let database = folder.open().await;
    let second = folder.try_open(SqliteOptions::default()).await;
    assert_misconfigured(second, &["store.db", "in use by another process"]);
    database.close().await;
    folder.open().await.close().await;
}

#[tokio::test]
async fn a_file_of_a_newer_build_is_refused() {
    let folder = Folder::new();
    folder.open().await.close().await;
    folder.execute("INSERT INTO mamey_migrations VALUES (99, 'future', 'x', 0)").await;
    let newer = folder.try_open(SqliteOptions::default()).await;
    assert_misconfigured(newer, &["store.db", "newer Mamey"]);
}

#[tokio::test]
async fn a_file_with_altered_migrations_is_refused() {
    let folder = Folder::new();
    folder.open().await.close().await;
    folder.execute("UPDATE mamey_migrations SET checksum = 'x'").await;
    let altered = folder.try_open(SqliteOptions::default()).await;
    assert_misconfigured(altered, &["store.db", "migration 1"]);
}

#[tokio::test]
async fn files_of_other_programs_are_refused_and_left_unchanged() {
    let folder = Folder::new();
    let path = folder.path("store.db");
    folder.execute("CREATE TABLE theirs (a)").await;
    let before = std::fs::read(&path).unwrap();
    let foreign = folder.try_open(SqliteOptions::default()).await;
    assert_misconfigured(foreign, &["store.db", "another program"]);
    assert_eq!(std::fs::read(&path).unwrap(), before);

    let text = "not a database at all, but a text of some length\n".repeat(100);
    std::fs::write(&path, &text).unwrap();
    let no_database = folder.try_open(SqliteOptions::default()).await;
    assert_misconfigured(no_database, &["store.db", "not an SQLite file"]);
    assert_eq!(std::fs::read(&path).unwrap(), text.as_bytes());

    std::fs::create_dir(folder.path("folder.db")).unwrap();
    let no_file = open(&folder.path("folder.db"), SqliteOptions::default()).await;
    assert_misconfigured(no_file, &["folder.db"]);
}

#[tokio::test]
async fn missing_folders_are_created_and_impossible_ones_are_named() {
    let folder = Folder::new();
    let deep = folder.path("a/b/store.db");
    let database = open(&deep, SqliteOptions::default()).await.unwrap();
    database.close().await;
    assert!(deep.exists());
    std::fs::write(folder.path("file"), "x").unwrap();
    let below_a_file = folder.path("file/store.db");
    let impossible = open(&below_a_file, SqliteOptions::default()).await;
    assert_misconfigured(impossible, &["file/store.db", "permissions"]);
}

/// SQLite locks the file as a whole, so every unit waits for a program that writes, for a while. Reads
/// do not.
#[tokio::test]
async fn while_another_program_writes_units_are_refused_for_now_and_reads_go_on() {
    let folder = Folder::new();
    let database = folder.open().await;
    let store = notes(&database).await;
    commit(&*store, add("before", "1")).await;
    let mut writing = folder.connect().await;
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut writing).await.unwrap();
    let began = Instant::now();
    let refused = join_all((0..3).map(|number| store.commit(add(&format!("{number}"), "1"))));
    let reads = async {
        for _ in 0..20 {
            assert!(body(&*store, "before").await.is_some());
        }
        began.elapsed()
    };
    let (refused, read) = tokio::join!(refused, reads);
    assert!(read < Duration::from_secs(2), "a read took {read:?}");
    for refused in refused {
        let error = refused.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Later));
        assert!(error.to_string().contains("locked by another program"), "{error}");
    }
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    sqlx::raw_sql("ROLLBACK").execute(&mut writing).await.unwrap();
    for number in 0..3 {
        assert_eq!(body(&*store, &format!("{number}")).await, None);
        commit(&*store, add(&format!("{number}"), "1")).await;
    }
}
