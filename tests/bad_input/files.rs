//! Files that are not ours, not there, full, damaged or held by another process.

use std::path::Path;

use mamey::persistence::{SqliteDatabase, SqliteOptions};
use mamey::{Error, ErrorKind, Result, RunningService, Service, Settings};

use crate::domain::{Heard, Say, Script, listener, speaker};
use crate::program::quickstart;
use crate::words::{assert_fails, assert_holds, assert_says};
use crate::world::{On, row};

async fn start(file: &Path) -> Result<RunningService> {
    crate::panics::watch();
    let service = Service::in_memory().store_url(format!("sqlite:{}", file.display()));
    service.host(speaker()).host(listener(&Script::default())).start().await
}

/// The start fails by name, and the file is as it was.
async fn refused(file: &Path, words: &[&str]) {
    let before = std::fs::read(file).ok();
    assert_fails(start(file).await, ErrorKind::Misconfigured, words);
    assert_eq!(std::fs::read(file).ok(), before, "the file was changed");
    crate::panics::assert_none();
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_named() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "x").unwrap();
    let below_a_file = folder.path().join("file/service.db");
    refused(&below_a_file, &["file/service.db", "check the path and the permissions"]).await;
    #[cfg(target_os = "linux")]
    refused(Path::new("/proc/service.db"), &["/proc/service.db", "permissions"]).await;
}

#[tokio::test]
async fn a_text_file_a_folder_and_a_file_of_another_program_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text.db");
    std::fs::write(&text, "dear diary, ".repeat(1000)).unwrap();
    refused(&text, &["text.db", "is not an SQLite file", "name another path"]).await;
    let short = folder.path().join("short.db");
    std::fs::write(&short, "x").unwrap();
    refused(&short, &["short.db", "is not an SQLite file", "name another path"]).await;
    std::fs::create_dir(folder.path().join("folder.db")).unwrap();
    let no_file = start(&folder.path().join("folder.db")).await;
    assert_fails(no_file, ErrorKind::Misconfigured, &["folder.db", "name another path"]);
}

#[tokio::test]
async fn a_damaged_file_is_refused_and_says_to_restore_a_copy() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("service.db");
    start(&file).await.unwrap().shutdown().await.unwrap();
    let mut bytes = std::fs::read(&file).unwrap();
    // The header stays, so that it is still known as ours.
    bytes[100..].fill(0xa5);
    std::fs::write(&file, &bytes).unwrap();
    let error = start(&file).await.unwrap_err();
    assert_holds(&error.to_string(), &["service.db", "is damaged", "restore a copy"]);
    crate::panics::assert_none();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_second_process_on_the_same_file_is_refused_and_the_first_goes_on() {
    row(On::Sqlite, async |world| {
        let folder = world.folder().unwrap();
        let second = tokio::task::spawn_blocking(move || quickstart(&folder).run());
        let second = second.await.unwrap();
        assert!(!second.status.success(), "{second:?}");
        let words = ["quickstart.db", "in use by another process", "stop it"];
        assert_holds(&String::from_utf8_lossy(&second.stderr), &words);
    })
    .await;
}

async fn on_a_quota(file: &Path, file_bytes_max: Option<u64>) -> RunningService {
    let options = match file_bytes_max {
        Some(bytes) => SqliteOptions::default().with_file_bytes_max(bytes),
        None => SqliteOptions::default(),
    };
    let database = SqliteDatabase::open(&file.display().to_string(), options).await.unwrap();
    let settings = Settings::default().with_poll(std::time::Duration::from_millis(50));
    let service = Service::new(settings).store(database).transport_url("memory:");
    let service = service.host(speaker()).host(listener(&Script::default()));
    service.start().await.unwrap()
}

/// Says things until there is no room, and how many were accepted.
async fn fill(service: &RunningService) -> (i64, Error) {
    let text = "x".repeat(20_000);
    for number in 0..1000 {
        let say = Say { topic: "full".into(), number, text: text.clone() };
        if let Err(error) = service.send(say).await {
            return (number, error);
        }
    }
    panic!("the file has no limit");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_full_disk_refuses_callers_and_loses_nothing_that_was_accepted() {
    crate::panics::watch();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("service.db");
    // A first start makes the tables, so that only messages meet the limit.
    start(&file).await.unwrap().shutdown().await.unwrap();
    let tables_bytes = std::fs::metadata(&file).unwrap().len();
    let service = on_a_quota(&file, Some(tables_bytes + 200_000)).await;
    let (accepted, error) = fill(&service).await;
    let words = ["`say`", "service.db", "free disk space or raise `file_bytes_max`"];
    assert_says(&error, ErrorKind::Unavailable, &words);
    assert!(service.query(Heard("full".into())).await.is_ok(), "reads go on");
    service.shutdown().await.unwrap();

    let service = on_a_quota(&file, None).await;
    service.wait_until_idle().await.unwrap();
    let expected: Vec<i64> = (0..accepted).collect();
    let heard = service.query(Heard("full".into())).await.unwrap();
    let letters = service.store("listener").unwrap().dead_letters(None, 100).await.unwrap();
    let ids: Vec<_> = letters.iter().map(|it| it.identity).collect();
    assert_eq!(heard.len() + ids.len(), expected.len(), "heard or kept: {heard:?} {ids:?}");
    for id in ids {
        assert!(service.store("listener").unwrap().replay_dead_letter(id).await.unwrap());
    }
    service.wait_until_idle().await.unwrap();
    let mut heard = service.query(Heard("full".into())).await.unwrap();
    heard.sort_unstable();
    assert_eq!(heard, expected);
    let say = Say { topic: "good".into(), number: 1, text: String::new() };
    service.send(say).await.unwrap();
    service.wait_until_idle().await.unwrap();
    assert_eq!(service.query(Heard("good".into())).await.unwrap(), [1]);
    service.shutdown().await.unwrap();
    crate::panics::assert_none();
}
