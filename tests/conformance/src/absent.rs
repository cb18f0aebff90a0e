//! Skips a test whose server is absent, or fails it where servers are required.

use std::env;
use std::fmt;

use crate::report::{append, print};

/// Set to `1` or `true`, it makes an absent server a failure; `CI=true` does so too.
pub const REQUIRE_VARIABLE: &str = "MAMEY_REQUIRE_SERVERS";

/// Names a file to which a line is added for each skipped test.
pub const SKIPPED_VARIABLE: &str = "MAMEY_SKIPPED_TESTS_FILE";

/// Why there is nothing to test: the server that a test needs cannot be reached.
#[derive(Clone, Debug)]
pub struct Absent(String);

impl Absent {
    /// Says in one line what is missing, and how to provide it.
    pub fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

impl fmt::Display for Absent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Records `test` as skipped, unless servers are required.
///
/// # Panics
/// When servers are required: the test has failed. Also when the skip cannot be recorded.
pub fn skip_or_fail(test: &str, absent: &Absent) {
    assert!(!servers_are_required(), "{absent}");
    skip(test, &absent.0);
}

/// Records `test` as skipped: prints its name and the reason, and adds a line to the file that
/// [`SKIPPED_VARIABLE`] names.
///
/// # Panics
/// When the file cannot be written.
pub fn skip(test: &str, why: &str) {
    print(&format!("skipped: {test}: {why}"));
    append(SKIPPED_VARIABLE, &format!("{test}: {why}"));
}

fn servers_are_required() -> bool {
    ["CI", REQUIRE_VARIABLE]
        .iter()
        .any(|variable| env::var(variable).is_ok_and(|value| value == "true" || value == "1"))
}
