//! Says what a suite counted, and which of its cases did not run.

use std::fs::File;
use std::io::Write;

/// Names a file to which each line is added. A test runner may hide what a passing test prints.
pub const REPORT_VARIABLE: &str = "MAMEY_CONFORMANCE_REPORT_FILE";

/// Prints a line, and adds it to the file named by [`REPORT_VARIABLE`].
///
/// # Panics
/// When there is such a name and the file cannot be written.
#[expect(clippy::print_stderr, reason = "a test speaks to a person")]
pub fn report(backend: &str, line: &str) {
    let line = format!("{backend}: {line}\n");
    eprint!("{line}");
    if let Some(path) = std::env::var_os(REPORT_VARIABLE) {
        let file = File::options().append(true).create(true).open(path);
        let written = file.and_then(|mut file| file.write_all(line.as_bytes()));
        written.expect("the report is written");
    }
}
