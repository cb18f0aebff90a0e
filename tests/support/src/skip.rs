//! Skips a test whose server is not there, or fails it where servers are required.

use mamey_conformance::{Absent, skip};

use crate::{Error, Result};

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

/// As [`require!`], for the function that makes what the cases of a conformance suite begin with.
///
/// # Errors
///
/// When the server is not there: the suite skips the case, or fails it where servers are required.
///
/// # Panics
///
/// On every other error: the test has failed.
pub fn or_absent<T>(result: Result<T>) -> std::result::Result<T, Absent> {
    result.map_err(|error| {
        assert!(error.is_absence(), "{}", error.in_full());
        Absent::new(error.in_full())
    })
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
/// Where servers are required, or where the error is not that a server is absent: the test has
/// failed.
#[doc(hidden)]
pub fn skip_or_fail(test: &str, error: &Error) {
    let why = error.in_full();
    match error {
        // Only our own servers can be paused, and only root can mount: the code is not at fault.
        Error::NotOurs { .. } | Error::NeedsRoot { .. } => skip(test, &why),
        error if error.is_absence() => mamey_conformance::skip_or_fail(test, &Absent::new(why)),
        _ => panic!("{why}"),
    }
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
