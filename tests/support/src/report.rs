//! Says what a person has to see even if the test passes.

use std::io::{self, Write};

/// One line to standard error itself: the test harness swallows what `eprintln!` writes in a test
/// that passes.
pub(crate) fn report(line: &str) {
    // There is nowhere left to complain if this fails.
    let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
}
