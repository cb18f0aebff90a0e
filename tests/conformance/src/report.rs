//! Reports what a suite counted, and which of its cases did not run.

use std::env;
use std::fs::File;
use std::io::{self, Write};

/// Names a file to which each line is added. A test runner may hide what a passing test prints.
pub const REPORT_VARIABLE: &str = "MAMEY_CONFORMANCE_REPORT_FILE";

/// Prints a line about `subject`, and adds it to the file that [`REPORT_VARIABLE`] names.
///
/// # Panics
/// When the file cannot be written.
pub fn report(subject: &str, line: &str) {
    let line = format!("{subject}: {line}");
    print(&line);
    append(REPORT_VARIABLE, &line);
}

/// Writes to standard error itself, because the test harness captures what `eprintln!` writes.
pub(crate) fn print(line: &str) {
    // There is no other place to report that this failed.
    let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// Adds a line to the file that `variable` names, if it names one: in one write, because the tests
/// of many processes share the file.
pub(crate) fn append(variable: &str, line: &str) {
    let Some(path) = env::var_os(variable) else { return };
    let file = File::options().append(true).create(true).open(&path);
    let written = file.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()));
    assert!(written.is_ok(), "cannot write to {}: {written:?}", path.display());
}
