//! Says what a person has to see even if the test passes.

use std::io::{self, Write};

/// One line to standard error itself: the test harness captures what `eprintln!` writes in a test
/// that passes.
pub(crate) fn report(line: &str) {
    // There is no other place to report that this failed.
    let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
}
