//! Settings from the environment and from code that cannot work, each refused by name.

use std::process::Command;
use std::time::Duration;

use mamey::{ContextSettings, ErrorKind, Service, Settings};
use mamey_test_support::example;

use crate::domain::speaker;
use crate::words::{assert_fails, assert_holds};

const VARIABLES: [(&str, &str, &str); 21] = [
    ("MAMEY_STORE", "", "unset it"),
    ("MAMEY_STORE", "  ", "unset it"),
    ("MAMEY_STORE_FILE", "", "unset it"),
    ("MAMEY_TRANSPORT", "", "unset it"),
    ("MAMEY_TRANSPORT_FILE", " ", "unset it"),
    ("MAMEY_WAIT_MS", "30s", "from 0 to 3600000"),
    ("MAMEY_PARTITIONS", "0", "from 1 to 64"),
    ("MAMEY_PARTITIONS", "65", "from 1 to 64"),
    ("MAMEY_PARTITIONS", "a\0b", "from 1 to 64"),
    ("MAMEY_LEASE_MS", "15s", "from 1000 to 600000"),
    ("MAMEY_LEASE_MS", "999", "from 1000 to 600000"),
    ("MAMEY_POLL_MS", "-1", "from 10 to 60000"),
    ("MAMEY_POLL_MS", "1e3", "from 10 to 60000"),
    ("MAMEY_DRAIN_MS", "3600001", "from 0 to 3600000"),
    ("MAMEY_DRAIN_MS", "99999999999999999999999", "from 0 to 3600000"),
    ("MAMEY_INBOX_DAYS", "0", "from 1 to 3650"),
    ("MAMEY_INBOX_DAYS", "٣", "from 1 to 3650"),
    ("MAMEY_PREFETCH", "all", "from 1 to 10000"),
    ("MAMEY_ORDERS_PREFETCH", "0", "from 1 to 10000"),
    ("MAMEY_ORDER_BOOK_LANES_MAX", "64.0", "from 1 to 10000"),
    ("MAMEY_RETRY_FIRST_MS", "0", "from 1 to 86400000"),
];

#[test]
fn each_variable_that_holds_nonsense_is_named_with_what_it_may_hold() {
    for (name, value, fix) in VARIABLES {
        let read = Settings::from_variables([(name.to_owned(), value.to_owned())]);
        assert_fails(read, ErrorKind::Misconfigured, &[name, fix]);
    }
}

/// A path of which a part was replaced would silently be another database.
#[cfg(unix)]
#[test]
fn a_variable_that_is_not_utf8_is_refused_by_a_real_process() {
    use std::os::unix::ffi::OsStrExt;
    let folder = tempfile::tempdir().unwrap();
    for name in ["MAMEY_STORE", "MAMEY_TRANSPORT", "MAMEY_PARTITIONS"] {
        let value = std::ffi::OsStr::from_bytes(b"sqlite:\xff.db");
        let run = Command::new(example("quickstart"))
            .current_dir(folder.path())
            .env(name, value)
            .output()
            .unwrap();
        assert!(!run.status.success());
        assert_holds(&String::from_utf8_lossy(&run.stderr), &[name, "is not UTF-8"]);
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing was made");
}

#[tokio::test]
async fn a_url_of_an_unknown_scheme_is_named_and_says_what_there_is() {
    for url in ["oracle://db/orders", "orders.db", "C:\\orders.db", "", "sqlite", "Memory:"] {
        let started = Service::in_memory().store_url(url).host(speaker()).start().await;
        let words = [&format!("`{url}`"), "`memory:`", "`sqlite:path/to/file.db`"];
        assert_fails(started, ErrorKind::Misconfigured, &words);
        let started = Service::in_memory().transport_url(url).host(speaker()).start().await;
        assert_fails(started, ErrorKind::Misconfigured, &[&format!("`{url}`"), "`memory:`"]);
    }
    for (url, fix) in [
        ("sqlite:", "use `memory:`"),
        ("sqlite::memory:", "use `memory:`"),
        ("sqlite:a.db?mode=ro", "write the path alone"),
        ("memory:orders", "write `memory:`"),
    ] {
        let started = Service::in_memory().store_url(url).host(speaker()).start().await;
        assert_fails(started, ErrorKind::Misconfigured, &[fix]);
    }
}

#[tokio::test]
async fn settings_of_code_are_checked_before_anything_runs() {
    let (usual, tuned) = (Settings::default, ContextSettings::default);
    for (settings, word) in [
        (usual().with_partitions(0), "partitions"),
        (usual().with_partitions(65), "partitions"),
        (usual().with_wait(Duration::MAX), "wait"),
        (usual().with_lease(Duration::ZERO), "lease"),
        (usual().with_lease(Duration::MAX), "lease"),
        (usual().with_poll(Duration::ZERO), "poll"),
        (usual().with_poll(Duration::MAX), "poll"),
        (usual().with_drain(Duration::MAX), "drain"),
        (usual().with_inbox_window(Duration::ZERO), "inbox_window"),
        (usual().with_inbox_window(Duration::MAX), "inbox_window"),
        (usual().with_all_contexts(tuned().with_prefetch(0)), "prefetch"),
        (usual().with_context("speaker", tuned().with_lanes_max(0)), "lanes_max"),
        (usual().with_context("speaker", tuned().with_timeout(Duration::ZERO)), "timeout"),
        (usual().with_all_contexts(tuned().with_slow_after(Duration::MAX)), "slow_after"),
    ] {
        let service = Service::new(settings).store_url("memory:").transport_url("memory:");
        let started = service.host(speaker()).start().await;
        assert_fails(started, ErrorKind::Misconfigured, &[&format!("`{word}`"), "must be from"]);
    }
}
