//! The environment variables that a service reads.

use std::time::Duration;

use mamey::message::SLOTS;
use mamey::{ErrorKind, Settings, messaging, persistence};

/// The input is lines of `NAME=value`, of which a service reads those of Mamey.
pub(crate) fn variables(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let variable = |line: &str| {
        let (name, value) = line.split_once('=')?;
        Some((name.to_owned(), value.to_owned()))
    };
    match Settings::from_variables(text.lines().filter_map(variable)) {
        Ok(settings) => check(&settings),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Misconfigured, "{error:?}");
            assert!(error.to_string().contains("MAMEY_"), "{error} names no variable");
        }
    }
}

/// What was accepted can work.
fn check(settings: &Settings) {
    assert!((1..=SLOTS).contains(&settings.partitions), "{settings:?}");
    assert!(settings.lease >= Duration::from_secs(1), "{settings:?}");
    assert!(settings.poll >= Duration::from_millis(10), "{settings:?}");
    assert!(settings.drain <= Duration::from_hours(1), "{settings:?}");
    assert!(!settings.inbox_window.is_zero(), "{settings:?}");
    for checked in
        [persistence::check_url(&settings.store_url), messaging::check_url(&settings.transport_url)]
    {
        if let Err(error) = checked {
            assert_eq!(error.kind(), ErrorKind::Misconfigured, "{error:?}");
        }
    }
}
