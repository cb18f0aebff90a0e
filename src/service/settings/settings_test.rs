//! Test: the environment and code set the same settings, and what cannot work is refused by name.

use std::path::Path;
use std::time::Duration;

use mamey_core::{Result, RetryPolicy};
use mamey_cqrs::{BoundedContext, ContextSettings, HANDLER_TIMEOUT_DEFAULT};
use mamey_messaging::{ConsumerOptions, RelayOptions};

use super::Settings;
use super::contexts::SETTINGS;
use super::variables::{
    DRAIN_MS, INBOX_DAYS, LEASE_MS, PARTITIONS, POLL_MS, STORE, STORE_FILE, TRANSPORT,
    TRANSPORT_FILE, WAIT_MS,
};

fn read(name: &str, value: &str) -> Result<Settings> {
    Settings::from_variables([(name.to_owned(), value.to_owned())])
}

#[test]
fn everything_has_an_embedded_default() {
    assert_eq!(Settings::from_variables([]).unwrap(), Settings::default());
}

#[test]
fn the_defaults_are_those_that_the_documents_name() {
    let Settings { wait, partitions, lease, poll, drain, inbox_window, .. } = Settings::default();
    let of_service = [
        (WAIT_MS, wait.as_millis()),
        (PARTITIONS, u128::from(partitions)),
        (LEASE_MS, lease.as_millis()),
        (POLL_MS, poll.as_millis()),
        (DRAIN_MS, drain.as_millis()),
        (INBOX_DAYS, u128::from(inbox_window.as_secs() / 86_400)),
    ];
    let of_service = of_service.map(|(name, value)| (name.to_owned(), value)).into_iter();
    let defaults = defaults_of_contexts();
    let of_contexts = SETTINGS.iter().map(|it| {
        let value = it.value(&defaults).unwrap();
        (all(it.variable), u128::from(value))
    });
    let documents = [include_str!("../../../README.md"), include_str!("mod.rs")];
    for (name, value) in of_service.chain(of_contexts) {
        for document in documents {
            let is_of = |line: &&str| line.contains(&format!("| `{name}` |"));
            let row = document.lines().find(is_of).unwrap_or_else(|| panic!("no row of {name}"));
            assert!(row.ends_with(&format!("| {value} |")), "{row}");
        }
    }
}

/// What holds where nothing is set.
fn defaults_of_contexts() -> ContextSettings {
    let consumer = ConsumerOptions::default();
    ContextSettings::default()
        .with_timeout(HANDLER_TIMEOUT_DEFAULT)
        .with_retry(RetryPolicy::DEFAULT)
        .with_prefetch(consumer.prefetch)
        .with_lanes_max(consumer.lanes_max)
        .with_retries_max(consumer.retries_max)
        .with_in_flight_max(RelayOptions::default().in_flight_max)
        .with_slow_after(consumer.slow_after)
        .with_parked_messages_max(consumer.parked_messages_max)
}

/// The variable of a setting for all contexts.
fn all(variable: &str) -> String {
    format!("MAMEY_{variable}")
}

/// The variable of a setting for the context `order-book`.
fn of_order_book(variable: &str) -> String {
    format!("MAMEY_ORDER_BOOK_{variable}")
}

#[test]
fn each_setting_of_a_context_is_read_for_all_and_for_one() {
    let of = |settings: &Settings, name: &str| settings.of(&BoundedContext::new(name)).unwrap();
    for setting in &SETTINGS {
        let variable = setting.variable;
        let variables =
            [(all(variable), "4".to_owned()), (of_order_book(variable), "5".to_owned())];
        let settings = Settings::from_variables(variables).unwrap();
        let mut expected = ContextSettings::default();
        setting.read(&mut expected, variable, "4").unwrap();
        assert_ne!(expected, ContextSettings::default(), "{variable}");
        assert_eq!(of(&settings, "orders"), expected, "{variable}");
        setting.read(&mut expected, variable, "5").unwrap();
        assert_eq!(of(&settings, "order-book"), expected, "{variable}");
    }
}

#[test]
fn a_retry_policy_is_read_number_by_number() {
    let settings = read("MAMEY_ORDERS_RETRY_DELAYED", "3").unwrap();
    let orders = BoundedContext::new("orders").retry(RetryPolicy::NEVER);
    let policy = settings.of(&orders).unwrap().retry.policy();
    assert_eq!(policy, RetryPolicy::NEVER.with_delayed(3));
}

