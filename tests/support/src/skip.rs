//! Skips a test whose server is not there, or fails it where servers are required.

use std::env;
use std::fs::OpenOptions;
use std::io::Write;
use std::thread;

use crate::report::report;
use crate::{Error, Result};

/// The file that gets a line for each skipped test; `./dev test` sets it and counts its lines.
const SKIPPED_FILE_VARIABLE: &str = "MAMEY_SKIPPED_TESTS_FILE";

/// Each of these, set to `true` or `1`, makes a missing server a failure.
const REQUIRING_VARIABLES: [&str; 2] = ["CI", "MAMEY_REQUIRE_SERVERS"];

/// Unwraps the result of asking for a server, or ends the test.
///
/// A server that is not there ends the test as skipped: its name and the reason go to standard
/// error and are counted by `./dev test`. With `CI=true` or `MAMEY_REQUIRE_SERVERS=1` it fails the
/// test instead. Every other error always fails it. For test functions that return nothing.
///
/// ```no_run
/// # #[cfg(feature = "redis")] {
/// use mamey_test_support::{redis, require};
///
/// async fn a_lock_is_fenced() {
///     let prefix = require!(redis::prefix().await);
///     // …
/// }
/// # }
/// ```
#[macro_export]
macro_rules! require {
    ($result:expr) => {
        match $result {
            ::core::result::Result::Ok(value) => value,
            ::core::result::Result::Err(error) => {
                fn here() {}
                $crate::skip_or_fail($crate::name_of(&here), &error);
                return;
            }
        }
    };
}

/// As [`require!`], for a function that makes what each of many tests begins with: without a server
/// there is nothing, and the test that called is skipped.
///
/// # Panics
///
/// Where [`require!`] fails the test.
pub fn or_skip<T>(result: Result<T>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) => {
            // The harness runs a test on a thread that bears its name.
            skip_or_fail(thread::current().name().unwrap_or("a test"), &error);
            None
        }
    }
}

/// The name of the function around a function `here`, the way the test harness writes it.
#[doc(hidden)]
#[must_use]
pub fn name_of<T>(_here: &T) -> &'static str {
    let mut name = std::any::type_name::<T>();
    while let Some((outer, inner)) = name.rsplit_once("::") {
        // The body of an async function is a closure within it.
        if !matches!(inner, "here" | "{{closure}}") {
            break;
        }
        name = outer;
    }
    name
}

/// Records the test as skipped.
///
/// # Panics
///
/// Where servers are required, or where the error is another than a server's absence: the test has
/// failed.
#[doc(hidden)]
pub fn skip_or_fail(test: &str, error: &Error) {
    let why = error.in_full();
    // Only our own servers can be paused, and only root can mount: it is nobody's failure.
    let may_skip = matches!(error, Error::NotOurs { .. } | Error::NeedsRoot { .. })
        || error.is_absence() && !is_required();
    assert!(may_skip, "{why}");
    report(&format!("skipped: {test}: {why}"));
    if let Some(file) = env::var_os(SKIPPED_FILE_VARIABLE) {
        // One write of one line, so that tests of many processes do not mix theirs.
        let line = format!("{test}: {why}\n");
        let written = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&file)
            .and_then(|mut file| file.write_all(line.as_bytes()));
        assert!(written.is_ok(), "cannot note the skip in {}: {written:?}", file.display());
    }
}

fn is_required() -> bool {
    REQUIRING_VARIABLES
        .iter()
        .any(|variable| env::var(variable).is_ok_and(|value| value == "true" || value == "1"))
}

#[cfg(test)]
mod tests {
    use super::name_of;

    #[tokio::test]
    async fn a_test_knows_its_name() {
        fn here() {}
        assert_eq!(name_of(&here), "mamey_test_support::skip::tests::a_test_knows_its_name");
        let within = async {
            fn here() {}
            name_of(&here)
        };
        assert_eq!(within.await, name_of(&here));
    }
}