#[test]
fn bad_values_for_contexts_name_the_variable_and_what_it_may_hold() {
    for setting in &SETTINGS {
        for name in [all(setting.variable), of_order_book(setting.variable)] {
            for value in ["", "-1", "4s", "1e3", "18446744073709551615"] {
                let error = read(&name, value).unwrap_err().to_string();
                let words = [&name, &format!("`{value}`"), "must be a whole number from"];
                assert!(words.iter().all(|word| error.contains(*word)), "{error}");
            }
        }
    }
    let error = read("MAMEY_ORDER_BOOK_PREFETCH", "0").unwrap_err().to_string();
    assert!(error.contains("from 1 to 10000"), "{error}");
}

#[test]
fn each_variable_is_read() {
    assert_eq!(read(STORE, "sqlite:x.db").unwrap().store_url, "sqlite:x.db");
    let file = read(STORE_FILE, "/run/secrets/store").unwrap().store_file;
    assert_eq!(file.unwrap(), Path::new("/run/secrets/store"));
    assert_eq!(read(WAIT_MS, "30000").unwrap().wait, Duration::from_secs(30));
    assert_eq!(read(PARTITIONS, "64").unwrap().partitions, 64);
    assert_eq!(read(LEASE_MS, "2000").unwrap().lease, Duration::from_secs(2));
    assert_eq!(read(DRAIN_MS, "0").unwrap().drain, Duration::ZERO);
    assert_eq!(read(INBOX_DAYS, "1").unwrap().inbox_window, Duration::from_hours(24));
}

#[test]
fn bad_values_name_the_variable_and_what_it_may_hold() {
    for (name, value, fix) in [
        (STORE, "", "unset it"),
        (STORE_FILE, "", "unset it"),
        (TRANSPORT_FILE, " ", "unset it"),
        (WAIT_MS, "-1", "0 to 3600000"),
        (PARTITIONS, "0", "1 to 64"),
        (PARTITIONS, "65", "1 to 64"),
        (PARTITIONS, "eight", "1 to 64"),
        (LEASE_MS, "15s", "1000 to 600000"),
        (POLL_MS, "-1", "10 to 60000"),
        (DRAIN_MS, "1e9", "0 to 3600000"),
        (INBOX_DAYS, "99999", "1 to 3650"),
    ] {
        let error = read(name, value).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains(fix), "{error}");
    }
}

#[test]
fn a_url_and_its_file_are_not_set_together() {
    for (url, file) in [(STORE, STORE_FILE), (TRANSPORT, TRANSPORT_FILE)] {
        let both = [(url, "memory:"), (file, "/run/secrets/url")];
        let both = both.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let error = Settings::from_variables(both).unwrap_err().to_string();
        assert!(error.contains(url) && error.contains(file), "{error}");
    }
}

#[test]
fn each_setting_can_be_set_in_code() {
    let settings = Settings::default()
        .with_store_url("memory:")
        .with_transport_url("amqp://localhost")
        .with_wait(Duration::from_secs(2))
        .with_partitions(2)
        .with_lease(Duration::from_secs(3))
        .with_poll(Duration::from_secs(4))
        .with_drain(Duration::from_secs(5))
        .with_inbox_window(Duration::from_hours(6));
    assert_eq!((&*settings.store_url, &*settings.transport_url), ("memory:", "amqp://localhost"));
    assert_eq!((settings.wait.as_secs(), settings.partitions), (2, 2));
    assert_eq!(settings.lease.as_secs(), 3);
    assert_eq!((settings.poll.as_secs(), settings.drain.as_secs()), (4, 5));
    assert_eq!(settings.inbox_window, Duration::from_hours(6));
    settings.check().unwrap();
}

#[test]
fn secrets_of_urls_are_not_printed() {
    let mixed_up = read(PARTITIONS, "postgres://app:s3cret@db/orders").unwrap_err();
    assert!(!mixed_up.to_string().contains("s3cret"), "{mixed_up}");
    let settings = read(STORE, "postgres://app:s3cret@db/orders").unwrap();
    assert!(!format!("{settings:?}").contains("s3cret"));
}
